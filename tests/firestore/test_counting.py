"""The counts, exactly."""

from __future__ import annotations

import asyncio

import pytest

from firestore.backend import Aggregate, Conflict, Query, Write
from firestore.counting import CountingBackend, Counts
from firestore.memory import MemoryBackend


@pytest.fixture
def counting() -> CountingBackend:
    return CountingBackend(MemoryBackend())


async def test_each_verb_costs_what_firestore_bills(counting: CountingBackend) -> None:
    with counting.measure() as counts:
        await counting.commit([Write(f"a/{n}", {"n": n}) for n in range(3)])
        await counting.get_many(["a/1", "a/2", "a/9", "a/1"])
        await counting.query(Query("a", limit=2))
        await counting.query(Query("empty"))
        await counting.aggregate(Query("a"), {"n": Aggregate("count")})
        await counting.get_many([])
        await counting.commit([])
    by_verb = {"commit": 1, "get_many": 1, "query": 2, "aggregate": 1}
    assert counts == Counts(rpcs=5, rounds=5, reads=3 + 2 + 1 + 1, writes=3, by_verb=by_verb)
    assert counting.totals == counts


async def test_what_goes_out_together_is_one_round(counting: CountingBackend) -> None:
    with counting.measure() as counts:
        await asyncio.gather(counting.query(Query("a")), counting.get_many(["a/1"]), counting.query(Query("b")))
        await counting.query(Query("a"))
    assert (counts.rpcs, counts.rounds) == (4, 2)


async def test_two_requests_at_once_are_counted_apart(counting: CountingBackend) -> None:
    async def request(reads: int) -> Counts:
        with counting.measure() as counts:
            for _ in range(reads):
                await counting.query(Query("a"))
        return counts

    few, many = await asyncio.gather(request(2), request(5))
    assert (few.rpcs, few.rounds, many.rpcs, many.rounds) == (2, 2, 5, 5)
    assert counting.totals.rpcs == 7


async def test_a_measurement_inside_another_counts_in_both(counting: CountingBackend) -> None:
    with counting.measure() as outer:
        await counting.query(Query("a"))
        with counting.measure() as inner:
            await counting.query(Query("a"))
    await counting.query(Query("a"))
    assert (outer.rpcs, inner.rpcs) == (2, 1)


async def test_a_measurement_goes_on_where_it_is_entered_again(counting: CountingBackend) -> None:
    """In steps, as a stream is read: with a task that was begun in the first, and without what lies in between."""
    measured, go = counting.measure(), asyncio.Event()

    async def later() -> None:
        await go.wait()
        await counting.query(Query("a"))

    with measured as counts:
        task = asyncio.create_task(later())
        await counting.query(Query("a"))
    await counting.query(Query("a"))
    go.set()
    await task
    with measured as again:
        await counting.query(Query("a"))
    assert again is counts
    assert (counts.rpcs, counting.totals.rpcs) == (3, 4)


async def test_a_refused_commit_wrote_nothing_but_went_out(counting: CountingBackend) -> None:
    with counting.measure() as counts, pytest.raises(Conflict):
        await counting.commit([Write("a/1", {}, mask=())])
    assert (counts.rpcs, counts.writes, counts.in_flight) == (1, 0, 0)


async def test_a_listener_reads_its_changes(counting: CountingBackend) -> None:
    with counting.measure() as counts:
        batches = counting.listen(Query("a"))
        await anext(batches)
        await counting.commit([Write("a/1", {}), Write("a/2", {})])
        await anext(batches)
        await batches.aclose()
    assert counts == Counts(rpcs=1, rounds=1, reads=2, writes=2, by_verb={"listen": 1, "commit": 1})
