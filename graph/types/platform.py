"""The store's own figures, for admins: what each one is, is said at its field, and none is guessed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

import strawberry

from domain import analytics
from domain.money import Dof
from domain.ranges import DAYS_MAX, POINTS_MAX, Span, noon
from firestore.analytics import PlatformSeries
from firestore.rows import CountingMark
from graph.sizes import at_most
from graph.types.analytics import Counted, dof_of, mean_of, rate_of


@strawberry.type(description="Who signed up in one week of UTC, and what became of them.")
class Cohort:
    week: date = strawberry.field(description="Its Monday.")
    signed_up: int
    converted: int = strawberry.field(description="Of them, bought DOF or hired in the same week.")
    hired: int = strawberry.field(description="Of them, hired in the same week.")
    returned: int = strawberry.field(description="Of those who hired, hired again in the week after.")
    conversion_rate: float | None
    retention_rate: float | None = strawberry.field(description="`returned` of `hired`; final once that week is over.")

    @classmethod
    def of(cls, record: analytics.Cohort) -> Cohort:
        return cls(
            week=date.fromisoformat(record.id),
            signed_up=record.signed_up,
            converted=record.converted,
            hired=record.hired,
            returned=record.returned,
            conversion_rate=rate_of(record.converted, record.signed_up),
            retention_rate=rate_of(record.returned, record.hired),
        )


@strawberry.type(description="A day, week or month of the range: from `from` on, before `to`.")
class PlatformPoint:
    from_: datetime = strawberry.field(name="from")
    to: datetime
    sign_ups: int
    hires: int
    minutes: int
    gmv: Dof
    commission: Dof
    purchases: int
    dof_bought: Dof
    daily_active_users: float | None

    @classmethod
    def of(cls, span: Span, counted: Counted, found: PlatformSeries) -> PlatformPoint:
        return cls(
            from_=span.start,
            to=span.end,
            sign_ups=counted.get("sign_ups", 0),
            hires=counted.get("hires", 0),
            minutes=counted.get("minutes", 0),
            gmv=dof_of(counted, "gross"),
            commission=dof_of(counted, "commission"),
            purchases=counted.get("purchases", 0),
            dof_bought=dof_of(counted, "bought"),
            daily_active_users=_daily(found, span),
        )


@strawberry.type(
    description="Counted of what is recorded. Views and visits are not recorded, so nothing is said of them."
)
class PlatformAnalytics:
    timezone: str
    until: datetime | None = strawberry.field(description="What was recorded before this moment is counted.")
    active_listings: int = strawberry.field(description="Listings that take hires: now, whatever the range.")
    daily_active_users: float | None = strawberry.field(
        description="Users who did something on a day, the mean of the days of UTC whose noon lies in the range: "
        "signed up, began or extended a session, had a purchase credited, gave DOF, asked for a payout. Reading is not "
        "recorded."
    )
    sign_ups: int
    hires: int = strawberry.field(description="Hired sessions that began.")
    trials: int
    sessions: int = strawberry.field(description="Hired sessions that were settled.")
    minutes: int = strawberry.field(description="Billed minutes of them.")
    gmv: Dof = strawberry.field(description="What they cost, refunds not taken off.")
    average_hire: Dof | None = strawberry.field(description="`gmv` for each of `sessions`.")
    refunded: Dof = strawberry.field(description="Service refunds given in the range, also of earlier sessions.")
    refund_rate: float | None = strawberry.field(description="`refunded` for `gmv`.")
    commission: Dof = strawberry.field(
        description="What reached platform:fees, of hires and of owners' own sessions, less what service refunds took."
    )
    purchases: int = strawberry.field(description="Orders that were credited for the first time.")
    dof_bought: Dof = strawberry.field(description="DOF that came in for money, also when a dispute was won.")
    dof_reclaimed: Dof = strawberry.field(description="DOF that went back with refunds, cancellations and disputes.")
    average_purchase: Dof | None = strawberry.field(description="DOF of a purchase, of the first credits alone.")
    disputes: int = strawberry.field(description="Disputes that took DOF.")
    dispute_rate: float | None = strawberry.field(description="`disputes` for `purchases`.")
    payouts_requested: Dof
    payouts_paid: Dof
    payouts_failed: Dof
    customers: int = strawberry.field(description="Users who ever bought or hired: now, whatever the range.")
    lifetime_value: Dof | None = strawberry.field(
        description="All commission since the opening for each of `customers`: what one brought so far, no forecast."
    )
    conversion_rate: float | None = strawberry.field(description="Of all `cohorts` together.")
    retention_rate: float | None = strawberry.field(description="Of all `cohorts` together.")
    cohorts: list[Cohort] = strawberry.field(
        metadata=at_most(DAYS_MAX // 7 + 1), description="The weeks of UTC that begin in the range."
    )
    points: list[PlatformPoint] = strawberry.field(metadata=at_most(POINTS_MAX))

    @classmethod
    def of(cls, timezone: str, mark: CountingMark, found: PlatformSeries) -> PlatformAnalytics:
        total, spans = found.series.total, found.series.spans
        sessions, purchases, gross = (total.get(name, 0) for name in ("sessions", "purchases", "gross"))
        return cls(
            timezone=timezone,
            until=mark.counted_until,
            active_listings=found.active_listings,
            daily_active_users=_daily(found, Span(spans[0].start, spans[-1].end)),
            sign_ups=total.get("sign_ups", 0),
            hires=total.get("hires", 0),
            trials=total.get("trials", 0),
            sessions=sessions,
            minutes=total.get("minutes", 0),
            gmv=Dof(gross),
            average_hire=_each(gross, sessions),
            refunded=dof_of(total, "refunded"),
            refund_rate=rate_of(total.get("refunded", 0), gross),
            commission=dof_of(total, "commission"),
            purchases=purchases,
            dof_bought=dof_of(total, "bought"),
            dof_reclaimed=dof_of(total, "reclaimed"),
            average_purchase=_each(total.get("sold", 0), purchases),
            disputes=total.get("disputes", 0),
            dispute_rate=rate_of(total.get("disputes", 0), purchases),
            payouts_requested=dof_of(total, "payouts_requested"),
            payouts_paid=dof_of(total, "payouts_paid"),
            payouts_failed=dof_of(total, "payouts_failed"),
            customers=found.customers,
            lifetime_value=_each(found.commission, found.customers),
            conversion_rate=_of_all((each.converted, each.signed_up) for each in found.cohorts),
            retention_rate=_of_all((each.returned, each.hired) for each in found.cohorts),
            cohorts=[Cohort.of(each) for each in found.cohorts],
            points=[
                PlatformPoint.of(span, counted, found) for span, counted in zip(spans, found.series.points, strict=True)
            ],
        )


def _daily(found: PlatformSeries, span: Span) -> float | None:
    """The mean of the days of UTC whose noon lies in a span, and which were counted."""
    days = [active for day, active in found.active.items() if span.start <= noon(day) < span.end]
    return rate_of(sum(days), len(days))


def _each(total: int, count: int) -> Dof | None:
    """A part of an amount for each, rounded half up; None where there is nobody."""
    mean = mean_of(total, count)
    return None if mean is None else Dof(mean)


def _of_all(parts: Iterable[tuple[int, int]]) -> float | None:
    told = list(parts)
    return rate_of(sum(part for part, _ in told), sum(whole for _, whole in told))
