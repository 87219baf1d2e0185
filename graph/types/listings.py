"""Listings: agents on offer, their prices and figures."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import listings, pricing
from domain.filters import ListingSort
from domain.listings import ListingStatus
from domain.money import Dof
from domain.pricing import HireUnit
from firestore.collections import USERS
from graph.connection import Connection
from graph.context import Info
from graph.types.agents import Agent, agent_of
from graph.types.nodes import Node
from graph.types.reviews import Review, reviews_of

if TYPE_CHECKING:
    from graph.types.users import User

for _words in (ListingStatus, ListingSort, HireUnit):
    strawberry.enum(_words)


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


@strawberry.type
class Listing(Node):
    record: strawberry.Private[listings.Listing]
    title: str
    description: str
    tags: list[str]
    categories: list[str]
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

    @strawberry.field(description="Newest first.")
    async def reviews(self, info: Info, first: int | None = None, after: str | None = None) -> Connection[Review]:
        return await reviews_of(info.context, self.record.id, first, after)
