"""Stripe's events without the person that they name."""

from __future__ import annotations

import json

from integrations.payloads import Malformed, parse_object

# docs.stripe.com/api: where a checkout session, a charge, a dispute or an account names its customer.
_PERSONAL = frozenset(
    {
        "address",
        "billing_details",
        "customer_address",
        "customer_details",
        "customer_email",
        "customer_email_address",
        "customer_name",
        "customer_phone",
        "customer_purchase_ip",
        "customer_shipping",
        "customer_signature",
        "email",
        "individual",
        "name",
        "phone",
        "receipt_email",
        "receipt_url",
        "shipping",
        "shipping_details",
    }
)


def without_person(body: bytes) -> bytes:
    """A delivery's body, less all that names its customer, at any depth: the facts of the order stay as they are."""
    try:
        return json.dumps(_kept(parse_object(body))).encode()
    except Malformed:
        return b""


def _kept(value: object) -> object:
    if isinstance(value, dict):
        return {name: _kept(each) for name, each in value.items() if name not in _PERSONAL}
    return [_kept(each) for each in value] if isinstance(value, list) else value
