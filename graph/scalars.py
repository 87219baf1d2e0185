"""The contract's scalars that Strawberry does not bring: Dof."""

from __future__ import annotations

from typing import Any

import strawberry

from domain.errors import BadInput
from domain.money import DOF_MAX, Dof


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
