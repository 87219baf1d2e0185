"""One small factory per record, and a world: users with DOF, an agent on offer, the store over a backend."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings

from domain import pricing
from domain.agents import Agent
from domain.hiring import hired
from domain.ids import Kind, derived_id
from domain.listings import Listing
from domain.money import Dof, Money
from domain.orders import FactKind, OrderFacts, OrderLine, Report
from domain.policy import Policy
from domain.pricing import HireUnit, Pricing, SessionConfiguration, Surcharges
from domain.purchases import Package, Rail, Tier
from domain.revenue import Shares
from domain.sessions import Session
from domain.users import User
from firestore import collections
from firestore.backend import Backend, Query, Value, Write
from firestore.collections import AGENTS, LISTINGS, USERS
from firestore.commit import Commits
from firestore.orders import Told
from firestore.records import Collection, R, encode
from firestore.rows import InboxRow, OutboxRow
from firestore.sessions import Hire
from firestore.store import Store
from tests import nouns
from tests.invariants import broken

STEADY = settings(deadline=None, database=None)  # a noisy machine is no counter-example, and no test leaves files
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
PLAIN = SessionConfiguration()
BRONZE, SILVER = "DOF-150K-BRONZE", "DOF-500K-SILVER"
PACKAGES = (
    Package(BRONZE, "150,000 DOF", Tier.BRONZE, Dof(150_000), Dof(0), Money(499, "USD")),
    Package(SILVER, "500,000 DOF", Tier.SILVER, Dof(500_000), Dof(25_000), Money(1499, "USD")),
)
SURCHARGES = Surcharges(high_speed_vision=Dof(50), voice=Dof(20), commentator=Dof(30))
SHARES = Shares(owner_bps=7_500, platform_bps=1_500, creator_bps=1_000)
ALL = [each for each in vars(collections).values() if isinstance(each, Collection)]


def policy(**changes: Any) -> Policy:
    return replace(nouns.POLICY, packages=PACKAGES, surcharges=SURCHARGES, shares=SHARES, **changes)


def user(name: str, **changes: Any) -> User:
    return nouns.a_user(name, **changes)


def user_id(name: str) -> str:
    return nouns.user_id(name)


def agent(name: str = "nova", owner: str = "ada", creator: str = "cleo", **changes: Any) -> Agent:
    return nouns.an_agent(name, user_id(owner), creator_id=user_id(creator), **changes)


def listing(of: Agent | None = None, **changes: Any) -> Listing:
    """6,000 DOF an hour, 100 a minute."""
    changes = {"pricing": Pricing(Dof(6_000), Dof(96_000), Dof(500_000))} | changes
    return nouns.a_listing(of or agent(), **changes)


def session(
    configuration: SessionConfiguration = PLAIN,
    unit: HireUnit = HireUnit.HOUR,
    quantity: int = 1,
    **changes: Any,
) -> Session:
    """An hour hired by max, from NOW, at 100 DOF a minute."""
    offered = listing()
    priced = pricing.quote(offered.pricing, unit, quantity, configuration, SURCHARGES)
    session_id = derived_id(Kind.SESSION, "made")
    made = hired(session_id, user_id("max"), offered, configuration, priced, SHARES, "mark", NOW)
    return replace(made, **changes)


def wish(of: Listing, key: str = "k", **changes: Any) -> Hire:
    return replace(Hire(of.id, HireUnit.HOUR, 1, of.pricing.version, PLAIN, key), **changes)


# ---- what a shop tells


def paid(sku: str = BRONZE, quantity: int = 1, minor_units: int | None = None, currency: str = "USD") -> Report:
    prices = {package.sku: package.price.minor_units for package in PACKAGES}
    money = Money(prices.get(sku, 0) * quantity if minor_units is None else minor_units, currency)
    return Report("paid", FactKind.PAID, money, (OrderLine(sku, quantity),))


def refund(number: int, minor_units: int, currency: str = "USD") -> Report:
    return Report(f"refund:{number}", FactKind.REFUND, Money(minor_units, currency))


CANCEL = Report("cancel", FactKind.CANCEL)


def facts(*reports: Report, reference: str = "1001", **changes: Any) -> OrderFacts:
    return replace(OrderFacts(Rail.SHOPIFY, "jiga.test", reference, False, reports), **changes)


# ---- the store


@dataclass
class World:
    """A store over a backend. `rows` are the outbox rows that it told of, `now` is what its clock says."""

    backend: Backend
    rehearse: bool = True
    policy: Policy = field(default_factory=policy)
    now: datetime = NOW
    rows: list[OutboxRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        jitter = random.Random(1).random
        self.store = Store(
            self.backend,
            self.policy,
            clock=lambda: self.now,
            jitter=jitter,
            told=self._told,
            rehearse=self.rehearse,
        )
        self.commits = Commits(self.backend, jitter=jitter, told=self._told, rehearse=self.rehearse)
        self._deliveries = 0
        self._funded = 0

    def _told(self, rows: Iterable[OutboxRow]) -> None:
        self.rows += rows

    async def put(self, collection: Collection[R], *records: R) -> None:
        """Write records as they are, whatever was there."""
        for record in records:
            await self.backend.commit([Write(collection.at(record.id), encode(record))])

    async def get(self, collection: Collection[R], record_id: str) -> R:
        (found,) = await self.backend.get_many([collection.at(record_id)])
        assert found is not None, f"{collection.at(record_id)} is there"
        return collection.decode(found)

    async def all(self, collection: Collection[R]) -> list[R]:
        return [collection.decode(each) for each in await self.backend.query(Query(collection.name))]

    async def open(self, *names: str, offered: Listing | None = None) -> Listing:
        """ada owns, cleo created, max and the others named hire: the agent is on offer."""
        await self.put(USERS, *(user(name) for name in dict.fromkeys(("ada", "cleo", "max", *names))))
        made = offered or listing()
        await self.put(AGENTS, agent())
        await self.put(LISTINGS, made)
        return made

    async def fund(self, name: str, dof: int) -> None:
        """By an admin's adjustment: the journal knows of it."""
        self._funded += 1
        await self.store.wallets.adjust("root", user_id(name), dof, "for a test", f"fund{self._funded}", self.now)

    async def wallet(self, name: str) -> tuple[int, int, int]:
        """Available, held and debt."""
        (found,) = await self.store.wallets.get_many([user_id(name)])
        return found.available.units, found.held.units, found.debt.units

    async def deliver(self, told: OrderFacts, **changes: Any) -> Told:
        """Record a delivery that tells `told`, and give what its task is asked with."""
        self._deliveries += 1
        inbox_id = derived_id(Kind.INBOX, self._deliveries)
        body = str(self._deliveries).encode()
        row = InboxRow(inbox_id, "shopify", "orders/paid", told.shop, body, self.now, self.now, "accepted")
        await self.put(collections.INBOX, row)
        return replace(Told(inbox_id, told.order_id, told.purchase_id, told.user_hint, None), **changes)

    async def absorb(self, told: OrderFacts, **changes: Any) -> Any:
        """Deliver, and do the work."""
        return await self.store.orders.absorb(await self.deliver(told, **changes), lambda _: told, self.now)

    @asynccontextmanager
    async def refuses(self, kind: type[Exception], **said: Any) -> AsyncIterator[None]:
        """The block is refused, with these facts, and not a byte has changed."""
        before, told = await self.dump(), len(self.rows)
        with pytest.raises(kind) as refusal:
            yield
        assert {name: getattr(refusal.value, name) for name in said} == said
        assert await self.dump() == before
        assert len(self.rows) == told

    async def check(self) -> None:
        """Every invariant of the ledger holds."""
        found = broken(await self.dump())
        assert not found, found

    async def dump(self) -> dict[str, dict[str, Value]]:
        """Every document of the store by its path."""
        found = await asyncio.gather(*(self.backend.query(Query(each.name)) for each in ALL))
        return {snapshot.path: dict(snapshot.data) for snapshots in found for snapshot in snapshots}
