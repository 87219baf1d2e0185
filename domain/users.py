"""A user: who signs in, how others see them, and what they want to be told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from domain import texts
from domain.errors import BadInput, Forbidden, Unauthenticated
from domain.ids import Kind, derived_id
from domain.texts import KEEP, Keep

DISPLAY_NAME_CHARACTERS_MAX = 60
NATIONALITY_CHARACTERS_MAX = 60
REASON_CHARACTERS_MAX = 500
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

    Without `show_profile` others see the display name alone; without `show_badges` they see no badges.
    """

    notifications: Mapping[NotificationKind, tuple[Channel, ...]] = field(default_factory=dict)
    show_profile: bool = True
    show_badges: bool = True

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
    avatar_url: str | None = None
    nationality: str | None = None
    suspended_at: datetime | None = None
    suspension_reason: str | None = None
    preferences: Preferences = field(default_factory=Preferences)
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


def new_user(uid: str, email: str, *, email_verified: bool, display_name: str, timezone: str, now: datetime) -> User:
    """A user at the first sign-in. Raises BadInput."""
    name = texts.line(display_name, "input.displayName", DISPLAY_NAME_CHARACTERS_MAX)
    return User(user_id(uid), uid, email, email_verified, name, require_timezone(timezone), now, now)


def identify(user: User, email: str, *, email_verified: bool, now: datetime) -> User:
    """The user with what the identity provider says today; all else stays as the user made it."""
    return _revised(user, replace(user, email=email, email_verified=email_verified), now)


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """What to change of a profile: None, or KEEP where None clears the field, leaves it as it is."""

    display_name: str | None = None
    timezone: str | None = None
    avatar_url: str | Keep | None = KEEP
    nationality: str | Keep | None = KEEP


def change_profile(user: User, change: ProfileChange, now: datetime) -> User:
    """The same user where nothing changes. Raises BadInput."""
    changed = user
    if change.display_name is not None:
        name = texts.line(change.display_name, "input.displayName", DISPLAY_NAME_CHARACTERS_MAX)
        changed = replace(changed, display_name=name)
    if change.timezone is not None:
        changed = replace(changed, timezone=require_timezone(change.timezone))
    if change.avatar_url is not KEEP:
        changed = replace(changed, avatar_url=texts.optional_url(change.avatar_url, "input.avatarUrl"))
    if change.nationality is not KEEP:
        nationality = texts.optional_line(change.nationality, "input.nationality", NATIONALITY_CHARACTERS_MAX)
        changed = replace(changed, nationality=nationality)
    return _revised(user, changed, now)


@dataclass(frozen=True, slots=True)
class PreferencesChange:
    """What to change: the kinds named in `notifications`, and the flags that are not None."""

    notifications: Mapping[NotificationKind, tuple[Channel, ...]] = field(default_factory=dict)
    show_profile: bool | None = None
    show_badges: bool | None = None


def change_preferences(user: User, change: PreferencesChange, now: datetime) -> User:
    """The same user where nothing changes. A kind with no channel is silent."""
    before = user.preferences
    chosen = {kind: tuple(sorted(set(channels))) for kind, channels in change.notifications.items()}
    preferences = Preferences(
        {**before.notifications, **chosen},
        before.show_profile if change.show_profile is None else change.show_profile,
        before.show_badges if change.show_badges is None else change.show_badges,
    )
    return _revised(user, replace(user, preferences=preferences), now)


def suspend(user: User, moderator: Viewer, reason: str, now: datetime) -> User:
    """A suspended user publishes nothing, until reinstated. A second suspension keeps the first moment.

    Raises Forbidden for who is no moderator, and for a user of the moderator's own rank or above; BadInput.
    """
    _require_above(moderator, user)
    why = texts.prose(reason, "input.reason", REASON_CHARACTERS_MAX)
    return _revised(user, replace(user, suspended_at=user.suspended_at or now, suspension_reason=why), now)


def reinstate(user: User, moderator: Viewer, now: datetime) -> User:
    """Lift a suspension. Raises Forbidden as `suspend` does."""
    _require_above(moderator, user)
    return _revised(user, replace(user, suspended_at=None, suspension_reason=None), now)


def _require_above(moderator: Viewer, user: User) -> None:
    require_moderator(moderator)
    ranks = tuple(Role)
    if ranks.index(user.role) >= ranks.index(moderator.role):
        raise Forbidden(f"This user is {user.role}: only a higher role suspends or reinstates.")


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
    if user is None:
        raise Unauthenticated("This account is no longer there: sign up again.")
    if user.suspended_at is not None:
        raise Forbidden("This account is suspended: write to support to appeal.")
    return user
