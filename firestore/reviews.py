"""Reviews, and with each, in one commit, the sums of its listing and its seller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from domain import listings, reviews
from domain.errors import AlreadyReviewed, NotFound, NotReviewable
from domain.ids import Kind, is_id
from domain.listings import Listing, Seller
from domain.policy import Policy
from domain.reviews import Review, ReviewChange, ReviewWish
from domain.users import require_active
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import LISTINGS, REVIEWS, SELLERS, SESSIONS, USERS
from firestore.commit import Commits, Tx
from firestore.outbox import row
from firestore.paging import Page, Position, fetch, read_page


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
            if listing.owner_id == viewer_id:
                raise NotReviewable("This agent is yours now: its hirers review it.")
            tx.create(REVIEWS, review)
            assert session is not None, "a review has its session"
            tx.put(SESSIONS, replace(session, review_id=review_id))
            self._count(tx, review, None, listing, seller, now)
            return review

        return await self._commits.run(body)

    async def update(self, viewer_id: str, review_id: str, wish: ReviewChange, now: datetime) -> Review:
        """Change one's own review. Three RPCs, two to four writes.

        Raises NotFound, Forbidden while suspended, BadInput.
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
            tx.put(REVIEWS, review)
            listing, seller = await self._subjects(tx, review)
            self._count(tx, review, before.rating, listing, seller, now)
            return review

        return await self._commits.run(body)

    async def get_many(self, ids: Sequence[str]) -> list[Review | None]:
        """In the order of the ids. One RPC."""
        return await fetch(self._backend, REVIEWS, Kind.REVIEW, ids)

    async def page_of_listing(self, listing_id: str, first: int, after: Position | None) -> Page[Review]:
        """A listing's reviews, newest first. One RPC. Whether the listing may be seen is asked before."""
        query = Query(REVIEWS.name, (Filter("listing_id", "==", listing_id),), (Order("created_at", descending=True),))
        return await read_page(self._backend, REVIEWS, query, first, after)

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
            tx.put(LISTINGS, listings.rate(listing, before, review.rating))
            tx.put(SELLERS, listings.rate_seller(seller, before, review.rating))
        args = {"kind": "review", "review_id": review.id, "listing_id": listing.id}
        fact = ("review", review.id, review.version)
        tx.tell(row(fact, now, self._policy.event_retention, task="announce", args=args))
