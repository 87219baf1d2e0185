"""GraphQL over server-sent events: the distinct connections mode of the graphql-sse protocol.

One POST with `Accept: text/event-stream` is one operation: each answer is an event `next`, and `complete` is the last.
What a proxy lets through where it breaks WebSockets is bounded like a socket: places, slow consumers, heartbeat, expiry
and re-check of the sign-in. A client that was cut off sends its operation again, with the cursor of the last event.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from domain.errors import Unauthenticated, Unavailable
from graph.execution import Execution, Pushed
from graph.operations import Answer, OperationContext
from graph.places import CLOSE_SECONDS, RETRY_MILLISECONDS, Places
from graph.requests import GraphQLRequest

log = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"

# The sign-in cannot be checked three times running: the store is down, and the token may be revoked.
_MAX_FAILED_RECHECKS = 3

_BEAT = b":\n\n"  # a comment: it keeps proxies from closing a silent stream, and clients know that it lives
_COMPLETE = b"event: complete\ndata:\n\n"

Answers = AsyncGenerator[Answer, None]


class StreamDoor:
    """All event streams of this process."""

    def __init__(self, execution: Execution, places: Places) -> None:
        self.execution = execution
        self.places = places
        self.closing = asyncio.Event()
        self._streams: set[asyncio.Task[None]] = set()

    @property
    def streams(self) -> int:
        """Open streams, for metrics."""
        return len(self._streams)

    async def open(self, request: GraphQLRequest, context: OperationContext, address: str) -> Response | Answer:
        """The response that streams the operation's answers, or the answer that refuses it."""
        with ExitStack() as place:
            refusal = self._take(context.user_id, address, place)
            if refusal is not None:
                status, text = refusal
                code = "RATE_LIMITED" if status == HTTPStatus.TOO_MANY_REQUESTS else "UNAVAILABLE"
                return {"errors": [{"message": text, "extensions": {"code": code}}]}
            outcome = await self.execution.subscribe(request, context)
            if isinstance(outcome, dict) and "data" not in outcome:
                return outcome
            answers = _one(outcome) if isinstance(outcome, dict) else outcome
            return _Stream(self, answers, context, place.pop_all())

    async def close_all(self) -> int:
        """Shutdown: ends every stream with a hint when to come back; returns how many are left."""
        self.places.closing = True
        self.closing.set()
        if self._streams:
            await asyncio.wait(self._streams, timeout=CLOSE_SECONDS)
        return len(self._streams)

    @asynccontextmanager
    async def hold(self, place: ExitStack) -> AsyncIterator[None]:
        """A stream in its place, for as long as it lives."""
        task = asyncio.current_task()
        assert task is not None, "an ASGI call runs in a task"
        self._streams.add(task)
        try:
            with place:
                yield
        finally:
            self._streams.discard(task)

    def _take(self, user_id: str | None, address: str, place: ExitStack) -> tuple[int, str] | None:
        """Take the address's place and the user's, before anything runs, so that many at one moment pass no bound;
        else the refusal. `place` gives them back."""
        refusal = self.places.refusal(address)
        if refusal is not None:
            return refusal
        if user_id is not None:
            if not self.places.seat(user_id):
                most = self.places.limits.max_sockets_per_user
                return HTTPStatus.TOO_MANY_REQUESTS, f"At most {most} connections a user; close some."
            place.callback(self.places.unseat, user_id)
        self.places.enter(address)
        place.callback(self.places.leave, address)
        return None


class _Stream(StreamingResponse):
    """One response: its writer is the ASGI call itself; beside it wait the next answer and whatever may end it."""

    def __init__(self, door: StreamDoor, answers: Answers, context: OperationContext, place: ExitStack) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
        named = {**headers, "X-Request-Id": context.request_id}
        super().__init__((_event(answer) async for answer in answers), 200, named, EVENT_STREAM)
        self._door, self._limits = door, door.places.limits
        self._answers, self._context, self._place = answers, context, place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send = send
        left = asyncio.ensure_future(_client_left(receive))
        over = asyncio.ensure_future(self._over())
        self._upcoming = asyncio.ensure_future(anext(self._answers, None))
        try:
            async with self._door.hold(self._place), asyncio.timeout(None) as patience:
                self._patience = patience
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._write(_BEAT)
                await self._tell(left, over)
        except TimeoutError:
            log.info("an event stream was closed: its client does not read")
        finally:
            for task in (left, over, self._upcoming):
                task.cancel()
            await asyncio.gather(left, over, self._upcoming, return_exceptions=True)
            await self._answers.aclose()

    async def _tell(self, left: asyncio.Future[None], over: asyncio.Future[bytes]) -> None:
        """Writes every answer, and a heartbeat where there is none for a while, until something ends the stream."""
        while True:
            waiting: set[asyncio.Future[Any]] = {left, over, self._upcoming}
            await asyncio.wait(waiting, timeout=self._limits.ping_interval_seconds, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                return
            if over.done():
                await self._write(over.result() + _COMPLETE, more=False)
                return
            if not self._upcoming.done():
                await self._write(_BEAT)
                continue
            answer = self._upcoming.result()
            if answer is None or "data" not in answer:
                await self._write((b"" if answer is None else _event(answer)) + _COMPLETE, more=False)
                return
            await self._write(_event(answer))
            self._upcoming = asyncio.ensure_future(anext(self._answers, None))

    async def _write(self, body: bytes, *, more: bool = True) -> None:
        """Send; raises TimeoutError for a client that takes nothing for `slow_consumer_seconds`."""
        self._patience.reschedule(asyncio.get_running_loop().time() + self._limits.slow_consumer_seconds)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._patience.reschedule(None)

    async def _over(self) -> bytes:
        """Waits until the sign-in ends or the process does; gives what the client is told."""
        limits, context = self._limits, self._context
        failed = 0
        while True:
            seconds = limits.recheck_seconds
            if context.expires_at is not None:
                seconds = min(seconds, (context.expires_at - datetime.now(UTC)).total_seconds())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._door.closing.wait(), max(0.0, seconds))
                hint = f"retry: {secrets.choice(RETRY_MILLISECONDS)}\n".encode()
                return hint + self._last(Unavailable("The store restarts: send the operation again."))
            if context.expires_at is not None and context.expires_at <= datetime.now(UTC):
                return self._last(Unauthenticated("The token has expired: refresh it and send the operation again."))
            try:
                async with asyncio.timeout(limits.recheck_seconds):
                    holds = await context.recheck()
                failed = 0
            except Exception:
                log.warning("a stream's sign-in could not be checked", exc_info=True)
                failed, holds = failed + 1, True
            if not holds:
                return self._last(Unauthenticated("The sign-in was revoked: sign in again."))
            if failed >= _MAX_FAILED_RECHECKS:
                return self._last(Unavailable("The sign-in cannot be checked: send the operation again later."))

    def _last(self, fault: Exception) -> bytes:
        return _event(self._door.execution.present_fault(fault))


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _one(answer: Answer) -> Answers:
    yield answer


def _event(answer: Answer) -> bytes:
    encoded = answer.encoded if isinstance(answer, Pushed) else orjson.dumps(answer)
    return b"event: next\ndata: " + encoded + b"\n\n"
