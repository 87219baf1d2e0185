"""What a notification says: in every language the same facts, and nothing that a fact's own text could break."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from domain import notifications
from domain.endpoints import OF_NOTES
from domain.errors import BadInput
from domain.ids import Kind, derived_id, is_id
from domain.notification_texts import SEPARATORS, TEXTS
from domain.notifications import Platform, Words, note, words
from domain.users import NotificationKind
from tests.nouns import user_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAX = user_id("max")
PLACE = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize("name", TEXTS)
def test_every_language_tells_the_same_facts(name: str) -> None:
    assert set(TEXTS[name]) == {"en", "es", "de"} == set(SEPARATORS)
    told = {language: set(PLACE.findall(" ".join(said))) for language, said in TEXTS[name].items()}
    assert told["es"] == told["en"] == told["de"]
    assert all(title and text and len(title) <= 60 for title, text in TEXTS[name].values())


def test_every_event_of_a_webhook_is_of_a_text_or_of_integrators_alone() -> None:
    assert set(OF_NOTES) - set(TEXTS) == {"session_started", "dof_sent"}


@pytest.mark.parametrize(
    ("locale", "title", "text"),
    [
        (None, "Nova was hired", "A player hired Nova for 1,234,567 DOF."),
        ("en-GB", "Nova was hired", "A player hired Nova for 1,234,567 DOF."),
        ("es-MX", "Han contratado a Nova", "Un jugador ha contratado a Nova por 1.234.567 DOF."),
        ("de", "Nova wurde gebucht", "Ein Spieler hat Nova für 1.234.567 DOF gebucht."),
        ("fi-FI", "Nova was hired", "A player hired Nova for 1,234,567 DOF."),
    ],
)
def test_the_language_is_the_readers(locale: str | None, title: str, text: str) -> None:
    assert words("hired", {"agent": "Nova", "dof": "1234567"}, locale) == Words(title, text)


def test_an_arguments_own_braces_are_not_filled_in() -> None:
    said = words("suspended", {"reason": "{role} {reason} {0.__class__}"}, "en")
    assert said.text == "A moderator suspended your account: {role} {reason} {0.__class__}"


def test_a_fact_that_is_not_given_leaves_a_gap_and_no_fault() -> None:
    assert words("badge_awarded", {}, "en").text == "You have earned the badge …."


def test_one_fact_is_one_notification_of_each_user() -> None:
    session_id = derived_id(Kind.SESSION, "one")
    args = {"session_id": session_id, "agent": "Nova", "dof": "5"}
    first = note(NotificationKind.HIRES, MAX, ("hired", session_id), args)
    assert first == note(NotificationKind.HIRES, MAX, ("hired", session_id), args)
    assert is_id(first.id, Kind.NOTIFICATION)
    others = [note(NotificationKind.HIRES, user_id("ada"), ("hired", session_id), args).id]
    others += [note(NotificationKind.HIRES, MAX, ("hired", session_id, 2), args).id]
    assert len({first.id, *others}) == 3


def test_a_fact_without_a_text_or_about_no_id_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError, match="no text 'nothing'"):
        note(NotificationKind.HIRES, MAX, ("nothing", 1), {})
    with pytest.raises(AssertionError, match="session_id of hired is no id"):
        note(NotificationKind.HIRES, MAX, ("hired", 1), {"session_id": "1"})


@pytest.mark.parametrize("token", ["", " ", "a b", "naïve", "x" * 4_097, "a\n"])
def test_a_device_has_a_token(token: str) -> None:
    with pytest.raises(BadInput) as refused:
        notifications.device(MAX, token, Platform.IOS, NOW)
    assert refused.value.field == "input.token"
