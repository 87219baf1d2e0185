"""Accounts, passwords and tokens on one machine: an SQLite file instead of Firebase Authentication.

The file holds the accounts (Argon2id), the refresh tokens (SHA-256 of 256 random bits) and the key that signs
ID tokens, so several processes may share it. It is for development: no mail is sent, so addresses are taken on trust.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import NamedTuple, TypeVar

import argon2
import jwt
from jwt.types import Options

from domain.errors import RateLimited, Unavailable
from integrations import identity as rules
from integrations.services import Identity, SignIn

ISSUER = "https://identity.jiga.local"
AUDIENCE = "jiga-store"
ALGORITHM = "HS256"  # whoever verifies also issues, so one secret is enough

LOCK_WAIT_SECONDS = 1.5  # another process holds the file for milliseconds; this leaves time to say UNAVAILABLE
HASHES_AT_ONCE = 2  # 2 x 19 MiB and two cores: a storm of sign-ins waits, and the machine stays usable
REUSE_GRACE_SECONDS = 5  # see LocalIdentity.refresh
KNOWN_SECONDS, KNOWN_MAX = 30, 10_000  # half of the 60 s that a revocation may take; about 2 MB
FAILURES_MAX, FAILURES_SECONDS = 10, 15 * 60  # OWASP: slow guessing down, and let the owner back in the same hour
WATCHED_EMAILS_MAX = 10_000  # about 5 MB; the e-mail that failed longest ago is forgotten first
EXPIRED_ROWS_MAX = 100  # dead refresh tokens that one sign-in sweeps away: more than it adds

_SCHEMA = """
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS keys (kid TEXT PRIMARY KEY, secret BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (
    uid TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    digest BLOB PRIMARY KEY, family TEXT NOT NULL, uid TEXT NOT NULL REFERENCES accounts(uid) ON DELETE CASCADE,
    expires_at REAL NOT NULL, used_at REAL);
CREATE INDEX IF NOT EXISTS tokens_by_family ON tokens(family);
CREATE INDEX IF NOT EXISTS tokens_by_uid ON tokens(uid);
CREATE INDEX IF NOT EXISTS tokens_by_expiry ON tokens(expires_at);
"""

# The hash of a password that nobody knows, made with the parameters of every other.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$hfXEYqhDi1rAPXiK++LCtQ$ote8c4NuukSe5+U10i5szTr01RtDJAAevUsib3nwVjs"

# PyJWT would ask its own clock for the times, so they are judged here; everything else is PyJWT's.
_CHECKS: Options = {
    "require": ["sub", "email", "email_verified", "gen", "iat", "exp"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}

_Result = TypeVar("_Result")


class _Account(NamedTuple):
    """A row. `generation` grows with each revocation: an ID token of an older generation is refused.

    A number, not a time: two things that happen within one second still have an order.
    """

    uid: str
    email: str
    password_hash: str
    generation: int


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
        self._file = _File(path, refresh_token_ttl_days * 86_400)
        # One thread owns the file: SQLite writes one at a time anyway. The deadline bounds what waits for a thread,
        # because a call that gives up leaves the queue.
        self._file_thread = ThreadPoolExecutor(1, "identity-file")
        self._hash_threads = ThreadPoolExecutor(HASHES_AT_ONCE, "identity-hash")
        # OWASP Password Storage: Argon2id with m=19 MiB, t=2, p=1.
        self._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._failures = _Failures()
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def sign_up(self, email: str, password: str) -> SignIn:
        """Make an account. Raises EmailTaken, WeakPassword, BadInput, Unavailable."""
        address = rules.normalised_email(email)
        chosen = rules.new_password(password, address)
        async with _answering():
            hashed = await self._run(self._hash_threads, lambda: self._hasher.hash(chosen))
            account = _Account(secrets.token_hex(14), address, hashed, 0)
            await self._run(self._file_thread, lambda: self._file.add(account))
            return await self._issue(account.uid)

    async def sign_in(self, email: str, password: str) -> SignIn:
        """Raises BadCredentials, RateLimited after ten failures in 15 minutes, BadInput, Unavailable."""
        address, typed = rules.normalised_email(email), rules.typed_password(password)
        self._failures.check(address, self._now())  # here too, so that a blocked guesser takes no place in the queue
        async with _answering():
            account = await self._run(self._file_thread, lambda: self._file.account(email=address))
            await self._run(self._hash_threads, lambda: self._check_password(address, account, typed))
            assert account is not None, "a password was right, so there is an account"
            return await self._issue(account.uid)

    async def refresh(self, refresh_token: str) -> SignIn:
        """Trade a refresh token for new tokens; each one works once. Raises BadCredentials, Unavailable.

        A token that comes a second time has been stolen from one of its two senders: its whole family, back to the
        sign-in, dies. Within 5 s of its use the second sender is only refused, since two tabs of one browser refresh
        at the same moment, and the other tab shall stay signed in. No token is ever traded twice.
        """
        if not rules.is_token(refresh_token):
            raise rules.sign_in_again()
        digest, now = _digest(refresh_token), self._now()
        async with _answering():
            return await self._tokens(*await self._run(self._file_thread, lambda: self._file.rotate(digest, now)))

    async def verify(self, id_token: str, *, check_revoked: bool) -> Identity:
        """Raises Unauthenticated; Unavailable where the file cannot be read, which is never taken for a yes."""
        if not rules.is_token(id_token):
            raise rules.not_signed_in()
        async with _answering():
            kid, secret = await self._key()
            identity, generation = self._read(id_token, kid, secret)
            if generation != await self._generation(identity.uid, fresh=check_revoked):
                raise rules.not_signed_in()
            return identity

    async def revoke(self, uid: str) -> None:
        """End all sign-ins of the account at once; ID tokens that other processes know may live 30 s longer."""
        async with _answering():
            await self._run(self._file_thread, lambda: self._file.revoke(uid))
        self._known.pop(uid, None)

    async def delete(self, uid: str) -> None:
        """Remove the account for good. Deleting twice is fine."""
        async with _answering():
            await self._run(self._file_thread, lambda: self._file.delete(uid))
        self._known.pop(uid, None)

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

    async def _issue(self, uid: str) -> SignIn:
        now = self._now()
        return await self._tokens(*await self._run(self._file_thread, lambda: self._file.issue(uid, now)))

    async def _tokens(self, account: _Account, refresh_token: str) -> SignIn:
        kid, secret = await self._key()
        issued_at = int(self._now())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": account.uid,
            "email": account.email,
            "email_verified": self._trust_emails,
            "gen": account.generation,
            "iat": issued_at,
            "exp": issued_at + self._id_token_ttl_seconds,
        }
        id_token = jwt.encode(claims, secret, ALGORITHM, headers={"kid": kid})
        return SignIn(account.uid, account.email, id_token, refresh_token, self._id_token_ttl_seconds)

    def _check_password(self, address: str, account: _Account | None, typed: str) -> None:
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
        )
        return identity, claims["gen"]

    async def _generation(self, uid: str, *, fresh: bool) -> int | None:
        """The account's generation, None where it is gone: read now if `fresh`, else at most 30 s ago."""
        now = self._now()
        read_at, generation = self._known.get(uid, (-1.0, 0))
        if not fresh and 0 <= now - read_at < KNOWN_SECONDS:
            return generation
        account = await self._run(self._file_thread, lambda: self._file.account(uid=uid))
        self._known.pop(uid, None)
        if account is None:
            return None
        self._known[uid] = (now, account.generation)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return account.generation


class _File:
    """The SQLite file. Used by one thread, and opened by the first call, so that building an adapter blocks nobody."""

    def __init__(self, path: Path, refresh_token_ttl_seconds: int) -> None:
        self._path = path
        self._refresh_token_ttl_seconds = refresh_token_ttl_seconds
        self._connection: sqlite3.Connection | None = None
        self.key: tuple[str, bytes] | None = None

    def open_key(self) -> tuple[str, bytes]:
        """The key that signs ID tokens: `(kid, secret)`. The first process to come makes it."""
        if self.key is None:
            with self._writing() as database:
                database.execute(
                    "INSERT INTO keys SELECT ?, ? WHERE NOT EXISTS (SELECT * FROM keys)",
                    (secrets.token_hex(8), secrets.token_bytes(32)),
                )
                kid, secret = database.execute("SELECT kid, secret FROM keys").fetchone()
                self.key = (kid, secret)
        return self.key

    def account(self, *, uid: str = "", email: str = "") -> _Account | None:
        """The account of a uid or of a normalised e-mail."""
        row = self._open().execute("SELECT * FROM accounts WHERE uid = ? OR email = ?", (uid, email)).fetchone()
        return _Account(*row) if row else None

    def add(self, account: _Account) -> None:
        """Raises EmailTaken."""
        with self._writing() as database:
            added = database.execute("INSERT INTO accounts VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", account)
            if added.rowcount == 0:
                raise rules.email_taken()

    def issue(self, uid: str, now: float) -> tuple[_Account, str]:
        """The account and the first refresh token of a new family."""
        with self._writing() as database:
            dead = "DELETE FROM tokens WHERE rowid IN (SELECT rowid FROM tokens WHERE expires_at <= ? LIMIT ?)"
            database.execute(dead, (now, EXPIRED_ROWS_MAX))
            return self._token(database, uid, secrets.token_hex(8), now)

    def rotate(self, digest: bytes, now: float) -> tuple[_Account, str]:
        """Use a refresh token up, and give its successor."""
        with self._writing() as database:
            alive = "SELECT family, uid, used_at FROM tokens WHERE digest = ? AND expires_at > ?"
            for family, uid, used_at in database.execute(alive, (digest, now)).fetchall():  # none, or one
                if used_at is None:
                    database.execute("UPDATE tokens SET used_at = ? WHERE digest = ?", (now, digest))
                    return self._token(database, uid, family, now)
                if now - used_at > REUSE_GRACE_SECONDS:
                    database.execute("DELETE FROM tokens WHERE family = ?", (family,))
        raise rules.sign_in_again()  # after the commit: the refusal must not undo the family's death

    def revoke(self, uid: str) -> None:
        with self._writing() as database:
            database.execute("DELETE FROM tokens WHERE uid = ?", (uid,))
            database.execute("UPDATE accounts SET generation = generation + 1 WHERE uid = ?", (uid,))

    def delete(self, uid: str) -> None:
        with self._writing() as database:
            database.execute("DELETE FROM accounts WHERE uid = ?", (uid,))  # its refresh tokens go with it

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _token(self, database: sqlite3.Connection, uid: str, family: str, now: float) -> tuple[_Account, str]:
        account = self.account(uid=uid)
        if account is None:  # deleted since the password was checked
            raise rules.sign_in_again()
        token = secrets.token_urlsafe(32)
        expires_at = now + self._refresh_token_ttl_seconds
        database.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, NULL)", (_digest(token), family, uid, expires_at))
        return account, token

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One atomic change. The lock is taken first, so what is read within is still true when it is written."""
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        finally:
            if database.in_transaction:  # the work or the commit failed, and SQLite did not undo it by itself
                database.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Whoever can read this can sign tokens. SQLite gives its journal the mode of the main file.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._path.chmod(0o600)
            connection = sqlite3.connect(self._path, timeout=LOCK_WAIT_SECONDS, isolation_level=None)
            connection.executescript(_SCHEMA)
            self._connection = connection
        return self._connection


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


def _digest(refresh_token: str) -> bytes:
    return hashlib.sha256(refresh_token.encode()).digest()
