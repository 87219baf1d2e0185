"""The journal for an admin's eyes: of one user, or of all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from domain.ledger import Entry, EntryKind
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import ENTRIES
from firestore.paging import SCAN_FACTOR, SCAN_MAX, Page, Position, read_page
from firestore.rows import BUCKETS


@dataclass(frozen=True, slots=True)
class JournalFilter:
    """What entries must be; None is anything. `begin` is the first moment, and `end` the first that is too late."""

    user_id: str | None = None
    address: str | None = None
    kind: EntryKind | None = None
    begin: datetime | None = None
    end: datetime | None = None

    def matches(self, entry: Entry) -> bool:
        addresses = {address for posting in entry.postings for address in (posting.source, posting.target)}
        return self.kind in (None, entry.kind) and (self.address is None or self.address in addresses)

    @property
    def is_answered(self) -> bool:
        """Whether the indexes alone answer it."""
        return self.kind is None and self.address is None

    @property
    def owner_id(self) -> str | None:
        """The user whose entries they are, by name or by address."""
        if self.user_id is None and self.address is not None and self.address.startswith("user:"):
            return self.address.split(":")[1]
        return self.user_id

    @property
    def span(self) -> tuple[Filter, ...]:
        begin = () if self.begin is None else (Filter("at", ">=", self.begin),)
        return begin if self.end is None else (*begin, Filter("at", "<", self.end))


class Journal:
    """Reads alone. Every method raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def page(self, wanted: JournalFilter, first: int, after: Position | None) -> Page[Entry]:
        """A user's entries newest first, in one RPC; else everybody's oldest first, in one RPC a bucket.

        No index orders everybody's entries by their moment alone: all writers would meet at its end. What the indexes
        do not answer is filtered after reading at most 200 documents, so such a page may be short while more follow.
        """
        if wanted.owner_id is not None:
            filters = (Filter("user_ids", "array-contains", wanted.owner_id), *wanted.span)
            query = Query(ENTRIES.name, filters, (Order("at", descending=True),))
            keep = None if wanted.is_answered else wanted.matches
            return await read_page(self._backend, ENTRIES, query, first, after, keep=keep)
        looked_at = first if wanted.is_answered else min(first * SCAN_FACTOR, SCAN_MAX)
        found = await asyncio.gather(*(self._bucket(each, wanted, looked_at + 1, after) for each in range(BUCKETS)))
        merged = sorted((entry for bucket in found for entry in bucket), key=lambda entry: (entry.at, entry.id))
        kept = [entry for entry in merged[:looked_at] if wanted.matches(entry)]
        shown, more = kept[:first], len(merged) > looked_at
        last = shown[-1:] if len(kept) > first or not more else merged[looked_at - 1 : looked_at]
        places: list[Position] = [(entry.at, entry.id) for entry in shown]
        end: Position | None = (last[0].at, last[0].id) if last else None
        return Page(tuple(shown), tuple(places), more or len(kept) > first, end)

    async def _bucket(self, bucket: int, wanted: JournalFilter, limit: int, after: Position | None) -> list[Entry]:
        filters = (Filter("bucket", "==", bucket), *wanted.span)
        query = Query(ENTRIES.name, filters, (Order("at"),), limit=limit, after=after)
        return [ENTRIES.decode(snapshot) for snapshot in await self._backend.query(query)]
