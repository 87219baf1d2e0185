"""A player's hour and a creator's, each from the first sign-up to the last figure, over HTTP and one WebSocket.

The clock of the store is the test's: hours and days pass at once, for tokens, holds, maturing and figures alike.
"""

from __future__ import annotations

import asyncio
import io
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image
from pydantic import SecretStr

from main import House, create_app
from settings import Settings
from tests.client import PASSWORD, Client, Subscription
from tests.emulators import free_port
from tests.journeys import market, shop
from tests.journeys.market import until
from tests.journeys.server import SECRET

HOURLY = 300_000
WALLET = "available held debt earned"
SESSION = "id status endReason dofHeld dofConsumed dofRemaining expiresAt"
BADGE_HOURS = 2  # catalogue.toml: the first badge of a game


@dataclass
class Store:
    """A store whose clock can be put forward."""

    url: str
    house: House
    ahead: list[timedelta]

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead[0]

    def wait(self, **time: float) -> None:
        """Put the clock forward."""
        self.ahead[0] += timedelta(**time)

    async def round(self, name: str) -> None:
        """One round of the schedule, as Cloud Scheduler would ask for it."""
        (chosen,) = (each for each in self.house.rounds if each.name == name)
        await chosen.run(self.now())


@pytest.fixture(params=["local", "official"])
async def store(request: pytest.FixtureRequest, project: str, tmp_path: Path) -> AsyncIterator[Store]:
    host = request.getfixturevalue("official_host") if request.param == "official" else None
    async with _open(tmp_path, project, host) as opened:
        yield opened


@asynccontextmanager
async def _open(data: Path, project: str, host: str | None) -> AsyncIterator[Store]:
    port = free_port()
    settings = Settings(
        port=port,
        project=project,
        data_dir=data,
        demo=False,
        firestore_emulator_host=host,
        shopify_webhook_secret=SecretStr(SECRET),
        schedule_seconds=3600,  # the test asks for the rounds itself
    )
    ahead = [timedelta()]
    app = create_app(settings, lambda: datetime.now(UTC) + ahead[0])
    opened = Store(f"http://127.0.0.1:{port}", app.state.house, ahead)
    config = uvicorn.Config(app, port=port, log_level="critical", ws="websockets-sansio")
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(60):
            while not server.started:
                await asyncio.sleep(0.02)
        try:
            yield opened
        finally:
            server.should_exit = True
            await serving


async def sign_in_again(client: Client, email: str) -> None:
    """An hour has passed, and with it the token."""
    asked = {"email": email, "password": PASSWORD}
    client.token = None
    client.token = (await client.act("signIn", asked, "idToken"))["idToken"]


async def seen(heard: Subscription, field: str, wanted: Any) -> Any:
    """The first answer that is as wanted."""
    for _ in range(40):
        told = (await heard.next())[field]
        if wanted(told):
            return told
    raise AssertionError(f"{field} was never as wanted")


async def coach(store: Store, creator: Client) -> str:
    """A coach of a game with badges, on offer; gives the listing's id."""
    asked = {
        "name": "Riven Coach",
        "type": "SPECIALIST",
        "provider": "GEMINI",
        "nationality": "Mexican",
        "language": "es-MX",
        "specialization": {"games": ["League of Legends"], "focus": "Top lane", "specialistType": "TRAINED"},
    }
    agent_id = (await creator.act("createAgent", asked, "agent { id }"))["agent"]["id"]
    return await market.publish(creator, agent_id, HOURLY, "Riven Coach")


async def test_a_player_s_hour(store: Store) -> None:
    """Search, hire, watch, extend, low balance, top-up by webhook, end, review, badge."""
    async with Client(store.url) as guest, await guest.sign_up("Ada") as creator, await guest.sign_up("Max") as player:
        listing_id = await coach(store, creator)
        assert await market.pay(player, 1001, sku=shop.GOLD, price=shop.GOLD_PRICE) == shop.GOLD_DOF
        async with player.socket() as live:
            search = """query { searchListings(query: "riven coach", filter: {game: "League of Legends"}) {
                totalCount nodes { id title pricing { version } } } }"""

            async def found() -> Any:
                return (await (await live.subscribe(search)).next())["searchListings"]

            hit = await until(found, lambda page: page["totalCount"] == 1, "the listing in the search")
            assert hit["nodes"] == [{"id": listing_id, "title": "Riven Coach", "pricing": {"version": 1}}]
            wallets = await live.subscribe(f"subscription {{ walletUpdated {{ {WALLET} }} }}")
            assert (await wallets.next())["walletUpdated"]["available"] == shop.GOLD_DOF
            hired = await player.act("hireAgent", market.hire(listing_id, "hire", hours=2), f"session {{ {SESSION} }}")
            session_id = hired["session"]["id"]
            assert hired["session"]["dofHeld"] == 2 * HOURLY
            watched = await live.subscribe(
                f"subscription ($id: ID!) {{ sessionUpdated(id: $id) {{ {SESSION} }} }}", id=session_id
            )
            assert (await watched.next())["sessionUpdated"]["status"] == "ACTIVE"
            longer = {"sessionId": session_id, "unit": "HOUR", "quantity": 1, "idempotencyKey": "longer"}
            extended = await player.act("extendSession", longer, f"session {{ {SESSION} }} wallet {{ {WALLET} }}")
            assert extended["wallet"] == {"available": 200_000, "held": 900_000, "debt": 0, "earned": 0}
            more = {**longer, "idempotencyKey": "more"}
            refused = await player.call("extendSession", more, refusal="... on InsufficientDof { needed available }")
            assert (refused["code"], refused["needed"], refused["available"]) == ("INSUFFICIENT_DOF", HOURLY, 200_000)
            assert await market.pay(player, 1002) == 200_000 + shop.BRONZE_DOF
            await player.act("extendSession", more)
            held = await seen(wallets, "walletUpdated", lambda each: each["held"] == 4 * HOURLY)
            assert held["available"] == 50_000
            assert (await seen(watched, "sessionUpdated", lambda each: each["dofHeld"] == 4 * HOURLY))[
                "dofConsumed"
            ] > 0

        store.wait(hours=3, minutes=-1, seconds=-30)  # the third hour has begun its last minute but one
        await sign_in_again(player, "max@example.org")
        ending = {"sessionId": session_id, "idempotencyKey": "end"}
        ended = await player.act("endSession", ending, f"session {{ {SESSION} }} wallet {{ {WALLET} }}")
        minutes = ended["session"]["dofConsumed"] * 60 // HOURLY
        assert (ended["session"]["status"], minutes) == ("ENDED", 179)
        assert ended["wallet"]["available"] == 50_000 + 4 * HOURLY - 179 * HOURLY // 60
        review = {"sessionId": session_id, "rating": 5, "comment": "I won my lane."}
        reviewed = await player.act("submitReview", review, "review { id verified hoursUsed rating }")
        assert (reviewed["review"]["verified"], reviewed["review"]["rating"]) == (True, 5)
        assert reviewed["review"]["hoursUsed"] == pytest.approx(179 / 60, abs=0.01)
        earned = await until(
            lambda: player.ask(
                "{ viewer { badges { badge { name hoursRequired } } achievements { name achievedAt } } }"
            ),
            lambda data: data["viewer"]["badges"],
            "the badge",
        )
        assert earned["viewer"]["badges"] == [
            {"badge": {"name": "League of Legends Apprentice", "hoursRequired": BADGE_HOURS}}
        ]
        assert any(each["achievedAt"] for each in earned["viewer"]["achievements"])
        told = await until(
            lambda: player.ask("{ viewer { notifications(first: 50) { nodes { kind } } } }"),
            lambda data: (
                {"PURCHASES", "SESSIONS", "BADGES"}
                <= {each["kind"] for each in data["viewer"]["notifications"]["nodes"]}
            ),
            "the notifications",
        )
        assert len(told["viewer"]["notifications"]["nodes"]) >= 4
        wallet = await player.wallet()
        assert market.explain(await player.transactions()) == wallet["available"]


async def test_a_creator_s_hour(store: Store) -> None:
    """Build, publish, be hired, be rated, see figures, be paid."""
    async with Client(store.url) as guest, await guest.sign_up("Ada") as creator, await guest.sign_up("Max") as player:
        agent_id = await market.create(creator, "Nova")
        await _give_a_face(creator, agent_id)
        configuration = {"provider": "GEMINI", "primary": {"model": "gemini-2.0-flash", "temperature": 0.4}}
        report = await creator.ask(
            "query ($c: AgentConfigurationInput!) { validateAgentConfiguration(input: $c) { valid } }",
            c={**configuration, "primary": {"model": "no-such-model", "temperature": 9.0}},
        )
        assert report["validateAgentConfiguration"]["valid"] is False
        listing_id = await market.publish(creator, agent_id, HOURLY)
        await market.pay(player, 1001, sku=shop.GOLD, price=shop.GOLD_PRICE)
        hired = await player.act("hireAgent", market.hire(listing_id, "hire", hours=3), "session { id }")
        session_id = hired["session"]["id"]
        store.wait(hours=3, seconds=5)
        await sign_in_again(creator, "ada@example.org")
        await sign_in_again(player, "max@example.org")
        over = await player.ask("query ($id: ID!) { session(id: $id) { status endReason dofConsumed } }", id=session_id)
        assert over["session"] == {"status": "ENDED", "endReason": "COMPLETED", "dofConsumed": 3 * HOURLY}
        await store.house.store.sessions.settle_if_over(session_id, store.now())
        await player.act("submitReview", {"sessionId": session_id, "rating": 4, "comment": "Good."})
        stats = await until(
            lambda: creator.ask("query ($id: ID!) { listing(id: $id) { stats { totalHires rating } } }", id=listing_id),
            lambda data: data["listing"]["stats"]["rating"] is not None,
            "the rating",
        )
        assert stats["listing"]["stats"] == {"totalHires": 1, "rating": 4.0}
        earned = 3 * HOURLY * 85 // 100
        assert (await creator.wallet())["earned"] == earned
        await _figures(store, creator, agent_id, earned)
        await _be_paid(store, creator, earned)


async def _give_a_face(creator: Client, agent_id: str) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (300, 200), (180, 40, 90)).save(drawn, "PNG")
    picture = drawn.getvalue()
    asked = {"purpose": "AGENT", "agentId": agent_id, "contentType": "image/png", "bytes": len(picture)}
    place = await creator.act("createImageUpload", asked, "uploadId uploadUrl headers { name value } publicUrl")
    async with httpx.AsyncClient(trust_env=False) as http:
        headers = {each["name"]: each["value"] for each in place["headers"]}
        assert (await http.put(place["uploadUrl"], content=picture, headers=headers)).status_code in (200, 201, 204)
        done = await creator.act("completeImageUpload", {"uploadId": place["uploadId"]}, "imageUrl agent { imageUrl }")
        assert done["agent"]["imageUrl"] == done["imageUrl"]
        shown = await http.get(done["imageUrl"])
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/webp")


async def _figures(store: Store, creator: Client, agent_id: str, earned: int) -> None:
    await store.round("figures")
    today = store.now().date()
    dates = {"from": str(today - timedelta(days=2)), "to": str(today + timedelta(days=1)), "timezone": "UTC"}
    figures = await creator.ask(
        """query ($id: ID!, $range: DateRange!) {
            agentAnalytics(agentId: $id, range: $range) {
                hires minutes gross uniqueHirers averageRating points { hires } }
            earningsAnalytics(range: $range) { earned maturing byAgent { agentId } } }""",
        id=agent_id,
        range=dates,
    )
    agent = figures["agentAnalytics"]
    assert (agent["hires"], agent["minutes"], agent["gross"]) == (1, 180, 3 * HOURLY)
    assert (agent["uniqueHirers"], agent["averageRating"]) == (1, 4.0)
    assert sum(point["hires"] for point in agent["points"]) == 1
    assert (figures["earningsAnalytics"]["earned"], figures["earningsAnalytics"]["maturing"]) == (earned, earned)


async def _be_paid(store: Store, creator: Client, earned: int) -> None:
    amount = {"amount": earned, "idempotencyKey": "pay me"}
    assert await creator.refused("requestPayout", amount) == "PAYOUT_NOT_READY"
    onboarding = (await creator.act("connectPayouts", {}, "onboardingUrl"))["onboardingUrl"]
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as http:
        page = await http.get(onboarding)
        action = re.search(r'action="([^"]+)"', page.text)
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        target = httpx.URL(onboarding).join(action[1].replace("&amp;", "&")) if action else onboarding
        assert (await http.post(target, data=fields)).status_code < 400
    await until(
        lambda: creator.ask("{ viewer { payoutAccount { ready } } }"),
        lambda data: data["viewer"]["payoutAccount"] and data["viewer"]["payoutAccount"]["ready"],
        "the account",
    )
    store.wait(days=7, minutes=1)
    await sign_in_again(creator, "ada@example.org")
    await store.round("mature")
    assert (await creator.wallet()) == {"available": earned, "held": 0, "debt": 0, "earned": 0}
    asked = await creator.act("requestPayout", amount, "payout { id } wallet { available }")
    assert asked["wallet"]["available"] == 0
    paid = await until(
        lambda: creator.ask("{ viewer { payouts(first: 1) { nodes { id status } } } }"),
        lambda data: data["viewer"]["payouts"]["nodes"][0]["status"] == "PAID",
        "the payout",
    )
    assert paid["viewer"]["payouts"]["nodes"][0]["id"] == asked["payout"]["id"]
