"""A stranger reads the schema alone: every root field says what it does, and every enum and directive what it means."""

from __future__ import annotations

from graphql import GraphQLEnumType, GraphQLObjectType, build_schema

from tests.house.schema import schema_text

SENTENCE_ENDS = (".", "?")


def test_every_root_field_says_what_it_does() -> None:
    schema = build_schema(schema_text())
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    silent = []
    for root in roots:
        assert isinstance(root, GraphQLObjectType)
        for name, field in root.fields.items():
            if not (field.description or "").endswith(SENTENCE_ENDS):
                silent.append(f"{root.name}.{name}")
    assert silent == []


def test_no_description_tells_of_the_machinery() -> None:
    """Rounds and RPCs are for the second paragraph of a docstring, which the schema does not show."""
    schema = build_schema(schema_text())
    telling = []
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        assert isinstance(root, GraphQLObjectType)
        telling += [name for name, field in root.fields.items() if "RPC" in (field.description or "")]
    assert telling == []


def test_every_enum_and_every_directive_of_ours_is_described() -> None:
    schema = build_schema(schema_text())
    enums = [each for name, each in schema.type_map.items() if not name.startswith("__")]
    assert [each.name for each in enums if isinstance(each, GraphQLEnumType) and not each.description] == []
    ours = [each for each in schema.directives if each.name in {"anyone", "signedIn", "moderator", "admin", "keys"}]
    assert (len(ours), [each.name for each in ours if not each.description]) == (5, [])
