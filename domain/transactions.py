"""What a user sees of an entry, or of a purchase that is not paid yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.revenue import Distribution


class TransactionType(StrEnum):
    PURCHASE = "PURCHASE"
    HIRE = "HIRE"
    EARNING = "EARNING"
    REFUND = "REFUND"
    TRANSFER = "TRANSFER"
    PAYOUT = "PAYOUT"
    ADJUSTMENT = "ADJUSTMENT"
    DISPUTE = "DISPUTE"


class TransactionStatus(StrEnum):
    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"


class PaymentMethod(StrEnum):
    SHOPIFY = "SHOPIFY"
    STRIPE = "STRIPE"
    WALLET = "WALLET"


@dataclass(frozen=True, slots=True)
class Transaction:
    """`amount` is signed from the user's side, in DOF; `available_after` is the wallet after it, where it moved that.

    A hire shows what it holds while it runs, and what it cost once it is settled; `distribution` says who got that.
    """

    id: str
    user_id: str
    type: TransactionType
    status: TransactionStatus
    amount: int
    created_at: datetime
    completed_at: datetime | None = None
    available_after: int | None = None
    counterparty_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    distribution: Distribution | None = None
    payment_method: PaymentMethod | None = None
    external_reference: str | None = None
    entry_id: str | None = None
    note: str | None = None
    fingerprint: str | None = None
