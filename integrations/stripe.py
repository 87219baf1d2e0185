"""Stripe: the way to its API, its signatures, and its checkout page. What its events tell is in `stripe_events`."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from domain.errors import Unavailable
from domain.ids import fingerprint
from domain.money import Money
from integrations.payloads import Malformed, parse_object
from integrations.services import Checkout
from integrations.stripe_events import PURCHASE_METADATA, QUANTITY_METADATA, SKU_METADATA, USER_METADATA
from integrations.stripe_money import stripe_amount

if TYPE_CHECKING:
    import stripe
    from stripe.params.checkout import SessionCreateParams

DEADLINE_SECONDS = 2.0  # whatever we wait for answers, or is UNAVAILABLE, within 2 s
PAGE_DEADLINE_SECONDS = 10.0  # for listings, which only reconciliation waits for
TOLERANCE_SECONDS = 300  # docs.stripe.com/webhooks: the default; both ways, unlike its library
NETWORK_RETRIES = 1  # by Stripe's library, with the same idempotency key, inside the deadline

_HEADER_CHARACTERS_MAX = 4096
_SIGNATURES_MAX = 16  # Stripe signs with each secret that is valid: two while one replaces the other
_STAMP = re.compile(r"[0-9]{1,12}")
_CODE = re.compile(r"[a-z0-9_]{1,60}")
_RETRY_AFTER = re.compile(r"[0-9]{1,4}")


class Refused(Exception):
    """Stripe understood a call and says no; `code` is its word for why. The same call will get the same answer."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class KeyReused(Unavailable):
    """The idempotency key was used within a day for another call, which may well have done something: not a no."""

    def __init__(self) -> None:
        super().__init__("Stripe knows this key from another call: try again once it is known what that one did.")


class RateLimited(Unavailable):
    """Stripe takes no more calls for now; `retry_after_seconds` is None where it does not say for how long."""

    def __init__(self, retry_after_seconds: int | None) -> None:
        super().__init__("Stripe takes no more calls for now: try again in a moment.")
        self.retry_after_seconds = retry_after_seconds


class StripeApi:
    """A connection to Stripe's API with one secret key. `base_url` is another place to find it, for tests.

    Everything that this store does with it goes through `ask`, which knows deadlines and what an error means.
    """

    def __init__(self, api_key: str, *, base_url: str | None = None) -> None:
        import stripe

        # At INFO the library writes down Stripe's error texts, which may quote an e-mail or a part of the key.
        logging.getLogger("stripe").setLevel(logging.WARNING)
        self._http = stripe.HTTPXClient(timeout=PAGE_DEADLINE_SECONDS)
        self.is_test = api_key.startswith(("sk_test_", "rk_test_"))
        self.v1 = stripe.StripeClient(
            api_key,
            base_addresses={"api": base_url} if base_url else None,
            max_network_retries=NETWORK_RETRIES,
            http_client=self._http,
        ).v1

    async def ask(
        self, call: Awaitable[stripe.StripeObject], *, deadline_seconds: float = DEADLINE_SECONDS
    ) -> dict[str, object]:
        """What Stripe answers, as strictly read as its webhooks.

        Raises Refused; RateLimited; KeyReused; and Unavailable where nobody knows whether it was done. The texts of
        Stripe's errors may quote what was sent, so none of them goes further than here.
        """
        import stripe

        try:
            async with asyncio.timeout(deadline_seconds):
                answer = await call
            told = getattr(answer, "last_response", None)  # a list or a text, were one the whole answer, has none
            return parse_object(told.body.encode() if told else b"")
        except TimeoutError:
            raise unavailable("no answer in time") from None
        except Malformed:
            raise unavailable("an answer that is no object") from None
        except stripe.RateLimitError as error:
            after = str((error.headers or {}).get("retry-after", ""))
            raise RateLimited(int(after) if _RETRY_AFTER.fullmatch(after) else None) from None
        except (stripe.InvalidRequestError, stripe.PermissionError, stripe.CardError) as error:
            raise Refused(_code(error)) from None
        except stripe.IdempotencyError:
            raise KeyReused from None
        except stripe.StripeError as error:
            raise unavailable(f"{type(error).__name__}, status {error.http_status}") from None

    async def close(self) -> None:
        """Let go of the connections. Closing twice is fine."""
        await self._http.close_async()  # type: ignore[no-untyped-call] # Stripe's


def sign(body: bytes, secret: str, at: datetime) -> str:
    """What Stripe sends as `Stripe-Signature`: the hex of HMAC-SHA256 over the second, a dot and the raw body."""
    stamp = str(math.floor(at.timestamp()))
    return f"t={stamp},v1={_digest(body, secret, stamp)}"


class StripeSignatures:
    """Verifies webhooks against every secret that is valid now: two while one replaces the other.

    A signature counts for `tolerance_seconds` before and after the moment that it names (T-W10). No secret, or an empty
    one, verifies nothing: whoever knows that a secret is empty could sign with it.
    """

    def __init__(
        self, secrets: Sequence[str], clock: Callable[[], datetime], tolerance_seconds: int = TOLERANCE_SECONDS
    ) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)
        self._clock = clock
        self._tolerance_seconds = tolerance_seconds

    def verify(self, body: bytes, signature: str | None) -> bool:
        """Whether one of the header's v1 signatures is that of exactly these bytes; every pair is tried, always."""
        stamp, sent = _taken_apart(signature or "")
        if stamp is None or abs(self._clock().timestamp() - int(stamp)) > self._tolerance_seconds:
            return False
        expected = [_digest(body, secret, stamp).encode() for secret in self._secrets]
        matches = [hmac.compare_digest(right, each) for right in expected for each in sent]
        return any(matches)


def _taken_apart(header: str) -> tuple[str | None, tuple[bytes, ...]]:
    """The one moment and the v1 signatures of a header; other schemes, such as v0 of test events, prove nothing."""
    if len(header) > _HEADER_CHARACTERS_MAX:
        return None, ()
    pairs = [part.partition("=")[::2] for part in header.split(",")]
    stamps = [value for name, value in pairs if name == "t"]
    sent = tuple(value.encode("utf-8", "surrogatepass") for name, value in pairs if name == "v1")
    if len(stamps) != 1 or not _STAMP.fullmatch(stamps[0]) or len(sent) > _SIGNATURES_MAX:
        return None, ()
    return stamps[0], sent


def _digest(body: bytes, secret: str, stamp: str) -> str:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class StripeCheckout:
    """Sends a buyer to a Checkout Session of Stripe's, made for this one purchase at the price table's price."""

    def __init__(self, api: StripeApi, success_url: str, cancel_url: str) -> None:
        self._api = api
        self._success_url = success_url
        self._cancel_url = cancel_url

    async def checkout(
        self, *, purchase_id: str, user_id: str, email: str, sku: str, quantity: int, price: Money
    ) -> Checkout:
        """The session's page. `price` is that of all the packages. Asked again, it is the same session for 24 h.

        The session and its payment both carry the purchase, so that a refund names it too. Raises Unavailable.
        """
        asked = (purchase_id, user_id, email, sku, quantity, price, self._success_url, self._cancel_url)
        params = self._params(purchase_id, user_id, email, sku, quantity, price)
        try:
            session = await self._api.ask(
                self._api.v1.checkout.sessions.create_async(
                    params, {"idempotency_key": f"checkout:{purchase_id}:{fingerprint(*asked)}"}
                )
            )
        except Refused as refused:
            raise unavailable(f"it refuses the checkout, {refused.code}") from None
        url = session.get("url")
        if not isinstance(url, str) or not url:
            raise unavailable("it made a checkout without a page")
        return Checkout(url)

    def _params(
        self, purchase_id: str, user_id: str, email: str, sku: str, quantity: int, price: Money
    ) -> SessionCreateParams:
        each, rest = divmod(price.minor_units, quantity)
        assert rest == 0, "a price is that of a whole number of packages"
        metadata = {
            PURCHASE_METADATA: purchase_id,
            USER_METADATA: user_id,
            SKU_METADATA: sku,
            QUANTITY_METADATA: str(quantity),
        }
        params: SessionCreateParams = {
            "mode": "payment",
            "client_reference_id": purchase_id,
            "success_url": self._success_url,
            "cancel_url": self._cancel_url,
            "line_items": [
                {
                    "quantity": quantity,
                    "price_data": {
                        "currency": price.currency.lower(),
                        "unit_amount": stripe_amount(Money(each, price.currency)),
                        "product_data": {"name": sku},
                    },
                }
            ],
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata},
            # In a currency of Stripe's choice, the paid amount would not be the price table's (ruling 4).
            "adaptive_pricing": {"enabled": False},
        }
        if email:  # Stripe refuses an empty one
            params["customer_email"] = email
        return params

    async def close(self) -> None:
        await self._api.close()


def _code(error: stripe.StripeError) -> str:
    """Stripe's code of an error, or its class where it has none."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    told = body.get("error")
    code = told.get("code") if isinstance(told, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else type(error).__name__


def unavailable(why: str) -> Unavailable:
    """`why` is a word of ours: what Stripe says may quote an e-mail or a part of a key."""
    return Unavailable(f"Stripe cannot be used now ({why}): try again in a moment.")
