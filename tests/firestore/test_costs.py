"""What each operation costs, exactly, and that no shared document is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest_asyncio

from domain.money import ZERO, Dof
from domain.pricing import HireUnit
from domain.purchases import Rail
from domain.sessions import SessionType
from firestore.collections import SESSIONS, WALLETS
from firestore.counting import CountingBackend
from firestore.memory import MemoryBackend
from firestore.sessions import Start, Usage
from tests import make
from tests.make import BRONZE, MINUTE, NOW, PLAIN, World, facts, paid, user_id, wish

MAX, ADA = user_id("max"), user_id("ada")
OWN = {"wallets", "sessions", "entries", "transactions", "outbox", "accruals", "usage", "orders", "inbox", "purchases"}
OWN |= {"endings"}
"""Collections whose documents have one user or one fact: what many write at once is none of them."""


@dataclass
class Cost:
    rpcs: int = 0
    rounds: int = 0
    reads: int = 0
    writes: int = 0
    written: set[str] = field(default_factory=set)


class Priced(World):
    """A world that knows what a block cost."""

    @contextmanager
    def cost(self) -> Iterator[Cost]:
        found = Cost()
        counting = self.backend
        assert isinstance(counting, CountingBackend)
        memory = counting._backend
        assert isinstance(memory, MemoryBackend)
        before = {name: dict(documents) for name, documents in memory._collections.items()}
        with counting.measure() as counts:
            yield found
        found.rpcs, found.rounds, found.reads, found.writes = counts.rpcs, counts.rounds, counts.reads, counts.writes
        after = memory._collections
        found.written = {name for name in {*before, *after} if before.get(name, {}) != after.get(name, {})}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Priced]:
    made = Priced(CountingBackend(MemoryBackend()), rehearse=False)
    await made.open("eve")
    await made.fund("max", 60_000)
    yield made
    await made.check()


async def test_a_hire(world: Priced) -> None:
    with world.cost() as cost:
        await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    assert (cost.rpcs, cost.rounds, cost.reads, cost.writes) == (2, 2, 4, 5)
    assert cost.written == {"wallets", "sessions", "entries", "transactions", "outbox"} <= OWN
    with world.cost() as again:
        await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    assert (again.rpcs, again.writes) == (1, 0)


async def test_a_quote(world: Priced) -> None:
    with world.cost() as cost:
        await world.store.sessions.quote(MAX, make.listing().id, HireUnit.HOUR, 1, PLAIN)
    assert (cost.rpcs, cost.reads, cost.writes) == (1, 2, 0)


async def test_starts(world: Priced) -> None:
    with world.cost() as cost:
        await world.store.sessions.start(MAX, Start(make.agent().id, SessionType.TRIAL, PLAIN, None, ZERO, "k"), NOW)
    assert (cost.rpcs, cost.reads, cost.writes, cost.written) == (2, 5, 2, {"sessions", "outbox"})


async def test_an_extension(world: Priced) -> None:
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    with world.cost() as cost:
        await world.store.sessions.extend(MAX, session.id, HireUnit.HOUR, 1, "x", NOW)
    assert (cost.rpcs, cost.rounds, cost.reads, cost.writes) == (2, 2, 4, 5)
    assert cost.written <= OWN


async def test_a_report_of_usage(world: Priced) -> None:
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    usage = Usage(session.id, 1, Dof(1), 1, None, False)
    with world.cost() as cost:
        await world.store.sessions.record_usage(MAX, usage, NOW)
    assert (cost.rpcs, cost.reads, cost.writes, cost.written) == (2, 2, 3, {"sessions", "usage", "outbox"})
    with world.cost() as again:
        await world.store.sessions.record_usage(MAX, usage, NOW)
    assert (again.rpcs, again.writes) == (1, 0)


async def test_an_end(world: Priced) -> None:
    for name, rpcs, reads in (("max", 2, 4), ("ada", 3, 6)):
        session, _ = await world.store.sessions.hire(MAX, wish(make.listing(), name), world.now)
        world.now += MINUTE
        with world.cost() as cost:
            await world.store.sessions.end(user_id(name), session.id, "e", world.now)
        # Session, wallet, entry, the hirer's transaction, the row and the key's mark; an accrual and a transaction for
        # each payee.
        assert (cost.rpcs, cost.rounds, cost.reads, cost.writes) == (rpcs, rpcs, reads, 10)
        assert cost.written <= OWN


async def test_a_settlement_by_the_task(world: Priced) -> None:
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    with world.cost() as early:
        await world.store.sessions.settle_if_over(session.id, NOW)
    assert (early.rpcs, early.writes) == (1, 0)
    with world.cost() as cost:
        await world.store.sessions.settle_if_over(session.id, NOW + 60 * MINUTE)
    assert (cost.rpcs, cost.reads, cost.writes) == (3, 3, 9)


async def test_following_a_session(world: Priced) -> None:
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    row = world.rows[-1]
    with world.cost() as cost:
        await world.store.topics.follow_session(session.id, row.id, NOW)
    # The shared documents, listing, seller and topics, are written here: after the hire, and not in its way. What the
    # owner is told rides on the row of the events.
    assert (cost.rpcs, cost.writes) == (4, 7)
    with world.cost() as again:
        await world.store.topics.follow_session(session.id, row.id, NOW)
    assert (again.rpcs, again.writes) == (1, 0)


async def test_a_webhook_is_recorded(world: Priced) -> None:
    for rpcs, writes in ((1, 2), (2, 0)):
        with world.cost() as cost:
            await world.store.inbox.record("shopify", "t", "s", b"{}", NOW, outcome="accepted", task="t")
        assert (cost.rpcs, cost.writes) == (rpcs, writes)
        assert cost.written <= OWN


async def test_a_purchase_and_its_credit(world: Priced) -> None:
    wanted = world.store.purchases.wish(MAX, Rail.SHOPIFY, BRONZE, 1, "k")
    with world.cost() as cost:
        purchase, _ = await world.store.purchases.begin(wanted, "https://jiga.test/", NOW)
    assert (cost.rpcs, cost.reads, cost.writes) == (2, 3, 2)
    told = facts(paid(), purchase_id=purchase.id, user_hint=MAX)
    delivery = await world.deliver(told)
    with world.cost() as cost:
        await world.store.orders.absorb(delivery, lambda _: told, NOW)
    assert (cost.rpcs, cost.rounds, cost.reads, cost.writes) == (2, 2, 5, 5)
    assert cost.written == {"orders", "wallets", "entries", "transactions", "outbox"} <= OWN
    with world.cost() as again:
        await world.store.orders.absorb(delivery, lambda _: told, NOW)
    assert (again.rpcs, again.writes) == (1, 0)


async def test_a_credit_without_a_hint(world: Priced) -> None:
    wanted = world.store.purchases.wish(MAX, Rail.SHOPIFY, BRONZE, 1, "k")
    purchase, _ = await world.store.purchases.begin(wanted, "https://jiga.test/", NOW)
    told = facts(paid(), purchase_id=purchase.id)
    delivery = await world.deliver(told)
    with world.cost() as cost:
        await world.store.orders.absorb(delivery, lambda _: told, NOW)
    assert (cost.rpcs, cost.reads, cost.writes) == (3, 5, 5)
    refunded = facts(make.refund(1, 100))
    delivery = await world.deliver(refunded)
    with world.cost() as cost:
        await world.store.orders.absorb(delivery, lambda _: refunded, NOW)
    assert (cost.rpcs, cost.writes) == (3, 5)


async def test_a_transfer_and_an_adjustment(world: Priced) -> None:
    with world.cost() as cost:
        await world.store.wallets.transfer(MAX, ADA, Dof(1), None, "k", NOW)
    assert (cost.rpcs, cost.reads, cost.writes) == (2, 5, 6)
    with world.cost() as cost:
        await world.store.wallets.adjust("root", MAX, 1, "a gift", "k", NOW)
    assert (cost.rpcs, cost.reads, cost.writes) == (2, 4, 5)


async def test_readings(world: Priced) -> None:
    for reading in (
        world.store.wallets.get_many([MAX]),
        world.store.wallets.earned(MAX),
        world.store.wallets.page_of_user(MAX, None, 20, None),
        world.store.sessions.page_of_hirer(MAX, None, 20, None),
        world.store.read([(SESSIONS, make.session().id), (WALLETS, MAX)]),
        world.store.topics.head("listing:x"),
    ):
        with world.cost() as cost:
            await reading
        assert (cost.rpcs, cost.writes) == (1, 0)
