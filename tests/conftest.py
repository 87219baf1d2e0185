"""The order of the tests, so that several workers share them well, and what all of them stand on."""

from __future__ import annotations

import gc

import pytest

FIRST = ("tests/journeys/", "tests/kill/")
"""What runs whole processes, and takes seconds each."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first. pytest-xdist hands each worker a run of neighbours to begin with, an eighth of all when
    there are two: so one worker has all of these, one after another, and they never compete for the cores; and at the
    end, when it hands out what is left by twos, what is left is short."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


def pytest_collection_finish() -> None:
    """What is loaded and collected by now stays to the end: no collection of garbage has to look through it again."""
    gc.collect()
    gc.freeze()
