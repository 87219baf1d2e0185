"""The whole trade, as a stranger sees it: buy, create, publish, find, hire, watch, extend, end, split, review."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator
from typing import Any

from tests.client import Client, Subscription
from tests.journeys import market, shop
from tests.journeys.market import until
from tests.journeys.server import Server

SESSION = """id type status endReason dofHeld dofConsumed dofRemaining
    configuration { voiceEnabled } metrics { minutes interactions averageLatencyMs crashes }"""
WALLET = "available held debt earned"
WATCH_EVENTS = """subscription ($topics: [String!]!, $after: String) { events(topics: $topics, after: $after) {
    topic sequence cursor event { __typename
        ... on AgentHired { agentId sessionId } ... on SessionEnded { sessionId endReason }
        ... on SessionDofUpdated { consumed remaining } ... on TransactionCompleted { transactionId }
        ... on ReviewAdded { reviewId } ... on RatingUpdated { newRating } } } }"""
FACE = """id title pricing { hourly daily weekly version } status tags categories
    stats { totalHires activeHires rating ratingCount successRate }
    agent { id name owner { displayName } creator { displayName } }
    reviews(first: 5) { nodes { rating title comment verified reviewer { displayName } } }"""

HELD, EXTENDED = 2 * 600 + 120 * 20, 600 + 60 * 20  # hours at 600, and the voice at 20 for each minute
CONSUMED = 10 + 20 + 100  # one started minute of 600 for the hour, its voice, and the recorded usage
LEFT = shop.BRONZE_DOF - CONSUMED

Transcript = dict[str, Any]


async def test_the_trade_on_our_own_firestore(server: Server) -> None:
    check(await trade(server.url))


async def test_both_firestores_give_the_same_answers(server: Server, official: Server) -> None:
    ours = await trade(server.url, "again")
    theirs = await trade(official.url, "again")
    assert normal(ours) == normal(theirs)


async def trade(url: str, name: str = "first") -> Transcript:
    """One whole trade among people of its own; what each step answered."""
    said: Transcript = {}
    async with Client(url) as guest:
        creator, owner, player = [await guest.sign_up(f"{who}-{name}") for who in ("Ada", "Bo", "Max")]
        async with creator, owner, player:
            said["bought"] = await _buy(player, 7_000_000_000_000 + zlib.crc32(name.encode()))
            listing_id = await _publish(creator, owner, said)
            said["found"] = await guest.ask(
                'query ($by: ID!) { listings(filter: {ownerId: $by, game: "chess"}) { nodes { id title } } }',
                by=owner.user_id,
            )
            await _use(player, owner, listing_id, said)
            said["earned"] = [(await each.wallet())["earned"] for each in (owner, creator, player)]
            said["earning"] = [await each.transactions() for each in (owner, creator)]
            said["paid"] = await player.transactions()
            said["wallet"] = await player.wallet()
    return said


async def _buy(player: Client, number: int) -> Any:
    """DOF through a pending purchase and a signed webhook, delivered twice."""
    purchase_id = await shop.buy(player, "gold")
    assert await shop.buy(player, "gold") == purchase_id
    order = shop.Order(number, purchase_id)
    pending = await player.transactions()
    for topic in ("orders/create", "orders/paid"):
        assert (await shop.post(player.http, order.told(), topic)).status_code == 200
    wallet = await until(player.wallet, lambda seen: seen["available"] > 0, "the credit")
    return [pending, wallet, await player.transactions()]


async def _publish(creator: Client, owner: Client, said: Transcript) -> str:
    """The creator builds, checks and hands over; the new owner publishes."""
    agent_id = await market.create(creator)
    said["draft as a stranger sees it"] = await owner.ask("query ($id: ID!) { agent(id: $id) { id } }", id=agent_id)
    given = {"agentId": agent_id, "toUserId": owner.user_id}
    said["given"] = await creator.act("transferAgent", given, "agent { id owner { displayName } }")
    async with owner.socket() as socket:
        told = await socket.subscribe(WATCH_EVENTS, topics=[f"agent:{agent_id}"], after=None)
        await settled(socket)
        listing_id = await market.publish(owner, agent_id)
        # Told on both topics in one commit, after the answer: whoever follows the listing from here on missed it.
        await seen(told, "events", lambda each: each["event"]["__typename"] == "AgentPublished")
    said["on offer"] = await creator.ask(f"query ($id: ID!) {{ listing(id: $id) {{ {FACE} }} }}", id=listing_id)
    return listing_id


async def _use(player: Client, owner: Client, listing_id: str, said: Transcript) -> None:
    """Hire, watch, use, extend, end and review, with everything sent twice."""
    voice = {"voiceEnabled": True}
    asked = {"listingId": listing_id, "unit": "HOUR", "quantity": 2, "configuration": voice}
    quote = "total perMinute distribution { owner platform creator } pricingVersion affordable"
    said["quote"] = await player.ask(f"query ($q: QuoteHireInput!) {{ quoteHire(input: $q) {{ {quote} }} }}", q=asked)
    async with player.socket() as socket, owner.socket() as other:
        wallets = await socket.subscribe(f"subscription {{ walletUpdated {{ {WALLET} }} }}")
        said["wallet at first"] = await wallets.next()
        public = await other.subscribe(WATCH_EVENTS, topics=[f"listing:{listing_id}"], after=None)
        await settled(other)

        hire = {**market.hire(listing_id, "hire", hours=2), "configuration": voice}
        hired = await twice(player, "hireAgent", hire, f"session {{ {SESSION} }} wallet {{ {WALLET} }}")
        session_id = hired["session"]["id"]
        said["hired"] = hired
        said["wallet held"] = await seen(wallets, "walletUpdated", lambda each: each["held"] == HELD)
        updates = await socket.subscribe(
            f"subscription ($id: ID!) {{ sessionUpdated(id: $id) {{ {SESSION} }} }}", id=session_id
        )
        said["session at first"] = await updates.next()
        topics = [f"session:{session_id}", "wallet"]
        events = await socket.subscribe(WATCH_EVENTS, topics=topics, after=None)
        await settled(socket)

        usage = {"sessionId": session_id, "sequence": 1, "dof": 100, "interactions": 3, "latencyMs": 250}
        said["used"] = await twice(player, "recordUsage", usage, f"session {{ {SESSION} }}")
        said["meter"] = await seen(updates, "sessionUpdated", lambda each: each["dofConsumed"] == CONSUMED)
        longer = {"sessionId": session_id, "unit": "HOUR", "quantity": 1, "idempotencyKey": "longer"}
        said["extended"] = await twice(
            player, "extendSession", longer, f"session {{ {SESSION} }} wallet {{ {WALLET} }}"
        )
        said["wallet held more"] = await seen(wallets, "walletUpdated", lambda each: each["held"] == HELD + EXTENDED)
        ending = {"sessionId": session_id, "idempotencyKey": "end"}
        said["ended"] = await twice(player, "endSession", ending, f"session {{ {SESSION} }} wallet {{ {WALLET} }}")
        said["session at last"] = await seen(updates, "sessionUpdated", lambda each: each["status"] == "ENDED")
        assert await updates.ended()
        said["wallet at last"] = await seen(wallets, "walletUpdated", lambda each: each["held"] == 0)
        told = [(await events.next())["events"] for _ in range(4)]
        said["events"] = by_topic(told)
        again = await socket.subscribe(WATCH_EVENTS, topics=topics, after=told[0]["cursor"])
        resumed = [(await again.next())["events"] for _ in range(3)]
        assert by_topic(resumed) == by_topic(told[1:])

        review = {"sessionId": session_id, "rating": 4, "title": "Good", "comment": "Found my mistake: 3. … Nf6 👏"}
        said["reviewed"] = await player.act("submitReview", review, "review { id rating verified hoursUsed }")
        assert await player.refused("submitReview", {**review, "rating": 5}) == "ALREADY_REVIEWED"
        said["public events"] = [each["event"] for each in [(await public.next())["events"] for _ in range(3)]]
    read = f"query ($id: ID!) {{ listing(id: $id) {{ {FACE} }} }}"
    said["listing at last"] = await until(
        lambda: player.ask(read, id=listing_id), lambda data: data["listing"]["stats"]["activeHires"] == 0, "the count"
    )
    mine = f"query ($id: ID!) {{ session(id: $id) {{ {SESSION} dofEarned review {{ rating }} }} }}"
    said["session of its owner"] = await owner.ask(mine, id=session_id)


def check(said: Transcript) -> None:
    """The figures of the trade, each worked out by hand."""
    pending, wallet, done = said["bought"]
    assert [(each["status"], each["amount"], each["availableAfter"]) for each in pending] == [
        ("PENDING", shop.BRONZE_DOF, None)
    ]
    assert wallet == {"available": shop.BRONZE_DOF, "held": 0, "debt": 0, "earned": 0}
    assert [(each["id"], each["status"], each["availableAfter"]) for each in done] == [
        (pending[0]["id"], "COMPLETED", shop.BRONZE_DOF)
    ]
    assert said["draft as a stranger sees it"] == {"agent": None}
    assert [each["title"] for each in said["found"]["listings"]["nodes"]] == ["A coach"]
    assert said["quote"]["quoteHire"] == {
        "total": HELD,
        "perMinute": 30,
        "distribution": {"owner": 2700, "platform": 540, "creator": 360},
        "pricingVersion": 1,
        "affordable": True,
    }
    rest = shop.BRONZE_DOF - HELD
    assert said["hired"]["wallet"] == {"available": rest, "held": HELD, "debt": 0, "earned": 0}
    assert said["extended"]["session"]["dofHeld"] == HELD + EXTENDED
    assert said["meter"]["metrics"] == {"minutes": 1, "interactions": 3, "averageLatencyMs": 250, "crashes": 0}
    ended = said["ended"]["session"]
    assert (ended["status"], ended["endReason"], ended["dofConsumed"]) == ("ENDED", "ENDED_BY_HIRER", CONSUMED)
    final = {"available": LEFT, "held": 0, "debt": 0, "earned": 0}
    assert said["ended"]["wallet"] == said["wallet at last"] == said["wallet"] == final
    # 130 DOF: 97.5, 19.5 and 13; the half that is left goes to the owner first.
    parts = {"owner": 98, "platform": 19, "creator": 13}
    assert said["earned"] == [98, 13, 0]
    assert [[(each["type"], each["amount"], each["distribution"]) for each in one] for one in said["earning"]] == [
        [("EARNING", 98, parts)],
        [("EARNING", 13, parts)],
    ]
    assert [(each["type"], each["status"], each["amount"], each["availableAfter"]) for each in said["paid"]] == [
        ("HIRE", "COMPLETED", -CONSUMED, LEFT),
        ("PURCHASE", "COMPLETED", shop.BRONZE_DOF, shop.BRONZE_DOF),
    ]
    assert market.explain(said["paid"]) == said["wallet"]["available"]
    kinds = {
        topic.partition(":")[0]: [each["__typename"] for _, each in told] for topic, told in said["events"].items()
    }
    assert kinds == {
        "session": ["SessionDofUpdated", "SessionDofUpdated", "SessionEnded"],
        "wallet": ["TransactionCompleted"],
    }
    assert [each["__typename"] for each in said["public events"]] == ["AgentHired", "ReviewAdded", "RatingUpdated"]
    assert said["listing at last"]["listing"]["stats"] == {
        "totalHires": 1,
        "activeHires": 0,
        "rating": 4.0,
        "ratingCount": 1,
        "successRate": 1.0,
    }
    assert said["listing at last"]["listing"]["reviews"]["nodes"][0]["comment"] == "Found my mistake: 3. … Nf6 👏"
    assert said["session of its owner"]["session"]["dofEarned"] == 98


async def twice(player: Client, name: str, input: Any, selection: str) -> Any:
    """Send one mutation two times: both answers are the same, but for the meter, which runs on between them."""
    first, second = [await player.act(name, input, selection) for _ in range(2)]
    if first["session"]["status"] == "ACTIVE":
        for moving in ("dofConsumed", "dofRemaining", "metrics"):
            second["session"][moving] = first["session"][moving]
    assert second == first
    return first


async def seen(heard: Subscription, field: str, wanted: Any) -> Any:
    """The first answer that is as wanted: a subscriber may be told of several changes at once."""
    async for each in _answers(heard, field):
        if wanted(each):
            return each
    raise AssertionError("the subscription ended")


async def _answers(heard: Subscription, field: str) -> AsyncIterator[Any]:
    for _ in range(20):
        yield (await heard.next())[field]


async def settled(socket: Any) -> None:
    """The operations before this one have begun: a socket starts them in order."""
    heard = await socket.subscribe("{ viewer { id } }")
    await heard.next()


def by_topic(told: list[Any]) -> dict[str, Any]:
    """Each topic's events with their numbers, which have no hole."""
    found: dict[str, list[Any]] = {}
    for each in told:
        found.setdefault(each["topic"], []).append((each["sequence"], each["event"]))
    for events in found.values():
        numbers = [number for number, _ in events]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return found


_ID = re.compile(r"[a-z]{3}_[0-9a-hjkmnp-tv-z]{26}")


def normal(said: Transcript) -> Any:
    """The transcript with each id by the order in which it first came."""
    names: dict[str, str] = {}

    def name(text: str) -> str:
        return _ID.sub(lambda found: names.setdefault(found[0], f"{found[0][:3]}#{len(names)}"), text)

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return name(value)
        if isinstance(value, dict):
            return {name(key): walk(each) for key, each in value.items() if key != "cursor"}
        return [walk(each) for each in value] if isinstance(value, list | tuple) else value

    return walk(said)
