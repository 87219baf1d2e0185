"""Reviews in the store: one per session for ever, and the sums of listing and seller in the same commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from domain.errors import AlreadyReviewed, BadInput, Forbidden, NotFound, NotReviewable, SelfDealing
from domain.listings import ListingStatus, Seller
from domain.reviews import Review, ReviewAction, ReviewChange, ReviewWish, Vote, review_id, vote_id
from domain.users import Role, Viewer
from firestore.collections import LISTINGS, REVIEWS, SELLERS, SESSIONS, USERS, VOTES
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
    assert await market.read(REVIEWS, review.id) == review
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


async def test_a_moderator_hides_words_and_no_rating() -> None:
    market = Market()
    review, judge = await reviewed(market), Viewer(EVE, Role.MODERATOR)
    with market.costs(rpcs=3, writes=3):
        hidden = await market.reviews.moderate(judge, review.id, ReviewAction.HIDE, "It insults.", LATER)
    assert hidden == replace(review, hidden=True)
    assert await sums(market, review) == (4, 1, 4_000, Seller(ADA, 0, 4, 1))
    with market.costs(rpcs=1, writes=0):
        assert await market.reviews.moderate(judge, review.id, ReviewAction.HIDE, "Again.", LATER + HOUR) == hidden
    with market.costs(rpcs=3, writes=3):
        assert await market.reviews.moderate(judge, review.id, ReviewAction.RESTORE, "Fine.", LATER) == review


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


async def test_a_vote_counts_changes_and_goes() -> None:
    market = Market()
    review = await reviewed(market)
    vote = market.reviews.vote
    with market.costs(rpcs=3, writes=3):  # with the listing, which shows its most helpful reviews
        assert await vote(EVE, review.id, True, LATER) == replace(review, helpful=1)
    with market.costs(rpcs=2, writes=0):
        assert await vote(EVE, review.id, True, LATER + HOUR) == replace(review, helpful=1)
    assert await vote(EVE, review.id, False, LATER) == replace(review, not_helpful=1)
    assert await market.read(VOTES, vote_id(review.id, EVE)) == Vote(
        vote_id(review.id, EVE), review.id, EVE, False, LATER
    )
    with market.costs(rpcs=3, writes=2):
        assert await vote(EVE, review.id, None, LATER) == review
    assert await market.read(VOTES, vote_id(review.id, EVE)) is None
    assert await vote(EVE, review.id, None, LATER) == review
    assert await market.losing_one_reply(lambda: vote(EVE, review.id, True, LATER)) == replace(review, helpful=1)
    edited = await market.reviews.update(MAX, review.id, ReviewChange(comment="Meh."), LATER)
    assert (edited.helpful, edited.version) == (1, 2)


async def test_many_votes_at_once_are_all_counted() -> None:
    market = Market()
    review = await reviewed(market)
    voters = [a_user(f"voter {number}") for number in range(12)]
    await market.store(USERS, *voters)
    await asyncio.gather(
        *(market.reviews.vote(each.id, review.id, place % 3 > 0, LATER) for place, each in enumerate(voters))
    )
    assert await market.read(REVIEWS, review.id) == replace(review, helpful=8, not_helpful=4)


async def test_a_refused_vote_changes_nothing() -> None:
    market = Market()
    review = await reviewed(market)
    listing = await market.read(LISTINGS, review.listing_id)
    assert listing is not None
    await market.store(USERS, a_user("sue", suspended_at=NOW), a_user("cleo"), a_user("mia", role=Role.MODERATOR))
    await market.store(LISTINGS, replace(listing, creator_id=a_user("cleo").id))
    vote = market.reviews.vote
    before = await market.everything()
    refusals: list[tuple[type[Exception], Callable[[], Awaitable[Review]]]] = [
        (SelfDealing, lambda: vote(MAX, review.id, True, LATER)),
        (SelfDealing, lambda: vote(ADA, review.id, False, LATER)),
        (SelfDealing, lambda: vote(a_user("cleo").id, review.id, False, LATER)),
        (NotFound, lambda: vote(EVE, "rev_?", True, LATER)),
        (NotFound, lambda: vote(EVE, review_id("nothing"), True, LATER)),
        (Forbidden, lambda: vote(a_user("sue").id, review.id, True, LATER)),
    ]
    for refusal, act in refusals:
        with pytest.raises(refusal):
            await act()
    assert await market.everything() == before
    await market.store(LISTINGS, replace(listing, status=ListingStatus.SUSPENDED))
    with pytest.raises(NotFound):
        await vote(EVE, review.id, True, LATER)
    assert (await vote(a_user("mia").id, review.id, True, LATER)).helpful == 1


async def test_the_most_helpful_reviews_are_kept_with_the_listing() -> None:
    """Of equals the newest; and who loses a vote may be passed by one that was not shown."""
    market = Market()
    _, listing = await market.opened()
    hires = [an_ended_hire(listing, MAX, str(number)) for number in range(5)]
    await market.store(SESSIONS, *hires)
    voters = [a_user(f"voter {number}") for number in range(3)]
    await market.store(USERS, *voters)
    made = [await market.reviews.submit(MAX, each.id, GOOD, LATER + at * SECOND) for at, each in enumerate(hires)]

    async def shown() -> list[int]:
        """The numbers of the reviews that the listing shows, best first."""
        kept = await market.read(LISTINGS, listing.id)
        assert kept is not None
        stored = [await market.read(REVIEWS, each.id) for each in kept.top_reviews]
        assert [each.helpful for each in kept.top_reviews] == [each.helpful for each in stored if each]
        ids = [each.id for each in made]
        return [ids.index(each.id) for each in kept.top_reviews]

    async def vote(voter: int, review: int, helpful: bool | None) -> None:
        await market.reviews.vote(voters[voter].id, made[review].id, helpful, LATER)

    assert await shown() == [4, 3, 2]
    await vote(0, 0, True)
    assert await shown() == [0, 4, 3]
    await vote(0, 1, True)
    await vote(1, 1, True)
    assert await shown() == [1, 0, 4]
    with market.costs(rpcs=3, writes=2):
        await vote(2, 3, False)  # nobody who is shown, and no help: the listing stays as it is
    with market.costs(rpcs=5, writes=3):  # the best are asked for anew, twice for the rehearsal
        await vote(0, 0, None)
    assert await shown() == [1, 4, 3]
    await vote(0, 1, False)
    assert await shown() == [1, 4, 3]
    await vote(1, 1, None)
    assert await shown() == [4, 3, 2]
