"""The store's verbs over Firestore's gRPC: the only backend of a running store, against Google or a local emulator.

The official client's message types and credentials; our own decoding, deadlines and retries. The official ones wait for
minutes when Firestore is gone, because their timeout is one attempt's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote as percent

import grpc
import grpc.aio
from google.cloud.firestore_v1 import types

from domain.errors import Unavailable
from firestore import codec
from firestore.backend import Aggregate, Batch, Conflict, Query, Snapshot, Unclear, Write
from firestore.checks import MAX_DOCUMENTS, check_aggregates, check_paths, check_query, check_writes
from firestore.watch import Watch

T = TypeVar("T")

MAX_TRIES = 3
"""Of a reading, within its deadline. A commit is tried once: who decided it reads again and decides again."""

FIRST_PAUSE_SECONDS = 0.1
"""Before a second try, at most; doubled before the third. Full jitter, so that callers do not come back in step."""

GRACE_SECONDS = 0.1
"""After the deadline that gRPC was given, before we stop waiting for gRPC itself."""

MAX_TIMEOUTS = 2
"""Deadlines passed in a row on one channel, before it is replaced: its connection may lead nowhere."""

OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # bounds an attempt to connect, too: 20 s otherwise
    ("grpc.max_reconnect_backoff_ms", 1_000),  # back to normal within seconds, not two minutes
    ("grpc.keepalive_time_ms", 30_000),  # notices a dead line under a quiet Listen
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel must be a new connection
)

GOOGLE_OPTIONS = (*OPTIONS, ("grpc.http2.max_pings_without_data", 0))
"""Pings go on however long a Listen is quiet, as from Firestore's Android client, which also takes 30 s. Plain gRPC
servers, such as the emulators, would hang up on them."""

EMULATOR_OPTIONS = (*OPTIONS, ("grpc.enable_http_proxy", 0))

_Code = grpc.StatusCode
_RETRIED = frozenset({_Code.UNAVAILABLE, _Code.ABORTED, _Code.INTERNAL, _Code.RESOURCE_EXHAUSTED})
_DOWN = _RETRIED | {_Code.DEADLINE_EXCEEDED, _Code.CANCELLED, _Code.UNKNOWN, _Code.DATA_LOSS}
_CONFLICTS = frozenset({_Code.ALREADY_EXISTS, _Code.FAILED_PRECONDITION, _Code.ABORTED, _Code.NOT_FOUND})
_UNCLEAR = frozenset(
    {_Code.DEADLINE_EXCEEDED, _Code.UNAVAILABLE, _Code.INTERNAL, _Code.CANCELLED, _Code.UNKNOWN, _Code.DATA_LOSS}
)

_BatchGet: Any = types.BatchGetDocumentsRequest.pb()
_RunQuery: Any = types.RunQueryRequest.pb()
_RunAggregation: Any = types.RunAggregationQueryRequest.pb()
_Commit: Any = types.CommitRequest.pb()

Metadata = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Line:
    """One channel and its methods."""

    channel: grpc.aio.Channel
    batch_get: Any
    run_query: Any
    run_aggregation: Any
    commit: Any
    listen: Any
    timeouts: int = 0


class CloudBackend:
    """A `Backend` over one channel, which is made at the first verb, on the loop that runs then.

    `emulator_host` is `host:port` of a local Firestore. Without it the credentials are Google's default ones.
    `deadline_seconds` is a verb's, with all its tries; the answer comes 0.1 s later at most.
    """

    def __init__(
        self,
        project: str,
        database: str = "(default)",
        *,
        emulator_host: str | None = None,
        deadline_seconds: float = 1.8,
    ) -> None:
        self._database = f"projects/{project}/databases/{database}"
        self._parent = f"{self._database}/documents"
        self._prefix = f"{self._parent}/"
        self._emulator_host = emulator_host
        self._credentials: Any = None
        self._deadline_seconds = deadline_seconds
        self._line: _Line | None = None
        self._connecting: asyncio.Task[_Line] | None = None
        self._retired: set[asyncio.Task[None]] = set()
        self._closed = False
        self._metadata: Metadata = (("google-cloud-resource-prefix", self._database),)
        if emulator_host is not None:
            self._metadata += (("authorization", "Bearer owner"),)
        self._by_database = self._routed("database", self._database)
        self._watch = Watch(self._open_listen, self._database)

    # ---- the verbs

    async def get_many(self, paths: Sequence[str], *, read_time: datetime | None = None) -> list[Snapshot | None]:
        check_paths(paths)
        if not paths:
            return []
        request = _BatchGet(database=self._database, documents=[self._prefix + path for path in paths])
        _set_read_time(request, read_time)

        async def read(line: _Line, timeout_seconds: float) -> dict[str, Snapshot]:
            found: dict[str, Snapshot] = {}
            call = line.batch_get(request, timeout=timeout_seconds, metadata=self._by_database)
            async for reply in call:
                if reply.HasField("found"):
                    snapshot = codec.decode_document(reply.found, len(self._prefix))
                    found[snapshot.path] = snapshot
            return found

        found = await self._reading("get_many", read)
        return [found.get(path) for path in paths]

    async def query(self, query: Query, *, read_time: datetime | None = None) -> list[Snapshot]:
        """Without a limit it asks for one document more than the bound: a cut answer is never taken for all."""
        check_query(query)
        parent = self._parent_of(query)
        asked = codec.encode_query(query, self._prefix, query.limit or MAX_DOCUMENTS + 1)
        request = _RunQuery(parent=parent, structured_query=asked)
        _set_read_time(request, read_time)
        metadata = self._routed("parent", parent)

        async def read(line: _Line, timeout_seconds: float) -> list[Snapshot]:
            call = line.run_query(request, timeout=timeout_seconds, metadata=metadata)
            length = len(self._prefix)
            return [codec.decode_document(reply.document, length) async for reply in call if reply.HasField("document")]

        found = await self._reading("query", read)
        if len(found) > MAX_DOCUMENTS:
            raise ValueError(f"More than {MAX_DOCUMENTS} documents in {query.collection}: page with limit and after.")
        return found

    async def aggregate(
        self, query: Query, aggregates: Mapping[str, Aggregate], *, read_time: datetime | None = None
    ) -> dict[str, int | float]:
        """Beside a `sum`, a `count` counts only documents that have the summed field, as both come from its index."""
        check_aggregates(query, aggregates)
        parent = self._parent_of(query)
        request = _RunAggregation(parent=parent)
        asked = request.structured_aggregation_query
        asked.structured_query.CopyFrom(codec.encode_query(query, self._prefix, query.limit, paged=False))
        for alias, aggregate in aggregates.items():
            entry = asked.aggregations.add()
            entry.alias = alias
            if aggregate.field is None:
                entry.count.SetInParent()
            else:
                entry.sum.field.field_path = codec.field_path(aggregate.field)
        _set_read_time(request, read_time)
        metadata = self._routed("parent", parent)

        async def read(line: _Line, timeout_seconds: float) -> dict[str, Any]:
            figures: dict[str, Any] = {}
            async for reply in line.run_aggregation(request, timeout=timeout_seconds, metadata=metadata):
                figures.update(codec.decode_fields(reply.result.aggregate_fields))
            return figures

        figures = await self._reading("aggregate", read)
        return {alias: figures[alias] for alias in aggregates}

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        check_writes(writes)
        if not writes:
            return ()
        encoded = [codec.encode_write(write, self._prefix) for write in writes]
        request = _Commit(database=self._database, writes=encoded)

        async def send(line: _Line, timeout_seconds: float) -> Any:
            return await line.commit(request, timeout=timeout_seconds, metadata=self._by_database)

        try:
            reply = await self._once(send, asyncio.get_running_loop().time() + self._deadline_seconds)
        except TimeoutError:
            raise Unclear from None
        except grpc.aio.AioRpcError as error:
            code = error.code()
            if code in _CONFLICTS:
                raise Conflict(error.details()) from error
            if code in _UNCLEAR:
                raise Unclear from error
            if code is _Code.RESOURCE_EXHAUSTED:
                raise Unavailable("The store is over its limits: try again in a minute.") from error
            raise _our_fault("commit", error) from error
        committed = codec.version_of(reply.commit_time)
        # A deletion has no update time of its own.
        return tuple(codec.version_of(result.update_time) or committed for result in reply.write_results)

    def listen(self, target: Query | str) -> AsyncGenerator[Batch, None]:
        return self._watch.listen(target)

    async def close(self) -> None:
        """Ends the listeners and the channel; verbs under way answer Unavailable or Unclear."""
        self._closed = True
        await self._watch.close()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        for task in self._retired:
            task.cancel()
        if self._retired:
            await asyncio.wait(self._retired)
        if self._line is not None:
            await self._line.channel.close(None)
            self._line = None

    # ---- one attempt, and several

    async def _reading(self, verb: str, call: Callable[[_Line, float], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._deadline_seconds
        for tried in range(1, MAX_TRIES + 1):
            try:
                return await self._once(call, give_up)
            except TimeoutError:
                break
            except grpc.aio.AioRpcError as error:
                if error.code() not in _DOWN:
                    raise _our_fault(verb, error) from error
                pause_seconds = random.uniform(0, FIRST_PAUSE_SECONDS * 2 ** (tried - 1))  # noqa: S311 - jitter
                if error.code() not in _RETRIED or tried == MAX_TRIES or loop.time() + pause_seconds >= give_up:
                    break
            await asyncio.sleep(pause_seconds)
        raise Unavailable("The store did not answer: try again in a moment.")

    async def _once(self, call: Callable[[_Line, float], Awaitable[T]], give_up: float) -> T:
        """Raises TimeoutError at `give_up` (of the loop's clock), or the RPC's error."""
        line: _Line | None = None
        try:
            async with asyncio.timeout_at(give_up + GRACE_SECONDS):
                line = await self._connected()
                answer = await call(line, max(give_up - asyncio.get_running_loop().time(), 0))
        except TimeoutError:
            self._passed_deadline(line)
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise TimeoutError from None  # gRPC's way to say that its channel was closed under a call
        except grpc.aio.AioRpcError as error:
            if error.code() is _Code.DEADLINE_EXCEEDED:
                self._passed_deadline(line)
            raise
        line.timeouts = 0
        return answer

    # ---- the channel

    async def _connected(self) -> _Line:
        if self._line is not None:
            return self._line
        if self._closed:
            raise Unavailable("The store is closing: send the request again.")
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
        try:
            # Shielded: who gives up at a deadline leaves the work to the next caller.
            return await asyncio.shield(self._connecting)
        finally:
            if self._connecting is not None and self._connecting.done():
                self._connecting = None

    async def _connect(self) -> _Line:
        if self._emulator_host is not None:
            channel = grpc.aio.insecure_channel(self._emulator_host, options=EMULATOR_OPTIONS)
        else:
            channel = await self._google_channel()
        self._line = _Line(
            channel,
            _method(channel.unary_stream, "BatchGetDocuments", _BatchGet, types.BatchGetDocumentsResponse.pb()),
            _method(channel.unary_stream, "RunQuery", _RunQuery, types.RunQueryResponse.pb()),
            _method(
                channel.unary_stream, "RunAggregationQuery", _RunAggregation, types.RunAggregationQueryResponse.pb()
            ),
            _method(channel.unary_unary, "Commit", _Commit, types.CommitResponse.pb()),
            _method(channel.stream_stream, "Listen", types.ListenRequest.pb(), types.ListenResponse.pb()),
        )
        return self._line

    async def _google_channel(self) -> grpc.aio.Channel:
        """The official transport's channel, with our options. Raises ValueError without credentials."""
        import google.auth
        import google.auth.exceptions
        from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport as Transport

        if self._credentials is None:
            try:
                # It reads files and may ask the metadata server: not on the loop.
                found = await asyncio.to_thread(google.auth.default, scopes=Transport.AUTH_SCOPES)
            except google.auth.exceptions.DefaultCredentialsError as error:
                raise ValueError(
                    "No Google credentials: set GOOGLE_APPLICATION_CREDENTIALS, or point to a local emulator."
                ) from error
            self._credentials = found[0]
        channel: grpc.aio.Channel = Transport.create_channel(credentials=self._credentials, options=GOOGLE_OPTIONS)
        return channel

    def _passed_deadline(self, line: _Line | None) -> None:
        """Replace a channel whose calls get no answers. At most once per deadline, as only the present one counts."""
        if line is None or line is not self._line:
            return
        line.timeouts += 1
        if line.timeouts >= MAX_TIMEOUTS:
            self._line = None
            # Calls under way may still be answered before their own deadlines.
            closing = asyncio.create_task(line.channel.close(self._deadline_seconds + GRACE_SECONDS))
            self._retired.add(closing)
            closing.add_done_callback(self._retired.discard)
            self._watch.reconnect()

    async def _open_listen(self) -> Any:
        line = await self._connected()
        return line.listen(metadata=self._by_database)

    def _parent_of(self, query: Query) -> str:
        above = query.collection.rpartition("/")[0]
        return self._prefix + above if above else self._parent

    def _routed(self, key: str, resource: str) -> Metadata:
        return (*self._metadata, ("x-goog-request-params", f"{key}={percent(resource, safe='')}"))


def _method(kind: Any, name: str, request: Any, response: Any) -> Any:
    return kind(
        f"/google.firestore.v1.Firestore/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


def _set_read_time(request: Any, read_time: datetime | None) -> None:
    if read_time is not None:
        nanos = codec.to_nanos(read_time, "read_time")
        request.read_time.seconds, request.read_time.nanos = divmod(nanos, 1_000_000_000)


def _our_fault(verb: str, error: grpc.aio.AioRpcError) -> ValueError:
    """What trying again cannot mend: a missing index or database, a refused value, missing rights."""
    return ValueError(f"Firestore refuses this {verb} ({error.code().name}): {error.details()}")
