"""Histories of the store's own operations on a faulty machine. `make simulate N=100000` runs as many as one likes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.history import run
from tests.simulator.wire import NONE

ROOT = Path(__file__).parents[2]
SEEDS, CHUNK = 200, 20  # as many as fit 15 s on a slow machine


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_history_breaks_the_books(quiet: None, first: int) -> None:
    broken = {seed: verdict.problems for seed in range(first, first + CHUNK) if (verdict := run(seed)).problems}
    assert broken == {}, "replay one with: python -m tests.simulator --seed S"


def test_without_faults_everything_is_granted_at_once(quiet: None) -> None:
    verdict = run(1, NONE)
    assert verdict.problems == ()
    assert verdict.counts["kills"] == 0


def test_a_history_meets_faults(quiet: None) -> None:
    counts = [run(seed).counts for seed in range(10)]
    assert sum(each["kills"] for each in counts) >= 10
    assert sum(each["entries"] for each in counts) >= 50
    assert all(each["acts"] >= 5 for each in counts)


def test_a_seed_tells_its_history_again(quiet: None) -> None:
    """Also in another process, whose sets have another order."""
    here = run(7)
    assert run(7).trace == here.trace
    assert run(8).trace != here.trace
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-m", "tests.simulator", "--seed", "7"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"trace {here.trace}," in ran.stdout
