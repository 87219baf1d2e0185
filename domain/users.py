"""A user: who signs in, how others see them, and what they want to be told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from domain import texts
from domain.errors import BadInput, Conflict, Forbidden, Unauthenticated
from domain.ids import Kind, derived_id
from domain.texts import KEEP, Keep

DISPLAY_NAME_CHARACTERS_MAX = 60  # one line beside a review, with room for two names of any language
NATIONALITY_CHARACTERS_MAX = 60  # the longest name of a country in ISO 3166 has 58
REASON_CHARACTERS_MAX = 500  # a paragraph: it is shown to whom it is about, by mail too
DELETED_NAME = "Deleted user"  # what others see of an account that was erased
_REFERRAL_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TIMEZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]{0,30}(/[A-Za-z0-9_+\-]{1,30}){0,2}")  # the shape of an IANA name


class Role(StrEnum):
    USER = "USER"
    MODERATOR = "MODERATOR"
    ADMIN = "ADMIN"


class NotificationKind(StrEnum):
    """What a notification is about."""

    HIRES = "HIRES"
    SESSIONS = "SESSIONS"
    PURCHASES = "PURCHASES"
    EARNINGS = "EARNINGS"
    REVIEWS = "REVIEWS"
    BADGES = "BADGES"
    ACCOUNT = "ACCOUNT"


class Channel(StrEnum):
    IN_APP = "IN_APP"
    EMAIL = "EMAIL"
    PUSH = "PUSH"


class MailRhythm(StrEnum):
    """When mails of notifications come: each at once, or gathered into one mail at 08:00 of the user's own time zone,
    every day or every Monday (domain/mail_digests.py)."""

    AT_ONCE = "AT_ONCE"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"


DEFAULT_CHANNELS: Mapping[NotificationKind, tuple[Channel, ...]] = {
    NotificationKind.HIRES: (Channel.IN_APP, Channel.PUSH),
    NotificationKind.SESSIONS: (Channel.IN_APP, Channel.PUSH),
    NotificationKind.PURCHASES: (Channel.IN_APP, Channel.EMAIL),
    NotificationKind.EARNINGS: (Channel.IN_APP,),
    NotificationKind.REVIEWS: (Channel.IN_APP,),
    NotificationKind.BADGES: (Channel.IN_APP,),
    NotificationKind.ACCOUNT: (Channel.IN_APP, Channel.EMAIL),
}


@dataclass(frozen=True, slots=True)
class Preferences:
    """`notifications` holds only what the user has chosen; `channels` fills in the defaults.

    Without `show_profile` others see the display name alone; without `show_badges` they see no badges. `mail_rhythm`
    holds for what can wait.
    """

    notifications: Mapping[NotificationKind, tuple[Channel, ...]] = field(default_factory=dict)
    show_profile: bool = True
    show_badges: bool = True
    mail_rhythm: MailRhythm = MailRhythm.AT_ONCE

    def channels(self, kind: NotificationKind) -> tuple[Channel, ...]:
        """Where a notification of this kind goes."""
        return self.notifications.get(kind, DEFAULT_CHANNELS[kind])


@dataclass(frozen=True, slots=True)
class User:
    """`uid` and `email` are the identity provider's. `version` counts the stored changes."""

    id: str
    uid: str
    email: str
    email_verified: bool
    display_name: str
    timezone: str
    created_at: datetime
    updated_at: datetime
    role: Role = Role.USER
    avatar: str | None = None  # the name of a picture: domain/images.py
    nationality: str | None = None
    locale: str | None = None  # of what the store writes to the user; None is English
    suspended_at: datetime | None = None
    suspended_until: datetime | None = None
    suspension_reason: str | None = None
    preferences: Preferences = field(default_factory=Preferences)
    referral_code: str | None = None
    erased_at: datetime | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: a signed-in user. Nobody signed in is None."""

    id: str
    role: Role = Role.USER

    @property
    def is_moderator(self) -> bool:
        """Moderators and admins."""
        return self.role is not Role.USER


def user_id(uid: str) -> str:
    """The id of an identity: derived, so that a sign-in needs no look-up."""
    return derived_id(Kind.USER, "identity", uid)


def require_moderator(viewer: Viewer) -> None:
    """Raises Forbidden for everybody else."""
    if not viewer.is_moderator:
        raise Forbidden("This is for moderators: sign in with a moderator's account.")


def shows_profile(user: User, viewer: Viewer | None) -> bool:
    """Whether avatar, nationality and figures are for the viewer's eyes; the display name always is."""
    return user.preferences.show_profile or (viewer is not None and (viewer.id == user.id or viewer.is_moderator))


def shows_badges(user: User, viewer: Viewer | None) -> bool:
    """Whether the user's badges are for the viewer's eyes."""
    return user.preferences.show_badges or (viewer is not None and (viewer.id == user.id or viewer.is_moderator))


def with_avatar(user: User, image: str, now: datetime) -> User:
    """The user with another picture, by its name."""
    return _revised(user, replace(user, avatar=image), now)


def new_user(uid: str, email: str, *, email_verified: bool, display_name: str, timezone: str, now: datetime) -> User:
    """A user at the first sign-in. Raises BadInput."""
    name = texts.line(display_name, "input.displayName", DISPLAY_NAME_CHARACTERS_MAX)
    return User(user_id(uid), uid, email, email_verified, name, require_timezone(timezone), now, now)


def require_referral_code(code: str | None) -> str | None:
    """A code as somebody gave it to a friend: whose it is, is the referral programme's to say. Raises BadInput."""
    if code is not None and _REFERRAL_CODE.fullmatch(code) is None:
        message = "A referral code has 1 to 64 letters, digits, - and _: copy it again, or leave it out."
        raise BadInput(message, field="input.referralCode")
    return code


def identify(user: User, email: str, *, email_verified: bool, now: datetime) -> User:
    """The user with what the identity provider says today; all else stays as the user made it."""
    return _revised(user, replace(user, email=email, email_verified=email_verified), now)


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """What to change of a profile: None, or KEEP where None clears the field, leaves it as it is. A new avatar comes by
    an upload."""

    display_name: str | None = None
    timezone: str | None = None
    avatar: Keep | None = KEEP
    nationality: str | Keep | None = KEEP
    locale: str | Keep | None = KEEP


def change_profile(user: User, change: ProfileChange, now: datetime) -> User:
    """The same user where nothing changes. Raises BadInput."""
    changed = user
    if change.display_name is not None:
        name = texts.line(change.display_name, "input.displayName", DISPLAY_NAME_CHARACTERS_MAX)
        changed = replace(changed, display_name=name)
    if change.timezone is not None:
        changed = replace(changed, timezone=require_timezone(change.timezone))
    if change.avatar is not KEEP:
        changed = replace(changed, avatar=None)
    if change.nationality is not KEEP:
        nationality = texts.optional_line(change.nationality, "input.nationality", NATIONALITY_CHARACTERS_MAX)
        changed = replace(changed, nationality=nationality)
    if not isinstance(change.locale, Keep):
        locale = None if change.locale is None else texts.language(change.locale, "input.locale")
        changed = replace(changed, locale=locale)
    return _revised(user, changed, now)


@dataclass(frozen=True, slots=True)
class PreferencesChange:
    """What to change: the kinds named in `notifications`, and what else is not None."""

    notifications: Mapping[NotificationKind, tuple[Channel, ...]] = field(default_factory=dict)
    show_profile: bool | None = None
    show_badges: bool | None = None
    mail_rhythm: MailRhythm | None = None


def change_preferences(user: User, change: PreferencesChange, now: datetime) -> User:
    """The same user where nothing changes. A kind with no channel is silent."""
    before = user.preferences
    chosen = {kind: tuple(sorted(set(channels))) for kind, channels in change.notifications.items()}
    preferences = Preferences(
        {**before.notifications, **chosen},
        before.show_profile if change.show_profile is None else change.show_profile,
        before.show_badges if change.show_badges is None else change.show_badges,
        change.mail_rhythm or before.mail_rhythm,
    )
    return _revised(user, replace(user, preferences=preferences), now)


def suspend(user: User, moderator: Viewer, reason: str, until: datetime | None, now: datetime) -> User:
    """A suspended user changes nothing, until reinstated, or until a moment. Suspended again, the first moment stays.

    Raises Forbidden for who is no moderator, and for a user of the moderator's own rank or above; Conflict for oneself;
    BadInput.
    """
    _require_above(moderator, user)
    if until is not None and until <= now:
        raise BadInput(
            "A suspension ends in the future: leave `until` out for one without an end.", field="input.until"
        )
    why = texts.prose(reason, "input.reason", REASON_CHARACTERS_MAX)
    began = user.suspended_at or now
    return _revised(user, replace(user, suspended_at=began, suspended_until=until, suspension_reason=why), now)


def reinstate(user: User, moderator: Viewer, now: datetime) -> User:
    """Lift a suspension. Raises Forbidden and Conflict as `suspend` does."""
    _require_above(moderator, user)
    return _in_good_standing(user, now)


def lapse(user: User, now: datetime) -> User:
    """The user without a suspension whose end has come."""
    return _in_good_standing(user, now) if user.suspended_until is not None and user.suspended_until <= now else user


def _in_good_standing(user: User, now: datetime) -> User:
    return _revised(user, replace(user, suspended_at=None, suspended_until=None, suspension_reason=None), now)


def _require_above(moderator: Viewer, user: User) -> None:
    require_moderator(moderator)
    if user.id == moderator.id:
        raise Conflict("This is your own account: another moderator decides on it.")
    ranks = tuple(Role)
    if ranks.index(user.role) >= ranks.index(moderator.role):
        raise Forbidden(f"This user is {user.role}: only a higher role suspends or reinstates.")


def appoint(user: User, admin: Viewer, role: Role, now: datetime) -> User:
    """The user in another role, given by an admin to another: so whoever drops an admin stays one, and one is left.

    Raises Forbidden for who is no admin, Conflict for oneself and for a suspended user's rise.
    """
    if admin.role is not Role.ADMIN:
        raise Forbidden("This is for admins: sign in with an admin's account.")
    if user.id == admin.id:
        raise Conflict("This is your own account: another admin decides on its role.")
    if user.suspended_at is not None and role is not Role.USER:
        raise Conflict("This account is suspended: reinstate it with reinstateUser first.")
    return with_role(user, role, now)


def with_role(user: User, role: Role, now: datetime) -> User:
    """The user in another role."""
    return _revised(user, replace(user, role=role), now)


def _revised(before: User, after: User, now: datetime) -> User:
    return before if after == before else replace(after, version=before.version + 1, updated_at=now)


def require_timezone(name: str) -> str:
    if _TIMEZONE.fullmatch(name) is None:
        raise BadInput("A time zone has a name such as Europe/Berlin or UTC.", field="input.timezone")
    return name


def require_active(user: User | None) -> User:
    """The user, if the account is in good standing. Raises Forbidden while suspended, Unauthenticated when gone."""
    if user is None or user.erased_at is not None:
        raise Unauthenticated("This account is no longer there: sign up again.")
    if user.suspended_at is not None:
        end = f" until {user.suspended_until:%Y-%m-%d %H:%M} UTC" if user.suspended_until else ""
        why = (user.suspension_reason or "").strip()
        stop = "" if why.endswith((".", "!", "?", "…")) else "."
        raise Forbidden(f"This account is suspended{end}: {why}{stop} Write to support to appeal.")
    return user


def erase(user: User, now: datetime) -> User:
    """What is left of an account that was deleted: an id under which the books go on, and nothing that names a person.

    A suspension stays, without its reason: who was held back is not let in by deleting the account.
    """
    erased = User(
        id=user.id,
        uid="",
        email="",
        email_verified=False,
        display_name=DELETED_NAME,
        timezone="UTC",
        created_at=user.created_at,
        updated_at=user.updated_at,
        suspended_at=user.suspended_at,
        suspended_until=user.suspended_until,
        preferences=Preferences(show_profile=False, show_badges=False),
        erased_at=user.erased_at or now,
        version=user.version,
    )
    return _revised(user, erased, now)
