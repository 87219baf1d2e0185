"""What people type: one place for its hygiene. The text is stored as meant, never rendered; clients escape it.

Invisible and overriding characters go, because with them one name passes for another, and a line can be made to read
backwards (Unicode TR36, sections 2.5 and 3.6). What is left is in NFC.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from enum import Enum

from domain.errors import BadInput

MARKS_MAX = 8  # marks on one letter: Hebrew and Tibetan use 4; a flood of them paints over the neighbours
RAW_FACTOR_MAX = 4  # how much longer than allowed a raw text may be: beyond it no work is spent on it
LANGUAGE_CHARACTERS_MAX = 35  # RFC 5646, 4.4.1: what an implementation must hold

_JOINERS = re.compile("[\u200c\u200d]+")  # needed inside words of Persian and Hindi, and inside emoji
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # fillers: letters and symbols that show nothing
_NEWLINES = re.compile("\r\n|[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_HALFWIDTH_MARKS = frozenset(
    "\uff9e\uff9f"
)  # letters by category, and marks of the letter before once they are widened
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile("\n{3,}")
# RFC 5646, 2.1: language, extended languages, script, region, variants, extensions, private use.
_LANGUAGE = re.compile(
    r"(?P<language>[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-(?P<script>[a-z]{4}))?(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<rest>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[a-wy-z0-9](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?)"
)


class Keep(Enum):
    """An input that was left out, where None would clear the field."""

    KEEP = "KEEP"


KEEP = Keep.KEEP


def line(raw: str, field: str, characters_max: int) -> str:
    """One line of text with at least one visible character. Raises BadInput naming the field."""
    return _visible(_line(raw, field, characters_max), field)


def optional_line(raw: str | None, field: str, characters_max: int) -> str | None:
    """As `line`, where None and blank text both mean nothing."""
    text = "" if raw is None else _line(raw, field, characters_max)
    return _visible(text, field) if text else None


def prose(raw: str, field: str, characters_max: int) -> str:
    """Text of one or more lines with at least one visible character. Raises BadInput naming the field."""
    return _visible(_measured(clean(_bounded(raw, field, characters_max)), field, characters_max), field)


def optional_prose(raw: str | None, field: str, characters_max: int) -> str | None:
    """As `prose`, where None and blank text both mean nothing."""
    if raw is None:
        return None
    return _measured(clean(_bounded(raw, field, characters_max)), field, characters_max) or None


def words(raw: Sequence[str], field: str, count_max: int, characters_max: int) -> tuple[str, ...]:
    """Short texts such as tags, each once whatever its case. Raises BadInput: too many, too long, or blank."""
    if len(raw) > count_max * RAW_FACTOR_MAX:  # before any work is spent on them
        raise BadInput(f"At most {count_max} are allowed, not {len(raw)}: leave some out.", field=field)
    kept: dict[str, str] = {}
    for text in raw:
        word = line(text, field, characters_max)
        kept.setdefault(fold(word), word)
    if len(kept) > count_max:
        raise BadInput(f"At most {count_max} are allowed, not {len(kept)}: leave some out.", field=field)
    return tuple(kept.values())


def fold(text: str) -> str:
    """The form in which two spellings of a tag, a game or a category are the same: case, width and joiners aside.

    Marks that no text of ours may carry are left out: a fold only compares, and refuses nothing.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _thinned(text)).casefold())
    return " ".join(_JOINERS.sub("", folded).split())


def language(raw: str, field: str) -> str:
    """A language tag (BCP 47) in its usual case, such as `pt-BR`. Raises BadInput."""
    found = _LANGUAGE.fullmatch(raw.lower()) if len(raw) <= LANGUAGE_CHARACTERS_MAX and raw.isascii() else None
    if found is None:
        raise BadInput("A language is a BCP 47 tag such as en, es-MX or zh-Hant.", field=field)
    parts = [found["language"], (found["script"] or "").title(), (found["region"] or "").upper()]
    return "-".join(part for part in parts if part) + found["rest"]


def is_flooded(text: str) -> bool:
    """Whether a letter carries more marks than MARKS_MAX. To be asked before a text of any client is normalised, which
    puts the marks of a letter in order one by one: of 48,000 of them for minutes."""
    return len(_thinned(text)) < len(text)


def clean(text: str) -> str:
    """Visible text in NFC without controls, direction overrides, stray joiners; one space, one blank line at most."""
    text = _NEWLINES.sub("\n", text)
    # Signs that only format (Cf) go, but for the two joiners; so do control characters other than a new line or a tab.
    text = "".join(
        character
        for character in text
        if character in "\n\t\u200c\u200d" or unicodedata.category(character) not in _UNSEEN
    )
    text = "\n".join(_SPACES.sub(" ", part).strip() for part in text.split("\n"))
    text = _BLANK_LINES.sub("\n\n", _JOINERS.sub(_inner_joiner, text)).strip()
    return unicodedata.normalize("NFC", _thinned(text))


_UNSEEN = frozenset({"Cc", "Cf"})


def _inner_joiner(found: re.Match[str]) -> str:
    """One joiner between two characters that show; none at an edge, where it joins nothing."""
    text, start, end = found.string, found.start(), found.end()
    inside = start > 0 and end < len(text) and not text[start - 1].isspace() and not text[end].isspace()
    return found[0][0] if inside else ""


def _line(raw: str, field: str, characters_max: int) -> str:
    # Every sign that breaks a line goes first: `clean` would make a new line of each.
    text = clean(_NEWLINES.sub(" ", _bounded(raw, field, characters_max)))
    return _measured(text, field, characters_max)


def _thinned(text: str) -> str:
    """The text without the marks of a letter beyond MARKS_MAX, in one pass. What shows nothing parts no marks: it is
    taken out later, and then they would stand side by side."""
    if text.isascii():
        return text
    kept, run = [], 0
    for character in text:
        kind = unicodedata.category(character)
        if kind[0] == "M" or character in _HALFWIDTH_MARKS:
            run += 1
        elif kind not in _UNSEEN or character.isspace():
            run = 0
        if run <= MARKS_MAX:
            kept.append(character)
    return "".join(kept)


def _bounded(raw: str, field: str, characters_max: int) -> str:
    """The raw text, if cleaning it is worth the work: what follows takes time by its length alone."""
    if len(raw) > RAW_FACTOR_MAX * characters_max:
        raise _too_long(field, characters_max)
    if any("\ud800" <= character <= "\udfff" for character in raw):
        raise BadInput("The text holds half a character (a lone surrogate): send it as valid Unicode.", field=field)
    return _unflooded(raw, field)


def _measured(text: str, field: str, characters_max: int) -> str:
    if len(text) > characters_max:
        raise _too_long(field, characters_max)
    return _unflooded(text, field)  # some marks are two once they are taken apart


def _unflooded(text: str, field: str) -> str:
    if is_flooded(text):
        raise BadInput(f"A letter carries more than {MARKS_MAX} marks: remove some.", field=field)
    return text


def _visible(text: str, field: str) -> str:
    if not any(unicodedata.category(character)[0] in "LNPS" and character not in _BLANK_LETTERS for character in text):
        raise BadInput("The text shows nothing: write at least one visible character.", field=field)
    return text


def _too_long(field: str, characters_max: int) -> BadInput:
    return BadInput(f"The text is too long: at most {characters_max} characters.", field=field)
