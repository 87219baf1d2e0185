"""Offering agents, browsing what is offered, judging it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import strawberry
from strawberry.types.nodes import FragmentSpread, InlineFragment, SelectedField, Selection

from domain import filters
from domain import listings as rules
from domain.agents import AgentType, Rank
from domain.filters import ListingSort, require_filter
from domain.listings import ListingStatus
from domain.money import Dof
from domain.users import Viewer
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Context, Info
from graph.errors import Conflict, NotFound, NotPublishable
from graph.types.listings import Listing
from graph.types.reviews import read_reviews
from resolvers import nodes

FEATURED_DEFAULT = 10


@strawberry.input(description="What listings must be. Prices are for one hour; of the tags any one suffices.")
class ListingFilter:
    game: str | None = None
    category: str | None = None
    tags: list[str] | None = None
    rank: list[Rank] | None = None
    type: AgentType | None = None
    language: str | None = None
    has_voice_chat: bool | None = None
    has_memory: bool | None = None
    min_price: Dof | None = None
    max_price: Dof | None = None
    min_rating: float | None = None
    owner_id: strawberry.ID | None = None


@strawberry.input
class PricingInput:
    hourly: Dof
    daily: Dof
    weekly: Dof


@strawberry.input
class PublishAgentInput:
    agent_id: strawberry.ID
    title: str
    description: str
    pricing: PricingInput
    tags: list[str] | None = None
    categories: list[str] | None = None


@strawberry.input
class UnpublishAgentInput:
    agent_id: strawberry.ID


@strawberry.input(description="Fields that are absent stay.")
class UpdateListingInput:
    listing_id: strawberry.ID
    title: str | None = None
    description: str | None = None
    tags: list[str] | None = None
    categories: list[str] | None = None
    pricing: PricingInput | None = None


@strawberry.input
class PauseListingInput:
    listing_id: strawberry.ID


@strawberry.input
class ResumeListingInput:
    listing_id: strawberry.ID


@strawberry.input(
    description="ACTIVE lifts what SUSPENDED or UNDER_REVIEW holds back: then it is what its owner had made it."
)
class ModerateListingInput:
    listing_id: strawberry.ID
    status: ListingStatus
    reason: str


@strawberry.input
class FeatureListingInput:
    listing_id: strawberry.ID
    featured: bool


@strawberry.type
class PublishAgentPayload:
    listing: Listing


@strawberry.type
class UnpublishAgentPayload:
    listing: Listing


@strawberry.type
class UpdateListingPayload:
    listing: Listing


@strawberry.type
class PauseListingPayload:
    listing: Listing


@strawberry.type
class ResumeListingPayload:
    listing: Listing


@strawberry.type
class ModerateListingPayload:
    listing: Listing


@strawberry.type
class FeatureListingPayload:
    listing: Listing


PublishAgentResult = Annotated[PublishAgentPayload | NotFound | NotPublishable, strawberry.union("PublishAgentResult")]
UnpublishAgentResult = Annotated[UnpublishAgentPayload | NotFound | Conflict, strawberry.union("UnpublishAgentResult")]
UpdateListingResult = Annotated[UpdateListingPayload | NotFound | Conflict, strawberry.union("UpdateListingResult")]
PauseListingResult = Annotated[PauseListingPayload | NotFound | Conflict, strawberry.union("PauseListingResult")]
ResumeListingResult = Annotated[ResumeListingPayload | NotFound | Conflict, strawberry.union("ResumeListingResult")]
ModerateListingResult = Annotated[
    ModerateListingPayload | NotFound | Conflict, strawberry.union("ModerateListingResult")
]
FeatureListingResult = Annotated[FeatureListingPayload | NotFound | Conflict, strawberry.union("FeatureListingResult")]


async def listing(info: Info, id: strawberry.ID) -> Listing | None:
    """A listing; null unless it is on offer, or the viewer's own.

    With its first reviews it costs one round: both readings begin at once.
    """
    context = info.context
    _begin_reviews(context, id, info.selected_fields)
    found = await nodes.listing(context, id)
    if found is None:
        for begun in context.prefetched.values():
            begun.cancel()
        context.prefetched.clear()
    return found


async def listings(
    info: Info,
    filter: ListingFilter | None = None,
    sort: ListingSort | None = None,
    first: int | None = None,
    after: str | None = None,
) -> Connection[Listing]:
    """Listings on offer, by filter and order. A page may be short, or empty, while more follow: go on with its end."""
    context = info.context
    order = sort or ListingSort.RELEVANCE
    wanted = read_filter(filter or ListingFilter())
    scope = scope_of("listings", context.user_id, wanted, order)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.listings.browse(wanted, order, page_size(first), position)
    return connect(page, Listing.of, context.desk.cursors, scope, after)


async def featured_listings(info: Info, first: int | None = None) -> list[Listing]:
    """Listings on offer that moderators have chosen, the most hired first; 10 where `first` is absent."""
    found = await info.context.store.listings.featured(page_size(FEATURED_DEFAULT if first is None else first))
    return [Listing.of(record) for record in found]


async def publish_agent(info: Info, input: PublishAgentInput) -> PublishAgentResult:
    """Put the viewer's agent on the market at prices in whole DOF, or put it there again. NOT_PUBLISHABLE says what is
    missing; where a moderator holds it back, use appealListing.
    """
    context = info.context
    wish = rules.PublishWish(
        title=input.title,
        description=input.description,
        hourly=input.pricing.hourly.units,
        daily=input.pricing.daily.units,
        weekly=input.pricing.weekly.units,
        tags=tuple(input.tags or ()),
        categories=tuple(input.categories or ()),
    )
    record = await context.store.listings.publish(context.signed_in, input.agent_id, wish, context.now)
    return PublishAgentPayload(listing=Listing.of(record))


async def unpublish_agent(info: Info, input: UnpublishAgentInput) -> UnpublishAgentResult:
    """Take the viewer's agent off the market; running sessions go on. Said again, nothing changes."""
    context = info.context
    record = await context.store.listings.unpublish(context.signed_in, input.agent_id, context.now)
    return UnpublishAgentPayload(listing=Listing.of(record))


async def update_listing(info: Info, input: UpdateListingInput) -> UpdateListingResult:
    """Change what is given of the viewer's listing. A new price makes a new `pricing.version`; sessions that run keep
    theirs.
    """
    context, prices = info.context, input.pricing
    wish = rules.ListingChange(
        title=input.title,
        description=input.description,
        hourly=prices.hourly.units if prices else None,
        daily=prices.daily.units if prices else None,
        weekly=prices.weekly.units if prices else None,
        tags=None if input.tags is None else tuple(input.tags),
        categories=None if input.categories is None else tuple(input.categories),
    )
    record = await context.store.listings.update(context.signed_in, input.listing_id, wish, context.now)
    return UpdateListingPayload(listing=Listing.of(record))


async def pause_listing(info: Info, input: PauseListingInput) -> PauseListingResult:
    """Take no new hires for a while; running sessions go on. CONFLICT unless the listing is on offer."""
    context = info.context
    record = await context.store.listings.pause(context.signed_in, input.listing_id, context.now)
    return PauseListingPayload(listing=Listing.of(record))


async def resume_listing(info: Info, input: ResumeListingInput) -> ResumeListingResult:
    """Take hires again. CONFLICT unless the listing is on offer: one that a moderator holds back comes back by
    appealListing.
    """
    context = info.context
    record = await context.store.listings.resume(context.signed_in, input.listing_id, context.now)
    return ResumeListingPayload(listing=Listing.of(record))


async def moderate_listing(info: Info, input: ModerateListingInput) -> ModerateListingResult:
    """Hold a listing back, or lift that; its owner is told the reason."""
    context = info.context
    judge = Viewer(context.signed_in, await context.role())
    record = await context.store.listings.moderate(judge, input.listing_id, input.status, input.reason, context.now)
    return ModerateListingPayload(listing=Listing.of(record))


async def feature_listing(info: Info, input: FeatureListingInput) -> FeatureListingResult:
    """Show a listing among the featured, or no more."""
    context = info.context
    judge = Viewer(context.signed_in, await context.role())
    record = await context.store.listings.feature(judge, input.listing_id, input.featured, context.now)
    return FeatureListingPayload(listing=Listing.of(record))


def read_filter(asked: ListingFilter) -> filters.ListingFilter:
    """The filter of what is asked. Raises BadInput naming the field."""
    return require_filter(
        game=asked.game,
        category=asked.category,
        tags=tuple(asked.tags or ()),
        ranks=tuple(asked.rank or ()),
        type=asked.type,
        language=asked.language,
        has_voice_chat=asked.has_voice_chat,
        has_memory=asked.has_memory,
        min_price=asked.min_price,
        max_price=asked.max_price,
        min_rating=asked.min_rating,
        owner_id=asked.owner_id,
    )


def _begin_reviews(context: Context, listing_id: str, selected: list[Selection]) -> None:
    """Start reading the pages of reviews that the operation selects under this listing."""
    for field in _fields(selected, "reviews"):
        first, after = field.arguments.get("first"), field.arguments.get("after")
        first = None if first is None else int(first)  # Strawberry gives a number in the query's text as a text
        asked = ("reviews", listing_id, first, after)
        if asked not in context.prefetched:
            begun = asyncio.ensure_future(read_reviews(context, listing_id, first, after))
            begun.add_done_callback(_heard)
            context.prefetched[asked] = begun


def _heard(begun: asyncio.Future[Any]) -> None:
    """A reading that nobody awaits, as for a listing that is not there, fails in silence."""
    if not begun.cancelled():
        begun.exception()


def _fields(selected: list[Selection], name: str) -> list[SelectedField]:
    """The selections of a field right below a root field, through fragments."""
    found: list[SelectedField] = []
    for selection in selected:
        for child in selection.selections:
            if isinstance(child, SelectedField) and child.name == name:
                found.append(child)
            elif isinstance(child, FragmentSpread | InlineFragment):
                found += [each for each in child.selections if isinstance(each, SelectedField) and each.name == name]
    return found
