"""Reads at one moment in the past, under writes."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter


async def now(db: firestore.AsyncClient) -> datetime:
    moment = (await db.document("any/thing").get()).read_time
    return datetime.fromtimestamp(moment.timestamp(), moment.tzinfo).replace(microsecond=moment.microsecond)


async def test_everything_reads_one_moment(db: firestore.AsyncClient) -> None:
    c = db.collection("c")
    for key in "abc":
        await c.document(key).set({"n": 1, "k": key})
    moment = await now(db)
    await c.document("a").update({"n": 10})
    await c.document("a").update({"n": 20})
    await c.document("b").delete()
    await c.document("d").set({"n": 1, "k": "d"})
    await db.document("later/x").set({})
    assert (await c.document("a").get(read_time=moment)).get("n") == 1
    assert (await c.document("b").get(read_time=moment)).exists
    assert not (await c.document("d").get(read_time=moment)).exists
    ones = c.where(filter=FieldFilter("n", "==", 1))
    assert [d.id async for d in ones.stream(read_time=moment)] == ["a", "b", "c"]
    assert [d.id async for d in ones.stream()] == ["c", "d"]
    backwards = c.order_by("k", direction="DESCENDING").limit(2)
    assert [d.id async for d in backwards.stream(read_time=moment)] == ["c", "b"]
    assert [d.id async for d in db.collection_group("c").stream(read_time=moment)] == ["a", "b", "c"]
    both = c.count(alias="n").sum("n", alias="s")
    assert {a.alias: a.value for a in (await both.get(read_time=moment))[0]} == {"n": 3, "s": 3}
    assert (await c.count().get(read_time=moment))[0][0].value == 3
    assert [x.id async for x in db.collections(read_time=moment)] == ["c"]
    assert [x.id async for x in c.list_documents(read_time=moment)] == ["a", "b", "c"]


async def test_a_snapshot_under_load_is_consistent(db: firestore.AsyncClient) -> None:
    """Two documents that always sum to 100 do so at every moment."""
    await db.document("w/a").set({"n": 100})
    await db.document("w/b").set({"n": 0})
    done = asyncio.Event()

    async def move() -> None:
        for i in range(150):
            batch = db.batch()
            batch.update(db.document("w/a"), {"n": firestore.Increment(-1 if i % 3 else 2)})
            batch.update(db.document("w/b"), {"n": firestore.Increment(1 if i % 3 else -2)})
            await batch.commit()
        done.set()

    mover = asyncio.create_task(move())
    seen = 0
    while not done.is_set():
        moment = await now(db)
        total = (await db.collection("w").sum("n").get(read_time=moment))[0][0].value
        parts = [d.get("n") async for d in db.collection("w").stream(read_time=moment)]
        assert (total, sum(parts)) == (100, 100)
        assert sum([d.get("n") async for d in db.collection("w").stream()]) == 100
        seen += 1
    await mover
    assert seen > 3


async def test_times_out_of_reach_are_refused(
    start: Callable[..., Any], connect: Callable[..., firestore.AsyncClient], project: str
) -> None:
    db = connect(start("--history-seconds", "0.05").address, project)
    await db.document("c/a").set({"n": 1})
    moment = await now(db)
    for n in range(4):
        await db.document("c/a").set({"n": n + 2})
        await asyncio.sleep(0.06)
    with pytest.raises(exceptions.FailedPrecondition, match="too old"):
        await db.document("c/a").get(read_time=moment, retry=None)
    with pytest.raises(exceptions.InvalidArgument, match="in the future"):
        await db.document("c/a").get(read_time=moment + timedelta(hours=1), retry=None)
