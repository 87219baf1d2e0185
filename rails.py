"""Both payment rails, built: their doors, the pages to pay on, the way to pay creators, the providers' own books."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from starlette.routing import Route

from domain.errors import Unavailable
from domain.policy import Policy
from domain.purchases import Rail
from firestore.store import Store
from functions.pages import LocalCheckoutPage, LocalOnboardingPage, post
from functions.webhooks.shopify import ShopifyDoor
from functions.webhooks.stripe import StripeDoor
from integrations.connect import StripePayouts
from integrations.local import checkout as shopify_page
from integrations.local import connect as onboarding
from integrations.local import stripe as stripe_page
from integrations.local.checkout import order_payload
from integrations.local.connect import LocalPayouts
from integrations.local.pages import Cart, LocalCheckout
from integrations.local.stripe import CHOICES, session_payload
from integrations.services import CheckoutGateway, OrderSource, PayoutGateway
from integrations.shopify import ShopifyCheckout, ShopifySignatures
from integrations.shopify import sign as sign_shopify
from integrations.shopify_admin import AdminApi
from integrations.shopify_orders import ShopifyOrders
from integrations.shopify_products import ShopifyProducts
from integrations.shopify_subscriptions import ShopifySubscriptions
from integrations.stripe import StripeApi, StripeCheckout, StripeSignatures
from integrations.stripe import sign as sign_stripe
from integrations.stripe_orders import StripeOrders
from settings import Settings

log = structlog.get_logger(__name__)

LOCAL_SHOP = "jiga-local.myshopify.com"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What signs. `cursor`: cursors, links to exports, a local store's upload addresses, and Google Analytics'
    pseudonyms; each use says in what it signs what it is of, so that none passes for another. `rails`: webhooks; a rail
    without a secret has its door shut."""

    cursor: bytes
    rails: dict[Rail, tuple[str, ...]]


class Rails:
    """What money comes in and goes out by. A rail without a secret has its door shut; one without an account has a page
    of ours that stands in for the provider's, except in production."""

    def __init__(
        self,
        settings: Settings,
        secrets: dict[Rail, tuple[str, ...]],
        store: Store,
        policy: Policy,
        base_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._store = store
        self._policy = policy
        self._base_url = base_url
        self._clock = clock
        self._live = settings.money_mode == "live"
        self._shop = settings.shopify_shop or LOCAL_SHOP
        admin, key = settings.shopify_admin_token, settings.stripe_api_key
        self._admin = AdminApi(self._shop, admin.get_secret_value()) if admin else None
        self._stripe_api = StripeApi(key.get_secret_value()) if key else None
        self.shopify = ShopifyDoor(
            store,
            ShopifySignatures(secrets[Rail.SHOPIFY]) if secrets[Rail.SHOPIFY] else None,
            shop=self._shop,
            any_shop=settings.shopify_shop is None,
            money_is_live=self._live,
            clock=clock,
        )
        stamped = StripeSignatures(secrets[Rail.STRIPE], clock) if secrets[Rail.STRIPE] else None
        self.stripe = StripeDoor(store, stamped, money_is_live=self._live, clock=clock)
        self.checkouts: dict[Rail, CheckoutGateway] = {
            Rail.SHOPIFY: self._shopify_checkout(settings.shopify_variants),
            Rail.STRIPE: self._stripe_checkout(),
        }
        self.payouts = self._payouts()

    @property
    def sources(self) -> list[OrderSource]:
        """The providers' own books, where there is an account to read them with."""
        books: list[OrderSource] = []
        if self._admin is not None:
            books.append(ShopifyOrders(self._admin, shop=self._shop, money_is_live=self._live))
        if self._stripe_api is not None:
            books.append(StripeOrders(self._stripe_api, clock=self._clock))
        return books

    def pages(self) -> list[Route]:
        """The pages that stand in for a provider's, each only where that provider is not connected."""
        routes: list[Route] = []
        if isinstance(self.checkouts[Rail.SHOPIFY], LocalCheckout) and self._secrets[Rail.SHOPIFY]:
            routes += LocalCheckoutPage(self._store, shopify_page.PATH, shopify_page.page, self._pay_shopify).routes()
        if isinstance(self.checkouts[Rail.STRIPE], LocalCheckout) and self._secrets[Rail.STRIPE]:
            routes += LocalCheckoutPage(self._store, stripe_page.PATH, stripe_page.page, self._pay_stripe).routes()
        if isinstance(self.payouts, LocalPayouts):
            routes += LocalOnboardingPage(onboarding.PATH, onboarding.page, self.payouts.confirm).routes()
        return routes

    async def start(self) -> None:
        """Bring the shop's products and webhook subscriptions to where our tables say.

        A shop that is down does not keep the store from starting: the next start mends what this one could not.
        """
        if self._admin is None:
            return
        try:
            synced = await ShopifyProducts(self._admin).sync(self._policy.packages)
            if synced.problems:
                log.error("products not synced", problems=synced.problems)
            variants = {**synced.variants, **self._settings.shopify_variants}
            self.checkouts[Rail.SHOPIFY] = self._shopify_checkout(variants)
            subscribed = await ShopifySubscriptions(self._admin).ensure(f"{self._base_url}/webhooks/shopify")
            if subscribed.failed:
                log.error("webhooks not subscribed", topics=subscribed.failed)
        except Unavailable as problem:
            log.error("shop not synced", reason=str(problem))

    async def close(self) -> None:
        await asyncio.gather(*(gateway.close() for gateway in self.checkouts.values()))
        if self.payouts is not None:
            await self.payouts.close()
        if self._admin is not None:
            await self._admin.close()

    def _shopify_checkout(self, variants: dict[str, str]) -> CheckoutGateway:
        if self._settings.is_production or variants:
            return ShopifyCheckout(self._shop, variants)
        return LocalCheckout(lambda: self._base_url, shopify_page.PATH)

    def _stripe_checkout(self) -> CheckoutGateway:
        if self._stripe_api is None:
            return LocalCheckout(lambda: self._base_url, stripe_page.PATH)
        return StripeCheckout(self._stripe_api, success_url=f"{self._base_url}/", cancel_url=f"{self._base_url}/")

    def _payouts(self) -> PayoutGateway | None:
        back, secrets = f"{self._base_url}/", self._secrets[Rail.STRIPE]
        if self._stripe_api is not None:
            return StripePayouts(self._stripe_api, return_url=back, refresh_url=back)
        if not secrets:
            return None
        return LocalPayouts(
            lambda: self._base_url, secrets[0], self._post_stripe, clock=self._clock, test=not self._live
        )

    async def _pay_shopify(self, cart: Cart, choice: str) -> bool:
        """What the shop does when its page is paid on."""
        order = order_payload(cart, at=self._clock(), test=not self._live)
        signature = sign_shopify(order, self._secrets[Rail.SHOPIFY][0])
        headers = {"x-shopify-topic": "orders/paid", "x-shopify-hmac-sha256": signature}
        return await post(self.shopify, order, headers)

    async def _pay_stripe(self, cart: Cart, choice: str) -> bool:
        """What Stripe does when its page is paid on, or left."""
        if choice not in CHOICES:
            return False
        at = self._clock()
        body = session_payload(cart, choice, at=at, test=not self._live)
        return await self._post_stripe(body, sign_stripe(body, self._secrets[Rail.STRIPE][0], at))

    async def _post_stripe(self, body: bytes, signature: str) -> bool:
        return await post(self.stripe, body, {"stripe-signature": signature})


def read_secrets(settings: Settings) -> Secrets:
    """The settings' secrets; a local store makes its own once, and keeps them beside its data."""
    told = {Rail.SHOPIFY: settings.shopify_secrets, Rail.STRIPE: settings.stripe_secrets}
    if settings.is_production:
        assert settings.cursor_secret is not None, "require_startable has seen to it"
        cursor = settings.cursor_secret.get_secret_value()
        return Secrets(cursor.encode(), {rail: given or () for rail, given in told.items()})
    cursor = settings.cursor_secret.get_secret_value() if settings.cursor_secret else _kept(settings, "cursor")
    made = {
        rail: (_kept(settings, f"{rail.value.lower()}-webhook"),) if given is None else given
        for rail, given in told.items()
    }
    return Secrets(cursor.encode(), made)


def _kept(settings: Settings, name: str) -> str:
    path = settings.data_dir / f"{name}.secret"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(24))
    return path.read_text()
