"""A local store whose disk is full: commits are refused whole, and what was acknowledged stays (T-F11)."""

from __future__ import annotations

import resource
from pathlib import Path

from domain.errors import Unavailable
from firestore.backend import Write
from firestore.cloud import CloudBackend
from tests.emulators import start_local

ROOM_BYTES = 2_000_000


async def test_t_f11_a_full_disk_refuses_commits_whole_and_loses_none(tmp_path: Path) -> None:
    emulator = start_local(tmp_path)
    backend = CloudBackend("demo", emulator_host=emulator.host)
    stood: list[int] = []
    try:
        limits = resource.prlimit(emulator.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(emulator.process.pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, limits[1]))
        refused = 0
        for number in range(200):
            twins = [Write(f"c/{number}{side}", {"n": number, "text": "x" * 50_000}) for side in "ab"]
            try:
                await backend.commit(twins)
                stood.append(number)
            except Unavailable:
                refused += 1
                if refused == 3:
                    break
        assert refused == 3
        assert stood
        found = await backend.get_many([f"c/{number}{side}" for number in range(stood[-1] + 3) for side in "ab"])
        there = {int(str(each.data["n"])) for each in found if each is not None}
        assert there == set(stood)
        assert sum(each is not None for each in found) == 2 * len(stood)
        resource.prlimit(emulator.process.pid, resource.RLIMIT_FSIZE, limits)
        await backend.commit([Write("c/after", {"n": 1})])  # room again, work again
        (after,) = await backend.get_many(["c/after"])
        assert after is not None
    finally:
        await backend.close()
        emulator.stop()
