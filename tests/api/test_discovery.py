"""Recommendations and the state of a market, as clients ask for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domain.ids import Kind, derived_id
from domain.listings import Listing, ListingStatus, category_label, game_label, listing_id
from domain.money import Dof
from firestore import discovery
from firestore.collections import AGENTS, LISTINGS, USERS
from tests.api.api import Json, Market, Person, Rig, codes
from tests.nouns import a_listing, a_user, an_agent

RECOMMENDED = """query ($first: Int) { recommendedListings(first: $first) { score listing { id title }
    why { kind text subject hires lowestHourly highestHourly agent { id name } } } }"""
INSIGHTS = """query ($category: String, $game: String) { marketInsights(category: $category, game: $game) {
    activeListings hourlyPrices { lower median upper } totalHires activeHires averageRating ratingCount
    suggestedPrice { lowest highest basis sampleSize quartiles { lower median upper } } note sampleSize estimated } }"""


async def recommended(person: Person, **asked: Json) -> Json:
    return (await person.ask(RECOMMENDED, **asked))["recommendedListings"]


async def insights(person: Person, **asked: Json) -> Json:
    return (await person.ask(INSIGHTS, **asked))["marketInsights"]


def a_stall(number: int, *, games: tuple[str, ...] = (), categories: tuple[str, ...] = (), **changes: Any) -> Listing:
    labels = (*map(game_label, games), *map(category_label, categories))
    made = a_listing(an_agent(f"stall {number}"), title=f"Stall {number}", games=games, categories=categories)
    pricing = replace(made.pricing, hourly=Dof(100 * (number + 1)))
    return replace(made, labels=labels, pricing=pricing, **changes)


async def open_stalls(rig: Rig, *stalls: Listing) -> None:
    await rig.put(USERS, a_user("ada"))
    await rig.put(AGENTS, *(replace(an_agent(), id=each.agent_id, listing_id=each.id) for each in stalls))
    await rig.put(LISTINGS, *stalls)


async def alike(market: Market, name: str, **changes: Any) -> Listing:
    """Another listing like nova's, by eve."""
    rig, agent_id = market.rig, derived_id(Kind.AGENT, name)
    nova, listing = await rig.get(AGENTS, market.ids.nova), await rig.get(LISTINGS, market.ids.listing)
    made = replace(listing, id=listing_id(agent_id), agent_id=agent_id, owner_id=market.eve.user_id, title=name)
    made = replace(made, **changes)
    await rig.put(AGENTS, replace(nova, id=agent_id, listing_id=made.id, owner_id=market.eve.user_id))
    await rig.put(LISTINGS, made)
    return made


# ---- recommendations


async def test_a_player_is_shown_what_its_hires_speak_for(market: Market) -> None:
    """max hired nova three times, and rated it with a 5 once."""
    made = await alike(market, "Rex")
    await alike(market, "Hidden", status=ListingStatus.PAUSED)
    (found,) = await recommended(market.max)
    assert found["listing"] == {"id": made.id, "title": "Rex"}
    assert found["score"] == 0.9  # all but the rating, which too few gave
    said = {each["kind"]: each for each in found["why"]}
    assert list(said) == ["GAME", "CATEGORY", "AGENT", "LANGUAGE", "PRICE"]
    nova = {"id": market.ids.nova, "name": "Nova"}
    assert [said[kind]["agent"] for kind in said] == [nova, nova, nova, nova, None]
    assert [said[kind]["subject"] for kind in said] == ["Chess", "Coaching", None, "es-MX", None]
    assert (said["PRICE"]["lowestHourly"], said["PRICE"]["highestHourly"]) == (6_000, 6_000)
    assert said["GAME"]["text"] == "For Chess, as Nova, which you hired."


async def test_who_has_hired_nothing_is_shown_what_others_hire(market: Market) -> None:
    for who in (market.guest, market.eve):
        (found,) = await recommended(who)
        assert (found["listing"]["id"], found["score"]) == (market.ids.listing, None)
        (why,) = found["why"]
        assert (why["kind"], why["hires"], why["text"]) == ("POPULAR", 3, "Players have hired it 3 times.")
    assert await recommended(market.ada) == []  # it is her own


async def test_recommendations_cost_the_same_on_any_market(market: Market) -> None:
    rig, query = market.rig, "{ recommendedListings(first: 5) { score why { kind text } listing { title } } }"
    costs = {}
    for count in (0, 5, 100):
        await open_stalls(rig, *(a_stall(number, games=("Chess",)) for number in range(count)))
        for name, who in (("guest", market.guest), ("eve", market.eve), ("max", market.max)):
            with rig.backend.measure() as counts:
                await who.ask(query)
            costs[name, count] = (counts.rpcs, counts.rounds)
            assert counts.reads <= 130
    for name, cost in (("guest", (1, 1)), ("eve", (2, 1)), ("max", (4, 3))):
        assert {costs[name, count] for count in (0, 5, 100)} == {cost}, name


async def test_a_page_of_recommendations_has_its_bounds(market: Market) -> None:
    for first in (0, 101, -1):
        assert codes(await market.guest.answer(RECOMMENDED, first=first)) == ["BAD_USER_INPUT"]
    await open_stalls(market.rig, *(a_stall(number, games=("Chess",)) for number in range(30)))
    assert [len(await recommended(market.max, first=first)) for first in (1, 20, 100, None)] == [1, 20, 30, 10]


# ---- insights


async def test_a_market_is_told_by_game_category_or_both(rig: Rig) -> None:
    """T-Z10: what is not on offer is in no figure."""
    chess = [a_stall(n, games=("Chess",), categories=("Coaching",) if n % 2 else ()) for n in range(16)]
    busy = [replace(each, total_hires=2, active_hires=1, rating_sum=5, rating_count=1) for each in chess]
    hidden = [
        replace(a_stall(100 + n, games=("Chess",)), status=status)
        for n, status in enumerate(ListingStatus)
        if status is not ListingStatus.ACTIVE
    ]
    await open_stalls(rig, *busy, *hidden, a_stall(50, games=("Go",)))
    found = await insights(rig.guest, game="CHESS ")
    assert found == {
        "activeListings": 16,
        "hourlyPrices": {"lower": 400, "median": 800, "upper": 1_200},
        "totalHires": 32,
        "activeHires": 16,
        "averageRating": 5.0,
        "ratingCount": 16,
        "suggestedPrice": {
            "lowest": 400,
            "highest": 1_200,
            "basis": "HIRED",
            "sampleSize": 16,
            "quartiles": {"lower": 400, "median": 800, "upper": 1_200},
        },
        "note": None,
        "sampleSize": 16,
        "estimated": False,
    }
    assert (await insights(rig.guest))["activeListings"] == 17
    both = await insights(rig.guest, game="chess", category="coaching")
    assert (both["activeListings"], both["hourlyPrices"]) == (8, {"lower": 400, "median": 800, "upper": 1_200})
    go = await insights(rig.guest, game="Go")
    assert (go["suggestedPrice"], go["note"]) == (None, "A price is suggested from 8 listings on: here there are 1.")
    none = await insights(rig.guest, category="Unheard")
    assert (none["activeListings"], none["hourlyPrices"], none["averageRating"]) == (0, None, None)
    error = await rig.guest.error(INSIGHTS, game="x" * 61)
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "game"}


async def test_a_large_market_is_sampled_at_a_bounded_cost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "SAMPLE_MAX", 40)
    stalls = [a_stall(n, games=("Chess",), total_hires=1) for n in range(200)]
    await open_stalls(rig, *stalls)
    with rig.backend.measure() as counts:
        found = await insights(rig.guest, game="chess")
    assert (counts.rpcs, counts.reads) == (2, 42)  # the sample, one more to know of more, and the count
    assert (found["activeListings"], found["totalHires"], found["sampleSize"], found["estimated"]) == (
        200,
        200,
        40,
        True,
    )
    assert await insights(rig.guest, game="chess") == found  # the same sample for all who ask
    exact = [20_000 * quarter // 4 for quarter in (1, 2, 3)]
    told = list(found["hourlyPrices"].values())
    assert all(abs(price - wanted) < 4_000 for price, wanted in zip(told, exact, strict=True))
    with rig.backend.measure() as counts:
        await insights(rig.guest, game="unheard")
    assert counts.rpcs == 1
