"""The local task queue: at least once, in time, within its bounds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from structlog.testing import capture_logs

from domain.errors import Unavailable
from integrations.local.queue import ATTEMPTS_MAX, LENGTH_MAX, WORKERS_MAX, LocalCaller, LocalQueue
from integrations.services import TaskCaller, TaskQueue

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ARGS = {"order": "ord_1"}
Handler = Callable[[str], Awaitable[bool]]


class Bench:
    """A queue with a clock that stands still, retries that do not wait, and a handler that keeps what it gets."""

    def __init__(self) -> None:
        self.now = NOON
        self.jitter = 0.0
        self.delivered: list[tuple[str, str, Mapping[str, str]]] = []
        self.handler: Handler = self.succeed
        self.queue = LocalQueue(now=lambda: self.now, jitter=lambda: self.jitter)

    @property
    def rows(self) -> list[str]:
        return [row for _, row, _ in self.delivered]

    async def succeed(self, row: str) -> bool:
        return True

    async def deliver(self, name: str, row: str, args: Mapping[str, str]) -> bool:
        self.delivered.append((name, row, args))
        return await self.handler(row)

    def start(self) -> None:
        self.queue.start(self.deliver)

    async def drain(self) -> None:
        async with asyncio.timeout(20):
            await self.queue.drain()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.queue.close()


async def test_a_row_is_delivered_with_its_arguments(bench: Bench) -> None:
    queue: TaskQueue = bench.queue
    bench.start()
    args = dict(ARGS)
    await queue.enqueue("apply_order", "out_1", args)
    args["order"] = "changed later"
    await bench.drain()
    assert bench.delivered == [("apply_order", "out_1", ARGS)]


async def test_rows_from_before_the_start_wait_for_it(bench: Bench) -> None:
    await bench.queue.enqueue("a", "1", ARGS)
    with pytest.raises(AssertionError):
        await bench.queue.drain()
    bench.start()
    await bench.drain()
    assert bench.rows == ["1"]


async def test_the_earliest_comes_first_and_equals_in_turn(bench: Bench) -> None:
    for row, minutes in (("late", 3), ("b", 1), ("c", 1), ("early", 0)):
        await bench.queue.enqueue("a", row, {}, not_before=NOON + timedelta(minutes=minutes))
    bench.now += timedelta(minutes=5)
    bench.start()
    await bench.drain()
    assert bench.rows == ["early", "b", "c", "late"]


async def test_a_row_waits_for_its_time(bench: Bench) -> None:
    bench.start()
    east = timezone(timedelta(hours=2))
    await bench.queue.enqueue("a", "1", {}, not_before=datetime(2026, 11, 20, 14, 0, 1, tzinfo=east))
    await bench.queue.enqueue("a", "2", {})
    await bench.drain()
    assert bench.rows == ["2"]
    bench.now += timedelta(seconds=1)
    await bench.drain()
    assert bench.rows == ["2", "1"]


async def test_time_alone_brings_a_row() -> None:
    bench = Bench()
    bench.queue = LocalQueue()
    arrived = asyncio.Event()

    async def handler(row: str) -> bool:
        arrived.set()
        return True

    bench.handler = handler
    bench.start()
    await bench.queue.enqueue("a", "1", {}, not_before=datetime.now(UTC) + timedelta(seconds=0.05))
    async with asyncio.timeout(20):
        await arrived.wait()
    await bench.queue.close()
    assert bench.rows == ["1"]


async def test_a_row_is_queued_once(bench: Bench) -> None:
    running, release = asyncio.Event(), asyncio.Event()

    async def handler(row: str) -> bool:
        running.set()
        await release.wait()
        return True

    bench.handler = handler
    await bench.queue.enqueue("a", "1", ARGS)
    await bench.queue.enqueue("a", "1", ARGS)
    await bench.queue.enqueue("b", "1", ARGS)
    bench.start()
    await running.wait()
    await bench.queue.enqueue("a", "1", ARGS)
    release.set()
    await bench.drain()
    assert sorted(name for name, _, _ in bench.delivered) == ["a", "b"]
    await bench.queue.enqueue("a", "1", ARGS)  # once done it may be asked for again, as the sweep does
    await bench.drain()
    assert sorted(name for name, _, _ in bench.delivered) == ["a", "a", "b"]


@pytest.mark.parametrize("fault", [RuntimeError("boom"), asyncio.CancelledError(), TimeoutError(), None])
async def test_a_failure_is_tried_again(bench: Bench, fault: BaseException | None) -> None:
    async def handler(row: str) -> bool:
        if len(bench.delivered) >= 3:
            return True
        if fault is None:
            return False
        raise fault

    bench.handler = handler
    bench.start()
    await bench.queue.enqueue("a", "1", ARGS)
    await bench.drain()
    assert bench.delivered == [("a", "1", ARGS)] * 3


async def test_a_poison_row_is_given_up_and_the_rest_moves_on(bench: Bench) -> None:  # T-T05
    async def handler(row: str) -> bool:
        return row != "poison"

    bench.handler = handler
    bench.start()
    await bench.queue.enqueue("a", "poison", ARGS)
    for row in range(20):
        await bench.queue.enqueue("a", str(row), ARGS)
    with capture_logs() as logs:
        await bench.drain()
    assert [log["row"] for log in logs if log["log_level"] == "error"] == ["poison"]
    counts = Counter(bench.rows)
    assert counts.pop("poison") == ATTEMPTS_MAX == 8
    assert counts == {str(row): 1 for row in range(20)}
    await bench.queue.enqueue("a", "poison", ARGS)  # the sweep asks again
    await bench.drain()
    assert Counter(bench.rows)["poison"] == 16


async def test_retries_back_off_to_a_minute(bench: Bench) -> None:
    async def handler(row: str) -> bool:
        return row != "poison"

    async def tries_by(moment: datetime) -> int:
        """How often the row was tried by then. Another row, due at that moment, proves that the queue looked."""
        bench.now = moment
        await bench.queue.enqueue("look", moment.isoformat(), {})
        async with asyncio.timeout(20):
            while moment.isoformat() not in bench.rows:
                await asyncio.sleep(0)
        return bench.rows.count("poison")

    bench.handler = handler
    bench.jitter = 1.0
    bench.start()
    await bench.queue.enqueue("a", "poison", ARGS)
    assert await tries_by(NOON) == 1
    due = NOON
    for tried, wait_seconds in enumerate((0.1, 0.3, 0.9, 2.7, 8.1, 24.3, 60.0), start=1):
        due += timedelta(seconds=wait_seconds)
        assert await tries_by(due - timedelta(microseconds=100)) == tried
        assert await tries_by(due) == tried + 1
    await bench.drain()
    assert bench.rows.count("poison") == 8


async def test_drain_waits_for_a_retry_that_is_not_due_yet() -> None:
    bench = Bench()
    bench.queue = LocalQueue(jitter=lambda: 1.0)

    async def handler(row: str) -> bool:
        return len(bench.delivered) == 2

    bench.handler = handler
    bench.start()
    await bench.queue.enqueue("a", "1", ARGS)
    await bench.drain()
    await bench.queue.close()
    assert bench.rows == ["1", "1"]


async def test_drain_waits_for_retries_and_for_what_a_delivery_asks_for(bench: Bench) -> None:
    async def handler(row: str) -> bool:
        if row == "1":
            await bench.queue.enqueue("a", "2", ARGS)
        return len(bench.delivered) > 4

    bench.handler = handler
    bench.start()
    await bench.queue.enqueue("a", "1", ARGS)
    await bench.drain()
    assert set(bench.rows) == {"1", "2"}
    assert len(bench.delivered) in (5, 6)


async def test_deliveries_at_once_are_bounded(bench: Bench) -> None:
    at_once, most = 0, 0

    async def handler(row: str) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        at_once -= 1
        return True

    bench.handler = handler
    bench.start()
    for row in range(100):
        await bench.queue.enqueue("a", str(row), ARGS)
    await bench.drain()
    assert most == WORKERS_MAX == 8
    assert bench.rows == [str(row) for row in range(100)]


async def test_a_full_queue_says_so_and_recovers(bench: Bench) -> None:
    for row in range(LENGTH_MAX):
        await bench.queue.enqueue("a", str(row), {})
    with pytest.raises(Unavailable, match="10000 rows already: the sweep will deliver it"):
        await bench.queue.enqueue("a", "one too many", {})
    await bench.queue.enqueue("a", "0", {})  # it is there already
    bench.start()
    await bench.drain()
    await bench.queue.enqueue("a", "one too many", {})
    await bench.drain()
    assert len(bench.rows) == LENGTH_MAX + 1


async def test_closing_cancels_what_runs_and_leaves_the_rest_to_the_sweep(bench: Bench) -> None:
    running = asyncio.Event()
    cancelled: list[str] = []

    async def handler(row: str) -> bool:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(row)
            raise
        return True

    bench.handler = handler
    bench.start()
    await bench.queue.enqueue("a", "1", ARGS)
    await bench.queue.enqueue("a", "2", ARGS, not_before=NOON + timedelta(hours=1))
    await running.wait()
    draining = asyncio.create_task(bench.drain())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await bench.queue.close()
    await draining
    assert (bench.rows, cancelled, logs) == (["1"], ["1"], [])
    with pytest.raises(Unavailable, match="closed: the sweep will deliver it"):
        await bench.queue.enqueue("a", "3", ARGS)
    await bench.queue.close()


async def test_nobody_may_post_to_a_local_queue() -> None:
    caller: TaskCaller = LocalCaller()
    for headers in ({}, {"X-CloudTasks-QueueName": "store"}, {"authorization": "Bearer x"}):
        assert await caller.verify(headers) is False
