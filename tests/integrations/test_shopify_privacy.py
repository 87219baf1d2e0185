"""Shopify's privacy webhooks by their shapes, and order webhooks without the person."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.privacy import Ask, PrivacyRequest
from domain.purchases import Rail
from integrations.payloads import Malformed
from integrations.shopify import read_order
from integrations.shopify_privacy import PRIVACY_TOPICS, read_privacy, without_person
from tests.make import STEADY

PAYLOADS = Path(__file__).parent.parent / "payloads"
SHOP = "jiga.myshopify.com"
NAMED = {"shop_id": 954889, "shop_domain": "JIGA.myshopify.com"}
CUSTOMER = {"id": 191167, "email": " John@Example.com", "phone": "555-625-1199"}
BODIES: dict[str, dict[str, Any]] = {
    "customers/data_request": {
        **NAMED,
        "orders_requested": [299938, 280263],
        "customer": CUSTOMER,
        "data_request": {"id": 9999},
    },
    "customers/redact": {**NAMED, "customer": CUSTOMER, "orders_to_redact": [299938, 280263]},
    "shop/redact": NAMED,
}
STORED = {
    "orders/paid": "orders_paid",
    "orders/create": "orders_paid",
    "orders/cancelled": "orders_cancelled",
    "refunds/create": "refunds_create",
}


def read(topic: str, body: object) -> PrivacyRequest:
    return read_privacy(topic, SHOP, json.dumps(body).encode())


def test_each_topic_says_what_it_asks() -> None:
    whole = PrivacyRequest(
        Ask.FORGET_CUSTOMER, Rail.SHOPIFY, SHOP, SHOP, "john@example.com", "191167", ("299938", "280263")
    )
    assert {topic: read(topic, body) for topic, body in BODIES.items()} == {
        "customers/data_request": replace(whole, ask=Ask.DATA),
        "customers/redact": whole,
        "shop/redact": PrivacyRequest(Ask.FORGET_SHOP, Rail.SHOPIFY, SHOP, SHOP),
    }


def test_a_customer_may_be_only_an_email_or_only_a_number() -> None:  # T-W24
    body = BODIES["customers/redact"]
    only_email = read("customers/redact", {**body, "customer": {"email": "a@b.c"}, "orders_to_redact": []})
    assert (only_email.email, only_email.customer, only_email.references) == ("a@b.c", None, ())
    only_number = read("customers/redact", {**body, "customer": {"id": 7, "email": None}, "orders_to_redact": None})
    assert (only_number.email, only_number.customer, only_number.references) == (None, "7", ())
    with pytest.raises(Malformed, match="neither an e-mail nor an id"):
        read("customers/redact", {**body, "customer": {"phone": "1"}})


@pytest.mark.parametrize("topic", PRIVACY_TOPICS)
@pytest.mark.parametrize("other", PRIVACY_TOPICS)
def test_a_body_under_another_topic_is_refused(topic: str, other: str) -> None:
    """The topic is not signed: a captured request for data must not erase, nor an order's body."""
    if topic == other:
        assert read(topic, BODIES[topic]).ask is PRIVACY_TOPICS[topic]
        return
    with pytest.raises(Malformed):
        read(topic, BODIES[other])
    for stored in STORED.values():
        with pytest.raises(Malformed):
            read_privacy(topic, SHOP, (PAYLOADS / f"shopify_{stored}.json").read_bytes())


@pytest.mark.parametrize(
    "broken",
    [
        {"shop_domain": None},
        {"shop_domain": ""},
        {"customer": []},
        {"customer": {"id": "7"}},
        {"customer": {"id": True}},
        {"orders_to_redact": {}},
        {"orders_to_redact": [1.5]},
        {"orders_to_redact": [True]},
        {"orders_to_redact": [-1]},
        {"orders_to_redact": [10**40]},
    ],
    ids=repr,
)
def test_anything_else_is_malformed(broken: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        read("customers/redact", {**BODIES["customers/redact"], **broken})


def test_the_subject_says_nothing_of_the_person() -> None:
    forget, data = (
        read("customers/redact", BODIES["customers/redact"]),
        read("customers/data_request", BODIES["customers/data_request"]),
    )
    assert forget.subject == data.subject
    assert forget.subject is not None
    assert "john" not in forget.subject
    assert replace(forget, email="jane@example.com").subject != forget.subject
    assert read("shop/redact", NAMED).subject is None


@pytest.mark.parametrize("topic", STORED)
def test_without_the_person_the_facts_are_the_same(topic: str) -> None:
    body = (PAYLOADS / f"shopify_{STORED[topic]}.json").read_bytes()
    kept = without_person(topic, body)
    assert read_order(topic, SHOP, kept) == replace(read_order(topic, SHOP, body), email=None)
    assert without_person(topic, kept) == kept
    for person in ("max", "203.0.113", "Mozilla", "gift_note", "Zo", "DOF Silver", "bought one"):
        assert person not in kept.decode(), person
    assert b"@" not in kept


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["4.99", "USD", "JPY", 12.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ORDER_KEYS = sorted(json.loads((PAYLOADS / "shopify_orders_paid.json").read_text("utf-8")))
REFUND_KEYS = sorted(json.loads((PAYLOADS / "shopify_refunds_create.json").read_text("utf-8")))


@STEADY
@given(topic=st.sampled_from(sorted(STORED)), changes=st.dictionaries(st.integers(0, 200), ODD, max_size=4))
@example("orders/create", {ORDER_KEYS.index("current_total_price"): "1.00"})  # edited, which must be asked about
def test_whatever_is_odd_is_as_odd_without_the_person(topic: str, changes: dict[int, object]) -> None:
    keys = REFUND_KEYS if topic == "refunds/create" else ORDER_KEYS
    told = json.loads((PAYLOADS / f"shopify_{STORED[topic]}.json").read_text("utf-8"))
    told |= {keys[number % len(keys)]: value for number, value in changes.items()}
    body = json.dumps(told).encode()
    try:
        facts = read_order(topic, SHOP, body)
    except Malformed:
        return  # the door has refused it
    assert read_order(topic, SHOP, without_person(topic, body)) == replace(facts, email=None)


def test_of_what_nobody_reads_again_nothing_is_left() -> None:
    assert without_person("customers/update", b'{"email": "john@example.com"}') == b""
    assert without_person("orders/paid", b"john@example.com") == b""
    assert without_person("customers/redact", json.dumps(BODIES["customers/redact"]).encode()) == b""
