"""What every search engine does, on one corpus, and what the embedded one does when it has too much to do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from domain import agents, listings
from domain.agents import AgentType, Rank
from domain.errors import Unavailable
from domain.filters import ListingFilter, ListingSort, require_filter
from domain.ids import Kind, derived_id
from domain.listings import Listing, ListingStatus
from domain.money import Dof
from domain.search import Place, SearchPage, SearchQuery, document_of, names_hold, read_words
from firestore.collections import LISTINGS
from integrations.algolia import AlgoliaSearch
from integrations.local import search as local
from integrations.local.search import LocalSearch
from integrations.services import SearchGateway
from tests.firestore.market import Market
from tests.integrations.algolia_stand_in import APP, KEY, be_patient, standing_in
from tests.nouns import ADA, EVE, NOW, a_listing


@asynccontextmanager
async def embedded() -> AsyncIterator[SearchGateway]:
    made = LocalSearch()
    yield made
    await made.close()


@asynccontextmanager
async def algolia() -> AsyncIterator[SearchGateway]:
    async with standing_in() as stand_in:
        made = AlgoliaSearch(APP, KEY, "listings", site=stand_in.url)
        yield made
        await made.close()


ENGINES: tuple[Callable[[], AbstractAsyncContextManager[SearchGateway]], ...] = (embedded, algolia)
GAMES = ("Elden Ring", "Valorant", "Chess", "Pokémon")
SUBJECTS = ("Boss", "Sniper", "Opening", "Healer", "Raid")
COUNT = 60


def a_found(number: int, **changes: Any) -> Listing:
    """A listing of the corpus; figures repeat, so that ids decide."""
    chance = random.Random(number)
    made = replace(
        a_listing(),
        id=derived_id(Kind.LISTING, "corpus", number),
        agent_id=derived_id(Kind.AGENT, "corpus", number),
        owner_id=chance.choice((ADA, EVE)),
        title=f"{SUBJECTS[number % 5]} coach",
        description=f"I know every {SUBJECTS[(number + 1) % 5].lower()} there is.",
        agent_name=chance.choice(("Nova", "Rex")),
        games=(GAMES[number % 4],),
        categories=(chance.choice(("Coaching", "Carry")),),
        tags=tuple(chance.sample(("calm", "fast", "voice"), 2)),
        rank=chance.choice(list(Rank)),
        type=chance.choice(list(AgentType)),
        language=chance.choice(("en", "es-MX")),
        has_voice_chat=chance.random() < 0.5,
        has_memory=chance.random() < 0.5,
        rating_milli=chance.choice((0, 3_500, 4_000, 5_000)),
        rating_count=chance.choice((1, 2)),
        total_hires=number % 7,
        created_at=NOW + timedelta(microseconds=number // 2),
    )
    made = replace(made, pricing=replace(made.pricing, hourly=Dof(100 * chance.randint(1, 9))))
    labels = [*map(listings.game_label, made.games), *map(listings.category_label, made.categories)]
    return replace(made, labels=(*labels, *map(listings.tag_label, made.tags)), **changes)


CORPUS = [a_found(number) for number in range(COUNT)]


def documents(*of: Listing) -> Any:
    return [document for document in map(document_of, of) if document is not None]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest_asyncio.fixture(params=ENGINES, ids=lambda make: make.__name__)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[SearchGateway]:
    async with request.param() as made:
        await made.replace_all(documents(*CORPUS))
        yield made


async def find(
    engine: SearchGateway, text: str = "", *, sort: ListingSort = ListingSort.RELEVANCE, first: int = 100, **asked: Any
) -> SearchPage:
    wanted = asked.pop("wanted", None) or require_filter(**asked)
    return await engine.search(SearchQuery(read_words(text), wanted, sort, first))


async def titles(engine: SearchGateway, text: str) -> set[str]:
    by_id = {each.id: each for each in CORPUS}
    return {by_id[hit.id].title for hit in (await find(engine, text)).hits}


FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"game": "elden RING"},
    {"category": "carry"},
    {"tags": ("CALM",)},
    {"tags": ("calm", "voice")},
    {"ranks": (Rank.GOLD,)},
    {"ranks": (Rank.BRONZE, Rank.PLATINUM)},
    {"type": AgentType.MENTOR},
    {"language": "es-mx"},
    {"has_voice_chat": True},
    {"has_memory": False},
    {"min_price": Dof(300)},
    {"max_price": Dof(300)},
    {"min_price": Dof(200), "max_price": Dof(500)},
    {"min_rating": 3.5},
    {"min_rating": 0.0},
    {"owner_id": ADA},
    {"game": "Chess", "category": "Coaching", "has_memory": True, "max_price": Dof(700)},
    {"game": "Go"},
)


@pytest.mark.parametrize("asked", FILTERS, ids=str)
async def test_a_filter_means_what_the_rules_say(engine: SearchGateway, asked: dict[str, Any]) -> None:
    wanted = require_filter(**asked)
    expected = {each.id for each in CORPUS if wanted.matches(each)}
    page = await find(engine, wanted=wanted)
    assert {hit.id for hit in page.hits} == expected
    assert page.total == len(expected)


@pytest.mark.parametrize("sort", list(ListingSort))
async def test_the_order_and_its_places_are_the_store_s(engine: SearchGateway, sort: ListingSort) -> None:
    """So that a list goes on in the store when the engine is away, and in the engine when it is back."""
    market = Market()
    await market.store(LISTINGS, *CORPUS)
    theirs = await market.listings.browse(ListingFilter(), sort, 100, None)
    ours = await find(engine, sort=sort)
    assert [(hit.id, hit.place) for hit in ours.hits] == list(
        zip((each.id for each in theirs.nodes), theirs.positions, strict=True)
    )


@pytest.mark.parametrize("text", ["", "coach", "boss"])
@pytest.mark.parametrize("sort", list(ListingSort))
async def test_pages_of_any_size_make_the_whole(engine: SearchGateway, sort: ListingSort, text: str) -> None:
    whole = [hit.id for hit in (await find(engine, text, sort=sort)).hits]
    assert len(whole) == len(set(whole)) > 10
    for first in (1, 7, len(whole)):
        found: list[str] = []
        after: Place | None = None
        more = True
        while more:
            page = await engine.search(SearchQuery(read_words(text), ListingFilter(), sort, first, after))
            assert page.total == len(whole)
            found += [hit.id for hit in page.hits]
            after, more = page.hits[-1].place, page.has_next_page
        assert found == whole


async def test_a_page_skips_and_repeats_nothing_when_others_come_and_go(engine: SearchGateway) -> None:
    query = SearchQuery(("coach",), ListingFilter(), ListingSort.NEWEST, 20)
    first = await engine.search(query)
    rest = [hit.id for hit in (await find(engine, "coach", sort=ListingSort.NEWEST)).hits[20:]]
    await engine.put(documents(a_found(500, created_at=NOW + timedelta(days=1))))
    await engine.remove([first.hits[-1].id])
    second = await engine.search(replace(query, first=100, after=first.hits[-1].place))
    assert [hit.id for hit in second.hits] == rest


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sniper", {"Sniper coach", "Boss coach"}),  # the boss's description knows every sniper
        ("SNIPER  coach", {"Sniper coach", "Boss coach"}),
        ("snipr", {"Sniper coach", "Boss coach"}),
        ("sinper", {"Sniper coach", "Boss coach"}),
        ("snxxer", set()),  # two mistakes are another word
        ("snip", {"Sniper coach", "Boss coach"}),  # the last word may still be typed
        ("snip coach", set()),  # what is not the last is whole
        ("ra", {"Raid coach", "Healer coach"}),
        ("rai coach", set()),  # too short for a mistake
        ("healer unheard", set()),  # all words, or nothing
    ],
)
async def test_words_are_found_with_one_mistake_and_before_they_are_whole(
    engine: SearchGateway, text: str, found: set[str]
) -> None:
    assert await titles(engine, text) == found


async def test_names_of_games_agents_and_tags_are_found_without_their_marks(engine: SearchGateway) -> None:
    for text, of in (("pokemon", "Pokémon"), ("POKÉMON", "Pokémon"), ("elden ring", "Elden Ring")):
        hits = {hit.id for hit in (await find(engine, text)).hits}
        assert hits == {each.id for each in CORPUS if of in each.games}
    hits = {hit.id for hit in (await find(engine, "rex calm")).hits}
    assert hits == {each.id for each in CORPUS if each.agent_name == "Rex" and "calm" in each.tags}


async def test_the_title_counts_most_then_the_hires(engine: SearchGateway) -> None:
    by_id = {each.id: each for each in CORPUS}
    hits = [by_id[hit.id] for hit in (await find(engine, "raid")).hits]
    ranked = [(each.title == "Raid coach", each.total_hires, each.id) for each in hits]
    assert ranked == sorted(ranked, reverse=True)
    assert [row[0] for row in ranked] == [True] * 12 + [False] * 12


async def test_facets_count_all_hits(engine: SearchGateway) -> None:
    asked = {"has_memory": True}
    page = await find(engine, "coach", first=1, **asked)
    hits = [each for each in CORPUS if each.has_memory]
    told = {counts.name: dict(counts.values) for counts in page.facets}
    assert page.total == len(hits)
    assert list(told) == ["game", "category", "rank", "type", "language"]
    assert told["game"] == {game: n for game in GAMES if (n := sum(game in each.games for each in hits))}
    assert told["category"] == {name: sum(name in each.categories for each in hits) for name in ("Coaching", "Carry")}
    assert told["rank"] == {rank.value: n for rank in Rank if (n := sum(each.rank is rank for each in hits))}
    assert sum(told["type"].values()) == sum(told["language"].values()) == len(hits)
    counts = [count for _, count in page.facets[0].values]
    assert counts == sorted(counts, reverse=True)


async def test_a_game_is_shown_as_most_spell_it(engine: SearchGateway) -> None:
    chess = {"game": "chess", "first": 1}
    await engine.put(documents(a_found(600, games=("CHESS",)), a_found(601, games=("CHESS",))))
    assert (await find(engine, **chess)).facets[0].values[0][0] == "Chess"
    await engine.remove([each.id for each in CORPUS])
    assert dict((await find(engine)).facets[0].values) == {"CHESS": 2}


async def test_what_is_put_again_is_replaced_and_what_is_removed_is_gone(engine: SearchGateway) -> None:
    one = CORPUS[0]
    await engine.put(documents(replace(one, title="Zebra", description="Stripes.")))
    assert [hit.id for hit in (await find(engine, "zebra")).hits] == [one.id]
    assert (await find(engine)).total == COUNT
    for _ in range(2):
        await engine.remove([one.id, "lst_unheard"])
        page = await find(engine)
        assert (page.total, one.id in {hit.id for hit in page.hits}) == (COUNT - 1, False)
    await engine.replace_all(documents(one))
    assert [hit.id for hit in (await find(engine)).hits] == [one.id]
    await engine.replace_all([])
    page = await find(engine)
    assert (page.hits, page.total, page.has_next_page) == ((), 0, False)
    assert [counts.values for counts in page.facets] == [()] * 5


SYNTAX = (
    *(".*", "[a-z]+", "title:boss", "OR owner:usr_1", '"', "a AND (b", "\\", "*", "~1", "boss^99", "-coach", "coach~"),
    *("[* TO *]", "/boss.*/", "{}", "' OR 1=1", "\x00", "\ud800", "🎮"),
)
LONG = ("x" * 10_000, "coach " * 2_000, "a\u0300" * 3_000)


@pytest.mark.parametrize("text", [*SYNTAX, *LONG], ids=lambda text: ascii(text[:20]))
async def test_t_p10_a_query_is_words_and_never_syntax(engine: SearchGateway, text: str) -> None:
    page = await find(engine, text, owner_id=EVE)
    mine = {each.id for each in CORPUS if each.owner_id == EVE}
    assert {hit.id for hit in page.hits} <= mine
    if not read_words(text):
        assert page.total == len(mine)


def test_t_p10_of_a_long_query_the_beginning_is_read() -> None:
    assert read_words(" ".join(f"w{number}" for number in range(5_000))) == tuple(f"w{n}" for n in range(8))
    assert read_words("x" * 10_000) == ("x" * 40,)
    assert read_words("OR owner:usr_1 .* (Ｗide)") == ("or", "owner", "usr", "1", "wide")
    assert read_words("チェスの達人") == ("チ", "ェ", "ス", "の", "達", "人")
    assert read_words("... ?!") == ()


@pytest.mark.parametrize("status", [each for each in ListingStatus if each is not ListingStatus.ACTIVE])
def test_only_what_is_on_offer_has_a_document(status: ListingStatus) -> None:
    assert document_of(replace(CORPUS[0], status=status)) is None


def test_without_an_engine_names_are_compared() -> None:
    one = CORPUS[0]  # "Boss coach", Elden Ring
    held = {text: names_hold(one, read_words(text)) for text in ("", "boss", "boss elden", "coa", "coa boss", "every")}
    assert held == {"": True, "boss": True, "boss elden": True, "coa": True, "coa boss": False, "every": False}


# ---- the embedded engine alone


async def test_an_engine_that_was_not_filled_denies_nothing() -> None:
    engine = LocalSearch()
    for act in (find(engine), engine.put(documents(CORPUS[0])), engine.remove(["x"])):
        with pytest.raises(Unavailable, match="still reading"):
            await act
    await engine.close()


async def test_what_waits_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WAITING_MAX", 3)
    engine = LocalSearch()
    await engine.replace_all(documents(*CORPUS))
    outcomes = await asyncio.gather(*(find(engine) for _ in range(10)), return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, Unavailable)]
    assert len(refused) == 7
    assert (await find(engine)).total == COUNT
    await engine.close()


def test_every_agent_type_and_rank_is_in_the_corpus() -> None:
    assert {each.rank for each in CORPUS} == set(agents.Rank)
    assert {each.type for each in CORPUS} == set(agents.AgentType)
