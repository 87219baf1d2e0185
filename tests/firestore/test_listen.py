"""Listening, on every backend: the whole state first, then every change once, in commit order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from firestore import watch
from firestore.backend import Backend, Batch, Filter, Order, Query, Write
from firestore.cloud import CloudBackend

PATIENCE_SECONDS = 15.0
"""For what arrives in milliseconds, unless the machine is busy."""


async def following(batches: AsyncGenerator[Batch, None]) -> Batch:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await anext(batches)


def told(batch: Batch) -> tuple[list[tuple[str, Any]], tuple[str, ...], bool]:
    return [(one.path, dict(one.data)) for one in batch.changed], batch.removed, batch.reset


async def until(state: dict[str, Any], batches: AsyncGenerator[Batch, None], wanted: dict[str, Any]) -> list[Batch]:
    """Apply batches to the state until it is as wanted: servers may join several commits to one batch."""
    heard = []
    while state != wanted:
        batch = await following(batches)
        heard.append(batch)
        if batch.reset:
            state.clear()
        state.update((one.path, dict(one.data)) for one in batch.changed)
        for path in batch.removed:
            del state[path]
    return heard


async def test_a_query_tells_its_state_and_then_its_changes(backend: Backend) -> None:
    await backend.commit([Write("a/1", {"n": 1}), Write("a/2", {"n": 5}), Write("b/1", {"n": 1})])
    batches = backend.listen(Query("a", (Filter("n", "<", 5),), (Order("n"),)))
    assert told(await following(batches)) == ([("a/1", {"n": 1})], (), False)
    await backend.commit([Write("a/2", {"n": 2})])  # comes in
    assert told(await following(batches)) == ([("a/2", {"n": 2})], (), False)
    await backend.commit([Write("b/2", {"n": 1})])  # is no part of it
    await backend.commit([Write("a/1", {"n": 9})])  # goes out
    assert told(await following(batches)) == ([], ("a/1",), False)
    await backend.commit([Write("a/2", None), Write("a/3", {"n": 3})])
    assert told(await following(batches)) == ([("a/3", {"n": 3})], ("a/2",), False)
    await batches.aclose()


async def test_a_document_tells_its_coming_and_going(backend: Backend) -> None:
    batches = backend.listen("a/1")
    assert told(await following(batches)) == ([], (), False)
    (version,) = await backend.commit([Write("a/1", {"n": 1})])
    first = await following(batches)
    assert (told(first), first.changed[0].version) == (([("a/1", {"n": 1})], (), False), version)
    await backend.commit([Write("a/1", None)])
    assert told(await following(batches)) == ([], ("a/1",), False)
    await batches.aclose()


async def test_a_limit_lets_the_next_one_in(backend: Backend) -> None:
    await backend.commit([Write(f"a/{n}", {"n": n}) for n in range(4)])
    batches = backend.listen(Query("a", order=(Order("n", descending=True),), limit=2))
    assert told(await following(batches)) == ([("a/2", {"n": 2}), ("a/3", {"n": 3})], (), False)
    await backend.commit([Write("a/3", None)])
    state: dict[str, Any] = {"a/2": {"n": 2}, "a/3": {"n": 3}}
    await until(state, batches, {"a/1": {"n": 1}, "a/2": {"n": 2}})
    await batches.aclose()


async def test_changes_come_in_commit_order(backend: Backend) -> None:
    batches = backend.listen(Query("a"))
    await following(batches)
    order = [f"a/{n}" for n in random.Random(1).sample(range(20), 20)]
    for path in order:
        await backend.commit([Write(path, {"x": 1})])
    heard = await until({}, batches, {path: {"x": 1} for path in order})
    assert [one.path for batch in heard for one in batch.changed] == order
    await batches.aclose()


async def test_listeners_of_one_target_and_of_others_all_hear(backend: Backend) -> None:
    same = [backend.listen(Query("a", (Filter("n", "in", [1, 2]),))) for _ in range(2)]
    other = backend.listen("a/1")
    for batches in (*same, other):
        assert told(await following(batches)) == ([], (), False)
    await backend.commit([Write("a/1", {"n": 1})])
    for batches in (*same, other):
        assert told(await following(batches)) == ([("a/1", {"n": 1})], (), False)
    await same[0].aclose()
    late = backend.listen(Query("a", (Filter("n", "in", [1, 2]),)))
    assert told(await following(late)) == ([("a/1", {"n": 1})], (), False)
    await backend.commit([Write("a/1", {"n": 2})])
    for batches in (same[1], late, other):
        assert told(await following(batches)) == ([("a/1", {"n": 2})], (), False)
        await batches.aclose()


async def test_closing_the_backend_ends_its_listeners(backend: Backend) -> None:
    async def all_of(target: str) -> int:
        return len([batch async for batch in backend.listen(target)])

    listening = [asyncio.create_task(all_of(path)) for path in ("a/1", "a/2")]
    batches = backend.listen("a/3")
    await following(batches)
    await backend.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert max(await asyncio.gather(*listening)) <= 1
        with pytest.raises(StopAsyncIteration):
            await anext(batches)


async def test_a_projection_cannot_be_listened_to(backend: Backend) -> None:
    with pytest.raises(ValueError, match="leave fields out"):
        await anext(backend.listen(Query("a", fields=("x",))))


async def test_random_changes_leave_the_listener_with_the_query_s_answer(backend: Backend) -> None:
    dice = random.Random(7)
    queries = [Query("a", (Filter("n", ">", 3),)), Query("a", order=(Order("n"),), limit=3), Query("a")]
    listeners = [backend.listen(query) for query in queries]
    states: list[dict[str, Any]] = [{} for _ in queries]
    for batches in listeners:
        assert told(await following(batches)) == ([], (), False)
    for _ in range(30):
        paths = dice.sample([f"a/{n}" for n in range(8)], dice.randrange(1, 4))
        await backend.commit([Write(path, None if dice.random() < 0.3 else {"n": dice.randrange(8)}) for path in paths])
    for query, batches, state in zip(queries, listeners, states, strict=True):
        wanted = {one.path: dict(one.data) for one in await backend.query(query)}
        await until(state, batches, wanted)
        await batches.aclose()


# ---- on servers


async def test_t_s06_a_broken_stream_resumes_without_a_loss(cloud: CloudBackend) -> None:
    batches = cloud.listen(Query("a"))
    document = cloud.listen("a/5")
    await following(batches)
    await following(document)
    wanted: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for n in range(6):
        cloud._watch.reconnect()  # as if the stream had broken
        await cloud.commit([Write(f"a/{n}", {"n": n}), Write(f"a/{n - 3}", None)])
        wanted[f"a/{n}"] = {"n": n}
        wanted.pop(f"a/{n - 3}", None)
        if n % 2:
            heard = await until(state, batches, wanted)
            assert not any(batch.reset for batch in heard)
    await until({}, document, {"a/5": {"n": 5}})
    await batches.aclose()
    await document.aclose()


async def test_the_stream_ends_with_its_last_listener_and_begins_again(cloud: CloudBackend) -> None:
    for _ in range(2):
        batches = cloud.listen("a/1")
        assert told(await following(batches)) == ([], (), False)
        running = cloud._watch._running
        assert running is not None
        await batches.aclose()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait([running])
        assert cloud._watch._stream is None


async def test_a_slow_listener_gets_the_whole_state(cloud: CloudBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MAX_BATCHES", 3)
    slow, quick = cloud.listen(Query("a")), cloud.listen(Query("a"))
    await following(slow)
    await following(quick)
    state: dict[str, Any] = {}
    for n in range(6):
        await cloud.commit([Write("a/1", {"n": n})])
        await until(state, quick, {"a/1": {"n": n}})
    assert told(await following(slow)) == ([("a/1", {"n": 5})], (), True)
    await slow.aclose()
    await quick.aclose()
