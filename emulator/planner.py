"""Chooses the ranges of index rows that answer a query, and refuses a query that Firestore would refuse for its index.

As Firestore does: equality fields first, in any order, then the sort fields exactly; several indexes with the same
sort fields may be merged for equalities (https://firebase.google.com/docs/firestore/query-data/index-overview).
"""

from dataclasses import dataclass
from typing import NamedTuple

from emulator.filters import Condition, Conjunction
from emulator.indexes import Catalog, Index, Mode, Part, describe, name_part, row_prefix
from emulator.paths import NAME, PATH_END, FieldPath, format_field, parse_document, path_key
from emulator.protocol import failed_precondition
from emulator.query import Cursor, Order, Query
from emulator.values import INDEXED_BYTES_MAX, T_NULL, bracket, complement, successor


class Source(NamedTuple):
    """One index below one prefix; `flipped` when it is read backwards."""

    prefix: bytes
    flipped: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows of one alternative in the query's order: keys within [low, high) common to all sources.

    `exact` says that every such row answers the alternative, so rows may be counted without their documents.
    """

    sources: tuple[Source, ...]
    low: bytes
    high: bytes | None
    conditions: Conjunction
    exact: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Streams to merge; `sort` when they are not in the query's order (only where indexes are not enforced)."""

    streams: tuple[Stream, ...]
    sort: bool


class _Pinned(NamedTuple):
    """An equality or array-contains condition: what an index prefix can serve."""

    field: FieldPath
    contains: bool
    operand: bytes


def plan(catalog: Catalog, query: Query) -> Plan:
    """A plan, or FAILED_PRECONDITION with the missing index when indexes are enforced."""
    if query.group is None:
        return Plan(tuple(_by_path(query, c) for c in query.disjuncts), sort=query.orders != (Order(NAME, False),))
    streams = []
    for conjunction in query.disjuncts:
        stream = _stream(catalog, query, conjunction)
        if stream is None:
            return Plan(tuple(_widest(catalog, query, c) for c in query.disjuncts), sort=True)
        streams.append(stream)
    return Plan(tuple(streams), sort=False)


def _by_path(query: Query, conditions: Conjunction) -> Stream:
    """All documents below the parent: a range of paths, narrowed by conditions and cursors on the name."""
    root = path_key(query.database, query.parent)
    low, high = root + b"\0", successor(root)
    ascending = query.orders == (Order(NAME, False),)
    for c in conditions:
        if not c.name:
            continue
        path = path_key(*parse_document(c.name))
        if c.op in (">", ">="):
            low = max(low, path if c.op == ">=" else path + b"\0")
        elif c.op in ("<", "<="):
            high = min(high, path + b"\0" if c.op == "<=" else path)
    for cursor in (query.start, query.end):
        if cursor is None or not cursor.parts or not ascending:
            continue
        path = path_key(query.database, ()) + cursor.parts[0].removesuffix(PATH_END)
        edge = path if cursor.before else path + b"\0"
        low, high = (max(low, edge), high) if cursor is query.start else (low, min(high, edge))
    return Stream((), low, high, conditions, exact=False)


def _stream(catalog: Catalog, query: Query, conditions: Conjunction) -> Stream | None:
    """The alternative's rows straight from indexes in the query's order; refused, or None, when there are none."""
    assert query.group is not None
    pinned = tuple(
        dict.fromkeys(_Pinned(c.field, c.op == "contains", c.operand) for c in conditions if c.op in ("==", "contains"))
    )
    fixed = {pin.field: pin.operand for pin in pinned if not pin.contains}
    if NAME in fixed:
        return _by_name(query, conditions)
    orders = tuple(order for order in query.orders if order.field not in fixed)
    if not pinned and orders == (Order(NAME, False),):
        sources: tuple[Source, ...] | None = (_source(query, "", False),)
    else:
        sources = _cover(_candidates(catalog, query, pinned, orders), pinned)
    if sources is None:
        if not catalog.enforced:
            return None
        raise failed_precondition(_missing(query, pinned, orders))
    low, high, exact = _bounds(query, conditions, orders, fixed)
    return Stream(sources, low, high, conditions, exact)


def _source(query: Query, spec: str, flipped: bool, pinned: bytes = b"") -> Source:
    return Source(row_prefix(query.database, query.scope, query.place, spec) + pinned, flipped)


def _by_name(query: Query, conditions: Conjunction) -> Stream:
    name = next(c.name for c in conditions if c.field == NAME and c.op == "==")
    key = name_part(query.scope, parse_document(name)[1])
    return Stream((_source(query, "", False),), key, successor(key), conditions, exact=False)


def _candidates(
    catalog: Catalog, query: Query, pinned: tuple[_Pinned, ...], orders: tuple[Order, ...]
) -> list[tuple[frozenset[_Pinned], Source]]:
    """Indexes that give the wanted order, each with the equalities it serves."""
    assert query.group is not None
    found: list[tuple[frozenset[_Pinned], Source]] = []
    for index in catalog.composites(query.group, query.scope):
        served = _serves(index, pinned, orders)
        if served is not None:
            modes = {part.field: part.mode for part in index.parts}
            keys = [
                complement(pin.operand[:INDEXED_BYTES_MAX])
                if modes[pin.field] == "desc"
                else pin.operand[:INDEXED_BYTES_MAX]
                for pin in served
            ]
            found.append((frozenset(served), _source(query, index.spec, False, b"".join(keys))))
    descending = orders[-1].descending
    if len(orders) == 1:
        for pin in pinned:
            mode: Mode = "contains" if pin.contains else "desc" if descending else "asc"
            if (query.scope, mode) in catalog.single(query.group, pin.field):
                spec = f"{format_field(pin.field)}:{'contains' if pin.contains else 'asc'}"
                operand = pin.operand[:INDEXED_BYTES_MAX]
                found.append((frozenset((pin,)), _source(query, spec, descending, operand)))
        return found
    mode = "desc" if descending else "asc"
    automatic = not pinned and len(orders) == 2 and orders[0].descending == descending
    if automatic and (query.scope, mode) in catalog.single(query.group, orders[0].field):
        found.append((frozenset(), _source(query, f"{format_field(orders[0].field)}:asc", descending)))
    return found


def _serves(index: Index, pinned: tuple[_Pinned, ...], orders: tuple[Order, ...]) -> list[_Pinned] | None:
    """The equalities at the head of an index whose tail is exactly the wanted order, in the index's sequence."""
    tail = tuple(Part(order.field, "desc" if order.descending else "asc") for order in orders[:-1])
    head = index.parts[: len(index.parts) - len(tail)]
    if index.parts[len(head) :] != tail or index.name_descending != orders[-1].descending:
        return None
    served = []
    for part in head:
        match = [pin for pin in pinned if pin.field == part.field and pin.contains == (part.mode == "contains")]
        if not match:
            return None
        served.append(match[0])
    return served if served or not pinned else None


def _cover(
    candidates: list[tuple[frozenset[_Pinned], Source]], pinned: tuple[_Pinned, ...]
) -> tuple[Source, ...] | None:
    """A few indexes that together serve all equalities, those that serve most first; None when they cannot."""
    if not pinned:
        return (candidates[0][1],) if candidates else None
    wanted = set(pinned)
    chosen = []
    for served, source in sorted(candidates, key=lambda item: -len(item[0])):
        if served & wanted:
            chosen.append(source)
            wanted -= served
    return None if wanted else tuple(chosen)


def _bounds(
    query: Query, conditions: Conjunction, orders: tuple[Order, ...], fixed: dict[FieldPath, bytes]
) -> tuple[bytes, bytes | None, bool]:
    """The range of keys, in the query's order, and whether it says all that the conditions say."""
    low, high = b"", None
    exact = all(len(c.operand) < INDEXED_BYTES_MAX for c in conditions)
    first = orders[0]
    pins: dict[FieldPath, int] = {}
    for c in conditions:
        if c.op in ("==", "contains"):
            pins[c.field] = pins.get(c.field, 0) + (c.op == "==")
            exact = exact and pins[c.field] < 2
            continue
        if c.field != first.field or c.op in ("!=", "not-in"):
            exact = False
        if c.field == first.field:
            start, end = _interval(query, c)
            if first.descending:
                start, end = _turned(start, end)
            low = max(low, start)
            high = end if high is None or (end is not None and end < high) else high
    for cursor, is_start in ((query.start, True), (query.end, False)):
        if cursor is None:
            continue
        threshold = _threshold(query, cursor, fixed)
        if is_start:
            low = max(low, threshold)
        else:
            high = threshold if high is None else min(high, threshold)
    return low, high, exact


def _interval(query: Query, condition: Condition) -> tuple[bytes, bytes | None]:
    """[low, high) of ascending key parts that can satisfy an inequality."""
    if condition.field == NAME and condition.op in ("!=", "not-in"):
        return b"", None
    if condition.field == NAME:
        part, lowest, highest = name_part(query.scope, parse_document(condition.name)[1]), b"", None
    elif condition.op in ("!=", "not-in"):
        return successor(T_NULL), None
    else:
        part = condition.operand[:INDEXED_BYTES_MAX]
        tags = bracket(condition.operand)
        lowest, highest = tags[0], successor(tags[1])
    # Where the index holds only the start of a long value, the boundary row itself has to be looked at.
    cut = len(part) == INDEXED_BYTES_MAX
    match condition.op:
        case "<":
            return lowest, successor(part) if cut else part
        case "<=":
            return lowest, successor(part)
        case ">":
            return part if cut else successor(part), highest
        case _:
            return part, highest


def _turned(low: bytes, high: bytes | None) -> tuple[bytes, bytes | None]:
    """The same interval of key parts after complementing each."""
    return (b"" if high is None else successor(complement(high)), successor(complement(low)) if low else None)


def _threshold(query: Query, cursor: Cursor, fixed: dict[FieldPath, bytes]) -> bytes:
    """The cursor's place among keys that leave out the fields with a fixed value."""
    key = b""
    for order, part in zip(query.orders, cursor.parts, strict=False):
        if order.field not in fixed:
            key += part
            continue
        held = fixed[order.field][:INDEXED_BYTES_MAX]
        held = complement(held) if order.descending else held
        if held != part:
            # All rows agree in this field, so they lie on one side of the cursor.
            return successor(key) if held < part else key
    return key if cursor.before else successor(key)


def _widest(catalog: Catalog, query: Query, conditions: Conjunction) -> Stream:
    """Without enforcement: the most selective rows the automatic indexes give, in any order."""
    assert query.group is not None
    pinned = [c for c in conditions if c.op in ("==", "contains") and c.field != NAME]
    ranges = [c for c in conditions if c.op not in ("==", "contains", "!=", "not-in") and c.field != NAME]
    sources = []
    for c in pinned:
        mode: Mode = "contains" if c.op == "contains" else "asc"
        if (query.scope, mode) in catalog.single(query.group, c.field):
            sources.append(_source(query, f"{format_field(c.field)}:{mode}", False, c.operand[:INDEXED_BYTES_MAX]))
    if sources:
        return Stream(tuple(sources), b"", None, conditions, exact=False)
    for c in ranges:
        if (query.scope, "asc") in catalog.single(query.group, c.field):
            low, high = _interval(query, c)
            return Stream((_source(query, f"{format_field(c.field)}:asc", False),), low, high, conditions, exact=False)
    return Stream((_source(query, "", False),), b"", None, conditions, exact=False)


def _missing(query: Query, pinned: tuple[_Pinned, ...], orders: tuple[Order, ...]) -> str:
    assert query.group is not None
    head = sorted({Part(pin.field, "contains" if pin.contains else "asc") for pin in pinned}, key=str)
    tail = [Part(order.field, "desc" if order.descending else "asc") for order in orders]
    # The name follows the last field's direction by itself; only an odd one has to be declared.
    implied = tail[-2].mode if len(tail) > 1 else "asc"
    if tail[-1].mode == implied and (head or len(tail) > 1):
        tail.pop()
    return (
        "The query requires an index. Add it to firestore.indexes.json, "
        + describe(query.group, query.scope, tuple(head + tail))
        + " and start again."
    )
