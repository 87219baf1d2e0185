"""The journal: append-only double entry. Balances are its projection; a correction is a new entry (house rule 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from domain.money import ZERO, Dof

PLATFORM_FEES = "platform:fees"
WORLD_SHOPIFY = "world:shopify"
WORLD_STRIPE = "world:stripe"
PAYOUTS_PENDING = "payouts:pending"
PROMO = "promo"
LOSS = "loss"

POSTINGS_MAX, PARTIES_MAX = 20, 5  # of one entry: a refund goes back from three parties, each from three addresses


def available(user_id: str) -> str:
    """The address of what a user can spend."""
    return f"user:{user_id}:available"


def held(user_id: str) -> str:
    """The address of what a user's running sessions hold."""
    return f"user:{user_id}:held"


def debt(user_id: str) -> str:
    """The address of what a user owes; its balance is the debt, negated."""
    return f"user:{user_id}:debt"


def earned(user_id: str) -> str:
    """The address of what was settled to a user and has not matured."""
    return f"user:{user_id}:earned"


class EntryKind(StrEnum):
    PURCHASE = "PURCHASE"  # an order's target rose: the world pays in
    RECLAIM = "RECLAIM"  # an order's target fell: a refund or a cancellation takes back
    HOLD = "HOLD"
    EXTEND = "EXTEND"
    SETTLE = "SETTLE"  # capture, split and release in one
    MATURE = "MATURE"
    TRANSFER = "TRANSFER"
    ADJUST = "ADJUST"
    REFUND = "REFUND"  # a service refund of a settled session
    PAYOUT = "PAYOUT"
    PAYOUT_PAID = "PAYOUT_PAID"
    PAYOUT_FAILED = "PAYOUT_FAILED"


@dataclass(frozen=True, slots=True)
class Posting:
    """`amount` DOF leave `source` and reach `target`; always more than nothing, never to itself."""

    source: str
    target: str
    amount: Dof

    def __post_init__(self) -> None:
        assert self.amount > ZERO, "a posting moves something"
        assert self.source != self.target, "a posting moves it somewhere else"


@dataclass(frozen=True, slots=True)
class Balances:
    """A wallet right after an entry; the chain of versions has no gap (I12)."""

    version: int
    available: Dof
    held: Dof
    debt: Dof
    payable: Dof = ZERO


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact of the journal. The id is the fact's hash, so the same fact cannot be entered twice.

    `ref` is the id of what it is about (an order, a session), `actor` who caused it, `after` each touched wallet by
    user id. `bucket` spreads the entries of a moment over places of an index.
    """

    id: str
    kind: EntryKind
    ref: str
    actor: str
    at: datetime
    postings: tuple[Posting, ...]
    after: Mapping[str, Balances] = field(default_factory=dict)
    user_ids: tuple[str, ...] = ()
    corrects: str | None = None
    bucket: int = 0

    def __post_init__(self) -> None:
        assert self.postings, "an entry moves something"


def balance(postings: tuple[Posting, ...], address: str) -> int:
    """What the postings leave at an address, in DOF; negative where more left than came."""
    came = sum(posting.amount.units for posting in postings if posting.target == address)
    left = sum(posting.amount.units for posting in postings if posting.source == address)
    return came - left


def user_ids(postings: tuple[Posting, ...]) -> tuple[str, ...]:
    """The users at whose addresses something moved, sorted."""
    addresses = {address for posting in postings for address in (posting.source, posting.target)}
    return tuple(sorted({address.split(":")[1] for address in addresses if address.startswith("user:")}))
