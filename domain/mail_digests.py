"""Mail digests: which mails may wait, until when, and what the one mail says that tells of them all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.notification_texts import MAIL_DIGEST
from domain.notifications import Note, Notification, Words, figure, filled, language_of, words
from domain.users import Channel, MailRhythm, NotificationKind, Preferences

LISTED_MAX = 50  # in one mail: the newest; the others are counted
DUE_AT = time(8)  # on the user's own clock: before the day begins, and after the night
AT_ONCE_KINDS = frozenset({NotificationKind.ACCOUNT, NotificationKind.PURCHASES})
"""Whoever did not do this, or did not get that, must hear of it now: keys, roles and suspensions; money paid in."""
AT_ONCE_TEXTS = frozenset({"payout_failed", "session_low"})
"""Of the other kinds: money that did not arrive, and a warning that tomorrow says nothing any more."""


def waits(note: Note, preferences: Preferences) -> bool:
    """Whether the mail of a note is gathered into a digest, by the preferences of this moment."""
    if note.kind is None or Channel.EMAIL not in preferences.channels(note.kind):
        return False
    urgent = note.kind in AT_ONCE_KINDS or note.text in AT_ONCE_TEXTS
    return preferences.mail_rhythm is not MailRhythm.AT_ONCE and not urgent


def due_after(rhythm: MailRhythm, timezone: str, moment: datetime) -> datetime:
    """The first time after a moment, in UTC, that a digest is due: 08:00 in a time zone, of any day or of a Monday.

    A zone that is not known is UTC. Where clocks skip 08:00 it is due as long after midnight as on other days, and
    where they show it twice, at the first.
    """
    assert rhythm is not MailRhythm.AT_ONCE, "what is mailed at once is never due"
    zone = _zone(timezone)
    day = moment.astimezone(zone).date()
    every = timedelta(days=1)
    if rhythm is MailRhythm.WEEKLY:
        day, every = day - timedelta(days=day.weekday()), timedelta(days=7)
    while True:  # ends: each turn is a day or a week later, and the second or third is after the moment
        due = datetime.combine(day, DUE_AT, zone).astimezone(UTC)
        if due > moment:
            return due
        day += every


def mailed_kinds(preferences: Preferences) -> frozenset[NotificationKind]:
    """The kinds that a user wants by mail: asked when a digest is sent, since a kind may be silent by then."""
    return frozenset(kind for kind in NotificationKind if Channel.EMAIL in preferences.channels(kind))


def letter(gathered: Sequence[Notification], count: int, locale: str | None) -> Words:
    """One mail for `count` notifications, of which `gathered` are the newest, the latest first."""
    language = language_of(locale, MAIL_DIGEST)
    subject, begin, end = MAIL_DIGEST[language]
    listed = gathered[:LISTED_MAX]
    # A line each, whatever people wrote into it: nobody's text looks like another notification.
    lines = [" ".join(words(each.text, each.args, locale).text.split()) for each in listed]
    parts = [begin, "\n".join(f"- {line}" for line in lines)]
    if count > len(listed):
        parts.append(filled(end, {"more": figure(str(count - len(listed)), language)}))
    return Words(subject, "\n\n".join(parts))


def _zone(name: str) -> tzinfo:
    """The zone of a name that has the shape of one (users.require_timezone), which is all that a profile promises."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):  # OSError: `America` is a folder
        return UTC
