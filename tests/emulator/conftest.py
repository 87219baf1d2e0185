"""The server as a real child process, and official clients of it; every test has a project of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc.aio
import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient, FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import (
    FirestoreGrpcAsyncIOTransport,
    FirestoreGrpcTransport,
)

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """`python -m emulator` on a free port."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emulator", "--data", str(data), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line.startswith("ready on "), f"the server did not start: {line!r}"
        self.address = line.removeprefix("ready on ")

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(timeout=15)


def async_client(address: str, project: str, database: str | None = None) -> firestore.AsyncClient:
    """The official client on a channel of its own, without the environment variable that all tests would share."""
    client = firestore.AsyncClient(project=project, credentials=AnonymousCredentials(), database=database)
    transport = FirestoreGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(address))
    client._firestore_api_internal = FirestoreAsyncClient(transport=transport)
    return client


def sync_client(address: str, project: str) -> firestore.Client:
    """The official synchronous client, the only one with `on_snapshot`."""
    client = firestore.Client(
        project=project, credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=address)
    )
    transport = FirestoreGrpcTransport(channel=grpc.insecure_channel(address))
    client._firestore_api_internal = FirestoreClient(transport=transport)
    return client


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server without declared indexes."""
    server = Server(tmp_path_factory.mktemp("firestore") / "data.db")
    yield server.address
    assert server.stop() == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers on one data file of this test; all are ended with it."""
    started: list[Server] = []

    def start_one(*arguments: str) -> Server:
        started.append(Server(tmp_path / "data.db", *arguments))
        return started[-1]

    yield start_one
    for server in started:
        server.stop()


@pytest.fixture
def connect() -> Callable[..., firestore.AsyncClient]:
    """`connect(address, project, database)`: an official asynchronous client."""
    return async_client


@pytest.fixture
def connect_sync() -> Callable[..., firestore.Client]:
    """`connect_sync(address, project)`: an official synchronous client."""
    return sync_client


@pytest.fixture
async def db(address: str, project: str) -> firestore.AsyncClient:
    return async_client(address, project)
