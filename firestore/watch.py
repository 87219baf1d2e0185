"""One Listen stream for all listeners of a process: batches per consistent snapshot, resumed after a break.

Firestore tells a target's changes in pieces, then CURRENT, then once in a while NO_CHANGE for all targets with a read
time: only there the pieces make one consistent state, and only there a batch leaves this module. A resume token counts
from such a moment on; what came after it is forgotten when the stream breaks, and comes again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.cloud.firestore_v1 import types

from domain.errors import Unavailable
from firestore import codec
from firestore.backend import Batch, Query, Snapshot
from firestore.checks import MAX_DOCUMENTS, check_path, check_query

log = logging.getLogger(__name__)

MAX_BATCHES = 1_000
"""Batches that wait for one listener. Behind that, it gets the whole state instead: the memory has a bound."""

FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 2.0
"""Between two attempts to open the stream, with full jitter: one stream per process may ask this often for ever."""

FIRST_WORD_SECONDS = 10.0
"""From opening to the first message: Firestore acknowledges a target at once, so a silent line is a dead one."""

_ListenRequest: Any = types.ListenRequest.pb()
_Target: Any = types.Target.pb()
_END: Any = grpc.aio.EOF  # type: ignore[attr-defined] # the stubs do not know it
_Change = types.TargetChange.TargetChangeType

# What asking again cannot mend (google.rpc.Code).
_REFUSALS = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION})
_REFUSED_TARGET = frozenset(
    code.value[0] for code in (*_REFUSALS, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)
)


class _Broken(Exception):
    """The stream is of no more use, though gRPC has not said so."""


@dataclass(slots=True, eq=False)
class _Listener:
    waiting: deque[Batch] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    behind: bool = False
    error: ValueError | None = None


@dataclass(slots=True, eq=False)
class _Followed:
    """A target with its listeners: the last consistent state, and the pieces of the next."""

    message: Any
    key: bytes
    id: int
    listeners: list[_Listener] = field(default_factory=list)
    state: dict[str, Snapshot] = field(default_factory=dict)
    pieces: dict[str, Snapshot | None] = field(default_factory=dict)
    token: bytes = b""
    next_token: bytes = b""
    whole: bool = True  # the pieces are a state of their own, not changes of `state`
    acknowledged: bool = False
    current: bool = False
    told: bool = False  # the listeners have had a first batch

    def start_over(self, *, token: bytes) -> None:
        """Forget the pieces: they come again, all of them or those since the token."""
        self.pieces.clear()
        self.token = self.next_token = token
        self.whole = not token
        self.acknowledged = self.current = False

    def count(self) -> int:
        """Documents in the target, with the pieces."""
        paths = set() if self.whole else set(self.state)
        for path, snapshot in self.pieces.items():
            (paths.discard if snapshot is None else paths.add)(path)
        return len(paths)

    def settle(self) -> Batch | None:
        """Make the pieces the state, and say what changed; None if nothing did."""
        if self.whole:
            # A server that lost its place tells everything again, and the official emulator does so at every change
            # of a query. The listeners need not know: what differs from the last state is what changed.
            self.pieces = dict.fromkeys(self.state) | self.pieces
        changed: dict[str, Snapshot] = {}
        removed: list[str] = []
        for path, snapshot in self.pieces.items():
            known = self.state.get(path)
            if snapshot is None:
                if self.state.pop(path, None) is not None:
                    removed.append(path)
            elif known is None or known.version != snapshot.version:
                changed[path] = self.state[path] = snapshot
        self.pieces.clear()
        self.token = self.next_token
        self.whole = False
        first, self.told = not self.told, True
        return Batch(_in_commit_order(changed), tuple(sorted(removed))) if first or changed or removed else None


class Watch:
    """The listeners of one process. `open_stream` makes a bidirectional Listen call, and may raise Unavailable.

    A dead Firestore raises nothing: the stream is tried again quietly, and the listeners wait.
    """

    def __init__(self, open_stream: Callable[[], Awaitable[Any]], database: str) -> None:
        self._open_stream = open_stream
        self._database = database
        self._prefix = f"{database}/documents/"
        self._targets: dict[bytes, _Followed] = {}
        self._by_id: dict[int, _Followed] = {}
        self._last_id = 0
        self._changed = asyncio.Event()
        self._stream: Any = None
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def listen(self, target: Query | str) -> AsyncGenerator[Batch, None]:
        """See `Backend.listen`. Raises ValueError if Firestore refuses the target; other listeners go on."""
        message = self._message(target)
        listener = _Listener()
        followed = self._join(message, listener)
        try:
            while not self._closed:
                if listener.error is not None:
                    raise listener.error
                if listener.behind:
                    listener.behind = False
                    yield Batch(_in_commit_order(followed.state), reset=True)
                elif listener.waiting:
                    yield listener.waiting.popleft()
                else:
                    listener.wake.clear()
                    await listener.wake.wait()
        finally:
            self._leave(followed, listener)

    def reconnect(self) -> None:
        """Leave the present stream and open another: its connection is suspected dead."""
        if self._stream is not None:
            self._stream.cancel()

    async def close(self) -> None:
        self._closed = True
        for followed in self._targets.values():
            for listener in followed.listeners:
                listener.wake.set()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    # ---- targets

    def _message(self, target: Query | str) -> Any:
        message = _Target()
        if isinstance(target, str):
            check_path(target)
            message.documents.documents.append(self._prefix + target)
            return message
        check_query(target)
        if target.fields is not None:
            raise ValueError("A listener sees whole documents: leave fields out.")
        above = target.collection.rpartition("/")[0]
        message.query.parent = (self._prefix + above).rstrip("/")
        message.query.structured_query.CopyFrom(codec.encode_query(target, self._prefix, target.limit))
        return message

    def _join(self, message: Any, listener: _Listener) -> _Followed:
        key = message.SerializeToString(deterministic=True)
        followed = self._targets.get(key)
        if followed is None:
            followed = self._targets[key] = _Followed(message, key, 0)
            self._give_id(followed)
        followed.listeners.append(listener)
        if followed.told:
            listener.waiting.append(Batch(_in_commit_order(followed.state)))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return followed

    def _leave(self, followed: _Followed, listener: _Listener) -> None:
        followed.listeners.remove(listener)
        if not followed.listeners:
            self._drop(followed)

    def _drop(self, followed: _Followed) -> None:
        if self._targets.get(followed.key) is followed:
            del self._targets[followed.key]
            del self._by_id[followed.id]
            self._changed.set()
        if not self._targets:
            self.reconnect()  # which ends the stream, as nobody listens

    def _fail(self, followed: _Followed, error: ValueError) -> None:
        for listener in followed.listeners:
            listener.error = error
            listener.wake.set()
        self._drop(followed)

    def _give_id(self, followed: _Followed) -> None:
        """A number that was never used: messages that are still under way for an old one must not count."""
        self._by_id.pop(followed.id, None)
        self._last_id += 1
        followed.id = self._last_id
        self._by_id[followed.id] = followed
        self._changed.set()

    # ---- the stream

    async def _run(self) -> None:
        """Keep a stream open while there are targets."""
        failures = 0
        while self._targets:
            settled = await self._follow_one_stream()
            failures = 0 if settled else min(failures + 1, 10)
            for followed in self._targets.values():
                followed.start_over(token=followed.token)
            if self._targets:
                bound_seconds = min(FIRST_PAUSE_SECONDS * 2**failures, MAX_PAUSE_SECONDS)
                await asyncio.sleep(random.uniform(0, bound_seconds))  # noqa: S311 - jitter

    async def _follow_one_stream(self) -> bool:
        """Open a stream and hear it to its end; whether it ever got as far as a consistent state."""
        settled = False
        sending: asyncio.Task[None] | None = None
        try:
            stream = self._stream = await self._open_stream()
            sending = asyncio.create_task(self._send(stream))
            async with asyncio.timeout(FIRST_WORD_SECONDS):
                reply = await stream.read()
            while reply is not _END and self._targets:
                if reply is None:  # gRPC's way to say that it could not read a message
                    raise _Broken("a message that cannot be read")
                settled = self._hear(reply) or settled
                reply = await stream.read()
        except grpc.aio.AioRpcError as error:
            log.info("listen broke: %s %s", error.code().name, error.details())
            if error.code() in _REFUSALS:
                self._fail_unacknowledged(error)
        except (Unavailable, TimeoutError, _Broken) as error:
            log.info("listen broke: %r", error)
        except ValueError as error:  # there are no credentials
            for followed in list(self._targets.values()):
                self._fail(followed, error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # otherwise it was `reconnect`, or the channel was closed
        except Exception:  # whatever a stream brings, the next one starts over: all of the process's push hangs on it
            log.exception("listen failed")
        finally:
            if sending is not None:
                sending.cancel()
            self.reconnect()
            self._stream = None
        return settled

    async def _send(self, stream: Any) -> None:
        """Keep the stream's targets equal to ours."""
        sent: set[int] = set()
        try:
            while True:
                self._changed.clear()
                for id_ in sent - self._by_id.keys():
                    sent.discard(id_)
                    await stream.write(_ListenRequest(database=self._database, remove_target=id_))
                for id_ in self._by_id.keys() - sent:
                    followed = self._by_id.get(id_)
                    if followed is not None:  # it may leave while another is being written
                        sent.add(id_)
                        await stream.write(_ListenRequest(database=self._database, add_target=_addition(followed)))
                await self._changed.wait()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reading side learns why

    def _fail_unacknowledged(self, error: grpc.aio.AioRpcError) -> None:
        """Some servers refuse a bad target by ending the stream: then it is one that was not acknowledged yet."""
        for followed in list(self._targets.values()):
            if not followed.acknowledged:
                self._fail(followed, ValueError(f"Firestore refuses to listen: {error.details()}"))

    # ---- what it says

    def _hear(self, reply: Any) -> bool:
        """Take in one message; whether it settled a consistent state."""
        kind = reply.WhichOneof("response_type")
        if kind == "document_change":
            self._hear_document(reply.document_change)
        elif kind in ("document_delete", "document_remove"):
            gone = getattr(reply, kind)
            for followed in self._known(gone.removed_target_ids):
                followed.pieces[gone.document[len(self._prefix) :]] = None
        elif kind == "filter":
            for followed in self._known((reply.filter.target_id,)):
                if followed.count() != reply.filter.count:
                    # A removal went missing while we were away: ask for everything, under a new number.
                    followed.start_over(token=b"")
                    self._give_id(followed)
        elif kind == "target_change":
            return self._hear_target(reply.target_change)
        return False

    def _hear_document(self, change: Any) -> None:
        path = change.document.name[len(self._prefix) :]
        for followed in self._known(change.removed_target_ids):
            followed.pieces[path] = None
        into = self._known(change.target_ids)
        try:
            snapshot = codec.decode_document(change.document, len(self._prefix))
        except ValueError as error:
            for followed in into:
                self._fail(followed, error)
            return
        for followed in into:
            followed.pieces[path] = snapshot
            if len(followed.pieces) > MAX_DOCUMENTS:
                self._fail(followed, _too_much())

    def _hear_target(self, change: Any) -> bool:
        kind = change.target_change_type
        meant = self._known(change.target_ids) if change.target_ids else list(self._targets.values())
        for followed in meant:
            if kind == _Change.RESET:
                followed.start_over(token=b"")
            if kind == _Change.REMOVE:
                self._refused(followed, change.cause)
            followed.acknowledged = True
            followed.current = followed.current or kind == _Change.CURRENT
            followed.next_token = change.resume_token or followed.next_token
        if kind != _Change.NO_CHANGE or change.target_ids or not change.HasField("read_time"):
            return False
        for followed in meant:
            if followed.current:
                self._settle(followed)
        return True

    def _refused(self, followed: _Followed, cause: Any) -> None:
        if cause.code not in _REFUSED_TARGET:
            raise _Broken(f"target removed: {cause.code} {cause.message}")
        self._fail(followed, ValueError(f"Firestore refuses to listen: {cause.message}"))

    def _settle(self, followed: _Followed) -> None:
        batch = followed.settle()
        if batch is None:
            return
        if len(followed.state) > MAX_DOCUMENTS:
            self._fail(followed, _too_much())
            return
        for listener in followed.listeners:
            if len(listener.waiting) >= MAX_BATCHES:
                listener.waiting.clear()
                listener.behind = True
            if not listener.behind:
                listener.waiting.append(batch)
            listener.wake.set()

    def _known(self, ids: Iterable[int]) -> list[_Followed]:
        """Those of the targets that are still followed: messages for others may be under way."""
        return [self._by_id[id_] for id_ in ids if id_ in self._by_id]


def _addition(followed: _Followed) -> Any:
    message = _Target()
    message.CopyFrom(followed.message)
    message.target_id = followed.id
    if followed.token:
        message.resume_token = followed.token
        message.expected_count.value = len(followed.state)
    return message


def _in_commit_order(documents: dict[str, Snapshot]) -> tuple[Snapshot, ...]:
    return tuple(sorted(documents.values(), key=lambda snapshot: (snapshot.version, snapshot.path)))


def _too_much() -> ValueError:
    return ValueError(f"A listener of more than {MAX_DOCUMENTS} documents: listen to a query with a limit.")
