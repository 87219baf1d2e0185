"""Reviews: by the hirer of an ended session with a billed minute, one per session, editable (ruling 11)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain import texts
from domain.errors import BadInput, NotFound, NotReviewable, SelfDealing
from domain.ids import Kind, derived_id
from domain.sessions import Session, SessionType
from domain.users import Viewer

TITLE_CHARACTERS_MAX = 120  # two lines above the comment
COMMENT_CHARACTERS_MAX = 4_000  # two pages: 100 reviews are below 2 MB, in any script
RATING_MAX = 5  # stars


@dataclass(frozen=True, slots=True)
class Review:
    """`owner_id` is who sold the reviewed session, `minutes_used` its billed minutes. `version` counts the edits. A
    moderator may have `hidden` its words: `shows_words` says from whom.
    """

    id: str
    listing_id: str
    agent_id: str
    session_id: str
    reviewer_id: str
    owner_id: str
    rating: int
    title: str | None
    comment: str
    minutes_used: int
    created_at: datetime
    updated_at: datetime
    helpful: int = 0
    not_helpful: int = 0
    version: int = 1
    hidden: bool = False

    @property
    def hours_used(self) -> float:
        """Billed hours. A duration, not money."""
        return round(self.minutes_used / 60, 2)


class ReviewAction(StrEnum):
    """What a moderator does to a review's words."""

    HIDE = "HIDE"
    RESTORE = "RESTORE"


@dataclass(frozen=True, slots=True)
class Vote:
    """Whether a user found a review helpful. One per user and review; a withdrawn one is no longer there."""

    id: str
    review_id: str
    user_id: str
    helpful: bool
    at: datetime


def vote_id(review_id: str, user_id: str) -> str:
    """The id of a user's one vote on a review."""
    return derived_id(Kind.VOTE, review_id, user_id)


def review_id(session_id: str) -> str:
    """The id of a session's one review."""
    return derived_id(Kind.REVIEW, session_id)


@dataclass(frozen=True, slots=True)
class ReviewWish:
    rating: int
    comment: str
    title: str | None = None


@dataclass(frozen=True, slots=True)
class ReviewChange:
    """What to change of a review; None leaves a field as it is, and an empty title removes it."""

    rating: int | None = None
    comment: str | None = None
    title: str | None = None


def review(session: Session | None, viewer_id: str, wish: ReviewWish, now: datetime) -> Review:
    """The viewer's review of a session. Raises NotFound, NotReviewable, BadInput."""
    if session is None or session.hirer_id != viewer_id:
        raise NotFound("session")
    if session.type is not SessionType.HIRED or session.listing_id is None:
        raise NotReviewable("Only a hired session is reviewed: a trial or your own agent's session is not.")
    if viewer_id in {session.owner_id, session.creator_id}:
        raise NotReviewable("This is your own agent: its hirers review it.")
    if not session.is_over(now):
        raise NotReviewable("The session still runs: end it with endSession, then review it.")
    if session.minutes(now) < 1:
        raise NotReviewable("No minute of this session was billed, so there is nothing to review.")
    return Review(
        id=review_id(session.id),
        listing_id=session.listing_id,
        agent_id=session.agent_id,
        session_id=session.id,
        reviewer_id=viewer_id,
        owner_id=session.owner_id,
        rating=_rating(wish.rating),
        title=_title(wish.title),
        comment=_comment(wish.comment),
        minutes_used=session.minutes(now),
        created_at=now,
        updated_at=now,
    )


def change(before: Review | None, viewer_id: str, wish: ReviewChange, now: datetime) -> Review:
    """The same review where nothing changes. Raises NotFound for everybody but its author, BadInput."""
    if before is None or before.reviewer_id != viewer_id:
        raise NotFound("review")
    after = replace(
        before,
        rating=before.rating if wish.rating is None else _rating(wish.rating),
        comment=before.comment if wish.comment is None else _comment(wish.comment),
        title=before.title if wish.title is None else _title(wish.title),
    )
    return before if after == before else replace(after, version=before.version + 1, updated_at=now)


def moderate(before: Review | None, action: ReviewAction) -> Review:
    """The review with its words hidden or shown again; what it is already, it stays. Raises NotFound.

    The rating counts on: a moderator judges words, and not what a player thinks of what was paid for. An edit shows
    nothing again, or whoever insults could do so anew.
    """
    if before is None:
        raise NotFound("review")
    return replace(before, hidden=action is ReviewAction.HIDE)


def shows_words(review: Review, viewer: Viewer | None) -> bool:
    """Whether title and comment are for the viewer's eyes: hidden, they are the author's and the moderators'."""
    return not review.hidden or (viewer is not None and (viewer.id == review.reviewer_id or viewer.is_moderator))


def require_not_owned(owner_id: str, viewer_id: str) -> None:
    """Raises NotReviewable for who owns the agent by now: a transfer can make an owner of its hirer."""
    if owner_id == viewer_id:
        raise NotReviewable("This agent is yours now: its hirers review it.")


def count_vote(review: Review, before: Vote | None, after: Vote | None) -> Review:
    """The review with one user's vote in place of the one before; None is no vote. No edit: the version stays."""
    helpful, not_helpful = review.helpful, review.not_helpful
    for vote, step in ((before, -1), (after, 1)):
        if vote is not None and vote.helpful:
            helpful += step
        elif vote is not None:
            not_helpful += step
    return replace(review, helpful=helpful, not_helpful=not_helpful)


def require_impartial(review: Review, owner_id: str, creator_id: str, viewer_id: str) -> None:
    """Raises SelfDealing for the author, and for who lives on the reviewed agent: others say whether it helps."""
    if viewer_id == review.reviewer_id:
        raise SelfDealing("This review is your own: others say whether it helps.")
    if viewer_id in {review.owner_id, owner_id, creator_id}:
        raise SelfDealing("This review is of your own agent: its players say whether it helps.")


def _rating(rating: int) -> int:
    if not 1 <= rating <= RATING_MAX:
        raise BadInput(f"A rating is a whole number from 1 to {RATING_MAX}, not {rating}.", field="input.rating")
    return rating


def _title(raw: str | None) -> str | None:
    return texts.optional_line(raw, "input.title", TITLE_CHARACTERS_MAX)


def _comment(raw: str) -> str:
    return texts.prose(raw, "input.comment", COMMENT_CHARACTERS_MAX)
