"""Money in: whatever a shop tells, how often and in which order, one final state."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import BadInput, Conflict, Forbidden, IdempotencyConflict, NotFound, UnknownPackage, WalletFrozen
from domain.events import EventType
from domain.ids import Kind, derived_id
from domain.ledger import EntryKind
from domain.money import DOF_MAX, ZERO, Dof, Money
from domain.orders import CHECKOUT_EXPIRED, PAYMENT_FAILED, FactKind, Order, OrderFacts, Report
from domain.purchases import Purchase, PurchaseStatus, Rail
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.users import Role
from domain.wallets import Wallet
from firestore.backend import Backend, Unclear
from firestore.collections import ENTRIES, ORDERS, OUTBOX, TRANSACTIONS, USERS, WALLETS
from firestore.memory import MemoryBackend
from firestore.notifications import NOTIFY, read_notes
from firestore.orders import Decision
from firestore.rows import InboxRow, RowState
from tests import make
from tests.make import BRONZE, CANCEL, MINUTE, NOW, SILVER, World, facts, paid, refund, user_id, wish

MAX, EVE = user_id("max"), user_id("eve")
DONE, PENDING = TransactionStatus.COMPLETED, TransactionStatus.PENDING


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(MemoryBackend())
    await made.open("eve")
    yield made
    await made.check()


@pytest_asyncio.fixture
async def anywhere(backend: Backend) -> AsyncIterator[World]:
    made = World(backend, rehearse=False)
    await made.open("eve")
    yield made
    await made.check()


async def begin(world: World, name: str = "max", key: str = "k", sku: str = BRONZE, quantity: int = 1) -> Purchase:
    wanted = world.store.purchases.wish(user_id(name), Rail.SHOPIFY, sku, quantity, key)
    purchase, _ = await world.store.purchases.begin(wanted, "https://jiga.test/cart", world.now)
    return purchase


async def state(world: World, order: str = "1001") -> tuple[Any, ...]:
    """What must not depend on the order of arrival."""
    made = await world.get(ORDERS, facts(reference=order).order_id)
    purchases = [each for each in await world.all(TRANSACTIONS) if each.type is TransactionType.PURCHASE]
    statuses = sorted(each.status for each in purchases)
    return await world.wallet("max"), made.target, made.applied, made.outcome, made.review, set(made.facts), statuses


async def status_of(world: World, purchase: Purchase) -> str:
    return (await world.get(TRANSACTIONS, purchase.transaction_id)).status.value


# ---- a wish


async def test_a_purchase_waits_for_its_money(world: World) -> None:
    purchase = await begin(world, sku=SILVER, quantity=2)
    assert (purchase.dof, purchase.price, purchase.user_id) == (Dof(1_050_000), Money(2998, "USD"), MAX)
    seen = await world.get(TRANSACTIONS, purchase.transaction_id)
    assert seen == Transaction(
        id=purchase.transaction_id,
        user_id=MAX,
        type=TransactionType.PURCHASE,
        status=PENDING,
        amount=1_050_000,
        created_at=NOW,
        payment_method=PaymentMethod.SHOPIFY,
        external_reference=purchase.id,
    )
    assert await world.store.purchases.get(purchase.id) == purchase
    assert await world.store.purchases.get("pur_x") is None
    assert await world.wallet("max") == (0, 0, 0)


async def test_a_purchase_is_once_per_key(world: World) -> None:  # T-M15
    purchase = await begin(world)
    assert await begin(world) == purchase
    async with world.refuses(IdempotencyConflict):
        await begin(world, quantity=2)
    wanted = world.store.purchases.wish(MAX, Rail.SHOPIFY, BRONZE, 1, "k")
    assert await world.store.purchases.known(wanted) == purchase
    assert await world.store.purchases.known(replace(wanted, id=derived_id(Kind.PURCHASE, "other"))) is None
    async with world.refuses(IdempotencyConflict):
        await world.store.purchases.known(world.store.purchases.wish(MAX, Rail.STRIPE, BRONZE, 1, "k"))
    assert (await begin(world, "eve")).id != purchase.id


@pytest.mark.parametrize("quantity", [0, -1, 101, 2**31])
async def test_a_wish_has_bounds(world: World, quantity: int) -> None:  # T-M01
    async with world.refuses(BadInput, field="input.quantity"):
        await begin(world, quantity=quantity)
    async with world.refuses(UnknownPackage):
        await begin(world, sku="dof-150k-bronze")
    async with world.refuses(BadInput, field="input.idempotencyKey"):
        await begin(world, key="")


async def test_who_is_suspended_buys_nothing(world: World) -> None:
    await world.put(USERS, make.user("max", suspended_at=NOW))
    async with world.refuses(Forbidden):
        await begin(world)


# ---- an order


async def test_a_payment_credits_and_completes(world: World) -> None:
    purchase = await begin(world)
    world.now += make.MINUTE
    order: Order = await world.absorb(facts(paid(), purchase_id=purchase.id, user_hint=MAX))
    assert (order.user_id, order.applied, order.entries, order.review) == (MAX, Dof(150_000), 1, None)
    assert await world.wallet("max") == (150_000, 0, 0)
    seen = await world.get(TRANSACTIONS, purchase.transaction_id)
    assert (seen.status, seen.amount, seen.available_after, seen.external_reference, seen.completed_at) == (
        DONE,
        150_000,
        150_000,
        "1001",
        world.now,
    )
    (entry,) = await world.all(ENTRIES)
    assert (entry.id, entry.kind, entry.ref, entry.actor, seen.entry_id) == (
        derived_id(Kind.ENTRY, "PURCHASE", "order", order.id, 0),
        EntryKind.PURCHASE,
        order.id,
        "webhook:shopify",
        entry.id,
    )
    events = [(event.type, event.sequence, event.data) for row in world.rows for event in row.events]
    assert events == [(EventType.TRANSACTION_COMPLETED, 1, {"transactionId": purchase.transaction_id})]


async def test_twenty_deliveries_at_once_credit_once(anywhere: World) -> None:  # T-W03
    purchase = await begin(anywhere)
    told = facts(paid(), purchase_id=purchase.id, user_hint=MAX)
    deliveries = [await anywhere.deliver(told) for _ in range(20)]
    absorb = anywhere.store.orders.absorb
    await asyncio.gather(*(absorb(each, lambda _: told, NOW) for each in deliveries))
    assert await anywhere.wallet("max") == (150_000, 0, 0)
    assert len(await anywhere.all(ENTRIES)) == 1


async def test_one_delivery_worked_on_by_many_credits_once(anywhere: World) -> None:  # T-T03
    purchase = await begin(anywhere)
    told = facts(paid(), purchase_id=purchase.id)
    delivery = await anywhere.deliver(told)
    other = World(anywhere.backend, rehearse=False)  # another process: no lane in common
    stores = [anywhere.store, other.store] * 5
    await asyncio.gather(*(store.orders.absorb(delivery, lambda _: told, NOW) for store in stores))
    assert await anywhere.wallet("max") == (150_000, 0, 0)


FOUR = (paid(), refund(1, 100), refund(2, 100), CANCEL)


@pytest.mark.parametrize("left_out", [(), (3,), (0,), (0, 3), (2, 3)])
async def test_every_order_of_arrival_ends_alike(left_out: tuple[int, ...]) -> None:  # T-W04, T-W05
    told = [report for place, report in enumerate(FOUR) if place not in left_out]
    states = []
    for order in itertools.permutations(told):
        world = World(MemoryBackend(), rehearse=False)
        await world.open()
        purchase = await begin(world)
        for report in (*order, *reversed(order)):
            named = {} if report.key.startswith("refund") else {"purchase_id": purchase.id, "user_hint": MAX}
            await world.absorb(facts(report, **named))
        await world.check()
        states.append(await state(world))
    assert all(each == states[0] for each in states), states


@pytest.mark.parametrize("seed", range(4))
async def test_twenty_in_parallel_with_refund_and_cancel_before_paid(anywhere: World, seed: int) -> None:  # T-W03
    purchase = await begin(anywhere)
    named = {"purchase_id": purchase.id, "user_hint": MAX}
    told: Sequence[OrderFacts] = [facts(paid(), **named), facts(refund(1, 250)), facts(paid(), CANCEL, **named)] * 7
    told = random.Random(seed).sample(told, len(told))[:20]
    told = [facts(refund(1, 250)), *told, facts(paid(), CANCEL, **named), facts(paid(), **named)]
    deliveries = [(await anywhere.deliver(each), each) for each in told]

    async def work(place: int) -> None:
        delivery, each = deliveries[place]
        await anywhere.store.orders.absorb(delivery, lambda _: each, NOW)

    await asyncio.gather(*map(work, range(len(deliveries))))
    assert await state(anywhere) == (
        (0, 0, 0),
        ZERO,
        ZERO,
        PurchaseStatus.REFUNDED,
        None,
        {"paid", "refund:1", "cancel"},
        [TransactionStatus.REFUNDED],
    )


async def test_a_users_orders_queue_up_instead_of_conflicting(world: World) -> None:
    """They write one wallet: what waits for its turn reads it once, and not again for each that came before."""
    world.rehearse = False
    store, seen = World(world.backend, rehearse=False).store, []
    assert isinstance(world.backend, MemoryBackend)
    told = []
    for number in range(10):
        purchase = await begin(world, key=f"k{number}")
        told.append(facts(paid(), purchase_id=purchase.id, user_hint=MAX, reference=f"{number}"))
    deliveries = [await world.deliver(each) for each in told]

    async def before(verb: str) -> None:
        seen.append(verb)
        await asyncio.sleep(0)

    world.backend.before = before
    work = zip(told, deliveries, strict=True)
    await asyncio.gather(*(store.orders.absorb(to, lambda _, each=each: each, NOW) for each, to in work))  # type: ignore[misc]
    world.backend.before = None
    assert (seen.count("get_many"), seen.count("commit"), await world.wallet("max")) == (10, 10, (1_500_000, 0, 0))


async def test_a_lost_reply_credits_once(world: World) -> None:  # T-F03
    purchase = await begin(world)
    lost = [Unclear()]

    async def after(verb: str) -> None:
        if verb == "commit" and lost:
            raise lost.pop()

    told = facts(paid(), purchase_id=purchase.id)
    delivery = await world.deliver(told)
    assert isinstance(world.backend, MemoryBackend)
    world.backend.after = after
    order = await world.store.orders.absorb(delivery, lambda _: told, NOW)
    world.backend.after = None
    assert (order.applied, order.entries, lost) == (Dof(150_000), 1, [])


# ---- refunds


async def test_a_refund_takes_back_its_part(world: World) -> None:
    purchase = await begin(world)
    await world.absorb(facts(paid(), purchase_id=purchase.id))
    order = await world.absorb(facts(refund(1, 100)))
    kept = 150_000 * 399 // 499
    assert (order.applied, order.entries, await world.wallet("max")) == (Dof(kept), 2, (kept, 0, 0))
    back = next(each for each in await world.all(TRANSACTIONS) if each.type is TransactionType.REFUND)
    assert (back.status, back.amount, back.available_after) == (DONE, kept - 150_000, kept)
    assert (await world.get(TRANSACTIONS, purchase.transaction_id)).status is DONE
    await world.absorb(facts(refund(2, 399)))
    assert (await world.get(TRANSACTIONS, purchase.transaction_id)).status is TransactionStatus.REFUNDED
    assert await world.wallet("max") == (0, 0, 0)


async def test_two_refunds_beyond_the_price_take_back_the_price(anywhere: World) -> None:  # T-W12, saleor#19645
    purchase = await begin(anywhere)
    await anywhere.absorb(facts(paid(), purchase_id=purchase.id))
    await asyncio.gather(*(anywhere.absorb(facts(refund(number, 300))) for number in (1, 2)))
    assert await anywhere.wallet("max") == (0, 0, 0)


async def test_a_refund_after_the_spend_is_debt_and_is_repaid_first(world: World) -> None:  # T-M08
    purchase = await begin(world)
    await world.absorb(facts(paid(), purchase_id=purchase.id))
    await world.store.sessions.hire(MAX, wish(make.listing(), quantity=20), NOW)
    await world.absorb(facts(refund(1, 499)))
    assert await world.wallet("max") == (0, 120_000, 120_000)
    async with world.refuses(WalletFrozen, debt=120_000):
        await world.store.sessions.hire(MAX, wish(make.listing(), "other"), NOW)
    second = await begin(world, key="k2", sku=SILVER)
    await world.absorb(facts(paid(SILVER), purchase_id=second.id, reference="1002"))
    assert await world.wallet("max") == (405_000, 120_000, 0)


async def test_a_cancellation_after_the_spend(world: World) -> None:
    purchase = await begin(world)
    await world.absorb(facts(paid(), purchase_id=purchase.id))
    await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    order = await world.absorb(facts(paid(), CANCEL, purchase_id=purchase.id))
    assert (order.outcome, await world.wallet("max")) == (PurchaseStatus.REFUNDED, (0, 6_000, 6_000))


async def test_a_cart_that_was_never_paid_is_closed(world: World) -> None:  # T-W05
    purchase = await begin(world)
    for _ in range(2):
        await world.absorb(facts(CANCEL, purchase_id=purchase.id))
    seen = await world.get(TRANSACTIONS, purchase.transaction_id)
    assert (seen.status, seen.amount, seen.external_reference) == (TransactionStatus.FAILED, 150_000, "1001")
    (told,) = [event for row in world.rows for event in row.events]
    assert (told.type, told.data["transactionId"]) == (EventType.TRANSACTION_FAILED, purchase.transaction_id)
    assert await world.wallet("max") == (0, 0, 0)


@pytest.mark.parametrize("rail", Rail)
async def test_a_cart_paid_twice_is_two_credits(world: World, rail: Rail) -> None:
    """Each order is money that came in, on whichever rail: what comes back of one takes its own DOF alone."""
    purchase = await begin(world)
    for number, by in ((1, Rail.SHOPIFY), (2, rail)):
        await world.absorb(facts(paid(), purchase_id=purchase.id, reference=f"{number}", rail=by))
    assert await world.wallet("max") == (300_000, 0, 0)
    seen = {each.external_reference: each for each in await world.all(TRANSACTIONS)}
    assert {reference: (each.amount, each.status) for reference, each in seen.items()} == {
        "1": (150_000, DONE),
        "2": (150_000, DONE),
    }
    await world.absorb(facts(CANCEL, purchase_id=purchase.id, reference="1"))
    assert (await world.get(TRANSACTIONS, seen["1"].id)).status is TransactionStatus.REFUNDED
    assert (await world.get(TRANSACTIONS, seen["2"].id)).status is DONE


async def test_an_order_cancelled_beside_a_completed_one_leaves_that_alone(world: World) -> None:
    purchase = await begin(world)
    await world.absorb(facts(paid(), purchase_id=purchase.id, reference="1"))
    await world.absorb(facts(CANCEL, purchase_id=purchase.id, reference="2"))
    assert (await world.get(TRANSACTIONS, purchase.transaction_id)).status is DONE


# ---- whose order it is


async def test_a_guest_is_known_by_a_verified_e_mail(world: World) -> None:  # T-W20
    order = await world.absorb(facts(paid(), email="max@jiga.test"))
    assert (order.user_id, order.review, await world.wallet("max")) == (MAX, None, (150_000, 0, 0))
    (seen,) = await world.all(TRANSACTIONS)
    assert (seen.type, seen.status, seen.amount, seen.created_at) == (TransactionType.PURCHASE, DONE, 150_000, NOW)
    order = await world.absorb(facts(paid(), CANCEL, email="max@jiga.test"))
    assert (order.applied, await world.wallet("max")) == (ZERO, (0, 0, 0))


@pytest.mark.parametrize("case", ["unverified", "two accounts", "nobody", "no e-mail"])
async def test_an_order_of_nobody_waits(world: World, case: str) -> None:  # T-W20
    if case == "unverified":
        await world.put(USERS, make.user("max", email_verified=False))
    if case == "two accounts":
        await world.put(USERS, make.user("eve", email="max@jiga.test"))
    email = {"nobody": "ghost@jiga.test", "no e-mail": None}.get(case, "max@jiga.test")
    order = await world.absorb(facts(paid(), email=email))
    assert (order.user_id, order.applied) == (None, ZERO)
    assert order.review is not None
    assert order.review.startswith("paid, and no user is known for it")
    assert await world.all(ENTRIES) == []
    assert (await world.get(ORDERS, order.id)).target == Dof(150_000)


async def test_an_order_that_waits_and_is_cancelled_waits_no_more(world: World) -> None:
    await world.absorb(facts(paid()))
    order = await world.absorb(facts(paid(), CANCEL))
    assert (order.review, order.outcome) == (None, PurchaseStatus.REFUNDED)


async def test_a_purchase_outweighs_the_e_mail(world: World) -> None:
    purchase = await begin(world)
    order = await world.absorb(facts(paid(), purchase_id=purchase.id, email="eve@jiga.test", user_hint=EVE))
    assert order.user_id == MAX
    assert (await world.wallet("max"), await world.wallet("eve")) == ((150_000, 0, 0), (0, 0, 0))


async def test_a_purchase_that_is_not_there_is_no_purchase(world: World) -> None:
    ghost = derived_id(Kind.PURCHASE, "ghost")
    order = await world.absorb(facts(paid(), purchase_id=ghost, email="max@jiga.test"))
    assert (order.user_id, await world.wallet("max")) == (MAX, (150_000, 0, 0))


async def test_nobody_completes_anothers_transaction(world: World) -> None:
    """An order that was matched to eve, and later names the purchase of max, stays eve's, with her transaction."""
    purchase = await begin(world)
    await world.absorb(facts(paid(), email="eve@jiga.test"))
    await world.absorb(facts(paid(), CANCEL, purchase_id=purchase.id))
    assert (await world.get(TRANSACTIONS, purchase.transaction_id)).status is PENDING
    assert (await world.wallet("max"), await world.wallet("eve")) == ((0, 0, 0), (0, 0, 0))


# ---- review


@pytest.mark.parametrize(
    "report",
    [paid(minor_units=1), paid(minor_units=500), paid(currency="CAD"), paid("HAT"), paid(quantity=0)],
)
async def test_what_the_price_table_does_not_ask_goes_to_review(world: World, report: Report) -> None:  # T-W14 to 17
    purchase = await begin(world)
    order = await world.absorb(facts(report, purchase_id=purchase.id))
    assert (order.applied, order.review is not None, await world.wallet("max")) == (ZERO, True, (0, 0, 0))
    assert (await world.get(TRANSACTIONS, purchase.transaction_id)).status is PENDING
    order = await world.absorb(facts(report, CANCEL, purchase_id=purchase.id))
    assert (await world.get(TRANSACTIONS, purchase.transaction_id)).status is TransactionStatus.FAILED


def stage(name: str) -> Report:
    return Report(f"dispute:d:{name.lower()}", FactKind[f"DISPUTE_{name}"], Money(499, "USD"), subject="d")


@pytest.mark.parametrize("is_won", [True, False])
async def test_a_dispute_that_is_won_and_lost_waits_for_a_decision(world: World, is_won: bool) -> None:
    """Which of the two was last cannot be told: the wallet stays frozen, and an admin looks it up."""
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    purchase = await begin(world)
    await world.absorb(facts(paid(), purchase_id=purchase.id))
    for name in ("OPENED", "LOST", "WON"):
        order = await world.absorb(facts(stage(name)))
    assert (order.review or "").startswith("a dispute was told as won and as lost")
    assert (order.in_review, order.applied, await world.wallet("max")) == (True, ZERO, (0, 0, 0))
    (page,) = (await world.store.orders.review_queue(10, None)).nodes
    assert (page, (await world.get(WALLETS, MAX)).open_disputes) == (order, 1)
    decision = Decision(order.id, user_id("root"), "the bank says so", Dof(1) if is_won else None)
    decided = await world.store.orders.decide(decision, NOW)
    due = 150_000 if is_won else 0
    assert (decided.review, decided.applied, decided.disputed) == (None, Dof(due), False)
    assert (await world.wallet("max"), (await world.get(WALLETS, MAX)).open_disputes) == ((due, 0, 0), 0)
    assert await world.store.orders.decide(decision, NOW + make.MINUTE) == decided
    async with world.refuses(Conflict):
        await world.store.orders.decide(replace(decision, reason="or not"), NOW)
    assert await world.absorb(facts(stage("LOST"), stage("WON"))) == decided


async def test_a_doubt_and_a_contested_dispute_are_two_decisions(world: World) -> None:
    """The doubt about the payment is decided first; what it was worth does not say how the dispute ended."""
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    purchase = await begin(world)
    told = (paid(minor_units=450), stage("OPENED"), stage("WON"), stage("LOST"))
    order = await world.absorb(facts(*told, purchase_id=purchase.id))
    assert (order.review or "").startswith("paid 4.50 USD")
    first = Decision(order.id, user_id("root"), "a discount", Dof(100_000))
    order = await world.store.orders.decide(first, NOW)
    assert (order.review or "").startswith("a dispute was told as won and as lost")
    assert await world.store.orders.decide(first, NOW) == order
    order = await world.store.orders.decide(Decision(order.id, user_id("root"), "the bank says so", Dof(1)), NOW)
    assert (order.review, order.applied, await world.wallet("max")) == (None, Dof(100_000), (100_000, 0, 0))


async def test_a_foreign_refund_goes_to_review_and_takes_nothing(world: World) -> None:  # T-W16
    purchase = await begin(world)
    await world.absorb(facts(paid(), purchase_id=purchase.id))
    order = await world.absorb(facts(refund(1, 499, "CAD")))
    assert order.review == "a refund gave CAD back, which is not what was paid"
    assert await world.wallet("max") == (150_000, 0, 0)


async def test_a_decision_on_a_doubted_refund_says_what_is_due(world: World) -> None:  # T-W16
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    purchase = await begin(world)
    await world.absorb(facts(paid(), purchase_id=purchase.id))
    order = await world.absorb(facts(refund(1, 300, "CAD")))
    half = Decision(order.id, user_id("root"), "half of it went back", Dof(75_000))
    order = await world.store.orders.decide(half, NOW)
    assert (order.review, order.applied, await world.wallet("max")) == (None, Dof(75_000), (75_000, 0, 0))
    assert await world.store.orders.decide(half, NOW) == order
    order = await world.absorb(facts(refund(2, 250)))  # beyond doubt: it counts on top
    assert (order.review, order.applied) == (None, Dof(75_000 * 249 // 499))
    order = await world.absorb(facts(refund(3, 100, "CAD")))
    assert order.review == "a refund gave CAD back, which is not what was paid"
    assert order.applied == Dof(75_000 * 249 // 499)
    order = await world.store.orders.decide(Decision(order.id, user_id("root"), "all of it went back"), NOW)
    assert (order.review, order.applied, order.outcome) == (None, ZERO, PurchaseStatus.REFUNDED)
    assert await world.wallet("max") == (0, 0, 0)


async def test_a_rejected_order_is_nobodys_whatever_is_told_again(world: World) -> None:
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    told = facts(paid(), email="later@x.test")
    order = await world.absorb(told)
    assert (order.review or "").startswith("paid, and no user is known for it")
    order = await world.store.orders.decide(Decision(order.id, user_id("root"), "a stolen card"), NOW)
    await world.put(USERS, make.user("later", email="later@x.test"))
    assert await world.store.orders.claim(user_id("later"), "later@x.test", NOW) == 0
    assert await world.store.orders.reconcile(told, NOW) is False
    order = await world.absorb(told)
    assert (order.user_id, order.applied, order.in_review) == (None, ZERO, False)
    assert await world.wallet("later") == (0, 0, 0)


async def test_a_decision_of_old_stands(world: World) -> None:
    """One that was stored before decisions named what they knew of: the same delivery again takes nothing back."""
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    purchase = await begin(world)
    told = facts(paid(minor_units=399), purchase_id=purchase.id)
    order = await world.absorb(told)
    order = await world.store.orders.decide(Decision(order.id, user_id("root"), "a discount", Dof(120_000)), NOW)
    old = {key: replace(fact, seen=()) for key, fact in order.facts.items()}
    await world.put(ORDERS, replace(order, facts=old))
    assert await world.store.orders.reconcile(told, NOW + MINUTE) is False
    order = await world.absorb(told)
    assert (order.applied, order.review, await world.wallet("max")) == (Dof(120_000), None, (120_000, 0, 0))


async def test_what_was_cancelled_waits_for_nobody(world: World) -> None:
    purchase = await begin(world)
    order = await world.absorb(facts(paid(minor_units=399), purchase_id=purchase.id))
    assert order.in_review
    order = await world.absorb(facts(CANCEL))
    assert (order.review, order.in_review, order.applied) == (None, False, ZERO)
    assert await status_of(world, purchase) == "FAILED"


async def test_what_went_back_of_a_doubted_payment_is_shown(world: World) -> None:
    purchase = await begin(world)
    order = await world.absorb(facts(paid(minor_units=399), refund(1, 399), purchase_id=purchase.id))
    assert (order.in_review, order.refunded) == (True, Money(399, "USD"))


async def test_a_wallet_tells_refunds_from_disputes(world: World) -> None:
    """By what moved, not by what the order has ever been through."""
    disputed = {
        name: Report(f"dispute:d:{name.lower()}", FactKind[f"DISPUTE_{name}"], Money(99, "USD"), subject="d")
        for name in ("OPENED", "WON")
    }
    steps = (
        paid(),
        disputed["OPENED"],
        disputed["WON"],
        refund(1, 100),
        Report("refund:1:failed", FactKind.REFUND_FAILED, Money(100, "USD"), subject="refund:1"),
    )
    for step in steps:
        world.now += make.SECOND
        await world.absorb(facts(step, email="max@jiga.test"))
    page = await world.store.wallets.page_of_user(MAX, None, 9, None)
    moved = [(each.type.value, each.amount > 0) for each in reversed(page.nodes)]
    assert moved == [("PURCHASE", True), ("DISPUTE", False), ("DISPUTE", True), ("REFUND", False), ("REFUND", True)]
    told = [note.text for row in world.rows if row.task == NOTIFY for note in read_notes(row.args)]
    assert told == ["dof_credited", *("purchase_reversed", "purchase_restored") * 2]


@pytest.mark.parametrize(
    ("reports", "text", "said"),
    [
        ((CANCEL,), "purchase_cancelled", "A purchase was cancelled before it was credited: no DOF were added."),
        (
            (replace(CANCEL, subject=CHECKOUT_EXPIRED),),
            "checkout_expired",
            "The page to pay a purchase on expired unpaid: begin the purchase again.",
        ),
        (
            (replace(CANCEL, subject=PAYMENT_FAILED),),
            "payment_failed",
            "Your bank did not make the payment of a purchase: pay in another way.",
        ),
        (
            (refund(1, 499), paid()),
            "purchase_refunded",
            "The money of a purchase went back to you before it was credited.",
        ),
        (
            (paid(minor_units=1),),
            "purchase_rejected",
            "We looked at a purchase and did not accept it: write to support.",
        ),
    ],
)
async def test_a_purchase_that_ends_says_why(world: World, reports: tuple[Report, ...], text: str, said: str) -> None:
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    purchase = await begin(world)
    order = await world.absorb(facts(*reports, purchase_id=purchase.id))
    if order.in_review:
        await world.store.orders.decide(Decision(order.id, user_id("root"), "not the price"), NOW)
    (row,) = [each for each in world.rows if each.task == NOTIFY]
    (note,) = read_notes(row.args)
    (event,) = row.events
    assert (note.text, event.data["error"]) == (text, said)


async def test_a_payment_after_a_decision_is_asked_about(world: World) -> None:
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    purchase = await begin(world)
    order = await world.absorb(facts(paid(minor_units=1), purchase_id=purchase.id))
    order = await world.store.orders.decide(Decision(order.id, user_id("root"), "not the price"), NOW)
    assert (order.review, order.outcome, await status_of(world, purchase)) == (None, PurchaseStatus.FAILED, "FAILED")
    order = await world.absorb(facts(replace(paid(), key="paid:again")))
    assert (order.review, order.applied) == ("a payment was told after the order had been decided", ZERO)
    order = await world.store.orders.decide(
        Decision(order.id, user_id("root"), "the second was right", Dof(150_000)), NOW
    )
    assert (order.review, order.applied, await status_of(world, purchase)) == (None, Dof(150_000), "COMPLETED")


@pytest.mark.parametrize("money", [None, Money(0, "USD")])
async def test_an_admins_word_counts_where_no_money_can_be_read(world: World, money: Money | None) -> None:
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    purchase = await begin(world)
    odd = replace(paid(), money=money, doubt="its total_tax is None, which is no amount of USD")
    order = await world.absorb(facts(odd, purchase_id=purchase.id))
    assert (order.applied, order.in_review) == (ZERO, True)
    seen = Decision(order.id, user_id("root"), "4.99 are in the bank", Dof(150_000))
    order = await world.store.orders.decide(seen, NOW)
    assert (order.review, order.applied, await world.wallet("max")) == (None, Dof(150_000), (150_000, 0, 0))


async def test_a_dispute_about_foreign_money_is_asked_about_at_each_stage(world: World) -> None:
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    purchase = await begin(world)
    foreign = replace(stage("OPENED"), money=Money(459, "EUR"))
    order = await world.absorb(facts(paid(), foreign, purchase_id=purchase.id))
    assert (order.review, order.disputed) == ("a dispute is about EUR, which is not what was paid", True)
    kept = Decision(order.id, user_id("root"), "nothing is taken yet", Dof(150_000))
    order = await world.store.orders.decide(kept, NOW)
    order = await world.absorb(facts(replace(stage("LOST"), money=Money(459, "EUR"))))
    assert (order.review, order.disputed) == ("a dispute is about EUR, which is not what was paid", False)
    order = await world.store.orders.decide(Decision(order.id, user_id("root"), "the bank took it"), NOW)
    assert (order.review, await world.wallet("max")) == (None, (0, 0, 0))


async def test_a_purchase_can_close_opened_and_close_again(world: World) -> None:
    """A refund that came back opens it; the next one closes it a second time, with an event of its own."""
    purchase = await begin(world)
    failed = Report("refund:1:failed", FactKind.REFUND_FAILED, subject="refund:1")
    await world.put(WALLETS, replace(Wallet(user_id("max")), closed=True))
    for told in (refund(1, 499), paid(), failed, refund(2, 499)):
        order = await world.absorb(facts(told, purchase_id=purchase.id))
    assert (order.applied, order.outcome, await status_of(world, purchase)) == (
        ZERO,
        PurchaseStatus.REFUNDED,
        "REFUNDED",
    )


async def test_a_wallet_that_is_full_sends_the_order_to_review(world: World) -> None:  # T-M03
    await world.fund("max", DOF_MAX - 149_999)
    purchase = await begin(world)
    order = await world.absorb(facts(paid(), purchase_id=purchase.id))
    assert (order.applied, order.review) == (ZERO, f"the wallet would hold or owe more than {DOF_MAX} DOF")
    await world.fund("max", -1)
    order = await world.absorb(facts(paid(), purchase_id=purchase.id))
    assert (order.applied, order.review) == (Dof(150_000), None)


# ---- the delivery


async def test_the_row_is_finished_with_the_work(world: World) -> None:
    told = facts(paid(), email="max@jiga.test")
    first = await world.store.inbox.record(
        "shopify", "orders/paid", "jiga.test", b"{}", NOW, outcome="accepted", task="apply_order", args={"a": "b"}
    )
    (row,) = world.rows
    assert (first, row.state, row.args["a"]) == (True, RowState.PENDING, "b")
    delivery = replace(await world.deliver(told), inbox_id=row.args["inbox_id"], row_id=row.id)
    bodies: list[bytes] = []

    def read(kept: InboxRow) -> OrderFacts:
        bodies.append(kept.body)
        return told

    world.rehearse = False
    await world.store.orders.absorb(delivery, read, NOW)
    assert set(bodies) == {b"{}"}
    assert (await world.get(OUTBOX, row.id)).state is RowState.DONE
    before = await world.dump()
    await world.store.orders.absorb(delivery, read, NOW)
    assert await world.dump() == before


async def test_a_delivery_that_is_gone_or_unreadable_changes_nothing(world: World) -> None:  # T-T04
    told = facts(paid(), email="max@jiga.test")
    delivery = await world.deliver(told)
    async with world.refuses(NotFound):
        lost = replace(delivery, inbox_id=derived_id(Kind.INBOX, "gone"))
        await world.store.orders.absorb(lost, lambda _: told, NOW)

    def unreadable(_: InboxRow) -> OrderFacts:
        raise ValueError("no order")

    async with world.refuses(ValueError):
        await world.store.orders.absorb(delivery, unreadable, NOW)


async def test_a_refund_that_comes_back_opens_the_purchase_again(world: World) -> None:
    """Refunded before it was credited, and the refund failed: it is paid, and waits for a wallet that has room."""
    await world.fund("max", DOF_MAX - 149_999)
    purchase = await begin(world)
    back, failed = (
        refund(1, 499),
        Report("refund:1:failed", FactKind.REFUND_FAILED, Money(499, "USD"), subject="refund:1"),
    )
    order = await world.absorb(facts(paid(), back, purchase_id=purchase.id))
    closed = await world.get(TRANSACTIONS, purchase.transaction_id)
    assert (order.outcome, closed.status) == (PurchaseStatus.REFUNDED, TransactionStatus.REFUNDED)
    order = await world.absorb(facts(failed, purchase_id=purchase.id))
    reopened = await world.get(TRANSACTIONS, purchase.transaction_id)
    assert (order.outcome, order.applied, order.in_review) == (PurchaseStatus.COMPLETED, ZERO, True)
    assert (reopened.status, reopened.completed_at, reopened.external_reference) == (PENDING, None, purchase.id)


async def test_a_refund_that_comes_back_is_credited_where_the_purchase_began(world: World) -> None:
    purchase = await begin(world)
    failed = Report("refund:1:failed", FactKind.REFUND_FAILED, Money(499, "USD"), subject="refund:1")
    await world.absorb(facts(paid(), refund(1, 499), purchase_id=purchase.id))
    order = await world.absorb(facts(failed, purchase_id=purchase.id))
    done = await world.get(TRANSACTIONS, purchase.transaction_id)
    assert (order.applied, done.status, done.amount) == (Dof(150_000), DONE, 150_000)
    assert [each.id for each in await world.all(TRANSACTIONS)] == [purchase.transaction_id]
