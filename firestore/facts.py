"""The facts that a stretch of time has recorded, for whoever counts them: sessions, entries, sign-ups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from domain.analytics import Entered, Fact, Settled, SignedUp, Started
from domain.ledger import Entry, EntryKind
from firestore.backend import Backend, Filter, Order, Query, Value
from firestore.collections import ENTRIES, ORDERS, SESSIONS, USERS
from firestore.legible import legible
from firestore.records import Collection, R
from firestore.rows import BUCKETS

PAGE = 300  # facts in one RPC, some 300 KB, and decoded in some 30 ms
MARGIN = timedelta(minutes=15)
"""How long after its end a stretch is complete: operations commit 2 s after their moment, or 10 s where they wait in a
line, and the clocks of two processes differ by less (as for the digests, domain/receipts.py)."""

_MOMENTS: tuple[tuple[Collection[Any], str], ...] = (
    (ENTRIES, "at"),
    (SESSIONS, "started_at"),
    (SESSIONS, "settled_at"),
)


class Facts:
    """Raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def first(self) -> datetime | None:
        """The moment of the first fact of all; None before any. 25 RPCs."""
        queries = [
            (Query(collection.name, (Filter("bucket", "==", bucket),), (Order(name),), 1), name)
            for collection, name in _MOMENTS
            for bucket in range(BUCKETS)
        ]
        queries.append((Query(USERS.name, (), (Order("created_at"),), 1), "created_at"))
        pages = await asyncio.gather(*(self._backend.query(query) for query, _ in queries))
        found = [each.data[name] for page, (_, name) in zip(pages, queries, strict=True) for each in page]
        return min((each for each in found if isinstance(each, datetime)), default=None)

    async def between(self, start: datetime, end: datetime) -> AsyncIterator[list[Fact]]:
        """Every fact from `start` on and before `end`, page by page, in no order: but for a damaged document, which is
        logged, so that the rest is counted. 25 RPCs, one more for 300 facts, and one for a page with refunds."""
        for bucket in range(BUCKETS):
            where = (Filter("bucket", "==", bucket),)
            async for page in self._pages(ENTRIES, "at", where, start, end):
                yield await self._entered(legible(ENTRIES, page))
            async for page in self._pages(SESSIONS, "started_at", where, start, end):
                yield [Started(each) for each in legible(SESSIONS, page)]
            async for page in self._pages(SESSIONS, "settled_at", where, start, end):
                yield [Settled(each) for each in legible(SESSIONS, page)]
        async for page in self._pages(USERS, "created_at", (), start, end):
            yield [SignedUp(user.id, user.created_at) for user in legible(USERS, page)]

    async def _entered(self, entries: Sequence[Entry]) -> list[Fact]:
        """The entries with what they are about, where that says more than they do."""
        sessions = [entry.ref for entry in entries if entry.kind is EntryKind.REFUND]
        orders = [entry.ref for entry in entries if entry.kind is EntryKind.RECLAIM]
        refunded, reclaimed = await self._load(SESSIONS, sessions), await self._load(ORDERS, orders)
        return [
            Entered(entry, refunded.get(entry.ref), reclaimed.get(entry.ref))
            for entry in entries
            if entry.kind is not EntryKind.REFUND or entry.ref in refunded  # of a session that can be read
        ]

    async def _load(self, collection: Collection[R], ids: Sequence[str]) -> dict[str, R]:
        found = await self._backend.get_many([collection.at(each) for each in dict.fromkeys(ids)])
        return {each.id: each for each in legible(collection, [each for each in found if each is not None])}

    async def _pages(
        self, collection: Collection[Any], name: str, where: tuple[Filter, ...], start: datetime, end: datetime
    ) -> AsyncIterator[list[Any]]:
        """All of a collection whose moment lies within the stretch; the stretch ends it."""
        filters = (*where, Filter(name, ">=", start), Filter(name, "<", end))
        after: tuple[Value, ...] | None = None
        while True:
            found = await self._backend.query(Query(collection.name, filters, (Order(name),), PAGE, after))
            if found:
                yield found
            if len(found) < PAGE:
                return
            after = (found[-1].data[name], found[-1].id)
