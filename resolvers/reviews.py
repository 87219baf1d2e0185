"""Reviewing what one hired."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain.reviews import ReviewChange, ReviewWish
from graph.context import Info
from graph.errors import AlreadyReviewed, NotFound, NotReviewable, SelfDealing
from graph.types.reviews import Review


@strawberry.input
class SubmitReviewInput:
    session_id: strawberry.ID
    rating: int
    comment: str
    title: str | None = None


@strawberry.input(description="Fields that are absent stay; an empty title removes it.")
class UpdateReviewInput:
    review_id: strawberry.ID
    rating: int | None = None
    comment: str | None = None
    title: str | None = None


@strawberry.input(description="`helpful` null, or absent, withdraws the vote.")
class VoteReviewInput:
    review_id: strawberry.ID
    helpful: bool | None = None


@strawberry.type
class SubmitReviewPayload:
    review: Review


@strawberry.type
class UpdateReviewPayload:
    review: Review


@strawberry.type
class VoteReviewPayload:
    review: Review


SubmitReviewResult = Annotated[
    SubmitReviewPayload | NotFound | NotReviewable | AlreadyReviewed, strawberry.union("SubmitReviewResult")
]
UpdateReviewResult = Annotated[UpdateReviewPayload | NotFound | NotReviewable, strawberry.union("UpdateReviewResult")]
VoteReviewResult = Annotated[VoteReviewPayload | NotFound | SelfDealing, strawberry.union("VoteReviewResult")]


async def submit_review(info: Info, input: SubmitReviewInput) -> SubmitReviewResult:
    """Review an ended hire, once. NOT_REVIEWABLE for other sessions, ALREADY_REVIEWED for a second review: use
    updateReview.
    """
    context = info.context
    wish = ReviewWish(input.rating, input.comment, input.title)
    record = await context.store.reviews.submit(context.signed_in, input.session_id, wish, context.now)
    return SubmitReviewPayload(review=Review.of(record))


async def update_review(info: Info, input: UpdateReviewInput) -> UpdateReviewResult:
    """Change what is given of one's own review."""
    context = info.context
    wish = ReviewChange(rating=input.rating, comment=input.comment, title=input.title)
    record = await context.store.reviews.update(context.signed_in, input.review_id, wish, context.now)
    return UpdateReviewPayload(review=Review.of(record))


async def vote_review(info: Info, input: VoteReviewInput) -> VoteReviewResult:
    """Say whether another's review helps; said again, it takes the earlier vote's place, and null withdraws it."""
    context = info.context
    record = await context.store.reviews.vote(context.signed_in, input.review_id, input.helpful, context.now)
    return VoteReviewPayload(review=Review.of(record))
