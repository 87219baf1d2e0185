"""Receipts: proof that an entry stands in the journal, unchanged, without showing anybody else's money.

After a day (UTC) its entries become the leaves of a hash tree, whose root is published in the day's digest; each digest
names the one before it, so that the last one vouches for them all. Who kept an old digest finds every entry that was
changed, removed or inserted since.

What a leaf says, for ever; a change of it is another version byte:

    leaf         merkle.leaf(0x01 + [id, kind, at, [commitment of the book, commitment of each user by user id]])
    commitment   HMAC-SHA256(salt, part), in hex
    salt         HMAC-SHA256(the day's key, id + " " + "book" or the user's id)
    book         ["book", ref, actor, corrects or null, [[source, target, amount] of each posting, in order]]
    share        ["share", user id, [available, held, debt, earned as they changed],
                  [version, available, held, debt, payable after it] or null where it left the wallet alone]
    digest       SHA-256(0x02 0x01 + [day, count, late, root, previous digest, made_at])

Brackets are JSON arrays of whole numbers and texts, in UTF-8 and without spaces: the bytes of JavaScript's
JSON.stringify. Moments are 2026-03-01T12:00:00.000000Z. A user's receipt opens the user's own share by its salt; of the
other parts it shows the commitments alone, which without their salts cannot be guessed at.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from domain import ledger, merkle
from domain.ledger import Entry

KEY_BYTES = 32
GENESIS = "0" * 64
"""What the first digest names as the one before it."""

RUN_LEAVES = 2_048
"""Leaves in one document, a power of two: a place and a hash make 200 KB of a document's 1 MiB."""

RUNS_MAX = 10_000
"""Runs of one day, 20 million entries: the digest holds a hash and a place of each, and stays below 1 MiB."""

PATH_MAX = 25
"""Hashes from a leaf to the root: 11 within a run, 14 above so many runs."""

LATE_MAX = 1_000
"""Late entries in one digest; the next one takes the rest."""

MARGIN = timedelta(minutes=15)
"""From a day's end to its seal: operations commit 2 s after their moment, and processes' clocks differ by less."""

_VERSION = b"\x01"
_DIGEST = b"\x02"

Json = str | int | None | Sequence["Json"]


class Tampered(Exception):
    """The journal and its digests do not agree: somebody changed a stored document by other means than the store's."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The seal of one day; `id` is the day, `count` its leaves with the late ones. Hashes are in hex.

    `late` are entries of days that were sealed before they appeared, with their own day. `key` makes the salts: it and
    what follows it never leave the store. `starts` and `roots` (32 bytes each) belong to the runs of leaves.
    """

    id: str
    count: int
    root: str
    previous: str
    made_at: datetime
    key: bytes
    late: Mapping[str, str] = field(default_factory=dict)
    starts: tuple[str, ...] = ()
    roots: bytes = b""

    @property
    def digest(self) -> str:
        """The hash of what is published, in hex."""
        return digest_hash(self.id, self.count, len(self.late), self.root, self.previous, moment(self.made_at))

    @property
    def run_roots(self) -> list[bytes]:
        return hashes_of(self.roots)

    def run_id(self, number: int) -> str:
        return run_id(self.id, self.key, number)


@dataclass(frozen=True, slots=True)
class Run:
    """Up to 2,048 leaves of a day in order: their places as text, and their hashes, 32 bytes each."""

    id: str
    day: str
    places: tuple[str, ...]
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """One user's proof of one entry. `entry` and `share` are the arrays of a leaf; `day` is that of the digest."""

    entry: tuple[str, str, str]
    share: Sequence[Json]
    salt: bytes
    commitments: tuple[str, ...]
    day: str
    index: int
    count: int
    path: tuple[bytes, ...]
    root: str
    digest: str

    @property
    def leaf(self) -> bytes:
        return leaf_hash(self.entry, self.commitments)

    @property
    def is_late(self) -> bool:
        """Whether the entry appeared after its own day was sealed."""
        return self.entry[2][:10] != self.day

    @property
    def holds(self) -> bool:
        """Whether the share is the leaf's, and the leaf the root's."""
        opened = commitment(self.salt, self.share) in self.commitments[1:]
        climbed = merkle.climb(self.leaf, self.index, self.count, self.path)
        return opened and climbed is not None and climbed.hex() == self.root


def canonical(value: Json) -> bytes:
    """The one form in bytes of texts and whole numbers. Raises ValueError for what has none."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def day_of(at: datetime) -> date:
    """The day of a moment, in UTC."""
    return at.astimezone(UTC).date()


def bounds(day: date) -> tuple[datetime, datetime]:
    """The day's first moment, and the next day's."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1)


def is_over(day: date, now: datetime) -> bool:
    """Whether no entry of the day is still under way."""
    return now >= bounds(day)[1] + MARGIN


# ---- leaves


def leaf_of(entry: Entry, key: bytes) -> bytes:
    """The hash of an entry's leaf under its day's key."""
    return leaf_hash(head(entry), commitments(entry, key))


def leaf_hash(head: Sequence[str], commitments: Sequence[str]) -> bytes:
    return merkle.leaf(_VERSION + canonical([*head, list(commitments)]))


def head(entry: Entry) -> tuple[str, str, str]:
    """What every party sees of an entry."""
    return entry.id, entry.kind.value, moment(entry.at)


def commitments(entry: Entry, key: bytes) -> tuple[str, ...]:
    """The book's, then each user's by user id."""
    shares = [commitment(salt(entry.id, user_id, key), share(entry, user_id)) for user_id in parties(entry)]
    return (commitment(salt(entry.id, "book", key), book(entry)), *shares)


def parties(entry: Entry) -> list[str]:
    """The users whose money an entry tells of, sorted."""
    return sorted({*ledger.user_ids(entry.postings), *entry.after})


def book(entry: Entry) -> Json:
    """What the journal knows of an entry, and no user sees as a whole."""
    postings: list[Json] = [[each.source, each.target, each.amount.units] for each in entry.postings]
    return ["book", entry.ref, entry.actor, entry.corrects, postings]


def share(entry: Entry, user_id: str) -> Sequence[Json]:
    """An entry as one user sees it: how it moved the user's four balances, and the wallet after it."""
    addresses = (ledger.available, ledger.held, ledger.debt, ledger.earned)
    available, held, debt, earned = (ledger.balance(entry.postings, address(user_id)) for address in addresses)
    after = entry.after.get(user_id)
    left = None
    if after is not None:
        parts = (after.available, after.held, after.debt, after.payable)
        left = [after.version, *(part.units for part in parts)]
    return ["share", user_id, [available, held, -debt, earned], left]


def salt(entry_id: str, part: str, key: bytes) -> bytes:
    """Makes a part's commitment unlike any other: balances are few enough to be tried one by one."""
    return hmac.digest(key, f"{entry_id} {part}".encode(), "sha256")


def commitment(salt: bytes, part: Json) -> str:
    return hmac.digest(salt, canonical(part), "sha256").hex()


# ---- places


def place(entry: Entry) -> str:
    """Where an entry's leaf stands in its day: in the order in which a day is read. Texts sort like places."""
    return f"{entry.bucket:02d} {moment(entry.at)} {entry.id}"


def late_place(entry_id: str) -> str:
    """Where a late entry's leaf stands: behind those of the day, by id."""
    return f"late {entry_id}"


def id_at(place: str) -> str:
    return place.rpartition(" ")[2]


def run_id(day: str, key: bytes, number: int) -> str:
    """The key is part of it, so that two who seal one day at once do not write the same documents."""
    return f"{day}.{hashlib.sha256(b'run' + key).hexdigest()[:12]}.{number}"


def hashes_of(joined: bytes) -> list[bytes]:
    """Hashes that were kept as one text of bytes."""
    return [joined[start : start + merkle.HASH_BYTES] for start in range(0, len(joined), merkle.HASH_BYTES)]


# ---- digests


def digest_hash(day: str, count: int, late: int, root: str, previous: str, made_at: str) -> str:
    """The hash of a published digest, in hex."""
    published = canonical([day, count, late, root, previous, made_at])
    return hashlib.sha256(_DIGEST + _VERSION + published).hexdigest()


def prove(entry: Entry, user_id: str, digest: Digest, run_number: int, run: Run, wanted: str) -> Receipt:
    """The receipt of an entry whose leaf stands at the place `wanted` of this run. Raises Tampered when what is stored
    is no longer what was sealed."""
    inside = run.places.index(wanted)
    hashes, roots = hashes_of(run.hashes), digest.run_roots
    receipt = Receipt(
        entry=head(entry),
        share=share(entry, user_id),
        salt=salt(entry.id, user_id, digest.key),
        commitments=commitments(entry, digest.key),
        day=digest.id,
        index=run_number * RUN_LEAVES + inside,
        count=digest.count,
        path=(*merkle.path(hashes, inside), *merkle.path(roots, run_number)),
        root=digest.root,
        digest=digest.digest,
    )
    if not receipt.holds:
        raise Tampered(f"{entry.id} is not as it was sealed in the digest of {digest.id}: verify that day")
    return receipt
