"""Reviews, and with each, in one commit, the sums of its listing and its seller."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain import listings, reviews, texts
from domain.acts import require_other
from domain.errors import AlreadyReviewed, NotFound
from domain.ids import Kind, is_id
from domain.listings import TOP_REVIEWS_MAX, Listing, Seller, TopReview, visible_to
from domain.policy import Policy
from domain.reviews import Review, ReviewAction, ReviewChange, ReviewWish, Vote
from domain.users import REASON_CHARACTERS_MAX, NotificationKind, Viewer, require_active, require_moderator
from firestore import acts
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import LISTINGS, REVIEWS, SELLERS, SESSIONS, USERS, VOTES
from firestore.commit import Commits, Tx
from firestore.notifications import notice
from firestore.outbox import row
from firestore.paging import Page, Position, read_page
from firestore.topics import ANNOUNCE


class Reviews:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def submit(self, viewer_id: str, session_id: str, wish: ReviewWish, now: datetime) -> Review:
        """Review an ended hire, once. Three RPCs, five writes.

        Raises NotFound, NotReviewable, AlreadyReviewed, Forbidden while suspended, BadInput.
        """
        if not is_id(session_id, Kind.SESSION):
            raise NotFound("session")
        review_id = reviews.review_id(session_id)

        async def body(tx: Tx) -> Review:
            await tx.read(SESSIONS.at(session_id), REVIEWS.at(review_id), USERS.at(viewer_id))
            session, known = tx.get(SESSIONS, session_id), tx.get(REVIEWS, review_id)
            require_active(tx.get(USERS, viewer_id))
            # Before anything that hangs on the clock: another process's may say that the session still runs.
            if known is not None and known.reviewer_id == viewer_id and known.created_at != now:
                raise AlreadyReviewed("You have reviewed this session: change your review with updateReview.")
            review = reviews.review(session, viewer_id, wish, now)
            if known == review:  # our own commit, whose reply was lost
                return known
            if known is not None:
                raise AlreadyReviewed("You have reviewed this session: change your review with updateReview.")
            listing, seller = await self._subjects(tx, review)
            reviews.require_not_owned(listing.owner_id, viewer_id)
            tx.create(REVIEWS, review)
            assert session is not None, "a review has its session"
            tx.put(SESSIONS, replace(session, review_id=review_id))
            self._count(tx, review, None, listing, seller, now)
            return review

        return await self._commits.run(body)

    async def update(self, viewer_id: str, review_id: str, wish: ReviewChange, now: datetime) -> Review:
        """Change one's own review. Three RPCs, two to four writes.

        Raises NotFound, NotReviewable once the agent is one's own, Forbidden while suspended, BadInput.
        """
        if not is_id(review_id, Kind.REVIEW):
            raise NotFound("review")

        async def body(tx: Tx) -> Review:
            await tx.read(REVIEWS.at(review_id), USERS.at(viewer_id))
            require_active(tx.get(USERS, viewer_id))
            before = tx.get(REVIEWS, review_id)
            review = reviews.change(before, viewer_id, wish, now)
            if before is None or review == before:
                return review
            listing, seller = await self._subjects(tx, review)
            reviews.require_not_owned(listing.owner_id, viewer_id)
            tx.put(REVIEWS, review)
            self._count(tx, review, before.rating, listing, seller, now)
            return review

        return await self._commits.run(body)

    async def vote(self, viewer_id: str, review_id: str, helpful: bool | None, now: datetime) -> Review:
        """Say whether another's review helps, change that, or withdraw it with None. Three RPCs, two writes, and the
        listing's where its most helpful reviews change.

        One review's voters come one by one: what many write at once are its counts alone, and a conflict reads them
        again. Raises NotFound, SelfDealing, Forbidden while suspended.
        """
        if not is_id(review_id, Kind.REVIEW):
            raise NotFound("review")
        vote_id = reviews.vote_id(review_id, viewer_id)

        async def body(tx: Tx) -> Review:
            await tx.read(REVIEWS.at(review_id), VOTES.at(vote_id), USERS.at(viewer_id))
            viewer = require_active(tx.get(USERS, viewer_id))
            review, before = tx.get(REVIEWS, review_id), tx.get(VOTES, vote_id)
            listing = await tx.load(LISTINGS, review.listing_id) if review is not None else None
            if review is None or listing is None or not visible_to(listing, Viewer(viewer.id, viewer.role)):
                raise NotFound("review")
            reviews.require_impartial(review, listing.owner_id, listing.creator_id, viewer_id)
            if helpful == (None if before is None else before.helpful):
                return review
            after = None if helpful is None else Vote(vote_id, review_id, viewer_id, helpful, now)
            if after is None:
                tx.delete(VOTES, vote_id)
            else:
                tx.put(VOTES, after)
            counted = reviews.count_vote(review, before, after)
            tx.put(REVIEWS, counted)
            top = await self._top(tx, listing, counted, fell=counted.helpful < review.helpful)
            if top != listing:
                tx.put(LISTINGS, top)
            return counted

        return await self._commits.run(body, lane=f"review:{review_id}")

    async def moderate(
        self, viewer: Viewer, review_id: str, action: ReviewAction, reason: str, now: datetime
    ) -> Review:
        """Hide a review's words, or show them again, and tell its author why. Three RPCs, three writes.

        Raises Forbidden, NotFound, Conflict for its author and for who lives on the reviewed agent, BadInput.
        """
        require_moderator(viewer)
        why = texts.prose(reason, "input.reason", REASON_CHARACTERS_MAX)
        if not is_id(review_id, Kind.REVIEW):
            raise NotFound("review")

        async def body(tx: Tx) -> Review:
            await tx.read(REVIEWS.at(review_id), USERS.at(viewer.id))
            before = tx.get(REVIEWS, review_id)
            after = reviews.moderate(before, action)
            if before is None or after == before:
                return after
            listing = await tx.load(LISTINGS, after.listing_id)
            assert listing is not None, "a listing is never deleted"
            require_other(viewer.id, after.reviewer_id, after.owner_id, listing.owner_id, listing.creator_id)
            tx.put(REVIEWS, after)
            facts = {"hidden": (before.hidden, after.hidden)}
            await acts.record(tx, viewer.id, "moderateReview", review_id, why, now, facts)
            fact = ("review_hidden" if after.hidden else "review_restored", review_id, now.isoformat())
            args = {"review_id": review_id, "agent": listing.agent_name, "reason": why}
            retention = self._policy.event_retention
            tx.tell(notice(NotificationKind.ACCOUNT, after.reviewer_id, fact, now, retention, args))
            return after

        return await self._commits.run(body)

    async def page_of_listing(self, listing_id: str, first: int, after: Position | None) -> Page[Review]:
        """A listing's reviews, newest first. One RPC. Whether the listing may be seen is asked before."""
        query = Query(REVIEWS.name, (Filter("listing_id", "==", listing_id),), (Order("created_at", descending=True),))
        return await read_page(self._backend, REVIEWS, query, first, after)

    async def _top(self, tx: Tx, listing: Listing, review: Review, *, fell: bool) -> Listing:
        """The listing with its most helpful reviews, this one counted anew. One RPC where one of them lost a vote: then
        another may pass it."""
        known = listing.top_reviews
        if fell and review.id in {each.id for each in known}:
            filters = (Filter("listing_id", "==", listing.id),)
            order = (Order("helpful", descending=True), Order("created_at", descending=True))
            # This one as it was is among them: one more than are shown makes up for it.
            best = await tx.find(REVIEWS, Query(REVIEWS.name, filters, order, TOP_REVIEWS_MAX + 1))
            known = tuple(map(_top_of, best))
        return replace(listing, top_reviews=listings.top_reviews(known, _top_of(review)))

    async def _subjects(self, tx: Tx, review: Review) -> tuple[Listing, Seller]:
        await tx.read(LISTINGS.at(review.listing_id), SELLERS.at(review.owner_id))
        listing = tx.get(LISTINGS, review.listing_id)
        assert listing is not None, "a listing is never deleted"
        return listing, tx.get(SELLERS, review.owner_id) or Seller(review.owner_id)

    def _count(
        self, tx: Tx, review: Review, before: int | None, listing: Listing, seller: Seller, now: datetime
    ) -> None:
        """Put the rating, in place of the one `before`, into the sums, and announce it."""
        if review.rating != before:
            if before is None:
                listing = replace(listing, top_reviews=listings.top_reviews(listing.top_reviews, _top_of(review)))
            tx.put(LISTINGS, listings.rate(listing, before, review.rating))
            tx.put(SELLERS, listings.rate_seller(seller, before, review.rating))
        args = {"kind": "review", "review_id": review.id, "listing_id": listing.id}
        fact = ("review", review.id, review.version)
        tx.tell(row(fact, now, self._policy.event_retention, task=ANNOUNCE, args=args))


def _top_of(review: Review) -> TopReview:
    return TopReview(review.id, review.helpful, review.created_at)
