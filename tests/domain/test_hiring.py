"""How a session begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domain import hiring, pricing
from domain.agents import Agent
from domain.errors import BadInput, NotAvailable, NotFound, NotHirable, SelfDealing, SessionOver
from domain.hiring import OwnTerms
from domain.listings import Listing, ListingStatus
from domain.money import DOF_MAX, ZERO, Dof
from domain.pricing import HireUnit, Leg, Pricing, Quote, SessionConfiguration
from domain.revenue import ALL_TO_PLATFORM
from domain.sessions import Session, SessionType
from tests.make import NOW, PLAIN, SHARES, SURCHARGES, agent, listing, session, user_id

MAX, ADA, CLEO = user_id("max"), user_id("ada"), user_id("cleo")
STATUSES = [
    (ListingStatus.PAUSED, MAX, NotAvailable),
    (ListingStatus.PAUSED, ADA, NotAvailable),
    (ListingStatus.UNPUBLISHED, MAX, NotFound),
    (ListingStatus.UNPUBLISHED, None, NotFound),
    (ListingStatus.UNPUBLISHED, ADA, NotHirable),
    (ListingStatus.SUSPENDED, MAX, NotFound),
    (ListingStatus.SUSPENDED, ADA, NotHirable),
    (ListingStatus.UNDER_REVIEW, MAX, NotFound),
]


def begin(of: Listing, hirer: str = MAX) -> Session:
    priced = pricing.quote(of.pricing, HireUnit.HOUR, 2, PLAIN, SURCHARGES)
    return hiring.hired("ses_1", hirer, of, PLAIN, priced, SHARES, "mark", NOW)


@pytest.mark.parametrize(("status", "viewer", "refusal"), STATUSES)
def test_a_listing_that_takes_no_hires(status: ListingStatus, viewer: str | None, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        hiring.require_offered(listing(status=status), viewer)


@pytest.mark.parametrize(
    ("status", "way"), [(ListingStatus.UNPUBLISHED, "publishAgent"), (ListingStatus.SUSPENDED, "appealListing")]
)
def test_an_owner_hears_how_a_listing_takes_hires_again(status: ListingStatus, way: str) -> None:
    with pytest.raises(NotHirable, match=f"another with searchListings, or bring this one back with {way}"):
        hiring.require_offered(listing(status=status), ADA)


def test_a_listing_that_does() -> None:
    offered = listing()
    assert hiring.require_offered(offered, None) == hiring.require_offered(offered, MAX) == offered
    with pytest.raises(NotFound):
        hiring.require_offered(None, MAX)


def test_a_hire_freezes_prices_and_shares() -> None:  # rulings 5, 6
    made = begin(listing())
    assert (made.type, made.held, made.legs) == (SessionType.HIRED, Dof(12_000), (Leg(Dof(12_000), 120),))
    assert (made.pricing, made.shares) == (listing().pricing, SHARES)
    assert (made.hirer_id, made.owner_id, made.creator_id) == (MAX, ADA, CLEO)
    assert made.transaction_id == hiring.transaction_id("ses_1", MAX)


def test_nobody_hires_their_own() -> None:  # T-Z06
    with pytest.raises(SelfDealing):
        begin(listing(), ADA)
    assert begin(listing(), CLEO).hirer_id == CLEO  # the creator pays the owner as anybody does


def own(of: Agent | None, viewer: str = ADA, **changes: Any) -> Session:
    terms = replace(OwnTerms(60, Dof(20), Dof(0)), **changes)
    return hiring.owned("ses_1", viewer, of, PLAIN, terms, "mark", NOW)


def test_an_owned_session_holds_surcharges_and_its_allowance() -> None:
    made = own(agent(), usage_allowance=Dof(500))
    assert (made.type, made.held, made.legs) == (SessionType.OWNED, Dof(1_700), (Leg(ZERO, 60),))
    assert (made.shares, made.pricing, made.listing_id) == (ALL_TO_PLATFORM, None, None)
    free = own(agent(), surcharge_per_minute=ZERO)
    assert (free.held, free.transaction_id) == (ZERO, None)


@pytest.mark.parametrize("of", [None, agent(deleted_at=NOW), agent(owner="eve")])
def test_only_the_owner_of_a_living_agent_owns_a_session(of: Agent | None) -> None:
    with pytest.raises(NotFound):
        own(of)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"minutes": 0}, "input.minutes"),
        ({"minutes": -1}, "input.minutes"),
        ({"minutes": 40_321}, "input.minutes"),
        ({"usage_allowance": Dof(-1)}, "input.usageAllowance"),
        ({"usage_allowance": Dof(DOF_MAX)}, "input.usageAllowance"),
    ],
)
def test_terms_have_bounds(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        own(agent(), **changes)
    assert refused.value.field == field


def test_a_trial_is_short_free_and_of_another() -> None:
    made = hiring.trial("ses_1", MAX, agent(), listing(), PLAIN, 10, "mark", NOW)
    assert (made.type, made.held, made.total_minutes, made.transaction_id) == (SessionType.TRIAL, ZERO, 10, None)
    with pytest.raises(SelfDealing):
        hiring.trial("ses_1", ADA, agent(), listing(), PLAIN, 10, "mark", NOW)
    for gone in (None, agent(deleted_at=NOW)):
        with pytest.raises(NotFound):
            hiring.trial("ses_1", MAX, gone, listing(), PLAIN, 10, "mark", NOW)


def test_an_extension_costs_what_the_session_was_hired_at() -> None:
    voiced = session(SessionConfiguration(voice_enabled=True), pricing=Pricing(Dof(600), Dof(9_600), Dof(1), 1))
    old = replace(voiced, surcharge_per_minute=Dof(7))  # the table says 20 today
    assert hiring.extension(old, HireUnit.HOUR, 2) == Quote(Leg(Dof(1_200), 120), Dof(7))
    owned = own(agent())
    assert hiring.extension(owned, HireUnit.HOUR, 1) == Quote(Leg(ZERO, 60), Dof(20))
    with pytest.raises(SessionOver):
        hiring.extension(replace(owned, type=SessionType.TRIAL), HireUnit.HOUR, 1)
    with pytest.raises(BadInput):
        hiring.extension(old, HireUnit.HOUR, 0)
