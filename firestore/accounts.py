"""Accounts as those see them who care for the store: suspended and reinstated, given roles, found."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain import moderation, users
from domain.errors import NotFound
from domain.ids import Kind, is_id
from domain.policy import Policy
from domain.users import NotificationKind, Role, User, Viewer, require_active
from firestore import acts
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import AGENTS, LISTINGS, USERS
from firestore.commit import Commits, Tx
from firestore.listings import show
from firestore.notifications import notice
from firestore.outbox import row
from firestore.paging import Page, Position, read_page
from firestore.rows import OutboxRow
from firestore.search import tell_search

log = logging.getLogger(__name__)

FOLLOW_STANDING = "follow_standing"  # the task's name outlives a deploy
SHELF = 20  # listings in one commit, each with its agent: a conflict repeats no more than that
SHELVES_MAX = 500  # in one run: 10,000 listings, as many as a shard of the search follows; sellers have tens
STRAGGLERS_WITHIN = timedelta(seconds=5)  # an operation ends within 2 s: what began before a suspension is over by then
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """What accounts must be; None is anything. `email` is how it begins, spelled as a sign-in spells it."""

    email: str | None = None
    role: Role | None = None
    suspended: bool | None = None

    def matches(self, user: User) -> bool:
        return (
            user.email.startswith(self.email or "")
            and self.role in (None, user.role)
            and self.suspended in (None, user.suspended_at is not None)
        )


class Accounts:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing.

    Who decides is read in the commit that decides: a role that was taken away a moment ago decides nothing.
    """

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def suspend(self, viewer_id: str, user_id: str, reason: str, until: datetime | None, now: datetime) -> User:
        """Hold a user back: no sign-in, no mutation, no payout, no listing on offer. Two RPCs, four or five writes.

        Running hires go on to their end. Raises Forbidden, NotFound, Conflict, BadInput.
        """

        def change(user: User, viewer: Viewer) -> User:
            return users.suspend(user, viewer, reason, until, now)

        return await self._decide(viewer_id, user_id, "suspendUser", change, None, now)

    async def reinstate(self, viewer_id: str, user_id: str, reason: str, now: datetime) -> User:
        """Lift a suspension; what it hid comes back. Two RPCs, four writes. Raises Forbidden, NotFound, Conflict."""

        def change(user: User, viewer: Viewer) -> User:
            return users.reinstate(user, viewer, now)

        return await self._decide(viewer_id, user_id, "reinstateUser", change, reason, now)

    async def appoint(self, viewer_id: str, user_id: str, role: Role, reason: str, now: datetime) -> User:
        """Give a user a role. Two RPCs, three writes. Raises Forbidden, NotFound, Conflict."""

        def change(user: User, viewer: Viewer) -> User:
            return users.appoint(user, viewer, role, now)

        return await self._decide(viewer_id, user_id, "setRole", change, reason, now)

    async def follow(self, user_id: str, until: str | None, row_id: str, now: datetime) -> datetime | None:
        """Bring all that hangs on a user's standing to where it puts it; gives when to come back, if there is more.

        A suspension whose end has come is lifted. Run any number of times, in any order, it ends in one state.
        """
        user = await self._lapse(user_id, now)
        if user is not None:
            await self._shelve(user_id, now)
        again = _comes_back(user, until, now)

        async def body(tx: Tx) -> None:
            await (tx.finish(row_id) if again is None else tx.postpone(row_id, again))

        await self._commits.run(body)
        return again

    async def page(self, wanted: AccountFilter, first: int, after: Position | None) -> Page[User]:
        """Users by e-mail; the suspended alone by their moment, newest first. One RPC, of at most 200 documents."""
        if wanted.suspended:
            query = Query(USERS.name, (Filter("suspended_at", ">", NEVER),), (Order("suspended_at", descending=True),))
            return await read_page(self._backend, USERS, query, first, after, keep=wanted.matches)
        filters = [] if wanted.role is None else [Filter("role", "==", wanted.role.value)]
        if wanted.email:
            filters += [Filter("email", ">=", wanted.email), Filter("email", "<", wanted.email + "\U0010ffff")]
        query = Query(USERS.name, tuple(filters), (Order("email"),))
        keep = None if wanted.suspended is None else wanted.matches
        return await read_page(self._backend, USERS, query, first, after, keep=keep)

    async def _decide(
        self,
        viewer_id: str,
        user_id: str,
        name: str,
        change: Callable[[User, Viewer], User],
        reason: str | None,
        now: datetime,
    ) -> User:
        if not is_id(user_id, Kind.USER):
            raise NotFound("user")

        async def body(tx: Tx) -> User:
            await tx.read(USERS.at(user_id), USERS.at(viewer_id))
            viewer, before = require_active(tx.get(USERS, viewer_id)), tx.get(USERS, user_id)
            if before is None or before.erased_at is not None:
                raise NotFound("user")
            after = change(before, Viewer(viewer.id, viewer.role))
            if after == before:
                return before
            tx.put(USERS, after)
            if before.role is Role.ADMIN:  # as it was read: of two admins who drop each other at once, one stays
                tx.put(USERS, viewer)
            why = after.suspension_reason if reason is None else reason
            await acts.record(tx, viewer_id, name, user_id, why, now, _facts(before, after))
            self._tell(tx, before, after, now)
            return after

        return await self._commits.run(body)

    async def _lapse(self, user_id: str, now: datetime) -> User | None:
        async def body(tx: Tx) -> User | None:
            before = await tx.load(USERS, user_id)
            if before is None:
                return None
            after = users.lapse(before, now)
            if after != before:
                tx.put(USERS, after)
                self._tell(tx, before, after, now)
            return after

        return await self._commits.run(body)

    async def _shelve(self, user_id: str, now: datetime) -> None:
        """Hide the user's listings, or show them again, as the user's record says. Three RPCs a shelf."""
        query = Query(LISTINGS.name, (Filter("owner_id", "==", user_id),), (Order("created_at", descending=True),))
        after: Position | None = None
        for _ in range(SHELVES_MAX):
            page = await read_page(self._backend, LISTINGS, query, SHELF, after)
            if page.nodes:
                await self._shelve_some(user_id, [(each.id, each.agent_id) for each in page.nodes], now)
            if not page.has_next_page:
                return
            after = page.end
        log.error("%s has more listings than one run shelves: the rest stays as it is", user_id)

    async def _shelve_some(self, user_id: str, shelf: list[tuple[str, str]], now: datetime) -> None:
        async def body(tx: Tx) -> None:
            paths = [path for listing_id, agent_id in shelf for path in (LISTINGS.at(listing_id), AGENTS.at(agent_id))]
            await tx.read(USERS.at(user_id), *paths)
            user = tx.get(USERS, user_id)
            held = user is not None and user.suspended_at is not None
            for listing_id, agent_id in shelf:
                before, agent = tx.get(LISTINGS, listing_id), tx.get(AGENTS, agent_id)
                if before is None or agent is None or before.owner_id != user_id:
                    continue  # given away since it was found
                after = moderation.shelve(before, now) if held else moderation.unshelve(before, now)
                if agent.deleted_at is not None:
                    after = moderation.withdraw(after, now)
                if after != before:
                    tx.put(LISTINGS, after)
                    tell_search(tx, before, after)
                    if agent.deleted_at is None:
                        show(tx, agent, after)

        await self._commits.run(body)

    def _tell(self, tx: Tx, before: User, after: User, now: datetime) -> None:
        """Tell the user, and let the task bring the listings to where the new standing puts them."""
        retention = self._policy.event_retention
        for text, args in _notices(before, after):
            fact = (text, after.id, after.version)
            tx.tell(notice(NotificationKind.ACCOUNT, after.id, fact, now, retention, args))
        if before.role is after.role:
            tx.tell(_standing_row(after, now, retention))
            if after.suspended_until is not None:
                tx.tell(_standing_row(after, now, retention, at=after.suspended_until))


def _standing_row(user: User, now: datetime, retention: timedelta, *, at: datetime | None = None) -> OutboxRow:
    args = {"user_id": user.id} | ({} if at is None else {"until": at.isoformat()})
    fact = ("standing", user.id, user.version, "" if at is None else "end")
    return row(fact, now, retention, task=FOLLOW_STANDING, args=args, not_before=at)


def _comes_back(user: User | None, until: str | None, now: datetime) -> datetime | None:
    """When the task looks again: at the end that it waits for, and once for who published while being suspended."""
    if user is None or user.suspended_at is None:
        return None
    if until is not None:
        end = user.suspended_until
        return end if end is not None and end.isoformat() == until else None
    settled = user.suspended_at + STRAGGLERS_WITHIN
    return settled if now < settled else None


def _facts(before: User, after: User) -> dict[str, tuple[object, object]]:
    facts: dict[str, tuple[object, object]] = {
        "role": (before.role, after.role),
        "suspendedAt": (before.suspended_at, after.suspended_at),
        "suspendedUntil": (before.suspended_until, after.suspended_until),
    }
    return {name: pair for name, pair in facts.items() if pair[0] != pair[1]}


def _notices(before: User, after: User) -> list[tuple[str, dict[str, str]]]:
    if before.role is not after.role:
        return [("role_changed", {"role": after.role.value})]
    if after.suspended_at is None:
        return [("reinstated", {})]
    return [("suspended", {"reason": after.suspension_reason or ""})]
