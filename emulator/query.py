"""A structured query in the form the planner works with: an OR of ANDs, a full order, bounds.

Rules: https://firebase.google.com/docs/reference/rest/v1/StructuredQuery and the query-data guides.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from emulator.filters import DISJUNCTIONS_MAX, Candidate, Conjunction, alternatives, check_operators
from emulator.indexes import Scope, name_part
from emulator.paths import NAME, Database, FieldPath, Segments, format_field, parse_document, parse_field
from emulator.protocol import Message, StructuredQuery, invalid
from emulator.values import INDEXED_BYTES_MAX, complement, encode, get_field, set_field, successor

_DESCENDING = StructuredQuery.Direction.Value("DESCENDING")
_INEQUALITIES = frozenset({"<", "<=", ">", ">=", "!=", "not-in"})


@dataclass(frozen=True, slots=True)
class Order:
    """One sort field."""

    field: FieldPath
    descending: bool


@dataclass(frozen=True, slots=True)
class Cursor:
    """Key parts (already complemented for descending fields) for the first orders, and the side of them."""

    parts: tuple[bytes, ...]
    before: bool

    @property
    def threshold(self) -> bytes:
        """Keys at or above it come after the cursor."""
        key = b"".join(self.parts)
        return key if self.before else successor(key)


@dataclass(slots=True)
class Query:
    """A normalised query. `group` is None for "all collections below the parent"."""

    database: Database
    parent: Segments
    group: str | None
    scope: Scope
    disjuncts: tuple[Conjunction, ...]
    orders: tuple[Order, ...]
    start: Cursor | None = None
    end: Cursor | None = None
    limit: int | None = None
    offset: int = 0
    projection: tuple[FieldPath, ...] | None = None
    explicit_orders: int = field(default=0)

    @property
    def place(self) -> str:
        """Where the index rows stand: the collection's path, or the group's id."""
        if self.scope == "group":
            return self.group or ""
        return "/".join((*self.parent, self.group or ""))

    def covers(self, segments: Segments) -> bool:
        """Whether a document lies in the queried collections."""
        if segments[: len(self.parent)] != self.parent or len(segments) <= len(self.parent):
            return False
        if self.group is not None and segments[-2] != self.group:
            return False
        return self.scope == "group" or len(segments) == len(self.parent) + 2

    def key(self, candidate: Candidate) -> bytes | None:
        """Bytes that sort as the query's order does; None when the document lacks a sort field."""
        parts = []
        for order in self.orders:
            if order.field == NAME:
                key = name_part(self.scope, candidate.segments)
            else:
                found = candidate.encoded(order.field)
                if found is None:
                    return None
                key = found[:INDEXED_BYTES_MAX]
            parts.append(complement(key) if order.descending else key)
        return b"".join(parts)

    def satisfied(self, candidate: Candidate) -> bool:
        """Whether any alternative of the filter holds."""
        return any(all(condition.holds(candidate) for condition in conjunction) for conjunction in self.disjuncts)

    def match(self, candidate: Candidate) -> bytes | None:
        """The sort key when the document belongs to the result (limit and offset aside), else None."""
        if not self.covers(candidate.segments) or not self.satisfied(candidate):
            return None
        key = self.key(candidate)
        if key is None or (self.start is not None and key < self.start.threshold):
            return None
        if self.end is not None and key >= self.end.threshold:
            return None
        return key


def normalise(database: Database, parent: Segments, proto: Message) -> Query:
    """A StructuredQuery as a `Query`; INVALID_ARGUMENT for what Firestore does not allow."""
    if len(proto.from_) != 1:
        raise invalid("A query needs exactly one collection selector in `from`.")
    selector = proto.from_[0]
    if not selector.collection_id and not selector.all_descendants:
        raise invalid("A collection selector without collection_id must set all_descendants.")
    if proto.offset < 0 or (proto.HasField("limit") and proto.limit.value < 0):
        raise invalid("limit and offset must not be negative.")
    query = Query(
        database,
        parent,
        selector.collection_id or None,
        "group" if selector.all_descendants else "collection",
        disjuncts=((),),
        orders=(),
        limit=proto.limit.value if proto.HasField("limit") else None,
        offset=proto.offset,
        explicit_orders=len(proto.order_by),
    )
    if proto.HasField("where"):
        check_operators(proto.where)
        query.disjuncts = alternatives(proto.where, lambda name: _name_segments(query, name))
    if any(sum(c.op == "contains" for c in conjunction) > 1 for conjunction in query.disjuncts):
        raise invalid("A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.")
    if len(query.disjuncts) > DISJUNCTIONS_MAX:
        raise invalid(
            f"The query needs {len(query.disjuncts)} disjunctions (alternatives of OR, IN and ARRAY_CONTAINS_ANY "
            f"multiplied out); at most {DISJUNCTIONS_MAX} are allowed."
        )
    query.orders = _orders(query, proto.order_by)
    if proto.HasField("start_at"):
        query.start = _cursor(query, proto.start_at)
    if proto.HasField("end_at"):
        query.end = _cursor(query, proto.end_at)
    if proto.HasField("select"):
        query.projection = tuple(parse_field(item.field_path) for item in proto.select.fields) or (NAME,)
    return query


def _name_segments(query: Query, name: str) -> Segments:
    database, segments = parse_document(name)
    direct = segments[:-1] == (*query.parent, query.group)
    if database != query.database or (query.scope == "collection" and not direct):
        raise invalid(f'"{name}" is not a document of the queried collection.')
    return segments


def _orders(query: Query, protos: Iterable[Message]) -> tuple[Order, ...]:
    """Explicit orders, then the other inequality fields by name, then the document's name."""
    orders: list[Order] = []
    for item in protos:
        path = parse_field(item.field.field_path)
        if any(order.field == path for order in orders):
            raise invalid(f'order by "{format_field(path)}" is given twice.')
        orders.append(Order(path, item.direction == _DESCENDING))
    descending = bool(orders) and orders[-1].descending
    unequal = {c.field for conjunction in query.disjuncts for c in conjunction if c.op in _INEQUALITIES}
    for path in sorted(unequal - {NAME} - {order.field for order in orders}):
        orders.append(Order(path, descending))
    if all(order.field != NAME for order in orders):
        orders.append(Order(NAME, descending))
    # What follows the name cannot change the order any more.
    return tuple(orders[: next(i for i, order in enumerate(orders) if order.field == NAME) + 1])


def _cursor(query: Query, proto: Message) -> Cursor:
    if len(proto.values) > max(query.explicit_orders, len(query.orders)):
        raise invalid("Cursor has too many values.")
    parts = []
    for order, value in zip(query.orders, proto.values, strict=False):
        if order.field == NAME:
            if not value.HasField("reference_value"):
                raise invalid("Cursor position of __name__ must be a reference value.")
            key = name_part(query.scope, _name_segments(query, value.reference_value))
        else:
            key = encode(value)[:INDEXED_BYTES_MAX]
        parts.append(complement(key) if order.descending else key)
    return Cursor(tuple(parts), proto.before)


def with_fields(query: Query, fields: tuple[FieldPath, ...]) -> Query:
    """The query ordered also by these fields (before the name), so that only documents that have them are found."""
    added = sorted(set(fields) - {order.field for order in query.orders})
    if not added:
        return query
    last = query.orders[-1]
    orders = (*query.orders[:-1], *(Order(path, last.descending) for path in added), last)
    return replace(query, orders=orders)


def project(document: Message, projection: tuple[FieldPath, ...] | None) -> Message:
    """The document with only the chosen fields (the same object when all are wanted)."""
    if projection is None:
        return document
    slim = type(document)(name=document.name)
    slim.create_time.CopyFrom(document.create_time)
    slim.update_time.CopyFrom(document.update_time)
    for path in projection:
        value = get_field(document.fields, path)
        if value is not None:
            set_field(slim.fields, path, value)
    return slim
