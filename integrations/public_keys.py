"""The public keys that somebody's tokens are signed with, kept for a while, so that no request costs a fetch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

STALE_SECONDS = 24 * 3600  # while none can be fetched, those of the last day still serve (T-A06)
RETRY_SECONDS = 60  # a flood of made-up key ids, or a dead network, costs one fetch a minute
FETCH_SECONDS = 1.0  # leaves as long again to verify with known keys, inside a request's 2 s, on a machine that stalls

Key = TypeVar("Key")


class NoKeys(Exception):
    """There are no keys to tell by, neither fetched now nor in the last day."""


class PublicKeys(Generic[Key]):
    """Keys by their ids. `issuer` is who signs, for the log; `fetch` gives all that there are now (any exception
    is a failure), and after `fresh_seconds` they are asked for anew. `seconds` only tells how old they are."""

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[], Awaitable[Mapping[str, Key]]],
        *,
        fresh_seconds: float,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._fresh_seconds = fresh_seconds
        self._seconds = seconds
        self._keys: Mapping[str, Key] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def get(self, key_id: str) -> Key | None:
        """The key of this id, None where the issuer has none. Keys that are old, or lack this one, are fetched anew.

        Raises NoKeys. Waits for as long as others fetch: the caller has the deadline.
        """
        if self._age() < (STALE_SECONDS if self._fetching.locked() else self._fresh_seconds):
            known = self._keys.get(key_id)
            if known is not None:  # whoever brings a known key does not wait for the fetch that another one began
                return known
        async with self._fetching:  # one fetch at a time, however many requests wait for it
            if self._is_due(key_id):
                await self._renew()
            return self._keys.get(key_id)

    def _age(self) -> float:
        """How old the keys are, in seconds; beyond all use where there are none."""
        return STALE_SECONDS if self._fetched_at is None else self._seconds() - self._fetched_at

    def _is_due(self, key_id: str) -> bool:
        age = self._age()
        wanted = age >= self._fresh_seconds or key_id not in self._keys
        rested = self._tried_at is None or self._seconds() - self._tried_at >= RETRY_SECONDS
        return wanted and (rested or age >= STALE_SECONDS)

    async def _renew(self) -> None:
        self._tried_at = now = self._seconds()
        try:
            async with asyncio.timeout(FETCH_SECONDS):  # a client bounds each step of a fetch, not their sum
                self._keys = await self._fetch()
            self._fetched_at = now
        except Exception as fault:
            serve = self._age() < STALE_SECONDS
            log.warning("public keys not fetched", issuer=self._issuer, fault=type(fault).__name__, old_serve=serve)
            if not serve:
                raise NoKeys(type(fault).__name__) from fault
