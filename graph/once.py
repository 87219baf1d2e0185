"""Work that many ask for at the same moment, done once for all of them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """What was made for each of the last `most` keys; whoever asks for one that is under way waits for it.

    The work goes on when the first who asked leaves. A failure is told to all who wait for it, and not kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, asyncio.Task[T]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gives for this key, now or earlier. Raises what it raised."""
        task = self._kept.get(key)
        if task is None:
            task = asyncio.ensure_future(_run(make))
            self._kept[key] = task
            task.add_done_callback(lambda done: self._settle(key, done))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return await asyncio.shield(task)

    def _settle(self, key: Hashable, done: asyncio.Task[T]) -> None:
        failed = done.cancelled() or done.exception() is not None
        if failed and self._kept.get(key) is done:
            del self._kept[key]


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
