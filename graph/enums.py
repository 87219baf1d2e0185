"""Enums of the schema, with what a stranger cannot guess of their values."""

from __future__ import annotations

from enum import EnumMeta

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition


def enum(words: EnumMeta, description: str, *, name: str | None = None, **values: str) -> None:
    """Make an enum of ours one of the schema's; `values` describes those that need it, by their names.

    Raises LookupError for a value that the enum does not have. A type that names the enum may be read first, and hold
    the definition that Strawberry made for it: that one is written on.
    """
    if "__strawberry_definition__" not in vars(words):
        strawberry.enum(words)
    definition: StrawberryEnumDefinition = words.__strawberry_definition__  # type: ignore[attr-defined]
    definition.name, definition.description = name or words.__name__, description
    unknown = values.keys() - {value.name for value in definition.values}
    if unknown:
        raise LookupError(f"{words.__name__} has no value {', '.join(sorted(unknown))}")
    for value in definition.values:
        value.description = values.get(value.name)
