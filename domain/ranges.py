"""Ranges of days as a viewer's own calendar has them: each day, week and month from its first to its last moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from itertools import pairwise

from domain.errors import BadInput

DAY = timedelta(days=1)
QUARTER = timedelta(minutes=15)
"""The grain of what is counted. Every zone's clock stands a multiple of it apart from UTC, and has since 1972: so each
zone's days begin and end between two of them (a test asks all zones of the IANA database)."""

DAYS_MAX = 400  # a year, and the month before it to compare with
POINTS_MAX = 100  # of a series, as of a page
FIRST_DAY, LAST_DAY = date(2020, 1, 1), date(2100, 12, 31)  # before the store, and beyond what zones are known for


class Granularity(StrEnum):
    """How a range is cut. Weeks begin on Monday (ISO 8601); the first and the last may be cut short by the range."""

    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


@dataclass(frozen=True, slots=True)
class DateRange:
    """The days from `first` to `last`, both of them whole, as the clocks of `zone` have them."""

    first: date
    last: date
    zone: tzinfo
    granularity: Granularity = Granularity.DAY

    def __post_init__(self) -> None:
        """Raises BadInput for a range that is upside down, too long, or out of bounds."""
        if not FIRST_DAY <= self.first <= LAST_DAY:
            raise BadInput(f"A range begins between {FIRST_DAY} and {LAST_DAY}.", field="range.from")
        if not self.first <= self.last <= LAST_DAY:
            raise BadInput(f"A range ends on its first day or later, until {LAST_DAY}.", field="range.to")
        days = (self.last - self.first).days + 1
        if days > DAYS_MAX:
            raise BadInput(f"A range has at most {DAYS_MAX} days, not {days}: ask for a part of it.", field="range.to")
        if self.granularity is Granularity.DAY and days > POINTS_MAX:
            raise BadInput(
                f"By the day a range has at most {POINTS_MAX} days, not {days}: ask by WEEK or MONTH.",
                field="range.granularity",
            )


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` on, before `end`; both in UTC."""

    start: datetime
    end: datetime


def spans(asked: DateRange) -> tuple[Span, ...]:
    """The range, cut. A day on which the clocks change has 23 or 25 hours, or what the zone says; nothing is left out
    or in two spans."""
    days = (asked.first + DAY * number for number in range((asked.last - asked.first).days + 1))
    edges = [begins(day, asked.zone) for day in days if day == asked.first or _cuts(day, asked.granularity)]
    edges.append(begins(asked.last + DAY, asked.zone))
    return tuple(Span(start, end) for start, end in pairwise(edges))


def begins(day: date, zone: tzinfo) -> datetime:
    """The first moment of a day, in UTC. Where clocks jump over midnight it is the jump; where midnight comes twice, it
    is the first of the two (PEP 495: `fold` is 0)."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _cuts(day: date, granularity: Granularity) -> bool:
    match granularity:
        case Granularity.DAY:
            return True
        case Granularity.WEEK:
            return day.weekday() == 0
        case Granularity.MONTH:
            return day.day == 1


def midnight(day: date) -> datetime:
    """The beginning of a day of UTC."""
    return datetime.combine(day, time(), UTC)


def noon(day: date) -> datetime:
    """The middle of a day of UTC. The day of a zone in which it lies has half of that day or more.

    So what is counted by whole days of UTC falls to one day of every zone. Only Pacific/Norfolk has a day with two
    noons and one with none, where its clocks change (a test asks all zones).
    """
    return datetime.combine(day, time(12), UTC)


def quarter_of(moment: datetime) -> datetime:
    """The beginning of the quarter of an hour, in UTC."""
    at = moment.astimezone(UTC)
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)


def week_of(moment: datetime) -> str:
    """The Monday of the moment's week, in UTC, as a text that sorts."""
    day = moment.astimezone(UTC).date()
    return (day - DAY * day.weekday()).isoformat()


def week_after(week: str) -> str:
    """The Monday that follows one."""
    return (date.fromisoformat(week) + 7 * DAY).isoformat()
