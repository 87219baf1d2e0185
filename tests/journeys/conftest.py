"""Stores for the journeys, each a process, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators import new_project
from tests.journeys.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store on its own local Firestore."""
    store = Server(tmp_path_factory.mktemp("store")).start()
    yield store
    store.stop()


@pytest.fixture(scope="module")
def official(official_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store on the official emulator."""
    settings = {"FIRESTORE_EMULATOR_HOST": official_host, "GOOGLE_CLOUD_PROJECT": new_project()}
    store = Server(tmp_path_factory.mktemp("official"), **settings).start()
    yield store
    store.stop()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"
