"""Finding listings by words, and the categories that there are."""

from __future__ import annotations

import asyncio
from typing import cast

import structlog

from domain import listings
from domain.errors import Unavailable
from domain.filters import ListingFilter as Filter
from domain.filters import ListingSort
from domain.listings import Listing as ListingRecord
from domain.listings import ListingStatus
from domain.search import Place, SearchPage, SearchQuery, names_hold, read_words
from firestore.paging import Page, Position
from graph.connection import FIRST_MAX, connect, page_size, position_of, scope_of
from graph.context import CategoryCounts, Context, Info
from graph.types.listings import Listing
from graph.types.search import Category, Facet, ListingSearchConnection
from resolvers.listings import ListingFilter, read_filter

ENGINE_SECONDS = 1.0  # an engine that takes longer is away: the store answers within its own two
CATEGORIES_SECONDS = 1  # what is published or withdrawn is seen within two; a process asks the paid engine once in it
RELEVANCE_PARTS = 3  # of a place by relevance: score, hires, id. The store's own order by hires has two

log = structlog.get_logger(__name__)


async def search_listings(
    info: Info,
    query: str,
    filter: ListingFilter | None = None,
    sort: ListingSort | None = None,
    first: int | None = None,
    after: str | None = None,
) -> ListingSearchConnection:
    """Listings on offer that hold the words, with counts by facet. Without the search engine they are found by name
    alone.

    One RPC: the hits are read by their ids, or, without the engine, the store is browsed.
    """
    context = info.context
    words, wanted = read_words(query), read_filter(filter or ListingFilter())
    order = sort or ListingSort.RELEVANCE
    scope = scope_of("searchListings", context.user_id, words, wanted, order)
    position = position_of(context.desk.cursors, scope, after)
    asked = SearchQuery(words, wanted, order, page_size(first), cast("Place | None", position))
    found = None
    if not (asked.is_by_relevance and position is not None and len(position) != RELEVANCE_PARTS):
        found = await _find(context, asked)  # otherwise the list began without the engine, and goes on without it
    page = await (_browse(context, asked, position) if found is None else _read(context, asked, found))
    connection = connect(page, Listing.of, context.desk.cursors, scope, after)
    return ListingSearchConnection(
        edges=connection.edges,
        page_info=connection.page_info,
        total_count=len(page.nodes) if found is None else found.total,
        facets=[] if found is None else [Facet.of(counts) for counts in found.facets],
        degraded=found is None,
    )


CATEGORIES_MAX = FIRST_MAX * listings.CATEGORIES_MAX  # those of the most hired listings, where there is no engine


async def categories(info: Info) -> list[Category]:
    """The categories of the listings on offer, in the order of the alphabet, each with its number of listings where
    that is known; up to a second old.

    No RPC; without the engine one, for the categories of the most hired listings. Once for all who ask in that time.
    """
    context = info.context
    moment = int(context.now.timestamp() // CATEGORIES_SECONDS)
    counted = await context.desk.categories.get(moment, lambda: _categories(context))
    return [Category(name=name, listing_count=count) for name, count in counted]


async def _categories(context: Context) -> CategoryCounts:
    found = await _find(context, SearchQuery((), Filter(), ListingSort.POPULAR, 1))
    if found is None:
        page = await context.store.listings.browse(Filter(), ListingSort.POPULAR, FIRST_MAX, None)
        names = {name.casefold(): name for listing in page.nodes for name in listing.categories}
        return tuple((names[each], None) for each in sorted(names))
    (counts,) = (each for each in found.facets if each.name == "category")
    return tuple(sorted(counts.values))


async def _find(context: Context, asked: SearchQuery) -> SearchPage | None:
    """What the engine finds; None when it is down or slow."""
    try:
        return await asyncio.wait_for(context.desk.search.search(asked), ENGINE_SECONDS)
    except (Unavailable, TimeoutError) as problem:
        log.warning("search without its engine", reason=repr(problem))
        return None


async def _read(context: Context, asked: SearchQuery, found: SearchPage) -> Page[ListingRecord]:
    """The hits as the store has them now: what has left the market since it was indexed is not shown."""
    records = await context.store.listings.get_many([hit.id for hit in found.hits])
    shown = [
        (record, hit.place)
        for record, hit in zip(records, found.hits, strict=True)
        if record is not None and record.status is ListingStatus.ACTIVE and asked.wanted.matches(record)
    ]
    return Page(
        tuple(record for record, _ in shown),
        tuple(place for _, place in shown),
        found.has_next_page,
        found.hits[-1].place if found.hits else None,
    )


async def _browse(context: Context, asked: SearchQuery, position: Position | None) -> Page[ListingRecord]:
    """What the store finds by itself. Raises Unavailable for a later page of a list by relevance."""
    if asked.is_by_relevance and position is not None and len(position) == RELEVANCE_PARTS:
        raise Unavailable("The search engine is away, and with it the rest of this list: begin at its first page.")

    def named(record: ListingRecord) -> bool:
        return names_hold(record, asked.words)

    also = named if asked.words else None
    return await context.store.listings.browse(asked.wanted, asked.sort, asked.first, position, also=also)
