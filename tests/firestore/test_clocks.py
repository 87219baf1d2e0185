"""Clocks that disagree, step, and meet a leap day or a clock change: the ledger goes by what the store has (T-F10).

No request brings a time. A process dates what it writes by its own clock; what follows what is decided by versions, and
by the moments that are stored. The simulator steps the clocks of whole histories; here are the cases one by one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from domain.errors import SessionOver
from domain.money import Dof
from domain.pricing import HireUnit
from domain.ranges import DateRange
from domain.sessions import EndReason, Session
from firestore.collections import ENTRIES, LISTINGS, SESSIONS
from firestore.memory import MemoryBackend
from firestore.sessions import Usage
from functions.schedule.figures import count
from functions.schedule.rounds import mature_all
from functions.schedule.seals import seal_days
from tests.make import MINUTE, NOW, SECOND, World, user_id, wish

MAX, ADA = user_id("max"), user_id("ada")
SKEW, DAY, HOUR = timedelta(minutes=10), timedelta(days=1), timedelta(hours=1)


async def opened(*, server_ahead: timedelta = timedelta(0), at: datetime = NOW) -> World:
    """A market whose database has a clock of its own."""
    world = World(MemoryBackend(clock=lambda: at + server_ahead), now=at)
    await world.open("eve")
    await world.fund("max", 5_000_000)
    return world


async def hired(world: World, at: datetime, unit: HireUnit = HireUnit.HOUR) -> Session:
    (listing,) = await world.all(LISTINGS)
    session, _ = await world.store.sessions.hire(MAX, replace(wish(listing), unit=unit), at)
    return session


@pytest.mark.parametrize("behind", [-SKEW, timedelta(0), SKEW])
async def test_t_f10_a_clock_ten_minutes_off_ends_no_session_before_it_began(behind: timedelta) -> None:
    world = await opened()
    session = await hired(world, NOW)
    ended, wallet = await world.store.sessions.end(MAX, session.id, "end", NOW + MINUTE - behind)
    assert ended.settlement is not None
    lasted = max(timedelta(0), MINUTE - behind)
    assert ended.settlement.ended_at == NOW + lasted
    assert ended.settlement.minutes == lasted // MINUTE
    assert wallet.available.units == 5_000_000 - 100 * (lasted // MINUTE)
    assert wallet.held == Dof(0)
    await world.check()


@pytest.mark.parametrize("ahead", [-365 * DAY, -SKEW, SKEW, 365 * DAY])
async def test_t_f10_a_process_whose_clock_is_not_the_database_s_writes_all_the_same(ahead: timedelta) -> None:
    """Preconditions are versions that the database gave, whatever both clocks say."""
    world = await opened(server_ahead=ahead)
    session = await hired(world, NOW)
    used = Usage(session.id, 1, Dof(5), 1, 20, False)
    await world.store.sessions.record_usage(MAX, used, NOW + MINUTE)
    await world.store.sessions.extend(MAX, session.id, HireUnit.HOUR, 1, "more", NOW + 2 * MINUTE)
    ended, _ = await world.store.sessions.end(MAX, session.id, "end", NOW + 3 * MINUTE)
    assert ended.settlement is not None
    assert (ended.version, ended.settlement.consumed) == (4, Dof(305))
    await world.check()


async def test_t_f10_every_step_backwards_keeps_the_order_of_what_was_stored() -> None:
    """Each operation by a clock ten minutes behind the one before: changes, events and wallet go on in order."""
    world = await opened()
    session = await hired(world, NOW)
    for number in range(1, 4):
        used = Usage(session.id, number, Dof(5), 1, 20, False)
        session = await world.store.sessions.record_usage(MAX, used, NOW - number * SKEW)
        assert session.last_change_at == NOW
    longer, _ = await world.store.sessions.extend(MAX, session.id, HireUnit.HOUR, 1, "more", NOW - 4 * SKEW)
    ended, _ = await world.store.sessions.end(MAX, session.id, "end", NOW - 5 * SKEW)
    assert ended.settlement is not None
    assert (longer.version, ended.version, ended.settlement.minutes) == (5, 6, 0)
    told = [event for row in world.rows for event in row.events if event.topic == f"session:{session.id}"]
    assert [event.sequence for event in told] == sorted({event.sequence for event in told})
    assert all(before.at <= after.at for before, after in pairwise(told))
    chain = sorted(each.after[MAX].version for each in await world.all(ENTRIES) if MAX in each.after)
    assert chain == list(range(1, len(chain) + 1))
    await world.check()


async def test_t_f10_what_one_clock_saw_expire_is_over_for_all() -> None:
    world = await opened()
    session = await hired(world, NOW)
    early = session.over_at - SKEW
    assert (await world.store.sessions.settle_if_over(session.id, early)) == session
    settled = await world.store.sessions.settle_if_over(session.id, session.over_at + SKEW)
    assert settled is not None
    assert settled.settlement is not None
    assert (settled.settlement.ended_at, settled.settlement.reason) == (session.over_at, EndReason.COMPLETED)
    assert settled.settlement.minutes == 60
    async with world.refuses(SessionOver):
        await world.store.sessions.extend(MAX, session.id, HireUnit.HOUR, 1, "more", early)
    async with world.refuses(SessionOver):
        await world.store.sessions.record_usage(MAX, Usage(session.id, 1, Dof(5), 1, 20, False), early)
    assert await world.store.sessions.settle_if_over(session.id, early) == settled
    await world.check()


async def test_t_f10_earnings_mature_once_whichever_clock_finds_them() -> None:
    world = await opened()
    session = await hired(world, NOW)
    await world.store.sessions.end(MAX, session.id, "end", NOW + MINUTE)
    matures = NOW + MINUTE + world.policy.maturing
    assert await mature_all(world.store, matures - SKEW) == 0
    assert await mature_all(world.store, matures + SKEW) == 2
    assert await mature_all(world.store, matures - SKEW) == 0
    assert await mature_all(world.store, matures + 2 * SKEW) == 0
    assert (await world.wallet("ada"))[0] == 75
    await world.check()


async def test_t_f10_figures_count_what_fast_and_slow_clocks_have_dated_once() -> None:
    world = await opened()
    (listing,) = await world.all(LISTINGS)
    for number, off in enumerate((-SKEW, timedelta(0), SKEW)):
        await world.store.sessions.hire(MAX, wish(listing, f"k{number}"), NOW + off)
    for minutes in (1, 2, 11, 26, 31, 46):
        await count(world.store, NOW + minutes * MINUTE)
    asked = DateRange(NOW.date(), NOW.date(), UTC)
    assert (await world.store.analytics.of_platform(asked)).series.total["hires"] == 3


@pytest.mark.parametrize(
    ("start", "unit", "lasts"),
    [
        (datetime(2028, 2, 28, 12, tzinfo=UTC), HireUnit.DAY, DAY),  # into a leap day
        (datetime(2028, 2, 29, 12, tzinfo=UTC), HireUnit.DAY, DAY),  # and out of it
        (datetime(2027, 2, 28, 12, tzinfo=UTC), HireUnit.DAY, DAY),
        (datetime(2026, 3, 26, 12, tzinfo=UTC), HireUnit.WEEK, 7 * DAY),  # clocks go forward in Europe
        (datetime(2026, 10, 22, 12, tzinfo=UTC), HireUnit.WEEK, 7 * DAY),  # and back
        (datetime(2026, 12, 31, 12, tzinfo=UTC), HireUnit.DAY, DAY),
    ],
)
async def test_t_f10_a_day_of_hire_has_24_hours_whatever_the_calendar_says(
    start: datetime, unit: HireUnit, lasts: timedelta
) -> None:
    world = await opened(at=start)
    session = await hired(world, start, unit)
    assert session.expires_at == start + lasts
    assert (await world.store.sessions.settle_if_over(session.id, start + lasts - SECOND)) == session
    settled = await world.store.sessions.settle_if_over(session.id, start + lasts)
    assert settled is not None
    assert settled.settlement is not None
    assert (settled.settlement.minutes, settled.settlement.consumed) == (lasts // MINUTE, session.held)
    world.now = start + lasts
    await world.check()


async def test_t_f10_a_leap_day_has_its_statement_and_its_digest() -> None:
    leap = datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
    world = await opened(at=leap - DAY)
    await world.store.wallets.adjust("root", MAX, 7, "the last moment", "leap", leap)
    await world.store.wallets.adjust("root", MAX, 5, "the next", "march", leap + timedelta(microseconds=1))
    february = await world.store.statements.month(MAX, 2028, 2)
    march = await world.store.statements.month(MAX, 2028, 3)
    assert [line.available for line in february.lines] == [5_000_000, 7]
    assert [line.available for line in march.lines] == [5]
    assert february.closing == march.opening
    assert await seal_days(world.store, leap + 2 * DAY) == 3
    digest = await world.store.digests.get(date(2028, 2, 29))
    assert digest is not None
    assert digest.count == 1


async def test_t_f10_no_session_is_told_twice_when_a_clock_steps_back_over_its_end() -> None:
    """The task that settles comes again by a clock that is behind: it finds the end, and writes nothing."""
    world = await opened()
    session = await hired(world, NOW)
    over = session.over_at
    first = await world.store.sessions.settle_if_over(session.id, over)
    before = await world.dump()
    for back in (SKEW, DAY):
        assert await world.store.sessions.settle_if_over(session.id, over - back) == first
    assert await world.dump() == before
    stored = await world.get(SESSIONS, session.id)
    assert (stored.settled_at, stored.bucket) == (over, session.bucket)
