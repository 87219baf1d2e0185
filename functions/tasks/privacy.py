"""Honour what a shop passes on for its customers: forget them, or tell an admin who wants to know what is held."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from domain.privacy import Ask
from firestore.collections import ORDERS
from firestore.paging import FIRST_MAX, Position
from firestore.rows import InboxRow
from firestore.store import Store
from integrations.shopify_privacy import read_privacy, without_person

log = structlog.get_logger(__name__)

HONOUR_PRIVACY = "honour_privacy"
PAUSE = timedelta(seconds=1)  # between two runs of a request that one run does not finish


async def honour_privacy(store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> datetime | None:
    """Do what a recorded privacy webhook asks; gives when to go on, where one run was not enough.

    A request for data is answered by an admin within the month, with what `main.py data_requests` prints: the store
    does not send a person's data to whoever passes a request on.
    """
    delivery = await store.inbox.read(args["inbox_id"])
    if delivery is None or delivery.redacted:
        await store.outbox.finish(row_id)
        return None
    request = read_privacy(delivery.topic, delivery.shop, delivery.body)
    if request.ask is Ask.DATA:
        held = await store.privacy.held(request)
        log.warning("data request waits for its answer", delivery=delivery.id, orders=len(held.orders))
        await store.outbox.finish(row_id)
        return None
    if not await store.privacy.forget(request, delivery.id, _clean):
        return now + PAUSE
    await store.privacy.conclude(delivery.id, row_id)
    log.info("forgotten", ask=request.ask.value, delivery=delivery.id)
    return None


async def data_answers(store: Store) -> AsyncIterator[str]:
    """Each customer's request for data that the inbox has, beside all that is held of who asks: one JSON line each."""
    after: Position | None = None
    while True:  # ends with the inbox: each page begins behind the one before
        page = await store.privacy.data_requests(FIRST_MAX, after)
        for delivery in page.nodes:
            held = await store.privacy.held(read_privacy(delivery.topic, delivery.shop, delivery.body))
            answer = {
                **_told(delivery),
                "orders": [ORDERS.encode(each) for each in held.orders],
                "deliveries": [_told(each) for each in held.deliveries],
            }
            yield msgspec.json.encode(answer).decode()
        if not page.has_next_page:
            return
        after = page.end


def _told(delivery: InboxRow) -> dict[str, Any]:
    body = delivery.body.decode(errors="replace")
    return {"delivery": delivery.id, "topic": delivery.topic, "received_at": delivery.received_at, "body": body}


def _clean(delivery: InboxRow) -> bytes:
    return without_person(delivery.topic, delivery.body)
