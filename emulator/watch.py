"""Listen: queries and documents that a client watches over one stream.

All targets of a stream stand at one moment, `Listener.moment`; each group of commits moves it on. What goes out after
a group, up to the NO_CHANGE that dates it, is one consistent step (https://firebase.google.com/docs/firestore/real-time_queries_at_scale).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc

from emulator.filters import Candidate
from emulator.paths import Database, Segments, parse_database, parse_document, parse_parent
from emulator.protocol import ListenResponse, Message, Refused, TargetChange, invalid, set_micros, to_micros
from emulator.query import Query, normalise, project
from emulator.scan import run
from emulator.storage import Storage, View
from emulator.writer import Change, Committed

HEARTBEAT_SECONDS = 30.0
TARGETS_MAX = 100  # per stream, as Firestore's clients assume
KNOWN_MAX = 200_000  # documents in the results of one target: what is known of them is held in memory
GROUPS_MAX = 500  # groups of commits a slow stream may lag behind; then it catches up by comparing results
_CHANGE = TargetChange.TargetChangeType

InThread: TypeAlias = Callable[[Callable[[], list[Candidate]]], Awaitable[list[Candidate]]]


@dataclass(slots=True)
class _Target:
    """A watched query, or watched documents; `known` is what the client has: name -> update time."""

    number: int
    query: Query | None
    names: dict[str, tuple[Database, Segments]]
    once: bool
    known: dict[str, int] = field(default_factory=dict)

    def touches(self, change: Change, name: str) -> bool:
        """Whether a change may alter what the client sees."""
        if self.query is None:
            return name in self.names
        if change.database != self.query.database or not self.query.covers(change.segments):
            return False
        states = (change.before, change.after)
        return name in self.known or any(_matches(self.query, change, state) for state in states)


class Hub:
    """Passes each durable group of commits to all open streams."""

    def __init__(self, storage: Storage) -> None:
        """No stream is open."""
        self.storage = storage
        self.listeners: set[Listener] = set()

    def publish(self, group: list[Committed]) -> None:
        """Called on the event loop, in commit order, before the commits are acknowledged."""
        if group:
            for listener in self.listeners:
                listener.take(group)

    def close(self) -> None:
        """End all streams."""
        for listener in list(self.listeners):
            listener.end(Refused(grpc.StatusCode.UNAVAILABLE, "The server is shutting down; connect again."))


class Listener:
    """One stream."""

    def __init__(self, hub: Hub, storage: Storage, in_thread: InThread) -> None:
        """Begins to gather commits at once, so that nothing falls between a snapshot and the first group."""
        self._hub = hub
        self._storage = storage
        self._in_thread = in_thread
        self._targets: dict[int, _Target] = {}
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._groups = 0
        self._lagged = False
        self._database: Database | None = None
        self._moment: int | None = None
        hub.listeners.add(self)

    def take(self, group: list[Committed]) -> None:
        """A group of commits; beyond the bound only the fact that there were more is kept."""
        if self._groups >= GROUPS_MAX:
            self._lagged = True
            return
        self._groups += 1
        self._inbox.put_nowait(group)

    def end(self, reason: Refused | None = None) -> None:
        """Let `responses` return, or raise the reason, once what came before is answered."""
        self._inbox.put_nowait(reason)

    def close(self) -> None:
        """Gather no more."""
        self._hub.listeners.discard(self)

    async def responses(self, requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
        """All answers of the stream, until the client is done."""
        reading = asyncio.create_task(self._read(requests))
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        item = await self._inbox.get()
                except TimeoutError:
                    if self._moment is not None:
                        yield self._dated("NO_CHANGE", self._moment)
                    continue
                if item is None:
                    return
                if isinstance(item, Refused):
                    raise item
                answers = self._advance(item) if isinstance(item, list) else self._request(item)
                async for response in answers:
                    yield response
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, requests: AsyncIterator[Message]) -> None:
        try:
            async for request in requests:
                self._inbox.put_nowait(request)
        finally:
            self.end()

    # Requests

    async def _request(self, request: Message) -> AsyncIterator[Message]:
        if self._database is None:
            self._database = parse_database(request.database)
        if request.WhichOneof("target_change") == "remove_target":
            self._targets.pop(request.remove_target, None)
            yield _status("REMOVE", request.remove_target)
            return
        proto = request.add_target
        try:
            target = self._target(proto)
        except Refused as refusal:
            yield _status("REMOVE", proto.target_id, refusal)
            return
        yield _status("ADD", target.number)
        try:
            async for response in self._begin(target, proto):
                yield response
        except Refused as refusal:
            self._targets.pop(target.number, None)
            yield _status("REMOVE", target.number, refusal)

    def _target(self, proto: Message) -> _Target:
        assert self._database is not None
        if proto.target_id in self._targets:
            raise invalid(f"Target id {proto.target_id} is in use; remove it first.")
        if len(self._targets) >= TARGETS_MAX:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"At most {TARGETS_MAX} targets on one stream.")
        number = proto.target_id or max(self._targets, default=0) + 1
        if proto.HasField("query"):
            database, parent = parse_parent(proto.query.parent)
            if database != self._database:
                raise invalid(f"The stream is for {self._database.resource} only.")
            query = normalise(database, parent, proto.query.structured_query)
            return _Target(number, query, {}, proto.once)
        if not proto.HasField("documents"):
            raise invalid("A target needs a query or documents.")
        names = {name: parse_document(name) for name in proto.documents.documents}
        if any(database != self._database for database, _ in names.values()):
            raise invalid(f"The stream is for {self._database.resource} only.")
        return _Target(number, None, names, proto.once)

    async def _begin(self, target: _Target, proto: Message) -> AsyncIterator[Message]:
        """Bring a new target to the stream's moment: what the client lacks since its resume token, or everything."""
        since = self._resumed(proto)
        resumed = False
        if since is not None:
            try:
                async with self._storage.view(since) as view:
                    target.known = {v.document.name: _updated(v.document) for v in await self._results(target, view)}
                resumed = True
            except Refused:
                yield _status("RESET", target.number)
        elif proto.WhichOneof("resume_type") is not None:
            yield _status("RESET", target.number)
        async with self._storage.view(self._moment) as view:
            answers = [response async for response in self._difference(target, view, tell_missing=not resumed)]
            self._moment = view.read_time
        for response in answers:
            yield response
        yield self._dated("CURRENT", self._moment, target.number)
        yield self._dated("NO_CHANGE", self._moment)
        if target.once:
            yield _status("REMOVE", target.number)
        else:
            self._targets[target.number] = target

    def _resumed(self, proto: Message) -> int | None:
        """The moment a client resumes from; None when it does not, or its token is from another data file."""
        kind = proto.WhichOneof("resume_type")
        if kind == "read_time":
            moment = to_micros(proto.read_time)
        elif kind == "resume_token" and proto.resume_token[:8] == self._storage.identity:
            moment = int.from_bytes(proto.resume_token[8:], "big")
        else:
            return None
        # From the future: a token of a file that was since replaced by an older copy.
        return moment if moment <= (self._moment or self._storage.clock.read_time()) else None

    # Changes

    async def _advance(self, group: list[Committed]) -> AsyncIterator[Message]:
        """One group of commits: incrementally where a result has no limit, by comparing results where it has."""
        self._groups -= 1
        if self._lagged and self._groups == 0:
            self._lagged = False
            async for response in self._catch_up():
                yield response
            return
        if self._moment is None or group[-1].time <= self._moment:
            return
        fresh = [(change, c.time) for c in group if c.time > self._moment for change in c.changes]
        moment, sent = group[-1].time, False
        for target in list(self._targets.values()):
            async for response in self._changed(target, fresh, moment):
                sent = True
                yield response
        self._moment = moment
        if sent:
            yield self._dated("NO_CHANGE", moment)

    async def _changed(self, target: _Target, fresh: list[tuple[Change, int]], moment: int) -> AsyncIterator[Message]:
        mine = [(change, time) for change, time in fresh if target.touches(change, _name(change))]
        if not mine:
            return
        if target.query is not None and (target.query.limit is not None or target.query.offset):
            async with self._storage.view(moment) as view:
                answers = [response async for response in self._difference(target, view)]
            for response in answers:
                yield response
            return
        for change, time in mine:
            name = _name(change)
            if change.after is not None and (target.query is None or _matches(target.query, change, change.after)):
                _remember(target, name, change.after)
                yield _found(target, change.after)
            elif target.query is None or target.known.pop(name, None) is not None:
                target.known.pop(name, None)
                yield _gone(target, name, time, deleted=change.after is None)

    async def _catch_up(self) -> AsyncIterator[Message]:
        """After a lag: every target compared with the present, then one new moment for all."""
        async with self._storage.view() as view:
            answers = []
            for target in list(self._targets.values()):
                answers += [response async for response in self._difference(target, view)]
            self._moment = view.read_time
        for response in answers:
            yield response
        yield self._dated("NO_CHANGE", self._moment)

    async def _difference(self, target: _Target, view: View, *, tell_missing: bool = False) -> AsyncIterator[Message]:
        """What turns the client's known result into the one of a view."""
        results = await self._results(target, view)
        present = {v.document.name for v in results}
        missing = [name for name in target.known if name not in present]
        if tell_missing:
            missing += [name for name in target.names if name not in present and name not in target.known]
        for name in missing:
            target.known.pop(name, None)
            database, segments = parse_document(name)
            deleted = view.document(database, segments) is None
            yield _gone(target, name, view.read_time, deleted=deleted)
        for item in results:
            if target.known.get(item.document.name) != _updated(item.document):
                _remember(target, item.document.name, item.document)
                yield _found(target, item.document)

    async def _results(self, target: _Target, view: View) -> list[Candidate]:
        query = target.query
        if query is not None:
            catalog = self._storage.catalog
            results = await self._in_thread(lambda: list(run(view, catalog, query)))
            if len(results) > KNOWN_MAX:
                raise _too_many()
            return results
        found = ((view.document(*place), place[1]) for place in target.names.values())
        return [Candidate(document, segments) for document, segments in found if document is not None]

    def _dated(self, kind: str, moment: int, *numbers: int) -> Message:
        response = ListenResponse()
        change = response.target_change
        change.target_change_type = _CHANGE.Value(kind)
        change.target_ids.extend(numbers)
        set_micros(change.read_time, moment)
        change.resume_token = self._storage.identity + moment.to_bytes(8, "big")
        return response


def _matches(query: Query, change: Change, state: Message | None) -> bool:
    return state is not None and query.match(Candidate(state, change.segments)) is not None


def _name(change: Change) -> str:
    document = change.after if change.after is not None else change.before
    return str(document.name) if document is not None else ""


def _updated(document: Message) -> int:
    return to_micros(document.update_time)


def _remember(target: _Target, name: str, document: Message) -> None:
    if len(target.known) >= KNOWN_MAX and name not in target.known:
        raise _too_many()
    target.known[name] = _updated(document)


def _too_many() -> Refused:
    return Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"A listened result may hold at most {KNOWN_MAX} documents.")


def _found(target: _Target, document: Message) -> Message:
    response = ListenResponse()
    projection = None if target.query is None else target.query.projection
    response.document_change.document.CopyFrom(project(document, projection))
    response.document_change.target_ids.append(target.number)
    return response


def _gone(target: _Target, name: str, time: int, *, deleted: bool) -> Message:
    response = ListenResponse()
    change = response.document_delete if deleted else response.document_remove
    change.document = name
    change.removed_target_ids.append(target.number)
    set_micros(change.read_time, time)
    return response


def _status(kind: str, number: int, refusal: Refused | None = None) -> Message:
    response = ListenResponse()
    response.target_change.target_change_type = _CHANGE.Value(kind)
    response.target_change.target_ids.append(number)
    if refusal is not None:
        response.target_change.cause.code = refusal.code.value[0]
        response.target_change.cause.message = refusal.message
    return response
