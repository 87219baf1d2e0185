"""Rows of docs/rules.md that belong to no single operation's file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import BadInput, Conflict, InsufficientDof, PayoutNotReady, Unavailable, WalletFrozen
from domain.ids import Kind, derived_id
from domain.ledger import PAYOUTS_PENDING, WORLD_STRIPE, EntryKind, balance
from domain.money import DOF_MAX, Dof, Money
from domain.payouts import PayoutState
from domain.pricing import HireUnit, SessionConfiguration
from domain.purchases import Rail
from domain.revenue import Distribution, distribute
from domain.sessions import Session
from firestore.backend import Query, Write
from firestore.collections import ENTRIES, INBOX, ORDERS, OUTBOX, PAYOUTS, SESSIONS, TRANSACTIONS
from firestore.memory import MemoryBackend
from firestore.sessions import Hire
from integrations.local.checkout import Cart, order_payload, refund_payload
from integrations.local.stripe import dispute_payload, session_payload
from integrations.services import PayoutRejected
from tests.kill import flows
from tests.kill.house import ADA, AMY, CLEO, LISTING_ID, MAX, Fuse, House, furniture
from tests.kill.worker import BOOKS, dump_of, problems_of

UNKNOWN = derived_id(Kind.PAYOUT, "nobody's")


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """The store with its doors, tasks and bank. At the end its ledger is audited."""
    memory = MemoryBackend()
    await memory.commit(furniture())
    made = House(memory, Fuse(), tmp_path)
    yield made
    assert problems_of(await dump_of(memory, BOOKS), made.now) == []


async def all_of(house: House, collection: Any) -> list[Any]:
    return [collection.decode(each) for each in await house.backend.query(Query(collection.name))]


async def wallet(house: House, user_id: str) -> tuple[int, int, int]:
    (found,) = await house.store.wallets.get_many([user_id])
    return found.available.units, found.held.units, found.debt.units


async def after(house: House, *steps: flows.Steps) -> None:
    for step in steps:
        await step(house)


async def fold(house: House, address: str) -> int:
    return sum(balance(entry.postings, address) for entry in await all_of(house, ENTRIES))


async def test_t_w09_a_body_of_last_year_has_no_effect(house: House) -> None:
    """The shop's signature has no time in it. The record of the delivery has expired: the fact's own guard has not."""
    await after(house, flows.buy, flows.paid, flows.spend)
    left = await wallet(house, MAX)
    house.now += timedelta(days=365)
    # What the database's own clean-up has taken by then.
    for collection in (INBOX, OUTBOX):
        gone = [each for each in await all_of(house, collection) if each.expires_at and each.expires_at < house.now]
        await house.backend.commit([Write(collection.at(each.id), None) for each in gone])
    assert await all_of(house, INBOX) == []
    await flows.paid(house)
    await flows.created(house)
    assert await wallet(house, MAX) == left
    (order,) = await all_of(house, ORDERS)
    assert (order.entries, len(order.facts)) == (1, 1)


async def test_t_t07_a_second_copy_starts_while_the_first_runs(house: House) -> None:
    """The queue gives up waiting and delivers again: both copies have read, and both go on to write."""
    await flows.buy(house)
    gate, waiting = asyncio.Event(), []
    memory = house.backend
    assert isinstance(memory, MemoryBackend)
    other = House(memory, Fuse(), Path())

    async def before(verb: str) -> None:
        await asyncio.sleep(0)
        if verb == "commit" and not gate.is_set():
            waiting.append(verb)
            if len(waiting) == 2:
                gate.set()
            await gate.wait()

    body = order_payload(flows.CART, at=house.now, test=True)
    told = house.work
    house.work = _nothing  # type: ignore[method-assign]
    await house.shopify("orders/paid", body)
    house.work = told  # type: ignore[method-assign]
    await house.dispatcher.close()
    ((name, row_id, args, _),) = house.queued
    memory.before = before
    done = await asyncio.gather(*(each.caller.deliver(name, row_id, args) for each in (house, other)))
    assert done == [True, True]
    assert len(waiting) == 2
    assert await wallet(house, MAX) == (flows.DOF, 0, 0)


async def test_t_m09_a_hundred_refunds_of_one_unit(house: House) -> None:
    """The parts that each payee gives back make the reverse of the split, to the unit."""
    await after(house, flows.fund, flows.hire)
    house.now += timedelta(minutes=25)
    session, _ = await house.store.sessions.end(MAX, flows.SESSION, "end", house.now)
    assert session.settlement is not None
    consumed = session.settlement.consumed
    assert consumed == Dof(100)
    before = await wallet(house, MAX)
    for number in range(100):
        await house.store.refunds.refund(AMY, flows.SESSION, Dof(1), "a bad run", f"part {number}", house.now)
    (session,) = await all_of(house, SESSIONS)
    assert session.returned == session.settlement.distribution == distribute(consumed, session.shares)
    assert (await wallet(house, MAX))[0] == before[0] + 100
    for user_id in (ADA, CLEO):
        assert await house.store.wallets.earned(user_id) == Dof(0)
        assert await wallet(house, user_id) == (0, 0, 0)
    assert await fold(house, "platform:fees") == 0
    with pytest.raises(BadInput):
        await house.store.refunds.refund(AMY, flows.SESSION, Dof(1), "a bad run", "one more", house.now)


async def _hired_by_its_creator(house: House, minutes: int) -> Session:
    """cleo hires the agent that she made and ada owns, at four DOF a minute."""
    await house.store.wallets.adjust(AMY, CLEO, 2_000, "a gift", "fund", house.now)
    wish = Hire(LISTING_ID, HireUnit.HOUR, 1, 1, SessionConfiguration(), "hire")
    session, _ = await house.store.sessions.hire(CLEO, wish, house.now)
    house.now += timedelta(minutes=minutes)
    session, _ = await house.store.sessions.end(CLEO, session.id, "end", house.now)
    await house.work()
    return session


async def test_a_creator_who_hired_is_refunded_what_it_brought_her_too(house: House) -> None:
    """Of what has not matured the whole comes back to the wallet, her own part as well."""
    session = await _hired_by_its_creator(house, minutes=25)
    assert session.settlement is not None
    assert session.settlement.distribution == Distribution(owner=Dof(75), platform=Dof(15), creator=Dof(10))
    _, paid = await house.store.refunds.refund(AMY, session.id, Dof(100), "a bad run", "all", house.now)
    assert (paid.amount, await wallet(house, CLEO)) == (100, (2_000, 0, 0))
    assert [await house.store.wallets.earned(each) for each in (ADA, CLEO)] == [Dof(0), Dof(0)]
    assert await wallet(house, ADA) == (0, 0, 0)
    papers = [each for each in await all_of(house, TRANSACTIONS) if each.entry_id == paid.entry_id]
    assert sorted((each.user_id == CLEO, each.amount) for each in papers) == [(False, -75), (True, -10), (True, 100)]


async def test_a_creator_who_hired_is_refunded_what_the_others_got(house: House) -> None:
    """Once it has matured, her own part lies in the wallet that the refund goes to: it is told, and does not move."""
    session = await _hired_by_its_creator(house, minutes=25)
    house.now += timedelta(days=9)
    await house.mature()
    assert await wallet(house, CLEO) == (1_910, 0, 0)
    _, paid = await house.store.refunds.refund(AMY, session.id, Dof(50), "a bad run", "half", house.now)
    assert (paid.amount, paid.available_after, await wallet(house, CLEO)) == (50, 1_955, (1_955, 0, 0))
    papers = [each for each in await all_of(house, TRANSACTIONS) if each.entry_id == paid.entry_id]
    assert sorted((each.user_id == CLEO, each.amount) for each in papers) == [(False, -38), (True, -5), (True, 50)]
    assert (await wallet(house, ADA), await fold(house, "platform:fees")) == ((37, 0, 0), 8)


async def test_where_only_the_hirers_own_earnings_are_left_nobody_can_be_asked(house: House) -> None:
    """The last of eight units is hers already: the refusal says so, and changes nothing."""
    session = await _hired_by_its_creator(house, minutes=2)
    house.now += timedelta(days=9)
    await house.mature()
    for number in range(7):
        await house.store.refunds.refund(AMY, session.id, Dof(1), "a bad run", f"part {number}", house.now)
    (kept,) = await all_of(house, SESSIONS)
    assert kept.settlement.distribution == Distribution(owner=Dof(6), platform=Dof(1), creator=Dof(1))
    assert kept.returned == Distribution(owner=Dof(6), platform=Dof(1))
    before = await wallet(house, CLEO)
    with pytest.raises(Conflict):
        await house.store.refunds.refund(AMY, session.id, Dof(1), "a bad run", "the last", house.now)
    assert (await all_of(house, SESSIONS), await wallet(house, CLEO)) == ([kept], before)


async def test_t_m12_more_than_there_is_and_two_at_once(house: House) -> None:
    await after(house, *flows.EARNED)
    available, _, _ = await wallet(house, ADA)
    assert available == 183  # 61 minutes at 4 DOF, of which the owner has three quarters
    with pytest.raises((InsufficientDof, PayoutNotReady)):
        await house.store.payouts.request(ADA, Dof(available + 1), "too much", house.now)
    asked = (house.store.payouts.request(ADA, Dof(100), key, house.now) for key in ("one", "two"))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(each, tuple) for each in answers) == 1
    assert sum(isinstance(each, InsufficientDof | PayoutNotReady) for each in answers) == 1
    await house.work()
    assert await wallet(house, ADA) == (83, 0, 0)
    assert await fold(house, PAYOUTS_PENDING) == 100


@pytest.mark.parametrize("first", ["payout", "dispute"])
async def test_t_m12_a_payout_while_a_dispute_opens(house: House, first: str) -> None:
    """Whichever is first wins, and an open dispute blocks what comes after it."""
    await after(house, *flows.EARNED)
    wish = house.store.purchases.wish(ADA, Rail.STRIPE, "DOF-S", 1, "buy")
    await house.store.purchases.begin(wish, "https://pay.test", house.now)
    cart = Cart(wish.id, ADA, "ada@jiga.test", "DOF-S", 1, flows.PRICE)
    await house.stripe(session_payload(cart, "pay", at=house.now, test=True))
    told = dispute_payload(
        "charge.dispute.created", purchase_id=wish.id, dispute="d", amount=flows.PRICE, at=house.now, test=True
    )
    if first == "payout":
        await flows.request_payout(house)
        await house.stripe(told)
    else:
        await house.stripe(told)
        with pytest.raises(WalletFrozen):
            await flows.request_payout(house)
    (found,) = await house.store.wallets.get_many([ADA])
    assert found.frozen
    assert found.available.units - found.debt.units == 183 - (120 if first == "payout" else 0)
    assert await fold(house, PAYOUTS_PENDING) == (120 if first == "payout" else 0)


@pytest.mark.parametrize(
    ("told", "ends"),
    [
        (("paid", "failed"), PayoutState.FAILED),
        (("failed", "paid"), PayoutState.FAILED),
        (("paid", "paid", "failed", "failed", "paid"), PayoutState.FAILED),
        (("paid", "paid"), PayoutState.PAID),
    ],
)
async def test_t_m14_the_money_comes_back_once(house: House, told: tuple[str, ...], ends: PayoutState) -> None:
    await after(house, *flows.EARNED, flows.request_payout)
    for status in told:
        await flows.bank_told(status)(house)
    (payout,) = await all_of(house, PAYOUTS)
    assert payout.state is ends
    failed = ends is PayoutState.FAILED
    assert await wallet(house, ADA) == (183 if failed else 63, 0, 0)
    assert await fold(house, PAYOUTS_PENDING) == 0
    assert await fold(house, WORLD_STRIPE) == (0 if failed else 120)
    assert house.bank.moved() == {f"transfer.{payout.id}": 1} | ({f"reverse.{payout.id}": 1} if failed else {})


async def test_t_m14_what_comes_back_waits_for_room_in_the_wallet(house: House) -> None:
    await after(house, *flows.EARNED, flows.request_payout)
    (payout,) = await all_of(house, PAYOUTS)
    await house.store.wallets.adjust("root", ADA, DOF_MAX - 63, "for a test", "full", house.now)
    before = await all_of(house, ENTRIES)
    with pytest.raises(Unavailable, match="room"):
        await house.store.payouts.conclude(payout.id, "no_account", house.now)
    assert await all_of(house, ENTRIES) == before
    await house.store.wallets.adjust("root", ADA, -120, "for a test", "room", house.now)
    await house.store.payouts.conclude(payout.id, "no_account", house.now)
    assert await wallet(house, ADA) == (DOF_MAX, 0, 0)


async def test_t_m14_an_unknown_payout_and_a_closed_account(house: House) -> None:
    await after(house, *flows.EARNED)
    before = await all_of(house, ENTRIES)
    await house.store.payouts.conclude(UNKNOWN, None, house.now)
    await house.store.payouts.conclude(UNKNOWN, "no_account", house.now)
    assert await all_of(house, ENTRIES) == before

    async def closed(**asked: Any) -> str:
        raise PayoutRejected("account_closed")

    house.bank.transfer = closed  # type: ignore[method-assign]
    await flows.request_payout(house)
    (payout,) = await all_of(house, PAYOUTS)
    assert (payout.state, payout.failure) == (PayoutState.FAILED, "account_closed")
    assert await wallet(house, ADA) == (183, 0, 0)
    kinds = [entry.kind for entry in await all_of(house, ENTRIES)]
    assert (kinds.count(EntryKind.PAYOUT), kinds.count(EntryKind.PAYOUT_FAILED)) == (1, 1)


async def test_t_w12_two_refunds_of_sixty_percent_at_once(house: House) -> None:
    await after(house, flows.buy, flows.paid)
    bodies = [
        refund_payload(purchase_id=flows.PURCHASE, refund=name, amount=Money(300, "USD"), at=house.now, test=True)
        for name in ("one", "two")
    ]
    await asyncio.gather(*(house.shopify("refunds/create", body) for body in bodies))
    await house.sweep()
    assert await wallet(house, MAX) == (0, 0, 0)
    (order,) = await all_of(house, ORDERS)
    assert (order.applied, order.target) == (Dof(0), Dof(0))


async def _nothing() -> None:
    return None
