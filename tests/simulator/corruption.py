"""Random single corruptions of a ledger document: one is removed, copied under another id, or changed in one field."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.audit import check
from domain.ids import BODY_CHARACTERS
from firestore.audit import books_of
from tests.simulator.history import run
from tests.simulator.second_checker import broken
from tests.simulator.second_names import LEDGER, LETTERS

Dump = dict[str, dict[str, Any]]
Way = tuple[str | int, ...]
"""Where a value is inside a document."""

WORDS = {
    "kind": ("PURCHASE", "RECLAIM", "HOLD", "EXTEND", "SETTLE", "TRANSFER", "ADJUST", "PAID", "REFUND", "CANCEL"),
    "type": ("HIRED", "OWNED", "TRIAL", "PURCHASE", "HIRE", "EARNING", "REFUND", "TRANSFER", "ADJUSTMENT"),
    "status": ("PENDING", "COMPLETED", "FAILED", "REFUNDED"),
    "state": ("MATURING", "MATURED", "REQUESTED", "SENT", "PAID", "FAILED"),
    "reason": ("COMPLETED", "EXHAUSTED", "ENDED_BY_HIRER", "ENDED_BY_OWNER", "MODERATED"),
    "rail": ("SHOPIFY", "STRIPE"),
    "payment_method": ("SHOPIFY", "STRIPE", "WALLET"),
    "currency": ("USD", "EUR", "JPY"),
}
MOMENTS = ("at", "created_at", "completed_at", "changed_at", "usage_at", "matures_at", "concluded_at", "ended_at")
AMOUNTS = ("available_after", "latency_ms")


@dataclass(frozen=True, slots=True)
class Corruption:
    """What was done, to which document, in which field; the dump after it is in `dump`."""

    how: str
    path: str
    field: str
    dump: Dump


def corrupt(dump: Dump, rng: random.Random) -> Corruption:
    """One plausible corruption of one document of the ledger. The dump itself stays as it is."""
    shelf = rng.choice(sorted({path.partition("/")[0] for path in dump} & set(LEDGER)))
    path = rng.choice(sorted(path for path in dump if path.startswith(f"{shelf}/")))
    how = rng.choice(("remove", "copy", "change", "change", "change", "change", "change", "change"))
    after = dict(dump)
    if how == "remove":
        del after[path]
        return Corruption(how, path, "", after)
    after[path] = copy.deepcopy(dump[path])
    if how == "copy":
        other = path[:-BODY_CHARACTERS] + "".join(rng.choice(LETTERS) for _ in range(BODY_CHARACTERS))
        after[other] = after[path] | ({"id": other.partition("/")[2]} if rng.random() < 0.5 else {})
        return Corruption(how, other, "", after)
    ways = [way for way in _ways(after[path], ()) if way != ("seal",)]
    way = rng.choice(ways)
    inner: Any = after[path]
    for name in way[:-1]:
        inner = inner[name]
    inner[way[-1]] = _other(way, inner[way[-1]], rng)
    return Corruption(how, path, ".".join(map(str, way)), after)


def _ways(value: Any, so_far: Way) -> Iterator[Way]:
    """Every place of a document that holds a plain value, or an empty collection."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _ways(inner, (*so_far, name))
    elif isinstance(value, list | tuple) and value:
        for place, inner in enumerate(value):
            yield from _ways(inner, (*so_far, place))
    else:
        yield so_far


def _other(way: Way, value: Any, rng: random.Random) -> Any:
    """Another value that could stand there."""
    name = next(str(each) for each in reversed(way) if isinstance(each, str))
    for _ in range(100):
        drawn = _draw(name, value, rng)
        if drawn != value or type(drawn) is not type(value):
            return drawn
    raise AssertionError(f"there is no other value for {name}")


def _draw(name: str, value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, value * 2, 0, value + rng.randint(2, 1000), -value))
    if isinstance(value, datetime):
        return value + timedelta(seconds=rng.choice((-86_400, -60, -1, 1, 60, 3_600)))
    if value is None:
        return _filled(name, rng)
    if isinstance(value, dict | list | tuple):
        return {"more": 1} if isinstance(value, dict) else ["more"]
    if name in WORDS:
        return rng.choice(WORDS[name])
    if value[3:4] == "_" and len(value) == 4 + BODY_CHARACTERS:
        return value[:4] + "".join(rng.choice(LETTERS) for _ in range(BODY_CHARACTERS))
    place = rng.randrange(len(value)) if value else 0
    return value[:place] + rng.choice("0123456789abcdef:") + value[place + 1 :]


def _filled(name: str, rng: random.Random) -> Any:
    if name in MOMENTS:
        return datetime.fromisoformat("2026-03-01T13:00:00+00:00") + timedelta(seconds=rng.randint(0, 9_999))
    if name in AMOUNTS:
        return rng.randint(0, 5_000)
    return "usr_" + "".join(rng.choice(LETTERS) for _ in range(BODY_CHARACTERS))


@dataclass(frozen=True, slots=True)
class Result:
    """Of a campaign: how many were found, how many of them by what the documents mean, and which by the seal alone."""

    found: int
    by_meaning: int
    only_by_seal: Counter[tuple[str, str, str]]
    disagreements: list[str]


def campaign(n: int, *, seed: int, histories: int = 40) -> Result:
    """Corrupt the ledgers of some histories `n` times, and ask both checkers each time."""
    rng = random.Random(seed)
    dumps = [each for at in range(histories) for each in run(at).dumps if _entries(each[0]) > 5]
    found, by_meaning, disagreements = 0, 0, list[str]()
    only_by_seal: Counter[tuple[str, str, str]] = Counter()
    for _ in range(n):
        dump, now = rng.choice(dumps)
        corruption = corrupt(dump, rng)
        books, unreadable = books_of(corruption.dump, now)
        meaning = [*check(books), *(each for each in unreadable if "seal" not in each.message)]
        # Midway somebody may be waiting for long: that is true, and no sign of the corruption.
        first = bool([each for each in meaning if each.invariant != "I13"])
        second = bool([each for each in broken(corruption.dump, now) if not each.startswith("I13")])
        found += first or bool(unreadable)
        by_meaning += first
        if not first:
            only_by_seal[corruption.how, corruption.path.partition("/")[0], _general(corruption.field)] += 1
        if first != second:
            disagreements.append(
                f"{corruption.how} {corruption.path} {corruption.field}: first {first}, second {second}"
            )
    return Result(found, by_meaning, only_by_seal, disagreements)


def _entries(dump: Dump) -> int:
    return sum(path.startswith("entries/") for path in dump)


def _general(name: str) -> str:
    """A field's name without the keys and places in it."""
    return ".".join("*" if ":" in each or each.isdigit() or "_" in each[:4] else each for each in name.split("."))
