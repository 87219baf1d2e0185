"""Deliver late outbox rows: what a crash between a commit and its queue has left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from domain.errors import Unavailable
from firestore.store import Store
from functions.outbox import Dispatcher

log = structlog.get_logger(__name__)


async def sweep(store: Store, dispatcher: Dispatcher, now: datetime) -> int:
    """Hand every late row to the queue again; gives how many. A row that fails for hours is DEAD, and logged."""
    handed = 0
    for row in await store.outbox.due(now):
        postponed = await store.outbox.postpone(row.id, now)
        if postponed is None:
            log.error("row given up", row=row.id, task=row.task)
        elif postponed.task is not None:
            dispatcher.ask(postponed.task, row.id, postponed.args, not_before=now)
            handed += 1
    return handed


class Clock:
    """The schedule of a store without Cloud Scheduler: one round every so many seconds, for as long as it is held."""

    def __init__(self, store: Store, dispatcher: Dispatcher, clock: Callable[[], datetime], *, seconds: float) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with a round at once: the process before may have left rows behind."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="schedule")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await sweep(self._store, self._dispatcher, self._clock())
            except Unavailable:
                log.warning("sweep put off", reason="the store does not answer")
            except Exception:
                log.exception("sweep failed")
            await asyncio.sleep(self._seconds)
