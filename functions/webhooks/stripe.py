"""`POST /webhooks/stripe`: verify, record, answer (house rule 6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from starlette.requests import Request
from starlette.responses import Response

from domain.orders import OrderFacts
from firestore.store import Store
from functions.tasks.orders import APPLY_ORDER, order_args
from functions.tasks.payouts import APPLY_PAYOUT
from functions.webhooks.door import Door, answer
from integrations.services import Signatures
from integrations.stripe_events import SHOP, read_event

log = structlog.get_logger(__name__)


class StripeDoor(Door):
    """Takes Stripe's events. `money_is_live` says which kind of money counts; the other kind is recorded and left."""

    def __init__(
        self, store: Store, signatures: Signatures | None, *, money_is_live: bool, clock: Callable[[], datetime]
    ) -> None:
        super().__init__(signatures, "stripe-signature", self._keep)
        self._store = store
        self._money_is_live = money_is_live
        self._clock = clock

    async def _keep(self, request: Request, body: bytes) -> Response:
        now, event = self._clock(), read_event(body)
        if event.told is None:
            await self._store.inbox.record("stripe", event.type, SHOP, body, now, outcome="ignored: type not used")
            return answer(200, "Recorded: the type is not used.")
        if event.test == self._money_is_live:
            kind = "test" if event.test else "live"
            await self._store.inbox.record("stripe", event.type, SHOP, body, now, outcome=f"ignored: {kind} money")
            return answer(200, f"Recorded, and left alone: {kind} money does not count here.")
        if isinstance(event.told, OrderFacts):
            task, args, subject = APPLY_ORDER, order_args(event.told), event.told.order_id
        else:
            task, args, subject = APPLY_PAYOUT, {}, None
        first = await self._store.inbox.record(
            "stripe", event.type, SHOP, body, now, outcome="accepted", subject=subject, task=task, args=args
        )
        log.info("webhook recorded", source="stripe", topic=event.type, repeated=not first)
        return answer(200, "Recorded." if first else "Recorded before.")
