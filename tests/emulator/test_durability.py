"""What was acknowledged is there after kill -9, and time goes on; shutdown is clean."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions


async def test_kill_loses_no_acknowledged_commit(start: Callable[..., Any], connect: Any, project: str) -> None:
    latest = None
    acknowledged: dict[str, int] = {}
    for life in range(3):
        server = start()
        db = connect(server.address, project)
        if latest is not None:
            found = {d.id: d.to_dict() async for d in db.collection("c").stream()}
            for key, number in acknowledged.items():
                # A later write may have been applied without its answer; an acknowledged one is never undone.
                assert found[key]["n"] >= number
                assert found[key]["twin"] == found[key]["n"]
            assert (await db.document("c/after").set({"n": life, "twin": life})).update_time > latest

        async def write(worker: int, db: Any = db, life: int = life) -> None:
            nonlocal latest
            for i in range(10_000):
                batch = db.batch()
                batch.set(db.document(f"c/{worker}"), {"n": life * 10_000 + i, "twin": life * 10_000 + i})
                batch.set(db.document(f"c/{worker}-copy"), {"n": life * 10_000 + i, "twin": life * 10_000 + i})
                results = await batch.commit(retry=None)
                acknowledged[str(worker)] = acknowledged[f"{worker}-copy"] = life * 10_000 + i
                latest = max(latest or results[0].update_time, results[0].update_time)

        tasks = [asyncio.create_task(write(worker)) for worker in range(8)]
        await asyncio.sleep(0.4)
        server.stop(signal.SIGKILL)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, exceptions.GoogleAPICallError) for outcome in outcomes)
    assert len(acknowledged) == 16


async def test_one_file_has_one_server(start: Callable[..., Any]) -> None:
    start()
    with pytest.raises(AssertionError, match="did not start"):
        start()


async def test_its_files_are_their_owners_alone(
    tmp_path: Path, start: Callable[..., Any], connect: Any, project: str
) -> None:
    server = start()
    await connect(server.address, project).document("c/d").set({"n": 1})
    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir() if each.is_file()}
    assert len(modes) >= 3, "the file, its journal and its lock"
    assert set(modes.values()) == {0o600}, modes


async def test_it_ends_with_its_parent(tmp_path: Any, start: Callable[..., Any]) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    server = start("--parent-pid", str(parent.pid))
    parent.communicate(b"\n")
    assert await asyncio.to_thread(server.process.wait, 10) == 0


async def test_sigterm_with_an_open_stream_is_quick_and_clean(
    start: Callable[..., Any], connect_sync: Any, project: str
) -> None:
    server = start()
    client = connect_sync(server.address, project)
    first = asyncio.Event()
    loop = asyncio.get_running_loop()
    watch = client.collection("c").on_snapshot(lambda *_: loop.call_soon_threadsafe(first.set))
    await asyncio.wait_for(first.wait(), 10)
    assert await asyncio.to_thread(server.stop) == 0
    watch.unsubscribe()
