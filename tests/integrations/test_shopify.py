"""Shopify's door: signatures, the cart permalink, and what an order's webhooks tell (rows T-W)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Unavailable
from domain.money import Dof, Money
from domain.orders import NO_CURRENCY, FactKind, Order, OrderFacts, OrderLine, Report, absorb
from domain.purchases import Package, Rail, Tier
from integrations.local import checkout as local
from integrations.local.pages import LocalCheckout
from integrations.payloads import Malformed
from integrations.services import CheckoutGateway, Signatures
from integrations.shopify import ShopifyCheckout, ShopifySignatures, read_order

PAYLOADS = Path(__file__).parent.parent / "payloads"
SHOP = "jiga.myshopify.com"
PURCHASE = "pur_0123456789abcdefghjkmnpqrs"
USER = "usr_0123456789abcdefghjkmnpqrs"
ORDER = "5678901234567890123"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PACKAGES = (
    Package("DOF-150K-BRONZE", "Bronze", Tier.BRONZE, Dof(150_000), Dof(0), Money(499, "USD")),
    Package("DOF-500K-SILVER", "Silver", Tier.SILVER, Dof(500_000), Dof(25_000), Money(1499, "USD")),
)
BOUGHT = 1_050_000  # two of DOF-500K-SILVER with their bonus: what the stored order is worth
PAID = Report(  # 29.98 for the goods and 2.40 of tax
    "paid", FactKind.PAID, Money(2998, "USD"), (OrderLine("DOF-500K-SILVER", 2),), gross=Money(3238, "USD")
)
TOPICS = ["orders/create", "orders/paid", "orders/cancelled", "refunds/create"]


def payload(name: str, /, **changes: object) -> bytes:
    told = json.loads((PAYLOADS / f"shopify_{name}.json").read_text("utf-8"))
    if "total_price" in changes:
        told["current_total_price"] = changes["total_price"]
    return json.dumps(told | changes).encode()


def paid(**changes: object) -> Report:
    (report,) = read_order("orders/paid", SHOP, payload("orders_paid", **changes)).reports
    return report


def refund(**changes: object) -> OrderFacts:
    return read_order("refunds/create", SHOP, payload("refunds_create", **changes))


def order_of(*told: OrderFacts) -> Order:
    order = Order(told[0].order_id, Rail.SHOPIFY, SHOP, told[0].reference, NOON)
    for facts in told:
        assert facts.order_id == order.id
        order = absorb(order, facts, PACKAGES, NOON)
    return order


def line(**changes: object) -> dict[str, object]:
    return {"id": 1, "sku": "DOF-500K-SILVER", "quantity": 2, "price": "14.99"} | changes


def transaction(**changes: object) -> dict[str, object]:
    return {"kind": "refund", "status": "success", "amount": "1.00", "currency": "USD", "test": False} | changes


class TestSignatures:
    BODY = b'{"id":1,"name":"\xc3\xa9"}'

    @staticmethod
    def signed(body: bytes, secret: str) -> str:
        return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()

    def test_a_signature_is_of_exactly_these_bytes(self) -> None:  # T-W01
        signatures: Signatures = ShopifySignatures(["old", "new"])
        right = self.signed(self.BODY, "new")
        assert signatures.verify(self.BODY, right)
        assert not signatures.verify(json.dumps(json.loads(self.BODY)).encode(), right)
        assert not signatures.verify(self.BODY + b" ", right)

    @pytest.mark.parametrize("secrets", [["old"], ["new"], ["old", "new"], ["new", "old"]])
    def test_a_secret_counts_while_it_is_listed(self, secrets: list[str]) -> None:  # T-W02
        signatures = ShopifySignatures(secrets)
        accepted = [secret for secret in ("old", "new") if signatures.verify(self.BODY, self.signed(self.BODY, secret))]
        assert accepted == sorted(secrets, reverse=True)

    def test_anything_else_is_refused(self) -> None:  # T-W01
        signatures = ShopifySignatures(["new"])
        right = self.signed(self.BODY, "new")
        hexadecimal = hmac.new(b"new", self.BODY, hashlib.sha256).hexdigest()
        for wrong in (None, "", "=", right[:-1], right + "=", f" {right}", right.lower(), hexadecimal, "é", "\ud800"):
            assert not signatures.verify(self.BODY, wrong), wrong

    def test_no_secret_and_an_empty_secret_let_nothing_in(self) -> None:
        for secrets in ([], [""], ["", ""]):
            assert not ShopifySignatures(secrets).verify(self.BODY, self.signed(self.BODY, ""))
            assert not ShopifySignatures(secrets).verify(self.BODY, "")

    def test_the_local_checkout_signs_as_shopify_does(self) -> None:
        assert local.sign(self.BODY, "new") == self.signed(self.BODY, "new")


class TestCheckout:
    async def test_a_permalink_carries_the_purchase(self) -> None:
        gateway: CheckoutGateway = ShopifyCheckout(SHOP, {"DOF-150K-BRONZE": "44100200300400"})
        checkout = await gateway.checkout(
            purchase_id=PURCHASE,
            user_id=USER,
            email="a+b&c=d@jiga.test",
            sku="DOF-150K-BRONZE",
            quantity=3,
            price=Money(1497, "USD"),
        )
        await gateway.close()
        assert checkout.url == (
            f"https://{SHOP}/cart/44100200300400:3?checkout%5Bemail%5D=a%2Bb%26c%3Dd%40jiga.test"
            f"&attributes%5Bjiga_purchase_id%5D={PURCHASE}&attributes%5Bjiga_user_id%5D={USER}"
        )

    @pytest.mark.parametrize("variants", [{}, {"DOF-150K-BRONZE": ""}])
    async def test_a_package_without_a_variant_names_the_setting(self, variants: dict[str, str]) -> None:
        with pytest.raises(Unavailable, match=r"DOF-150K-BRONZE .* JIGA_SHOPIFY_VARIANTS"):
            await ShopifyCheckout(SHOP, variants).checkout(
                purchase_id=PURCHASE, user_id=USER, email="", sku="DOF-150K-BRONZE", quantity=1, price=Money(499, "USD")
            )


class TestOrders:
    def test_a_paid_order_tells_all(self) -> None:
        assert read_order("orders/paid", SHOP, payload("orders_paid")) == OrderFacts(
            rail=Rail.SHOPIFY,
            shop=SHOP,
            reference=ORDER,
            test=False,
            reports=(PAID,),
            purchase_id=PURCHASE,
            email="max@jiga.test",
            user_hint=USER,
        )

    def test_create_and_paid_tell_one_fact(self) -> None:  # T-W06
        told = [read_order(topic, SHOP, payload("orders_paid")) for topic in ("orders/create", "orders/paid")]
        assert told[0] == told[1]
        assert order_of(*told).target == Dof(BOUGHT)

    def test_the_shop_is_one_however_it_is_written(self) -> None:
        told = read_order("orders/paid", SHOP.upper(), payload("orders_paid"))
        assert told.order_id == read_order("orders/paid", SHOP, payload("orders_paid")).order_id

    @pytest.mark.parametrize("status", ["paid", "partially_refunded", "refunded"])
    def test_captured_money_counts(self, status: str) -> None:
        assert paid(financial_status=status) == paid()

    @pytest.mark.parametrize(
        "status", ["authorized", "pending", "partially_paid", "voided", "expired", "PAID", "paid ", "", None]
    )
    def test_money_that_is_not_captured_does_not(self, status: str | None) -> None:  # T-W23
        for topic in ("orders/create", "orders/paid"):
            assert read_order(topic, SHOP, payload("orders_paid", financial_status=status)).reports == ()

    @pytest.mark.parametrize("number", [2**53 + 1, 2**63 + 1, 1, 10**20 + 1])
    def test_an_id_is_kept_exact(self, number: int) -> None:  # T-W25
        assert read_order("orders/paid", SHOP, payload("orders_paid", id=number)).reference == str(number)
        assert refund(order_id=number).reference == str(number)
        assert refund(id=number).reports[0].key == f"refund:{number}"

    @pytest.mark.parametrize(
        "number", ["1e3", "1000.0", "-1", "0", "true", "null", '"5"', "[]", "1" + "0" * 32, "9" * 5000]
    )
    def test_an_id_that_is_none_is_malformed(self, number: str) -> None:  # T-W25
        with pytest.raises(Malformed):
            read_order("orders/paid", SHOP, f'{{"id": {number}, "financial_status": "pending"}}'.encode())
        with pytest.raises(Malformed):
            read_order("refunds/create", SHOP, f'{{"id": {number}, "order_id": 1}}'.encode())
        with pytest.raises(Malformed):
            read_order("refunds/create", SHOP, f'{{"id": 1, "order_id": {number}}}'.encode())

    def test_a_test_order_says_so(self) -> None:  # T-W11
        assert read_order("orders/paid", SHOP, payload("orders_paid", test=True)).test is True
        assert read_order("orders/paid", SHOP, payload("orders_paid", test=None)).test is False


class TestMoney:
    @pytest.mark.parametrize(
        ("changes", "minor_units"),
        [
            ({}, 2998),
            ({"taxes_included": True}, 3238),
            ({"total_tax": None}, 3238),
            ({"total_price": "30.98", "total_tax": "0.00", "total_tip_received": "1.00"}, 2998),
            ({"total_price": "37.38", "total_shipping_price_set": {"shop_money": {"amount": "5.00"}}}, 2998),
            (
                {
                    "total_price": "37.38",
                    "total_shipping_price_set": None,
                    "shipping_lines": [{"price": "2.00"}, {"price": "3.00"}],
                },
                2998,
            ),
            ({"total_price": "2.40"}, 0),  # a discount of 100 % (T-W15)
            ({"total_price": 32, "total_tax": 2.4}, 2960),  # numbers instead of text are as exact
            ({"total_price": "32.3800"}, 2998),
            # What was refunded later is not what was paid.
            ({"current_total_price": "0.00", "financial_status": "refunded"}, 2998),
            ({"total_outstanding": "-3.00"}, 2998),
        ],
    )
    def test_what_the_goods_cost(self, changes: dict[str, object], minor_units: int) -> None:
        report = paid(**changes)
        assert (report.money, report.doubt) == (Money(minor_units, "USD"), None)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"taxes_included": True},
            {"total_tip_received": "1.00"},
            {"current_total_price": "0.00", "financial_status": "refunded"},
        ],
    )
    def test_what_was_captured_is_the_whole_price(self, changes: dict[str, object]) -> None:
        """Refunds give back parts of it, tax and shipping included."""
        assert paid(**changes).gross == Money(3238, "USD")
        assert paid(**changes, total_price="32.4").gross == Money(3240, "USD")

    @pytest.mark.parametrize(
        ("currency", "price", "expected"),
        [("JPY", "780", Money(780, "JPY")), ("KWD", "1.535", Money(1535, "KWD")), ("EUR", "4.99", Money(499, "EUR"))],
    )
    def test_each_currency_has_its_own_places(self, currency: str, price: str, expected: Money) -> None:  # T-W16
        changes = {"currency": currency, "total_price": price, "total_tax": "0", "total_shipping_price_set": None}
        report = paid(**changes)
        assert (report.money, report.doubt) == (expected, None)
        told = read_order("orders/paid", SHOP, payload("orders_paid", **changes))
        assert order_of(told).target == Dof(0)
        assert "where the price table asks 29.98 USD" in order_of(told).doubts[0]

    def test_the_buyers_own_currency_does_not_matter(self) -> None:  # T-W16
        both = {
            "shop_money": {"amount": "32.38", "currency_code": "USD"},
            "presentment_money": {"amount": "4890", "currency_code": "JPY"},
        }
        assert paid(presentment_currency="JPY", total_price_set=both) == paid()

    @pytest.mark.parametrize(
        "amount",
        [
            *(
                "1e3",
                "0x10",
                " 5",
                "٣",
                "+5",
                "",
                ".",
                "5.",
                ".5",
                "1,50",
                "NaN",
                "Infinity",
                "4.999",
                "-1.00",
                "9" * 10**6,
            ),
            *(None, True, [], {}, 1e300, -1),
        ],
    )
    def test_an_unreadable_amount_is_a_doubt(self, amount: object) -> None:  # T-M02
        report = paid(total_price=amount)
        assert report.money is None
        assert report.doubt is not None
        assert report.doubt.startswith("its total_price is ")
        assert report.doubt.endswith(", which is no amount of USD")
        assert len(report.doubt) < 120

    @pytest.mark.parametrize(
        ("changes", "doubt"),
        [
            ({"currency": None}, "its currency is None, which is no currency"),
            ({"currency": "usd"}, "its currency is 'usd', which is no currency"),
            ({"currency": "\ud800AB"}, "its currency is '\\ud800AB', which is no currency"),
            ({"total_tax": "x"}, "its total_tax is 'x', which is no amount of USD"),
            ({"total_tax": "99.00"}, "its tax, shipping and tips are more than its total_price"),
            (
                {"total_shipping_price_set": {"shop_money": {"amount": "5", "currency_code": "CAD"}}},
                "its shipping is priced in another currency than USD",
            ),
            ({"total_tip_received": "-5.00"}, "its total_tip_received is '-5.00', which is no amount of USD"),
            ({"payment_gateway_names": ["shopify_payments", "gift_card"]}, "a gift card paid for it, at least in part"),
            ({"payment_gateway_names": ["shopify_store_credit"]}, "store credit paid for it, at least in part"),
            ({"current_total_price": "16.19"}, "it was edited: its current_total_price is '16.19'"),
            ({"current_total_price": "64.76"}, "it was edited: its current_total_price is '64.76'"),
            ({"current_total_price": "?"}, "its current_total_price is '?', which is no amount of USD"),
            ({"total_outstanding": "0.01"}, "its total_outstanding is '0.01', though it counts as paid"),
            ({"total_outstanding": "?"}, "its total_outstanding is '?', though it counts as paid"),
        ],
    )
    def test_why_a_human_must_look(self, changes: dict[str, object], doubt: str) -> None:  # T-W15, T-W16
        assert paid(**changes).doubt == doubt
        told = read_order("orders/paid", SHOP, payload("orders_paid", **changes))
        order = order_of(told)
        assert (order.target, order.doubts) == (Dof(0), (doubt,))

    @pytest.mark.parametrize("price", ["0.01", "0.00", "32.37", "32.39", "999999999999999.99"])
    def test_another_price_than_the_tables_buys_nothing(self, price: str) -> None:  # T-W15
        told = read_order("orders/paid", SHOP, payload("orders_paid", total_price=price, taxes_included=True))
        assert told.reports[0].doubt is None
        assert order_of(told).target == Dof(0)
        assert "where the price table asks 29.98 USD" in order_of(told).doubts[0]


class TestLines:
    @pytest.mark.parametrize(
        "lines",
        [
            [line(sku=sku)]
            for sku in ("DOF-9M", "dof-500k-silver", "DOF-500K-SILVER ", "", None, "DOF-500K-SІLVER", "\ud800", "\0")
        ]
        + [
            [line(), line(sku="T-SHIRT", quantity=1)],  # goods beside the packages
            [line(quantity=0)],
            [line(quantity=101)],
            [line(quantity=10**9)],
            [line(quantity=1)] * 251,
            [line(quantity=3)],
            [],
            None,
        ],
    )
    def test_lines_the_price_table_cannot_value_go_to_review(self, lines: object) -> None:  # T-W14, T-W17
        told = read_order("orders/paid", SHOP, payload("orders_paid", line_items=lines))
        assert told.reports[0].doubt is None
        order = order_of(told)
        assert (order.target, len(order.doubts), order.is_paid) == (Dof(0), 1, True)
        order.doubts[0].encode()

    def test_lines_are_told_as_sent(self) -> None:
        lines = [line(quantity=1), line(quantity=1), line(sku=None, quantity=0), line(sku="\ud800x", quantity=10**9)]
        assert paid(line_items=lines).lines == (
            OrderLine("DOF-500K-SILVER", 1),
            OrderLine("DOF-500K-SILVER", 1),
            OrderLine("", 0),
            OrderLine("?x", 10**9),
        )

    @pytest.mark.parametrize("quantity", [-1, 1.5, "3", True, None, 10**9 + 1, 10**4000, [], "٣"])
    def test_a_quantity_that_is_none_is_a_doubt(self, quantity: object) -> None:  # T-W17
        report = paid(line_items=[line(quantity=quantity)])
        assert report.doubt is not None
        assert report.doubt.startswith("a line's quantity is ")
        assert len(report.doubt) < 120

    def test_a_sku_that_is_no_text_is_a_doubt(self) -> None:
        assert paid(line_items=[line(sku=5)]).doubt == "a line's SKU is 5, which is no text"

    def test_250_lines_fit(self) -> None:  # T-W17
        told = read_order(
            "orders/paid",
            SHOP,
            payload("orders_paid", line_items=[line(quantity=1)] * 250, total_price="3747.50", total_tax="0.00"),
        )
        assert order_of(told).target == Dof(250 * 525_000)


class TestWho:
    @pytest.mark.parametrize(
        ("attributes", "purchase_id"),
        [
            ([{"name": "jiga_purchase_id", "value": PURCHASE}], PURCHASE),
            ([{"name": "jiga_purchase_id", "value": "x"}, {"name": "jiga_purchase_id", "value": PURCHASE}], PURCHASE),
            ([{"name": "jiga_purchase_id", "value": USER}], None),
            ([{"name": "jiga_purchase_id", "value": PURCHASE.upper()}], None),
            ([{"name": "jiga_purchase_id", "value": 5}], None),
            ([{"name": "other", "value": PURCHASE}], None),
            (["x", None, {}], None),
            ({"jiga_purchase_id": PURCHASE}, None),
            ([], None),
            (None, None),
        ],
    )
    def test_the_purchase_is_named_by_a_purchase_id(self, attributes: object, purchase_id: str | None) -> None:
        told = read_order("orders/paid", SHOP, payload("orders_paid", note_attributes=attributes))
        assert told.purchase_id == purchase_id
        assert told.reports == (paid(),)

    @pytest.mark.parametrize(
        ("email", "contact_email", "customer", "expected"),
        [
            (" A@B.test ", "c@d.test", {"email": "e@f.test"}, "a@b.test"),
            ("", "C@d.test", {"email": "e@f.test"}, "c@d.test"),
            (None, None, {"email": "E@f.test"}, "e@f.test"),
            (None, None, None, None),
            (5, ["x@y.test"], "x@y.test", None),
            ("no address", "\ud800@x.test", {"email": "a\0@b.test"}, None),
            ("a" * 320 + "@b.test", None, {}, None),
        ],
    )
    def test_the_email(self, email: object, contact_email: object, customer: object, expected: str | None) -> None:
        body = payload("orders_paid", email=email, contact_email=contact_email, customer=customer)
        assert read_order("orders/paid", SHOP, body).email == expected


class TestUndo:
    def test_a_refund_tells_what_succeeded(self) -> None:
        assert refund() == OrderFacts(
            rail=Rail.SHOPIFY,
            shop=SHOP,
            reference=ORDER,
            test=False,
            reports=(Report("refund:929361463001", FactKind.REFUND, Money(1619, "USD")),),
        )

    @pytest.mark.parametrize(
        ("transactions", "minor_units"),
        [
            ([transaction(), transaction(amount="2.34")], 334),
            ([transaction(), transaction(status="pending"), transaction(status="failure")], 100),
            ([transaction(), transaction(kind="void"), transaction(kind="sale"), transaction(kind=None)], 100),
        ],
    )
    def test_only_successful_refunds_are_summed(self, transactions: object, minor_units: int) -> None:
        assert refund(transactions=transactions).reports[0].money == Money(minor_units, "USD")

    @pytest.mark.parametrize(
        "transactions",
        [
            [],
            None,
            [transaction(status="pending", amount="?")],
            [transaction(amount="0.00")],
            [transaction(kind="void")],
        ],
    )
    def test_nothing_given_back_is_nothing_told(self, transactions: object) -> None:
        told = refund(transactions=transactions)
        assert (told.reports, told.reference) == ((), ORDER)

    @pytest.mark.parametrize(
        ("transactions", "doubt"),
        [
            ([transaction(amount="1e3")], "its amount is '1e3', which is no amount of USD"),
            ([transaction(amount="-1.00")], "its amount is '-1.00', which is no amount of USD"),
            ([transaction(currency="usd")], "its currency is 'usd', which is no currency"),
            ([transaction(currency=1)], "its currency is 1, which is no currency"),
            ([transaction(), transaction(currency=None)], "it gives money back in several currencies: USD, XXX"),
            ([transaction(), transaction(currency="CAD")], "it gives money back in several currencies: CAD, USD"),
            (
                [transaction(amount="999999999999999.99")],
                "it gives back more than 1000000000000000 of the smallest unit of USD",
            ),
        ],
    )
    def test_an_unreadable_refund_is_a_doubt(self, transactions: object, doubt: str) -> None:
        (report,) = refund(transactions=transactions).reports
        assert report == Report("refund:929361463001", FactKind.REFUND, None, doubt=doubt)

    @pytest.mark.parametrize("absent", [{"currency": None}, {}])
    def test_a_refund_that_names_no_currency_is_in_its_orders(self, absent: dict[str, object]) -> None:
        given = {name: value for name, value in transaction().items() if name != "currency"} | absent
        (report,) = refund(transactions=[given, given]).reports
        assert (report.money, report.doubt) == (Money(200, NO_CURRENCY), None)

    def test_a_refund_in_the_buyers_currency_is_a_doubt(self) -> None:  # T-W16
        (report,) = refund(transactions=[transaction(amount="780", currency="JPY")]).reports
        assert report.money == Money(780, "JPY")
        assert report.doubt == "it gives JPY back, which is not the shop's"

    def test_test_money_is_told_by_the_transactions(self) -> None:  # T-W11
        assert refund(transactions=[transaction(test=True)]).test is True

    @pytest.mark.parametrize(
        ("status", "kinds"),
        [("refunded", [FactKind.PAID, FactKind.CANCEL]), ("voided", [FactKind.CANCEL]), (None, [FactKind.CANCEL])],
    )
    def test_a_cancellation_tells_the_payment_too(self, status: str | None, kinds: list[FactKind]) -> None:
        told = read_order("orders/cancelled", SHOP, payload("orders_cancelled", financial_status=status))
        assert [report.kind for report in told.reports] == kinds
        assert told.reports[-1] == Report("cancel", FactKind.CANCEL)

    def test_any_order_of_arrival_ends_alike(self) -> None:  # T-W04, T-W05
        bought, cancelled = payload("orders_paid"), payload("orders_cancelled")
        created = read_order("orders/create", SHOP, bought)
        settled = read_order("orders/paid", SHOP, bought)
        gone = read_order("orders/cancelled", SHOP, cancelled)
        half = Dof(BOUGHT * (3238 - 1619) // 3238)
        assert order_of(created, refund(), settled).target == order_of(refund(), settled, created).target == half
        assert order_of(gone).facts == order_of(settled, gone).facts == order_of(gone, created, settled).facts
        assert order_of(gone, settled).target == Dof(0)
        assert order_of(refund()).target == Dof(0)

    def test_a_topic_cannot_make_a_payment_a_cancellation(self) -> None:  # T-W19: the topic is not signed
        with pytest.raises(Malformed, match="its cancelled_at is null"):
            read_order("orders/cancelled", SHOP, payload("orders_paid"))
        told = read_order("orders/paid", SHOP, payload("orders_cancelled"))
        assert told == read_order("orders/cancelled", SHOP, payload("orders_cancelled"))

    def test_a_body_that_does_not_say_is_cancelled_where_the_topic_says_so(self) -> None:
        told = json.loads(payload("orders_paid"))
        del told["cancelled_at"]
        body = json.dumps(told).encode()
        kinds = {
            topic: [report.kind for report in read_order(topic, SHOP, body).reports]
            for topic in ("orders/create", "orders/paid", "orders/cancelled")
        }
        assert kinds == {
            "orders/create": [FactKind.PAID],
            "orders/paid": [FactKind.PAID],
            "orders/cancelled": [FactKind.PAID, FactKind.CANCEL],
        }

    @pytest.mark.parametrize("topic", ["orders/create", "orders/paid", "orders/cancelled"])
    def test_a_refund_is_no_order_and_an_order_no_refund(self, topic: str) -> None:  # T-W19
        with pytest.raises(Malformed):
            read_order(topic, SHOP, payload("refunds_create"))
        with pytest.raises(Malformed):
            read_order("refunds/create", SHOP, payload("orders_paid"))

    def test_a_topic_that_is_not_read_is_malformed(self) -> None:
        for topic in ("orders/edited", "", "ORDERS/PAID", "x" * 10_000):
            with pytest.raises(Malformed, match="is no topic of an order"):
                read_order(topic, SHOP, payload("orders_paid"))


class TestMalformed:
    @pytest.mark.parametrize("topic", TOPICS)
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"1",
            b'"x"',
            b"[]",
            b"{}",
            b'{"id": 1, "order_id": 1',
            b'{"id": 1, "order_id": 1}x',
            b'\xef\xbb\xbf{"id": 1, "order_id": 1}',
            b'{"id": 1, "order_id": 1, "note": "\xff"}',
            b'{"id": 1, "order_id": 1, "note": "\xed\xa0\x80"}',
            '{"id": 1, "order_id": 1}'.encode("utf-16"),
            b'{"id": 1, "order_id": 1, "x": NaN}',
            b'{"id": 1, "order_id": 1, "x": -Infinity}',
            b'{"id": 1, "id": 1, "order_id": 1}',
            b'{"id": 1, "order_id": 1, "x": {"y": 1, "y": 2}}',
            b'{"id": 1, "order_id": 1, "x": "\0"}',
            b'{"id": 1, "order_id": 1, "x": ' + b"9" * 10_000 + b"}",
            b'{"id": 1, "order_id": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b'{"a": ' * 100_000,
        ],
    )
    def test_a_body_that_is_no_json_object_is_refused(self, topic: str, body: bytes) -> None:  # T-W18
        with pytest.raises(Malformed):
            read_order(topic, SHOP, body)

    @pytest.mark.parametrize(
        "changes",
        [
            {"financial_status": 1},
            {"financial_status": ["paid"]},
            {"test": "true"},
            {"test": 1},
            {"taxes_included": "no"},
            {"line_items": "x"},
            {"line_items": [None]},
            {"line_items": {"0": {}}},
            {"payment_gateway_names": "gift_card"},
            {"total_shipping_price_set": "5.00"},
            {"total_shipping_price_set": {}},
            {"total_shipping_price_set": None, "shipping_lines": ["5.00"]},
        ],
    )
    def test_an_order_of_another_shape_is_refused(self, changes: dict[str, object]) -> None:
        with pytest.raises(Malformed):
            paid(**changes)

    @pytest.mark.parametrize("transactions", ["x", [None], {}, [transaction(test="no")]])
    def test_a_refund_of_another_shape_is_refused(self, transactions: object) -> None:
        with pytest.raises(Malformed):
            refund(transactions=transactions)

    def test_deep_values_are_read_or_malformed(self) -> None:  # around the depth at which Python gives up
        for depth in range(850, 1010):
            deep = b"[" * depth + b"]" * depth
            for topic, body in (
                ("orders/paid", b'{"id": %b}' % deep),
                ("orders/paid", b'{"id": 1, "financial_status": "paid", "currency": "USD", "total_price": %b}' % deep),
                ("refunds/create", b'{"id": 1, "order_id": 1, "transactions": [{"test": %b}]}' % deep),
            ):
                try:
                    (report,) = read_order(topic, SHOP, body).reports
                except Malformed:
                    continue
                assert report.doubt is not None

    def test_text_in_any_script_is_fine(self) -> None:  # T-W18
        body = (PAYLOADS / "shopify_orders_paid.json").read_bytes()
        assert "🎮".encode() in body
        assert read_order("orders/paid", SHOP, body).reports == (paid(),)


KEYS = st.sampled_from(sorted(json.loads(payload("orders_paid")).keys() | json.loads(payload("refunds_create")).keys()))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["paid", "USD", "refund", "success", "1.00", "DOF-150K-BRONZE"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["sku", "quantity", "amount", "currency", "kind", "status", "shop_money", "name"]), inner
        )
    ),
    max_leaves=8,
)


class TestFuzz:
    @settings(max_examples=300, deadline=None, database=None)
    @given(st.sampled_from(TOPICS), st.sampled_from(["orders_paid", "refunds_create"]), st.dictionaries(KEYS, JSON))
    def test_any_change_to_a_payload_is_read_or_malformed(
        self, topic: str, name: str, changes: dict[str, object]
    ) -> None:
        try:
            told = read_order(topic, SHOP, payload(name, **changes))
        except Malformed:
            return
        order = order_of(told)
        assert Dof(0) <= order.target <= Dof(BOUGHT * 50)
        assert repr(told).encode()

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.sampled_from(TOPICS), st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()))
    def test_any_body_is_read_or_malformed(self, topic: str, body: bytes) -> None:
        with pytest.raises(Malformed):
            read_order(topic, SHOP, body)


class TestLocalCheckout:
    CART = local.Cart(PURCHASE, USER, "max@jiga.test", "DOF-500K-SILVER", 2, Money(2998, "USD"))

    async def test_the_address_carries_the_cart(self) -> None:
        ports = [8000]
        gateway: CheckoutGateway = LocalCheckout(lambda: f"http://127.0.0.1:{ports[0]}/", local.PATH)
        ports[0] = 8123
        checkout = await gateway.checkout(
            purchase_id=PURCHASE,
            user_id=USER,
            email="a+b&c@jiga.test",
            sku="DOF-150K-BRONZE",
            quantity=3,
            price=Money(1497, "USD"),
        )
        await gateway.close()
        url = urlsplit(checkout.url)
        assert (url.scheme, url.netloc, url.path) == ("http", "127.0.0.1:8123", "/local/checkout/shopify")
        assert parse_qsl(url.query, strict_parsing=True) == [
            ("purchase_id", PURCHASE),
            ("sku", "DOF-150K-BRONZE"),
            ("quantity", "3"),
            ("amount", "14.97"),
            ("currency", "USD"),
            ("email", "a+b&c@jiga.test"),
            ("user_id", USER),
        ]

    def test_the_page_escapes_what_it_shows(self) -> None:
        attack = "\"><script>alert('x')</script>&"
        html = local.page(local.Cart(attack, attack, attack, attack, 1, Money(499, attack)))
        assert "<script" not in html
        assert html.count("&quot;&gt;&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;") == 8
        assert '<form method="post" action="/local/checkout/shopify">' in html

    @pytest.mark.parametrize("topic", ["orders/create", "orders/paid"])
    def test_its_order_reads_as_shopifys_does(self, topic: str) -> None:
        told = read_order(topic, SHOP, local.order_payload(self.CART, at=NOON, test=True))
        assert told == OrderFacts(
            rail=Rail.SHOPIFY,
            shop=SHOP,
            reference=str(local.order_number("order", PURCHASE)),
            test=True,
            reports=(replace(PAID, gross=Money(2998, "USD")),),  # without tax, all that was captured is the price
            purchase_id=PURCHASE,
            email="max@jiga.test",
            user_hint=USER,
        )
        assert 2**61 <= int(told.reference) < 2**62

    def test_it_can_be_refunded_and_cancelled(self) -> None:
        bought = read_order("orders/paid", SHOP, local.order_payload(self.CART, at=NOON, test=False))
        parts = [
            read_order(
                "refunds/create",
                SHOP,
                local.refund_payload(purchase_id=PURCHASE, refund=name, amount=Money(1499, "USD"), at=NOON, test=False),
            )
            for name in ("1", "1", "2")
        ]
        gone = read_order("orders/cancelled", SHOP, local.cancel_payload(self.CART, at=NOON, test=False))
        assert order_of(bought).target == Dof(BOUGHT)
        assert order_of(bought, *parts[:2]).target == Dof(BOUGHT // 2)
        assert order_of(bought, *parts).target == Dof(0)
        assert order_of(gone).facts == order_of(bought, gone).facts
        assert order_of(gone).is_cancelled

    def test_an_order_that_is_not_paid_credits_nothing(self) -> None:
        body = local.order_payload(self.CART, at=NOON, test=False, financial_status="pending")
        assert read_order("orders/create", SHOP, body).reports == ()
