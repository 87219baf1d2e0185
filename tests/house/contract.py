"""Compares a schema with the public contract: what differs, and what is not there yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    InputObjectTypeDefinitionNode,
    InputValueDefinitionNode,
    InterfaceTypeDefinitionNode,
    ObjectTypeDefinitionNode,
    ScalarTypeDefinitionNode,
    TypeDefinitionNode,
    UnionTypeDefinitionNode,
    is_required_argument,
    is_required_input_field,
    parse,
    print_ast,
)

PAYLOADS = re.compile(r"((?:\w+Payload(?:, )?)+):? \{ ([^}]*) \}")
CONNECTION = re.compile(r"\b((?!ListingSearch)\w+)Connection\b")


@dataclass
class Findings:
    """`missing` are coordinates such as `Query.badges`; `different` tell what the contract wants and what is there."""

    missing: set[str] = field(default_factory=set)
    different: set[str] = field(default_factory=set)


def compare(contract: str, schema: GraphQLSchema) -> Findings:
    """A schema may hold more than the contract, never less, and never other names."""
    found = Findings()
    for wanted in definitions(contract):
        name = wanted.name.value
        ours = schema.type_map.get(name)
        if ours is None:
            found.missing.add(name)
        else:
            _compare_type(name, wanted, ours, found)
    return found


def definitions(contract: str) -> Iterator[TypeDefinitionNode]:
    """The contract's types, with those that its comments and conventions define: payloads, connections and edges."""
    yield from _types(parse(contract))
    for names, fields in PAYLOADS.findall(contract):
        for name in names.split(", "):
            yield from _types(parse(f"type {name} {{ {fields} }}"))
    code = re.sub(r"#.*", "", contract)
    for name in sorted(set(CONNECTION.findall(code))):
        yield from _types(
            parse(
                f"type {name}Connection {{ edges: [{name}Edge!]! nodes: [{name}!]! pageInfo: PageInfo! }}"
                f"type {name}Edge {{ cursor: String! node: {name}! }}"
            )
        )


def _types(document: DocumentNode) -> Iterator[TypeDefinitionNode]:
    for definition in document.definitions:
        assert isinstance(definition, TypeDefinitionNode)
        yield definition


def _compare_type(name: str, wanted: TypeDefinitionNode, ours: GraphQLNamedType, found: Findings) -> None:
    match wanted, ours:
        case ScalarTypeDefinitionNode(), GraphQLScalarType():
            pass
        case EnumTypeDefinitionNode(), GraphQLEnumType():
            found.missing |= {f"{name}.{value.name.value}" for value in wanted.values or ()} - {
                f"{name}.{value}" for value in ours.values
            }
        case UnionTypeDefinitionNode(), GraphQLUnionType():
            found.missing |= {f"{name} | {member.name.value}" for member in wanted.types or ()} - {
                f"{name} | {member.name}" for member in ours.types
            }
        case InputObjectTypeDefinitionNode(), GraphQLInputObjectType():
            _compare_input(name, wanted, ours, found)
        case ObjectTypeDefinitionNode(), GraphQLObjectType():
            lacking = {each.name.value for each in wanted.interfaces or ()} - {each.name for each in ours.interfaces}
            found.different |= {f"{name} does not implement {each}" for each in lacking}
            _compare_fields(name, wanted, ours, found)
        case InterfaceTypeDefinitionNode(), GraphQLInterfaceType():
            _compare_fields(name, wanted, ours, found)
        case _:
            found.different.add(f"{name} is another kind of type: {type(ours).__name__}")


def _compare_fields(
    name: str,
    wanted: ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode,
    ours: GraphQLObjectType | GraphQLInterfaceType,
    found: Findings,
) -> None:
    for each in wanted.fields or ():
        at = f"{name}.{each.name.value}"
        field_ = ours.fields.get(each.name.value)
        if field_ is None:
            found.missing.add(at)
            continue
        _same(at, each, str(field_.type), found)
        told = {argument.name.value: argument for argument in each.arguments or ()}
        for argument_name, argument in told.items():
            there = field_.args.get(argument_name)
            if there is None:
                found.missing.add(f"{at}({argument_name}:)")
            else:
                _same(f"{at}({argument_name}:)", argument, str(there.type), found)
        more = {key for key, argument in field_.args.items() if key not in told and is_required_argument(argument)}
        found.different |= {f"{at} asks for {key}, which the contract does not know" for key in more}


def _compare_input(
    name: str, wanted: InputObjectTypeDefinitionNode, ours: GraphQLInputObjectType, found: Findings
) -> None:
    told: Mapping[str, InputValueDefinitionNode] = {each.name.value: each for each in wanted.fields or ()}
    for key, each in told.items():
        there = ours.fields.get(key)
        if there is None:
            found.missing.add(f"{name}.{key}")
        else:
            _same(f"{name}.{key}", each, str(there.type), found)
    more = {key for key, there in ours.fields.items() if key not in told and is_required_input_field(there)}
    found.different |= {f"{name} asks for {key}, which the contract does not know" for key in more}


def _same(at: str, wanted: FieldDefinitionNode | InputValueDefinitionNode, ours: str, found: Findings) -> None:
    if print_ast(wanted.type) != ours:
        found.different.add(f"{at} is {ours}, and {print_ast(wanted.type)} in the contract")
