"""The events of the contract, each a type, in an envelope that says where it stands in its topic."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from typing import Annotated, Any

import strawberry

from domain import events
from domain.events import EventType
from domain.money import Dof
from domain.revisions import FIELDS_MAX
from domain.sessions import EndReason
from graph.sizes import at_most


@strawberry.type(description="The agent's facts have changed: `changes` names the fields.")
class AgentUpdated:
    agent_id: strawberry.ID
    changes: list[str] = strawberry.field(metadata=at_most(FIELDS_MAX))


@strawberry.type(description="The agent is on the market.")
class AgentPublished:
    agent_id: strawberry.ID
    listing_id: strawberry.ID


@strawberry.type(description="The agent was hired. The session is its hirer's and its owner's to read.")
class AgentHired:
    agent_id: strawberry.ID
    session_id: strawberry.ID


@strawberry.type(description="The session has begun.")
class SessionStarted:
    session_id: strawberry.ID


@strawberry.type(description="The session is over.")
class SessionEnded:
    session_id: strawberry.ID
    end_reason: EndReason


@strawberry.type(description="What the session has used of its hold, in whole DOF.")
class SessionDofUpdated:
    session_id: strawberry.ID
    consumed: Dof
    remaining: Dof


@strawberry.type(description="A transaction of the viewer's moved DOF.")
class TransactionCompleted:
    transaction_id: strawberry.ID


@strawberry.type(description="A purchase of the viewer's ended before it was credited; `error` says why.")
class TransactionFailed:
    transaction_id: strawberry.ID
    error: str


@strawberry.type(description="The listing has a new review.")
class ReviewAdded:
    agent_id: strawberry.ID
    listing_id: strawberry.ID
    review_id: strawberry.ID


@strawberry.type(description="The listing has another rating, of 1 to 5 stars.")
class RatingUpdated:
    agent_id: strawberry.ID
    listing_id: strawberry.ID
    new_rating: float


@strawberry.type(description="The viewer has a new notification.")
class NotificationReceived:
    notification_id: strawberry.ID


@strawberry.type(description="The history is gone: read the object again and go on from here.")
class Gap:
    topic: str
    missed_from: int
    missed_to: int


Event = Annotated[
    AgentUpdated
    | AgentPublished
    | AgentHired
    | SessionStarted
    | SessionEnded
    | SessionDofUpdated
    | TransactionCompleted
    | TransactionFailed
    | ReviewAdded
    | RatingUpdated
    | NotificationReceived
    | Gap,
    strawberry.union("Event"),
]


@strawberry.type(
    description="`sequence` counts within the topic, without a hole; `cursor` resumes all topics behind it."
)
class EventEnvelope:
    topic: str
    sequence: int
    cursor: str
    at: datetime
    event: Event
    share_key: strawberry.Private[Hashable]

    @classmethod
    def of(cls, record: events.Event, topic: str, cursor: str) -> EventEnvelope:
        """`topic` is spelled as the subscriber spelled it. All that an answer can hold comes from the event and the
        cursor, so it is the same for all who are told of the event under this cursor."""
        shown = _SHOWN[record.type](record.data, topic)
        told = (topic, cursor, record.identity)
        return cls(topic=topic, sequence=record.sequence, cursor=cursor, at=record.at, event=shown, share_key=told)


def _id(data: Mapping[str, str | int], name: str) -> strawberry.ID:
    return strawberry.ID(str(data[name]))


_SHOWN: Mapping[EventType, Callable[[Mapping[str, str | int], str], Any]] = {
    EventType.AGENT_UPDATED: lambda data, _: AgentUpdated(
        agent_id=_id(data, "agentId"), changes=str(data["changes"]).split(",")
    ),
    EventType.AGENT_PUBLISHED: lambda data, _: AgentPublished(
        agent_id=_id(data, "agentId"), listing_id=_id(data, "listingId")
    ),
    EventType.AGENT_HIRED: lambda data, _: AgentHired(agent_id=_id(data, "agentId"), session_id=_id(data, "sessionId")),
    EventType.SESSION_STARTED: lambda data, _: SessionStarted(session_id=_id(data, "sessionId")),
    EventType.SESSION_ENDED: lambda data, _: SessionEnded(
        session_id=_id(data, "sessionId"), end_reason=EndReason(str(data["endReason"]))
    ),
    EventType.SESSION_DOF_UPDATED: lambda data, _: SessionDofUpdated(
        session_id=_id(data, "sessionId"), consumed=Dof(int(data["consumed"])), remaining=Dof(int(data["remaining"]))
    ),
    EventType.TRANSACTION_COMPLETED: lambda data, _: TransactionCompleted(transaction_id=_id(data, "transactionId")),
    EventType.TRANSACTION_FAILED: lambda data, _: TransactionFailed(
        transaction_id=_id(data, "transactionId"), error=str(data["error"])
    ),
    EventType.REVIEW_ADDED: lambda data, _: ReviewAdded(
        agent_id=_id(data, "agentId"), listing_id=_id(data, "listingId"), review_id=_id(data, "reviewId")
    ),
    EventType.RATING_UPDATED: lambda data, _: RatingUpdated(
        agent_id=_id(data, "agentId"),
        listing_id=_id(data, "listingId"),
        new_rating=int(data["ratingMilli"]) / 1000,
    ),
    EventType.NOTIFICATION_RECEIVED: lambda data, _: NotificationReceived(notification_id=_id(data, "notificationId")),
    EventType.GAP: lambda data, topic: Gap(
        topic=topic, missed_from=int(data["missedFrom"]), missed_to=int(data["missedTo"])
    ),
}
