"""The audit: reads the ledger as of one moment, without stopping anybody, and says which documents break an invariant.

A whole audit keeps the ledger in memory, some 4 KB for each entry with what hangs on it: a million entries are 4 GB. An
audit since a mark reads what the entries since then touched, and is what the schedule runs.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from domain.audit import findings
from domain.books import Books, Owed, Violation
from domain.ledger import Entry, EntryKind
from firestore.backend import Backend, Filter, Op, Order, Query, Snapshot, Value
from firestore.collections import (
    ACCRUALS,
    ENTRIES,
    ERASURES,
    LEDGER,
    ORDERS,
    OUTBOX,
    PAYOUTS,
    PURCHASES,
    SESSIONS,
    TRANSACTIONS,
    USAGE,
    WALLETS,
)
from firestore.records import SEAL, Collection, seal
from firestore.rows import BUCKETS, RowState

PAGE = 500  # documents in one RPC: a megabyte or so, decoded in some 50 ms
AT_ONCE = 2  # pages: they share one server, and each has a verb's deadline
TURN = 100  # documents that are checked in one go: some 10 ms
SOME = 30  # values of one `in`: Firestore's own bound
SETTLE_SECONDS = 3  # a commit's moment is known once it is over, and one ends within 2 s
SKEW = timedelta(minutes=15)  # two processes' clocks differ by less, or the entries of a wallet are read as incomplete
OWED_FIELDS = ("task", "state", "at", "not_before", "args")
_OF_SESSIONS = (EntryKind.HOLD, EntryKind.EXTEND, EntryKind.SETTLE, EntryKind.REFUND)
_OF_ORDERS = (EntryKind.PURCHASE, EntryKind.RECLAIM)
_OF_PAYOUTS = (EntryKind.PAYOUT, EntryKind.PAYOUT_PAID, EntryKind.PAYOUT_FAILED)


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit as of `at` found. `mark` is where the next one may begin; `entries` and `documents` it has read."""

    at: datetime
    mark: datetime
    entries: int
    documents: int
    violations: tuple[Violation, ...]


async def audit(
    backend: Backend, now: datetime, *, since: datetime | None = None, progress: Callable[[str], None]
) -> Report:
    """Check the ledger, or with `since` what the entries since that mark touched. `progress` gets a line at times.

    Reads only. Raises Unavailable; ValueError when the reading takes longer than old states are kept.
    """
    reader = _Reader(backend, now - timedelta(seconds=SETTLE_SECONDS), progress)
    if since is not None:
        return await _checked(reader, await reader.read_since(since), progress)
    with _without_collections():
        await reader.read_all()
        return await _checked(reader, None, progress)


async def _checked(reader: _Reader, first: Mapping[str, int] | None, progress: Callable[[str], None]) -> Report:
    await reader.read_owed(all_done=first is None)
    books, at = reader.books(first), reader.at
    violations = set(reader.unreadable)
    for place, found in enumerate(findings(books)):
        violations.update(found)
        if place % TURN == 0:
            await asyncio.sleep(0)  # the audit may share its loop with those who sell
    progress(f"{len(books.entries)} entries and {len(violations)} violations")
    return Report(at, at - SKEW, len(books.entries), reader.documents, tuple(sorted(violations)))


@contextmanager
def _without_collections() -> Iterator[None]:
    """Python looks through all that is in memory for garbage whenever that has grown by a quarter. Records are none,
    and looking through a whole ledger so often took half of the audit's time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def books_of(dump: Mapping[str, Mapping[str, Value]], at: datetime) -> tuple[Books, list[Violation]]:
    """The books of a dump by path, and what of it cannot be read: for tools that have the documents already."""
    shelves = _Shelves()
    known = {collection.name: collection for collection in LEDGER}
    for path, data in dump.items():
        name, _, id_ = path.partition("/")
        if name == ERASURES.name:
            shelves.erased.add(id_)
        elif name == OUTBOX.name:
            shelves.keep_owed(Snapshot(path, data, 0))
        elif name in known:
            shelves.keep(known[name], Snapshot(path, data, 0))
    return shelves.books(at, None), shelves.unreadable


@dataclass(slots=True)
class _Shelves:
    """Records by collection and id, as they were read."""

    records: dict[str, dict[str, Any]] = field(default_factory=lambda: {each.name: {} for each in LEDGER})
    owed: dict[str, Owed] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    unreadable: list[Violation] = field(default_factory=list)

    def keep(self, collection: Collection[Any], snapshot: Snapshot) -> None:
        """Decode a document; one that is not as it was written is noted, and kept out if it cannot be read at all."""
        if snapshot.data.get(SEAL) != seal(snapshot.path, snapshot.data):
            self.unreadable.append(Violation("I14", snapshot.path, "is not as the store wrote it: its seal is broken"))
        try:
            self.records[collection.name][snapshot.id] = collection.decode(snapshot)
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError) as problem:
            self.unreadable.append(Violation("I14", snapshot.path, f"cannot be read: {problem}"))

    def keep_owed(self, snapshot: Snapshot) -> None:
        """Note what an outbox row owes."""
        data = snapshot.data
        since, args = data.get("not_before") or data.get("at"), data.get("args")
        if not isinstance(since, datetime) or not isinstance(args, Mapping):
            self.unreadable.append(Violation("I13", snapshot.path, "does not say since when it waits, or for what"))
            return
        task, state = data.get("task"), data.get("state")
        is_pending, is_dead = state == RowState.PENDING.value, state == RowState.DEAD.value
        told = {name: str(value) for name, value in args.items()}
        self.owed[snapshot.id] = Owed(snapshot.id, str(task) if task else None, since, is_pending, is_dead, told)

    def books(self, at: datetime, first: Mapping[str, int] | None) -> Books:
        return Books(at=at, owed=self.owed, first=first, erased=frozenset(self.erased), **self.records)


class _Reader:
    """Reads at one moment; each document once."""

    def __init__(self, backend: Backend, at: datetime, progress: Callable[[str], None]) -> None:
        self._backend = backend
        self.at = at
        self._progress = progress
        self._shelves = _Shelves()
        self._seen: set[str] = set()

    @property
    def documents(self) -> int:
        return len(self._seen)

    @property
    def unreadable(self) -> list[Violation]:
        return self._shelves.unreadable

    def books(self, first: Mapping[str, int] | None) -> Books:
        return self._shelves.books(self.at, first)

    async def read_all(self) -> None:
        """Every document of the ledger, of several collections at once: a page is decoded while another is fetched;
        and whose account was deleted."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def read(collection: Collection[Any]) -> None:
            async with turns:
                await self._load(collection)
            self._progress(f"{len(self._of(collection))} {collection.name} read")

        reading = [asyncio.create_task(read(collection)) for collection in LEDGER]
        try:
            await asyncio.gather(*reading)
        finally:
            for each in reading:
                each.cancel()
        async for snapshot in self._pages(Query(ERASURES.name, limit=PAGE, fields=("id",))):
            self._shelves.erased.add(snapshot.id)

    async def read_since(self, since: datetime) -> dict[str, int]:
        """All that hangs on the entries since a moment. Gives, by user, the wallet's version to begin with."""
        for bucket in range(BUCKETS):
            await self._load(ENTRIES, Filter("bucket", "==", bucket), Filter("at", ">=", since), by="at")
        touched: dict[str, int] = {}
        for entry in self._entries():
            for user_id, after in entry.after.items():
                touched[user_id] = min(after.version, touched.get(user_id, after.version))
        self._progress(f"{len(self._entries())} entries since {since.isoformat()} read")
        await self._load_by(WALLETS, touched)
        for users in _some(touched):
            tails = (Filter("user_ids", "array-contains-any", users), Filter("at", ">=", since - SKEW))
            await self._load(ENTRIES, *tails, by="at", descending=True)
            running = (Filter("hirer_id", "in", users), Filter("settled", "==", False))
            await self._load(SESSIONS, *running)
        await self._load_where(ACCRUALS, "matured_by", self._refs(EntryKind.MATURE, ids=True))
        await self._read_sessions()
        await self._read_orders()
        await self._load_by(PAYOUTS, self._refs(*_OF_PAYOUTS))
        await self._load_where(ENTRIES, "ref", self._of(PAYOUTS))
        await self._load_where(TRANSACTIONS, "entry_id", self._of(ENTRIES))
        named = [each.transaction_id for name in (SESSIONS, PURCHASES) for each in self._of(name).values()]
        await self._load_by(TRANSACTIONS, [each for each in named if each is not None])
        return touched

    async def _read_sessions(self) -> None:
        accrued = [each.session_id for each in self._of(ACCRUALS).values()]
        await self._load_by(SESSIONS, [*self._refs(*_OF_SESSIONS), *accrued])
        for collection, name in ((ENTRIES, "ref"), (USAGE, "session_id"), (ACCRUALS, "session_id")):
            await self._load_where(collection, name, self._of(SESSIONS))

    async def _read_orders(self) -> None:
        await self._load_by(ORDERS, self._refs(*_OF_ORDERS))
        await self._load_by(PURCHASES, [each.purchase_id for each in self._of(ORDERS).values() if each.purchase_id])
        await self._load_where(ORDERS, "purchase_id", self._of(PURCHASES))
        await self._load_where(ENTRIES, "ref", self._of(ORDERS))

    async def read_owed(self, *, all_done: bool) -> None:
        """What the outbox owes, and with `all_done` what it has done to orders and sessions; sessions that run."""
        wanted = [Filter("state", "in", (RowState.PENDING.value, RowState.DEAD.value))]
        wanted += [Filter("task", "in", ("apply_order", "follow_session"))] if all_done else []
        for one in wanted:
            async for snapshot in self._pages(Query(OUTBOX.name, (one,), limit=PAGE, fields=OWED_FIELDS)):
                self._shelves.keep_owed(snapshot)

    # ---- reading

    def _of(self, collection: Collection[Any]) -> dict[str, Any]:
        return self._shelves.records[collection.name]

    def _entries(self) -> Sequence[Entry]:
        return tuple(self._of(ENTRIES).values())

    def _refs(self, *kinds: EntryKind, ids: bool = False) -> list[str]:
        """What the entries of these kinds are about, or with `ids` their own ids."""
        return list({entry.id if ids else entry.ref for entry in self._entries() if entry.kind in kinds})

    async def _load(
        self, collection: Collection[Any], *filters: Filter, by: str | None = None, descending: bool = False
    ) -> None:
        order = (Order(by, descending),) if by else ()
        async for snapshot in self._pages(Query(collection.name, filters, order, PAGE)):
            self._keep(collection, snapshot)

    async def _load_where(self, collection: Collection[Any], name: str, values: Iterable[str]) -> None:
        op: Op = "in"
        for some in _some(values):
            await self._load(collection, Filter(name, op, some))

    async def _load_by(self, collection: Collection[Any], ids: Iterable[str]) -> None:
        missing = [path for path in dict.fromkeys(map(collection.at, ids)) if path not in self._seen]
        for start in range(0, len(missing), PAGE):
            for snapshot in await self._backend.get_many(missing[start : start + PAGE], read_time=self.at):
                if snapshot is not None:
                    self._keep(collection, snapshot)

    def _keep(self, collection: Collection[Any], snapshot: Snapshot) -> None:
        if snapshot.path not in self._seen:
            self._seen.add(snapshot.path)
            self._shelves.keep(collection, snapshot)

    async def _pages(self, query: Query) -> AsyncIterator[Snapshot]:
        """All that match, page by page; the collection ends it."""
        after: tuple[Value, ...] | None = None
        while True:
            page = Query(query.collection, query.filters, query.order, query.limit, after, query.fields)
            found = await self._backend.query(page, read_time=self.at)
            for snapshot in found:
                yield snapshot
            if len(found) < PAGE:
                return
            after = (*(found[-1].data[order.field] for order in query.order), found[-1].id)


def _some(values: Iterable[str]) -> Iterable[tuple[str, ...]]:
    rest = iter(tuple(values))
    while some := tuple(islice(rest, SOME)):
        yield some
