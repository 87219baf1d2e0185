"""Progress: figures of players, agents and sellers, counted once by the tasks that follow, and what they are worth."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain import badges, listings, progress, revisions
from domain.acts import require_other
from domain.agents import Agent
from domain.badges import BadgeTotals, EarnedBadge
from domain.errors import NotFound
from domain.ids import Kind, derived_id, is_id
from domain.listings import Listing
from domain.policy import Policy
from domain.progress import Mark, Progress
from domain.sessions import Session, SessionType
from domain.users import NotificationKind, Viewer
from firestore import acts
from firestore.agents import keep
from firestore.backend import Aggregate, Backend, Filter, Query
from firestore.collections import AGENTS, BADGE_TOTALS, LISTINGS, MARKS, PROGRESS, REVIEWS, USERS
from firestore.commit import Commits, Tx
from firestore.notifications import notice

TOTALS = "badges"  # the one document that the count writes


class Progresses:
    """Every step is counted once, however often it is told. Raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy
        self._rules = policy.progression

    async def count_session(self, session: Session, now: datetime) -> None:
        """Count the billed minutes of an ended hire for its hirer, its agent and its owner. Two RPCs, one if counted.

        The hirer and the agent may earn badges, the hirer and the owner achievements, the agent a rank.
        """
        settlement = session.settlement
        if session.type is not SessionType.HIRED or settlement is None or settlement.minutes < 1:
            return
        mark = Mark(derived_id(Kind.MARK, "session", session.id), settlement.ended_at)
        people = (session.hirer_id, session.owner_id, session.agent_id)
        minutes, at = settlement.minutes, settlement.ended_at

        async def body(tx: Tx) -> None:
            listing_id = listings.listing_id(session.agent_id)
            paths = (MARKS.at(mark.id), AGENTS.at(session.agent_id), LISTINGS.at(listing_id))
            await tx.read(*paths, *map(PROGRESS.at, people))
            agent = tx.get(AGENTS, session.agent_id)
            if tx.get(MARKS, mark.id) is not None or agent is None:
                return
            hirer, owner, machine = (tx.get(PROGRESS, each) or Progress(each) for each in people)
            tx.create(MARKS, mark)
            played = replace(progress.play(hirer, agent.games, minutes, at), hires=hirer.hires + 1)
            self._put(tx, hirer, progress.award_reached(played, self._rules.badges, at), None, at, now)
            self._put(tx, owner, replace(owner, sales=owner.sales + 1), None, at, now)
            used = progress.play(machine, agent.games, minutes, at)
            self._put(tx, machine, progress.award_reached(used, self._rules.badges, at), agent, at, now)
            self._promote(tx, agent, used, tx.get(LISTINGS, listing_id), now)

        await self._commits.run(body)

    async def count_review(self, review_id: str, now: datetime) -> None:
        """Count a review for its author, and what its rating makes of the agent. Three RPCs, two if nothing is new."""
        mark_id = derived_id(Kind.MARK, "review", review_id)

        async def body(tx: Tx) -> None:
            await tx.read(MARKS.at(mark_id), REVIEWS.at(review_id))
            review = tx.get(REVIEWS, review_id)
            if review is None:
                return
            star_id = derived_id(Kind.MARK, "five stars", review.listing_id)
            documents = (MARKS.at(star_id), AGENTS.at(review.agent_id), LISTINGS.at(review.listing_id))
            await tx.read(*documents, *map(PROGRESS.at, (review.reviewer_id, review.owner_id, review.agent_id)))
            author = tx.get(PROGRESS, review.reviewer_id) or Progress(review.reviewer_id)
            owner = tx.get(PROGRESS, review.owner_id) or Progress(review.owner_id)
            if tx.get(MARKS, mark_id) is None:
                tx.create(MARKS, Mark(mark_id, review.created_at))
                written = replace(author, reviews=author.reviews + 1)
                self._put(tx, author, written, None, review.created_at, now)
            listing, agent = tx.get(LISTINGS, review.listing_id), tx.get(AGENTS, review.agent_id)
            if listing is None or agent is None:
                return
            if self._has_five_stars(listing) and tx.get(MARKS, star_id) is None:
                tx.create(MARKS, Mark(star_id, review.updated_at))
                starred = replace(owner, five_star_agents=owner.five_star_agents + 1)
                self._put(tx, owner, starred, None, review.updated_at, now)
            used = tx.get(PROGRESS, review.agent_id) or Progress(review.agent_id)
            self._promote(tx, agent, used, listing, now)

        await self._commits.run(body)

    async def count_publication(self, listing_id: str, now: datetime) -> None:
        """Count an agent's first publication for who owns it then. Three RPCs, one if it is counted."""
        mark_id = derived_id(Kind.MARK, "published", listing_id)

        async def body(tx: Tx) -> None:
            await tx.read(MARKS.at(mark_id), LISTINGS.at(listing_id))
            listing = tx.get(LISTINGS, listing_id)
            if tx.get(MARKS, mark_id) is not None or listing is None:
                return
            before = await tx.load(PROGRESS, listing.owner_id) or Progress(listing.owner_id)
            tx.create(MARKS, Mark(mark_id, listing.created_at))
            published = replace(before, publications=before.publications + 1)
            self._put(tx, before, published, None, listing.created_at, now)

        await self._commits.run(body)

    async def award(self, actor: Viewer, subject_id: str, badge_id: str, reason: str, now: datetime) -> EarnedBadge:
        """Give a user or an agent a badge, whatever its hours. One that it has stays as it was earned. Two RPCs.

        Raises NotFound, Conflict for one's own, BadInput.
        """
        why = badges.require_reason(reason)
        if badge_id not in {each.id for each in self._rules.badges}:
            raise NotFound("badge")
        of_user = is_id(subject_id, Kind.USER)
        if not of_user and not is_id(subject_id, Kind.AGENT):
            raise NotFound("user or agent")
        holder = USERS.at(subject_id) if of_user else AGENTS.at(subject_id)

        async def body(tx: Tx) -> EarnedBadge:
            await tx.read(holder, USERS.at(actor.id), PROGRESS.at(subject_id))
            user, agent = (tx.get(USERS, subject_id), None) if of_user else (None, tx.get(AGENTS, subject_id))
            here = user is not None and user.erased_at is None
            if not here and (agent is None or agent.deleted_at is not None):
                raise NotFound("user or agent")
            require_other(actor.id, *((agent.owner_id, agent.creator_id) if agent else (subject_id,)))
            before = tx.get(PROGRESS, subject_id) or Progress(subject_id)
            known = next((each for each in before.badges if each.badge_id == badge_id), None)
            if known is not None:
                return known
            earned = EarnedBadge(badge_id, now, why)
            self._put(tx, before, progress.award(before, earned), agent, now, now)
            await acts.record(tx, actor.id, "awardBadge", subject_id, why, now, {"badge": (None, badge_id)})
            return earned

        return await self._commits.run(body)

    async def count_badges(self, now: datetime) -> int:
        """Count who has each badge into one document; gives how many have any. One RPC a badge, and two."""
        counted = {each.id: await self._holders(each.id) for each in self._rules.badges}

        async def body(tx: Tx) -> None:
            before = await tx.load(BADGE_TOTALS, TOTALS)
            if before is None or before.awarded != counted:
                tx.put(BADGE_TOTALS, BadgeTotals(TOTALS, now, counted))

        await self._commits.run(body)
        return sum(counted.values())

    async def _holders(self, badge_id: str) -> int:
        query = Query(PROGRESS.name, (Filter("badge_ids", "array-contains", badge_id),))
        return int((await self._backend.aggregate(query, {"count": Aggregate("count")}))["count"])

    def _put(
        self, tx: Tx, before: Progress, counted: Progress, agent: Agent | None, at: datetime, now: datetime
    ) -> None:
        """Write the figures with what they have achieved, and tell the user, or the agent's owner, of what is new."""
        after = counted if agent else progress.achieve(counted, self._rules.achievements, at)
        tx.put(PROGRESS, after)
        names = {each.id: each.name for each in self._rules.badges}
        for earned in after.badges[len(before.badges) :]:
            args = {"badge_id": earned.badge_id, "badge": names[earned.badge_id]}
            if agent is None:
                self._tell(tx, after.id, ("badge_awarded", earned.badge_id), args, now)
            else:
                about = {**args, "agent_id": agent.id, "agent": agent.name}
                self._tell(tx, agent.owner_id, ("agent_badge_awarded", agent.id, earned.badge_id), about, now)
        titles = {each.key: each.name for each in self._rules.achievements}
        for achieved in after.achieved[len(before.achieved) :]:
            args = {"achievement": titles[achieved.key]}
            self._tell(tx, after.id, ("achievement_unlocked", achieved.key), args, now)

    def _promote(self, tx: Tx, agent: Agent, used: Progress, listing: Listing | None, now: datetime) -> None:
        """Let an agent that takes part in progression have the rank that it has reached."""
        if not agent.progression_enabled or agent.deleted_at is not None or listing is None:
            return
        ratings, milli = listing.rating_count, listing.rating_milli
        rank = progress.rank_of(self._rules.ranks, used.minutes, ratings, milli, agent.rank)
        if rank is agent.rank:
            return
        keep(tx, revisions.with_rank(agent, rank, now), now, self._policy.event_retention)
        args = {"agent_id": agent.id, "agent": agent.name, "rank": rank.value}
        self._tell(tx, agent.owner_id, ("rank_reached", agent.id, agent.version), args, now)

    def _tell(self, tx: Tx, user_id: str, fact: tuple[str | int, ...], args: dict[str, str], now: datetime) -> None:
        tx.tell(notice(NotificationKind.BADGES, user_id, fact, now, self._policy.event_retention, args))

    def _has_five_stars(self, listing: Listing) -> bool:
        rules = self._rules
        return listing.rating_count >= rules.five_stars_ratings and listing.rating_milli >= rules.five_stars_milli
