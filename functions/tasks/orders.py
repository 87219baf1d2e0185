"""Apply what a recorded webhook tells of an order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import structlog

from domain.errors import NotFound
from domain.orders import OrderFacts
from domain.privacy import REDACTED
from firestore.orders import Told
from firestore.rows import InboxRow
from firestore.store import Store
from integrations import shopify_privacy, stripe_privacy
from integrations.shopify import read_order
from integrations.stripe_events import read_event

log = structlog.get_logger(__name__)

APPLY_ORDER = "apply_order"


async def apply_order(store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
    """Add the delivery's facts to its order and bring the wallet to the order's target. Two RPCs, or three."""
    told = Told(
        inbox_id=args["inbox_id"],
        order_id=args["order_id"],
        purchase_id=args.get("purchase_id"),
        user_hint=args.get("user_hint"),
        row_id=row_id,
    )
    try:
        order = await store.orders.absorb(told, read_delivery, now)
    except NotFound:
        # The inbox is kept for months: a task that outlives it has long been done by another delivery.
        log.warning("delivery expired", inbox=told.inbox_id, order=told.order_id)
        await store.outbox.finish(row_id)
        return
    if order.email == REDACTED:  # whom it names was forgotten before: what came late goes as well
        await store.privacy.forget_orders([order.id], clean)
    if order.review is not None:
        log.warning("order waits for review", order=order.id)


def read_delivery(delivery: InboxRow) -> OrderFacts:
    """The facts of a delivery, read again from the body as it was signed."""
    if delivery.source == "shopify":
        return read_order(delivery.topic, delivery.shop, delivery.body)
    told = read_event(delivery.body).told
    assert isinstance(told, OrderFacts), f"{delivery.topic} tells of no order"
    return told


def clean(delivery: InboxRow) -> bytes:
    """A delivery's body with its facts, and without the person."""
    if delivery.source == "stripe":
        return stripe_privacy.without_person(delivery.body)
    return shopify_privacy.without_person(delivery.topic, delivery.body)


def order_args(facts: OrderFacts) -> dict[str, str]:
    """The ids that the task needs to read all its documents at once."""
    args = {"order_id": facts.order_id}
    if facts.purchase_id is not None:
        args["purchase_id"] = facts.purchase_id
    if facts.user_hint is not None:
        args["user_hint"] = facts.user_hint
    return args
