"""Times of commits and reads, strictly in order, in microseconds.

A read gets the time T at which it saw exactly the commits up to T. So while a group of commits is on its way to the
disk, reads are dated just before that group; otherwise they are dated now, and later commits get later times.
"""

import threading
import time


class Clock:
    """Shared by the writer's thread and the event loop."""

    def __init__(self, last: int) -> None:
        """`last` is the greatest time ever given out; times go on above it, even when the wall clock went back."""
        self._lock = threading.Lock()
        self._last = last
        self._floor: int | None = None

    def open_group(self) -> None:
        """Commits from now on are under way: reads are dated before them until `close_group`."""
        with self._lock:
            self._floor = self._advance()

    def close_group(self) -> None:
        """All commits dated so far are visible (or were given up)."""
        with self._lock:
            self._floor = None

    def commit_time(self) -> int:
        """A time later than every time given out before."""
        with self._lock:
            return self._advance()

    def read_time(self) -> int:
        """A time for a read that begins now; no commit that is not yet visible is dated at or before it."""
        with self._lock:
            if self._floor is not None:
                return self._floor - 1
            self._last = max(_now(), self._last)
            return self._last

    def _advance(self) -> int:
        self._last = max(_now(), self._last + 1)
        return self._last


def _now() -> int:
    return time.time_ns() // 1000
