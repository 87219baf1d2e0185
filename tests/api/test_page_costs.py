"""A page costs the same on a market of any size, at any depth: RPCs, documents read, bytes (and `bench/pages.py`)."""

from __future__ import annotations

from domain.filters import ListingSort
from domain.search import SearchDocument, document_of
from firestore.collections import LISTINGS, USERS
from graph.connection import Cursors
from tests.api.api import Rig
from tests.nouns import a_user
from tests.pages import Cost, Visitor, stall

SMALL, LARGE, PAGE = 1_000, 5_000, 20


def documents(count: int) -> list[SearchDocument]:
    return [document for document in (document_of(stall(number)) for number in range(count)) if document is not None]


async def test_a_page_costs_the_same_at_any_size_and_depth(rig: Rig) -> None:
    await rig.put(USERS, a_user("ada"))
    visitor = Visitor(rig.http, rig.backend, Cursors(rig.secrets.cursor))
    costs: dict[ListingSort, list[Cost]] = {sort: [] for sort in ListingSort}
    for start, count, pages in ((0, SMALL, (0, 48)), (SMALL, LARGE, (0, 48, 248))):
        await rig.put(LISTINGS, *(stall(number) for number in range(start, count)))
        for sort in ListingSort:
            costs[sort] += [await visitor.browse(count, sort, PAGE, page) for page in pages]
    for each in costs.values():
        assert {(cost.rpcs, cost.reads) for cost in each} == {(2, PAGE + 1 + 1)}  # one more tells of more; the owner
        assert len({cost.size_bytes for cost in each}) == 1


async def test_a_page_of_a_search_costs_the_same_at_any_size_and_depth(rig: Rig) -> None:
    await rig.put(USERS, a_user("ada"))
    await rig.put(LISTINGS, *(stall(number) for number in range(LARGE)))
    visitor = Visitor(rig.http, rig.backend, Cursors(rig.secrets.cursor))
    costs: list[Cost] = []
    for count in (SMALL, LARGE):
        await rig.search.replace_all(documents(count))
        for sort in ListingSort:
            costs += [await visitor.search(count, sort, PAGE, page, 12) for page in (0, 48)]
    assert {(cost.rpcs, cost.reads) for cost in costs} == {(2, PAGE + 1)}
