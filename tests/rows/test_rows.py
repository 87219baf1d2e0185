"""Every row of docs/rules.md has a test that bears its id, and every case of peers has one that names it.

A test bears an id in its name (`test_t_w03_…`), in the comment beside its `def`, or in its docstring.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from tests.emulators import ROOT

WEBHOOKS = [f"T-W{number:02}" for number in range(1, 26)]
TASKS = [f"T-T{number:02}" for number in range(1, 8)]
MONEY = [f"T-M{number:02}" for number in range(1, 17)]
FAULTS = [f"T-F{number:02}" for number in range(1, 16)]
SIGN_IN = [f"T-A{number:02}" for number in range(1, 13)]
ACCESS = [f"T-Z{number:02}" for number in range(1, 12)]
GRAPHQL = [f"T-G{number:02}" for number in range(1, 14)]
SOCKETS = [f"T-S{number:02}" for number in range(1, 9)]
PRIVACY = [f"T-P{number:02}" for number in range(1, 13)]
ROWS = [*WEBHOOKS, *TASKS, *MONEY, *FAULTS, *SIGN_IN, *ACCESS, *GRAPHQL, *SOCKETS, *PRIVACY]
PEERS = (
    "Significant-Gravitas/AutoGPT#10672",
    "anomalyco/opencode#28402",
    "pollinations/pollinations#10621",
    "masumi-network/sokosumi#1846",
    "danny-avila/LibreChat#13812",
    "saleor/saleor#14648",
    "#19220",
    "saleor/saleor#18196",
    "saleor/saleor#19645",
    "juspay/hyperswitch#13182",
    "medusajs/medusa#13301",
    "medusajs/medusa#16681",
    "#16292",
    "antiwork/gumroad#6193",
    "spree/spree#13734",
    "LerianStudio/midaz#2317",
)
_ID = re.compile(r"T-([A-Z])(\d\d)(?: to (\d\d))?")
_NAME = re.compile(r"test_t_([a-z])(\d\d)(?=_|$)")


def ids_of(text: str) -> Iterator[str]:
    """The ids that a test bears: "T-W14 to 17" is four."""
    for letter, first, last in _ID.findall(text):
        for number in range(int(first), int(last or first) + 1):
            yield f"T-{letter}{number:02}"
    for letter, number in _NAME.findall(text):
        yield f"T-{letter.upper()}{number}"


@lru_cache(maxsize=1)
def borne() -> dict[str, list[str]]:
    """The tests by the ids that they bear."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                # A comment stands beside the signature, which ends where the body begins.
                said = [node.name, *lines[node.lineno - 1 : node.body[0].lineno - 1], ast.get_docstring(node) or ""]
                for each in set(ids_of("\n".join(said))):
                    found[each].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_test(row: str) -> None:
    assert borne()[row], f"no test bears {row}: write it, and name it test_{row.lower().replace('-', '_')}_…"


@pytest.mark.parametrize("case", PEERS)
def test_a_peers_case_has_its_test(case: str) -> None:
    text = Path(ROOT / "tests" / "peers" / "test_peers.py").read_text("utf-8")
    told = [
        ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, ast.AsyncFunctionDef)
    ]
    assert any(case in each for each in told)


def test_ids_are_read_as_they_are_written() -> None:
    said = "async def test_t_w03_a_burst(x: int) -> None:  # T-M09, T-W14 to 16"
    assert sorted(ids_of(said)) == ["T-M09", "T-W03", "T-W14", "T-W15", "T-W16"]
    assert list(ids_of("test_t_w031 T-W3")) == []
