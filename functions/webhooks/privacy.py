"""Shopify's privacy topics at its door: recorded under the shop that the signed body names."""

from __future__ import annotations

from datetime import datetime

import structlog
from starlette.responses import Response

from firestore.store import Store
from functions.tasks.privacy import HONOUR_PRIVACY
from functions.webhooks.door import answer
from integrations.shopify_privacy import read_privacy

log = structlog.get_logger(__name__)


async def record_privacy(
    store: Store, topic: str, body: bytes, now: datetime, *, shop: str, any_shop: bool
) -> Response:
    """Keep a verified request and ask for its work. 200 whether or not the customer is known. Raises Malformed.

    The header that names a shop is not signed; the body is, so it decides whose e-mails go.
    """
    request = read_privacy(topic, shop, body)
    if not any_shop and request.named_shop != shop:
        await store.inbox.record("shopify", topic, request.named_shop, body, now, outcome="ignored: another shop")
        return answer(200, "Recorded, and left alone: it is of another shop.")
    first = await store.inbox.record(
        "shopify", topic, shop, body, now, outcome=request.ask.value, subject=request.subject, task=HONOUR_PRIVACY
    )
    log.info("privacy request recorded", source="shopify", topic=topic, repeated=not first)
    return answer(200, "Recorded." if first else "Recorded before.")
