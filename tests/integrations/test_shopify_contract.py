"""What we ask of Shopify, against its own Admin schema: that of npm's @shopify/dev-mcp, in a temporary folder.

Where npm or its registry is absent, the tests say so and are skipped.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLSchema,
    OperationDefinitionNode,
    build_client_schema,
    execute_sync,
    parse,
    validate,
)
from graphql.execution.values import get_variable_values
from graphql.utilities import value_from_ast_untyped

from integrations import shopify_orders, shopify_products, shopify_subscriptions
from integrations.shopify_admin import VERSION, AdminApi
from integrations.shopify_orders import ShopifyOrders
from integrations.shopify_products import ShopifyProducts
from integrations.shopify_subscriptions import ShopifySubscriptions
from tests.integrations.shopify_stand_in import SHOP, TOKEN, StandIn, admin_order, shop_of, standing_in
from tests.integrations.test_shopify_orders import order, refund, told
from tests.integrations.test_shopify_products import URL, Shelf, subscriptions
from tests.make import PACKAGES

PACKAGE = "@shopify/dev-mcp@1.16.0"
POINTS_MAX = 1_000  # what one query may cost (shopify.dev/docs/api/usage/limits)
DOCUMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": text
    for module in (shopify_orders, shopify_products, shopify_subscriptions)
    for name, text in vars(module).items()
    if name.isupper()
    and isinstance(text, str)
    and not name.startswith("_")
    and ("query " in text or "mutation " in text)
}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> GraphQLSchema:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: our requests were not held against Shopify's schema")
    folder = tmp_path_factory.mktemp("shopify")
    command = [npm, "pack", "--silent", "--ignore-scripts", PACKAGE]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"npm could not fetch {PACKAGE}: our requests were not held against Shopify's schema ({error})")
    with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as archive:
        kept = archive.extractfile(f"package/dist/data/admin_{VERSION}.json.gz")
        assert kept is not None
        introspection = json.loads(gzip.decompress(kept.read()))
    return build_client_schema(introspection.get("data", introspection), assume_valid=True)


def test_every_document_is_looked_at() -> None:
    assert sorted(DOCUMENTS) == [
        "shopify_orders.ORDER",
        "shopify_orders.ORDERS",
        "shopify_orders.REFUND",
        "shopify_products.BY_HANDLE",
        "shopify_products.BY_SKU",
        "shopify_products.MAKE",
        "shopify_products.MEND",
        "shopify_subscriptions.SUBSCRIBE",
        "shopify_subscriptions.SUBSCRIBED",
    ]


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_document_fits_the_schema(schema: GraphQLSchema, name: str) -> None:
    assert [each.message for each in validate(schema, parse(DOCUMENTS[name]))] == []


def test_a_mistake_would_be_found(schema: GraphQLSchema) -> None:
    wrong = DOCUMENTS["shopify_orders.ORDERS"].replace("legacyResourceId", "legacyId")
    assert any("legacyId" in each.message for each in validate(schema, parse(wrong)))
    assert _problems(schema, DOCUMENTS["shopify_subscriptions.SUBSCRIBE"], {"topic": "ORDERS_PAYED"}) != []


def _problems(schema: GraphQLSchema, text: str, variables: dict[str, Any]) -> list[str]:
    document = parse(text)
    (operation,) = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    coerced = get_variable_values(schema, operation.variable_definitions, variables)
    errors = coerced if isinstance(coerced, list) else []
    return [each.message for each in (*validate(schema, document), *errors)]


def _hold(schema: GraphQLSchema, shop: StandIn) -> None:
    """Every request of a flow fits the schema, and so does every answer that the stand-in gave."""
    assert shop.asked
    for asked in shop.asked:
        assert _problems(schema, asked.document, asked.variables) == []
        assert _points(asked.document, asked.variables) <= POINTS_MAX


def _as_resolver(root: dict[str, Any]) -> dict[str, Any]:
    """The stand-in's functions as graphql-core calls them."""
    return {name: _wrapped(value) for name, value in root.items()}


def _wrapped(value: Any) -> Any:
    if callable(value):
        # The schema's own defaults come with every call; nothing of ours asks for the other direction.
        return lambda _info, **asked: _wrapped(value(**{k: v for k, v in asked.items() if k != "reverse"}))
    if isinstance(value, dict):
        return _as_resolver(value)
    return [_wrapped(each) for each in value] if isinstance(value, list) else value


async def test_the_reading_of_orders_fits(schema: GraphQLSchema) -> None:
    many = [refund(2, ["0.10"] * 4, number) for number in range(1, 6)]
    root = shop_of(admin_order(order(1)), admin_order(order(2), *many))
    async with standing_in(root) as shop:
        api = AdminApi(SHOP, TOKEN, site=shop.site)
        facts = await told(ShopifyOrders(api, shop=SHOP, money_is_live=True))
        await api.close()
        assert [len(each.reports) for each in facts] == [1, 6]
        _hold(schema, shop)
        for asked in shop.asked:
            # What the stand-in has is what the schema knows: enumerations, scalars, what may be null.
            answer = execute_sync(schema, parse(asked.document), _as_resolver(root), variable_values=asked.variables)
            assert answer.errors is None
            assert answer.data == shop.resolve(asked.document, asked.variables)


async def test_the_sync_of_products_fits(schema: GraphQLSchema) -> None:
    shelf = Shelf()
    async with standing_in(shelf.root()) as shop:
        api = AdminApi(SHOP, TOKEN, site=shop.site)
        assert len((await ShopifyProducts(api).sync(PACKAGES)).changed) == 2
        shelf.variants[0]["price"] = "9.99"
        assert len((await ShopifyProducts(api).sync(PACKAGES)).changed) == 1
        await api.close()
        _hold(schema, shop)


async def test_the_subscriptions_fit(schema: GraphQLSchema) -> None:
    async with standing_in() as shop:
        subscriptions(shop, [])
        api = AdminApi(SHOP, TOKEN, site=shop.site)
        assert len((await ShopifySubscriptions(api).ensure(URL)).created) == 4
        await api.close()
        _hold(schema, shop)


def _points(text: str, variables: dict[str, Any]) -> int:
    """A query's cost by Shopify's rule, at its dearest: 1 for an object, its size times what is in it for a list."""
    document = parse(text)
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}

    def cost(node: Any) -> int:
        if node.selection_set is None:
            return 0
        total = 0
        for selection in node.selection_set.selections:
            if not isinstance(selection, FieldNode):
                total += cost(fragments[selection.name.value])
                continue
            if selection.selection_set is None:
                continue
            sizes = [a.value for a in selection.arguments or () if a.name.value == "first"]
            size = value_from_ast_untyped(sizes[0], variables) if sizes else 1
            within = cost(selection)
            # A connection's own `nodes` is no further object; `pageInfo` costs nothing.
            free = selection.name.value in ("nodes", "pageInfo")
            total += within if free else size * (1 + within)
        return total

    (operation,) = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return cost(operation)


def test_the_package_is_not_kept() -> None:
    """Nothing of Shopify's lies in the tree."""
    assert list(Path(__file__).parent.glob("admin_*")) == []
