"""Values to messages and back: exact, equal to the official client's reading, and loud about what Firestore refuses."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from google.cloud.firestore_v1 import _helpers, types
from hypothesis import given, settings
from hypothesis import strategies as st

from firestore import codec
from firestore.matching import stored


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: not (name.startswith("__") and name.endswith("__")))
TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=20)),
    *(st.binary(max_size=20), TIMES),
)
MAPS = st.recursive(
    st.dictionaries(NAMES, SCALARS, max_size=4),
    lambda inner: st.dictionaries(
        NAMES, st.one_of(SCALARS, inner, st.lists(st.one_of(SCALARS, inner), max_size=3)), max_size=4
    ),
    max_leaves=12,
)


def there(data: dict[str, Any]) -> Any:
    """The data as a document from the wire."""
    message = codec.DocumentMessage(name="projects/p/databases/d/documents/wallets/ann")
    message.update_time.seconds, message.update_time.nanos = 12, 345_000
    codec.encode_document(message, data)
    return codec.DocumentMessage.FromString(message.SerializeToString())


def exact(value: Any) -> Any:
    """A form that tells 1 from True and 1.0, and in which NaN is equal to itself."""
    if isinstance(value, dict):
        return {name: exact(one) for name, one in value.items()}
    if isinstance(value, list):
        return [exact(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return repr(value)


@settings(deadline=None, max_examples=150)
@given(MAPS)
def test_what_goes_in_comes_out(data: dict[str, Any]) -> None:
    message = there(data)
    decoded = codec.decode_fields(message.fields)
    assert exact(decoded) == exact(data)
    assert exact(decoded) == exact(stored(data))  # the memory backend keeps the same
    official = _helpers.decode_dict(types.Document.deserialize(message.SerializeToString()).fields, None)
    assert exact(decoded) == exact(official)


def test_a_document_has_its_path_and_version() -> None:
    snapshot = codec.decode_document(there({"n": 1}), len("projects/p/databases/d/documents/"))
    assert (snapshot.path, snapshot.id, snapshot.version) == ("wallets/ann", "ann", 12_000_345_000)
    assert snapshot.data == {"n": 1}


def test_a_time_is_utc_to_the_microsecond() -> None:
    moment = datetime(2026, 11, 20, 23, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=-4)))
    decoded = codec.decode_fields(there({"at": moment, "old": datetime(1, 1, 1, tzinfo=UTC)}).fields)
    assert decoded["at"] == datetime(2026, 11, 21, 3, 30, 0, 999_999, tzinfo=UTC)
    assert decoded["at"].tzinfo is UTC  # type: ignore[union-attr]
    assert decoded["old"] == datetime(1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("copy", [lambda data: codec.decode_fields(there(data).fields), stored])
def test_subclasses_become_plain(copy: Any) -> None:
    answer = copy({"colour": Colour.RED, "level": Level.HIGH, "both": (Colour.RED, Level.HIGH)})
    assert answer == {"colour": "red", "level": 3, "both": ["red", 3]}
    assert [type(answer["colour"]), type(answer["level"]), type(answer["both"][0])] == [str, int, str]


def nested(depth: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(depth):
        data = {"in": data}
    return data


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("naive datetime", {"at": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 - the point of the test
    ("too great", {"n": 2**63}, "64 bits"),
    ("too small", {"n": -(2**63) - 1}, "64 bits"),
    ("array in array", {"a": [[1]]}, "directly in an array"),
    ("half a surrogate", {"s": "\ud800"}, "surrogate"),
    ("half a surrogate inside", {"m": {"s": ["\udfff"]}}, "m.s: half a surrogate"),
    ("decimal", {"price": Decimal("1.5")}, "no Decimal"),
    ("set", {"tags": {1}}, "no set"),
    ("no name", {"": 1}, "no field name"),
    ("reserved name", {"__id__": 1}, "no field name"),
    ("a name that is no text", {"m": {1: 1}}, "no field name"),
    ("too deep", nested(21), "deeper than 20"),
]


@pytest.mark.parametrize(("data", "why"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_firestore_does_not_hold_is_refused_by_both(data: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        there(data)
    with pytest.raises(ValueError, match=why):
        stored(data)


def test_twenty_levels_are_not_too_deep() -> None:
    data = nested(20)
    assert codec.decode_fields(there(data).fields) == data == stored(data)


def test_a_foreign_kind_is_named() -> None:
    message = codec.DocumentMessage()
    message.fields["place"].geo_point_value.latitude = 1
    with pytest.raises(ValueError, match="geo_point_value"):
        codec.decode_fields(message.fields)


def test_special_floats_stay() -> None:
    decoded = codec.decode_fields(there({"nan": math.nan, "inf": -math.inf, "zero": -0.0, "whole": 1.0}).fields)
    assert exact(decoded) == {"nan": "nan", "inf": "-inf", "zero": "-0.0", "whole": "1.0"}


@pytest.mark.parametrize(
    ("name", "quoted"), [("plain_1", "plain_1"), ("1st", "`1st`"), ("a.b", "`a.b`"), ("`\\", "`\\`\\\\`"), ("é", "`é`")]
)
def test_field_names_are_quoted(name: str, quoted: str) -> None:
    assert codec.quote(name) == quoted
