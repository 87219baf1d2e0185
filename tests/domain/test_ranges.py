"""A viewer's days, weeks and months: whole, in order, without a gap, on whatever clock (T-F15)."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from domain.errors import BadInput
from domain.ranges import DateRange, Granularity, Span, begins, noon, quarter_of, spans, week_after, week_of

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BERLIN, KOLKATA = zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("Asia/Kolkata")


def hours(zone: str, first: str, last: str, granularity: Granularity = Granularity.DAY) -> list[float]:
    asked = DateRange(date.fromisoformat(first), date.fromisoformat(last), zoneinfo.ZoneInfo(zone), granularity)
    return [(span.end - span.start) / HOUR for span in spans(asked)]


@pytest.mark.parametrize(
    ("zone", "first", "last", "lengths"),
    [
        ("Europe/Berlin", "2026-03-28", "2026-03-30", [24, 23, 24]),
        ("Europe/Berlin", "2026-10-24", "2026-10-26", [24, 25, 24]),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-05", [24.5]),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-04", [23.5]),
        ("Africa/Cairo", "2026-04-23", "2026-04-25", [24, 23, 24]),  # its clocks jump over midnight
        ("America/Havana", "2026-10-31", "2026-11-02", [24, 25, 24]),  # midnight comes twice
        ("Asia/Kolkata", "2026-12-31", "2027-01-01", [24, 24]),
        ("UTC", "2028-02-28", "2028-03-01", [24, 24, 24]),
    ],
)
def test_t_f15_a_day_is_as_long_as_its_zone_says(zone: str, first: str, last: str, lengths: list[float]) -> None:
    assert hours(zone, first, last) == lengths


def test_t_f15_months_and_leap_days() -> None:
    month = Granularity.MONTH
    assert hours("UTC", "2028-01-15", "2028-03-10", month) == [17 * 24, 29 * 24, 10 * 24]
    assert hours("UTC", "2027-02-01", "2027-02-28", month) == [28 * 24]
    assert hours("Europe/Berlin", "2026-03-01", "2026-03-31", month) == [31 * 24 - 1]


def test_t_f15_weeks_begin_on_monday_and_the_range_cuts_them() -> None:
    asked = DateRange(date(2026, 2, 26), date(2026, 3, 10), KOLKATA, Granularity.WEEK)
    assert [span.start.astimezone(KOLKATA).isoformat() for span in spans(asked)] == [
        "2026-02-26T00:00:00+05:30",
        "2026-03-02T00:00:00+05:30",
        "2026-03-09T00:00:00+05:30",
    ]
    assert spans(asked)[-1].end == datetime(2026, 3, 10, 18, 30, tzinfo=UTC)


def test_t_f15_every_zone_has_its_midnights_between_two_quarters() -> None:
    """The grain suits every zone of the database, from the store's first year on, and no two days touch."""
    assert len(zoneinfo.available_timezones()) > 400
    days = [date(2020, 1, 1) + DAY * number for number in range(0, 366 * 8, 7)]
    for name in zoneinfo.available_timezones():
        zone = zoneinfo.ZoneInfo(name)
        starts = [begins(day, zone) for day in days]
        assert all(start == quarter_of(start) for start in starts), name
        assert all(start < end for start, end in pairwise(starts)), name


def test_every_zone_s_day_holds_the_noon_of_one_day_of_utc() -> None:
    days = [date(2026, 1, 1) + DAY * number for number in range(365)]
    others: dict[str, list[int]] = {}
    for name in zoneinfo.available_timezones():
        starts = [begins(day, zoneinfo.ZoneInfo(name)) for day in (*days, days[-1] + DAY)]
        near = ([noon(day + DAY * way) for way in (-1, 0, 1)] for day in days)
        held = [
            sum(start <= each < end for each in noons)
            for noons, (start, end) in zip(near, pairwise(starts), strict=True)
        ]
        if found := [number for number in held if number != 1]:
            others[name] = found
    assert others == {"Pacific/Norfolk": [2, 0]}


@pytest.mark.parametrize(
    ("first", "last", "granularity", "field"),
    [
        (date(2019, 12, 31), date(2020, 1, 1), Granularity.DAY, "range.from"),
        (date(2101, 1, 1), date(2101, 1, 1), Granularity.DAY, "range.from"),
        (date(2026, 3, 2), date(2026, 3, 1), Granularity.DAY, "range.to"),
        (date(2100, 12, 31), date(2101, 1, 1), Granularity.DAY, "range.to"),
        (date(2026, 1, 1), date(2026, 1, 1) + 400 * DAY, Granularity.MONTH, "range.to"),
        (date(2026, 1, 1), date(2026, 1, 1) + 100 * DAY, Granularity.DAY, "range.granularity"),
    ],
)
def test_a_range_has_its_bounds(first: date, last: date, granularity: Granularity, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        DateRange(first, last, UTC, granularity)
    assert refused.value.field == field


def test_the_longest_ranges_are_taken() -> None:
    assert len(spans(DateRange(date(2026, 1, 1), date(2026, 1, 1) + 99 * DAY, BERLIN))) == 100
    long = DateRange(date(2026, 1, 1), date(2026, 1, 1) + 399 * DAY, BERLIN, Granularity.WEEK)
    assert spans(long)[0] == Span(datetime(2025, 12, 31, 23, tzinfo=UTC), datetime(2026, 1, 4, 23, tzinfo=UTC))
    assert (spans(long)[-1].end - spans(long)[0].start) == 400 * DAY


def test_weeks_of_utc() -> None:
    assert week_of(datetime(2026, 3, 1, 23, 59, tzinfo=UTC)) == "2026-02-23"
    assert week_of(datetime(2026, 3, 2, tzinfo=UTC)) == "2026-03-02"
    assert week_after("2026-12-28") == "2027-01-04"
