"""By which names a local store answers, and that no path sends a client on to a host that the request named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from functions.hosts import KnownHosts
from main import create_app
from settings import Settings

ALWAYS = ("localhost", "localhost:8000", "LOCALHOST.", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:8000")
STRANGE = (
    "evil.test",
    "evil.test:8000",
    "127.0.0.1.evil.test",
    "localhost.evil.test",
    "",
    "@evil",
    "a/?x=",
    "[::1",
    "é",
)


async def hello(request: object) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def app(listens_on: str = "127.0.0.1", public_url: str | None = None) -> Starlette:
    guard = Middleware(KnownHosts, listens_on=listens_on, public_url=public_url)
    return Starlette(routes=[Route("/", hello), WebSocketRoute("/", greet)], middleware=[guard])


async def status(door: Starlette, host: str) -> int:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://localhost") as http:
        return (await http.get("/", headers=[(b"host", host.encode())])).status_code


async def test_a_local_store_answers_by_its_own_names_alone() -> None:
    assert [await status(app(), host) for host in ALWAYS] == [200] * len(ALWAYS)
    others = (*STRANGE, "192.168.1.5:8000", "store:8000")
    assert [await status(app(), host) for host in others] == [421] * len(others)
    assert await status(app("192.168.1.5"), "192.168.1.5:8000") == 200
    assert await status(app(public_url="https://Play.jiga.test/x"), "play.jiga.test") == 200


@pytest.mark.parametrize("every", ["0.0.0.0", "::"])
async def test_on_every_interface_it_answers_by_what_no_page_of_the_web_can_point_at_it(every: str) -> None:
    for host in (*ALWAYS, "192.168.1.5:8000", "[fe80::1]:8000", "store:8000"):
        assert await status(app(every), host) == 200, host
    assert [await status(app(every), host) for host in STRANGE] == [421] * len(STRANGE)


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
async def test_a_socket_is_no_way_around(extensions: dict[str, Any]) -> None:
    async def handshake(host: bytes) -> list[Any]:
        """What a server is told of a handshake by this name."""
        scope = {"type": "websocket", "path": "/", "headers": [(b"host", host)], "query_string": b""}
        told: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            told.append(message)

        await app()({**scope, "subprotocols": [], "extensions": extensions}, receive, send)
        return told

    assert [each["type"] for each in await handshake(b"localhost")] == ["websocket.accept", "websocket.close"]
    first = (await handshake(b"evil.test"))[0]
    assert first.get("status") == 421 if extensions else first["type"] == "websocket.close"


@asynccontextmanager
async def store(data: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The doors of a local store; nothing behind them is started."""
    made = create_app(Settings(data_dir=data, demo=False, firestore_emulator_host="127.0.0.1:1", **settings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://localhost:8000") as http:
        yield http
    await made.state.house.store.close()


async def test_the_store_says_which_setting_to_change(tmp_path: Path) -> None:
    async with store(tmp_path) as http:
        assert (await http.get("/healthz")).status_code == 200
        told = await http.get("/healthz", headers={"host": "evil.test"})
        assert (told.status_code, "set JIGA_PUBLIC_URL" in told.text) == (421, True)
    async with store(tmp_path, host="0.0.0.0") as http:
        assert (await http.get("/healthz", headers={"host": "store:8000"})).status_code == 200


@pytest.mark.parametrize("path", ["/graphql/", "/webhooks/shopify/", "/healthz/"])
async def test_no_path_is_redirected_to_the_host_that_a_request_names(tmp_path: Path, path: str) -> None:
    async with store(tmp_path, public_url="http://play.jiga.test") as http:
        answer = await http.post(path, headers={"host": "play.jiga.test"})
        assert (answer.status_code, answer.headers.get("location")) == (404, None)


async def test_the_data_of_a_store_is_its_owners_alone(tmp_path: Path) -> None:
    async with store(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        assert {each.stat().st_mode & 0o777 for each in (tmp_path / "data").iterdir() if each.is_file()} == {0o600}
