"""`POST /webhooks/shopify`: verify, record, answer (house rule 6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from starlette.requests import Request
from starlette.responses import Response

from firestore.store import Store
from functions.tasks.orders import APPLY_ORDER, order_args
from functions.webhooks.door import Door, answer
from functions.webhooks.privacy import record_privacy
from integrations.services import Signatures
from integrations.shopify import ORDER_TOPICS, REFUND_TOPIC, read_order
from integrations.shopify_privacy import PRIVACY_TOPICS

log = structlog.get_logger(__name__)

TOPICS = ORDER_TOPICS | {REFUND_TOPIC}


class ShopifyDoor(Door):
    """Takes Shopify's webhooks.

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
        super().__init__(signatures, "x-shopify-hmac-sha256", self._keep)
        self._store = store
        self._shop = shop
        self._any_shop = any_shop
        self._money_is_live = money_is_live
        self._clock = clock

    async def _keep(self, request: Request, body: bytes) -> Response:
        now = self._clock()
        topic = request.headers.get("x-shopify-topic", "")
        shop = request.headers.get("x-shopify-shop-domain", self._shop).lower()
        if not self._any_shop and shop != self._shop:
            await self._store.inbox.record("shopify", topic, shop, body, now, outcome="ignored: another shop")
            return answer(200, "Recorded, and left alone: it is of another shop.")
        if topic in PRIVACY_TOPICS:
            return await record_privacy(self._store, topic, body, now, shop=self._shop, any_shop=self._any_shop)
        if topic not in TOPICS:
            await self._store.inbox.record("shopify", topic, shop, body, now, outcome="ignored: topic not used")
            return answer(200, "Recorded: the topic is not used.")
        facts = read_order(topic, self._shop, body)
        if facts.test == self._money_is_live:
            kind = "test" if facts.test else "live"
            left = f"ignored: {kind} money"
            await self._store.inbox.record(
                "shopify", topic, self._shop, body, now, outcome=left, subject=facts.order_id
            )
            return answer(200, f"Recorded, and left alone: {kind} money does not count here.")
        first = await self._store.inbox.record(
            "shopify",
            topic,
            self._shop,
            body,
            now,
            outcome="accepted",
            subject=facts.order_id,
            task=APPLY_ORDER,
            args=order_args(facts),
        )
        log.info("webhook recorded", source="shopify", topic=topic, order=facts.order_id, repeated=not first)
        return answer(200, "Recorded." if first else "Recorded before.")
