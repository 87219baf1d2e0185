"""Reviews, each of one session."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import strawberry

from domain import reviews
from domain.reviews import ReviewAction
from firestore.collections import LISTINGS, SESSIONS, USERS, VOTES
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Context, Info
from graph.enums import enum
from graph.types.nodes import Node

if TYPE_CHECKING:
    from graph.types.listings import Listing
    from graph.types.sessions import Session
    from graph.types.users import User


T = TypeVar("T")

enum(
    ReviewAction,
    "What a moderator does to a review's title and comment; its rating counts on.",
    HIDE="They are for its author and moderators alone.",
    RESTORE="Everybody who sees the listing reads them again.",
)


@strawberry.type(description="What a hirer says of an ended session: 1 to 5 stars, and words.")
class Review(Node):
    record: strawberry.Private[reviews.Review]
    rating: int
    hidden: bool = strawberry.field(description="Whether a moderator has hidden its words; the rating counts on.")
    helpful: int
    not_helpful: int
    verified: bool
    hours_used: float
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, record: reviews.Review) -> Review:
        return cls(
            id=strawberry.ID(record.id),
            record=record,
            rating=record.rating,
            hidden=record.hidden,
            helpful=record.helpful,
            not_helpful=record.not_helpful,
            verified=record.minutes_used > 0,
            hours_used=record.hours_used,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )

    # Words that are not hidden are there at once: awaited one by one, those of a thousand reviews take 50 ms more.

    @strawberry.field(graphql_type=str | None, description="Null where it has none, and for others where it is hidden.")
    def title(self, info: Info) -> str | Awaitable[str | None] | None:
        return self._unhidden(info, self.record.title, None) if self.record.hidden else self.record.title

    @strawberry.field(graphql_type=str, description="Empty for others where it is hidden.")
    def comment(self, info: Info) -> str | Awaitable[str]:
        return self._unhidden(info, self.record.comment, "") if self.record.hidden else self.record.comment

    async def _unhidden(self, info: Info, words: T, instead: T) -> T:
        return words if await info.context.sees(self.record, reviews.shows_words) else instead

    @strawberry.field
    async def listing(self, info: Info) -> Annotated[Listing, strawberry.lazy("graph.types.listings")]:
        from graph.types.listings import Listing

        return Listing.of(await info.context.loaders.known(LISTINGS, self.record.listing_id))

    @strawberry.field(description="The reviewed session: for its hirer and its owner, null for others.")
    async def session(self, info: Info) -> Annotated[Session, strawberry.lazy("graph.types.sessions")] | None:
        from graph.types.sessions import Session

        if info.context.user_id not in (self.record.reviewer_id, self.record.owner_id):
            return None
        return Session.of(await info.context.loaders.known(SESSIONS, self.record.session_id), info.context)

    @strawberry.field(description="Whether the viewer has found it helpful; null without a vote.")
    async def viewer_vote(self, info: Info) -> bool | None:
        user_id = info.context.user_id
        if user_id is None:
            return None
        vote = await info.context.loaders.one(VOTES, reviews.vote_id(self.record.id, user_id))
        return None if vote is None else vote.helpful

    @strawberry.field
    async def reviewer(self, info: Info) -> Annotated[User, strawberry.lazy("graph.types.users")]:
        from graph.types.users import User

        return User.of(await info.context.loaders.known(USERS, self.record.reviewer_id))


async def reviews_of(context: Context, listing_id: str, first: int | None, after: str | None) -> Connection[Review]:
    """A page of a listing's reviews. One RPC, and none where the roof has begun it with the listing's own reading."""
    asked = ("reviews", listing_id, first, after)
    begun = context.prefetched.get(asked)
    if begun is not None:
        connection: Connection[Review] = await begun
        return connection
    return await read_reviews(context, listing_id, first, after)


async def read_reviews(context: Context, listing_id: str, first: int | None, after: str | None) -> Connection[Review]:
    scope = scope_of("Listing.reviews", None, listing_id)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.reviews.page_of_listing(listing_id, page_size(first), position)
    return connect(page, Review.of, context.desk.cursors, scope, after)
