"""Agents, listings and sessions for tests, each valid, each with what the test cares about said in its own call."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from domain import hiring, listings, pricing, revisions, users
from domain.agents import (
    Agent,
    AgentConfiguration,
    AgentType,
    Catalogue,
    ModelConfig,
    ModelLimits,
    Provider,
    ProviderLimits,
    Tool,
)
from domain.ids import Kind, derived_id
from domain.listings import Listing, PublishWish
from domain.money import Dof, Money
from domain.payouts import PayoutTerms
from domain.policy import Policy
from domain.pricing import HireUnit, SessionConfiguration, Surcharges
from domain.revenue import Shares
from domain.revisions import AgentWish
from domain.sessions import EndReason, Session, settle
from domain.users import User

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
CATALOGUE = Catalogue(
    providers={
        Provider.GEMINI: ProviderLimits(
            "swift-1", {"swift-1": ModelLimits(8_192), "deep-1": ModelLimits(65_536, 0.0, 1.0)}
        ),
        Provider.OPENAI: ProviderLimits("open-1", {"open-1": ModelLimits(4_096)}),
    },
    tools={"vision": Tool("vision"), "search": Tool("search"), "speech": Tool("speech", needs_voice=True)},
    instructions_characters_max=100,
)
POLICY = Policy(
    packages=(),
    shares=Shares(owner_bps=7_500, platform_bps=1_500, creator_bps=1_000),
    surcharges=Surcharges(Dof(0), Dof(0), Dof(0)),
    catalogue=CATALOGUE,
    payouts=PayoutTerms(rate_minor_units=2000, currency="USD", minimum=Money(1000, "USD")),
    trial_minutes=10,
    owned_minutes=60,
    maturing=timedelta(days=7),
    event_retention=timedelta(days=7),
    inbox_retention=timedelta(days=30),
)


def user_id(name: str) -> str:
    return users.user_id(name)


def agent_id(name: str) -> str:
    return derived_id(Kind.AGENT, name)


ADA, MAX, EVE = user_id("ada"), user_id("max"), user_id("eve")


def a_user(name: str = "ada", **changes: Any) -> User:
    made = users.new_user(
        name, f"{name}@jiga.test", email_verified=True, display_name=name.title(), timezone="UTC", now=NOW
    )
    return replace(made, **changes)


def a_wish(**changes: Any) -> AgentWish:
    return replace(AgentWish("Nova", AgentType.ASSISTANT, Provider.GEMINI, "Mexican", "es-MX"), **changes)


def an_agent(name: str = "nova", owner: str = ADA, wish: AgentWish | None = None, **changes: Any) -> Agent:
    made = revisions.create(agent_id(name), wish or a_wish(), CATALOGUE, owner, NOW).agent
    return replace(made, **changes)


def a_configuration(**changes: Any) -> AgentConfiguration:
    return replace(AgentConfiguration(Provider.GEMINI, ModelConfig("swift-1")), **changes)


def an_offer(**changes: Any) -> PublishWish:
    return replace(PublishWish("Coach", "I play with you.", 100, 2_000, 10_000), **changes)


def a_listing(agent: Agent | None = None, offer: PublishWish | None = None, **changes: Any) -> Listing:
    agent = agent or an_agent()
    owner = replace(a_user(), id=agent.owner_id)
    made = listings.publish(None, agent, owner, offer or an_offer(), catalogue=CATALOGUE, now=NOW)
    return replace(made, **changes)


def a_hire(listing: Listing, hirer: str = MAX, key: str = "1", **changes: Any) -> Session:
    """One hour, from NOW."""
    priced = pricing.quote(listing.pricing, HireUnit.HOUR, 1, SessionConfiguration(), POLICY.surcharges)
    session_id = derived_id(Kind.SESSION, "hire", hirer, key)
    made = hiring.hired(session_id, hirer, listing, SessionConfiguration(), priced, POLICY.shares, "mark", NOW)
    return replace(made, **changes)


def an_ended_hire(listing: Listing, hirer: str = MAX, key: str = "1") -> Session:
    """Ended by its hirer after 90 seconds: two billed minutes."""
    return settle(a_hire(listing, hirer, key), EndReason.ENDED_BY_HIRER, NOW + 90 * SECOND)
