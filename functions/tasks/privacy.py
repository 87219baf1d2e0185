"""Honour what a shop passes on for its customers: forget them, or tell an admin who wants to know what is held."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from domain.privacy import Ask
from firestore.rows import InboxRow
from firestore.store import Store
from integrations.shopify_privacy import read_privacy, without_person

log = structlog.get_logger(__name__)

HONOUR_PRIVACY = "honour_privacy"
PAUSE = timedelta(seconds=1)  # between two runs of a request that one run does not finish


async def honour_privacy(store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> datetime | None:
    """Do what a recorded privacy webhook asks; gives when to go on, where one run was not enough.

    A request for data is answered by an admin within the month (`store.privacy.data_requests` lists them, `held` gives
    the answer): the store does not send a person's data to whoever passes a request on.
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


def _clean(delivery: InboxRow) -> bytes:
    return without_person(delivery.topic, delivery.body)
