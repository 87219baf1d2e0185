"""Keeps a search engine in step with the store: what is on offer is found, and nothing else, in every process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import structlog

from domain.errors import Unavailable
from domain.search import SearchDocument, document_of
from firestore.feed import merge
from firestore.listings import SHARDS, Changes, Listings
from integrations.services import SearchGateway

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.2  # changes of so long become one: an engine's commit costs alike for one and for a hundred
PAUSE_SECONDS = 1.0  # before an engine that refused, or a broken following, is tried again


class SearchIndex:
    """Fills the engine with all listings on offer and then follows them. Close it before the store."""

    def __init__(self, listings: Listings, gateway: SearchGateway) -> None:
        self._listings = listings
        self._gateway = gateway
        self._task: asyncio.Task[None] | None = None
        self._stir = asyncio.Event()
        self._pending: dict[str, SearchDocument | None] = {}  # at most one for each listing; None is to be removed
        self._held: dict[int, set[str]] = {}  # by shard; a shard that has not told its state is not in it
        self._is_filled = False

    def start(self) -> None:
        assert self._task is None, "an index starts once"
        self._task = asyncio.create_task(self._run(), name="search index")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:  # for as long as the process: each failure is waited out, and everything is read again
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen())
                    group.create_task(self._tell())
            except* Exception as problems:  # what is held stays searchable meanwhile; the store judges each hit
                log.error("search index not in step", problem=repr(problems.exceptions[0]))
            self._pending.clear()
            self._held.clear()
            self._is_filled = False
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        async with aclosing(merge([self._follow(shard) for shard in range(SHARDS)])) as heard:
            async for shard, changes in heard:
                self._hear(shard, changes)

    async def _follow(self, shard: int) -> AsyncGenerator[tuple[int, Changes], None]:
        async with aclosing(self._listings.follow(shard)) as batches:
            async for changes in batches:
                yield shard, changes

    def _hear(self, shard: int, changes: Changes) -> None:
        held = self._held.setdefault(shard, set())
        named = {listing.id for listing in changes.changed}
        gone = held - named if changes.whole else set(changes.gone)
        self._pending.update(dict.fromkeys(gone))
        self._pending.update((listing.id, document_of(listing)) for listing in changes.changed)
        held -= gone
        held |= named
        self._stir.set()

    async def _tell(self) -> None:
        while True:
            await self._stir.wait()
            self._stir.clear()
            if len(self._held) < SHARDS:
                continue  # an engine that knows a part of the listings would deny the others
            if self._is_filled:
                await asyncio.sleep(GATHER_SECONDS)
            pending, self._pending = self._pending, {}
            try:
                await self._hand_over(pending)
            except Unavailable as problem:
                log.warning("search engine not told", reason=str(problem))
                self._pending = {**pending, **self._pending}
                self._stir.set()
                await asyncio.sleep(PAUSE_SECONDS)

    async def _hand_over(self, pending: dict[str, SearchDocument | None]) -> None:
        documents = [each for each in pending.values() if each is not None]
        if not self._is_filled:
            await self._gateway.replace_all(documents)
            self._is_filled = True
            return
        gone = [id_ for id_, document in pending.items() if document is None]
        if gone:  # first: what left is not shown a moment longer than it must be
            await self._gateway.remove(gone)
        if documents:
            await self._gateway.put(documents)
