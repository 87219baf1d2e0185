"""The real app in this process: every door of a store on the memory backend, at a time that a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import strawberry
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request

import main
from domain import users
from domain.agents import (
    AgentConfiguration,
    AgentType,
    ExperienceItem,
    ModelConfig,
    Provider,
    SpecialistType,
    Specialization,
)
from domain.hiring import transaction_id
from domain.ids import Kind, derived_id
from domain.listings import PublishWish
from domain.money import Dof, Money
from domain.pricing import HireUnit, SessionConfiguration
from domain.purchases import Rail
from domain.reviews import ReviewWish
from domain.revisions import AgentWish
from firestore.agents import Expected
from firestore.backend import Backend, Query, Value, Write
from firestore.collections import AGENTS, OUTBOX, USERS
from firestore.memory import MemoryBackend
from firestore.outbox import row
from firestore.records import Collection, R
from firestore.rows import OutboxRow, RowState
from firestore.sessions import Hire, Usage
from firestore.store import Store
from functions.caller import Caller, tasks
from graph.execution import Answer, GraphQLRequest
from graph.schema import make_schema
from integrations import identity as rules
from integrations.services import Identity, IdentityGateway, PayoutAccount, SignIn
from settings import Settings
from tests.client import Client
from tests.journeys import shop
from tests.journeys.server import SECRET
from tests.make import ALL, MINUTE, NOW
from tests.nouns import HOUR, SECOND, a_user

URL = "http://jiga.test"
DRAIN_SECONDS_MAX = 20.0  # tasks of one test end within milliseconds: beyond this one of them fails for ever
TURNS = 60  # of the event loop: what a subscription needs to reach its first event, or its silence
NOWHERE = "0" * 26
"""The body of an id that nothing has."""

Json = Any


@cache
def schema() -> strawberry.Schema:
    """The store's schema. Building it takes longer than a test."""
    return make_schema()


class Names:
    """An identity gateway without passwords to hash: a token is its person's name. `test_sign_in` has the real one."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def admit(self, name: str) -> None:
        """Let a person sign in."""
        self.known[name] = f"{name}@jiga.test"

    async def sign_up(self, email: str, password: str) -> SignIn:
        address = rules.normalised_email(email)
        rules.new_password(password, address)
        name = address.partition("@")[0]
        if name in self.known:
            raise rules.email_taken()
        self.admit(name)
        return self._signed(name)

    async def sign_in(self, email: str, password: str) -> SignIn:
        name = email.partition("@")[0]
        if name not in self.known or password != name:
            raise rules.wrong_credentials()
        return self._signed(name)

    async def refresh(self, refresh_token: str) -> SignIn:
        if refresh_token not in self.known:
            raise rules.sign_in_again()
        return self._signed(refresh_token)

    async def verify(self, id_token: str, *, check_revoked: bool) -> Identity:
        if id_token not in self.known:
            raise rules.not_signed_in()
        return Identity(id_token, self.known[id_token], True, NOW, NOW + HOUR)

    async def revoke(self, uid: str) -> None:
        self.known.pop(uid, None)

    async def delete(self, uid: str) -> None:
        self.known.pop(uid, None)

    async def close(self) -> None:
        """Nothing is open."""

    def _signed(self, name: str) -> SignIn:
        return SignIn(name, self.known[name], name, name, 3_600)


class Bank:
    """A payout gateway that takes every transfer."""

    async def open_account(self, *, user_id: str, email: str, country: str | None) -> str:
        return f"acct_{user_id[-6:]}"

    async def onboarding_url(self, account_id: str) -> str:
        return f"https://bank.test/{account_id}"

    async def account(self, account_id: str) -> PayoutAccount:
        return PayoutAccount(account_id, True)

    async def transfer(self, *, account_id: str, amount: Money, payout_id: str, key: str) -> str:
        return f"tr_{payout_id[-6:]}"

    async def find_transfer(self, payout_id: str) -> str | None:
        return None

    async def reverse(self, transfer_id: str, *, key: str) -> None:
        raise AssertionError("no test sends money back")

    async def close(self) -> None:
        """Nothing is open."""


class Rig(main.House):
    """A house on memory. `now` is what its clock says; without an `identity` tokens are names."""

    def __init__(self, data: Path, identity: IdentityGateway | None = None) -> None:
        self.now = NOW
        self.names = Names()
        self.memory = MemoryBackend()
        self._given = identity
        settings = Settings(
            env="local",
            data_dir=data,
            demo=False,
            money_mode="live",
            cursor_secret=SecretStr("cursors"),
            shopify_shop=None,
            shopify_webhook_secret=SecretStr(SECRET),
            firestore_emulator_host=None,
            auth_emulator_host=None,
        )
        super().__init__(settings, clock=lambda: self.now)
        transport = httpx.ASGITransport(Starlette(routes=self.routes()))
        self.http = httpx.AsyncClient(transport=transport, base_url=URL, trust_env=False)
        self.guest = Person(self, None)

    def _start_firestore(self) -> None:
        return None

    def _backend(self) -> Backend:
        return self.memory

    def _identity(self) -> IdentityGateway:
        return self._given or self.names

    def _build_graph(self) -> None:
        self.payouts = Bank()
        self.caller = Caller(self.store, self.dispatcher, self.clock, tasks(self.payouts))
        with patch.object(main, "make_schema", schema):
            super()._build_graph()

    async def start(self) -> None:
        """Deliver tasks, and keep no schedule: its rounds would come in between."""
        self.queue.start(self.caller.deliver)

    async def stop(self) -> None:
        await self.http.aclose()
        await super().stop()

    async def drain(self) -> None:
        """Let every task that is due be done, and those that they ask for."""
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            for _ in range(3):  # a webhook's work settles, its row announces: chains are no longer
                await self.dispatcher.close()
                await self.queue.drain()

    def person(self, name: str) -> Person:
        """Somebody who is signed in."""
        self.names.admit(name)
        return Person(self, name)

    async def put(self, collection: Collection[R], *records: R) -> None:
        """Write records as they are, whatever was there."""
        for start in range(0, len(records), 500):
            part = records[start : start + 500]
            await self.memory.commit([Write(collection.at(each.id), collection.encode(each)) for each in part])

    async def get(self, collection: Collection[R], record_id: str) -> R:
        (found,) = await self.memory.get_many([collection.at(record_id)])
        assert found is not None, f"{collection.at(record_id)} is there"
        return collection.decode(found)

    async def dump(self) -> dict[str, dict[str, Value]]:
        """Every document of the store by its path."""
        found = [await self.memory.query(Query(each.name)) for each in ALL]
        return {snapshot.path: dict(snapshot.data) for snapshots in found for snapshot in snapshots}

    async def load(self, documents: Mapping[str, Mapping[str, Value]]) -> None:
        """Put back what `dump` gave."""
        await self.memory.commit([Write(path, dict(data)) for path, data in documents.items()])


class Person(Client):
    """Somebody at the rig's doors; without a name a guest."""

    def __init__(self, rig: Rig, name: str | None, *, token: str | None = None) -> None:
        self.rig = rig
        self.name = name or "guest"
        self.url = URL
        self.token = token or name
        self.user_id = users.user_id(name) if name else ""
        self.refresh_token = ""
        self.http = rig.http

    async def raw(self, query: str, **variables: Json) -> httpx.Response:
        """The answer as it travels."""
        return await self.http.post(
            "/graphql", json={"query": query, "variables": variables}, headers=self.headers, timeout=None
        )

    async def error(self, query: str, **variables: Json) -> Json:
        """The one error of an answer."""
        answer = await self.answer(query, **variables)
        assert len(answer.get("errors", [])) == 1, answer
        return answer["errors"][0]

    async def subscribe(self, query: str, **variables: Json) -> Stream:
        """Begin a subscription, as the socket's door does."""
        headers = [(b"authorization", f"Bearer {self.token}".encode())] if self.token else []
        context = await self.rig.reception.for_request(Request({"type": "http", "headers": headers}))
        return Stream(await self.rig.execution.subscribe(GraphQLRequest(query, None, variables), context))


class Stream:
    """What a subscription tells."""

    def __init__(self, begun: Answer | AsyncGenerator[Answer, None]) -> None:
        self._refused = begun if isinstance(begun, dict) else None
        self._events = None if isinstance(begun, dict) else begun
        self._next: asyncio.Task[Answer | None] | None = None

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        if self._events is not None:
            await self._events.aclose()

    async def answer(self) -> Answer | None:
        """The next answer as soon as all that is under way is done; None for silence."""
        if self._refused is not None:
            return self._refused
        assert self._events is not None, "a subscription is refused or tells"
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._events, None))
        for _ in range(TURNS):
            if self._next.done():
                break
            await asyncio.sleep(0)
        else:
            return None
        done, self._next = self._next, None
        return done.result() or {"complete": True}

    async def next(self) -> Json:
        """The data of the next answer."""
        answer = await self.answer()
        assert answer is not None, "nothing was told"
        assert set(answer) == {"data"}, answer
        return answer["data"]

    async def rest(self) -> list[Json]:
        """All that is told until it is silent."""
        told = []
        while (answer := await self.answer()) is not None and "data" in answer:
            told.append(answer["data"])
        return told

    async def code(self) -> str:
        """The code with which it is refused."""
        answer = await self.answer()
        assert answer is not None, "it is open"
        assert "errors" in answer, answer
        return str(answer["errors"][0]["extensions"]["code"])


def missing(kind: Kind) -> str:
    """The id of a thing that is not there."""
    return derived_id(kind, "missing")


def codes(answer: Json) -> list[str]:
    return [error["extensions"]["code"] for error in answer.get("errors", [])]


def flat(value: Json) -> Iterable[Json]:
    """Every value inside an answer."""
    if isinstance(value, dict):
        for each in value.values():
            yield from flat(each)
    elif isinstance(value, list):
        for each in value:
            yield from flat(each)
    else:
        yield value


# ---- a market


@dataclass(frozen=True)
class Ids:
    """What there is on the market."""

    nova: str
    draft: str
    hidden: str
    listing: str
    hidden_listing: str
    running: str
    reviewed: str
    ended: str
    review: str
    hire: str
    earning: str
    purchase: str
    payout: str
    order: str
    dead: str


PEOPLE = ("ada", "cleo", "max", "eve", "mia", "root", "zoe")
FUNDS = 1_000_000
HOURLY = 6_000


@dataclass
class Market:
    """ada owns nova, which cleo created and max hires; eve is a stranger, mia a moderator, root an admin.

    Everybody but zoe has DOF. ada also has a draft, and an agent that she took off the market. max runs a session, has
    reviewed another, and could review a third. Two orders wait for a decision, one task was given up, ada is paid out.
    """

    rig: Rig
    ids: Ids

    def __post_init__(self) -> None:
        self.ada, self.cleo, self.max, self.eve, self.mia, self.root, self.zoe = map(self.rig.person, PEOPLE)
        self.guest = self.rig.guest

    @asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """The block changes not one byte of the store, and asks for no task."""
        before = await self.rig.dump()
        yield
        assert await self.rig.dump() == before

    def hire(self, key: str = "k", **changes: Json) -> Json:
        """The input of hireAgent: an hour of nova."""
        asked = {"listingId": self.ids.listing, "unit": "HOUR", "quantity": 1, "pricingVersion": 1}
        return {**asked, "idempotencyKey": key, **changes}


AGENT = AgentWish(
    name="Nova",
    type=AgentType.SPECIALIST,
    provider=Provider.GEMINI,
    nationality="Mexican",
    language="es-MX",
    voice_id="alma",
    has_voice_chat=True,
    has_memory=True,
    toolkit=("web_search",),
    specialization=Specialization(("Chess",), "Openings", SpecialistType.TRAINED),
    configuration=AgentConfiguration(
        Provider.GEMINI,
        ModelConfig("gemini-2.5-flash", 0.5, 1_000),
        ModelConfig("gemini-2.5-pro", 0.5, 1_000),
        instructions="Be kind.",
    ),
)
OFFER = PublishWish("Coach", "I play with you.", HOURLY, 96_000, 500_000, ("openings",), ("Coaching",))


async def furnish(rig: Rig) -> Ids:
    """Fill an empty store by its own operations."""
    store, at = rig.store, NOW - 3 * HOUR
    roles = {"mia": users.Role.MODERATOR, "root": users.Role.ADMIN}
    for name in PEOPLE:
        made = a_user(name, role=roles.get(name, users.Role.USER), nationality="Mexican")
        await rig.put(USERS, replace(made, avatar_url="https://pictures.test/a.png"))
        if name != "zoe":
            await store.wallets.adjust(users.user_id("root"), made.id, FUNDS, "a start", name, at)
    ada, cleo, max_ = map(users.user_id, ("ada", "cleo", "max"))
    nova, draft, hidden = (derived_id(Kind.AGENT, name) for name in ("nova", "draft", "hidden"))
    await store.agents.create(cleo, nova, AGENT, at)
    await store.agents.transfer(cleo, nova, ada, at)
    experienced = replace(await rig.get(AGENTS, nova), image_url="https://pictures.test/n.png")
    await rig.put(AGENTS, replace(experienced, experience=(ExperienceItem("Chess", 12, "Student", 2),)))
    listing = await store.listings.publish(ada, nova, OFFER, at)
    await store.listings.feature(users.Viewer(users.user_id("mia"), users.Role.MODERATOR), listing.id, True, at)
    for name, agent_id in (("Draft", draft), ("Hidden", hidden)):
        plain = AgentWish(name, AgentType.ASSISTANT, Provider.OPENAI, "Finnish", "fi")
        await store.agents.create(ada, agent_id, plain, at)
        change = AgentConfiguration(Provider.OPENAI, ModelConfig("gpt-4.1"))
        await store.agents.update_configuration(ada, Expected(agent_id), change, at + SECOND)
    hidden_listing = await store.listings.publish(ada, hidden, OFFER, at)
    await store.listings.unpublish(ada, hidden, at)
    sessions = await _use(store, listing.id, at)
    review = await store.reviews.submit(max_, sessions["reviewed"], ReviewWish(5, "Good.", "Fine"), at + HOUR)
    purchase, order = await _buy(rig)
    await store.payouts.keep_account(ada, "acct_ada", True, ("tos_acceptance.date",), at)
    payout, _ = await store.payouts.request(ada, Dof(500_000), "payout", at)
    await rig.put(OUTBOX, _dead(at))
    await rig.drain()
    return Ids(
        nova=nova,
        draft=draft,
        hidden=hidden,
        listing=listing.id,
        hidden_listing=hidden_listing.id,
        running=sessions["running"],
        reviewed=sessions["reviewed"],
        ended=sessions["ended"],
        review=review.id,
        hire=transaction_id(sessions["running"], max_),
        earning=derived_id(Kind.TRANSACTION, "earning", sessions["ended"], cleo),
        purchase=purchase,
        payout=payout.id,
        order=order,
        dead=derived_id(Kind.OUTBOX, "dead"),
    )


async def _use(store: Store, listing_id: str, at: datetime) -> dict[str, str]:
    """max hires three times: twice for two minutes, and then still."""
    found, max_ = {}, users.user_id("max")
    for name, start in (("reviewed", at), ("ended", at + HOUR), ("running", NOW - 5 * MINUTE)):
        wish = Hire(listing_id, HireUnit.HOUR, 1, 1, SessionConfiguration(), name)
        session, _ = await store.sessions.hire(max_, wish, start)
        used = Usage(session.id, 1, Dof(10), 3, 40, name == "running")
        await store.sessions.record_usage(max_, used, start + 30 * SECOND)
        if name != "running":
            await store.sessions.end(max_, session.id, "end", start + 90 * SECOND)
        found[name] = session.id
    return found


async def _buy(rig: Rig) -> tuple[str, str]:
    """max begins to buy, and pays for something else; nobody knows who paid another order."""
    at, max_ = NOW - HOUR, users.user_id("max")
    wish = rig.store.purchases.wish(max_, Rail.SHOPIFY, shop.BRONZE, 1, "first")
    await rig.store.purchases.begin(wish, "https://shop.test/cart", at)
    doubtful = shop.Order(7_001, wish.id, max_, price="1.00")
    for order in (doubtful, shop.Order(7_002, email="nobody@jiga.test")):
        assert (await shop.post(rig.http, order.told())).status_code == 200
    await rig.drain()
    return wish.id, derived_id(Kind.ORDER, Rail.SHOPIFY, main.LOCAL_SHOP, "7001")


def _dead(at: datetime) -> OutboxRow:
    plain = row(("dead",), at, 7 * 24 * HOUR, task="announce", args={"kind": "agent_updated", "agent_id": "agt_x"})
    return replace(plain, state=RowState.DEAD, attempts=20)


_furnished: list[tuple[Ids, dict[str, dict[str, Value]]]] = []


async def open_market(rig: Rig) -> Market:
    """A market of its own for each test: furnished once, and put back as it was."""
    if not _furnished:
        _furnished.append((await furnish(rig), await rig.dump()))
    else:
        await rig.load(_furnished[0][1])
    return Market(rig, _furnished[0][0])
