"""The few pages that a browser gets: the front page, and those that stand in for a provider's own where it is not
connected, to pay for a purchase and to connect an account for payouts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from domain.errors import Unavailable
from domain.money import money_from_decimal
from firestore.store import Store
from functions.webhooks.door import Door
from integrations.bodies import BodyRefused, ClientLeft, read_body
from integrations.local.pages import Cart

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


class LocalCheckoutPage:
    """A checkout page whose button posts the signed webhook that the provider would, through the store's own door."""

    def __init__(
        self, store: Store, path: str, render: Callable[[Cart], str], pay: Callable[[Cart, str], Awaitable[bool]]
    ) -> None:
        self._store = store
        self._path = path
        self._render = render
        self._pay = pay

    def routes(self) -> list[Route]:
        return [
            Route(self._path, self.show, methods=["GET"]),
            Route(self._path, self.pay, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The cart of a purchase that exists, at the price that the store asked."""
        cart = await self._cart(dict(request.query_params))
        if cart is None:
            return PlainTextResponse("There is no such purchase: begin with purchaseDof.\n", status_code=404)
        return HTMLResponse(self._render(cart), headers=PAGE_HEADERS)

    async def pay(self, request: Request) -> Response:
        """Pay, or whatever else the page offers."""
        fields = await form_of(request)
        cart = await self._cart(fields)
        if cart is None:
            return PlainTextResponse("There is no such purchase: begin with purchaseDof.\n", status_code=404)
        if not await self._pay(cart, fields.get("choice", "pay")):
            return PlainTextResponse("The store did not take the payment: try again.\n", status_code=502)
        return RedirectResponse("/", status_code=303)

    async def _cart(self, fields: dict[str, str]) -> Cart | None:
        """The cart that the fields name, only if the store's own purchase agrees with each of them."""
        try:
            purchase = await self._store.purchases.get(fields.get("purchase_id", ""))
        except Unavailable:
            return None
        price = money_from_decimal(fields.get("amount", ""), fields.get("currency", ""))
        if purchase is None or price != purchase.price or fields.get("sku") != purchase.sku:
            return None
        email = fields.get("email", "")
        return Cart(purchase.id, purchase.user_id, email, purchase.sku, purchase.quantity, purchase.price)


class LocalOnboardingPage:
    """The page on which a creator gives what a payout provider asks for: here, one button."""

    def __init__(self, path: str, render: Callable[[str], str], confirm: Callable[[str], Awaitable[bool]]) -> None:
        self._path = path
        self._render = render
        self._confirm = confirm

    def routes(self) -> list[Route]:
        return [
            Route(self._path, self.show, methods=["GET"]),
            Route(self._path, self.confirm, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        return HTMLResponse(self._render(request.query_params.get("account", "")), headers=PAGE_HEADERS)

    async def confirm(self, request: Request) -> Response:
        if not await self._confirm((await form_of(request)).get("account", "")):
            return PlainTextResponse("There is no such account: begin with connectPayouts.\n", status_code=404)
        return RedirectResponse("/", status_code=303)


async def form_of(request: Request) -> dict[str, str]:
    """A small form's fields; one that is too large, or does not arrive, has none."""
    try:
        body = await read_body(request.headers, request.receive, FORM_BYTES_MAX)
    except (BodyRefused, ClientLeft):
        return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


async def post(door: Door, body: bytes, headers: dict[str, str]) -> bool:
    """Post a webhook to a door of this process, as its provider would by HTTP; whether it was taken."""
    sent = asyncio.Queue[dict[str, object]](1)
    sent.put_nowait({"type": "http.request", "body": body, "more_body": False})
    told = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "method": "POST", "headers": told}, sent.get)
    return (await door.receive(request)).status_code == 200
