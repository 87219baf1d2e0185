"""Searching through Algolia's stand-in: what reaches it by tasks, and what is said when it fails (T-F09, T-Z10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from domain.errors import Unavailable
from domain.listings import ListingStatus
from firestore.collections import AGENTS, LISTINGS, OUTBOX, REVIEWS
from firestore.rows import RowState
from functions.search_mirror import Mirror
from functions.tasks.search import IndexListing
from integrations import algolia
from integrations.algolia import AlgoliaSearch
from integrations.breaker import FAILURES_MAX, PAUSE_SECONDS
from integrations.local.search import LocalSearch
from resolvers import search
from settings import Settings, SettingsError, require_startable
from tests.api.api import Json, Market, Person, Rig, open_market
from tests.api.test_search import CATEGORIES, a_numbered, categories, find, ids
from tests.integrations.algolia_stand_in import APP, KEY, Answer, Asked, StandIn, be_patient, standing_in
from tests.nouns import NOW, an_agent


class Remote(Rig):
    """A rig whose engine is apart from it."""

    def __init__(self, data: Path, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.seconds = 0.0
        super().__init__(data)

    def _search(self) -> tuple[AlgoliaSearch, Mirror]:
        engine = AlgoliaSearch(APP, KEY, "listings", site=self.stand_in.url, clock=lambda: self.seconds)
        return engine, Mirror(self.store.listings, engine)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)
    monkeypatch.setattr(search, "ENGINE_SECONDS", 60.0)


@pytest_asyncio.fixture
async def fresh(data: Path) -> AsyncIterator[Market]:
    """A store whose engine has never heard of it."""
    async with standing_in() as stand_in:
        rig = Remote(data, stand_in)
        await rig.start()
        yield await open_market(rig)
        await rig.stop()


@pytest_asyncio.fixture
async def remote(fresh: Market) -> Market:
    await mirror_of(fresh).reconcile(NOW)
    return fresh


def mirror_of(market: Market) -> Mirror:
    assert market.rig.mirror is not None, "the engine is apart"
    return market.rig.mirror


def stand_in_of(market: Market) -> StandIn:
    assert isinstance(market.rig, Remote), "the engine is apart"
    return market.rig.stand_in


async def counted(market: Market) -> tuple[int, int, int]:
    """Hits, listings by category and listings by rank, as the engine counts them."""
    found = await find(market.guest, "coach")
    named = [each["listingCount"] for each in await categories(market.rig) if each["name"] == "Coaching"]
    facet = {each["name"]: sum(row["count"] for row in each["values"]) for each in found["facets"]}
    assert (found["degraded"], len(ids(found))) == (False, found["totalCount"])
    return found["totalCount"], sum(named), facet["rank"]


async def test_a_fresh_store_has_facets_and_orders_from_the_round_after_its_first_publication_on(
    fresh: Market,
) -> None:
    """The first record makes the index, with settings of Algolia's own, and nothing differs but those."""
    listing_id, guest = fresh.ids.listing, fresh.guest
    await mirror_of(fresh).bring([listing_id])  # as the task of the publication does
    found = await find(guest, "coach")
    assert (ids(found), found["degraded"], [each["values"] for each in found["facets"]]) == (
        [listing_id],
        False,
        [[]] * 5,
    )
    assert (await find(guest, sort="NEWEST"))["degraded"] is True  # no such order yet
    assert await categories(fresh.rig) == [{"name": "Coaching", "listingCount": None}]
    assert await mirror_of(fresh).reconcile(NOW) == 0
    for sort in ("RELEVANCE", "POPULAR", "RATING", "NEWEST", "PRICE_LOW", "PRICE_HIGH"):
        found = await find(guest, "coach", sort=sort, filter={"game": "chess", "maxPrice": 6_000})
        assert (ids(found), found["degraded"], found["totalCount"]) == ([listing_id], False, 1), sort
        assert {each["name"]: each["values"] for each in found["facets"]} == {
            "game": [{"value": "Chess", "count": 1}],
            "category": [{"value": "Coaching", "count": 1}],
            "rank": [{"value": "BRONZE", "count": 1}],
            "type": [{"value": "SPECIALIST", "count": 1}],
            "language": [{"value": "es-MX", "count": 1}],
        }
    assert await categories(fresh.rig) == [{"name": "Coaching", "listingCount": 1}]


async def test_t_z10_what_people_change_reaches_the_engine_by_its_task(remote: Market) -> None:
    """Drafts, paused, held back, unpublished, deleted: neither among the hits, nor in the counts, nor in the facets."""
    ids_ = remote.ids

    async def act(who: Person, name: str, input: Json, number: int) -> None:
        await who.act(name, input)
        await remote.rig.drain()
        assert await counted(remote) == (number, number, number), name

    assert await counted(remote) == (1, 1, 1)
    prices = {"hourly": 10, "daily": 100, "weekly": 500}
    offer = {"title": "Coach", "description": "Plays.", "pricing": prices, "categories": ["Coaching"]}
    await act(remote.ada, "publishAgent", {"agentId": ids_.draft, **offer}, 2)
    await act(remote.ada, "pauseListing", {"listingId": ids_.listing}, 1)
    await act(remote.ada, "resumeListing", {"listingId": ids_.listing}, 2)
    for status, number in (("SUSPENDED", 1), ("ACTIVE", 2), ("UNDER_REVIEW", 1), ("ACTIVE", 2)):
        judged = {"listingId": ids_.listing, "status": status, "reason": "Looked at."}
        await act(remote.mia, "moderateListing", judged, number)
    await act(remote.ada, "unpublishAgent", {"agentId": ids_.draft}, 1)
    await act(remote.ada, "deleteAgent", {"id": ids_.draft}, 1)
    dearer = {"listingId": ids_.listing, "pricing": {"hourly": 7_000, "daily": 50_000, "weekly": 200_000}}
    await act(remote.ada, "updateListing", dearer, 1)
    assert stand_in_of(remote).records["listings"][ids_.listing]["hourly"] == 7_000
    changed = {"listingId": ids_.listing, "title": "Zebra", "description": "Stripes.", "categories": []}
    await act(remote.ada, "updateListing", changed, 0)
    assert ids(await find(remote.guest, "zebar")) == [ids_.listing]


async def test_hires_and_ratings_reach_the_engine_by_the_round(remote: Market) -> None:
    """No hire and no review pays for a search; the round brings the figures alone."""
    held = stand_in_of(remote).records["listings"]
    before = dict(held[remote.ids.listing])
    await remote.eve.act("hireAgent", remote.hire())
    await remote.max.act("updateReview", {"reviewId": remote.ids.review, "rating": 3})
    await remote.rig.drain()
    assert held[remote.ids.listing] == before
    asked = len(stand_in_of(remote).asked)
    assert await mirror_of(remote).reconcile(NOW) == 1
    figures = {"total_hires": before["total_hires"] + 1, "rating_milli": 3_000}
    assert held[remote.ids.listing] == before | figures
    batches = [each.body for each in stand_in_of(remote).asked[asked:] if each.path.endswith("/batch")]
    part = {"objectID": remote.ids.listing, "rating_count": 1, **figures}
    assert batches == [{"requests": [{"action": "partialUpdateObjectNoCreate", "body": part}]}]
    assert await mirror_of(remote).reconcile(NOW) == 0


async def test_categories_are_asked_for_once_a_second_whoever_asks(remote: Market) -> None:
    """Each question to the engine is paid. The answers are alike, and a publication is in them within seconds."""
    told = {"categories": [{"name": "Coaching", "listingCount": 1}]}
    asked, people = stand_in_of(remote).searches(), (remote.guest, remote.eve, remote.ada)
    remote.rig.now = NOW  # a second begins
    assert await asyncio.gather(*(who.ask(CATEGORIES) for who in people for _ in range(5))) == [told] * 15
    listing = await remote.rig.get(LISTINGS, remote.ids.listing)
    await remote.rig.put(LISTINGS, replace(listing, categories=("Carry", "Coaching")))
    await mirror_of(remote).bring([listing.id])
    remote.rig.now += timedelta(milliseconds=900)
    assert await remote.guest.ask(CATEGORIES) == told
    assert stand_in_of(remote).searches() - asked == 1
    remote.rig.now += timedelta(milliseconds=100)
    told = {"categories": [{"name": name, "listingCount": 1} for name in ("Carry", "Coaching")]}
    assert [await who.ask(CATEGORIES) for who in people] == [told] * 3
    assert stand_in_of(remote).searches() - asked == 2


async def test_categories_without_the_engine_are_read_once_a_second(remote: Market) -> None:
    stand_in_of(remote).trouble = lambda asked: Answer(503, {"message": "down"})
    with remote.rig.backend.measure() as counts:
        for who in (remote.guest, remote.eve, remote.guest):
            assert await who.ask(CATEGORIES) == {"categories": [{"name": "Coaching", "listingCount": None}]}
    assert counts.rpcs == 1
    stand_in_of(remote).trouble = lambda asked: None
    assert await categories(remote.rig) == [{"name": "Coaching", "listingCount": 1}]


async def test_a_change_is_not_lost_while_the_engine_is_down(remote: Market) -> None:
    stand_in_of(remote).trouble = lambda asked: Answer(500, {"message": "down"})
    paused = await remote.rig.store.listings.pause(remote.ada.user_id, remote.ids.listing, NOW)
    rows = [each for each in await _rows(remote) if each.task == "index_listing" and each.at == paused.updated_at]
    assert [each.state for each in rows] == [RowState.PENDING]
    task, args = IndexListing(mirror_of(remote)), {"listing_id": remote.ids.listing}
    with pytest.raises(Unavailable):
        await task(remote.rig.store, rows[0].id, args, NOW)
    assert (await remote.rig.get(OUTBOX, rows[0].id)).state is RowState.PENDING
    stand_in_of(remote).trouble = lambda asked: None
    for _ in range(2):
        await task(remote.rig.store, rows[0].id, args, NOW)
    assert (await remote.rig.get(OUTBOX, rows[0].id)).state is RowState.DONE
    assert stand_in_of(remote).records["listings"] == {}


# ---- T-F09


def _searches(answer: Answer) -> Json:
    return lambda asked: answer if asked.path.endswith("/queries") else None


TROUBLES = {
    "down": Answer(503, {"message": "down"}),
    "broken": Answer(500, {"message": "x"}),
    "too many": Answer(429, {"message": "Too many requests", "status": 429}),
    "forbidden": Answer(403, {"message": "Invalid API key"}),
    "nonsense": Answer(200, {"results": [{"hits": None}]}),
    "slow": Answer(200, {"results": []}, after_seconds=30),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_t_f09_an_engine_in_trouble_is_left_to_itself_and_asked_again_later(
    remote: Market, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    rig, stand_in = remote.rig, stand_in_of(remote)
    assert isinstance(rig, Remote)
    stand_in.trouble = _searches(TROUBLES[name])
    if name == "slow":
        monkeypatch.setattr(algolia, "SEARCH_SECONDS_MAX", 0.05)
    for _ in range(FAILURES_MAX):
        found = await find(remote.guest, "coach")
        assert (ids(found), found["degraded"], found["facets"]) == ([remote.ids.listing], True, [])
    asked = stand_in.searches()
    for _ in range(3):  # the breaker is open: the store answers, and nobody asks the engine
        assert (await find(remote.guest, "coach"))["degraded"] is True
    assert stand_in.searches() == asked
    rig.seconds += PAUSE_SECONDS
    assert (await find(remote.guest, "coach"))["degraded"] is True  # one finds out, and it is still so
    assert stand_in.searches() == asked + 1
    stand_in.trouble = lambda each: None
    be_patient(monkeypatch)
    assert (await find(remote.guest, "coach"))["degraded"] is True
    rig.seconds += PAUSE_SECONDS
    for _ in range(2):
        found = await find(remote.guest, "coach")
        assert (ids(found), found["degraded"]) == ([remote.ids.listing], False)


async def test_t_f09_an_engine_that_nobody_answers_for_is_down(remote: Market) -> None:
    engine = AlgoliaSearch(APP, KEY, "listings", site="http://127.0.0.1:9")
    remote.rig.search.search = engine.search  # type: ignore[method-assign]
    found = await find(remote.guest, "coach")
    assert (ids(found), found["degraded"]) == ([remote.ids.listing], True)
    await engine.close()


async def test_t_f09_stale_hits_are_shown_as_the_store_has_them_or_not_at_all(remote: Market) -> None:
    rig, listing_id = remote.rig, remote.ids.listing
    listing = await rig.get(LISTINGS, listing_id)
    await rig.put(LISTINGS, replace(listing, title="Trainer"))
    assert [node["title"] for node in (await find(remote.guest, "coach"))["nodes"]] == ["Trainer"]
    prices = replace(listing.pricing, hourly=listing.pricing.daily)
    await rig.put(LISTINGS, replace(listing, pricing=prices))
    assert ids(await find(remote.guest, "coach", filter={"maxPrice": 6_000})) == []
    for status in (each for each in ListingStatus if each is not ListingStatus.ACTIVE):
        await rig.put(LISTINGS, replace(listing, status=status))
        assert ids(await find(remote.guest, "coach")) == [], status
    await rig.forget(LISTINGS.at(listing_id))
    found = await find(remote.guest, "coach")
    assert (ids(found), found["edges"], found["degraded"]) == ([], [], False)


async def test_a_page_of_any_size_costs_the_same(remote: Market) -> None:
    """One request to the engine, one read for the hits; a later page has no more."""
    made = [a_numbered(number) for number in range(30)]
    agents = [replace(an_agent(f"searched {number}"), listing_id=each.id) for number, each in enumerate(made)]
    await remote.rig.put(AGENTS, *agents)
    await remote.rig.put(LISTINGS, *made)
    assert await mirror_of(remote).reconcile(NOW) == 30
    for sort in (None, "NEWEST", "PRICE_LOW"):
        after = None
        for first in (1, 10, 20):
            asked = stand_in_of(remote).searches()
            with remote.rig.backend.measure() as counts:
                page = await find(remote.guest, "coach", sort=sort, first=first, after=after)
            assert (counts.rpcs, counts.reads, stand_in_of(remote).searches() - asked) == (1, first, 1)
            assert (len(ids(page)), page["totalCount"]) == (first, 31)
            after = page["pageInfo"]["endCursor"]


@pytest.mark.parametrize("text", ["x" * 10_000, "OR owner_id:usr", "-coach", "label:", '"', "𝕏" * 9_000, "\x00"])
async def test_t_p10_nothing_that_is_typed_becomes_a_filter(remote: Market, text: str) -> None:
    """10 KB of text, and as many facets as a filter takes: what is sent stays small, and holds none of it as syntax."""
    many = [f'{text[:20]}" OR {number}' for number in range(10)]
    wanted = {"game": text[:50].replace("\x00", "") or "x", "tags": many} if "\x00" not in text else {}
    found = await find(remote.guest, text, filter=wanted)
    assert (found["degraded"], set(ids(found)) <= {remote.ids.listing}) == (False, True)
    sent: Asked = [each for each in stand_in_of(remote).asked if each.path.endswith("/queries")][-1]
    for request in sent.body["requests"]:
        assert len(request["query"].encode()) <= 512
        values = [one.partition(":")[2] for each in request["facetFilters"] for one in each]
        assert all(len(value) == 16 and value.isalnum() for value in values)
    assert len(str(sent.body)) < 3_000


async def _rows(market: Market) -> Json:
    return [OUTBOX.decode(each) for each in market.rig.state()["outbox"].values()]


async def test_reviews_that_are_featured_come_with_a_page_in_one_read(remote: Market) -> None:
    query = "{ listings(first: 10) { nodes { id featuredReviews { id rating } } } }"
    with remote.rig.backend.measure() as counts:
        (shown,) = (await remote.guest.ask(query))["listings"]["nodes"]
    assert shown["featuredReviews"] == [{"id": remote.ids.review, "rating": 5}]
    assert (counts.rpcs, counts.rounds) == (2, 2)
    await remote.rig.forget(REVIEWS.at(remote.ids.review))
    (shown,) = (await remote.guest.ask(query))["listings"]["nodes"]
    assert shown["featuredReviews"] == []


async def test_the_settings_choose_the_engine(rig: Rig, remote: Market) -> None:
    """Production refuses to start without Algolia, and a local store that names it by half."""
    named = {"algolia_app_id": APP, "algolia_api_key": SecretStr(KEY), "algolia_index": "listings"}
    assert [type(each) for each in rig._search()] == [LocalSearch, type(None)]
    rig.settings = rig.settings.model_copy(update=named)
    engine, mirror = rig._search()
    assert (type(engine), type(mirror)) == (AlgoliaSearch, Mirror)
    await engine.close()
    assert (rig.search_index is None, remote.rig.search_index is None) == (False, True)
    assert ["search" in {each.name for each in of.rounds} for of in (rig, remote.rig)] == [False, True]
    require_startable(rig.settings)
    with pytest.raises(SettingsError, match="half set up: set ALGOLIA_API_KEY, JIGA_ALGOLIA_INDEX too"):
        require_startable(Settings(env="local", algolia_app_id=APP))
    with pytest.raises(SettingsError) as told:
        require_startable(Settings(env="production"))
    for name in ("ALGOLIA_APP_ID", "ALGOLIA_API_KEY", "JIGA_ALGOLIA_INDEX"):
        assert f"{name} is missing: set it" in str(told.value)
