"""Reporting what one sees, and resolving reports."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain.reports import ReportAction, ReportReason, ReportState
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info
from graph.errors import Conflict, NotFound, SelfDealing
from graph.types.reports import Report


@strawberry.input(description="The id of a listing, a review, a user or an agent.")
class ReportInput:
    subject_id: strawberry.ID
    reason: ReportReason
    text: str


@strawberry.input(description="What came of it: the doing itself is moderateListing, moderateReview or suspendUser.")
class ResolveReportInput:
    report_id: strawberry.ID
    action: ReportAction
    note: str


@strawberry.type
class ReportPayload:
    report_id: strawberry.ID


@strawberry.type
class ResolveReportPayload:
    report: Report


ReportResult = Annotated[ReportPayload | NotFound | SelfDealing | Conflict, strawberry.union("ReportResult")]
ResolveReportResult = Annotated[ResolveReportPayload | NotFound | Conflict, strawberry.union("ResolveReportResult")]


async def reports(
    info: Info,
    state: ReportState | None = None,
    subject_id: strawberry.ID | None = None,
    first: int | None = None,
    after: str | None = None,
) -> Connection[Report]:
    """Reports of content and users, oldest first: all, those of a state, or those on a subject."""
    context = info.context
    scope = scope_of("reports", context.user_id, state, subject_id)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.reports.page(state, subject_id, page_size(first), position)
    return connect(page, Report.of, context.desk.cursors, scope, after)


async def report(info: Info, input: ReportInput) -> ReportResult:
    """Tell the moderators of something that the viewer can see. CONFLICT where the viewer has told them already; how
    many in a day is limited.
    """
    context = info.context
    record = await context.store.reports.report(
        context.signed_in, input.subject_id, input.reason, input.text, context.now
    )
    return ReportPayload(report_id=strawberry.ID(record.id))


async def resolve_report(info: Info, input: ResolveReportInput) -> ResolveReportResult:
    """Say what came of a report, and no more: moderateListing and moderateReview hold content back, suspendUser a
    user.
    """
    context = info.context
    record = await context.store.reports.resolve(
        context.signed_in, input.report_id, input.action, input.note, context.now
    )
    return ResolveReportPayload(report=Report.of(record))
