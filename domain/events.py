"""What the store tells its subscribers: typed events on topics, numbered without a gap."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EventType(StrEnum):
    AGENT_UPDATED = "AGENT_UPDATED"
    AGENT_PUBLISHED = "AGENT_PUBLISHED"
    AGENT_HIRED = "AGENT_HIRED"
    SESSION_STARTED = "SESSION_STARTED"
    SESSION_ENDED = "SESSION_ENDED"
    SESSION_DOF_UPDATED = "SESSION_DOF_UPDATED"
    TRANSACTION_COMPLETED = "TRANSACTION_COMPLETED"
    TRANSACTION_FAILED = "TRANSACTION_FAILED"
    REVIEW_ADDED = "REVIEW_ADDED"
    RATING_UPDATED = "RATING_UPDATED"
    NOTIFICATION_RECEIVED = "NOTIFICATION_RECEIVED"
    GAP = "GAP"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `sequence` counts from 1 within its topic; `data` holds ids and figures, never text about a person."""

    topic: str
    sequence: int
    type: EventType
    at: datetime
    data: Mapping[str, str | int]

    @property
    def identity(self) -> Hashable:
        """What no other event has: a GAP may take the number of one that it stands for."""
        return self.topic, self.sequence, self.type, *sorted(self.data.items())


def session_topic(session_id: str) -> str:
    return f"session:{session_id}"


def wallet_topic(user_id: str) -> str:
    """The wallet's topic; a subscriber says `wallet` and means its own."""
    return f"wallet:{user_id}"


def listing_topic(listing_id: str) -> str:
    return f"listing:{listing_id}"


def agent_topic(agent_id: str) -> str:
    return f"agent:{agent_id}"
