"""What a search asks of listings, and in which order it wants them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain import texts
from domain.agents import AgentType, Rank
from domain.errors import BadInput
from domain.ids import Kind, is_id
from domain.listings import TAGS_MAX, WORD_CHARACTERS_MAX, Listing, category_label, game_label, tag_label
from domain.money import Dof
from domain.reviews import RATING_MAX
from domain.revisions import GAME_CHARACTERS_MAX


class ListingSort(StrEnum):
    RELEVANCE = "RELEVANCE"
    RATING = "RATING"
    NEWEST = "NEWEST"
    PRICE_LOW = "PRICE_LOW"
    PRICE_HIGH = "PRICE_HIGH"
    POPULAR = "POPULAR"


@dataclass(frozen=True, slots=True)
class ListingFilter:
    """What a listing must be; None asks nothing. Made by `require_filter`.

    `game`, `category` and `tags` are labels, of the tags any one suffices; prices are for one hour;
    `min_rating_milli` is in thousandths.
    """

    game: str | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()
    ranks: frozenset[Rank] = frozenset()
    type: AgentType | None = None
    language: str | None = None
    has_voice_chat: bool | None = None
    has_memory: bool | None = None
    min_price: Dof | None = None
    max_price: Dof | None = None
    min_rating_milli: int | None = None
    owner_id: str | None = None

    def matches(self, listing: Listing) -> bool:
        """Whether the listing is all that is asked."""
        hourly, labels = listing.pricing.hourly, frozenset(listing.labels)
        return (
            (self.game is None or self.game in labels)
            and (self.category is None or self.category in labels)
            and (not self.tags or not labels.isdisjoint(self.tags))
            and (not self.ranks or listing.rank in self.ranks)
            and (self.type is None or listing.type is self.type)
            and (self.language is None or listing.language == self.language)
            and (self.has_voice_chat is None or listing.has_voice_chat is self.has_voice_chat)
            and (self.has_memory is None or listing.has_memory is self.has_memory)
            and (self.min_price is None or hourly >= self.min_price)
            and (self.max_price is None or hourly <= self.max_price)
            and (self.min_rating_milli is None or listing.rating_milli >= self.min_rating_milli)
            and (self.owner_id is None or listing.owner_id == self.owner_id)
        )


def require_filter(
    *,
    game: str | None = None,
    category: str | None = None,
    tags: tuple[str, ...] = (),
    ranks: tuple[Rank, ...] = (),
    type: AgentType | None = None,  # noqa: A002 - the contract's name
    language: str | None = None,
    has_voice_chat: bool | None = None,
    has_memory: bool | None = None,
    min_price: Dof | None = None,
    max_price: Dof | None = None,
    min_rating: float | None = None,
    owner_id: str | None = None,
) -> ListingFilter:
    """A filter of what a client asks: blank texts and empty lists ask nothing. Raises BadInput naming the field."""
    game = texts.optional_line(game, "filter.game", GAME_CHARACTERS_MAX)
    category = texts.optional_line(category, "filter.category", WORD_CHARACTERS_MAX)
    tags = texts.words(tags, "filter.tags", TAGS_MAX, WORD_CHARACTERS_MAX)
    if min_rating is not None and not 0 <= min_rating <= RATING_MAX:
        raise BadInput(f"A rating lies between 0 and {RATING_MAX}.", field="filter.minRating")
    if owner_id is not None and not is_id(owner_id, Kind.USER):
        raise BadInput("This is not the id of a user.", field="filter.ownerId")
    chosen = frozenset(ranks)
    return ListingFilter(
        game=None if game is None else game_label(game),
        category=None if category is None else category_label(category),
        tags=tuple(tag_label(tag) for tag in tags),
        ranks=frozenset() if chosen == frozenset(Rank) else chosen,  # every rank is no filter
        type=type,
        language=None if language is None else texts.language(language, "filter.language"),
        has_voice_chat=has_voice_chat,
        has_memory=has_memory,
        min_price=min_price,
        max_price=max_price,
        min_rating_milli=None if min_rating is None else round(min_rating * 1000),
        owner_id=owner_id,
    )
