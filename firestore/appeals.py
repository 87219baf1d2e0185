"""Appeals: opened by an owner, decided by a moderator with the listing in the same commit."""

from __future__ import annotations

from datetime import datetime

from domain import appeals, moderation
from domain.appeals import Appeal, AppealState
from domain.errors import Conflict, NotFound
from domain.ids import Kind, is_id
from domain.policy import Policy
from domain.users import NotificationKind, Viewer, require_active, require_moderator
from firestore import acts
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import AGENTS, APPEALS, LISTINGS, USERS
from firestore.commit import Commits, Tx
from firestore.listings import show
from firestore.notifications import notice
from firestore.paging import Page, Position, read_page
from firestore.search import tell_search


class Appeals:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def open(self, viewer_id: str, listing_id: str, text: str, now: datetime) -> Appeal:
        """Appeal against what a moderator decided on one's listing, once for each decision. Three RPCs, one write.

        Raises NotFound, Conflict, Forbidden while suspended, BadInput.
        """
        if not is_id(listing_id, Kind.LISTING):
            raise NotFound("listing")

        async def body(tx: Tx) -> Appeal:
            await tx.read(LISTINGS.at(listing_id), USERS.at(viewer_id))
            require_active(tx.get(USERS, viewer_id))
            wanted = appeals.appeal(tx.get(LISTINGS, listing_id), viewer_id, text, now)
            known = await tx.load(APPEALS, wanted.id)
            if known is not None:
                if known.text != wanted.text:
                    raise Conflict(f"You have appealed against this decision: your appeal is {known.state}.")
                return known
            tx.create(APPEALS, wanted)
            return wanted

        return await self._commits.run(body)

    async def decide(self, viewer_id: str, appeal_id: str, granted: bool, reason: str, now: datetime) -> Appeal:
        """Uphold the decision, or grant the appeal and lift it. Four RPCs, three to seven writes.

        Raises Forbidden, NotFound, Conflict, BadInput.
        """
        if not is_id(appeal_id, Kind.APPEAL):
            raise NotFound("appeal")

        async def body(tx: Tx) -> Appeal:
            await tx.read(APPEALS.at(appeal_id), USERS.at(viewer_id))
            moderator = require_active(tx.get(USERS, viewer_id))
            require_moderator(Viewer(moderator.id, moderator.role))
            before = tx.get(APPEALS, appeal_id)
            listing = await tx.load(LISTINGS, before.listing_id) if before is not None else None
            after, lifted = appeals.decide(before, listing, viewer_id, granted, reason, now)
            if after == before:
                return after
            assert listing is not None, "an appeal that was decided has its listing"
            tx.put(APPEALS, after)
            if lifted != listing:
                agent = await tx.load(AGENTS, lifted.agent_id)
                here = agent is not None and agent.deleted_at is None
                lifted = lifted if here else moderation.withdraw(lifted, now)
                tx.put(LISTINGS, lifted)
                tell_search(tx, listing, lifted)
                if agent is not None and here:
                    show(tx, agent, lifted)
            facts = {
                "state": (AppealState.OPEN, after.state),
                "status": (moderation.judged(listing), moderation.judged(lifted)),
            }
            await acts.record(tx, viewer_id, "decideAppeal", listing.id, after.reason, now, facts)
            text = "appeal_granted" if granted else "appeal_upheld"
            args = {"listing_id": listing.id, "agent": listing.agent_name, "reason": after.reason or ""}
            fact, retention = (text, appeal_id), self._policy.event_retention
            tx.tell(notice(NotificationKind.ACCOUNT, after.owner_id, fact, now, retention, args))
            return after

        return await self._commits.run(body)

    async def page(self, state: AppealState | None, first: int, after: Position | None) -> Page[Appeal]:
        """Appeals, oldest first. One RPC. For moderators."""
        filters = () if state is None else (Filter("state", "==", state.value),)
        return await read_page(
            self._backend, APPEALS, Query(APPEALS.name, filters, (Order("opened_at"),)), first, after
        )
