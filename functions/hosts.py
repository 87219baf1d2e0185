"""By which names a local store answers. Its demo accounts' passwords are known to all: a page of the web that points a
name of its own at this machine (DNS rebinding) must not reach them from its visitor's browser."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")  # RFC 9110, 7.2
EVERY_INTERFACE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what an operator may have set, not what we listen on


class KnownHosts:
    """Pure ASGI middleware. Lets requests in whose Host is the loopback's, the address that the store listens on, or
    the host of its public URL.

    A store that listens on every interface, as in a container, answers by any address and by names without a dot too:
    of neither can anybody in the web point one here. What has no Host at all is no browser.
    """

    def __init__(self, app: ASGIApp, *, listens_on: str, public_url: str | None) -> None:
        self._app = app
        public = urlsplit(public_url or "").hostname
        self._known = LOOPBACK | {listens_on.lower()} | ({public} if public else set())
        self._is_open = listens_on in EVERY_INTERFACE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._knows(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
            await _refusal()(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _knows(self, scope: Scope) -> bool:
        told = [value for name, value in scope["headers"] if name == b"host"]
        return all(self._is_known(each.decode("latin-1")) for each in told)

    def _is_known(self, told: str) -> bool:
        found = _HOST.fullmatch(told)
        if found is None:
            return False
        host = (found["address"] or found["name"]).lower().removesuffix(".")
        return host in self._known or (self._is_open and ("." not in host or _is_address(host)))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _refusal() -> JSONResponse:
    message = (
        "This local store does not answer by this name, so that no page of the web can point one at it: call it at"
        " localhost or 127.0.0.1, or set JIGA_PUBLIC_URL to the address by which it is reached."
    )
    error = {"message": message, "extensions": {"code": "FORBIDDEN"}}
    return JSONResponse({"errors": [error]}, status_code=421)
