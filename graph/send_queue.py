"""Messages on their way to one WebSocket, bounded in number, bytes and patience."""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.websockets import WebSocket, WebSocketDisconnect

from graph.limits import SocketLimits


class Stopped(Exception):
    """Nothing is sent any more: the socket is closing or its peer has left."""


class SendQueue:
    """Messages on their way out, in order; bounded in number and bytes. A task writes while there are any."""

    def __init__(self, websocket: WebSocket, limits: SocketLimits) -> None:
        self._websocket = websocket
        self._limits = limits
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self._stopped = False
        self._writing = False
        self.writers: set[asyncio.Task[None]] = set()

    async def put(self, message: bytes) -> bool:
        """Queues a message once there is a place; False if there was none for `slow_consumer_seconds`.

        Raises Stopped, so that whoever produces messages ends: a source that never waits would otherwise
        run on for ever, and with it the whole process.
        """
        if self._is_full():
            try:
                async with asyncio.timeout(self._limits.slow_consumer_seconds):
                    while self._is_full():
                        self._room.clear()
                        await self._room.wait()
            except TimeoutError:
                return False
        if self._stopped:
            raise Stopped
        self._append(message)
        return True

    def put_if_free(self, message: bytes) -> None:
        """Queues a message that may be left out."""
        if not self._stopped and not self._is_full():
            self._append(message)

    def stop(self) -> None:
        """Drops what is queued; `put` raises from now on."""
        self._stopped = True
        self._queue.clear()
        self._bytes = 0
        self._room.set()

    def _is_full(self) -> bool:
        return not self._stopped and (
            len(self._queue) >= self._limits.max_queued_messages or self._bytes >= self._limits.max_queued_bytes
        )

    def _append(self, message: bytes) -> None:
        self._queue.append(message)
        self._bytes += len(message)
        if not self._writing:
            # A flag, not the set: a task that has just ended stays in the set for one more turn of the loop.
            self._writing = True
            writer = asyncio.create_task(self._write())
            self.writers.add(writer)
            writer.add_done_callback(self.writers.discard)

    async def _write(self) -> None:
        try:
            while self._queue:
                message = self._queue.popleft()
                self._bytes -= len(message)
                self._room.set()
                await self._websocket.send({"type": "websocket.send", "text": message.decode()})
        except (RuntimeError, OSError, WebSocketDisconnect):
            self.stop()  # The peer left; the reader is told so by the server.
        finally:
            self._writing = False
