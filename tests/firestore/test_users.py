"""Users in the store: registered once, changed in one commit, no commit where nothing changes."""

from __future__ import annotations

import pytest

from domain.errors import BadInput, NotFound
from domain.users import (
    Channel,
    MailRhythm,
    NotificationKind,
    Preferences,
    PreferencesChange,
    ProfileChange,
    Role,
    User,
)
from firestore.users import Users
from tests.firestore.market import Market
from tests.nouns import ADA, HOUR, MAX, NOW, a_user

LATER = NOW + HOUR


async def register(users: Users, name: str, *, verified: bool = True, email: str | None = None) -> User:
    return await users.register(
        name,
        email or f"{name}@jiga.test",
        email_verified=verified,
        display_name=name.title(),
        timezone="UTC",
        now=NOW,
    )


async def test_a_sign_in_registers_once() -> None:
    market = Market()
    assert await register(market.users, "ada") == a_user("ada")
    await market.users.update_profile(ADA, ProfileChange(display_name="Ada L."), LATER)
    with market.costs(rpcs=1, writes=0):
        again = await register(market.users, "ada")
    assert (again.display_name, again.version) == ("Ada L.", 2)
    assert (await register(market.users, "ada", email="ada@new.test")).email == "ada@new.test"


async def test_a_user_comes_back_from_the_store_as_it_was() -> None:
    market = Market()
    await register(market.users, "ada")
    chosen = PreferencesChange(
        {NotificationKind.HIRES: (Channel.EMAIL,), NotificationKind.BADGES: ()},
        show_badges=False,
        mail_rhythm=MailRhythm.WEEKLY,
    )
    with market.costs(rpcs=2, writes=1):
        changed = await market.users.update_preferences(ADA, chosen, LATER)
    assert changed.preferences == Preferences(
        {NotificationKind.HIRES: (Channel.EMAIL,), NotificationKind.BADGES: ()},
        show_badges=False,
        mail_rhythm=MailRhythm.WEEKLY,
    )
    with market.costs(rpcs=1, writes=0):
        assert await market.users.get_many([MAX, ADA, "usr_x/../y", ADA]) == [None, changed, None, changed]
    with market.costs(rpcs=1, writes=0):
        assert await market.users.update_preferences(ADA, chosen, LATER + HOUR) == changed


async def test_a_refused_profile_changes_nothing() -> None:
    market = Market()
    ada = await register(market.users, "ada")
    with pytest.raises(BadInput):
        await market.users.update_profile(ADA, ProfileChange(display_name="New", timezone="not a zone"), LATER)
    for user_id in (MAX, "usr_nobody", ""):
        with pytest.raises(NotFound):
            await market.users.update_profile(user_id, ProfileChange(display_name="New"), LATER)
    assert await market.users.get_many([ADA]) == [ada]


async def test_whoever_runs_the_store_makes_the_first_admin() -> None:
    market = Market()
    await register(market.users, "max")
    assert (await market.users.set_role(MAX, Role.ADMIN, LATER)).role is Role.ADMIN
    with pytest.raises(NotFound):
        await market.users.set_role(a_user("nobody").id, Role.ADMIN, LATER)
