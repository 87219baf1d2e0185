"""Shopify's Admin GraphQL API, through the ShopifyAPI package, fenced into a few threads.

The package is synchronous and keeps its session by thread, so each call activates its own inside its thread. It is
given what it lacks: a deadline, no redirects (they would carry the token elsewhere), and no printing of error bodies.
Rate limits: shopify.dev/docs/api/usage/limits.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, Any
from urllib.error import HTTPError

from domain.errors import Unavailable
from integrations.payloads import Malformed, parse_object, shown

VERSION = "2026-10"
THREADS = 4  # calls at once: reconciliation and a sync beside each other; more would only meet the rate limit
CALL_SECONDS_MAX = 10.0  # a page of orders takes one or two; only rounds and starts wait for it, and no request
ANSWER_BYTES_MAX = 16_000_000  # a page of orders is some 100 KB
TRIES_MAX = 8  # pauses that double from 1 s to 30 s fill the wait below; those that Shopify names may be shorter
WAITED_SECONDS_MAX = 90.0  # for one call, over all its tries: an empty bucket of the slowest plan refills in 20 s
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.5, 30.0
_CHUNK_BYTES = 65_536


class AdminRefused(Unavailable):
    """Shopify will not do it, however often it is asked: a wrong token, a missing scope, a document it cannot read."""


class _Throttled(Exception):
    def __init__(self, wait_seconds: float) -> None:
        super().__init__(wait_seconds)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: str | None
    body: bytes


class AdminApi:
    """Asks one shop. `token` is an Admin API access token; `site` points at a stand-in instead of Shopify."""

    def __init__(
        self,
        shop: str,
        token: str,
        *,
        site: str | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._shop = shop
        self._token = token
        self._site = site
        self._pause = pause
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="shopify-admin")

    async def ask(self, query: str, variables: Mapping[str, object]) -> dict[str, object]:
        """The `data` of a query. A rate limit and what may pass are waited for, a minute and a half at most (T-F08).

        Raises AdminRefused, Unavailable.
        """
        return await self._insist(query, variables, again=True)

    async def change(self, mutation: str, variables: Mapping[str, object]) -> dict[str, object]:
        """The `data` of a mutation. Only a rate limit is waited for: a lost reply may have been a success.

        Raises AdminRefused, Unavailable.
        """
        return await self._insist(mutation, variables, again=False)

    async def close(self) -> None:
        """What still runs ends by its own deadline; nobody waits for it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _insist(self, document: str, variables: Mapping[str, object], *, again: bool) -> dict[str, object]:
        waited_seconds = 0.0
        for tried in range(TRIES_MAX):
            wait_seconds = float(2**tried)
            try:
                return await self._call(document, variables)
            except _Throttled as limit:
                wait_seconds = limit.wait_seconds
            except AdminRefused:
                raise
            except Unavailable:
                if not again or tried == TRIES_MAX - 1:
                    raise
            wait_seconds = min(max(wait_seconds, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
            waited_seconds += wait_seconds
            if waited_seconds > WAITED_SECONDS_MAX:
                break
            await self._pause(wait_seconds)
        raise Unavailable("Shopify's Admin API takes no more calls for now: try again in some minutes.")

    async def _call(self, document: str, variables: Mapping[str, object]) -> dict[str, object]:
        body = json.dumps({"query": document, "variables": dict(variables)}).encode()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                answer = await loop.run_in_executor(self._threads, self._post, body)
        except (OSError, HTTPException) as why:  # the deadline and refused connections are among them
            raise Unavailable(f"Shopify's Admin API does not answer: {type(why).__name__}.") from None
        return _data(answer)

    def _post(self, body: bytes) -> _Answer:
        """One request, in a thread. The token stays within the package's headers of this thread."""
        import shopify  # type: ignore[import-untyped]

        shopify.ShopifyResource.activate_session(shopify.Session(self._shop, VERSION, self._token))
        try:
            if self._site is not None:
                shopify.ShopifyResource.site = f"{self._site}/admin/api/{VERSION}"
            client: Any = shopify.GraphQL()
            told = {"Accept": "application/json", "Content-Type": "application/json"}
            request = urllib.request.Request(client.endpoint, body, client.merge_headers(told, client.headers))  # noqa: S310 - the package's own https address
            return _send(request)
        finally:
            shopify.ShopifyResource.clear_session()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _send(request: urllib.request.Request) -> _Answer:
    give_up = time.monotonic() + CALL_SECONDS_MAX
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=CALL_SECONDS_MAX) as response:
            return _Answer(response.status, None, _read(response, give_up))
    except HTTPError as refused:
        refused.close()
        return _Answer(refused.code, refused.headers.get("Retry-After"), b"")


def _read(response: HTTPResponse, give_up: float) -> bytes:
    """The body. A server that sends it drop by drop must not keep the thread: each read has what is left of the time,
    at most a whole deadline more."""
    found, size = [], 0
    while chunk := response.read1(_CHUNK_BYTES):
        size += len(chunk)
        if size > ANSWER_BYTES_MAX or time.monotonic() > give_up:
            raise TimeoutError
        found.append(chunk)
    return b"".join(found)


def _data(answer: _Answer) -> dict[str, object]:
    if answer.status == 429:
        raise _Throttled(_number(answer.retry_after, 2.0))
    if answer.status >= 500 or answer.status == 408:
        raise Unavailable(f"Shopify's Admin API answers {answer.status}.")
    if answer.status != 200:
        raise AdminRefused(
            f"Shopify's Admin API answers {answer.status}: check JIGA_SHOPIFY_SHOP, and JIGA_SHOPIFY_ADMIN_TOKEN with "
            "its scopes."
        )
    try:
        told = parse_object(answer.body)
    except Malformed as why:
        raise Unavailable(f"Shopify's Admin API answers what cannot be read: {why}.") from None
    errors = told.get("errors")
    if errors:
        codes = sorted(set(_codes(errors)))
        if "THROTTLED" in codes:
            raise _Throttled(_refill_seconds(told))
        if "INTERNAL_SERVER_ERROR" in codes or "TIMEOUT" in codes:
            raise Unavailable(f"Shopify's Admin API fails: {', '.join(codes)}.")
        raise AdminRefused(f"Shopify's Admin API refuses: {', '.join(codes) or shown(errors)}.")
    data = told.get("data")
    if not isinstance(data, dict):
        raise Unavailable("Shopify's Admin API answers without data.")
    return data


def _codes(errors: object) -> Iterator[str]:
    for error in errors if isinstance(errors, list) else ():
        code = at(error, "extensions", "code")
        if isinstance(code, str):
            yield code[:80]


def _refill_seconds(told: Mapping[str, object]) -> float:
    """How long the bucket takes to hold what the query needs."""
    cost = at(told, "extensions", "cost")
    needed = _number(at(cost, "requestedQueryCost"), 100.0)
    available = _number(at(cost, "throttleStatus", "currentlyAvailable"), 0.0)
    rate = _number(at(cost, "throttleStatus", "restoreRate"), 50.0)
    return (needed - available) / max(rate, 1.0)


def _number(value: object, absent: float) -> float:
    """A number of theirs, which may come as text; `absent` for anything else, endless ones too."""
    try:
        number = float(value) if isinstance(value, int | str) else absent
    except (ValueError, OverflowError):
        return absent
    return number if 0 <= number < 1e9 else absent


def at(value: object, *names: str) -> object:
    """What lies under the names, one within the other; None where anything on the way is no object."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def nodes(value: object, *names: str) -> list[dict[str, object]]:
    """The objects of a list, or of a connection's `nodes`, under the names."""
    found = at(value, *names)
    listed = found.get("nodes") if isinstance(found, dict) else found
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
