"""The contract's scalars that Strawberry does not bring: Dof. And what a client's moment and time zone must be."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import strawberry

from domain.errors import BadInput
from domain.money import DOF_MAX, Dof
from domain.users import require_timezone

# A system's folder of zones holds more than zones of the world: the machine's own, which differs from process to
# process, one that says that nobody has set any, and all of them again with leap seconds.
_NO_ZONES = re.compile(r"(localtime|posixrules|Factory)|(posix|right)/.*")


def _parse(value: Any) -> Dof:
    """A JSON integer and nothing else: not 5.0, not "5", not true (T-M02)."""
    if type(value) is not int or not -DOF_MAX <= value <= DOF_MAX:
        raise BadInput(f"Dof is a whole number between -{DOF_MAX} and {DOF_MAX}, written as a JSON integer.")
    return Dof(value)


DOF = strawberry.scalar(
    name="Dof",
    description="Whole tokens: a JSON integer, |x| <= 10^15, beyond GraphQL's Int and exact in every client.",
    serialize=lambda value: value.units,
    parse_value=_parse,
)


def moment(given: datetime, field: str) -> datetime:
    """A client's moment in UTC. Raises BadInput for one without a time zone, and for one that no calendar has there."""
    name = field.rpartition(".")[2]
    if given.tzinfo is None:
        raise BadInput(f"Say the time zone of {name}, as in 2030-01-01T00:00:00Z.", field=field)
    try:
        return given.astimezone(UTC)
    except OverflowError:
        raise BadInput(f"{name} lies outside the years 1 to 9999 of UTC: send another moment.", field=field) from None


def zone_of(name: str, field: str) -> ZoneInfo:
    """The time zone of a name. Raises BadInput for what is none: a profile holds no zone in which no day begins."""
    try:
        if _NO_ZONES.fullmatch(name) is None:
            return ZoneInfo(require_timezone(name))
    except (BadInput, ZoneInfoNotFoundError, OSError, ValueError):  # OSError: `America` is a folder
        pass
    raise BadInput("No time zone is called so: name one such as Europe/Berlin or UTC.", field=field)
