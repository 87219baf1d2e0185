"""The simulated house: two processes that die and come back, a queue that doubles and reorders, clocks that step."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, cast

from starlette.requests import Request

from domain.errors import Unavailable
from domain.ids import Kind, derived_id
from domain.money import Dof, Money
from domain.orders import FactKind, OrderFacts, OrderLine, Report
from domain.payouts import PayoutAccount, PayoutTerms
from domain.policy import Policy
from domain.pricing import Surcharges
from domain.purchases import Package, Rail, Tier
from domain.users import Role
from firestore.backend import Query, Write
from firestore.collections import AGENTS, LISTINGS, OUTBOX, PAYOUT_ACCOUNTS, USERS
from firestore.erasures import ERASE_ACCOUNT
from firestore.memory import MemoryBackend
from firestore.orders import Told
from firestore.records import encode
from firestore.rows import InboxRow, OutboxRow, RowState
from firestore.store import Store
from functions.caller import Caller, Task, tasks
from functions.outbox import Dispatcher
from functions.schedule.rounds import sweep
from functions.tasks.erasure import EraseAccount
from functions.tasks.orders import APPLY_ORDER, apply_order
from functions.webhooks.shopify import ShopifyDoor
from integrations.services import IdentityGateway, PayoutGateway, PayoutRejected
from integrations.shopify import ShopifySignatures, sign
from tests.nouns import NOW, POLICY, a_listing, a_user, an_agent, an_offer, user_id
from tests.outlets import heard
from tests.simulator.loop import SimLoop
from tests.simulator.wire import NONE, Faults, Killed, Wire, at_once

SHOP = "jiga.myshopify.com"
SECRET = "simulated"
SPENDINGS = ("HOLD", "EXTEND", "TRANSFER", "PAYOUT")
DELIVERIES_MAX = 6  # tries of one delivery before it is left to the sweep
NAMES = ("ada", "bob", "max", "eve", "amy")
CREATOR = "cleo"  # of bob's agent, in histories in which that one's account is deleted; it does nothing else
RULES: Policy = replace(
    POLICY,
    packages=(
        Package("DOF-S", "Small", Tier.BRONZE, Dof(1009), Dof(0), Money(499, "USD")),
        Package("DOF-M", "Medium", Tier.SILVER, Dof(5003), Dof(501), Money(1499, "USD")),
    ),
    surcharges=Surcharges(Dof(3), Dof(1), Dof(2)),
    payouts=PayoutTerms(rate_minor_units=2_000_000, currency="USD", minimum=Money(100, "USD")),
)
ADMIN = user_id("amy")
AGENT_IDS = tuple(derived_id(Kind.AGENT, name) for name in ("nova", "mira"))
LISTING_IDS = tuple(derived_id(Kind.LISTING, each) for each in AGENT_IDS)


@lru_cache(maxsize=2)
def furniture(creator: str = "ada") -> tuple[Write, ...]:
    """Users, two published agents (one whose creator is not its owner), and payout accounts."""
    names = dict.fromkeys((*NAMES, creator))
    people = [a_user(name, role=Role.ADMIN if name == "amy" else Role.USER) for name in names]
    writes = [Write(USERS.at(each.id), encode(each)) for each in people]
    for name, owner, hourly in (("nova", "ada", 97), ("mira", "bob", 211)):
        made_by = "ada" if owner == "ada" else creator
        agent = an_agent(name, user_id(owner), creator_id=user_id(made_by), published=True)
        agent = replace(agent, listing_id=derived_id(Kind.LISTING, agent.id))
        listing = a_listing(agent, an_offer(hourly=hourly, daily=hourly * 7, weekly=hourly * 31))
        writes += [Write(AGENTS.at(agent.id), encode(agent)), Write(LISTINGS.at(listing.id), encode(listing))]
    for name in ("ada", "bob"):
        account = PayoutAccount(user_id(name), f"acct_{name}", True, (), NOW)
        writes.append(Write(PAYOUT_ACCOUNTS.at(account.id), encode(account)))
    return tuple(writes)


class Bank:
    """Takes transfers, each key once, whoever asks how often."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.transfers: dict[str, str] = {}
        self.reversed: set[str] = set()
        self._closed: dict[str, bool] = {}
        self.told: dict[str, tuple[str | None, ...]] = {}

    async def transfer(self, *, account_id: str, amount: Money, payout_id: str, key: str) -> str:
        await asyncio.sleep(self._world.rng.random() * 0.1)
        if self._world.rng.random() < self._world.faults.lost:
            raise Unavailable("the simulated bank does not answer")
        closed = self._closed.setdefault(key, self._world.rng.random() < 0.15)
        if closed:
            raise PayoutRejected("account_closed")
        known = self.transfers.setdefault(payout_id, f"tr_{payout_id[-6:]}")
        if self._world.rng.random() < self._world.faults.unclear:
            raise Unavailable("the simulated bank's answer was lost")
        return known

    def fate(self, payout_id: str) -> tuple[str | None, ...]:
        """What becomes of a transfer: the failures that are told, None for paid. Drawn once."""
        fates: tuple[tuple[str | None, ...], ...] = (
            (None,),
            (None,),
            ("no_account",),
            (None, "no_account"),
            ("no_account", None),
        )
        return self.told.setdefault(payout_id, self._world.rng.choice(fates))

    async def find_transfer(self, payout_id: str) -> str | None:
        return self.transfers.get(payout_id)

    async def reverse(self, transfer_id: str, *, key: str) -> None:
        if self._world.rng.random() < self._world.faults.lost:
            raise Unavailable("the simulated bank does not answer")
        self.reversed.add(key.partition(":")[2])
        if self._world.rng.random() < self._world.faults.unclear:
            raise Unavailable("the simulated bank's answer was lost")


class Process:
    """One API process: its own lanes, its own dispatcher, its own clock, one store of documents for all."""

    def __init__(self, world: World) -> None:
        self.wire = Wire(world.memory, world.rng, lambda: world.faults, world.witness)
        self.skew = timedelta(seconds=world.rng.uniform(-5, 5)) if world.faults is not NONE else timedelta()
        self._world = world
        self.dispatcher = Dispatcher(_QueueEnd(world, self.wire))
        self.store = Store(
            self.wire,  # type: ignore[arg-type]  # it listens to nothing
            RULES,
            clock=self.clock,
            jitter=world.rng.random,
            told=self.dispatcher.told,
        )
        known: dict[str, Task] = {
            **tasks(cast(PayoutGateway, world.bank), outlets=heard()),
            APPLY_ORDER: _apply,
            ERASE_ACCOUNT: EraseAccount(cast(IdentityGateway, _NoSignIns())),
        }
        self.caller = Caller(self.store, self.dispatcher, self.clock, known)
        signatures = ShopifySignatures((SECRET,))
        self.door = ShopifyDoor(
            self.store, signatures, shop=SHOP, any_shop=False, money_is_live=False, clock=self.clock
        )

    def clock(self) -> datetime:
        return self._world.now() + self.skew


class _NoSignIns:
    """An identity provider that knows nobody."""

    async def delete(self, uid: str) -> None:
        """Nobody is there."""


class _QueueEnd:
    """The queue as one process reaches it: a dead one asks for nothing."""

    def __init__(self, world: World, wire: Wire) -> None:
        self._world = world
        self._wire = wire

    async def enqueue(
        self, name: str, row_id: str, args: Mapping[str, str], *, not_before: datetime | None = None
    ) -> None:
        if self._wire.dead:
            raise Killed
        if self._world.rng.random() < self._world.faults.lost * 2:
            raise Unavailable("the simulated queue does not answer")
        self._world.enqueue(name, row_id, dict(args), not_before)

    async def close(self) -> None:
        """Nothing is open."""


class World:
    """All that a history happens in. Everything that is drawn is drawn from one seed."""

    def __init__(self, seed: int, faults: Faults, creator: str = "ada") -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.step = timedelta()
        self.loop = SimLoop()
        self.memory = MemoryBackend(clock=self.now)
        self.faults = faults
        self.bank = Bank(self)
        self.problems: list[str] = []
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.counts: dict[str, int] = dict.fromkeys(("verbs", "kills", "deliveries"), 0)
        at_once(self.memory.commit(furniture(creator)))
        self.processes = [Process(self) for _ in range(2)]

    def now(self) -> datetime:
        """The moment by the world's clock, which may step."""
        return NOW + timedelta(seconds=self.loop.time()) + self.step

    def witness(self, writes: Sequence[Write]) -> None:
        """Nobody spends out of a frozen wallet: looked at in the commit, as nothing tells of it later."""
        for write in writes:
            if write.path.startswith("entries/") and write.data and write.data["kind"] in SPENDINGS:
                after = {each.path: each.data for each in writes}.get(f"wallets/{write.data['actor']!s}")
                if after is None or after["open_disputes"] or after["debt"]:
                    self.problems.append(f"{write.data['kind']!r} {write.path} is spent out of {after}")

    def process(self) -> Process:
        """One that lives; in place of a dead one another is started."""
        place = self.rng.randrange(len(self.processes))
        if self.processes[place].wire.dead:
            self.bury(self.processes[place])
            self.processes[place] = Process(self)
        return self.processes[place]

    def bury(self, process: Process) -> None:
        self.counts["verbs"] += process.wire.verbs
        self.counts["kills"] += process.wire.kills

    def enqueue(self, name: str, row_id: str, args: dict[str, str], not_before: datetime | None) -> None:
        """Deliver once the moment has come, sometimes twice."""
        wait = 0.0 if not_before is None else max(0.0, (not_before - self.now()).total_seconds())
        for _ in range(2 if self.rng.random() < 0.1 and self.faults is not NONE else 1):
            self.in_flight += 1
            self.idle.clear()
            self.loop.create_task(self._deliver(name, row_id, args, wait + self.rng.random() * 0.2))

    async def _deliver(self, name: str, row_id: str, args: dict[str, str], wait: float) -> None:
        try:
            await asyncio.sleep(wait)
            for attempt in range(DELIVERIES_MAX):
                self.counts["deliveries"] += 1
                try:
                    if await self.process().caller.deliver(name, row_id, args):
                        return
                    self.problems.append(f"the task {name} was not done")
                except (Killed, Unavailable):
                    await asyncio.sleep(self.rng.random() * 3**attempt)
                except Exception as problem:
                    self.problems.append(f"the task {name} raised {problem!r}")
                    return
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()

    async def settle_down(self) -> None:
        """Without faults: deliver all that is owed, however late, until nothing is."""
        self.faults, self.step = NONE, timedelta()
        for process in self.processes:
            process.skew = timedelta()
        for _ in range(400):
            await self.idle.wait()
            due = [row.due_at for row in self.rows() if row.state is RowState.PENDING and row.due_at]
            if not due:
                return
            await asyncio.sleep(max(0.0, (min(due) - self.now()).total_seconds()) + 1)
            process = self.process()
            await sweep(process.store, process.dispatcher, process.clock())
            await process.dispatcher.close()
        self.problems.append("work is still owed after 400 rounds of the sweep")

    def rows(self) -> list[OutboxRow]:
        return [OUTBOX.decode(each) for each in at_once(self.memory.query(Query(OUTBOX.name)))]

    def versions(self) -> dict[str, int]:
        """Every document's version by path."""
        shelves = self.memory._collections.items()
        return {f"{name}/{id_}": each.version for name, documents in shelves for id_, each in documents.items()}

    def dump(self) -> dict[str, dict[str, Any]]:
        """Every document by path."""
        return {
            f"{name}/{id_}": document.data
            for name, documents in self.memory._collections.items()
            for id_, document in documents.items()
        }


# ---- webhooks


async def post(process: Process, topic: str, body: bytes) -> bool:
    """Post a signed webhook to the real door; whether it was recorded."""
    headers = [
        (b"x-shopify-topic", topic.encode()),
        (b"x-shopify-shop-domain", SHOP.encode()),
        (b"x-shopify-hmac-sha256", sign(body, SECRET).encode()),
    ]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/webhooks/shopify", "headers": headers, "query_string": b""}
    response = await process.door.receive(Request(scope, receive))
    assert response.status_code in (200, 503), f"{topic} was answered {response.status_code}"
    return response.status_code == 200


async def tell(process: Process, order: Mapping[str, Any], fact: Mapping[str, Any]) -> None:
    """Record one fact of an order of another rail, in a form of our own; its work is a task like Shopify's."""
    body = json.dumps([order, fact], sort_keys=True).encode()
    order_id = derived_id(Kind.ORDER, Rail.STRIPE, "sim", order["reference"])
    args = {"order_id": order_id, "plain": "yes"}
    if order["purchase_id"]:
        args["purchase_id"] = order["purchase_id"]
    await process.store.inbox.record(
        "sim", fact["key"], "sim", body, process.clock(), outcome="accepted", task=APPLY_ORDER, args=args
    )


async def _apply(store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
    if "plain" not in args:
        await apply_order(store, row_id, args, now)
        return
    told = Told(args["inbox_id"], args["order_id"], args.get("purchase_id"), None, row_id)
    await store.orders.absorb(told, _read_plain, now)


def _read_plain(delivery: InboxRow) -> OrderFacts:
    order, fact = json.loads(delivery.body)
    money = Money(fact["minor"], fact["currency"]) if fact.get("minor") is not None else None
    lines = (OrderLine(order["sku"], order["quantity"]),) if fact["kind"] == "PAID" else ()
    report = Report(fact["key"], FactKind(fact["kind"]), money, lines, fact.get("doubt"), subject=fact.get("subject"))
    return OrderFacts(Rail.STRIPE, "sim", order["reference"], False, (report,), order["purchase_id"], order["email"])
