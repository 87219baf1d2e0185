"""Searching as a client does: what is found, when it is found, and what is said when the engine is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from domain.listings import Listing, ListingStatus
from domain.search import SearchPage, SearchQuery
from firestore.backend import Write
from firestore.collections import AGENTS, LISTINGS, USERS
from functions import search_index
from resolvers import search
from tests.api.api import Json, Market, Person, Rig, codes, open_market
from tests.nouns import a_listing, a_user, an_agent

FOUND_SECONDS_MAX = 10.0  # a busy machine; the index gathers for 0.2 s
HITS = "nodes { id title } totalCount degraded facets { name values { value count } }"
PAGE = "edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
SEARCH = f"""query ($text: String!, $filter: ListingFilter, $sort: ListingSort, $first: Int, $after: String) {{
    searchListings(query: $text, filter: $filter, sort: $sort, first: $first, after: $after) {{ {HITS} {PAGE} }} }}"""
CATEGORIES = "{ categories { name listingCount } }"


async def find(person: Person, text: str = "", **asked: Json) -> Json:
    return (await person.ask(SEARCH, text=text, **asked))["searchListings"]


def ids(found: Json) -> list[str]:
    return [node["id"] for node in found["nodes"]]


async def categories(rig: Rig) -> Json:
    """As they are, once what was kept is too old."""
    rig.now += timedelta(seconds=search.CATEGORIES_SECONDS)
    return (await rig.guest.ask(CATEGORIES))["categories"]


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(FOUND_SECONDS_MAX):
        while not await look():
            await asyncio.sleep(0.02)


async def follow(rig: Rig) -> None:
    """Start the index, and wait until it is filled."""
    rig.search_index.start()

    async def filled() -> bool:
        return not (await find(rig.guest))["degraded"]

    await until(filled)


@pytest_asyncio.fixture
async def stand(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Market]:
    """A market whose listings are searched."""
    monkeypatch.setattr(search_index, "GATHER_SECONDS", 0.02)
    market = await open_market(rig)
    await follow(rig)
    yield market


def a_numbered(number: int, **changes: Any) -> Listing:
    agent = an_agent(f"searched {number}")
    return replace(a_listing(agent), title=f"Coach {number}", total_hires=number // 2, **changes)


async def many(rig: Rig, count: int) -> list[Listing]:
    """So many listings with their agents and owner, in the store alone."""
    made = [a_numbered(number) for number in range(count)]
    await rig.put(USERS, a_user("ada"))
    await rig.put(AGENTS, *(replace(an_agent(f"searched {n}"), listing_id=made[n].id) for n in range(count)))
    await rig.put(LISTINGS, *made)
    return made


async def test_what_is_on_offer_is_found_by_anybody(stand: Market) -> None:
    for who in (stand.guest, stand.eve, stand.ada):
        for text in ("", "coach", "coahc", "nova", "che", "play openings"):
            found = await find(who, text)
            assert (ids(found), found["totalCount"], found["degraded"]) == ([stand.ids.listing], 1, False), text
    facets = {each["name"]: each["values"] for each in (await find(stand.guest))["facets"]}
    assert facets == {
        "game": [{"value": "Chess", "count": 1}],
        "category": [{"value": "Coaching", "count": 1}],
        "rank": [{"value": "BRONZE", "count": 1}],
        "type": [{"value": "SPECIALIST", "count": 1}],
        "language": [{"value": "es-MX", "count": 1}],
    }
    assert await stand.guest.ask(CATEGORIES) == {"categories": [{"name": "Coaching", "listingCount": 1}]}


async def test_a_filter_narrows_hits_and_counts(stand: Market) -> None:
    assert ids(await find(stand.guest, "coach", filter={"game": "chess", "maxPrice": 6_000})) == [stand.ids.listing]
    found = await find(stand.guest, "coach", filter={"maxPrice": 5_999})
    assert (ids(found), found["totalCount"]) == ([], 0)
    assert {each["name"]: each["values"] for each in found["facets"]}["game"] == []
    error = await stand.guest.error(SEARCH, text="", filter={"minRating": 6})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "filter.minRating"}


async def test_what_is_published_is_found_and_what_leaves_is_not(stand: Market) -> None:
    """Drafts, paused, unpublished, held back: neither among the hits, nor in the counts, nor in the facets."""
    ids_ = stand.ids

    async def counted(number: int) -> bool:
        found = await find(stand.guest, "coach")
        named = [each["listingCount"] for each in await categories(stand.rig) if each["name"] == "Coaching"]
        facet = {each["name"]: sum(row["count"] for row in each["values"]) for each in found["facets"]}
        assert len(ids(found)) <= found["totalCount"]
        return (found["totalCount"], sum(named), facet["rank"]) == (number, number, number)

    async def act(who: Person, name: str, input: Json, number: int) -> None:
        await who.act(name, input)
        await until(lambda: counted(number))

    assert await counted(1)
    prices = {"hourly": 10, "daily": 100, "weekly": 500}
    offer = {"title": "Coach", "description": "Plays.", "pricing": prices, "categories": ["Coaching"]}
    await act(stand.ada, "publishAgent", {"agentId": ids_.draft, **offer}, 2)
    await act(stand.ada, "pauseListing", {"listingId": ids_.listing}, 1)
    await act(stand.ada, "resumeListing", {"listingId": ids_.listing}, 2)
    for status, number in (("SUSPENDED", 1), ("ACTIVE", 2), ("UNDER_REVIEW", 1), ("ACTIVE", 2)):
        judged = {"listingId": ids_.listing, "status": status, "reason": "Looked at."}
        await act(stand.mia, "moderateListing", judged, number)
    await act(stand.ada, "unpublishAgent", {"agentId": ids_.draft}, 1)
    await act(stand.ada, "deleteAgent", {"id": ids_.draft}, 1)
    changed = {"listingId": ids_.listing, "title": "Zebra", "description": "Stripes.", "categories": []}
    await act(stand.ada, "updateListing", changed, 0)
    assert ids(await find(stand.guest, "zebar")) == [ids_.listing]


async def test_a_hit_that_has_left_the_market_is_not_shown_before_the_index_knows(
    stand: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "GATHER_SECONDS", 3_600)
    await stand.rig.put(LISTINGS, *(a_numbered(number) for number in range(2)))  # the next gathering lasts an hour
    await asyncio.sleep(0.1)
    for status in (ListingStatus.SUSPENDED, ListingStatus.PAUSED):
        listing = await stand.rig.get(LISTINGS, stand.ids.listing)
        await stand.rig.put(LISTINGS, replace(listing, status=status))
        found = await find(stand.guest, "openings")
        assert (ids(found), found["edges"]) == ([], [])
    await stand.rig.forget(LISTINGS.at(stand.ids.listing))
    assert ids(await find(stand.guest, "openings")) == []


async def test_two_processes_find_the_same(stand: Market) -> None:
    """Each follows the store by itself; nothing is told from one to the other."""
    engine = type(stand.rig.search)()
    other = search_index.SearchIndex(stand.rig.store.listings, engine)
    other.start()
    await stand.rig.put(LISTINGS, *(a_numbered(number) for number in range(40)))
    asked = SearchQuery(("coach",), search.Filter(), search.ListingSort.RELEVANCE, 100)
    told: list[SearchPage] = []

    async def both() -> bool:
        try:
            told[:] = [await engine.search(asked), await stand.rig.search.search(asked)]
        except Unavailable:
            return False
        return [page.total for page in told] == [41, 41]

    await until(both)
    assert told[0] == told[1]
    await other.close()
    await engine.close()


# ---- pages


@pytest.mark.parametrize("sort", [None, "RATING", "NEWEST", "PRICE_LOW", "PRICE_HIGH", "POPULAR"])
@pytest.mark.parametrize("text", ["", "coach"])
async def test_pages_make_the_whole(rig: Rig, text: str, sort: str | None) -> None:
    made = await many(rig, 9)
    await follow(rig)
    whole = await find(rig.guest, text, sort=sort, first=100)
    assert (set(ids(whole)), whole["totalCount"]) == ({each.id for each in made}, 9)
    for first in (1, 4, 9):
        told: list[str] = []
        after = None
        while True:
            page = await find(rig.guest, text, sort=sort, first=first, after=after)
            assert (page["totalCount"], page["pageInfo"]["hasPreviousPage"]) == (9, after is not None)
            told += ids(page)
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert told == ids(whole)


async def test_a_cursor_is_of_its_words(rig: Rig) -> None:
    await many(rig, 3)
    await follow(rig)
    cursor = (await find(rig.guest, "coach", first=1))["pageInfo"]["endCursor"]
    assert codes(await rig.guest.answer(SEARCH, text=" COACH!", first=1, after=cursor)) == []
    for other in ({"text": "coac"}, {"text": "coach", "sort": "NEWEST"}, {"text": "coach", "filter": {"game": "x"}}):
        assert codes(await rig.guest.answer(SEARCH, first=1, after=cursor, **other)) == ["BAD_USER_INPUT"]


async def test_a_page_of_any_size_costs_the_same(rig: Rig) -> None:
    """One read for the hits, one for the agents; none for counts and facets."""
    await many(rig, 40)
    await follow(rig)
    query = """query ($first: Int, $after: String) { searchListings(query: "coach", first: $first, after: $after) {
        nodes { title agent { name } } totalCount facets { name } pageInfo { endCursor } } }"""
    costs = {}
    for first in (1, 10, 40):
        with rig.backend.measure() as counts:
            page = (await rig.guest.ask(query, first=first))["searchListings"]
        assert (len(page["nodes"]), page["totalCount"]) == (first, 40)
        costs[first] = (counts.rpcs, counts.reads)
    assert costs == {1: (2, 2), 10: (2, 20), 40: (2, 80)}
    with rig.backend.measure() as counts:
        await rig.guest.ask(query, first=10, after=page["pageInfo"]["endCursor"])
        await rig.guest.ask(CATEGORIES)
    assert counts.rpcs == 0  # behind the last hit there is nothing to read


# ---- T-P10


@pytest.mark.parametrize("text", ["x" * 10_000, ".*", "OR owner:ada", '"', "(((", "[a TO z]", "\x00", "🎮" * 2_000])
async def test_t_p10_a_query_is_words_and_never_syntax(stand: Market, text: str) -> None:
    for filter_ in (None, {"ownerId": stand.max.user_id}):
        found = await find(stand.guest, text, filter=filter_)
        assert set(ids(found)) <= ({stand.ids.listing} if filter_ is None else set())
        assert found["degraded"] is False


# ---- without the engine


async def test_without_the_engine_the_store_is_browsed(market: Market) -> None:
    """It was not started: the same filters and orders, names without mistakes, and no counts."""
    for text, hits in (("", 1), ("coach", 1), ("coa", 1), ("nova chess", 1), ("coahc", 0), ("play", 0)):
        found = await find(market.guest, text)
        assert ids(found) == [market.ids.listing] * hits, text
        assert (found["totalCount"], found["degraded"], found["facets"]) == (hits, True, [])
    assert ids(await find(market.guest, "coach", filter={"maxPrice": 5_999})) == []
    assert await market.guest.ask(CATEGORIES) == {"categories": [{"name": "Coaching", "listingCount": None}]}


@pytest.mark.parametrize("sort", ["RATING", "NEWEST", "PRICE_LOW", "PRICE_HIGH", "POPULAR"])
async def test_a_list_goes_on_when_the_engine_goes_and_when_it_comes_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    await many(rig, 9)
    await follow(rig)
    whole, working = ids(await find(rig.guest, "coach", sort=sort)), rig.search.search
    told: list[str] = []
    after, heard = None, []

    async def down(query: SearchQuery) -> SearchPage:
        raise Unavailable("down")

    for number in range(3):
        monkeypatch.setattr(rig.search, "search", down if number == 1 else working)
        page = await find(rig.guest, "coach", sort=sort, first=3, after=after)
        told += ids(page)
        heard.append(page["degraded"])
        after = page["pageInfo"]["endCursor"]
    assert (told, heard) == (whole, [False, True, False])


async def test_a_list_by_relevance_ends_where_it_began(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has no such order: its own list goes on without the engine, the engine's waits for it."""
    await many(rig, 9)
    started = await find(rig.guest, "coach", first=4)  # before the engine is there
    await follow(rig)
    rest = await find(rig.guest, "coach", first=5, after=started["pageInfo"]["endCursor"])
    assert (started["degraded"], rest["degraded"], len({*ids(started), *ids(rest)})) == (True, True, 9)
    ranked = await find(rig.guest, "coach", first=4)
    await rig.search.close()
    await rig.search_index.close()
    error = await rig.guest.error(SEARCH, text="coach", after=ranked["pageInfo"]["endCursor"])
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert "begin at its first page" in error["message"]


async def test_a_slow_engine_is_left(stand: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(query: SearchQuery) -> SearchPage:
        await asyncio.sleep(3_600)
        raise AssertionError("nobody waits so long")

    monkeypatch.setattr(search, "ENGINE_SECONDS", 0.02)
    monkeypatch.setattr(stand.rig.search, "search", slow)
    found = await find(stand.guest, "coach")
    assert (ids(found), found["degraded"]) == ([stand.ids.listing], True)


async def test_an_engine_that_refuses_is_told_again(stand: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index, "PAUSE_SECONDS", 0.02)
    put, refused = stand.rig.search.put, 0

    async def refuse(documents: Any) -> None:
        nonlocal refused
        refused += 1
        if refused < 3:
            raise Unavailable("busy")
        await put(documents)

    monkeypatch.setattr(stand.rig.search, "put", refuse)
    await stand.rig.put(LISTINGS, a_numbered(1))

    async def found() -> bool:
        return (await find(stand.guest, "1"))["totalCount"] == 1

    await until(found)
    assert refused == 3


async def test_a_following_that_breaks_begins_again(stand: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changed meanwhile is known afterwards: what came is found, what left is not."""
    monkeypatch.setattr(search_index, "PAUSE_SECONDS", 0.02)
    read, failed = search_index.document_of, 0

    def fail(listing: Listing) -> Any:
        nonlocal failed
        failed += 1
        if failed <= 2:
            raise ValueError("broken")
        return read(listing)

    monkeypatch.setattr(search_index, "document_of", fail)
    paused = replace(await stand.rig.get(LISTINGS, stand.ids.listing), status=ListingStatus.PAUSED)
    await stand.rig.put(LISTINGS, a_numbered(1), paused)

    async def in_step() -> bool:
        found = await find(stand.guest)
        return (found["totalCount"], found["degraded"]) == (1, False) and ids(found) == [a_numbered(1).id]

    await until(in_step)
    assert failed > 2


@pytest.mark.parametrize("price", [10**16, "much", None])
async def test_a_damaged_listing_hides_no_other(stand: Market, price: int | str | None) -> None:
    """A price beyond all DOF is no ValueError, as one that is no number is."""
    damaged = LISTINGS.encode(a_numbered(1)) | {"id": "damaged", "pricing": {"hourly": price}}
    await stand.rig.memory.commit([Write("listings/damaged", damaged)])
    await stand.rig.put(LISTINGS, a_numbered(1))

    async def found() -> bool:
        return (await find(stand.guest))["totalCount"] == 2

    await until(found)
    assert set(ids(await find(stand.guest))) == {stand.ids.listing, a_numbered(1).id}
