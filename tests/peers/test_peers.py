"""What went wrong for peers, each case by its repository and number, held against our store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import InsufficientDof, Unavailable
from domain.ledger import EntryKind
from domain.money import Dof, Money
from domain.payouts import PayoutState
from domain.purchases import Purchase, PurchaseStatus, Rail
from domain.transactions import TransactionStatus, TransactionType
from firestore.backend import Query, Unclear
from firestore.collections import ENTRIES, INBOX, ORDERS, OUTBOX, PAYOUTS
from firestore.memory import MemoryBackend
from firestore.rows import RowState
from integrations.local.checkout import Cart, order_payload, refund_payload
from integrations.local.stripe import session_payload
from tests.kill import flows
from tests.kill.house import MAX, Fuse, House, furniture
from tests.make import CANCEL, World, facts, paid, refund, user_id, wish

BRONZE_DOF = 150_000


@pytest_asyncio.fixture
async def world() -> Any:
    made = World(MemoryBackend())
    await made.open("eve")
    yield made
    await made.check()


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> House:
    """The store with its doors and tasks."""
    memory = MemoryBackend()
    await memory.commit(furniture())
    return House(memory, Fuse(), tmp_path)


async def begin(world: World, key: str = "k") -> Purchase:
    wanted = world.store.purchases.wish(user_id("max"), Rail.SHOPIFY, "DOF-150K-BRONZE", 1, key)
    purchase, _ = await world.store.purchases.begin(wanted, "https://jiga.test/cart", world.now)
    return purchase


async def entries(world: World, kind: EntryKind) -> int:
    return sum(entry.kind is kind for entry in await world.all(ENTRIES))


def at_once(backend: MemoryBackend, verb: str, count: int) -> None:
    """Hold the first callers of a verb until so many wait: all have read before one writes."""
    gate, waiting = asyncio.Event(), []

    async def before(called: str) -> None:
        if called == verb and not gate.is_set():
            waiting.append(called)
            if len(waiting) == count:
                gate.set()
            await gate.wait()
        else:
            await asyncio.sleep(0)

    backend.before = before


def failing(verb: str, failure: Callable[[], Exception], times: int) -> Callable[[str], Any]:
    """A hook that fails a verb so many times."""
    left = [failure] * times

    async def hook(called: str) -> None:
        await asyncio.sleep(0)
        if called == verb and left:
            raise left.pop()()

    return hook


async def test_significant_gravitas_autogpt_10672(house: House) -> None:
    """Significant-Gravitas/AutoGPT#10672: the check lay outside the lock, and top-ups were applied twice. Here two
    workers have both read the wallet before one writes it."""
    assert isinstance(house.backend, MemoryBackend)
    await flows.buy(house)
    at_once(house.backend, "commit", 2)
    told = flows.stray("max@jiga.test")
    other = House(house.backend, Fuse(), Path())  # another process: it shares no lane with the first
    await asyncio.gather(*(each.store.orders.reconcile(told, each.now) for each in (house, other)))
    (wallet,) = await house.store.wallets.get_many([MAX])
    assert (wallet.available.units, wallet.version) == (flows.DOF, 1)


async def test_anomalyco_opencode_28402_and_pollinations_10621(world: World) -> None:
    """anomalyco/opencode#28402 and pollinations/pollinations#10621: nothing unique in a payment, and each retry of its
    webhook gave free credits."""
    purchase = await begin(world)
    for _ in range(20):
        await world.absorb(facts(paid(), purchase_id=purchase.id))
    assert await world.wallet("max") == (BRONZE_DOF, 0, 0)
    assert await entries(world, EntryKind.PURCHASE) == 1


@pytest.mark.parametrize("first", ["create", "paid"])
async def test_masumi_network_sokosumi_1846(house: House, first: str) -> None:
    """masumi-network/sokosumi#1846: two different events about one purchase were both credited."""
    await flows.buy(house)
    steps = [flows.created, flows.paid] if first == "create" else [flows.paid, flows.created]
    for step in steps:
        await step(house)
    (wallet,) = await house.store.wallets.get_many([MAX])
    assert (wallet.available.units, wallet.version) == (flows.DOF, 1)


async def test_masumi_network_sokosumi_1846_at_stripe(house: House) -> None:
    """masumi-network/sokosumi#1846, with Stripe's two events for one payment that came late."""
    await flows.buy_by_stripe(house)
    for choice in ("pay_later", "money_came", "pay", "money_came"):
        await house.stripe(session_payload(flows.CART, choice, at=house.now, test=True))
    (wallet,) = await house.store.wallets.get_many([MAX])
    assert (wallet.available.units, wallet.version) == (flows.DOF, 1)


async def test_danny_avila_librechat_13812(house: House) -> None:
    """danny-avila/LibreChat#13812 (T-W08): an event was marked as seen before its credit, and a failed credit was never
    tried again. Here the record stands, the credit fails, and neither the provider's retry nor the sweep finds it done.
    """
    assert isinstance(house.backend, MemoryBackend)
    await flows.buy(house)
    down = False

    async def before(verb: str) -> None:
        await asyncio.sleep(0)
        if down and verb == "commit":
            raise Unavailable("down")

    house.backend.before = before
    work, house.work = house.work, _nothing  # type: ignore[method-assign]
    await flows.paid(house)
    house.work, down = work, True  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await house.work()
    down = False
    (row,) = [OUTBOX.decode(each) for each in await _all(house, OUTBOX) if OUTBOX.decode(each).task]
    assert row.state is RowState.PENDING
    await flows.paid(house)
    assert (await house.store.wallets.get_many([MAX]))[0].available.units == 0
    house.now += timedelta(minutes=1)
    await house.sweep()
    assert (await house.store.wallets.get_many([MAX]))[0].available.units == flows.DOF


async def test_saleor_14648_and_19220(world: World) -> None:
    """saleor/saleor#14648 and #19220 (T-W07): a webhook and the client's own confirmation at one instant were counted
    twice. Ours has one way to tell of money, whoever tells: here the webhook and the provider's books, ten times each.
    """
    purchase = await begin(world)
    told = facts(paid(), purchase_id=purchase.id)
    delivered = [await world.deliver(told) for _ in range(10)]
    hooks = (world.store.orders.absorb(each, lambda _: told, world.now) for each in delivered)
    books = (world.store.orders.reconcile(told, world.now) for _ in range(10))
    await asyncio.gather(*hooks, *books)
    assert await world.wallet("max") == (BRONZE_DOF, 0, 0)
    assert await entries(world, EntryKind.PURCHASE) == 1


async def test_saleor_18196(house: House) -> None:
    """saleor/saleor#18196 (T-F12): the record of a failed event was rolled back with the failure that it records. Here
    the work of a delivery raises: the delivery stays recorded, and its row is owed until it is dead, and seen."""
    await flows.buy(house)

    async def broken(*args: Any) -> None:
        raise RuntimeError("a bug of ours")

    house.caller.tasks = {**house.caller.tasks, "apply_order": broken}
    with pytest.raises(RuntimeError):
        await flows.paid(house)
    assert len(await _all(house, INBOX)) == 1
    while not (dead := (await house.store.outbox.dead(10, None)).nodes):
        house.now += timedelta(hours=1)
        for row in await house.store.outbox.due(house.now):
            await house.store.outbox.postpone(row.id, house.now)
    assert [row.task for row in dead] == ["apply_order"]
    assert len(await _all(house, INBOX)) == 1


@pytest.mark.parametrize("places", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
async def test_saleor_19645_and_juspay_hyperswitch_13182(world: World, places: tuple[int, ...]) -> None:
    """saleor/saleor#19645 and juspay/hyperswitch#13182: refunds at once exceeded what was captured."""
    purchase = await begin(world)
    told = [paid(), refund(1, 300), refund(2, 300)]
    deliveries = [facts(told[place], purchase_id=purchase.id) for place in places]
    await asyncio.gather(*(world.absorb(each) for each in deliveries))
    order = await world.get(ORDERS, deliveries[0].order_id)
    assert (order.applied.units, order.outcome) == (0, PurchaseStatus.REFUNDED)
    assert await world.wallet("max") == (0, 0, 0)


async def test_medusajs_medusa_13301(world: World) -> None:
    """medusajs/medusa#13301: two workflows captured one payment, and the good order was refunded. Here two tell of the
    payment at once: it is credited, and nothing takes it back."""
    purchase = await begin(world)
    told = facts(paid(), purchase_id=purchase.id)
    await asyncio.gather(world.absorb(told), world.store.orders.reconcile(told, world.now), world.absorb(told))
    order = await world.get(ORDERS, told.order_id)
    assert (order.outcome, order.entries, order.in_review) == (PurchaseStatus.COMPLETED, 1, False)
    assert await entries(world, EntryKind.RECLAIM) == 0
    assert await world.wallet("max") == (BRONZE_DOF, 0, 0)


async def test_medusajs_medusa_16681_and_16292(house: House) -> None:
    """medusajs/medusa#16681 and #16292 (T-F07): on the provider's timeout the row was deleted, and the retry came with
    a new key: money went out twice. Here the bank takes a transfer, its answer is lost, and the retry has the same key;
    one that is a day old looks for the earlier transfer first."""
    for step in flows.EARNED:
        await step(house)
    keys: list[str] = []
    take, lost = house.bank.transfer, [True, True]

    async def transfer(*, account_id: str, amount: Money, payout_id: str, key: str) -> str:
        keys.append(key)
        taken = await take(account_id=account_id, amount=amount, payout_id=payout_id, key=key)
        if lost:
            lost.pop()
            raise Unavailable("the bank's answer was lost")
        return taken

    house.bank.transfer = transfer  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await flows.request_payout(house)
    before = [PAYOUTS.decode(each) for each in await _all(house, PAYOUTS)]
    assert [each.state for each in before] == [PayoutState.REQUESTED]
    house.now += timedelta(minutes=5)
    with pytest.raises(Unavailable):
        await house.round()
    house.now += timedelta(hours=30)
    await house.round()
    (payout,) = [PAYOUTS.decode(each) for each in await _all(house, PAYOUTS)]
    assert payout.state is PayoutState.SENT
    assert keys == [before[0].transfer_key] * 2
    assert house.bank.moved() == {f"transfer.{payout.id}": 1}


async def test_antiwork_gumroad_6193(house: House) -> None:
    """antiwork/gumroad#6193: a webhook came before our own commit, and partial refunds were recorded several times."""
    guest = Cart(flows.PURCHASE, MAX, "guest@elsewhere.test", "DOF-S", 1, flows.PRICE)
    for _ in range(3):
        await house.shopify("orders/paid", order_payload(guest, at=house.now, test=True))
        await flows.refunded(house)
    assert (await house.store.orders.review_queue(5, None)).nodes != ()
    await flows.buy(house)
    order_id = flows.derived_order()
    found = [ORDERS.decode(each) for each in await _all(house, ORDERS)]
    assert [(each.id, len(each.facts)) for each in found] == [(order_id, 3)]
    # The next that is told of the order finds its purchase: a refund that was told three times already.
    body = refund_payload(purchase_id=flows.PURCHASE, refund="one", amount=Money(200, "USD"), at=house.now, test=True)
    await house.shopify("refunds/create", body + b" ")
    (wallet,) = await house.store.wallets.get_many([MAX])
    assert wallet.available.units == flows.DOF * (499 - 300) // 499
    (told,) = (await house.store.wallets.page_of_user(MAX, None, 10, None)).nodes
    assert (told.type, told.status) == (TransactionType.PURCHASE, TransactionStatus.COMPLETED)


async def test_spree_13734(world: World) -> None:
    """spree/spree#13734: requests in parallel spent a gift card more than once."""
    listing = await world.open()
    await world.fund("max", 3 * 6_000 + 1)
    hires = [world.store.sessions.hire(user_id("max"), wish(listing, f"hire {n}"), world.now) for n in range(12)]
    gifts = [
        world.store.wallets.transfer(user_id("max"), user_id("eve"), Dof(6_000), None, f"gift {n}", world.now)
        for n in range(12)
    ]
    answers = await asyncio.gather(*hires, *gifts, return_exceptions=True)
    assert sum(isinstance(each, tuple) for each in answers) == 3
    assert sum(isinstance(each, InsufficientDof) for each in answers) == 21
    available, held, debt = await world.wallet("max")
    assert (available, debt) == (1, 0)
    assert held + (await world.wallet("eve"))[0] == 18_000


async def test_lerianstudio_midaz_2317(world: World) -> None:
    """LerianStudio/midaz#2317 (invariant I3): after a cancellation something was available and the overdraft was used,
    at once. Here a hire is released into a debt that a cancellation made."""
    listing = await world.open()
    purchase = await begin(world)
    await world.absorb(facts(paid(), purchase_id=purchase.id))
    session, _ = await world.store.sessions.hire(user_id("max"), wish(listing), world.now)
    await world.store.wallets.transfer(user_id("max"), user_id("eve"), Dof(140_000), None, "gift", world.now)
    assert await world.wallet("max") == (4_000, 6_000, 0)
    await world.absorb(facts(CANCEL, purchase_id=purchase.id))
    assert await world.wallet("max") == (0, 6_000, 146_000)
    world.now += timedelta(minutes=9)
    await world.store.sessions.end(user_id("max"), session.id, "end", world.now)
    assert await world.wallet("max") == (0, 0, 146_000 - 5_100)
    await world.fund("max", 141_000)
    assert await world.wallet("max") == (100, 0, 0)


async def test_a_lost_reply_is_not_a_second_gift(world: World) -> None:
    """The way of all double credits: the commit stands, the reply is lost, the caller asks again."""
    assert isinstance(world.backend, MemoryBackend)
    world.rehearse = False
    purchase = await begin(world)
    told = await world.deliver(facts(paid(), purchase_id=purchase.id))
    world.backend.after = failing("commit", Unclear, 3)
    await world.store.orders.absorb(told, lambda _: facts(paid(), purchase_id=purchase.id), world.now)
    assert await world.wallet("max") == (BRONZE_DOF, 0, 0)


async def _nothing() -> None:
    return None


async def _all(house: House, collection: Any) -> list[Any]:
    return await house.backend.query(Query(collection.name))
