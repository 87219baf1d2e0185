"""Sessions: what runs, what it has consumed at this moment, how it ended."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import listings, pricing, sessions
from domain.money import Dof
from domain.sessions import EndReason, SessionStatus, SessionType
from firestore.collections import LISTINGS, REVIEWS, USERS
from graph.context import Context, Info
from graph.enums import enum
from graph.types.agents import Agent, agent_of
from graph.types.nodes import Node
from graph.types.reviews import Review

if TYPE_CHECKING:
    from graph.types.listings import Listing
    from graph.types.users import User

enum(
    SessionType,
    "On what terms a session runs.",
    OWNED="With one's own agent: only metered usage is billed.",
    HIRED="With an agent on offer, at its price for the time.",
    TRIAL="With an agent on offer, short, free and once.",
)
enum(SessionStatus, "Whether a session runs. It is over at its end, even before it is settled.")
enum(
    EndReason,
    "Why a session is over.",
    COMPLETED="Its time had run out.",
    EXHAUSTED="Its hold was used up before its time.",
    MODERATED="A moderator ended it.",
)


@strawberry.type
class SessionConfiguration:
    high_speed_vision: bool
    voice_enabled: bool
    commentator: bool

    @classmethod
    def of(cls, record: pricing.SessionConfiguration) -> SessionConfiguration:
        return cls(
            high_speed_vision=record.high_speed_vision,
            voice_enabled=record.voice_enabled,
            commentator=record.commentator,
        )


@strawberry.type
class SessionMetrics:
    minutes: int
    interactions: int
    average_latency_ms: int | None
    crashes: int


@strawberry.type(description="One use of an agent. Its meter is computed at the moment of the answer.")
class Session(Node):
    record: strawberry.Private[sessions.Session]
    type: SessionType
    status: SessionStatus
    end_reason: EndReason | None
    configuration: SessionConfiguration
    started_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    dof_held: Dof
    dof_consumed: Dof
    dof_remaining: Dof
    dof_earned: Dof | None = strawberry.field(
        description="What it brings its owner, who alone sees it: with the creator's share where the owner is both."
    )
    metrics: SessionMetrics
    share_key: strawberry.Private[Hashable] = None

    @classmethod
    def told(cls, record: sessions.Session, context: Context) -> Session:
        """As `of`, for those who are told of a change or a minute of it: its meter follows from its version and from
        the minute that it counts, and what hangs on it is of this minute."""
        shown = cls.of(record, context)
        metered = (record.id, record.version, shown.status, shown.metrics.minutes)
        shown.share_key = (*metered, context.rights, context.minute)
        return shown

    @classmethod
    def of(cls, record: sessions.Session, context: Context) -> Session:
        now = context.now
        metrics = SessionMetrics(
            minutes=record.minutes(now),
            interactions=record.interactions,
            average_latency_ms=sessions.average_latency_ms(record),
            crashes=record.crashes,
        )
        earned = None
        if context.user_id == record.owner_id and record.type is SessionType.HIRED:
            earned = sessions.earnings_of(record, record.owner_id, now)
        return cls(
            id=strawberry.ID(record.id),
            record=record,
            type=record.type,
            status=record.status(now),
            end_reason=record.end_reason(now),
            configuration=SessionConfiguration.of(record.configuration),
            started_at=record.started_at,
            expires_at=record.expires_at,
            ended_at=record.ended_at(now),
            dof_held=record.held,
            dof_consumed=record.consumed(now),
            dof_remaining=record.remaining(now),
            dof_earned=earned,
            metrics=metrics,
        )

    @strawberry.field
    async def agent(self, info: Info) -> Agent:
        return await agent_of(info, self.record.agent_id)

    @strawberry.field(
        description="Null where there is none, and where it is not on offer: what its owner drafts is hidden."
    )
    async def listing(self, info: Info) -> Annotated[Listing, strawberry.lazy("graph.types.listings")] | None:
        from graph.types.listings import Listing

        if self.record.listing_id is None:
            return None
        record = await info.context.loaders.known(LISTINGS, self.record.listing_id)
        return Listing.of(record) if await info.context.sees(record, listings.visible_to) else None

    @strawberry.field
    async def hirer(self, info: Info) -> Annotated[User, strawberry.lazy("graph.types.users")]:
        from graph.types.users import User

        return User.of(await info.context.loaders.known(USERS, self.record.hirer_id))

    @strawberry.field
    async def owner(self, info: Info) -> Annotated[User, strawberry.lazy("graph.types.users")]:
        from graph.types.users import User

        return User.of(await info.context.loaders.known(USERS, self.record.owner_id))

    @strawberry.field
    async def review(self, info: Info) -> Review | None:
        if self.record.review_id is None:
            return None
        return Review.of(await info.context.loaders.known(REVIEWS, self.record.review_id))
