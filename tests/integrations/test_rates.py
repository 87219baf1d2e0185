"""Units counted in memory and in Redis alike, and what happens where Redis does not answer (T-P12)."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from domain.rates import Rate
from integrations.local import rates as local
from integrations.local.rates import LocalRates
from integrations.rates import RedisRates
from integrations.services import RateCounters
from tests.emulators import free_port

REDIS = shutil.which("redis-server")
HUNDRED = Rate("hundred", 100, 3_600)
START_SECONDS = 20.0


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture(params=["memory", "redis"])
async def four(request: pytest.FixtureRequest) -> AsyncIterator[list[RateCounters]]:
    """Four counters over one count, as four processes have them; in memory there is one process."""
    if request.param == "memory":
        yield [LocalRates(Clock())] * 4
        return
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    server = subprocess.Popen(
        [REDIS, "--port", str(port), "--save", "", "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
    )
    made = [RedisRates(f"redis://127.0.0.1:{port}", deadline_seconds=10) for _ in range(4)]
    try:
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                await made[0].take(HUNDRED, "warm", 1)
                break
            except Unavailable:
                assert time.monotonic() < give_up
                await asyncio.sleep(0.2)
        for each in made:
            each._down_until = 0.0
        yield list(made)
    finally:
        for each in made:
            await each.close()
        server.kill()
        server.wait()


async def test_t_p12_four_processes_at_once_take_together_what_one_may(four: list[RateCounters]) -> None:
    waits = await asyncio.gather(*(four[number % 4].take(HUNDRED, "max", 1) for number in range(160)))
    assert waits.count(0) == 100
    assert all(0 < wait <= 2 * 3_600 for wait in waits if wait)
    assert await four[0].take(HUNDRED, "ada", 100) == 0
    assert await four[1].take(HUNDRED, "ada", 1) > 0


async def test_more_than_there_is_room_for_counts_nothing(four: list[RateCounters]) -> None:
    assert await four[0].take(HUNDRED, "max", 60) == 0
    assert await four[1].take(HUNDRED, "max", 41) > 0
    assert await four[2].wait_seconds(HUNDRED, "max") == 0
    assert await four[3].take(HUNDRED, "max", 40) == 0
    assert await four[0].wait_seconds(HUNDRED, "max") > 0
    assert await four[1].take(HUNDRED, "max", 101) > 0


async def test_t_p12_at_the_turn_of_a_window_nobody_gets_twice_the_units() -> None:
    """The edge of the clock: what was taken just before it still weighs just after, within one unit in ten."""
    clock = Clock()
    rates, ten = LocalRates(clock), Rate("ten", 10, 60)
    clock.now = 60 * 30_000_000 - 0.001
    assert [await rates.take(ten, "max", 1) for _ in range(10)] == [0] * 10
    clock.now += 0.002
    assert await rates.take(ten, "max", 2) > 0
    waits = [await rates.take(ten, "max", 1) for _ in range(3)]
    assert waits.count(0) <= 1
    clock.now += max(waits)
    assert await rates.take(ten, "max", 1) == 0
    clock.now += 120
    assert await rates.take(ten, "max", 10) == 0


async def test_a_clock_that_steps_back_locks_nobody_out() -> None:
    clock = Clock()
    rates, ten = LocalRates(clock), Rate("ten", 10, 60)
    assert await rates.take(ten, "max", 10) == 0
    clock.now -= 600
    assert await rates.take(ten, "max", 10) == 0


async def test_memory_is_bounded_and_forgets_who_was_silent_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "KEYS_MAX", 3)
    rates, one = LocalRates(Clock()), Rate("one", 1, 60)
    for name in "abcd":
        assert await rates.take(one, name, 1) == 0
    assert await rates.take(one, "d", 1) > 0
    assert await rates.take(one, "a", 1) == 0


async def test_a_redis_that_is_gone_is_unavailable_and_then_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = RedisRates(f"redis://127.0.0.1:{free_port()}")
    asked: list[Callable[..., Any]] = []
    hit = rates._limiter.hit

    async def noting(*args: Any, **named: Any) -> bool:
        asked.append(hit)
        return await hit(*args, **named)

    monkeypatch.setattr(rates._limiter, "hit", noting)
    for _ in range(5):
        with pytest.raises(Unavailable, match="try again"):
            await rates.take(HUNDRED, "max", 1)
    assert len(asked) == 1
    rates._down_until = 0.0
    with pytest.raises(Unavailable):
        await rates.take(HUNDRED, "max", 1)
    assert len(asked) == 2
    await rates.close()
