"""Kills real processes at every verb of every flow, starts them again, and holds the end against an undisturbed run.

`python -m tests.kill.worker` prints one JSON line a flow, on an emulator of ours that it starts, or on the one of
`--host 127.0.0.1:8080`. Everything is imported once; each case is a fork of that, which has not spoken gRPC yet, so a
case costs milliseconds and not the second of an import.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import structlog

from domain.audit import check
from firestore.audit import books_of
from firestore.backend import Backend, Query, Write
from firestore.cloud import CloudBackend
from firestore.collections import (
    AGENTS,
    ENTRIES,
    INBOX,
    LEDGER,
    LISTINGS,
    OUTBOX,
    PAYOUT_ACCOUNTS,
    TALLIES,
    TOPICS,
    TRANSACTIONS,
    USERS,
)
from firestore.memory import MemoryBackend
from firestore.records import SEAL, Collection
from tests.emulators import ROOT, start_local
from tests.kill.flows import FLOWS, PLANTED, Flow
from tests.kill.house import Fuse, House, furniture
from tests.kill.stored import stored
from tests.nouns import NOW

RESTART_VERBS_MORE = 6  # what a restarted flow does beyond the verbs of the first, at most a few
VERBS_MAX = 200  # of one flow: a longer one does not end
BOOKS = (*LEDGER, OUTBOX)
ALL = (*BOOKS, AGENTS, INBOX, LISTINGS, PAYOUT_ACCOUNTS, TALLIES, TOPICS, USERS)
OUTCOMES = {each.name for each in LEDGER} - {ENTRIES.name, TRANSACTIONS.name}
STEPS = {SEAL, "version", "sequence", "entries", "matured_by"}  # what counts the steps, or names one
Dump = dict[str, dict[str, Any]]


async def dump_of(backend: Backend, wanted: Sequence[Collection[Any]]) -> Dump:
    """Every document of the collections, by path."""
    found = await asyncio.gather(*(backend.query(Query(each.name)) for each in wanted))
    return {snapshot.path: dict(snapshot.data) for snapshots in found for snapshot in snapshots}


def outcome(dump: Dump) -> Mapping[str, str]:
    """What a ledger comes to, by path: not by how many entries, nor when, for a sweep may do late, and at once, what a
    webhook's own task would have done in two steps. The audit sees to the steps themselves."""
    balances: Counter[str] = Counter()
    left = {}
    for path, data in dump.items():
        name = path.partition("/")[0]
        if name == ENTRIES.name:
            for posting in data["postings"]:
                balances[posting["source"]] -= posting["amount"]
                balances[posting["target"]] += posting["amount"]
        elif name in OUTCOMES:
            left[path] = json.dumps(_timeless(data), sort_keys=True)
    return {**left, **{address: str(balance) for address, balance in balances.items() if balance}}


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _timeless(each) for name, each in value.items() if name not in STEPS}
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
    return outcome(await dump_of(memory, LEDGER)), house.bank.moved()


async def attempt(flow: Flow, backend: Backend, fuse: Fuse, books: Path, before: Sequence[Write]) -> None:
    """Run the flow's steps on what was before; the fuse may end it."""
    await backend.commit(before)
    house = House(backend, fuse, books)
    for step in flow.steps:
        await step(house)


def problems_of(dump: Dump, now: datetime) -> list[str]:
    """What the audit finds wrong with the ledger."""
    whole, unreadable = books_of(dump, now)
    return [f"{each.invariant} {each.path} {each.message}" for each in [*unreadable, *check(whole)]]


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
    await backend.close()
    problems, left = problems_of(dump, house.now), outcome(dump)
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
    """Kill the flow before and after each verb, until it has no further one; `twice` kills the restart, too."""
    with tempfile.TemporaryDirectory() as base:
        plan = _Plan(FLOWS.get(name, PLANTED), host, Path(base), run)
        verbs, kills = plan.kill(twice=twice)
        # The restarts share one process: what they find is in the store, and each has its own database there.
        failed, answer = forked(lambda: plan.recover(each_case=twice))
        states, found = (0, ["the processes that were started again failed"]) if failed else answer
        told = [f"{name}, {each}" for each in (*plan.problems, *found)]
        counted = {"verbs": verbs, "kills": kills, "cases": len(plan.cases), "states": states}
        return {"flow": name, **counted, "problems": told}


class _Plan:
    """One flow, each case of it in an empty database of its own."""

    def __init__(self, flow: Flow, host: str, base: Path, run: str) -> None:
        self._flow = flow
        self._host = host
        self._base = base
        self._run = run
        self._given = base / "given"
        self._given.mkdir()
        self._before = asyncio.run(given(flow, self._given))
        self._wanted, self._moved = asyncio.run(undisturbed(flow, self._before, self._books("undisturbed")))
        self.cases: list[str] = []
        self.problems: list[str] = []

    def kill(self, *, twice: bool) -> tuple[int, int]:
        """How many verbs the flow has, and how many processes were killed at them."""
        kills = 0
        for at in range(1, VERBS_MAX):
            seconds = (0, *range(1, at + RESTART_VERBS_MORE)) if twice else (0,)
            for when, second in itertools.product(("before", "after"), seconds):
                case = f"{when} verb {at}" + (f" and {second}" if second else "")
                self.cases.append(case)
                ends = [self._end(case, at, when, self._before)]
                if second and ends[0] == signal.SIGKILL:
                    ends.append(self._end(case, second, when, ()))
                kills += ends.count(signal.SIGKILL)
                if any(end not in (0, signal.SIGKILL) for end in ends):
                    self.problems.append(f"{case}: the process failed by itself")
                if ends[0] != signal.SIGKILL:
                    return at - 1, kills
        raise AssertionError(f"a flow of more than {VERBS_MAX} verbs")

    async def recover(self, *, each_case: bool) -> tuple[int, list[str]]:
        """How many restarts there were, and what is wrong after the restart of each case.

        Most kills leave what another has left: reading changes nothing, and after one verb is before the next. A
        restart does from there what it does from the other, for that is all that it knows. So those which left the same
        share one restart, in the database of the first of them; with `each_case` none do.
        """
        alike: dict[Any, list[str]] = {}
        for case in self.cases:
            left = case if each_case else stored(self._host, self._project(case), self._base / case)
            alike.setdefault(left, []).append(case)
        problems = []
        for first, *others in alike.values():
            try:
                found = await recover(self._flow, self._backend(first), self._base / first, self._wanted, self._moved)
            except Exception as failure:
                found = [f"the process that was started again raised {failure!r}"]
            problems += [f"{case}: {each}" for case in (first, *others) for each in found]
        return len(alike), problems

    def _end(self, case: str, at: int, when: str, before: Sequence[Write]) -> int:
        books = self._base / case
        if not books.exists():
            self._books(case)
        ended, _ = forked(lambda: attempt(self._flow, self._backend(case), Fuse(at, when), books, before))
        return ended

    def _books(self, name: str) -> Path:
        return Path(shutil.copytree(self._given, self._base / name))

    def _project(self, case: str) -> str:
        return f"{self._run}-{self.cases.index(case)}"

    def _backend(self, case: str) -> CloudBackend:
        # A lone client on a busy machine: a late answer here is the machine's fault, and no part of the test.
        return CloudBackend(self._project(case), emulator_host=self._host, deadline_seconds=15)


def main() -> None:
    """Every flow asked for, `--at-once` of them at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", help="host:port of a Firestore emulator; without it, one of ours is started")
    parser.add_argument("--flows", default=",".join(FLOWS), help="names, joined by commas; `planted` is a bug")
    parser.add_argument("--at-once", type=int, default=2, help="flows at a time")
    parser.add_argument("--twice", action="store_true", help="kill the restarted process too, at each of its verbs")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with nullcontext(asked.host) if asked.host else _an_emulator() as host:
        failed = _drive(asked.flows.split(","), host, at_once=asked.at_once, twice=asked.twice)
    sys.exit(failed)


@contextmanager
def _an_emulator() -> Iterator[str]:
    """The address of an emulator of ours, which ends with the run."""
    with tempfile.TemporaryDirectory() as data:
        emulator = start_local(Path(data), "--indexes", str(ROOT / "firestore" / "firestore.indexes.json"))
        try:
            yield emulator.host
        finally:
            emulator.stop()


def _drive(names: Sequence[str], host: str, *, at_once: int, twice: bool) -> bool:
    """Every flow in a process of its own; gives whether one of these failed by itself."""
    gc.disable()  # a fork shares what nobody writes to, and a collection writes to all
    drivers: dict[int, str] = {}
    failed = False
    for place, name in enumerate(names):
        while len(drivers) >= at_once:
            failed |= _reap(drivers)
        child = os.fork()
        if child == 0:
            _report(name, host, f"kill-{os.getpid()}-{place}", twice=twice)
        drivers[child] = name
    while drivers:
        failed |= _reap(drivers)
    return failed


def _report(name: str, host: str, run: str, *, twice: bool) -> NoReturn:
    """What the enumeration of one flow found, and the end of this process: what its parent holds is not its own to end.
    `run` is a name that no other run on this emulator has, so that each can be repeated."""
    status = 1
    try:
        os.write(1, f"{json.dumps(enumerate_kills(name, host, run, twice=twice))}\n".encode())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _reap(drivers: dict[int, str]) -> bool:
    child, ended = os.wait()
    drivers.pop(child, None)
    return ended != 0


if __name__ == "__main__":
    main()
