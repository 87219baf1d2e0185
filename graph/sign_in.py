"""From a request's token to its context: who asks is decided here, once, and nowhere else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket

from domain import users
from domain.errors import Unauthenticated
from graph.context import Context, Desk

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")  # what a log line can carry as it is


class Reception:
    """Makes contexts for both doors."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def for_request(self, request: Request) -> Context:
        """Raises Unauthenticated for a bad token; no token at all is a guest."""
        return await self._open(request, _bearer(request.headers.getlist("authorization")))

    async def for_socket(self, payload: Mapping[str, Any], websocket: WebSocket) -> Context:
        """The token is in `connection_init`: {"authorization": "Bearer …"} or {"token": "…"}.

        Raises Unauthenticated.
        """
        named = {str(key).lower(): value for key, value in payload.items()}
        token, header = named.get("token"), named.get("authorization")
        if token is not None and header is not None:
            raise Unauthenticated("Send one of `token` and `authorization`, not both.")
        if token is None:
            token = _bearer([header] if header is not None else [])
        elif not isinstance(token, str) or not token:
            raise Unauthenticated("`token` is the idToken of signIn, as text.")
        return await self._open(websocket, token)

    async def _open(self, connection: HTTPConnection, token: str | None) -> Context:
        asked = connection.headers.get("x-request-id", "")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(8)
        identity = None
        if token is not None:
            identity = await self._desk.identity.verify(token, check_revoked=False)
        user_id = users.user_id(identity.uid) if identity else None
        return Context(self._desk, request_id, self._desk.clock(), identity, user_id, token)


def _bearer(values: Sequence[object]) -> str | None:
    """The token of the one Authorization header. Raises Unauthenticated for anything but none or one good one."""
    if not values:
        return None
    if len(values) > 1 or not isinstance(values[0], str):
        raise Unauthenticated("Send one Authorization header.")
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send Authorization: Bearer <idToken>.")
    return token.strip()
