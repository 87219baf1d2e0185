"""The audit log: every privileged mutation leaves exactly one act, in the commit that it is, and refusals none."""

from __future__ import annotations

import pytest

from domain.acts import Act
from domain.users import Role
from firestore.collections import ACTS
from graph.permissions import ADMIN, MODERATOR
from tests.api.api import Json, Market, call, calls, gates, outcome
from tests.make import NOW


def _privileged() -> tuple[str, ...]:
    """The mutations that the roof gives to moderators or admins alone."""
    return tuple(name for name, gate in gates().items() if gate.permission in (MODERATOR, ADMIN))


async def _acts(market: Market) -> dict[str, Act]:
    kept = market.rig.state().get("acts", {})
    return {act_id: await market.rig.get(ACTS, act_id) for act_id in kept}


def test_the_privileged_mutations_are_found() -> None:
    assert {"moderateListing", "adjustWallet", "retryDeadLetter"} < set(_privileged())
    assert "submitReview" not in _privileged()


@pytest.mark.parametrize("name", _privileged())
async def test_every_privileged_mutation_leaves_one_act(market: Market, name: str) -> None:
    """A privileged mutation that forgets firestore/acts.py fails here; done again it changes nothing, and says so."""
    person, asked = calls(market)[name]
    before = await _acts(market)
    assert outcome(await call(person, name, asked)) == "+"
    new = [act for act_id, act in (await _acts(market)).items() if act_id not in before]
    assert [(act.name, act.actor_id, act.at) for act in new] == [(name, person.user_id, NOW)]
    (act,) = new
    assert act.role is (Role.ADMIN if person is market.root else Role.MODERATOR)
    assert act.reason == asked.get("reason", asked.get("note"))
    assert act.subject_id
    assert act.facts
    await call(person, name, asked)
    assert len(await _acts(market)) == len(before) + 1


@pytest.mark.parametrize("name", _privileged())
async def test_a_refused_mutation_leaves_none(market: Market, name: str) -> None:
    _, asked = calls(market)[name]
    before = await _acts(market)
    assert outcome(await call(market.max, name, asked)) == "FORBIDDEN"
    assert await _acts(market) == before


async def test_an_act_tells_what_it_changed(market: Market) -> None:
    ids = market.ids
    judged = {"listingId": ids.listing, "status": "SUSPENDED", "reason": "It lies."}
    await market.mia.act("moderateListing", judged)
    taken = {"userId": market.zoe.user_id, "amount": -7, "reason": "A mistake.", "idempotencyKey": "back"}
    await market.root.act("adjustWallet", taken)
    (act,) = await _read(market, {"actorId": market.mia.user_id, "subjectId": ids.listing}, first=1)
    assert act == {
        "name": "moderateListing",
        "role": "MODERATOR",
        "actor": {"displayName": "Mia"},
        "subjectId": ids.listing,
        "reason": "It lies.",
        "facts": [{"name": "status", "before": "ACTIVE", "after": "SUSPENDED"}],
    }
    (act,) = await _read(market, {"subjectId": market.zoe.user_id}, first=5)
    assert act["facts"] == [
        {"name": "available", "before": "0", "after": "0"},
        {"name": "debt", "before": "0", "after": "7"},
    ]
    featured = await _read(market, {"actorId": market.mia.user_id, "subjectId": ids.listing}, first=5)
    assert [act["name"] for act in featured] == ["moderateListing", "featureListing"]
    assert await _read(market, {"actorId": market.max.user_id}, first=5) == []


async def _read(market: Market, wanted: Json, first: int) -> list[Json]:
    query = """query ($filter: ActFilter, $first: Int) { acts(filter: $filter, first: $first) { nodes {
        name role actor { displayName } subjectId reason facts { name before after } } } }"""
    found: list[Json] = (await market.root.ask(query, filter=wanted, first=first))["acts"]["nodes"]
    return found
