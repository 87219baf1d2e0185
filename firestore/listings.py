"""Listings: published and priced by the owner, judged by moderators, browsed by everybody."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from domain import listings, moderation
from domain.acts import require_other
from domain.agents import Agent, require_owned
from domain.errors import NotFound
from domain.filters import ListingFilter, ListingSort
from domain.ids import Kind, is_id
from domain.listings import MODERATED, PUBLIC, Listing, ListingChange, ListingStatus, PublishWish
from domain.money import Dof
from domain.policy import Policy
from domain.search import SearchDocument, document_of
from domain.users import NotificationKind, Viewer, require_active, require_moderator
from firestore import acts
from firestore.backend import Backend, Filter, Op, Order, Query
from firestore.collections import AGENTS, LISTINGS, USERS
from firestore.commit import Commits, Tx
from firestore.legible import legible
from firestore.notifications import notice
from firestore.outbox import row
from firestore.paging import Page, Position, fetch, read_page
from firestore.rows import OutboxRow
from firestore.search import tell_search
from firestore.topics import ANNOUNCE

_HOURLY = "pricing.hourly"
_POPULAR = (Order("total_hires", descending=True),)
ORDERS: dict[ListingSort, tuple[Order, ...]] = {
    ListingSort.RELEVANCE: _POPULAR,  # without words to be relevant to, what others hire is
    ListingSort.POPULAR: _POPULAR,
    ListingSort.NEWEST: (Order("created_at", descending=True),),
    ListingSort.RATING: (Order("rating_milli", descending=True), Order("rating_count", descending=True)),
    ListingSort.PRICE_LOW: (Order(_HOURLY),),
    ListingSort.PRICE_HIGH: (Order(_HOURLY, descending=True),),
}
SHARDS = 16  # of the listings on offer, by agent id, whose letters are even: each shard is one listened target
_SHARD_STARTS = "02468acegjmprtwy"  # every second letter of the ids' alphabet
ALL_PAGE = 500  # of all listings, where every one is read: some 2 MB
BY_PRICE = frozenset({ListingSort.PRICE_LOW, ListingSort.PRICE_HIGH})


@dataclass(frozen=True, slots=True)
class Changes:
    """Listings that came on offer or changed there, and the ids of those that left. `whole` says that the changed ones
    are all that there are: what is not among them is gone."""

    changed: tuple[Listing, ...]
    gone: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Judging:
    """A moderator's mutation of a listing."""

    viewer: Viewer
    name: str
    now: datetime

    def told(self, before: Listing, after: Listing) -> tuple[str | None, dict[str, tuple[object, object]]]:
        """The reason and the figures for the audit log."""
        if before.featured != after.featured:
            return None, {"featured": (before.featured, after.featured)}
        return after.status_reason, {"status": (moderation.judged(before), moderation.judged(after))}


class Listings:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing.

    A change that is there already is answered and not made again, so a repeated call is safe.
    """

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def publish(self, viewer_id: str, agent_id: str, wish: PublishWish, now: datetime) -> Listing:
        """Offer an agent, or offer it anew: its one listing. Two RPCs, four writes.

        Raises NotFound, NotPublishable, BadInput.
        """
        if not is_id(agent_id, Kind.AGENT):
            raise NotFound("agent")
        listing_id = listings.listing_id(agent_id)

        async def body(tx: Tx) -> Listing:
            await tx.read(AGENTS.at(agent_id), LISTINGS.at(listing_id), USERS.at(viewer_id))
            agent = require_owned(tx.get(AGENTS, agent_id), viewer_id)
            before, owner = tx.get(LISTINGS, listing_id), tx.get(USERS, viewer_id)
            listing = listings.publish(before, agent, owner, wish, catalogue=self._policy.catalogue, now=now)
            if listing == before:
                return listing
            tx.put(LISTINGS, listing)
            tell_search(tx, before, listing)
            show(tx, agent, listing)
            args = {"kind": "published", "agent_id": agent_id, "listing_id": listing_id}
            fact = ("published", listing_id, listing.version)
            tx.tell(row(fact, now, self._policy.event_retention, task=ANNOUNCE, args=args))
            return listing

        return await self._commits.run(body)

    async def unpublish(self, viewer_id: str, agent_id: str, now: datetime) -> Listing:
        """Take an agent off the market; its sessions run on. Two RPCs, three writes. Raises NotFound, Conflict."""
        if not is_id(agent_id, Kind.AGENT):
            raise NotFound("agent")
        listing_id = listings.listing_id(agent_id)

        async def body(tx: Tx) -> Listing:
            await tx.read(AGENTS.at(agent_id), LISTINGS.at(listing_id))
            agent = require_owned(tx.get(AGENTS, agent_id), viewer_id)
            before = listings.require_owned(tx.get(LISTINGS, listing_id), viewer_id)
            return _put(tx, before, listings.unpublish(before, now), agent)

        return await self._commits.run(body)

    async def update(self, viewer_id: str, listing_id: str, wish: ListingChange, now: datetime) -> Listing:
        """Change texts or prices. Two RPCs, two writes. Raises NotFound, Forbidden while suspended, BadInput."""
        return await self._change_own(viewer_id, listing_id, lambda listing: listings.change(listing, wish, now))

    async def pause(self, viewer_id: str, listing_id: str, now: datetime) -> Listing:
        """Take no new hires. Two RPCs, two writes. Raises NotFound, Forbidden while suspended, Conflict."""
        return await self._change_own(viewer_id, listing_id, lambda listing: listings.pause(listing, now))

    async def resume(self, viewer_id: str, listing_id: str, now: datetime) -> Listing:
        """Take hires again. Two RPCs, two writes. Raises NotFound, Forbidden while suspended, Conflict."""
        return await self._change_own(viewer_id, listing_id, lambda listing: listings.resume(listing, now))

    async def moderate(
        self, viewer: Viewer, listing_id: str, status: ListingStatus, reason: str, now: datetime
    ) -> Listing:
        """Hold a listing back, or lift that. Three RPCs, four writes.

        Raises Forbidden, NotFound, Conflict, BadInput.
        """
        require_moderator(viewer)
        judge = Judging(viewer, "moderateListing", now)
        return await self._judge(judge, listing_id, lambda listing: moderation.moderate(listing, status, reason, now))

    async def feature(self, viewer: Viewer, listing_id: str, featured: bool, now: datetime) -> Listing:
        """Show a listing among the featured, or not. Two RPCs, two writes. Raises Forbidden, NotFound, Conflict."""
        require_moderator(viewer)
        judge = Judging(viewer, "featureListing", now)
        return await self._judge(judge, listing_id, lambda listing: moderation.feature(listing, featured, now))

    async def get_many(self, ids: Sequence[str]) -> list[Listing | None]:
        """In the order of the ids: who may see one is `domain.listings.visible_to`'s. One RPC."""
        return await fetch(self._backend, LISTINGS, Kind.LISTING, ids)

    async def legible(self, ids: Sequence[str]) -> dict[str, Listing]:
        """Those that are there, by id, but for damaged ones, which are logged. One RPC."""
        found = await self._backend.get_many([LISTINGS.at(each) for each in ids if is_id(each, Kind.LISTING)])
        return {each.id: each for each in legible(LISTINGS, [each for each in found if each is not None])}

    async def browse(
        self,
        wanted: ListingFilter,
        sort: ListingSort,
        first: int,
        after: Position | None,
        *,
        also: Callable[[Listing], bool] | None = None,
    ) -> Page[Listing]:
        """Listings on offer that pass the filter and, if given, `also`. One RPC.

        Indexes answer for the status, one label (the game, else the category, else any of the tags), and all that is
        equal; the prices where they are the order, and the rating where it is. The rest is filtered after the reading,
        of at most 200 documents: such a page may be short while more follow (see `Page`).
        Raises BadInput.
        """
        active = Filter("status", "==", ListingStatus.ACTIVE.value)
        plan = (active, *_equalities(wanted), *_label(wanted), *_ranges(wanted, sort))
        query = Query(LISTINGS.name, plan, ORDERS[sort])

        def keep(listing: Listing) -> bool:
            return wanted.matches(listing) and (also is None or also(listing))

        told = also is None and _is_answered(wanted, sort)
        return await read_page(self._backend, LISTINGS, query, first, after, keep=None if told else keep)

    async def follow(self, shard: int) -> AsyncGenerator[Changes, None]:
        """The listings on offer of one shard: first all of them, then each change as it is committed.

        A shard holds at most 10,000 listings, one listened target's bound. Raises ValueError beyond it. A damaged one
        is logged, and told as gone.
        """
        active = Filter("status", "==", ListingStatus.ACTIVE.value)
        bounds = [Filter("agent_id", ">=", f"{Kind.AGENT.value}_{_SHARD_STARTS[shard]}")]
        if shard + 1 < SHARDS:
            bounds.append(Filter("agent_id", "<", f"{Kind.AGENT.value}_{_SHARD_STARTS[shard + 1]}"))
        query, first = Query(LISTINGS.name, (active, *bounds), (Order("agent_id"),)), True
        async with aclosing(self._backend.listen(query)) as batches:
            async for batch in batches:
                changed = legible(LISTINGS, batch.changed)
                damaged = {each.id for each in batch.changed} - {each.id for each in changed}
                gone = (*(path.rpartition("/")[2] for path in batch.removed), *sorted(damaged))
                yield Changes(tuple(changed), gone, first or batch.reset)
                first = False

    async def documents(self) -> AsyncIterator[SearchDocument]:
        """Every listing on offer as a search engine holds it, in pages of 500: one RPC each."""
        active = (Filter("status", "==", ListingStatus.ACTIVE.value),)
        after = None
        while True:  # ends with the collection: each page begins behind the one before
            found = await self._backend.query(Query(LISTINGS.name, active, limit=ALL_PAGE, after=after))
            for listing in legible(LISTINGS, found):
                document = document_of(listing)
                if document is not None:
                    yield document
            if len(found) < ALL_PAGE:
                return
            after = (found[-1].id,)

    async def featured(self, first: int) -> list[Listing]:
        """The featured listings on offer, the most hired first. One RPC."""
        filters = (Filter("featured", "==", True), Filter("status", "==", ListingStatus.ACTIVE.value))
        page = await read_page(self._backend, LISTINGS, Query(LISTINGS.name, filters, _POPULAR), first, None)
        return list(page.nodes)

    async def by_owner(self, viewer: Viewer | None, owner_id: str, first: int, after: Position | None) -> Page[Listing]:
        """A user's listings that the viewer may see, newest first. One RPC."""
        filters = [Filter("owner_id", "==", owner_id)]
        if viewer is None or not (viewer.id == owner_id or viewer.is_moderator):
            filters.append(Filter("status", "in", sorted(status.value for status in PUBLIC)))
        query = Query(LISTINGS.name, tuple(filters), ORDERS[ListingSort.NEWEST])
        return await read_page(self._backend, LISTINGS, query, first, after)

    async def by_status(self, status: ListingStatus | None, first: int, after: Position | None) -> Page[Listing]:
        """Listings of a status, newest first; without one, those that are held back. One RPC. For moderators."""
        statuses = MODERATED if status is None else {status}
        filters = (Filter("status", "in", sorted(each.value for each in statuses)),)
        query = Query(LISTINGS.name, filters, ORDERS[ListingSort.NEWEST])
        return await read_page(self._backend, LISTINGS, query, first, after)

    async def _change_own(self, viewer_id: str, listing_id: str, change: Callable[[Listing], Listing]) -> Listing:
        _require_id(listing_id)

        async def body(tx: Tx) -> Listing:
            await tx.read(LISTINGS.at(listing_id), USERS.at(viewer_id))
            require_active(tx.get(USERS, viewer_id))
            before = listings.require_owned(tx.get(LISTINGS, listing_id), viewer_id)
            return _put(tx, before, change(before))

        return await self._commits.run(body)

    async def _judge(self, judging: Judging, listing_id: str, change: Callable[[Listing], Listing]) -> Listing:
        _require_id(listing_id)
        judge_id = judging.viewer.id

        async def body(tx: Tx) -> Listing:
            await tx.read(LISTINGS.at(listing_id), USERS.at(judge_id))
            before = tx.get(LISTINGS, listing_id)
            if before is None:
                raise NotFound("listing")
            require_other(judge_id, before.owner_id, before.creator_id)
            after = change(before)
            if after != before:
                reason, facts = judging.told(before, after)
                await acts.record(tx, judge_id, judging.name, listing_id, reason, judging.now, facts)
            if moderation.judged(after) is not moderation.judged(before):
                tx.tell(_judged(after, judging.now, self._policy))
            lifted = before.status in MODERATED and after.status not in MODERATED
            if not lifted and (after.status in PUBLIC) == (before.status in PUBLIC):
                return _put(tx, before, after)
            agent = await tx.load(AGENTS, before.agent_id)
            if agent is None or agent.deleted_at is not None:
                raise NotFound("agent")
            return _put(tx, before, after, agent)

        return await self._commits.run(body)


HELD_BACK = {ListingStatus.SUSPENDED: "listing_suspended", ListingStatus.UNDER_REVIEW: "listing_held"}


def _judged(listing: Listing, now: datetime, policy: Policy) -> OutboxRow:
    """Tell the owner what was decided, and why."""
    fact = (HELD_BACK.get(moderation.judged(listing), "listing_lifted"), listing.id, listing.version)
    args = {"listing_id": listing.id, "agent": listing.agent_name, "reason": listing.status_reason or ""}
    return notice(NotificationKind.ACCOUNT, listing.owner_id, fact, now, policy.event_retention, args)


def _require_id(listing_id: str) -> None:
    if not is_id(listing_id, Kind.LISTING):
        raise NotFound("listing")


def _put(tx: Tx, before: Listing, after: Listing, agent: Agent | None = None) -> Listing:
    """Write the listing if it changed, and with it the agent, which is published while its listing is public."""
    if after != before:
        tx.put(LISTINGS, after)
        tell_search(tx, before, after)
        if agent is not None:
            show(tx, agent, after)
    return after


def show(tx: Tx, agent: Agent, listing: Listing) -> None:
    """Let the agent, which was read, say whether its listing is public."""
    shown = replace(agent, listing_id=listing.id, published=listing.status in PUBLIC)
    if shown != agent:
        tx.put(AGENTS, shown)


def _equalities(wanted: ListingFilter) -> list[Filter]:
    equal: dict[str, str | bool | None] = {
        "type": wanted.type.value if wanted.type else None,
        "language": wanted.language,
        "has_voice_chat": wanted.has_voice_chat,
        "has_memory": wanted.has_memory,
        "owner_id": wanted.owner_id,
    }
    plan = [Filter(field, "==", value) for field, value in equal.items() if value is not None]
    if wanted.ranks:
        plan.append(Filter("rank", "in", sorted(rank.value for rank in wanted.ranks)))
    return plan


def _label(wanted: ListingFilter) -> list[Filter]:
    """One filter on the labels, which is all that a query may have: the most telling one."""
    one = wanted.game or wanted.category
    if one is not None:
        return [Filter("labels", "array-contains", one)]
    return [Filter("labels", "array-contains-any", list(wanted.tags))] if wanted.tags else []


def _ranges(wanted: ListingFilter, sort: ListingSort) -> list[Filter]:
    """The ranges of the field that the order begins with: the index that sorts also bounds."""
    if sort is ListingSort.RATING and wanted.min_rating_milli is not None:
        return [Filter("rating_milli", ">=", wanted.min_rating_milli)]
    if sort not in BY_PRICE:
        return []
    bounds: tuple[tuple[Op, Dof | None], ...] = ((">=", wanted.min_price), ("<=", wanted.max_price))
    return [Filter(_HOURLY, op, price.units) for op, price in bounds if price is not None]


def _is_answered(wanted: ListingFilter, sort: ListingSort) -> bool:
    """Whether the query alone answers the filter, so that nothing is left to do after the reading."""
    priced = wanted.min_price is not None or wanted.max_price is not None
    labels = (wanted.game is not None) + (wanted.category is not None) + bool(wanted.tags)
    return (
        labels <= 1
        and (not priced or sort in BY_PRICE)
        and (wanted.min_rating_milli is None or sort is ListingSort.RATING)
    )
