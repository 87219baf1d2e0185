"""What a query means, in plain Python: the memory backend's filters, order, cursors, projections and sums.

The order across types and within them is Firestore's (firebase.google.com/docs/firestore/manage-data/data-types).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from firestore.backend import Filter, Query, Value
from firestore.checks import check_query, full_order
from firestore.codec import check_depth, check_element, check_integer, check_name, check_text, plain, to_nanos

MISSING: Final = object()
"""The field is not there, which is not the same as null."""

Key = tuple[Any, ...]
Predicate = Callable[[Mapping[str, Any]], bool]

_NAN: Key = (2,)


def sort_key(value: Any) -> Key:
    """Firestore's place of a value: the type's rank first, so that values of two types are never compared."""
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (3, value) if value == value else _NAN  # noqa: PLR0124 - only NaN differs from itself
    if isinstance(value, datetime):
        return (4, value)
    if isinstance(value, str):
        return (5, value)  # by code point, which is the order of the UTF-8 bytes
    if isinstance(value, bytes):
        return (6, value)
    if isinstance(value, Mapping):
        return (11, tuple((name, sort_key(value[name])) for name in sorted(value)))
    return (9, tuple(sort_key(one) for one in value))


class Matcher:
    """A query made ready. Raises ValueError when Firestore would refuse it."""

    def __init__(self, query: Query) -> None:
        check_query(query)
        self.query = query
        self._order = full_order(query)
        self._predicates = [_predicate(filter_) for filter_ in query.filters]
        self._name_descending = bool(self._order) and self._order[-1].descending
        self._after: Key | None = None
        if query.after is not None:
            values = stored({"after": {str(at): value for at, value in enumerate(query.after[:-1])}})["after"]
            self._after = (*(sort_key(value) for value in values.values()), query.after[-1])

    def matches(self, id_: str, data: Mapping[str, Any]) -> bool:
        """Whether the document is in the query's answer, were there no limit."""
        return self._keys(id_, data) is not None

    def select(self, documents: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """The ids of the matching documents, in order, cut to the limit."""
        rows = [keys for id_, data in documents.items() if (keys := self._keys(id_, data)) is not None]
        directions = [*(order.descending for order in self._order), self._name_descending]
        if len(set(directions)) == 1:
            rows.sort(reverse=directions[0])
        else:
            for at in reversed(range(len(directions))):  # a stable sort per column, the least important first
                rows.sort(key=lambda row, at=at: row[at], reverse=directions[at])  # type: ignore[misc]
        return [row[-1] for row in rows[: self.query.limit]]

    def project(self, data: Mapping[str, Any]) -> dict[str, Value]:
        """A copy of the fields that the query asks for."""
        if self.query.fields is None:
            return copied(data)
        answer: dict[str, Any] = {}
        for field in self.query.fields:
            value = look_up(data, field)
            if value is MISSING:
                continue
            *outer, name = field.split(".")
            inside = answer
            for part in outer:
                inside = inside.setdefault(part, {})
            inside[name] = _copy(value)
        return answer

    def _keys(self, id_: str, data: Mapping[str, Any]) -> Key | None:
        for predicate in self._predicates:
            if not predicate(data):
                return None
        keys: list[Any] = []
        for order in self._order:
            value = look_up(data, order.field)
            if value is MISSING:  # an index holds only documents that have the field
                return None
            keys.append(sort_key(value))
        keys.append(id_)
        return tuple(keys) if self._after is None or self._is_behind(keys, self._after) else None

    def _is_behind(self, keys: Sequence[Any], after: Key) -> bool:
        for at, (key, edge) in enumerate(zip(keys, after, strict=True)):
            if key != edge:
                descending = self._order[at].descending if at < len(self._order) else self._name_descending
                return bool((key < edge) if descending else (key > edge))
        return False


def _predicate(filter_: Filter) -> Predicate:
    field, op = filter_.field, filter_.op
    value = stored({field: filter_.value})[field] if "." not in field else stored({"value": filter_.value})["value"]
    if op in ("in", "array-contains-any"):
        wanted = frozenset(sort_key(one) for one in value)
        if op == "in":
            return lambda data: (found := look_up(data, field)) is not MISSING and sort_key(found) in wanted
        return lambda data: _holds(look_up(data, field), wanted)
    key = sort_key(value)
    if op == "array-contains":
        return lambda data: _holds(look_up(data, field), frozenset((key,)))
    if op == "==":
        return lambda data: (found := look_up(data, field)) is not MISSING and sort_key(found) == key
    compare = _COMPARISONS[op]

    def in_range(data: Mapping[str, Any]) -> bool:
        found = look_up(data, field)
        if found is MISSING:
            return False
        found_key = sort_key(found)
        return found_key[0] == key[0] and compare(found_key, key)  # a range stays within its type

    return in_range


_COMPARISONS: dict[str, Callable[[Key, Key], bool]] = {
    "<": lambda found, edge: found < edge,
    "<=": lambda found, edge: found <= edge,
    ">": lambda found, edge: found > edge,
    ">=": lambda found, edge: found >= edge,
}


def _holds(array: Any, wanted: frozenset[Key]) -> bool:
    return isinstance(array, list) and any(sort_key(one) in wanted for one in array)


def look_up(data: Mapping[str, Any], field: str) -> Any:
    """The field's value, dots leading into maps, or MISSING."""
    if "." not in field:
        return data.get(field, MISSING)
    value: Any = data
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return MISSING
        value = value[name]
    return value


def summed(values: Iterable[Any]) -> int | float:
    """The sum of the numbers among the values: an int while all are, and it fits 64 bits; otherwise a float."""
    whole = 0
    fraction: float | None = None
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if isinstance(value, int):
            whole += value
        else:
            fraction = value if fraction is None else fraction + value
    if fraction is not None:
        return fraction + whole
    return whole if -(2**63) <= whole < 2**63 else float(whole)


def stored(data: Mapping[str, Value]) -> dict[str, Any]:
    """An own copy as Firestore would give it back: plain types, lists, UTC. Raises ValueError as the codec does."""
    answer: dict[str, Any] = {}
    for name, value in data.items():
        check_name(name)
        answer[name] = _stored(value, name, 0)
    return answer


def _stored(value: Any, where: str, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return check_text(value, where)
    if kind is int:
        return check_integer(value, where)
    if value is None or kind is bool or kind is float or kind is bytes:
        return value
    if kind is datetime:
        to_nanos(value, where)
        return value.astimezone(UTC)
    if kind is dict:
        check_depth(depth, where)
        for name in value:
            check_name(name)
        return {name: _stored(one, f"{where}.{name}", depth + 1) for name, one in value.items()}
    if kind is list or kind is tuple:
        check_depth(depth, where)
        for one in value:
            check_element(one, where)
        return [_stored(one, where, depth + 1) for one in value]
    return _stored(plain(value, where), where, depth)


def copied(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that its reader may change."""
    return {name: _copy(value) if value.__class__ in _NESTED else value for name, value in data.items()}


_NESTED = frozenset({dict, list})


def _copy(value: Any) -> Any:
    if value.__class__ is dict:
        return copied(value)
    if value.__class__ is list:
        return [_copy(one) if one.__class__ in _NESTED else one for one in value]
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two stored values are equal in type as well: 1, 1.0 and True are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)  # NaN is itself here, and the two zeros differ
    return bool(one == other)
