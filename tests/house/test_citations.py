"""What code cites can be looked up: rules in docs/rules.md, documents in the tree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.house.tree import ROOT, shown
from tests.rows.test_rows import ROWS

CITING = ["*.py", "*.md", "*.toml", "Makefile", "*/**/*.py", "docs/**/*.md", "tests/**/*.mjs"]
_NUMBERED = re.compile(r"\b(T-[A-Z](?=\d\d\b)|I)(\d{1,2})(?: to (?:\1)?(\d{1,2}))?\b")
_NAMED = re.compile(r"\b(ruling|house rule)s? (\d+)((?:(?:, | and | to )\d+)*)")
_STANDS = re.compile(r"^\| ((?:T-[A-Z]|I|ruling |house rule )\d+) \|", re.MULTILINE)
_DOCUMENT = re.compile(r"(?<![\w*])[\w./-]+\.md\b")


def cited(text: str) -> Iterator[str]:
    """The rules that a text cites: "T-W14 to 17" is four, "rulings 5 to 7" three."""
    for letter, first, last in _NUMBERED.findall(text):
        width = len(first) if letter != "I" else 1
        yield from (f"{letter}{number:0{width}}" for number in range(int(first), int(last or first) + 1))
    for name, first, more in _NAMED.findall(text):
        before = int(first)
        yield f"{name} {before}"
        for word, number in re.findall(r"(,|and|to) (\d+)", more):
            begin = before + 1 if word == "to" else int(number)
            before = int(number)
            yield from (f"{name} {each}" for each in range(begin, before + 1))


def texts() -> Iterator[tuple[str, str]]:
    """Every file that may cite, by its place."""
    for path in sorted({path for pattern in CITING for path in ROOT.glob(pattern)}):
        if not {"node_modules", ".venv"} & set(path.parts):
            yield shown(path), path.read_text("utf-8")


def standing() -> list[str]:
    return _STANDS.findall((ROOT / "docs/rules.md").read_text("utf-8"))


def test_every_rule_that_is_cited_stands() -> None:
    known = set(standing())
    unknown = {(place, each) for place, text in texts() for each in cited(text) if each not in known}
    assert unknown - {("tests/house/test_citations.py", "I99")} == set()


def test_each_rule_stands_once_and_each_row_with_those_that_are_tested() -> None:
    assert [each for each, times in Counter(standing()).items() if times > 1] == []
    assert {each for each in standing() if each.startswith("T-")} == set(ROWS)
    assert [each for each in standing() if each.startswith("I")] == [f"I{number}" for number in range(1, 15)]


def test_the_documents_that_are_cited_are_in_the_tree() -> None:
    dead = {
        (place, name)
        for place, text in texts()
        if place.endswith((".py", ".toml", "Makefile"))
        for name in _DOCUMENT.findall(text)
        if not (ROOT / name).is_file()
    }
    assert dead == set()


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("T-W03, T-W14 to 16", ["T-W03", "T-W14", "T-W15", "T-W16"]),
        ("rows T-Z01 to T-Z03", ["T-Z01", "T-Z02", "T-Z03"]),
        ("I5 to I7, I99", ["I5", "I6", "I7", "I99"]),
        ("(ruling 6)", ["ruling 6"]),
        ("rulings 3, 4 and 8", ["ruling 3", "ruling 4", "ruling 8"]),
        ("rulings 5 to 7; house rules 1 and 10", ["ruling 5", "ruling 6", "ruling 7", "house rule 1", "house rule 10"]),
        ("IPv4, I18N, 5 rules", []),
    ],
)
def test_citations_are_read_as_they_are_written(text: str, rules: list[str]) -> None:
    assert list(cited(text)) == rules
