"""Payouts and the account that they go to."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import payouts
from domain.money import Dof
from domain.payouts import PayoutState
from graph.enums import enum
from graph.sizes import at_most
from graph.types.wallets import Money

enum(
    PayoutState,
    "How far a payout has come.",
    name="PayoutStatus",
    REQUESTED="The DOF are set aside, and the provider is asked for the transfer.",
    SENT="The provider has the money, and the bank does not.",
    PAID="The bank has it.",
    FAILED="It came back: the DOF are in the wallet again. This wins even over PAID.",
)

MISSING_MAX = 100  # things that the provider asks for: a company's, with some owners, are a few tens


@strawberry.type(description="`missing` names what the provider still asks for.")
class PayoutAccount:
    ready: bool
    missing: list[str] = strawberry.field(metadata=at_most(MISSING_MAX))
    updated_at: datetime

    @classmethod
    def of(cls, record: payouts.PayoutAccount) -> PayoutAccount:
        return cls(ready=record.ready, missing=list(record.missing), updated_at=record.updated_at)


@strawberry.type(description="Earned DOF on their way to a bank; a failed payout comes back once.")
class Payout:
    id: strawberry.ID
    amount: Dof
    money: Money
    status: PayoutState
    created_at: datetime
    concluded_at: datetime | None
    failure: str | None

    @classmethod
    def of(cls, record: payouts.Payout) -> Payout:
        return cls(
            id=strawberry.ID(record.id),
            amount=record.amount,
            money=Money.of(record.money),
            status=record.state,
            created_at=record.created_at,
            concluded_at=record.concluded_at,
            failure=record.failure,
        )
