"""Names the code that blocks the event loop: a thread looks at the loop's stack whenever its heartbeat is late (T-F13).

The loop pays one timer per beat, the thread sleeps in between; a process without a watchdog pays nothing.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import structlog

log = structlog.get_logger(__name__)

BEATS_PER_LIMIT = 4  # a stall is noticed within a quarter of the limit, and the loop wakes as seldom as that allows
FRAMES_MAX = 8  # from the innermost outwards: who blocks, and who called him


@dataclass(frozen=True, slots=True)
class Stall:
    """A loop that stood still: for how long when it was looked at, and in what, innermost first: file:line function."""

    seconds: float
    stack: tuple[str, ...]


def _say(stall: Stall) -> None:
    log.error("event loop blocked", seconds=round(stall.seconds, 3), stack=list(stall.stack))


class Watchdog:
    """Watches the loop that it is started on. `limit_seconds` is how long a callback may take."""

    def __init__(self, limit_seconds: float, told: Callable[[Stall], None] = _say) -> None:
        self._limit_seconds = limit_seconds
        self._told = told
        self._beat_at = 0.0
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._loop_thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._beat()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        self._timer = self._loop.call_later(self._limit_seconds / BEATS_PER_LIMIT, self._beat)

    def _watch(self) -> None:
        reported = 0.0
        while not self._stopped.wait(self._limit_seconds / BEATS_PER_LIMIT):
            beat_at = self._beat_at
            late_seconds = time.monotonic() - beat_at
            if late_seconds >= self._limit_seconds and beat_at != reported:
                reported = beat_at  # once for each stall, however long it lasts
                self._told(Stall(late_seconds, _stack(sys._current_frames().get(self._loop_thread))))


def _stack(frame: FrameType | None) -> tuple[str, ...]:
    lines: list[str] = []
    while frame is not None and len(lines) < FRAMES_MAX:
        code = frame.f_code
        lines.append(f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return tuple(lines)
