"""Every refusal that can be raised has its type in the schema, and the other way round (house rule 7)."""

from __future__ import annotations

import ast
from pathlib import Path

from graphql import GraphQLEnumType, GraphQLInterfaceType, GraphQLObjectType, GraphQLUnionType, build_schema

from domain import errors
from graph.errors import REFUSALS
from tests.house.schema import schema_text
from tests.house.tree import parsed, sources

SCHEMA = build_schema(schema_text())


def kinds() -> set[type[errors.Refusal]]:
    return set(errors.Refusal.__subclasses__())


def raised() -> set[str]:
    """The names of the refusals that any module makes."""
    return {name for path in sources() for name in _made(path)} & {kind.__name__ for kind in kinds()}


def _made(path: Path) -> set[str]:
    """The classes of domain.errors that the module calls, however it imports them. A bare `raise X` counts too."""
    tree = parsed(path)
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    direct = {
        alias.asname or alias.name: alias.name
        for node in froms
        if node.module == "domain.errors"
        for alias in node.names
    }
    rooms = {
        alias.asname or alias.name
        for node in froms
        if node.module == "domain"
        for alias in node.names
        if alias.name == "errors"
    }
    made = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) | ast.Raise(exc=ast.Name(id=name)) if name in direct:
                made.add(direct[name])
            case ast.Call(func=ast.Attribute(value=ast.Name(id=room), attr=name)) if room in rooms:
                made.add(name)
    return made


def test_what_is_raised_is_a_type_of_the_schema() -> None:
    assert raised() - {kind.__name__ for kind in REFUSALS} == set()


def test_no_type_of_the_schema_is_a_refusal_that_nobody_raises() -> None:
    assert {kind.__name__ for kind in REFUSALS} - raised() == set()


def test_each_refusal_has_one_code_and_the_schema_has_them_all() -> None:
    codes = [kind.code for kind in kinds()]
    assert sorted(codes) == sorted(errors.RefusalCode)
    enum = SCHEMA.type_map["RefusalCode"]
    assert isinstance(enum, GraphQLEnumType)
    assert set(enum.values) == {code.value for code in errors.RefusalCode}


def test_every_mutation_answers_with_its_payload_or_a_refusal() -> None:
    """A union of `<Name>Payload` and refusals, each of which implements Refusal."""
    mutation, refusal = SCHEMA.mutation_type, SCHEMA.type_map["Refusal"]
    assert mutation is not None
    assert isinstance(refusal, GraphQLInterfaceType)
    wrong = []
    for name, field in mutation.fields.items():
        title = name[0].upper() + name[1:]
        union = SCHEMA.type_map.get(f"{title}Result")
        members = list(union.types) if isinstance(union, GraphQLUnionType) else []
        refusals = [each for each in members if isinstance(each, GraphQLObjectType) and refusal in each.interfaces]
        payloads = [each.name for each in members if each not in refusals]
        if str(field.type) != f"{title}Result!" or payloads != [f"{title}Payload"] or not members:
            wrong.append(f"{name}: {field.type}")
    assert wrong == []
