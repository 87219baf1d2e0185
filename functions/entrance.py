"""What every request passes first: who sends it, under which id, and the one line that the log gets of it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

import structlog
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.logs import place_of

log = structlog.get_logger(__name__)

Headers = Iterable[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")  # what a line and a header can carry as it is
_QUIET = {"/healthz", "/readyz", "/metrics"}  # asked every few seconds by machines: a line each would hide the rest


class Entrance:
    """Pure ASGI middleware around the whole app.

    Sets the scope's client to the caller's address as `trusted_proxies` hops tell it (`caller_of`), gives each request
    an id (its own X-Request-Id where that is well formed) that comes back as a header, and logs one line when it is
    over: its way without ids, status and time, and what the doors have bound to the log meanwhile, such as an
    operation's cost. Never a query string, a header's value or a body.
    """

    def __init__(self, app: ASGIApp, *, trusted_proxies: int) -> None:
        self._app = app
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = _first(scope["headers"], b"x-request-id")
        if _REQUEST_ID.fullmatch(request_id) is None:
            request_id = secrets.token_hex(8).encode()
        others = [pair for pair in scope["headers"] if pair[0] != b"x-request-id"]
        address = caller_of(scope.get("client"), others, self._trusted_proxies)
        scope = {**scope, "headers": [*others, (b"x-request-id", request_id)], "client": (address, 0)}
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id.decode(), door=scope["type"])
        if scope["type"] == "http":
            await self._answer(scope, receive, send, request_id)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: bytes) -> None:
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-request-id"]
                message = {**message, "headers": [*named, (b"x-request-id", request_id)]}
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, told)
        except Exception as fault:
            log.error("fault", fault=type(fault).__name__, raised_at=place_of(fault.__traceback__))
            if status:
                raise  # half an answer: the server closes the connection
            error = {"message": "Something went wrong on our side.", "extensions": {"code": "INTERNAL"}}
            await JSONResponse({"errors": [error]}, status_code=500)(scope, receive, told)
        finally:
            way = way_of(scope)
            if way not in _QUIET or status >= 400:
                # Status 0: nobody was left to answer.
                milliseconds = round((time.perf_counter() - began) * 1e3, 1)
                log.info("request", method=scope["method"], way=way, status=status, milliseconds=milliseconds)


def caller_of(client: tuple[str, int] | None, headers: Headers, trusted_proxies: int) -> str:
    """The caller's address behind so many proxies of our own; "" where there is none.

    Each proxy appends the address that it was called from, so the last `trusted_proxies` entries of X-Forwarded-For are
    ours, and the first of those is the caller: whatever else is in the header, the caller wrote himself. With fewer
    entries somebody came past the proxies, and is who the connection says. An IPv6 caller is its /64: one customer
    has 2^64 addresses of it.
    """
    address = client[0] if client else ""
    if trusted_proxies:
        told = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1").split(",")
        if len(told) >= trusted_proxies and _parsed(told[-trusted_proxies].strip()) is not None:
            address = told[-trusted_proxies].strip()
    parsed = _parsed(address)
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"


def way_of(scope: Scope) -> str:
    """The path with its parameters' names in the place of their values; "unknown" where no door is."""
    if "endpoint" not in scope:
        return "unknown"
    values = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    path: str = scope["path"]
    for value, name in values.items():
        path = path.replace(value, name) if value else path
    return path


def _parsed(text: str) -> object:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _first(headers: Headers, name: bytes) -> bytes:
    return next((value for each, value in headers if each == name), b"")
