"""The roll-up: what is recorded is counted once, on whichever clock, however often and in however many runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import analytics, ledger, pricing
from domain.analytics import Cohort, Customer, earner, of_agent, spender
from domain.hiring import hired
from domain.ids import Kind, derived_id
from domain.ledger import Entry, EntryKind, Posting
from domain.money import Dof
from domain.orders import FactKind, Report
from domain.pricing import HireUnit, SessionConfiguration
from domain.ranges import DAY, DateRange, Granularity
from domain.reviews import ReviewChange, ReviewWish
from domain.sessions import EndReason, Session, SessionType, settle
from firestore.backend import Backend, Write
from firestore.collections import COHORTS, CUSTOMERS, ENTRIES, FIGURES, PLATFORM_DAYS, SESSIONS, USERS
from firestore.counting import CountingBackend
from firestore.memory import MemoryBackend
from firestore.roll_up import CELLS_CHARACTERS_MAX, Overtaken, read_cells, write_cells
from firestore.rows import bucket_of
from firestore.sessions import Start
from tests.make import (
    MINUTE,
    NOW,
    PLAIN,
    SECOND,
    SHARES,
    STEADY,
    SURCHARGES,
    World,
    agent,
    facts,
    listing,
    paid,
    user,
    user_id,
    wish,
)
from tests.nouns import agent_id

HOUR = timedelta(hours=1)
NOVA, ADA, CLEO, MAX = agent_id("nova"), user_id("ada"), user_id("cleo"), user_id("max")
QUARTER = timedelta(minutes=15)


def a_session(number: int, at: datetime, hirer: str = "max", of: str = "nova", quantity: int = 1) -> Session:
    offered = listing(agent(of))
    priced = pricing.quote(offered.pricing, HireUnit.HOUR, quantity, PLAIN, SURCHARGES)
    session_id = derived_id(Kind.SESSION, number)
    made = hired(session_id, user_id(hirer), offered, PLAIN, priced, SHARES, "mark", at)
    return replace(made, bucket=bucket_of(session_id))


def an_entry(number: int, kind: EntryKind, at: datetime, who: str, *postings: Posting, ref: str = "ref") -> Entry:
    entry_id = derived_id(Kind.ENTRY, kind, "made", number)
    users = tuple(sorted({*ledger.user_ids(postings), user_id(who)}))
    return Entry(entry_id, kind, ref, user_id(who), at, postings, user_ids=users, bucket=bucket_of(entry_id))


async def counted(world: World, subject: str, first: date, last: date, zone: str = "UTC") -> Mapping[str, int]:
    asked = DateRange(first, last, ZoneInfo(zone), Granularity.MONTH)
    return +Counter((await world.store.analytics.of_subject(subject, asked)).total)


async def figures(world: World) -> dict[str, Any]:
    """All that was counted."""
    kept = ("figures", "platform_days", "customers", "cohorts")
    return {path: data for path, data in (await world.dump()).items() if path.partition("/")[0] in kept}


def world_of(backend: Backend | None = None) -> World:
    return World(backend or MemoryBackend())


# ---- what is counted


async def test_a_market_is_counted(backend: Backend) -> None:
    """On every backend: its queries have their indexes."""
    world = world_of(backend)
    offered = await world.open("eve")
    await world.put(USERS, user("eve", created_at=NOW + HOUR))
    await world.fund("max", 100_000)
    session, _ = await world.store.sessions.hire(MAX, wish(offered), NOW + HOUR)
    await world.store.sessions.end(MAX, session.id, "end", NOW + HOUR + 90 * SECOND)
    await world.store.refunds.refund("root", session.id, Dof(100), "sorry", "k", NOW + HOUR + 100 * SECOND)
    today = NOW.date()
    assert await world.store.roll_up.run(NOW + 2 * HOUR, "one") > 0

    assert await counted(world, of_agent(NOVA), today, today) == {
        "hires": 1,
        f"hirer:{analytics.mark_of(MAX)}": 1,
        "sessions": 1,
        "minutes": 2,
        "gross": 200,
        "owner": 150,
        "creator": 20,
        "reason:ENDED_BY_HIRER": 1,
        "successes": 1,
        "refunded": 100,
    }
    assert await counted(world, spender(MAX), today, today) == {
        "acts": 2,
        "started:HIRED": 1,
        "sessions": 1,
        f"sessions:{NOVA}": 1,
        "minutes": 2,
        f"minutes:{NOVA}": 2,
        "spent": 200,
        f"spent:{NOVA}": 200,
        "unit:HOUR": 200,
        "refunded": 100,
    }
    assert await counted(world, earner(ADA), today, today) == {
        "owner": 150,
        f"owner:{NOVA}": 150,
        "returned": 75,
        f"returned:{NOVA}": 75,
    }
    platform = await world.store.analytics.of_platform(DateRange(today, today, UTC))
    assert +Counter(platform.series.total) == {
        "sign_ups": 4,
        "hires": 1,
        "sessions": 1,
        "minutes": 2,
        "gross": 200,
        "commission": 15,
        "refunded": 100,
    }
    assert (platform.active, platform.active_listings, platform.customers) == ({today: 4}, 1, 1)
    assert (platform.commission, platform.cohorts) == (15, ())
    assert await world.get(COHORTS, "2026-02-23") == Cohort("2026-02-23", 4, 1, 1, 0)
    assert await world.get(CUSTOMERS, MAX) == Customer(MAX, "2026-02-23", True, True, True, False)


async def test_it_reads_ratings_that_were_given_in_the_range(backend: Backend) -> None:
    world = world_of(backend)
    offered = await world.open()
    await world.fund("max", 100_000)
    made = []
    for number, rating in enumerate((5, 2)):
        session, _ = await world.store.sessions.hire(MAX, wish(offered, f"k{number}"), NOW)
        await world.store.sessions.end(MAX, session.id, session.id, NOW + SECOND)
        at = NOW + number * DAY
        made.append(await world.store.reviews.submit(MAX, session.id, ReviewWish(rating, "Good."), at))
    day = NOW.date()
    ratings = [
        await world.store.analytics.rating(NOVA, DateRange(first, last, UTC))
        for first, last in ((day, day), (day, day + DAY), (day + 2 * DAY, day + 2 * DAY))
    ]
    assert [(rating.sum, rating.count) for rating in ratings] == [(5, 1), (7, 2), (0, 0)]
    await world.store.reviews.update(MAX, made[0].id, ReviewChange(rating=1), NOW + DAY)
    changed = await world.store.analytics.rating(NOVA, DateRange(day, day, UTC))
    assert (changed.sum, changed.count) == (1, 1)


async def test_the_commission_is_what_the_ledger_has() -> None:
    """Of hires, of an owner's own session, less refunds: the address platform:fees, to the DOF."""
    world = world_of()
    offered = await world.open()
    await world.fund("max", 100_000)
    await world.fund("ada", 100_000)
    session, _ = await world.store.sessions.hire(MAX, wish(offered), NOW)
    await world.store.sessions.end(MAX, session.id, "end", NOW + 30 * MINUTE)
    await world.store.refunds.refund("root", session.id, Dof(333), "sorry", "k", NOW + HOUR)
    vision = SessionConfiguration(high_speed_vision=True)
    own = await world.store.sessions.start(ADA, Start(NOVA, SessionType.OWNED, vision, 10, Dof(7), "o"), NOW)
    await world.store.sessions.settle_if_over(own.id, NOW + 20 * MINUTE)
    trial = await world.store.sessions.start(MAX, Start(NOVA, SessionType.TRIAL, PLAIN, None, Dof(0), "t"), NOW)
    await world.store.sessions.settle_if_over(trial.id, NOW + 20 * MINUTE)
    await world.store.roll_up.run(NOW + 2 * HOUR, "one")
    entries = await world.all(ENTRIES)
    fees = sum(ledger.balance(entry.postings, ledger.PLATFORM_FEES) for entry in entries)
    day = NOW.date()
    platform = await world.store.analytics.of_platform(DateRange(day, day, UTC))
    assert (platform.series.total["commission"], platform.commission) == (fees, fees)
    assert platform.series.total["gross"] == 3_000
    used = await counted(world, spender(ADA), day, day)
    assert (used["started:OWNED"], used["minutes"], used["spent"]) == (1, 10, 500)
    tried = await counted(world, spender(MAX), day, day)
    assert (tried["started:TRIAL"], tried["sessions"], tried["minutes"], tried["spent"]) == (1, 2, 40, 3_000)
    assert (await counted(world, of_agent(NOVA), day, day))["trials"] == 1


async def test_money_in_and_out() -> None:
    world = world_of()
    postings = {
        EntryKind.PURCHASE: Posting(ledger.WORLD_SHOPIFY, ledger.available(MAX), Dof(150)),
        EntryKind.RECLAIM: Posting(ledger.available(MAX), ledger.WORLD_SHOPIFY, Dof(50)),
        EntryKind.MATURE: Posting(ledger.earned(MAX), ledger.available(MAX), Dof(70)),
        EntryKind.PAYOUT: Posting(ledger.available(MAX), ledger.PAYOUTS_PENDING, Dof(60)),
        EntryKind.PAYOUT_PAID: Posting(ledger.PAYOUTS_PENDING, ledger.WORLD_STRIPE, Dof(40)),
        EntryKind.PAYOUT_FAILED: Posting(ledger.PAYOUTS_PENDING, ledger.available(MAX), Dof(20)),
        EntryKind.ADJUST: Posting(ledger.PROMO, ledger.available(MAX), Dof(1_000)),
    }
    made = [an_entry(n, kind, NOW, "max", posting, ref=MAX) for n, (kind, posting) in enumerate(postings.items())]
    first = derived_id(Kind.ENTRY, EntryKind.PURCHASE, "order", MAX, 0)
    await world.put(ENTRIES, *made, replace(made[0], id=first))
    await world.store.roll_up.run(NOW + HOUR, "one")
    day = NOW.date()
    assert await counted(world, spender(MAX), day, day) == {
        "purchases": 1,
        "bought": 300,
        "reclaimed": 50,
        "acts": 2,
    }
    assert await counted(world, earner(MAX), day, day) == {
        "matured": 70,
        "payouts_requested": 60,
        "payouts_paid": 40,
        "payouts_failed": 20,
    }
    total = (await world.store.analytics.of_platform(DateRange(day, day, UTC))).series.total
    assert (total["purchases"], total["sold"], total["bought"], total["reclaimed"]) == (1, 150, 300, 50)
    assert (total["payouts_paid"], total["disputes"]) == (40, 0)


async def test_a_dispute_that_took_dof_is_one() -> None:
    world = world_of()
    await world.open()
    await world.put(USERS, user("max"))
    told = facts(paid(), user_hint=MAX, email="max@jiga.test")
    await world.absorb(told)
    opened = Report("dispute", FactKind.DISPUTE_OPENED, paid().money, subject="d")
    world.now = NOW + HOUR
    await world.absorb(replace(told, reports=(opened,)))
    won = Report("won", FactKind.DISPUTE_WON, paid().money, subject="d")
    world.now = NOW + 2 * HOUR
    await world.absorb(replace(told, reports=(won,)))
    await world.store.roll_up.run(NOW + 3 * HOUR, "one")
    day = NOW.date()
    total = (await world.store.analytics.of_platform(DateRange(day, day, UTC))).series.total
    assert (total["purchases"], total["disputes"]) == (1, 1)
    assert (total["bought"], total["sold"], total["reclaimed"]) == (300_000, 150_000, 150_000)


async def test_cohorts_of_sign_up_weeks() -> None:
    """Three sign up in a week; one buys, two hire, one of them again in the next week, and one who came before."""
    world = world_of()
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    people = dict.fromkeys(("max", "eve", "sue"), monday + DAY) | {"old": monday - 9 * DAY}
    await world.put(USERS, *(user(name, created_at=at) for name, at in people.items()))
    starts = [("max", 2), ("max", 3), ("max", 8), ("eve", 2), ("eve", 15), ("old", 2), ("old", 8)]
    hires = [a_session(n, monday + after * DAY, name) for n, (name, after) in enumerate(starts)]
    await world.put(SESSIONS, *hires)
    for end in (4, 10, 20):
        await world.store.roll_up.run(monday + end * DAY, f"run {end}")
    assert await world.all(COHORTS) == [
        Cohort("2026-02-09", 0, 0, 0, 0),
        Cohort("2026-02-16", 1, 0, 0, 0),
        Cohort("2026-02-23", 0, 0, 0, 0),
        Cohort("2026-03-02", 3, 2, 2, 1),
        Cohort("2026-03-09", 0, 0, 0, 0),
        Cohort("2026-03-16", 0, 0, 0, 0),
    ]
    asked = DateRange(date(2026, 3, 1), date(2026, 3, 15), UTC)
    found = await world.store.analytics.of_platform(asked)
    assert [cohort.id for cohort in found.cohorts] == ["2026-03-02", "2026-03-09"]
    assert (found.customers, found.active[date(2026, 3, 3)], found.active[date(2026, 3, 4)]) == (3, 3, 3)


# ---- when it is counted


async def test_what_is_open_is_counted_again_until_it_is_final() -> None:
    world = world_of()
    late = a_session(2, NOW - 10 * MINUTE)  # of a process whose clock is behind
    await world.put(SESSIONS, a_session(1, NOW))
    today = NOW.date()
    await world.store.roll_up.run(NOW + SECOND, "one")
    mark = await world.store.roll_up.mark()
    assert (mark.until, mark.counted_until) == (NOW - QUARTER, NOW + SECOND)
    await world.put(SESSIONS, late)
    await world.store.roll_up.run(NOW + MINUTE, "two")
    assert (await counted(world, of_agent(NOVA), today, today))["hires"] == 2
    await world.store.roll_up.run(NOW + 40 * MINUTE, "three")
    assert (await world.store.roll_up.mark()).until == NOW + QUARTER
    changed = await world.store.roll_up.run(NOW + 41 * MINUTE, "four")
    assert (changed, (await counted(world, of_agent(NOVA), today, today))["hires"]) == (0, 2)


async def test_what_comes_too_late_is_found_by_counting_again() -> None:
    world = world_of()
    await world.put(SESSIONS, a_session(1, NOW))
    await world.store.roll_up.run(NOW + 2 * HOUR, "one")
    await world.put(SESSIONS, a_session(2, NOW + MINUTE, "eve"))
    await world.store.roll_up.run(NOW + 3 * HOUR, "two")
    today = NOW.date()
    assert (await counted(world, of_agent(NOVA), today, today))["hires"] == 1
    assert await world.store.roll_up.again(NOW - 2 * DAY, NOW + 4 * HOUR, "three") == 4
    assert (await counted(world, of_agent(NOVA), today, today))["hires"] == 2
    assert await world.store.roll_up.again(None, NOW + 4 * HOUR, "four") == 0


async def test_of_two_runs_the_later_goes_on() -> None:
    world = world_of()
    await world.put(SESSIONS, *(a_session(n, NOW, "max", f"agent{n}") for n in range(60)))
    gone_on = []

    async def overtake(verb: str) -> None:
        if verb == "commit" and not gone_on:
            gone_on.append(verb)
            await world.store.roll_up._claim("another")

    memory = world.backend
    assert isinstance(memory, MemoryBackend)
    memory.after = overtake
    with pytest.raises(Overtaken):
        await world.store.roll_up.run(NOW + MINUTE, "one")
    memory.after = None
    assert await world.all(FIGURES) == []
    assert await world.store.roll_up.run(NOW + MINUTE, "two") > 60


async def test_t_f15_the_first_and_the_last_moment_of_a_day_are_that_day_s() -> None:
    world = world_of()
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    almost = timedelta(microseconds=1)
    moments = (midnight - almost, midnight, midnight + QUARTER, midnight + DAY - almost, midnight + DAY)
    await world.put(SESSIONS, *(a_session(n, at) for n, at in enumerate(moments)))
    await world.store.roll_up.run(midnight + 3 * DAY, "one")
    asked = DateRange(date(2026, 2, 28), date(2026, 3, 2), UTC)
    series = await world.store.analytics.of_subject(of_agent(NOVA), asked)
    assert [point["hires"] for point in series.points] == [1, 3, 1]
    numbers = {each.day: sorted(read_cells(each.cells)) for each in await world.all(FIGURES) if "agent" in each.id}
    assert numbers == {"2026-02-28": [95], "2026-03-01": [0, 1, 95], "2026-03-02": [0]}


async def test_many_facts_and_many_days_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firestore.facts.PAGE", 2)
    monkeypatch.setattr("firestore.analytics.PAGE", 3)
    world = world_of()
    moments = [NOW + (number // 7) * DAY for number in range(70)]  # several of one moment, which a page may divide
    people = [f"user{number}" for number in range(9)]
    await world.put(USERS, *(user(name) for name in people))
    await world.put(SESSIONS, *(a_session(n, at, people[n % 9]) for n, at in enumerate(moments)))
    await world.store.roll_up.run(NOW + 10 * DAY, "one")
    asked = DateRange(NOW.date(), NOW.date() + 9 * DAY, UTC)
    series = await world.store.analytics.of_subject(of_agent(NOVA), asked)
    assert [point["hires"] for point in series.points] == [7] * 10
    platform = await world.store.analytics.of_platform(asked)
    assert [platform.series.total[name] for name in ("hires", "sign_ups")] == [70, 9]


async def test_an_empty_store_counts_nothing() -> None:
    world = world_of()
    assert await world.store.roll_up.run(NOW, "one") == 0
    assert await world.store.roll_up.again(None, NOW, "two") == 0
    assert await figures(world) == {}


async def test_what_it_costs() -> None:
    world = world_of(CountingBackend(MemoryBackend()))
    world.rehearse = False
    world.__post_init__()
    counting = world.backend
    assert isinstance(counting, CountingBackend)
    await world.put(SESSIONS, *(a_session(n, NOW) for n in range(20)))
    with counting.measure() as first:
        await world.store.roll_up.run(NOW + MINUTE, "one")
    with counting.measure() as idle:
        await world.store.roll_up.run(NOW + 2 * MINUTE, "two")
    assert idle.rpcs <= 60
    assert idle.by_verb["commit"] == 2
    assert first.rpcs <= idle.rpcs + 40
    asked = DateRange(date(2026, 1, 1), date(2026, 3, 31), UTC)
    with counting.measure() as cost:
        await world.store.analytics.of_subject(of_agent(NOVA), asked)
    assert (cost.rpcs, cost.reads) == (1, 1)
    with counting.measure() as cost:
        await world.store.analytics.of_platform(asked)
    assert (cost.rpcs, cost.rounds) == (5, 1)


async def test_a_store_that_was_away_catches_up_in_several_runs() -> None:
    world = world_of()
    starts = (NOW - 150 * DAY, NOW - 70 * DAY, NOW)
    await world.put(SESSIONS, *(a_session(n, at) for n, at in enumerate(starts)))
    hires = []
    for number in range(3):
        await world.store.roll_up.run(NOW + HOUR, str(number))
        hires.append((await counted(world, of_agent(NOVA), (NOW - 160 * DAY).date(), NOW.date()))["hires"])
    assert hires == [1, 2, 3]


def test_a_day_that_would_not_fit_loses_parts_and_no_sum() -> None:
    busy = {n: {"gross": n} | {f"hirer:{n}.{m:020}": 1 for m in range(2_000)} for n in range(30)}
    text = write_cells(busy)
    assert len(text) <= CELLS_CHARACTERS_MAX
    kept = read_cells(text)
    assert {number: cell["gross"] for number, cell in kept.items()} == {n: n for n in range(30)}
    assert (len(kept[0]), len(kept[29])) == (2_001, 1)
    assert write_cells(kept) == text


# ---- against an oracle


ZONES = (
    "UTC",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/Nuuk",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
)
TURNS = (  # month ends, a leap day, and days on which clocks change
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 4, 23, 22, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 5, tzinfo=UTC),
    datetime(2026, 12, 31, 18, 30, tzinfo=UTC),
    datetime(2028, 2, 29, tzinfo=UTC),
)


@dataclass(frozen=True)
class Played:
    """A hire of the oracle: plain facts, from which it counts without the store's own rules."""

    start: datetime
    end: datetime
    hirer: str
    agent: str


played = st.tuples(
    st.integers(-4, 4),  # days from the turn's, by the zone's own clock
    st.one_of(st.sampled_from((-15, -1, 0, 1, 60, 75)), st.integers(0, 24 * 60)),  # minutes from midnight
    st.integers(1, 120),
    st.sampled_from(("max", "eve", "sue")),
    st.sampled_from(("nova", "vega")),
)


def bucketed(moment: datetime, zone: ZoneInfo, granularity: Granularity) -> date:
    """By the wall clock's own date alone."""
    day = moment.astimezone(zone).date()
    match granularity:
        case Granularity.DAY:
            return day
        case Granularity.WEEK:
            return day - DAY * day.weekday()
        case Granularity.MONTH:
            return day.replace(day=1)


def by_hand(moments: Iterable[tuple[datetime, int]], asked: DateRange) -> tuple[dict[date, int], int]:
    """Sums by point, and their total, of what lies within the range."""
    zone = asked.zone
    assert isinstance(zone, ZoneInfo)
    found: Counter[date] = Counter()
    for moment, amount in moments:
        if asked.first <= moment.astimezone(zone).date() <= asked.last:
            found[bucketed(moment, zone, asked.granularity)] += amount
    return dict(+found), sum(found.values())


async def recount(world: World) -> int:
    """From scratch: what was counted is removed."""
    await world.backend.commit([Write(path, None) for path in await figures(world)])
    final = await world.store.roll_up.again(None, world.now, "again")
    return final + await world.store.roll_up.run(world.now, "the rest")


async def check_against_the_oracle(games: list[Any], turn: datetime, runs: list[int], asked: DateRange) -> None:
    world = World(MemoryBackend(), rehearse=False)
    await world.put(USERS, *(user(name, created_at=turn - 6 * DAY) for name in ("max", "eve", "sue")))
    known: list[Played] = []
    last = turn + 6 * DAY
    for number, (days, minutes, lasts, hirer, of) in enumerate(games):
        midnight = datetime.combine(turn.date() + days * DAY, datetime.min.time(), asked.zone).astimezone(UTC)
        start = midnight + minutes * MINUTE
        end = start + lasts * MINUTE
        begun = a_session(number, start, hirer, of, quantity=3)
        await world.put(SESSIONS, settle(begun, EndReason.ENDED_BY_HIRER, end))
        known.append(Played(start, end, hirer, of))
    for number, hours in enumerate(sorted(runs)):
        world.now = turn + hours * HOUR
        await world.store.roll_up.run(world.now, f"run {number}")
    world.now = last + HOUR
    await world.store.roll_up.run(world.now, "last")
    incremental = await figures(world)
    assert await recount(world) > 0
    assert await figures(world) == incremental

    for of in ("nova", "vega"):
        mine = [each for each in known if each.agent == of]
        series = await world.store.analytics.of_subject(of_agent(agent_id(of)), asked)
        lasted = [(each.end, (each.end - each.start) // MINUTE) for each in mine]
        wanted = {
            "hires": by_hand([(each.start, 1) for each in mine], asked),
            "minutes": by_hand(lasted, asked),
            "gross": by_hand([(at, length * 100) for at, length in lasted], asked),
        }
        for measure, (points, total) in wanted.items():
            zone = asked.zone
            assert isinstance(zone, ZoneInfo)
            starts = [bucketed(span.start, zone, asked.granularity) for span in series.spans]
            got = {at: point.get(measure, 0) for at, point in zip(starts, series.points, strict=True)}
            assert {at: amount for at, amount in got.items() if amount} == points, measure
            assert (series.total.get(measure, 0), sum(got.values())) == (total, total), measure
        inside = [each for each in mine if asked.first <= each.start.astimezone(asked.zone).date() <= asked.last]
        assert len(analytics.details(series.total, "hirer")) == len({each.hirer for each in inside})
    platform = await world.store.analytics.of_platform(asked)
    assert platform.series.total.get("hires", 0) == by_hand([(each.start, 1) for each in known], asked)[1]
    for day, active in platform.active.items():
        acting = {each.hirer for each in known if each.start.date() == day}
        acting |= {"max", "eve", "sue"} if (turn - 6 * DAY).date() == day else set()
        assert active == len(acting)


@settings(STEADY, max_examples=40)
@given(
    games=st.lists(played, max_size=12),
    turn=st.sampled_from(TURNS),
    zone=st.sampled_from(ZONES),
    first=st.integers(-4, 2),
    length=st.integers(0, 6),
    granularity=st.sampled_from(Granularity),
    runs=st.lists(st.integers(-100, 120), max_size=4),
)
def test_t_f15_buckets_add_up_to_the_total_in_every_zone(
    games: list[Any],
    turn: datetime,
    zone: str,
    first: int,
    length: int,
    granularity: Granularity,
    runs: list[int],
) -> None:
    """Random hires around month ends, leap days and clock changes, counted in random runs: each point is what the wall
    clock says, the points add up to the total, and counting from scratch gives the same documents."""
    day = turn.date() + DAY * first
    asked = DateRange(day, day + DAY * length, ZoneInfo(zone), granularity)
    asyncio.run(check_against_the_oracle(games, turn, runs, asked))


async def test_a_platform_day_is_kept_for_days_without_facts() -> None:
    world = world_of()
    await world.put(SESSIONS, a_session(1, NOW))
    await world.store.roll_up.run(NOW + 3 * DAY, "one")
    assert [day.id for day in await world.all(PLATFORM_DAYS)] == [
        "2026-03-01",
        "2026-03-02",
        "2026-03-03",
        "2026-03-04",
    ]
