"""The file of a local store's accounts: who there is, where each is signed in, and the key that signs ID tokens."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from integrations import credentials as rules

LOCK_WAIT_SECONDS = 1.5  # another process holds the file for milliseconds; this leaves time to say UNAVAILABLE
REUSE_GRACE_SECONDS = 5  # see LocalIdentity.refresh
EXPIRED_ROWS_MAX = 100  # dead refresh tokens, and sign-ins, that one sign-in sweeps away: more than it adds
SIGN_INS_MAX = 100  # of one account that a list shows, those used last: nobody has more devices

_SCHEMA = """
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS keys (kid TEXT PRIMARY KEY, secret BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (
    uid TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    digest BLOB PRIMARY KEY, family TEXT NOT NULL, uid TEXT NOT NULL REFERENCES accounts(uid) ON DELETE CASCADE,
    expires_at REAL NOT NULL, used_at REAL);
CREATE TABLE IF NOT EXISTS families (
    family TEXT PRIMARY KEY, uid TEXT NOT NULL REFERENCES accounts(uid) ON DELETE CASCADE, device TEXT,
    created_at REAL NOT NULL, used_at REAL NOT NULL, expires_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS tokens_by_family ON tokens(family);
CREATE INDEX IF NOT EXISTS tokens_by_uid ON tokens(uid);
CREATE INDEX IF NOT EXISTS tokens_by_expiry ON tokens(expires_at);
CREATE INDEX IF NOT EXISTS families_by_uid ON families(uid);
CREATE INDEX IF NOT EXISTS families_by_expiry ON families(expires_at);
"""


class Account(NamedTuple):
    """A row. `generation` grows with each revocation of all sign-ins: an ID token of an older one is refused.

    A number, not a time: two things that happen within one second still have an order.
    """

    uid: str
    email: str
    password_hash: str
    generation: int


class Family(NamedTuple):
    """A sign-in: the refresh tokens that follow from one. Moments are seconds since 1970; `used_at` is the last
    refresh's."""

    id: str
    device: str | None
    created_at: float
    used_at: float


class Opened(NamedTuple):
    """What a sign-in or a refresh gives: the account, its sign-in, and the next refresh token."""

    account: Account
    family: Family
    refresh_token: str


class AccountsFile:
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

    def account(self, *, uid: str = "", email: str = "") -> Account | None:
        """The account of a uid or of a normalised e-mail."""
        row = self._open().execute("SELECT * FROM accounts WHERE uid = ? OR email = ?", (uid, email)).fetchone()
        return Account(*row) if row else None

    def standing(self, uid: str, family: str) -> int | None:
        """The account's generation while this sign-in of it lives, else None."""
        alive = "SELECT generation FROM accounts JOIN families USING (uid) WHERE uid = ? AND family = ?"
        row = self._open().execute(alive, (uid, family)).fetchone()
        return row[0] if row else None

    def add(self, account: Account) -> None:
        """Raises EmailTaken."""
        with self._writing() as database:
            added = database.execute("INSERT INTO accounts VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", account)
            if added.rowcount == 0:
                raise rules.email_taken()

    def issue(self, uid: str, device: str | None, now: float) -> Opened:
        """The account and the first refresh token of a new sign-in."""
        with self._writing() as database:
            for table in ("tokens", "families"):
                dead = f"SELECT rowid FROM {table} WHERE expires_at <= ? LIMIT ?"  # noqa: S608 - our own words
                database.execute(f"DELETE FROM {table} WHERE rowid IN ({dead})", (now, EXPIRED_ROWS_MAX))  # noqa: S608
            return self._token(database, uid, secrets.token_hex(8), device, now)

    def rotate(self, digest: bytes, device: str | None, now: float) -> Opened:
        """Use a refresh token up, and give its successor."""
        with self._writing() as database:
            alive = "SELECT family, uid, used_at FROM tokens WHERE digest = ? AND expires_at > ?"
            for family, uid, used_at in database.execute(alive, (digest, now)).fetchall():  # none, or one
                if used_at is None:
                    database.execute("UPDATE tokens SET used_at = ? WHERE digest = ?", (now, digest))
                    return self._token(database, uid, family, device, now)
                if now - used_at > REUSE_GRACE_SECONDS:
                    self._end(database, uid, family)
        raise rules.sign_in_again()  # after the commit: the refusal must not undo the sign-in's death

    def families(self, uid: str, now: float) -> list[Family]:
        """The account's sign-ins, those used last first."""
        alive = "SELECT family, device, created_at, used_at FROM families WHERE uid = ? AND expires_at > ?"
        rows = self._open().execute(f"{alive} ORDER BY used_at DESC, family LIMIT ?", (uid, now, SIGN_INS_MAX))
        return [Family(*row) for row in rows.fetchall()]

    def end(self, uid: str, family: str) -> bool:
        """End one sign-in of the account: whether there was one."""
        with self._writing() as database:
            return self._end(database, uid, family)

    def revoke(self, uid: str) -> None:
        with self._writing() as database:
            database.execute("DELETE FROM tokens WHERE uid = ?", (uid,))
            database.execute("DELETE FROM families WHERE uid = ?", (uid,))
            database.execute("UPDATE accounts SET generation = generation + 1 WHERE uid = ?", (uid,))

    def delete(self, uid: str) -> None:
        with self._writing() as database:
            database.execute("DELETE FROM accounts WHERE uid = ?", (uid,))  # its sign-ins go with it

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _token(self, database: sqlite3.Connection, uid: str, family: str, device: str | None, now: float) -> Opened:
        account = self.account(uid=uid)
        if account is None:  # deleted since the password was checked
            raise rules.sign_in_again()
        token = secrets.token_urlsafe(32)
        expires_at = now + self._refresh_token_ttl_seconds
        database.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, NULL)", (digest_of(token), family, uid, expires_at))
        kept = database.execute(
            "INSERT INTO families VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET used_at = excluded.used_at,"
            " expires_at = excluded.expires_at, device = coalesce(excluded.device, device)"
            " RETURNING family, device, created_at, used_at",
            (family, uid, device, now, now, expires_at),
        )
        return Opened(account, Family(*kept.fetchone()), token)

    def _end(self, database: sqlite3.Connection, uid: str, family: str) -> bool:
        database.execute("DELETE FROM tokens WHERE family = ? AND uid = ?", (family, uid))
        return database.execute("DELETE FROM families WHERE family = ? AND uid = ?", (family, uid)).rowcount > 0

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


def digest_of(refresh_token: str) -> bytes:
    """What the file keeps of a refresh token."""
    return hashlib.sha256(refresh_token.encode()).digest()
