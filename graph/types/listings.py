"""Listings: agents on offer, their prices and figures."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import appeals, listings, pricing
from domain.filters import ListingSort
from domain.listings import ListingStatus
from domain.money import Dof
from domain.pricing import HireUnit
from domain.users import Role
from firestore.collections import APPEALS, REVIEWS, USERS
from graph.connection import Connection
from graph.context import Info
from graph.enums import enum
from graph.sizes import at_most
from graph.types.agents import Agent, agent_of
from graph.types.appeals import Appeal
from graph.types.nodes import Node
from graph.types.reviews import Review, reviews_of

if TYPE_CHECKING:
    from graph.types.users import User

enum(
    ListingStatus,
    "Where a listing stands. The public sees those that are ACTIVE or PAUSED.",
    ACTIVE="It takes hires.",
    PAUSED="It takes no new hires; resumeListing ends that.",
    UNDER_REVIEW="A moderator looks at it; its owner may appeal.",
    SUSPENDED="A moderator took it off the market; its owner may appeal.",
    UNPUBLISHED="Its owner took it off the market; publishAgent ends that.",
)
enum(
    ListingSort,
    "The order of a list of listings.",
    RELEVANCE="The best first, by words, rating and hires.",
    RATING="The best rated first.",
    PRICE_LOW="The lowest hourly price first.",
    PRICE_HIGH="The highest hourly price first.",
    POPULAR="The most hired first.",
)
enum(HireUnit, "What a hire is priced by.", DAY="24 hours.", WEEK="7 days.")


@strawberry.type(description="Prices in DOF; a hire names the version that it saw.")
class Pricing:
    hourly: Dof
    daily: Dof
    weekly: Dof
    version: int

    @classmethod
    def of(cls, record: pricing.Pricing) -> Pricing:
        return cls(hourly=record.hourly, daily=record.daily, weekly=record.weekly, version=record.version)


@strawberry.type
class ListingStats:
    total_hires: int
    active_hires: int
    rating: float | None
    rating_count: int
    success_rate: float | None


@strawberry.type(description="An agent on offer, with its prices in whole DOF.")
class Listing(Node):
    record: strawberry.Private[listings.Listing]
    title: str
    description: str
    tags: list[str] = strawberry.field(metadata=at_most(listings.TAGS_MAX))
    categories: list[str] = strawberry.field(metadata=at_most(listings.CATEGORIES_MAX))
    pricing: Pricing
    stats: ListingStats
    status: ListingStatus
    featured: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, record: listings.Listing) -> Listing:
        return cls(
            id=strawberry.ID(record.id),
            record=record,
            title=record.title,
            description=record.description,
            tags=list(record.tags),
            categories=list(record.categories),
            pricing=Pricing.of(record.pricing),
            stats=ListingStats(
                total_hires=record.total_hires,
                active_hires=record.active_hires,
                rating=record.rating,
                rating_count=record.rating_count,
                success_rate=record.success_rate,
            ),
            status=record.status,
            featured=record.featured,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )

    @strawberry.field
    async def agent(self, info: Info) -> Agent:
        return await agent_of(info, self.record.agent_id)

    @strawberry.field
    async def owner(self, info: Info) -> Annotated[User, strawberry.lazy("graph.types.users")]:
        from graph.types.users import User

        return User.of(await info.context.loaders.known(USERS, self.record.owner_id))

    @strawberry.field(description="Why a moderator holds it back, or let it back: for its owner and moderators.")
    async def status_reason(self, info: Info) -> str | None:
        return self.record.status_reason if await self._is_told(info) else None

    @strawberry.field(description="The appeal against the last decision: for its owner and moderators.")
    async def appeal(self, info: Info) -> Appeal | None:
        if self.record.judged_at is None or not await self._is_told(info):
            return None
        record = await info.context.loaders.one(APPEALS, appeals.appeal_id(self.record))
        return None if record is None else Appeal.of(record)

    async def _is_told(self, info: Info) -> bool:
        viewer_id = info.context.user_id
        if viewer_id is None or viewer_id == self.record.owner_id:
            return viewer_id is not None
        return await info.context.role() is not Role.USER

    @strawberry.field(
        metadata=at_most(listings.TOP_REVIEWS_MAX),
        description="The most helpful that are not hidden, of equals the newest: three at most.",
    )
    async def featured_reviews(self, info: Info) -> list[Review]:
        loaders = info.context.loaders
        found = await asyncio.gather(*(loaders.one(REVIEWS, each.id) for each in self.record.top_reviews))
        return [Review.of(record) for record in found if record is not None and not record.hidden]

    @strawberry.field(description="Newest first.")
    async def reviews(self, info: Info, first: int | None = None, after: str | None = None) -> Connection[Review]:
        return await reviews_of(info.context, self.record.id, first, after)
