"""`"ttl": true` in the indexes file: what is past goes, by commits that listeners hear; the rest stays."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.cloud import firestore

from emulator.expiry import ROUND_MAX
from emulator.indexes import EXPIRY_PREFIX, Catalog

OFTEN = ("--ttl-seconds", "0.05")
PATIENCE_SECONDS = 20.0
TTL = {"collectionGroup": "rows", "fieldPath": "expires_at", "ttl": True, "indexes": []}


def moment(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
def indexes(tmp_path: Path) -> Callable[..., str]:
    """Writes the indexes file with these field overrides; gives its path."""

    def write(*overrides: dict[str, Any]) -> str:
        file = tmp_path / "indexes.json"
        file.write_text(json.dumps({"indexes": [], "fieldOverrides": overrides}))
        return str(file)

    return write


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await done():
            await asyncio.sleep(0.02)


async def ids(collection: Any) -> set[str]:
    return {snapshot.id async for snapshot in collection.stream()}


async def test_what_is_past_goes_and_all_else_stays(
    start: Callable[..., Any], connect: Any, project: str, indexes: Callable[..., str]
) -> None:
    db: firestore.AsyncClient = connect(start("--indexes", indexes(TTL), *OFTEN).address, project)
    rows = db.collection("rows")
    for name, value in {
        "future": moment(3600),
        "text": "2020-01-01T00:00:00Z",
        "number": 1,
        "null": None,
        "list": [moment(-60)],
        "map": {"expires_at": moment(-60)},
    }.items():
        await rows.document(name).set({"expires_at": value})
    await rows.document("without").set({"n": 1})
    await db.document("others/past").set({"expires_at": moment(-60)})
    await db.document("others/past/rows/deep").set({"expires_at": moment(-60)})
    await rows.document("past").set({"expires_at": moment(-60)})
    await rows.document("past/others/child").set({"n": 1})
    await rows.document("soon").set({"expires_at": moment(0.2)})

    async def gone() -> bool:
        return not await ids(rows) & {"past", "soon"}

    await until(gone)
    assert await ids(rows) == {"future", "text", "number", "null", "list", "map", "without"}
    assert await ids(db.collection("others")) == {"past"}  # another group has no ttl
    assert not (await db.document("others/past/rows/deep").get()).exists  # a ttl is of a group, at any depth
    assert (await db.document("rows/past/others/child").get()).exists  # as Firestore's own, it leaves what lies below


async def test_a_moment_that_was_moved_counts_as_it_is_now(
    start: Callable[..., Any], connect: Any, project: str, indexes: Callable[..., str]
) -> None:
    db: firestore.AsyncClient = connect(start("--indexes", indexes(TTL), *OFTEN).address, project)
    rows = db.collection("rows")
    await rows.document("later").set({"expires_at": moment(0.3)})
    await rows.document("later").set({"expires_at": moment(3600)})
    await rows.document("never").set({"expires_at": moment(0.3)})
    await rows.document("never").update({"expires_at": firestore.DELETE_FIELD})
    await rows.document("sooner").set({"expires_at": moment(3600)})
    await rows.document("sooner").set({"expires_at": moment(-1)})
    await rows.document("mark").set({"expires_at": moment(0.5)})

    async def gone() -> bool:
        return "mark" not in await ids(rows)

    await until(gone)
    assert await ids(rows) == {"later", "never"}


async def test_listeners_hear_of_it(
    start: Callable[..., Any], connect: Any, connect_sync: Any, project: str, indexes: Callable[..., str]
) -> None:
    server = start("--indexes", indexes(TTL), *OFTEN)
    db: firestore.AsyncClient = connect(server.address, project)
    await db.document("rows/a").set({"expires_at": moment(1)})
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def hear(_documents: Any, changes: Any, _time: Any) -> None:
        for change in changes:
            loop.call_soon_threadsafe(heard.put_nowait, (change.type.name, change.document.id))

    watch = connect_sync(server.address, project).collection("rows").on_snapshot(hear)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await heard.get() == ("ADDED", "a")
        assert await heard.get() == ("REMOVED", "a")
    watch.unsubscribe()


async def test_it_survives_restarts_and_finds_what_was_there_before_the_ttl(
    start: Callable[..., Any], connect: Any, project: str, indexes: Callable[..., str]
) -> None:
    server = start("--indexes", indexes(), *OFTEN)
    db: firestore.AsyncClient = connect(server.address, project)
    await db.document("rows/old").set({"expires_at": moment(-60)})
    await db.document("rows/kept").set({"expires_at": moment(3600)})
    assert server.stop() == 0
    server = start("--indexes", indexes(TTL))  # once at its start, then after a minute
    first: firestore.AsyncClient = connect(server.address, project)

    async def gone() -> bool:
        return await ids(first.collection("rows")) == {"kept"}

    await until(gone)
    await first.document("rows/while_down").set({"expires_at": moment(-1)})
    assert server.stop() == 0
    server = start("--indexes", indexes(TTL))
    second: firestore.AsyncClient = connect(server.address, project)

    async def gone_too() -> bool:
        return await ids(second.collection("rows")) == {"kept"}

    await until(gone_too)


async def test_a_round_is_bounded_and_looks_only_at_what_is_past(
    start: Callable[..., Any], connect: Any, project: str, indexes: Callable[..., str], tmp_path: Path
) -> None:
    server = start("--indexes", indexes(), "--ttl-seconds", "3600")
    db: firestore.AsyncClient = connect(server.address, project)
    more = 100
    for first in range(0, ROUND_MAX + more, 250):
        batch = db.batch()
        for number in range(first, first + 250):
            batch.set(db.document(f"rows/{number:04}"), {"expires_at": moment(number - 100_000)})
        await batch.commit()
    assert server.stop() == 0
    server = start("--indexes", indexes(TTL), "--ttl-seconds", "3600")  # one round, at its start
    left: firestore.AsyncClient = connect(server.address, project)

    async def shrunk() -> bool:
        return len(await ids(left.collection("rows"))) == more

    await until(shrunk)
    assert min(await ids(left.collection("rows"))) == f"{ROUND_MAX:04}"  # the earliest go first
    assert server.stop() == 0
    with sqlite3.connect(tmp_path / "data.db") as file:
        (kept,) = file.execute("SELECT count(*) FROM entries WHERE substr(key, 1, 12) = ?", (EXPIRY_PREFIX,)).fetchone()
    assert kept == more  # a deleted document leaves no row behind


def test_a_group_has_one_ttl() -> None:
    with pytest.raises(ValueError, match="one field of the collection group rows"):
        Catalog({"fieldOverrides": [TTL, {**TTL, "fieldPath": "other_at"}]})
