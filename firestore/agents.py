"""Agents: built by their owner, versioned, handed over, deleted. The listing follows in the same commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from domain import listings, moderation, revisions
from domain.agents import AGENTS_MAX, Agent, AgentConfiguration, AgentVersion, Rank, require_owned, version_id
from domain.errors import AgentInUse, Conflict, NotFound, SelfDealing
from domain.ids import Kind, is_id
from domain.policy import Policy
from domain.revisions import AgentChange, AgentWish, Revision
from domain.users import NotificationKind, require_active
from firestore.backend import Aggregate, Backend, Filter, Order, Query
from firestore.collections import AGENT_VERSIONS, AGENTS, LISTINGS, SESSIONS, USERS
from firestore.commit import Commits, Tx
from firestore.image_drops import drop
from firestore.notifications import notice
from firestore.outbox import row
from firestore.paging import Page, Position, fetch, read_page
from firestore.rows import OutboxRow
from firestore.search import tell_search
from firestore.topics import ANNOUNCE

VERSION_MAX = 2**31 - 1  # GraphQL's Int


@dataclass(frozen=True, slots=True)
class Expected:
    """The agent that the caller means, and the version that it saw; None takes the agent as it is."""

    agent_id: str
    version: int | None = None


class Agents:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing.

    A change that is there already is answered and not made again, so a repeated call is safe.
    """

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def create(self, viewer_id: str, agent_id: str, wish: AgentWish, now: datetime) -> Agent:
        """Build an agent under a fresh random id. Three RPCs, two writes.

        Raises InvalidConfiguration, BadInput, Conflict for who has as many as one may.
        """
        revision = revisions.create(agent_id, wish, self._policy.catalogue, viewer_id, now)

        async def body(tx: Tx) -> Agent:
            await tx.read(USERS.at(viewer_id), AGENTS.at(agent_id))
            require_active(tx.get(USERS, viewer_id))
            before = tx.get(AGENTS, agent_id)
            if before is not None:  # our own commit, whose reply was lost: nobody else has this id
                return before
            await self._require_room(viewer_id, "You have", "delete one with deleteAgent.")
            tx.create(AGENTS, revision.agent)
            assert revision.version is not None, "a new agent has its first version"
            tx.create(AGENT_VERSIONS, revision.version)
            return revision.agent

        return await self._commits.run(body)

    async def update(self, viewer_id: str, expected: Expected, wish: AgentChange, now: datetime) -> Agent:
        """Change the agent's facts. Two RPCs. Raises NotFound, Conflict, InvalidConfiguration, BadInput."""
        catalogue = self._policy.catalogue
        return await self._revise(
            viewer_id, expected, lambda agent: revisions.change(agent, wish, expected.version, catalogue, now), now
        )

    async def update_configuration(
        self, viewer_id: str, expected: Expected, configuration: AgentConfiguration, now: datetime
    ) -> Agent:
        """Replace the configuration: a new version. Two RPCs. Raises as `update`."""
        catalogue = self._policy.catalogue
        return await self._revise(
            viewer_id,
            expected,
            lambda agent: revisions.configure(agent, configuration, expected.version, catalogue, now),
            now,
        )

    async def restore_version(self, viewer_id: str, expected: Expected, version: int, now: datetime) -> Agent:
        """Make an old configuration the newest version. Two RPCs. Raises as `update`; NotFound for no such version."""
        _require_id(expected.agent_id)
        if not 1 <= version <= VERSION_MAX:
            raise NotFound("version")
        old_id = version_id(expected.agent_id, version)

        async def body(tx: Tx) -> Agent:
            await tx.read(*_paths(viewer_id, expected.agent_id), AGENT_VERSIONS.at(old_id))
            agent = require_owned(tx.get(AGENTS, expected.agent_id), viewer_id)
            old = tx.get(AGENT_VERSIONS, old_id)
            if old is None:
                raise NotFound("version")
            revision = revisions.restore(agent, old, expected.version, self._policy.catalogue, now)
            return self._write(tx, viewer_id, revision, now)

        return await self._commits.run(body)

    async def set_rank(self, agent_id: str, rank: Rank, now: datetime) -> Agent:
        """For the demo, whose agents have ranks that months of hires would have earned them: progression gives ranks in
        its own commits, and no mutation does. Two RPCs. Raises NotFound.
        """
        _require_id(agent_id)

        async def body(tx: Tx) -> Agent:
            await tx.read(AGENTS.at(agent_id), LISTINGS.at(listings.listing_id(agent_id)))
            before = tx.get(AGENTS, agent_id)
            if before is None or before.deleted_at is not None:
                raise NotFound("agent")
            return self._put(tx, revisions.with_rank(before, rank, now), now)

        return await self._commits.run(body)

    async def delete(self, viewer_id: str, agent_id: str, now: datetime) -> Agent:
        """Delete for good in the eyes of all, with its picture; what refers to it stays readable. Three RPCs, one to
        four writes.

        Raises NotFound, AgentInUse while a session of it is not settled. A hire that commits in the same moment runs
        to its end at its frozen terms.
        """
        _require_id(agent_id)

        async def body(tx: Tx) -> Agent:
            await tx.read(AGENTS.at(agent_id), LISTINGS.at(listings.listing_id(agent_id)))
            before = tx.get(AGENTS, agent_id)
            if before is not None and before.owner_id == viewer_id and before.deleted_at == now:
                return before  # our own commit, whose reply was lost
            agent = require_owned(before, viewer_id)
            await self._require_idle(tx, agent)
            deleted = replace(agent, image=None, deleted_at=now, published=False, updated_at=now)
            tx.put(AGENTS, deleted)
            drop(tx, agent.image, None, now)
            listing = tx.get(LISTINGS, listings.listing_id(agent_id))
            if listing is not None:
                withdrawn = moderation.withdraw(listing, now)
                if withdrawn != listing:
                    tx.put(LISTINGS, withdrawn)
                    tell_search(tx, listing, withdrawn)
            return deleted

        return await self._commits.run(body)

    async def transfer(self, viewer_id: str, agent_id: str, to_user_id: str, now: datetime) -> Agent:
        """Give the agent to another user; the creator stays. Its listing is taken off the market, or the giver would
        have another offer what that other has not seen; the receiver is told. Four RPCs, two to four writes.

        Sessions and reviews that are there keep the owner of their time. Raises NotFound, SelfDealing, Conflict for a
        receiver who has as many as one may, Forbidden for a suspended giver, AgentInUse while a session is not settled.
        """
        _require_id(agent_id)
        if not is_id(to_user_id, Kind.USER):
            raise NotFound("user")
        if to_user_id == viewer_id:
            raise SelfDealing("The agent is yours already: name another user.")

        async def body(tx: Tx) -> Agent:
            await tx.read(*_paths(viewer_id, agent_id), USERS.at(to_user_id))
            before = tx.get(AGENTS, agent_id)
            if before is not None and before.owner_id == to_user_id and before.updated_at == now:
                return before  # our own commit, whose reply was lost
            require_active(tx.get(USERS, viewer_id))
            agent = require_owned(before, viewer_id)
            receiver = tx.get(USERS, to_user_id)
            if receiver is None or receiver.erased_at is not None or receiver.suspended_at is not None:
                raise NotFound("user")  # why somebody takes nothing is nobody else's business
            await self._require_idle(tx, agent)
            await self._require_room(to_user_id, "This user has", "choose another user.")
            given = replace(agent, owner_id=to_user_id, published=False, updated_at=now)
            tx.put(AGENTS, given)
            _follow(tx, given, now)
            tx.tell(self._received(given, now))
            return given

        return await self._commits.run(body)

    async def get_many(self, ids: Sequence[str]) -> list[Agent | None]:
        """In the order of the ids, the deleted too: who may see one, `domain.agents.visible_to` says. One RPC."""
        return await fetch(self._backend, AGENTS, Kind.AGENT, ids)

    async def page_of_owner(self, owner_id: str, first: int, after: Position | None) -> Page[Agent]:
        """An owner's agents, newest first, without the deleted. One RPC."""
        filters = (Filter("owner_id", "==", owner_id), Filter("deleted_at", "==", None))
        query = Query(AGENTS.name, filters, (Order("created_at", descending=True),))
        return await read_page(self._backend, AGENTS, query, first, after)

    async def versions(self, agent_id: str, first: int, after: Position | None) -> Page[AgentVersion]:
        """The versions of an agent's configuration, newest first. One RPC. Only its owner may be shown them."""
        query = Query(AGENT_VERSIONS.name, (Filter("agent_id", "==", agent_id),), (Order("version", descending=True),))
        return await read_page(self._backend, AGENT_VERSIONS, query, first, after)

    async def version_before(self, version: AgentVersion) -> AgentVersion | None:
        """The version that a version took the place of; None before the first. One RPC."""
        filters = (Filter("agent_id", "==", version.agent_id), Filter("version", "<", version.version))
        found = await self._backend.query(
            Query(AGENT_VERSIONS.name, filters, (Order("version", descending=True),), limit=1)
        )
        return AGENT_VERSIONS.decode(found[0]) if found else None

    async def _revise(
        self, viewer_id: str, expected: Expected, revise: Callable[[Agent], Revision], now: datetime
    ) -> Agent:
        _require_id(expected.agent_id)

        async def body(tx: Tx) -> Agent:
            await tx.read(*_paths(viewer_id, expected.agent_id))
            agent = require_owned(tx.get(AGENTS, expected.agent_id), viewer_id)
            revised = self._write(tx, viewer_id, revise(agent), now)
            drop(tx, agent.image, revised.image, now)
            return revised

        return await self._commits.run(body)

    def _write(self, tx: Tx, viewer_id: str, revision: Revision, now: datetime) -> Agent:
        require_active(tx.get(USERS, viewer_id))
        return self._put(tx, revision, now)

    def _put(self, tx: Tx, revision: Revision, now: datetime) -> Agent:
        return keep(tx, revision, now, self._policy.event_retention)

    async def _require_idle(self, tx: Tx, agent: Agent) -> None:
        unsettled = (Filter("agent_id", "==", agent.id), Filter("settled", "==", False))
        if await tx.find(SESSIONS, Query(SESSIONS.name, unsettled, limit=1)):
            raise AgentInUse("A session of this agent is running: wait for its end, or end it with endSession.")

    async def _require_room(self, owner_id: str, whose: str, advice: str) -> None:
        """Raises Conflict for who has as many agents as one may. Some that come at the same moment all see one room."""
        mine = (Filter("owner_id", "==", owner_id), Filter("deleted_at", "==", None))
        query = Query(AGENTS.name, mine, limit=AGENTS_MAX)
        counted = await self._backend.aggregate(query, {"agents": Aggregate("count")})
        if int(counted["agents"]) >= AGENTS_MAX:
            raise Conflict(f"{whose} {AGENTS_MAX} agents, which is the most: {advice}")

    def _received(self, agent: Agent, now: datetime) -> OutboxRow:
        """Told as earnings are, which are not mailed where nobody asked for it: a stranger could send a hundred."""
        said, fact = {"agent": agent.name, "agent_id": agent.id}, ("agent_received", agent.id, now.isoformat())
        return notice(NotificationKind.EARNINGS, agent.owner_id, fact, now, self._policy.event_retention, said)


def keep(tx: Tx, revision: Revision, now: datetime, retention: timedelta) -> Agent:
    """Write the agent as a change left it, its new version and its listing, and announce it. The listing was read."""
    agent = revision.agent
    if not revision.changes:
        return agent
    tx.put(AGENTS, agent)
    if revision.version is not None:
        tx.create(AGENT_VERSIONS, revision.version)
    _follow(tx, agent, now)
    args = {"kind": "agent_updated", "agent_id": agent.id, "changes": ",".join(revision.changes)}
    tx.tell(row(("agent_updated", agent.id, agent.version), now, retention, task=ANNOUNCE, args=args))
    return agent


def _require_id(agent_id: str) -> None:
    if not is_id(agent_id, Kind.AGENT):
        raise NotFound("agent")


def _paths(viewer_id: str, agent_id: str) -> tuple[str, str, str]:
    return USERS.at(viewer_id), AGENTS.at(agent_id), LISTINGS.at(listings.listing_id(agent_id))


def _follow(tx: Tx, agent: Agent, now: datetime) -> None:
    """Let the listing say what the agent now is, for a search."""
    listing = tx.get(LISTINGS, listings.listing_id(agent.id))
    if listing is None:
        return
    followed = listings.follow(listing, agent, now)
    if agent.owner_id != listing.owner_id:  # both are in good standing: the giver's shelf would not find it any more
        followed = moderation.withdraw(moderation.unshelve(followed, now), now)
    if followed != listing:
        tx.put(LISTINGS, followed)
        tell_search(tx, listing, followed)
