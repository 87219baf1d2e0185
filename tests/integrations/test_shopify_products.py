"""The price table in the shop, and the webhooks that it posts: made once, mended, and nothing else touched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from domain.money import Money
from integrations.shopify_admin import AdminApi
from integrations.shopify_products import ShopifyProducts, Synced
from integrations.shopify_subscriptions import TOPICS, ShopifySubscriptions, Subscribed
from tests.integrations.shopify_stand_in import SHOP, TOKEN, StandIn, connection, standing_in
from tests.make import BRONZE, PACKAGES, SILVER

URL = "https://jiga.example/webhooks/shopify"


class Shelf:
    """A shop's products, each a dictionary of what the sync reads."""

    def __init__(self) -> None:
        self.variants: list[dict[str, Any]] = []
        self.hidden: set[str] = set()  # SKUs that the search does not know yet
        self.refuse: str | None = None

    def put(self, sku: str, *, beside: int = 0, **changes: Any) -> dict[str, Any]:
        number = 100 + len(self.variants)
        metafields: dict[str, dict[str, str]] = {}
        product = {
            "id": f"gid://shopify/Product/{number}",
            "title": "?",
            "status": "DRAFT",
            "handle": sku.lower(),
            "variantsCount": {"count": 1 + beside},
            "kept": metafields,
            "metafields": lambda first, namespace: connection(list(metafields.values()), first),
        }
        variant = {
            "id": f"gid://shopify/ProductVariant/{number}",
            "legacyResourceId": str(number),
            "sku": sku,
            "price": "0.00",
            "inventoryPolicy": "DENY",
            "inventoryItem": {"requiresShipping": True},
            "product": product,
            **changes,
        }
        product["variants"] = lambda first: connection([variant], first)
        self.variants.append(variant)
        return variant

    def root(self) -> dict[str, Any]:
        return {
            "shop": {"currencyCode": "USD"},
            "productVariants": lambda first, query: connection(
                [each for each in self.variants if each["sku"] not in self.hidden], first
            ),
            "productByIdentifier": lambda identifier: next(
                (each["product"] for each in self.variants if each["product"]["handle"] == identifier["handle"]), None
            ),
            "productSet": self.make,
            "productVariantsBulkUpdate": self.price,
            "metafieldsSet": self.metafields,
            "productUpdate": self.title,
        }

    def make(self, identifier: Any, input: Any, synchronous: bool) -> dict[str, Any]:
        if self.refuse:
            return {"product": None, "userErrors": [{"field": ["input"], "message": self.refuse}]}
        assert synchronous
        assert identifier == {"handle": input["handle"]}
        (wanted,) = input["variants"]
        made = self.put(wanted["sku"], price=wanted["price"], inventoryPolicy=wanted["inventoryPolicy"])
        made["inventoryItem"] = wanted["inventoryItem"]
        made["product"] |= {"title": input["title"], "status": input["status"]}
        made["product"]["kept"].update({each["key"]: each for each in input["metafields"]})
        return {"product": made["product"], "userErrors": []}

    def price(self, productId: str, variants: Any) -> dict[str, Any]:
        (wanted,) = variants
        (variant,) = [each for each in self.variants if each["id"] == wanted["id"]]
        assert variant["product"]["id"] == productId
        variant |= wanted
        return {"userErrors": []}

    def metafields(self, metafields: Any) -> dict[str, Any]:
        for each in metafields:
            (product,) = [one["product"] for one in self.variants if one["product"]["id"] == each["ownerId"]]
            product["kept"][each["key"]] = each
        return {"userErrors": []}

    def title(self, product: Any) -> dict[str, Any]:
        (kept,) = [one["product"] for one in self.variants if one["product"]["id"] == product["id"]]
        kept |= product
        return {"userErrors": []}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[StandIn]:
    async with standing_in() as made:
        yield made


@pytest_asyncio.fixture
async def api(shop: StandIn) -> AsyncIterator[AdminApi]:
    made = AdminApi(SHOP, TOKEN, site=shop.site)
    yield made
    await made.close()


@pytest.fixture
def shelf(shop: StandIn) -> Shelf:
    made = Shelf()
    shop.root = made.root()
    return made


def mutations(shop: StandIn) -> int:
    return sum("mutation" in each.document for each in shop.asked)


async def test_the_table_is_made_once(shop: StandIn, api: AdminApi, shelf: Shelf) -> None:
    products = ShopifyProducts(api)
    variants = {BRONZE: "100", SILVER: "101"}
    assert await products.sync(PACKAGES) == Synced(variants, (BRONZE, SILVER), {})
    assert await products.sync(PACKAGES) == Synced(variants, (), {})
    assert mutations(shop) == 2
    silver = shelf.variants[1]
    assert (silver["price"], silver["inventoryPolicy"], silver["inventoryItem"]) == (
        "14.99",
        "CONTINUE",
        {"tracked": False, "requiresShipping": False},
    )
    assert list(silver["product"]["kept"].values()) == [
        {"namespace": "jiga", "key": "dof_amount", "type": "number_integer", "value": "500000"},
        {"namespace": "jiga", "key": "tier", "type": "single_line_text_field", "value": "SILVER"},
        {"namespace": "jiga", "key": "bonus_dof", "type": "number_integer", "value": "25000"},
    ]


async def test_what_the_search_does_not_know_yet_is_not_made_twice(shop: StandIn, api: AdminApi, shelf: Shelf) -> None:
    products = ShopifyProducts(api)
    first = await products.sync(PACKAGES)
    shelf.hidden = {BRONZE, SILVER}
    assert await products.sync(PACKAGES) == Synced(first.variants, (), {})
    assert len(shelf.variants) == 2


async def test_what_differs_is_mended_and_nothing_else_touched(shop: StandIn, api: AdminApi, shelf: Shelf) -> None:
    products = ShopifyProducts(api)
    await products.sync(PACKAGES)
    shelf.variants[0]["product"]["kept"]["care"] = {"key": "care", "type": "x", "value": "by hand"}
    shelf.variants[0]["price"] = "9.99"
    done = mutations(shop)
    assert (await products.sync(PACKAGES)).changed == (BRONZE,)
    assert mutations(shop) == done + 1
    assert "productSet" not in shop.asked[-1].document  # it would delete what it is not told of
    assert shelf.variants[0]["price"] == "4.99"
    assert "care" in shelf.variants[0]["product"]["kept"]
    dearer = (replace(PACKAGES[0], price=Money(599, "USD")), PACKAGES[1])
    assert await products.sync(dearer) == Synced({BRONZE: "100", SILVER: "101"}, (BRONZE,), {})
    assert shelf.variants[0]["price"] == "5.99"


async def test_what_a_person_must_mend_is_reported_and_left(shop: StandIn, api: AdminApi, shelf: Shelf) -> None:
    shelf.put(BRONZE, beside=1)
    shelf.put(SILVER)
    shelf.put(SILVER)
    shelf.put(SILVER.lower())  # the search finds other letters, too
    found = await ShopifyProducts(api).sync(PACKAGES)
    assert (found.variants, found.changed) == ({}, ())
    assert found.problems == {
        BRONZE: "its product has other variants: give it a product of its own",
        SILVER: "several variants carry this SKU: leave it to one",
    }
    assert mutations(shop) == 0


async def test_a_shop_with_another_currency_and_a_taken_name_are_reported(
    shop: StandIn, api: AdminApi, shelf: Shelf
) -> None:
    shelf.put("OTHER")["product"]["handle"] = BRONZE.lower()
    found = await ShopifyProducts(api).sync([PACKAGES[0], replace(PACKAGES[1], price=Money(1499, "EUR"))])
    assert found.problems == {
        BRONZE: f"the product {BRONZE.lower()} is there without this SKU: rename it, or give it the SKU",
        SILVER: "the shop sells in USD, the price table in EUR",
    }
    shelf.variants.clear()
    shelf.refuse = "Title is too long"
    assert (await ShopifyProducts(api).sync(PACKAGES[:1])).problems == {BRONZE: "Shopify refuses: Title is too long"}


# ---- webhooks


def subscriptions(shop: StandIn, kept: list[dict[str, Any]], error: str | None = None) -> None:
    def subscribe(topic: str, webhookSubscription: Any) -> dict[str, Any]:
        if error:
            return {"webhookSubscription": None, "userErrors": [{"field": None, "message": error}]}
        kept.append({"topic": topic, "filter": None, "includeFields": [], **webhookSubscription})
        return {"webhookSubscription": {"id": "gid://shopify/WebhookSubscription/1"}, "userErrors": []}

    shop.root = {
        "webhookSubscriptions": lambda first, uri, topics: connection(
            [each for each in kept if each["uri"] == uri and each["topic"] in topics], first
        ),
        "webhookSubscriptionCreate": subscribe,
    }


async def test_missing_subscriptions_are_made_and_the_rest_left(shop: StandIn, api: AdminApi) -> None:  # T-W22
    kept = [
        {"topic": "ORDERS_PAID", "uri": URL, "format": "JSON", "filter": None, "includeFields": []},
        {"topic": "ORDERS_CREATE", "uri": "https://old.example/x", "format": "JSON", "filter": "", "includeFields": []},
    ]
    subscriptions(shop, kept)
    gateway = ShopifySubscriptions(api)
    made = tuple(topic for topic in TOPICS if topic != "ORDERS_PAID")
    assert await gateway.ensure(URL) == Subscribed(made, {})
    assert await gateway.ensure(URL) == Subscribed((), {})
    assert [each["topic"] for each in kept if each["uri"] == URL] == ["ORDERS_PAID", *made]


async def test_a_narrowed_subscription_and_a_refused_one_are_reported(shop: StandIn, api: AdminApi) -> None:
    kept = [{"topic": "ORDERS_PAID", "uri": URL, "format": "JSON", "filter": "", "includeFields": ["id"]}]
    subscriptions(shop, kept, "Address is not allowed")
    found = await ShopifySubscriptions(api).ensure(URL)
    assert found.created == ()
    assert found.failed == dict.fromkeys(TOPICS, "Address is not allowed") | {
        "ORDERS_PAID": "it is subscribed with a filter, with fields left out, or as XML: remove it first"
    }
