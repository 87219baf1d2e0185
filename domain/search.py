"""What a search engine holds of a listing, what it is asked, and in which order it answers.

The order by anything but relevance is the store's own (`firestore.listings.ORDERS`), down to the tie, so that a place
in one list is the same place in the other: a search goes on when the engine is away, and when it comes back.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from domain.agents import AgentType, Rank
from domain.filters import ListingFilter, ListingSort
from domain.listings import Listing, ListingStatus
from domain.texts import fold

Place: TypeAlias = tuple[int | str | datetime, ...]
"""Where a listing stands in an order: the values that it is ordered by, then its id. A page starts behind it."""

QUERY_CHARACTERS_MAX = 1_000  # read of what is typed: several times a title; the rest is not looked at
WORDS_MAX = 8  # read of a query: each is looked up in three fields, exactly and nearly
WORD_LETTERS_MAX = 40  # kept of one word, in queries and documents alike
FUZZY_LETTERS_MIN = 4  # in shorter words one letter makes another word

FACETS = ("game", "category", "rank", "type", "language")
FACET_VALUES_MAX = 100  # of each facet, the most frequent: more than a client lists

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
"""A run of letters and digits; where a script writes no spaces (Han, kana), each sign."""


@dataclass(frozen=True, slots=True)
class SearchDocument:
    """A listing on offer as an engine holds it, its texts as written. `hourly` is in DOF, `rating_milli` in
    thousandths; `labels` are the listing's own."""

    id: str
    owner_id: str
    title: str
    description: str
    agent_name: str
    tags: tuple[str, ...]
    categories: tuple[str, ...]
    games: tuple[str, ...]
    labels: tuple[str, ...]
    rank: Rank
    type: AgentType
    language: str
    has_voice_chat: bool
    has_memory: bool
    hourly: int
    rating_milli: int
    rating_count: int
    total_hires: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is asked. `words` are `read_words`'s; without any, every listing that passes the filter is a hit."""

    words: tuple[str, ...]
    wanted: ListingFilter
    sort: ListingSort
    first: int
    after: Place | None = None

    @property
    def is_by_relevance(self) -> bool:
        return self.sort is ListingSort.RELEVANCE and bool(self.words)

    @property
    def is_descending(self) -> bool:
        return self.sort is not ListingSort.PRICE_LOW


@dataclass(frozen=True, slots=True)
class Hit:
    """A listing that is found, and where it stands."""

    id: str
    place: Place


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """How many of all hits have each value, the most frequent first."""

    name: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of hits in order. `total` and `facets` speak of all hits, on whichever page."""

    hits: tuple[Hit, ...]
    has_next_page: bool
    total: int
    facets: tuple[FacetCounts, ...]


def document_of(listing: Listing) -> SearchDocument | None:
    """The listing as an engine holds it; None for one that is not ACTIVE, which no search shows."""
    if listing.status is not ListingStatus.ACTIVE:
        return None
    return SearchDocument(
        id=listing.id,
        owner_id=listing.owner_id,
        title=listing.title,
        description=listing.description,
        agent_name=listing.agent_name,
        tags=listing.tags,
        categories=listing.categories,
        games=listing.games,
        labels=listing.labels,
        rank=listing.rank,
        type=listing.type,
        language=listing.language,
        has_voice_chat=listing.has_voice_chat,
        has_memory=listing.has_memory,
        hourly=listing.pricing.hourly.units,
        rating_milli=listing.rating_milli,
        rating_count=listing.rating_count,
        total_hires=listing.total_hires,
        created_at=listing.created_at,
    )


def place_of(document: SearchDocument, query: SearchQuery, score: int = 0) -> Place:
    """Where the document stands in the query's order. `score` says how well it fits the words."""
    if query.is_by_relevance:
        return (score, document.total_hires, document.id)
    match query.sort:
        case ListingSort.NEWEST:
            return (document.created_at, document.id)
        case ListingSort.RATING:
            return (document.rating_milli, document.rating_count, document.id)
        case ListingSort.PRICE_LOW | ListingSort.PRICE_HIGH:
            return (document.hourly, document.id)
    return (document.total_hires, document.id)


def split(text: str) -> list[str]:
    """The words of a text, in order, without case, width and marks: `Pokémon-Trainer` is `pokemon`, `trainer`."""
    if text.isascii():
        plain = text.lower()
    else:
        taken_apart = unicodedata.normalize("NFKD", fold(text))
        plain = "".join(sign for sign in taken_apart if unicodedata.category(sign)[0] != "M")
    return [word[:WORD_LETTERS_MAX] for word in _WORD.findall(plain)]


def read_words(text: str) -> tuple[str, ...]:
    """What a search looks for, each word once: text is never syntax, and of a long one the beginning counts (T-P10)."""
    return tuple(dict.fromkeys(split(text[:QUERY_CHARACTERS_MAX])))[:WORDS_MAX]


def names_hold(listing: Listing, words: tuple[str, ...]) -> bool:
    """Whether title, agent, games, categories and tags hold all the words, the last of them as a beginning.

    It is what a search means without an engine: no description, which is long, and no misspelling.
    """
    if not words:
        return True
    held = frozenset(
        _all_words((listing.title, listing.agent_name, *listing.games, *listing.categories, *listing.tags))
    )
    return all(word in held for word in words[:-1]) and any(each.startswith(words[-1]) for each in held)


def _all_words(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        yield from split(text)
