"""Reports: one of each user on each subject, in a queue for the moderators."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from domain import agents, listings, reports
from domain.acts import require_other
from domain.errors import NotFound, SelfDealing
from domain.ids import Kind, is_id, kind_of
from domain.reports import Report, ReportAction, ReportReason, ReportState
from domain.users import User, Viewer, require_active, require_moderator
from firestore import acts
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import AGENTS, LISTINGS, REPORT_TALLIES, REPORTS, REVIEWS, USERS
from firestore.commit import Commits, Tx
from firestore.paging import Page, Position, read_page
from firestore.records import Collection

SUBJECT = "listing, review, user or agent"
SUBJECTS: dict[Kind, Collection[Any]] = {
    Kind.LISTING: LISTINGS,
    Kind.REVIEW: REVIEWS,
    Kind.USER: USERS,
    Kind.AGENT: AGENTS,
}


class Reports:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits) -> None:
        self._backend = backend
        self._commits = commits

    async def report(self, viewer_id: str, subject_id: str, reason: ReportReason, text: str, now: datetime) -> Report:
        """Tell the moderators of what the viewer can see. Two RPCs, or three for a review, and two writes.

        Raises NotFound, SelfDealing, Conflict, RateLimited, Forbidden while suspended, BadInput.
        """
        kind = kind_of(subject_id)
        if kind not in SUBJECTS:
            raise NotFound(SUBJECT)
        report_id = reports.report_id(viewer_id, subject_id)

        async def body(tx: Tx) -> Report:
            subject_path = SUBJECTS[kind].at(subject_id)
            await tx.read(USERS.at(viewer_id), REPORTS.at(report_id), REPORT_TALLIES.at(viewer_id), subject_path)
            viewer = require_active(tx.get(USERS, viewer_id))
            await self._require_subject(tx, kind, subject_id, viewer)
            before = tx.get(REPORTS, report_id)
            wanted = reports.report(before, viewer_id, subject_id, reason, text, now)
            if wanted == before:
                return wanted
            tx.put(REPORTS, wanted)
            tx.put(REPORT_TALLIES, reports.count(tx.get(REPORT_TALLIES, viewer_id), viewer_id, now))
            return wanted

        return await self._commits.run(body)

    async def resolve(self, viewer_id: str, report_id: str, action: ReportAction, note: str, now: datetime) -> Report:
        """Say what came of a report. Two RPCs, or three if it is not on a user, and two writes.

        Raises Forbidden, NotFound, Conflict, which is also for one who is reported, BadInput.
        """
        if not is_id(report_id, Kind.REPORT):
            raise NotFound("report")

        async def body(tx: Tx) -> Report:
            await tx.read(REPORTS.at(report_id), USERS.at(viewer_id))
            moderator = require_active(tx.get(USERS, viewer_id))
            require_moderator(Viewer(moderator.id, moderator.role))
            before = tx.get(REPORTS, report_id)
            after = reports.resolve(before, action, note, now)
            if after != before:
                require_other(viewer_id, *await _reported(tx, after.subject_id))
                tx.put(REPORTS, after)
                facts = {"state": (ReportState.OPEN, after.state), "action": (None, after.action)}
                await acts.record(tx, viewer_id, "resolveReport", after.subject_id, after.note, now, facts)
            return after

        return await self._commits.run(body)

    async def page(
        self, state: ReportState | None, subject_id: str | None, first: int, after: Position | None
    ) -> Page[Report]:
        """Reports, of one state or on one subject or all, oldest first. One RPC. For moderators."""
        wanted = (("state", None if state is None else state.value), ("subject_id", subject_id))
        filters = tuple(Filter(field, "==", value) for field, value in wanted if value is not None)
        query = Query(REPORTS.name, filters, (Order("reported_at"),))
        return await read_page(self._backend, REPORTS, query, first, after)

    async def _require_subject(self, tx: Tx, kind: Kind, subject_id: str, viewer: User) -> None:
        """Refuse what the viewer cannot see, and what is the viewer's own. The subject was read."""
        who = Viewer(viewer.id, viewer.role)
        subject = tx.get(SUBJECTS[kind], subject_id)
        if subject is None:
            raise NotFound(SUBJECT)
        if kind is Kind.USER:
            owner_id, seen = subject.id, subject.erased_at is None
        elif kind is Kind.REVIEW:
            listing = await tx.load(LISTINGS, subject.listing_id)
            owner_id, seen = subject.reviewer_id, listing is not None and listings.visible_to(listing, who)
        else:
            visible = listings.visible_to if kind is Kind.LISTING else agents.visible_to
            owner_id, seen = subject.owner_id, visible(subject, who)
        if not seen:
            raise NotFound(SUBJECT)
        if owner_id == viewer.id:
            raise SelfDealing("This is your own: change it, or write to support.")


async def _reported(tx: Tx, subject_id: str) -> tuple[str, ...]:
    """Whose the subject of a report is: a review its author's, and anything else its owner's and its creator's."""
    kind = kind_of(subject_id)
    assert kind in SUBJECTS, "a report is on one of the subjects"
    if kind is Kind.USER:
        return (subject_id,)
    subject = await tx.load(SUBJECTS[kind], subject_id)
    if subject is None:  # an erasure took it, and with it whoever it was of
        return ()
    return (subject.reviewer_id,) if kind is Kind.REVIEW else (subject.owner_id, subject.creator_id)
