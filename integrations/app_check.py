"""Firebase App Check: whether a request comes from an app of ours, and not from a script that speaks like one.

By pyjwt and not by firebase-admin's `app_check.verify_token`: that one fetches keys for up to 30 s, in a thread that
nobody can call back, and takes the issuer of any project.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import httpx
import jwt
import msgspec

from domain.errors import Unavailable
from integrations.credentials import CLOCK_SKEW_SECONDS, DEADLINE_SECONDS, is_token

ORIGIN = "https://firebaseappcheck.googleapis.com"
ALGORITHM = "RS256"
KEYS_FRESH_SECONDS = 6 * 3600  # Firebase, "Verify App Check tokens from a custom backend": keep keys no longer
KEYS_STALE_SECONDS = 24 * 3600  # while they cannot be fetched, those of the last day still serve (T-A06)
KEYS_RETRY_SECONDS = 60  # a flood of made-up key ids, or a dead network, costs one fetch a minute
KEYS_FETCH_SECONDS = 1.5  # leaves time to verify with cached keys inside the deadline


class FirebaseAppCheck:
    """The App Check gateway of one Firebase project (services.AppCheckGateway).

    `project_number` is the project's number, not its id. `apps` are the ids of the apps that are let in, such as
    `1:1234567890:android:321abc456def7890`. `seconds` only tells how old the cached keys are.
    """

    def __init__(
        self,
        *,
        project_number: str,
        apps: Collection[str],
        clock: Callable[[], datetime],
        keys_url: str = f"{ORIGIN}/v1/jwks",
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = f"{ORIGIN}/{project_number}"
        self._audience = f"projects/{project_number}"
        self._apps = frozenset(apps)
        self._clock = clock
        self._keys_url = keys_url
        self._seconds = seconds
        self._http = httpx.AsyncClient(timeout=KEYS_FETCH_SECONDS)
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def verify(self, token: str) -> bool:
        """Whether Firebase signed the token for one of the apps, and it holds now. Raises Unavailable."""
        key_id = _key_id(token) if is_token(token) else None
        if key_id is None:
            return False
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                key = await self._key(key_id)
        except TimeoutError:
            raise _unavailable("no answer in time") from None
        claims = None if key is None else _claims(token, key)
        now = self._clock().timestamp()
        return (
            claims is not None
            and claims.iss == self._issuer
            and self._audience in claims.aud
            and claims.sub in self._apps
            and claims.iat - CLOCK_SKEW_SECONDS <= now < claims.exp
        )

    async def close(self) -> None:
        """Let go of the connection. Closing twice is fine."""
        await self._http.aclose()

    async def _key(self, key_id: str) -> jwt.PyJWK | None:
        """The key of this id, None where Firebase has none. Keys that are old, or lack this one, are fetched anew."""
        if self._age() < (KEYS_STALE_SECONDS if self._fetching.locked() else KEYS_FRESH_SECONDS):
            known = self._keys.get(key_id)
            if known is not None:  # whoever brings a known key does not wait for the fetch that another one began
                return known
        async with self._fetching:  # one fetch at a time, however many requests wait for it
            now, age = self._seconds(), self._age()
            wanted = age >= KEYS_FRESH_SECONDS or key_id not in self._keys
            rested = self._tried_at is None or now - self._tried_at >= KEYS_RETRY_SECONDS
            if wanted and (rested or age >= KEYS_STALE_SECONDS):
                self._tried_at = now
                try:
                    async with asyncio.timeout(KEYS_FETCH_SECONDS):  # httpx bounds each step, not their sum
                        self._keys = await self._fetch()
                    self._fetched_at = now
                except Exception as fault:
                    if age >= KEYS_STALE_SECONDS:
                        raise _unavailable(type(fault).__name__) from None
            return self._keys.get(key_id)

    def _age(self) -> float:
        """How old the keys are, in seconds; beyond all use where there are none."""
        return KEYS_STALE_SECONDS if self._fetched_at is None else self._seconds() - self._fetched_at

    async def _fetch(self) -> Mapping[str | None, jwt.PyJWK]:
        answer = await self._http.get(self._keys_url)
        answer.raise_for_status()
        return {key.key_id: key for key in jwt.PyJWKSet.from_json(answer.text).keys}


class _Claims(msgspec.Struct):
    iss: str
    sub: str
    aud: list[str]
    iat: float
    exp: float


def _key_id(token: str) -> str | None:
    """The key that a token says it is signed with; None for any other type or algorithm, `none` before all (T-A02)."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):  # RecursionError: JSON as deep as the token is long
        return None
    key_id = header.get("kid")
    right = header.get("alg") == ALGORITHM and header.get("typ") == "JWT"
    return key_id if right and isinstance(key_id, str) else None


def _claims(token: str, key: jwt.PyJWK) -> _Claims | None:
    """What a token claims that is signed with this key; None for any other. Takes a tenth of a millisecond: no thread.

    The times are left to the caller, whose clock is the store's.
    """
    try:
        return msgspec.json.decode(jwt.PyJWS().decode(token, key, [ALGORITHM]), type=_Claims)
    except (jwt.PyJWTError, msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return None


def _unavailable(why: str) -> Unavailable:
    """`why` is a word of ours: what the libraries say may quote a token."""
    return Unavailable(f"Apps cannot be told from others now ({why}): try again in a moment.")
