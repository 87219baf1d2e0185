"""Analytics: sums over a range of days, and the same sums cut into days, weeks or months."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import TypeVar

import strawberry

from domain import ranges
from domain.analytics import Series, details
from domain.money import Dof
from domain.pricing import HireUnit
from domain.ranges import Granularity, Span
from domain.sessions import EndReason
from firestore.analytics import Rating
from firestore.rows import CountingMark
from graph.context import Context, Info
from graph.enums import enum
from graph.scalars import zone_of
from graph.sizes import at_most
from graph.types.agents import Agent, agent_of

enum(Granularity, "How a range is cut into points. Weeks begin on Monday.")
LARGEST_MAX = 100  # parts of a breakdown that are shown, the largest first

P = TypeVar("P")
Counted = Mapping[str, int]


@strawberry.input(
    description="Whole days, the first and the last among them: at most 400, and 100 by the day. A day begins at "
    "midnight in `timezone`, an IANA name such as Asia/Kolkata; where it is left out, in your profile's."
)
class DateRange:
    from_: date = strawberry.field(name="from")
    to: date
    timezone: str | None = None
    granularity: Granularity = Granularity.DAY

    async def read(self, context: Context) -> tuple[str, ranges.DateRange]:
        """The range and its zone, the viewer's own where none is named. Raises BadInput."""
        timezone = self.timezone or (await context.user()).timezone
        return timezone, ranges.DateRange(self.from_, self.to, zone_of(timezone, "range.timezone"), self.granularity)


@strawberry.type(description="A day, week or month of the range: from `from` on, before `to`.")
class AgentPoint:
    from_: datetime = strawberry.field(name="from")
    to: datetime
    hires: int
    sessions: int
    minutes: int
    gross: Dof
    owner_earnings: Dof
    unique_hirers: int
    crashes: int

    @classmethod
    def of(cls, span: Span, counted: Counted) -> AgentPoint:
        return cls(
            from_=span.start,
            to=span.end,
            hires=counted.get("hires", 0),
            sessions=counted.get("sessions", 0),
            minutes=counted.get("minutes", 0),
            gross=dof_of(counted, "gross"),
            owner_earnings=dof_of(counted, "owner"),
            unique_hirers=len(details(counted, "hirer")),
            crashes=counted.get("crashes", 0),
        )


@strawberry.type
class EndReasonCount:
    reason: EndReason
    sessions: int


@strawberry.type(
    description="How an agent was hired, whoever owned it then. A hire counts when it begins; minutes, DOF and ratings "
    "of quality count when its session is settled. Trials and the owner's own sessions are in `trials` or nowhere."
)
class AgentAnalytics:
    agent_id: strawberry.ID
    timezone: str
    until: datetime | None = strawberry.field(description="What was recorded before this moment is counted.")
    hires: int
    trials: int
    sessions: int = strawberry.field(description="Hired sessions that were settled.")
    minutes: int = strawberry.field(description="Billed minutes of them.")
    active_hours: float = strawberry.field(description="The same in hours.")
    gross: Dof = strawberry.field(description="What they cost their hirers, refunds not taken off.")
    owner_earnings: Dof
    creator_earnings: Dof
    refunded: Dof = strawberry.field(description="Given back to hirers in the range, also for earlier sessions.")
    unique_hirers: int = strawberry.field(description="Users who hired it, each once; up to some 20,000 a day.")
    average_rating: float | None = strawberry.field(description="Of the reviews written in the range, as they are now.")
    rating_count: int
    success_rate: float | None = strawberry.field(
        description="Sessions without a crash that neither the owner nor a moderator ended, of all that were settled."
    )
    completion_rate: float | None = strawberry.field(
        description="Sessions that used all of their time or of their DOF, of all that were settled."
    )
    average_latency_ms: int | None
    crashes: int
    end_reasons: list[EndReasonCount] = strawberry.field(metadata=at_most(len(EndReason)))
    points: list[AgentPoint] = strawberry.field(metadata=at_most(ranges.POINTS_MAX))

    @classmethod
    def of(cls, agent_id: str, timezone: str, mark: CountingMark, series: Series, rating: Rating) -> AgentAnalytics:
        total = series.total
        sessions, samples = total.get("sessions", 0), total.get("latency_samples", 0)
        reasons = details(total, "reason")
        completed = reasons.get(EndReason.COMPLETED, 0) + reasons.get(EndReason.EXHAUSTED, 0)
        return cls(
            agent_id=strawberry.ID(agent_id),
            timezone=timezone,
            until=mark.counted_until,
            hires=total.get("hires", 0),
            trials=total.get("trials", 0),
            sessions=sessions,
            minutes=total.get("minutes", 0),
            active_hours=round(total.get("minutes", 0) / 60, 2),
            gross=dof_of(total, "gross"),
            owner_earnings=dof_of(total, "owner"),
            creator_earnings=dof_of(total, "creator"),
            refunded=dof_of(total, "refunded"),
            unique_hirers=len(details(total, "hirer")),
            average_rating=rate_of(rating.sum, rating.count),
            rating_count=rating.count,
            success_rate=rate_of(total.get("successes", 0), sessions),
            completion_rate=rate_of(completed, sessions),
            average_latency_ms=mean_of(total.get("latency_ms", 0), samples),
            crashes=total.get("crashes", 0),
            end_reasons=[EndReasonCount(reason=each, sessions=reasons[each]) for each in EndReason if each in reasons],
            points=points_of(series, AgentPoint.of),
        )


@strawberry.type(description="A day, week or month of the range: from `from` on, before `to`.")
class EarningsPoint:
    from_: datetime = strawberry.field(name="from")
    to: datetime
    earned: Dof
    returned: Dof
    matured: Dof
    payouts_requested: Dof

    @classmethod
    def of(cls, span: Span, counted: Counted) -> EarningsPoint:
        return cls(
            from_=span.start,
            to=span.end,
            earned=dof_of(counted, "owner", "creator"),
            returned=dof_of(counted, "returned"),
            matured=dof_of(counted, "matured"),
            payouts_requested=dof_of(counted, "payouts_requested"),
        )


@strawberry.type
class AgentEarnings:
    agent_id: strawberry.ID
    as_owner: Dof
    as_creator: Dof
    returned: Dof

    @strawberry.field
    async def agent(self, info: Info) -> Agent:
        return await agent_of(info, self.agent_id)


@strawberry.type(description="What you earned. A session's shares count when it is settled.")
class EarningsAnalytics:
    timezone: str
    until: datetime | None = strawberry.field(description="What was recorded before this moment is counted.")
    earned: Dof = strawberry.field(description="As owner and as creator together, refunds not taken off.")
    as_owner: Dof
    as_creator: Dof
    returned: Dof = strawberry.field(description="Taken back by service refunds in the range, also of earlier shares.")
    matured: Dof = strawberry.field(description="Became available in the range.")
    maturing: Dof = strawberry.field(description="Settled to you and not matured: now, whatever the range.")
    payouts_requested: Dof
    payouts_paid: Dof
    payouts_failed: Dof
    by_agent: list[AgentEarnings] = strawberry.field(
        metadata=at_most(LARGEST_MAX), description="The 100 that brought most, the first of all first."
    )
    points: list[EarningsPoint] = strawberry.field(metadata=at_most(ranges.POINTS_MAX))

    @classmethod
    def of(cls, timezone: str, mark: CountingMark, series: Series, maturing: Dof) -> EarningsAnalytics:
        total = series.total
        owner, creator, returned = (details(total, name) for name in ("owner", "creator", "returned"))
        earned = {each: owner.get(each, 0) + creator.get(each, 0) for each in {*owner, *creator, *returned}}
        return cls(
            timezone=timezone,
            until=mark.counted_until,
            earned=dof_of(total, "owner", "creator"),
            as_owner=dof_of(total, "owner"),
            as_creator=dof_of(total, "creator"),
            returned=dof_of(total, "returned"),
            matured=dof_of(total, "matured"),
            maturing=maturing,
            payouts_requested=dof_of(total, "payouts_requested"),
            payouts_paid=dof_of(total, "payouts_paid"),
            payouts_failed=dof_of(total, "payouts_failed"),
            by_agent=[
                AgentEarnings(
                    agent_id=strawberry.ID(each),
                    as_owner=Dof(owner.get(each, 0)),
                    as_creator=Dof(creator.get(each, 0)),
                    returned=Dof(returned.get(each, 0)),
                )
                for each in largest(earned)
            ],
            points=points_of(series, EarningsPoint.of),
        )


@strawberry.type(description="A day, week or month of the range: from `from` on, before `to`.")
class UsagePoint:
    from_: datetime = strawberry.field(name="from")
    to: datetime
    sessions: int
    minutes: int
    spent: Dof
    bought: Dof

    @classmethod
    def of(cls, span: Span, counted: Counted) -> UsagePoint:
        return cls(
            from_=span.start,
            to=span.end,
            sessions=counted.get("sessions", 0),
            minutes=counted.get("minutes", 0),
            spent=dof_of(counted, "spent"),
            bought=dof_of(counted, "bought"),
        )


@strawberry.type
class AgentUse:
    agent_id: strawberry.ID
    sessions: int
    minutes: int
    spent: Dof

    @strawberry.field
    async def agent(self, info: Info) -> Agent:
        return await agent_of(info, self.agent_id)


@strawberry.type
class GameUse:
    game: str
    minutes: int
    spent: Dof


@strawberry.type
class UnitUse:
    unit: HireUnit
    spent: Dof


@strawberry.type(description="What you used. A session counts as begun when it begins, and in all else when settled.")
class UsageAnalytics:
    timezone: str
    until: datetime | None = strawberry.field(description="What was recorded before this moment is counted.")
    hires: int
    trials: int
    own_sessions: int = strawberry.field(description="Sessions begun with your own agents.")
    sessions: int = strawberry.field(description="Sessions of all three kinds that were settled.")
    minutes: int
    spent: Dof = strawberry.field(description="What they cost, refunds not taken off.")
    refunded: Dof = strawberry.field(description="Service refunds that came back in the range, also for earlier ones.")
    purchases: int
    bought: Dof = strawberry.field(description="DOF that came in for money.")
    by_agent: list[AgentUse] = strawberry.field(
        metadata=at_most(LARGEST_MAX), description="The 100 on which most was spent, the first of all first."
    )
    by_game: list[GameUse] = strawberry.field(
        metadata=at_most(LARGEST_MAX),
        description="Of those agents, by the games that each is for today. An agent for two games counts in both.",
    )
    by_unit: list[UnitUse] = strawberry.field(
        metadata=at_most(len(HireUnit)), description="Of hires, by the unit of their first stretch."
    )
    points: list[UsagePoint] = strawberry.field(metadata=at_most(ranges.POINTS_MAX))

    @classmethod
    def of(
        cls, timezone: str, mark: CountingMark, series: Series, by_agent: list[AgentUse], by_game: list[GameUse]
    ) -> UsageAnalytics:
        total = series.total
        units = details(total, "unit")
        return cls(
            timezone=timezone,
            until=mark.counted_until,
            hires=total.get("started:HIRED", 0),
            trials=total.get("started:TRIAL", 0),
            own_sessions=total.get("started:OWNED", 0),
            sessions=total.get("sessions", 0),
            minutes=total.get("minutes", 0),
            spent=dof_of(total, "spent"),
            refunded=dof_of(total, "refunded"),
            purchases=total.get("purchases", 0),
            bought=dof_of(total, "bought"),
            by_agent=by_agent,
            by_game=by_game,
            by_unit=[UnitUse(unit=each, spent=Dof(units[each])) for each in HireUnit if each in units],
            points=points_of(series, UsagePoint.of),
        )


def largest(amounts: Mapping[str, int]) -> list[str]:
    """The names of the largest amounts, at most 100; equal ones by name."""
    return sorted(amounts, key=lambda name: (-amounts[name], name))[:LARGEST_MAX]


def points_of(series: Series, make: Callable[[Span, Counted], P]) -> list[P]:
    return [make(span, counted) for span, counted in zip(series.spans, series.points, strict=True)]


def dof_of(counted: Counted, *names: str) -> Dof:
    return Dof(sum(counted.get(name, 0) for name in names))


def rate_of(part: int, whole: int) -> float | None:
    """A share or a mean to four digits; None of nothing. No money."""
    return round(part / whole, 4) if whole else None


def mean_of(total: int, count: int) -> int | None:
    """Rounded half up; None of nothing."""
    return (2 * total + count) // (2 * count) if count else None
