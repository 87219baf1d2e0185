"""The RPCs: parse, look or commit, answer. One instance serves all projects and databases of one file."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, TypeVar

import grpc
from google.rpc import status_pb2

from emulator import protocol as p
from emulator.aggregate import aggregate
from emulator.expiry import Expiry
from emulator.filters import Candidate
from emulator.listing import list_documents
from emulator.nearest import nearest
from emulator.paths import Database, FieldPath, parse_database, parse_document, parse_field, parse_parent
from emulator.protocol import Message, Refused, invalid, set_micros, to_micros
from emulator.query import Query, normalise, project
from emulator.rpc import (
    READ_SECONDS_MAX,
    Handler,
    StreamHandler,
    method_name,
    serialise,
    streaming,
    unary,
    unimplemented,
)
from emulator.scan import run
from emulator.storage import Storage, View
from emulator.transactions import Transaction, Transactions, refuse_writes
from emulator.watch import Hub, Listener
from emulator.writer import Committed, Writer

BATCH_WRITES_MAX = 500  # Firestore quota of BatchWrite; Commit has none but the request's size
CHUNK = 256  # documents read at a time in a worker thread, between looks at the event loop
QUERY_THREADS = 4
T = TypeVar("T")


class Firestore(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """`google.firestore.v1.Firestore` over one storage file."""

    def __init__(self, storage: Storage, history_seconds: float) -> None:
        """Needs a running event loop."""
        self._storage = storage
        self._hub = Hub(storage)
        self._writer = Writer(storage, self._hub.publish, history_seconds)
        self._transactions = Transactions()
        self._threads = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="firestore-query")
        self.expiry = Expiry(storage, self._writer, self._in_thread)
        self._methods = self._routes()

    def _routes(self) -> dict[str, Any]:
        plain: list[tuple[Handler, Any]] = [
            (self.get_document, p.GetDocumentRequest),
            (self.list_documents, p.ListDocumentsRequest),
            (self.list_collection_ids, p.ListCollectionIdsRequest),
            (self.create_document, p.CreateDocumentRequest),
            (self.update_document, p.UpdateDocumentRequest),
            (self.delete_document, p.DeleteDocumentRequest),
            (self.commit, p.CommitRequest),
            (self.batch_write, p.BatchWriteRequest),
            (self.begin_transaction, p.BeginTransactionRequest),
            (self.rollback, p.RollbackRequest),
        ]
        streams: list[tuple[StreamHandler, Any]] = [
            (self.batch_get_documents, p.BatchGetDocumentsRequest),
            (self.run_query, p.RunQueryRequest),
            (self.run_aggregation_query, p.RunAggregationQueryRequest),
        ]
        routes = {method_name(handler): unary(handler, request) for handler, request in plain}
        routes |= {method_name(handler): streaming(handler, request) for handler, request in streams}
        routes["Listen"] = grpc.stream_stream_rpc_method_handler(self.listen, p.ListenRequest.FromString, serialise)
        return routes

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method, or None for a service that is not Firestore."""
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        if service != p.SERVICE:
            return None
        return self._methods.get(method) or unimplemented(method)

    def end_streams(self) -> None:
        """End all Listen streams, which would otherwise hold up a shutdown."""
        self._hub.close()

    async def close(self) -> None:
        """Finish the commits that wait; no RPC may be running any more."""
        await self._writer.close()
        self._threads.shutdown()
        self._storage.close()

    # Reads

    async def get_document(self, request: Message, _context: Any) -> Message:
        """GetDocument."""
        database, segments = parse_document(request.name)
        async with self._reading(database, request) as (view, known):
            document = view.document(database, segments)
            if known is not None:
                known.saw(view.read_time).documents.add((database, segments))
        if document is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f'Document "{request.name}" not found.')
        return project(document, _mask(request))

    async def batch_get_documents(self, request: Message, context: Any) -> AsyncIterator[Message]:
        """BatchGetDocuments: each name once, in the order asked for."""
        database = parse_database(request.database)
        targets = []
        for name in dict.fromkeys(request.documents):
            found, segments = parse_document(name)
            if found != database:
                raise invalid(f'"{name}" is not in the database of the request, {database.resource}.')
            targets.append((name, segments))
        mask = _mask(request)
        async with self._reading(database, request) as (view, known):
            transaction = known or self._new_transaction(database, request)
            if transaction is not None and known is None:
                yield p.BatchGetDocumentsResponse(transaction=transaction.key)
            for name, segments in targets:
                document = view.document(database, segments)
                if transaction is not None:
                    transaction.saw(view.read_time).documents.add((database, segments))
                response = p.BatchGetDocumentsResponse()
                set_micros(response.read_time, view.read_time)
                if document is None:
                    response.missing = name
                else:
                    response.found.CopyFrom(project(document, mask))
                yield response
            _report(context, view)

    async def run_query(self, request: Message, context: Any) -> AsyncIterator[Message]:
        """RunQuery."""
        query = _structured(request.parent, request.structured_query)
        async with self._reading(query.database, request) as (view, known):
            transaction = known or self._new_transaction(query.database, request)
            if transaction is not None and known is None:
                yield p.RunQueryResponse(transaction=transaction.key)
            if transaction is not None:
                transaction.saw(view.read_time).queries.append(query)
            found = await self._in_thread(lambda: self._found(view, query, request.structured_query))
            sent = 0
            while chunk := await self._in_thread(lambda: list(islice(found, CHUNK))):
                for item in chunk:
                    response = p.RunQueryResponse()
                    response.document.CopyFrom(project(item.document, query.projection))
                    set_micros(response.read_time, view.read_time)
                    yield response
                sent += len(chunk)
                if len(chunk) < CHUNK:
                    break
            if not sent:
                response = p.RunQueryResponse(skipped_results=query.offset)
                set_micros(response.read_time, view.read_time)
                yield response
            _report(context, view)

    async def run_aggregation_query(self, request: Message, context: Any) -> AsyncIterator[Message]:
        """RunAggregationQuery."""
        body = request.structured_aggregation_query
        query = _structured(request.parent, body.structured_query)
        async with self._reading(query.database, request) as (view, known):
            response = p.RunAggregationQueryResponse()
            transaction = known or self._new_transaction(query.database, request)
            if transaction is not None and known is None:
                response.transaction = transaction.key
            if transaction is not None:
                transaction.saw(view.read_time).queries.append(query)
            results = await self._in_thread(lambda: aggregate(view, self._storage.catalog, query, body.aggregations))
            for alias, value in results.items():
                response.result.aggregate_fields[alias].CopyFrom(value)
            set_micros(response.read_time, view.read_time)
            _report(context, view)
            yield response

    async def list_documents(self, request: Message, context: Any) -> Message:
        """ListDocuments."""
        database, _ = parse_parent(request.parent)
        async with self._reading(database, request) as (view, _):
            response = list_documents(view, request, _mask(request))
            _report(context, view)
        return response

    async def list_collection_ids(self, request: Message, _context: Any) -> Message:
        """ListCollectionIds."""
        database, parent = parse_parent(request.parent)
        size = request.page_size if request.page_size > 0 else 1000
        async with self._reading(database, request) as (view, _):
            ids = list(islice(view.children(database, parent, request.page_token), size + 1))
        more = len(ids) > size
        return p.ListCollectionIdsResponse(collection_ids=ids[:size], next_page_token=ids[size - 1] if more else "")

    # Writes

    async def commit(self, request: Message, _context: Any) -> Message:
        """Commit."""
        database = parse_database(request.database)
        reads = None
        if request.transaction:
            transaction = self._transactions.finish(database, request.transaction)
            refuse_writes(transaction, len(request.writes))
            reads = None if transaction.read_only else transaction.reads
        done = await self._writer.commit(database, request.writes, reads)
        response = p.CommitResponse(write_results=done.results)
        set_micros(response.commit_time, done.time)
        return response

    async def batch_write(self, request: Message, _context: Any) -> Message:
        """BatchWrite: each write on its own, each with its own status."""
        database = parse_database(request.database)
        if len(request.writes) > BATCH_WRITES_MAX:
            raise invalid(f"BatchWrite takes at most {BATCH_WRITES_MAX} writes.")
        names = [w.update.name or w.delete or w.transform.document for w in request.writes]
        if len(set(names)) < len(names):
            raise invalid("Cannot write to the same document more than once in a request.")
        outcomes = await asyncio.gather(
            *(self._writer.commit(database, [write]) for write in request.writes), return_exceptions=True
        )
        response = p.BatchWriteResponse()
        for outcome in outcomes:
            result, status = response.write_results.add(), response.status.add()
            if isinstance(outcome, Committed):
                result.CopyFrom(outcome.results[0])
            elif isinstance(outcome, Refused):
                status.CopyFrom(status_pb2.Status(code=outcome.code.value[0], message=outcome.message))
            else:
                raise outcome
        return response

    async def create_document(self, request: Message, _context: Any) -> Message:
        """CreateDocument; an empty id is chosen here."""
        name = f"{request.parent}/{request.collection_id}/{request.document_id or _new_id()}"
        write = p.Write(update=request.document)
        write.update.name = name
        write.current_document.exists = False
        return await self._write_one(write, name, _mask(request))

    async def update_document(self, request: Message, _context: Any) -> Message:
        """UpdateDocument."""
        write = p.Write(update=request.document)
        if request.HasField("update_mask"):
            write.update_mask.CopyFrom(request.update_mask)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        return await self._write_one(write, request.document.name, _mask(request))

    async def delete_document(self, request: Message, _context: Any) -> Message:
        """DeleteDocument."""
        database, _ = parse_document(request.name)
        write = p.Write(delete=request.name)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        await self._writer.commit(database, [write])
        return p.Empty()

    async def _write_one(self, write: Message, name: str, mask: tuple[FieldPath, ...] | None) -> Message:
        database, segments = parse_document(name)
        done = await self._writer.commit(database, [write])
        async with self._storage.view(done.time) as view:
            return project(view.document(database, segments), mask)

    # Transactions and listening

    async def begin_transaction(self, request: Message, _context: Any) -> Message:
        """BeginTransaction."""
        database = parse_database(request.database)
        return p.BeginTransactionResponse(transaction=self._transactions.begin(database, request.options).key)

    async def rollback(self, request: Message, _context: Any) -> Message:
        """Rollback; a transaction that is not open any more is rolled back already."""
        try:
            self._transactions.finish(parse_database(request.database), request.transaction)
        except Refused:
            return p.Empty()
        return p.Empty()

    async def listen(self, requests: AsyncIterator[Message], context: Any) -> AsyncIterator[Message]:
        """Listen: targets come and go, changes go out in commit order."""
        listener = Listener(self._hub, self._storage, self._in_thread)
        try:
            async for response in listener.responses(requests):
                yield response
        except Refused as refusal:
            await context.abort(refusal.code, refusal.message)
        finally:
            listener.close()

    def _found(self, view: View, query: Query, proto: Message) -> Iterator[Candidate]:
        if proto.HasField("find_nearest"):
            return nearest(view, self._storage.catalog, query, proto.find_nearest)
        return run(view, self._storage.catalog, query)

    def _new_transaction(self, database: Database, request: Message) -> Transaction | None:
        if not request.HasField("new_transaction"):
            return None
        return self._transactions.begin(database, request.new_transaction)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The thread still uses the view; it must not go back to the pool before the thread is done.
            await asyncio.wait([future])
            raise

    @asynccontextmanager
    async def _reading(self, database: Database, request: Message) -> AsyncIterator[tuple[View, Transaction | None]]:
        """The view a read request asks for: now, a read time, or its transaction's moment."""
        transaction, past = None, None
        if request.HasField("read_time"):
            past = to_micros(request.read_time)
        elif getattr(request, "transaction", b""):
            transaction = self._transactions.find(database, request.transaction)
            past = transaction.moment
        async with asyncio.timeout(READ_SECONDS_MAX), self._storage.view(past) as view:
            if transaction is not None:
                transaction.saw(view.read_time)
            yield view, transaction


def _structured(parent: str, proto: Message) -> Query:
    database, segments = parse_parent(parent)
    return normalise(database, segments, proto)


def _mask(request: Message) -> tuple[FieldPath, ...] | None:
    if not request.HasField("mask"):
        return None
    return tuple(parse_field(path) for path in request.mask.field_paths)


def _report(context: Any, view: View) -> None:
    # Tests assert the cost of a page by rows, which, unlike seconds, are the same on every machine.
    context.set_trailing_metadata((("x-rows-scanned", str(view.rows_scanned)),))


def _new_id() -> str:
    return secrets.token_urlsafe(15)
