"""An event loop with a clock of its own: it never waits, and the same program with the same seed runs the same way.

Whatever is ready runs in the order in which it became so; when nothing is, the clock jumps to the next timer. All
disorder comes from the latencies that the simulated wire draws, so the store's code runs unmodified.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

STEPS_MAX = 2_000_000  # callbacks of one history: one that runs so long does not end


_Loop: Any = asyncio.AbstractEventLoop  # of whose fifty methods the store needs ten


class SimLoop(_Loop):  # type: ignore[misc]
    """Enough of a loop for tasks, futures, timers, locks and timeouts. No I/O, no threads."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self.steps = 0

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run to the end of `main`; what is still under way then is dropped, as when a machine is switched off."""
        outer = asyncio.events._get_running_loop()  # of a test that is asynchronous itself
        asyncio.events._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
            return task.result()
        finally:
            asyncio.events._set_running_loop(outer)

    def _step(self) -> None:
        if not self._ready:
            self._jump()
        handle = self._ready.popleft()
        if not handle._cancelled:
            self.steps += 1
            assert self.steps < STEPS_MAX, "the history does not end"
            handle._run()

    def _jump(self) -> None:
        while self._timers:
            when, _, handle = heapq.heappop(self._timers)
            if not handle._cancelled:
                self._now = max(self._now, when)
                self._ready.append(handle)
                return
        raise AssertionError("everything waits, and nothing is to come")

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left in the heap, and skipped."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A killed process's tasks are never asked how they ended; whoever expects an answer asks."""
