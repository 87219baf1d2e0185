"""The order of the tests, so that several workers share them well; which are asked once more; and what several folders
of them stand on."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.emulators import find_official, new_project, start_official

FIRST = ("tests/journeys/", "tests/kill/")
"""What runs whole processes, and takes seconds each."""

SERVERS = frozenset({"cloud", "emulator", "host", "indexed", "local_host", "official", "official_host", "strict"})
"""Fixtures of tests/firestore, and their parameters, that are a process or stand on one."""

LATE = ["Unavailable", "UNAVAILABLE", "Timeout", "DEADLINE_EXCEEDED"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first. pytest-xdist hands each worker a run of neighbours to begin with, an eighth of all when
    there are two: so one worker has all of these, one after another, and they never compete for the cores; and at the
    end, when it hands out what is left by twos, what is left is short."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))
    # A shared machine that stands still for seconds lets a deadline of ours pass, which is two seconds in most places.
    # Where a server is asked, a process or a stand-in behind a socket, what failed for want of an answer in time is
    # asked once more. Elsewhere nothing may be late: an event that is lost looks like that, too.
    for item in filter(_asks_a_server, items):
        item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=LATE))


def _asks_a_server(item: pytest.Item) -> bool:
    if not item.nodeid.startswith("tests/firestore/"):
        return item.nodeid.startswith((*FIRST, "tests/emulator/", "tests/integrations/"))
    assert isinstance(item, pytest.Function)
    given = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return not SERVERS.isdisjoint([*item.fixturenames, *(each for each in given if isinstance(each, str))])


def pytest_collection_finish() -> None:
    """What is loaded and collected by now stays to the end: no collection of garbage has to look through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def official_host() -> Iterator[str]:
    """The official emulator's `host:port`. One is enough for a worker: it takes seconds to start, and a project is a
    database of its own. JIGA_FIRESTORE_EMULATOR may be the address of one that runs."""
    found = find_official()
    if found is None:
        pytest.skip(
            "no official emulator: install gcloud's cloud-firestore-emulator and Java, or set JIGA_FIRESTORE_EMULATOR"
        )
    if ":" in found:
        yield found
        return
    emulator = start_official(found)
    yield emulator.host
    emulator.stop()


@pytest.fixture
def project() -> str:
    """Of this test alone."""
    return new_project()
