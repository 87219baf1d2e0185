"""Agents in the store: one commit for the agent, its version, its listing and what is told of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from domain.agents import AGENTS_MAX, Agent, AgentVersion, ModelConfig, Provider, version_id
from domain.errors import (
    AgentInUse,
    BadInput,
    Conflict,
    Forbidden,
    InvalidConfiguration,
    NotFound,
    Refusal,
    SelfDealing,
)
from domain.listings import ListingStatus
from domain.revisions import AgentChange
from domain.sessions import SessionType
from firestore.agents import Expected
from firestore.collections import AGENT_VERSIONS, AGENTS, LISTINGS, SESSIONS, USERS
from firestore.rows import RowState
from tests.firestore.market import Market
from tests.nouns import (
    ADA,
    EVE,
    HOUR,
    MAX,
    NOW,
    SECOND,
    a_configuration,
    a_hire,
    a_listing,
    a_user,
    a_wish,
    agent_id,
    an_agent,
    an_ended_hire,
)

LATER = NOW + HOUR
NOVA = agent_id("nova")


async def test_an_agent_is_created_with_its_first_version() -> None:
    market = Market()
    await market.store(USERS, a_user("ada"))
    with market.costs(rpcs=4, writes=2):  # read, the count twice for the rehearsal, commit
        agent = await market.agents.create(ADA, NOVA, a_wish(toolkit=("vision",)), NOW)
    assert await market.agents.get_many([NOVA, agent_id("other"), "agt_?"]) == [agent, None, None]
    page = await market.agents.versions(NOVA, 10, None)
    assert [version.configuration for version in page.nodes] == [agent.configuration]
    assert await market.told() == []


async def test_a_refused_creation_writes_nothing() -> None:
    market = Market()
    await market.store(USERS, a_user("ada"), a_user("eve", suspended_at=NOW))
    before = await market.everything()
    with pytest.raises(InvalidConfiguration):
        await market.agents.create(ADA, NOVA, a_wish(model="nobody"), NOW)
    with pytest.raises(Forbidden):
        await market.agents.create(EVE, NOVA, a_wish(), NOW)
    assert await market.everything() == before


async def test_an_update_carries_the_listing_and_tells_once() -> None:
    market = Market()
    agent, listing = await market.opened()
    with market.costs(rpcs=2, writes=4):
        changed = await market.agents.update(ADA, Expected(NOVA, 1), AgentChange(name="Nova 2", language="en"), LATER)
    assert changed == replace(agent, name="Nova 2", language="en", version=2, updated_at=LATER)
    followed = await market.read(LISTINGS, listing.id)
    assert followed == replace(listing, agent_name="Nova 2", language="en", version=2, updated_at=LATER)
    told, indexed = sorted(await market.told(), key=lambda row: str(row.task))
    assert (indexed.task, indexed.args) == ("index_listing", {"listing_id": listing.id})
    assert (told.task, told.state) == ("announce", RowState.PENDING)
    assert told.args == {"kind": "agent_updated", "agent_id": NOVA, "changes": "name,language"}
    with market.costs(rpcs=1, writes=0):
        again = await market.agents.update(ADA, Expected(NOVA, 1), AgentChange(name="Nova 2"), LATER + HOUR)
    assert again == changed


async def test_a_stale_update_changes_nothing() -> None:
    market = Market()
    await market.opened()
    await market.agents.update(ADA, Expected(NOVA, 1), AgentChange(name="Nova 2"), LATER)
    before = await market.everything()
    refusals: list[tuple[type[Exception], Callable[[], Awaitable[Agent]]]] = [
        (Conflict, lambda: market.agents.update(ADA, Expected(NOVA, 1), AgentChange(name="Nova 3"), LATER)),
        (NotFound, lambda: market.agents.update(MAX, Expected(NOVA, 2), AgentChange(name="Nova 3"), LATER)),
        (NotFound, lambda: market.agents.update(ADA, Expected("agt_x/y"), AgentChange(name="Nova 3"), LATER)),
        (BadInput, lambda: market.agents.update(ADA, Expected(NOVA, 2), AgentChange(name="\u200b"), LATER)),
        (NotFound, lambda: market.agents.restore_version(ADA, Expected(NOVA), 9, LATER)),
        (NotFound, lambda: market.agents.restore_version(ADA, Expected(NOVA), 2**63, LATER)),
        (NotFound, lambda: market.agents.delete(MAX, NOVA, LATER)),
        (NotFound, lambda: market.agents.transfer(MAX, NOVA, EVE, LATER)),
        (NotFound, lambda: market.agents.transfer(ADA, NOVA, a_user("nobody").id, LATER)),
        (SelfDealing, lambda: market.agents.transfer(ADA, NOVA, ADA, LATER)),
    ]
    for refusal, act in refusals:
        with pytest.raises(refusal):
            await act()
    assert await market.everything() == before


async def test_every_configuration_can_be_read_listed_and_restored() -> None:
    market = Market()
    await market.store(USERS, a_user("ada"))
    first = await market.agents.create(ADA, NOVA, a_wish(), NOW)
    told = a_configuration(provider=Provider.OPENAI, primary=ModelConfig("open-1", 0.5, 100))
    with market.costs(rpcs=2, writes=3):
        second = await market.agents.update_configuration(ADA, Expected(NOVA, 1), told, LATER)
    await market.agents.update(ADA, Expected(NOVA, 2), AgentChange(name="Nova 2"), LATER)
    with market.costs(rpcs=2, writes=3):
        restored = await market.agents.restore_version(ADA, Expected(NOVA, 3), 1, LATER + HOUR)
    assert (second.configuration, restored.configuration) == (told, first.configuration)
    assert (restored.version, restored.name) == (4, "Nova 2")
    page = await market.agents.versions(NOVA, 2, None)
    assert [(one.version, one.restored_version) for one in page.nodes] == [(4, 1), (2, None)]
    assert page.has_next_page
    rest = await market.agents.versions(NOVA, 2, page.end)
    assert ([one.version for one in rest.nodes], rest.has_next_page) == ([1], False)
    (read,) = [each for each in page.nodes if each.version == 2]
    assert (read.id, read.configuration) == (version_id(NOVA, 2), told)


async def test_a_deleted_agent_is_gone_with_its_offer() -> None:
    market = Market()
    _, listing = await market.opened()
    await market.store(SESSIONS, an_ended_hire(listing))
    deleted = await market.agents.delete(ADA, NOVA, LATER)
    assert (deleted.deleted_at, deleted.published) == (LATER, False)
    withdrawn = await market.read(LISTINGS, listing.id)
    assert withdrawn is not None
    assert withdrawn.status is ListingStatus.UNPUBLISHED
    assert (await market.agents.page_of_owner(ADA, 10, None)).nodes == ()
    with pytest.raises(NotFound):
        await market.agents.delete(ADA, NOVA, LATER + HOUR)


@pytest.mark.parametrize("kind", [SessionType.HIRED, SessionType.OWNED, SessionType.TRIAL])
async def test_an_agent_in_use_stays(kind: SessionType) -> None:
    market = Market()
    _, listing = await market.opened()
    await market.store(SESSIONS, an_ended_hire(listing), a_hire(listing, key="2", type=kind))
    before = await market.everything()
    for act in (market.agents.delete(ADA, NOVA, LATER), market.agents.transfer(ADA, NOVA, EVE, LATER)):
        with pytest.raises(AgentInUse):
            await act
    assert await market.everything() == before


async def test_a_transferred_agent_keeps_its_creator() -> None:
    market = Market()
    agent, listing = await market.opened()
    with market.costs(rpcs=6, writes=4):  # read, the idle question and the count twice for the rehearsal, commit
        given = await market.agents.transfer(ADA, NOVA, EVE, LATER)
    assert given == replace(agent, owner_id=EVE, published=False, updated_at=LATER)
    followed = await market.read(LISTINGS, listing.id)
    assert followed is not None
    assert (followed.owner_id, followed.creator_id, followed.status) == (EVE, ADA, ListingStatus.UNPUBLISHED)
    for changes in ({"suspended_at": NOW}, {"erased_at": NOW}):
        await market.store(USERS, a_user("max", **changes))
        with pytest.raises(NotFound):
            await market.agents.transfer(EVE, NOVA, MAX, LATER)


async def test_a_transfer_puts_nothing_on_offer_and_lifts_nothing_that_a_moderator_said() -> None:
    """Whoever gives could make another the public owner of a listing that the other has never seen."""
    for status, after in (
        (ListingStatus.PAUSED, ListingStatus.UNPUBLISHED),
        (ListingStatus.UNPUBLISHED, ListingStatus.UNPUBLISHED),
        (ListingStatus.SUSPENDED, ListingStatus.SUSPENDED),
    ):
        market = Market()
        _, listing = await market.opened()
        await market.store(LISTINGS, replace(listing, status=status))
        await market.agents.transfer(ADA, NOVA, EVE, LATER)
        followed = await market.read(LISTINGS, listing.id)
        assert followed is not None
        assert (followed.owner_id, followed.status) == (EVE, after)


async def test_nobody_owns_more_agents_than_one_may() -> None:
    market = Market()
    await market.opened()
    full = [an_agent(f"e{number}", EVE) for number in range(AGENTS_MAX)]
    await market.store(AGENTS, *full)
    before = await market.everything()
    for act in (market.agents.create(EVE, agent_id("new"), a_wish(), NOW), market.agents.transfer(ADA, NOVA, EVE, NOW)):
        with pytest.raises(Conflict):
            await act
    assert await market.everything() == before
    await market.agents.delete(EVE, full[0].id, LATER)
    await market.agents.transfer(ADA, NOVA, EVE, LATER)


async def test_an_owners_agents_come_newest_first() -> None:
    market = Market()
    made = [an_agent(f"a{number}", created_at=NOW + number * SECOND) for number in range(5)]
    await market.store(AGENTS, *made, an_agent("gone", deleted_at=NOW), an_agent("other", MAX))
    seen: list[Agent] = []
    end = None
    for _ in range(3):
        page = await market.agents.page_of_owner(ADA, 2, end)
        seen, end = [*seen, *page.nodes], page.end
    assert seen == made[::-1]
    assert not page.has_next_page


async def test_a_lost_reply_is_found_again_and_not_made_twice() -> None:
    market = Market()
    await market.opened()
    agents = market.agents
    made = await market.losing_one_reply(lambda: agents.create(ADA, agent_id("new"), a_wish(), NOW))
    assert made == an_agent("new")
    await market.store(AGENT_VERSIONS, AgentVersion(version_id(NOVA, 1), NOVA, 1, a_configuration(), (), ADA, NOW))
    renamed = await market.losing_one_reply(
        lambda: agents.update(ADA, Expected(NOVA, 1), AgentChange(name="Nova 2", has_memory=True), LATER)
    )
    assert renamed.version == 2
    restored = await market.losing_one_reply(lambda: agents.restore_version(ADA, Expected(NOVA, 2), 1, LATER))
    assert (restored.version, restored.has_memory) == (3, False)
    given = await market.losing_one_reply(lambda: agents.transfer(ADA, NOVA, EVE, LATER))
    assert given.owner_id == EVE
    deleted = await market.losing_one_reply(lambda: agents.delete(EVE, NOVA, LATER))
    assert deleted.deleted_at == LATER
    tasks = sorted(str(each.task) for each in await market.told())
    assert tasks == [*["announce"] * 2, *["index_listing"] * 3, "notify"]


async def test_a_deleted_agents_suspended_listing_stays_judged() -> None:
    market = Market()
    await market.opened()
    await market.store(LISTINGS, a_listing(status=ListingStatus.SUSPENDED))
    await market.agents.delete(ADA, NOVA, LATER)
    kept = await market.read(LISTINGS, a_listing().id)
    judged = a_listing(status=ListingStatus.SUSPENDED)
    assert kept == replace(judged, held_from=ListingStatus.UNPUBLISHED, version=2, updated_at=LATER)


def test_refusals_are_answers() -> None:
    assert all(issubclass(one, Refusal) for one in (AgentInUse, Conflict, InvalidConfiguration, NotFound, SelfDealing))
