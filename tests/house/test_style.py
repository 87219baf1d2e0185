"""How code reads: what a machine can see of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import ROOT, parsed, shown, sources, suite

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
MONEY = ("money", "ledger", "wallets", "revenue", "pricing", "metering", "purchases")
BANNED = {"manager", "managers", "helper", "helpers", "util", "utils", "mapper", "mappers", "service", "job", "jobs"}
GIVEN_WORDS = re.compile(r"service_?(?:account|refund)", re.IGNORECASE)  # Google's word, and the contract's
PROTOCOLS_WORDS = {"emulator": {"service"}, "integrations/services.py": {"services"}}  # gRPC's; the house's own
LEFT_TO_DO = re.compile(r"\b(?:TO" r"DO|FIX" r"ME)\b")
ASSERTING = {"raises", "warns", "fail"}  # of pytest

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_a_module_is_short() -> None:
    lines = {shown(path): len(path.read_text("utf-8").splitlines()) for path in sources()}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES_MAX} == {}


def test_a_function_fits_a_screen() -> None:
    long = {
        f"{shown(path)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in sources()
        for node in functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert long == {}


@pytest.mark.parametrize("name", MONEY)
def test_no_float_touches_money(name: str) -> None:
    """Neither as a type, nor as a literal, nor as the result of `/` (ruling 2)."""
    path = ROOT / "domain" / f"{name}.py"
    floats = [
        f"{name}.py:{node.lineno}"
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
        or (isinstance(node, ast.Name) and node.id == "round")
    ]
    assert floats == []


def test_no_name_says_less_than_it_should() -> None:
    said = set()
    for path in sources():
        banned = BANNED.difference(
            *(words for place, words in PROTOCOLS_WORDS.items() if shown(path).startswith(place))
        )
        said |= {
            f"{shown(path)}: {name}"
            for name in _names(path)
            if _words(GIVEN_WORDS.sub("", name)) & banned or name == "current_user"
        }
    assert said == set()


def _names(path: Path) -> Iterator[str]:
    """Every name that the module gives: its own, its classes', functions', arguments' and variables'."""
    yield path.stem
    for node in ast.walk(parsed(path)):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_nothing_is_left_to_do() -> None:
    kept = ["*.md", "*.toml", "*.txt", "Makefile", ".ci/run", "docs/**/*.md", "tests/**/*.mjs"]
    texts = [*sources(), *suite(), *(path for pattern in kept for path in ROOT.glob(pattern))]
    marks = [
        f"{shown(path)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if LEFT_TO_DO.search(line)
    ]
    assert marks == []


def test_every_test_asserts() -> None:
    """By itself, or by calling what asserts: a function of the tests, or pytest's own."""
    every = [(path, node) for path in suite() for node in functions(path)]
    asserting = set(ASSERTING)
    grown = True
    while grown:  # ends: names are finite, and each round adds one or is the last
        found = {node.name for _, node in every if _asserts(node, asserting)}
        grown = not found <= asserting
        asserting |= found
    idle = [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path, node in every
        if node.name.startswith("test_") and not _asserts(node, asserting)
    ]
    assert idle == []


def _asserts(function: Function, asserting: set[str]) -> bool:
    for node in ast.walk(function):
        match node:
            case ast.Assert():
                return True
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)) if name in asserting:
                return True
    return False


def test_every_module_says_what_it_is_for() -> None:
    silent = [shown(path) for path in sources() if not ast.get_docstring(parsed(path))]
    assert silent == []
