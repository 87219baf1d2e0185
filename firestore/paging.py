"""How records are read: by ids in order, and as pages whose positions a cursor can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeAlias

from domain.errors import BadInput
from domain.ids import Kind, is_id
from firestore.backend import Backend, Query, Snapshot, Value
from firestore.records import Collection, R

Position: TypeAlias = tuple[Value, ...]
"""A place in an ordered list: one plain value per order, then the document's id. A page starts behind it."""

FIRST_MAX = 100  # contract.graphql: first <= 100
SCAN_MAX = 200  # documents read for one page of a filtered list: what one RPC brings well within the search's 100 ms
SCAN_FACTOR = 4  # documents read per record wanted, where a filter follows the reading
_PARTS_MAX = 6  # more orders than any of our queries has
_TEXT_CHARACTERS_MAX = 1_500
_INTEGERS = 2**63


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Records in order, and the position of each. `end` is where the next page starts.

    A filtered page may be short, or empty, while more follows: then `end` lies behind the last document that was looked
    at (the Relay specification allows that; a client goes on with `endCursor`).
    """

    nodes: tuple[R, ...]
    positions: tuple[Position, ...]
    has_next_page: bool
    end: Position | None


async def fetch(backend: Backend, collection: Collection[R], kind: Kind, ids: Sequence[str]) -> list[R | None]:
    """The records in the order of the ids, None for what is missing or no id of this kind. At most one RPC."""
    paths = [collection.at(one) for one in dict.fromkeys(ids) if is_id(one, kind)]
    found = {snapshot.id: collection.decode(snapshot) for snapshot in await backend.get_many(paths) if snapshot}
    return [found.get(one) for one in ids]


async def read_page(
    backend: Backend,
    collection: Collection[R],
    query: Query,
    first: int,
    after: Position | None,
    *,
    keep: Callable[[R], bool] | None = None,
) -> Page[R]:
    """A page of the query in one RPC: its first `first` records that `keep` accepts, of at most 200 documents.

    Raises BadInput for a `first` outside 0 to 100, or a position of another list.
    """
    if not 0 <= first <= FIRST_MAX:
        raise BadInput(f"A page has 0 to {FIRST_MAX} items, not {first}.", field="first")
    if after is not None and len(after) != len(query.order) + 1:
        raise BadInput("The cursor belongs to another list: start again without after.", field="after")
    looked_at = first if keep is None else min(first * SCAN_FACTOR, SCAN_MAX)
    # One more than needed tells whether more follows.
    found = await backend.query(replace(query, after=after, limit=looked_at + 1))
    kept: list[tuple[R, Position]] = []
    for snapshot in found[:looked_at]:
        record = collection.decode(snapshot)
        if keep is None or keep(record):
            kept.append((record, position(query, snapshot)))
    shown, more = kept[:first], len(found) > looked_at
    if len(kept) > first or not more:
        end = shown[-1][1] if shown else None
    else:
        end = position(query, found[looked_at - 1]) if looked_at else after
    return Page(
        tuple(record for record, _ in shown),
        tuple(place for _, place in shown),
        more or len(kept) > first,
        end,
    )


def position(query: Query, snapshot: Snapshot) -> Position:
    """Where a document stands in the query's order."""
    return (*(_look_up(snapshot, order.field) for order in query.order), snapshot.id)


def dump(place: Position) -> list[Value]:
    """A position as JSON: moments as `{"at": ISO text with microseconds}`. `load` reads it back."""
    return [
        {"at": value.astimezone(UTC).isoformat(timespec="microseconds")} if isinstance(value, datetime) else value
        for value in place
    ]


def load(data: object) -> Position:
    """The position that `dump` wrote. Raises ValueError on anything else."""
    if not isinstance(data, list) or not 1 <= len(data) <= _PARTS_MAX:
        raise ValueError(f"a position is a list of 1 to {_PARTS_MAX} values")
    values = tuple(_load_value(value) for value in data)
    last = values[-1]
    if not isinstance(last, str) or not last or "/" in last:
        raise ValueError("a position ends with a document's id")
    return values


def _load_value(value: object) -> Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -_INTEGERS <= value < _INTEGERS:
        return value
    if isinstance(value, str) and len(value) <= _TEXT_CHARACTERS_MAX:
        value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
        return value
    if isinstance(value, dict) and value.keys() == {"at"} and isinstance(value["at"], str):
        moment = datetime.fromisoformat(value["at"])
        if moment.utcoffset() != timedelta(0):
            raise ValueError("a moment is in UTC")
        return moment.replace(tzinfo=UTC)
    raise ValueError("a position holds null, booleans, whole numbers, texts and moments")


def _look_up(snapshot: Snapshot, field: str) -> Value:
    value: Value = snapshot.data
    for name in field.split("."):
        assert isinstance(value, Mapping), "an ordered document has the fields of its order"
        value = value[name]
    return value
