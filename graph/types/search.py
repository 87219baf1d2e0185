"""What a search answers: listings in order, and what of it there is in all."""

from __future__ import annotations

import strawberry

from domain import search
from graph.connection import Edge, PageInfo
from graph.sizes import at_most
from graph.types.listings import Listing


@strawberry.type
class FacetValue:
    value: str
    count: int


@strawberry.type(description="How many of all hits have each value: game, category, rank, type, language.")
class Facet:
    name: str
    values: list[FacetValue] = strawberry.field(metadata=at_most(search.FACET_VALUES_MAX))

    @classmethod
    def of(cls, counts: search.FacetCounts) -> Facet:
        return cls(name=counts.name, values=[FacetValue(value=value, count=count) for value, count in counts.values])


@strawberry.type(
    description="Hits in order. `totalCount` and `facets` speak of all hits, whichever page this is. A degraded answer"
    " comes from the store itself while the search engine is away: it compares titles and names without mending"
    " mistakes, orders by what is hired most where relevance was asked for, counts what is on this page, and has no"
    " facets."
)
class ListingSearchConnection:
    edges: list[Edge[Listing]]
    page_info: PageInfo
    total_count: int
    facets: list[Facet] = strawberry.field(metadata=at_most(len(search.FACETS)))
    degraded: bool

    @strawberry.field
    def nodes(self) -> list[Listing]:
        return [edge.node for edge in self.edges]


@strawberry.type(description="A category with listings on offer; their count is null while the search engine is away.")
class Category:
    name: str
    listing_count: int | None
