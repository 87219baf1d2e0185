"""Accounts, passwords and tokens on one machine: an SQLite file instead of Firebase Authentication.

The file holds the accounts (Argon2id), the refresh tokens (SHA-256 of 256 random bits) and the key that signs
ID tokens, so several processes may share it. It is for development: no mail is sent, so addresses are taken on trust.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import TypeVar

import argon2
import jwt
from jwt.types import Options

from domain.errors import RateLimited, Unavailable
from integrations import credentials as rules
from integrations.local.accounts import Account, AccountsFile, Opened, digest_of
from integrations.services import DeviceSignIn, Identity, SignIn

ISSUER = "https://identity.jiga.local"
AUDIENCE = "jiga-store"
ALGORITHM = "HS256"  # whoever verifies also issues, so one secret is enough

HASHES_AT_ONCE = 2  # 2 x 19 MiB and two cores: a storm of sign-ins waits, and the machine stays usable
KNOWN_SECONDS, KNOWN_MAX = 30, 10_000  # half of the 60 s that a revocation may take; about 2 MB
FAILURES_MAX, FAILURES_SECONDS = 10, 15 * 60  # OWASP: slow guessing down, and let the owner back in the same hour
WATCHED_EMAILS_MAX = 10_000  # about 5 MB; the e-mail that failed longest ago is forgotten first

# The hash of a password that nobody knows, made with the parameters of every other.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$hfXEYqhDi1rAPXiK++LCtQ$ote8c4NuukSe5+U10i5szTr01RtDJAAevUsib3nwVjs"

# PyJWT would ask its own clock for the times, so they are judged here; everything else is PyJWT's.
_CHECKS: Options = {
    "require": ["sub", "email", "email_verified", "gen", "sid", "iat", "exp"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}

_Result = TypeVar("_Result")


class LocalIdentity:
    """The identity gateway of a store that runs on one machine (services.IdentityGateway).

    `trust_emails` says that every address belongs to who signed up with it, so that an order matched by the verified
    e-mail can be tried without mail. It is safe only where all users are you.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], datetime],
        id_token_ttl_seconds: int = 3600,
        refresh_token_ttl_days: int = 30,
        trust_emails: bool = True,
    ) -> None:
        self._clock = clock
        self._id_token_ttl_seconds = id_token_ttl_seconds
        self._trust_emails = trust_emails
        self._file = AccountsFile(path, refresh_token_ttl_days * 86_400)
        # One thread owns the file: SQLite writes one at a time anyway. The deadline bounds what waits for a thread,
        # because a call that gives up leaves the queue.
        self._file_thread = ThreadPoolExecutor(1, "identity-file")
        self._hash_threads = ThreadPoolExecutor(HASHES_AT_ONCE, "identity-hash")
        # OWASP Password Storage: Argon2id with m=19 MiB, t=2, p=1.
        self._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._failures = _Failures()
        self._known: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    async def sign_up(self, email: str, password: str, *, device: str | None = None) -> SignIn:
        """Make an account. Raises EmailTaken, WeakPassword, BadInput, Unavailable."""
        address = rules.normalised_email(email)
        chosen = rules.new_password(password, address)
        async with _answering():
            hashed = await self._run(self._hash_threads, lambda: self._hasher.hash(chosen))
            account = Account(secrets.token_hex(14), address, hashed, 0)
            await self._run(self._file_thread, lambda: self._file.add(account))
            return await self._issue(account.uid, device)

    async def sign_in(self, email: str, password: str, *, device: str | None = None) -> SignIn:
        """Raises BadCredentials, RateLimited after ten failures in 15 minutes, BadInput, Unavailable."""
        async with _answering():
            return await self._issue(await self._require_password(email, password), device)

    async def check_password(self, email: str, password: str) -> None:
        """As `sign_in` raises, and nobody is signed in by it."""
        async with _answering():
            await self._require_password(email, password)

    async def refresh(self, refresh_token: str, *, device: str | None = None) -> SignIn:
        """Trade a refresh token for new tokens; each one works once. Raises BadCredentials, Unavailable.

        A token that comes a second time has been stolen from one of its two senders: its whole family, back to the
        sign-in, dies. Within 5 s of its use the second sender is only refused, since two tabs of one browser refresh
        at the same moment, and the other tab shall stay signed in. No token is ever traded twice.
        """
        if not rules.is_token(refresh_token):
            raise rules.sign_in_again()
        digest, now = digest_of(refresh_token), self._now()
        async with _answering():
            return await self._tokens(
                await self._run(self._file_thread, lambda: self._file.rotate(digest, device, now))
            )

    async def verify(self, id_token: str, *, check_revoked: bool) -> Identity:
        """Raises Unauthenticated; Unavailable where the file cannot be read, which is never taken for a yes."""
        if not rules.is_token(id_token):
            raise rules.not_signed_in()
        async with _answering():
            kid, secret = await self._key()
            identity, generation = self._read(id_token, kid, secret)
            if generation != await self._standing(identity, fresh=check_revoked):
                raise rules.not_signed_in()
            return identity

    async def sign_ins(self, uid: str) -> tuple[DeviceSignIn, ...]:
        """Where the account is signed in, the last used first, at most 100. `used_at` is exact to an hour: it is the
        last refresh's."""
        now = self._now()
        async with _answering():
            found = await self._run(self._file_thread, lambda: self._file.families(uid, now))
        return tuple(DeviceSignIn(each.id, each.device, _at(each.created_at), _at(each.used_at)) for each in found)

    async def revoke_sign_in(self, uid: str, sign_in_id: str) -> bool:
        """End one sign-in: its refresh tokens now, its ID tokens as `revoke` says. False where there is none."""
        async with _answering():
            ended = await self._run(self._file_thread, lambda: self._file.end(uid, sign_in_id))
        self._known.pop((uid, sign_in_id), None)
        return ended

    async def revoke(self, uid: str) -> None:
        """End all sign-ins of the account at once; ID tokens that other processes know may live 30 s longer."""
        async with _answering():
            await self._run(self._file_thread, lambda: self._file.revoke(uid))
        self._forget(uid)

    async def delete(self, uid: str) -> None:
        """Remove the account for good. Deleting twice is fine."""
        async with _answering():
            await self._run(self._file_thread, lambda: self._file.delete(uid))
        self._forget(uid)

    async def close(self) -> None:
        """Let go of the file and the threads. Closing twice is fine; whatever is called afterwards is Unavailable."""
        try:
            await self._run(self._file_thread, self._file.close)
        except Unavailable:
            return  # closed before
        self._file_thread.shutdown(wait=False, cancel_futures=True)
        self._hash_threads.shutdown(wait=False, cancel_futures=True)

    def _now(self) -> float:
        return self._clock().timestamp()

    async def _run(self, threads: Executor, work: Callable[[], _Result]) -> _Result:
        try:
            waiting = asyncio.get_running_loop().run_in_executor(threads, work)
        except RuntimeError as closed:
            raise Unavailable("Sign-in is shutting down: try again in a moment.") from closed
        return await waiting

    async def _require_password(self, email: str, password: str) -> str:
        """The uid of who has this password."""
        address, typed = rules.normalised_email(email), rules.typed_password(password)
        self._failures.check(address, self._now())  # here too, so that a blocked guesser takes no place in the queue
        account = await self._run(self._file_thread, lambda: self._file.account(email=address))
        await self._run(self._hash_threads, lambda: self._check_password(address, account, typed))
        assert account is not None, "a password was right, so there is an account"
        return account.uid

    async def _issue(self, uid: str, device: str | None) -> SignIn:
        now = self._now()
        return await self._tokens(await self._run(self._file_thread, lambda: self._file.issue(uid, device, now)))

    async def _tokens(self, opened: Opened) -> SignIn:
        kid, secret = await self._key()
        account, issued_at = opened.account, int(self._now())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": account.uid,
            "email": account.email,
            "email_verified": self._trust_emails,
            "gen": account.generation,
            "sid": opened.family.id,
            "auth_time": int(opened.family.created_at),
            "iat": issued_at,
            "exp": issued_at + self._id_token_ttl_seconds,
        }
        id_token = jwt.encode(claims, secret, ALGORITHM, headers={"kid": kid})
        return SignIn(account.uid, account.email, id_token, opened.refresh_token, self._id_token_ttl_seconds)

    def _check_password(self, address: str, account: Account | None, typed: str) -> None:
        """Runs in a hashing thread: counting behind the queue stops a thousand guesses that were sent at once."""
        self._failures.check(address, self._now())
        # An unknown address costs the same hash as a wrong password, so time tells nothing.
        hashed = account.password_hash if account else _NOBODY
        try:
            self._hasher.verify(hashed, typed)
        except argon2.exceptions.VerificationError:
            self._failures.add(address, self._now())
            raise rules.wrong_credentials() from None
        self._failures.clear(address)

    async def _key(self) -> tuple[str, bytes]:
        known = self._file.key
        return await self._run(self._file_thread, self._file.open_key) if known is None else known

    def _read(self, id_token: str, kid: str, secret: bytes) -> tuple[Identity, int]:
        """What a token of ours says, and its generation. Raises Unauthenticated."""
        try:
            token = jwt.decode_complete(id_token, secret, [ALGORITHM], _CHECKS, audience=AUDIENCE, issuer=ISSUER)
            claims = token["payload"]
            issued_at, expires_at = int(claims["iat"]), int(claims["exp"])
            starts_at = max(issued_at, int(claims.get("nbf", issued_at)))
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise rules.not_signed_in() from None
        now = self._now()
        if token["header"].get("kid") != kid or now >= expires_at or starts_at > now + rules.CLOCK_SKEW_SECONDS:
            raise rules.not_signed_in()
        identity = Identity(
            uid=claims["sub"],
            email=claims["email"],
            email_verified=claims["email_verified"],
            issued_at=datetime.fromtimestamp(issued_at, UTC),
            expires_at=datetime.fromtimestamp(expires_at, UTC),
            sign_in_id=str(claims["sid"]),
            signed_in_at=_at(claims.get("auth_time", 0)),
        )
        return identity, claims["gen"]

    async def _standing(self, identity: Identity, *, fresh: bool) -> int | None:
        """The account's generation, None where it or this sign-in is gone: read now if `fresh`, else at most 30 s
        ago."""
        now, known = self._now(), (identity.uid, identity.sign_in_id or "")
        read_at, generation = self._known.get(known, (-1.0, 0))
        if not fresh and 0 <= now - read_at < KNOWN_SECONDS:
            return generation
        current = await self._run(self._file_thread, lambda: self._file.standing(*known))
        self._known.pop(known, None)
        if current is None:
            return None
        self._known[known] = (now, current)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return current

    def _forget(self, uid: str) -> None:
        for known in [known for known in self._known if known[0] == uid]:
            del self._known[known]


class _Failures:
    """Failed sign-ins by e-mail, in this process. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str, now: float) -> None:
        """Raises RateLimited when the last ten failures lie within 15 minutes."""
        with self._lock:
            times = self._times.get(address)
            left = times[0] + FAILURES_SECONDS - now if times and len(times) == FAILURES_MAX else 0
        if left > 0:
            message = f"Too many failed sign-ins with this e-mail: try again in {ceil(left / 60)} minutes."
            raise RateLimited(message, retry_after_seconds=ceil(left))

    def add(self, address: str, now: float) -> None:
        with self._lock:
            self._times.setdefault(address, deque(maxlen=FAILURES_MAX)).append(now)
            self._times.move_to_end(address)
            if len(self._times) > WATCHED_EMAILS_MAX:
                self._times.popitem(last=False)

    def clear(self, address: str) -> None:
        with self._lock:
            self._times.pop(address, None)


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """An answer within two seconds, or Unavailable."""
    try:
        async with asyncio.timeout(rules.DEADLINE_SECONDS):
            yield
    except TimeoutError as slow:
        raise Unavailable("Sign-in is too busy to answer: try again in a moment.") from slow
    except (sqlite3.Error, OSError) as broken:
        raise Unavailable("The file of accounts cannot be used: see that its disk has room, try again.") from broken


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
