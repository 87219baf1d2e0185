"""Live push: in order, from where one left off, with a GAP where that is gone, and nothing left behind at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest
import pytest_asyncio

import firestore.feed
from domain import meter_feed
from domain.events import Event, EventType, session_topic, wallet_topic
from domain.money import Dof
from domain.pricing import HireUnit
from domain.sessions import Session
from firestore.backend import Backend, Query, Write
from firestore.collections import OUTBOX, SESSIONS, TRANSACTIONS, WALLETS
from firestore.feed import TICK_GRACE, Mark, merge
from firestore.memory import MemoryBackend
from firestore.sessions import Usage
from tests import make
from tests.make import MINUTE, NOW, SECOND, World, user_id, wish

T = TypeVar("T")
MAX = user_id("max")
WALLET = wallet_topic(MAX)
DAY = timedelta(days=1)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(MemoryBackend(), rehearse=False)
    await made.open()
    yield made
    assert listeners(made) == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await made.check()


@pytest_asyncio.fixture
async def anywhere(backend: Backend) -> AsyncIterator[World]:
    made = World(backend, rehearse=False)
    await made.open()
    yield made
    await made.check()


def listeners(world: World) -> int:
    assert isinstance(world.backend, MemoryBackend)
    return len(world.backend._listeners)


async def take(source: AsyncGenerator[T, None], count: int) -> list[T]:
    async with asyncio.timeout(20):
        return [await anext(source) for _ in range(count)]


async def quiet(source: AsyncGenerator[T, None]) -> None:
    """Nothing comes. The source is closed with it."""
    waiting = asyncio.ensure_future(anext(source, None))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await source.aclose()


async def forget(world: World, *sequences: int, topic: str = WALLET) -> None:
    """Delete the rows of these events, as the database does when they expire."""
    for row in await world.all(OUTBOX):
        if any(event.topic == topic and event.sequence in sequences for event in row.events):
            await world.backend.commit([Write(OUTBOX.at(row.id), None)])


def numbers(events: list[Event]) -> list[int]:
    return [event.sequence for event in events]


# ---- any topic


async def test_events_come_live_and_in_order(anywhere: World) -> None:
    source = anywhere.store.feed.follow(WALLET, Mark(0, NOW))
    told: list[Event] = []
    for number in range(3):  # one by one: the official emulator may lose a change that comes while it takes in a target
        anywhere.now = NOW + number * SECOND
        await anywhere.fund("max", 10)
        told += await take(source, 1)
    assert numbers(told) == [1, 2, 3]
    assert {(event.topic, event.type) for event in told} == {(WALLET, EventType.TRANSACTION_COMPLETED)}
    seen = [await anywhere.get(TRANSACTIONS, str(event.data["transactionId"])) for event in told]
    assert [each.available_after for each in seen] == [10, 20, 30]
    await source.aclose()


async def test_who_comes_back_hears_what_was_missed(anywhere: World) -> None:
    for number in range(5):
        anywhere.now = NOW + number * MINUTE
        await anywhere.fund("max", 10)
    async with aclosing(anywhere.store.feed.follow(WALLET, Mark(2, NOW + MINUTE))) as source:
        assert numbers(await take(source, 3)) == [3, 4, 5]
        await anywhere.fund("max", 10)
        assert numbers(await take(source, 1)) == [6]


async def test_two_subscribers_hear_the_same(world: World) -> None:
    feed = world.store.feed
    sources = [feed.follow(WALLET, Mark(0, NOW)) for _ in range(2)]
    waiting = [asyncio.ensure_future(take(source, 2)) for source in sources]
    await world.fund("max", 1)
    await world.fund("max", 1)
    first, second = await asyncio.gather(*waiting)
    assert first == second
    assert listeners(world) == 2
    for source in sources:
        await source.aclose()


async def test_other_topics_are_not_heard(world: World) -> None:
    source = world.store.feed.follow(WALLET, Mark(0, NOW))
    await world.fund("ada", 1)
    await quiet(source)


async def test_what_is_gone_is_a_gap(world: World) -> None:
    for _ in range(4):
        await world.fund("max", 1)
    await forget(world, 1, 2)
    async with aclosing(world.store.feed.follow(WALLET, Mark(0, NOW))) as source:
        gap, *rest = await take(source, 3)
    assert (gap.type, gap.sequence, gap.data) == (EventType.GAP, 2, {"missedFrom": 1, "missedTo": 2})
    assert numbers(rest) == [3, 4]


async def test_a_gap_up_to_the_head_is_told_at_once(world: World) -> None:
    for _ in range(3):
        await world.fund("max", 1)
    await forget(world, 1, 2, 3)
    async with aclosing(world.store.feed.follow(WALLET, Mark(1, NOW), 3)) as source:
        (gap,) = await take(source, 1)
        assert (gap.type, gap.data) == (EventType.GAP, {"missedFrom": 2, "missedTo": 3})
        await world.fund("max", 1)
        assert numbers(await take(source, 1)) == [4]


async def test_a_long_absence_hears_the_newest_after_a_gap(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firestore.feed, "REPLAY_ROWS_MAX", 3)
    for number in range(9):
        world.now = NOW + number * MINUTE
        await world.fund("max", 1)
    world.now += DAY
    async with aclosing(world.store.feed.follow(WALLET, Mark(1, NOW))) as source:
        gap, *rest = await take(source, 4)
    assert (gap.type, gap.data, numbers(rest)) == (EventType.GAP, {"missedFrom": 2, "missedTo": 6}, [7, 8, 9])


async def test_a_target_is_left_before_it_grows_without_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firestore.feed, "TARGET_ROWS_MAX", 3)
    targets: list[object] = []
    listen = world.backend.listen

    def counted(target: Query | str) -> AsyncGenerator[object, None]:
        targets.append(target)
        return listen(target)

    monkeypatch.setattr(world.backend, "listen", counted)
    async with aclosing(world.store.feed.follow(WALLET, Mark(0, NOW))) as source:
        for number in range(1, 21):
            world.now += MINUTE
            waiting = asyncio.ensure_future(take(source, 1))
            await asyncio.sleep(0)
            await world.fund("max", 1)
            assert numbers(await waiting) == [number]
        assert 4 <= len(targets) <= 8
        assert listeners(world) == 1


async def test_the_end_of_the_backend_ends_the_topic(world: World) -> None:
    session = await hire(world)
    sources = [world.store.feed.follow(WALLET, Mark(9, NOW)), world.store.feed.follow_session(session, None)]
    waiting = [asyncio.ensure_future(anext(source, None)) for source in sources]
    await asyncio.sleep(0.01)
    await world.backend.close()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 20) == [None, None]


# ---- a session


async def hire(world: World) -> Session:
    await world.fund("max", 100_000)
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), world.now)
    return session


async def live(world: World, session: Session) -> None:
    """An hour with a report, an extension and an end. The clock stands after the grace of the last minute."""
    store = world.store.sessions
    world.now = NOW + 2 * MINUTE + 30 * SECOND
    await store.record_usage(MAX, Usage(session.id, 1, Dof(50), 1, None, False), world.now)
    world.now = NOW + 4 * MINUTE + 10 * SECOND
    await store.extend(MAX, session.id, HireUnit.HOUR, 1, "x", world.now)
    world.now = NOW + 6 * MINUTE + 40 * SECOND
    await store.end(MAX, session.id, "e", world.now)
    world.now += MINUTE


STORY = [
    (1, EventType.SESSION_STARTED, None),
    (2, EventType.SESSION_DOF_UPDATED, 200),
    (3, EventType.SESSION_DOF_UPDATED, 300),
    (4, EventType.SESSION_DOF_UPDATED, 350),  # the report, in the third minute
    (5, EventType.SESSION_DOF_UPDATED, 450),
    (6, EventType.SESSION_DOF_UPDATED, 550),
    (7, EventType.SESSION_DOF_UPDATED, 550),  # the extension, in the fifth
    (8, EventType.SESSION_DOF_UPDATED, 650),
    (9, EventType.SESSION_DOF_UPDATED, 750),
    (10, EventType.SESSION_ENDED, None),
]


def shown(events: list[Event]) -> list[tuple[int, EventType, object]]:
    return [(event.sequence, event.type, event.data.get("consumed")) for event in events]


@pytest.mark.parametrize("after", [0, 1, 4, 9])
async def test_a_session_is_told_again_from_anywhere(anywhere: World, after: int) -> None:
    session = await hire(anywhere)
    await live(anywhere, session)
    ended = await anywhere.get(SESSIONS, session.id)
    start = Mark(after, NOW + max(0, after - 3) * MINUTE)
    async with aclosing(anywhere.store.feed.follow_session(ended, start)) as source:
        assert shown(await take(source, 10 - after)) == STORY[after:]
        if after == 9:
            await quiet(source)


async def test_a_session_is_told_live_as_it_is_told_again(world: World) -> None:
    session = await hire(world)
    heard: list[Event] = []
    source = world.store.feed.follow_session(session, Mark(0, NOW))
    heard += await take(source, 1)
    for change in ("usage", "extend", "end"):
        until = {"usage": 2, "extend": 4, "end": 6}[change]
        while heard[-1].at < NOW + until * MINUTE:
            # The meter is read at each full minute, once the grace for late commits is over.
            due = heard[-1].at.replace(second=0) + MINUTE + TICK_GRACE
            world.now = due - 10 * SECOND / 1000
            waiting = asyncio.ensure_future(take(source, 1))
            await asyncio.sleep(0)
            await poke(world)
            world.now = due
            heard += await waiting
        await change_session(world, session, change)
        heard += await take(source, 1)
    assert shown(heard) == STORY
    await quiet(source)


async def poke(world: World) -> None:
    """Let a follower look at the clock again: a row of the same topic that tells nothing new."""
    (first,) = [row for row in await world.all(OUTBOX) if any(e.type is EventType.SESSION_STARTED for e in row.events)]
    await world.put(OUTBOX, replace(first, attempts=first.attempts + 1))


async def change_session(world: World, session: Session, change: str) -> None:
    store = world.store.sessions
    if change == "usage":
        world.now = NOW + 2 * MINUTE + 30 * SECOND
        await store.record_usage(MAX, Usage(session.id, 1, Dof(50), 1, None, False), world.now)
    elif change == "extend":
        world.now = NOW + 4 * MINUTE + 10 * SECOND
        await store.extend(MAX, session.id, HireUnit.HOUR, 1, "x", world.now)
    else:
        world.now = NOW + 6 * MINUTE + 40 * SECOND
        await store.end(MAX, session.id, "e", world.now)


async def test_who_comes_now_hears_what_comes(world: World) -> None:
    session = await hire(world)
    world.now = NOW + 2 * MINUTE + 20 * SECOND
    async with aclosing(world.store.feed.follow_session(session, None)) as source:
        waiting = asyncio.ensure_future(take(source, 1))
        await asyncio.sleep(0.01)
        await change_session(world, session, "usage")
        assert shown(await waiting) == [(4, EventType.SESSION_DOF_UPDATED, 350)]


async def test_minutes_before_a_change_are_told_with_it(world: World) -> None:
    """The grace holds a reading back; a change that comes meanwhile brings it along, in order."""
    session = await hire(world)
    async with aclosing(world.store.feed.follow_session(session, None)) as source:
        waiting = asyncio.ensure_future(take(source, 3))
        await asyncio.sleep(0.01)
        await change_session(world, session, "usage")
        assert shown(await waiting) == STORY[1:4]


async def test_a_session_whose_history_is_gone(world: World) -> None:
    session = await hire(world)
    await live(world, session)
    ended = await world.get(SESSIONS, session.id)
    await forget(world, 1, 4, 7, 10, topic=session_topic(session.id))
    await forget(world, 1)
    world.now += 30 * DAY
    async with aclosing(world.store.feed.follow_session(ended, Mark(3, NOW))) as source:
        (gap,) = await take(source, 1)
        assert (gap.type, gap.sequence, gap.data) == (EventType.GAP, 10, {"missedFrom": 4, "missedTo": 10})
        await quiet(source)


async def test_a_change_that_became_visible_late_is_a_gap(world: World) -> None:
    """Its commit took longer than the grace: minutes were told under its number, and it is not dropped silently."""
    session = await hire(world)
    async with aclosing(world.store.feed.follow_session(session, Mark(0, NOW))) as source:
        await take(source, 1)
        world.now = NOW + MINUTE + TICK_GRACE - 10 * SECOND / 1000
        waiting = asyncio.ensure_future(take(source, 1))
        await asyncio.sleep(0)
        await poke(world)
        world.now = NOW + MINUTE + TICK_GRACE
        assert shown(await waiting) == [(2, EventType.SESSION_DOF_UPDATED, 200)]
        began = NOW + 50 * SECOND
        await world.store.sessions.record_usage(MAX, Usage(session.id, 1, Dof(50), 1, None, False), began)
        (gap,) = await take(source, 1)
        assert (gap.type, gap.sequence, gap.data) == (EventType.GAP, 3, {"missedFrom": 2, "missedTo": 3})
        world.now = NOW + MINUTE + 30 * SECOND
        await world.store.sessions.end(MAX, session.id, "e", world.now)
        assert shown(await take(source, 1)) == [(4, EventType.SESSION_ENDED, None)]


async def test_closing_leaves_nothing_behind(world: World) -> None:
    session = await hire(world)
    sources = [
        world.store.feed.follow_session(session, None),
        world.store.feed.follow_session(session, Mark(0, NOW)),
        world.store.feed.follow(WALLET, Mark(0, NOW)),
    ]
    tasks = [asyncio.ensure_future(anext(source)) for source in sources]
    await asyncio.sleep(0.01)
    assert listeners(world) == 3
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for source in sources:
        await source.aclose()


# ---- signs, and several sources


async def test_a_sign_for_each_change(world: World) -> None:
    feed = world.store.feed
    for target in (WALLETS.at(MAX), Query(WALLETS.name)):
        first, second = feed.signs(target), feed.signs(target)
        signs = [await take(source, 1) for source in (first, second)]
        await world.fund("max", 1)
        signs += [await take(source, 1) for source in (first, second)]
        assert signs[0] == signs[1] != signs[2] == signs[3]
        await quiet(first)
        await second.aclose()


async def test_those_who_follow_a_session_read_a_change_of_it_once(world: World) -> None:
    session = await hire(world)
    sources = [world.store.feed.follow_session(session, None) for _ in range(10)]
    waiting = [asyncio.ensure_future(take(source, 1)) for source in sources]
    while listeners(world) < 10:
        await asyncio.sleep(0)
    await world.store.sessions.record_usage(MAX, Usage(session.id, 1, Dof(5), 1, None, False), world.now)
    asked: list[str] = []

    async def note(verb: str) -> None:
        asked.append(verb)

    assert isinstance(world.backend, MemoryBackend)
    world.backend.before = note
    told = await asyncio.gather(*waiting)
    assert all(each == told[0] for each in told)
    assert asked == ["get_many"]
    for source in sources:
        await source.aclose()


async def items(*values: int, fail: bool = False) -> AsyncGenerator[int, None]:
    for value in values:
        yield value
    if fail:
        raise ValueError("broken")
    await asyncio.Event().wait()


async def test_sources_are_merged_as_they_come() -> None:
    merged = merge([items(1, 2), items(3)])
    assert sorted(await take(merged, 3)) == [1, 2, 3]
    await quiet(merged)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_first_error_ends_all() -> None:
    merged = merge([items(1), items(fail=True)])
    with pytest.raises(ValueError, match="broken"):
        await take(merged, 3)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_slow_reader_holds_its_sources_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firestore.feed, "MERGED_MAX", 2)
    made: list[int] = []

    async def many() -> AsyncGenerator[int, None]:
        for number in range(100):
            made.append(number)
            yield number

    merged = merge([many()])
    assert await take(merged, 1) == [0]
    await asyncio.sleep(0.01)
    assert len(made) <= 5
    await merged.aclose()


def test_the_story_is_the_meters() -> None:
    assert meter_feed.tick(make.session(), 2).data["consumed"] == STORY[2][2]
