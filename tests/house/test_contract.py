"""The schema against the public contract, docs/contract.graphql: only additions, and what is still to come."""

from __future__ import annotations

import pytest
from graphql import build_schema

from tests.house.contract import compare
from tests.house.schema import schema_text
from tests.house.tree import ROOT

CONTRACT = (ROOT / "docs/contract.graphql").read_text("utf-8")

MISSING = ()


def test_what_is_there_agrees_with_the_contract() -> None:
    assert compare(CONTRACT, build_schema(schema_text())).different == set()


def test_what_is_not_there_yet_is_known() -> None:
    """Whoever builds a missing part takes its line away; nothing that was there may become missing."""
    assert compare(CONTRACT, build_schema(schema_text())).missing == set(MISSING)


def test_the_list_of_what_is_missing_is_in_order() -> None:
    assert list(MISSING) == sorted(set(MISSING))


@pytest.mark.parametrize(
    ("contract", "schema", "missing", "different"),
    [
        ("type Query { a: Int! }", "type Query { a: Int! b: Int }", set(), set()),
        ("type Query { a: Int! b: Int }", "type Query { a: Int! }", {"Query.b"}, set()),
        ("type Query { a: Int! }", "type Query { a: Int }", set(), {"Query.a is Int, and Int! in the contract"}),
        ("type Query { a(b: Int): Int }", "type Query { a: Int }", {"Query.a(b:)"}, set()),
        ("type Query { a: Int }", "type Query { a(b: Int = 1, c: Int): Int }", set(), set()),
        (
            "type Query { a: Int }",
            "type Query { a(b: Int!): Int }",
            set(),
            {"Query.a asks for b, which the contract does not know"},
        ),
        ("enum E { A B }", "enum E { B C } type Query { e: E }", {"E.A"}, set()),
        (
            "input I { a: Int }",
            "input I { a: Int b: Int! } type Query { a(i: I): Int }",
            set(),
            {"I asks for b, which the contract does not know"},
        ),
        (
            "union U = A | B type A { a: Int } type B { b: Int }",
            "union U = A type A { a: Int } type Query { u: U }",
            {"B", "U | B"},
            set(),
        ),
        (
            "type Query { a: AConnection! }",
            "type Query { a: AConnection! } type AConnection { edges: [Int!]! pageInfo: Int! }",
            {"AConnection.nodes", "AEdge"},
            {
                "AConnection.edges is [Int!]!, and [AEdge!]! in the contract",
                "AConnection.pageInfo is Int!, and PageInfo! in the contract",
            },
        ),
        ("# XPayload { a: Int! }\nscalar S", "scalar S type Query { s: S }", {"XPayload"}, set()),
        (
            "interface N { a: Int } type A implements N { a: Int }",
            "interface N { a: Int } type A { a: Int } type Query { a: A n: N }",
            set(),
            {"A does not implement N"},
        ),
    ],
)
def test_the_comparison_finds_what_it_should(
    contract: str, schema: str, missing: set[str], different: set[str]
) -> None:
    found = compare(contract, build_schema(schema))
    assert (found.missing, found.different) == (missing, different)
