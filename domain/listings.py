"""A listing: an agent on offer. One per agent, for ever; what a search filters by is copied onto it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain import pricing, texts
from domain.agents import DELETED_NAME, Agent, AgentType, Catalogue, Rank, check_agent
from domain.errors import Conflict, NotFound, NotPublishable
from domain.ids import Kind, derived_id
from domain.pricing import Pricing
from domain.texts import fold
from domain.users import User, Viewer

TITLE_CHARACTERS_MAX = 120  # two lines in a list, as it is shown among others
DESCRIPTION_CHARACTERS_MAX = 5_000  # two pages: 100 listings are 2 MB at most, in any script
TAGS_MAX, CATEGORIES_MAX = 10, 5  # with the games, all are labels of one index: 25 rows for a listing
WORD_CHARACTERS_MAX = 40  # of a tag or category: a few words, and no sentence


class ListingStatus(StrEnum):
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    UNDER_REVIEW = "UNDER_REVIEW"
    SUSPENDED = "SUSPENDED"
    UNPUBLISHED = "UNPUBLISHED"


TOP_REVIEWS_MAX = 3  # that a listing shows with itself

PUBLIC = frozenset({ListingStatus.ACTIVE, ListingStatus.PAUSED})
MODERATED = frozenset({ListingStatus.UNDER_REVIEW, ListingStatus.SUSPENDED})


@dataclass(frozen=True, slots=True)
class TopReview:
    """One of a listing's most helpful reviews, as far as their order needs it."""

    id: str
    helpful: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Listing:
    """`labels` are the folded games, categories and tags for a search; `rating_milli` is the mean rating in
    thousandths, rounded down, for the order. Both follow from other fields. `version` counts what people changed.
    `shelved` is the status that the listing has again once its owner, who is suspended, is reinstated; `held_from` the
    one that it has again once a moderator, who holds it back, lifts that, and None where nobody does. A moderator
    decided on it last at `judged_at`.
    """

    id: str
    agent_id: str
    owner_id: str
    creator_id: str
    title: str
    description: str
    tags: tuple[str, ...]
    categories: tuple[str, ...]
    pricing: Pricing
    status: ListingStatus
    agent_name: str
    games: tuple[str, ...]
    rank: Rank
    type: AgentType
    language: str
    has_voice_chat: bool
    has_memory: bool
    labels: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    status_reason: str | None = None
    shelved: ListingStatus | None = None
    held_from: ListingStatus | None = None
    judged_at: datetime | None = None
    featured: bool = False
    total_hires: int = 0
    active_hires: int = 0
    ended_hires: int = 0
    successful_hires: int = 0
    rating_sum: int = 0
    rating_count: int = 0
    rating_milli: int = 0
    top_reviews: tuple[TopReview, ...] = ()
    version: int = 1

    @property
    def rating(self) -> float | None:
        """The mean of the ratings; None without one."""
        return self.rating_sum / self.rating_count if self.rating_count else None

    @property
    def success_rate(self) -> float | None:
        """The part of the ended hires that succeeded; None without one."""
        return self.successful_hires / self.ended_hires if self.ended_hires else None


@dataclass(frozen=True, slots=True)
class Seller:
    """The figures of a user as a seller, apart from the user, so that a sale and a profile never conflict."""

    id: str
    total_hires: int = 0
    rating_sum: int = 0
    rating_count: int = 0

    @property
    def average_rating(self) -> float | None:
        return self.rating_sum / self.rating_count if self.rating_count else None


@dataclass(frozen=True, slots=True)
class Tally:
    """Which steps of a session its listing has counted: each once, however often told. The id is the session's."""

    id: str
    hired: bool = False
    ended: bool = False


def listing_id(agent_id: str) -> str:
    """The id of an agent's one listing: published again, it is the same."""
    return derived_id(Kind.LISTING, agent_id)


# ---- who sees it


def visible_to(listing: Listing, viewer: Viewer | None) -> bool:
    """Public while ACTIVE or PAUSED, else its owner's and the moderators' (ruling 10)."""
    if listing.status in PUBLIC:
        return True
    return viewer is not None and (viewer.id == listing.owner_id or viewer.is_moderator)


def require_owned(listing: Listing | None, viewer_id: str) -> Listing:
    """The listing, if it is the viewer's. Raises NotFound, which does not tell missing from another's."""
    if listing is None or listing.owner_id != viewer_id:
        raise NotFound("listing")
    return listing


# ---- what its owner does


@dataclass(frozen=True, slots=True)
class PublishWish:
    """What to offer, at which prices in whole DOF."""

    title: str
    description: str
    hourly: int
    daily: int
    weekly: int
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListingChange:
    """What to change of a listing; None leaves a field as it is."""

    title: str | None = None
    description: str | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    tags: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None


def publish(
    before: Listing | None, agent: Agent, owner: User | None, wish: PublishWish, *, catalogue: Catalogue, now: datetime
) -> Listing:
    """The agent's listing, ACTIVE. Published before, it keeps its figures. Raises NotPublishable, BadInput."""
    if owner is None or owner.suspended_at is not None:
        raise NotPublishable("This account is suspended and publishes nothing: contact support.")
    if before is not None and before.status in MODERATED:
        raise NotPublishable("A moderator holds this listing back: use appealListing.")
    problems = check_agent(agent, catalogue)
    if problems:
        named = ", ".join(problem.field for problem in problems)
        raise NotPublishable(f"The agent's configuration is not valid ({named}): mend it with updateAgent first.")
    fresh = Listing(
        id=listing_id(agent.id),
        agent_id=agent.id,
        owner_id=agent.owner_id,
        creator_id=agent.creator_id,
        title=_title(wish.title),
        description=_description(wish.description),
        tags=_tags(wish.tags),
        categories=_categories(wish.categories),
        pricing=_priced(before.pricing if before else None, wish.hourly, wish.daily, wish.weekly),
        status=ListingStatus.ACTIVE,
        agent_name=agent.name,
        games=(),
        rank=agent.rank,
        type=agent.type,
        language=agent.language,
        has_voice_chat=agent.has_voice_chat,
        has_memory=agent.has_memory,
        labels=(),
        created_at=now,
        updated_at=now,
    )
    if before is None:
        return _describing(fresh, agent)
    again = replace(
        before,
        title=fresh.title,
        description=fresh.description,
        tags=fresh.tags,
        categories=fresh.categories,
        pricing=fresh.pricing,
        status=ListingStatus.ACTIVE,
        status_reason=None,
    )
    return revised(before, _describing(again, agent), now)


def change(listing: Listing, wish: ListingChange, now: datetime) -> Listing:
    """Change what the wish names; new prices raise their version, for hires that saw the old ones. Raises BadInput."""
    prices = listing.pricing
    after = replace(
        listing,
        title=listing.title if wish.title is None else _title(wish.title),
        description=listing.description if wish.description is None else _description(wish.description),
        tags=listing.tags if wish.tags is None else _tags(wish.tags),
        categories=listing.categories if wish.categories is None else _categories(wish.categories),
        pricing=_priced(
            prices,
            prices.hourly.units if wish.hourly is None else wish.hourly,
            prices.daily.units if wish.daily is None else wish.daily,
            prices.weekly.units if wish.weekly is None else wish.weekly,
        ),
    )
    return revised(listing, _labelled(after), now)


def follow(listing: Listing, agent: Agent, now: datetime) -> Listing:
    """The listing with the agent's facts as they are now; the same one where nothing differs."""
    return revised(listing, _describing(listing, agent), now)


def _describing(listing: Listing, agent: Agent) -> Listing:
    return _labelled(
        replace(
            listing,
            owner_id=agent.owner_id,
            agent_name=agent.name,
            games=agent.games,
            rank=agent.rank,
            type=agent.type,
            language=agent.language,
            has_voice_chat=agent.has_voice_chat,
            has_memory=agent.has_memory,
        )
    )


def pause(listing: Listing, now: datetime) -> Listing:
    """Take no new hires for a while. Raises Conflict unless it is on offer."""
    if listing.status not in PUBLIC:
        raise Conflict(
            f"The listing is {listing.status}, and only one on offer can be paused: use {way_back(listing)}."
        )
    return revised(listing, replace(listing, status=ListingStatus.PAUSED), now)


def resume(listing: Listing, now: datetime) -> Listing:
    """Take hires again. Raises Conflict unless it is on offer: what a moderator holds back, its owner cannot resume."""
    if listing.status not in PUBLIC:
        raise Conflict(
            f"The listing is {listing.status}, and only a paused one can be resumed: use {way_back(listing)}."
        )
    return revised(listing, replace(listing, status=ListingStatus.ACTIVE), now)


def way_back(listing: Listing) -> str:
    """The mutation by which its owner brings it back on offer, or asks a moderator to."""
    return "appealListing" if listing.status in MODERATED else "publishAgent"


def unpublish(listing: Listing, now: datetime) -> Listing:
    """Take it off the market. Raises Conflict while a moderator holds it back: it is hidden, and stays judged."""
    if listing.status in MODERATED:
        raise Conflict(f"The listing is {listing.status} by a moderator, and hidden already.")
    return revised(listing, replace(listing, status=ListingStatus.UNPUBLISHED), now)


def forget(listing: Listing) -> Listing:
    """The listing without its owner's words, where the account was erased; its figures and prices stay."""
    bare = replace(listing, title=DELETED_NAME, description="", tags=(), categories=(), agent_name=DELETED_NAME)
    return _labelled(bare)


# ---- its figures


def rate(listing: Listing, before: int | None, rating: int) -> Listing:
    """Count a rating, or replace the one that the same review gave `before`."""
    total = listing.rating_sum + rating - (before or 0)
    count = listing.rating_count + (before is None)
    return replace(listing, rating_sum=total, rating_count=count, rating_milli=total * 1000 // count)


def top_reviews(known: Iterable[TopReview], counted: TopReview) -> tuple[TopReview, ...]:
    """The three most helpful, of equals the newest, once one review has been counted anew."""
    others = [each for each in known if each.id != counted.id]
    ranked = sorted((*others, counted), key=lambda each: (each.helpful, each.created_at, each.id), reverse=True)
    return tuple(ranked[:TOP_REVIEWS_MAX])


def rate_seller(seller: Seller, before: int | None, rating: int) -> Seller:
    """As `rate`, for the seller of the reviewed session."""
    return replace(
        seller,
        rating_sum=seller.rating_sum + rating - (before or 0),
        rating_count=seller.rating_count + (before is None),
    )


def count_hire(listing: Listing, seller: Seller, tally: Tally) -> tuple[Listing, Seller, Tally]:
    """Count that the tally's session was hired: once, whatever is told again."""
    if tally.hired:
        return listing, seller, tally
    counted = replace(listing, total_hires=listing.total_hires + 1, active_hires=listing.active_hires + 1)
    return counted, replace(seller, total_hires=seller.total_hires + 1), replace(tally, hired=True)


def count_end(listing: Listing, seller: Seller, tally: Tally, *, successful: bool) -> tuple[Listing, Seller, Tally]:
    """Count that the tally's session ended, and before that, if nobody told, that it was hired: each once."""
    listing, seller, tally = count_hire(listing, seller, tally)
    if tally.ended:
        return listing, seller, tally
    counted = replace(
        listing,
        active_hires=listing.active_hires - 1,
        ended_hires=listing.ended_hires + 1,
        successful_hires=listing.successful_hires + successful,
    )
    return counted, seller, replace(tally, ended=True)


def revised(before: Listing, after: Listing, now: datetime) -> Listing:
    """The listing after a change that people see; the same one where nothing differs."""
    return before if after == before else replace(after, version=before.version + 1, updated_at=now)


def _labelled(listing: Listing) -> Listing:
    labels = (
        *(game_label(game) for game in listing.games),
        *(category_label(category) for category in listing.categories),
        *(tag_label(tag) for tag in listing.tags),
    )
    return replace(listing, labels=tuple(dict.fromkeys(labels)))


def game_label(game: str) -> str:
    return f"game:{fold(game)}"


def category_label(category: str) -> str:
    return f"category:{fold(category)}"


def tag_label(tag: str) -> str:
    return f"tag:{fold(tag)}"


def _priced(before: Pricing | None, hourly: int, daily: int, weekly: int) -> Pricing:
    """The prices; the version rises when one differs from before, and never falls."""
    prices = pricing.require_pricing(hourly, daily, weekly, before.version if before else 1)
    return prices if before is None or prices == before else replace(prices, version=before.version + 1)


def _title(raw: str) -> str:
    return texts.line(raw, "input.title", TITLE_CHARACTERS_MAX)


def _description(raw: str) -> str:
    return texts.prose(raw, "input.description", DESCRIPTION_CHARACTERS_MAX)


def _tags(raw: tuple[str, ...]) -> tuple[str, ...]:
    return texts.words(raw, "input.tags", TAGS_MAX, WORD_CHARACTERS_MAX)


def _categories(raw: tuple[str, ...]) -> tuple[str, ...]:
    return texts.words(raw, "input.categories", CATEGORIES_MAX, WORD_CHARACTERS_MAX)
