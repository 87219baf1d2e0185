"""What people type: invisible and overriding characters go, visible text stays."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import texts
from domain.errors import BadInput
from domain.search import split


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("  Nova \t the\n coach ", "Nova the coach"),
        ("ad\u200bmin\ufeff", "admin"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("a\x00b\x1b[31m", "ab[31m"),
        ("e\u0301", "\u00e9"),
        ("e\u200b\u0301", "\u00e9"),  # composed across what was taken out
        ("\u200d\u200cNova\u200d", "Nova"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),  # an astronaut is three characters
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),  # stored raw, never rendered
    ],
)
def test_a_line_is_cleaned(raw: str, kept: str) -> None:
    assert texts.line(raw, "input.name", 40) == kept


def test_prose_keeps_lines_and_at_most_one_blank_one() -> None:
    assert texts.prose("one  \r\n\r\n\r\n\r\n two\u2028three\n", "input.comment", 40) == "one\n\ntwo\nthree"


@pytest.mark.parametrize("raw", ["", "   ", "\u200b\u200d", "\u3164", "\u2800\u115f", "\u0301"])
def test_a_text_that_shows_nothing_is_refused(raw: str) -> None:
    with pytest.raises(BadInput, match="shows nothing") as refused:
        texts.line(raw, "input.name", 40)
    assert refused.value.field == "input.name"
    assert texts.optional_line("\u200b ", "input.name", 40) is None


def test_length_counts_characters_after_cleaning() -> None:
    assert texts.line("x" * 40 + "\u200b" * 9, "input.name", 40) == "x" * 40
    for raw in ("x" * 41, "x" * 1_000_000):
        with pytest.raises(BadInput, match="at most 40 characters"):
            texts.line(raw, "input.name", 40)


def test_a_flood_of_marks_and_half_a_surrogate_are_refused() -> None:
    assert texts.line("a" + "\u0316" * 8, "input.name", 40) == "a" + "\u0316" * 8
    with pytest.raises(BadInput, match="more than 8 marks"):
        texts.line("a" + "\u0316" * 9, "input.name", 40)
    with pytest.raises(BadInput, match="lone surrogate"):
        texts.prose("a\ud800b", "input.comment", 40)


@pytest.mark.parametrize(
    "sign", ["\r", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
)
def test_a_line_holds_no_sign_that_breaks_it(sign: str) -> None:
    assert texts.line(f"Bot{sign}Bcc: eve@jiga.test", "input.name", 40) == "Bot Bcc: eve@jiga.test"
    assert texts.optional_line(f"{sign}Bot{sign}{sign}Two", "input.name", 40) == "Bot Two"
    assert texts.words((f"a{sign}b",), "input.tags", 1, 40) == ("a b",)


FLOODS = [
    "a" + "\u0315" * 24_000 + "\u0316" * 24_000,
    "a" + ("\u0315" * 8 + "\uff9e") * 5_000,  # a letter by its category, and a mark once it is widened
    "a" + "\u0315\u0316\u200d" * 16_000,  # joiners go, and the marks stand side by side
    "a" + "\u0f73" * 20_000,  # of class 0 itself, and two marks of others once it is taken apart
]


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_marks_is_worth_no_work(flood: str) -> None:
    began = time.process_time()
    for take in (texts.line, texts.optional_line, texts.prose, texts.optional_prose):
        with pytest.raises(BadInput, match="more than 8 marks"):
            take(flood, "input.name", 100_000)
    assert texts.is_flooded(flood)
    assert len(texts.fold(flood)) < 20
    assert len(texts.clean(flood)) < 40
    assert split(flood) == ["a"]
    assert time.process_time() - began < 1  # minutes, before


def test_what_writings_need_is_no_flood() -> None:
    for text in (
        "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
        "\u0e42\u0e04\u0e49\u0e0a",
        "\U0001f468\u200d" * 30,
        "\uff76\uff9e" * 20,
    ):
        assert not texts.is_flooded(text)
    assert texts.fold("\uff76\uff9e") == texts.fold("\u30ac")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_cleaning_twice_is_cleaning_once(raw: str) -> None:
    text = texts.clean(raw)
    assert texts.clean(text) == text
    assert unicodedata.is_normalized("NFC", text)
    assert not any(unicodedata.category(one) in {"Cc", "Cf"} for one in text if one not in "\n\u200c\u200d")


def test_words_are_unique_by_their_folded_form() -> None:
    assert texts.words(("FPS", "fps", " Co\u200bach ", "\uff26\uff30\uff33"), "input.tags", 3, 40) == ("FPS", "Coach")
    assert texts.fold("\uff26PS  Stra\u00dfe") == "fps strasse"
    with pytest.raises(BadInput, match="At most 3 are allowed, not 4"):
        texts.words(("a", "b", "c", "d"), "input.tags", 3, 40)
    with pytest.raises(BadInput, match="At most 3 are allowed, not 1000"):
        texts.words(("a",) * 1000, "input.tags", 3, 40)


@pytest.mark.parametrize(
    ("raw", "tag"),
    [
        ("EN", "en"),
        ("es-mx", "es-MX"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("de-DE-1996", "de-DE-1996"),
        ("es-419", "es-419"),
        ("sl-rozaj-biske", "sl-rozaj-biske"),
        ("en-US-u-ca-gregory", "en-US-u-ca-gregory"),
    ],
)
def test_a_language_is_a_tag_in_its_usual_case(raw: str, tag: str) -> None:
    assert texts.language(raw, "input.language") == tag


@pytest.mark.parametrize(
    "raw", ["", "e", "english language", "en_US", "en-", "-en", "en-USAX1X2X3", "\u00e9n", "a" * 99]
)
def test_what_is_no_language_tag_is_refused(raw: str) -> None:
    with pytest.raises(BadInput) as refused:
        texts.language(raw, "input.language")
    assert refused.value.field == "input.language"
