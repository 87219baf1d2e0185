"""Kills real processes at every verb of every flow, starts them again, and holds what is left against an undisturbed run.

`python -m tests.kill.worker --host 127.0.0.1:8080` prints one JSON line a flow. Everything is imported once; each case is
a fork of that, which has not spoken gRPC yet, so a case costs milliseconds and not the second of an import.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from domain.audit import check
from firestore.audit import books_of
from firestore.backend import Backend, Query, Write
from firestore.cloud import CloudBackend
from firestore.collections import AGENTS, INBOX, LEDGER, LISTINGS, OUTBOX, PAYOUT_ACCOUNTS, TALLIES, TOPICS, USERS
from firestore.memory import MemoryBackend
from firestore.records import SEAL, Collection
from tests.kill.flows import FLOWS, Flow
from tests.kill.house import Fuse, House, furniture
from tests.nouns import NOW

RESTART_VERBS_MORE = 6  # what a restarted flow does beyond the verbs of the first, at most a few
VERBS_MAX = 200  # of one flow: a longer one does not end
BOOKS = (*LEDGER, OUTBOX)
ALL = (*BOOKS, AGENTS, INBOX, LISTINGS, PAYOUT_ACCOUNTS, TALLIES, TOPICS, USERS)
Dump = dict[str, dict[str, Any]]


async def dump_of(backend: Backend, wanted: Sequence[Collection[Any]]) -> Dump:
    """Every document of the collections, by path."""
    found = await asyncio.gather(*(backend.query(Query(each.name)) for each in wanted))
    return {snapshot.path: dict(snapshot.data) for snapshots in found for snapshot in snapshots}


def plain(dump: Dump) -> Mapping[str, str]:
    """The ledger by path, without moments: a later restart may date a thing later, and may not change anything else."""
    names = {each.name for each in LEDGER}
    return {
        path: json.dumps(_timeless(data), sort_keys=True)
        for path, data in dump.items()
        if path.partition("/")[0] in names
    }


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _timeless(each) for name, each in value.items() if name != SEAL}
    if isinstance(value, list | tuple):
        return [_timeless(each) for each in value]
    return None if isinstance(value, datetime) else value


async def given(flow: Flow, books: Path) -> list[Write]:
    """What was before the flow, made in memory: the same documents for every case."""
    memory = MemoryBackend()
    await memory.commit(furniture())
    house = House(memory, Fuse(), books)
    for step in flow.given:
        await step(house)
    return [Write(path, data) for path, data in (await dump_of(memory, ALL)).items()]


async def undisturbed(flow: Flow, before: Sequence[Write], books: Path) -> tuple[Mapping[str, str], dict[str, int]]:
    """What the flow comes to when nobody is killed, and what the bank has moved for it."""
    memory = MemoryBackend()
    await memory.commit(before)
    house = House(memory, Fuse(), books)
    for step in flow.steps:
        await step(house)
    await house.sweep()
    return plain(await dump_of(memory, LEDGER)), house.bank.moved()


async def attempt(flow: Flow, backend: Backend, fuse: Fuse, books: Path, before: Sequence[Write]) -> None:
    """Run the flow's steps on what was before; the fuse may end it."""
    await backend.commit(before)
    house = House(backend, fuse, books)
    for step in flow.steps:
        await step(house)


async def recover(
    flow: Flow, backend: Backend, books: Path, wanted: Mapping[str, str], moved: Mapping[str, int]
) -> list[str]:
    """Ask again for the whole flow, let the sweep work, and say what is wrong with the ledger then."""
    house = House(backend, Fuse(), books)
    for step in flow.steps:
        await step(house)
    house.now = max(house.now, NOW) + timedelta(minutes=5)
    await house.sweep()
    dump = await dump_of(backend, BOOKS)
    whole, unreadable = books_of(dump, house.now)
    problems = [f"{each.invariant} {each.path} {each.message}" for each in [*unreadable, *check(whole)]]
    left = plain(dump)
    for path in sorted(wanted.keys() | left.keys()):
        if wanted.get(path) != left.get(path):
            problems.append(f"{path} is {left.get(path)}, without a kill it is {wanted.get(path)}")
    if house.bank.moved() != moved:
        problems.append(f"the bank has moved {house.bank.moved()}, without a kill {moved}")
    return problems


def forked(work: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[int, Any]:
    """Run the work in a child of its own. Gives how it ended, as waitpid tells it, and what it answered."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as out:
                json.dump(asyncio.run(work()), out)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    _, ended = os.waitpid(child, 0)
    return ended, json.loads(text) if text else None


def enumerate_kills(name: str, host: str, run: str, *, twice: bool) -> dict[str, Any]:
    """Kill the flow before and after each of its verbs, until it has no further verb; `twice` kills the restart, too."""
    kills, cases = 0, 0
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as base:
        plan = _Plan(FLOWS[name], host, Path(base))
        for at in range(1, VERBS_MAX):
            seconds = (0, *range(1, at + RESTART_VERBS_MORE)) if twice else (0,)
            for when, second in itertools.product(("before", "after"), seconds):
                cases += 1
                ended, dead, found = plan.case(f"{run}-{cases}", at, second, when)
                kills += dead
                problems += [f"{name}, {when} verb {at}: {each}" for each in found]
                if ended:
                    return {"flow": name, "verbs": at - 1, "kills": kills, "cases": cases, "problems": problems}
    return {"flow": name, "verbs": VERBS_MAX, "kills": kills, "cases": cases, "problems": ["it does not end"]}


class _Plan:
    """One flow, each case of it in an empty database of its own."""

    def __init__(self, flow: Flow, host: str, base: Path) -> None:
        self._flow = flow
        self._host = host
        self._base = base
        self._given = base / "given"
        self._given.mkdir()
        self._before = asyncio.run(given(flow, self._given))
        self._wanted, self._moved = asyncio.run(undisturbed(flow, self._before, self._books("undisturbed")))

    def case(self, project: str, at: int, second: int, when: str) -> tuple[bool, int, list[str]]:
        """Whether the flow ended before its fuse burnt, how many were killed, and what is wrong afterwards."""
        books, flow, backend = self._books(project), self._flow, functools.partial(self._backend, project)
        first, _ = forked(lambda: attempt(flow, backend(), Fuse(at, when), books, self._before))
        if first not in (0, signal.SIGKILL):
            return True, 0, ["the process failed by itself"]
        kills = int(first == signal.SIGKILL)
        if second:
            again, _ = forked(lambda: attempt(flow, backend(), Fuse(second, when), books, ()))
            kills += again == signal.SIGKILL
        failed, found = forked(lambda: recover(flow, backend(), books, self._wanted, self._moved))
        return first == 0, kills, ["the process that was started again failed"] if failed else found

    def _books(self, name: str) -> Path:
        return Path(shutil.copytree(self._given, self._base / name))

    def _backend(self, project: str) -> CloudBackend:
        # A lone client on a busy machine: a late answer here is the machine's fault, and no part of the test.
        return CloudBackend(project, emulator_host=self._host, deadline_seconds=15)


def main() -> None:
    """Every flow asked for, `--at-once` of them at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True, help="host:port of a Firestore emulator")
    parser.add_argument("--flows", default=",".join(FLOWS), help="names, joined by commas")
    parser.add_argument("--at-once", type=int, default=2, help="flows at a time")
    parser.add_argument("--twice", action="store_true", help="kill the restarted process too, at each of its verbs")
    asked = parser.parse_args()
    names = asked.flows.split(",")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    # Names share nothing across runs on one emulator, so that a run can be repeated.
    gc.disable()  # a fork shares what nobody writes to, and a collection writes to all
    drivers: dict[int, str] = {}
    failed = False
    for place, name in enumerate(names):
        while len(drivers) >= asked.at_once:
            failed |= _reap(drivers)
        child = os.fork()
        if child == 0:
            line = json.dumps(enumerate_kills(name, asked.host, f"kill-{os.getpid()}-{place}", twice=asked.twice))
            os.write(1, f"{line}\n".encode())
            os._exit(0)
        drivers[child] = name
    while drivers:
        failed |= _reap(drivers)
    sys.exit(failed)


def _reap(drivers: dict[int, str]) -> bool:
    child, ended = os.wait()
    drivers.pop(child, None)
    return ended != 0


if __name__ == "__main__":
    main()
