"""The store's backends, each test with an empty one of its own.

`backend` runs a test on memory, on our emulator and, where it is installed, on the official one; `cloud` on the two
servers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from firestore.backend import Backend
from firestore.cloud import CloudBackend
from firestore.memory import MemoryBackend
from tests.emulators import start_local

MakeCloud = Callable[[str], CloudBackend]


@pytest.fixture(scope="session")
def local_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    emulator = start_local(tmp_path_factory.mktemp("emulator"))
    yield emulator.host
    emulator.stop()


@pytest.fixture(params=["emulator", "official"])
def host(request: pytest.FixtureRequest) -> str:
    """Of a running server."""
    return str(request.getfixturevalue("local_host" if request.param == "emulator" else "official_host"))


@pytest_asyncio.fixture
async def cloud(host: str, project: str) -> AsyncIterator[CloudBackend]:
    backend = CloudBackend(project, emulator_host=host)
    yield backend
    await backend.close()


@pytest_asyncio.fixture(params=["memory", "emulator", "official"])
async def backend(request: pytest.FixtureRequest, project: str) -> AsyncIterator[Backend]:
    if request.param == "memory":
        made: Backend = MemoryBackend()
    else:
        made = CloudBackend(
            project,
            emulator_host=request.getfixturevalue("local_host" if request.param == "emulator" else "official_host"),
        )
    yield made
    await made.close()
