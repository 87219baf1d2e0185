"""Shopify's books tell the webhooks' facts, whole, in pages, through rate limits (T-W22, T-F08)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Unavailable
from domain.money import Dof, Money
from domain.orders import FactKind, Order, OrderFacts, absorb
from domain.purchases import Rail
from firestore.collections import ORDERS
from firestore.memory import MemoryBackend
from functions.schedule.rounds import reconcile
from integrations.services import OrderSource
from integrations.shopify import read_order
from integrations.shopify_admin import AdminApi
from integrations.shopify_orders import PAGE, ShopifyOrders, read_admin_order
from tests.integrations.shopify_stand_in import (
    SHOP,
    THROTTLED,
    TOKEN,
    Answer,
    StandIn,
    admin_order,
    shop_of,
    standing_in,
)
from tests.journeys import shop as journey
from tests.make import NOW, PACKAGES, STEADY, World, user_id

PAYLOADS = Path(__file__).parent.parent / "payloads"
SINCE, UNTIL = datetime(2026, 11, 18, 12, tzinfo=UTC), datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[StandIn]:
    async with standing_in() as made:
        yield made


@pytest_asyncio.fixture
async def source(shop: StandIn) -> AsyncIterator[ShopifyOrders]:
    async def pause(seconds: float) -> None:
        await asyncio.sleep(0)

    api = AdminApi(SHOP, TOKEN, site=shop.site, pause=pause)
    yield ShopifyOrders(api, shop=SHOP, money_is_live=True)
    await api.close()


def stored(name: str) -> dict[str, Any]:
    return dict(json.loads((PAYLOADS / f"shopify_{name}.json").read_text("utf-8")))


def order(number: int, **changes: Any) -> dict[str, Any]:
    return dict(json.loads(journey.Order(number).told(**changes)))


def refund(number: int, amounts: Sequence[str] = ("1.00",), refund_number: int = 1) -> dict[str, Any]:
    made = json.loads(journey.Order(number).refund("0", refund_number))
    (transaction,) = made["transactions"]
    return {**made, "transactions": [{**transaction, "amount": each} for each in amounts]}


async def told(source: OrderSource) -> list[OrderFacts]:
    return [facts async for facts in source.orders(SINCE, UNTIL)]


# ---- one order, two doors


def webhooks(paid: dict[str, Any], *refunds: dict[str, Any]) -> list[OrderFacts]:
    topic = "orders/cancelled" if paid["cancelled_at"] else "orders/paid"
    return [
        read_order(topic, SHOP, json.dumps(paid).encode()),
        *(read_order("refunds/create", SHOP, json.dumps(each).encode()) for each in refunds),
    ]


def resolved(made: dict[str, Any]) -> dict[str, Any]:
    """As it comes over the wire: nothing left to call."""
    return {
        name: _resolve(value(first=250)) if callable(value) else value for name, value in made.items()
    }  # every list here is shorter


def _resolve(value: Any) -> Any:
    if isinstance(value, list):
        return [resolved(each) for each in value]
    return value


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_stored_order_is_told_as_its_webhooks_told_it(cancelled: bool) -> None:
    paid, given_back = stored("orders_cancelled" if cancelled else "orders_paid"), stored("refunds_create")
    facts = read_admin_order(SHOP, resolved(admin_order(paid, given_back)))
    expected = webhooks(paid, given_back)
    assert {each.key for each in facts.reports} == {"paid", "refund:929361463001", *(["cancel"] if cancelled else [])}
    assert facts.reports == tuple(report for each in expected for report in each.reports)
    assert (facts.order_id, facts.purchase_id, facts.user_hint, facts.email, facts.test) == (
        expected[0].order_id,
        expected[0].purchase_id,
        expected[0].user_hint,
        expected[0].email,
        expected[0].test,
    )


def test_a_currency_without_hundredths_keeps_its_amounts() -> None:
    paid = order(1, currency="JPY", total_price="500", total_tax="0", total_outstanding="0")
    back = refund(1, ["120"])
    back["transactions"][0]["currency"] = "JPY"
    made = resolved(admin_order(paid, back))
    assert made["totalPriceSet"]["shopMoney"]["amount"] == "500.0"
    (payment, given) = read_admin_order(SHOP, made).reports
    assert (payment.gross, given.money) == (Money(500, "JPY"), Money(120, "JPY"))
    assert (payment, given) == tuple(report for each in webhooks(paid, back) for report in each.reports)


AMOUNTS = st.integers(0, 2_000).map(lambda units: f"{units // 100}.{units % 100:02}")
CURRENCIES = st.sampled_from(["USD", "USD", "USD", "EUR"])


@st.composite
def orders(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    paid = order(
        7,
        financial_status=draw(st.sampled_from(["paid", "partially_refunded", "refunded", "pending", "voided", None])),
        cancelled_at=draw(st.sampled_from([None, "2026-11-20T13:00:00Z"])),
        currency=draw(CURRENCIES),
        total_price=draw(st.sampled_from(["4.99", "5.39", "14.99", "500.00"])),
        current_total_price=draw(st.sampled_from([None, None, "4.99", "0.00"])),
        total_tax=draw(st.sampled_from(["0.00", "0.40"])),
        taxes_included=draw(st.booleans()),
        total_outstanding=draw(st.sampled_from(["0.00", "1.00", "-1.00"])),
        payment_gateway_names=draw(st.sampled_from([["shopify_payments"], ["gift_card"], []])),
        line_items=draw(
            st.lists(
                st.fixed_dictionaries(
                    {
                        "sku": st.sampled_from(["DOF-150K-BRONZE", "DOF-500K-SILVER", "x", None]),
                        "quantity": st.integers(0, 3),
                    }
                ),
                max_size=3,
            )
        ),
    )
    back = [refund(7, draw(st.lists(AMOUNTS, max_size=3)), number) for number in range(draw(st.integers(0, 3)))]
    for number, each in enumerate(back, 1):
        each["id"] = number
        for transaction in each["transactions"]:
            transaction |= {
                "kind": draw(st.sampled_from(["refund", "refund", "void"])),
                "status": draw(st.sampled_from(["success", "success", "pending", "failure"])),
                "currency": draw(CURRENCIES),
            }
        if draw(st.booleans()):
            money = {"amount": "1.00", "currency_code": paid["currency"]}
            each["refund_line_items"] = [{"subtotal_set": {"shop_money": money}}]
    return paid, back


@STEADY
@given(made=orders(), data=st.data())
def test_webhooks_and_books_in_any_order_make_one_state(
    made: tuple[dict[str, Any], list[dict[str, Any]]], data: st.DataObject
) -> None:  # T-W22
    paid, back = made
    posted = webhooks(paid, *back)
    books = read_admin_order(SHOP, resolved(admin_order(paid, *back)))
    begun = Order(books.order_id, Rail.SHOPIFY, SHOP, books.reference, NOW)

    def state(*all_told: OrderFacts) -> Order:
        made = begun
        for each in all_told:
            made = absorb(made, each, PACKAGES, NOW)
        return made

    by_webhook = state(*posted)
    assert state(*posted, books) == by_webhook  # the books add nothing that a webhook has told
    shuffled = data.draw(st.permutations([*posted, books]))
    lost = data.draw(st.lists(st.sampled_from(posted), unique_by=id))
    left = state(*(each for each in shuffled if each is books or each not in lost))
    for other in (state(*shuffled), left, state(books)):
        assert (other.facts, other.target, other.doubts, other.outcome) == (
            by_webhook.facts,
            by_webhook.target,
            by_webhook.doubts,
            by_webhook.outcome,
        )


# ---- many orders


async def test_the_window_is_read_page_by_page(shop: StandIn, source: ShopifyOrders) -> None:
    shop.root = shop_of(*(admin_order(order(number)) for number in range(1, 2 * PAGE + 4)))
    assert [each.reference for each in await told(source)] == [str(number) for number in range(1, 2 * PAGE + 4)]
    assert [each.variables["after"] for each in shop.asked] == [None, str(PAGE), str(2 * PAGE)]
    assert {each.variables["query"] for each in shop.asked} == {
        "updated_at:>='2026-11-18T12:00:00Z' updated_at:<='2026-11-20T12:00:00Z'"
    }


async def test_a_rate_limit_holds_up_one_page_and_the_reading_goes_on_at_its_cursor(
    shop: StandIn, source: ShopifyOrders
) -> None:  # T-F08
    shop.root = shop_of(*(admin_order(order(number)) for number in range(1, 2 * PAGE + 1)))
    shop.instead = {0: Answer(429, ""), 2: THROTTLED, 3: Answer(503), 4: Answer(429, "", {"Retry-After": "1"})}
    assert len(await told(source)) == 2 * PAGE
    assert [each.variables["after"] for each in shop.asked] == [None, None, str(PAGE), str(PAGE), str(PAGE), str(PAGE)]


async def test_a_shop_that_stays_down_ends_the_round_after_what_was_read(
    shop: StandIn, source: ShopifyOrders
) -> None:  # T-F08
    shop.root = shop_of(*(admin_order(order(number)) for number in range(1, 2 * PAGE + 1)))
    shop.instead = {number: Answer(503) for number in range(1, 100)}
    seen: list[str] = []

    async def read() -> None:
        async for each in source.orders(SINCE, UNTIL):
            seen.append(each.reference)

    with pytest.raises(Unavailable):
        await read()
    assert seen == [str(number) for number in range(1, PAGE + 1)]


async def test_what_a_page_cuts_off_is_asked_for(shop: StandIn, source: ShopifyOrders) -> None:
    many_lines = order(1, line_items=[{"sku": "DOF-150K-BRONZE", "quantity": 1}] * 40, total_price="199.60")
    many_refunds = [refund(2, refund_number=number) for number in range(1, 31)]
    many_transactions = refund(3, ["0.10"] * 10)
    shop.root = shop_of(
        admin_order(many_lines), admin_order(order(2), *many_refunds), admin_order(order(3), many_transactions)
    )
    first, second, third = await told(source)
    (paid,) = first.reports
    assert (len(paid.lines), paid.money) == (40, Money(19960, "USD"))
    assert [each.key for each in second.reports] == ["paid", *(f"refund:{number}" for number in range(1, 31))]
    assert third.reports[1].money == Money(100, "USD")


async def test_what_tells_nothing_is_left_out(shop: StandIn, source: ShopifyOrders) -> None:
    odd = admin_order(order(3))
    shop.root = shop_of(
        admin_order(order(1, financial_status="pending")),
        admin_order(order(2, test=True)),  # test money never counts in a live store
        {**odd, "legacyResourceId": "x"},
        admin_order(order(4)),
    )
    assert [each.reference for each in await told(source)] == ["4"]


async def test_a_cursor_that_stands_still_ends_the_reading(shop: StandIn, source: ShopifyOrders) -> None:
    page = {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": "same"}}
    shop.root = {"orders": lambda **_: page}
    with pytest.raises(Unavailable, match="not where"):
        await told(source)
    assert len(shop.asked) == 2


# ---- the round


async def test_a_lost_webhook_is_mended_once(shop: StandIn, source: ShopifyOrders) -> None:  # T-W22
    world = World(MemoryBackend(), rehearse=False)
    await world.open()
    lost = order(1, email="max@jiga.test")
    shop.root = shop_of(admin_order(lost))
    sources: list[OrderSource] = [source]
    assert await reconcile(world.store, sources, True, timedelta(hours=48), NOW) == 1
    assert await world.wallet("max") == (150_000, 0, 0)
    before = await world.dump()
    assert await reconcile(world.store, sources, True, timedelta(hours=48), NOW) == 0
    for late in webhooks(lost):
        await world.absorb(late)
    assert await world.wallet("max") == (150_000, 0, 0)
    (made,) = await world.all(ORDERS)
    assert (made.user_id, made.applied) == (user_id("max"), Dof(150_000))
    assert {path: data for path, data in (await world.dump()).items() if not path.startswith("inbox/")} == before
    shop.root = shop_of(admin_order(lost, refund(1, ["4.99"])))
    assert await reconcile(world.store, sources, True, timedelta(hours=48), NOW) == 1
    assert await world.wallet("max") == (0, 0, 0)
    (made,) = await world.all(ORDERS)
    assert {each.kind for each in made.facts.values()} == {FactKind.PAID, FactKind.REFUND}
    await world.check()
