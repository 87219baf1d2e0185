"""What only the memory backend has: hooks for faults, the simulator's clock, bounds that servers keep themselves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from firestore.backend import Aggregate, Batch, Conflict, Query, Snapshot, Unclear, Write
from firestore.memory import FIRST_VERSION, MAX_BATCHES, MAX_REVISIONS, STEP_NANOS, MemoryBackend

FIRST = FIRST_VERSION + STEP_NANOS


async def test_versions_are_counted() -> None:
    memory = MemoryBackend()
    assert await memory.commit([Write("a/1", {"x": 1}), Write("a/2", {"x": 1})]) == (FIRST, FIRST)
    assert await memory.commit([Write("a/1", {"x": 2})]) == (FIRST + STEP_NANOS,)


async def test_versions_follow_a_clock_and_never_go_back() -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    memory = MemoryBackend(clock=lambda: now)
    (first,) = await memory.commit([Write("a/1", {"x": 1})])
    assert first == int(now.timestamp()) * 1_000_000_000
    now -= timedelta(hours=1)
    assert await memory.commit([Write("a/1", {"x": 2})]) == (first + STEP_NANOS,)


async def test_a_fault_before_a_commit_leaves_nothing_and_one_after_it_everything() -> None:
    async def fail(verb: str) -> None:
        if verb == "commit":
            raise Unclear

    memory = MemoryBackend(before=fail)
    with pytest.raises(Unclear):
        await memory.commit([Write("a/1", {"x": 1})])
    assert await memory.get_many(["a/1"]) == [None]
    memory.before, memory.after = None, fail
    with pytest.raises(Unclear):
        await memory.commit([Write("a/1", {"x": 1})])
    assert await memory.get_many(["a/1"]) == [Snapshot("a/1", {"x": 1}, FIRST)]


async def test_every_verb_passes_both_hooks() -> None:
    seen: list[str] = []

    async def note(verb: str) -> None:
        seen.append(verb)

    memory = MemoryBackend(before=note, after=note)
    await memory.commit([Write("a/1", {})])
    await memory.get_many(["a/1"])
    await memory.query(Query("a"))
    await memory.aggregate(Query("a"), {"n": Aggregate("count")})
    await anext(memory.listen("a/1"))
    assert seen == [*["commit"] * 2, *["get_many"] * 2, *["query"] * 2, *["aggregate"] * 2, "listen"]


async def test_a_refused_commit_is_no_effect() -> None:
    memory = MemoryBackend()
    await memory.commit([Write("a/1", {"x": 1})])
    with pytest.raises(Conflict):
        await memory.commit([Write("a/2", {}), Write("a/1", None), Write("a/3", {}, mask=())])
    assert [one.id for one in await memory.query(Query("a"))] == ["1"]


async def test_a_reader_may_change_what_it_got() -> None:
    memory = MemoryBackend()
    given = {"list": [1], "map": {"x": 1}}
    await memory.commit([Write("a/1", given)])
    given["list"].append(2)  # type: ignore[attr-defined]
    (found,) = await memory.query(Query("a"))
    found.data["map"]["x"] = 9  # type: ignore[index]
    (again,) = await memory.get_many(["a/1"])
    assert again is not None
    assert again.data == {"list": [1], "map": {"x": 1}}


async def test_verbs_interleave() -> None:
    memory = MemoryBackend()
    (version,) = await memory.commit([Write("a/1", {"n": 0})])
    race = (memory.commit([Write("a/1", {"n": n}, version=version)]) for n in (1, 2))
    first, second = await asyncio.gather(*race, return_exceptions=True)
    assert first == (version + STEP_NANOS,)
    assert isinstance(second, Conflict)


async def test_a_state_that_is_forgotten_is_not_guessed() -> None:
    memory = MemoryBackend()
    for n in range(MAX_REVISIONS + 1):
        await memory.commit([Write("a/1", {"n": n})])
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=FIRST // 1_000)
    (found,) = await memory.get_many(["a/1"], read_time=start + timedelta(microseconds=1))
    assert found is not None
    assert found.data == {"n": 1}
    with pytest.raises(ValueError, match="forgotten"):
        await memory.get_many(["a/1"], read_time=start)


async def test_an_answer_without_a_bound_is_refused() -> None:
    memory = MemoryBackend()
    for start in range(0, 10_001, 500):
        await memory.commit([Write(f"a/{n}", {}) for n in range(start, min(start + 500, 10_001))])
    with pytest.raises(ValueError, match="More than 10000"):
        await memory.query(Query("a"))
    assert len(await memory.query(Query("a", limit=10_000))) == 10_000


async def test_a_slow_listener_gets_the_whole_state_instead_of_a_growing_queue() -> None:
    memory = MemoryBackend()
    batches = memory.listen(Query("a"))
    assert await anext(batches) == Batch(())
    for n in range(MAX_BATCHES + 5):
        await memory.commit([Write("a/1", {"n": n})])
    last = FIRST + (MAX_BATCHES + 4) * STEP_NANOS
    assert await anext(batches) == Batch((Snapshot("a/1", {"n": MAX_BATCHES + 4}, last),), reset=True)
    await memory.commit([Write("a/1", None)])
    assert await anext(batches) == Batch((), ("a/1",))
    await batches.aclose()
