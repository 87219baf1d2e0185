"""A stand-in for a shop's Admin GraphQL API on this machine: it resolves documents over plain data."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from graphql import DocumentNode, FieldNode, FragmentDefinitionNode, OperationDefinitionNode, parse
from graphql.utilities import value_from_ast_untyped

SHOP, TOKEN = "jiga.myshopify.com", "shpat_canary0123456789"
PATH = "/admin/api/2026-10/graphql.json"


@dataclass(frozen=True)
class Asked:
    path: str
    headers: dict[str, str]
    document: str
    variables: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """Said instead of resolving: a status, its headers, a body."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after_seconds: float = 0


THROTTLED = Answer(
    200,
    {
        "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
        "extensions": {
            "cost": {
                "requestedQueryCost": 712,
                "actualQueryCost": None,
                "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 112, "restoreRate": 100.0},
            }
        },
    },
)


@dataclass
class StandIn:
    """`root` holds what queries and mutations find: values, or functions of a field's arguments. `instead` gives, by
    the number of a request, what is said in place of an answer."""

    root: dict[str, Any] = field(default_factory=dict)
    instead: dict[int, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    site: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        sent = json.loads(await reader.readexactly(int(headers["content-length"])))
        number = len(self.asked)
        self.asked.append(Asked(head[0].split(" ")[1], headers, sent["query"], sent["variables"]))
        answer = self.instead.get(number) or Answer(200, {"data": self.resolve(sent["query"], sent["variables"])})
        await asyncio.sleep(answer.after_seconds)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        told = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{k}: {v}" for k, v in (told | answer.headers).items())]
        with contextlib.suppress(ConnectionError):  # the caller gave up
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        writer.close()

    def resolve(self, text: str, variables: Mapping[str, Any]) -> Any:
        document = parse(text)
        (operation,) = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
        return _select(document, operation, self.root, variables)


def connection(listed: list[Any], first: int | None = None, after: str | None = None) -> dict[str, Any]:
    """A page of a list as a connection; a cursor is a place in the list."""
    start = int(after) if after else 0
    end = min(len(listed), start + (first or len(listed)))
    return {"nodes": listed[start:end], "pageInfo": {"hasNextPage": end < len(listed), "endCursor": str(end)}}


@asynccontextmanager
async def standing_in(root: dict[str, Any] | None = None, **instead: Answer) -> AsyncIterator[StandIn]:
    stand_in = StandIn(root or {})
    server = await asyncio.start_server(stand_in.serve, "127.0.0.1", 0)
    stand_in.site = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield stand_in
    finally:
        server.close()


def _select(document: DocumentNode, node: Any, source: Any, variables: Mapping[str, Any]) -> Any:
    """What the node's selections find in the source; a field that it does not hold is a mistake of the test."""
    if node.selection_set is None or source is None:
        return source
    if isinstance(source, list):
        return [_select(document, node, each, variables) for each in source]
    found: dict[str, Any] = {}
    for selection in node.selection_set.selections:
        if isinstance(selection, FieldNode):
            value = source[selection.name.value]
            if callable(value):
                value = value(
                    **{a.name.value: value_from_ast_untyped(a.value, variables) for a in selection.arguments or ()}
                )
            found[selection.name.value] = _select(document, selection, value, variables)
        else:
            (fragment,) = [
                each
                for each in document.definitions
                if isinstance(each, FragmentDefinitionNode) and each.name.value == selection.name.value
            ]
            found |= _select(document, fragment, source, variables)
    return found


# ---- orders as the Admin API has them, made of the webhooks' bodies about the same order


def admin_order(order: Mapping[str, Any], *refunds: Mapping[str, Any]) -> dict[str, Any]:
    """An order of the webhooks, with its refunds, as the Admin API has it: amounts with their own number of zeros."""
    currency = order["currency"]
    shipping = (order.get("total_shipping_price_set") or {"shop_money": {"amount": "0.00"}})["shop_money"]["amount"]
    status = order["financial_status"]
    lines = [{"sku": each["sku"], "quantity": each["quantity"]} for each in order["line_items"]]
    given = [_admin_refund(each) for each in refunds]
    return {
        "id": f"gid://shopify/Order/{order['id']}",
        "legacyResourceId": str(order["id"]),
        "test": order["test"],
        "email": order["email"],
        "cancelledAt": order["cancelled_at"],
        "displayFinancialStatus": status.upper() if status else None,
        "currencyCode": currency,
        "taxesIncluded": order["taxes_included"],
        "paymentGatewayNames": order["payment_gateway_names"],
        "customAttributes": [{"key": each["name"], "value": each["value"]} for each in order["note_attributes"]],
        "totalPriceSet": _bag(order["total_price"], currency),
        "totalTaxSet": _bag(order["total_tax"], currency),
        "totalShippingPriceSet": _bag(shipping, currency),
        "totalTipReceivedSet": _bag(order.get("total_tip_received") or "0.00", currency),
        "currentTotalPriceSet": _bag(order.get("current_total_price") or order["total_price"], currency),
        "totalOutstandingSet": _bag(order.get("total_outstanding") or "0.00", currency),
        "lineItems": lambda first: connection(lines, first),
        "refunds": lambda first: given[:first],
    }


def _admin_refund(refund: Mapping[str, Any]) -> dict[str, Any]:
    transactions = [
        {
            "kind": each["kind"].upper(),
            "status": each["status"].upper(),
            "test": each["test"],
            "amountSet": _bag(each["amount"], each["currency"]),
        }
        for each in refund["transactions"]
    ]
    sold = [{"subtotalSet": _same(each["subtotal_set"])} for each in refund.get("refund_line_items", ())]
    moved = [{"amountSet": _same(each["amount_set"])} for each in refund.get("order_adjustments", ())]
    return {
        "id": f"gid://shopify/Refund/{refund['id']}",
        "legacyResourceId": str(refund["id"]),
        "transactions": lambda first: connection(transactions, first),
        "refundLineItems": lambda first: connection(sold, first),
        "orderAdjustments": lambda first: connection(moved, first),
    }


def _bag(amount: str, currency: str) -> dict[str, Any]:
    money = {"amount": str(float(amount)), "currencyCode": currency}
    return {"shopMoney": money, "presentmentMoney": money}


def _same(both: Mapping[str, Any]) -> dict[str, Any]:
    return _bag(both["shop_money"]["amount"], both["shop_money"]["currency_code"])


def shop_of(*orders: dict[str, Any]) -> dict[str, Any]:
    """The root of a shop with these orders, oldest change first."""
    by_id = {order["id"]: order for order in orders}
    refunds = {each["id"]: each for order in orders for each in order["refunds"](10_000)}
    return {
        "orders": lambda first, after, query, sortKey: connection(list(orders), first, after),
        "order": lambda **asked: by_id.get(asked["id"]),
        "refund": lambda **asked: refunds.get(asked["id"]),
    }
