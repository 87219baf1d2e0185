"""How the fuzzer itself asks the store: as a person who signs in with the demo's password."""

from __future__ import annotations

from typing import Any

import httpx

from demo.seed import PASSWORD

SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { ... on SignInPayload { idToken } } }"
ANSWER_SECONDS = 30  # the store is under the load of the examples meanwhile


def ask(url: str, query: str, variables: dict[str, object] | None = None, token: str | None = None) -> Any:
    """The whole answer to an operation."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = {"query": query, "variables": variables}
    return httpx.post(f"{url}/graphql", json=asked, headers=headers, trust_env=False, timeout=ANSWER_SECONDS).json()


def sign_in(url: str, email: str) -> str:
    """A token of this person's, good for an hour."""
    answer = ask(url, SIGN_IN, {"input": {"email": email, "password": PASSWORD}})
    return str(answer["data"]["signIn"]["idToken"])
