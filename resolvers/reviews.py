"""Reviewing what one hired."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain.reviews import ReviewAction, ReviewChange, ReviewWish
from domain.users import Viewer
from graph.context import Info
from graph.errors import AlreadyReviewed, Conflict, NotFound, NotReviewable, SelfDealing
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


@strawberry.input
class ModerateReviewInput:
    review_id: strawberry.ID
    action: ReviewAction
    reason: str


@strawberry.type
class SubmitReviewPayload:
    review: Review


@strawberry.type
class UpdateReviewPayload:
    review: Review


@strawberry.type
class VoteReviewPayload:
    review: Review


@strawberry.type
class ModerateReviewPayload:
    review: Review


SubmitReviewResult = Annotated[
    SubmitReviewPayload | NotFound | NotReviewable | AlreadyReviewed, strawberry.union("SubmitReviewResult")
]
UpdateReviewResult = Annotated[UpdateReviewPayload | NotFound | NotReviewable, strawberry.union("UpdateReviewResult")]
VoteReviewResult = Annotated[VoteReviewPayload | NotFound | SelfDealing, strawberry.union("VoteReviewResult")]
ModerateReviewResult = Annotated[ModerateReviewPayload | NotFound | Conflict, strawberry.union("ModerateReviewResult")]


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


async def moderate_review(info: Info, input: ModerateReviewInput) -> ModerateReviewResult:
    """Hide a review's title and comment from all but its author and moderators, or show them again; its author is told
    the reason, and its rating counts on. CONFLICT for who is a party to it. Said again, nothing changes.
    """
    context = info.context
    judge = Viewer(context.signed_in, await context.role())
    record = await context.store.reviews.moderate(judge, input.review_id, input.action, input.reason, context.now)
    return ModerateReviewPayload(review=Review.of(record))
