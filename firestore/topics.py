"""Topics whose subject has many writers, listings and agents: counted by a task after the commit, never in its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from domain import listings
from domain.events import Event, EventType, agent_topic, listing_topic
from domain.ids import Kind, derived_id
from domain.listings import Listing, Seller, Tally
from domain.money import ZERO
from domain.notifications import note
from domain.policy import Policy
from domain.revenue import payees
from domain.sessions import EndReason, Session, SessionType
from domain.users import NotificationKind
from firestore.backend import Backend
from firestore.collections import LISTINGS, OUTBOX, REVIEWS, SELLERS, SESSIONS, TALLIES, TOPICS
from firestore.commit import Commits, Tx
from firestore.notifications import NOTIFY, notes, notice, notice_id
from firestore.outbox import row
from firestore.rows import TopicHead

ANNOUNCE = "announce"  # the task that publishes what happened to a listing or agent; the name outlives a deploy


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
        """Count what a session has done so far, once, in its listing's and seller's figures, and publish it. Tell its
        hirer, once for each stretch, that no more than a tenth of the hold is left.

        Gives when to come back to a session that is not settled: as its hold runs low, then when it is over by itself.
        Until then the row stays, so that a queue which forgets costs 20 seconds and not the end of the session. Two to
        four RPCs.
        """

        async def body(tx: Tx) -> datetime | None:
            await tx.read(SESSIONS.at(session_id), TALLIES.at(session_id), *_row_path(row_id))
            session = tx.get(SESSIONS, session_id)
            hired = session is not None and session.type is SessionType.HIRED
            if session is not None and hired and session.listing_id is not None:
                await self._count(tx, session, session.listing_id, now)
            if session is None or session.settled:
                await tx.finish(row_id)
                return None
            if hired and session.low_at <= now < session.over_at:
                await self._warn_low(tx, session, now)
            again = session.due_at(now)
            await tx.postpone(row_id, again)
            return again

        return await self._commits.run(body)

    async def announce(self, kind: str, subject: dict[str, str], row_id: str, now: datetime) -> None:
        """Publish a review, a publication or a change of an agent, once for each outbox row. Three RPCs or four."""

        async def body(tx: Tx) -> None:
            await tx.read(*_row_path(row_id), OUTBOX.at(derived_id(Kind.OUTBOX, "announced", row_id)))
            if not await self._published(tx, ("announced", row_id)):
                drafts = await self._drafts(tx, kind, subject)
                told = _reviewed(tx, subject) if kind == "review" and drafts else None
                await self._publish(tx, ("announced", row_id), drafts, now, told)
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
            await self._publish(tx, ("hired", session.id), drafts, now, _hired(session, listing))
        retention = self._policy.event_retention
        if ended:
            tx.tell(row(("ended", session.id), now, retention, task=NOTIFY, args=_ended(session, listing)))

    async def _warn_low(self, tx: Tx, session: Session, now: datetime) -> None:
        fact = ("session_low", session.id, len(session.legs))
        told_id = notice_id(session.hirer_id, fact)
        assert session.listing_id is not None, "a hired session has its listing"
        await tx.read(LISTINGS.at(session.listing_id), OUTBOX.at(told_id))
        if tx.get(OUTBOX, told_id) is not None:
            return
        listing = tx.get(LISTINGS, session.listing_id)
        assert listing is not None, "a listing is never deleted"
        args = {"session_id": session.id, "agent": listing.agent_name, "dof": str(session.remaining(now).units)}
        retention = self._policy.event_retention
        tx.tell(notice(NotificationKind.SESSIONS, session.hirer_id, fact, now, retention, args))

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

    async def _publish(
        self,
        tx: Tx,
        fact: tuple[str, ...],
        drafts: Sequence[Draft],
        now: datetime,
        told: dict[str, str] | None = None,
    ) -> None:
        """Number the drafts in their topics and write them as one outbox row, which also tells users of `told`."""
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
        task = NOTIFY if told else None
        tx.tell(row(fact, now, self._policy.event_retention, events=events, task=task, args=told))


def _hired(session: Session, listing: Listing) -> dict[str, str]:
    """What a hire tells its owner, and the hirer's integrators."""
    about = {"session_id": session.id, "agent_id": session.agent_id, "listing_id": listing.id}
    said = {**about, "agent": listing.agent_name, "dof": str(session.held.units)}
    return notes(
        [
            note(NotificationKind.HIRES, session.owner_id, ("hired", session.id), said),
            note(None, session.hirer_id, ("session_started", session.id), about),
        ]
    )


def _ended(session: Session, listing: Listing) -> dict[str, str]:
    """What the end of a hire tells its hirer, its owner, and a creator who is not the owner and has a share.

    A creator does not read the session (T-Z02), so that note does not name it.
    """
    settlement = session.settlement
    assert settlement is not None, "a session that has ended is settled"
    about = {"session_id": session.id, "agent_id": session.agent_id, "listing_id": listing.id}
    about["agent"] = listing.agent_name
    used = {**about, "minutes": str(settlement.minutes), "dof": str(settlement.consumed.units)}
    got = dict(payees(settlement.distribution, session.owner_id, session.creator_id))
    earned = {**about, "dof": str(got.pop(session.owner_id, ZERO).units)}
    told = [
        note(NotificationKind.SESSIONS, session.hirer_id, ("session_ended", session.id), used),
        note(NotificationKind.SESSIONS, session.owner_id, ("hire_ended", session.id), earned),
    ]
    for creator_id, share in got.items():
        said = {name: value for name, value in about.items() if name != "session_id"}
        said["dof"] = str(share.units)
        told.append(note(NotificationKind.EARNINGS, creator_id, ("share_earned", session.id), said))
    return notes(told)


def _reviewed(tx: Tx, subject: dict[str, str]) -> dict[str, str] | None:
    """What a new review, which was read with its listing, tells who sold the session; an edit tells nothing."""
    review, listing = tx.get(REVIEWS, subject["review_id"]), tx.get(LISTINGS, subject["listing_id"])
    if review is None or listing is None or review.version > 1:
        return None
    about = {"review_id": review.id, "agent_id": listing.agent_id, "listing_id": listing.id}
    said = {**about, "agent": listing.agent_name, "rating": str(review.rating)}
    return notes([note(NotificationKind.REVIEWS, review.owner_id, ("review_received", review.id), said)])


def _row_path(row_id: str | None) -> list[str]:
    return [] if row_id is None else [OUTBOX.at(row_id)]
