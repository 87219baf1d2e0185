"""Shopify's own books, for reconciliation: its orders with their refunds, told as its webhooks tell them.

An order of the Admin API is put into the shape of the webhook's body and read by the same reader, so both doors know
one fact by one key, and what a webhook has told adds nothing here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from domain.errors import Unavailable
from domain.money import money_from_decimal
from domain.orders import FACTS_MAX, LINES_MAX, OrderFacts
from integrations.payloads import Malformed, shown
from integrations.shopify import REFUND_TOPIC, read_order
from integrations.shopify_admin import AdminApi, at, nodes

log = structlog.get_logger(__name__)

PAGE = 10  # orders: with what hangs on them, some 700 of the 1,000 points that one query may cost
LINES, REFUNDS, TRANSACTIONS = 5, 3, 2  # of each order in a page: more than nearly all have; the others are asked for
REFUND_TRANSACTIONS_MAX = 50
PAGES_MAX = 20_000  # 200,000 orders in one window: a shop beyond that makes its windows shorter

FRAGMENTS = """
fragment Told on Order {
  id legacyResourceId test email cancelledAt displayFinancialStatus currencyCode taxesIncluded paymentGatewayNames
  customAttributes { key value }
  totalPriceSet { ...Shop } totalTaxSet { ...Shop } totalShippingPriceSet { ...Shop } totalTipReceivedSet { ...Shop }
  totalOutstandingSet { ...Shop } currentTotalPriceSet { ...Shop }
  lineItems(first: $lines) { nodes { sku quantity } pageInfo { hasNextPage } }
}
fragment Given on Refund {
  id legacyResourceId
  transactions(first: $transactions) {
    nodes { kind status test amountSet { presentmentMoney { amount currencyCode } } } pageInfo { hasNextPage }
  }
  refundLineItems(first: 1) { nodes { subtotalSet { ...Shop } } }
  orderAdjustments(first: 1) { nodes { amountSet { ...Shop } } }
}
fragment Shop on MoneyBag { shopMoney { amount currencyCode } }
"""
ORDERS = (
    """
query Orders($query: String!, $first: Int!, $after: String, $lines: Int!, $refunds: Int!, $transactions: Int!) {
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes { ...Told refunds(first: $refunds) { ...Given } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
    + FRAGMENTS
)
ORDER = """
query Order($id: ID!, $lines: Int!, $refunds: Int!) { order(id: $id) { ...Told refunds(first: $refunds) { id } } }
""" + "".join(f"fragment {part}" for part in FRAGMENTS.split("fragment ")[1:] if not part.startswith("Given"))
REFUND = """
query Refund($id: ID!, $transactions: Int!) { refund(id: $id) { ...Given } }
""" + "".join(f"fragment {part}" for part in FRAGMENTS.split("fragment ")[1:] if not part.startswith("Told"))


class ShopifyOrders:
    """The order source over Shopify (services.OrderSource).

    `money_is_live` says which kind of orders counts, as at the webhooks' door: the other kind is left out. The token
    needs the scope `read_orders`, and `read_all_orders` for a window of more than 60 days.
    """

    def __init__(self, api: AdminApi, *, shop: str, money_is_live: bool) -> None:
        self._api = api
        self._shop = shop
        self._money_is_live = money_is_live

    async def orders(self, since: datetime, until: datetime) -> AsyncIterator[OrderFacts]:
        """Orders that changed in the window and tell something, oldest change first. Raises Unavailable.

        A rate limit holds up the page that met it, and the reading goes on at its cursor. An order that cannot be read
        is logged and left out: the rest of the books must not wait for it.
        """
        asked: dict[str, object] = {
            "query": f"updated_at:>='{_moment(since)}' updated_at:<='{_moment(until)}'",
            "first": PAGE,
            "after": None,
            "lines": LINES,
            "refunds": REFUNDS,
            "transactions": TRANSACTIONS,
        }
        for _ in range(PAGES_MAX):
            data = await self._api.ask(ORDERS, asked)
            for order in nodes(data, "orders"):
                facts = await self._read(order)
                if facts is not None and facts.reports and facts.test != self._money_is_live:
                    yield facts
            if at(data, "orders", "pageInfo", "hasNextPage") is not True:
                return
            cursor = at(data, "orders", "pageInfo", "endCursor")
            if not isinstance(cursor, str) or cursor == asked["after"]:
                raise Unavailable("Shopify's Admin API says that more orders follow, and not where.")
            asked = {**asked, "after": cursor}
        raise Unavailable(f"Shopify has more than {PAGE * PAGES_MAX} orders in the window: make it shorter.")

    async def _read(self, order: Mapping[str, object]) -> OrderFacts | None:
        try:
            return read_admin_order(self._shop, await self._whole(order) if _is_cut(order) else order)
        except Malformed as why:
            log.warning("shopify's books hold what cannot be read", id=shown(order.get("id")), why=str(why)[:200])
            return None

    async def _whole(self, order: Mapping[str, object]) -> Mapping[str, object]:
        """The same order with all its lines and refunds, each refund with all its transactions."""
        asked = {"id": order.get("id"), "lines": LINES_MAX, "refunds": FACTS_MAX}
        whole = at(await self._api.ask(ORDER, asked), "order")
        if not isinstance(whole, dict):
            raise Malformed("it is gone")
        refunds = []
        for each in nodes(whole, "refunds"):
            told = await self._api.ask(REFUND, {"id": each.get("id"), "transactions": REFUND_TRANSACTIONS_MAX})
            refunds.append(at(told, "refund"))
        return {**whole, "refunds": refunds}


def read_admin_order(shop: str, order: Mapping[str, object]) -> OrderFacts:
    """All that an order of the Admin API tells, under the keys of the webhooks' facts. Pure. Raises Malformed."""
    number = _number(order)
    body = {
        "id": number,
        "test": order.get("test"),
        "email": order.get("email"),
        "cancelled_at": order.get("cancelledAt"),
        "financial_status": _lower(order.get("displayFinancialStatus")),
        "currency": order.get("currencyCode"),
        "taxes_included": order.get("taxesIncluded"),
        "payment_gateway_names": order.get("paymentGatewayNames"),
        "note_attributes": [
            {"name": each.get("key"), "value": each.get("value")} for each in nodes(order, "customAttributes")
        ],
        "total_price": _amount(order, "totalPriceSet"),
        "total_tax": _amount(order, "totalTaxSet"),
        "total_shipping_price_set": _shop_money(order.get("totalShippingPriceSet")),
        "total_tip_received": _amount(order, "totalTipReceivedSet"),
        "total_outstanding": _amount(order, "totalOutstandingSet"),
        "current_total_price": _amount(order, "currentTotalPriceSet"),
        "line_items": [
            {"sku": each.get("sku"), "quantity": each.get("quantity")} for each in nodes(order, "lineItems")
        ],
    }
    topic = "orders/paid" if body["cancelled_at"] is None else "orders/cancelled"
    facts = read_order(topic, shop, json.dumps(body).encode())
    given = [
        read_order(REFUND_TOPIC, shop, json.dumps(_refund(number, each)).encode()) for each in nodes(order, "refunds")
    ]
    return replace(facts, reports=(*facts.reports, *(report for each in given for report in each.reports)))


def _refund(order_number: int, refund: Mapping[str, object]) -> dict[str, object]:
    return {
        "id": _number(refund),
        "order_id": order_number,
        "transactions": [
            {
                "kind": _lower(each.get("kind")),
                "status": _lower(each.get("status")),
                "test": each.get("test"),
                "amount": _amount(each, "amountSet", "presentmentMoney"),
                "currency": at(each, "amountSet", "presentmentMoney", "currencyCode"),
            }
            for each in nodes(refund, "transactions")
        ],
        "refund_line_items": [
            {"subtotal_set": _shop_money(each.get("subtotalSet"))} for each in nodes(refund, "refundLineItems")
        ],
        "order_adjustments": [
            {"amount_set": _shop_money(each.get("amountSet"))} for each in nodes(refund, "orderAdjustments")
        ],
    }


def _is_cut(order: Mapping[str, object]) -> bool:
    """Whether a page has left out lines, refunds or transactions of the order."""
    refunds = nodes(order, "refunds")
    more = [at(order, "lineItems", "pageInfo", "hasNextPage")]
    more += [at(each, "transactions", "pageInfo", "hasNextPage") for each in refunds]
    return len(refunds) >= REFUNDS or any(each is True for each in more)


def _shop_money(both: object) -> dict[str, object] | None:
    money = at(both, "shopMoney")
    if not isinstance(money, dict):
        return None
    return {"shop_money": {"amount": _plain(money), "currency_code": money.get("currencyCode")}}


def _amount(holder: Mapping[str, object], name: str, side: str = "shopMoney") -> object:
    return _plain(at(holder, name, side))


def _plain(money: object) -> object:
    """The amount as webhooks write it, "30.00": the Admin API says "30.0", and a doubt quotes what it has read."""
    amount, currency = at(money, "amount"), at(money, "currencyCode")
    read = money_from_decimal(amount, currency) if isinstance(amount, str) and isinstance(currency, str) else None
    return amount if read is None else read.decimal


def _number(resource: Mapping[str, object]) -> int:
    """The id that webhooks use. It comes as text: it may be larger than a JSON number is exact for."""
    told = str(resource.get("legacyResourceId"))
    if not (told.isascii() and told.isdigit() and len(told) <= 32):
        raise Malformed(f"its legacyResourceId is {shown(resource.get('legacyResourceId'))}")
    return int(told)


def _lower(word: object) -> object:
    return word.lower() if isinstance(word, str) else word


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
