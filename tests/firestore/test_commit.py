"""The commit rule: conflicts and lost replies lead to one effect; lanes queue up and fail fast; deadlines hold."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

import firestore.commit
from domain.errors import NotFound, Unavailable
from firestore.backend import Query, Unclear
from firestore.cloud import GRACE_SECONDS, CloudBackend
from firestore.collections import INBOX, OUTBOX, TOPICS
from firestore.commit import Commits, Lanes, Tx
from firestore.memory import MemoryBackend
from firestore.outbox import row
from firestore.rows import OutboxRow, RowState, TopicHead
from tests.make import MINUTE, NOW, World

Body = Callable[[Tx], Awaitable[int]]


@pytest.fixture
def memory() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def world(memory: MemoryBackend) -> World:
    return World(memory)


def once(guard: str = "guard") -> Body:
    """Count the topic up, once per guard."""

    async def body(tx: Tx) -> int:
        await tx.read(TOPICS.at("topic"), TOPICS.at(guard))
        known = tx.get(TOPICS, guard)
        if known is not None:
            return known.sequence
        head = tx.get(TOPICS, "topic") or TopicHead("topic")
        after = replace(head, sequence=head.sequence + 1)
        tx.put(TOPICS, after)
        tx.create(TOPICS, TopicHead(guard, after.sequence))
        tx.tell(row((guard,), NOW, timedelta(days=1)))
        return after.sequence

    return body


class Faults:
    """Raises at the verbs of a backend, in the order given; then no more."""

    def __init__(self, **faults: list[Exception | None]) -> None:
        self._faults = faults
        self.calls: list[str] = []

    async def __call__(self, verb: str) -> None:
        self.calls.append(verb)
        await asyncio.sleep(0)
        pending = self._faults.get(verb)
        fault = pending.pop(0) if pending else None
        if fault is not None:
            raise fault


async def count(world: World) -> int:
    return (await world.get(TOPICS, "topic")).sequence


async def test_operations_in_parallel_all_take_effect(world: World) -> None:
    numbers = await asyncio.gather(*(world.commits.run(once(f"g{place}")) for place in range(20)))
    assert sorted(numbers) == list(range(1, 21))
    assert await count(world) == 20
    assert sorted(told.id for told in world.rows) == sorted(told.id for told in await world.all(OUTBOX))


@pytest.mark.parametrize("applied", [True, False])
async def test_a_lost_reply_has_one_effect_and_the_true_result(  # T-F03
    memory: MemoryBackend, world: World, applied: bool
) -> None:
    await world.commits.run(once("before"))
    faults = Faults(commit=[Unclear(), Unclear(), Unclear()] if not applied else [Unclear()])
    memory.after, memory.before = (faults, None) if applied else (None, faults)
    assert await world.commits.run(once()) == 2
    memory.after = memory.before = None
    assert await count(world) == 2
    assert faults.calls.count("commit") == (1 if applied else 4)


async def test_rows_are_told_once_their_commit_stands(memory: MemoryBackend, world: World) -> None:
    memory.before = Faults(commit=[Unclear()])
    await world.commits.run(once())
    assert len(world.rows) == 1

    async def refused(tx: Tx) -> None:
        tx.tell(row(("never",), NOW, timedelta(days=1)))
        raise NotFound("thing")

    with pytest.raises(NotFound):
        await world.commits.run(refused)
    assert len(world.rows) == 1
    assert len(await world.all(OUTBOX)) == 1


async def test_a_reading_that_fails_is_told_at_once(memory: MemoryBackend, world: World) -> None:
    memory.before = faults = Faults(get_many=[Unavailable("down")])
    with pytest.raises(Unavailable, match="down"):
        await world.commits.run(once())
    assert faults.calls == ["get_many"]


async def test_a_refusal_of_what_never_was_is_decided_again(memory: MemoryBackend, world: World) -> None:
    """Two readings see two moments: between them another operation emptied the one and filled the other."""
    await world.put(TOPICS, TopicHead("left", 1), TopicHead("right", 0))
    seen: list[tuple[int, int]] = []

    async def body(tx: Tx) -> int:
        left = await tx.load(TOPICS, "left")
        if not seen:
            await world.put(TOPICS, TopicHead("left", 0), TopicHead("right", 1))
        right = await tx.load(TOPICS, "right")
        assert left is not None
        assert right is not None
        seen.append((left.sequence, right.sequence))
        if left.sequence + right.sequence != 1:
            raise NotFound("sum")
        return left.sequence

    commits = Commits(memory, jitter=lambda: 0.5, told=lambda _: None)
    assert await commits.run(body) == 0
    assert seen == [(1, 1), (0, 1)]


@pytest.mark.parametrize(("readings", "calls"), [(1, 1), (2, 3)])
async def test_a_refusal_looks_again_only_after_several_readings(
    memory: MemoryBackend, world: World, readings: int, calls: int
) -> None:
    memory.before = faults = Faults()

    async def body(tx: Tx) -> None:
        for number in range(readings):
            await tx.read(TOPICS.at(f"t{number}"))
        raise NotFound("thing")

    with pytest.raises(NotFound):
        await world.commits.run(body)
    assert faults.calls == ["get_many"] * calls


async def test_a_refusal_writes_nothing(memory: MemoryBackend, world: World) -> None:
    async def body(tx: Tx) -> None:
        tx.create(TOPICS, TopicHead("topic"))
        raise NotFound("thing")

    with pytest.raises(NotFound):
        await world.commits.run(body)
    assert await memory.query(Query(TOPICS.name)) == []


async def test_a_refusal_after_an_unclear_commit_is_no_answer_yet(memory: MemoryBackend, world: World) -> None:
    """Our own commit may land after we have looked: whoever is refused then would be told no of what was done."""
    over = False

    async def body(tx: Tx) -> int:
        await tx.read(TOPICS.at("topic"))
        if over:
            raise NotFound("topic")
        tx.create(TOPICS, TopicHead("topic", 1))
        return 1

    async def lose(verb: str) -> None:
        nonlocal over
        if verb == "commit":
            over, memory.before = True, None
            raise Unclear

    memory.before = lose
    with pytest.raises(Unclear, match="send the same request again"):
        await world.commits.run(body)
    with pytest.raises(NotFound):  # nothing is under way: a refusal is one
        await world.commits.run(body)


async def test_nothing_to_write_is_no_commit(memory: MemoryBackend, world: World) -> None:
    await world.commits.run(once())
    memory.before = faults = Faults()
    assert await world.commits.run(once()) == 1
    assert faults.calls == ["get_many"]


def test_t_f04_an_answer_takes_two_seconds_at_most() -> None:
    """Tests that wait for a deadline make it shorter, and what waits for a process takes any that comes: here are the
    bounds themselves. An operation ends with its own, and a single verb, of a page or a stream, with the backend's."""
    verb_seconds = inspect.signature(CloudBackend).parameters["deadline_seconds"].default
    assert (verb_seconds, GRACE_SECONDS, firestore.commit.ATTEMPT_SECONDS_MAX) == (1.8, 0.1, 1.9)
    assert verb_seconds + GRACE_SECONDS < 2
    # Who waits behind others on one wallet waits longer, if those are answered.
    assert firestore.commit.LANE_SECONDS_MAX == 10


@pytest.mark.parametrize("verb", ["get_many", "commit"])
async def test_the_deadline_holds_when_nothing_answers(  # T-F04
    memory: MemoryBackend, world: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(firestore.commit, "ATTEMPT_SECONDS_MAX", 0.05)

    async def hang(called: str) -> None:
        if called == verb:
            await asyncio.Event().wait()

    memory.before = hang
    with pytest.raises(Unclear):
        await asyncio.wait_for(world.commits.run(once(), lane="a"), 10)
    memory.before = None
    assert await world.commits.run(once(), lane="a") == 1


async def test_conflicts_without_end_are_unclear(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firestore.commit, "ATTEMPT_SECONDS_MAX", 0.05)
    await world.put(TOPICS, TopicHead("there"))

    async def body(tx: Tx) -> None:
        tx.create(TOPICS, TopicHead("there", 9))

    with pytest.raises(Unclear):
        await world.commits.run(body)
    assert (await world.get(TOPICS, "there")).sequence == 0


@pytest.mark.parametrize("kind", ["result", "writes"])
async def test_rehearsal_finds_a_body_with_an_effect_of_its_own(world: World, kind: str) -> None:
    runs: list[int] = []

    async def impure(tx: Tx) -> int:
        runs.append(len(runs))
        tx.create(TOPICS, TopicHead(f"n{len(runs)}" if kind == "writes" else "same"))
        return len(runs) if kind == "result" else 0

    with pytest.raises(AssertionError, match="an effect of its own"):
        await world.commits.run(impure)
    assert await world.all(TOPICS) == []


async def test_only_a_rehearsed_body_runs_twice(memory: MemoryBackend) -> None:
    runs: list[bool] = []

    async def body(tx: Tx) -> None:
        runs.append(True)

    await Commits(memory, jitter=lambda: 0.5, told=lambda _: None).run(body)
    assert len(runs) == 1


# ---- lanes


async def test_a_lane_saves_the_conflicts(memory: MemoryBackend, world: World) -> None:
    memory.before = faults = Faults()
    await asyncio.gather(*(world.commits.run(once(f"g{place}"), lane="a") for place in range(20)))
    assert faults.calls.count("commit") == 20
    assert world.commits._lanes._lanes == {}


async def test_lanes_do_not_wait_for_each_other() -> None:
    lanes = Lanes()
    async with asyncio.timeout(5), lanes.enter("a"), lanes.enter("b"), lanes.enter(None), lanes.enter(None):
        assert set(lanes._lanes) == {"a", "b"}
    assert lanes._lanes == {}


async def test_who_waits_behind_an_outage_is_told_at_once(memory: MemoryBackend, world: World) -> None:  # T-F04
    down = asyncio.Event()
    calls: list[str] = []

    async def outage(verb: str) -> None:
        calls.append(verb)
        await down.wait()
        raise Unavailable("down")

    memory.before = outage
    waiting = [asyncio.create_task(world.commits.run(once(f"g{place}"), lane="a")) for place in range(10)]
    other = asyncio.create_task(world.commits.run(once("other"), lane="b"))
    await asyncio.sleep(0.01)
    down.set()
    results = await asyncio.gather(*waiting, other, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 11
    assert calls == ["get_many"] * 2  # one of each lane asked
    memory.before = None
    assert await world.commits.run(once(), lane="a") == 1  # who comes later tries for itself
    assert world.commits._lanes._lanes == {}


async def test_a_lane_too_long_is_said_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firestore.commit, "LANE_SECONDS_MAX", 0.02)
    lanes = Lanes()
    async with lanes.enter("a"):
        with pytest.raises(Unavailable, match="Too many requests wait"):
            async with lanes.enter("a"):
                pytest.fail("nobody else is in the lane")
    assert lanes._lanes == {}


@pytest.mark.parametrize("who", ["holder", "waiter", "both"])
async def test_a_cancelled_caller_leaves_no_lane_behind(memory: MemoryBackend, world: World, who: str) -> None:  # T-F14
    held = asyncio.Event()

    async def slow(verb: str) -> None:
        await held.wait()

    memory.before = slow
    tasks = [asyncio.create_task(world.commits.run(once(f"g{place}"), lane="a")) for place in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cancelled = {"holder": [0], "waiter": [1], "both": [0, 1]}[who]
    for place in cancelled:
        tasks[place].cancel()
    held.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [
        place in cancelled for place in (0, 1, 2)
    ]
    assert await count(world) == 3 - len(cancelled)
    assert world.commits._lanes._lanes == {}


async def test_a_result_comes_soon_after_an_outage(memory: MemoryBackend, world: World) -> None:
    memory.before = Faults(get_many=[Unavailable("down")] * 3)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await world.commits.run(once(), lane="a")
    began = time.monotonic()
    assert await world.commits.run(once(), lane="a") == 1
    assert time.monotonic() - began < 5


# ---- what a body may do


async def test_a_document_is_written_once_and_only_after_it_was_read(memory: MemoryBackend) -> None:
    tx = Tx(memory, {})
    with pytest.raises(KeyError):
        tx.put(TOPICS, TopicHead("a"))
    with pytest.raises(KeyError):
        tx.get(TOPICS, "a")
    tx.create(TOPICS, TopicHead("a"))
    with pytest.raises(AssertionError, match="written once"):
        tx.create(TOPICS, TopicHead("a"))


async def test_a_put_is_over_exactly_what_was_read(memory: MemoryBackend, world: World) -> None:
    await world.put(TOPICS, TopicHead("a", 1))
    tx = Tx(memory, {})
    await tx.read(TOPICS.at("a"), TOPICS.at("b"), TOPICS.at("a"))
    tx.put(TOPICS, TopicHead("a", 2))
    tx.put(TOPICS, TopicHead("b", 2))
    assert [(write.must_be_absent, write.version is None) for write in tx.writes] == [(False, False), (True, True)]
    tx = Tx(memory, {})
    await tx.read(TOPICS.at("a"))
    tx.delete(TOPICS, "a")
    await memory.commit(tx.writes)
    assert await world.all(TOPICS) == []


async def test_documents_are_read_once(memory: MemoryBackend, world: World) -> None:
    await world.put(TOPICS, TopicHead("a", 1))
    memory.before = faults = Faults()
    tx = Tx(memory, {})
    await tx.read(TOPICS.at("a"))
    await tx.read(TOPICS.at("a"))
    assert await tx.load(TOPICS, "a") == TopicHead("a", 1)
    await tx.read()
    assert faults.calls == ["get_many"]
    assert await tx.find(TOPICS, Query(TOPICS.name)) == [TopicHead("a", 1)]


def pending(key: str = "r") -> OutboxRow:
    return row((key,), NOW, timedelta(days=7), task="t")


async def test_a_row_is_finished_with_the_work(world: World) -> None:
    made = pending()
    await world.put(OUTBOX, made)

    async def body(tx: Tx) -> None:
        await tx.finish(made.id)

    await world.commits.run(body)
    done = replace(made, state=RowState.DONE, expires_at=NOW + timedelta(days=7))
    assert (made.expires_at, await world.get(OUTBOX, made.id)) == (None, done)
    await world.commits.run(body)
    assert await world.get(OUTBOX, made.id) == done


async def test_a_row_that_is_gone_does_not_stop_the_work(world: World) -> None:  # T-T04: 31 days late
    async def body(tx: Tx) -> None:
        tx.create(TOPICS, TopicHead("work"))
        await tx.finish(pending().id)
        await tx.finish(None)

    await world.commits.run(body)
    assert await world.all(TOPICS) == [TopicHead("work")]
    assert await world.all(OUTBOX) == await world.all(INBOX) == []


@pytest.mark.parametrize("state", list(RowState))
async def test_a_row_waits_for_another_moment_unless_it_is_done(world: World, state: RowState) -> None:
    made = replace(pending(), state=state, attempts=7)
    await world.put(OUTBOX, made)

    async def body(tx: Tx) -> None:
        await tx.postpone(made.id, NOW + MINUTE)

    for _ in range(2):
        await world.commits.run(body)
    later = replace(
        made,
        state=RowState.PENDING,
        attempts=0,
        not_before=NOW + MINUTE,
        due_at=NOW + MINUTE + timedelta(seconds=20),
    )
    assert await world.get(OUTBOX, made.id) == (made if state is RowState.DONE else later)
