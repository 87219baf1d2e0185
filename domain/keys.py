"""API keys: what a program may do in its owner's name, for how long, and for how much DOF.

A key reads `jiga_<environment>_<id>_<secret>`, and the store keeps only the hash of the secret. A plain SHA-256 is
right here, where a password would need more: nobody guesses 256 random bits.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain import texts
from domain.errors import BadInput, Conflict, SpendCapReached, Unauthenticated
from domain.ids import BODY_CHARACTERS, Kind
from domain.money import DOF_MAX, ZERO, Dof

NAME_CHARACTERS_MAX = 60
KEYS_MAX = 20  # of one user: one for each program and machine of a studio, and few enough to look through for a leak
RATE_PER_MINUTE_MAX = 6_000  # a hundred a second: more than one program sends on purpose
SECRET_BYTES = 32  # RFC 6750 leaves it open; 256 bits cannot be guessed
PREFIX = "jiga_"
LIVE, TEST = "live", "test"
_SHAPE = re.compile(rf"{PREFIX}({LIVE}|{TEST})_([0-9a-z]{{{BODY_CHARACTERS}}})_([A-Za-z0-9_-]{{43}})")


class KeyScope(StrEnum):
    """What a key may do. A scope holds no other."""

    READ = "READ"
    AGENTS = "AGENTS"
    LISTINGS = "LISTINGS"
    SESSIONS = "SESSIONS"
    USAGE = "USAGE"
    WALLET_READ = "WALLET_READ"
    SPEND = "SPEND"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key. `digest` is the secret's hash, `spent` what its hires and transfers took so far, whatever came back."""

    id: str
    user_id: str
    name: str
    environment: str
    digest: bytes
    scopes: tuple[KeyScope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    rate_limit_per_minute: int | None = None
    dof_spend_cap: Dof | None = None
    spent: Dof = ZERO
    revoked_at: datetime | None = None

    @property
    def prefix(self) -> str:
        """What a key begins with, by which its owner knows it again; it is no secret."""
        return f"{PREFIX}{self.environment}_{self.id.partition('_')[2]}"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """A user's keys that are not revoked, by which their number is bounded; `id` is the user's."""

    id: str
    key_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What a new key shall be. None is no expiry, no limit of its own, no cap."""

    name: str
    scopes: tuple[KeyScope, ...]
    expires_at: datetime | None = None
    rate_limit_per_minute: int | None = None
    dof_spend_cap: Dof | None = None


@dataclass(frozen=True, slots=True)
class Presented:
    """A key as a caller sends it. `key_id` is read from it, and proves nothing."""

    environment: str
    key_id: str
    secret: str


def new_key(
    key_id: str, user_id: str, environment: str, secret_bytes: bytes, wish: KeyWish, now: datetime
) -> tuple[ApiKey, str]:
    """A key and its full text, which is shown once and kept nowhere. Raises BadInput."""
    assert len(secret_bytes) >= SECRET_BYTES, "a secret has 256 bits"
    secret = base64.urlsafe_b64encode(secret_bytes[:SECRET_BYTES]).decode().rstrip("=")
    key = ApiKey(
        id=key_id,
        user_id=user_id,
        name=texts.line(wish.name, "input.name", NAME_CHARACTERS_MAX),
        environment=environment,
        digest=digest_of(secret),
        scopes=_scopes(wish.scopes),
        created_at=now,
        expires_at=wish.expires_at,
        rate_limit_per_minute=wish.rate_limit_per_minute,
        dof_spend_cap=wish.dof_spend_cap,
    )
    if key.expires_at is not None and key.expires_at <= now:
        raise BadInput("A key expires in the future: send a later moment, or none.", field="input.expiresAt")
    if key.rate_limit_per_minute is not None and not 1 <= key.rate_limit_per_minute <= RATE_PER_MINUTE_MAX:
        message = f"A key's rate limit is 1 to {RATE_PER_MINUTE_MAX} requests per minute."
        raise BadInput(message, field="input.rateLimitPerMinute")
    if key.dof_spend_cap is not None and not 1 <= key.dof_spend_cap.units <= DOF_MAX:
        message = f"A spend cap is 1 to {DOF_MAX} DOF: a key that shall spend nothing goes without the scope SPEND."
        raise BadInput(message, field="input.dofSpendCap")
    return key, f"{key.prefix}_{secret}"


def digest_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def read(text: str) -> Presented | None:
    """The parts of a key's text, or None for what cannot be one: nothing else is looked up."""
    shape = _SHAPE.fullmatch(text)
    return None if shape is None else Presented(shape[1], f"{Kind.API_KEY.value}_{shape[2]}", shape[3])


def require_genuine(key: ApiKey | None, presented: Presented, now: datetime) -> ApiKey:
    """The key, if the secret is its own and it may still be used. One answer for all that is wrong (T-A07).

    Raises Unauthenticated.
    """
    expected = key.digest if key is not None else bytes(32)
    if not hmac.compare_digest(expected, digest_of(presented.secret)):
        raise refused()
    return require_usable(key, now)


def require_usable(key: ApiKey | None, now: datetime) -> ApiKey:
    """The key, unless it is gone, revoked or expired. Raises Unauthenticated."""
    if key is None or key.revoked_at is not None or (key.expires_at is not None and now >= key.expires_at):
        raise refused()
    return key


def refused() -> Unauthenticated:
    """Says nothing of the key that was sent, nor which of its parts is wrong (T-A08)."""
    return Unauthenticated("The API key is not valid here, or no longer: make one with createApiKey.")


def add(ring: KeyRing, key: ApiKey) -> KeyRing:
    """The ring with one key more. Raises Conflict where it is full."""
    if key.id in ring.key_ids:
        return ring
    if len(ring.key_ids) >= KEYS_MAX:
        raise Conflict(f"You have {KEYS_MAX} API keys, which is the most: revoke one that is not used any more.")
    return replace(ring, key_ids=(*ring.key_ids, key.id))


def remove(ring: KeyRing, key_id: str) -> KeyRing:
    return replace(ring, key_ids=tuple(each for each in ring.key_ids if each != key_id))


def spend(key: ApiKey, amount: Dof) -> ApiKey:
    """The key after it has held or given `amount`. Raises SpendCapReached, which changes nothing.

    What comes back of a hold is not spent anew: a cap bounds the harm of a leaked key, and must not grow by itself.
    """
    after = key.spent.units + amount.units
    limit = DOF_MAX if key.dof_spend_cap is None else key.dof_spend_cap.units
    if after > limit:
        raise SpendCapReached(needed=amount.units, left=limit - key.spent.units)
    return replace(key, spent=Dof(after))


def _scopes(wanted: Sequence[KeyScope]) -> tuple[KeyScope, ...]:
    if not wanted:
        raise BadInput("A key has at least one scope: READ is the smallest.", field="input.scopes")
    return tuple(scope for scope in KeyScope if scope in wanted)
