"""Send a requested payout, with the key that was fixed before the first try."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import structlog

from domain.payouts import PayoutState
from firestore.payouts import SEND_WITHIN
from firestore.store import Store
from integrations.services import PayoutGateway, PayoutRejected

log = structlog.get_logger(__name__)


class SendPayout:
    """The task `send_payout`. A lost reply is tried again with the same key, which moves nothing twice; a key that the
    provider may have forgotten is not used blindly: the earlier try's transfer is looked for first (T-F07)."""

    def __init__(self, gateway: PayoutGateway | None) -> None:
        self._gateway = gateway

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
        payout = await store.payouts.get(args["payout_id"])
        if payout is None or payout.state is not PayoutState.REQUESTED:
            await store.outbox.finish(row_id)
            return
        if self._gateway is None:
            await store.payouts.conclude(payout.id, "payouts are not set up", now, row_id)
            return
        transfer_id = None
        if now - payout.created_at > SEND_WITHIN:
            transfer_id = await self._gateway.find_transfer(payout.id)
        try:
            if transfer_id is None:
                transfer_id = await self._gateway.transfer(
                    account_id=payout.account_id, amount=payout.money, payout_id=payout.id, key=payout.transfer_key
                )
        except PayoutRejected as reason:
            log.warning("payout rejected", payout=payout.id, code=str(reason)[:80])
            await store.payouts.conclude(payout.id, str(reason)[:200], now, row_id)
            return
        await store.payouts.note_sent(payout.id, transfer_id, row_id)
