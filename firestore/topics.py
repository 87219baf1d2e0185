"""Topics whose subject has many writers, listings and agents: counted by a task after the commit, never in its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from domain import listings
from domain.events import Event, EventType, agent_topic, listing_topic
from domain.ids import Kind, derived_id
from domain.listings import Seller, Tally
from domain.policy import Policy
from domain.sessions import EndReason, Session, SessionType
from firestore.backend import Backend
from firestore.collections import LISTINGS, OUTBOX, REVIEWS, SELLERS, SESSIONS, TALLIES, TOPICS
from firestore.commit import Commits, Tx
from firestore.outbox import row
from firestore.rows import TopicHead


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has no number yet."""

    topic: str
    type: EventType
    data: dict[str, str | int]


class Topics:
    """Numbers and publishes what happened to listings and agents; the same fact may be told again."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def head(self, topic: str) -> int:
        """The number of the topic's last event; 0 before the first. One RPC."""
        (found,) = await self._backend.get_many([TOPICS.at(topic)])
        return 0 if found is None else TOPICS.decode(found).sequence

    async def follow_session(self, session_id: str, row_id: str | None, now: datetime) -> datetime | None:
        """Count what a session has done so far, once, in its listing's and seller's figures, and publish it.

        Gives when to come back: the moment at which a session that is not settled is over by itself. Until then the row
        stays, so that a queue which forgets costs 20 seconds and not the end of the session. Two to four RPCs.
        """

        async def body(tx: Tx) -> datetime | None:
            await tx.read(SESSIONS.at(session_id), TALLIES.at(session_id), *_row_path(row_id))
            session = tx.get(SESSIONS, session_id)
            if session is not None and session.type is SessionType.HIRED and session.listing_id is not None:
                await self._count(tx, session, session.listing_id, now)
            if session is None or session.settled:
                await tx.finish(row_id)
                return None
            await tx.postpone(row_id, session.over_at)
            return session.over_at

        return await self._commits.run(body)

    async def announce(self, kind: str, subject: dict[str, str], row_id: str, now: datetime) -> None:
        """Publish a review, a publication or a change of an agent, once for each outbox row. Three RPCs or four."""

        async def body(tx: Tx) -> None:
            await tx.read(*_row_path(row_id), OUTBOX.at(derived_id(Kind.OUTBOX, "announced", row_id)))
            if not await self._published(tx, ("announced", row_id)):
                await self._publish(tx, ("announced", row_id), await self._drafts(tx, kind, subject), now)
            await tx.finish(row_id)

        await self._commits.run(body)

    async def _count(self, tx: Tx, session: Session, listing_id: str, now: datetime) -> None:
        tally = tx.get(TALLIES, session.id) or Tally(session.id)
        ended = session.settlement is not None
        if tally.hired and tally.ended >= ended:
            return
        await tx.read(LISTINGS.at(listing_id), SELLERS.at(session.owner_id))
        listing = tx.get(LISTINGS, listing_id)
        assert listing is not None, "a hired session has its listing"
        seller = tx.get(SELLERS, session.owner_id) or Seller(session.owner_id)
        counted = listings.count_hire(listing, seller, tally)
        if session.settlement is not None:
            fair = session.settlement.reason not in (EndReason.ENDED_BY_OWNER, EndReason.MODERATED)
            counted = listings.count_end(*counted, successful=fair and session.crashes == 0)
        tx.put(LISTINGS, counted[0])
        if counted[1] != seller:
            tx.put(SELLERS, counted[1])
        tx.put(TALLIES, counted[2])
        if not tally.hired:
            data: dict[str, str | int] = {"agentId": session.agent_id, "sessionId": session.id}
            topics = (listing_topic(listing_id), agent_topic(session.agent_id))
            drafts = [Draft(topic, EventType.AGENT_HIRED, data) for topic in topics]
            await self._publish(tx, ("hired", session.id), drafts, now)

    async def _drafts(self, tx: Tx, kind: str, subject: dict[str, str]) -> list[Draft]:
        if kind == "agent_updated":
            data: dict[str, str | int] = {"agentId": subject["agent_id"], "changes": subject["changes"]}
            return [Draft(agent_topic(subject["agent_id"]), EventType.AGENT_UPDATED, data)]
        if kind == "published":
            agent_id, listing_id = subject["agent_id"], subject["listing_id"]
            data = {"agentId": agent_id, "listingId": listing_id}
            topics = (agent_topic(agent_id), listing_topic(listing_id))
            return [Draft(topic, EventType.AGENT_PUBLISHED, data) for topic in topics]
        assert kind == "review", f"{kind} is nothing to announce"
        await tx.read(REVIEWS.at(subject["review_id"]), LISTINGS.at(subject["listing_id"]))
        review, listing = tx.get(REVIEWS, subject["review_id"]), tx.get(LISTINGS, subject["listing_id"])
        if review is None or listing is None:
            return []
        data = {"agentId": listing.agent_id, "listingId": listing.id}
        drafts = []
        for topic in (listing_topic(listing.id), agent_topic(listing.agent_id)):
            if review.version == 1:
                drafts.append(Draft(topic, EventType.REVIEW_ADDED, {**data, "reviewId": review.id}))
            drafts.append(Draft(topic, EventType.RATING_UPDATED, {**data, "ratingMilli": listing.rating_milli}))
        return drafts

    async def _published(self, tx: Tx, fact: tuple[str, ...]) -> bool:
        return await tx.load(OUTBOX, derived_id(Kind.OUTBOX, *fact)) is not None

    async def _publish(self, tx: Tx, fact: tuple[str, ...], drafts: Sequence[Draft], now: datetime) -> None:
        """Number the drafts in their topics and write them as one outbox row."""
        if not drafts:
            return
        topics = list(dict.fromkeys(draft.topic for draft in drafts))
        await tx.read(*map(TOPICS.at, topics))
        heads = {topic: tx.get(TOPICS, topic) or TopicHead(topic) for topic in topics}
        events = []
        for draft in drafts:
            head = replace(heads[draft.topic], sequence=heads[draft.topic].sequence + 1)
            heads[draft.topic] = head
            events.append(Event(draft.topic, head.sequence, draft.type, now, draft.data))
        for head in heads.values():
            tx.put(TOPICS, head)
        tx.tell(row(fact, now, self._policy.event_retention, events=events))


def _row_path(row_id: str | None) -> list[str]:
    return [] if row_id is None else [OUTBOX.at(row_id)]
