"""Reports to the moderators."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import reports
from domain.reports import ReportAction, ReportReason, ReportState
from firestore.collections import USERS
from graph.context import Info
from graph.enums import enum
from graph.types.users import User

enum(
    ReportAction,
    "What came of a report: said by who did it, and done by other mutations.",
    DISMISSED="Nothing was wrong.",
    CONTENT_HELD_BACK="The listing was held back, or the review hidden.",
)
enum(ReportReason, "What is wrong with what is reported.")
enum(ReportState, "Whether a moderator has said what came of a report.")


@strawberry.type(description="One user's word on a listing, review, user or agent: `node(id: subjectId)` has it.")
class Report:
    record: strawberry.Private[reports.Report]
    id: strawberry.ID
    subject_id: strawberry.ID
    reason: ReportReason
    text: str
    state: ReportState
    action: ReportAction | None
    note: str | None
    reported_at: datetime
    resolved_at: datetime | None

    @classmethod
    def of(cls, record: reports.Report) -> Report:
        return cls(
            record=record,
            id=strawberry.ID(record.id),
            subject_id=strawberry.ID(record.subject_id),
            reason=record.reason,
            text=record.text,
            state=record.state,
            action=record.action,
            note=record.note,
            reported_at=record.reported_at,
            resolved_at=record.resolved_at,
        )

    @strawberry.field
    async def reporter(self, info: Info) -> User:
        return User.of(await info.context.loaders.known(USERS, self.record.reporter_id))
