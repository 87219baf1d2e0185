"""GraphQL over HTTP: POST with application/json, as the GraphQL-over-HTTP specification has it.

What a browser can send without asking first (forms, text/plain, GET) runs nothing here, and a foreign
Origin is refused, so no page can act for a signed-in visitor. The body is bounded in size and in time
before it is read whole. Every refusal is a GraphQL error in JSON; no input leads to a 5xx.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from graph.execution import Execution
from graph.graphiql import page
from graph.operations import Answer, OperationContext
from graph.requests import GraphQLRequest, MalformedRequest, decode_json
from graph.sse import EVENT_STREAM, StreamDoor
from integrations.bodies import BODY_SECONDS, LAST, BodyRefused, ClientLeft, read_body

GRAPHQL_JSON = "application/graphql-response+json"
PLAIN_JSON = "application/json"

# What the code of an error means to a proxy. Every other code refuses the request: 400.
_STATUS_OF_CODE = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}

_SECURITY_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class _Refusal(Exception):
    """An answer that needs no execution."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str = "BAD_USER_INPUT",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.answer: Answer = {"errors": [{"message": message, "extensions": {"code": code}}]}
        self.headers = headers or {}


def origin_is_welcome(headers: Mapping[str, str], allowed_origins: Collection[str]) -> bool:
    """True without an Origin (no browser), from the host itself, or from an origin of the list.

    An origin is `scheme://host[:port]`, as browsers send it. Tokens travel in headers and never by
    themselves, so a forged Host gains nothing.
    """
    origin = headers.get("origin")
    if origin is None or origin in allowed_origins:
        return True
    return origin.partition("://")[2] == headers.get("host", "") != ""


def negotiate(accept: str | None) -> str | None:
    """The media type to answer with, or None where the client takes neither.

    Without a preference (no header, `*/*`) it is application/json, which every client reads; where both are
    named alike it is application/graphql-response+json, whose status codes say more.
    """
    if accept is None or not accept.strip():
        return PLAIN_JSON
    if accept.partition(";")[0].strip().lower() == EVENT_STREAM:
        return EVENT_STREAM
    qualities: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        qualities[name] = next((_quality(text[2:]) for text in parameters if text.startswith("q=")), 1.0)

    def weight(media: str) -> tuple[float, int, bool]:
        for precision, name in ((2, media), (1, "application/*"), (0, "*/*")):
            if name in qualities:
                return qualities[name], precision, (media == GRAPHQL_JSON) == (precision == 2)
        return 0.0, 0, False

    best = max((PLAIN_JSON, GRAPHQL_JSON), key=weight)
    return best if weight(best)[0] > 0 else None


def _written(media: str | None) -> str:
    """The media type of a refusal: one that is no stream."""
    return PLAIN_JSON if media is None or media == EVENT_STREAM else media


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def graphql_route(
    execution: Execution,
    make_context: Callable[[Request], Awaitable[OperationContext]],
    streams: StreamDoor,
    *,
    graphiql: bool,
    allowed_origins: Collection[str],
    body_limit_bytes: int = 102_400,
    body_timeout_seconds: float = BODY_SECONDS,
) -> ASGIApp:
    """The endpoint for `Route("/graphql", …)`; it answers every method itself.

    Args:
        make_context: reads the headers (the body is already spent). What it raises is presented by
            `execution.present_fault`, and the code decides the status: UNAUTHENTICATED is 401.
        streams: answers who accepts text/event-stream and nothing else.
        graphiql: whether a browser's GET gets a page to try queries on; never in production.
        allowed_origins: `scheme://host[:port]` of web clients on other hosts; the own host is always allowed.
        body_limit_bytes: more is 413, before it is read.
        body_timeout_seconds: a body that takes longer to arrive is 408.
    """
    return _Door(
        execution, make_context, streams, graphiql, frozenset(allowed_origins), body_limit_bytes, body_timeout_seconds
    )


@dataclass(frozen=True, slots=True)
class _Door:
    execution: Execution
    make_context: Callable[[Request], Awaitable[OperationContext]]
    streams: StreamDoor
    graphiql: bool
    allowed_origins: frozenset[str]
    body_limit_bytes: int
    body_timeout_seconds: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        media = negotiate(request.headers.get("accept"))
        try:
            response = await self._respond(request, media)
        except _Refusal as refusal:
            response = _json(refusal.answer, refusal.status, _written(media), refusal.headers)
        except ClientLeft:
            return
        response.headers["Vary"] = "Accept"
        await response(scope, receive, send)

    async def _respond(self, request: Request, media: str | None) -> Response:
        headers = request.headers
        if not origin_is_welcome(headers, self.allowed_origins):
            raise _Refusal(403, "This origin may not use the API; ask for it to be allowed.", "FORBIDDEN")
        if request.method == "GET" and self.graphiql and "text/html" in headers.get("accept", ""):
            return page()
        if request.method == "OPTIONS":
            return Response(None, 204, {"Allow": "POST, OPTIONS"})  # a browser's preflight never comes this far
        if request.method != "POST":
            allow = "POST, OPTIONS, GET" if self.graphiql else "POST, OPTIONS"
            raise _Refusal(405, "Send GraphQL with POST and application/json.", headers={"Allow": allow})
        if media is None:
            raise _Refusal(406, f"Accept {GRAPHQL_JSON}, {PLAIN_JSON} or {EVENT_STREAM}.")
        _check_content(headers)
        parameters = _parse(await self._read(request))
        try:
            context = await self.make_context(request)
        except Exception as fault:
            answer = self.execution.present_fault(fault)
            return _json(answer, _status(answer), _written(media), _hints(answer))
        if media == EVENT_STREAM:
            address = request.client.host if request.client else ""
            opened = await self.streams.open(parameters, context, address)
            return (
                opened if isinstance(opened, Response) else _json(opened, _status(opened), PLAIN_JSON, _hints(opened))
            )
        answer = await self.execution.execute(parameters, context)
        named = {"X-Request-Id": context.request_id}
        status = 200 if "data" in answer else _status(answer)
        if status == 400 and media == PLAIN_JSON:
            status = 200  # The specification: under application/json a well-formed request is answered 200.
        named |= _hints(answer) if status != 200 else _pause(answer)
        try:
            return _json(answer, status, media, named)
        except TypeError as fault:  # A scalar that is no JSON: ours to mend, the client learns nothing of it.
            return _json(self.execution.present_fault(fault), 500, media, named)

    async def _read(self, request: Request) -> bytes:
        """The whole body; raises _Refusal 413, 408 or 400 with as little of it read as possible."""
        try:
            return await read_body(request.headers, request.receive, self.body_limit_bytes, self.body_timeout_seconds)
        except BodyRefused as refused:
            raise _Refusal(refused.status, refused.message, headers=LAST) from None


def _check_content(headers: Mapping[str, str]) -> None:
    """Raises _Refusal 415 unless the body is JSON in plain UTF-8."""
    media, *parameters = (piece.strip().lower() for piece in headers.get("content-type", "").split(";"))
    charsets = [text.partition("=")[2].strip('" ') for text in parameters if text.startswith("charset")]
    if media != PLAIN_JSON or any(charset not in {"utf-8", "utf8"} for charset in charsets):
        raise _Refusal(415, f"Send Content-Type: {PLAIN_JSON} (charset utf-8).", headers={"Accept-Post": PLAIN_JSON})
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise _Refusal(415, "Send the body without Content-Encoding.", headers={"Accept-Encoding": "identity"})


def _parse(body: bytes) -> GraphQLRequest:
    if not body:
        raise _Refusal(400, 'The body is empty; send {"query": "…"}.')
    try:
        return GraphQLRequest.from_json(decode_json(body))
    except MalformedRequest as error:
        raise _Refusal(400, str(error)) from None


def _status(answer: Answer) -> int:
    code = answer["errors"][0].get("extensions", {}).get("code")
    return _STATUS_OF_CODE.get(str(code), 400)


def _hints(answer: Answer) -> dict[str, str]:
    """RFC 9110: a 401 names the scheme that would be accepted, a 429 or 503 the seconds to wait."""
    return _pause(answer) | ({"WWW-Authenticate": "Bearer"} if _status(answer) == 401 else {})


def _pause(answer: Answer) -> dict[str, str]:
    """The seconds to wait, the most that an error names: one of a resolver comes with data, and so with a 200."""
    told = (error.get("extensions", {}).get("retryAfterSeconds") for error in answer.get("errors", ()))
    wait_seconds = max((seconds for seconds in told if seconds is not None), default=None)
    return {} if wait_seconds is None else {"Retry-After": str(math.ceil(wait_seconds))}


def _json(answer: Answer, status: int, media: str, headers: Mapping[str, str]) -> Response:
    """Raises TypeError where the answer is no JSON."""
    return Response(
        orjson.dumps(answer),
        status,
        {"Content-Type": f"{media}; charset=utf-8", **_SECURITY_HEADERS, **headers},
    )
