"""`GET /exports/<token>`: all that the store holds of one user, as a JSON file, for who has the signed address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from domain.errors import Unavailable
from domain.exports import ExportLinks
from domain.users import User
from firestore.store import Store
from integrations.services import IdentityGateway

log = structlog.get_logger(__name__)

AT_ONCE_MAX = 8  # of all users: each reads for seconds, and must leave the store to those who play
OF_ONE_ADDRESS_MAX = 2  # so that nobody takes every place alone, with as many accounts as he likes
SEND_SECONDS = 10.0  # for one piece, of some kilobytes: who takes it no sooner does not read
WHOLE_SECONDS = 120.0  # for a file: ten years of play are some megabytes, and a place is somebody else's after that

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class ExportDoor:
    """Streams page by page: a file of any size takes a page of memory, and a user has one sent at a time. A store that
    fails midway breaks the connection off, so that nobody takes half a file for the whole."""

    def __init__(
        self,
        store: Store,
        identity: IdentityGateway,
        secret: bytes,
        base_url: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._identity = identity
        self._links = ExportLinks(secret, base_url)
        self._clock = clock
        self._streaming: dict[str, str] = {}
        """Whose data is on its way, and to which address."""

    def url(self, user_id: str, now: datetime) -> str:
        """The address of the user's data, for ten minutes."""
        return self._links.make(user_id, now)

    def routes(self) -> list[Route]:
        return [Route("/exports/{token}", self.receive, methods=["GET"])]

    async def receive(self, request: Request) -> Response:
        """404 for an address that is not ours, or no longer, and for an account that was deleted since."""
        now = self._clock()
        user_id = self._links.read(request.path_params["token"], now)
        try:
            (user,) = [None] if user_id is None else await self._store.users.get_many([user_id])
        except Unavailable as down:
            return JSONResponse({"message": down.message}, status_code=503, headers=_HEADERS)
        if user is None or user.erased_at is not None:
            message = "There is no such export, or no longer: ask for another one with exportMyData."
            return JSONResponse({"message": message}, status_code=404, headers=_HEADERS)
        address = request.client.host if request.client else ""
        if not self._has_place(user.id, address):
            message = "An export is being sent already: ask again in a minute."
            return JSONResponse({"message": message}, status_code=429, headers={**_HEADERS, "Retry-After": "60"})
        named = {**_HEADERS, "Content-Disposition": f'attachment; filename="jiga-{now.date().isoformat()}.json"'}
        self._streaming[user.id] = address
        return _Sending(self._file(user, now), named, lambda: self._let_go(user.id))

    def _let_go(self, user_id: str) -> None:
        del self._streaming[user_id]

    def _has_place(self, user_id: str, address: str) -> bool:
        theirs = sum(each == address for each in self._streaming.values())
        return user_id not in self._streaming and theirs < OF_ONE_ADDRESS_MAX and len(self._streaming) < AT_ONCE_MAX

    async def _file(self, user: User, now: datetime) -> AsyncIterator[bytes]:
        yield b'{"user_id": ' + _json(user.id) + b', "made_at": ' + _json(now)
        yield b', "sign_ins": ' + _json(await self._identity.sign_ins(user.uid))
        current: str | None = None
        first = True
        async for name, documents in self._store.personal.documents(user.id):
            if name != current:
                yield (b"]" if current is not None else b"") + b",\n" + _json(name) + b": ["
                current, first = name, True
            for document in documents:
                yield (b"\n  " if first else b",\n  ") + _json(document)
                first = False
        yield b"]}\n"


class _Sending(StreamingResponse):
    """A file on its way, which says when it has ended, however it did. One that nobody takes, piece by piece and within
    its time as a whole, is broken off: a place is for those who read."""

    def __init__(self, parts: AsyncIterator[bytes], headers: Mapping[str, str], ended: Callable[[], None]) -> None:
        super().__init__(parts, media_type="application/json", headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def patient(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                await super().__call__(scope, receive, patient)
        except (TimeoutError, ClientDisconnect):  # Starlette's word for the first, where the server raises on its own
            log.info("an export was broken off: its client does not read")
        finally:
            self._ended()


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
