"""When a digest is due on a user's own clock, which mails wait for it, and what it says."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import Kind, derived_id
from domain.mail_digests import AT_ONCE_TEXTS, due_after, letter, mailed_kinds, waits
from domain.notification_texts import MAIL_DIGEST, SEPARATORS, TEXTS
from domain.notifications import Note, Notification
from domain.users import Channel, MailRhythm, NotificationKind, Preferences
from tests.nouns import user_id

DAILY, WEEKLY = MailRhythm.DAILY, MailRhythm.WEEKLY
MAX = user_id("max")
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given UTC


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("rhythm", "zone", "moment", "due"),
    [
        (DAILY, "UTC", "2026-03-01 07:59:59.999999", "2026-03-01 08:00"),
        (DAILY, "UTC", "2026-03-01 08:00", "2026-03-02 08:00"),
        (DAILY, "UTC", "2026-03-01 08:00:01", "2026-03-02 08:00"),
        (DAILY, "Asia/Kathmandu", "2026-03-01 12:00", "2026-03-02 02:15"),
        (DAILY, "Pacific/Kiritimati", "2026-03-01 12:00", "2026-03-01 18:00"),
        (DAILY, "Pacific/Pago_Pago", "2026-03-01 12:00", "2026-03-01 19:00"),
        (DAILY, "Europe/Berlin", "2026-03-28 07:00", "2026-03-29 06:00"),  # a day of 23 hours
        (DAILY, "Europe/Berlin", "2026-10-24 06:00", "2026-10-25 07:00"),  # and one of 25
        (DAILY, "Europe/Berlin", "2026-03-29 00:30", "2026-03-29 06:00"),  # half an hour before the clocks jump
        (DAILY, "Pacific/Apia", "2011-12-29 18:00", "2011-12-30 18:00"),  # a day that was not there
        (DAILY, "Pacific/Apia", "2011-12-30 18:00", "2011-12-31 18:00"),
        (WEEKLY, "UTC", "2026-03-01 12:00", "2026-03-02 08:00"),  # a Sunday
        (WEEKLY, "UTC", "2026-03-02 07:59", "2026-03-02 08:00"),
        (WEEKLY, "UTC", "2026-03-02 08:00", "2026-03-09 08:00"),
        (WEEKLY, "America/New_York", "2026-03-06 12:00", "2026-03-09 12:00"),  # clocks changed on the Sunday between
        (WEEKLY, "America/New_York", "2026-03-02 13:00", "2026-03-09 12:00"),
        (WEEKLY, "Pacific/Kiritimati", "2026-03-01 12:00", "2026-03-01 18:00"),  # there it is Monday
        (WEEKLY, "Pacific/Pago_Pago", "2026-03-02 10:00", "2026-03-02 19:00"),  # and here Sunday still
    ],
)
def test_it_is_due_at_eight_on_the_users_clock(rhythm: MailRhythm, zone: str, moment: str, due: str) -> None:
    assert due_after(rhythm, zone, utc(moment)) == utc(due)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "America", "../../etc/passwd", "x" * 300, "UTC\0", "Ünited"])
def test_a_zone_that_is_not_known_is_utc(zone: str) -> None:
    assert due_after(DAILY, zone, utc("2026-03-01 12:00")) == utc("2026-03-02 08:00")


@given(MOMENTS, st.sampled_from(ZONES), st.sampled_from((DAILY, WEEKLY)), st.floats(0, 1, exclude_max=True))
def test_all_moments_of_a_period_are_due_together_and_none_is_missed(
    moment: datetime, zone: str, rhythm: MailRhythm, share: float
) -> None:
    due = due_after(rhythm, zone, moment)
    local = due.astimezone(ZoneInfo(zone))
    assert (due > moment, due.tzinfo, local.time()) == (True, UTC, time(8))
    assert rhythm is DAILY or local.weekday() == 0
    assert due - moment <= (timedelta(hours=25) if rhythm is DAILY else timedelta(days=7, hours=1))
    between = moment + (due - moment) * share
    assert between == due or due_after(rhythm, zone, between) == due
    assert due_after(rhythm, zone, due - timedelta(microseconds=1)) == due


def a_note(kind: NotificationKind | None, text: str = "badge_awarded") -> Note:
    return Note(derived_id(Kind.NOTIFICATION, text), MAX, kind, text)


def test_which_mails_wait() -> None:
    wanted = Preferences(dict.fromkeys(NotificationKind, (Channel.EMAIL,)))
    for rhythm in (DAILY, WEEKLY):
        gathered = replace(wanted, mail_rhythm=rhythm)
        assert [kind for kind in NotificationKind if waits(a_note(kind), gathered)] == [
            NotificationKind.HIRES,
            NotificationKind.SESSIONS,
            NotificationKind.EARNINGS,
            NotificationKind.REVIEWS,
            NotificationKind.BADGES,
        ]
        assert not waits(a_note(NotificationKind.EARNINGS, "payout_failed"), gathered)
        assert not waits(a_note(NotificationKind.SESSIONS, "session_low"), gathered)
        assert not waits(a_note(None), gathered)
        # By default these are told in the app alone: what is not mailed waits for nothing.
        assert not waits(a_note(NotificationKind.REVIEWS), Preferences(mail_rhythm=rhythm))
    assert not any(waits(a_note(kind), wanted) for kind in NotificationKind)
    assert set(TEXTS) >= AT_ONCE_TEXTS
    assert mailed_kinds(Preferences()) == {NotificationKind.PURCHASES, NotificationKind.ACCOUNT}


def a_notification(number: int, text: str, **args: str) -> Notification:
    at = utc("2026-03-01 12:00")
    return Notification(derived_id(Kind.NOTIFICATION, number), MAX, NotificationKind.BADGES, text, args, number, at, at)


@pytest.mark.parametrize(
    ("locale", "subject", "text"),
    [
        (
            None,
            "What is new for you at JIGA Store",
            "This is what we gathered for you, the latest first:\n\n"
            "- You have earned the badge Chess.\n- Nova has reached the rank GOLD.\n\n"
            "… and 1,200 more: your notifications in the store have them all.",
        ),
        (
            "es-MX",
            "Tus novedades en JIGA Store",
            "Esto es lo que hemos reunido para ti, lo más reciente primero:\n\n"
            "- Has ganado la insignia Chess.\n- Nova ha alcanzado el rango GOLD.\n\n"
            "… y 1.200 más: las tienes todas en tus notificaciones de la tienda.",
        ),
        (
            "de",
            "Neues für dich im JIGA Store",
            "Das haben wir für dich gesammelt, das Neueste zuerst:\n\n"
            "- Du hast das Abzeichen Chess verdient.\n- Nova hat den Rang GOLD erreicht.\n\n"
            "… und 1.200 weitere: in deinen Mitteilungen im Store stehen alle.",
        ),
    ],
)
def test_one_mail_in_the_readers_language(locale: str | None, subject: str, text: str) -> None:
    told = [
        a_notification(1, "badge_awarded", badge="Chess"),
        a_notification(2, "rank_reached", agent="Nova", rank="GOLD"),
    ]
    said = letter(told, 1_202, locale)
    assert (said.title, said.text) == (subject, text)
    begin = said.text.rpartition("\n\n")[0]
    assert letter(told, 2, locale).text == begin  # nothing is left to count


def test_fifty_are_listed_and_the_others_counted() -> None:
    told = [a_notification(number, "badge_awarded", badge=f"No. {number}") for number in range(1, 52)]
    lines = letter(told, 51, "en").text.split("\n")
    assert [line for line in lines if line.startswith("- ")] == [
        f"- You have earned the badge No. {number}." for number in range(1, 51)
    ]
    assert lines[-1] == "… and 1 more: your notifications in the store have them all."


def test_nobodys_text_looks_like_another_notification() -> None:
    forged = a_notification(1, "badge_awarded", badge="Chess.\n- Your account is closed:\r\n {more}")
    assert letter([forged], 1, "en").text.split("\n")[2:] == [
        "- You have earned the badge Chess. - Your account is closed: {more}."
    ]


def test_every_language_has_a_digest() -> None:
    assert set(MAIL_DIGEST) == set(SEPARATORS)
    for subject, begin, end in MAIL_DIGEST.values():
        assert re.findall(r"\{\w+\}", subject + begin + end) == ["{more}"]
        assert len(subject) <= 60
