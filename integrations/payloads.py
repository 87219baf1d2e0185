"""Reading what a provider posted: strictly, and so that no bytes whatever raise anything but Malformed."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence

_EMAIL_CHARACTERS_MAX = 320  # RFC 3696, errata 1690


class Malformed(Exception):
    """A signed body that is not what it must be; the text says why, and the door answers 400."""


class Doubt(Exception):
    """A value that cannot be read, in a body that otherwise can: a human must look at the order."""


def parse_object(body: bytes) -> dict[str, object]:
    """The JSON object, with integers exact and other numbers as their own text: no float touches an id or an amount."""
    try:
        told = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_float=str, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise Malformed("it is nested too deeply to be read") from None
    except ValueError as error:  # not UTF-8, not JSON, or an integer of thousands of digits
        raise Malformed(f"it is not JSON in UTF-8: {error}"[:200]) from None
    if not isinstance(told, dict):
        raise Malformed("it is JSON, and no object")
    return told


def object_at(told: Mapping[str, object], name: str) -> dict[str, object]:
    """The object under a name; an absent or null one is empty."""
    value = told.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"its {name} is {shown(value)}, which is no object")
    return value


def flag_at(told: Mapping[str, object], name: str) -> bool:
    """The flag under a name, which must be told."""
    value = told.get(name)
    if type(value) is not bool:
        raise Malformed(f"its {name} is {shown(value)}, neither true nor false")
    return value


def readable_email(value: object) -> str | None:
    """An address in the one spelling by which users are found; None where it cannot be one."""
    email = value.strip().casefold() if isinstance(value, str) else ""
    return email if "@" in email and len(email) <= _EMAIL_CHARACTERS_MAX and email.isprintable() else None


def shown(value: object) -> str:
    """Enough of a value to find it in the payload, however deep, long or unprintable it is."""
    return reprlib.repr(value)[:60]


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Two readers of a repeated key may each see another value: what was signed would not be what is read (T-W18)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("a key occurs twice in one object")
    return found


def _refuse_constant(name: str) -> object:
    raise Malformed(f"{name} is not JSON")
