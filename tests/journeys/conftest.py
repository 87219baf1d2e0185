"""Stores for the journeys, each a process, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators import find_official, start_official
from tests.journeys.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store on its own local Firestore."""
    store = Server(tmp_path_factory.mktemp("store")).start()
    yield store
    store.stop()


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store on the official emulator."""
    script = find_official()
    if script is None:
        pytest.skip("the official Firestore emulator is not installed: needs gcloud with it, and Java")
    emulator = start_official(script)
    store = Server(tmp_path_factory.mktemp("official"), FIRESTORE_EMULATOR_HOST=emulator.host)
    try:
        yield store.start()
        store.stop()
    finally:
        emulator.stop()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"
