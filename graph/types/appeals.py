"""Appeals against what moderators decided on listings."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import appeals
from domain.appeals import AppealState
from graph.enums import enum

enum(
    AppealState,
    "How an appeal stands.",
    UPHELD="The moderators' decision stands.",
    GRANTED="The decision is lifted.",
)


@strawberry.type(description="`decision` is what was said of the listing, `reason` what was said of the appeal.")
class Appeal:
    id: strawberry.ID
    listing_id: strawberry.ID
    text: str
    decision: str
    state: AppealState
    reason: str | None
    opened_at: datetime
    decided_at: datetime | None

    @classmethod
    def of(cls, record: appeals.Appeal) -> Appeal:
        return cls(
            id=strawberry.ID(record.id),
            listing_id=strawberry.ID(record.listing_id),
            text=record.text,
            decision=record.decision,
            state=record.state,
            reason=record.reason,
            opened_at=record.opened_at,
            decided_at=record.decided_at,
        )
