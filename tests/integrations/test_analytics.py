"""Google Analytics' adapter against a stand-in that holds to the documented bounds, and what must never reach it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from domain.analytics import Entered, Fact, Settled, SignedUp, Started
from domain.errors import Unavailable
from domain.ids import Kind, derived_id
from domain.ledger import WORLD_SHOPIFY, Entry, EntryKind, Posting, available
from domain.money import Dof
from domain.sessions import EndReason, settle
from firestore.collections import USERS
from firestore.memory import MemoryBackend
from functions.schedule.figures import Teller, count
from integrations.analytics import EVENTS_MAX, Ga4
from settings import Settings, SettingsError, require_startable
from tests.make import NOW, SECOND, World, facts, paid, session, user, user_id, wish
from tests.nouns import HOUR

MEASUREMENT, SECRET, KEY = "G-CANARY0001", "canary-api-secret", b"a key that stays here"
MAX = user_id("max")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
RESERVED = {"session_start", "user_engagement", "first_visit", "first_open", "app_remove", "notification_open", "error"}
BODY_BYTES_MAX = 130_000


@dataclass
class StandIn:
    """Notes what it is told, and what of it Google would drop without a word."""

    status: int = 204
    after_seconds: float = 0
    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.raw.append(head + body)
        self.bodies.append(json.loads(body))
        self.wrong += self._judge(lines[0], body, self.bodies[-1])
        await asyncio.sleep(self.after_seconds)
        writer.write(f"HTTP/1.1 {self.status} Whatever\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    def _judge(self, line: str, body: bytes, told: Any) -> list[str]:
        method, target, _ = line.split(" ")
        asked = parse_qs(urlsplit(target).query)
        wrong = [] if (method, urlsplit(target).path) == ("POST", "/mp/collect") else [line]
        wrong += [] if asked == {"measurement_id": [MEASUREMENT], "api_secret": [SECRET]} else ["the address"]
        wrong += [] if len(body) <= BODY_BYTES_MAX and told["client_id"] else ["the body"]
        wrong += [] if 1 <= len(told["events"]) <= 25 else ["the number of events"]
        for event in told["events"]:
            names = [event["name"], *event["params"]]
            wrong += [name for name in names if NAME.fullmatch(name) is None or name in RESERVED]
            wrong += [name for name in names if name.startswith(("ga_", "google_", "firebase_"))]
            wrong += [name for name, value in event["params"].items() if len(str(value)) > 100]
            wrong += [] if len(event["params"]) <= 25 and isinstance(event["timestamp_micros"], int) else ["an event"]
        return wrong

    @property
    def events(self) -> list[Any]:
        return [event for body in self.bodies for event in body["events"]]


@pytest_asyncio.fixture
async def google() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    server = await asyncio.start_server(stand_in.serve, "127.0.0.1", 0)
    stand_in.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield stand_in
    server.close()


def gateway(google: StandIn) -> Ga4:
    return Ga4(MEASUREMENT, SECRET, key=KEY, site=google.url)


def a_purchase(number: int = 0) -> Entered:
    ref = derived_id(Kind.ORDER, number)
    entry_id = derived_id(Kind.ENTRY, EntryKind.PURCHASE, "order", ref, 0)
    postings = (Posting(WORLD_SHOPIFY, available(MAX), Dof(150)),)
    return Entered(Entry(entry_id, EntryKind.PURCHASE, ref, "webhook:shopify", NOW, postings, user_ids=(MAX,)))


async def test_what_happened_is_told(google: StandIn) -> None:
    begun = session()
    ended = settle(begun, EndReason.ENDED_BY_HIRER, NOW + 90 * SECOND)
    ga4 = gateway(google)
    sold = a_purchase()
    await ga4.tell([SignedUp(MAX, NOW), Started(begun), Settled(ended), sold], NOW + HOUR)
    micros = int(NOW.timestamp()) * 1_000_000
    assert google.wrong == []
    assert google.bodies == [
        {
            "client_id": ga4.pseudonym(MAX),
            "consent": {"ad_user_data": "DENIED", "ad_personalization": "DENIED"},
            "events": [
                {"name": "sign_up", "timestamp_micros": micros, "params": {}},
                {
                    "name": "session_begin",
                    "timestamp_micros": micros,
                    "params": {"session_type": "HIRED", "minutes": 60, "dof": 6_000},
                },
                {
                    "name": "session_settled",
                    "timestamp_micros": micros + 90_000_000,
                    "params": {"session_type": "HIRED", "end_reason": "ENDED_BY_HIRER", "minutes": 2, "dof": 200},
                },
                {
                    "name": "purchase",
                    "timestamp_micros": micros,
                    "params": {"dof": 150, "transaction_id": ga4.pseudonym(sold.entry.id)},
                },
            ],
        }
    ]


async def test_a_pseudonym_is_one_s_own_and_of_this_store_alone(google: StandIn) -> None:
    ga4 = gateway(google)
    assert ga4.pseudonym(MAX) == ga4.pseudonym(MAX) != ga4.pseudonym(user_id("eve"))
    assert re.fullmatch(r"\d+\.\d+", ga4.pseudonym(MAX))
    assert Ga4(MEASUREMENT, SECRET, key=b"another key").pseudonym(MAX) != ga4.pseudonym(MAX)


async def test_many_events_go_in_several_requests_each_of_one_client(google: StandIn) -> None:
    people = [*(a_purchase(number) for number in range(EVENTS_MAX + 1)), SignedUp(user_id("eve"), NOW)]
    await gateway(google).tell(people, NOW)
    assert google.wrong == []
    assert [len(body["events"]) for body in google.bodies] == [25, 1, 1]
    assert len({body["client_id"] for body in google.bodies}) == 2


async def test_what_google_would_not_take_is_not_sent(google: StandIn) -> None:
    old = SignedUp(MAX, NOW - timedelta(days=3))
    moved = replace(a_purchase().entry, kind=EntryKind.MATURE)
    await gateway(google).tell([old, Entered(moved)], NOW)
    assert google.bodies == []


@pytest.mark.parametrize("status", [500, 403])
async def test_a_refusal_is_unavailable_and_names_no_secret(google: StandIn, status: int) -> None:
    google.status = status
    with pytest.raises(Unavailable) as down:
        await gateway(google).tell([SignedUp(MAX, NOW)], NOW)
    assert str(status) in down.value.message
    assert SECRET not in repr(down.value)


async def test_nobody_there_is_unavailable(google: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.analytics.DEADLINE_SECONDS", 0.2)
    with pytest.raises(Unavailable):
        await Ga4(MEASUREMENT, SECRET, key=KEY, site="http://127.0.0.1:9").tell([SignedUp(MAX, NOW)], NOW)
    google.after_seconds = 30
    with pytest.raises(Unavailable):
        await gateway(google).tell([SignedUp(MAX, NOW)], NOW)


async def test_no_personal_data_leaves(google: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    """Canaries in all that people write, and every id of the store: none of it is in a request, no secret in a log."""
    caplog.set_level(logging.DEBUG)
    world = World(MemoryBackend())
    offered = await world.open()
    canaries = {"display_name": "Canary Max", "email": "canary@jiga.test", "nationality": "Canarian"}
    await world.put(USERS, user("max", **canaries))
    await world.fund("max", 100_000)
    begun, _ = await world.store.sessions.hire(MAX, wish(offered, "canary-key"), NOW)
    await world.store.sessions.end(MAX, begun.id, "end", NOW + SECOND)
    await world.store.refunds.refund("root", begun.id, Dof(10), "canary reason", "k", NOW + SECOND)
    await world.absorb(facts(paid(), user_hint=MAX, email="canary@jiga.test"))
    told: list[Fact] = []
    async for page in world.store.facts.between(NOW - HOUR, NOW + HOUR):
        told += page
    assert {type(fact) for fact in told} == {SignedUp, Started, Settled, Entered}
    await gateway(google).tell(told, NOW + HOUR)
    assert {event["name"] for event in google.events} == {"sign_up", "session_begin", "session_settled", "purchase"}
    assert google.wrong == []
    sent = b"".join(google.raw).decode().lower()
    dump = await world.dump()
    written = ("canary max", "canary@", "canarian", "canary-key", "canary reason", "valorant", "nova", "coach", "1001")
    ids = {path.partition("/")[2].lower() for path in dump}
    assert [
        each for each in (*written, *ids) if each in sent.replace(SECRET, "").replace(MEASUREMENT.lower(), "")
    ] == []
    assert re.search(r"\b[a-z]{3}_[0-9a-z]{26}\b", sent) is None
    assert SECRET not in caplog.text


async def test_each_quarter_hour_is_told_once_it_is_final(google: StandIn) -> None:
    world = World(MemoryBackend())
    offered = await world.open()
    await world.fund("max", 100_000)
    teller = Teller(world.store, gateway(google))
    assert await teller.run(NOW) == 0
    await count(world.store, NOW)
    assert await teller.run(NOW) == 0  # it begins where the counting is, and tells no history
    begun, _ = await world.store.sessions.hire(MAX, wish(offered), NOW + 5 * SECOND)
    await count(world.store, NOW + SECOND * 60)
    assert await teller.run(NOW + SECOND * 60) == 0
    await count(world.store, NOW + HOUR)
    google.status = 500
    with pytest.raises(Unavailable):
        await teller.run(NOW + HOUR)
    google.status, google.bodies = 204, []
    assert await teller.run(NOW + HOUR) > 0
    assert [event["name"] for event in google.events].count("session_begin") == 1
    assert await teller.run(NOW + HOUR) == 0
    assert begun.id not in b"".join(google.raw).decode()


async def test_what_is_too_old_is_left_untold(google: StandIn) -> None:
    world = World(MemoryBackend())
    offered = await world.open()
    await world.fund("max", 100_000)
    teller = Teller(world.store, gateway(google))
    await count(world.store, NOW + HOUR)
    await teller.run(NOW + HOUR)
    await world.store.sessions.hire(MAX, wish(offered), NOW + 2 * HOUR)
    later = NOW + timedelta(days=4)
    await count(world.store, later)
    assert await teller.run(later) == 0
    assert google.bodies == []
    assert (await world.store.roll_up.mark("told")).until == (await world.store.roll_up.mark()).until


def test_half_of_the_settings_is_refused() -> None:
    half = Settings(ga4_measurement_id=MEASUREMENT)
    with pytest.raises(SettingsError, match="GA4_API_SECRET"):
        require_startable(half)
    require_startable(Settings())
