"""What comes to the doors for webhooks, well signed, and is not for us: recorded, answered, and left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from domain.purchases import Rail
from firestore.collections import INBOX, ORDERS, OUTBOX
from firestore.memory import MemoryBackend
from functions.tasks.orders import APPLY_ORDER
from functions.webhooks.shopify import ShopifyDoor
from functions.webhooks.stripe import StripeDoor
from integrations.local.checkout import Cart, order_payload
from integrations.local.stripe import event_payload, session_payload
from integrations.shopify import ShopifySignatures
from integrations.shopify import sign as sign_shopify
from integrations.stripe import StripeSignatures
from integrations.stripe import sign as sign_stripe
from tests.make import NOW, World, user_id

SHOP, SECRET = "jiga.myshopify.com", "a secret of both providers"


@dataclass
class Doors:
    """The two doors of a store, and a purchase of max's that waits to be paid."""

    world: World
    http: httpx.AsyncClient
    cart: Cart

    async def shopify(self, *, test: bool, topic: str = "orders/paid", shop: str | None = SHOP) -> str:
        """Deliver the cart's order; gives the answer's words."""
        body = order_payload(self.cart, at=NOW, test=test)
        headers = {"x-shopify-topic": topic, "x-shopify-hmac-sha256": sign_shopify(body, SECRET)}
        return await self._post("/shopify", body, headers | ({"x-shopify-shop-domain": shop} if shop else {}))

    async def stripe(self, body: bytes) -> str:
        return await self._post("/stripe", body, {"stripe-signature": sign_stripe(body, SECRET, NOW)})

    async def _post(self, path: str, body: bytes, headers: dict[str, str]) -> str:
        answer = await self.http.post(path, content=body, headers=headers)
        assert answer.status_code == 200
        return answer.text

    async def tasks(self) -> list[str | None]:
        """What work is asked for."""
        return [row.task for row in await self.world.all(OUTBOX) if row.task]

    async def was_left_alone(self, outcome: str) -> None:
        """The delivery was kept with why, and nothing was done nor will be."""
        assert [row.outcome for row in await self.world.all(INBOX)] == [outcome]
        assert await self.tasks() == []
        assert await self.world.all(ORDERS) == []
        assert await self.world.wallet("max") == (0, 0, 0)


@asynccontextmanager
async def doors(*, live: bool, rail: Rail = Rail.SHOPIFY) -> AsyncIterator[Doors]:
    world = World(MemoryBackend())
    await world.open()
    wish = world.store.purchases.wish(user_id("max"), rail, "DOF-150K-BRONZE", 1, "buy")
    purchase, _ = await world.store.purchases.begin(wish, "https://pay.test", NOW)
    shopify = ShopifyDoor(
        world.store, ShopifySignatures((SECRET,)), shop=SHOP, any_shop=False, money_is_live=live, clock=lambda: NOW
    )
    stripe = StripeDoor(world.store, StripeSignatures((SECRET,), lambda: NOW), money_is_live=live, clock=lambda: NOW)
    routes = [
        Route(f"/{name}", door.receive, methods=["POST"]) for name, door in (("shopify", shopify), ("stripe", stripe))
    ]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=routes)), base_url="http://x") as http:
        cart = Cart(purchase.id, user_id("max"), "max@jiga.test", "DOF-150K-BRONZE", 1, purchase.price)
        yield Doors(world, http, cart)


async def test_t_w19_an_order_of_another_shop_is_left_alone() -> None:
    async with doors(live=True) as store:
        assert "of another shop" in await store.shopify(test=False, shop="other.myshopify.com")
        await store.was_left_alone("ignored: another shop")


@pytest.mark.parametrize("topic", ["products/update", "orders/nothing", ""])
async def test_t_w19_a_topic_that_is_not_used_is_left_alone(topic: str) -> None:
    """Whatever the body says: it is a paid order."""
    async with doors(live=True) as store:
        assert "the topic is not used" in await store.shopify(test=False, topic=topic)
        await store.was_left_alone("ignored: topic not used")


async def test_t_w19_a_type_that_is_not_used_is_left_alone() -> None:
    async with doors(live=True, rail=Rail.STRIPE) as store:
        body = event_payload("customer.created", {"id": "cus_1", "object": "customer"}, at=NOW, test=False)
        assert "the type is not used" in await store.stripe(body)
        await store.was_left_alone("ignored: type not used")


@pytest.mark.parametrize("live", [True, False])
async def test_t_w11_an_event_of_the_other_kind_of_money_is_left_alone(live: bool) -> None:
    kind = "test" if live else "live"
    async with doors(live=live, rail=Rail.STRIPE) as store:
        body = session_payload(store.cart, "pay", at=NOW, test=live)
        assert f"{kind} money does not count here" in await store.stripe(body)
        await store.was_left_alone(f"ignored: {kind} money")


@pytest.mark.parametrize("live", [True, False])
async def test_t_w11_an_order_of_the_other_kind_of_money_is_left_alone(live: bool) -> None:
    kind = "test" if live else "live"
    async with doors(live=live) as store:
        assert f"{kind} money does not count here" in await store.shopify(test=live)
        await store.was_left_alone(f"ignored: {kind} money")


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("rail", [Rail.SHOPIFY, Rail.STRIPE])
async def test_what_is_for_us_asks_for_its_work(rail: Rail, live: bool) -> None:
    """What the tests above send, but for what they are about; a shop need not be named."""
    async with doors(live=live, rail=rail) as store:
        if rail is Rail.SHOPIFY:
            said = await store.shopify(test=not live, shop=None)
        else:
            said = await store.stripe(session_payload(store.cart, "pay", at=NOW, test=not live))
        assert "Recorded." in said
        assert [row.outcome for row in await store.world.all(INBOX)] == ["accepted"]
        assert await store.tasks() == [APPLY_ORDER]
