"""What to show a player next, and why: from what the player hired, how it was rated, and what it cost.

A score is a sum of parts, each between nothing and its worth, so that it explains itself: every part that counts for a
listing is one of its reasons, and names what it rests on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from domain.listings import Listing, ListingStatus, category_label, game_label
from domain.money import Dof
from domain.texts import fold

# What each part is worth, in thousandths of a whole: what one plays counts most.
GAME_MILLI, CATEGORY_MILLI, MAKER_MILLI, LANGUAGE_MILLI, PRICE_MILLI, RATING_MILLI = 400, 200, 100, 100, 100, 100
RATINGS_MIN = 3  # below, a mean says little of a listing
RATED_MILLI_MAX = 5_000
LIKING = {None: 2, 1: -4, 2: -2, 3: 1, 4: 3, 5: 4}
"""What one hire says of its games and categories, by the rating that it got: nobody rates what was just all right."""
LABELS_MAX = 10  # games and categories that are looked for: a query takes thirty


class ReasonKind(StrEnum):
    GAME = "GAME"
    CATEGORY = "CATEGORY"
    AGENT = "AGENT"
    LANGUAGE = "LANGUAGE"
    PRICE = "PRICE"
    POPULAR = "POPULAR"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a listing is shown, in words, and what that rests on: the game, category or language, an agent that the
    player hired, the hourly prices that it paid, or how often others hired the listing."""

    kind: ReasonKind
    text: str
    subject: str | None = None
    agent_id: str | None = None
    prices: tuple[Dof, Dof] | None = None
    hires: int | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """One hire of a listing, and what the player rated it."""

    listing: Listing
    rating: int | None = None


@dataclass(frozen=True, slots=True)
class Liking:
    """How much a player likes a game, category, language or maker, and by which agent that is known best."""

    subject: str
    weight: int
    agent_id: str
    agent_name: str


@dataclass(frozen=True, slots=True)
class Taste:
    """What a player likes, by folded name; what it hired; between which hourly prices."""

    games: dict[str, Liking] = field(default_factory=dict)
    categories: dict[str, Liking] = field(default_factory=dict)
    languages: dict[str, Liking] = field(default_factory=dict)
    makers: dict[str, Liking] = field(default_factory=dict)
    hired: frozenset[str] = frozenset()
    prices: tuple[Dof, Dof] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the games and categories that are liked most: candidates have one of them."""
        ranked = [(each.weight, game_label(each.subject)) for each in self.games.values()]
        ranked += [(each.weight, category_label(each.subject)) for each in self.categories.values()]
        ranked.sort(key=lambda row: (-row[0], row[1]))
        return tuple(label for _, label in ranked[:LABELS_MAX])


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`score_milli` lies between 0 and 1,000; None where it is what others hire, and no taste is behind it."""

    listing: Listing
    score_milli: int | None
    why: tuple[Reason, ...]


def taste_of(uses: Sequence[Use]) -> Taste:
    """What a player's hires say of its taste. What was rated badly counts against what it has in common with others."""
    liked = [use for use in uses if LIKING[use.rating] > 0]
    hourly = sorted(use.listing.pricing.hourly for use in liked)
    return Taste(
        games=_likings((game, use) for use in uses for game in use.listing.games),
        categories=_likings((category, use) for use in uses for category in use.listing.categories),
        languages=_likings((use.listing.language, use) for use in uses),
        makers=_likings((use.listing.creator_id, use) for use in uses),
        hired=frozenset(use.listing.id for use in uses),
        prices=(hourly[0], hourly[-1]) if hourly else None,
    )


def recommend(
    candidates: Iterable[Listing], taste: Taste, viewer_id: str | None, first: int
) -> tuple[Recommendation, ...]:
    """The best of the candidates, best first: on offer, not the viewer's own, and not hired before."""
    found = {
        listing.id: _judge(listing, taste)
        for listing in candidates
        if listing.status is ListingStatus.ACTIVE
        and listing.id not in taste.hired
        and (viewer_id is None or viewer_id not in (listing.owner_id, listing.creator_id))
    }
    ranked = sorted(
        found.values(), key=lambda each: (-(each.score_milli or 0), -each.listing.total_hires, each.listing.id)
    )
    return tuple(ranked[:first])


def _judge(listing: Listing, taste: Taste) -> Recommendation:
    parts = [
        _best(taste.games, listing.games, GAME_MILLI, ReasonKind.GAME),
        _best(taste.categories, listing.categories, CATEGORY_MILLI, ReasonKind.CATEGORY),
        _best(taste.makers, (listing.creator_id,), MAKER_MILLI, ReasonKind.AGENT),
        _best(taste.languages, (listing.language,), LANGUAGE_MILLI, ReasonKind.LANGUAGE),
        _price(taste, listing),
    ]
    told = [part for part in parts if part is not None]
    if not told:
        hires = listing.total_hires
        text = f"Players have hired it {hires} times." if hires > 1 else "It is among the most hired on offer."
        return Recommendation(listing, None, (Reason(ReasonKind.POPULAR, text, hires=hires),))
    rated = listing.rating_milli * RATING_MILLI // RATED_MILLI_MAX if listing.rating_count >= RATINGS_MIN else 0
    return Recommendation(listing, sum(worth for worth, _ in told) + rated, tuple(reason for _, reason in told))


def _best(
    likings: dict[str, Liking], subjects: Iterable[str], worth_milli: int, kind: ReasonKind
) -> tuple[int, Reason] | None:
    """The part of the listing's subject that is liked most, by how much it is liked of the most liked one."""
    known = [likings[folded] for folded in map(fold, subjects) if folded in likings]
    if not known:
        return None
    best = max(known, key=lambda each: (each.weight, each.subject))
    most = max(each.weight for each in likings.values())
    texts = {
        ReasonKind.GAME: f"For {best.subject}, as {best.agent_name}, which you hired.",
        ReasonKind.CATEGORY: f"{best.subject}, as {best.agent_name}, which you hired.",
        ReasonKind.AGENT: f"By the maker of {best.agent_name}, which you hired.",
        ReasonKind.LANGUAGE: f"It speaks {best.subject}, as {best.agent_name}, which you hired.",
    }
    subject = None if kind is ReasonKind.AGENT else best.subject
    return worth_milli * best.weight // most, Reason(kind, texts[kind], subject, best.agent_id)


def _price(taste: Taste, listing: Listing) -> tuple[int, Reason] | None:
    if taste.prices is None or not taste.prices[0] <= listing.pricing.hourly <= taste.prices[1]:
        return None
    return PRICE_MILLI, Reason(ReasonKind.PRICE, "It costs what you paid before.", prices=taste.prices)


def _likings(told: Iterable[tuple[str, Use]]) -> dict[str, Liking]:
    """What is liked, by folded name: more for than against, with the agent that spoke most for it."""
    weights: Counter[str] = Counter()
    best: dict[str, tuple[int, str, Use]] = {}
    for subject, use in told:
        folded, weight = fold(subject), LIKING[use.rating]
        weights[folded] += weight
        if folded not in best or weight > best[folded][0]:
            best[folded] = (weight, subject, use)
    return {
        folded: Liking(best[folded][1], weight, best[folded][2].listing.agent_id, best[folded][2].listing.agent_name)
        for folded, weight in weights.items()
        if weight > 0
    }
