"""Sign-in with Firebase Authentication."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import jwt
import msgspec

from domain.errors import RateLimited, Unavailable, WeakPassword
from integrations.credentials import (
    CLOCK_SKEW_SECONDS,
    DEADLINE_SECONDS,
    bad_email,
    email_taken,
    is_token,
    new_password,
    normalised_email,
    not_signed_in,
    sign_in_again,
    typed_password,
    wrong_credentials,
)
from integrations.services import DeviceSignIn, Identity, SignIn

if TYPE_CHECKING:
    import google.auth.credentials


SDK_THREADS = 10  # as many as `requests` keeps connections to one host
SDK_TIMEOUT_SECONDS = 1.0  # a thread whose caller gave up is free again soon
KNOWN_SECONDS, KNOWN_MAX = 50, 10_000  # below the 60 s that a revocation may take; about 6 MB
ALL_SIGN_INS = "all"  # the id of the one sign-in that stands for all
RETRY_AFTER_SECONDS = 60  # Firebase does not say how long it refuses

_Result = TypeVar("_Result")


class FirebaseIdentity:
    """The identity gateway over Firebase Authentication (services.IdentityGateway).

    ID tokens are verified, and accounts revoked and deleted, by the Admin SDK, in threads. Passwords and refresh tokens
    go to Google's Identity Toolkit and Secure Token APIs. `credentials` default to the ones of the environment.

    With `emulator_host` ("127.0.0.1:9099") it uses the Auth emulator, which needs no credentials and signs nothing:
    anyone may forge its tokens. The SDK reads FIREBASE_AUTH_EMULATOR_HOST from the environment and from nowhere else,
    so that variable and `emulator_host` must agree, or nothing is verified at all.
    """

    def __init__(
        self,
        *,
        project_id: str,
        api_key: str,
        clock: Callable[[], datetime],
        credentials: google.auth.credentials.Credentials | None = None,
        identity_toolkit_url: str = "https://identitytoolkit.googleapis.com",
        secure_token_url: str = "https://securetoken.googleapis.com",  # noqa: S107 - an address
        emulator_host: str | None = None,
    ) -> None:
        import firebase_admin

        self._emulator_host = emulator_host
        if not self._emulator_agrees():
            raise ValueError(
                "FIREBASE_AUTH_EMULATOR_HOST and the emulator_host of the settings differ: set both to the emulator's "
                "host:port, or unset both."
            )
        if emulator_host is not None:
            identity_toolkit_url = f"http://{emulator_host}/identitytoolkit.googleapis.com"
            secure_token_url = f"http://{emulator_host}/securetoken.googleapis.com"
        self._accounts_url = f"{identity_toolkit_url}/v1/accounts"
        self._token_url = f"{secure_token_url}/v1/token"
        self._clock = clock
        # The key travels in a header: addresses are logged, headers are not.
        self._http = httpx.AsyncClient(headers={"X-Goog-Api-Key": api_key}, timeout=DEADLINE_SECONDS)
        # A name of its own keeps this app apart from any other of the process.
        self._app = firebase_admin.initialize_app(  # type: ignore[no-untyped-call]
            credentials,
            {"projectId": project_id, "httpTimeout": SDK_TIMEOUT_SECONDS},
            f"jiga-identity-{secrets.token_hex(8)}",
        )
        # The deadline bounds what waits for a thread, because a call that gives up leaves the queue.
        self._threads = ThreadPoolExecutor(SDK_THREADS, "identity")
        self._known: OrderedDict[bytes, tuple[datetime, Identity]] = OrderedDict()

    async def sign_up(self, email: str, password: str, *, device: str | None = None) -> SignIn:
        """Make an account. Raises EmailTaken, WeakPassword, BadInput, RateLimited, Unavailable."""
        address = normalised_email(email)
        return await self._enter("signUp", address, new_password(password, address))

    async def sign_in(self, email: str, password: str, *, device: str | None = None) -> SignIn:
        """Raises BadCredentials, BadInput, RateLimited, Unavailable."""
        return await self._enter("signInWithPassword", normalised_email(email), typed_password(password))

    async def check_password(self, email: str, password: str) -> None:
        """As `sign_in` raises. Firebase checks a password by a sign-in; its tokens are dropped unread."""
        await self.sign_in(email, password)

    async def refresh(self, refresh_token: str, *, device: str | None = None) -> SignIn:
        """Raises BadCredentials, Unavailable. Firebase's refresh tokens may be used again until they are revoked."""
        if not is_token(refresh_token):
            raise sign_in_again()
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        answer = _decoded(await self._ask(self._token_url, data=form), _Refreshed)
        return SignIn(
            answer.user_id, _email_within(answer.id_token), answer.id_token, answer.refresh_token, answer.expires_in
        )

    async def verify(self, id_token: str, *, check_revoked: bool) -> Identity:
        """Raises Unauthenticated; Unavailable where Google's keys or the account cannot be read: never a yes."""
        if not is_token(id_token):
            raise not_signed_in()
        digest = hashlib.sha256(id_token.encode()).digest()
        asked_at = self._clock()
        read_at, identity = self._known.get(digest, (None, None))
        if check_revoked or read_at is None or not 0 <= (asked_at - read_at).total_seconds() < KNOWN_SECONDS:
            self._known.pop(digest, None)
            identity = await self._run(lambda: self._verified(id_token))
            if identity is not None:
                self._known[digest] = (asked_at, identity)
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
        # The SDK grants its skew to the expiry too, and asks an emulator's token for neither time.
        early = timedelta(seconds=CLOCK_SKEW_SECONDS)
        if identity is None or not identity.issued_at - early <= self._clock() < identity.expires_at:
            raise not_signed_in()
        return identity

    async def revoke(self, uid: str) -> None:
        """End all sign-ins of the account, within a second; ID tokens that other processes know may live 50 s longer.

        Firebase compares whole seconds, and lets a token live that was issued in the second of its revocation: so the
        revocation waits for the next second, and no token from before the call is spared.
        """
        from firebase_admin import auth

        await asyncio.sleep(1.005 - time.time() % 1)
        await self._run(lambda: _unless_gone(lambda: auth.revoke_refresh_tokens(uid, self._app)))  # type: ignore[no-untyped-call]
        self._forget(uid)

    async def sign_ins(self, uid: str) -> tuple[DeviceSignIn, ...]:
        """One for all: Firebase keeps no list of an account's sign-ins, and revokes them only together."""
        from firebase_admin import auth

        found = await self._run(lambda: _or_none(lambda: auth.get_user(uid, self._app)))  # type: ignore[no-untyped-call]
        if found is None:
            return ()
        told = found.user_metadata
        began = told.last_sign_in_timestamp or told.creation_timestamp or 0
        used = told.last_refresh_timestamp or began
        return (DeviceSignIn(ALL_SIGN_INS, None, _at_ms(began), _at_ms(used), covers_all=True),)

    async def revoke_sign_in(self, uid: str, sign_in_id: str) -> bool:
        """Ends all sign-ins, as the one that `sign_ins` lists says of itself."""
        if sign_in_id != ALL_SIGN_INS:
            return False
        await self.revoke(uid)
        return True

    async def delete(self, uid: str) -> None:
        """Remove the account for good. Deleting twice is fine."""
        from firebase_admin import auth

        await self._run(lambda: _unless_gone(lambda: auth.delete_user(uid, self._app)))  # type: ignore[no-untyped-call]
        self._forget(uid)

    async def close(self) -> None:
        """Let go of connections and threads. Closing twice is fine; whatever is called afterwards is Unavailable."""
        import firebase_admin

        if not self._http.is_closed:
            await self._http.aclose()
            self._threads.shutdown(wait=False, cancel_futures=True)
            firebase_admin.delete_app(self._app)  # type: ignore[no-untyped-call]

    def _emulator_agrees(self) -> bool:
        return (os.environ.get("FIREBASE_AUTH_EMULATOR_HOST") or None) == self._emulator_host

    async def _enter(self, method: str, address: str, password: str) -> SignIn:
        body = {"email": address, "password": password, "returnSecureToken": True}
        answer = _decoded(await self._ask(f"{self._accounts_url}:{method}", json=body), _Entered)
        return SignIn(answer.local_id, answer.email, answer.id_token, answer.refresh_token, answer.expires_in)

    async def _ask(self, url: str, **content: Any) -> bytes:
        """What Google answers, where that is a yes."""
        if self._http.is_closed:
            raise _unavailable("closed")
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):  # httpx bounds each step, not their sum
                response = await self._http.post(url, **content)
        except (TimeoutError, httpx.HTTPError) as fault:
            raise _unavailable(type(fault).__name__) from None
        if response.status_code != 200:
            raise _refusal(response.status_code, response.content)
        return response.content

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._http.is_closed:
            raise _unavailable("closed")
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise _unavailable("no answer in time") from None

    def _verified(self, id_token: str) -> Identity | None:
        """Runs in a thread. None is a refusal: the SDK's own texts quote tokens, and must not reach a log."""
        import google.auth.exceptions
        from firebase_admin import auth, exceptions

        if not self._emulator_agrees():  # set after the start, the variable would have the SDK believe any token
            raise _unavailable("FIREBASE_AUTH_EMULATOR_HOST changed")
        try:
            claims: Mapping[str, Any] = auth.verify_id_token(  # type: ignore[no-untyped-call]
                id_token, self._app, check_revoked=True, clock_skew_seconds=CLOCK_SKEW_SECONDS
            )
            return Identity(
                uid=claims["uid"],
                email=claims.get("email", ""),  # an anonymous account has none
                email_verified=claims.get("email_verified") is True,
                issued_at=datetime.fromtimestamp(claims["iat"], UTC),
                expires_at=datetime.fromtimestamp(claims["exp"], UTC),
                sign_in_id=ALL_SIGN_INS,
                signed_in_at=_at_ms(claims["auth_time"] * 1000) if "auth_time" in claims else None,
            )
        except (auth.InvalidIdTokenError, auth.UserDisabledError, auth.UserNotFoundError) as refusal:
            if isinstance(refusal.cause, json.JSONDecodeError):  # the keys: a token's own faults are other errors
                raise _unavailable("Google's keys cannot be read") from None
            return None
        except (exceptions.FirebaseError, google.auth.exceptions.GoogleAuthError, OSError) as fault:
            raise _unavailable(type(fault).__name__) from None
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return None  # a text that the SDK cannot take apart

    def _forget(self, uid: str) -> None:
        for digest in [digest for digest, (_, identity) in self._known.items() if identity.uid == uid]:
            del self._known[digest]


class _Entered(msgspec.Struct, rename="camel"):
    local_id: str
    email: str
    id_token: str
    refresh_token: str
    expires_in: int


class _Refreshed(msgspec.Struct):
    user_id: str
    id_token: str
    refresh_token: str
    expires_in: int


class _Reason(msgspec.Struct):
    message: str


class _Refused(msgspec.Struct):
    error: _Reason


def _decoded(content: bytes, shape: type[_Result]) -> _Result:
    try:
        return msgspec.json.decode(content, type=shape, strict=False)  # Google writes its numbers as text
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _unavailable("an answer of another shape") from None


def _email_within(id_token: str) -> str:
    """The e-mail in a token that Google has just handed us, which needs no verification."""
    try:
        return str(jwt.decode(id_token, options={"verify_signature": False}).get("email", ""))
    except (jwt.PyJWTError, ValueError):
        raise _unavailable("an answer of another shape") from None


def _refusal(status: int, content: bytes) -> Exception:
    """Our word for a refusal of Google's: "EMAIL_EXISTS", or "WEAK_PASSWORD : Password should be ..."."""
    if status >= 500:
        return _unavailable(f"status {status}")
    try:
        code = msgspec.json.decode(content, type=_Refused).error.message.partition(":")[0].strip()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        code = ""
    if code in _REFUSALS:
        return _REFUSALS[code]()
    if status == 429:
        return _too_many()
    return _unavailable(f"status {status}")  # our own settings are wrong: the key, the project, a sign-in method


def _too_many() -> RateLimited:
    return RateLimited("Too many attempts: try again in a minute.", retry_after_seconds=RETRY_AFTER_SECONDS)


def _weak_password() -> WeakPassword:
    return WeakPassword("This password is easy to guess: choose a longer one, with more kinds of characters.")


_REFUSALS: Mapping[str, Callable[[], Exception]] = {
    "EMAIL_EXISTS": email_taken,
    "WEAK_PASSWORD": _weak_password,
    "PASSWORD_DOES_NOT_MEET_REQUIREMENTS": _weak_password,
    "INVALID_LOGIN_CREDENTIALS": wrong_credentials,
    "EMAIL_NOT_FOUND": wrong_credentials,
    "INVALID_PASSWORD": wrong_credentials,
    "MISSING_PASSWORD": wrong_credentials,
    "USER_DISABLED": wrong_credentials,
    "INVALID_EMAIL": lambda: bad_email("Firebase does not take it"),
    "INVALID_REFRESH_TOKEN": sign_in_again,
    "TOKEN_EXPIRED": sign_in_again,
    "USER_NOT_FOUND": sign_in_again,
    "TOO_MANY_ATTEMPTS_TRY_LATER": _too_many,
}


def _unless_gone(work: Callable[[], object]) -> None:
    """Runs in a thread. An account that is gone needs no revocation, and is deleted."""
    _or_none(work)


def _or_none(work: Callable[[], Any]) -> Any:
    """Runs in a thread. None where the account is gone."""
    import google.auth.exceptions
    from firebase_admin import auth, exceptions

    try:
        return work()
    except auth.UserNotFoundError:
        return None
    except (exceptions.FirebaseError, google.auth.exceptions.GoogleAuthError, OSError) as fault:
        raise _unavailable(type(fault).__name__) from None


def _at_ms(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _unavailable(why: str) -> Unavailable:
    """`why` is a word of ours: what Google and the libraries say may quote a token."""
    return Unavailable(f"Sign-in cannot be reached ({why}): try again in a moment.")
