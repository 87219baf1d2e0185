"""Erasing and exporting on a Firestore that refuses what has no index, with every body rehearsed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import pytest_asyncio

from domain.agents import AgentVersion, version_id
from domain.errors import Conflict, NotFound, Unauthenticated
from domain.ids import Kind, derived_id
from domain.keys import TEST, KeyScope, KeyWish
from domain.legal import LegalDocument
from domain.money import Dof
from firestore.cloud import CloudBackend
from firestore.collections import AGENT_VERSIONS, AGENTS, ERASURES, USERS, WALLETS
from firestore.erasures import PAGE
from firestore.personal import PROFILE, SHELVES, SOME
from tests import make
from tests.emulators import ROOT, Emulator, start_local
from tests.make import MINUTE, NOW, World, policy, user_id, wish
from tests.nouns import a_configuration, an_agent

MAX, ADA = user_id("max"), user_id("ada")
LATER = NOW + timedelta(days=8)
TERMS = LegalDocument("terms", "1", "Terms")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    emulator = start_local(
        tmp_path_factory.mktemp("strict"), "--indexes", str(ROOT / "firestore" / "firestore.indexes.json")
    )
    yield emulator
    emulator.stop()


@pytest_asyncio.fixture
async def world(strict: Emulator, project: str) -> AsyncIterator[World]:
    made = World(CloudBackend(project, emulator_host=strict.host), policy=policy(legal=(TERMS,)))
    await made.open("eve")
    await made.fund("max", 60_000)
    yield made
    await made.check()
    await made.store.close()


async def test_an_account_comes_to_rest_and_is_erased(world: World) -> None:
    store = world.store
    session, _ = await store.sessions.hire(MAX, wish(make.listing()), NOW)
    async with world.refuses(Conflict):
        await store.erasures.request(MAX, Dof(54_000), NOW)
    async with world.refuses(Conflict):
        await store.erasures.request(ADA, Dof(0), NOW)
    await store.sessions.end(MAX, session.id, "e", NOW + MINUTE)
    await store.legal.accept(MAX, [("terms", "1")], NOW)
    key_id = derived_id(Kind.API_KEY, "max")
    await store.keys.create(MAX, key_id, TEST, bytes(32), KeyWish("Bot", (KeyScope.READ,)), NOW)
    left = (await world.wallet("max"))[0]
    async with world.refuses(Conflict):
        await store.erasures.request(MAX, Dof(left - 1), NOW + MINUTE)
    erased = await store.erasures.request(MAX, Dof(left), NOW + MINUTE)
    assert (erased.id, erased.forfeited) == (MAX, Dof(left))
    assert await store.erasures.request(MAX, Dof(left), LATER) == erased == await world.get(ERASURES, MAX)
    assert await world.wallet("max") == (0, 0, 0)
    assert (await world.get(USERS, MAX)).erased_at == NOW + MINUTE
    assert await store.keys.of_user(MAX) == []
    assert [each.document for each in await store.legal.accepted(MAX)] == ["terms"]
    async with world.refuses(Unauthenticated):
        await store.sessions.hire(MAX, wish(make.listing(), "again"), LATER)
    await store.erasures.clear(MAX)
    assert [page async for page in store.erasures.orders(MAX)] == []
    assert [page async for page in store.erasures.log()] == [[erased]]
    assert await store.erasures.resurrected([erased]) == []
    await world.fund("ada", 5)
    async with world.refuses(NotFound):
        await store.wallets.transfer(ADA, MAX, Dof(1), None, "k", LATER)


async def test_maturing_earnings_and_payouts_are_waited_for(world: World) -> None:
    store = world.store
    session, _ = await store.sessions.hire(MAX, wish(make.listing()), NOW)
    await store.sessions.end(MAX, session.id, "e", NOW + MINUTE)
    async with world.refuses(Conflict):
        await store.erasures.request(ADA, Dof(0), NOW + MINUTE)
    await store.earnings.mature(ADA, LATER)
    earned = (await world.wallet("ada"))[0]
    assert earned > 0
    assert (await store.erasures.request(ADA, Dof(earned), LATER)).forfeited == Dof(earned)
    assert (await world.get(WALLETS, ADA)).payable == Dof(0)


async def test_every_version_of_every_agent_loses_its_words(world: World) -> None:
    """More agents than one query names, and more versions than one page holds."""
    eve, said = user_id("eve"), a_configuration(instructions="Canary")
    of = [an_agent(f"e{number}", eve, configuration=said, deleted_at=NOW) for number in range(SOME + 1)]
    counts = [PAGE + 1, *[1] * SOME]
    versions = [
        AgentVersion(version_id(agent.id, number), agent.id, number, said, (), eve, NOW)
        for agent, count in zip(of, counts, strict=True)
        for number in range(1, count + 1)
    ]
    await world.put(AGENTS, *of)
    await world.put(AGENT_VERSIONS, *versions)
    await world.store.erasures.clear_agents(eve, LATER)
    assert {each.configuration.instructions for each in await world.all(AGENT_VERSIONS)} == {None}
    assert {
        (each.name, each.configuration.instructions) for each in await world.all(AGENTS) if each.owner_id == eve
    } == {("Deleted agent", None)}


async def test_an_export_asks_for_nothing_that_has_no_index(world: World) -> None:
    await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    found: dict[str, int] = {}
    async for name, documents in world.store.personal.documents(MAX):
        found[name] = found.get(name, 0) + len(documents)
    assert found.keys() >= {each.name for each in PROFILE} | {shelf.collection.name for shelf in SHELVES}
    assert {name: count for name, count in found.items() if count} == {
        "users": 1,
        "wallets": 1,
        "sessions": 1,
        "transactions": 2,
        "entries": 2,
    }
