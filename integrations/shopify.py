"""Shopify: its signatures, its checkout page, and what its order webhooks tell.

Shapes: Shopify's Order and Refund resources as its webhooks post them. Only the body is signed. The topic and the shop
travel in headers that anybody can rewrite around a captured body, so nothing that moves money hangs on them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote, urlencode

from domain.errors import Unavailable
from domain.ids import Kind, is_id
from domain.money import Money, money_from_decimal
from domain.orders import NO_CURRENCY, FactKind, OrderFacts, OrderLine, Report
from domain.purchases import Rail
from integrations.payloads import Doubt, Malformed, parse_object, readable_email, shown
from integrations.services import Checkout

ORDER_TOPICS = frozenset({"orders/create", "orders/paid", "orders/cancelled"})
REFUND_TOPIC = "refunds/create"
PURCHASE_ATTRIBUTE = "jiga_purchase_id"
USER_ATTRIBUTE = "jiga_user_id"

_CAPTURED = frozenset(
    {"paid", "partially_refunded", "refunded"}
)  # the statuses of an order whose whole price was taken
_CREDIT = {"gift_card": "a gift card", "shopify_store_credit": "store credit"}
_ID_DIGITS_MAX = 32  # Shopify's ids are 64 bits, 20 digits: beyond 32 it is no id, and not worth keeping
_QUANTITY_MAX = 10**9  # above any cart, below any overflow; what a wallet may buy is the domain's bound
_MINOR_UNITS_MAX = 10**15  # a sum of refunds beyond this is no refund, and Firestore's integers have 64 bits


def sign(body: bytes, secret: str) -> str:
    """What Shopify sends as `X-Shopify-Hmac-Sha256`: the base64 of HMAC-SHA256 over the raw body."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


class ShopifySignatures:
    """Verifies webhooks against every secret that is valid now: two while one replaces the other (T-W02).

    No secret, or an empty one, verifies nothing: whoever knows that a secret is empty could sign with it.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def verify(self, body: bytes, signature: str | None) -> bool:
        """Whether `signature` is exactly the base64 that one of the secrets gives; every secret is tried, always."""
        sent = (signature or "").encode("utf-8", "surrogatepass")
        matches = [hmac.compare_digest(sign(body, secret).encode(), sent) for secret in self._secrets]
        return any(matches)


class ShopifyCheckout:
    """Sends a buyer to a cart permalink: no call to Shopify, so it cannot be slow or down.

    `variants` gives each SKU of the price table its numeric variant id (setting `JIGA_SHOPIFY_VARIANTS`).
    """

    def __init__(self, shop_domain: str, variants: Mapping[str, str]) -> None:
        self._shop_domain = shop_domain
        self._variants = dict(variants)

    async def checkout(
        self, *, purchase_id: str, user_id: str, email: str, sku: str, quantity: int, price: Money
    ) -> Checkout:
        """The permalink. Its attributes come back as the order's `note_attributes`; Shopify's variant sets the price.

        Raises Unavailable for a SKU that has no variant.
        """
        variant = self._variants.get(sku)
        if not variant:
            raise Unavailable(
                f"{sku} cannot be bought with Shopify yet: add its variant id to the setting JIGA_SHOPIFY_VARIANTS."
            )
        carried = {
            "checkout[email]": email,
            f"attributes[{PURCHASE_ATTRIBUTE}]": purchase_id,
            f"attributes[{USER_ATTRIBUTE}]": user_id,
        }
        query = urlencode(carried, quote_via=quote)
        return Checkout(f"https://{self._shop_domain}/cart/{quote(variant, safe='')}:{quantity}?{query}")

    async def close(self) -> None:
        """Nothing is open."""


def read_order(topic: str, shop: str, body: bytes) -> OrderFacts:
    """What a verified webhook tells of an order. Pure; one fact has one key, whatever topic tells it.

    `shop` becomes part of the order's identity, so it is the shop that the store is set up for, never the unsigned
    header as sent. Raises Malformed where the body is not JSON, not of the topic's shape, or names no order. A single
    value that cannot be read (amount, quantity, SKU) becomes the report's `doubt`: the order waits, it is not lost.
    """
    told = parse_object(body)
    if topic == REFUND_TOPIC:
        return _read_refund(shop.lower(), told)
    if topic not in ORDER_TOPICS:
        raise Malformed(f"{topic[:80]!r} is no topic of an order that the store reads")
    if "order_id" in told:
        raise Malformed("it names another order, as a refund does: it is not an order")
    # The topic is not signed, so a body that says it is not cancelled outweighs it; one that says nothing does not.
    cancelled = told.get("cancelled_at", topic == "orders/cancelled" or None) is not None
    if topic == "orders/cancelled" and not cancelled:
        raise Malformed("its cancelled_at is null: the order is not cancelled, whatever the topic says")
    status = told.get("financial_status")
    if status is not None and not isinstance(status, str):
        raise Malformed("its financial_status is no text")
    reports = []
    if status in _CAPTURED:
        reports.append(_paid(told))
    if cancelled:
        reports.append(Report("cancel", FactKind.CANCEL))
    return OrderFacts(
        rail=Rail.SHOPIFY,
        shop=shop.lower(),
        reference=_id(told, "id"),
        test=_flag(told, "test"),
        reports=tuple(reports),
        purchase_id=_attribute(told, PURCHASE_ATTRIBUTE, Kind.PURCHASE),
        email=_email(told),
        user_hint=_attribute(told, USER_ATTRIBUTE, Kind.USER),
    )


def _paid(order: Mapping[str, object]) -> Report:
    """The one fact that the order's price was captured: its original totals, which later refunds do not change."""
    money: Money | None = None
    gross: Money | None = None
    lines: tuple[OrderLine, ...] = ()
    doubt: str | None = None
    try:
        currency = _currency(order)
        gross = Money(_amount(order, "total_price", currency), currency)
        money = _goods(order, currency)
        lines = tuple(_line(item) for item in _items(order, "line_items"))
        _expect_captured_now(order, currency)
        _expect_unedited(order, currency)
    except Doubt as why:
        doubt = str(why)
    return Report("paid", FactKind.PAID, money, lines, doubt, gross)


def _goods(order: Mapping[str, object], currency: str) -> Money:
    """What was paid for the goods alone, in the shop's currency: without tax that came on top, shipping and tips."""
    paid = _amount(order, "total_price", currency)
    if not _flag(order, "taxes_included"):
        paid -= _amount(order, "total_tax", currency, absent=0)
    paid -= _shipping(order, currency) + _amount(order, "total_tip_received", currency, absent=0)
    if paid < 0:
        raise Doubt("its tax, shipping and tips are more than its total_price")
    return Money(paid, currency)


def _shipping(order: Mapping[str, object], currency: str) -> int:
    if order.get("total_shipping_price_set") is None:
        return sum(_amount(line, "price", currency) for line in _items(order, "shipping_lines"))
    shop_money = _object(_object(order, "total_shipping_price_set"), "shop_money")
    if shop_money.get("currency_code", currency) != currency:
        raise Doubt(f"its shipping is priced in another currency than {currency}")
    return _amount(shop_money, "amount", currency)


def _expect_captured_now(order: Mapping[str, object], currency: str) -> None:
    """Store credit was paid for earlier, maybe with stolen money or a promotion; money still owed was not captured."""
    for gateway, name in _CREDIT.items():
        if gateway in _list(order, "payment_gateway_names"):
            raise Doubt(f"{name} paid for it, at least in part")
    if order.get("total_outstanding") is not None:
        owed = money_from_decimal(_decimal(order["total_outstanding"]), currency)
        if owed is None or owed.minor_units > 0:
            raise Doubt(f"its total_outstanding is {shown(order['total_outstanding'])}, though it counts as paid")


def _expect_unedited(order: Mapping[str, object], currency: str) -> None:
    """Staff can change an order's lines before it is paid: `total_price` and `quantity` stay as they were, and what is
    paid for is the `current_total_price`. Refunds lower it too, so it tells nothing once there are some."""
    if order.get("financial_status") != "paid" or order.get("current_total_price") is None or order.get("cancelled_at"):
        return
    total, current = (_amount(order, name, currency) for name in ("total_price", "current_total_price"))
    if total != current:
        raise Doubt(f"it was edited: its current_total_price is {shown(order['current_total_price'])}")


def _line(item: Mapping[str, object]) -> OrderLine:
    """A line as sent. A deleted variant has no SKU: the domain sends what the price table does not know to review."""
    sku, quantity = item.get("sku"), item.get("quantity")
    if sku is not None and not isinstance(sku, str):
        raise Doubt(f"a line's SKU is {shown(sku)}, which is no text")
    if type(quantity) is not int or not 0 <= quantity <= _QUANTITY_MAX:
        raise Doubt(f"a line's quantity is {shown(quantity)}, which is no number of packages")
    return OrderLine((sku or "").encode("utf-8", "replace").decode(), quantity)


def _read_refund(shop: str, told: Mapping[str, object]) -> OrderFacts:
    """Money given back. Pending and failed transactions are not: a later webhook tells of them when they succeed."""
    reference, refund_id = _id(told, "order_id"), _id(told, "id")
    transactions = list(_items(told, "transactions"))
    given = [each for each in transactions if each.get("kind") == "refund" and each.get("status") == "success"]
    money, doubt = None, None
    try:
        money, doubt = _given_back(given, told)
    except Doubt as why:
        doubt = str(why)
    reports = (Report(f"refund:{refund_id}", FactKind.REFUND, money, doubt=doubt),)
    return OrderFacts(
        rail=Rail.SHOPIFY,
        shop=shop,
        reference=reference,
        test=any(_flag(each, "test") for each in transactions),
        reports=reports if doubt or (money and money.minor_units) else (),
    )


def _given_back(given: Sequence[Mapping[str, object]], refund: Mapping[str, object]) -> tuple[Money | None, str | None]:
    """The sum of the transactions, and a doubt where it is in another currency than the shop's books.

    A buyer who paid in a currency of their own is refunded in it; only the `*_set` amounts name the shop's.
    """
    currencies = {_currency(each) if each.get("currency") is not None else NO_CURRENCY for each in given}
    if len(currencies) > 1:
        raise Doubt(f"it gives money back in several currencies: {', '.join(sorted(currencies))}")
    for currency in currencies:
        minor_units = sum(_amount(each, "amount", currency) for each in given)
        if minor_units > _MINOR_UNITS_MAX:
            raise Doubt(f"it gives back more than {_MINOR_UNITS_MAX} of the smallest unit of {currency}")
        named = minor_units and currency != NO_CURRENCY
        foreign = named and any(code != currency for code in _shop_currencies(refund))
        return Money(minor_units, currency), f"it gives {currency} back, which is not the shop's" if foreign else None
    return None, None


def _shop_currencies(refund: Mapping[str, object]) -> Iterator[object]:
    sums = [refund.get("total_duties_set")]
    sums += [line.get("subtotal_set") for line in _items(refund, "refund_line_items")]
    sums += [line.get("amount_set") for line in _items(refund, "order_adjustments")]
    for both in sums:
        shop_money = both.get("shop_money") if isinstance(both, dict) else None
        if isinstance(shop_money, dict) and "currency_code" in shop_money:
            yield shop_money["currency_code"]


def _attribute(order: Mapping[str, object], name: str, kind: Kind) -> str | None:
    """An id that the cart carried. A buyer can write here, so what is no such id is not looked at."""
    attributes = order.get("note_attributes")
    for attribute in attributes if isinstance(attributes, list) else ():
        if isinstance(attribute, dict) and attribute.get("name") == name:
            value = attribute.get("value")
            if isinstance(value, str) and is_id(value, kind):
                return value
    return None


def _email(order: Mapping[str, object]) -> str | None:
    customer = order.get("customer")
    of_customer = customer.get("email") if isinstance(customer, dict) else None
    told = (order.get("email"), order.get("contact_email"), of_customer)
    return next((email for email in map(readable_email, told) if email is not None), None)


def _id(told: Mapping[str, object], name: str) -> str:
    value = told.get(name)
    if type(value) is not int or value <= 0 or value >= 10**_ID_DIGITS_MAX:
        raise Malformed(f"its {name} is {shown(value)}, which is no id of Shopify's")
    return str(value)


def _flag(told: Mapping[str, object], name: str) -> bool:
    value = told.get(name, False)
    if value is not None and type(value) is not bool:
        raise Malformed(f"its {name} is {shown(value)}, neither true nor false")
    return value is True


def _object(told: Mapping[str, object], name: str) -> dict[str, object]:
    value = told.get(name)
    if not isinstance(value, dict):
        raise Malformed(f"its {name} is no object")
    return value


def _list(told: Mapping[str, object], name: str) -> list[object]:
    value = told.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(f"its {name} is no list")
    return value


def _items(told: Mapping[str, object], name: str) -> Iterator[dict[str, object]]:
    for item in _list(told, name):
        if not isinstance(item, dict):
            raise Malformed(f"its {name} hold something that is no object")
        yield item


def _currency(told: Mapping[str, object]) -> str:
    currency = told.get("currency")
    if not isinstance(currency, str) or money_from_decimal("0", currency) is None:
        raise Doubt(f"its currency is {shown(currency)}, which is no currency")
    return currency


def _amount(told: Mapping[str, object], name: str, currency: str, *, absent: int | None = None) -> int:
    """An amount in minor units, never negative; `absent` stands for one that is not told. Raises Doubt."""
    value = told.get(name)
    if value is None and absent is not None:
        return absent
    money = money_from_decimal(_decimal(value), currency)
    if money is None or money.minor_units < 0:
        raise Doubt(f"its {name} is {shown(value)}, which is no amount of {currency}")
    return money.minor_units


def _decimal(value: object) -> str:
    """Amounts come as text; a JSON number is as exact, because `parse_object` keeps its digits."""
    return str(value) if isinstance(value, str) or type(value) is int else ""
