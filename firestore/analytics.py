"""Analytics as viewers ask for them: sums over the roll-up's documents, and what only the present tells."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from domain.analytics import Cohort, Series, add_up
from domain.ids import Kind, derived_id
from domain.listings import ListingStatus
from domain.ranges import DAY, DateRange, Span, spans, week_of
from firestore.backend import Aggregate, Backend, Filter, Order, Query, Value
from firestore.collections import COHORTS, CUSTOMERS, FIGURES, LISTINGS, PLATFORM_DAYS, REVIEWS
from firestore.roll_up import moment_of, read_cells

PAGE = 100  # days in one RPC: five for the longest range


@dataclass(frozen=True, slots=True)
class Rating:
    """The reviews that were written in a range, with the ratings that they have now."""

    sum: int
    count: int


@dataclass(frozen=True, slots=True)
class PlatformSeries:
    """The store's counts. `active` is, by day of UTC, how many users did something on it."""

    series: Series
    active: Mapping[date, int]
    cohorts: tuple[Cohort, ...]
    active_listings: int
    customers: int
    commission: int


class Analytics:
    """Every method raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def of_subject(self, subject: str, asked: DateRange) -> Series:
        """What was counted of a subject. One RPC for 100 days: five at most."""
        cut = spans(asked)
        first, last = _days(cut)
        filters = (Filter("subject", "==", subject), Filter("day", ">=", first), Filter("day", "<=", last))
        cells: dict[datetime, Mapping[str, int]] = {}
        after: tuple[Value, ...] | None = None
        while True:  # ends: each page lies behind the one before, and a range has some 400 days
            found = await self._backend.query(Query(FIGURES.name, filters, (Order("day"),), PAGE, after))
            for snapshot in found:
                figures = FIGURES.decode(snapshot)
                cells |= _cells(figures.day, figures.cells)
            if len(found) < PAGE:
                return add_up(cells, cut)
            after = (found[-1].data["day"], found[-1].id)

    async def rating(self, agent_id: str, asked: DateRange) -> Rating:
        """The reviews of an agent's listing that were written in the range. One RPC."""
        cut = spans(asked)
        filters = (
            Filter("listing_id", "==", derived_id(Kind.LISTING, agent_id)),
            Filter("created_at", ">=", cut[0].start),
            Filter("created_at", "<", cut[-1].end),
        )
        wanted = {"count": Aggregate("count"), "sum": Aggregate("sum", "rating")}
        figures = await self._backend.aggregate(Query(REVIEWS.name, filters), wanted)
        return Rating(int(figures["sum"]), int(figures["count"]))

    async def of_platform(self, asked: DateRange) -> PlatformSeries:
        """What was counted of the whole store. Four RPCs, and one for 100 days: nine at most, in one round."""
        cut = spans(asked)
        first, last = map(date.fromisoformat, _days(cut))
        days = [(first + DAY * number).isoformat() for number in range((last - first).days + 1)]
        weeks = sorted({week for week in map(_monday, days) if cut[0].start.date() <= date.fromisoformat(week)})
        parts = [days[start : start + PAGE] for start in range(0, len(days), PAGE)]
        paths = [[COHORTS.at(week) for week in weeks], *([PLATFORM_DAYS.at(day) for day in part] for part in parts)]
        (listings, customers, commission), (cohorts, *pages) = await asyncio.gather(
            asyncio.gather(
                self._figure(Query(LISTINGS.name, (Filter("status", "==", ListingStatus.ACTIVE.value),))),
                self._figure(Query(CUSTOMERS.name, (Filter("is_customer", "==", True),))),
                self._figure(Query(PLATFORM_DAYS.name), Aggregate("sum", "commission")),
            ),
            asyncio.gather(*map(self._backend.get_many, paths)),
        )
        counted = [PLATFORM_DAYS.decode(each) for page in pages for each in page if each is not None]
        cells: dict[datetime, Mapping[str, int]] = {}
        for day in counted:
            cells |= _cells(day.id, day.cells)
        return PlatformSeries(
            series=add_up(cells, cut),
            active={date.fromisoformat(day.id): day.active for day in counted},
            cohorts=tuple(COHORTS.decode(each) for each in cohorts if each is not None),
            active_listings=listings,
            customers=customers,
            commission=commission,
        )

    async def _figure(self, query: Query, aggregate: Aggregate | None = None) -> int:
        figures = await self._backend.aggregate(query, {"figure": aggregate or Aggregate("count")})
        return int(figures["figure"])


def _days(cut: Sequence[Span]) -> tuple[str, str]:
    """The first and the last day of UTC that a range touches."""
    last = cut[-1].end.date() if cut[-1].end.time() != datetime.min.time() else cut[-1].end.date() - DAY
    return cut[0].start.date().isoformat(), last.isoformat()


def _monday(day: str) -> str:
    return week_of(moment_of(day, 0))


def _cells(day: str, text: str) -> dict[datetime, Mapping[str, int]]:
    return {moment_of(day, number): cell for number, cell in read_cells(text).items()}
