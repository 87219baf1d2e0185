"""The nouns' operations on an empty memory store, with every body rehearsed and every cost counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from domain.agents import Agent
from domain.listings import Listing
from firestore.agents import Agents
from firestore.backend import Backend, Query, Unclear, Write
from firestore.collections import AGENTS, LISTINGS, OUTBOX, USERS
from firestore.commit import Commits
from firestore.counting import CountingBackend
from firestore.listings import Listings
from firestore.memory import MemoryBackend
from firestore.records import Collection, R, encode
from firestore.reviews import Reviews
from firestore.rows import OutboxRow
from firestore.users import Users
from tests.nouns import POLICY, a_listing, a_user, an_agent


class Market:
    """A market of its own for each test."""

    def __init__(self, backend: Backend | None = None) -> None:
        self.memory = MemoryBackend()
        self.backend = CountingBackend(backend or self.memory)
        commits = Commits(self.backend, jitter=lambda: 0.5, told=lambda rows: None, rehearse=True)
        self.users = Users(self.backend, commits)
        self.agents = Agents(self.backend, commits, POLICY)
        self.listings = Listings(self.backend, commits, POLICY)
        self.reviews = Reviews(self.backend, commits, POLICY)

    @contextmanager
    def costs(self, *, rpcs: int, writes: int) -> Iterator[None]:
        """What the block costs, exactly. A rehearsed body's own queries count twice."""
        with self.backend.measure() as counts:
            yield
        assert (counts.rpcs, counts.writes) == (rpcs, writes)

    async def store(self, collection: Collection[R], *records: R) -> None:
        await self.backend.commit([Write(collection.at(record.id), encode(record)) for record in records])

    async def read(self, collection: Collection[R], record_id: str) -> R | None:
        (found,) = await self.backend.get_many([collection.at(record_id)])
        return None if found is None else collection.decode(found)

    async def opened(self) -> tuple[Agent, Listing]:
        """Ada's published agent; Ada, Max and Eve are registered."""
        await self.store(USERS, a_user("ada"), a_user("max"), a_user("eve"))
        listing = a_listing()
        agent = an_agent(published=True, listing_id=listing.id)
        await self.store(AGENTS, agent)
        await self.store(LISTINGS, listing)
        return agent, listing

    async def told(self) -> list[OutboxRow]:
        """The outbox rows."""
        return [OUTBOX.decode(snapshot) for snapshot in await self.backend.query(Query(OUTBOX.name))]

    async def everything(self) -> dict[str, Any]:
        """All documents, to see that a refusal changed nothing."""
        names = ("users", "sellers", "agents", "agent_versions", "listings", "reviews", "votes", "sessions", "outbox")
        found = [snapshot for name in names for snapshot in await self.backend.query(Query(name))]
        return {snapshot.path: snapshot.data for snapshot in found}

    async def losing_one_reply(self, act: Callable[[], Awaitable[R]]) -> R:
        """Run an operation whose first commit is applied while its reply is lost."""
        lost: list[str] = []

        async def lose(verb: str) -> None:
            if verb == "commit" and not lost:
                lost.append(verb)
                raise Unclear

        self.memory.after = lose
        try:
            return await act()
        finally:
            self.memory.after = None
            assert lost, "the operation commits"
