"""The real app in this process: every door of a store on the memory backend, at a time that a test sets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import strawberry
from graphql import (
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
)
from PIL import Image
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from strawberry.utils.str_converters import to_camel_case

import main
from domain import endpoints, images, users
from domain.agents import (
    AgentConfiguration,
    AgentType,
    ModelConfig,
    Provider,
    SpecialistType,
    Specialization,
)
from domain.endpoints import Attempt, Delivery, WebhookEvent
from domain.hiring import transaction_id
from domain.ids import Kind, derived_id
from domain.images import ImagePurpose
from domain.keys import TEST, KeyScope, KeyWish
from domain.listings import ListingStatus, PublishWish
from domain.money import Dof, Money
from domain.policy import Policy
from domain.pricing import HireUnit, SessionConfiguration
from domain.purchases import Rail
from domain.rates import RATES
from domain.reports import ReportAction, ReportReason
from domain.reviews import ReviewWish
from domain.revisions import AgentWish
from domain.search import document_of
from firestore.agents import Expected
from firestore.backend import Backend, Value, Write
from firestore.collections import AGENTS, DELIVERIES, ENDPOINTS, LISTINGS, NOTIFICATION_BOXES, OUTBOX, USERS
from firestore.memory import MemoryBackend
from firestore.outbox import row
from firestore.records import Collection, R
from firestore.rows import OutboxRow, RowState
from firestore.sessions import Hire, Usage
from firestore.store import Store
from functions.caller import Caller, tasks
from graph.errors import present
from graph.execution import Execution
from graph.operations import Answer
from graph.permissions import Gate
from graph.plans import Plans
from graph.requests import GraphQLRequest
from graph.schema import Mutation, make_schema
from integrations import credentials as rules
from integrations.services import DeviceSignIn, Identity, IdentityGateway, PayoutAccount, SignIn
from settings import Settings, read_policy
from tests.client import Client
from tests.journeys import shop
from tests.journeys.server import SECRET
from tests.make import MINUTE, NOW
from tests.nouns import HOUR, SECOND, a_listing, a_user, an_agent
from tests.outlets import Heard, heard

URL = "http://localhost"
ROOMY = dict.fromkeys(set(RATES) - {"wrong_credentials"}, 10**9)
"""The tests of a module are many people behind one address, and do more in a second than those in a day."""
DRAIN_SECONDS_MAX = 20.0  # tasks of one test end within milliseconds: beyond this one of them fails for ever
TURNS = 400  # of the event loop: what twenty topics need to reach their first event, or their silence
NOWHERE = "0" * 26
"""The body of an id that nothing has."""

Json = Any
State = dict[str, dict[str, Any]]
"""The documents of each collection by id, as the memory backend holds them."""


@cache
def schema() -> strawberry.Schema:
    """The store's schema. Building it takes longer than a test."""
    return make_schema()


@cache
def plans() -> Plans:
    """Texts that were found valid, whichever rig they were sent to."""
    return Plans()


def _gated(*_: object, gate: Any, **__: object) -> Execution:
    """A rig's own, because what it has told is of the rig's store."""
    made = Execution(schema(), present=present, introspection=True, gate=gate)
    made._plans = plans()
    return made


class Names:
    """An identity gateway without passwords to hash: a token is its person's name. `test_sign_in` has the real one."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def admit(self, name: str) -> None:
        """Let a person sign in."""
        self.known[name] = f"{name}@jiga.test"

    async def sign_up(self, email: str, password: str, *, device: str | None = None) -> SignIn:
        address = rules.normalised_email(email)
        rules.new_password(password, address)
        name = address.partition("@")[0]
        if name in self.known:
            raise rules.email_taken()
        self.admit(name)
        return self._signed(name)

    async def check_password(self, email: str, password: str) -> None:
        await self.sign_in(email, password)

    async def sign_in(self, email: str, password: str, *, device: str | None = None) -> SignIn:
        name = email.partition("@")[0]
        if name not in self.known or password != name:
            raise rules.wrong_credentials()
        return self._signed(name)

    async def refresh(self, refresh_token: str, *, device: str | None = None) -> SignIn:
        if refresh_token not in self.known:
            raise rules.sign_in_again()
        return self._signed(refresh_token)

    async def verify(self, id_token: str, *, check_revoked: bool) -> Identity:
        if id_token not in self.known:
            raise rules.not_signed_in()
        return Identity(id_token, self.known[id_token], True, NOW, NOW + HOUR, id_token, NOW)

    async def sign_ins(self, uid: str) -> tuple[DeviceSignIn, ...]:
        return (DeviceSignIn(uid, "A test", NOW, NOW),) if uid in self.known else ()

    async def revoke_sign_in(self, uid: str, sign_in_id: str) -> bool:
        return uid == sign_in_id

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


@lru_cache(maxsize=8)
def _read(data: Path, environment: tuple[tuple[str, str], ...]) -> tuple[Settings, Policy]:
    """What a rig is told, which is frozen, so that the rigs of one environment share it: half of what one costs."""
    settings = Settings(
        env="local",
        data_dir=data,
        demo=False,
        money_mode="live",
        cursor_secret=SecretStr("what signs the cursors"),
        shopify_shop=None,
        shopify_webhook_secret=SecretStr(SECRET),
        firestore_emulator_host=None,
        auth_emulator_host=None,
        rate_limits=ROOMY,
    )
    return settings, read_policy(settings)


class Rig(main.House):
    """A house on memory. `now` is what its clock says; without an `identity`, tokens are names."""

    def __init__(self, data: Path, identity: Callable[[Callable[[], datetime]], IdentityGateway] | None = None) -> None:
        self.now = NOW
        self.names = Names()
        self.memory = MemoryBackend()
        self._given = identity
        self._writes = 0
        settings, policy = _read(data, tuple(os.environ.items()))
        with patch.object(main, "read_policy", lambda _: policy):
            super().__init__(settings, clock=lambda: self.now)
        transport = httpx.ASGITransport(Starlette(routes=self.routes(), middleware=self.sight.middleware()))
        self.http = httpx.AsyncClient(transport=transport, base_url=URL, trust_env=False)
        self.guest = Person(self, None)

    def _start_firestore(self) -> None:
        return None

    def _backend(self) -> Backend:
        return self.memory

    def _outlets(self) -> Heard:
        return heard()

    def _identity(self) -> IdentityGateway:
        return self.names if self._given is None else self._given(self.clock)

    def _build_graph(self) -> None:
        self.rails.payouts = Bank()  # the local one posts webhooks of its own, whenever it likes
        self.caller = Caller(
            self.store,
            self.dispatcher,
            self.clock,
            tasks(self.rails.payouts, self.gallery, self.identity, outlets=self.outlets, mirror=self.mirror),
        )
        with patch.object(main, "make_schema", schema), patch.object(main, "Execution", _gated):
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

    async def dump(self) -> dict[str, Mapping[str, Value]]:
        """Every document of the store by its path."""
        return {f"{name}/{id_}": each.data for name, kept in self.state().items() for id_, each in kept.items()}

    def state(self) -> State:
        """All that is stored, without copying it: the backend replaces a document, and never changes one."""
        return {name: dict(kept) for name, kept in self.memory._collections.items()}

    def take_up(self, state: State) -> None:
        """Store a state, and nothing else."""
        self.memory._collections = {name: dict(kept) for name, kept in state.items()}
        newest = max((each.version for kept in state.values() for each in kept.values()), default=0)
        self.memory._version = max(self.memory._version, newest)
        self._writes = self.backend.totals.writes

    async def index(self, *listing_ids: str) -> None:
        """Let the search engine know these listings, and no others."""
        await self.search.replace_all([document_of(await self.get(LISTINGS, each)) for each in listing_ids])

    async def forget(self, path: str) -> None:
        """Remove a document, as an erasure does."""
        await self.memory.commit([Write(path, None)])

    async def put_back(self, state: State) -> None:
        """Take a state up again, once no work is left; who signed up since is unknown again."""
        if await self.has_written():
            self.take_up(state)
            self.names.known.clear()
            for name in PEOPLE:
                self.names.admit(name)

    async def has_written(self) -> bool:
        """Whether anything was written since the market opened or was put back, now that no work is left."""
        await self.drain()
        return self.backend.totals.writes != self._writes


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
    barred: str
    appeal: str
    report: str
    notification: str
    endpoint: str
    delivery: str
    upload: str
    key: str


PEOPLE = ("ada", "cleo", "max", "eve", "mia", "root", "zoe")
FUNDS = 3_000_000
DAY = 24 * HOUR
LONG_AGO = NOW - 40 * DAY
HOURLY = 6_000
BADGE = derived_id(Kind.BADGE, "valorant-apprentice")
"""Nothing on the market is of that game: only a moderator gives it."""


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
        self.max_bot, self.ada_bot = (Person(self.rig, name, token=key_text(name)) for name in ("max", "ada"))

    @asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """The block changes not one byte of the store, and asks for no task."""
        await self.rig.drain()  # what was done before may still have work to follow
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
    store, at = rig.store, LONG_AGO
    rig.now = LONG_AGO  # no task ends a hire before its time
    roles = {"mia": users.Role.MODERATOR, "root": users.Role.ADMIN}
    for name in PEOPLE:
        made = a_user(name, role=roles.get(name, users.Role.USER), nationality="Mexican", locale="es-MX")
        await rig.put(USERS, replace(made, avatar=name.encode().hex().ljust(64, "0")))
        if name != "zoe":
            giver = users.user_id("mia" if name == "root" else "root")  # nobody adjusts a wallet of their own
            await store.wallets.adjust(giver, made.id, FUNDS, "a start", name, at)
    held = {"suspended_at": LONG_AGO, "suspended_until": NOW + 30 * DAY, "suspension_reason": "Spam."}
    await rig.put(USERS, a_user("ned", **held))
    ada, cleo, max_ = map(users.user_id, ("ada", "cleo", "max"))
    nova, draft, hidden = (derived_id(Kind.AGENT, name) for name in ("nova", "draft", "hidden"))
    await store.agents.create(cleo, nova, AGENT, at)
    await store.agents.transfer(cleo, nova, ada, at)
    await rig.put(AGENTS, replace(await rig.get(AGENTS, nova), image="b" * 64))
    listing = await store.listings.publish(ada, nova, OFFER, at)
    await store.listings.feature(users.Viewer(users.user_id("mia"), users.Role.MODERATOR), listing.id, True, at)
    for name, agent_id in (("Draft", draft), ("Hidden", hidden)):
        plain = AgentWish(name, AgentType.ASSISTANT, Provider.OPENAI, "Finnish", "fi")
        await store.agents.create(ada, agent_id, plain, at)
        change = AgentConfiguration(Provider.OPENAI, ModelConfig("gpt-4.1"))
        await store.agents.update_configuration(ada, Expected(agent_id), change, at + SECOND)
        await store.agents.restore_version(ada, Expected(agent_id), 1, at + 2 * SECOND)
    hidden_listing = await store.listings.publish(ada, hidden, OFFER, at)
    await store.listings.unpublish(ada, hidden, at)
    barred, appeal, report = await _judge(rig, at)
    sessions = await _use(store, listing.id)
    rig.now, at = NOW, NOW - HOUR
    review = await store.reviews.submit(max_, sessions["reviewed"], ReviewWish(5, "Good.", "Fine"), at)
    await store.reviews.vote(users.user_id("root"), review.id, True, at)
    purchase, order = await _buy(rig)
    await store.payouts.keep_account(ada, "acct_ada", True, ("tos_acceptance.date",), at)
    failed, _ = await store.payouts.request(ada, Dof(500_000), "failed", at)
    await store.payouts.conclude(failed.id, "account_closed", at + SECOND)
    payout, _ = await store.payouts.request(ada, Dof(500_000), "payout", at + 2 * SECOND)
    await rig.put(OUTBOX, _dead(at))
    upload = await _upload(rig, ada, draft)
    await rig.drain()
    endpoint, delivery = await _integrate(rig, ada)
    mia = users.Viewer(users.user_id("mia"), users.Role.MODERATOR)
    await store.progress.award(mia, nova, BADGE, "It won the cup.", at)
    await store.progress.count_badges(NOW)
    await rig.drain()
    while (day := await store.digests.next_day()) is not None and day < NOW.date():
        await store.digests.seal(day, NOW, bytes(32))
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
        barred=barred,
        appeal=appeal,
        report=report,
        notification=derived_id(Kind.NOTIFICATION, max_, "session_ended", sessions["ended"]),
        endpoint=endpoint,
        delivery=delivery,
        upload=upload,
        key=await _key(rig, max_),
    )


def key_text(name: str) -> str:
    """The text of a person's key whose secret is 32 zero bytes."""
    return f"jiga_test_{derived_id(Kind.API_KEY, name)[4:]}_{'A' * 43}"


KEY = key_text("max")


async def _key(rig: Rig, user_id: str) -> str:
    """max has a key that may do everything a key may, and has accepted a document."""
    wish = KeyWish("Bot", tuple(KeyScope), NOW + 30 * DAY, 60, Dof(2 * HOURLY))
    key, text = await rig.store.keys.create(user_id, derived_id(Kind.API_KEY, "max"), TEST, bytes(32), wish, NOW)
    assert text == KEY
    await rig.store.legal.accept(user_id, [(rig.policy.legal[0].name, rig.policy.legal[0].version)], NOW)
    return key.id


async def _integrate(rig: Rig, ada: str) -> tuple[str, str]:
    """ada has an endpoint that was told of a hire, and did not take another just now."""
    endpoint_id = derived_id(Kind.ENDPOINT, "ada")
    made = endpoints.create(endpoint_id, ada, "https://ada.example/hooks", (WebhookEvent.AGENT_HIRED,), bytes(32), NOW)
    failing = Attempt(NOW, 40, failure="no answer within 3 s")
    await rig.put(ENDPOINTS, endpoints.judged(made, failing))
    box = await rig.get(NOTIFICATION_BOXES, ada)
    await rig.put(NOTIFICATION_BOXES, replace(box, endpoint_ids=(endpoint_id,)))
    for name, attempt in (("over", Attempt(NOW, 12, 410)), ("failing", failing)):
        delivery_id, data = derived_id(Kind.DELIVERY, name), {"sessionId": missing(Kind.SESSION)}
        plain = Delivery(delivery_id, endpoint_id, ada, WebhookEvent.AGENT_HIRED, data, NOW, NOW + 30 * DAY)
        await rig.put(DELIVERIES, endpoints.attempted(plain, attempt))
    return endpoint_id, derived_id(Kind.DELIVERY, "over")


async def _judge(rig: Rig, at: datetime) -> tuple[str, str, str]:
    """Three offers of ada's are held back: one that she may appeal for, and two that she did. Two reports were made."""
    store, ada, mia = rig.store, users.user_id("ada"), users.user_id("mia")
    held = []
    for number, name in enumerate(("barred", "appealed", "upheld")):
        agent = an_agent(name, ada, created_at=LONG_AGO - number * DAY)
        listing = a_listing(agent, created_at=LONG_AGO - number * DAY)
        await rig.put(AGENTS, replace(agent, listing_id=listing.id, published=True))
        await rig.put(LISTINGS, listing)
        judge = users.Viewer(mia, users.Role.MODERATOR)
        held.append(await store.listings.moderate(judge, listing.id, ListingStatus.SUSPENDED, "It lies.", at))
    opened = [await store.appeals.open(ada, each.id, "It does not.", at) for each in held[1:]]
    await store.appeals.decide(mia, opened[1].id, False, "It does.", at)
    told = [
        await store.reports.report(users.user_id(who), ada, ReportReason.FRAUD, "Look at her.", at)
        for who in ("cleo", "max")
    ]
    await store.reports.resolve(mia, told[1].id, ReportAction.OTHER, "We have asked her.", at)
    return held[0].id, opened[0].id, told[0].id


async def _use(store: Store, listing_id: str) -> dict[str, str]:
    """max hires three times: for three weeks, which ada was since paid for, for two minutes, and still."""
    found, max_ = {}, users.user_id("max")
    spans = (("reviewed", LONG_AGO, HireUnit.WEEK, 3), ("ended", NOW - 2 * HOUR, HireUnit.HOUR, 1))
    for name, start, unit, quantity in (*spans, ("running", NOW - 5 * MINUTE, HireUnit.HOUR, 1)):
        wish = Hire(listing_id, unit, quantity, 1, SessionConfiguration(), name)
        session, _ = await store.sessions.hire(max_, wish, start)
        used = Usage(session.id, 1, Dof(10), 3, 40, name == "running")
        await store.sessions.record_usage(max_, used, start + 30 * SECOND)
        if name == "ended":
            await store.sessions.end(max_, session.id, session.id, start + 90 * SECOND)
        found[name] = session.id
    await store.sessions.settle_if_over(found["reviewed"], LONG_AGO + 21 * DAY)
    for payee in ("ada", "cleo"):
        assert await store.earnings.mature(users.user_id(payee), LONG_AGO + 29 * DAY) == 1
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
    (order_id,) = [
        path.partition("/")[2] for path, data in (await rig.dump()).items() if data.get("reference") == "7001"
    ]
    return wish.id, order_id


async def _upload(rig: Rig, user_id: str, agent_id: str) -> str:
    """A picture is sent, and not yet completed."""
    upload_id, content = derived_id(Kind.UPLOAD, "picture"), picture()
    wish = images.request(upload_id, user_id, ImagePurpose.AGENT, agent_id, "image/png", len(content), NOW)
    await rig.store.images.begin(wish, NOW)
    await rig.gallery.storage.write(f"uploads/{upload_id}", content, "image/png")
    return upload_id


def picture(format_: str = "PNG", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    """A picture as a file: a left half in red, a right one in blue."""
    made = Image.new("RGB", size, (0, 0, 255))
    made.paste((255, 0, 0), (0, 0, size[0] // 2, size[1]))
    kept = BytesIO()
    made.save(kept, format_, **options)
    return kept.getvalue()


def _dead(at: datetime) -> OutboxRow:
    plain = row(("dead",), at, 7 * DAY, task="announce", args={"kind": "agent_updated", "agent_id": "agt_x"})
    return replace(plain, state=RowState.DEAD, attempts=20)


_furnished: list[tuple[Ids, State]] = []


async def open_market(rig: Rig) -> Market:
    """A market of its own for each test: furnished once, and taken up by each."""
    if not _furnished:
        ids = await furnish(rig)
        await rig.drain()  # or what the last steps have told of would be written in the first test
        _furnished.append((ids, rig.state()))
    ids, state = _furnished[0]
    rig.take_up(state)
    # A picture that is completed takes its upload away, and the files are no part of the state.
    await rig.gallery.storage.write(f"uploads/{ids.upload}", picture(), "image/png")
    return Market(rig, ids)


def calls(market: Market) -> dict[str, tuple[Person, Json]]:
    """A call of every mutation that succeeds on a fresh market, and by whom."""
    ids, key = market.ids, {"idempotencyKey": "k"}
    model = {"provider": "OPENAI", "primary": {"model": "gpt-4o"}}
    prices = {"hourly": 10, "daily": 100, "weekly": 500}
    agent = {"type": "ASSISTANT", "provider": "GEMINI", "nationality": "Finnish", "language": "fi", "name": "New"}
    offer = {"title": "A coach", "description": "Plays.", "pricing": prices}
    judged = {"listingId": ids.listing, "status": "SUSPENDED", "reason": "It lies."}
    by_root = {"reason": "They asked.", **key}
    image = {"purpose": "AGENT", "contentType": "image/png", "bytes": 70}
    doubt = {"orderId": ids.order, "reason": "I looked."}
    return {
        "signUp": (market.guest, {"email": "new@jiga.test", "password": "correct horse 7", "displayName": "New"}),
        "signIn": (market.guest, {"email": "max@jiga.test", "password": "max"}),
        "refreshToken": (market.guest, {"refreshToken": "max"}),
        "signOut": (market.max, None),
        "updateProfile": (market.max, {"displayName": "Maxim"}),
        "updatePreferences": (market.max, {"showProfile": False}),
        "createApiKey": (market.max, {"name": "Bot", "scopes": ["READ"]}),
        "revokeApiKey": (market.max, {"id": ids.key}),
        "exportMyData": (market.max, None),
        "deleteMyAccount": (market.zoe, {"confirm": "zoe@jiga.test", "password": "zoe"}),
        "revokeSignIn": (market.max, {"id": "max"}),
        "acceptLegal": (market.max, {"document": "privacy", "version": "2026-01"}),
        "createAgent": (market.max, agent),
        "updateAgent": (market.ada, {"id": ids.draft, "version": 3, "name": "Newer"}),
        "updateAgentConfiguration": (market.ada, {"agentId": ids.draft, "configuration": model}),
        "restoreAgentVersion": (market.ada, {"agentId": ids.draft, "version": 2}),
        "deleteAgent": (market.ada, {"id": ids.draft}),
        "transferAgent": (market.ada, {"agentId": ids.draft, "toUserId": market.zoe.user_id}),
        "createImageUpload": (market.ada, {**image, "agentId": ids.draft}),
        "completeImageUpload": (market.ada, {"uploadId": ids.upload}),
        "publishAgent": (market.ada, {"agentId": ids.draft, **offer}),
        "unpublishAgent": (market.ada, {"agentId": ids.nova}),
        "updateListing": (market.ada, {"listingId": ids.listing, "title": "A better coach"}),
        "pauseListing": (market.ada, {"listingId": ids.listing}),
        "resumeListing": (market.ada, {"listingId": ids.listing}),
        "hireAgent": (market.max, market.hire()),
        "startSession": (market.max, {"agentId": ids.nova, "type": "TRIAL", **key}),
        "extendSession": (market.max, {"sessionId": ids.running, "unit": "HOUR", "quantity": 1, **key}),
        "recordUsage": (market.max, {"sessionId": ids.running, "sequence": 2, "dof": 5}),
        "endSession": (market.max, {"sessionId": ids.running, **key}),
        "submitReview": (market.max, {"sessionId": ids.ended, "rating": 4, "comment": "Good."}),
        "updateReview": (market.max, {"reviewId": ids.review, "rating": 3}),
        "voteReview": (market.mia, {"reviewId": ids.review, "helpful": True}),
        "purchaseDof": (market.max, {"sku": shop.BRONZE, "provider": "SHOPIFY", **key}),
        "transferDof": (market.max, {"toUserId": market.zoe.user_id, "amount": 5, **key}),
        "connectPayouts": (market.max, {}),
        "requestPayout": (market.ada, {"amount": 500_000, **key}),
        "markNotificationsRead": (market.max, {"ids": [ids.notification]}),
        "registerDevice": (market.max, {"token": "a-device-of-max", "platform": "ANDROID"}),
        "createWebhookEndpoint": (market.ada, {"url": "https://new.example/hooks", "events": ["AGENT_HIRED"]}),
        "updateWebhookEndpoint": (market.ada, {"id": ids.endpoint, "enabled": False}),
        "deleteWebhookEndpoint": (market.ada, {"id": ids.endpoint}),
        "replayWebhookDelivery": (market.ada, {"id": ids.delivery}),
        "moderateListing": (market.mia, judged),
        "featureListing": (market.mia, {"listingId": ids.listing, "featured": False}),
        "moderateReview": (market.mia, {"reviewId": ids.review, "action": "HIDE", "reason": "It insults."}),
        "report": (market.eve, {"subjectId": market.zoe.user_id, "reason": "SPAM", "text": "Look."}),
        "appealListing": (market.ada, {"listingId": ids.barred, "text": "It does not lie."}),
        "decideAppeal": (market.mia, {"appealId": ids.appeal, "state": "GRANTED", "reason": "We erred."}),
        "resolveReport": (market.mia, {"reportId": ids.report, "action": "DISMISSED", "note": "All is well."}),
        "suspendUser": (market.mia, {"userId": market.max.user_id, "reason": "A fraud."}),
        "reinstateUser": (market.mia, {"userId": users.user_id("ned"), "reason": "He is sorry."}),
        "setRole": (market.root, {"userId": market.zoe.user_id, "role": "MODERATOR", "reason": "She helps."}),
        "awardBadge": (market.mia, {"userId": market.max.user_id, "badgeId": BADGE, "reason": "They helped."}),
        "adjustWallet": (market.root, {"userId": market.zoe.user_id, "amount": 5, **by_root}),
        "refundSession": (market.root, {"sessionId": ids.ended, "amount": 5, **by_root}),
        "approveOrder": (market.root, {**doubt, "dof": 50}),
        "rejectOrder": (market.root, doubt),
        "retryDeadLetter": (market.root, {"id": ids.dead}),
    }


async def call(person: Person, name: str, input: Json, selection: str | None = None) -> Json:
    """The answer to one mutation; every refusal tells its facts."""
    return await person.answer(document(name, selection), **({} if input is None else {"input": input}))


def document(name: str, selection: str | None = None) -> str:
    """One mutation with its input as a variable."""
    field = graph().mutation_type.fields[name]
    chosen = select(field.type, 0) if selection is None else "{ __typename " + selection + " }"
    if not field.args:
        return f"mutation {{ {name} {chosen} }}"
    return f"mutation ($input: {field.args['input'].type}) {{ {name}(input: $input) {chosen} }}"


def outcome(answer: Json) -> str:
    """What one field said in one word: "+", "0" for nothing, or the code of its error or refusal."""
    if "errors" in answer:
        return str(answer["errors"][0]["extensions"]["code"])
    (said,) = answer["data"].values()
    if isinstance(said, list):
        return "+" if said and said[0] else "0"
    if said is None:
        return "0"
    return str(said.get("code", "+")) if isinstance(said, dict) else "+"


# ---- the schema, walked


def graph() -> GraphQLSchema:
    """The schema as graphql-core has it."""
    return schema()._schema


def gates() -> dict[str, Gate]:
    """What stands before each mutation, by its name."""
    definition: Any = Mutation.__strawberry_definition__  # type: ignore[attr-defined]
    return {
        to_camel_case(field.python_name): next(each for each in field.extensions if isinstance(each, Gate))
        for field in definition.fields
    }


INSIDE = frozenset({"Agent.configuration", "Agent.versions"})
"""What an agent shows to its owner alone."""


def select(type_: Any, depth: int, without: Container[str] = ()) -> str:
    """A selection of all fields, connections two at a time, and of what is an object with an id `depth` steps deep."""
    named = get_named_type(type_)
    if is_leaf_type(named):
        return ""
    if isinstance(named, GraphQLUnionType):
        parts = [f"... on {each.name} {select(each, depth, without)}" for each in named.types]
        return "{ __typename " + " ".join(parts) + " }"
    if isinstance(named, GraphQLInterfaceType):
        return "{ __typename id }"
    parts = []
    for name, field in named.fields.items():
        below = get_named_type(field.type)
        step = isinstance(below, GraphQLObjectType) and bool(below.interfaces)
        if f"{named.name}.{name}" in without or (step and depth == 0):
            continue
        arguments = ", ".join(f"{each}: {2 if each == 'first' else 'null'}" for each in field.args)
        parts.append(f"{name}{f'({arguments})' if arguments else ''} {select(below, depth - step, without)}")
    return "{ __typename " + " ".join(parts) + " }"


def told(value: Json) -> set[str]:
    """The fields, as Type.field, that an answer tells something of."""
    if isinstance(value, list):
        return set().union(*map(told, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    below: set[str] = set().union(*map(told, value.values()))
    type_ = value.get("__typename")
    return below | {
        f"{type_}.{name}" for name, each in value.items() if type_ and name != "__typename" and each is not None
    }


def reachable(*roots: Any) -> set[str]:
    """Every Type.field of the objects that can be reached from some types."""
    found: set[str] = set()
    waiting, known = [get_named_type(each) for each in roots], set()
    while waiting:  # ends: a type is looked at once
        type_ = waiting.pop()
        if type_.name in known:
            continue
        known.add(type_.name)
        if isinstance(type_, GraphQLUnionType):
            waiting += type_.types
        elif isinstance(type_, GraphQLInterfaceType):
            waiting += graph().get_possible_types(type_)
        elif isinstance(type_, GraphQLObjectType):
            found |= {f"{type_.name}.{name}" for name in type_.fields}
            waiting += [get_named_type(field.type) for field in type_.fields.values()]
    return found


def inputs(type_: Any, at: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], str, Any]]:
    """Every leaf of an input as its path, the name of its input type's field, and its type."""
    named = get_named_type(type_)
    for name, field in named.fields.items():
        below = get_named_type(field.type)
        if isinstance(below, GraphQLInputObjectType):
            yield from inputs(below, (*at, name))
        else:
            yield (*at, name), f"{named.name}.{name}", field.type
