"""Encoded keys sort exactly as Firestore's values do."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.paths import Database, format_field, parse_field, path_key, path_segments
from emulator.protocol import Refused, Value
from emulator.values import complement, encode, successor

INT = st.integers(-(2**63), 2**63 - 1)
EDGES = [0, -1, 2**53, 2**53 + 1, 2**53 - 1, -(2**53) - 1, 2**62 + 1, 2**63 - 1, -(2**63), -(2**63) + 1]
NUMBER = (
    st.sampled_from(EDGES)
    | INT
    | st.floats()
    | st.sampled_from(EDGES).map(float)
    | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, float(2**63)])
)
TEXT = st.text(
    alphabet=st.sampled_from("ab\0\x01\xffé\ud7ff\ue000\U0001f600") | st.characters(codec="utf-8"), max_size=4
)
# A model of a value: (rank of its type, payload).
LEAF = st.one_of(
    st.just((0, None)),
    st.booleans().map(lambda b: (1, b)),
    NUMBER.map(lambda n: (2, n)),
    st.tuples(st.integers(-62135596800, 253402300799), st.integers(0, 999_999_999)).map(lambda t: (3, t)),
    TEXT.map(lambda s: (4, s)),
    st.binary(max_size=4).map(lambda b: (5, b)),
    st.lists(st.sampled_from(["a", "b", "ab", "a!", "é"]), min_size=2, max_size=4).map(lambda p: (6, tuple(p))),
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)).map(lambda g: (7, g)),
)
MODEL = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: (8, items)),
        st.lists(st.floats(allow_nan=False), max_size=3).map(lambda items: (9, items)),
        st.dictionaries(TEXT, inner, max_size=3).map(lambda items: (10, items)),
    ),
    max_leaves=6,
)


def message(model: tuple[int, Any]) -> Any:
    kind, payload = model
    value = Value()
    match kind:
        case 0:
            value.null_value = 0
        case 1:
            value.boolean_value = payload
        case 2 if isinstance(payload, float):
            value.double_value = payload
        case 2:
            value.integer_value = payload
        case 3:
            value.timestamp_value.seconds, value.timestamp_value.nanos = payload
        case 4:
            value.string_value = payload
        case 5:
            value.bytes_value = payload
        case 6:
            value.reference_value = "/".join(payload)
        case 7:
            value.geo_point_value.latitude, value.geo_point_value.longitude = payload
        case 8:
            value.array_value.SetInParent()
            value.array_value.values.extend(map(message, payload))
        case 9:
            value.map_value.fields["__type__"].string_value = "__vector__"
            value.map_value.fields["value"].array_value.SetInParent()
            value.map_value.fields["value"].array_value.values.extend(Value(double_value=n) for n in payload)
        case _:
            value.map_value.SetInParent()
            for key, inner in payload.items():
                value.map_value.fields[key].CopyFrom(message(inner))
    return value


def compare(left: Any, right: Any) -> int:
    """Firestore's order, written down a second time and without keys."""
    if left[0] != right[0]:
        return -1 if left[0] < right[0] else 1
    a, b = left[1], right[1]
    if left[0] == 2:
        nan = (b != b) - (a != a)
        return nan if a != a or b != b else (a > b) - (a < b)
    if left[0] == 4:
        a, b = a.encode(), b.encode()
    elif left[0] == 6:
        a, b = [s.encode() for s in a], [s.encode() for s in b]
    elif left[0] == 8:
        for x, y in zip(a, b, strict=False):
            if result := compare(x, y):
                return result
        a, b = len(a), len(b)
    elif left[0] == 9:
        a, b = (len(a), a), (len(b), b)
    elif left[0] == 10:
        rows = [sorted(((k.encode(), v) for k, v in m.items()), key=lambda item: item[0]) for m in (a, b)]
        for (ka, va), (kb, vb) in zip(*rows, strict=False):
            if ka != kb:
                return -1 if ka < kb else 1
            if result := compare(va, vb):
                return result
        a, b = len(a), len(b)
    return (a > b) - (a < b) if a is not None else 0


@settings(max_examples=1500, deadline=None)
@given(MODEL, MODEL)
def test_key_order_is_value_order(left: tuple[int, Any], right: tuple[int, Any]) -> None:
    a, b = encode(message(left)), encode(message(right))
    assert (a > b) - (a < b) == compare(left, right)
    assert a == b or not a.startswith(b)
    down = complement(a), complement(b)
    assert (down[0] < down[1]) - (down[0] > down[1]) == compare(left, right)


@settings(max_examples=500, deadline=None)
@given(NUMBER, NUMBER)
def test_numbers_compare_exactly_across_types(left: float, right: float) -> None:
    a, b = encode(message((2, left))), encode(message((2, right)))
    assert (a > b) - (a < b) == compare((2, left), (2, right))


@given(st.binary(min_size=1, max_size=6), st.binary(max_size=8))
def test_successor_is_the_end_of_a_prefix(prefix: bytes, key: bytes) -> None:
    if prefix.strip(b"\xff"):
        assert (prefix <= key < successor(prefix)) == key.startswith(prefix)
    assert complement(complement(key)) == key


def test_paths_sort_by_segments_and_come_back() -> None:
    database = Database("p", "d")
    paths = [
        ("c", "__id-9223372036854775808__"),
        ("c", "__id7__"),
        ("c", "a"),
        ("c", "a", "x", "1"),
        ("c", "a!"),
        ("c", "a\0"),
        ("c", "b"),
        ("c!", "a"),
        ("é", "\U0001f600"),
    ]
    paths[4:6] = [("c", "a\0"), ("c", "a!")]
    keys = [path_key(database, path) for path in paths]
    assert keys == sorted(keys)
    assert [path_segments(key) for key in keys] == paths


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        ("a.b_1", ("a", "b_1")),
        ("`a.b`.c", ("a.b", "c")),
        ("`\\`\\\\`", ("`\\",)),
        ("é", None),
        ("a..b", None),
    ],
)
def test_field_paths(text: str, parts: tuple[str, ...] | None) -> None:
    if parts is None:
        with pytest.raises(Refused):
            parse_field(text)
    else:
        assert parse_field(text) == parts
        assert parse_field(format_field(parts)) == parts
