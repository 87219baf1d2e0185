"""Documents of the store's own housekeeping: what came in, what must go out, how far a topic has counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from domain.events import Event

SWEEP_AFTER = timedelta(seconds=20)  # the queue delivers in well under a second; after this, the sweep takes over
BUCKETS = 8  # an index that begins with the bucket spreads a growing timestamp over as many places


def bucket_of(row_id: str) -> int:
    """The bucket of a document, evenly spread, from its id alone."""
    return sum(row_id.encode()) % BUCKETS


class RowState(StrEnum):
    PENDING = "PENDING"
    DONE = "DONE"
    DEAD = "DEAD"


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """What one commit tells: events for subscribers, and at most one task. Written in that commit, so never lost.

    `topics` repeats the events' topics for the listeners' query. A row without a task is born DONE. `due_at` is when
    the sweep delivers a task that the queue has not, never before `not_before`. `kept_until` is when the events may go,
    and `expires_at` the same for the database's own clean-up: None until the task is done, so that no work is lost.
    """

    id: str
    at: datetime
    kept_until: datetime
    expires_at: datetime | None
    bucket: int = 0
    topics: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    task: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    state: RowState = RowState.DONE
    not_before: datetime | None = None
    due_at: datetime | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A webhook as it came, kept for audit; the effect's own guard is for ever, so this one may expire.

    `subject` is what it is about: an order's id, or a hash of the customer who asks. `redacted` says that the body no
    longer names a person.
    """

    id: str
    source: str
    topic: str
    shop: str
    body: bytes
    received_at: datetime
    expires_at: datetime
    outcome: str
    subject: str | None = None
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class TopicHead:
    """How far a topic has counted whose subject is no document of one writer: a listing, an agent."""

    id: str
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted of one subject on one day (UTC). Written by the roll-up alone.

    `cells` is JSON: by the quarter-hour's number (0 to 95), amounts by measure. It is a text and not a map: it is never
    asked for by its parts, and many days are read at a time. `acted_on` is the day again, where a user did something.
    """

    id: str
    subject: str
    day: str
    cells: str = "{}"
    acted_on: str | None = None


@dataclass(frozen=True, slots=True)
class PlatformDay:
    """The same of the whole store; `id` is the day. `commission` is the day's sum, for the sum of all days; `active` is
    how many users have done something on it."""

    id: str
    cells: str = "{}"
    commission: int = 0
    active: int = 0


@dataclass(frozen=True, slots=True)
class CountingMark:
    """How far something has counted: all before `until` is final, all before `counted_until` is counted once. `by` is
    the run that may write: each commit of a run expects its own name here, so that of two runs the later goes on."""

    id: str
    by: str = ""
    until: datetime | None = None
    counted_until: datetime | None = None
