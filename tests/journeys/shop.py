"""A Shopify shop from outside: the orders and refunds that it posts, in Shopify's documented shapes, signed or not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.client import ANSWER_SECONDS, Client
from tests.journeys.server import SECRET

BRONZE, BRONZE_DOF, BRONZE_PRICE = "DOF-150K-BRONZE", 150_000, "4.99"
GOLD, GOLD_DOF, GOLD_PRICE = "DOF-1M-GOLD", 1_100_000, "27.99"


def sign(body: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


@dataclass(frozen=True)
class Order:
    """An order about one purchase. Each method gives the body of a webhook."""

    number: int
    purchase_id: str | None = None
    user_id: str | None = None
    sku: str = BRONZE
    price: str = BRONZE_PRICE
    quantity: int = 1
    currency: str = "USD"
    email: str = "buyer@example.org"
    test: bool = False

    def told(self, **changes: Any) -> bytes:
        """The order as orders/create and orders/paid carry it."""
        carried = {"jiga_purchase_id": self.purchase_id, "jiga_user_id": self.user_id}
        noted = [{"name": name, "value": value} for name, value in carried.items() if value is not None]
        order = {
            "id": self.number,
            "test": self.test,
            "email": self.email,
            "created_at": "2026-11-20T12:00:00-05:00",
            "cancelled_at": None,
            "currency": self.currency,
            "financial_status": "paid",
            "taxes_included": False,
            "total_price": self.price,
            "total_tax": "0.00",
            "total_outstanding": "0.00",
            "payment_gateway_names": ["shopify_payments"],
            "note_attributes": noted,
            "line_items": [{"id": self.number + 1, "sku": self.sku, "quantity": self.quantity, "price": self.price}],
            **changes,
        }
        return json.dumps(order).encode()

    def cancelled(self) -> bytes:
        return self.told(cancelled_at="2026-11-20T13:00:00-05:00", financial_status="refunded")

    def refund(self, amount: str, number: int = 1) -> bytes:
        transaction = {
            "id": number + 7,
            "order_id": self.number,
            "kind": "refund",
            "status": "success",
            "amount": amount,
            "currency": self.currency,
            "test": self.test,
        }
        return json.dumps({"id": number, "order_id": self.number, "transactions": [transaction]}).encode()


async def post(
    http: httpx.AsyncClient, body: bytes, topic: str = "orders/paid", signature: str | None = None
) -> httpx.Response:
    """Deliver a webhook, signed with the shop's secret where no other signature is given."""
    headers = {
        "content-type": "application/json",
        "x-shopify-topic": topic,
        "x-shopify-hmac-sha256": sign(body) if signature is None else signature,
    }
    return await http.post("/webhooks/shopify", content=body, headers=headers, timeout=ANSWER_SECONDS)


async def buy(player: Client, key: str, *, sku: str = BRONZE, quantity: int = 1) -> str:
    """Wish for a package; gives the purchase's id."""
    asked = {"sku": sku, "quantity": quantity, "provider": "SHOPIFY", "idempotencyKey": key}
    bought = await player.act("purchaseDof", asked, "purchase { id checkoutUrl transaction { id status amount } }")
    return str(bought["purchase"]["id"])
