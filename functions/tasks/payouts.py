"""Send a requested payout, with the key that was fixed before the first try."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from domain.payouts import Payout, PayoutState
from firestore.payouts import SEND_WITHIN
from firestore.store import Store
from integrations.services import PayoutAccount, PayoutGateway, PayoutRejected
from integrations.stripe_events import BankPayout, BankStatus, TransferTold, read_event

log = structlog.get_logger(__name__)

APPLY_PAYOUT = "apply_payout"
FROZEN_AGAIN = timedelta(hours=1)  # while its user is suspended a payout waits: one reading an hour


class SendPayout:
    """The task `send_payout`. A lost reply is tried again with the same key, which moves nothing twice; a key that the
    provider may have forgotten is not used blindly: the earlier try's transfer is looked for first (T-F07)."""

    def __init__(self, gateway: PayoutGateway | None) -> None:
        self._gateway = gateway

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> datetime | None:
        payout = await store.payouts.get(args["payout_id"])
        if payout is None or payout.state is not PayoutState.REQUESTED:
            await store.outbox.finish(row_id)
            return None
        (user,) = await store.users.get_many([payout.user_id])
        if user is not None and user.suspended_at is not None:
            again = now + FROZEN_AGAIN
            await store.outbox.postpone_until(row_id, again)
            return again
        await self._send(store, payout, row_id, now)
        return None

    async def _send(self, store: Store, payout: Payout, row_id: str, now: datetime) -> None:
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
        await note_transfer(store, self._gateway, payout.id, transfer_id, row_id)


class ApplyPayout:
    """The task `apply_payout`: what a recorded event tells of an account, a transfer or a bank's answer."""

    def __init__(self, gateway: PayoutGateway | None) -> None:
        self._gateway = gateway

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
        delivery = await store.inbox.read(args["inbox_id"])
        told = read_event(delivery.body).told if delivery is not None else None
        match told:
            case PayoutAccount():
                owner = await store.payouts.owner_of(told.id)
                if owner is not None:
                    await store.payouts.keep_account(owner, told.id, told.ready, told.missing, now)
            case TransferTold(returned=True, payout_id=str(payout_id)):
                await store.payouts.conclude(payout_id, "the transfer came back", now)
            case TransferTold(returned=False, payout_id=str(payout_id)):
                await note_transfer(store, self._gateway, payout_id, told.id)
            case BankPayout(status=BankStatus.PAID):
                for payout_id in await self._ours(told):
                    await store.payouts.conclude(payout_id, None, now)
            case BankPayout(status=BankStatus.FAILED | BankStatus.CANCELED):
                for payout_id in await self._ours(told):
                    await take_back(store, self._gateway, payout_id, told.failure or "the bank sent it back", now)
        await store.outbox.finish(row_id)

    async def _ours(self, told: BankPayout) -> tuple[str, ...]:
        """Which of our payouts the bank's holds: it says so, or the provider's books do."""
        if told.payout_id is not None:
            return (told.payout_id,)
        return await self._gateway.paid_out(told.account_id, told.id) if self._gateway else ()


async def note_transfer(
    store: Store, gateway: PayoutGateway | None, payout_id: str, transfer_id: str, row_id: str | None = None
) -> None:
    """Note the transfer of a payout, whoever tells of it: its own answer, an event that heals a lost answer, or the
    books. One whose payout has failed meanwhile is brought back, since its DOF are back already."""
    payout = await store.payouts.note_sent(payout_id, transfer_id, row_id)
    if payout is None:
        return
    if payout.transfer_id != transfer_id:  # money went out twice: which one is to come back is for a human to say
        log.error("payout has a second transfer", payout=payout_id, first=payout.transfer_id, second=transfer_id)
    elif payout.state is PayoutState.FAILED and gateway is not None:
        await gateway.reverse(transfer_id, key=f"reverse:{payout_id}")
    if payout.state is PayoutState.FAILED and row_id is not None:
        await store.outbox.finish(row_id)


async def take_back(store: Store, gateway: PayoutGateway | None, payout_id: str, reason: str, now: datetime) -> None:
    """The money lies with the creator's account: bring the transfer back first, then the DOF.

    A transfer whose answer was lost is looked for: without it the DOF would come back, and the money would stay.
    """
    payout = await store.payouts.get(payout_id)
    if payout is None:
        return
    transfer_id = payout.transfer_id
    if gateway is not None:
        if transfer_id is None:
            transfer_id = await gateway.find_transfer(payout_id)
            if transfer_id is not None:
                await store.payouts.note_sent(payout_id, transfer_id, None)
        if transfer_id is not None:
            await gateway.reverse(transfer_id, key=f"reverse:{payout_id}")
    await store.payouts.conclude(payout_id, reason, now)
