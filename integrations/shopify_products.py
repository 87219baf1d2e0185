"""The price table as products of the shop: one product for each package, with one variant that carries the SKU.

Shopify has a copy of our table: what a buyer gets is decided by the table, whatever the shop says (ruling 4).
`productSet` makes what is missing. It would delete from an existing product whatever it is not told of, other
metafields too, so an existing one is mended by the mutations that change only what they name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.money import money_from_decimal
from domain.purchases import Package
from integrations.shopify_admin import AdminApi, at, nodes

NAMESPACE = "jiga"
PACKAGES_MAX = 50  # the table has four; Shopify's search takes a query of this many
VARIANTS_MAX = 60  # found by one search, look-alikes included: what 1,000 points of query cost allow
_OPTION, _ONLY = "Title", "Default Title"  # Shopify's own words for a product without options

_VARIANT = """
fragment Sold on ProductVariant {
  id legacyResourceId sku price inventoryPolicy inventoryItem { requiresShipping }
  product {
    id title status variantsCount { count }
    metafields(first: 10, namespace: $namespace) { nodes { key type value } }
  }
}
"""
BY_SKU = (
    """
query BySku($query: String!, $first: Int!, $namespace: String!) {
  shop { currencyCode }
  productVariants(first: $first, query: $query) { nodes { ...Sold } }
}
"""
    + _VARIANT
)
BY_HANDLE = (
    """
query ByHandle($handle: String!, $namespace: String!) {
  productByIdentifier(identifier: { handle: $handle }) { variants(first: 2) { nodes { ...Sold } } }
}
"""
    + _VARIANT
)
MAKE = """
mutation Make($identifier: ProductSetIdentifiers!, $input: ProductSetInput!) {
  productSet(identifier: $identifier, input: $input, synchronous: true) {
    product { variants(first: 2) { nodes { legacyResourceId sku } } }
    userErrors { field message }
  }
}
"""
MEND = """
mutation Mend(
  $id: ID!, $product: ProductUpdateInput!, $variants: [ProductVariantsBulkInput!]!, $metafields: [MetafieldsSetInput!]!
) {
  productVariantsBulkUpdate(productId: $id, variants: $variants) { userErrors { field message } }
  metafieldsSet(metafields: $metafields) { userErrors { field message } }
  productUpdate(product: $product) { userErrors { field message } }
}
"""


@dataclass(frozen=True, slots=True)
class Synced:
    """`variants` gives each SKU its numeric variant id, as cart permalinks need it; `changed` was written just now;
    `problems` says by SKU what a person must mend in the shop first."""

    variants: dict[str, str]
    changed: tuple[str, ...]
    problems: dict[str, str]


class ShopifyProducts:
    """Brings the shop's products to the price table. The token needs the scope `write_products`."""

    def __init__(self, api: AdminApi) -> None:
        self._api = api

    async def sync(self, packages: Sequence[Package]) -> Synced:
        """Write what differs, leave what agrees; harmless when repeated. Raises AdminRefused, Unavailable.

        A new product is not on sale before a person publishes it to a sales channel.
        """
        assert len(packages) <= PACKAGES_MAX, f"a price table has at most {PACKAGES_MAX} packages"
        query = " OR ".join(f"sku:{json.dumps(package.sku)}" for package in packages)
        data = await self._api.ask(BY_SKU, {"query": query, "first": VARIANTS_MAX, "namespace": NAMESPACE})
        currency = at(data, "shop", "currencyCode")
        variants: dict[str, str] = {}
        changed: list[str] = []
        problems: dict[str, str] = {}
        for package in packages:
            sku = package.sku
            # The search is no exact one: it finds other letters, too.
            found = [each for each in nodes(data, "productVariants") if each.get("sku") == sku]
            if currency != package.price.currency:
                problems[sku] = f"the shop sells in {currency}, the price table in {package.price.currency}"
                continue
            try:
                variants[sku], written = await self._bring(package, found)
            except _Problem as problem:
                problems[sku] = str(problem)[:200]
                continue
            if written:
                changed.append(sku)
        return Synced(variants, tuple(changed), problems)

    async def _bring(self, package: Package, found: Sequence[Mapping[str, object]]) -> tuple[str, bool]:
        """The variant's id, and whether anything had to be written. Raises _Problem."""
        if not found:
            # What was made seconds ago, the search does not know yet.
            asked = {"handle": _handle(package), "namespace": NAMESPACE}
            product = at(await self._api.ask(BY_HANDLE, asked), "productByIdentifier")
            if product is None:
                return await self._make(package), True
            found = [each for each in nodes(product, "variants") if each.get("sku") == package.sku]
            if not found:
                raise _Problem(
                    f"the product {_handle(package)} is there without this SKU: rename it, or give it the SKU"
                )
        if len(found) > 1:
            raise _Problem("several variants carry this SKU: leave it to one")
        if at(found[0], "product", "variantsCount", "count") != 1:
            raise _Problem("its product has other variants: give it a product of its own")
        differs = not _agrees(found[0], package)
        if differs:
            await self._mend(package, found[0])
        return str(found[0].get("legacyResourceId")), differs

    async def _make(self, package: Package) -> str:
        """A new product. It is digital: nothing is shipped, and it never sells out."""
        variant = {
            "sku": package.sku,
            "price": package.price.decimal,
            "optionValues": [{"optionName": _OPTION, "name": _ONLY}],
            **_DIGITAL,
        }
        wanted = {
            "title": package.title,
            "handle": _handle(package),
            "status": "ACTIVE",
            "productOptions": [{"name": _OPTION, "values": [{"name": _ONLY}]}],
            "metafields": _metafields(package),
            "variants": [variant],
        }
        asked = {"identifier": {"handle": _handle(package)}, "input": wanted}
        told = at(await self._api.change(MAKE, asked), "productSet")
        _expect_no_errors(told)
        for each in nodes(told, "product", "variants"):
            if each.get("sku") == package.sku:
                return str(each.get("legacyResourceId"))
        raise _Problem("Shopify has made the product without its variant: run the sync again")

    async def _mend(self, package: Package, variant: Mapping[str, object]) -> None:
        owner = at(variant, "product", "id")
        asked = {
            "id": owner,
            "product": {"id": owner, "title": package.title, "status": "ACTIVE"},
            "variants": [{"id": variant.get("id"), "price": package.price.decimal, **_DIGITAL}],
            "metafields": [{"ownerId": owner, **each} for each in _metafields(package)],
        }
        told = await self._api.change(MEND, asked)
        for name in ("productVariantsBulkUpdate", "metafieldsSet", "productUpdate"):
            _expect_no_errors(told.get(name))


class _Problem(Exception):
    """Why a package cannot be brought to the shop by itself."""


_DIGITAL: Mapping[str, object] = {
    "inventoryPolicy": "CONTINUE",
    "inventoryItem": {"tracked": False, "requiresShipping": False},
}


def _handle(package: Package) -> str:
    return package.sku.lower()


def _metafields(package: Package) -> list[dict[str, str]]:
    told = [
        ("dof_amount", "number_integer", str(package.dof.units)),
        ("tier", "single_line_text_field", package.tier.value),
        ("bonus_dof", "number_integer", str(package.bonus_dof.units)),
    ]
    return [{"namespace": NAMESPACE, "key": key, "type": kind, "value": value} for key, kind, value in told]


def _expect_no_errors(told: object) -> None:
    for error in nodes(told, "userErrors"):
        raise _Problem(f"Shopify refuses: {error.get('message')}")


def _agrees(variant: Mapping[str, object], package: Package) -> bool:
    price = variant.get("price")
    metafields = nodes(variant, "product", "metafields")
    kept = [
        {"namespace": NAMESPACE, **{name: each.get(name) for name in ("key", "type", "value")}} for each in metafields
    ]
    return (
        money_from_decimal(price if isinstance(price, str) else "", package.price.currency) == package.price
        and variant.get("inventoryPolicy") == "CONTINUE"
        and at(variant, "inventoryItem", "requiresShipping") is False
        and at(variant, "product", "title") == package.title
        and at(variant, "product", "status") == "ACTIVE"
        and all(each in kept for each in _metafields(package))
    )
