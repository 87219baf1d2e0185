"""Caring for accounts: suspending and reinstating them, giving roles, finding them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from domain import texts
from domain.users import REASON_CHARACTERS_MAX, Role
from firestore import accounts as rooms
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info
from graph.errors import Conflict, NotFound
from graph.scalars import moment
from graph.types.accounts import Account, Suspension
from graph.types.users import User

EMAIL_CHARACTERS_MAX = 254  # RFC 5321, section 4.5.3.1.3


@strawberry.input(description="`email` is how the address begins.")
class AccountFilter:
    email: str | None = None
    role: Role | None = None
    suspended: bool | None = None


@strawberry.input(
    description="Without `until` the suspension has no end. Said again, it takes the earlier one's place."
)
class SuspendUserInput:
    user_id: strawberry.ID
    reason: str
    until: datetime | None = None


@strawberry.input
class ReinstateUserInput:
    user_id: strawberry.ID
    reason: str


@strawberry.input
class SetRoleInput:
    user_id: strawberry.ID
    role: Role
    reason: str


@strawberry.type
class SuspendUserPayload:
    user: User
    suspension: Suspension


@strawberry.type
class ReinstateUserPayload:
    user: User


@strawberry.type
class SetRolePayload:
    account: Account


SuspendUserResult = Annotated[SuspendUserPayload | NotFound | Conflict, strawberry.union("SuspendUserResult")]
ReinstateUserResult = Annotated[ReinstateUserPayload | NotFound | Conflict, strawberry.union("ReinstateUserResult")]
SetRoleResult = Annotated[SetRolePayload | NotFound | Conflict, strawberry.union("SetRoleResult")]


async def users(
    info: Info, filter: AccountFilter | None = None, first: int | None = None, after: str | None = None
) -> Connection[Account]:
    """Accounts in the order of their e-mail; the suspended by the moment of their suspension, newest first."""
    context, asked = info.context, filter or AccountFilter()
    email = texts.optional_line(asked.email, "filter.email", EMAIL_CHARACTERS_MAX)
    wanted = rooms.AccountFilter(email.casefold() if email else None, asked.role, asked.suspended)
    scope = scope_of("users", context.user_id, wanted)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.accounts.page(wanted, page_size(first), position)
    return connect(page, Account.of, context.desk.cursors, scope, after)


async def suspend_user(info: Info, input: SuspendUserInput) -> SuspendUserResult:
    """Hold a user back: no sign-in, no mutation but the ending of what runs, nothing on offer. The user is told the
    reason.
    """
    context = info.context
    until = None if input.until is None else moment(input.until, "input.until")
    record = await context.store.accounts.suspend(context.signed_in, input.user_id, input.reason, until, context.now)
    suspension = Suspension.of(record)
    assert suspension is not None, "whoever was suspended is"
    return SuspendUserPayload(user=User.of(record), suspension=suspension)


async def reinstate_user(info: Info, input: ReinstateUserInput) -> ReinstateUserResult:
    """Lift a suspension; what it hid comes back."""
    context = info.context
    reason = texts.prose(input.reason, "input.reason", REASON_CHARACTERS_MAX)
    record = await context.store.accounts.reinstate(context.signed_in, input.user_id, reason, context.now)
    return ReinstateUserPayload(user=User.of(record))


async def set_role(info: Info, input: SetRoleInput) -> SetRoleResult:
    """Give a user a role. CONFLICT for one's own account, and for a suspended one."""
    context = info.context
    reason = texts.prose(input.reason, "input.reason", REASON_CHARACTERS_MAX)
    record = await context.store.accounts.appoint(context.signed_in, input.user_id, input.role, reason, context.now)
    return SetRolePayload(account=Account.of(record))
