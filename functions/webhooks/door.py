"""What every webhook door does before it looks at what it was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from domain.errors import Unavailable
from integrations.payloads import Malformed
from integrations.services import Signatures

BODY_BYTES_MAX = 900_000  # what a Firestore document can keep beside its other fields
READ_BYTES_MAX = 8_000_000  # what is read at all, so that a signed but huge body gets its answer

Record = Callable[[Request, bytes], Awaitable[Response]]


class Door:
    """Verifies the raw body and hands it on. Without a secret it is shut: 404, as if it were not there.

    `record` keeps what a verified body tells; it raises Malformed for one that is nothing of the provider's.
    """

    def __init__(self, signatures: Signatures | None, header: str, record: Record) -> None:
        self._signatures = signatures
        self._header = header
        self._record = record

    async def receive(self, request: Request) -> Response:
        """401 for a bad signature with nothing stored, 400 for a signed body that is malformed, 200 once recorded,
        503 when it could not be: the provider then delivers again."""
        if self._signatures is None:
            return answer(404, "Not found.")
        try:
            body = await _read(request)
        except ClientDisconnect:
            return answer(400, "The body did not arrive.")
        if body is None:
            return answer(413, f"A webhook has at most {READ_BYTES_MAX} bytes.")
        if not self._signatures.verify(body, request.headers.get(self._header)):
            return answer(
                401, "The signature does not fit the raw body, or is too old: check the secret and the clock."
            )
        if len(body) > BODY_BYTES_MAX:
            return answer(400, f"A webhook that is kept has at most {BODY_BYTES_MAX} bytes.")
        try:
            return await self._record(request, body)
        except Malformed as reason:
            return answer(400, f"The body cannot be read: {reason}.")
        except Unavailable as down:
            return answer(503, down.message)


def answer(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status_code=status)


async def _read(request: Request) -> bytes | None:
    """The body, or None for one that is too large to be read."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > READ_BYTES_MAX:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
