"""What a browser with Firebase's own client may reach: nothing (row T-Z09)."""

from __future__ import annotations

import json
import re

import pytest

from tests.house.tree import ROOT

CLOSED = """rules_version = '2';
service cloud.firestore { match /databases/{database}/documents {
    match /{document=**} { allow read, write: if false; } } }"""


def is_closed(rules: str) -> bool:
    """Whether rules refuse every reading and writing of every document.

    Access is refused where no rule allows it, and rules only ever add up: so nothing may be allowed but under a
    condition that is never true, and one rule has to say so of all documents, lest an empty file pass for a closed one.
    """
    code = " ".join(re.sub(r"/\*.*?\*/|//[^\n]*", " ", rules, flags=re.DOTALL).split())
    allowed = re.findall(r"\ballow\b([^;]*);", code)
    everything = re.search(r"match /databases/\{\w+\}/documents \{ match /\{\w+=\*\*\} \{ allow", code)
    return (
        bool(everything) and {said.strip() for said in allowed} == {"read, write: if false"} and "function" not in code
    )


def test_t_z09_the_rules_deny_everything_to_everybody() -> None:
    told = json.loads((ROOT / "firebase.json").read_text("utf-8"))
    rules = ROOT / told["firestore"]["rules"]
    assert is_closed(rules.read_text("utf-8"))
    others = [shown.name for shown in ROOT.rglob("*.rules") if "node_modules" not in shown.parts and shown != rules]
    assert [name for name in others if not is_closed((ROOT / name).read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("if false", "if true"),
        ("if false", "if request.auth != null"),
        ("if false;", "if false; allow get: if true;"),
        (": if false", ""),
        ("read, write: if false", "write: if false"),
        ("{document=**}", "users/{user}"),
        ("match /{document=**} { allow read, write: if false; }", ""),
        ("if false", "if open(); } function open() { return true;"),
        ("allow read, write: if false;", "// allow read, write: if false;"),
    ],
)
def test_rules_that_open_something_would_be_found(change: str, to: str) -> None:
    assert is_closed(CLOSED)
    assert not is_closed(CLOSED.replace(change, to))
