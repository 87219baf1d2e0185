"""What every webhook door does before it looks at what it was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from domain.errors import Unavailable
from integrations.bodies import LAST, BodyRefused, ClientLeft, read_body
from integrations.payloads import Malformed
from integrations.services import Signatures

# What a Firestore document can keep beside its other fields. Nothing larger is read: its sender has proved nothing yet.
BODY_BYTES_MAX = 900_000

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
        """401 for a bad signature with nothing stored, and for none before anything is read; 413 or 408 for a body that
        is too large or too slow, 400 for a signed one that is malformed, 200 once recorded, 503 when it could not be:
        the provider then delivers again."""
        if self._signatures is None:
            return answer(404, "Not found.")
        if self._header not in request.headers:
            return answer(401, f"There is no signature: send it in the header {self._header}.", LAST)
        try:
            body = await read_body(request.headers, request.receive, BODY_BYTES_MAX)
        except BodyRefused as refused:
            return answer(refused.status, refused.message, LAST)
        except ClientLeft:
            return answer(400, "The body did not arrive.")
        if not self._signatures.verify(body, request.headers.get(self._header)):
            return answer(
                401, "The signature does not fit the raw body, or is too old: check the secret and the clock."
            )
        try:
            return await self._record(request, body)
        except Malformed as reason:
            return answer(400, f"The body cannot be read: {reason}.")
        except Unavailable as down:
            return answer(503, down.message)


def answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"message": message}, status_code=status, headers=headers)
