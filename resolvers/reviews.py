"""Reviewing what one hired."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain.reviews import ReviewChange, ReviewWish
from graph.context import Info
from graph.errors import AlreadyReviewed, NotFound, NotReviewable
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


@strawberry.type
class SubmitReviewPayload:
    review: Review


@strawberry.type
class UpdateReviewPayload:
    review: Review


SubmitReviewResult = Annotated[
    SubmitReviewPayload | NotFound | NotReviewable | AlreadyReviewed, strawberry.union("SubmitReviewResult")
]
UpdateReviewResult = Annotated[UpdateReviewPayload | NotFound, strawberry.union("UpdateReviewResult")]


async def submit_review(info: Info, input: SubmitReviewInput) -> SubmitReviewResult:
    context = info.context
    wish = ReviewWish(input.rating, input.comment, input.title)
    record = await context.store.reviews.submit(context.signed_in, input.session_id, wish, context.now)
    return SubmitReviewPayload(review=Review.of(record))


async def update_review(info: Info, input: UpdateReviewInput) -> UpdateReviewResult:
    context = info.context
    wish = ReviewChange(rating=input.rating, comment=input.comment, title=input.title)
    record = await context.store.reviews.update(context.signed_in, input.review_id, wish, context.now)
    return UpdateReviewPayload(review=Review.of(record))
