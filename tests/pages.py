"""A market of any size whose order is known beforehand, and what one page of it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import httpx

from domain.filters import ListingFilter, ListingSort
from domain.ids import Kind, derived_id
from domain.listings import Listing, listing_id
from domain.money import Dof
from domain.search import SearchQuery, document_of, place_of, read_words
from firestore.counting import CountingBackend
from firestore.paging import dump
from graph.connection import Cursors, scope_of
from tests.nouns import NOW, a_listing

WORD = "coach"
CARD = "nodes { id title pricing { hourly } stats { rating } owner { displayName } featuredReviews { id } }"
REST = "pageInfo { hasNextPage endCursor }"
BROWSE = f"""query ($sort: ListingSort, $first: Int, $after: String) {{
    listings(sort: $sort, first: $first, after: $after) {{ {CARD} {REST} }} }}"""
SEARCH = f"""query ($sort: ListingSort, $first: Int, $after: String) {{
    searchListings(query: "{WORD}", sort: $sort, first: $first, after: $after) {{
        {CARD} {REST} totalCount degraded facets {{ name values {{ value count }} }} }} }}"""
_LISTING = a_listing()


def stall(number: int) -> Listing:
    """The listing with this number, which is its place in every order: numbers are as wide in every market."""
    agent_id = derived_id(Kind.AGENT, "stall", number)
    figure = 1_000_000 + number
    return replace(
        _LISTING,
        id=listing_id(agent_id),
        agent_id=agent_id,
        title=f"Coach {figure}",
        games=("Chess",),
        labels=("game:chess",),
        pricing=replace(_LISTING.pricing, hourly=Dof(figure)),
        total_hires=figure,
        rating_sum=4,
        rating_count=1,
        rating_milli=figure,
        created_at=NOW + timedelta(seconds=number),
    )


def number_at(place: int, count: int, sort: ListingSort) -> int:
    """The number of the listing at a place of a market of so many."""
    return place if sort is ListingSort.PRICE_LOW else count - 1 - place


@dataclass(frozen=True)
class Cost:
    rpcs: int
    reads: int
    size_bytes: int


@dataclass
class Visitor:
    """A guest who opens pages at any depth: it makes the cursors that walking there would give."""

    http: httpx.AsyncClient
    backend: CountingBackend
    cursors: Cursors

    async def browse(self, count: int, sort: ListingSort, first: int, page: int) -> Cost:
        """What a page of the browsing costs; the first page is 0."""
        scope = scope_of("listings", None, ListingFilter(), sort)
        return await self._page(BROWSE, scope, count, sort, first, page, score=None)

    async def search(self, count: int, sort: ListingSort, first: int, page: int, score: int) -> Cost:
        """The same of a search; `score` is what every hit has by relevance."""
        scope = scope_of("searchListings", None, read_words(WORD), ListingFilter(), sort)
        return await self._page(SEARCH, scope, count, sort, first, page, score=score)

    async def _page(
        self, query: str, scope: str, count: int, sort: ListingSort, first: int, page: int, score: int | None
    ) -> Cost:
        after = None
        if page:
            document = document_of(stall(number_at(page * first - 1, count, sort)))
            assert document is not None, "a stall is on offer"
            words = read_words(WORD) if score is not None else ()
            place = place_of(document, SearchQuery(words, ListingFilter(), sort, first), score or 0)
            after = self.cursors.seal(scope, dump(place))
        told = {"sort": sort.value, "first": first, "after": after}
        with self.backend.measure() as counts:
            answer = await self.http.post("/graphql", json={"query": query, "variables": told}, timeout=None)
        body = answer.json()
        assert "errors" not in body, body
        (shown,) = body["data"].values()
        numbers: Sequence[int] = [number_at(page * first + at, count, sort) for at in range(first)]
        assert [each["id"] for each in shown["nodes"]] == [stall(number).id for number in numbers]
        assert not shown.get("degraded")
        return Cost(counts.rpcs, counts.reads, len(answer.content))
