"""Public ids: opaque, prefixed by kind, never sequential (contract.graphql, Conventions)."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum

from domain.errors import BadInput

KEY_CHARACTERS_MAX = 200  # several times a UUID
BODY_CHARACTERS = 26  # 26 characters of 5 bits hold 130 bits: no collision to expect before 10^19 ids
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]  # ten bits at a time: ids are made often
_SHIFTS = range(5 * BODY_CHARACTERS - 10, -1, -10)
_SHAPE = re.compile(rf"[a-z]{{3}}_[{_ALPHABET}]{{{BODY_CHARACTERS}}}")


class Kind(StrEnum):
    """The prefixes of the contract, and those of documents that only the store sees."""

    USER = "usr"
    AGENT = "agt"
    LISTING = "lst"
    SESSION = "ses"
    TRANSACTION = "txn"
    REVIEW = "rev"
    BADGE = "bdg"
    NOTIFICATION = "ntf"
    API_KEY = "key"
    PURCHASE = "pur"
    PAYOUT = "pay"
    ENTRY = "ent"
    ORDER = "ord"
    ACCRUAL = "acc"
    USAGE = "usg"
    ENDING = "fin"
    INBOX = "inb"
    OUTBOX = "out"
    DEVICE = "dev"
    ENDPOINT = "end"
    DELIVERY = "dlv"
    ACT = "act"
    ACCEPTANCE = "acp"
    VOTE = "vot"
    APPEAL = "apl"
    REPORT = "rpt"
    UPLOAD = "upl"
    MARK = "mrk"


def derived_id(kind: Kind, *fact: str | int) -> str:
    """The id of a fact: one fact has one id, for ever, which is what makes money idempotent (house rule 5).

    The parts are length-prefixed, so ("ab", "c") and ("a", "bc") differ, and hashed, so any text from outside is safe.
    """
    digest = hashlib.sha256()
    for part in (kind.value, *fact):
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return _render(kind, digest.digest())


def random_id(kind: Kind, entropy: bytes) -> str:
    """An id for a thing that no fact names; `entropy` is at least 17 random bytes."""
    assert len(entropy) >= 17, "an id needs 130 bits of entropy"
    return _render(kind, entropy)


def is_id(text: str, kind: Kind) -> bool:
    """Whether `text` has the shape of an id of this kind. Anything else is not looked up at all."""
    return text[:3] == kind.value and _SHAPE.fullmatch(text) is not None


def kind_of(text: str) -> Kind | None:
    """The kind that the prefix names, or None where `text` is no id."""
    if _SHAPE.fullmatch(text) is None or text[:3] not in {kind.value for kind in Kind}:
        return None
    return Kind(text[:3])


def fingerprint(*values: object) -> str:
    """A short hash of an operation's input: the same idempotency key with another fingerprint is refused."""
    return hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def require_key(key: str) -> None:
    """Check a client's idempotency key. Raises BadInput. It is hashed before it is kept, so any text will do."""
    if not 1 <= len(key) <= KEY_CHARACTERS_MAX:
        raise BadInput(
            f"An idempotencyKey has 1 to {KEY_CHARACTERS_MAX} characters: make a random one for each intention.",
            field="input.idempotencyKey",
        )


def _render(kind: Kind, data: bytes) -> str:
    number = int.from_bytes(data[:17], "big") >> 6
    body = "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])
    return f"{kind.value}_{body}"
