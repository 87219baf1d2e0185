"""What one write makes of one document: preconditions, masks, transforms. No storage here.

Rules: comments of google/firestore/v1/write.proto and common.proto; messages as Firestore words them.
"""

import math

import grpc

from emulator.paths import Database, FieldPath, Segments, parse_document, parse_field
from emulator.protocol import (
    Document,
    FieldTransform,
    Message,
    Refused,
    Value,
    failed_precondition,
    invalid,
    set_micros,
    to_micros,
)
from emulator.values import check_fields, delete_field, encode, get_field, set_field

INT64_MAX, INT64_MIN = 2**63 - 1, -(2**63)


def target(database: Database, write: Message) -> tuple[str, Segments]:
    """The document a write is about; INVALID_ARGUMENT for another database or a write without an operation."""
    kind = write.WhichOneof("operation")
    if kind is None:
        raise invalid("A write without an operation: set update, delete or transform.")
    name = {"update": lambda: write.update.name, "delete": lambda: write.delete}.get(
        kind, lambda: write.transform.document
    )()
    found, segments = parse_document(name)
    if found != database:
        raise invalid(f'The document "{name}" is not in the database of the request, {database.resource}.')
    return name, segments


def check_precondition(write: Message, name: str, current: Message | None) -> None:
    """Refuse the write unless `current_document` holds."""
    kind = write.current_document.WhichOneof("condition_type")
    if kind == "exists":
        if write.current_document.exists and current is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"No document to update: {name}")
        if not write.current_document.exists and current is not None:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Document already exists: {name}")
    elif kind == "update_time":
        required = to_micros(write.current_document.update_time)
        stored = 0 if current is None else to_micros(current.update_time)
        if current is not None and required > stored:
            raise invalid(f"Invalid base version ({required}), it is greater than the stored version ({stored})")
        if required != stored:
            raise failed_precondition(
                f"the stored version ({stored}) does not match the required base version ({required})"
            )


def apply_write(
    write: Message, name: str, segments: Segments, current: Message | None, time: int
) -> tuple[Message | None, list[Message]]:
    """The document after the write (None: deleted) and the values its transforms left.

    `time` is the commit's, in microseconds. An unchanged document is returned as it is, with its old update time
    (the same as the official emulator: `update_time` moves only when the content does). `current` is not modified.
    """
    kind = write.WhichOneof("operation")
    if kind == "delete":
        return None, []
    after = Document(name=name)
    if kind == "update":
        _merge(write, current, after)
        transforms = write.update_transforms
    else:
        if current is not None:
            after.fields.MergeFrom(current.fields)
        transforms = write.transform.field_transforms
    results = [_transform(transform, after.fields, time) for transform in transforms]
    check_fields(after.fields, name, segments)
    if current is not None:
        after.create_time.CopyFrom(current.create_time)
        after.update_time.CopyFrom(current.update_time)
        if same(after, current):
            return current, results
    else:
        set_micros(after.create_time, time)
    set_micros(after.update_time, time)
    return after, results


def same(left: Message, right: Message) -> bool:
    """Whether two documents are byte for byte the same (so NaN equals itself, and 1 differs from 1.0)."""
    return bool(left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True))


def _merge(write: Message, current: Message | None, after: Message) -> None:
    if not write.HasField("update_mask"):
        after.fields.MergeFrom(write.update.fields)
        return
    if current is not None:
        after.fields.MergeFrom(current.fields)
    for text in write.update_mask.field_paths:
        path = parse_field(text)
        value = get_field(write.update.fields, path)
        if value is None:
            delete_field(after.fields, path)
        else:
            set_field(after.fields, path, value)


def _transform(transform: Message, fields: Message, time: int) -> Message:
    path = parse_field(transform.field_path)
    kind = transform.WhichOneof("transform_type")
    stored = get_field(fields, path)
    null = Value(null_value=0)
    match kind:
        case "set_to_server_value":
            if transform.set_to_server_value != FieldTransform.ServerValue.Value("REQUEST_TIME"):
                raise invalid("The only server value is REQUEST_TIME.")
            result = Value()
            # Documented precision of the server's time is the millisecond.
            set_micros(result.timestamp_value, time - time % 1000)
        case "increment" | "maximum" | "minimum":
            operand = getattr(transform, kind)
            if not _is_number(operand):
                raise invalid(f"The operand of {kind} must be an integer or a double.")
            rule = {"increment": _increment, "maximum": _maximum, "minimum": _minimum}[kind]
            result = rule(stored, operand) if stored is not None and _is_number(stored) else operand
        case "append_missing_elements":
            _put_array(fields, path, _union(stored, transform.append_missing_elements.values))
            return null
        case "remove_all_from_array":
            removed = {encode(item) for item in transform.remove_all_from_array.values}
            _put_array(fields, path, [item for item in _items(stored) if encode(item) not in removed])
            return null
        case _:
            raise invalid("A field transform without a type.")
    kept = Value()
    kept.CopyFrom(result)
    set_field(fields, path, kept)
    return kept


def _is_number(value: Message) -> bool:
    return value.WhichOneof("value_type") in ("integer_value", "double_value")


def _number(value: Message) -> int | float:
    number: int | float = value.integer_value if value.HasField("integer_value") else value.double_value
    return number


def _increment(stored: Message, operand: Message) -> Message:
    """Integers saturate at the ends of int64; any double makes the sum a double."""
    if stored.HasField("integer_value") and operand.HasField("integer_value"):
        total = stored.integer_value + operand.integer_value
        return Value(integer_value=max(INT64_MIN, min(INT64_MAX, total)))
    return Value(double_value=float(_number(stored)) + float(_number(operand)))


def _maximum(stored: Message, operand: Message) -> Message:
    """The greater, with its own type; equals keep the stored one; NaN wins."""
    left, right = _number(stored), _number(operand)
    if math.isnan(left) or math.isnan(right):
        return Value(double_value=math.nan)
    return operand if right > left else stored


def _minimum(stored: Message, operand: Message) -> Message:
    """The lesser, with its own type; equals keep the stored one; NaN wins."""
    left, right = _number(stored), _number(operand)
    if math.isnan(left) or math.isnan(right):
        return Value(double_value=math.nan)
    return operand if right < left else stored


def _items(stored: Message | None) -> list[Message]:
    return [] if stored is None else list(stored.array_value.values)


def _union(stored: Message | None, added: Message) -> list[Message]:
    items = _items(stored)
    present = {encode(item) for item in items}
    for item in added:
        key = encode(item)
        if key not in present:
            present.add(key)
            items.append(item)
    return items


def _put_array(fields: Message, path: FieldPath, items: list[Message]) -> None:
    array = Value()
    array.array_value.SetInParent()
    array.array_value.values.extend(items)
    set_field(fields, path, array)
