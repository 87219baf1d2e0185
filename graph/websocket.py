"""GraphQL over WebSocket: the graphql-transport-ws protocol, and no other.

A socket is one reader (the ASGI call itself), a task per running operation, and a task that writes while
there is something to write; heartbeat, expiry and re-check of the sign-in are bare timers. Everything a
client can pile up is counted: sockets, operations, subscribes per second, bytes of a message, queued answers.

Close codes are those of the protocol (4400, 4401, 4403, 4408, 4409, 4429) plus 1012 for a restart.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from graph.execution import Execution, Pushed
from graph.http import origin_is_welcome
from graph.limits import TokenBucket
from graph.operations import Answer, OperationContext
from graph.places import CLOSE_SECONDS, RETRY_MILLISECONDS, Places
from graph.requests import GraphQLRequest, MalformedRequest, decode_json
from graph.send_queue import SendQueue, Stopped
from integrations.tracing import entry

log = logging.getLogger(__name__)

PROTOCOL = "graphql-transport-ws"

OpenContext = Callable[[dict[str, Any], WebSocket], Awaitable[OperationContext]]
"""From the payload of `connection_init` (`{"token": …}` or `{"authorization": "Bearer …"}`) to a context."""

# How the refusal of a sign-in ends the socket; what is not here is a fault of ours.
_CLOSE_OF_CODE = {
    "UNAUTHENTICATED": (4403, "Forbidden"),
    "FORBIDDEN": (4403, "Forbidden"),
    "BAD_USER_INPUT": (4403, "Forbidden"),
    "RATE_LIMITED": (4429, "Too many requests"),
    "UNAVAILABLE": (4503, "Unavailable; try again"),
}

# Each message of a subscription repeats its id; a client's are UUIDs or counts, of 36 characters at most.
_MAX_ID_CHARS = 100

# The sign-in cannot be checked three times running: the store is down, and the token may be revoked.
_MAX_FAILED_RECHECKS = 3


class SocketDoor:
    """All sockets of this process; `WebSocketRoute("/graphql", door.serve)`."""

    def __init__(
        self,
        execution: Execution,
        open_context: OpenContext,
        *,
        allowed_origins: Collection[str],
        places: Places | None = None,
    ) -> None:
        self.execution = execution
        self.open_context = open_context
        self.places = places or Places()
        self.limits = self.places.limits
        self._allowed_origins = frozenset(allowed_origins)
        self._sockets: set[_Socket] = set()
        self._empty = asyncio.Event()

    @property
    def sockets(self) -> int:
        """Open sockets, for metrics."""
        return len(self._sockets)

    @property
    def operations(self) -> int:
        """Running operations of all sockets, for metrics."""
        return sum(len(socket.operations) for socket in self._sockets)

    async def serve(self, websocket: WebSocket) -> None:
        """One socket from handshake to close; returns when nothing of it is left."""
        address = websocket.client.host if websocket.client else ""
        refusal = self._refusal(websocket, address)
        if refusal is not None:
            await _deny(websocket, *refusal)
            return
        socket = _Socket(self, websocket)
        self._sockets.add(socket)
        self.places.enter(address)
        try:
            await socket.run()
        finally:
            self._sockets.discard(socket)
            self.places.leave(address)
            if not self._sockets:
                self._empty.set()

    async def close_all(self) -> int:
        """Shutdown: closes every socket with 1012 and a retry hint, refuses new ones; returns how many are left.

        The reason is `retry-after-ms=<n>`, another `n` for each, so that clients do not return as one.
        """
        self.places.closing = True
        for socket in tuple(self._sockets):
            socket.end(1012, f"retry-after-ms={secrets.choice(RETRY_MILLISECONDS)}")
        if self._sockets:
            self._empty.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), CLOSE_SECONDS)
        return len(self._sockets)

    def _refusal(self, websocket: WebSocket, address: str) -> tuple[int, str] | None:
        """HTTP status and text for a handshake that goes no further; the cheapest place to refuse."""
        if PROTOCOL not in websocket.scope.get("subprotocols", ()):
            return 400, f"Offer the subprotocol {PROTOCOL}."
        if not origin_is_welcome(websocket.headers, self._allowed_origins):
            return 403, "This origin may not use the API; ask for it to be allowed."
        return self.places.refusal(address)


class _Close(Exception):
    """The reader ends the socket; with code None the peer has already left."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Socket:
    """One connection and everything that lives no longer than it."""

    def __init__(self, door: SocketDoor, websocket: WebSocket) -> None:
        self._door = door
        self._limits = door.limits
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        self._context: OperationContext | None = None
        self._alarm = asyncio.timeout(self._limits.init_timeout_seconds)
        self._verdict: _Close | None = None
        self.operations: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._bucket = TokenBucket(self._limits.max_subscribes_per_second, self._limits.subscribe_burst)
        self._out = SendQueue(websocket, self._limits)
        self._unanswered_pings = 0
        self._failed_rechecks = 0

    async def run(self) -> None:
        try:
            async with self._alarm:
                await self._websocket.accept(subprotocol=PROTOCOL)
                await self._read()
        except _Close as close:
            self._verdict = close
        except Stopped:
            self._verdict = self._verdict or _Close(None)
        except TimeoutError:
            self._verdict = self._verdict or _Close(4408, "Connection initialisation timeout")
        except Exception as fault:  # Ours; presenting it also logs it.
            self._door.execution.present_fault(fault)
            self._verdict = _Close(4500, "Internal server error")
        finally:
            await self._leave(self._verdict or _Close(1001, "Going away"))

    def end(self, code: int, reason: str) -> None:
        """Ends the socket from outside its reader; the first verdict stands, and no answer leaves after it."""
        if self._verdict is None and not self._alarm.expired():
            self._verdict = _Close(code, reason)
            self._out.stop()
            # The alarm is asyncio's own way to interrupt the one task that waits for the client.
            self._alarm.reschedule(self._loop.time())

    async def _read(self) -> None:
        """Handles one message after the other, for as long as the client sends any."""
        while True:
            try:
                event = await self._websocket.receive()
            except RuntimeError:  # Starlette's word for reading after a disconnect.
                raise _Close(None) from None
            if event["type"] == "websocket.disconnect":
                raise _Close(None)
            raw = (event.get("text") or "").encode()
            if not raw:
                raise _Close(4400, "Send text messages, no binary or empty ones")
            if len(raw) > self._limits.max_message_bytes:
                raise _Close(4400, f"Message exceeds {self._limits.max_message_bytes} bytes")
            try:
                message = decode_json(raw)
            except MalformedRequest as error:
                raise _Close(4400, str(error)) from None
            if not isinstance(message, dict) or not isinstance(message.get("type"), str):
                raise _Close(4400, "A message is a JSON object with a type")
            self._unanswered_pings = 0
            await self._handle(message)

    async def _handle(self, message: dict[str, Any]) -> None:
        kind, payload = message.get("type"), message.get("payload")
        if kind in {"connection_init", "ping", "pong"} and not isinstance(payload, dict | None):
            raise _Close(4400, f"The payload of {kind} must be an object or absent")
        if kind == "connection_init":
            await self._init(payload or {})
        elif kind == "ping":
            await self._send({"type": "pong"} if payload is None else {"type": "pong", "payload": payload})
        elif kind == "subscribe":
            await self._subscribe(_id_of(message), payload)
        elif kind == "complete":
            operation = self.operations.pop(_id_of(message), None)
            if operation is not None:
                operation.cancel()
        elif kind != "pong":
            raise _Close(4400, "Unknown message type; see the graphql-transport-ws protocol")

    async def _init(self, payload: dict[str, Any]) -> None:
        if self._context is not None:
            raise _Close(4429, "Too many initialisation requests")
        try:
            with entry("connection_init", sent=payload):
                context = await self._door.open_context(payload, self._websocket)
        except Exception as fault:
            code = self._door.execution.present_fault(fault)["errors"][0].get("extensions", {}).get("code")
            raise _Close(*_CLOSE_OF_CODE.get(str(code), (4500, "Internal server error"))) from None
        if context.user_id is not None and not self._door.places.seat(context.user_id):
            raise _Close(4429, f"At most {self._limits.max_sockets_per_user} sockets a user; close some")
        self._context = context
        if context.expires_at is not None:
            remaining_seconds = (context.expires_at - datetime.now(UTC)).total_seconds()
            self._after(max(0.0, remaining_seconds), "expiry", lambda: self.end(4401, "Token expired"))
        self._after(self._limits.recheck_seconds, "recheck", self._start_recheck)
        self._after(self._limits.ping_interval_seconds, "ping", self._beat)
        if self._verdict is None:
            self._alarm.reschedule(None)
        await self._send({"type": "connection_ack"})

    async def _subscribe(self, operation_id: str, payload: object) -> None:
        if self._context is None:
            raise _Close(4401, "Unauthorized")
        if operation_id in self.operations:
            raise _Close(4409, f"Subscriber for {operation_id} already exists")
        if not self._bucket.take(self._loop.time()):
            raise _Close(4429, f"At most {self._limits.max_subscribes_per_second:g} subscribes a second")
        try:
            request = GraphQLRequest.from_json(payload)
        except MalformedRequest as error:
            raise _Close(4400, str(error)) from None
        most = self._limits.max_operations
        # Completed operations that still clean up hold memory too, so they get as many places again, no more.
        if len(self.operations) >= most or len(self._tasks) >= 2 * most:
            message = f"This socket runs {most} operations already; complete one first."
            errors = [{"message": message, "extensions": {"code": "RATE_LIMITED"}}]
            await self._send({"id": operation_id, "type": "error", "payload": errors})
            return
        task = self._spawn(self._operate(operation_id, request, self._context.fresh()))
        self.operations[operation_id] = task

    async def _operate(self, operation_id: str, request: GraphQLRequest, context: OperationContext) -> None:
        """Runs one operation and sends its answers; `complete` or `error` is its last word."""
        execution = self._door.execution
        with suppress(Stopped):
            try:
                outcome = await execution.subscribe(request, context)
                last = outcome if isinstance(outcome, dict) else await self._stream(operation_id, outcome)
                await self._finish(operation_id, last)
            except Exception as fault:  # Ours: an answer that is no JSON, a context that breaks. The socket stays.
                await self._finish(operation_id, execution.present_fault(fault))

    async def _stream(self, operation_id: str, answers: AsyncGenerator[Answer, None]) -> Answer | None:
        """Sends every answer of a subscription; returns the one without data that ended it, if one did."""
        async with aclosing(answers):
            async for answer in answers:
                if "data" not in answer:
                    return answer
                payload = orjson.Fragment(answer.encoded) if isinstance(answer, Pushed) else answer
                await self._send({"id": operation_id, "type": "next", "payload": payload})
        return None

    async def _finish(self, operation_id: str, answer: Answer | None) -> None:
        if answer is not None and "data" in answer:
            await self._send({"id": operation_id, "type": "next", "payload": answer})
        # The id is free before the client can hear of it, and only if this task still owns it.
        if self.operations.get(operation_id) is asyncio.current_task():
            del self.operations[operation_id]
            if answer is None or "data" in answer:
                await self._send({"id": operation_id, "type": "complete"})
            else:
                await self._send({"id": operation_id, "type": "error", "payload": answer["errors"]})

    async def _send(self, message: dict[str, Any]) -> None:
        """Queues a message, waiting for a place; a client that makes it wait too long is closed."""
        if not await self._out.put(orjson.dumps(message)):
            self.end(4408, "Slow consumer")

    def _beat(self) -> None:
        """A protocol ping that browsers' code can see; two without any word since end the socket."""
        if self._unanswered_pings >= 2:
            self.end(4408, "No pong in time")
            return
        self._unanswered_pings += 1
        self._out.put_if_free(b'{"type":"ping"}')
        self._after(self._limits.ping_interval_seconds, "ping", self._beat)

    def _start_recheck(self) -> None:
        self._spawn(self._recheck())

    async def _recheck(self) -> None:
        assert self._context is not None
        try:
            async with asyncio.timeout(self._limits.recheck_seconds):
                holds = await self._context.recheck()
            self._failed_rechecks = 0
        except Exception:
            log.warning("a socket's sign-in could not be checked", exc_info=True)
            self._failed_rechecks += 1
            holds = True
        if not holds:
            self.end(4401, "Token revoked")
        elif self._failed_rechecks >= _MAX_FAILED_RECHECKS:
            self.end(1013, "The sign-in cannot be checked; try again later")
        else:
            self._after(self._limits.recheck_seconds, "recheck", self._start_recheck)

    def _after(self, seconds: float, name: str, call: Callable[[], None]) -> None:
        self._timers[name] = self._loop.call_later(seconds, call)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _leave(self, close: _Close) -> None:
        """Stops everything of this socket, then says goodbye."""
        self._verdict = close
        for timer in self._timers.values():
            timer.cancel()
        self._out.stop()
        running = self._tasks | self._out.writers
        for task in running:
            task.cancel()
        if running:
            _, stuck = await asyncio.wait(running, timeout=self._limits.leave_timeout_seconds)
            if stuck:
                log.warning("%d operations did not stop with their socket", len(stuck))
        if self._context is not None and self._context.user_id is not None:
            self._door.places.unseat(self._context.user_id)
        if close.code is not None:
            # A close frame holds 123 bytes of reason; a peer that reads nothing must not keep us here.
            reason = close.reason.encode()[:123].decode(errors="ignore")
            with suppress(TimeoutError, RuntimeError, OSError, WebSocketDisconnect):
                async with asyncio.timeout(self._limits.leave_timeout_seconds):
                    await self._websocket.close(close.code, reason)


def _id_of(message: dict[str, Any]) -> str:
    operation_id = message.get("id")
    if not isinstance(operation_id, str) or not 0 < len(operation_id) <= _MAX_ID_CHARS:
        raise _Close(4400, f"The id must be a string of 1 to {_MAX_ID_CHARS} characters")
    return operation_id


async def _deny(websocket: WebSocket, status: int, text: str) -> None:
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(PlainTextResponse(text, status))
    else:
        await websocket.close()  # The server makes it a 403.
