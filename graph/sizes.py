"""How long a list without `first` can be: declared at its field, priced by `graph.cost`.

Every such field of the schema declares it (a house test asks), at the bound that the code itself holds: what a list has
today says nothing of what somebody can make of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphql import GraphQLField

_SIZE = "size"


@dataclass(frozen=True, slots=True)
class Size:
    """At most so many `items`; `reads` are the documents behind all of them, None for one each."""

    items: int
    reads: int | None = None


def at_most(items: int, *, reads: int | None = None) -> Mapping[str, Size]:
    """The metadata of a field that is a list of at most so many items. `reads` says what its own resolver reads where
    that is not a document for each."""
    return {_SIZE: Size(items, reads)}


def size_of(field: GraphQLField) -> Size | None:
    """What a field declares; None where it declares nothing."""
    told = field.extensions.get("strawberry-definition")
    size = getattr(told, "metadata", {}).get(_SIZE)
    return size if isinstance(size, Size) else None
