"""A checkout without Stripe: our own page, and the events that Stripe would post about a sale, in its shapes.

Whoever chooses on the page makes the store post a signed event to itself, so that a local purchase goes through the
same verification, reading and crediting as one with real money. What payouts post is in `integrations.local.connect`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from domain.money import Money
from integrations.local.pages import Cart, cart_page
from integrations.stripe import sign
from integrations.stripe_events import PURCHASE_METADATA, QUANTITY_METADATA, SKU_METADATA, USER_METADATA
from integrations.stripe_money import stripe_amount

__all__ = [
    "CHOICES",
    "Cart",
    "charge_payload",
    "dispute_payload",
    "event_payload",
    "page",
    "refund_payload",
    "session_payload",
    "sign",
    "stripe_id",
]

PATH = "/local/checkout/stripe"
API_VERSION = "2026-10-28.endive"  # the one that Stripe's library 16.1 speaks
PAGE_TTL = timedelta(hours=24)  # a Checkout Session's own

CHOICES: Mapping[str, tuple[str, str]] = {
    "pay": ("Pay", "checkout.session.completed"),
    "pay_later": ("Pay by bank debit: the money comes later", "checkout.session.completed"),
    "money_came": ("The later money came", "checkout.session.async_payment_succeeded"),
    "money_failed": ("The later money failed", "checkout.session.async_payment_failed"),
    "expire": ("Let the page expire", "checkout.session.expired"),
}
"""What can be done on the page: the button's words, and the event that it posts."""


def page(cart: Cart) -> str:
    """The page that stands in for Stripe's Checkout."""
    return cart_page("Stripe", PATH, cart, {choice: words for choice, (words, _) in CHOICES.items()})


def stripe_id(prefix: str, *fact: str) -> str:
    """Stripe's id of the thing that the fact names: the same purchase paid twice is one payment, and credits once."""
    return f"{prefix}_1{hashlib.sha256(chr(0).join((prefix, *fact)).encode()).hexdigest()[:23]}"


def event_payload(
    event_type: str, about: Mapping[str, object], *, at: datetime, test: bool, account: str | None = None
) -> bytes:
    """The body of an event about an object; `account` is the connected account whose event it is."""
    told = json.dumps(about, ensure_ascii=False, sort_keys=True)
    event: dict[str, object] = {
        "id": stripe_id("evt", event_type, told),
        "object": "event",
        "api_version": API_VERSION,
        "created": _seconds(at),
        "data": {"object": about},
        "livemode": not test,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": event_type,
    }
    if account is not None:
        event["account"] = account
    return json.dumps(event, ensure_ascii=False).encode()


def session_payload(cart: Cart, choice: str, *, at: datetime, test: bool) -> bytes:
    """The event that a choice of `CHOICES` makes Stripe post: the cart's price, with no tax or shipping."""
    return event_payload(CHOICES[choice][1], session_of(cart, choice, at=at, test=test), at=at, test=test)


def charge_payload(cart: Cart, *, refunded: Money, at: datetime, test: bool) -> bytes:
    """The body of charge.refunded; `refunded` is all that was given back so far."""
    total, back = stripe_amount(cart.price), stripe_amount(refunded)
    charge = {
        "id": stripe_id("ch", cart.purchase_id),
        "object": "charge",
        "amount": total,
        "amount_captured": total,
        "amount_refunded": back,
        "balance_transaction": stripe_id("txn", cart.purchase_id),
        "billing_details": {"address": None, "email": cart.email, "name": None, "phone": None, "tax_id": None},
        "captured": True,
        "created": _seconds(at),
        "currency": refunded.currency.lower(),
        "customer": None,
        "description": None,
        "disputed": False,
        "failure_code": None,
        "failure_message": None,
        "livemode": not test,
        "metadata": _metadata(cart),
        "paid": True,
        "payment_intent": stripe_id("pi", cart.purchase_id),
        "payment_method": stripe_id("pm", cart.purchase_id),
        "receipt_email": None,
        "refunded": back == total,
        "status": "succeeded",
        "transfer_group": None,
    }
    return event_payload("charge.refunded", charge, at=at, test=test)


def refund_payload(
    event_type: str,
    *,
    purchase_id: str,
    refund: str,
    amount: Money,
    at: datetime,
    test: bool,
    status: str = "succeeded",
) -> bytes:
    """The body of refund.created, refund.updated, refund.failed and charge.refund.updated.

    `refund` names the refund: one name is one refund.
    """
    about = {
        "id": stripe_id("re", purchase_id, refund),
        "object": "refund",
        "amount": stripe_amount(amount),
        "balance_transaction": stripe_id("txn", purchase_id, refund),
        "charge": stripe_id("ch", purchase_id),
        "created": _seconds(at),
        "currency": amount.currency.lower(),
        "metadata": {},
        "payment_intent": stripe_id("pi", purchase_id),
        "reason": "requested_by_customer",
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    if status == "failed":
        about["failure_reason"] = "expired_or_canceled_card"
        about["failure_balance_transaction"] = stripe_id("txn", purchase_id, refund, "failed")
    return event_payload(event_type, about, at=at, test=test)


def dispute_payload(
    event_type: str,
    *,
    purchase_id: str,
    dispute: str,
    amount: Money,
    at: datetime,
    test: bool,
    status: str = "needs_response",
) -> bytes:
    """The body of charge.dispute.created, updated, closed, funds_withdrawn and funds_reinstated.

    `dispute` names the dispute: one name is one dispute. An inquiry's statuses begin with `warning_`.
    """
    about = {
        "id": stripe_id("du", purchase_id, dispute),
        "object": "dispute",
        "amount": stripe_amount(amount),
        "balance_transactions": [],
        "charge": stripe_id("ch", purchase_id),
        "created": _seconds(at),
        "currency": amount.currency.lower(),
        "enhanced_eligibility_types": [],
        "evidence": _NO_EVIDENCE,
        "evidence_details": {
            "due_by": _seconds(at + timedelta(days=7)),
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": status.startswith("warning_"),
        "livemode": not test,
        "metadata": {},
        "payment_intent": stripe_id("pi", purchase_id),
        "reason": "fraudulent",
        "status": status,
    }
    return event_payload(event_type, about, at=at, test=test)


def session_of(cart: Cart, choice: str, *, at: datetime, test: bool) -> dict[str, object]:
    """The Checkout Session as it stands after the choice."""
    total, paid, expired = stripe_amount(cart.price), choice in ("pay", "money_came"), choice == "expire"
    return {
        "id": stripe_id("cs_test" if test else "cs_live", cart.purchase_id),
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "cancel_url": None,
        "client_reference_id": cart.purchase_id,
        "created": _seconds(at),
        "currency": cart.price.currency.lower(),
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": None,
        "customer_details": None if expired else _customer(cart),
        "customer_email": cart.email or None,
        "expires_at": _seconds(at + PAGE_TTL),
        "livemode": not test,
        "locale": None,
        "metadata": _metadata(cart),
        "mode": "payment",
        # Stripe makes the payment intent when somebody first tries to pay.
        "payment_intent": None if expired else stripe_id("pi", cart.purchase_id),
        "payment_link": None,
        "payment_method_types": ["card"] if choice in ("pay", "expire") else ["us_bank_account"],
        "payment_status": "paid" if paid else "unpaid",
        "shipping_options": [],
        "status": "expired" if expired else "complete",
        "submit_type": None,
        "subscription": None,
        "success_url": "http://127.0.0.1/",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "url": None,
    }


_NO_EVIDENCE: Mapping[str, object] = {
    "access_activity_log": None,
    "cancellation_rebuttal": None,
    "customer_communication": None,
    "customer_email_address": None,
    "customer_name": None,
    "enhanced_evidence": {},
    "product_description": None,
    "receipt": None,
    "refund_policy": None,
    "uncategorized_text": None,
}


def _customer(cart: Cart) -> dict[str, object]:
    return {
        "address": None,
        "email": cart.email or None,
        "name": None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _metadata(cart: Cart) -> dict[str, str]:
    return {
        PURCHASE_METADATA: cart.purchase_id,
        USER_METADATA: cart.user_id,
        SKU_METADATA: cart.sku,
        QUANTITY_METADATA: str(cart.quantity),
    }


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
