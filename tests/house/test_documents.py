"""What the documents name is there."""

from __future__ import annotations

import re

from settings import Settings
from tests.house.tree import ROOT, shown

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`([\w.*-]+(?:/[\w.*-]+)*(?:/|\.(?:py|md|toml|json|graphql|rules|txt)))`")
OF_THE_TESTS = {"JIGA_FIRESTORE_EMULATOR", "JIGA_AUTH_EMULATOR"}


def test_links_lead_somewhere() -> None:
    dead = [
        f"{shown(document)}: {target}"
        for document in DOCUMENTS
        for target in LINK.findall(document.read_text("utf-8"))
        if not (document.parent / target).exists()
    ]
    assert len(DOCUMENTS) >= 10
    assert dead == []


def test_the_files_that_the_documents_name_exist() -> None:
    dead = [
        f"{shown(document)}: {path}"
        for document in DOCUMENTS
        for path in PATH.findall(document.read_text("utf-8"))
        if path != ".jiga/" and not any(ROOT.glob(path))
    ]
    assert dead == []


def test_the_readme_knows_every_setting_and_no_other() -> None:
    named = {str(field.validation_alias or f"JIGA_{name}".upper()) for name, field in Settings.model_fields.items()}
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = set(re.findall(r"^\| `([A-Z0-9_]+)`", readme, re.MULTILINE))
    assert rows == named
    assert set(re.findall(r"\bJIGA_[A-Z_]+\b", readme)) - named - OF_THE_TESTS == set()


def test_the_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs/decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
    for path in (ROOT / "docs/decisions").glob("*.md"):
        told = re.findall(r"^## (.+)$", path.read_text("utf-8"), re.MULTILINE)
        assert told == ["Context", "Decision", "Consequences", "Alternatives"], path.name
