"""The few pages that a browser gets: the front page, and the local checkout where no shop is connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from domain.errors import Unavailable
from domain.ids import Kind, is_id
from domain.money import money_from_decimal
from firestore.store import Store
from functions.webhooks.shopify import ShopifyDoor
from integrations.local.checkout import Cart, order_payload, page, sign

FORM_BYTES_MAX = 4_000  # seven short fields
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"}

_FRONT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>JIGA Store</title>
<style>body{font:16px/1.6 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem;color:#1b1b1f}
code{background:#f1f1f4;padding:.1rem .3rem;border-radius:.2rem}</style></head><body><h1>JIGA Store</h1>
<p>The marketplace of gaming-assistant agents: one GraphQL API, over HTTP and graphql-transport-ws, at
<a href="/graphql"><code>/graphql</code></a>.</p><p>Health: <a href="/healthz"><code>/healthz</code></a>,
<a href="/readyz"><code>/readyz</code></a>, <a href="/metrics"><code>/metrics</code></a>.</p></body></html>"""


async def front(request: Request) -> Response:
    return HTMLResponse(_FRONT, headers=PAGE_HEADERS)


class LocalShop:
    """A checkout page whose button posts the signed webhook that a real shop would, through the same door."""

    def __init__(
        self, store: Store, door: ShopifyDoor, secret: str, shop: str, *, test: bool, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._door = door
        self._secret = secret
        self._shop = shop
        self._test = test
        self._clock = clock

    def routes(self) -> list[Route]:
        return [
            Route("/local/checkout/shopify", self.show, methods=["GET"]),
            Route("/local/checkout/shopify", self.pay, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The cart of a purchase that exists, at the price that the store asked."""
        cart = await self._cart(dict(request.query_params))
        if cart is None:
            return PlainTextResponse("There is no such purchase: begin with purchaseDof.\n", status_code=404)
        return HTMLResponse(page(cart), headers=PAGE_HEADERS)

    async def pay(self, request: Request) -> Response:
        """Pay: the order is posted to the webhook door, signed, as the shop would."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_BYTES_MAX:
                return PlainTextResponse("The form is too large.\n", status_code=413)
        cart = await self._cart({name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()})
        if cart is None:
            return PlainTextResponse("There is no such purchase: begin with purchaseDof.\n", status_code=404)
        order = order_payload(cart, at=self._clock(), test=self._test)
        answer = await self._door.receive(_posted(order, sign(order, self._secret), self._shop))
        if answer.status_code != 200:
            return PlainTextResponse("The store did not take the order: try again.\n", status_code=502)
        return RedirectResponse("/", status_code=303)

    async def _cart(self, fields: dict[str, str]) -> Cart | None:
        """The cart that the fields name, only if the store's own purchase agrees with each of them."""
        purchase_id = fields.get("purchase_id", "")
        if not is_id(purchase_id, Kind.PURCHASE):
            return None
        try:
            purchase = await self._store.purchases.get(purchase_id)
        except Unavailable:
            return None
        price = money_from_decimal(fields.get("amount", ""), fields.get("currency", ""))
        if purchase is None or price != purchase.price or fields.get("sku") != purchase.sku:
            return None
        return Cart(
            purchase_id=purchase.id,
            user_id=purchase.user_id,
            email=fields.get("email", ""),
            sku=purchase.sku,
            quantity=purchase.quantity,
            price=purchase.price,
        )


def _posted(body: bytes, signature: str, shop: str) -> Request:
    """The request that the shop would send."""
    headers = [
        (b"content-type", b"application/json"),
        (b"x-shopify-topic", b"orders/paid"),
        (b"x-shopify-shop-domain", shop.encode()),
        (b"x-shopify-hmac-sha256", signature.encode()),
    ]
    sent = asyncio.Queue[dict[str, object]](1)
    sent.put_nowait({"type": "http.request", "body": body, "more_body": False})
    return Request({"type": "http", "method": "POST", "headers": headers}, sent.get)
