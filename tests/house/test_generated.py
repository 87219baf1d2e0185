"""What is written by a command is as the command would write it today."""

from __future__ import annotations

import json

from graphql import GraphQLObjectType, build_schema

from firestore import indexes
from graph.schema import sdl
from tests.house.schema import schema_text
from tests.house.tree import ROOT

GATES = {"anyone", "signedIn", "moderator", "admin"}


def test_the_schema_is_fresh() -> None:
    assert (ROOT / "schema.graphql").read_text("utf-8") == schema_text(), "make schema writes it"


def test_the_schema_is_the_same_when_it_is_built_again() -> None:
    assert sdl() == sdl() == schema_text()


def test_the_indexes_are_fresh() -> None:
    assert indexes.FILE.read_text("utf-8") == indexes.render(), "make indexes writes it"


def test_the_schema_prints_one_permission_on_every_root_field() -> None:
    schema = build_schema(schema_text())
    ungated = []
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        assert isinstance(root, GraphQLObjectType)
        for name, field in root.fields.items():
            assert field.ast_node is not None
            gates = [each.name.value for each in field.ast_node.directives or () if each.name.value in GATES]
            if len(gates) != 1:
                ungated.append(f"{root.name}.{name}")
    assert ungated == []


def test_firebase_json_leads_to_the_rules_and_the_indexes() -> None:
    told = json.loads((ROOT / "firebase.json").read_text("utf-8"))["firestore"]
    assert ROOT / told["indexes"] == indexes.FILE
    rules = (ROOT / told["rules"]).read_text("utf-8")
    assert "allow read, write: if false;" in rules
    assert rules.count("allow ") == 1
