"""A checkout without Shopify: our own page, and the payloads that Shopify would post, in its documented shapes.

Whoever pays on the page makes the store post a signed webhook to itself, so that a local purchase goes through the same
verification, parsing and crediting as one with real money.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from domain.money import Money
from integrations.local.pages import Cart, cart_page
from integrations.shopify import PURCHASE_ATTRIBUTE, USER_ATTRIBUTE, sign

__all__ = ["Cart", "cancel_payload", "order_number", "order_payload", "page", "refund_payload", "sign"]

PATH = "/local/checkout/shopify"


def page(cart: Cart) -> str:
    """The page that stands in for Shopify's checkout."""
    return cart_page("Shopify", PATH, cart, {"pay": "Pay"})


def order_number(*fact: str) -> int:
    """Shopify's id of the thing that the fact names: the same purchase paid twice is one order, and credits once.

    62 bits, as Shopify's may be, so that whoever reads it as a JavaScript number breaks here and not in production.
    """
    digest = hashlib.sha256("\0".join(fact).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 3 | 1 << 61


def order_payload(cart: Cart, *, at: datetime, test: bool, financial_status: str = "paid") -> bytes:
    """The body of orders/create and orders/paid: the cart's price, with no tax, shipping or tip."""
    return _body(_order(cart, at, test) | {"financial_status": financial_status})


def cancel_payload(cart: Cart, *, at: datetime, test: bool, financial_status: str = "refunded") -> bytes:
    """The body of orders/cancelled: the order as `order_payload` gives it, cancelled by the customer `at`."""
    cancelled = {"cancelled_at": at.isoformat(), "cancel_reason": "customer", "financial_status": financial_status}
    return _body(_order(cart, at, test) | cancelled)


def refund_payload(*, purchase_id: str, refund: str, amount: Money, at: datetime, test: bool) -> bytes:
    """The body of refunds/create for the purchase's order. `refund` names the refund: one name is one refund."""
    order_id, refund_id = order_number("order", purchase_id), order_number("refund", purchase_id, refund)
    nothing = _both(Money(0, amount.currency))
    return _body(
        {
            "id": refund_id,
            "admin_graphql_api_id": f"gid://shopify/Refund/{refund_id}",
            "order_id": order_id,
            "created_at": at.isoformat(),
            "processed_at": at.isoformat(),
            "note": None,
            "user_id": None,
            "restock": False,
            "duties": [],
            "total_duties_set": nothing,
            "order_adjustments": [],
            "refund_shipping_lines": [],
            "refund_line_items": [],
            "transactions": [
                {
                    "id": order_number("transaction", purchase_id, refund),
                    "order_id": order_id,
                    "parent_id": order_number("transaction", purchase_id),
                    "kind": "refund",
                    "gateway": "bogus",
                    "status": "success",
                    "message": "Bogus Gateway: Forced success",
                    "created_at": at.isoformat(),
                    "processed_at": at.isoformat(),
                    "test": test,
                    "currency": amount.currency,
                    "amount": amount.decimal,
                }
            ],
        }
    )


def _order(cart: Cart, at: datetime, test: bool) -> dict[str, object]:
    order_id, price, zero = order_number("order", cart.purchase_id), cart.price, Money(0, cart.price.currency)
    when, nothing = at.isoformat(), _both(zero)
    return {
        "id": order_id,
        "admin_graphql_api_id": f"gid://shopify/Order/{order_id}",
        "name": f"#{order_id % 10_000}",
        "number": order_id % 10_000,
        "order_number": order_id % 10_000,
        "test": test,
        "source_name": "web",
        "created_at": when,
        "updated_at": when,
        "processed_at": when,
        "cancelled_at": None,
        "cancel_reason": None,
        "email": cart.email,
        "contact_email": cart.email,
        "customer": {"id": order_number("customer", cart.user_id), "email": cart.email, "verified_email": True},
        "currency": price.currency,
        "presentment_currency": price.currency,
        "taxes_included": False,
        "total_line_items_price": price.decimal,
        "total_discounts": zero.decimal,
        "subtotal_price": price.decimal,
        "total_tax": zero.decimal,
        "total_shipping_price_set": nothing,
        "total_tip_received": zero.decimal,
        "total_price": price.decimal,
        "total_price_set": _both(price),
        "current_total_price": price.decimal,
        "total_outstanding": zero.decimal,
        "payment_gateway_names": ["bogus"],
        "note_attributes": [
            {"name": PURCHASE_ATTRIBUTE, "value": cart.purchase_id},
            {"name": USER_ATTRIBUTE, "value": cart.user_id},
        ],
        "line_items": [_line(cart)],
        "shipping_lines": [],
        "discount_codes": [],
        "refunds": [],
    }


def _line(cart: Cart) -> dict[str, object]:
    each = Money(cart.price.minor_units // max(cart.quantity, 1), cart.price.currency)
    return {
        "id": order_number("line", cart.purchase_id),
        "variant_id": order_number("variant", cart.sku),
        "product_id": order_number("product", cart.sku),
        "sku": cart.sku,
        "title": cart.sku,
        "quantity": cart.quantity,
        "current_quantity": cart.quantity,
        "price": each.decimal,
        "price_set": _both(each),
        "total_discount": Money(0, cart.price.currency).decimal,
        "requires_shipping": False,
        "taxable": False,
        "gift_card": False,
        "product_exists": True,
    }


def _both(money: Money) -> dict[str, dict[str, str]]:
    """An amount as Shopify tells it: in the shop's currency and in the buyer's, which are one here."""
    told = {"amount": money.decimal, "currency_code": money.currency}
    return {"shop_money": told, "presentment_money": told}


def _body(payload: dict[str, object]) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()
