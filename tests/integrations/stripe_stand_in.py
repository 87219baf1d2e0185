"""A stand-in for api.stripe.com on this machine: it answers what it was told to, and records what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

KEY = "sk_test_canary0123456789"


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    form: list[tuple[str, str]]

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


@dataclass(frozen=True)
class Answer:
    body: object
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_seconds: float = 0


def refusal(status: int, code: str | None = None, kind: str = "invalid_request_error") -> Answer:
    # Stripe's header keeps its library from trying again where that is no use.
    told = {"type": kind, "message": f"No such thing: {KEY} max@jiga.test"} | ({"code": code} if code else {})
    return Answer({"error": told}, status, {"Stripe-Should-Retry": "false"})


@dataclass
class StandIn:
    answer: Callable[[Asked], Answer]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
        parts = urlsplit(target)
        asked = Asked(method, parts.path, parse_qsl(parts.query, True), headers, parse_qsl(body, True))
        self.asked.append(asked)
        answer = self.answer(asked)
        await asyncio.sleep(answer.after_seconds)
        told = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        sent = {"Content-Type": "application/json", "Content-Length": str(len(told)), "Connection": "close"}
        lines = [
            f"HTTP/1.1 {answer.status} Whatever",
            *(f"{name}: {value}" for name, value in (sent | answer.headers).items()),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + told)
        with contextlib.suppress(ConnectionError):  # the caller gave up
            await writer.drain()
        writer.close()


@asynccontextmanager
async def standing_in(answer: Callable[[Asked], Answer]) -> AsyncIterator[StandIn]:
    stand_in = StandIn(answer)
    server = await asyncio.start_server(stand_in.serve, "127.0.0.1", 0)
    stand_in.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield stand_in
    server.close()
