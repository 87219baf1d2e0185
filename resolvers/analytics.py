"""What an agent brought, what one earned, what one used."""

from __future__ import annotations

import asyncio
from collections import Counter

import strawberry

from domain import analytics
from domain.agents import Agent
from domain.analytics import Series, details
from domain.errors import NotFound
from domain.ids import Kind, is_id
from domain.money import Dof
from firestore.collections import AGENTS
from graph.context import Context, Info
from graph.types.analytics import (
    AgentAnalytics,
    AgentUse,
    DateRange,
    EarningsAnalytics,
    GameUse,
    UsageAnalytics,
    largest,
)


async def agent_analytics(info: Info, agent_id: strawberry.ID, range: DateRange) -> AgentAnalytics:
    """An agent's hires, earnings and use, for its owner and its creator; NOT_FOUND for everybody else."""
    context = info.context
    agent = await context.loaders.one(AGENTS, agent_id) if is_id(agent_id, Kind.AGENT) else None
    if not _is_ones_own(agent, context.signed_in):
        raise NotFound("agent")
    timezone, asked = await range.read(context)
    store = context.store
    mark, series, rating = await asyncio.gather(
        store.roll_up.mark(),
        store.analytics.of_subject(analytics.of_agent(agent_id), asked),
        store.analytics.rating(agent_id, asked),
    )
    return AgentAnalytics.of(agent_id, timezone, mark, series, rating)


async def earnings_analytics(info: Info, range: DateRange) -> EarningsAnalytics:
    """What the viewer earned, in all and by agent, over a range of days."""
    context = info.context
    timezone, asked = await range.read(context)
    mark, series, maturing = await asyncio.gather(
        context.store.roll_up.mark(),
        context.store.analytics.of_subject(analytics.earner(context.signed_in), asked),
        context.loaders.earned.load(context.signed_in),
    )
    return EarningsAnalytics.of(timezone, mark, series, maturing)


async def usage_analytics(info: Info, range: DateRange) -> UsageAnalytics:
    """What the viewer used and spent, in all and by agent and game, over a range of days."""
    context = info.context
    timezone, asked = await range.read(context)
    mark, series = await asyncio.gather(
        context.store.roll_up.mark(),
        context.store.analytics.of_subject(analytics.spender(context.signed_in), asked),
    )
    by_agent, by_game = await _by_agent(context, series)
    return UsageAnalytics.of(timezone, mark, series, by_agent, by_game)


def _is_ones_own(agent: Agent | None, viewer_id: str) -> bool:
    return agent is not None and agent.deleted_at is None and viewer_id in (agent.owner_id, agent.creator_id)


async def _by_agent(context: Context, series: Series) -> tuple[list[AgentUse], list[GameUse]]:
    """What was spent on which agents, and for which games: one RPC for the agents."""
    sessions, minutes, spent = (details(series.total, name) for name in ("sessions", "minutes", "spent"))
    used = largest(spent)
    agents = await asyncio.gather(*(context.loaders.one(AGENTS, each) for each in used))
    uses = [
        AgentUse(agent_id=strawberry.ID(each), sessions=sessions[each], minutes=minutes[each], spent=Dof(spent[each]))
        for each in used
    ]
    paid: Counter[str] = Counter()
    played: Counter[str] = Counter()
    for agent in filter(None, agents):
        for game in agent.games:
            paid[game] += spent[agent.id]
            played[game] += minutes[agent.id]
    games = [GameUse(game=each, minutes=played[each], spent=Dof(paid[each])) for each in largest(paid)]
    return uses, games
