"""How a session begins: hired of a listing, owned of one's own agent, or tried for free."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain import pricing
from domain.agents import Agent
from domain.errors import BadInput, NotAvailable, NotFound, NotHirable, SelfDealing, SessionOver
from domain.ids import Kind, derived_id
from domain.listings import PUBLIC, Listing, ListingStatus, visible_to, way_back
from domain.money import DOF_MAX, ZERO, Dof
from domain.pricing import HireUnit, Leg, Pricing, Quote, SessionConfiguration
from domain.revenue import ALL_TO_PLATFORM, Shares
from domain.sessions import Session, SessionType
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.users import Viewer

FREE = Pricing(ZERO, ZERO, ZERO)


@dataclass(frozen=True, slots=True)
class OwnTerms:
    """An owned session's time, its surcharges per minute, and what is held beside them for metered usage."""

    minutes: int
    surcharge_per_minute: Dof
    usage_allowance: Dof


def require_offered(listing: Listing | None, viewer_id: str | None, asked: str = "listing") -> Listing:
    """The listing, if it takes hires. Raises NotFound for one that the viewer may not see, NotHirable, NotAvailable."""
    viewer = Viewer(viewer_id) if viewer_id else None
    if listing is None or not visible_to(listing, viewer):
        raise NotFound(asked)
    if listing.status not in PUBLIC:
        raise NotHirable(
            f"The listing is {listing.status}, and only one on offer can be hired: find another with searchListings, "
            f"or bring this one back with {way_back(listing)}, if it is yours."
        )
    if listing.status is ListingStatus.PAUSED:
        raise NotAvailable("Its owner has paused this listing: try again later, or choose another one.")
    return listing


def hired(
    session_id: str,
    hirer_id: str,
    listing: Listing,
    configuration: SessionConfiguration,
    priced: Quote,
    shares: Shares,
    fingerprint: str,
    now: datetime,
) -> Session:
    """A hire holds its whole price, and freezes prices and shares (rulings 5, 6). Raises SelfDealing."""
    if listing.owner_id == hirer_id:
        raise SelfDealing("This is your own listing: use startSession with type OWNED for your own agent.")
    return Session(
        id=session_id,
        type=SessionType.HIRED,
        agent_id=listing.agent_id,
        listing_id=listing.id,
        hirer_id=hirer_id,
        owner_id=listing.owner_id,
        creator_id=listing.creator_id,
        configuration=configuration,
        pricing=listing.pricing,
        shares=shares,
        legs=(priced.leg,),
        surcharge_per_minute=priced.surcharge_per_minute,
        held=priced.total,
        started_at=now,
        fingerprint=fingerprint,
        transaction_id=transaction_id(session_id, hirer_id),
    )


def owned(
    session_id: str,
    viewer_id: str,
    agent: Agent | None,
    configuration: SessionConfiguration,
    terms: OwnTerms,
    fingerprint: str,
    now: datetime,
) -> Session:
    """An owned session pays surcharges and usage only (ruling 7). Raises NotFound, BadInput."""
    if agent is None or agent.owner_id != viewer_id or agent.deleted_at is not None:
        raise NotFound("agent")
    if not 1 <= terms.minutes <= pricing.SESSION_MINUTES_MAX:
        raise BadInput(f"A session lasts 1 to {pricing.SESSION_MINUTES_MAX} minutes.", field="input.minutes")
    allowance = terms.usage_allowance.units
    if not 0 <= allowance <= DOF_MAX // 2:
        raise BadInput(f"A usage allowance lies between 0 and {DOF_MAX // 2} DOF.", field="input.usageAllowance")
    held = terms.surcharge_per_minute * terms.minutes + terms.usage_allowance
    return Session(
        id=session_id,
        type=SessionType.OWNED,
        agent_id=agent.id,
        listing_id=None,
        hirer_id=viewer_id,
        owner_id=viewer_id,
        creator_id=agent.creator_id,
        configuration=configuration,
        pricing=None,
        shares=ALL_TO_PLATFORM,
        legs=(Leg(ZERO, terms.minutes),),
        surcharge_per_minute=terms.surcharge_per_minute,
        held=held,
        started_at=now,
        fingerprint=fingerprint,
        transaction_id=transaction_id(session_id, viewer_id) if held else None,
    )


def trial(
    session_id: str,
    viewer_id: str,
    agent: Agent | None,
    listing: Listing,
    configuration: SessionConfiguration,
    minutes: int,
    fingerprint: str,
    now: datetime,
) -> Session:
    """A trial is free and short (ruling 7). Raises NotFound, SelfDealing."""
    if agent is None or agent.deleted_at is not None:
        raise NotFound("agent")
    if agent.owner_id == viewer_id:
        raise SelfDealing("This is your own agent: use startSession with type OWNED.")
    return Session(
        id=session_id,
        type=SessionType.TRIAL,
        agent_id=agent.id,
        listing_id=listing.id,
        hirer_id=viewer_id,
        owner_id=agent.owner_id,
        creator_id=agent.creator_id,
        configuration=configuration,
        pricing=None,
        shares=ALL_TO_PLATFORM,
        legs=(Leg(ZERO, minutes),),
        surcharge_per_minute=ZERO,
        held=ZERO,
        started_at=now,
        fingerprint=fingerprint,
    )


def extension(session: Session, unit: HireUnit, quantity: int) -> Quote:
    """The price of a further stretch, at the session's own prices and surcharges, whatever the tables say today.

    Raises SessionOver for a trial, BadInput.
    """
    if session.type is SessionType.TRIAL:
        raise SessionOver("A trial cannot be extended: hire the agent with hireAgent.")
    return Quote(pricing.leg(session.pricing or FREE, unit, quantity), session.surcharge_per_minute)


def transaction_id(session_id: str, hirer_id: str) -> str:
    """The id of what the hirer sees of a session that holds."""
    return derived_id(Kind.TRANSACTION, "session", session_id, hirer_id)


def transaction(session: Session, available: Dof, now: datetime) -> Transaction:
    """What the hirer sees of a session that holds: `available` is what the hold has left."""
    assert session.transaction_id is not None, "a session that holds has its transaction"
    return Transaction(
        id=session.transaction_id,
        user_id=session.hirer_id,
        type=TransactionType.HIRE,
        status=TransactionStatus.PENDING,
        amount=-session.held.units,
        created_at=now,
        available_after=available.units,
        counterparty_id=session.owner_id if session.owner_id != session.hirer_id else None,
        agent_id=session.agent_id,
        session_id=session.id,
        payment_method=PaymentMethod.WALLET,
    )
