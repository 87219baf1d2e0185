"""What the contract of `test_search` does not ask: Algolia's own limits, pages by relevance, hosts, the breaker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from domain.filters import ListingFilter, ListingSort
from domain.search import SearchDocument, SearchQuery, document_of
from integrations import algolia_index as index
from integrations.algolia import AlgoliaSearch
from integrations.breaker import FAILURES_MAX, PAUSE_SECONDS, Breaker
from integrations.services import SearchMirror
from tests.integrations.algolia_stand_in import APP, KEY, RECORD_BYTES_MAX, Answer, StandIn, be_patient, standing_in
from tests.integrations.test_search import COUNT, a_found

COACHES = SearchQuery(("coach",), ListingFilter(), ListingSort.RELEVANCE, 10)


def a_document(number: int = 0, **changes: object) -> SearchDocument:
    document = document_of(a_found(number))
    assert document is not None, "it is on offer"
    return replace(document, **changes)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest_asyncio.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with standing_in() as made:
        yield made


@pytest_asyncio.fixture
async def engine(stand_in: StandIn) -> AsyncIterator[AlgoliaSearch]:
    made = AlgoliaSearch(APP, KEY, "listings", site=stand_in.url)
    mirror: SearchMirror = made
    await mirror.replace_all([a_document(number) for number in range(COUNT)])
    yield made
    await made.close()


# ---- records


@pytest.mark.parametrize("letter", ["a", "é", "한", "字", "𝕏"])
def test_a_record_is_never_too_big(letter: str) -> None:
    """As much text as a listing takes, in letters of any width."""
    words = [f"{letter * 30} {number}" for number in range(10)]
    document = a_document(
        title=letter * 120,
        description=" ".join([letter * 9] * 500),
        agent_name=letter * 80,
        games=tuple(f"{letter * 55}{number}" for number in range(10)),
        tags=tuple(words),
        categories=tuple(words[:5]),
        labels=tuple(f"tag:{word}" for word in (*words, *words)),
    )
    record = index.record_of(document)
    assert len(json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()) <= RECORD_BYTES_MAX
    assert record["title"] != ""
    assert len(record["description"]) > 100


def test_a_mark_is_of_what_people_write_and_figures_are_apart() -> None:
    one = index.record_of(a_document())
    for same in (a_document(total_hires=500), a_document(rating_milli=1, rating_count=9)):
        assert index.record_of(same)["mark"] == one["mark"]
    for other in (a_document(title="x"), a_document(hourly=1), a_document(description="x"), a_document(labels=())):
        assert index.record_of(other)["mark"] != one["mark"]


def test_ids_as_numbers_stand_in_the_order_of_the_ids() -> None:
    ids = sorted(a_document(number).id for number in range(200))
    assert sorted(ids, key=index.tie_of) == ids
    assert all(part < 2**30 for each in ids for part in index.tie_of(each))


def test_a_place_is_compared_without_ors_of_ands() -> None:
    query = replace(COACHES, sort=ListingSort.RATING, after=(4_000, 2, a_document().id))
    page, counts = index.requests("listings", query)
    one, two = index.tie_of(a_document().id)
    assert page["numericFilters"] == [
        ["rating_milli<=4000"],
        ["rating_milli<4000", "rating_count<=2"],
        ["rating_milli<4000", "rating_count<2", f"tie_1<={one}"],
        ["rating_milli<4000", "rating_count<2", f"tie_1<{one}", f"tie_2<{two}"],
    ]
    assert (page["indexName"], counts["numericFilters"], "facets" in page) == ("listings_rating", [], False)


# ---- by relevance


async def test_pages_by_relevance_follow_their_anchor(engine: AlgoliaSearch) -> None:
    whole = [hit.id for hit in (await engine.search(replace(COACHES, first=100))).hits]
    first = await engine.search(COACHES)
    assert [hit.id for hit in first.hits] == whole[:10]
    await engine.put([a_document(200 + number, title="coach", total_hires=900) for number in range(3)])
    await engine.remove([whole[0]])
    second = await engine.search(replace(COACHES, after=first.hits[-1].place))
    assert [hit.id for hit in second.hits] == whole[10:20]
    await engine.remove([whole[19]])  # the anchor itself: as many hits are passed over as were shown
    third = await engine.search(replace(COACHES, after=second.hits[-1].place))
    assert len(third.hits) == 10


async def test_a_list_by_relevance_ends_with_the_thousandth_hit(
    engine: AlgoliaSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "RELEVANT_HITS_MAX", 25)
    told, after = [], None
    while True:
        page = await engine.search(replace(COACHES, after=after))
        told += [hit.id for hit in page.hits]
        after = page.hits[-1].place
        if not page.has_next_page:
            break
    assert (len(told) >= 25, page.total) == (True, COUNT)
    ordered = await engine.search(replace(COACHES, sort=ListingSort.NEWEST, first=100))
    assert len(ordered.hits) == COUNT  # any other order goes on to its end


# ---- when it fails


async def test_a_wrong_key_is_told_without_the_key(stand_in: StandIn) -> None:
    engine = AlgoliaSearch(APP, "canary-wrong", "listings", site=stand_in.url)
    for act in (engine.search(COACHES), engine.put([a_document()]), engine.held()):
        with pytest.raises(Unavailable) as told:
            await act
        assert "canary" not in str(told.value)
    await engine.close()


async def test_hosts_that_are_down_are_tried_again_at_once(engine: AlgoliaSearch, stand_in: StandIn) -> None:
    """The library leaves a host alone for five minutes; there is but one here, and it is asked again."""
    stand_in.trouble = lambda asked: Answer(500, {"message": "x"})
    for act in (engine.search(COACHES), engine.put([a_document()]), engine.held()):
        with pytest.raises(Unavailable):
            await act
    stand_in.trouble = lambda asked: None
    assert (await engine.search(COACHES)).total == COUNT
    await engine.put([a_document(99)])
    assert len(await engine.held()) == COUNT + 1


async def test_a_rebuild_that_fails_leaves_the_index_as_it_was(engine: AlgoliaSearch, stand_in: StandIn) -> None:
    stand_in.trouble = lambda asked: Answer(400, {"message": "x"}) if asked.path.endswith("/batch") else None
    with pytest.raises(Unavailable):
        await engine.replace_all([a_document()])
    assert len(stand_in.records["listings"]) == COUNT
    assert not [name for name in stand_in.records if "tmp" in name]


def test_a_breaker_opens_lets_one_through_and_closes() -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0])
    for _ in range(FAILURES_MAX - 1):
        breaker.note(answered=False)
    breaker.note(answered=True)
    for _ in range(FAILURES_MAX):
        assert not breaker.is_open
        breaker.admit()
        breaker.note(answered=False)
    assert breaker.is_open
    for _ in range(2):
        with pytest.raises(Unavailable):
            breaker.admit()
    now[0] += PAUSE_SECONDS
    breaker.admit()
    with pytest.raises(Unavailable):  # one is under way
        breaker.admit()
    breaker.note(answered=False)
    now[0] += PAUSE_SECONDS
    breaker.admit()
    breaker.note(answered=True)
    breaker.admit()
