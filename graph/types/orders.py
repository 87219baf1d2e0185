"""Orders that wait for an admin, and tasks that were given up."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import orders
from domain.money import Dof
from domain.orders import FactKind
from domain.purchases import Rail
from firestore import rows
from graph.types.wallets import Money


@strawberry.type(description="A provider's order, as an admin judges it. `user` is not told by name: the id is enough.")
class Order:
    id: strawberry.ID
    provider: Rail
    reference: str
    reason: str | None = strawberry.field(description="Why it waits; null once it is decided.")
    paid: Money | None
    refunded: Money | None = strawberry.field(description="What of `paid` went back; disputes are not in it.")
    applied: Dof
    user_id: strawberry.ID | None
    purchase_id: strawberry.ID | None
    created_at: datetime

    @classmethod
    def of(cls, record: orders.Order) -> Order:
        paid = next((fact.money for fact in record.facts.values() if fact.kind is FactKind.PAID), None)
        return cls(
            id=strawberry.ID(record.id),
            provider=record.rail,
            reference=record.reference,
            reason=record.review,
            paid=Money.of(paid) if paid else None,
            refunded=Money.of(record.refunded) if record.refunded else None,
            applied=record.applied,
            user_id=strawberry.ID(record.user_id) if record.user_id else None,
            purchase_id=strawberry.ID(record.purchase_id) if record.purchase_id else None,
            created_at=record.created_at,
        )


@strawberry.type(
    description="A task that was given up: it failed for hours, or no try can do it before somebody has decided. Mend "
    "the cause, then retry it."
)
class DeadLetter:
    id: strawberry.ID
    task: str
    attempts: int
    created_at: datetime

    @classmethod
    def of(cls, record: rows.OutboxRow) -> DeadLetter:
        return cls(id=strawberry.ID(record.id), task=record.task or "", attempts=record.attempts, created_at=record.at)
