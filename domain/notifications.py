"""Notifications: facts that a user is told of. The words are made at reading time, in the reader's language."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from domain.errors import BadInput
from domain.ids import Kind, derived_id, kind_of
from domain.notification_texts import ENGLISH, SEPARATORS, TEXTS
from domain.users import NotificationKind

KEPT = timedelta(days=365)  # long after the fact itself has told; the wallet and the sessions keep their own history
DEVICES_MAX = 10  # of one user: the newest; whoever has more has left the oldest behind
TOKEN_CHARACTERS_MAX = 4_096  # FCM names no bound; its tokens have about 160
UNREAD_MAX = 100  # a badge says "99+" from there on
ARGS_MAX = 12  # a handful of ids and figures: a row's task fits a queue's message


@dataclass(frozen=True, slots=True)
class Note:
    """A fact to tell a user of. `text` names the words in `domain/notification_texts.py`, `args` fills them in: figures
    and names, and under names that end in `_id` what it is about. Without a `kind` only integrators hear of it."""

    id: str
    user_id: str
    kind: NotificationKind | None
    text: str
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notification:
    """A note as it was told. `sequence` counts a user's notifications from 1; one that the user does not want in the
    app has 0, and is no part of the list: it is kept for the mail or push that carries it."""

    id: str
    user_id: str
    kind: NotificationKind
    text: str
    args: Mapping[str, str]
    sequence: int
    created_at: datetime
    expires_at: datetime
    read: bool = False
    mailed_at: datetime | None = None
    pushed_at: datetime | None = None
    mail_digest_id: str | None = None  # the outbox row whose task mails it with others, where its mail waits

    @property
    def subject_ids(self) -> list[str]:
        """What it is about: ids of things, most of which `node(id:)` finds."""
        return [value for name, value in sorted(self.args.items()) if name.endswith("_id")]


@dataclass(frozen=True, slots=True)
class NotificationBox:
    """How far a user's notifications have counted, up to which all are read, and which endpoints want to hear."""

    id: str
    sequence: int = 0
    read_to: int = 0
    endpoint_ids: tuple[str, ...] = ()


class Platform(StrEnum):
    ANDROID = "ANDROID"
    IOS = "IOS"
    WEB = "WEB"


@dataclass(frozen=True, slots=True)
class Device:
    """Where pushes go: a token of one app on one device, the last user's who registered it."""

    id: str
    user_id: str
    token: str
    platform: Platform
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class Words:
    title: str
    text: str


def note(kind: NotificationKind | None, user_id: str, fact: tuple[str | int, ...], args: Mapping[str, str]) -> Note:
    """The note of a fact, whose first part names its text. One fact is one notification of a user, for ever."""
    name = str(fact[0])
    assert name in TEXTS or kind is None, f"domain/notification_texts.py has no text {name!r}"
    assert len(args) <= ARGS_MAX, f"{name} has more than {ARGS_MAX} args"
    for about, value in args.items():
        assert not about.endswith("_id") or kind_of(value) is not None, f"{about} of {name} is no id"
    return Note(derived_id(Kind.NOTIFICATION, user_id, *fact), user_id, kind, name, dict(args))


def words(text: str, args: Mapping[str, str], locale: str | None) -> Words:
    """What to say, in the language of a locale such as `es-MX`; in English where that language is not ours."""
    told = TEXTS[text]
    language = language_of(locale, told)
    shown = {name: figure(value, language) for name, value in args.items()}
    title, line = told[language]
    return Words(filled(title, shown), filled(line, shown))


def language_of(locale: str | None, told: Collection[str]) -> str:
    """The language of a locale, where it is one of those that something is told in; English otherwise."""
    language = (locale or ENGLISH).replace("_", "-").partition("-")[0].lower()
    return language if language in told else ENGLISH


def filled(text: str, args: Mapping[str, str]) -> str:
    """Each `{name}` replaced by its argument, once: an argument's own braces stay as they are."""
    parts = text.split("{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        filled += [args.get(name, "…"), rest]
    return "".join(filled)


def figure(value: str, language: str) -> str:
    """A whole number with the language's separators; anything else as it is."""
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 16:
        return value
    return f"{int(value):,}".replace(",", SEPARATORS[language])


def notifications_topic(user_id: str) -> str:
    """The topic of a user's notifications; a subscriber says `notifications` and means its own."""
    return f"notifications:{user_id}"


def device(user_id: str, token: str, platform: Platform, now: datetime) -> Device:
    """A device under the hash of its token. Raises BadInput for what is no token."""
    if not (1 <= len(token) <= TOKEN_CHARACTERS_MAX and token.isascii() and token.isprintable() and " " not in token):
        raise BadInput("A device's token is what the Firebase SDK gave: send it unchanged.", field="input.token")
    return Device(derived_id(Kind.DEVICE, token), user_id, token, platform, now)
