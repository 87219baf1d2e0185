"""The filter of a query as an OR of ANDs of comparisons, and documents as comparisons see them.

Rules: https://firebase.google.com/docs/firestore/query-data/queries and, where it is silent, the official emulator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from emulator.paths import NAME, FieldPath, Segments, parse_field
from emulator.protocol import Message, StructuredQuery, invalid
from emulator.values import T_NAN, T_NULL, bracket, encode, encode_reference, get_field

DISJUNCTIONS_MAX = 30  # Firestore quota, counted in disjunctive normal form
NOT_IN_MAX = 10
_Op = StructuredQuery.FieldFilter.Operator
_Unary = StructuredQuery.UnaryFilter.Operator
_FIELD_OPS = {
    "LESS_THAN": "<",
    "LESS_THAN_OR_EQUAL": "<=",
    "GREATER_THAN": ">",
    "GREATER_THAN_OR_EQUAL": ">=",
    "EQUAL": "==",
    "NOT_EQUAL": "!=",
    "ARRAY_CONTAINS": "contains",
}
_UNARY_OPS = {"IS_NAN": ("==", T_NAN), "IS_NULL": ("==", T_NULL), "IS_NOT_NAN": ("!=", T_NAN)}
_UNARY_OPS["IS_NOT_NULL"] = ("!=", T_NULL)


class Candidate:
    """A document as a query sees it: encoded values by field path, each encoded at most once."""

    __slots__ = ("_encoded", "document", "segments")

    def __init__(self, document: Message, segments: Segments) -> None:
        self.document = document
        self.segments = segments
        self._encoded: dict[FieldPath, bytes | None] = {}

    def encoded(self, path: FieldPath) -> bytes | None:
        """The sortable bytes of a field, or None when the document lacks it."""
        if path not in self._encoded:
            if path == NAME:
                self._encoded[path] = encode_reference(self.document.name)
            else:
                value = get_field(self.document.fields, path)
                self._encoded[path] = None if value is None else encode(value)
        return self._encoded[path]

    def elements(self, path: FieldPath) -> set[bytes]:
        """The encoded elements of an array field; empty when it is none."""
        value = get_field(self.document.fields, path)
        return set() if value is None else {encode(item) for item in value.array_value.values}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; `operand` is encoded, `operands` are those of not-in."""

    field: FieldPath
    op: str
    operand: bytes = b""
    operands: frozenset[bytes] = frozenset()
    name: str = ""  # the document name behind an operand for __name__

    def holds(self, candidate: Candidate) -> bool:
        """Whether the document satisfies it (a missing field satisfies nothing)."""
        if self.op == "contains":
            return self.operand in candidate.elements(self.field)
        found = candidate.encoded(self.field)
        if found is None:
            return False
        if self.op == "==":
            return found == self.operand
        if self.op == "!=":
            return found not in (self.operand, T_NULL)
        if self.op == "not-in":
            return found != T_NULL and T_NULL not in self.operands and found not in self.operands
        low, high = bracket(self.operand)
        if not low <= found[:1] <= high:
            return False
        if found < self.operand:
            return self.op in ("<", "<=")
        return self.op in (">", ">=") if found > self.operand else self.op in ("<=", ">=")


Conjunction: TypeAlias = tuple[Condition, ...]
CheckName: TypeAlias = Callable[[str], object]


def _operators(node: Message) -> Iterator[str]:
    """The operators of a filter tree, by their names on the wire."""
    kind = node.WhichOneof("filter_type")
    if kind == "unary_filter":
        yield _Unary.Name(node.unary_filter.op)
    elif kind == "field_filter":
        yield _Op.Name(node.field_filter.op)
    elif kind == "composite_filter":
        yield StructuredQuery.CompositeFilter.Operator.Name(node.composite_filter.op)
        for inner in node.composite_filter.filters:
            yield from _operators(inner)


def check_operators(node: Message) -> None:
    """Refuse combinations of operators that Firestore refuses."""
    names = list(_operators(node))
    if sum(name in ("NOT_EQUAL", "NOT_IN", "IS_NOT_NAN", "IS_NOT_NULL") for name in names) > 1:
        raise invalid("Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed per query.")
    if "NOT_IN" in names and not {"IN", "ARRAY_CONTAINS_ANY", "OR"}.isdisjoint(names):
        raise invalid("'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'.")


def alternatives(node: Message, check_name: CheckName) -> tuple[Conjunction, ...]:
    """The filter tree multiplied out into an OR of ANDs."""
    kind = node.WhichOneof("filter_type")
    if kind == "unary_filter":
        path = parse_field(node.unary_filter.field.field_path)
        op, operand = _UNARY_OPS[_Unary.Name(node.unary_filter.op)]
        return ((Condition(path, op, operand),),)
    if kind == "field_filter":
        return _field_alternatives(check_name, node.field_filter)
    if kind != "composite_filter" or not node.composite_filter.filters:
        raise invalid("A filter without a type, or a composite filter without members.")
    inner = [alternatives(item, check_name) for item in node.composite_filter.filters]
    if node.composite_filter.op == StructuredQuery.CompositeFilter.Operator.Value("OR"):
        return tuple(dict.fromkeys(conjunction for options in inner for conjunction in options))
    total = 1
    for options in inner:
        total *= len(options)
        if total > DISJUNCTIONS_MAX:
            raise invalid(f"The query needs more than {DISJUNCTIONS_MAX} disjunctions in normal form.")
    return tuple(
        dict.fromkeys(
            tuple(dict.fromkeys(condition for part in choice for condition in part)) for choice in product(*inner)
        )
    )


def _field_alternatives(check_name: CheckName, node: Message) -> tuple[Conjunction, ...]:
    path, name = parse_field(node.field.field_path), _Op.Name(node.op)
    if name in _FIELD_OPS:
        return _compared(check_name, path, _FIELD_OPS[name], node.value)
    if name not in ("IN", "NOT_IN", "ARRAY_CONTAINS_ANY"):
        raise invalid("A field filter without an operator.")
    if not node.value.HasField("array_value") or not node.value.array_value.values:
        raise invalid(f"'{name}' requires a non-empty ArrayValue.")
    items = node.value.array_value.values
    bound = NOT_IN_MAX if name == "NOT_IN" else DISJUNCTIONS_MAX
    if len(items) > bound:
        raise invalid(f"'{name}' supports up to {bound} comparison values.")
    if name == "NOT_IN":
        operands = frozenset(T_NULL if item.HasField("null_value") else encode(item) for item in items) - {T_NAN}
        return ((Condition(path, "not-in", operands=operands),),)
    op = "==" if name == "IN" else "contains"
    return tuple(dict.fromkeys(found for item in items for found in _compared(check_name, path, op, item)))


def _compared(check_name: CheckName, path: FieldPath, op: str, value: Message) -> tuple[Conjunction, ...]:
    """One comparison as an alternative, or none at all where it can never hold.

    As in SQL, null and NaN equal nothing and are below nothing (a value IS null: see the unary filters).
    """
    if path == NAME:
        if not value.HasField("reference_value"):
            raise invalid("__key__ filter value must be a Key: compare __name__ with a document reference.")
        check_name(value.reference_value)
        return ((Condition(path, op, encode(value), name=value.reference_value),),)
    operand = encode(value)
    if operand not in (T_NULL, T_NAN):
        return ((Condition(path, op, operand),),)
    return ((Condition(path, op, T_NULL),),) if (op, operand) == ("!=", T_NAN) else ()
