"""The privacy topics at Shopify's door, and their task (T-W24)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.routing import Route

from domain.orders import FactKind
from domain.privacy import REDACTED
from domain.purchases import Rail
from firestore.collections import INBOX, ORDERS, OUTBOX
from firestore.memory import MemoryBackend
from firestore.rows import OutboxRow, RowState
from firestore.store import Store
from functions.caller import Caller, tasks
from functions.commands import OF_THE_STORE
from functions.outbox import Dispatcher
from functions.tasks import privacy
from functions.webhooks.shopify import ShopifyDoor
from integrations.shopify import ShopifySignatures, sign
from tests.journeys.shop import BRONZE_DOF, Order
from tests.make import NOW, World, user_id
from tests.outlets import heard

SHOP, SECRET, JOHN = "jiga.test", "s", "john@example.com"


class NoQueue:
    """Delivers nothing by itself: the tests do."""

    async def enqueue(
        self, name: str, row_id: str, args: Mapping[str, str], *, not_before: datetime | None = None
    ) -> None:
        return None

    async def close(self) -> None:
        return None


@dataclass
class Room:
    world: World
    store: Store
    http: httpx.AsyncClient
    caller: Caller
    rows: list[OutboxRow]

    async def post(self, topic: str, body: bytes, signature: str | None = None) -> int:
        headers = {
            "x-shopify-topic": topic,
            "x-shopify-shop-domain": SHOP,
            "x-shopify-hmac-sha256": sign(body, SECRET) if signature is None else signature,
        }
        return (await self.http.post("/", content=body, headers=headers)).status_code

    async def work(self) -> None:
        """Deliver every task that is asked for, twice, as a queue may."""
        asked, self.rows[:] = list(self.rows), []
        for row in asked:
            if row.task is not None:
                assert await self.caller.deliver(row.task, row.id, row.args)
                assert await self.caller.deliver(row.task, row.id, row.args)

    async def order(self, number: int) -> Any:
        (found,) = [each for each in await self.world.all(ORDERS) if each.reference == str(number)]
        return found


@pytest_asyncio.fixture
async def room() -> AsyncIterator[Room]:
    world, rows = World(MemoryBackend(), rehearse=False), list[OutboxRow]()
    await world.open()

    def told(each: Iterable[OutboxRow]) -> None:
        rows.extend(each)

    store = Store(world.backend, world.policy, clock=lambda: NOW, jitter=lambda: 0.5, told=told)
    door = ShopifyDoor(
        store, ShopifySignatures([SECRET]), shop=SHOP, any_shop=False, money_is_live=True, clock=lambda: NOW
    )
    caller = Caller(store, Dispatcher(NoQueue()), lambda: NOW, tasks(None, outlets=heard()))
    app = Starlette(routes=[Route("/", door.receive, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://jiga.test") as http:
        yield Room(world, store, http, caller, rows)
    await world.check()


def body(orders: str | None = None, numbers: tuple[int, ...] = (), **changes: Any) -> bytes:
    told: dict[str, Any] = {"shop_id": 1, "shop_domain": SHOP}
    if orders is not None:
        told |= {"customer": {"id": 7, "email": JOHN, "phone": "5"}, orders: list(numbers)}
    return json.dumps(told | changes).encode()


async def test_a_customer_is_forgotten_wherever_he_is_named(room: Room) -> None:  # T-W24
    bought = Order(1, email=JOHN, user_id=user_id("max"))
    assert await room.post("orders/paid", bought.told(browser_ip="203.0.113.7", customer={"first_name": "John"})) == 200
    assert await room.post("orders/paid", Order(2, email=JOHN, test=True).told()) == 200  # other money: kept, left
    await room.work()
    order = await room.order(1)
    assert (order.email, order.in_review) == (JOHN, True)
    assert await room.post("customers/redact", body("orders_to_redact", (1, 2))) == 200
    await room.work()
    assert (await room.order(1)).email == REDACTED
    kept = " ".join(each.body.decode() for each in await room.world.all(INBOX))
    for person in (JOHN, "John", "203.0.113.7"):
        assert person not in kept
    assert {each.state for each in await room.world.all(OUTBOX)} == {RowState.DONE}


async def test_a_pending_delivery_is_still_applied_without_the_email(room: Room) -> None:
    purchase = room.store.purchases.wish(user_id("max"), Rail.SHOPIFY, "DOF-150K-BRONZE", 1, "k")
    begun, _ = await room.store.purchases.begin(purchase, "https://jiga.test/cart", NOW)
    assert await room.post("orders/paid", Order(1, begun.id, email=JOHN).told()) == 200
    assert await room.post("customers/redact", body("orders_to_redact", (1,))) == 200
    room.rows.reverse()  # the request's task overtakes the order's
    await room.work()
    order = await room.order(1)
    assert (order.email, order.applied.units, order.user_id) == (None, BRONZE_DOF, user_id("max"))


async def test_a_refund_after_the_redaction_counts(room: Room) -> None:
    assert await room.post("orders/paid", Order(1, email="max@jiga.test").told()) == 200
    await room.work()
    assert await room.world.wallet("max") == (BRONZE_DOF, 0, 0)
    assert await room.post("customers/redact", body("orders_to_redact", customer={"email": "max@jiga.test"})) == 200
    await room.work()
    assert (await room.order(1)).email == REDACTED
    assert await room.post("refunds/create", Order(1).refund("4.99")) == 200
    await room.work()
    order = await room.order(1)
    assert {each.kind for each in order.facts.values()} == {FactKind.PAID, FactKind.REFUND}
    assert await room.world.wallet("max") == (0, 0, 0)


async def test_a_request_for_data_waits_for_an_admin(room: Room) -> None:  # T-W24
    assert await room.post("orders/paid", Order(1, email=JOHN).told()) == 200
    assert await room.post("customers/data_request", body("orders_requested", (1,), data_request={"id": 9})) == 200
    await room.work()
    (waiting,) = (await room.store.privacy.data_requests(10, None)).nodes
    assert (waiting.outcome, JOHN in waiting.body.decode()) == ("data request", True)
    assert (await room.order(1)).email == JOHN


async def test_a_command_writes_what_is_asked_for_and_what_is_held(
    room: Room, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each request, on whichever page: one asks for two orders, the other is of a stranger."""
    monkeypatch.setattr(privacy, "FIRST_MAX", 1)
    for number in (1, 2):
        assert await room.post("orders/paid", Order(number, email=JOHN).told()) == 200
    assert await room.post("orders/paid", Order(3, email="jane@example.com").told()) == 200
    stranger = {"id": 8, "email": "jim@example.com"}
    for asked in (body("orders_requested", (1,)), body("orders_requested", customer=stranger)):
        assert await room.post("customers/data_request", asked) == 200
    await room.work()
    capsys.readouterr()  # what the tasks have logged
    assert await OF_THE_STORE["data_requests"](room.store, NOW) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    johns, jims = sorted(lines, key=lambda each: "jim@example.com" in each["body"])
    assert {each["reference"] for each in johns["orders"]} == {"1", "2"}
    assert {each["email"] for each in johns["orders"]} == {JOHN}
    assert {each["topic"] for each in johns["deliveries"]} == {"orders/paid"}
    assert len(johns["deliveries"]) == 2
    assert all(JOHN in each["body"] for each in (johns, *johns["deliveries"]))
    assert "jane@example.com" not in json.dumps(lines)
    assert (jims["topic"], jims["received_at"], jims["orders"], jims["deliveries"]) == (
        "customers/data_request",
        "2026-03-01T12:00:00Z",
        [],
        [],
    )


async def test_a_shop_that_closes_is_forgotten(room: Room) -> None:  # T-W24
    for number in (1, 2, 3):
        assert await room.post("orders/paid", Order(number, email=f"{number}@example.com").told()) == 200
    await room.work()
    assert await room.post("shop/redact", body()) == 200
    await room.work()
    assert {each.email for each in await room.world.all(ORDERS)} == {REDACTED}
    assert all(b"@" not in each.body for each in await room.world.all(INBOX))


async def test_forged_requests_are_refused_and_nothing_is_kept(room: Room) -> None:  # T-W24
    requests = {
        "customers/redact": body("orders_to_redact", (1,)),
        "customers/data_request": body("orders_requested", (1,)),
        "shop/redact": body(),
    }
    before = await room.world.dump()
    for topic, sent in requests.items():
        assert await room.post(topic, sent, sign(sent, "guess")) == 401
        assert await room.post(topic, sent, "") == 401
    # A body that was signed for one topic does nothing under another.
    assert await room.post("shop/redact", requests["customers/data_request"]) == 400
    assert await room.post("customers/redact", requests["customers/data_request"]) == 400
    assert await room.post("customers/redact", requests["shop/redact"]) == 400
    assert await room.post("customers/redact", b"null") == 400
    assert await room.world.dump() == before


async def test_unknown_customers_and_repeated_requests_are_harmless(room: Room) -> None:  # T-W24
    assert await room.post("orders/paid", Order(1, email="eve@example.com").told()) == 200
    await room.work()
    sent = body("orders_to_redact", (404,), customer={"email": "nobody@example.com"})
    assert await room.post("customers/redact", sent) == 200
    await room.work()
    before = await room.world.dump()
    assert await room.post("customers/redact", sent) == 200
    await room.work()
    assert await room.world.dump() == before
    assert (await room.order(1)).email == "eve@example.com"


async def test_another_shops_request_is_recorded_and_left(room: Room) -> None:
    """By the shop that is signed, whatever the header says."""
    assert await room.post("orders/paid", Order(1, email=JOHN).told()) == 200
    await room.work()
    assert await room.post("shop/redact", body(shop_domain="other.myshopify.com")) == 200
    assert room.rows == []
    assert (await room.order(1)).email == JOHN
    assert [each.outcome for each in await room.world.all(INBOX) if each.topic == "shop/redact"] == [
        "ignored: another shop"
    ]
