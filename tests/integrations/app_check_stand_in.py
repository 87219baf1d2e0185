"""A stand-in for Firebase App Check on this machine: public keys by HTTP, and tokens signed with the private ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.make import NOW

NUMBER = "123456789012"
ANDROID, WEB = f"1:{NUMBER}:android:321abc456def7890", f"1:{NUMBER}:web:0123456789abcdef"
OTHER = f"1:{NUMBER}:web:fedcba9876543210"
"""An app of the same project that is not let in."""
HOUR_SECONDS = 3_600


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    """A private key, made once: it takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says at NOW; `...` leaves a claim out."""
    now = int(NOW.timestamp())
    told: dict[str, Any] = {
        "iss": f"https://firebaseappcheck.googleapis.com/{NUMBER}",
        "aud": [f"projects/{NUMBER}", "projects/jiga"],
        "sub": ANDROID,
        "iat": now,
        "exp": now + HOUR_SECONDS,
        "jti": "one",
    }
    return {name: value for name, value in (told | changes).items() if value is not ...}


def token(name: str = "k1", /, **changes: Any) -> str:
    """A token that is signed with the key of this name."""
    return jwt.encode(claims(**changes), key(name), "RS256", headers={"kid": name})


@dataclass
class StandIn:
    """Serves the public keys of `names`. `fault` is said instead: a status and a body. One that hangs begins to
    answer, and goes on and on, so that no single step of it is late."""

    names: list[str] = field(default_factory=lambda: ["k1"])
    fault: tuple[int, str] | None = None
    hangs: bool = False
    fetches: int = 0
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.fetches += 1
        try:
            if self.hangs:
                writer.write(b"HTTP/1.1 200 OK\r\n")
                while not reader.at_eof():  # until the other side gives up
                    writer.write(b"X-Not: yet\r\n")
                    await asyncio.sleep(0.1)
                return
            status, body = self.fault or (200, json.dumps({"keys": [self._public(name) for name in self.names]}))
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write((head + body).encode())
            await writer.drain()
        finally:
            writer.close()

    def _public(self, name: str) -> dict[str, Any]:
        return {
            **RSAAlgorithm.to_jwk(key(name).public_key(), as_dict=True),
            "kid": name,
            "use": "sig",
            "alg": "RS256",
        }


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    """A stand-in at a port of its own."""
    stand_in = StandIn()
    for name in ("k1", "k2"):
        key(name)  # now, and not while somebody waits for an answer
    server = await asyncio.start_server(stand_in.serve, "127.0.0.1", 0)
    stand_in.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/jwks"
    try:
        yield stand_in
    finally:
        server.close()
