"""What a market looks like: what is on offer at which prices, what is hired, and what an hour might cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from domain.money import Dof

SAMPLE_MIN = 8  # prices: of fewer, a quartile is one listing's whim


class PriceBasis(StrEnum):
    HIRED = "HIRED"
    ON_OFFER = "ON_OFFER"


@dataclass(frozen=True, slots=True)
class Offer:
    """One listing on offer, as far as the market knows it."""

    hourly: Dof
    total_hires: int
    active_hires: int
    rating_sum: int
    rating_count: int


@dataclass(frozen=True, slots=True)
class Quartiles:
    """Prices of an hour: a quarter of the offers cost no more than `lower`, half `median`, three quarters `upper`."""

    lower: Dof
    median: Dof
    upper: Dof


@dataclass(frozen=True, slots=True)
class SuggestedPrice:
    """A range for an hour, the prices that it rests on, and of how many listings those are."""

    lowest: Dof
    highest: Dof
    basis: PriceBasis
    quartiles: Quartiles
    sample_size: int


@dataclass(frozen=True, slots=True)
class Insights:
    """`estimated` says that `offers` is a sample: the counts of all are then the sample's, scaled. `note` says why
    there is no suggestion."""

    active_listings: int
    total_hires: int
    active_hires: int
    rating: float | None
    rating_count: int
    prices: Quartiles | None
    suggestion: SuggestedPrice | None
    note: str | None
    sample_size: int
    estimated: bool


def insights(offers: Sequence[Offer], looked_at: int, supply: int) -> Insights:
    """The market of `offers`: those of `looked_at` listings, drawn evenly from `supply`, that belong to it.

    Where all were looked at, every figure is exact.
    """
    assert len(offers) <= looked_at <= supply, "a sample is a part of what there is"

    def scaled(figure: int) -> int:
        return figure * supply // looked_at if looked_at else 0

    ratings = sum(each.rating_count for each in offers)
    suggestion, note = _suggest(offers)
    return Insights(
        active_listings=scaled(len(offers)),
        total_hires=scaled(sum(each.total_hires for each in offers)),
        active_hires=scaled(sum(each.active_hires for each in offers)),
        rating=sum(each.rating_sum for each in offers) / ratings if ratings else None,
        rating_count=scaled(ratings),
        prices=quartiles([each.hourly for each in offers]) if offers else None,
        suggestion=suggestion,
        note=note,
        sample_size=len(offers),
        estimated=looked_at < supply,
    )


def quartiles(prices: Sequence[Dof]) -> Quartiles:
    """By nearest rank: each is a price that somebody asks."""
    ranked = sorted(prices)

    def rank(quarter: int) -> Dof:
        return ranked[max(0, -(-quarter * len(ranked) // 4) - 1)]

    return Quartiles(rank(1), rank(2), rank(3))


def _suggest(offers: Sequence[Offer]) -> tuple[SuggestedPrice | None, str | None]:
    """The middle half of what players pay; where too few are hired, of what is asked; else nothing, and why."""
    hired = [each.hourly for each in offers if each.total_hires > 0]
    asked = [each.hourly for each in offers]
    for basis, prices in ((PriceBasis.HIRED, hired), (PriceBasis.ON_OFFER, asked)):
        if len(prices) >= SAMPLE_MIN:
            found = quartiles(prices)
            return SuggestedPrice(found.lower, found.upper, basis, found, len(prices)), None
    return None, f"A price is suggested from {SAMPLE_MIN} listings on: here there are {len(asked)}."
