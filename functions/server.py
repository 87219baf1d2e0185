"""The server: it greets once its doors are open, and leaves in the order in which no request is lost (T-F02)."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn


class Server(uvicorn.Server):
    """Told to end by SIGTERM it says so at once (`leave`), stays open for `drain_seconds`, lets all who listen go
    (`part`), and only then closes its doors.

    A kernel takes connections for a process up to the moment in which its doors close: those that nobody has answered
    by then break. So whoever sends requests must hear of it before. A second signal, and Ctrl-C, end it at once.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain_seconds: float,
        greet: Callable[[], None],
        leave: Callable[[], None],
        part: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._greet = greet
        self._leave = leave
        self._part = part
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaves = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._loop = asyncio.get_running_loop()
            self._greet()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the signal itself, between any two lines of the loop's work."""
        at_once = self._leaves or sig != signal.SIGTERM or self._loop is None
        self._leaves = True
        self._leave()
        if at_once or self._loop is None:
            super().handle_exit(sig, frame)
        else:
            end = super().handle_exit
            self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_seconds, end, sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the listeners go first: uvicorn would wait for streams, and close sockets without a hint."""
        await self._part()
        await super().shutdown(sockets)
