"""Appealing against a moderator's decision, and deciding appeals."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain.appeals import AppealState
from domain.errors import BadInput
from domain.listings import ListingStatus
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info
from graph.errors import Conflict, NotFound
from graph.types.appeals import Appeal
from graph.types.listings import Listing


@strawberry.input
class AppealListingInput:
    listing_id: strawberry.ID
    text: str


@strawberry.input(description="GRANTED lifts what the appeal is against; UPHELD lets it stand.")
class DecideAppealInput:
    appeal_id: strawberry.ID
    state: AppealState
    reason: str


@strawberry.type
class AppealListingPayload:
    appeal: Appeal


@strawberry.type
class DecideAppealPayload:
    appeal: Appeal


AppealListingResult = Annotated[AppealListingPayload | NotFound | Conflict, strawberry.union("AppealListingResult")]
DecideAppealResult = Annotated[DecideAppealPayload | NotFound | Conflict, strawberry.union("DecideAppealResult")]


async def appeals(
    info: Info, state: AppealState | None = None, first: int | None = None, after: str | None = None
) -> Connection[Appeal]:
    """Appeals against moderators' decisions, oldest first."""
    context = info.context
    scope = scope_of("appeals", context.user_id, state)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.appeals.page(state, page_size(first), position)
    return connect(page, Appeal.of, context.desk.cursors, scope, after)


async def moderated_listings(
    info: Info, status: ListingStatus | None = None, first: int | None = None, after: str | None = None
) -> Connection[Listing]:
    """Listings of any one status, newest first; without one, those that are held back."""
    context = info.context
    scope = scope_of("moderatedListings", context.user_id, status)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.listings.by_status(status, page_size(first), position)
    return connect(page, Listing.of, context.desk.cursors, scope, after)


async def appeal_listing(info: Info, input: AppealListingInput) -> AppealListingResult:
    """Appeal against a moderator's decision on the viewer's listing, once for each decision."""
    context = info.context
    record = await context.store.appeals.open(context.signed_in, input.listing_id, input.text, context.now)
    return AppealListingPayload(appeal=Appeal.of(record))


async def decide_appeal(info: Info, input: DecideAppealInput) -> DecideAppealResult:
    """Uphold the decision, or grant the appeal and lift it; nobody decides their own."""
    context = info.context
    if input.state is AppealState.OPEN:
        raise BadInput("An appeal is decided with UPHELD or GRANTED.", field="input.state")
    granted = input.state is AppealState.GRANTED
    record = await context.store.appeals.decide(context.signed_in, input.appeal_id, granted, input.reason, context.now)
    return DecideAppealPayload(appeal=Appeal.of(record))
