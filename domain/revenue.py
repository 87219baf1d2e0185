"""Who gets what of a settled session (ruling 5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain import ledger
from domain.money import BPS, ZERO, Dof, split


@dataclass(frozen=True, slots=True)
class Shares:
    """Basis points of each party, frozen on the session when it is hired. They add up to 10,000."""

    owner_bps: int
    platform_bps: int
    creator_bps: int

    def __post_init__(self) -> None:
        parts = (self.owner_bps, self.platform_bps, self.creator_bps)
        if min(parts) < 0 or sum(parts) != BPS:
            raise ValueError(f"revenue shares {parts} must be non-negative basis points that add up to {BPS}")


ALL_TO_PLATFORM = Shares(owner_bps=0, platform_bps=BPS, creator_bps=0)
"""Of an owned session: its owner is the hirer, and what it uses is the platform's machines."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What each party gets; together exactly what was consumed."""

    owner: Dof = ZERO
    platform: Dof = ZERO
    creator: Dof = ZERO


NOTHING = Distribution()


def distribute(consumed: Dof, shares: Shares) -> Distribution:
    """Divide by largest remainder; equal remainders go to the owner, then the platform, then the creator."""
    return Distribution(*split(consumed, (shares.owner_bps, shares.platform_bps, shares.creator_bps)))


def payees(distribution: Distribution, owner_id: str, creator_id: str) -> tuple[tuple[str, Dof], ...]:
    """The shares by user; where owner and creator are one person, one posting pays both."""
    parts: tuple[tuple[str, Dof], ...] = ((owner_id, distribution.owner), (creator_id, distribution.creator))
    if owner_id == creator_id:
        parts = ((owner_id, distribution.owner + distribution.creator),)
    return tuple((user_id, share) for user_id, share in parts if share)


def targets(distribution: Distribution, owner_id: str, creator_id: str) -> tuple[tuple[str, Dof], ...]:
    """The shares by ledger address."""
    people = tuple((ledger.earned(user_id), share) for user_id, share in payees(distribution, owner_id, creator_id))
    return (*people, (ledger.PLATFORM_FEES, distribution.platform)) if distribution.platform else people


class AccrualState(StrEnum):
    MATURING = "MATURING"
    MATURED = "MATURED"


@dataclass(frozen=True, slots=True)
class Accrual:
    """What one session earned one user, until it matures (ruling 9). One per session and user.

    `amount` is what is left of it after service refunds; `matured_by` the entry that made it available. `bucket`
    spreads the index over the maturing moments, which only grow.
    """

    id: str
    user_id: str
    session_id: str
    amount: Dof
    entry_id: str
    created_at: datetime
    matures_at: datetime
    state: AccrualState = AccrualState.MATURING
    bucket: int = 0
    matured_by: str | None = None
