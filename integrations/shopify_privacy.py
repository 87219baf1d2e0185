"""Shopify's privacy webhooks, and its order webhooks without the person.

Shapes: shopify.dev/docs/apps/build/compliance/privacy-law-compliance. The topic is not signed, so a captured body could
be posted under another one: what is asked must fit the body's own shape, or a request for data would erase them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

from domain.privacy import Ask, PrivacyRequest
from domain.purchases import Rail
from integrations.payloads import Malformed, object_at, parse_object, readable_email, shown
from integrations.shopify import ORDER_TOPICS, PURCHASE_ATTRIBUTE, REFUND_TOPIC, USER_ATTRIBUTE

PRIVACY_TOPICS: Mapping[str, Ask] = {
    "customers/data_request": Ask.DATA,
    "customers/redact": Ask.FORGET_CUSTOMER,
    "shop/redact": Ask.FORGET_SHOP,
}

# What of each topic's body is its own: a body with another's is no such request.
_OWN = {Ask.DATA: "orders_requested", Ask.FORGET_CUSTOMER: "orders_to_redact", Ask.FORGET_SHOP: None}
_ID_MAX = 10**32  # as for orders: beyond 32 digits it is no id

_Shape: TypeAlias = "Mapping[str, _Shape] | None"
_SHOP_MONEY: Mapping[str, _Shape] = {"shop_money": {"amount": None, "currency_code": None}}
_ORDER: Mapping[str, _Shape] = dict.fromkeys(
    (
        "id",
        "test",
        "currency",
        "cancelled_at",
        "current_total_price",
        "financial_status",
        "payment_gateway_names",
        "taxes_included",
        "total_outstanding",
        "total_price",
        "total_tax",
        "total_tip_received",
    )
) | {
    "line_items": {"sku": None, "quantity": None},
    "note_attributes": {"name": None, "value": None},
    "shipping_lines": {"price": None},
    "total_shipping_price_set": _SHOP_MONEY,
}
_REFUND: Mapping[str, _Shape] = {
    "id": None,
    "order_id": None,
    "order_adjustments": {"amount_set": _SHOP_MONEY},
    "refund_line_items": {"subtotal_set": _SHOP_MONEY},
    "total_duties_set": _SHOP_MONEY,
    "transactions": {"amount": None, "currency": None, "kind": None, "status": None, "test": None},
}
_OURS = (PURCHASE_ATTRIBUTE, USER_ATTRIBUTE)


def read_privacy(topic: str, shop: str, body: bytes) -> PrivacyRequest:
    """What a verified privacy webhook asks. `shop` is the shop that the store is set up for. Raises Malformed."""
    ask = PRIVACY_TOPICS[topic]
    told = parse_object(body)
    named = told.get("shop_domain")
    if not isinstance(named, str) or not named:
        raise Malformed(f"its shop_domain is {shown(named)}, which is no shop")
    _expect_own_shape(ask, told)
    if ask is Ask.FORGET_SHOP:
        return PrivacyRequest(ask, Rail.SHOPIFY, shop.lower(), named.lower())
    customer = object_at(told, "customer")
    number = customer.get("id")
    email = readable_email(customer.get("email"))
    if email is None and number is None:
        raise Malformed("its customer has neither an e-mail nor an id")
    return PrivacyRequest(
        ask,
        Rail.SHOPIFY,
        shop.lower(),
        named.lower(),
        email,
        None if number is None else _id(number, "customer"),
        _references(told, _OWN[ask] or ""),
    )


def without_person(topic: str, body: bytes) -> bytes:
    """A delivery's body with nothing left but what `read_order` looks at, less the e-mail: the facts stay the same.

    Of a delivery that nobody reads again, nothing is left.
    """
    if topic not in ORDER_TOPICS and topic != REFUND_TOPIC:
        return b""
    try:
        told = parse_object(body)
    except Malformed:
        return b""
    shape = _REFUND if topic == REFUND_TOPIC else _ORDER
    kept = {name: _keep(value, shape[name]) for name, value in told.items() if name in shape}
    attributes = kept.get("note_attributes")
    if attributes is not None:
        # The other attributes of a cart are a buyer's own words.
        listed = attributes if isinstance(attributes, list) else []
        kept["note_attributes"] = [each for each in listed if isinstance(each, dict) and each.get("name") in _OURS]
    return json.dumps(kept).encode()


def _expect_own_shape(ask: Ask, told: Mapping[str, object]) -> None:
    own = _OWN[ask]
    if own is not None and own not in told:
        raise Malformed(f"it has no {own}")
    foreign = {name for name in (*_OWN.values(), None if own else "customer") if name and name != own}
    for name in sorted(foreign):
        if name in told:
            raise Malformed(f"it has {name}, which belongs to another topic")


def _references(told: Mapping[str, object], name: str) -> tuple[str, ...]:
    listed = told.get(name)
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise Malformed(f"its {name} is {shown(listed)}, which is no list")
    return tuple(_id(each, name) for each in listed)


def _id(value: object, name: str) -> str:
    if type(value) is not int or not 0 < value < _ID_MAX:
        raise Malformed(f"its {name} has {shown(value)}, which is no id of Shopify's")
    return str(value)


def _keep(value: object, shape: _Shape) -> object:
    if shape is None:
        return value
    if isinstance(value, list):
        return [_keep(each, shape) for each in value]
    if isinstance(value, dict):
        return {name: _keep(part, shape[name]) for name, part in value.items() if name in shape}
    return value
