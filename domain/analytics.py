"""What each recorded fact counts for, and how counts add up: whole numbers under names, so that parts make the whole.

A fact counts at the moment that it was recorded with: a session's start at its start, all that it did when it was
settled, money when its entry says. So nothing that was counted changes later, and counting again gives the same.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from domain import ledger
from domain.ids import Kind, derived_id
from domain.ledger import Entry, EntryKind
from domain.orders import FactKind, Order
from domain.pricing import MINUTES, HireUnit
from domain.ranges import Span, week_after, week_of
from domain.sessions import EndReason, Session, SessionType

PLATFORM = "platform"
UNFAIR = frozenset({EndReason.ENDED_BY_OWNER, EndReason.MODERATED})  # as the listing's success rate has it


def spender(user_id: str) -> str:
    """The subject under which a user's own use is counted."""
    return f"spend:{user_id}"


def earner(user_id: str) -> str:
    """The subject under which a user's earnings are counted."""
    return f"earn:{user_id}"


def of_agent(agent_id: str) -> str:
    """The subject under which an agent's hires are counted."""
    return f"agent:{agent_id}"


# ---- facts


@dataclass(frozen=True, slots=True)
class Started:
    """A session has begun."""

    session: Session

    @property
    def at(self) -> datetime:
        return self.session.started_at


@dataclass(frozen=True, slots=True)
class Settled:
    """A session has ended and was settled: at the moment of its entry, where it has one."""

    session: Session

    @property
    def at(self) -> datetime:
        assert self.session.settled_at is not None, "it is found by this moment"
        return self.session.settled_at


@dataclass(frozen=True, slots=True)
class Entered:
    """An entry of the journal, with the session of a service refund and the order of what the world took back."""

    entry: Entry
    session: Session | None = None
    order: Order | None = None

    @property
    def at(self) -> datetime:
        return self.entry.at


@dataclass(frozen=True, slots=True)
class SignedUp:
    """A user has come."""

    user_id: str
    at: datetime


Fact = Started | Settled | Entered | SignedUp


@dataclass(frozen=True, slots=True)
class Count:
    """`amount` more of a measure of a subject. A measure `name:detail` is a part of `name`, or is asked for itself."""

    subject: str
    measure: str
    amount: int = 1


def counts(fact: Fact) -> Iterator[Count]:
    """What a fact counts for."""
    match fact:
        case Started(session):
            yield from _started(session)
        case Settled(session):
            yield from _settled(session)
        case Entered():
            yield from _entered(fact)
        case SignedUp():
            yield Count(PLATFORM, "sign_ups")
    acting = actor(fact)
    if acting is not None:
        yield Count(spender(acting), "acts")


def actor(fact: Fact) -> str | None:
    """Who has done something by it: signed up, started or extended a session, bought, given, or asked for a payout."""
    match fact:
        case Started(session):
            return session.hirer_id
        case SignedUp(user_id):
            return user_id
        case Entered(entry) if entry.kind in (EntryKind.EXTEND, EntryKind.TRANSFER, EntryKind.PAYOUT):
            return entry.actor
        case Entered(entry) if is_purchase(entry):
            return entry.user_ids[0]
    return None


def is_purchase(entry: Entry) -> bool:
    """Whether it is the first credit of an order: a dispute that is won credits it again, and is no purchase."""
    first = derived_id(Kind.ENTRY, EntryKind.PURCHASE, "order", entry.ref, 0)
    return entry.kind is EntryKind.PURCHASE and entry.id == first


def unit_of(session: Session) -> HireUnit | None:
    """By which unit it was hired: the one whose price its first stretch has, the longest where several agree."""
    if session.pricing is None:
        return None
    leg = session.legs[0]
    fitting = [
        unit
        for unit, minutes in MINUTES.items()
        if leg.minutes % minutes == 0 and leg.price == session.pricing.unit_price(unit) * (leg.minutes // minutes)
    ]
    return max(fitting, key=lambda unit: MINUTES[unit], default=None)


def mark_of(user_id: str) -> str:
    """A short mark that tells users apart: 64 bits, so that a million of them meet with a chance of 1 in 30 million."""
    return hashlib.blake2b(user_id.encode(), digest_size=8).hexdigest()


def _started(session: Session) -> Iterator[Count]:
    yield Count(spender(session.hirer_id), f"started:{session.type.value}")
    agent = of_agent(session.agent_id)
    if session.type is SessionType.HIRED:
        yield Count(agent, "hires")
        yield Count(agent, f"hirer:{mark_of(session.hirer_id)}")
        yield Count(PLATFORM, "hires")
    elif session.type is SessionType.TRIAL:
        yield Count(agent, "trials")
        yield Count(PLATFORM, "trials")


def _settled(session: Session) -> Iterator[Count]:
    ended = session.settlement
    assert ended is not None, "a settled session has its settlement"
    user, spent, minutes = spender(session.hirer_id), ended.consumed.units, ended.minutes
    yield Count(user, "sessions")
    yield Count(user, f"sessions:{session.agent_id}")
    yield Count(user, "minutes", minutes)
    yield Count(user, f"minutes:{session.agent_id}", minutes)
    yield Count(user, "spent", spent)
    yield Count(user, f"spent:{session.agent_id}", spent)
    yield Count(PLATFORM, "commission", ended.distribution.platform.units)
    if session.type is not SessionType.HIRED:
        return
    unit = unit_of(session)
    if unit is not None:
        yield Count(user, f"unit:{unit.value}", spent)
    for role, user_id, share in (
        ("owner", session.owner_id, ended.distribution.owner),
        ("creator", session.creator_id, ended.distribution.creator),
    ):
        yield Count(earner(user_id), role, share.units)
        yield Count(earner(user_id), f"{role}:{session.agent_id}", share.units)
        yield Count(of_agent(session.agent_id), role, share.units)
    for subject in (of_agent(session.agent_id), PLATFORM):
        yield Count(subject, "sessions")
        yield Count(subject, "minutes", minutes)
        yield Count(subject, "gross", spent)
    agent = of_agent(session.agent_id)
    yield Count(agent, f"reason:{ended.reason.value}")
    yield Count(agent, "crashes", session.crashes)
    yield Count(agent, "latency_ms", session.latency_total_ms)
    yield Count(agent, "latency_samples", session.latency_samples)
    yield Count(agent, "successes", int(ended.reason not in UNFAIR and session.crashes == 0))


_PAYOUTS = {
    EntryKind.PAYOUT: "payouts_requested",
    EntryKind.PAYOUT_PAID: "payouts_paid",
    EntryKind.PAYOUT_FAILED: "payouts_failed",
}


def _entered(fact: Entered) -> Iterator[Count]:
    entry = fact.entry
    amount = sum(posting.amount.units for posting in entry.postings)
    match entry.kind:
        case EntryKind.PURCHASE:
            for subject in (spender(entry.user_ids[0]), PLATFORM):
                yield Count(subject, "purchases", int(is_purchase(entry)))
                yield Count(subject, "bought", amount)
            yield Count(PLATFORM, "sold", amount if is_purchase(entry) else 0)
        case EntryKind.RECLAIM:
            for subject in (spender(entry.user_ids[0]), PLATFORM):
                yield Count(subject, "reclaimed", amount)
            yield Count(PLATFORM, "disputes", int(_is_disputed(fact)))
        case EntryKind.MATURE:
            gone = any(posting.target == ledger.PLATFORM_FEES for posting in entry.postings)
            yield Count(PLATFORM, "commission", amount) if gone else Count(earner(entry.ref), "matured", amount)
        case EntryKind.REFUND:
            yield from _refunded(fact, amount)
        case EntryKind.PAYOUT | EntryKind.PAYOUT_PAID | EntryKind.PAYOUT_FAILED:
            for subject in (earner(entry.user_ids[0]), PLATFORM):
                yield Count(subject, _PAYOUTS[entry.kind], amount)


def _is_disputed(fact: Entered) -> bool:
    """Whether a dispute took it: one was opened, or lost, in the same commit."""
    taken = (FactKind.DISPUTE_OPENED, FactKind.DISPUTE_LOST)
    told = fact.order.facts.values() if fact.order is not None else ()
    return any(each.kind in taken and each.at == fact.entry.at for each in told)


def _refunded(fact: Entered, amount: int) -> Iterator[Count]:
    session = fact.session
    assert session is not None, "a service refund is of a session"
    for subject in (spender(session.hirer_id), of_agent(session.agent_id), PLATFORM):
        yield Count(subject, "refunded", amount)
    for posting in fact.entry.postings:
        if posting.source == ledger.PLATFORM_FEES:
            yield Count(PLATFORM, "commission", -posting.amount.units)
        elif posting.source != ledger.LOSS:
            payee = earner(posting.source.split(":")[1])
            yield Count(payee, "returned", posting.amount.units)
            yield Count(payee, f"returned:{session.agent_id}", posting.amount.units)


# ---- what becomes of who signs up


@dataclass(frozen=True, slots=True)
class Customer:
    """A user as the cohorts count it, by weeks of UTC; `cohort` is the week of the sign-up. What is true stays true."""

    id: str
    cohort: str | None = None
    is_customer: bool = False  # has ever bought DOF or hired
    converted: bool = False  # has bought or hired in the week of the sign-up
    hired_first: bool = False  # has hired in that week
    hired_second: bool = False  # has hired in the week after it


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who signed up in one week; `id` is its Monday. `returned` are those of `hired` who hired in the next week too."""

    id: str
    signed_up: int
    converted: int
    hired: int
    returned: int


def customer_of(fact: Fact) -> str | None:
    """Whom the fact makes a customer, or at least somebody to count: who has hired, bought, or come."""
    match fact:
        case Started(session) if session.type is SessionType.HIRED:
            return session.hirer_id
        case Entered(entry) if is_purchase(entry):
            return entry.user_ids[0]
        case SignedUp(user_id):
            return user_id
    return None


def note(customer: Customer, facts: Iterable[Fact]) -> Customer:
    """The customer with what the facts tell, in whatever order, however often."""
    for fact in facts:
        if isinstance(fact, SignedUp):
            continue
        week, hired = week_of(fact.at), isinstance(fact, Started)
        first = week == customer.cohort
        second = customer.cohort is not None and week == week_after(customer.cohort)
        customer = replace(
            customer,
            is_customer=True,
            converted=customer.converted or first,
            hired_first=customer.hired_first or (hired and first),
            hired_second=customer.hired_second or (hired and second),
        )
    return customer


# ---- adding up

Cells = Mapping[datetime, Mapping[str, int]]
"""What was counted, by the beginning of the quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Series:
    """The counts of a range: of each span, and of them together."""

    spans: tuple[Span, ...]
    points: tuple[Mapping[str, int], ...]
    total: Mapping[str, int]


def add_up(cells: Cells, spans: Sequence[Span]) -> Series:
    """The cells within the spans. Spans follow each other without a gap, and each cell lies within one of them."""
    points: list[Counter[str]] = [Counter() for _ in spans]
    starts = [span.start for span in spans]
    for at, cell in cells.items():
        place = bisect_right(starts, at) - 1
        if place >= 0 and at < spans[-1].end:
            points[place].update(cell)
    total: Counter[str] = Counter()
    for point in points:
        total.update(point)
    return Series(tuple(spans), tuple(points), total)


def details(counted: Mapping[str, int], measure: str) -> dict[str, int]:
    """The parts of a measure by their names."""
    head = f"{measure}:"
    return {name.removeprefix(head): amount for name, amount in counted.items() if name.startswith(head)}
