"""Hands the outbox rows of each commit to the queue, right after the commit and beside the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime

import structlog

from domain.errors import Unavailable
from firestore.notifications import carried
from firestore.rows import OutboxRow
from integrations.services import TaskQueue

log = structlog.get_logger(__name__)

UNDER_WAY_MAX = 1_000  # requests to the queue at once; the rows beyond it are delivered by the sweep


class Dispatcher:
    """Asks the queue for deliveries. What is lost here, with the process or with the queue, the sweep finds."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._under_way: set[asyncio.Task[None]] = set()

    def told(self, rows: Iterable[OutboxRow]) -> None:
        """Take the rows of a commit that stands."""
        for row in rows:
            if row.task is not None:
                self.ask(row.task, row.id, row.args, not_before=row.not_before)

    def ask(self, name: str, row_id: str, args: Mapping[str, str], *, not_before: datetime | None = None) -> None:
        """Ask for one delivery, without waiting."""
        if len(self._under_way) >= UNDER_WAY_MAX:
            log.warning("left to the sweep", task=name, row=row_id)
            return
        task = asyncio.get_running_loop().create_task(self._enqueue(name, row_id, carried(args), not_before))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Wait for what is under way; each request to the queue has its own deadline."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _enqueue(self, name: str, row_id: str, args: Mapping[str, str], not_before: datetime | None) -> None:
        try:
            await self._queue.enqueue(name, row_id, args, not_before=not_before)
        except Unavailable:
            log.warning("left to the sweep", task=name, row=row_id)
