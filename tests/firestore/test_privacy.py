"""Forgetting a shop's customer: e-mails leave orders and deliveries; the ledger and later refunds do not care."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest_asyncio

from domain.ids import Kind, derived_id
from domain.money import Dof
from domain.orders import OrderFacts
from domain.privacy import REDACTED, Ask, PrivacyRequest
from domain.purchases import Rail
from firestore import privacy
from firestore.backend import Backend
from firestore.collections import ENTRIES, INBOX, ORDERS, OUTBOX, WALLETS
from firestore.memory import MemoryBackend
from firestore.rows import InboxRow, RowState
from tests.make import CANCEL, NOW, World, facts, paid, refund, user_id

SHOP, JOHN = "jiga.test", "john@example.com"
FORGET = PrivacyRequest(Ask.FORGET_CUSTOMER, Rail.SHOPIFY, SHOP, SHOP, JOHN, "7")
SHOP_CLOSES = PrivacyRequest(Ask.FORGET_SHOP, Rail.SHOPIFY, SHOP, SHOP)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(MemoryBackend())
    await made.open()
    yield made
    await made.check()


@pytest_asyncio.fixture
async def anywhere(backend: Backend) -> AsyncIterator[World]:
    made = World(backend, rehearse=False)
    await made.open()
    yield made
    await made.check()


def clean(delivery: InboxRow) -> bytes:
    told = json.loads(delivery.body)
    return json.dumps({**told, "email": None} if isinstance(told, dict) else told).encode()


async def deliver(world: World, told: OrderFacts, source: str = "shopify") -> str:
    """Record a delivery as the door does, and do its work; gives the inbox's id."""
    body = json.dumps({"id": told.reference, "email": told.email, "reports": len(told.reports)}).encode()
    await world.store.inbox.record(
        source, "orders/paid", told.shop, body, world.now, outcome="accepted", subject=told.order_id
    )
    await world.absorb(told)
    (row,) = [each for each in await world.all(INBOX) if each.body == body]
    return row.id


async def ask(world: World, request: PrivacyRequest) -> tuple[str, str]:
    """Record a privacy request; gives the ids of its delivery and of its task's row."""
    told = len(world.rows)
    body = json.dumps({"email": request.email, "asks": request.ask}).encode()
    await world.store.inbox.record(
        "shopify",
        "customers/redact",
        request.shop,
        body,
        world.now,
        outcome=request.ask.value,
        subject=request.subject,
        task="honour_privacy",
    )
    row = world.rows[told]
    return row.args["inbox_id"], row.id


async def emails(world: World) -> dict[str, str | None]:
    return {order.reference: order.email for order in await world.all(ORDERS)}


async def bodies(world: World) -> str:
    return " ".join(each.body.decode() for each in await world.all(INBOX))


async def test_a_customer_is_forgotten_by_email_and_by_orders(anywhere: World) -> None:  # T-W24
    world = anywhere
    await deliver(world, facts(paid(), reference="1", email=JOHN))
    await deliver(world, facts(paid(), refund(1, 100), reference="1", email=JOHN))
    await deliver(world, facts(paid(), reference="2", email="old@example.com"))
    await deliver(world, facts(paid(), reference="3", email="eve@example.com"))
    await deliver(world, facts(paid(), reference="4", email=JOHN, shop="other.test"))
    await deliver(world, facts(paid(), reference="5", email=JOHN, rail=Rail.STRIPE), "stripe")
    inbox_id, row_id = await ask(world, replace(FORGET, references=("2", "404")))
    assert await world.store.privacy.forget(replace(FORGET, references=("2", "404")), inbox_id, clean)
    await world.store.privacy.conclude(inbox_id, row_id)
    assert await emails(world) == {
        "1": REDACTED,
        "2": REDACTED,
        "3": "eve@example.com",
        "4": JOHN,
        "5": JOHN,
    }
    named = {(each.source, each.shop) for each in await world.all(INBOX) if JOHN.encode() in each.body}
    assert named == {("shopify", "other.test"), ("stripe", SHOP)}
    assert "old@example.com" not in await bodies(world)
    request = await world.get(INBOX, inbox_id)
    assert (request.body, request.redacted, request.outcome) == (b"", True, "redact customer")
    assert (await world.get(OUTBOX, row_id)).state is RowState.DONE


async def test_twice_and_an_unknown_customer_change_nothing(world: World) -> None:  # T-W24
    await deliver(world, facts(paid(), reference="1", email=JOHN))
    inbox_id, row_id = await ask(world, FORGET)
    assert await world.store.privacy.forget(FORGET, inbox_id, clean)
    await world.store.privacy.conclude(inbox_id, row_id)
    before = await world.dump()
    assert await world.store.privacy.forget(FORGET, inbox_id, clean)
    await world.store.privacy.conclude(inbox_id, row_id)
    stranger = replace(FORGET, email="nobody@example.com", references=("404",))
    assert await world.store.privacy.forget(stranger, inbox_id, clean)
    assert await world.dump() == before


async def test_money_does_not_notice(world: World) -> None:  # T-W24
    """An order that found its user by the e-mail keeps him, and takes in refunds and a cancellation afterwards."""
    told = facts(paid(), email="max@jiga.test")
    await deliver(world, told)
    assert await world.wallet("max") == (150_000, 0, 0)
    ledger = await world.all(ENTRIES), await world.all(WALLETS)
    request = replace(FORGET, email="max@jiga.test")
    inbox_id, _ = await ask(world, request)
    assert await world.store.privacy.forget(request, inbox_id, clean)
    assert (await world.all(ENTRIES), await world.all(WALLETS)) == ledger
    order = await world.get(ORDERS, told.order_id)
    assert (order.email, order.user_id, order.applied) == (REDACTED, user_id("max"), Dof(150_000))
    order = await world.absorb(facts(refund(1, 249), email="max@jiga.test"))
    assert (order.email, order.applied) == (REDACTED, Dof(75_150))
    order = await world.absorb(facts(CANCEL, email="max@jiga.test"))
    assert (order.email, order.applied, order.review) == (REDACTED, Dof(0), None)
    assert await world.wallet("max") == (0, 0, 0)
    assert not await world.store.orders.reconcile(replace(told, email="max@jiga.test"), NOW)
    assert (await world.get(ORDERS, told.order_id)).email == REDACTED


async def test_an_order_that_waits_is_forgotten_and_can_still_be_decided(world: World) -> None:
    told = facts(paid(), email=JOHN)
    await deliver(world, told)
    inbox_id, _ = await ask(world, FORGET)
    assert await world.store.privacy.forget(FORGET, inbox_id, clean)
    assert await world.store.orders.claim(user_id("max"), JOHN, NOW) == 0
    order = await world.get(ORDERS, told.order_id)
    assert (order.in_review, order.user_id, order.email) == (True, None, REDACTED)


async def test_a_closing_shop_takes_all_its_emails(anywhere: World) -> None:  # T-W24
    world = anywhere
    for number, name in enumerate(("!odd", "(odd)", "anna", "redacted", "zoe")):
        await deliver(world, facts(paid(), reference=str(number), email=f"{name}@example.com"))
    await deliver(world, facts(paid(), reference="none"))
    await deliver(world, facts(paid(), reference="elsewhere", email=JOHN, shop="other.test"))
    await deliver(world, facts(paid(), reference="stripe", email=JOHN, rail=Rail.STRIPE), "stripe")
    inbox_id, row_id = await ask(world, SHOP_CLOSES)
    assert await world.store.privacy.forget(SHOP_CLOSES, inbox_id, clean)
    await world.store.privacy.conclude(inbox_id, row_id)
    assert await emails(world) == {
        **{str(number): REDACTED for number in range(5)},
        "none": None,
        "elsewhere": JOHN,
        "stripe": JOHN,
    }
    assert {(each.source, each.shop) for each in await world.all(INBOX) if b"@" in each.body} == {
        ("shopify", "other.test"),
        ("stripe", SHOP),
    }


async def test_a_run_is_bounded_and_the_next_goes_on(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(privacy, "BATCH", 2)
    monkeypatch.setattr(privacy, "BATCHES_MAX", 3)
    world.rehearse = False
    for number in range(20):
        await deliver(world, facts(paid(), reference=str(number), email=f"{number}@example.com"))
    inbox_id, _ = await ask(world, SHOP_CLOSES)
    runs = 1
    while not await world.store.privacy.forget(SHOP_CLOSES, inbox_id, clean):
        runs += 1
        assert runs < 100
    assert runs > 3
    assert set((await emails(world)).values()) == {REDACTED}


async def test_what_is_held_of_a_customer_is_listed(anywhere: World) -> None:
    world = anywhere
    first = facts(paid(), reference="1", email=JOHN)
    second = facts(paid(), reference="2", email="old@example.com")
    delivered = {await deliver(world, first), await deliver(world, second)}
    await deliver(world, facts(paid(), reference="3", email="eve@example.com"))
    request = replace(FORGET, ask=Ask.DATA, references=("2", "404"))
    inbox_id, _ = await ask(world, request)
    held = await world.store.privacy.held(request)
    assert {each.id for each in held.orders} == {first.order_id, second.order_id}
    assert {each.id for each in held.deliveries} == delivered
    (waiting,) = (await world.store.privacy.data_requests(10, None)).nodes
    assert waiting.id == inbox_id
    other, _ = await ask(world, FORGET)
    assert await world.store.privacy.forget(FORGET, other, clean)  # who is forgotten wants no answer any more
    assert (await world.store.privacy.data_requests(10, None)).nodes == ()


async def test_a_delivery_about_an_order_that_is_not_there_yet_is_cleaned(world: World) -> None:
    told = facts(paid(), email=JOHN)
    await world.store.inbox.record(
        "shopify", "orders/paid", SHOP, b'{"email": "john@example.com"}', NOW, outcome="accepted", subject=told.order_id
    )
    request = replace(FORGET, references=(told.reference,))
    assert await world.store.privacy.forget(request, derived_id(Kind.INBOX, "request"), clean)
    assert await bodies(world) == '{"email": null}'
    assert await world.all(ORDERS) == []
