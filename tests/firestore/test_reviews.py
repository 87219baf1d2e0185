"""Reviews in the store: one per session for ever, and the sums of listing and seller in the same commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from domain.errors import AlreadyReviewed, BadInput, Forbidden, NotFound, NotReviewable
from domain.listings import Seller
from domain.reviews import Review, ReviewChange, ReviewWish, review_id
from firestore.collections import LISTINGS, SELLERS, SESSIONS, USERS
from tests.firestore.market import Market
from tests.nouns import ADA, EVE, HOUR, MAX, NOW, SECOND, a_hire, a_user, an_ended_hire

LATER = NOW + HOUR
GOOD = ReviewWish(4, "Good aim.", "Fine")


async def reviewed(market: Market) -> Review:
    _, listing = await market.opened()
    session = an_ended_hire(listing)
    await market.store(SESSIONS, session)
    return await market.reviews.submit(MAX, session.id, GOOD, LATER)


async def sums(market: Market, review: Review) -> tuple[int, int, int, Seller | None]:
    listing = await market.read(LISTINGS, review.listing_id)
    assert listing is not None
    return listing.rating_sum, listing.rating_count, listing.rating_milli, await market.read(SELLERS, review.owner_id)


async def test_a_review_counts_at_once_and_is_told() -> None:
    market = Market()
    _, listing = await market.opened()
    session = an_ended_hire(listing)
    await market.store(SESSIONS, session)
    with market.costs(rpcs=3, writes=5):
        review = await market.reviews.submit(MAX, session.id, GOOD, LATER)
    assert (review.id, review.rating, review.minutes_used) == (review_id(session.id), 4, 2)
    assert await market.reviews.get_many([review.id, "rev_?"]) == [review, None]
    assert await market.read(SESSIONS, session.id) == replace(session, review_id=review.id)
    assert await sums(market, review) == (4, 1, 4_000, Seller(ADA, 0, 4, 1))
    (told,) = await market.told()
    assert (told.task, told.args) == (
        "announce",
        {"kind": "review", "review_id": review.id, "listing_id": listing.id},
    )


async def test_a_changed_review_replaces_its_rating() -> None:
    market = Market()
    review = await reviewed(market)
    with market.costs(rpcs=3, writes=4):
        changed = await market.reviews.update(MAX, review.id, ReviewChange(rating=1), LATER + HOUR)
    assert changed == replace(review, rating=1, version=2, updated_at=LATER + HOUR)
    assert await sums(market, review) == (1, 1, 1_000, Seller(ADA, 0, 1, 1))
    with market.costs(rpcs=3, writes=2):
        await market.reviews.update(MAX, review.id, ReviewChange(comment="Meh."), LATER + HOUR)
    with market.costs(rpcs=1, writes=0):
        assert (await market.reviews.update(MAX, review.id, ReviewChange(rating=1), LATER)).version == 3
    assert len(await market.told()) == 3


async def test_refusals_change_nothing() -> None:
    market = Market()
    review = await reviewed(market)
    _, listing = await market.opened()
    running = a_hire(listing, key="2")
    bought = an_ended_hire(listing, EVE)
    await market.store(SESSIONS, running, bought)
    await market.store(LISTINGS, replace(listing, owner_id=EVE))
    await market.store(USERS, a_user("sue", suspended_at=NOW))
    before = await market.everything()
    submit, update, wrong = market.reviews.submit, market.reviews.update, ReviewWish(6, "x")
    refusals: list[tuple[type[Exception], Callable[[], Awaitable[Review]]]] = [
        (AlreadyReviewed, lambda: submit(MAX, review.session_id, GOOD, LATER + SECOND)),
        (AlreadyReviewed, lambda: submit(MAX, review.session_id, ReviewWish(1, "x"), LATER)),
        (NotReviewable, lambda: submit(MAX, running.id, GOOD, NOW + SECOND)),
        (NotReviewable, lambda: submit(EVE, bought.id, GOOD, LATER)),  # the agent was given to its hirer since
        (NotFound, lambda: submit(ADA, running.id, GOOD, LATER)),
        (NotFound, lambda: submit(MAX, "ses_?", GOOD, LATER)),
        (BadInput, lambda: submit(MAX, running.id, wrong, LATER)),
        (Forbidden, lambda: submit(a_user("sue").id, running.id, GOOD, LATER)),
        (NotFound, lambda: update(ADA, review.id, ReviewChange(rating=5), LATER)),
        (NotFound, lambda: update(MAX, "rev_?", ReviewChange(rating=5), LATER)),
        (BadInput, lambda: update(MAX, review.id, ReviewChange(rating=0), LATER)),
    ]
    for refusal, act in refusals:
        with pytest.raises(refusal):
            await act()
    assert await market.everything() == before


async def test_many_reviews_at_once_are_all_counted() -> None:
    market = Market()
    _, listing = await market.opened()
    hires = [an_ended_hire(listing, MAX, str(number)) for number in range(8)]
    await market.store(SESSIONS, *hires)
    made = await asyncio.gather(
        *(market.reviews.submit(MAX, hire.id, ReviewWish(1 + at % 5, "x"), LATER) for at, hire in enumerate(hires))
    )
    assert await sums(market, made[0]) == (1 + 2 + 3 + 4 + 5 + 1 + 2 + 3, 8, 2_625, Seller(ADA, 0, 21, 8))
    first = await market.reviews.page_of_listing(listing.id, 5, None)
    rest = await market.reviews.page_of_listing(listing.id, 5, first.end)
    assert {one.id for one in (*first.nodes, *rest.nodes)} == {one.id for one in made}
    assert (first.has_next_page, rest.has_next_page) == (True, False)


async def test_a_lost_reply_is_found_again_and_not_counted_twice() -> None:
    market = Market()
    _, listing = await market.opened()
    session = an_ended_hire(listing)
    await market.store(SESSIONS, session)
    review = await market.losing_one_reply(lambda: market.reviews.submit(MAX, session.id, GOOD, LATER))
    assert await sums(market, review) == (4, 1, 4_000, Seller(ADA, 0, 4, 1))
    changed = await market.losing_one_reply(
        lambda: market.reviews.update(MAX, review.id, ReviewChange(rating=5), LATER)
    )
    assert changed.version == 2
    assert await sums(market, review) == (5, 1, 5_000, Seller(ADA, 0, 5, 1))
