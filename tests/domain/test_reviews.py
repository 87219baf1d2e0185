"""Reviews: who may write one, when, and what changes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain import reviews
from domain.errors import BadInput, NotFound, NotReviewable
from domain.reviews import Review, ReviewChange, ReviewWish
from domain.sessions import EndReason, SessionType, settle
from tests.nouns import ADA, EVE, HOUR, MAX, NOW, SECOND, a_hire, a_listing, an_ended_hire

LATER = NOW + HOUR
WISH = ReviewWish(4, "Good\n aim.", " Fine ")
LISTING = a_listing()


def a_review() -> Review:
    return reviews.review(an_ended_hire(LISTING), MAX, WISH, LATER)


def test_the_hirer_of_an_ended_session_reviews_it() -> None:
    session = an_ended_hire(LISTING)
    assert a_review() == Review(
        id=reviews.review_id(session.id),
        listing_id=LISTING.id,
        agent_id=LISTING.agent_id,
        session_id=session.id,
        reviewer_id=MAX,
        owner_id=ADA,
        rating=4,
        title="Fine",
        comment="Good\naim.",
        minutes_used=2,
        created_at=LATER,
        updated_at=LATER,
    )
    assert a_review().hours_used == 0.03


def test_a_session_that_is_over_is_reviewed_before_its_settlement() -> None:
    session = a_hire(LISTING)
    assert reviews.review(session, MAX, WISH, NOW + HOUR).minutes_used == 60
    with pytest.raises(NotReviewable, match="still runs"):
        reviews.review(session, MAX, WISH, NOW + HOUR - SECOND)


def test_who_may_not_review() -> None:
    session = an_ended_hire(LISTING)
    for seen, viewer in ((None, MAX), (session, EVE), (session, ADA)):
        with pytest.raises(NotFound):
            reviews.review(seen, viewer, WISH, LATER)
    unbilled = settle(a_hire(LISTING), EndReason.ENDED_BY_HIRER, NOW)
    trial, owned = replace(session, type=SessionType.TRIAL), replace(session, type=SessionType.OWNED, listing_id=None)
    for refused in (unbilled, trial, owned, replace(session, owner_id=MAX), replace(session, creator_id=MAX)):
        with pytest.raises(NotReviewable):
            reviews.review(refused, MAX, WISH, LATER)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (ReviewWish(0, "x"), "input.rating"),
        (ReviewWish(6, "x"), "input.rating"),
        (ReviewWish(5, " \u200b"), "input.comment"),
        (ReviewWish(5, "x" * 4_001), "input.comment"),
        (ReviewWish(5, "x", "x" * 121), "input.title"),
    ],
)
def test_a_malformed_review_names_its_field(wish: ReviewWish, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        reviews.review(an_ended_hire(LISTING), MAX, wish, LATER)
    assert caught.value.field == field


def test_the_author_changes_a_review() -> None:
    before = a_review()
    after = reviews.change(before, MAX, ReviewChange(rating=5, title=""), LATER + HOUR)
    assert after == replace(before, rating=5, title=None, version=2, updated_at=LATER + HOUR)
    assert reviews.change(after, MAX, ReviewChange(rating=5), LATER) is after
    for seen, viewer in ((None, MAX), (before, ADA)):
        with pytest.raises(NotFound):
            reviews.change(seen, viewer, ReviewChange(rating=1), LATER)
    with pytest.raises(BadInput):
        reviews.change(before, MAX, ReviewChange(rating=9), LATER)
