"""API keys in the store: made, found, revoked, and a cap that parallel callers cannot pass."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain import keys
from domain.errors import BadInput, Conflict, Forbidden, NotFound, SpendCapReached, Unauthenticated
from domain.ids import Kind, derived_id
from domain.keys import TEST, ApiKey, KeyScope, KeyWish
from domain.money import ZERO, Dof
from domain.pricing import HireUnit, SessionConfiguration
from domain.sessions import SessionType
from firestore.collections import API_KEYS, KEY_RINGS, USERS
from firestore.memory import MemoryBackend
from firestore.sessions import Start
from tests import make
from tests.make import NOW, PLAIN, World, user_id, wish

MAX, ADA = user_id("max"), user_id("ada")
HOURLY = 6_000
LATER = NOW + timedelta(hours=1)
SPENDER = KeyWish("Bot", (KeyScope.SPEND,))


async def a_world(funds: int = 60 * HOURLY) -> World:
    world = World(MemoryBackend())
    await world.open("eve")
    await world.fund("max", funds)
    return world


async def a_key(world: World, number: int = 1, owner: str = MAX, **changes: Any) -> tuple[ApiKey, str]:
    key_id = derived_id(Kind.API_KEY, number)
    secret = number.to_bytes(32, "little")
    return await world.store.keys.create(owner, key_id, TEST, secret, replace(SPENDER, **changes), NOW)


async def spent(world: World, key: ApiKey) -> int:
    return (await world.get(API_KEYS, key.id)).spent.units


async def test_t_a07_only_a_hash_is_kept() -> None:
    world = await a_world()
    key, text = await a_key(world)
    assert text.startswith(f"jiga_test_{key.id[4:]}_")
    secret = text.removeprefix(key.prefix + "_")
    assert len(secret) == 43
    stored = str(await world.dump())
    assert secret not in stored
    assert text not in stored
    presented = keys.read(text)
    assert presented == keys.Presented(TEST, key.id, secret)
    assert keys.require_genuine(await world.store.keys.get(key.id), presented, NOW) == key
    assert key.digest == keys.digest_of(secret) != secret.encode()


async def test_t_a07_every_other_text_is_refused_in_one_sentence() -> None:
    world = await a_world()
    key, text = await a_key(world)
    other, _ = await a_key(world, 2)
    mine, missing = keys.read(text), derived_id(Kind.API_KEY, "missing")
    assert mine is not None
    for shape in (
        "",
        "jiga_",
        text[:-1],
        text + "A",
        text.upper(),
        text.replace("test", "prod"),
        text.replace("_", "-"),
    ):
        assert keys.read(shape) is None
    said = set()
    for held, presented in (
        (key, replace(mine, secret="A" * 43)),
        (other, mine),
        (await world.store.keys.get(missing), mine),
        (replace(key, revoked_at=NOW), mine),
        (replace(key, expires_at=NOW), mine),
    ):
        with pytest.raises(Unauthenticated) as refusal:
            keys.require_genuine(held, presented, NOW)
        said.add(refusal.value.message)
    assert said == {"The API key is not valid here, or no longer: make one with createApiKey."}
    assert keys.require_genuine(replace(key, expires_at=LATER), mine, NOW).id == key.id


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "input.name"),
        ({"name": "x" * 61}, "input.name"),
        ({"scopes": ()}, "input.scopes"),
        ({"expires_at": NOW}, "input.expiresAt"),
        ({"rate_limit_per_minute": 0}, "input.rateLimitPerMinute"),
        ({"rate_limit_per_minute": 6_001}, "input.rateLimitPerMinute"),
        ({"dof_spend_cap": ZERO}, "input.dofSpendCap"),
        ({"dof_spend_cap": Dof(-1)}, "input.dofSpendCap"),
    ],
)
async def test_what_is_no_key_is_not_made(changes: dict[str, Any], field: str) -> None:
    world = await a_world()
    async with world.refuses(BadInput, field=field):
        await a_key(world, **changes)


async def test_a_user_has_twenty_keys_and_no_more_whoever_is_quick() -> None:
    world = await a_world()
    made = await asyncio.gather(*(a_key(world, number) for number in range(1, 31)), return_exceptions=True)
    assert Counter(type(each).__name__ for each in made) == {"tuple": 20, "Conflict": 10}
    listed = await world.store.keys.of_user(MAX)
    assert len(listed) == 20
    assert await world.store.keys.of_user(ADA) == []
    async with world.refuses(Conflict):
        await a_key(world, 40)
    await world.store.keys.revoke(MAX, listed[0].id, LATER)
    await a_key(world, 40)
    assert len(await world.store.keys.of_user(MAX)) == 20
    assert len((await world.get(KEY_RINGS, MAX)).key_ids) == 20
    assert [each.scopes for each in listed] == [(KeyScope.SPEND,)] * 20


async def test_a_suspended_user_makes_none() -> None:
    world = await a_world()
    await world.put(USERS, make.user("max", suspended_at=NOW))
    async with world.refuses(Forbidden):
        await a_key(world)


async def test_revoking_is_for_the_owner_and_for_good() -> None:
    world = await a_world()
    key, _ = await a_key(world)
    for viewer, key_id in ((ADA, key.id), (MAX, derived_id(Kind.API_KEY, "missing")), (MAX, "key_x"), (MAX, MAX)):
        async with world.refuses(NotFound):
            await world.store.keys.revoke(viewer, key_id, NOW)
    revoked = await world.store.keys.revoke(MAX, key.id, NOW)
    assert revoked == replace(key, revoked_at=NOW) == await world.store.keys.revoke(MAX, key.id, LATER)
    assert await world.store.keys.of_user(MAX) == []
    async with world.refuses(Unauthenticated):
        await world.store.sessions.hire(MAX, wish(make.listing()), NOW, key.id)


async def test_of_fifty_parallel_hires_a_cap_for_seven_lets_seven_through() -> None:
    """From two processes, which share no lane, so that only the commit itself can count."""
    world = await a_world()
    key, _ = await a_key(world, dof_spend_cap=Dof(7 * HOURLY + HOURLY - 1))
    stores = (world.store, World(world.backend).store)
    asked = [stores[n % 2].sessions.hire(MAX, wish(make.listing(), f"k{n}"), NOW, key.id) for n in range(50)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert Counter(type(each).__name__ for each in answers) == {"tuple": 7, "SpendCapReached": 43}
    facts = {(each.needed, each.left) for each in answers if isinstance(each, SpendCapReached)}
    assert facts == {(HOURLY, HOURLY - 1)}
    assert await world.wallet("max") == (53 * HOURLY, 7 * HOURLY, 0)
    assert await spent(world, key) == 7 * HOURLY
    # A person is not bound by a key's cap, and asking again under the same keys spends nothing more.
    done = [n for n, each in enumerate(answers) if isinstance(each, tuple)]
    await world.store.sessions.hire(MAX, wish(make.listing(), f"k{done[0]}"), NOW, key.id)
    await world.store.sessions.hire(MAX, wish(make.listing(), "by hand"), NOW)
    assert await spent(world, key) == 7 * HOURLY
    await world.check()


async def test_everything_that_holds_or_gives_counts() -> None:
    world = await a_world()
    key, _ = await a_key(world, dof_spend_cap=Dof(3 * HOURLY))
    store = world.store
    session, _ = await store.sessions.hire(MAX, wish(make.listing()), NOW, key.id)
    await store.sessions.extend(MAX, session.id, HireUnit.HOUR, 1, "x", NOW, key.id)
    await store.sessions.extend(MAX, session.id, HireUnit.HOUR, 1, "x", NOW, key.id)
    assert await spent(world, key) == 2 * HOURLY
    await store.wallets.transfer(MAX, ADA, Dof(HOURLY - 10), None, "t", NOW, key.id)
    trial = Start(make.agent().id, SessionType.TRIAL, PLAIN, None, ZERO, "trial")
    await store.sessions.start(MAX, trial, NOW, key.id)
    assert await spent(world, key) == 3 * HOURLY - 10
    await store.sessions.end(MAX, session.id, "e", NOW + timedelta(minutes=1))
    assert await spent(world, key) == 3 * HOURLY - 10  # what came back of a hold is not spent anew
    async with world.refuses(SpendCapReached, needed=11, left=10):
        await store.wallets.transfer(MAX, ADA, Dof(11), None, "u", NOW, key.id)
    async with world.refuses(SpendCapReached, needed=HOURLY, left=10):
        await store.sessions.hire(MAX, wish(make.listing(), "more"), NOW, key.id)
    await store.wallets.transfer(MAX, ADA, Dof(10), None, "u", NOW, key.id)
    await world.check()


async def test_an_owned_session_counts_what_it_holds() -> None:
    world = await a_world()
    await world.fund("ada", HOURLY)
    key, _ = await a_key(world, owner=ADA, dof_spend_cap=Dof(1_300))
    voiced = SessionConfiguration(voice_enabled=True)
    own = Start(make.agent().id, SessionType.OWNED, voiced, 60, Dof(100), "own")
    await world.store.sessions.start(ADA, own, NOW, key.id)
    assert await spent(world, key) == 60 * 20 + 100
    async with world.refuses(SpendCapReached, needed=1_300, left=0):
        await world.store.sessions.start(ADA, replace(own, key="again"), NOW, key.id)


async def test_a_key_costs_its_owner_one_read_and_one_write_and_people_nothing() -> None:
    world = await a_world()
    key, _ = await a_key(world)
    before = await world.get(API_KEYS, key.id)
    await world.store.sessions.hire(MAX, wish(make.listing(), "by hand"), NOW)
    assert await world.get(API_KEYS, key.id) == before
    await world.store.sessions.hire(MAX, wish(make.listing(), "by key"), NOW, key.id)
    assert await world.get(API_KEYS, key.id) == replace(before, spent=Dof(HOURLY))
    async with world.refuses(Unauthenticated):
        await world.store.sessions.hire(MAX, wish(make.listing(), "gone"), NOW, derived_id(Kind.API_KEY, "missing"))
