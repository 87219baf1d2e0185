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
from integrations.public_keys import FETCH_SECONDS, NoKeys, PublicKeys

ORIGIN = "https://firebaseappcheck.googleapis.com"
ALGORITHM = "RS256"
KEYS_FRESH_SECONDS = 6 * 3600  # Firebase, "Verify App Check tokens from a custom backend": keep keys no longer


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
        self._http = httpx.AsyncClient(timeout=FETCH_SECONDS)
        self._keys = PublicKeys("App Check", self._fetch, fresh_seconds=KEYS_FRESH_SECONDS, seconds=seconds)

    async def verify(self, token: str) -> bool:
        """Whether Firebase signed the token for one of the apps, and it holds now. Raises Unavailable."""
        key_id = _key_id(token) if is_token(token) else None
        if key_id is None:
            return False
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                key = await self._keys.get(key_id)
        except (NoKeys, TimeoutError):  # what the libraries say may quote a token
            raise Unavailable("Apps cannot be told from others now: try again in a moment.") from None
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

    async def _fetch(self) -> Mapping[str, jwt.PyJWK]:
        answer = await self._http.get(self._keys_url)
        answer.raise_for_status()
        return {key.key_id: key for key in jwt.PyJWKSet.from_json(answer.text).keys if key.key_id is not None}


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
