"""SIGKILL before and after every verb of every flow (T-F01), enumerated by real processes on a real server.

A flow that was killed is asked for again with the same keys, and the sweep does the rest: then every invariant holds,
and the books say what they say where nobody was killed. Kills that left the same behind share one restart, for it can
know nothing of which of them it was. `python -m tests.kill.worker --twice` is the long version: it kills the restart as
well, at each of its verbs, and starts again after each kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firestore.backend import Write
from firestore.cloud import CloudBackend
from tests.emulators import ROOT, start_local
from tests.kill.flows import FLOWS
from tests.kill.stored import Stored, stored

SECONDS_MAX = 240  # far beyond the half minute that it takes: a machine may be busy, and nothing may hang
ON_THE_OFFICIAL = ("hire", "end", "refund after the spend", "payout")
"""A few flows of each kind: the official emulator is slower, and every flow runs there in the long version."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """Of a server of our own, which wants an index for every query."""
    emulator = start_local(tmp_path, "--indexes", str(ROOT / "firestore" / "firestore.indexes.json"))
    yield emulator.host
    emulator.stop()


def killed(host: str | None, *flows: str) -> dict[str, dict[str, Any]]:
    """What the enumeration found, by flow; without a server's address it starts its own."""
    command = [sys.executable, "-m", "tests.kill.worker", "--flows", ",".join(flows)]
    command += ["--host", host] if host is not None else []
    environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"}  # no process forks after it has spoken gRPC
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {told["flow"]: told for told in map(json.loads, done.stdout.splitlines())}
    assert found.keys() == set(flows)
    for told in found.values():
        # Once before and once after each verb; the last case is the one in which the flow reached its end.
        assert (told["kills"], told["cases"]) == (2 * told["verbs"], 2 * told["verbs"] + 1), told
        assert told["verbs"] >= 2, told
        assert 2 <= told["states"] <= told["cases"], told  # at least what was before, and what is after
    return found


PARTS = 4  # each with a server of its own, so that several workers share the longest test of all


@pytest.mark.parametrize("part", range(PARTS))
async def test_t_f01_every_flow_is_killed_before_and_after_every_verb(host: str, part: int) -> None:
    flows = list(FLOWS)[part::PARTS]
    found = await asyncio.to_thread(killed, host, *flows)
    assert [problem for told in found.values() for problem in told["problems"]] == []
    kills = sum(told["kills"] for told in found.values())
    print(f"{kills} processes were killed in {len(flows)} flows")
    assert kills >= 70
    # Every restart that is left out is one that was done: most verbs read, and so most kills leave the same.
    assert sum(told["states"] for told in found.values()) < kills / 2


async def test_t_f01_kills_count_as_one_only_if_they_left_the_same(host: str, tmp_path: Path) -> None:
    """Whatever differs is seen: in a collection that no flow of today has, in one field, or at the bank."""
    ann, books = Write("people/ann", {"age": 41}), tmp_path / "books"
    books.mkdir()
    left: list[Stored] = []
    for place, later in enumerate((ann, ann, Write("unheard_of/a", {}), Write("people/ann", {"age": 42}))):
        backend = CloudBackend(f"left-{place}", emulator_host=host, deadline_seconds=15)
        await backend.commit([ann])
        await backend.commit([later])
        await backend.close()
        left.append(await asyncio.to_thread(stored, host, f"left-{place}", books))
    (books / "transfer.one").write_text("a key\n")
    left.append(await asyncio.to_thread(stored, host, "left-0", books))
    assert left[0] == left[1]
    assert len(set(left)) == 4


async def test_a_run_needs_no_emulator_of_another(host: str) -> None:
    flow = ON_THE_OFFICIAL[0]
    assert await asyncio.to_thread(killed, None, flow) == await asyncio.to_thread(killed, host, flow)


async def test_t_f01_flows_are_killed_on_the_official_emulator(official_host: str) -> None:
    found = await asyncio.to_thread(killed, official_host, *ON_THE_OFFICIAL)
    assert [problem for told in found.values() for problem in told["problems"]] == []


async def test_t_f01_a_restart_that_makes_its_own_key_is_found(host: str) -> None:
    """The enumeration sees what it is there for: after the commit, and only then, the work is done twice."""
    problems = (await asyncio.to_thread(killed, host, "planted"))["planted"]["problems"]
    assert problems != []
    assert all(problem.startswith(("planted, after verb 2:", "planted, before verb 3:")) for problem in problems)
