"""Generated operations of the whole schema, as a guest, a player and an admin: no fault, and nothing out of shape.

`make fuzz` does the same at length, with schemathesis against a store that runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from graphql import build_schema
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import mutations, nodes, queries

from tests.api.api import Market
from tests.fuzz.answers import complaints
from tests.house.schema import schema_text

SCHEMA = build_schema(schema_text())
TOGETHER, EXAMPLES = 8, 10  # root fields of one strategy, which is slow to build, and what it draws in this run
SCALARS = {
    "Dof": st.integers(-(10**16), 10**16).map(nodes.Int),
    "Decimal": st.decimals(allow_nan=False, allow_infinity=False).map(str).map(nodes.String),
    "DateTime": st.datetimes().map(lambda at: f"{at.isoformat()}Z").map(nodes.String),
    "Date": st.dates().map(str).map(nodes.String),
}
QUIET = settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def _groups(kind: str) -> list[list[str]]:
    names = sorted(SCHEMA.type_map[kind].fields)  # type: ignore[attr-defined]
    return [names[place : place + TOGETHER] for place in range(0, len(names), TOGETHER)]


CASES = [(queries, names) for names in _groups("Query")] + [(mutations, names) for names in _groups("Mutation")]


@pytest.mark.parametrize(("make", "fields"), CASES, ids=lambda part: part[0] if isinstance(part, list) else "")
async def test_generated_operations_are_answered_in_shape(
    market: Market, make: Callable[..., st.SearchStrategy[str]], fields: list[str]
) -> None:
    drawn: list[str] = []

    @QUIET
    @given(make(SCHEMA, fields=fields, custom_scalars=SCALARS))
    def draw(query: str) -> None:
        drawn.append(query)

    await asyncio.to_thread(draw)
    assert len(drawn) == EXAMPLES
    found: dict[str, list[str]] = {}
    for query in drawn:
        for person in (market.guest, market.max, market.root):
            response = await person.raw(query)
            wrong = complaints(SCHEMA, query, response.status_code, response.json())
            if wrong:
                found[query] = wrong
    assert found == {}
