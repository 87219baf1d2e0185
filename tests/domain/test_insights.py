"""The figures of a market, and the price that they suggest."""

from __future__ import annotations

import pytest

from domain.insights import Insights, Offer, PriceBasis, Quartiles, SuggestedPrice, insights, quartiles
from domain.money import Dof


def offers(count: int, hired: int = 0) -> list[Offer]:
    """Listings at 100, 200, … DOF an hour; the dearest `hired` were hired thrice, run once, and got a 4 and a 5."""
    return [
        Offer(Dof(100 * (number + 1)), *((3, 1, 9, 2) if number >= count - hired else (0, 0, 0, 0)))
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "ranks"), [(1, (1, 1, 1)), (2, (1, 1, 2)), (4, (1, 2, 3)), (5, (2, 3, 4)), (8, (2, 4, 6)), (9, (3, 5, 7))]
)
def test_quartiles_are_prices_that_somebody_asks(count: int, ranks: tuple[int, int, int]) -> None:
    assert quartiles([each.hourly for each in reversed(offers(count))]) == Quartiles(
        *(Dof(100 * rank) for rank in ranks)
    )


def test_a_market_that_was_seen_whole_is_told_exactly() -> None:
    all_prices = Quartiles(Dof(300), Dof(600), Dof(900))
    hired = Quartiles(Dof(600), Dof(800), Dof(1_000))
    assert insights(offers(12, hired=8), 12, 12) == Insights(
        active_listings=12,
        total_hires=24,
        active_hires=8,
        rating=4.5,
        rating_count=16,
        prices=all_prices,
        suggestion=SuggestedPrice(Dof(600), Dof(1_000), PriceBasis.HIRED, hired, 8),
        note=None,
        sample_size=12,
        estimated=False,
    )


def test_what_is_asked_counts_where_too_few_are_hired() -> None:
    found = insights(offers(8, hired=7), 8, 8).suggestion
    assert found == SuggestedPrice(Dof(200), Dof(600), PriceBasis.ON_OFFER, Quartiles(Dof(200), Dof(400), Dof(600)), 8)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_of_too_few_no_price_is_suggested_and_that_is_said(count: int) -> None:
    found = insights(offers(count, hired=count), count, count)
    assert (found.suggestion, found.note) == (
        None,
        f"A price is suggested from 8 listings on: here there are {count}.",
    )
    assert (found.active_listings, found.prices is None, found.rating) == (count, count == 0, 4.5 if count else None)


def test_a_sample_is_scaled_and_says_that_it_is_one() -> None:
    found = insights(offers(10, hired=4), 40, 1_000)  # a quarter of a game's listings are of the category
    assert (found.active_listings, found.total_hires, found.active_hires, found.rating_count) == (250, 300, 100, 200)
    assert (found.sample_size, found.estimated, found.rating) == (10, True, 4.5)
