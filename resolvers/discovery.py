"""What a player might like, and what a seller should know of the market."""

from __future__ import annotations

from domain import texts
from domain.listings import WORD_CHARACTERS_MAX, category_label, game_label
from domain.revisions import GAME_CHARACTERS_MAX
from graph.connection import page_size
from graph.context import Info
from graph.types.discovery import MarketInsights, Recommendation

RECOMMENDED_DEFAULT = 10


async def recommended_listings(info: Info, first: int | None = None) -> list[Recommendation]:
    """Listings for the viewer, best first, each with its reasons; for a guest what others hire most. 10 where `first`
    is absent.
    """
    context = info.context
    count = page_size(RECOMMENDED_DEFAULT if first is None else first)
    found = await context.store.discovery.recommend(context.user_id, count)
    return [Recommendation.of(each) for each in found]


async def market_insights(info: Info, category: str | None = None, game: str | None = None) -> MarketInsights:
    """Prices, hires and ratings of a game's or category's market, of both, or of the whole market."""
    game = texts.optional_line(game, "game", GAME_CHARACTERS_MAX)
    category = texts.optional_line(category, "category", WORD_CHARACTERS_MAX)
    found = await info.context.store.discovery.insights(
        None if game is None else game_label(game), None if category is None else category_label(category)
    )
    return MarketInsights.of(found)
