"""An event of one's own is executed once for all who ask the same with the same rights, and its reads are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest
import strawberry
from graphql import GraphQLError

from domain.errors import RateLimited
from domain.ids import Kind, derived_id
from domain.money import Dof
from domain.rates import RATES
from firestore.sessions import Usage
from graph.execution import Execution
from graph.limits import HeavyLane
from graph.operations import Account
from graph.requests import GraphQLRequest
from tests.api.api import Json, Market, Person, Stream, graph, reachable
from tests.api.hall import Hall
from tests.api.test_guard import limit
from tests.make import MINUTE, NOW

SESSION = """subscription ($id: ID!) { sessionUpdated(id: $id) {
    dofConsumed dofEarned agent { name } hirer { displayName } listing { title } } }"""
WALLET = "subscription { walletUpdated { available held earned } }"
NOTIFICATION = "subscription { notificationReceived { kind title text read } }"


@dataclass
class Ran:
    """How often an event was executed."""

    times: int = 0


@asynccontextmanager
async def executions(market: Market) -> AsyncIterator[Ran]:
    guard, ran = market.rig.sight.guard, Ran()
    told = guard._told

    def count(account: Account, codes: tuple[str, ...]) -> None:
        ran.times += account.kind == "event"
        told(account, codes)

    guard._told = count
    yield ran
    guard._told = told


@asynccontextmanager
async def following(people: Iterable[Person], query: str, **variables: Json) -> AsyncIterator[list[Stream]]:
    """Everybody follows, and has been told what there is at first."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(await each.subscribe(query, **variables)) for each in people]
        for stream in streams:
            await stream.rest()
        yield streams


async def _use(market: Market, sequence: int) -> None:
    """5 DOF more. By the store itself: nobody's units count it."""
    used = Usage(market.ids.running, sequence, Dof(5), 1, None, False)
    await market.rig.store.sessions.record_usage(market.max.user_id, used, market.rig.now)


async def _give(market: Market, giver: Person, taker: Person, key: str = "gift") -> None:
    """7 DOF, by the store itself."""
    await market.rig.store.wallets.transfer(giver.user_id, taker.user_id, Dof(7), None, key, market.rig.now)
    await market.rig.drain()


async def _announce(market: Market, number: int) -> None:
    about = {"kind": "published", "agent_id": market.ids.nova, "listing_id": market.ids.listing}
    await market.rig.store.topics.announce("published", about, derived_id(Kind.OUTBOX, "said", number), NOW)


# ---- shared


@pytest.mark.parametrize("query", [SESSION, WALLET, NOTIFICATION])
async def test_forty_who_ask_the_same_cost_one_execution_and_no_more_rpcs_than_one(market: Market, query: str) -> None:
    variables = {"id": market.ids.running} if query is SESSION else {}
    rpcs = []
    for number, followers in enumerate((1, 40), 2):
        async with following([market.max] * followers, query, **variables) as streams, executions(market) as ran:
            before = market.rig.backend.totals.rpcs
            await (_use(market, number) if query is SESSION else _give(market, market.ada, market.max, str(number)))
            told = [await stream.answer() for stream in streams]
        assert ran.times == 1
        assert told[0] is not None
        assert "errors" not in told[0]
        assert all(answer is told[0] for answer in told)
        rpcs.append(market.rig.backend.totals.rpcs - before)
    assert rpcs[0] == rpcs[1]


async def test_nobody_is_told_what_is_for_other_people_or_other_rights(market: Market) -> None:
    """Of a session, its owner, its hirer, and two of the hirer's keys: each gets an answer of their own."""
    made = await market.max.act("createApiKey", {"name": "Game", "scopes": ["READ"]}, "secret")
    reader = Person(market.rig, None, token=made["secret"])
    people = [market.ada, market.max, market.max_bot, reader] * 5
    async with following(people, SESSION, id=market.ids.running) as streams, executions(market) as ran:
        await _use(market, 2)
        told = [await stream.answer() for stream in streams]
    assert ran.times == 4
    assert all(answer is told[place % 4] for place, answer in enumerate(told))
    shown = [answer["data"]["sessionUpdated"] for answer in told[:4] if answer]
    assert [each["dofConsumed"] for each in shown] == [515] * 4
    assert [each["dofEarned"] for each in shown] == [386, None, None, None]


async def test_each_wallet_is_its_own(market: Market) -> None:
    async with following([market.ada, market.eve] * 5, WALLET) as streams, executions(market) as ran:
        for taker in (market.ada, market.eve):
            await _give(market, market.max, taker, taker.name)
        told = [await stream.next() for stream in streams]
    assert ran.times == 2
    wallets = [await each.ask("{ viewer { wallet { available held earned } } }") for each in (market.ada, market.eve)]
    assert [each["walletUpdated"] for each in told] == [each["viewer"]["wallet"] for each in wallets] * 5
    assert told[0] != told[1]


async def test_who_is_late_by_a_minute_is_told_of_that_minute(market: Market) -> None:
    """The same change of the same version: what its meter shows is another minute's, and so is what hangs on it."""
    async with following([market.max] * 2, SESSION, id=market.ids.running) as (prompt, late):
        await _use(market, 2)
        assert [(await each.next())["sessionUpdated"]["dofConsumed"] for each in (prompt, late)] == [515, 515]
        await _use(market, 3)
        assert (await prompt.next())["sessionUpdated"]["dofConsumed"] == 520
        market.rig.now += MINUTE
        assert (await late.next())["sessionUpdated"]["dofConsumed"] == 620


async def test_who_begins_is_told_what_is_there_now(market: Market) -> None:
    """Whatever others were told of the same version in the same minute."""
    async with following([market.max], SESSION, id=market.ids.running) as (stream,):
        await _use(market, 2)
        assert (await stream.next())["sessionUpdated"]["agent"]["name"] == "Nova"
        await market.ada.act("updateAgent", {"id": market.ids.nova, "version": 1, "name": "Nova II"})
        async with await market.max.subscribe(SESSION, id=market.ids.running) as begun:
            assert (await begun.next())["sessionUpdated"]["agent"]["name"] == "Nova II"


def test_nothing_that_is_shared_depends_on_more_than_the_viewers_rights() -> None:
    """A sign-in is one device's, and two devices share an answer."""
    for payload in ("Session", "Wallet", "Notification", "EventEnvelope"):
        assert {name.partition(".")[0] for name in reachable(graph().type_map[payload])} & {"Viewer", "SignIn"} == set()


# ---- counted


async def test_every_execution_counts_and_the_rate_ends_the_stream_until_there_is_room(market: Market) -> None:
    """The subscribe counts 10, and so does each answer, the first as well: with 45, the fourth is one too many."""
    limit(market.rig, user=45)
    query = "subscription ($id: ID!) { sessionUpdated(id: $id) { dofConsumed } }"
    async with await market.max.subscribe(query, id=market.ids.running) as stream:
        assert (await stream.next())["sessionUpdated"]["dofConsumed"] == 510
        for sequence, used in ((5, 5), (6, 10)):
            await _use(market, sequence)
            assert (await stream.next())["sessionUpdated"]["dofConsumed"] == 510 + used
        await _use(market, 15)
        refused = await stream.answer()
        assert refused is not None
        assert "data" not in refused
        (error,) = refused["errors"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert 1 <= error["extensions"]["retryAfterSeconds"] <= 120
        assert await stream.answer() == {"complete": True}
    async with await market.max.subscribe(query, id=market.ids.running) as again:
        assert await again.code() == "RATE_LIMITED"
    market.rig.sight.counters._kept.clear()  # type: ignore[attr-defined] # as time does
    async with await market.max.subscribe(query, id=market.ids.running) as again:
        assert (await again.next())["sessionUpdated"]["dofConsumed"] == 525


async def test_a_shared_answer_counts_once(market: Market) -> None:
    """Forty began for 11 units each, and what there was at first was one answer, for 11. Two more have room."""
    limit(market.rig, user=40 * 11 + 3 * 11)
    async with following([market.max] * 40, WALLET) as streams:
        for key in ("one", "two"):
            await _give(market, market.ada, market.max, key)
            assert all(["walletUpdated" in await stream.next() for stream in streams])
        await _give(market, market.ada, market.max, "three")
        assert {await stream.code() for stream in streams} == {"RATE_LIMITED"}


async def test_who_has_no_units_left_takes_nobody_along(market: Market) -> None:
    """max follows first, and has nothing left to pay an event with; eve, who waits for the same, pays for one."""
    topic = f"listing:{market.ids.listing}"
    query = "subscription ($t: [String!]!) { events(topics: $t) { event { __typename } } }"
    limit(market.rig, user=20)
    async with following([market.max, market.max, market.eve], query, t=[topic]) as (first, second, other):
        await _announce(market, 1)
        assert (await other.next())["events"]["event"] == {"__typename": "AgentPublished"}
        assert [await each.code() for each in (first, second)] == ["RATE_LIMITED"] * 2
        await _announce(market, 2)
        assert await other.code() == "RATE_LIMITED"


async def test_a_keys_own_rate_counts_what_it_asks_and_no_events(market: Market) -> None:
    made = await market.max.act("createApiKey", {"name": "Game", "scopes": ["READ"], "rateLimitPerMinute": 1}, "secret")
    await market.rig.drain()
    key = Person(market.rig, None, token=made["secret"])
    async with following([key], SESSION, id=market.ids.running) as (stream,):
        for sequence, used in ((5, 5), (6, 10), (7, 15)):
            await _use(market, sequence)
            assert (await stream.next())["sessionUpdated"]["dofConsumed"] == 510 + used
    assert await key.error("{ __typename }")


async def test_a_lively_client_uses_a_tenth_of_its_rate(market: Market) -> None:
    """Five subscriptions that show what a page shows, with an event a second each."""
    asked = ((SESSION, {"id": market.ids.running}), (WALLET, {}), (NOTIFICATION, {}))
    async with AsyncExitStack() as stack:
        begun = [following([market.max], query, **variables) for query, variables in asked]
        streams = [stream for each in begun for stream in await stack.enter_async_context(each)]
        before = _counted(market)
        await _use(market, 5)
        await _give(market, market.ada, market.max)
        assert [len(await stream.rest()) for stream in streams] == [1, 1, 1]
        units_of_an_event = (_counted(market) - before) / len(asked)
    assert units_of_an_event >= 10
    assert units_of_an_event * 60 * 5 <= RATES["user"].units / 10


def _counted(market: Market) -> int:
    """What max's units were counted as."""
    _, _, units = market.rig.sight.counters._kept["user", market.max.user_id]  # type: ignore[attr-defined]
    return int(units)


# ---- few at a time


@strawberry.type
class Large:
    @strawberry.field
    async def items(self, info: strawberry.Info[Hall, None], first: int) -> list[Large]:
        await info.context.wait()
        return [Large()] * first


@strawberry.type
class Query:
    hello: str = "hello"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def large(self) -> AsyncIterator[Large]:
        yield Large()


async def test_t_g13_large_events_are_made_few_at_a_time() -> None:
    def shown(error: GraphQLError) -> dict[str, Any]:
        return {"message": error.message, "extensions": {"code": getattr(error.original_error, "code", "INTERNAL")}}

    execution = Execution(strawberry.Schema(Query, subscription=Subscription), present=shown)
    hall = Hall()

    async def follow() -> list[Json]:
        request = GraphQLRequest("subscription { large { items(first: 5000) { __typename } } }")
        answers = await execution.subscribe(request, cast("Any", hall))
        assert not isinstance(answers, dict)
        return [answer async for answer in answers]

    tasks = [asyncio.create_task(follow()) for _ in range(HeavyLane.AT_ONCE + HeavyLane.WAITING_MAX + 3)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert hall.inside == HeavyLane.AT_ONCE
    refused = [task.result() for task in tasks if task.done()]
    assert [each[0]["errors"][0]["extensions"]["code"] for each in refused] == [RateLimited.code] * 3
    hall.gate.set()
    answers = [answer for task in tasks for answer in await task if "data" in answer]
    assert len(answers) == HeavyLane.AT_ONCE + HeavyLane.WAITING_MAX
    assert hall.most == HeavyLane.AT_ONCE
