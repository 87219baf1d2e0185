"""The server's connections: what says nothing is closed, what is refused is no fault, and what is open stays so."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from functions.connections import HEAD_BYTES_MAX, HttpConnection, SocketConnection

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def hello(request: Request) -> Response:
    await asyncio.sleep(float(request.query_params.get("seconds", 0)))
    return PlainTextResponse("hello")


async def echo(websocket: WebSocket) -> None:
    if websocket.query_params.get("refuse"):
        await websocket.send_denial_response(PlainTextResponse("Offer a subprotocol.", 400))
        return
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


@asynccontextmanager
async def listening(monkeypatch: pytest.MonkeyPatch, head_seconds: float = 0.2) -> AsyncIterator[int]:
    monkeypatch.setattr("functions.connections.HEAD_SECONDS", head_seconds)
    app = Starlette(routes=[Route("/", hello), WebSocketRoute("/", echo)])
    config = uvicorn.Config(app, lifespan="off", log_config=None, http=HttpConnection, ws=SocketConnection)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await serve


async def heard(port: int, *sent: bytes) -> bytes:
    """All that the server says until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for each in sent:
        writer.write(each)
        await asyncio.sleep(0.05)
    async with asyncio.timeout(3):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b"reset"
        finally:
            writer.close()


async def test_what_opens_and_says_nothing_or_no_whole_head_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(monkeypatch) as port:
        for sent in ((), (b"GET / HT",), (HEAD, b"A: b\r\n"), (b"\r\n",)):
            assert await heard(port, *sent) == b"", sent
        again = await heard(port, HEAD + b"\r\n", HEAD)  # a second request on the same connection
        assert again.startswith(b"HTTP/1.1 200")
        assert again.endswith(b"hello")
        endless = [b"X-%d: %s\r\n" % (number, b"a" * 4_000) for number in range(2 * HEAD_BYTES_MAX // 4_000)]
        assert await heard(port, HEAD + b"".join(endless)) in {b"", b"reset"}


async def test_what_is_under_way_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(monkeypatch, head_seconds=0.1) as port:
        slow = await heard(port, HEAD.replace(b"GET /", b"GET /?seconds=0.5") + b"Connection: close\r\n\r\n")
        assert slow.endswith(b"hello")
        async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
            await asyncio.sleep(0.4)
            await client.send("still here")
            assert await client.recv() == "still here"


async def test_a_refused_handshake_is_answered_and_no_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "uvicorn.error")
    async with listening(monkeypatch) as port:
        for _ in range(3):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://127.0.0.1:{port}/?refuse=1", proxy=None)
            assert (refused.value.response.status_code, refused.value.response.body) == (400, b"Offer a subprotocol.")
    assert caplog.text == ""
