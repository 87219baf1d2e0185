"""The store's verbs in process, for the simulator: the same answers as Firestore, no clock, and a fault at every verb.

Everything happens on one event loop, between two awaits: a verb is atomic, and a run with the same calls is the same
run. The differential test compares it with the servers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from firestore.backend import Aggregate, Batch, Conflict, Query, Snapshot, Write
from firestore.checks import MAX_DOCUMENTS, check_aggregates, check_path, check_paths, check_writes
from firestore.codec import to_nanos
from firestore.matching import MISSING, Matcher, copied, look_up, same, stored, summed

STEP_NANOS = 1_000
"""Versions grow by a microsecond at least, as Firestore's do."""

FIRST_VERSION = 1_000_000_000 * STEP_NANOS

MAX_REVISIONS = 200
"""Old states kept per document for `read_time`. Older ones are forgotten, and a reading at their time says so."""

MAX_BATCHES = 1_000
"""Batches that wait for one listener; a slower one gets the whole state instead (as in `watch`)."""

Hook = Callable[[str], Awaitable[None]]
"""Called with the verb's name. What it raises is what the caller sees; before: nothing happened, after: it did."""


@dataclass(slots=True)
class _Document:
    data: dict[str, Any]
    version: int


@dataclass(slots=True, eq=False)
class _Listener:
    """One iterator: what it last saw, and what it has not fetched yet."""

    matcher: Matcher | None
    path: str
    seen: dict[str, int] = field(default_factory=dict)
    waiting: deque[Batch] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    behind: bool = False
    open: bool = True


class MemoryBackend:
    """A `Backend` without I/O. Hooks inject faults: `before` and `after` each verb ("get_many", "query", "aggregate",
    "commit"; "listen" has no after). Without hooks every verb yields once, so that tasks interleave as over a wire.

    `clock` gives versions a time (a simulator's own); without it they are counted from a fixed start. They always grow.
    """

    def __init__(
        self,
        *,
        before: Hook | None = None,
        after: Hook | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.before = before
        self.after = after
        self._clock = clock
        self._version = FIRST_VERSION
        self._collections: dict[str, dict[str, _Document]] = {}
        self._revisions: dict[str, dict[str, deque[tuple[int, dict[str, Any] | None]]]] = {}
        self._forgotten_until = 0
        self._listeners: list[_Listener] = []
        self._closings = 0

    async def get_many(self, paths: Sequence[str], *, read_time: datetime | None = None) -> list[Snapshot | None]:
        check_paths(paths)
        if not paths:
            return []
        await self._enter("get_many")
        at = self._at(read_time)
        found = [self._read(path, at) for path in paths]
        await self._leave("get_many")
        return found

    async def query(self, query: Query, *, read_time: datetime | None = None) -> list[Snapshot]:
        matcher = Matcher(query)
        await self._enter("query")
        found = self._select(matcher, self._at(read_time))
        if len(found) > MAX_DOCUMENTS:
            raise ValueError(f"More than {MAX_DOCUMENTS} documents in {query.collection}: page with limit and after.")
        answer = [Snapshot(path, matcher.project(document.data), document.version) for path, document in found]
        await self._leave("query")
        return answer

    async def aggregate(
        self, query: Query, aggregates: Mapping[str, Aggregate], *, read_time: datetime | None = None
    ) -> dict[str, int | float]:
        check_aggregates(query, aggregates)
        matcher = Matcher(query)
        await self._enter("aggregate")
        documents = [document.data for _, document in self._select(matcher, self._at(read_time))]
        for aggregate in aggregates.values():
            if aggregate.field is not None:  # an index of the field holds only the documents that have it
                documents = [data for data in documents if look_up(data, aggregate.field) is not MISSING]
        figures: dict[str, int | float] = {}
        for alias, aggregate in aggregates.items():
            if aggregate.field is None:
                figures[alias] = len(documents)
            else:
                figures[alias] = summed(look_up(data, aggregate.field) for data in documents)
        await self._leave("aggregate")
        return figures

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        check_writes(writes)
        prepared = [None if write.data is None else stored(write.data) for write in writes]
        if not writes:
            return ()
        await self._enter("commit")
        for write in writes:
            self._check_precondition(write)
        self._version = self._next_version()
        versions = tuple(self._apply(write, data) for write, data in zip(writes, prepared, strict=True))
        self._tell([write.path for write in writes])
        await self._leave("commit")
        return versions

    async def listen(self, target: Query | str) -> AsyncGenerator[Batch, None]:
        if isinstance(target, str):
            check_path(target)
            listener = _Listener(None, target)
        elif target.fields is not None:
            raise ValueError("A listener sees whole documents: leave fields out.")
        else:
            listener = _Listener(Matcher(target), target.collection)
        closings = self._closings
        await self._enter("listen")
        listener.open = closings == self._closings
        listener.waiting.append(self._whole(listener, reset=False))
        self._listeners.append(listener)
        try:
            while listener.open:
                if listener.behind:
                    listener.behind = False
                    yield self._whole(listener, reset=True)
                elif listener.waiting:
                    yield listener.waiting.popleft()
                else:
                    listener.wake.clear()
                    await listener.wake.wait()
        finally:
            self._listeners.remove(listener)

    async def close(self) -> None:
        """Ends all listeners. What was stored stays, so that a simulator may 'restart' a process on it."""
        self._closings += 1
        for listener in self._listeners:
            listener.open = False
            listener.wake.set()

    # ---- the state

    async def _enter(self, verb: str) -> None:
        await (self.before(verb) if self.before is not None else asyncio.sleep(0))

    async def _leave(self, verb: str) -> None:
        if self.after is not None:
            await self.after(verb)

    def _next_version(self) -> int:
        now = to_nanos(self._clock(), "clock") if self._clock is not None else 0
        return max(self._version + STEP_NANOS, now)

    def _at(self, read_time: datetime | None) -> int | None:
        if read_time is None:
            return None
        at = to_nanos(read_time, "read_time")
        if at < self._forgotten_until:
            raise ValueError(f"The state of {read_time} is forgotten: read at a later time.")
        return at

    def _read(self, path: str, at: int | None) -> Snapshot | None:
        collection, _, id_ = path.rpartition("/")
        if at is not None:
            document = _as_of(self._revisions.get(collection, {}).get(id_, ()), at)
        else:
            document = self._collections.get(collection, {}).get(id_)
        return None if document is None else Snapshot(path, copied(document.data), document.version)

    def _select(self, matcher: Matcher, at: int | None) -> list[tuple[str, _Document]]:
        """The matching documents in order, cut to the query's limit."""
        collection = matcher.query.collection
        documents = self._collections.get(collection, {})
        if at is not None:
            was = {id_: _as_of(revisions, at) for id_, revisions in self._revisions.get(collection, {}).items()}
            documents = {id_: document for id_, document in was.items() if document is not None}
        found = matcher.select({id_: document.data for id_, document in documents.items()})
        return [(f"{collection}/{id_}", documents[id_]) for id_ in found]

    def _check_precondition(self, write: Write) -> None:
        collection, _, id_ = write.path.rpartition("/")
        document = self._collections.get(collection, {}).get(id_)
        if write.must_be_absent and document is not None:
            raise Conflict(f"{write.path} exists already.")
        if write.version is not None and (document is None or document.version != write.version):
            raise Conflict(f"{write.path} has changed since it was read.")
        if write.mask is not None and document is None:
            raise Conflict(f"{write.path} does not exist.")

    def _apply(self, write: Write, data: dict[str, Any] | None) -> int:
        """Returns the document's version after the write: the old one if nothing changed, as Firestore does."""
        collection, _, id_ = write.path.rpartition("/")
        documents = self._collections.setdefault(collection, {})
        before = documents.get(id_)
        if data is None:
            if documents.pop(id_, None) is not None:
                self._remember(write.path, None)
            return self._version
        if write.mask is not None and before is not None:
            kept = {name: value for name, value in before.data.items() if name not in write.mask}
            data = kept | data
        if before is not None and same(before.data, data):
            return before.version
        documents[id_] = _Document(data, self._version)
        self._remember(write.path, data)
        return self._version

    def _remember(self, path: str, data: dict[str, Any] | None) -> None:
        collection, _, id_ = path.rpartition("/")
        revisions = self._revisions.setdefault(collection, {}).setdefault(id_, deque())
        revisions.append((self._version, data))
        if len(revisions) > MAX_REVISIONS:
            revisions.popleft()
            self._forgotten_until = max(self._forgotten_until, revisions[0][0])

    # ---- listeners

    def _state(self, listener: _Listener) -> dict[str, _Document]:
        if listener.matcher is not None:
            return dict(self._select(listener.matcher, None))
        collection, _, id_ = listener.path.rpartition("/")
        document = self._collections.get(collection, {}).get(id_)
        return {} if document is None else {listener.path: document}

    def _whole(self, listener: _Listener, *, reset: bool) -> Batch:
        state = self._state(listener)
        listener.seen = {path: document.version for path, document in state.items()}
        return Batch(_in_commit_order(state), reset=reset)

    def _tell(self, paths: Sequence[str]) -> None:
        """Give every listener its part of a commit: one batch per commit, none where nothing of it changed."""
        for listener in self._listeners:
            touched = [p for p in paths if p == listener.path or p.rpartition("/")[0] == listener.path]
            if not touched or listener.behind:
                continue
            changed, removed = self._difference(listener, touched)
            if not changed and not removed:
                continue
            if len(listener.waiting) >= MAX_BATCHES:
                listener.waiting.clear()
                listener.behind = True
            else:
                listener.waiting.append(Batch(_in_commit_order(changed), tuple(sorted(removed))))
            listener.wake.set()

    def _difference(self, listener: _Listener, touched: Sequence[str]) -> tuple[dict[str, _Document], list[str]]:
        matcher, seen = listener.matcher, listener.seen
        if matcher is not None and matcher.query.limit is None:
            # Without a limit, a document's place depends on nothing but itself.
            documents = self._collections.get(listener.path, {})
            state = {}
            for path in touched:
                id_ = path.rpartition("/")[2]
                document = documents.get(id_)
                if document is not None and matcher.matches(id_, document.data):
                    state[path] = document
            removed = [path for path in touched if path in seen and path not in state]
        else:
            state = self._state(listener)
            removed = [path for path in seen if path not in state]
        changed = {path: document for path, document in state.items() if seen.get(path) != document.version}
        for path in removed:
            del seen[path]
        seen.update((path, document.version) for path, document in changed.items())
        return changed, removed


def _in_commit_order(documents: Mapping[str, _Document]) -> tuple[Snapshot, ...]:
    ordered = sorted(documents.items(), key=lambda item: (item[1].version, item[0]))
    return tuple(Snapshot(path, copied(document.data), document.version) for path, document in ordered)


def _as_of(revisions: Sequence[tuple[int, dict[str, Any] | None]], at: int) -> _Document | None:
    """What a document was at a version: the last of its revisions that is not younger."""
    for version, data in reversed(revisions):
        if version <= at:
            return None if data is None else _Document(data, version)
    return None
