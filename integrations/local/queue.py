"""A task queue in this process. What it loses when the process ends, the outbox still has: the sweep asks again."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from domain.errors import Unavailable
from integrations.services import Deliver
from integrations.tasks import DISPATCH_DEADLINE_SECONDS

LENGTH_MAX = 10_000  # rows in memory, about 5 MB; beyond it the outbox holds them
WORKERS_MAX = 8  # deliveries at once: a handful of commits keeps one local Firestore busy
ATTEMPTS_MAX = 8
BACKOFF_MIN_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 60.0
BACKOFF_GROWTH = 3  # 8 attempts then span about a minute: longer than a restart of the local Firestore
GLANCE_SECONDS = 1.0  # a clock that jumps (a test's, a laptop's after sleep) is noticed within this time

Row = tuple[str, str]
"""A task's name and its outbox row's id: what makes two requests one."""

log = structlog.get_logger(__name__)


class LocalQueue:
    """Delivers rows by calling `deliver`: at least once, the earliest first, several at a time.

    `now` and `jitter` (a number from 0 to 1) are arguments so that a test can set the time and drop the waiting.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._now = now
        self._jitter = jitter
        self._order = itertools.count()  # rows due at one time leave in the order in which they came
        self._heap: list[tuple[datetime, int, Row, Mapping[str, str]]] = []
        self._queued: set[Row] = set()
        self._attempts: dict[Row, int] = {}  # of rows that were tried and are not done
        self._running: set[asyncio.Task[None]] = set()
        self._stir = asyncio.Event()
        self._quiet = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    def start(self, deliver: Deliver) -> None:
        """Begin to deliver. Rows that were asked for before wait until now."""
        assert self._pump is None, "a queue starts once"
        self._pump = asyncio.create_task(self._deliver_due(deliver), name="local queue")

    async def enqueue(
        self, name: str, row_id: str, args: Mapping[str, str], *, not_before: datetime | None = None
    ) -> None:
        """Ask for a delivery; a row that waits or runs is not queued twice. Raises Unavailable when full or closed."""
        assert not_before is None or not_before.tzinfo is not None, "a time without a zone is another time elsewhere"
        row = (name, row_id)
        if self._closed:
            raise Unavailable("The local task queue is closed: the sweep will deliver it.")
        if row in self._queued:
            return
        if len(self._queued) >= LENGTH_MAX:
            raise Unavailable(f"The local task queue holds {LENGTH_MAX} rows already: the sweep will deliver it.")
        self._queued.add(row)
        self._push(row, dict(args), not_before or self._now())

    async def drain(self) -> None:
        """Wait until nothing is owed: all that was due was delivered or given up, retries included.

        Rows whose `not_before` lies ahead stay; what a delivery enqueues is waited for. Ends, as attempts are bounded.
        """
        assert self._pump is not None or not self._queued, "a queue that was not started would never drain"
        while self._owes():
            self._quiet.clear()
            self._stir.set()  # the clock may have jumped since the pump looked
            await self._quiet.wait()

    async def close(self) -> None:
        """Stop at once: running deliveries are cancelled, as in a crash, and all that waits is left to the sweep."""
        self._closed = True
        tasks = [*self._running, *([self._pump] if self._pump else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._heap.clear()
        self._queued.clear()
        self._attempts.clear()
        self._quiet.set()

    def _push(self, row: Row, args: Mapping[str, str], due: datetime) -> None:
        heapq.heappush(self._heap, (due, next(self._order), row, args))
        self._stir.set()

    def _is_due(self) -> bool:
        return bool(self._heap) and self._heap[0][0] <= self._now()

    def _owes(self) -> bool:
        return not self._closed and (bool(self._running) or bool(self._attempts) or self._is_due())

    async def _deliver_due(self, deliver: Deliver) -> None:
        while True:
            self._stir.clear()
            while self._is_due() and len(self._running) < WORKERS_MAX:
                _, _, row, args = heapq.heappop(self._heap)
                task = asyncio.create_task(self._try(row, args, deliver))
                self._running.add(task)
                task.add_done_callback(self._left)
            if not self._owes():
                self._quiet.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest_seconds()):
                    await self._stir.wait()

    def _rest_seconds(self) -> float | None:
        """How long nothing can become due, unless something stirs: for ever with no row, or with no free worker."""
        if not self._heap or len(self._running) >= WORKERS_MAX:
            return None
        until = (self._heap[0][0] - self._now()).total_seconds()
        return min(max(until, 0.0), GLANCE_SECONDS)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._stir.set()

    async def _try(self, row: Row, args: Mapping[str, str], deliver: Deliver) -> None:
        error: BaseException | None = None
        attempt = self._attempts[row] = self._attempts.get(row, 0) + 1
        try:
            async with asyncio.timeout(DISPATCH_DEADLINE_SECONDS):
                done = await deliver(*row, args)
        except (Exception, asyncio.CancelledError) as raised:  # whatever a handler raises asks for another try
            if self._closed:
                raise
            done, error = False, raised
        if done or attempt >= ATTEMPTS_MAX:
            self._attempts.pop(row)
            self._queued.discard(row)
            if not done:
                log.error("task given up until the sweep", task=row[0], row=row[1], attempts=attempt, exc_info=error)
            return
        log.warning("task failed and will be tried again", task=row[0], row=row[1], attempt=attempt, exc_info=error)
        ceiling = min(BACKOFF_MAX_SECONDS, BACKOFF_MIN_SECONDS * BACKOFF_GROWTH ** (attempt - 1))
        self._push(row, args, self._now() + timedelta(seconds=ceiling * self._jitter()))


class LocalCaller:
    """Nobody may post to `/tasks/*`: local deliveries do not come by HTTP."""

    async def verify(self, headers: Mapping[str, str]) -> bool:
        """Always False."""
        return False
