"""What waits for an admin: doubtful orders, and tasks that were given up."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain import texts
from domain.errors import BadInput
from domain.money import Dof
from firestore.orders import Decision
from firestore.wallets import NOTE_CHARACTERS_MAX
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info
from graph.errors import Conflict, NotFound
from graph.types.orders import DeadLetter, Order


@strawberry.input(
    description="`dof` is what the payment is worth by all that is in doubt, before refunds and disputes beyond doubt; "
    "`userId` who gets it, where the order does not say."
)
class ApproveOrderInput:
    order_id: strawberry.ID
    dof: Dof
    reason: str
    user_id: strawberry.ID | None = None


@strawberry.input
class RejectOrderInput:
    order_id: strawberry.ID
    reason: str


@strawberry.input
class RetryDeadLetterInput:
    id: strawberry.ID


@strawberry.type
class ApproveOrderPayload:
    order: Order


@strawberry.type
class RejectOrderPayload:
    order: Order


@strawberry.type
class RetryDeadLetterPayload:
    id: strawberry.ID


ApproveOrderResult = Annotated[ApproveOrderPayload | NotFound | Conflict, strawberry.union("ApproveOrderResult")]
RejectOrderResult = Annotated[RejectOrderPayload | NotFound | Conflict, strawberry.union("RejectOrderResult")]
RetryDeadLetterResult = Annotated[RetryDeadLetterPayload | NotFound, strawberry.union("RetryDeadLetterResult")]


async def review_queue(info: Info, first: int | None = None, after: str | None = None) -> Connection[Order]:
    """Orders whose money waits for a decision, oldest first."""
    context = info.context
    scope = scope_of("reviewQueue", context.user_id)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.orders.review_queue(page_size(first), position)
    return connect(page, Order.of, context.desk.cursors, scope, after)


async def dead_letters(info: Info, first: int | None = None, after: str | None = None) -> Connection[DeadLetter]:
    """Tasks that were given up: each failed for hours, or no try can do it before somebody has decided. To be looked
    at, and retried.
    """
    context = info.context
    scope = scope_of("deadLetters", context.user_id)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.outbox.dead(page_size(first), position)
    return connect(page, DeadLetter.of, context.desk.cursors, scope, after)


async def approve_order(info: Info, input: ApproveOrderInput) -> ApproveOrderResult:
    """Credit what an order's payment is worth, in whole DOF, less what has gone back of it. CONFLICT where it was
    decided otherwise.
    """
    context = info.context
    if input.dof.units < 1:
        raise BadInput("An approved order is worth 1 DOF or more: reject it otherwise.", field="input.dof")
    reason = texts.line(input.reason, "input.reason", NOTE_CHARACTERS_MAX)
    decision = Decision(input.order_id, context.signed_in, reason, input.dof, input.user_id)
    return ApproveOrderPayload(order=Order.of(await context.store.orders.decide(decision, context.now)))


async def reject_order(info: Info, input: RejectOrderInput) -> RejectOrderResult:
    """Decide that nothing is due for an order; its buyer is told. The money is to be refunded at the provider."""
    context = info.context
    reason = texts.line(input.reason, "input.reason", NOTE_CHARACTERS_MAX)
    decision = Decision(input.order_id, context.signed_in, reason)
    return RejectOrderPayload(order=Order.of(await context.store.orders.decide(decision, context.now)))


async def retry_dead_letter(info: Info, input: RetryDeadLetterInput) -> RetryDeadLetterResult:
    """Try a task that was given up again from the start."""
    context = info.context
    row = await context.store.outbox.revive(context.signed_in, input.id, context.now)
    return RetryDeadLetterPayload(id=strawberry.ID(row.id))
