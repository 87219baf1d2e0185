"""What is recommended and why, and what a market looks like."""

from __future__ import annotations

import strawberry

from domain import insights, recommendations
from domain.insights import PriceBasis
from domain.money import Dof
from domain.recommendations import ReasonKind
from graph.context import Info
from graph.enums import enum
from graph.sizes import at_most
from graph.types.agents import Agent, agent_of
from graph.types.listings import Listing

enum(
    ReasonKind,
    "What a recommendation rests on.",
    name="RecommendationReasonKind",
    GAME="A game that the viewer plays.",
    AGENT="An agent that the viewer hired.",
    PRICE="The hourly prices that the viewer paid.",
    POPULAR="How often others hire it.",
)
enum(
    PriceBasis,
    "Which prices a market's figures are of.",
    HIRED="Those of listings that were hired.",
    ON_OFFER="All on offer, where too few of them were hired.",
)


@strawberry.type(
    description="Why a listing is recommended. What it rests on: the game, category or language, in `subject`; an agent"
    " that you hired, in `agent`; the cheapest and the dearest hour that you paid, in `lowestHourly` and"
    " `highestHourly`; how often others hired the listing, in `hires`."
)
class RecommendationReason:
    record: strawberry.Private[recommendations.Reason]
    kind: ReasonKind
    text: str
    subject: str | None
    lowest_hourly: Dof | None
    highest_hourly: Dof | None
    hires: int | None

    @classmethod
    def of(cls, record: recommendations.Reason) -> RecommendationReason:
        lowest, highest = record.prices or (None, None)
        return cls(
            record=record,
            kind=record.kind,
            text=record.text,
            subject=record.subject,
            lowest_hourly=lowest,
            highest_hourly=highest,
            hires=record.hires,
        )

    @strawberry.field
    async def agent(self, info: Info) -> Agent | None:
        return None if self.record.agent_id is None else await agent_of(info, self.record.agent_id)


@strawberry.type(
    description="A listing for you. `score` lies between 0 and 1, and is null where it is shown because others hire it."
)
class Recommendation:
    listing: Listing
    score: float | None
    why: list[RecommendationReason] = strawberry.field(metadata=at_most(len(ReasonKind)))

    @classmethod
    def of(cls, record: recommendations.Recommendation) -> Recommendation:
        return cls(
            listing=Listing.of(record.listing),
            score=None if record.score_milli is None else record.score_milli / 1_000,
            why=[RecommendationReason.of(each) for each in record.why],
        )


@strawberry.type(description="A quarter of the hours cost no more than `lower`, half `median`, three quarters `upper`.")
class PriceQuartiles:
    lower: Dof
    median: Dof
    upper: Dof

    @classmethod
    def of(cls, record: insights.Quartiles) -> PriceQuartiles:
        return cls(lower=record.lower, median=record.median, upper=record.upper)


@strawberry.type(
    description="A range for the price of an hour: the middle half of what the listings ask that are hired, or, while"
    " too few are, of all on offer. `sampleSize` is how many those are, and `quartiles` their prices."
)
class SuggestedPrice:
    lowest: Dof
    highest: Dof
    basis: PriceBasis
    quartiles: PriceQuartiles
    sample_size: int

    @classmethod
    def of(cls, record: insights.SuggestedPrice) -> SuggestedPrice:
        return cls(
            lowest=record.lowest,
            highest=record.highest,
            basis=record.basis,
            quartiles=PriceQuartiles.of(record.quartiles),
            sample_size=record.sample_size,
        )


@strawberry.type(
    description="What is on offer and what is hired of it. Prices are of an hour, and null where nothing is on offer."
    " Where more than 400 listings are looked at, the figures come from an even sample of them: then `estimated` is"
    " true, and counts are those of the sample, scaled up. Without a `suggestedPrice`, `note` says why."
)
class MarketInsights:
    active_listings: int
    hourly_prices: PriceQuartiles | None
    total_hires: int
    active_hires: int
    average_rating: float | None
    rating_count: int
    suggested_price: SuggestedPrice | None
    note: str | None
    sample_size: int
    estimated: bool

    @classmethod
    def of(cls, record: insights.Insights) -> MarketInsights:
        return cls(
            active_listings=record.active_listings,
            hourly_prices=PriceQuartiles.of(record.prices) if record.prices else None,
            total_hires=record.total_hires,
            active_hires=record.active_hires,
            average_rating=record.rating,
            rating_count=record.rating_count,
            suggested_price=SuggestedPrice.of(record.suggestion) if record.suggestion else None,
            note=record.note,
            sample_size=record.sample_size,
            estimated=record.estimated,
        )
