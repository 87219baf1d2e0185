"""The store's backends, each test with an empty one of its own.

`backend` runs a test on memory, on our emulator and, where it is installed, on the official one; `cloud` on the two
servers.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from firestore.backend import Backend
from firestore.cloud import CloudBackend
from firestore.memory import MemoryBackend
from tests.emulators import find_official, start_local, start_official

_projects = itertools.count(1)

MakeCloud = Callable[[str], CloudBackend]


@pytest.fixture(scope="session")
def local_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    emulator = start_local(tmp_path_factory.mktemp("emulator"))
    yield emulator.host
    emulator.stop()


@pytest.fixture(scope="session")
def official_host() -> Iterator[str]:
    script = find_official()
    if script is None:
        pytest.skip(
            "no official emulator: install gcloud's cloud-firestore-emulator and Java, or set JIGA_FIRESTORE_EMULATOR"
        )
    emulator = start_official(script)
    yield emulator.host
    emulator.stop()


@pytest.fixture(params=["emulator", "official"])
def host(request: pytest.FixtureRequest) -> str:
    """Of a running server."""
    return str(request.getfixturevalue("local_host" if request.param == "emulator" else "official_host"))


@pytest.fixture
def project() -> str:
    """A project's id that no test had before: an empty database."""
    return f"demo-test-{next(_projects)}"


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
