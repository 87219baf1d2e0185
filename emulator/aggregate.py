"""count, sum and avg over a query (https://firebase.google.com/docs/firestore/query-data/aggregation-queries)."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice

from emulator.filters import Candidate
from emulator.indexes import Catalog
from emulator.paths import FieldPath, parse_field
from emulator.planner import plan
from emulator.protocol import Message, Value, invalid
from emulator.query import Query, with_fields
from emulator.scan import count_rows, countable, ordered
from emulator.storage import View
from emulator.values import get_field
from emulator.writes import INT64_MAX, INT64_MIN

AGGREGATIONS_MAX = 5  # Firestore quota per query


def aggregate(view: View, catalog: Catalog, query: Query, wanted: Iterable[Message]) -> dict[str, Message]:
    """Results by alias; INVALID_ARGUMENT for none or too many aggregations, or doubled aliases."""
    items = _aliased(list(wanted))
    # Firestore sums over an index of the summed fields: documents that lack one do not take part, not even in a count
    # beside it, and a limit takes the first of that order.
    kinds = {item.WhichOneof("operator") for _, item in items}
    fields = tuple(parse_field(_summed(item)) for _, item in items if item.WhichOneof("operator") != "count")
    if fields and query.projection is not None:
        raise invalid("Cannot apply property masks when aggregation fields are present.")
    query = with_fields(query, fields)
    chosen = plan(catalog, query)
    if kinds == {"count"} and countable(chosen, query, view):
        room = None if query.limit is None else query.offset + query.limit
        number = max(0, count_rows(view, chosen, room) - query.offset)
        return {alias: Value(integer_value=_capped(item, number)) for alias, item in items}
    end = None if query.limit is None else query.offset + query.limit
    return _fold(islice(ordered(view, chosen, query), query.offset, end), items, fields)


def _fold(
    candidates: Iterator[Candidate], items: list[tuple[str, Message]], fields: tuple[FieldPath, ...]
) -> dict[str, Message]:
    number = 0
    totals = {field: _Total() for field in fields}
    for candidate in candidates:
        number += 1
        for field, total in totals.items():
            total.add(get_field(candidate.document.fields, field))
    results = {}
    for alias, item in items:
        match item.WhichOneof("operator"):
            case "count":
                results[alias] = Value(integer_value=_capped(item, number))
            case "sum":
                results[alias] = totals[parse_field(item.sum.field.field_path)].sum()
            case _:
                results[alias] = totals[parse_field(item.avg.field.field_path)].average()
    return results


class _Total:
    """Numbers of one field: integers are added exactly, doubles with one final rounding."""

    def __init__(self) -> None:
        self._number = 0
        self._integers = 0
        self._doubles: list[float] = []
        self._is_double = False

    def add(self, value: Message | None) -> None:
        """Take a field's value; what is no number does not count."""
        if value is None:
            return
        if value.HasField("integer_value"):
            self._integers += value.integer_value
        elif value.HasField("double_value"):
            self._is_double = True
            self._doubles.append(value.double_value)
            if len(self._doubles) > 4096:  # bounds memory; the partial sum is rounded once per 4,096 numbers
                self._doubles = [_float_sum(self._doubles)]
        else:
            return
        self._number += 1

    def sum(self) -> Message:
        """An integer while all were integers and it fits 64 bits, else a double."""
        if not self._is_double and INT64_MIN <= self._integers <= INT64_MAX:
            return Value(integer_value=self._integers)
        return Value(double_value=self._float())

    def average(self) -> Message:
        """A double, or null when there was no number."""
        if not self._number:
            return Value(null_value=0)
        return Value(double_value=self._float() / self._number)

    def _float(self) -> float:
        return _float_sum([*self._doubles, float(self._integers)])


def _float_sum(numbers: list[float]) -> float:
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):  # beyond the largest double, or infinities of both signs
        return sum(numbers)


def _capped(item: Message, number: int) -> int:
    if item.count.HasField("up_to"):
        return min(number, int(item.count.up_to.value))
    return number


def _summed(item: Message) -> str:
    path: str = getattr(item, item.WhichOneof("operator")).field.field_path
    return path


def _aliased(wanted: list[Message]) -> list[tuple[str, Message]]:
    """Aggregations with their aliases; missing ones are named field_1, field_2, ... as Firestore does."""
    if not 1 <= len(wanted) <= AGGREGATIONS_MAX:
        raise invalid(f"Aggregations can not be empty nor more than {AGGREGATIONS_MAX}.")
    taken = {item.alias for item in wanted}
    items: list[tuple[str, Message]] = []
    number = 0
    for item in wanted:
        if item.WhichOneof("operator") is None:
            raise invalid("An aggregation without an operator.")
        if item.WhichOneof("operator") == "count" and item.count.HasField("up_to") and item.count.up_to.value <= 0:
            raise invalid("count: up_to must be positive.")
        alias = item.alias
        while not alias:
            number += 1
            alias = "" if f"field_{number}" in taken else f"field_{number}"
        items.append((alias, item))
    if len({alias for alias, _ in items}) != len(items):
        raise invalid("Aggregation aliases contain duplicate alias: each needs its own.")
    return items
