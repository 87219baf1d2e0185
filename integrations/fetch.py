"""Posting to addresses that users name, without letting them reach what only we can (T-P07).

The host is resolved here, every address is judged, and the connection goes to the judged address itself: a name that
answers differently a moment later reaches nothing. The host's name stays in `Host`, in SNI and in the certificate.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

from domain.endpoints import is_loopback, require_url
from domain.errors import BadInput

DEADLINE_SECONDS = 3.0  # to resolve, connect, send and hear the answer's beginning
BODY_BYTES_MAX = 4_096  # of an answer; beyond it nobody reads on
RESOLVING_MAX = 32  # names at once; the rest waits for its turn within its deadline
CONNECTIONS_MAX = 50  # at once in one process; a post waits for its turn within its deadline

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Gives a host's addresses. Raises OSError."""

Address = IPv4Address | IPv6Address

# Forms of IPv6 that carry an IPv4 address, which a gateway on the way would unpack.
_CARRIERS = tuple(
    map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0/96"))
)
_GLOBAL_UNICAST = ip_network("2000::/3")  # all that IANA gives out: site-local fec0::/10 lies beyond it
# What Python 3.11 takes for global: IETF protocols, the relays of 6to4, documentation (RFC 9637).
_SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))


class FetchRefused(Exception):
    """Nothing was sent, or no answer came. The text says why, for the address's owner."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: its status code, the beginning of its body, and how long it took."""

    status: int
    body: bytes
    duration_ms: int


class Fetcher:
    """Posts to addresses of users: https on 443 to public hosts, no redirects, 3 s in all. No proxy of the environment
    is used. With `loopback` it also reaches this machine, by http too: for whoever develops against a local store."""

    def __init__(
        self, *, loopback: bool = False, resolve: Resolve | None = None, trust: ssl.SSLContext | None = None
    ) -> None:
        self._loopback = loopback
        self._names = _Names()
        self._resolve = resolve or self._names.resolve
        self._http = httpx.AsyncClient(
            verify=trust or ssl.create_default_context(),
            follow_redirects=False,
            trust_env=False,
            timeout=DEADLINE_SECONDS,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=0),
        )

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Fetched:
        """Post once. A redirect is an answer like any other: it is not followed. Raises FetchRefused."""
        try:
            parts = httpx.URL(require_url(url, loopback=self._loopback))
        except (BadInput, httpx.InvalidURL):
            raise FetchRefused("the address is none that webhooks are posted to") from None
        begun = time.monotonic()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._post(parts, content, headers, begun)
        except TimeoutError:
            raise FetchRefused(f"no answer within {DEADLINE_SECONDS:.0f} s") from None
        except httpx.HTTPError as fault:
            raise FetchRefused(f"the connection failed ({type(fault).__name__})") from None

    async def close(self) -> None:
        self._names.close()
        await self._http.aclose()

    async def _post(self, url: httpx.URL, content: bytes, headers: Mapping[str, str], begun: float) -> Fetched:
        address = await self._address(url.host, url.port or (443 if url.scheme == "https" else 80))
        request = self._http.build_request(
            "POST",
            url.copy_with(host=address),
            content=content,
            headers={**headers, "host": url.netloc.decode(), "user-agent": "JIGA-Webhooks/1"},
            extensions={"sni_hostname": url.host},
        )
        answer = await self._http.send(request, stream=True)
        try:
            body = b""
            async for chunk in answer.aiter_raw():
                body = (body + chunk)[:BODY_BYTES_MAX]
                if len(body) == BODY_BYTES_MAX:
                    break
        finally:
            await answer.aclose()
        return Fetched(answer.status_code, body, round((time.monotonic() - begun) * 1000))

    async def _address(self, host: str, port: int) -> str:
        """The address to connect to. One forbidden address among a host's condemns it: its owner tries something."""
        try:
            found = [ip_address(each.partition("%")[0]) for each in await self._resolve(host, port)]
        except (OSError, UnicodeError, ValueError):
            found = []
        if not found:
            raise FetchRefused("the host has no address")
        here = self._loopback and is_loopback(host)
        if not all(each.is_loopback if here else is_public(each) for each in found):
            raise FetchRefused("the host leads to an address that is not public")
        return str(found[0])


def is_public(address: Address) -> bool:
    """Whether an address belongs to a host of the public internet: no private, loopback, link-local (cloud metadata),
    shared, multicast, reserved or unspecified one, and none that carries another inside."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in each for each in (*_CARRIERS, *_SPECIAL)):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class _Names:
    """Resolves in threads of its own: a name server that never answers holds a thread for half a minute, whoever has
    stopped waiting, and the loop's own threads read files, draw pictures and resolve the providers."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVING_MAX, "webhook-names")

    async def resolve(self, host: str, port: int) -> list[str]:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [str(place[0]) for *_, place in found]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
