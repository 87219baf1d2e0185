"""What came in and what must go out: recorded once, found again, given up visibly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from domain.events import Event, EventType
from domain.ids import Kind, derived_id
from firestore.backend import Backend, Conflict, Unclear, Write
from firestore.collections import INBOX, OUTBOX
from firestore.memory import MemoryBackend
from firestore.outbox import ATTEMPTS_MAX, SWEEP_ROWS_MAX, row
from firestore.rows import BUCKETS, InboxRow, OutboxRow, RowState
from tests.make import MINUTE, NOW, SECOND, World

WEEK = timedelta(days=7)


@pytest_asyncio.fixture
async def anywhere(backend: Backend) -> AsyncIterator[World]:
    yield World(backend, rehearse=False)


@pytest.fixture
def world() -> World:
    return World(MemoryBackend())


def task(key: str | int = "r", now: datetime = NOW, not_before: datetime | None = None) -> OutboxRow:
    return row((key,), now, WEEK, task="t", args={"a": "b"}, not_before=not_before)


async def record(world: World, body: bytes = b"{}", work: str | None = "apply_order") -> bool:
    return await world.store.inbox.record("shopify", "orders/paid", "s", body, NOW, outcome="accepted", task=work)


# ---- rows


def test_a_row_with_a_task_is_kept_until_it_is_done() -> None:
    made = task()
    assert (made.state, made.due_at, made.kept_until, made.expires_at) == (
        RowState.PENDING,
        NOW + 20 * SECOND,
        NOW + WEEK,
        None,
    )
    assert task(not_before=NOW + MINUTE).due_at == NOW + MINUTE + 20 * SECOND
    assert (made.id, 0 <= made.bucket < BUCKETS) == (derived_id(Kind.OUTBOX, "r"), True)


def test_a_row_of_events_alone_is_born_done() -> None:
    events = [Event(topic, 1, EventType.AGENT_HIRED, NOW, {}) for topic in ("b", "a", "b")]
    made = row(("r",), NOW, WEEK, events=events)
    assert (made.state, made.topics, made.due_at, made.expires_at) == (RowState.DONE, ("b", "a"), None, NOW + WEEK)


def test_rows_spread_over_all_buckets() -> None:
    assert {task(number).bucket for number in range(200)} == set(range(BUCKETS))


# ---- inbox


async def test_a_delivery_is_recorded_once(anywhere: World) -> None:  # T-W03
    assert await record(anywhere) is True
    assert await record(anywhere) is False
    (kept,) = await anywhere.all(INBOX)
    assert kept == InboxRow(
        id=kept.id,
        source="shopify",
        topic="orders/paid",
        shop="s",
        body=b"{}",
        received_at=NOW,
        expires_at=NOW + timedelta(days=30),
        outcome="accepted",
    )
    assert await anywhere.store.inbox.read(kept.id) == kept
    (told,) = anywhere.rows
    assert (told.task, told.args, told.state) == ("apply_order", {"inbox_id": kept.id}, RowState.PENDING)
    assert await anywhere.all(OUTBOX) == [told]


async def test_twenty_at_once_are_recorded_once(anywhere: World) -> None:  # T-W03
    results = await asyncio.gather(*(record(anywhere) for _ in range(20)))
    assert sorted(results) == [False] * 19 + [True]
    assert (len(await anywhere.all(INBOX)), len(await anywhere.all(OUTBOX)), len(anywhere.rows)) == (1, 1, 1)


async def test_deliveries_without_work_ask_for_none(world: World) -> None:
    assert await record(world, work=None) is True
    assert (await world.all(OUTBOX), world.rows) == ([], [])
    assert await world.store.inbox.read(derived_id(Kind.INBOX, "gone")) is None


async def test_other_bytes_are_another_delivery(world: World) -> None:
    for body in (b"{}", b"{} ", b"\x00\xff"):
        assert await record(world, body) is True
    assert len(await world.all(INBOX)) == 3


async def test_a_conflict_with_nobody_is_no_duplicate(world: World) -> None:
    """Firestore also aborts commits that were merely in each other's way: an answer 200 would lose the delivery."""
    assert isinstance(world.backend, MemoryBackend)

    async def aborted(verb: str) -> None:
        if verb == "commit":
            raise Conflict("contention")

    world.backend.before = aborted
    with pytest.raises(Unavailable):
        await record(world)
    world.backend.before = None
    assert await record(world) is True


@pytest.mark.parametrize("state", [RowState.DEAD, RowState.PENDING, RowState.DONE])
async def test_what_expired_is_recorded_again_and_its_work_begins_anew(anywhere: World, state: RowState) -> None:
    """The record of a delivery was cleaned up, and the row of its task, which was given up, is still there."""
    await record(anywhere)
    ((kept,), (left,)) = await anywhere.all(INBOX), await anywhere.all(OUTBOX)
    await anywhere.backend.commit([Write(INBOX.at(kept.id), None)])
    await anywhere.put(OUTBOX, replace(left, state=state, attempts=20, due_at=NOW + WEEK))
    assert await record(anywhere) is True
    assert await anywhere.all(INBOX) == [kept]
    assert await anywhere.all(OUTBOX) == [left]
    assert anywhere.rows == [left, left]
    assert await record(anywhere) is False
    assert anywhere.rows == [left, left]


async def test_a_lost_reply_is_found_when_it_is_delivered_again(world: World) -> None:  # T-F03
    assert isinstance(world.backend, MemoryBackend)

    async def lost(verb: str) -> None:
        raise Unclear

    world.backend.after = lost
    with pytest.raises(Unavailable):
        await record(world)
    world.backend.after = None
    assert await record(world) is False
    (kept,) = await world.all(OUTBOX)
    assert await world.store.outbox.due(NOW + 20 * SECOND) == [kept]


# ---- the sweep


async def test_the_sweep_finds_what_is_due(anywhere: World) -> None:  # T-T06
    due = [task(number) for number in range(20)]
    early = task("early", not_before=NOW + MINUTE)
    done = replace(task("done"), state=RowState.DONE)
    dead = replace(task("dead"), state=RowState.DEAD)
    silent = row(("silent",), NOW, WEEK)
    await anywhere.put(OUTBOX, *due, early, done, dead, silent)
    find = anywhere.store.outbox.due
    assert await find(NOW + 19 * SECOND) == []
    assert {each.id for each in await find(NOW + 20 * SECOND)} == {each.id for each in due}
    assert {each.id for each in await find(NOW + 80 * SECOND)} == {each.id for each in (*due, early)}


async def test_a_round_is_bounded_and_begins_with_the_oldest(world: World) -> None:
    rows = [replace(task(number, NOW + number * SECOND), bucket=3) for number in range(SWEEP_ROWS_MAX + 5)]
    await world.put(OUTBOX, *rows)
    found = await world.store.outbox.due(NOW + WEEK)
    assert [each.id for each in found] == [each.id for each in rows[:SWEEP_ROWS_MAX]]


async def test_a_row_is_postponed_longer_each_time_and_then_given_up(world: World) -> None:  # T-T05
    made = task()
    await world.put(OUTBOX, made)
    pauses = []
    for attempt in range(1, ATTEMPTS_MAX):
        postponed = await world.store.outbox.postpone(made.id, NOW)
        assert postponed is not None
        assert postponed.due_at is not None
        assert (postponed.attempts, postponed.state) == (attempt, RowState.PENDING)
        pauses.append((postponed.due_at - NOW).total_seconds())
    assert pauses == [40, 80, 160, 320, 640, 1280, 2560] + [3600] * 12
    last = await world.store.outbox.postpone(made.id, NOW)
    dead = await world.get(OUTBOX, made.id)
    assert last == dead
    assert (dead.state, dead.attempts, dead.expires_at) == (RowState.DEAD, 20, None)
    assert await world.store.outbox.postpone(made.id, NOW) is None
    assert await world.store.outbox.due(NOW + 365 * WEEK) == []


async def test_a_row_that_is_done_or_gone_is_not_postponed(world: World) -> None:
    made = task()
    await world.put(OUTBOX, made)
    for _ in range(2):
        await world.store.outbox.finish(made.id)
    assert await world.get(OUTBOX, made.id) == replace(made, state=RowState.DONE, expires_at=NOW + WEEK)
    assert await world.store.outbox.postpone(made.id, NOW) is None
    assert await world.store.outbox.postpone(task("gone").id, NOW) is None
    await world.store.outbox.finish(task("gone").id)
    assert len(await world.all(OUTBOX)) == 1
