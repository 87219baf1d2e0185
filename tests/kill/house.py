"""One process of the store without its ports: the real doors, tasks and rounds over a backend that may end it."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request

from domain.ids import Kind, derived_id
from domain.money import Dof, Money
from domain.payouts import PayoutAccount, PayoutTerms
from domain.policy import Policy
from domain.purchases import Package, Tier
from domain.users import Role
from firestore.backend import Aggregate, Backend, Batch, Filter, Query, Snapshot, Write
from firestore.collections import AGENTS, LISTINGS, OUTBOX, PAYOUT_ACCOUNTS, USERS
from firestore.records import encode
from firestore.rows import RowState
from firestore.store import Store
from functions.caller import Caller, tasks
from functions.outbox import Dispatcher
from functions.schedule.rounds import mature_all, sweep
from functions.webhooks.shopify import ShopifyDoor
from functions.webhooks.stripe import StripeDoor
from integrations.shopify import ShopifySignatures
from integrations.shopify import sign as sign_shopify
from integrations.stripe import StripeSignatures
from integrations.stripe import sign as sign_stripe
from tests.nouns import NOW, POLICY, a_listing, a_user, an_agent, an_offer, user_id
from tests.outlets import heard

T = TypeVar("T")

SHOP, SECRET = "jiga.myshopify.com", "killed"
ADA, BOB, CLEO, MAX, AMY = map(user_id, ("ada", "bob", "cleo", "max", "amy"))
RULES: Policy = replace(
    POLICY,
    packages=(Package("DOF-S", "Small", Tier.BRONZE, Dof(1_009), Dof(0), Money(499, "USD")),),
    payouts=PayoutTerms(rate_minor_units=2_000_000, currency="USD", minimum=Money(100, "USD")),
)
END = NOW + timedelta(days=6)  # when every session that a flow begins is over, and no payout waits for too long
UNDER_WAY = 3  # a process's status: it was to be killed while another verb was under way
ROUNDS_MAX = 40  # of the sweep, until nothing is owed: a row's pause doubles up to an hour


@dataclass
class Fuse:
    """Ends this process by SIGKILL before or after the n-th verb; with n zero it only counts them."""

    at: int = 0
    when: str = "before"
    burnt: int = 0
    under_way: int = 0

    async def around(self, verb: Awaitable[T]) -> T:
        self.burnt += 1
        mine = self.burnt
        if (mine, "before") == (self.at, self.when):
            self._end()
        self.under_way += 1
        try:
            answer = await verb
        finally:
            self.under_way -= 1
        if (mine, "after") == (self.at, self.when):
            self._end()
        return answer

    def _end(self) -> None:
        # Another verb, sent and not answered, could change what is stored after the process is dead, and what is found
        # then would not be what it left. The driver tells of a process that ends in this way.
        if self.under_way:
            os._exit(UNDER_WAY)
        os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """A backend each of whose verbs may be the process's last."""

    def __init__(self, backend: Backend, fuse: Fuse) -> None:
        self._backend = backend
        self._fuse = fuse

    async def get_many(self, paths: Sequence[str], *, read_time: datetime | None = None) -> list[Snapshot | None]:
        if not paths:
            return []
        return await self._fuse.around(self._backend.get_many(paths, read_time=read_time))

    async def query(self, query: Query, *, read_time: datetime | None = None) -> list[Snapshot]:
        return await self._fuse.around(self._backend.query(query, read_time=read_time))

    async def aggregate(
        self, query: Query, aggregates: Mapping[str, Aggregate], *, read_time: datetime | None = None
    ) -> dict[str, int | float]:
        return await self._fuse.around(self._backend.aggregate(query, aggregates, read_time=read_time))

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        return await self._fuse.around(self._backend.commit(writes))

    def listen(self, target: Query | str) -> AsyncGenerator[Batch, None]:
        raise NotImplementedError("no flow of money listens")

    async def close(self) -> None:
        await self._backend.close()


class Bank:
    """A payout provider that outlives every process: what it has taken lies in files, one for each key."""

    def __init__(self, books: Path, fuse: Fuse) -> None:
        self._books = books
        self._fuse = fuse

    async def transfer(self, *, account_id: str, amount: Money, payout_id: str, key: str) -> str:
        return await self._fuse.around(self._once("transfer", key, payout_id))

    async def find_transfer(self, payout_id: str) -> str | None:
        path = self._books / f"transfer.{payout_id}"
        return path.read_text().splitlines()[1] if path.exists() else None

    async def reverse(self, transfer_id: str, *, key: str) -> None:
        await self._fuse.around(self._once("reverse", key, key.partition(":")[2]))

    async def _once(self, act: str, key: str, payout_id: str) -> str:
        """A key that was seen before moves nothing again; another key for the same payout would, and is kept apart."""
        path = self._books / f"{act}.{payout_id}"
        given = f"{key}\ntr_{payout_id[-8:]}\n"
        with path.open("a+") as book:
            book.seek(0)
            if key not in book.read().splitlines():
                book.write(given)
        return given.splitlines()[1]

    def moved(self) -> dict[str, int]:
        """How often money was moved, by act and payout."""
        return {path.name: len(path.read_text().splitlines()) // 2 for path in sorted(self._books.iterdir())}


class House:
    """The store, its doors and its clockwork at a moment that the flow sets. A restart is another House."""

    def __init__(self, backend: Backend, fuse: Fuse, books: Path) -> None:
        self.now = NOW
        self.backend = backend
        self.bank = Bank(books, fuse)
        self.queued: list[tuple[str, str, Mapping[str, str], datetime | None]] = []
        self.dispatcher = Dispatcher(self)  # it is its own queue
        self.store = Store(
            Mortal(backend, fuse),
            RULES,
            clock=self.clock,
            jitter=random.Random(1).random,
            told=self.dispatcher.told,
        )
        self.caller = Caller(self.store, self.dispatcher, self.clock, tasks(self.bank, outlets=heard()))  # type: ignore[arg-type]
        self._shopify = ShopifyDoor(
            self.store, ShopifySignatures((SECRET,)), shop=SHOP, any_shop=False, money_is_live=False, clock=self.clock
        )
        self._stripe = StripeDoor(
            self.store, StripeSignatures((SECRET,), self.clock), money_is_live=False, clock=self.clock
        )

    def clock(self) -> datetime:
        return self.now

    async def enqueue(
        self, name: str, row_id: str, args: Mapping[str, str], *, not_before: datetime | None = None
    ) -> None:
        self.queued.append((name, row_id, args, not_before))

    async def close(self) -> None:
        await self.backend.close()

    # ---- what happens to it

    async def shopify(self, topic: str, body: bytes) -> None:
        """Deliver a webhook of the shop's, and do the work that it asks for."""
        headers = {"x-shopify-topic": topic, "x-shopify-hmac-sha256": sign_shopify(body, SECRET)}
        await _post(self._shopify, headers, body)
        await self.work()

    async def stripe(self, body: bytes) -> None:
        """Deliver an event of Stripe's, and do the work that it asks for."""
        await _post(self._stripe, {"stripe-signature": sign_stripe(body, SECRET, self.now)}, body)
        await self.work()

    async def work(self) -> None:
        """Deliver all that is queued and due, and what that queues."""
        await self.dispatcher.close()
        while ready := [each for each in self.queued if each[3] is None or each[3] <= self.now]:
            self.queued = [each for each in self.queued if each not in ready]
            for name, row_id, args, _ in ready:
                assert await self.caller.deliver(name, row_id, args), name
            await self.dispatcher.close()

    async def mature(self) -> None:
        """Make earnings available, and do the work that it asks for: whoever earned is told."""
        await mature_all(self.store, self.now)
        await self.work()

    async def round(self) -> int:
        """One round of the sweep with the work that it hands out; gives how many rows that were."""
        self.queued.clear()
        handed = await sweep(self.store, self.dispatcher, self.now)
        await self.work()
        return handed

    async def sweep(self) -> None:
        """Let the sweep find all that is owed, however late it falls due; sessions run out meanwhile."""
        pending = Query(OUTBOX.name, (Filter("state", "==", RowState.PENDING.value),), limit=1)
        for _ in range(ROUNDS_MAX):
            if not await self.round():
                if not await self.backend.query(pending):
                    return
                assert self.now < END, "work is owed for ever"
                self.now = END
            self.now += timedelta(hours=1)
        raise AssertionError(f"work is still owed after {ROUNDS_MAX} rounds of the sweep")


async def _post(door: ShopifyDoor | StripeDoor, headers: Mapping[str, str], body: bytes) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": sent, "query_string": b""}
    response = await door.receive(Request(scope, receive))
    assert response.status_code == 200, bytes(response.body)


def furniture() -> list[Write]:
    """ada owns an agent of cleo's making, which max can hire; ada can be paid out; amy is an admin."""
    people = [
        a_user(name, role=Role.ADMIN if name == "amy" else Role.USER) for name in ("ada", "bob", "cleo", "max", "amy")
    ]
    agent = replace(an_agent("nova", ADA, creator_id=CLEO, published=True), listing_id=LISTING_ID)
    listing = a_listing(agent, an_offer(hourly=240, daily=1_600, weekly=7_000))
    account = PayoutAccount(ADA, "acct_ada", True, (), NOW)
    return [
        *(Write(USERS.at(each.id), encode(each)) for each in people),
        Write(AGENTS.at(agent.id), encode(agent)),
        Write(LISTINGS.at(listing.id), encode(listing)),
        Write(PAYOUT_ACCOUNTS.at(ADA), encode(account)),
    ]


LISTING_ID = derived_id(Kind.LISTING, derived_id(Kind.AGENT, "nova"))
