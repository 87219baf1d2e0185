"""A history misses no guard: each bug is planted in a process of its own. `make simulate-bugs` plants all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.bugs import BUGS, unplantable

ROOT = Path(__file__).parents[2]
SEEDS = 20  # each of these is found by one of the first ten


def test_every_guard_is_where_its_bug_is_planted() -> None:
    modules = {edit.module for bug in BUGS for edit in bug.edits}
    sources = {name: (ROOT / f"{name.replace('.', '/')}.py").read_text("utf-8") for name in modules}
    assert unplantable(sources) == [], "a guard has moved: change tests/simulator/bugs.py with it"


def test_there_are_forty_bugs_and_pairs_among_them() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 40
    assert sum(len(bug.edits) > 1 for bug in BUGS) >= 5


@pytest.mark.parametrize(
    "name", ["no_version", "unclear_counts_as_done", "entry_id_random", "price_rounded_down", "refund_first_lost"]
)
def test_a_planted_bug_is_found(name: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.simulator", "--bug", name, "--seeds", str(SEEDS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith("found by seed")
