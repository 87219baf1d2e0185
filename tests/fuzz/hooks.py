"""What schemathesis must know of our schema: how its scalars are written, and which answers are ours.

A refusal and a top-level error with a code of the contract are answers like any other; INTERNAL is a fault.
"""

from __future__ import annotations

import os

import hypothesis
import schemathesis
from graphql import build_schema
from hypothesis import strategies as st
from schemathesis.graphql import nodes, scalar

from tests.fuzz.answers import complaints
from tests.fuzz.asking import sign_in
from tests.house.schema import schema_text

_SCHEMA = build_schema(schema_text())
_URL, _EMAIL = os.environ["JIGA_FUZZ_URL"], os.environ["JIGA_FUZZ_EMAIL"]
_IDS = [each for each in os.environ.get("JIGA_FUZZ_IDS", "").split(",") if each]

# Schemathesis steers towards what is accepted: that shrinks old examples at length instead of drawing new ones.
hypothesis.target = lambda observation, *, label="": observation

# Two of three name something, or no example would come further than a look-up.
scalar("ID", st.one_of(*[st.sampled_from(_IDS)] * 2 if _IDS else (), st.text()).map(nodes.String))
scalar("Dof", st.integers(-(10**16), 10**16).map(nodes.Int))
scalar("Decimal", st.decimals(allow_nan=False, allow_infinity=False).map(str).map(nodes.String))
scalar("DateTime", st.datetimes().map(lambda at: f"{at.isoformat()}Z").map(nodes.String))
scalar("Date", st.dates().map(str).map(nodes.String))

if _EMAIL:

    @schemathesis.auth(refresh_interval=30 * 60)  # a token is good for an hour, and a thousand examples take longer
    class _SignedIn:
        """Sends each example as the person who is fuzzed."""

        def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str:
            return sign_in(_URL, _EMAIL)

        def set(self, case: schemathesis.Case, data: str, context: schemathesis.AuthContext) -> None:
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.check
def is_an_answer_of_ours(ctx: object, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """No fault, and nothing that the schema does not promise."""
    found = complaints(_SCHEMA, str(case.body), response.status_code, response.json())
    assert not found, "; ".join(found)
