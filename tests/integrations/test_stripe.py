"""Stripe's door: signatures, amounts, the way to its API, and its checkout page (rows T-W and T-F)."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Unavailable
from domain.money import Money
from integrations.local import stripe as local
from integrations.local.pages import LocalCheckout
from integrations.services import CheckoutGateway, Signatures
from integrations.stripe import KeyReused, RateLimited, Refused, StripeApi, StripeCheckout, StripeSignatures, sign
from integrations.stripe_money import money_from_stripe, stripe_amount
from tests.integrations.stripe_stand_in import KEY, Answer, Asked, refusal, standing_in

PURCHASE = "pur_0123456789abcdefghjkmnpqrs"
USER = "usr_0123456789abcdefghjkmnpqrs"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PAGE = "https://checkout.stripe.com/c/pay/cs_test_a1"


class TestSignatures:
    BODY = b'{"id":"evt_1","name":"\xc3\xa9"}'

    @staticmethod
    def signed(secret: str, at: datetime, body: bytes = BODY) -> str:
        stamp = str(int(at.timestamp()))
        return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()

    def header(self, at: datetime, *parts: str) -> str:
        return ",".join([f"t={int(at.timestamp())}", *parts])

    def test_a_signature_is_of_exactly_these_bytes(self) -> None:  # T-W01
        signatures: Signatures = StripeSignatures(["whsec_new"], lambda: NOON)
        right = self.header(NOON, f"v1={self.signed('whsec_new', NOON)}")
        assert signatures.verify(self.BODY, right)
        assert not signatures.verify(json.dumps(json.loads(self.BODY)).encode(), right)
        assert not signatures.verify(self.BODY + b" ", right)

    @pytest.mark.parametrize("secrets", [["old"], ["new"], ["old", "new"], ["new", "old"]])
    def test_a_secret_counts_while_it_is_listed(self, secrets: list[str]) -> None:  # T-W02
        signatures = StripeSignatures(secrets, lambda: NOON)
        accepted = [each for each in ("old", "new") if signatures.verify(self.BODY, sign(self.BODY, each, NOON))]
        assert accepted == sorted(secrets, reverse=True)

    @pytest.mark.parametrize(
        ("seconds", "accepted"),
        [(-301, False), (-300, True), (-1, True), (0, True), (1, True), (300, True), (301, False), (10**9, False)],
    )
    def test_a_moment_counts_for_five_minutes_both_ways(self, seconds: int, accepted: bool) -> None:  # T-W10
        signatures = StripeSignatures(["s"], lambda: NOON)
        assert signatures.verify(self.BODY, sign(self.BODY, "s", NOON + timedelta(seconds=seconds))) is accepted

    def test_the_tolerance_is_a_setting(self) -> None:
        signatures = StripeSignatures(["s"], lambda: NOON, tolerance_seconds=10)
        assert not signatures.verify(self.BODY, sign(self.BODY, "s", NOON - timedelta(seconds=11)))

    def test_any_of_several_is_enough(self) -> None:  # T-W10
        signatures = StripeSignatures(["s"], lambda: NOON)
        right, wrong = f"v1={self.signed('s', NOON)}", f"v1={self.signed('other', NOON)}"
        for parts in ([right], [wrong, right], [right, wrong], [wrong, right, "v0=6ffbb59b"], ["v2=1", right]):
            assert signatures.verify(self.BODY, self.header(NOON, *parts)), parts

    def test_anything_else_is_refused(self) -> None:  # T-W01, T-W10
        signatures = StripeSignatures(["s"], lambda: NOON)
        digest, stamp = self.signed("s", NOON), int(NOON.timestamp())
        right = f"t={stamp},v1={digest}"
        assert signatures.verify(self.BODY, right)
        for wrong in (
            None,
            "",
            ",",
            "=",
            digest,
            f"v1={digest}",
            f"t={stamp}",
            f"t={stamp},v1=",
            f"t={stamp},v0={digest}",
            f"t={stamp + 1},v1={digest}",
            f"t={stamp},t={stamp},v1={digest}",
            f"t={stamp}.0,v1={digest}",
            f"t=-{stamp},v1={digest}",
            f"t= {stamp},v1={digest}",
            f"t={'9' * 400},v1={digest}",
            f"t=٣,v1={digest}",
            f"t={stamp},v1={digest[:-1]}",
            f"t={stamp},v1={digest}0",
            f"t={stamp},v1={digest.upper()}",
            f"t={stamp},V1={digest}",
            f"t={stamp},v1=\ud800é",
            f"t={stamp}" + f",v1={'0' * 64}" * 17 + f",v1={digest}",
            right + "," + "x" * 4096,
        ):
            assert not signatures.verify(self.BODY, wrong), wrong

    def test_no_secret_and_an_empty_secret_let_nothing_in(self) -> None:
        for secrets in ([], [""], ["", ""]):
            assert not StripeSignatures(secrets, lambda: NOON).verify(self.BODY, sign(self.BODY, "", NOON))
            assert not StripeSignatures(secrets, lambda: NOON).verify(self.BODY, "")

    def test_stripes_library_takes_our_signature(self) -> None:
        now = datetime.now(UTC)
        stripe.WebhookSignature.verify_header(self.BODY.decode(), sign(self.BODY, "s", now), "s", tolerance=300)
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.WebhookSignature.verify_header(self.BODY.decode(), sign(self.BODY, "other", now), "s", tolerance=300)

    @given(st.text(), st.binary())
    def test_no_header_raises(self, header: str, body: bytes) -> None:
        assert StripeSignatures(["s"], lambda: NOON).verify(body, header) is False


class TestAmounts:
    @pytest.mark.parametrize(
        ("money", "amount"),
        [
            (Money(499, "USD"), 499),
            (Money(780, "JPY"), 780),
            (Money(1530, "KWD"), 1530),
            (Money(500, "ISK"), 50000),
            (Money(19000, "UGX"), 1900000),
            (Money(230000, "MGA"), 2300),
            (Money(0, "EUR"), 0),
        ],
    )
    def test_there_and_back(self, money: Money, amount: int) -> None:  # T-W16
        assert stripe_amount(money) == amount
        assert money_from_stripe(amount, money.currency) == money

    @pytest.mark.parametrize("money", [Money(1535, "KWD"), Money(1, "MGA")])
    def test_what_stripe_cannot_take_is_not_rounded(self, money: Money) -> None:
        with pytest.raises(ValueError, match=f"Stripe takes no .* {money.currency}"):
            stripe_amount(money)

    def test_a_fraction_of_the_smallest_unit_is_none(self) -> None:
        assert money_from_stripe(50001, "ISK") is None


async def check_out(url: str, **changes: object) -> str:
    api = StripeApi(KEY, base_url=url)
    gateway: CheckoutGateway = StripeCheckout(api, "https://jiga.test/thanks", "https://jiga.test/shop")
    asked: dict[str, object] = {
        "purchase_id": PURCHASE,
        "user_id": USER,
        "email": "max@jiga.test",
        "sku": "DOF-150K-BRONZE",
        "quantity": 3,
        "price": Money(1497, "USD"),
    }
    try:
        return (await gateway.checkout(**(asked | changes))).url  # type: ignore[arg-type]
    finally:
        await gateway.close()


class TestCheckout:
    async def test_what_is_asked(self) -> None:
        async with standing_in(
            lambda asked: Answer({"id": "cs_1", "object": "checkout.session", "url": PAGE})
        ) as there:
            assert await check_out(there.url) == PAGE
        (asked,) = there.asked
        assert (asked.method, asked.path, asked.headers["authorization"]) == (
            "POST",
            "/v1/checkout/sessions",
            f"Bearer {KEY}",
        )
        carried = {
            "jiga_purchase_id": PURCHASE,
            "jiga_user_id": USER,
            "jiga_sku": "DOF-150K-BRONZE",
            "jiga_quantity": "3",
        }
        assert dict(asked.form) == {
            "mode": "payment",
            "client_reference_id": PURCHASE,
            "success_url": "https://jiga.test/thanks",
            "cancel_url": "https://jiga.test/shop",
            "line_items[0][quantity]": "3",
            "line_items[0][price_data][currency]": "usd",
            "line_items[0][price_data][unit_amount]": "499",
            "line_items[0][price_data][product_data][name]": "DOF-150K-BRONZE",
            **{f"metadata[{name}]": value for name, value in carried.items()},
            **{f"payment_intent_data[metadata][{name}]": value for name, value in carried.items()},
            "adaptive_pricing[enabled]": "false",
            "customer_email": "max@jiga.test",
        }

    @pytest.mark.parametrize(
        ("price", "currency", "unit_amount"),
        [(Money(900, "JPY"), "jpy", "300"), (Money(900, "ISK"), "isk", "30000"), (Money(900, "EUR"), "eur", "300")],
    )
    async def test_each_currency_has_its_own_places(self, price: Money, currency: str, unit_amount: str) -> None:
        async with standing_in(lambda asked: Answer({"url": PAGE})) as there:  # T-W16
            await check_out(there.url, price=price)
        form = dict(there.asked[0].form)
        assert form["line_items[0][price_data][currency]"] == currency
        assert form["line_items[0][price_data][unit_amount]"] == unit_amount

    async def test_one_intention_has_one_key_and_another_has_another(self) -> None:
        async with standing_in(lambda asked: Answer({"url": PAGE})) as there:
            for changes in ({}, {}, {"quantity": 1}, {"email": ""}, {"purchase_id": PURCHASE[:-1] + "t"}):
                await check_out(there.url, **changes)
        keys = [asked.key for asked in there.asked]
        assert keys[0] == keys[1]
        assert len(set(keys)) == 4
        assert str(keys[0]).startswith(f"checkout:{PURCHASE}:")
        assert "customer_email" not in dict(there.asked[3].form)

    async def test_a_lost_reply_is_tried_again_with_the_same_key(self) -> None:  # T-F07
        tries: list[Asked] = []

        def answer(asked: Asked) -> Answer:
            tries.append(asked)
            return Answer({"error": {}}, 503) if len(tries) == 1 else Answer({"url": PAGE})

        async with standing_in(answer) as there:
            assert await check_out(there.url) == PAGE
        assert [asked.key for asked in tries] == [tries[0].key] * 2

    @pytest.mark.parametrize(
        "answer",
        [
            refusal(400, "amount_too_large"),
            refusal(401),
            refusal(402, "card_declined", "card_error"),
            refusal(403),
            refusal(404, "resource_missing"),
            refusal(429, "rate_limit"),
            refusal(400, None, "idempotency_error"),
            refusal(500, None, "api_error"),
            Answer(b"<html>"),
            Answer(b"{"),
            Answer({"url": None}),
            Answer({}),
            Answer({"url": 7}),
        ],
        ids=range(13),
    )
    async def test_any_fault_is_unavailable_and_says_no_secret(
        self, answer: Answer, caplog: pytest.LogCaptureFixture
    ) -> None:  # T-P01
        caplog.set_level(logging.DEBUG)
        async with standing_in(lambda asked: answer) as there:
            with pytest.raises(Unavailable) as raised:
                await check_out(there.url)
        assert "try again" in raised.value.message
        for secret in (KEY, "canary", "max@jiga.test"):
            assert secret not in raised.value.message + str(raised.value) + caplog.text

    async def test_a_slow_or_absent_stripe_is_unavailable(self) -> None:
        async with standing_in(lambda asked: Answer({"url": PAGE}, after_seconds=5)) as there:
            api = StripeApi(KEY, base_url=there.url)
            with pytest.raises(Unavailable, match="no answer in time"):
                await api.ask(api.v1.accounts.retrieve_async("acct_1"), deadline_seconds=0.2)
            await api.close()
        with pytest.raises(Unavailable, match="APIConnectionError"):
            await check_out("http://127.0.0.1:9")


class TestApi:
    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (refusal(400, "amount_too_small"), Refused),
            (refusal(403, "account_invalid"), Refused),
            (refusal(400, None, "idempotency_error"), KeyReused),
            (refusal(429), RateLimited),
            (refusal(500), Unavailable),
            (Answer([]), Unavailable),
        ],
    )
    async def test_what_each_error_is(self, answer: Answer, expected: type[Exception]) -> None:
        async with standing_in(lambda asked: answer) as there:
            api = StripeApi(KEY, base_url=there.url)
            with pytest.raises(expected) as raised:
                await api.ask(api.v1.accounts.retrieve_async("acct_1"))
            await api.close()
            await api.close()
        assert type(raised.value) is expected

    @pytest.mark.parametrize(("after", "seconds"), [("7", 7), ("soon", None), ("", None), ("99999", None)])
    async def test_a_rate_limit_says_when(self, after: str, seconds: int | None) -> None:
        answer = Answer({"error": {}}, 429, {"Retry-After": after, "Stripe-Should-Retry": "false"})
        async with standing_in(lambda asked: answer) as there:
            api = StripeApi(KEY, base_url=there.url)
            with pytest.raises(RateLimited) as raised:
                await api.ask(api.v1.accounts.retrieve_async("acct_1"))
            await api.close()
        assert raised.value.retry_after_seconds == seconds

    @pytest.mark.parametrize(
        ("key", "test"), [("sk_test_1", True), ("rk_test_1", True), ("sk_live_1", False), ("rk_live_1", False)]
    )
    async def test_the_key_tells_the_mode(self, key: str, test: bool) -> None:  # T-W11
        api = StripeApi(key)
        assert api.is_test is test
        await api.close()


class TestLocal:
    async def test_the_page_carries_the_cart(self) -> None:
        gateway: CheckoutGateway = LocalCheckout(lambda: "http://127.0.0.1:8000/", local.PATH)
        checkout = await gateway.checkout(
            purchase_id=PURCHASE,
            user_id=USER,
            email="a+b&c=d@jiga.test",
            sku="DOF-150K-BRONZE",
            quantity=3,
            price=Money(1497, "USD"),
        )
        await gateway.close()
        parts = urlsplit(checkout.url)
        assert (parts.scheme, parts.netloc, parts.path) == ("http", "127.0.0.1:8000", "/local/checkout/stripe")
        assert dict(parse_qsl(parts.query)) == {
            "purchase_id": PURCHASE,
            "sku": "DOF-150K-BRONZE",
            "quantity": "3",
            "amount": "14.97",
            "currency": "USD",
            "email": "a+b&c=d@jiga.test",
            "user_id": USER,
        }

    def test_the_page_escapes_what_a_stranger_wrote(self) -> None:
        cart = local.Cart(PURCHASE, USER, '"><script>', "<b>", 1, Money(499, "USD"))
        html = local.page(cart)
        assert "<script>" not in html
        assert "<b>" not in html
        assert html.count('<button type="submit" name="choice"') == len(local.CHOICES)
