"""Users: profiles, preferences, and who may hold whom back."""

from __future__ import annotations

import pytest

from domain import users
from domain.errors import BadInput, Conflict, Forbidden, Unauthenticated
from domain.users import (
    Channel,
    MailRhythm,
    NotificationKind,
    Preferences,
    PreferencesChange,
    ProfileChange,
    Role,
    Viewer,
)
from tests.nouns import ADA, HOUR, MAX, NOW, SECOND, a_user

LATER = NOW + HOUR


def test_an_identity_has_one_user_for_ever() -> None:
    user = a_user("ada")
    assert user.id == users.user_id("ada") == ADA
    assert user.id.startswith("usr_")
    assert (user.role, user.version, user.suspended_at) == (Role.USER, 1, None)


def test_a_sign_in_brings_the_mail_and_nothing_else() -> None:
    user = a_user("ada", email_verified=False)
    known = users.identify(user, "ada@new.test", email_verified=True, now=LATER)
    assert (known.email, known.email_verified, known.version, known.updated_at) == ("ada@new.test", True, 2, LATER)
    assert users.identify(known, "ada@new.test", email_verified=True, now=LATER + HOUR) is known


def test_a_profile_change_touches_only_what_it_names() -> None:
    user = a_user("ada", nationality="Spanish", avatar="a" * 64)
    renamed = users.change_profile(user, ProfileChange(display_name=" Ada  L. "), LATER)
    assert (renamed.display_name, renamed.nationality, renamed.avatar) == ("Ada L.", "Spanish", user.avatar)
    cleared = users.change_profile(user, ProfileChange(nationality=None, avatar=None), LATER)
    assert (cleared.display_name, cleared.nationality, cleared.avatar) == ("Ada", None, None)
    assert users.change_profile(user, ProfileChange(display_name="Ada", timezone="UTC"), LATER) is user


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+3"])
def test_a_time_zone_has_a_name(name: str) -> None:
    assert users.change_profile(a_user(), ProfileChange(timezone=name), LATER).timezone == name


@pytest.mark.parametrize("name", ["", "../etc/passwd", "Europe Berlin", "a/b/c/d", "Ze\u0301n"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as refused:
        users.change_profile(a_user(), ProfileChange(timezone=name), LATER)
    assert refused.value.field == "input.timezone"


def test_preferences_keep_what_was_not_chosen() -> None:
    hires, reviews = NotificationKind.HIRES, NotificationKind.REVIEWS
    user = users.change_preferences(
        a_user(), PreferencesChange({hires: (Channel.PUSH, Channel.EMAIL, Channel.PUSH)}), LATER
    )
    assert user.preferences == Preferences({hires: (Channel.EMAIL, Channel.PUSH)})
    silent = users.change_preferences(user, PreferencesChange({reviews: ()}, show_profile=False), LATER)
    assert silent.preferences.channels(hires) == (Channel.EMAIL, Channel.PUSH)
    assert silent.preferences.channels(reviews) == ()
    assert silent.preferences.channels(NotificationKind.PURCHASES) == (Channel.IN_APP, Channel.EMAIL)
    assert (silent.preferences.show_profile, silent.preferences.show_badges) == (False, True)
    assert silent.preferences.mail_rhythm is MailRhythm.AT_ONCE
    weekly = users.change_preferences(silent, PreferencesChange(mail_rhythm=MailRhythm.WEEKLY), LATER)
    assert (weekly.preferences.mail_rhythm, weekly.preferences.show_profile) == (MailRhythm.WEEKLY, False)
    for unchanged in (silent, weekly):
        assert users.change_preferences(unchanged, PreferencesChange(), LATER) is unchanged


def test_a_hidden_profile_shows_to_its_user_and_to_moderators() -> None:
    hidden = a_user("ada", preferences=Preferences(show_profile=False))
    viewers = [None, Viewer(MAX), Viewer(ADA), Viewer(MAX, Role.MODERATOR)]
    assert [users.shows_profile(hidden, viewer) for viewer in viewers] == [False, False, True, True]
    assert users.shows_profile(a_user("ada"), None)


def test_only_a_higher_role_suspends() -> None:
    moderator, admin = Viewer(MAX, Role.MODERATOR), Viewer(MAX, Role.ADMIN)
    held = users.suspend(a_user(), moderator, " spam ", None, LATER)
    assert (held.suspended_at, held.suspension_reason, held.version) == (LATER, "spam", 2)
    again = users.suspend(held, moderator, "more spam", LATER + 2 * HOUR, LATER + HOUR)
    assert (again.suspended_at, again.suspension_reason) == (LATER, "more spam")
    free = users.reinstate(again, moderator, LATER)
    assert (free.suspended_at, free.suspended_until, free.suspension_reason) == (None, None, None)
    assert users.lapse(again, LATER + 2 * HOUR - SECOND) is again
    assert users.lapse(again, LATER + 2 * HOUR).suspended_at is None
    assert users.lapse(held, LATER + 2 * HOUR) is held
    with pytest.raises(BadInput, match="in the future"):
        users.suspend(a_user(), moderator, "spam", LATER, LATER)
    with pytest.raises(Conflict, match="another moderator"):
        users.suspend(a_user("max"), moderator, "spam", None, LATER)
    for viewer, role in (
        (Viewer(MAX), Role.USER),
        (moderator, Role.MODERATOR),
        (moderator, Role.ADMIN),
        (admin, Role.ADMIN),
    ):
        with pytest.raises(Forbidden):
            users.suspend(a_user(role=role), viewer, "spam", None, LATER)
    assert users.suspend(a_user(role=Role.MODERATOR), admin, "spam", None, LATER).suspended_at == LATER


def test_only_another_admin_appoints() -> None:
    admin = Viewer(MAX, Role.ADMIN)
    assert users.appoint(a_user(), admin, Role.ADMIN, LATER).role is Role.ADMIN
    assert users.appoint(a_user(role=Role.ADMIN), admin, Role.USER, LATER).role is Role.USER
    with pytest.raises(Forbidden):
        users.appoint(a_user(), Viewer(MAX, Role.MODERATOR), Role.MODERATOR, LATER)
    with pytest.raises(Conflict, match="own account"):
        users.appoint(a_user("max", role=Role.ADMIN), admin, Role.USER, LATER)
    with pytest.raises(Conflict, match="suspended"):
        users.appoint(a_user(suspended_at=NOW), admin, Role.MODERATOR, LATER)


def test_a_suspended_account_does_nothing() -> None:
    assert users.require_active(a_user()) == a_user()
    with pytest.raises(Forbidden, match=r"suspended: Spam\. Write to support"):
        users.require_active(a_user(suspended_at=NOW, suspension_reason="Spam."))
    with pytest.raises(Forbidden, match=r"suspended until 2026-03-01 13:00 UTC: Spam\."):
        users.require_active(a_user(suspended_at=NOW, suspended_until=NOW + HOUR, suspension_reason="Spam."))
    with pytest.raises(Forbidden, match=r"suspended: spam\. Write to support"):
        users.require_active(a_user(suspended_at=NOW, suspension_reason="spam"))
    with pytest.raises(Unauthenticated):
        users.require_active(None)
