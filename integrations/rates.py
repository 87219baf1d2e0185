"""Units counted in Redis, for all processes together: the `limits` package's sliding window, one script a count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool

from domain.errors import Unavailable
from domain.rates import Rate, Window

log = structlog.get_logger(__name__)

DEADLINE_SECONDS = 0.25  # a count takes less than a millisecond; an answer must not wait for one that is lost
CONNECTIONS_MAX = 32  # each counts some thousand times a second; Redis holds 10,000 for all processes
REST_SECONDS = 1.0  # after a failure nobody asks for so long: a dead Redis costs one request a second its deadline


class RedisRates:
    """A `RateCounters` over Redis; `url` is `redis://…` or `rediss://…`. Connects when it first counts."""

    def __init__(self, url: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        seconds = self._deadline_seconds = deadline_seconds
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=seconds,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
        )
        options: dict[str, Any] = {"connection_pool": self._pool}
        self._storage = RedisStorage(url, wrap_exceptions=True, implementation="redispy", key_prefix="jiga", **options)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._down_until = 0.0

    async def take(self, rate: Rate, key: str, units: int) -> int:
        """Count units where they fit; seconds to wait where they do not. Raises Unavailable."""

        async def count() -> int:
            if await self._limiter.hit(_item(rate), key, cost=units):
                return 0
            return max(1, await self._wait_seconds(rate, key, units))

        return await self._ask(count)

    async def wait_seconds(self, rate: Rate, key: str) -> int:
        """Seconds until one unit fits. Counts nothing. Raises Unavailable."""
        return await self._ask(lambda: self._wait_seconds(rate, key, 1))

    async def close(self) -> None:
        await self._pool.aclose()

    async def _wait_seconds(self, rate: Rate, key: str, units: int) -> int:
        seconds = rate.per_seconds
        previous, fading, current, left = await self._storage.get_sliding_window(_item(rate).key_for(key), seconds)
        # Redis keeps a window for two: what is left of the present one, beyond the next, is what still fades.
        fading = left - seconds if current else fading
        return Window(previous, current, min(1.0, max(0.0, 1 - fading / seconds))).wait_seconds(rate, units)

    async def _ask(self, question: Callable[[], Awaitable[int]]) -> int:
        """One question to Redis within its deadline; after a failure it is left in peace for a second."""
        if time.monotonic() < self._down_until:
            raise _unavailable()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await question()
        except (StorageError, TimeoutError) as fault:
            self._down_until = time.monotonic() + REST_SECONDS
            log.warning("the rate counters do not answer", fault=type(fault).__name__)
            raise _unavailable() from None


def _item(rate: Rate) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(rate.units, rate.per_seconds, namespace=rate.name)


def _unavailable() -> Unavailable:
    return Unavailable("Requests cannot be counted at the moment: try again in a few seconds.")
