"""Firestore's values: their order as bytes, their sizes, their validity.

The order across types is the documented one (https://firebase.google.com/docs/firestore/manage-data/data-types):
null < boolean < NaN < number < timestamp < string < bytes < reference < geopoint < array < vector < map.
`encode(a) < encode(b)` holds exactly when a sorts before b, and no encoding is a prefix of another, so encodings may be
laid one behind the other to make the key of an index.
"""

import math
import struct

from emulator.paths import FieldPath, check_field_name, segment_key
from emulator.protocol import Message, Value, invalid

FIELD_BYTES_MAX = 1_048_487  # Firestore quota: 1 MiB - 89 bytes for one field's value
DOCUMENT_BYTES_MAX = 1_048_576
NESTING_MAX = 20
# Firestore indexes the first 1,500 bytes of a value; longer ones with an equal start are ordered by name.
INDEXED_BYTES_MAX = 1500

T_END, T_ENTRY = b"\x01", b"\x02"
T_NULL, T_FALSE, T_TRUE, T_NAN, T_NUMBER, T_TIME, T_STRING, T_BYTES, T_REFERENCE, T_GEO, T_ARRAY, T_VECTOR, T_MAP = (
    bytes([tag]) for tag in (0x05, 0x0A, 0x0B, 0x10, 0x11, 0x20, 0x25, 0x2D, 0x30, 0x38, 0x40, 0x44, 0x48)
)
# What an inequality can see: values of the other side's kind only.
_BRACKETS = {T_FALSE: (T_FALSE, T_TRUE), T_TRUE: (T_FALSE, T_TRUE)}
_COMPLEMENT = bytes(255 - byte for byte in range(256))
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_DOUBLE = struct.Struct(">d")
_BITS = struct.Struct(">Q")


def complement(key: bytes) -> bytes:
    """Bytes in the opposite order."""
    return key.translate(_COMPLEMENT)


def successor(prefix: bytes) -> bytes:
    """The least bytes above everything that starts with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return b"\xff" * (len(prefix) + 1)
    return stem[:-1] + bytes([stem[-1] + 1])


def bracket(encoded: bytes) -> tuple[bytes, bytes]:
    """Lowest and highest type tag of the values that an inequality with this value compares."""
    tag = encoded[:1]
    return _BRACKETS.get(tag, (tag, tag))


def encode(value: Message) -> bytes:
    """The sortable bytes of a value; equal bytes mean equal values (1 and 1.0, 0.0 and -0.0 are equal)."""
    match value.WhichOneof("value_type"):
        case "string_value":
            return T_STRING + _text(value.string_value.encode())
        case "integer_value":
            return T_NUMBER + _integer(value.integer_value)
        case "double_value":
            number = value.double_value
            return T_NAN if math.isnan(number) else T_NUMBER + _double(number) + b"\0\0"
        case "boolean_value":
            return T_TRUE if value.boolean_value else T_FALSE
        case "timestamp_value":
            seconds, nanos = int(value.timestamp_value.seconds), int(value.timestamp_value.nanos)
            return T_TIME + _BITS.pack(seconds + _SIGN) + nanos.to_bytes(4, "big")
        case "null_value":
            return T_NULL
        case "bytes_value":
            return T_BYTES + _text(value.bytes_value)
        case "reference_value":
            return encode_reference(value.reference_value)
        case "geo_point_value":
            point = value.geo_point_value
            return T_GEO + _double(point.latitude) + _double(point.longitude)
        case "array_value":
            return T_ARRAY + b"".join(map(encode, value.array_value.values)) + T_END
        case "map_value":
            return _map(value)
    raise invalid("A value without a type: set one of the fields of google.firestore.v1.Value.")


def encode_reference(name: str) -> bytes:
    """A document's name as a value: compared segment by segment, the parent before its children."""
    return T_REFERENCE + b"".join(T_ENTRY + segment_key(part) for part in name.split("/")) + T_END


def vector_of(value: Message) -> list[float] | None:
    """The numbers of a vector embedding, or None when the value is not one."""
    fields = value.map_value.fields
    if len(fields) != 2 or "__type__" not in fields or fields["__type__"].string_value != "__vector__":
        return None
    return [
        item.double_value if item.HasField("double_value") else float(item.integer_value)
        for item in fields["value"].array_value.values
    ]


def _map(value: Message) -> bytes:
    vector = vector_of(value)
    if vector is not None:
        return T_VECTOR + len(vector).to_bytes(4, "big") + b"".join(map(_double, vector))
    fields = value.map_value.fields
    entries = sorted((name.encode(), name) for name in fields)
    return T_MAP + b"".join(T_ENTRY + _text(raw) + encode(fields[name]) for raw, name in entries) + T_END


def _text(raw: bytes) -> bytes:
    return raw.replace(b"\0", b"\0\xff") + b"\0\1"


def _double(number: float) -> bytes:
    (bits,) = _BITS.unpack(_DOUBLE.pack(number or 0.0))  # -0.0 is falsy too: one zero
    return _BITS.pack(bits ^ (_ALL if bits & _SIGN else _SIGN))


def _integer(number: int) -> bytes:
    # The greatest double at or below the integer, then the rest: exact where doubles are coarser than integers.
    below = float(number)
    if int(below) > number:
        below = math.nextafter(below, -math.inf)
    return _double(below) + (number - int(below)).to_bytes(2, "big")


def get_field(fields: Message, path: FieldPath) -> Message | None:
    """The value at a path inside a map of fields, or None."""
    value = None
    for part in path:
        if part not in fields:
            return None
        value = fields[part]
        fields = value.map_value.fields  # empty unless the value is a map
    return value


def set_field(fields: Message, path: FieldPath, value: Message) -> None:
    """Put a copy of a value at a path, making maps of whatever stands in the way."""
    for part in path[:-1]:
        holder = fields[part]
        if not holder.HasField("map_value"):
            holder.CopyFrom(Value())
            holder.map_value.SetInParent()
        fields = holder.map_value.fields
    fields[path[-1]].CopyFrom(value)


def delete_field(fields: Message, path: FieldPath) -> None:
    """Remove what stands at a path, if anything does."""
    for part in path[:-1]:
        if part not in fields or not fields[part].HasField("map_value"):
            return
        fields = fields[part].map_value.fields
    if path[-1] in fields:
        del fields[path[-1]]


def name_size(segments: tuple[str, ...]) -> int:
    """Storage size in bytes of a document name (https://firebase.google.com/docs/firestore/storage-size)."""
    return 16 + sum(len(part.encode()) + 1 for part in segments)


def check_fields(fields: Message, name: str, segments: tuple[str, ...]) -> None:
    """Refuse a document that Firestore refuses: names, nesting, sizes."""
    size = name_size(segments) + 32
    for key, value in fields.items():
        check_field_name(key)
        value_size = _checked_size(value, key, depth=1, in_array=False)
        # A string's size counts one byte more than it has.
        if value_size - value.HasField("string_value") > FIELD_BYTES_MAX:
            raise invalid(f'The value of property "{key}" is longer than {FIELD_BYTES_MAX} bytes.')
        size += len(key.encode()) + 1 + value_size
    if size > DOCUMENT_BYTES_MAX:
        raise invalid(
            f"Document '{name}' cannot be written because its size ({size:,} bytes) exceeds the maximum allowed "
            f"size of {DOCUMENT_BYTES_MAX:,} bytes."
        )


def _checked_size(value: Message, prop: str, *, depth: int, in_array: bool) -> int:
    match value.WhichOneof("value_type"):
        case "string_value":
            return len(value.string_value.encode()) + 1
        case "bytes_value":
            return len(value.bytes_value)
        case "null_value" | "boolean_value":
            return 1
        case "integer_value" | "double_value" | "timestamp_value":
            return 8
        case "geo_point_value":
            return _geo_size(value.geo_point_value)
        case "reference_value":
            return name_size(tuple(value.reference_value.split("/")[5:]))
        case "array_value":
            if in_array:
                raise invalid("Cannot convert an array value in an array value.")
            _check_depth(depth, prop)
            return sum(_checked_size(v, prop, depth=depth + 1, in_array=True) for v in value.array_value.values)
        case "map_value":
            return _map_size(value, prop, depth)
    raise invalid(f'The property "{prop}" has a value without a type.')


def _map_size(value: Message, prop: str, depth: int) -> int:
    _check_depth(depth, prop)
    vector = vector_of(value)
    if vector is not None:
        return 8 * len(vector)
    size = 0
    for key, inner in value.map_value.fields.items():
        check_field_name(key)
        size += len(key.encode()) + 1 + _checked_size(inner, prop, depth=depth + 1, in_array=False)
    return size


def _check_depth(depth: int, prop: str) -> None:
    if depth > NESTING_MAX:
        raise invalid(f"Property {prop} contains an invalid nested entity: deeper than {NESTING_MAX} levels.")


def _geo_size(point: Message) -> int:
    if not (-90 <= point.latitude <= 90 and -180 <= point.longitude <= 180):
        raise invalid("A geo point needs a latitude within [-90, 90] and a longitude within [-180, 180].")
    return 16
