"""Work that many ask for at the same moment, done once for all of them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """What was made for each of the last `most` keys; whoever asks for one that is under way waits for it.

    The work goes on when the first who asked leaves. A failure is told to all who wait for it, and not kept. Where
    `weigh` says how many bytes a thing holds, those kept hold at most `most_bytes` together: the oldest make room.
    """

    def __init__(self, most: int, *, weigh: Callable[[T], int] = lambda _: 0, most_bytes: int = 0) -> None:
        self._most = most
        self._weigh = weigh
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, asyncio.Task[T]] = OrderedDict()
        self._weights: OrderedDict[Hashable, int] = OrderedDict()
        self._bytes = 0

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gives for this key, now or earlier. Raises what it raised."""
        task = self._kept.get(key)
        if task is None:
            task = asyncio.ensure_future(_run(make))
            self._kept[key] = task
            task.add_done_callback(lambda done: self._settle(key, done))
            while len(self._kept) > self._most:
                self._forget(next(iter(self._kept)))
        return await asyncio.shield(task)

    def _settle(self, key: Hashable, done: asyncio.Task[T]) -> None:
        failed = done.cancelled() or done.exception() is not None
        if self._kept.get(key) is not done:
            return
        if failed:
            self._forget(key)
            return
        self._weights[key] = self._weigh(done.result())
        self._bytes += self._weights[key]
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._weights)))

    def _forget(self, key: Hashable) -> None:
        del self._kept[key]
        self._bytes -= self._weights.pop(key, 0)


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
