"""Between plain values and Firestore's messages.

The official client takes 5 ms to decode 50 documents of 11 fields, this 0.26 ms on the same machine, because it reads
the raw (upb) messages without the wrapper that proto-plus puts around each value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any

from google.cloud.firestore_v1 import types

from firestore.backend import Filter, Order, Query, Snapshot, Value, Write
from firestore.checks import full_order

DocumentMessage: Any = types.Document.pb()
ValueMessage: Any = types.Value.pb()

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_DEPTH = 20
"""Maps and arrays in each other: Firestore's limit."""

_which = ValueMessage.WhichOneof


# ---- from messages


def decode_document(message: Any, prefix_length: int) -> Snapshot:
    """`prefix_length` is that of `projects/…/documents/`, which a path does not repeat."""
    return Snapshot(message.name[prefix_length:], decode_fields(message.fields), version_of(message.update_time))


def version_of(stamp: Any) -> int:
    """A timestamp message in nanoseconds since 1970."""
    return int(stamp.seconds * 1_000_000_000 + stamp.nanos)


def decode_fields(fields: Any) -> dict[str, Value]:
    """A map's values. Raises ValueError on a kind that the store never writes (references, places, vectors)."""
    # Most values are texts, and one that is not empty says so by itself: the cheapest question comes first.
    return {name: value.string_value or decode_value(value) for name, value in fields.items()}


def decode_value(message: Any) -> Value:
    """One value; a timestamp is an aware datetime in UTC, cut to microseconds as Firestore stores it."""
    kind = _which(message, "value_type")
    try:
        return _DECODERS[kind](message)  # type: ignore[no-any-return]
    except KeyError:
        raise ValueError(
            f"A value of kind {kind!r}: the store holds no such values; who wrote this document?"
        ) from None


def _decode_time(message: Any) -> datetime:
    stamp = message.timestamp_value
    return EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1_000)


_DECODERS: dict[str, Any] = {
    "string_value": attrgetter("string_value"),
    "integer_value": attrgetter("integer_value"),
    "boolean_value": attrgetter("boolean_value"),
    "double_value": attrgetter("double_value"),
    "bytes_value": attrgetter("bytes_value"),
    "null_value": lambda _: None,
    "timestamp_value": _decode_time,
    "map_value": lambda message: decode_fields(message.map_value.fields),
    "array_value": lambda message: [decode_value(one) for one in message.array_value.values],
}


# ---- to messages


def encode_document(message: Any, data: Mapping[str, Value]) -> None:
    """Fill a message's fields. Raises ValueError, naming the field, on what Firestore does not hold."""
    fields = message.fields
    for name, value in data.items():
        check_name(name)
        encode_into(fields[name], value, name)


def encode_into(message: Any, value: Value, where: str, depth: int = 0) -> None:
    """Set the message to the value; `where` names it in errors."""
    kind = type(value)
    if kind is str:
        message.string_value = check_text(value, where)  # type: ignore[arg-type]
    elif kind is int:
        message.integer_value = check_integer(value, where)  # type: ignore[arg-type]
    elif kind is bool:
        message.boolean_value = value
    elif kind is datetime:
        stamp = message.timestamp_value
        stamp.seconds, stamp.nanos = divmod(to_nanos(value, where), 1_000_000_000)  # type: ignore[arg-type]
        stamp.SetInParent()
    elif value is None:
        message.null_value = 0
    elif kind is float:
        message.double_value = value
    elif kind is bytes:
        message.bytes_value = value
    elif kind is dict:
        _encode_map(message, value, where, depth)  # type: ignore[arg-type]
    elif kind is list or kind is tuple:
        _encode_array(message, value, where, depth)  # type: ignore[arg-type]
    else:
        encode_into(message, plain(value, where), where, depth)


def _encode_map(message: Any, value: Mapping[str, Value], where: str, depth: int) -> None:
    check_depth(depth, where)
    message.map_value.SetInParent()  # an empty map is a value too
    fields = message.map_value.fields
    for name, one in value.items():
        check_name(name)
        encode_into(fields[name], one, f"{where}.{name}", depth + 1)


def _encode_array(message: Any, value: Sequence[Value], where: str, depth: int) -> None:
    check_depth(depth, where)
    message.array_value.SetInParent()
    values = message.array_value.values
    for one in value:
        check_element(one, where)
        encode_into(values.add(), one, where, depth + 1)


# ---- what a value may be; the memory backend asks the same


def plain(value: object, where: str) -> Value:
    """The plain value under a subclass, such as a StrEnum's text. Raises ValueError on any other type."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, datetime):
        return EPOCH + timedelta(microseconds=to_nanos(value, where) // 1_000)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytearray | memoryview):
        return list(value)
    raise ValueError(f"{where}: Firestore holds no {type(value).__name__}; turn it into a plain value first.")


def check_text(text: str, where: str) -> str:
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where}: half a surrogate pair is no text; refuse it where it came in.") from None
    return text


def check_integer(number: int, where: str) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{where}: {number} does not fit into Firestore's 64 bits; store it as text.")
    return number


def to_nanos(moment: datetime, where: str) -> int:
    """Nanoseconds since 1970. Raises ValueError without a time zone, which would mean a guess."""
    if moment.utcoffset() is None:
        raise ValueError(f"{where}: a datetime without a time zone; give it one, such as tzinfo=UTC.")
    since = moment - EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


@lru_cache(maxsize=4_096)  # our records have some hundred field names, and each write asks for all of its own
def check_name(name: object) -> None:
    if not isinstance(name, str) or not name or (len(name) > 3 and name.startswith("__") and name.endswith("__")):
        raise ValueError(f"{name!r} is no field name: a text, not empty, and not between double underscores.")
    check_text(name, name)


def check_element(value: object, where: str) -> None:
    if isinstance(value, list | tuple):
        raise ValueError(f"{where}: Firestore holds no array directly in an array; put a map between them.")


def check_depth(depth: int, where: str) -> None:
    if depth >= MAX_DEPTH:
        raise ValueError(f"{where}: deeper than {MAX_DEPTH} maps and arrays; flatten the document.")


# ---- requests

QueryMessage: Any = types.StructuredQuery.pb()
WriteMessage: Any = types.Write.pb()

_Operator = types.StructuredQuery.FieldFilter.Operator
_OPERATORS: dict[str, int] = {
    "==": _Operator.EQUAL,
    "<": _Operator.LESS_THAN,
    "<=": _Operator.LESS_THAN_OR_EQUAL,
    ">": _Operator.GREATER_THAN,
    ">=": _Operator.GREATER_THAN_OR_EQUAL,
    "in": _Operator.IN,
    "array-contains": _Operator.ARRAY_CONTAINS,
    "array-contains-any": _Operator.ARRAY_CONTAINS_ANY,
}
_ASCENDING = types.StructuredQuery.Direction.ASCENDING
_DESCENDING = types.StructuredQuery.Direction.DESCENDING
_IS_NULL = types.StructuredQuery.UnaryFilter.Operator.IS_NULL
_IS_NAN = types.StructuredQuery.UnaryFilter.Operator.IS_NAN
_AND = types.StructuredQuery.CompositeFilter.Operator.AND
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def quote(name: str) -> str:
    """One field's name as a path: in backticks where it is not a plain word."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def field_path(field: str) -> str:
    """A filter's or order's field, whose dots lead into maps."""
    return field if _PLAIN_NAME.fullmatch(field) else ".".join(quote(name) for name in field.split("."))


def encode_write(write: Write, prefix: str) -> Any:
    """A checked write as a message; `prefix` is `projects/…/documents/`."""
    message = WriteMessage()
    if write.data is None:
        message.delete = prefix + write.path
    else:
        message.update.name = prefix + write.path
        message.update.SetInParent()
        encode_document(message.update, write.data)
    if write.mask is not None:
        message.update_mask.SetInParent()
        message.update_mask.field_paths.extend(quote(name) for name in write.mask)
    if write.version is not None:
        stamp = message.current_document.update_time
        stamp.seconds, stamp.nanos = divmod(write.version, 1_000_000_000)
        stamp.SetInParent()
    elif write.must_be_absent:
        message.current_document.exists = False
    elif write.mask is not None:
        message.current_document.exists = True  # a mask would otherwise create a document of a few fields
    return message


def encode_query(query: Query, prefix: str, limit: int | None, *, paged: bool = True) -> Any:
    """A checked query as a message; a paged one with its whole order written out, so that no server has to guess it.

    An aggregate is not paged: behind an order by name Firestore has no index for the field of a sum.
    """
    message = QueryMessage()
    message.from_.add().collection_id = query.collection.rpartition("/")[2]
    if query.fields is not None:
        for field in query.fields or ("__name__",):
            message.select.fields.add().field_path = field if field == "__name__" else field_path(field)
    if len(query.filters) == 1:
        _encode_filter(message.where, query.filters[0])
    elif query.filters:
        message.where.composite_filter.op = _AND
        for filter_ in query.filters:
            _encode_filter(message.where.composite_filter.filters.add(), filter_)
    order = query.order
    if paged:
        order = full_order(query)
        order = (*order, Order("__name__", bool(order) and order[-1].descending))
    for by in order:
        entry = message.order_by.add()
        entry.field.field_path = field_path(by.field)
        entry.direction = _DESCENDING if by.descending else _ASCENDING
    if query.after is not None:
        for value in query.after[:-1]:
            encode_into(message.start_at.values.add(), value, "after")
        message.start_at.values.add().reference_value = f"{prefix}{query.collection}/{query.after[-1]!s}"
    if limit is not None:
        message.limit.value = limit
    return message


def _encode_filter(message: Any, filter_: Filter) -> None:
    value = filter_.value
    if filter_.op == "==" and (value is None or value != value):  # noqa: PLR0124 - only NaN differs from itself
        message.unary_filter.op = _IS_NULL if value is None else _IS_NAN
        message.unary_filter.field.field_path = field_path(filter_.field)
        return
    message.field_filter.field.field_path = field_path(filter_.field)
    message.field_filter.op = _OPERATORS[filter_.op]
    encode_into(message.field_filter.value, value, filter_.field)
