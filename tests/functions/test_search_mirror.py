"""An engine apart from the process: compared with the store, mended, rebuilt in one moment, and never left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from domain.filters import ListingFilter, ListingSort
from domain.listings import Listing, ListingStatus
from domain.search import SearchDocument, SearchQuery, document_of
from firestore.backend import Write
from firestore.collections import LISTINGS
from functions import search_mirror
from functions.search_mirror import Mirror
from integrations import algolia_index as index
from integrations.algolia import AlgoliaSearch
from tests.firestore.market import Market
from tests.integrations.algolia_stand_in import APP, KEY, StandIn, be_patient, standing_in
from tests.integrations.test_search import a_found
from tests.nouns import NOW

ALL = SearchQuery((), ListingFilter(), ListingSort.NEWEST, 100)


@dataclass
class Stand:
    market: Market
    engine: AlgoliaSearch
    stand_in: StandIn
    mirror: Mirror

    async def found(self) -> dict[str, int]:
        """The hits, with their hires as the engine has them."""
        page = await self.engine.search(replace(ALL, sort=ListingSort.POPULAR))
        assert page.total == len(page.hits)
        return {hit.id: int(str(hit.place[0])) for hit in page.hits}

    async def put(self, *listings: Listing) -> None:
        await self.market.store(LISTINGS, *listings)

    def batches(self) -> list[tuple[str, list[str]]]:
        """To which index what was done, since the last call."""
        asked, self.stand_in.asked = self.stand_in.asked, []
        return [
            (each.path.split("/")[3], [one["action"] for one in each.body["requests"]])
            for each in asked
            if each.path.endswith("/batch")
        ]

    def configured(self) -> list[str]:
        """Which index was sent its settings, since the last call."""
        asked, self.stand_in.asked = self.stand_in.asked, []
        return [each.path.split("/")[3] for each in asked if each.method == "PUT"]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest_asyncio.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing_in() as stand_in:
        market = Market()
        engine = AlgoliaSearch(APP, KEY, "listings", site=stand_in.url)
        yield Stand(market, engine, stand_in, Mirror(market.listings, engine))
        await engine.close()


def hires(*listings: Listing) -> dict[str, int]:
    return {each.id: each.total_hires for each in listings}


async def test_an_engine_that_holds_nothing_is_filled_and_then_left_alone(stand: Stand) -> None:
    made = [a_found(number) for number in range(12)]
    await stand.put(*made, a_found(99, status=ListingStatus.PAUSED))
    assert await stand.mirror.reconcile(NOW) == 12
    assert await stand.found() == hires(*made)
    (temporary, actions) = stand.batches()[0]
    assert (temporary.startswith("listings_tmp_"), actions) == (True, ["addObject"] * 12)
    assert await stand.mirror.reconcile(NOW) == 0
    assert stand.batches() == []


async def test_the_round_sends_settings_that_differ_and_nothing_else(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a newer code, and those that somebody changed by hand; the index first, since it makes its replicas."""
    indices = ["listings", *(f"listings_{sort.value.lower()}" for sort in index.ORDERS)]
    held = stand.stand_in.settings
    await stand.put(*(a_found(number) for number in range(12)))
    await stand.mirror.reconcile(NOW)
    assert stand.configured() == indices
    monkeypatch.setattr(index, "SPELLINGS_MAX", 250)
    for expected in (indices, []):
        assert await stand.mirror.reconcile(NOW) == 0
        assert stand.configured() == expected
    assert [held[name]["maxValuesPerFacet"] for name in indices] == [250] * 6
    held["listings_rating"]["ranking"] = ["typo"]
    held["listings_newest"]["distinct"] = True  # nothing of ours
    for expected in (["listings_rating"], []):
        assert await stand.mirror.reconcile(NOW) == 0
        assert stand.configured() == expected
    assert held["listings_rating"]["ranking"][0] == "desc(rating_milli)"


async def test_the_round_mends_what_differs_and_nothing_else(stand: Stand) -> None:
    made = [a_found(number) for number in range(12)]
    await stand.put(*made)
    await stand.mirror.reconcile(NOW)
    changed = [
        replace(made[0], status=ListingStatus.SUSPENDED),
        replace(made[1], title="Zebra"),
        replace(made[2], total_hires=99),
        a_found(50),
    ]
    await stand.put(*changed)
    await stand.engine.put([document for document in [document_of(a_found(77))] if document])  # nobody offers it
    stand.batches()
    assert await stand.mirror.reconcile(NOW) == 5
    assert await stand.found() == hires(*made[3:], *changed[1:])
    assert sorted(actions for _, actions in stand.batches()) == [
        ["addObject", "addObject"],
        ["deleteObject", "deleteObject"],
        ["partialUpdateObjectNoCreate"],
    ]


async def test_a_rebuild_shows_what_was_there_until_all_is_there(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record of an older form differs: all are sent to a copy, which takes the place of the index in one step."""
    made = [a_found(number) for number in range(12)]
    await stand.put(*made)
    await stand.mirror.reconcile(NOW)
    monkeypatch.setattr("integrations.algolia_index.SHAPE", 2)
    seen: list[dict[str, int]] = []
    answer = stand.stand_in.answer

    def watching(asked):  # type: ignore[no-untyped-def]
        told = answer(asked)
        seen.append({key: each["total_hires"] for key, each in stand.stand_in.records["listings"].items()})
        return told

    monkeypatch.setattr(stand.stand_in, "answer", watching)
    assert await stand.mirror.reconcile(NOW) == 12
    assert all(each == hires(*made) for each in seen)
    assert {each.path.split("/")[3][:12] for each in stand.stand_in.asked if each.path.endswith("/batch")} == {
        "listings_tmp"
    }
    assert not [name for name in stand.stand_in.records if "tmp" in name]
    assert await stand.mirror.reconcile(NOW) == 0


async def test_what_changes_during_a_rebuild_is_not_lost(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task wrote to the index that is then replaced."""
    made = [a_found(number) for number in range(6)]
    await stand.put(*made)
    replace_all = stand.engine.replace_all
    gone, dearer = replace(made[0], status=ListingStatus.PAUSED), replace(made[1], title="Zebra", total_hires=77)

    async def meanwhile(documents: Sequence[SearchDocument]) -> None:
        await stand.put(gone, dearer)
        await stand.mirror.bring([gone.id, dearer.id])
        await replace_all(documents)

    await stand.engine.replace_all([])
    monkeypatch.setattr(stand.engine, "replace_all", meanwhile)
    await stand.mirror.reconcile(NOW)
    assert await stand.found() == hires(dearer, *made[2:])


async def test_whoever_brings_a_listing_looks_again(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks bring it at once, and the one with the older reading writes last: what the store holds is found."""
    one = a_found(1, total_hires=1)
    await stand.put(one)
    await stand.engine.replace_all([])
    put, newer = stand.engine.put, replace(one, total_hires=2)

    async def late(documents: Sequence[SearchDocument]) -> None:
        monkeypatch.setattr(stand.engine, "put", put)
        await stand.put(newer)
        await stand.mirror.bring([one.id])  # the other task, from reading to writing
        assert await stand.found() == hires(newer)
        await put(documents)

    monkeypatch.setattr(stand.engine, "put", late)
    await stand.mirror.bring([one.id])
    assert await stand.found() == hires(newer)


async def test_a_listing_that_never_rests_is_left_to_its_next_task(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, put, count = a_found(1), stand.engine.put, 0
    await stand.put(one)
    await stand.engine.replace_all([])

    async def restless(documents: Sequence[SearchDocument]) -> None:
        nonlocal count
        count += 1
        await put(documents)
        await stand.put(replace(one, total_hires=100 + count))

    monkeypatch.setattr(stand.engine, "put", restless)
    with pytest.raises(Unavailable, match="change faster"):
        await stand.mirror.bring([one.id])
    assert count == search_mirror.LOOKS_MAX


async def test_the_round_reads_in_pages_and_a_damaged_listing_hides_no_other(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firestore.listings.ALL_PAGE", 5)
    made = [a_found(number) for number in range(12)]
    await stand.put(*made)
    beyond = LISTINGS.encode(made[0]) | {"id": "damaged", "pricing": {"hourly": 10**16}}
    await stand.market.backend.commit([Write("listings/damaged", beyond)])
    with stand.market.backend.measure() as counts:
        documents = {document.id async for document in stand.market.listings.documents()}
    assert (documents, counts.rpcs, counts.reads) == ({each.id for each in made}, 3, 13)
