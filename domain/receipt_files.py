"""A user's export of receipts, as plain JSON, and its check without the store: by nothing but the file itself.

    {"format": "jiga.receipts.1", "user_id", "complete": whether it begins with the wallet's first entry,
     "digests": [{day, count, late, root, previous, made_at, digest}], one for each day from the first receipt's on,
     "receipts": [{entry, share, salt, commitments, day, index, path}],
     "open": [{entry, share}], what is not sealed yet}

Who kept a digest of an earlier day, or reads one that the store publishes, holds the file against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from domain import merkle
from domain.ledger import Entry
from domain.receipts import Digest, Receipt, canonical, commitment, digest_hash, head, leaf_hash, moment, share

FORMAT = "jiga.receipts.1"
AFTER = ("version", "available", "held", "debt", "payable")  # a wallet after an entry, as a share tells it
PROBLEMS_SHOWN_MAX = 50  # a file that is wrong altogether need not be told of line by line


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file proves: `sealed` entries by receipts, up to the digest of `last_day`. `open` ones are told, not
    proven."""

    user_id: str
    sealed: int
    late: int
    open: int
    last_day: str
    last_digest: str
    problems: tuple[str, ...]


def to_file(
    user_id: str,
    complete: bool,
    digests: Sequence[Digest],
    receipts: Sequence[Receipt],
    open_entries: Sequence[Entry],
) -> dict[str, Any]:
    """The export as JSON values."""
    return {
        "format": FORMAT,
        "user_id": user_id,
        "complete": complete,
        "digests": [_digest_row(each) for each in digests],
        "receipts": [_receipt_row(each) for each in receipts],
        "open": [{"entry": list(head(each)), "share": share(each, user_id)} for each in open_entries],
    }


def check_file(data: object, known: Sequence[str] = ()) -> Verdict:
    """Hold a file against itself, and against digests that the reader knows from elsewhere, in hex. Never raises: what
    cannot be read is a problem."""
    rows = data if isinstance(data, Mapping) else {}
    problems: list[str] = []
    if rows.get("format") != FORMAT:
        problems.append(f"The file is no export of receipts: its format is not {FORMAT}.")
    user_id = str(rows.get("user_id"))
    receipts, open_rows, told = (_list(rows.get(name)) for name in ("receipts", "open", "digests"))
    digests = _each("digest", told, _read_digest, problems)
    _check_chain(digests, problems)
    by_day = {each.day: each for each in digests}
    sealed = _each("receipt", receipts, lambda row: _read_receipt(row, by_day), problems)
    unsealed = _each("open entry", open_rows, _read_line, problems)
    _check_wallet(user_id, [*sealed, *unsealed], bool(rows.get("complete")), problems)
    listed = {each.digest for each in digests}
    problems += [f"The digest {each} that you know is not in the file." for each in known if each not in listed]
    if sealed and not digests:
        problems.append("The file has no digests.")
    return Verdict(
        user_id=user_id,
        sealed=len(sealed),
        late=sum(line.late for line in sealed),
        open=len(unsealed),
        last_day=digests[-1].day if digests else "",
        last_digest=digests[-1].digest if digests else "",
        problems=tuple(problems[:PROBLEMS_SHOWN_MAX]),
    )


@dataclass(frozen=True, slots=True)
class _Published:
    day: str
    count: int
    root: str
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class _Line:
    """One entry as the file shows it: how it moved the wallet, and the wallet after it."""

    entry_id: str
    user_id: str
    moved: tuple[int, int, int]
    after: tuple[int, ...] | None
    late: bool = False


def _digest_row(digest: Digest) -> dict[str, Any]:
    return {
        "day": digest.id,
        "count": digest.count,
        "late": len(digest.late),
        "root": digest.root,
        "previous": digest.previous,
        "made_at": moment(digest.made_at),
        "digest": digest.digest,
    }


def _receipt_row(receipt: Receipt) -> dict[str, Any]:
    return {
        "entry": list(receipt.entry),
        "share": receipt.share,
        "salt": receipt.salt.hex(),
        "commitments": list(receipt.commitments),
        "day": receipt.day,
        "index": receipt.index,
        "path": [step.hex() for step in receipt.path],
    }


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _each(what: str, rows: Sequence[Any], read: Callable[[Any], Any], problems: list[str]) -> list[Any]:
    """The rows that can be read; the others are problems."""
    found = []
    for number, row in enumerate(rows, 1):
        try:
            found.append(read(row))
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as problem:
            problems.append(f"The {what} {number} does not hold: {problem}.")
    return found


def _read_digest(row: Any) -> _Published:
    published = (row["day"], row["count"], row["late"], row["root"], row["previous"], row["made_at"])
    date.fromisoformat(row["day"])
    if digest_hash(*published) != row["digest"]:
        raise ValueError(f"the digest of {row['day']} is not the hash of what it says")
    return _Published(row["day"], row["count"], row["root"], row["previous"], row["digest"])


def _check_chain(digests: Sequence[_Published], problems: list[str]) -> None:
    for before, after in pairwise(digests):
        if date.fromisoformat(after.day) - date.fromisoformat(before.day) != timedelta(days=1):
            problems.append(f"No digest lies between {before.day} and {after.day}, and each day has one.")
        if after.previous != before.digest:
            problems.append(f"The digest of {after.day} does not name that of {before.day}.")


def _read_receipt(row: Any, digests: Mapping[str, _Published]) -> _Line:
    """A receipt that holds. Raises ValueError with what does not."""
    line = _read_line(row)
    digest = digests.get(row["day"])
    if digest is None:
        raise ValueError(f"{line.entry_id} is sealed in {row['day']}, whose digest is not in the file")
    commitments = row["commitments"]
    if commitment(bytes.fromhex(row["salt"]), row["share"]) not in commitments[1:]:
        raise ValueError(f"the share of {line.entry_id} is not what was sealed")
    steps = [bytes.fromhex(step) for step in row["path"]]
    root = merkle.climb(leaf_hash(row["entry"], commitments), row["index"], digest.count, steps)
    if root is None or root.hex() != digest.root:
        raise ValueError(f"{line.entry_id} does not lead to the root of {digest.day}")
    own_day = row["entry"][2][:10]
    if own_day > digest.day:
        raise ValueError(f"{line.entry_id} is of {own_day}, after the day that sealed it")
    return _Line(line.entry_id, line.user_id, line.moved, line.after, late=own_day < digest.day)


def _read_line(row: Any) -> _Line:
    entry_id, kind, at = row["entry"]
    if not all(isinstance(text, str) for text in (entry_id, kind, at)):
        raise ValueError("its entry is not three texts")
    word, user_id, changes, after = row["share"]
    available, held, debt, earned = changes
    numbers = (available, held, debt, earned, *(after or ()))
    if word != "share" or any(type(number) is not int for number in numbers) or len(after or AFTER) != len(AFTER):
        raise ValueError(f"the share of {entry_id} is {canonical(row['share']).decode()[:200]}")
    if after is None and (available or held or debt):
        raise ValueError(f"{entry_id} moves the wallet and does not say how it left it")
    return _Line(entry_id, user_id, (available, held, debt), None if after is None else tuple(after))


def _check_wallet(user_id: str, lines: Sequence[_Line], complete: bool, problems: list[str]) -> None:
    """The user's entries lead from balance to balance, version by version: none is missing, none is there twice."""
    problems += [f"{line.entry_id} is the share of {line.user_id}." for line in lines if line.user_id != user_id]
    twice = len(lines) - len({line.entry_id for line in lines})
    if twice:
        problems.append(f"{twice} entries are there more than once.")
    touching = [(line.after, line) for line in lines if line.after is not None]
    touching.sort(key=lambda pair: pair[0])  # the version is its first number
    version, balances = (0, [0, 0, 0]) if complete or not touching else _before(touching[0][1])
    for after, line in touching:
        version += 1
        balances = [value + change for value, change in zip(balances, line.moved, strict=True)]
        if after[0] != version:
            problems.append(f"{line.entry_id} made the wallet's version {after[0]}, and {version} is missing.")
        elif list(after[1:4]) != balances:
            problems.append(f"{line.entry_id} left {list(after[1:4])}, by the entries before it {balances}.")
        version, balances = after[0], list(after[1:4])


def _before(line: _Line) -> tuple[int, list[int]]:
    assert line.after is not None, "it touches the wallet"
    return line.after[0] - 1, [value - change for value, change in zip(line.after[1:4], line.moved, strict=True)]
