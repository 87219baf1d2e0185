"""`POST /webhooks/shopify`: verify, record, answer (house.md, rule 6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from domain.errors import Unavailable
from domain.orders import OrderFacts
from firestore.store import Store
from functions.tasks.orders import APPLY_ORDER
from integrations.services import Signatures
from integrations.shopify import ORDER_TOPICS, REFUND_TOPIC, Malformed, read_order

log = structlog.get_logger(__name__)

TOPICS = ORDER_TOPICS | {REFUND_TOPIC}
BODY_BYTES_MAX = 900_000  # what a Firestore document can keep beside its other fields
READ_BYTES_MAX = 8_000_000  # what is read at all, so that a signed but huge body gets its answer


class ShopifyDoor:
    """Takes Shopify's webhooks. Without a secret the door is shut: 404, as if it were not there.

    `shop` is the shop that the store is set up for: the header that names one is not signed, so it decides nothing but
    whether the delivery is ours. `money_is_live` says which kind of money counts; the other kind is recorded and left.
    """

    def __init__(
        self,
        store: Store,
        signatures: Signatures | None,
        *,
        shop: str,
        any_shop: bool,
        money_is_live: bool,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._signatures = signatures
        self._shop = shop
        self._any_shop = any_shop
        self._money_is_live = money_is_live
        self._clock = clock

    async def receive(self, request: Request) -> Response:
        """401 for a bad signature with nothing stored, 400 for a signed body that is no order, 200 once it is recorded,
        503 when it could not be: the provider then delivers again."""
        if self._signatures is None:
            return _answer(404, "Not found.")
        try:
            body = await _read(request)
        except ClientDisconnect:
            return _answer(400, "The body did not arrive.")
        if body is None:
            return _answer(413, f"A webhook has at most {READ_BYTES_MAX} bytes.")
        if not self._signatures.verify(body, request.headers.get("x-shopify-hmac-sha256")):
            return _answer(401, "The signature does not fit the body: sign the raw bytes with the shop's secret.")
        if len(body) > BODY_BYTES_MAX:
            return _answer(400, f"An order has at most {BODY_BYTES_MAX} bytes.")
        topic = request.headers.get("x-shopify-topic", "")
        shop = request.headers.get("x-shopify-shop-domain", self._shop).lower()
        try:
            return await self._record(topic, shop, body)
        except Malformed as reason:
            log.warning("webhook malformed", source="shopify", topic=topic[:80])
            return _answer(400, f"The body is no {topic[:80]}: {reason}.")
        except Unavailable as down:
            return _answer(503, down.message)

    async def _record(self, topic: str, shop: str, body: bytes) -> Response:
        now = self._clock()
        if not self._any_shop and shop != self._shop:
            await self._store.inbox.record("shopify", topic, shop, body, now, outcome="ignored: another shop")
            return _answer(200, "Recorded, and left alone: it is of another shop.")
        if topic not in TOPICS:
            await self._store.inbox.record("shopify", topic, shop, body, now, outcome="ignored: topic not used")
            return _answer(200, "Recorded: the topic is not used.")
        facts = read_order(topic, self._shop, body)
        if facts.test == self._money_is_live:
            kind = "test" if facts.test else "live"
            await self._store.inbox.record("shopify", topic, shop, body, now, outcome=f"ignored: {kind} money")
            return _answer(200, f"Recorded, and left alone: {kind} money does not count here.")
        first = await self._store.inbox.record(
            "shopify", topic, self._shop, body, now, outcome="accepted", task=APPLY_ORDER, args=_args(facts)
        )
        log.info("webhook recorded", source="shopify", topic=topic, order=facts.order_id, repeated=not first)
        return _answer(200, "Recorded." if first else "Recorded before.")


def _args(facts: OrderFacts) -> dict[str, str]:
    """The ids that the task needs to read all its documents at once."""
    args = {"order_id": facts.order_id}
    if facts.purchase_id is not None:
        args["purchase_id"] = facts.purchase_id
    if facts.user_hint is not None:
        args["user_hint"] = facts.user_hint
    return args


async def _read(request: Request) -> bytes | None:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > READ_BYTES_MAX:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _answer(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status_code=status)
