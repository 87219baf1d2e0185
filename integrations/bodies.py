"""A request's body, bounded in size and in time before it is read whole: for every door, of people and of machines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Receive

BODY_SECONDS = 10.0  # a hundred kilobytes by a bad mobile line; who is slower holds a connection and sends again


class BodyRefused(Exception):
    """The body is not read, or no further. `status` is that of HTTP; the text says what to send instead.

    The rest of it stays unread, so the connection cannot carry another request: answer with `LAST`.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ClientLeft(Exception):
    """The connection closed before the body was whole; nobody is left to answer."""


LAST = {"Connection": "close"}


async def read_body(
    headers: Mapping[str, str], receive: Receive, bytes_max: int, seconds_max: float = BODY_SECONDS
) -> bytes:
    """The whole body. Raises BodyRefused 413, 408 or 400 with as little of it read as possible, and ClientLeft."""
    too_large = BodyRefused(413, f"The body exceeds {bytes_max} bytes; send a smaller request.")
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 20:
        raise BodyRefused(400, "Content-Length must be a number of bytes.")
    if int(declared) > bytes_max:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds_max):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > bytes_max:
                    raise too_large
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise BodyRefused(408, f"The body did not arrive within {seconds_max:g} s; send it again.") from None
