"""What is made of many listings at once: recommendations, and the state of a market. Each costs a bounded few RPCs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from domain import insights, recommendations
from domain.filters import ListingFilter, ListingSort
from domain.insights import Insights, Offer
from domain.listings import Listing, ListingStatus
from domain.money import Dof
from domain.recommendations import Recommendation, Taste, Use
from firestore.backend import Aggregate, Backend, Filter, Query, Snapshot, Value
from firestore.collections import LISTINGS, REVIEWS
from firestore.listings import Listings
from firestore.sessions import Sessions

HIRES_MAX = 50  # of a player, the newest: tastes change
CANDIDATES_MAX = 60  # of the player's games and categories, and as many of what all hire
SAMPLE_MAX = 400  # listings behind a market's figures: a quartile of so many is off by about 2 % of the ranks
_FIGURES = ("pricing", "labels", "total_hires", "active_hires", "rating_sum", "rating_count")


class Discovery:
    """Every method raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend, listings: Listings, sessions: Sessions) -> None:
        self._backend = backend
        self._listings = listings
        self._sessions = sessions

    async def recommend(self, viewer_id: str | None, first: int) -> tuple[Recommendation, ...]:
        """Listings for a player, best first, with their reasons; what all hire for a guest.

        One RPC for a guest, two at once for who has hired nothing, four in three rounds for others.
        """
        if viewer_id is None:
            return recommendations.recommend(await self._candidates(()), Taste(), None, first)
        popular, taste = await asyncio.gather(self._candidates(()), self._taste(viewer_id))
        labels = taste.labels
        alike = await self._candidates(labels) if labels else ()
        return recommendations.recommend((*alike, *popular), taste, viewer_id, first)

    async def insights(self, game: str | None, category: str | None) -> Insights:
        """The market of a game, of a category, of both, or of all, given as labels. One RPC, and a second one to count
        where there are more than 400.

        Ids are hashes, so that the first 400 of them are an even sample of any market, and the same one for all who
        ask: at 100,000 listings it still costs 400 reads, and the count 100 more. Of a game and a category the sample
        is the game's, of which the category is a part.
        """
        label = game or category
        filters = [Filter("status", "==", ListingStatus.ACTIVE.value)]
        if label is not None:
            filters.append(Filter("labels", "array-contains", label))
        query = Query(LISTINGS.name, tuple(filters))
        found = await self._backend.query(replace(query, limit=SAMPLE_MAX + 1, fields=_FIGURES))
        looked_at, supply = found[:SAMPLE_MAX], len(found)
        if len(found) > SAMPLE_MAX:
            counted = await self._backend.aggregate(query, {"all": Aggregate("count")})
            supply = max(len(looked_at), int(counted["all"]))
        wanted = {each for each in (game, category) if each is not None}
        offers = [_offer(each.data) for each in looked_at if wanted <= _labels(each)]
        return insights.insights(offers, len(looked_at), supply)

    async def _taste(self, viewer_id: str) -> Taste:
        page = await self._sessions.page_of_hirer(viewer_id, None, HIRES_MAX, None)
        hires = [(each.listing_id, each.review_id) for each in page.nodes if each.listing_id is not None]
        paths = {LISTINGS.at(listing_id) for listing_id, _ in hires}
        paths |= {REVIEWS.at(review_id) for _, review_id in hires if review_id is not None}
        found = {each.path: each for each in await self._backend.get_many(sorted(paths)) if each is not None}
        uses = []
        for listing_id, review_id in hires:
            listing = found.get(LISTINGS.at(listing_id))
            review = found.get(REVIEWS.at(review_id)) if review_id is not None else None
            if listing is not None:
                uses.append(Use(LISTINGS.decode(listing), REVIEWS.decode(review).rating if review else None))
        return recommendations.taste_of(uses)

    async def _candidates(self, labels: tuple[str, ...]) -> tuple[Listing, ...]:
        """The most hired of those that have any of the labels, or of all."""
        wanted = ListingFilter(tags=labels)
        return (await self._listings.browse(wanted, ListingSort.POPULAR, CANDIDATES_MAX, None)).nodes


def _labels(snapshot: Snapshot) -> set[Value]:
    held = snapshot.data["labels"]
    assert isinstance(held, list | tuple), "labels are a list"
    return set(held)


def _offer(data: Mapping[str, Value]) -> Offer:
    pricing = data["pricing"]
    assert isinstance(pricing, Mapping), "prices are a map"
    return Offer(
        Dof(_number(pricing, "hourly")),
        _number(data, "total_hires"),
        _number(data, "active_hires"),
        _number(data, "rating_sum"),
        _number(data, "rating_count"),
    )


def _number(data: Mapping[str, Value], name: str) -> int:
    value = data[name]
    assert isinstance(value, int), f"{name} is a whole number"
    return value
