"""Live push at the schema: what is told to whom, from where, and until when (rows T-Z01, T-Z07, T-Z11)."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from domain.agents import AgentConfiguration, ModelConfig, Provider
from domain.ids import Kind, derived_id
from domain.money import Dof
from domain.users import Role
from firestore.collections import AGENTS, OUTBOX, USERS
from graph.connection import Cursors
from resolvers.events import cursor_scope
from tests.api.api import NOWHERE, Json, Market, Person, Stream, graph, missing, reachable, select, told
from tests.journeys import shop
from tests.make import MINUTE, NOW
from tests.nouns import SECOND, an_agent

EVENTS = """subscription ($topics: [String!]!, $after: String) { events(topics: $topics, after: $after) {
    topic sequence cursor at event { __typename ... on SessionDofUpdated { consumed remaining }
    ... on SessionEnded { endReason } ... on Gap { topic missedFrom missedTo }
    ... on TransactionCompleted { transactionId }
    ... on RatingUpdated { newRating } ... on AgentUpdated { changes } } } }"""
DEEP = (
    "subscription ($topics: [String!]!, $after: String) { events(topics: $topics, after: $after) "
    + select(graph().type_map["EventEnvelope"], 0)
    + " }"
)
SESSION = """subscription ($id: ID!) { sessionUpdated(id: $id) {
    status dofConsumed dofHeld endReason metrics { interactions } } }"""
WALLET = "subscription { walletUpdated { available held debt earned } }"


async def _use(market: Market, sequence: int, dof: int = 5) -> None:
    asked = {"sessionId": market.ids.running, "sequence": sequence, "dof": dof}
    await market.max.act("recordUsage", asked)


async def _end(market: Market) -> None:
    await market.max.act("endSession", {"sessionId": market.ids.running, "idempotencyKey": "end"})


def _short(answers: list[Json]) -> list[tuple[str, int, str]]:
    """Each event as its topic's kind, its number and its type."""
    events = [each["events"] for each in answers]
    return [(each["topic"].partition(":")[0], each["sequence"], each["event"]["__typename"]) for each in events]


async def _follow(person: Person, *topics: str, after: str | None = None) -> Stream:
    return await person.subscribe(EVENTS, topics=[*topics], after=after)


# ---- what is told


async def test_a_session_is_told_from_now_on_change_by_change(market: Market) -> None:
    topic = f"session:{market.ids.running}"
    async with await _follow(market.max, topic) as stream:
        assert await stream.answer() is None
        await _use(market, 2)
        longer = {"sessionId": market.ids.running, "unit": "HOUR", "quantity": 1, "idempotencyKey": "more"}
        await market.max.act("extendSession", longer)
        await _end(market)
        told_ = await stream.rest()
        # Five minutes have passed since it began, and one change before: the sixth number was the last.
        assert _short(told_) == [
            ("session", 8, "SessionDofUpdated"),
            ("session", 9, "SessionDofUpdated"),
            ("session", 10, "SessionEnded"),
        ]
        first = told_[0]["events"]
        assert first["event"] == {"__typename": "SessionDofUpdated", "consumed": 515, "remaining": 5_485}
        assert first["at"] == "2026-03-01T12:00:00+00:00"
        assert told_[2]["events"]["event"]["endReason"] == "ENDED_BY_HIRER"


async def test_the_owner_hears_of_the_hire_and_the_hirer_of_the_money(market: Market) -> None:
    """Each by its own topics: the agent's, the listing's, the wallet's."""
    ids = market.ids
    async with (
        await _follow(market.ada, f"agent:{ids.nova}", f"listing:{ids.listing}") as owner,
        await _follow(market.max, "wallet", "transactions") as hirer,
        await _follow(market.eve, "wallet") as stranger,
    ):
        assert [await each.answer() for each in (owner, hirer, stranger)] == [None] * 3
        hired = await market.max.act("hireAgent", market.hire(), "session { id }")
        await market.rig.drain()
        assert sorted(_short(await owner.rest())) == [("agent", 7, "AgentHired"), ("listing", 7, "AgentHired")]
        await market.max.act("endSession", {"sessionId": hired["session"]["id"], "idempotencyKey": "e"})
        heard = await hirer.rest()
        assert sorted(each[0] for each in _short(heard)) == ["transactions", "wallet"]
        assert {each[2] for each in _short(heard)} == {"TransactionCompleted"}
        assert await stranger.rest() == []


async def test_a_session_is_shown_again_at_each_change_and_ends_with_it(market: Market) -> None:
    async with await market.max.subscribe(SESSION, id=market.ids.running) as stream:
        shown = {
            "status": "ACTIVE",
            "dofConsumed": 510,
            "dofHeld": 6_000,
            "endReason": None,
            "metrics": {"interactions": 3},
        }
        assert await stream.next() == {"sessionUpdated": shown}
        assert await stream.answer() is None
        await _use(market, 2)
        assert await stream.next() == {"sessionUpdated": {**shown, "dofConsumed": 515}}
        await _use(market, 2)  # repeated: nothing changes, nothing is told
        assert await stream.answer() is None
        await _end(market)
        over = {"status": "ENDED", "dofConsumed": 515, "endReason": "ENDED_BY_HIRER"}
        assert await stream.next() == {"sessionUpdated": {**shown, **over}}
        assert await stream.answer() == {"complete": True}
    async with await market.max.subscribe(SESSION, id=market.ids.running) as late:
        assert (await late.next())["sessionUpdated"]["status"] == "ENDED"
        assert await late.answer() == {"complete": True}


async def test_each_answer_speaks_of_its_own_moment(market: Market) -> None:
    """A socket that is open for hours does not read hours-old loaders."""
    async with await market.max.subscribe(SESSION, id=market.ids.running) as stream:
        assert (await stream.next())["sessionUpdated"]["dofConsumed"] == 510
        market.rig.now = NOW + 10 * MINUTE
        await _use(market, 2)
        assert (await stream.next())["sessionUpdated"]["dofConsumed"] == 1_515


async def test_a_wallet_is_shown_now_and_when_it_changes(market: Market) -> None:
    async with await market.ada.subscribe(WALLET) as stream:
        before = (await stream.next())["walletUpdated"]
        assert await stream.answer() is None
        gift = {"toUserId": market.ada.user_id, "amount": 7, "idempotencyKey": "gift"}
        await market.max.act("transferDof", gift)
        assert await stream.next() == {"walletUpdated": {**before, "available": before["available"] + 7}}
        await _end(market)  # what is earned is no part of the wallet's document
        assert (await stream.next())["walletUpdated"]["earned"] == before["earned"] + 383
        await market.max.act("transferDof", {**gift, "toUserId": market.eve.user_id, "idempotencyKey": "other"})
        assert await stream.answer() is None


async def test_every_event_of_the_schema_is_told(market: Market) -> None:
    """Whatever can happen, with every field: no type of the union that nobody has ever seen."""
    ids, heard = market.ids, []
    topics = [f"agent:{ids.nova}", f"listing:{ids.listing}", f"session:{ids.running}"]
    async with (
        await market.ada.subscribe(DEEP, topics=topics, after=None) as owner,
        await market.max.subscribe(DEEP, topics=["wallet", "notifications"], after=None) as hirer,
    ):
        assert (await owner.answer(), await hirer.answer()) == (None, None)
        nova = await market.rig.get(AGENTS, ids.nova)
        await market.ada.act("updateAgent", {"id": ids.nova, "version": nova.version, "name": "Nova II"})
        offer = {"agentId": ids.nova, "title": "Anew", "description": "Again.", "pricing": _PRICES}
        await market.ada.act("publishAgent", offer)
        await market.eve.act("hireAgent", market.hire(pricingVersion=2))
        await _use(market, 2)
        await market.max.act("submitReview", {"sessionId": ids.ended, "rating": 4, "comment": "Good."})
        await _end(market)
        cancelled = shop.Order(8_001, await shop.buy(market.max, "cancelled"), market.max.user_id)
        assert (await shop.post(market.rig.http, cancelled.cancelled(), "orders/cancelled")).status_code == 200
        await market.rig.drain()
        heard = [*await owner.rest(), *await hirer.rest()]
    heard += [*await _started(market), *await _lost(market)]
    union = graph().type_map["Event"]
    assert {each["events"]["event"]["__typename"] for each in heard} == {each.name for each in union.types}
    assert sorted(reachable(graph().type_map["EventEnvelope"]) - told(heard)) == []


_PRICES = {"hourly": 10, "daily": 100, "weekly": 500}


async def _sealed(market: Market, person: Person, marks: dict[str, tuple[int, Any]]) -> str:
    """A cursor as the store itself seals it."""
    scope = cursor_scope(person.user_id, marks)
    position = [[topic, number, at.isoformat()] for topic, (number, at) in sorted(marks.items())]
    return Cursors(market.rig.secrets.cursor).seal(scope, position)


async def _started(market: Market) -> list[Json]:
    """A session's very first event. Who follows a session comes after it, so only a cursor from before tells of it."""
    hired = await market.cleo.act("hireAgent", market.hire("cleo", pricingVersion=2), "session { id }")
    topic = f"session:{hired['session']['id']}"
    after = await _sealed(market, market.cleo, {topic: (0, NOW - SECOND)})
    async with await market.cleo.subscribe(DEEP, topics=[topic], after=after) as stream:
        return await stream.rest()


async def _lost(market: Market) -> list[Json]:
    """What is told where the history is gone."""
    topic = f"listing:{market.ids.listing}"
    for path, data in (await market.rig.dump()).items():
        if path.startswith("outbox/") and topic in data["topics"]:
            await market.rig.forget(path)
    after = await _sealed(market, market.ada, {topic: (1, NOW - MINUTE)})
    async with await market.ada.subscribe(DEEP, topics=[topic], after=after) as stream:
        return await stream.rest()


# ---- going on


async def test_who_comes_back_is_told_what_was_missed_and_then_goes_on(market: Market) -> None:
    """From each cursor: exactly what an uninterrupted subscriber heard after it."""
    topic = f"session:{market.ids.running}"
    async with await _follow(market.max, topic) as whole:
        assert await whole.answer() is None
        for number in range(2, 7):
            await _use(market, number)
        heard = await whole.rest()
        assert [each["events"]["sequence"] for each in heard] == [8, 9, 10, 11, 12]
        for place, each in enumerate(heard):
            async with await _follow(market.max, topic, after=each["events"]["cursor"]) as back:
                assert _bare(await back.rest()) == _bare(heard[place + 1 :])
        async with await _follow(market.max, topic, after=heard[1]["events"]["cursor"]) as back:
            assert len(await back.rest()) == 3
            await _use(market, 7)
            assert _bare(await back.rest()) == _bare(await whole.rest()) != []


async def test_t_s08_who_reconnects_a_thousand_times_is_told_each_number_once(market: Market) -> None:
    """Events fall into every moment: while the reader is away, just before it comes, while it is there; it leaves with
    some of them unread. What it was told is each number of each topic, once and in order."""
    rng = random.Random(7)
    topics = ["wallet", f"listing:{market.ids.listing}"]
    sent, cursor = 0, None
    told: dict[str, list[int]] = {topic: [] for topic in topics}

    async def happen() -> None:
        nonlocal sent
        sent += 1
        if rng.random() < 0.9:
            me, other = market.max.user_id, market.eve.user_id
            await market.rig.store.wallets.transfer(me, other, Dof(1), None, f"gift {sent}", NOW)
        else:
            fact = derived_id(Kind.OUTBOX, "said", sent)
            about = {"kind": "published", "agent_id": market.ids.nova, "listing_id": market.ids.listing}
            await market.rig.store.topics.announce("published", about, fact, NOW)

    for _ in range(1_000):
        async with await _follow(market.max, *topics, after=cursor) as stream:
            if cursor is None:
                assert await stream.answer() is None
            if rng.random() < 0.1:
                await happen()
            for _ in range(rng.choice((1, 1, 2, 5))):
                answer = await stream.answer()
                if answer is None:
                    break
                event = answer["data"]["events"]
                assert event["event"]["__typename"] != "Gap"
                told[event["topic"]].append(event["sequence"])
                cursor = event["cursor"]
        if rng.random() < 0.08:
            await happen()
    async with await _follow(market.max, *topics, after=cursor) as stream:
        for each in await stream.rest():
            told[each["events"]["topic"]].append(each["events"]["sequence"])
    assert sum(map(len, told.values())) == sent > 120
    for numbers in told.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_followers_of_a_listing_share_one_execution_and_one_look(market: Market) -> None:
    """Forty readers, signed in or not: an event is executed once, its listing read once, and all are told the same."""
    topic = f"listing:{market.ids.listing}"
    async with AsyncExitStack() as stack:
        people = [market.eve, market.max, market.guest, market.cleo] * 10
        streams = [await stack.enter_async_context(await _follow(person, topic)) for person in people]
        assert [await stream.answer() for stream in streams] == [None] * 40
        before = market.rig.backend.totals.rpcs
        about = {"kind": "published", "agent_id": market.ids.nova, "listing_id": market.ids.listing}
        await market.rig.store.topics.announce("published", about, derived_id(Kind.OUTBOX, "said", 1), NOW)
        announced = market.rig.backend.totals.rpcs
        told = [await stream.answer() for stream in streams]
    assert announced > before
    assert market.rig.backend.totals.rpcs == announced + 1
    assert told[0] is not None
    assert all(answer is told[0] for answer in told)


async def test_t_z07_a_listing_that_is_hidden_tells_strangers_no_more(market: Market) -> None:
    topic = f"listing:{market.ids.listing}"
    about = {"kind": "published", "agent_id": market.ids.nova, "listing_id": market.ids.listing}
    async with await _follow(market.eve, topic) as stranger, await _follow(market.ada, topic) as owner:
        assert (await stranger.answer(), await owner.answer()) == (None, None)
        await market.ada.act("unpublishAgent", {"agentId": market.ids.nova})
        await market.rig.store.topics.announce("published", about, derived_id(Kind.OUTBOX, "said", 1), NOW)
        assert await stranger.code() == "NOT_FOUND"
        assert len(await owner.rest()) >= 1


async def test_a_cursor_serves_long_after(market: Market) -> None:
    """An hour later the session has ended by itself: the minutes in between and the end are told, without a hole."""
    topic = f"session:{market.ids.running}"
    async with await _follow(market.max, topic) as stream:
        assert await stream.answer() is None
        await _use(market, 2)
        (first,) = await stream.rest()
    market.rig.now = NOW + 60 * MINUTE
    await market.rig.store.sessions.settle_if_over(market.ids.running, market.rig.now)
    async with await _follow(market.max, topic, after=first["events"]["cursor"]) as back:
        heard = _short(await back.rest())
    assert [each[1] for each in heard] == [*range(9, 9 + len(heard))]
    assert heard[-1][2] == "SessionEnded"
    assert {each[2] for each in heard[:-1]} == {"SessionDofUpdated"}


async def test_a_silent_topic_keeps_its_place(market: Market) -> None:
    """The cursor of one topic's event knows where all the others stood, though they had said nothing."""
    topics = ["wallet", f"listing:{market.ids.listing}", f"agent:{market.ids.draft}"]
    async with await _follow(market.ada, *topics) as stream:
        assert await stream.answer() is None
        gift = {"toUserId": market.ada.user_id, "amount": 7, "idempotencyKey": "gift"}
        await market.max.act("transferDof", gift)
        (first,) = await stream.rest()
        assert _short([first]) == [("wallet", first["events"]["sequence"], "TransactionCompleted")]
    await market.max.act("submitReview", {"sessionId": market.ids.ended, "rating": 4, "comment": "Good."})
    await market.ada.act("updateAgent", {"id": market.ids.draft, "version": 3, "name": "Newer"})
    await market.max.act("transferDof", {**gift, "idempotencyKey": "second"})
    await market.rig.drain()
    async with await _follow(market.ada, *reversed(topics), after=first["events"]["cursor"]) as back:
        heard = sorted(_short(await back.rest()))
    names = [(topic, type_) for topic, _, type_ in heard]
    assert names == [
        ("agent", "AgentUpdated"),
        ("listing", "ReviewAdded"),
        ("listing", "RatingUpdated"),
        ("wallet", "TransactionCompleted"),
    ]


async def test_a_history_that_is_gone_is_a_gap_at_once(market: Market) -> None:
    """Of a topic with later events, and of one that stays silent: the reader learns what it missed, and goes on."""
    topic = f"listing:{market.ids.listing}"
    async with await _follow(market.eve, topic) as stream:
        assert await stream.answer() is None
        await market.eve.act("hireAgent", market.hire("one"))
        await market.rig.drain()
        (first,) = await stream.rest()
    start = first["events"]["sequence"]
    for key in ("two", "three"):
        await market.eve.act("hireAgent", market.hire(key))
        await market.rig.drain()
    await _forget_rows(market, topic)
    async with await _follow(market.eve, topic, after=first["events"]["cursor"]) as back:
        (gap,) = await back.rest()
        assert gap["events"]["sequence"] == start + 2
        lost = {"topic": topic, "missedFrom": start + 1, "missedTo": start + 2}
        assert gap["events"]["event"] == {"__typename": "Gap", **lost}
        await market.eve.act("hireAgent", market.hire("four"))
        await market.rig.drain()
        (next_,) = await back.rest()
        assert next_["events"]["sequence"] == start + 3
    async with await _follow(market.eve, topic, after=gap["events"]["cursor"]) as again:
        assert _bare(await again.rest()) == _bare([next_])


async def test_a_gap_in_a_wallet_names_the_wallet_as_it_was_asked_for(market: Market) -> None:
    gift = {"toUserId": market.eve.user_id, "amount": 7, "idempotencyKey": "gift"}
    async with await _follow(market.max, "transactions") as stream:
        assert await stream.answer() is None
        await market.max.act("transferDof", gift)
        (first,) = await stream.rest()
    await market.max.act("transferDof", {**gift, "idempotencyKey": "second"})
    await _forget_rows(market, f"wallet:{market.max.user_id}")
    async with await _follow(market.max, "transactions", after=first["events"]["cursor"]) as back:
        (gap,) = await back.rest()
    assert (gap["events"]["topic"], gap["events"]["event"]["topic"]) == ("transactions", "transactions")


async def test_as_many_topics_as_may_be_followed_can_be_resumed(market: Market) -> None:
    """The longest cursor: twenty topics, at moments that have microseconds."""
    market.rig.now = NOW.replace(microsecond=123_456)
    names = [f"many {number}" for number in range(20)]
    runs = AgentConfiguration(Provider.OPENAI, ModelConfig("gpt-4o"))
    agents = [replace(an_agent(name, market.ada.user_id), configuration=runs) for name in names]
    await market.rig.put(AGENTS, *agents)
    topics = [f"agent:{each.id}" for each in agents]
    async with await _follow(market.ada, *topics) as stream:
        assert await stream.answer() is None
        await market.ada.act("updateAgent", {"id": agents[0].id, "version": 1, "language": "fi"})
        await market.rig.drain()
        (first,) = await stream.rest()
        assert 1_800 < len(first["events"]["cursor"]) < 2_400
    await market.ada.act("updateAgent", {"id": agents[7].id, "version": 1, "language": "fi"})
    await market.rig.drain()
    async with await _follow(market.ada, *topics, after=first["events"]["cursor"]) as back:
        (second,) = await back.rest()
    assert second["events"]["topic"] == topics[7]


async def test_t_p09_a_cursor_is_of_its_topics_and_its_reader(market: Market) -> None:
    topics = ["wallet", f"listing:{market.ids.listing}", f"agent:{market.ids.nova}"]
    async with await _follow(market.max, *topics) as stream:
        assert await stream.answer() is None
        await market.eve.act("hireAgent", market.hire())
        await market.rig.drain()
        cursor = (await stream.rest())[-1]["events"]["cursor"]
    for person, wanted, after in (
        (market.eve, topics, cursor),
        (market.max, topics[:2], cursor),
        (market.max, topics[1:], cursor),
        (market.max, [*topics, "transactions"], cursor),
        (market.max, topics, cursor[:-2] + "AA"),
        (market.max, topics, "A" + cursor[1:]),
        (market.max, topics, ""),
        (market.max, topics, "x" * 50_000),
        (market.max, topics, "é"),
    ):
        async with await _follow(person, *wanted, after=after) as refused:
            answer = await refused.answer()
        assert answer is not None
        assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "after"}
    async with await _follow(market.max, *reversed(topics), topics[0], after=cursor) as same:
        assert await same.answer() is None  # the order of the topics is nothing


# ---- who may follow


NO_TOPICS: tuple[list[str], ...] = (
    [],
    ["wallet", *(f"listing:{number}" for number in range(20))],
    [""],
    ["x"],
    ["wallets"],
    ["wallet:"],
    ["wallet:usr_" + NOWHERE],
    ["transactions:me"],
    ["user:usr_" + NOWHERE],
    ["Session:ses_" + NOWHERE],
    ["*"],
    [" wallet"],
    ["x" * 10_240],
)


@pytest.mark.parametrize("topics", NO_TOPICS, ids=lambda topics: str(topics)[:40])
async def test_what_is_no_topic_is_bad_input(market: Market, topics: list[str]) -> None:
    async with await _follow(market.max, *topics) as stream:
        answer = await stream.answer()
    assert answer is not None
    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "topics"}
    assert len(str(answer)) < 1_000


async def test_t_z01_another_s_topic_is_refused_as_if_it_were_missing(market: Market) -> None:
    """To the letter, and before anything is listened to."""
    ids = market.ids
    kinds = {
        "session": (Kind.SESSION, (ids.running, ids.ended, ids.reviewed)),
        "agent": (Kind.AGENT, (ids.draft, ids.hidden)),
    }
    kinds["listing"] = (Kind.LISTING, (ids.hidden_listing,))
    for name, (kind, theirs) in kinds.items():
        for person in (market.eve, market.guest):
            said = set()
            for id_ in (
                *theirs,
                missing(kind),
                "x",
                "",
                f"{kind.value}_",
                ids.hire,
                market.max.user_id,
                "../" + theirs[0],
            ):
                async with await _follow(person, f"{name}:{id_}") as stream:
                    said.add(str(await stream.answer()))
            assert len(said) == 1, said
            assert "'code': 'NOT_FOUND'" in said.pop()
    said = set()
    for id_ in (ids.running, ids.ended, missing(Kind.SESSION), "x", ids.draft, "x" * 10_240):
        async with await market.eve.subscribe(SESSION, id=id_) as stream:
            said.add(str(await stream.answer()))
    assert len(said) == 1
    assert "'code': 'NOT_FOUND'" in said.pop()
    assert market.rig.backend.totals.by_verb.get("listen", 0) == 0


async def test_t_z07_one_refused_topic_refuses_the_whole(market: Market) -> None:
    async with await _follow(market.eve, f"listing:{market.ids.listing}", f"session:{market.ids.running}") as stream:
        assert await stream.code() == "NOT_FOUND"
    async with await _follow(market.guest, f"listing:{market.ids.listing}", "wallet") as stream:
        assert await stream.code() == "UNAUTHENTICATED"
    assert market.rig.backend.totals.by_verb.get("listen", 0) == 0


async def test_t_z07_one_s_own_wallet_is_the_only_one(market: Market) -> None:
    """`wallet` means the subscriber's, whatever happens to others at the same time."""
    async with await _follow(market.eve, "wallet") as eve, await market.eve.subscribe(WALLET) as seen:
        assert await eve.answer() is None
        mine = await seen.next()
        gift = {"toUserId": market.ada.user_id, "amount": 7, "idempotencyKey": "gift"}
        await market.max.act("transferDof", gift)
        assert (await eve.answer(), await seen.answer()) == (None, None)
        await market.max.act("transferDof", {**gift, "toUserId": market.eve.user_id, "idempotencyKey": "eve"})
        (event,) = await eve.rest()
        of_eve = derived_id(Kind.TRANSACTION, "received", market.max.user_id, "eve")
        assert event["events"]["event"] == {"__typename": "TransactionCompleted", "transactionId": of_eve}
        assert (await seen.next())["walletUpdated"]["available"] == mine["walletUpdated"]["available"] + 7


@pytest.mark.parametrize("follow", ["session", "agent", "listing", "sessionUpdated"])
async def test_t_z11_who_loses_the_office_hears_no_more(market: Market, follow: str) -> None:
    """A moderator follows what is not public; the role is taken away while the socket is open."""
    ids = market.ids
    topics = {
        "session": f"session:{ids.running}",
        "agent": f"agent:{ids.draft}",
        "listing": f"listing:{ids.hidden_listing}",
    }
    if follow == "sessionUpdated":
        stream = await market.mia.subscribe(SESSION, id=ids.running)
    else:
        stream = await _follow(market.mia, topics[follow])
    async with stream:
        if follow == "sessionUpdated":
            assert (await stream.next())["sessionUpdated"]["status"] == "ACTIVE"
        assert await stream.answer() is None
        await _happen(market, follow, 2)
        assert len(await stream.rest()) >= 1
        await market.rig.store.users.set_role(market.mia.user_id, Role.USER, NOW)
        await _happen(market, follow, 3)
        assert await stream.code() == "NOT_FOUND"
        assert await stream.answer() == {"complete": True}


async def _happen(market: Market, follow: str, number: int) -> None:
    if follow in ("session", "sessionUpdated"):
        await _use(market, number)
    elif follow == "agent":
        draft = await market.rig.get(AGENTS, market.ids.draft)
        await market.ada.act("updateAgent", {"id": draft.id, "version": draft.version, "name": f"Draft {number}"})
    else:
        review = {"kind": "published", "agent_id": market.ids.hidden, "listing_id": market.ids.hidden_listing}
        await market.rig.store.topics.announce("published", review, derived_id(Kind.OUTBOX, "said", number), NOW)
    await market.rig.drain()


async def test_a_sign_in_whose_record_is_gone_hears_its_own_still_and_opens_nothing(market: Market) -> None:
    await market.rig.forget(USERS.at(market.max.user_id))
    async with await _follow(market.max, f"agent:{market.ids.draft}") as stream:
        assert await stream.code() == "UNAUTHENTICATED"
    async with await _follow(market.max, f"session:{market.ids.running}") as stream:
        assert await stream.answer() is None


async def _forget_rows(market: Market, topic: str) -> None:
    """Retention has taken what the topic told."""
    for path, data in (await market.rig.dump()).items():
        if path.startswith(f"{OUTBOX.name}/") and topic in data["topics"]:
            await market.rig.forget(path)


def _bare(answers: list[Json]) -> list[Json]:
    """Events without their cursors, which know of other topics too."""
    return [{name: each for name, each in answer["events"].items() if name != "cursor"} for answer in answers]
