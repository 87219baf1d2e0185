"""Reports: a user tells the moderators of a listing, a review, a user or an agent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from domain import texts
from domain.errors import Conflict, NotFound, RateLimited
from domain.ids import Kind, derived_id

TEXT_CHARACTERS_MAX = 2_000  # a page: somebody has to read each one
NOTE_CHARACTERS_MAX = 500  # a paragraph of what was done
A_DAY_MAX = 20  # of one reporter: who sees more than that in a day writes to support
_DAY = timedelta(days=1)


class ReportReason(StrEnum):
    SPAM = "SPAM"
    FRAUD = "FRAUD"
    ABUSE = "ABUSE"
    SEXUAL = "SEXUAL"
    COPYRIGHT = "COPYRIGHT"
    OTHER = "OTHER"


class ReportState(StrEnum):
    OPEN = "OPEN"
    RESOLVED = "RESOLVED"


class ReportAction(StrEnum):
    """What came of a report. The doing itself is another mutation, with an act of its own."""

    DISMISSED = "DISMISSED"
    CONTENT_HELD_BACK = "CONTENT_HELD_BACK"
    USER_SUSPENDED = "USER_SUSPENDED"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Report:
    """One reporter's word on one subject. Told again after it was resolved it is open again; `version` counts that."""

    id: str
    reporter_id: str
    subject_id: str
    reason: ReportReason
    text: str
    reported_at: datetime
    state: ReportState = ReportState.OPEN
    action: ReportAction | None = None
    note: str | None = None
    resolved_at: datetime | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class ReportTally:
    """How many reports a user has made since `since`. The id is the user's."""

    id: str
    since: datetime
    count: int


def report_id(reporter_id: str, subject_id: str) -> str:
    """The id of a user's one report on a subject."""
    return derived_id(Kind.REPORT, reporter_id, subject_id)


def report(
    before: Report | None, reporter_id: str, subject_id: str, reason: ReportReason, text: str, now: datetime
) -> Report:
    """The report; said again in the same words, the one that is open. Raises Conflict while another is, BadInput."""
    said = texts.prose(text, "input.text", TEXT_CHARACTERS_MAX)
    if before is not None and before.state is ReportState.OPEN:
        if (before.reason, before.text) != (reason, said):
            raise Conflict("Your report on this is open: a moderator will look at it.")
        return before
    version = 1 if before is None else before.version + 1
    return Report(report_id(reporter_id, subject_id), reporter_id, subject_id, reason, said, now, version=version)


def count(before: ReportTally | None, reporter_id: str, now: datetime) -> ReportTally:
    """One more report of a user. Raises RateLimited beyond a day's number."""
    if before is None or now - before.since >= _DAY:
        return ReportTally(reporter_id, now, 1)
    if before.count >= A_DAY_MAX:
        left = (before.since + _DAY - now).total_seconds()
        raise RateLimited(
            f"At most {A_DAY_MAX} reports a day: write to support for more.", retry_after_seconds=max(1, int(left))
        )
    return replace(before, count=before.count + 1)


def resolve(before: Report | None, action: ReportAction, note: str, now: datetime) -> Report:
    """The report with what came of it; said again, as it is. Raises NotFound, Conflict, BadInput."""
    if before is None:
        raise NotFound("report")
    said = texts.prose(note, "input.note", NOTE_CHARACTERS_MAX)
    if before.state is ReportState.RESOLVED:
        if (before.action, before.note) != (action, said):
            raise Conflict(f"This report is resolved already, with {before.action}: read reports again.")
        return before
    return replace(before, state=ReportState.RESOLVED, action=action, note=said, resolved_at=now)
