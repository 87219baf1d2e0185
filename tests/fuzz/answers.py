"""Whether an answer is what the schema promises: no fault, known codes, and data of the right shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    is_abstract_type,
    is_leaf_type,
    parse,
)

CODES = {
    "BAD_USER_INPUT",
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    "RATE_LIMITED",
    "COST_LIMIT_EXCEEDED",
    "UNAVAILABLE",
}
"""contract.graphql, Conventions; INTERNAL is missing on purpose, NOT_FOUND is what a subscription is refused with."""

SCALARS: Mapping[str, type | tuple[type, ...]] = {
    "ID": str,
    "String": str,
    "Int": int,
    "Float": (int, float),
    "Boolean": bool,
    "Dof": int,
    "Decimal": str,
    "DateTime": str,
    "Date": str,
}


def complaints(schema: GraphQLSchema, query: str, status: int, answer: Any) -> list[str]:
    """What is wrong with an answer; nothing where it is one that the schema promises."""
    if status >= 500:
        return [f"answered {status}"]
    if not isinstance(answer, dict) or not answer.keys() & {"data", "errors"}:
        return ["is no GraphQL answer"]
    found = [
        f"has an error of code {error.get('extensions', {}).get('code')!r}: {error.get('message')}"
        for error in answer.get("errors", ())
        if error.get("extensions", {}).get("code") not in CODES
    ]
    if answer.get("data") is None:
        return found if answer.get("errors") else [*found, "has neither data nor errors"]
    return [*found, *_Reader(schema, query).complaints(answer["data"])]


class _Reader:
    """Holds data against the operation that asked for it."""

    def __init__(self, schema: GraphQLSchema, query: str) -> None:
        self._schema = schema
        definitions = parse(query).definitions
        self._fragments = {each.name.value: each for each in definitions if isinstance(each, FragmentDefinitionNode)}
        (self._operation,) = (each for each in definitions if isinstance(each, OperationDefinitionNode))

    def complaints(self, data: Any) -> list[str]:
        root = self._schema.get_root_type(self._operation.operation)
        assert root is not None, "the operation was validated"
        return list(self._object(root, [self._operation.selection_set], data, ""))

    def _object(
        self, kind: GraphQLObjectType, selections: list[SelectionSetNode], data: Any, path: str
    ) -> Iterator[str]:
        if not isinstance(data, dict):
            yield f"{path} is no object"
            return
        fields: dict[str, list[FieldNode]] = {}
        for selection in selections:
            self._collect(kind, selection, fields)
        if set(data) != set(fields):
            yield f"{path} holds {sorted(data)}, where {sorted(fields)} was asked for"
        for name, asked in fields.items():
            if name not in data:
                continue
            field_name = asked[0].name.value
            if field_name == "__typename":
                if data[name] != kind.name:
                    yield f"{path}.{name} is {data[name]!r}, not {kind.name}"
                continue
            below = [each.selection_set for each in asked if each.selection_set]
            yield from self._value(kind.fields[field_name].type, below, data[name], f"{path}.{name}")

    def _collect(self, kind: GraphQLObjectType, selection: SelectionSetNode, into: dict[str, list[FieldNode]]) -> None:
        for each in selection.selections:
            if isinstance(each, FieldNode):
                into.setdefault(each.alias.value if each.alias else each.name.value, []).append(each)
            elif isinstance(each, InlineFragmentNode):
                if each.type_condition is None or self._is(kind, each.type_condition.name.value):
                    self._collect(kind, each.selection_set, into)
            elif isinstance(each, FragmentSpreadNode):
                fragment = self._fragments[each.name.value]
                if self._is(kind, fragment.type_condition.name.value):
                    self._collect(kind, fragment.selection_set, into)

    def _is(self, kind: GraphQLObjectType, name: str) -> bool:
        other = self._schema.type_map[name]
        if other is kind:
            return True
        return isinstance(other, GraphQLAbstractType) and self._schema.is_sub_type(other, kind)

    def _value(self, kind: GraphQLOutputType, below: list[SelectionSetNode], value: Any, path: str) -> Iterator[str]:
        if isinstance(kind, GraphQLNonNull):
            if value is None:
                yield f"{path} is null, and must not be"
                return
            kind = kind.of_type
        if value is None:
            return
        if isinstance(kind, GraphQLList):
            if not isinstance(value, list):
                yield f"{path} is no list"
                return
            for place, item in enumerate(value):
                yield from self._value(kind.of_type, below, item, f"{path}[{place}]")
        elif isinstance(kind, GraphQLEnumType):
            if value not in kind.values:
                yield f"{path} is {value!r}, which {kind.name} does not know"
        elif is_leaf_type(kind):
            if not isinstance(value, SCALARS[kind.name]):
                yield f"{path} is {value!r}, which is no {kind.name}"
        elif is_abstract_type(kind):
            yield from self._abstract(kind, below, value, path)
        else:
            assert isinstance(kind, GraphQLObjectType), "nothing else is left"
            yield from self._object(kind, below, value, path)

    def _abstract(
        self, kind: GraphQLAbstractType, below: list[SelectionSetNode], value: Any, path: str
    ) -> Iterator[str]:
        """One of the possible types must fit; `__typename` is not always asked for."""
        tried = [list(self._object(each, below, value, path)) for each in self._schema.get_possible_types(kind)]
        if all(tried):
            yield min(tried, key=len)[0]
