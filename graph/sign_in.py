"""From a request's token to its context: who asks is decided here, once, and nowhere else."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket

from domain import keys, users
from domain.errors import Unauthenticated
from domain.keys import ApiKey
from firestore.store import Store
from graph.context import Context, Desk
from graph.guard import Guard
from integrations.services import AppCheckGateway

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")  # what a log line can carry as it is
_PRINTABLE = re.compile(r"[ -~]+")  # RFC 9110, 10.1.5: what a client calls itself, in plain ASCII
DEVICE_CHARACTERS_MAX = 200  # enough to tell a browser and its machine; longer ones are cut
APP_CHECK = "x-firebase-appcheck"  # the name that Firebase's own examples give it
KNOWN_FOR, KNOWN_MAX = timedelta(seconds=30), 10_000  # half of the 60 s that a revocation may take; about 10 MB


class Reception:
    """Makes contexts for both doors.

    With an `app_check`, every request comes from an app of ours, a guest's and a sign-in's too. Only one with an API
    key needs not: keys are for servers, which no platform attests, and a key's scopes and rates bound what it does. A
    socket is asked once, when it opens.
    """

    def __init__(self, desk: Desk, guard: Guard, app_check: AppCheckGateway | None = None) -> None:
        self._desk = desk
        self._guard = guard
        self._app_check = app_check
        self._keys = _Keys(desk.store, desk.key_environment)

    async def for_request(self, request: Request) -> Context:
        """Raises Unauthenticated for a bad token; no token at all is a guest."""
        token = _bearer(request.headers.getlist("authorization"))
        return await self._open(request, token, request.headers.getlist(APP_CHECK))

    async def for_socket(self, payload: Mapping[str, Any], websocket: WebSocket) -> Context:
        """The token, or the API key, is in `connection_init`: {"authorization": "Bearer …"} or {"token": "…"}.

        `appCheck` beside it is the App Check token; a client that sets headers may send that one's header instead.
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
        inside = named.get("appcheck")
        sent = [*websocket.headers.getlist(APP_CHECK), *([] if inside is None else [inside])]
        return await self._open(websocket, token, sent)

    async def _open(self, connection: HTTPConnection, token: str | None, app_tokens: Sequence[object]) -> Context:
        address = connection.client.host if connection.client else ""
        if self._app_check is not None and not _is_key(token):
            await self._require_app(self._app_check, app_tokens, address)
        try:
            context = await self._known(connection, token, address)
        except Unauthenticated:
            await self._guard.note_wrong_credentials(address)
            raise
        context.address = address
        return context

    async def _require_app(self, app_check: AppCheckGateway, sent: Sequence[object], address: str) -> None:
        """Raises Unauthenticated for anything but one good App Check token; who sends none has guessed nothing."""
        if len(sent) != 1 or not isinstance(sent[0], str) or not sent[0]:
            raise Unauthenticated(
                "Send one App Check token of the app, in the header X-Firebase-AppCheck or, on a socket, in `appCheck` "
                "of connection_init; or call with an API key."
            )
        if not await app_check.verify(sent[0]):
            await self._guard.note_wrong_credentials(address)
            raise Unauthenticated(
                "The App Check token is not valid, or no longer, or of another app: get a new one from the app's "
                "Firebase SDK and send it in the header X-Firebase-AppCheck."
            )

    async def _known(self, connection: HTTPConnection, token: str | None, address: str) -> Context:
        asked = connection.headers.get("x-request-id", "")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(8)
        named = connection.headers.get("user-agent", "")[:DEVICE_CHARACTERS_MAX]
        device = named if _PRINTABLE.fullmatch(named) else None
        now = self._desk.clock()
        if token is not None and _is_key(token):
            key = await self._keys.open(token, now, lambda: self._guard.turn_away_guessers(address))
            return Context(self._desk, request_id, now, None, key.user_id, None, key=key, device=device)
        identity = None
        if token is not None:
            identity = await self._desk.identity.verify(token, check_revoked=False)
        user_id = users.user_id(identity.uid) if identity else None
        return Context(self._desk, request_id, now, identity, user_id, token, device=device)


class _Keys:
    """API keys at the door. One that was found good is taken on trust for half a minute, by reads alone: what changes
    something asks again (`Context.confirm`)."""

    def __init__(self, store: Store, environment: str) -> None:
        self._store = store
        self._environment = environment
        self._known: OrderedDict[bytes, tuple[datetime, ApiKey]] = OrderedDict()

    async def open(self, text: str, now: datetime, before_looking: Callable[[], Awaitable[None]]) -> ApiKey:
        """The key of this text; `before_looking` comes before the store is asked. Raises Unauthenticated, in one
        sentence for all that can be wrong; Unavailable."""
        presented = keys.read(text)
        if presented is None or presented.environment != self._environment:
            raise keys.refused()
        digest = hashlib.sha256(text.encode()).digest()  # no secret stays in this process's memory
        read_at, key = self._known.get(digest, (now, None))
        if key is None or not timedelta(0) <= now - read_at < KNOWN_FOR:
            self._known.pop(digest, None)
            await before_looking()
            key = keys.require_genuine(await self._store.keys.get(presented.key_id), presented, now)
            self._known[digest] = (now, key)
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
        return keys.require_usable(key, now)


def _is_key(token: str | None) -> bool:
    return token is not None and token.startswith(keys.PREFIX)


def _bearer(values: Sequence[object]) -> str | None:
    """The token of the one Authorization header. Raises Unauthenticated for anything but none or one good one."""
    if not values:
        return None
    if len(values) > 1 or not isinstance(values[0], str):
        raise Unauthenticated("Send one Authorization header.")
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send Authorization: Bearer <idToken>, or Bearer <API key>.")
    return token.strip()
