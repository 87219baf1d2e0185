"""Every list says how long it can be: what is priced by guesses is free to whoever makes it long (`graph/sizes.py`)."""

from __future__ import annotations

from collections.abc import Iterator

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_nullable_type,
    is_introspection_type,
    is_list_type,
)

from domain.receipts import PATH_MAX, RUN_LEAVES, RUNS_MAX
from domain.revisions import FIELDS_MAX
from graph.schema import make_schema
from graph.sizes import size_of


def _lists() -> Iterator[tuple[str, GraphQLField]]:
    """Every list that takes neither `first` nor `ids` and is not a page's own, as Type.field."""
    for type_ in make_schema()._schema.type_map.values():
        if not isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) or is_introspection_type(type_):
            continue
        of_a_page = {"edges", "nodes"} if "pageInfo" in type_.fields else set()
        for name, field in type_.fields.items():
            asked_for = name in of_a_page or {"first", "ids"} & set(field.args)
            if is_list_type(get_nullable_type(field.type)) and not asked_for:
                yield f"{type_.name}.{name}", field


def test_every_list_without_first_declares_its_size() -> None:
    sizes = {name: size_of(field) for name, field in _lists()}
    assert len(sizes) > 40
    assert [name for name, size in sizes.items() if size is None] == []
    assert sizes["UsageAnalytics.byAgent"].items == 100  # type: ignore[union-attr]


def test_sizes_that_follow_from_others_do() -> None:
    assert (RUN_LEAVES - 1).bit_length() + (RUNS_MAX - 1).bit_length() == PATH_MAX
    assert len(make_schema()._schema.type_map["UpdateAgentInput"].fields) - 2 <= FIELDS_MAX  # type: ignore[attr-defined]
