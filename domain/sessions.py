"""A session: one use of an agent. Facts are stored; status and consumption follow from them and the time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain import metering
from domain.errors import BadInput, SessionOver
from domain.metering import MINUTE
from domain.money import DOF_MAX, ZERO, Dof
from domain.pricing import SESSION_MINUTES_MAX, Leg, Pricing, Quote, SessionConfiguration
from domain.revenue import NOTHING, Distribution, Shares, distribute, payees

LEGS_MAX = 100  # extensions of one session: each is a leg on the document
LOW_PART = 10  # of the hold, the last tenth: six minutes of an hour, time enough to extend


class SessionType(StrEnum):
    OWNED = "OWNED"
    HIRED = "HIRED"
    TRIAL = "TRIAL"


class SessionStatus(StrEnum):
    ACTIVE = "ACTIVE"
    ENDED = "ENDED"


class EndReason(StrEnum):
    COMPLETED = "COMPLETED"
    ENDED_BY_HIRER = "ENDED_BY_HIRER"
    ENDED_BY_OWNER = "ENDED_BY_OWNER"
    EXHAUSTED = "EXHAUSTED"
    MODERATED = "MODERATED"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a session ended: written once, with the entry that pays it out."""

    ended_at: datetime
    reason: EndReason
    minutes: int
    consumed: Dof
    distribution: Distribution


@dataclass(frozen=True, slots=True)
class Session:
    """The facts of a session. `pricing` and `shares` are frozen at its start; `fingerprint` guards its idempotency key.

    `usage` is the DOF of recorded usage, `usage_at` when the last was recorded. `version` counts the stored changes;
    `changed_at` is the moment of the last one, None before the second. `settled_at` is when it was settled, which may
    be later than its end; `bucket` spreads the index over these moments, which only grow.
    """

    id: str
    type: SessionType
    agent_id: str
    listing_id: str | None
    hirer_id: str
    owner_id: str
    creator_id: str
    configuration: SessionConfiguration
    pricing: Pricing | None
    shares: Shares
    legs: tuple[Leg, ...]
    surcharge_per_minute: Dof
    held: Dof
    started_at: datetime
    fingerprint: str
    transaction_id: str | None = None
    usage: Dof = ZERO
    usage_at: datetime | None = None
    interactions: int = 0
    latency_total_ms: int = 0
    latency_samples: int = 0
    crashes: int = 0
    extensions: tuple[str, ...] = ()
    settlement: Settlement | None = None
    settled: bool = False  # that there is a settlement, as a field that a query can ask for
    end_key: str | None = None
    review_id: str | None = None
    returned: Distribution = NOTHING  # what each party has given back in service refunds
    version: int = 1
    changed_at: datetime | None = None
    settled_at: datetime | None = None
    bucket: int = 0

    @property
    def last_change_at(self) -> datetime:
        """The moment of the last stored change. No later change is dated before it, whichever process's clock dates it:
        their numbers would cross."""
        return self.changed_at or self.started_at

    @property
    def refunded(self) -> Dof:
        """What service refunds have given back of what was consumed."""
        return self.returned.owner + self.returned.platform + self.returned.creator

    @property
    def total_minutes(self) -> int:
        return metering.total_minutes(self.legs)

    @property
    def expires_at(self) -> datetime:
        return self.started_at + MINUTE * self.total_minutes

    @property
    def over_at(self) -> datetime:
        """When the session is over by itself: at its expiry, or when the hold pays for no further minute.

        A minute that was paid for may be used to its end; usage beyond the hold ends the session when it is recorded.
        """
        paid = metering.payable_minutes(self.legs, self.surcharge_per_minute, self.usage, self.held)
        paid_until = self.started_at + MINUTE * paid
        return paid_until if self.usage_at is None else max(paid_until, self.usage_at)

    @property
    def low_at(self) -> datetime:
        """From when on no more than a tenth of the hold is left."""
        most = self.held - self.held.prorate(1, LOW_PART)
        paid = metering.payable_minutes(self.legs, self.surcharge_per_minute, self.usage, most)
        return self.started_at + MINUTE * paid

    def due_at(self, now: datetime) -> datetime:
        """When the store must look at it next: as its hold runs low, then once it is over by itself."""
        return self.low_at if now < self.low_at else self.over_at

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended by `now`, settled or not."""
        return self.settlement is not None or now >= self.over_at

    def status(self, now: datetime) -> SessionStatus:
        return SessionStatus.ENDED if self.is_over(now) else SessionStatus.ACTIVE

    def natural_end(self) -> EndReason:
        """Why it ends when nobody ends it."""
        return EndReason.EXHAUSTED if self.over_at < self.expires_at else EndReason.COMPLETED

    def end_reason(self, now: datetime) -> EndReason | None:
        if self.settlement is not None:
            return self.settlement.reason
        return self.natural_end() if now >= self.over_at else None

    def ended_at(self, now: datetime) -> datetime | None:
        if self.settlement is not None:
            return self.settlement.ended_at
        return self.over_at if now >= self.over_at else None

    def minutes(self, now: datetime) -> int:
        """Billed minutes by `now`."""
        if self.settlement is not None:
            return self.settlement.minutes
        return metering.started_minutes(self.started_at, min(now, self.over_at), self.total_minutes)

    def consumed(self, now: datetime) -> Dof:
        """What the meter shows at `now`."""
        if self.settlement is not None:
            return self.settlement.consumed
        return metering.consumed(self.legs, self.surcharge_per_minute, self.minutes(now), self.usage, self.held)

    def remaining(self, now: datetime) -> Dof:
        """What is left of the hold; nothing once it was given back."""
        return ZERO if self.settlement is not None else self.held - self.consumed(now)

    def sequence(self, at: datetime) -> int:
        """The number of the stored change that made this version, or of the last minute since: stored changes and
        minutes of the meter are numbered together, so that both can be told again without a gap."""
        return self.version + self.ticks(at)

    def ticks(self, at: datetime) -> int:
        """Whole minutes that the meter has told of by `at`: at each full minute of a running session, one."""
        until = min(at, self.settlement.ended_at if self.settlement else self.over_at)
        return max(0, (until - self.started_at) // MINUTE)


def extend(session: Session, quote: Quote, key: str, now: datetime) -> Session:
    """Add a stretch at the session's own prices. Raises SessionOver, BadInput past four weeks in all."""
    require_running(session, now)
    if len(session.legs) >= LEGS_MAX:
        raise BadInput(f"A session is extended at most {LEGS_MAX - 1} times: hire the agent again.", field="input")
    left = SESSION_MINUTES_MAX - session.total_minutes
    if quote.leg.minutes > left:
        raise BadInput(
            f"A session lasts at most four weeks: {left} minutes can still be added.", field="input.quantity"
        )
    return replace(
        session,
        legs=(*session.legs, quote.leg),
        held=session.held + quote.total,
        extensions=(*session.extensions, key),
        version=session.version + 1,
        changed_at=max(now, session.last_change_at),
    )


def require_running(session: Session, now: datetime) -> None:
    """Raises SessionOver when it is over, whether or not a task has settled it.

    What was seen to be over by one process's clock is over for one whose clock is behind.
    """
    if session.is_over(max(now, session.last_change_at)):
        raise SessionOver("This session has ended: hire the agent again to go on.")


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One report of a game client, kept for ever under its sequence number: a second with other figures is refused.

    It holds all figures that the session sums up, so that the sums can be derived again (I14).
    """

    id: str
    session_id: str
    sequence: int
    dof: Dof
    fingerprint: str
    at: datetime
    interactions: int = 0
    latency_ms: int | None = None
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """What a client's key has ended: with another session it is refused (ruling 12). Kept for ever."""

    id: str
    session_id: str


LATENCY_MS_MAX = 600_000  # ten minutes: beyond it the client's clock is wrong
INTERACTIONS_MAX = 1_000_000  # of one record: ten a second for more than a day
SEQUENCE_MAX = 2**31 - 1  # GraphQL's Int


def record_usage(
    session: Session, dof: Dof, *, interactions: int, latency_ms: int | None, crashed: bool, now: datetime
) -> Session:
    """Add metered usage. A trial is free: it keeps the metrics and bills nothing. Raises SessionOver, BadInput."""
    require_running(session, now)
    if not 0 <= dof.units <= DOF_MAX:
        raise BadInput("Usage is 0 DOF or more.", field="input.dof")
    if not 0 <= interactions <= INTERACTIONS_MAX:
        raise BadInput(f"Interactions lie between 0 and {INTERACTIONS_MAX}.", field="input.interactions")
    if latency_ms is not None and not 0 <= latency_ms <= LATENCY_MS_MAX:
        raise BadInput(f"A latency lies between 0 and {LATENCY_MS_MAX} ms.", field="input.latencyMs")
    billed = ZERO if session.type is SessionType.TRIAL else dof
    # Beyond the hold nothing is billed, so nothing needs to be remembered: the sum stays within bounds for ever.
    usage = Dof(min(session.usage.units + billed.units, session.held.units + 1))
    at = max(now, session.last_change_at)
    return replace(
        session,
        usage=usage,
        usage_at=at if billed else session.usage_at,
        interactions=session.interactions + interactions,
        latency_total_ms=session.latency_total_ms + (latency_ms or 0),
        latency_samples=session.latency_samples + (latency_ms is not None),
        crashes=session.crashes + crashed,
        version=session.version + 1,
        changed_at=at,
    )


def settle(session: Session, reason: EndReason | None, now: datetime) -> Session:
    """End the session: what the meter shows is consumed and divided. `reason` None lets it end by itself, once over.

    A session that is over by itself keeps that end and its moment, whoever comes to end it later.
    """
    assert session.settlement is None, "a session is settled once"
    natural = now >= session.over_at
    assert natural or reason is not None, "a running session ends for a reason"
    ended_at = session.over_at if natural else max(now, session.last_change_at)
    why = session.natural_end() if natural or reason is None else reason
    consumed = session.consumed(ended_at)
    settlement = Settlement(ended_at, why, session.minutes(ended_at), consumed, distribute(consumed, session.shares))
    return replace(
        session,
        settlement=settlement,
        settled=True,
        settled_at=now,
        version=session.version + 1,
        changed_at=ended_at,
    )


def earnings_of(session: Session, user_id: str, now: datetime) -> Dof:
    """What a user gets of what is consumed by `now`, as owner, as creator or as both; final once it is settled."""
    shares = payees(distribute(session.consumed(now), session.shares), session.owner_id, session.creator_id)
    return dict(shares).get(user_id, ZERO)


def average_latency_ms(session: Session) -> int | None:
    """The mean of the reported latencies, rounded half up."""
    samples = session.latency_samples
    return (2 * session.latency_total_ms + samples) // (2 * samples) if samples else None


def hours_used(session: Session) -> float:
    """Billed hours of an ended session, for a review. A duration, not money."""
    minutes = session.settlement.minutes if session.settlement else 0
    return round(minutes / 60, 2)
