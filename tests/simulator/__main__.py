"""`python -m tests.simulator`: histories by number, one by its seed, planted bugs, corruptions. `make simulate N=…`."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import structlog

SEEDS_PER_BUG = 1_000  # a bug that so many do not find is not found
CHUNK = 50  # histories that one process takes at a time
SHOWN = 10


def main() -> int:
    arguments = _parse()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if arguments.bugs:
        return _campaign(arguments.seeds, arguments.processes)
    if arguments.bug:
        from tests.simulator.bugs import named, plant

        plant(named(arguments.bug))
        return _hunt(arguments.seeds)
    if arguments.corruptions:
        return _corruptions(arguments.corruptions)
    if arguments.seed is not None:
        return _one(arguments.seed)
    return _many(arguments.first, arguments.n, arguments.processes)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--n", type=int, default=1_000, help="how many histories")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, help="one history, with all its problems")
    parser.add_argument("--bugs", action="store_true", help="plant every bug, each in a process of its own")
    parser.add_argument("--bug", help="plant one bug, and say which seed finds it")
    parser.add_argument("--seeds", type=int, default=SEEDS_PER_BUG, help="seeds to try for a bug")
    parser.add_argument("--corruptions", type=int, help="how many random corruptions of a ledger to look for")
    return parser.parse_args()


def _run(seeds: range) -> tuple[int, Counter[str], list[tuple[int, tuple[str, ...]]]]:
    from tests.simulator.history import run

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    counts: Counter[str] = Counter()
    broken = []
    gc.disable()  # looking for cycles is a seventh of a history's time: once for all of these is enough
    for seed in seeds:
        verdict = run(seed)
        counts.update(verdict.counts)
        if verdict.problems:
            broken.append((seed, verdict.problems))
    gc.collect()
    return len(seeds), counts, broken


def _many(first: int, n: int, processes: int) -> int:
    chunks = [range(start, min(start + CHUNK, first + n)) for start in range(first, first + n, CHUNK)]
    began, done, counts = time.monotonic(), 0, Counter[str]()
    broken: list[tuple[int, tuple[str, ...]]] = []
    with multiprocessing.Pool(processes) as pool:
        for ran, counted, found in pool.imap_unordered(_run, chunks):
            done, counts = done + ran, counts + counted
            broken += found
            for seed, problems in found:
                print(f"seed {seed}: {problems[0][:500]}", flush=True)
            if done % 1_000 < CHUNK:
                print(f"{done} histories, {len(broken)} broken, {done / (time.monotonic() - began):.1f}/s", flush=True)
    took = time.monotonic() - began
    mean = ", ".join(f"{count / max(done, 1):.1f} {name}" for name, count in sorted(counts.items()))
    print(f"{done} histories in {took:.0f} s: {done / took:.1f}/s, {len(broken)} broken. Each: {mean}.")
    print("Replay one with: python -m tests.simulator --seed S" if broken else "Every history ended well.")
    return 1 if broken else 0


def _one(seed: int) -> int:
    from tests.simulator.history import run

    verdict = run(seed)
    print(f"seed {seed}, trace {verdict.trace}, {verdict.counts}")
    for problem in verdict.problems:
        print(f"  {problem}")
    return 1 if verdict.problems else 0


def _hunt(seeds: int) -> int:
    """Run seeds until one finds the planted bug; 0 when one does."""
    from tests.simulator.history import run

    for seed in range(seeds):
        problems = run(seed).problems
        if problems:
            print(f"found by seed {seed}: {problems[0][:300]}")
            return 0
    print(f"not found by {seeds} seeds")
    return 1


def _campaign(seeds: int, processes: int) -> int:
    from tests.simulator.bugs import BUGS

    missed = []
    for name, line, ok in _planted([bug.name for bug in BUGS], seeds, processes):
        print(f"{name:32} {line}", flush=True)
        missed += [] if ok else [name]
    covered = {bug.name for bug in BUGS if bug.covered}
    print(f"{len(BUGS) - len(missed)} of {len(BUGS)} found; covered by another guard: {sorted(covered & set(missed))}")
    print(f"missed: {sorted(set(missed) - covered)}")
    return 1 if set(missed) - covered else 0


def _planted(names: list[str], seeds: int, processes: int) -> Iterator[tuple[str, str, bool]]:
    waiting, running = list(names), dict[str, subprocess.Popen[str]]()
    while waiting or running:
        while waiting and len(running) < processes:
            name = waiting.pop(0)
            command = [sys.executable, "-m", "tests.simulator", "--bug", name, "--seeds", str(seeds)]
            running[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name, process in list(running.items()):
            if process.poll() is not None:
                assert process.stdout is not None, "its output is read"
                lines = process.stdout.read().strip().splitlines() or ["no output"]
                del running[name]
                yield name, lines[-1], process.returncode == 0
        time.sleep(0.05)


def _corruptions(n: int) -> int:
    from tests.simulator.corruption import campaign

    began = time.monotonic()
    result = campaign(n, seed=1)
    took = time.monotonic() - began
    print(f"{result.found} of {n} found, {result.by_meaning} of them without seals, {n / took:.0f}/s")
    for (how, shelf, name), count in result.only_by_seal.most_common():
        print(f"  only by its seal: {how} {shelf} {name} ({count})")
    for where in result.disagreements[:SHOWN]:
        print(f"  the checkers disagree on {where}")
    return 0 if result.found == n and not result.disagreements else 1


if __name__ == "__main__":
    sys.exit(main())
