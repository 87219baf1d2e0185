"""The server's connections: what uvicorn leaves open is bounded here, and what it mistakes for a fault is none."""

from __future__ import annotations

import asyncio

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEAD_SECONDS = 10.0  # from a connection's first moment, or a request's first byte, to its head's end: as a body has
HEAD_BYTES_MAX = 65_536  # several times what browsers and proxies send: a head is kept whole before any door sees it


class HttpConnection(HttpToolsProtocol):
    """Closes a connection that opens and says nothing, or begins a head and does not end it: uvicorn waits for ever.

    Between two requests its own `timeout_keep_alive` holds. A socket's handshake is a head too; what follows is the
    socket's.
    """

    _patience: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._wait()
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._wait_no_more()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._wait_no_more()
        self._patience = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _count(self, bytes_: int) -> None:
        self._head_bytes += bytes_
        if self._head_bytes > HEAD_BYTES_MAX:
            self.transport.abort()


class SocketConnection(WebSocketsSansIOProtocol):
    """Knows that a handshake which was refused with an answer of its own is complete: uvicorn would log a fault."""

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True
