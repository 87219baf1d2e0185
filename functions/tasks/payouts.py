"""Send a requested payout, with the key that was fixed before the first try; and note what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from domain.errors import Unavailable
from domain.payouts import Payout, PayoutState, held_by
from firestore.payouts import SEND_WITHIN
from firestore.store import Store
from integrations.services import (
    BankPayout,
    BankStatus,
    FundsShort,
    PayoutAccount,
    PayoutGateway,
    PayoutRejected,
    TransferTold,
)
from integrations.stripe_events import read_event

log = structlog.get_logger(__name__)

APPLY_PAYOUT = "apply_payout"
FROZEN_AGAIN = timedelta(hours=1)  # while its user is suspended a payout waits: one reading an hour
SHORT_AGAIN = timedelta(hours=1)  # while our balance does not cover it: for a weekend, and not for a row's 20 tries
ACCOUNT_READS_MAX = 4  # of an account that changes while it is read; then the task comes again


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
        return await self._send(store, payout, row_id, now)

    async def _send(self, store: Store, payout: Payout, row_id: str, now: datetime) -> datetime | None:
        if self._gateway is None:
            await store.payouts.conclude(payout.id, "payouts are not set up", now, row_id)
            return None
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
            return None
        except FundsShort:
            # Stripe replays this answer for a day, then the same key tries anew: the payout waits for as long as it
            # takes, and the audit names it after a week.
            again = now + SHORT_AGAIN
            log.warning("payout waits for funds", payout=payout.id, until=again.isoformat())
            await store.outbox.postpone_until(row_id, again)
            return again
        await note_transfer(store, self._gateway, payout.id, transfer_id, row_id)
        return None


class ApplyPayout:
    """The task `apply_payout`: what a recorded event tells of an account, a transfer or a bank's answer."""

    def __init__(self, gateway: PayoutGateway | None) -> None:
        self._gateway = gateway

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
        delivery = await store.inbox.read(args["inbox_id"])
        if delivery is None or await self._apply(store, read_event(delivery.body).told, now):
            await store.outbox.finish(row_id)
        else:
            await store.outbox.give_up(row_id)

    async def _apply(self, store: Store, told: object, now: datetime) -> bool:
        """False where no further try can do it before somebody has decided: a dead letter at once."""
        match told:
            case PayoutAccount():
                await self._keep_account(store, told, now)
            case TransferTold(payout_id=str(payout_id)):
                return await apply_transfer(store, self._gateway, payout_id, told, now)
            case BankPayout() if told.status is not BankStatus.ON_ITS_WAY:
                held = await held_of(store, self._gateway, told)
                for payout_id in held or ():
                    await apply_bank(store, self._gateway, payout_id, told, now)
                return held is not None
        return True

    async def _keep_account(self, store: Store, told: PayoutAccount, now: datetime) -> None:
        """The event is the occasion alone: Stripe promises no order, and the oldest may come last. What counts is how
        the account stands when it is read; and it is read again after it was kept, since another task may have kept an
        older reading meanwhile."""
        owner = await store.payouts.owner_of(told.id)
        if owner is None:
            return
        kept: PayoutAccount | None = None
        for _ in range(ACCOUNT_READS_MAX):
            stands = await self._gateway.account(told.id) if self._gateway is not None else told
            if stands == kept:
                return
            await store.payouts.keep_account(owner, told.id, stands.ready, stands.missing, now)
            kept = stands
        raise Unavailable("The account changes while it is read: try again in a moment.")


async def apply_transfer(
    store: Store, gateway: PayoutGateway | None, payout_id: str, told: TransferTold, now: datetime
) -> bool:
    """What is told of a payout's transfer: it is noted, or it came back and the DOF do. False for one that came back in
    part: nothing comes back for it until somebody has decided (docs/decisions/0019)."""
    if told.returned:
        await store.payouts.conclude(payout_id, "the transfer came back", now)
        return True
    payout = await note_transfer(store, gateway, payout_id, told.id)
    if payout is None or payout.state is PayoutState.FAILED or not told.partly:
        return True
    log.error("part of a transfer came back", payout=payout_id, transfer=told.id)
    return False


async def held_of(store: Store, gateway: PayoutGateway | None, told: BankPayout) -> tuple[str, ...] | None:
    """Which of our payouts the bank's holds: it says so, the provider's books do, or its amount does where the creator
    asked for it, since Stripe keeps no list of the parts of those. None where nobody can tell: the log names it."""
    if told.payout_id is not None:
        return (told.payout_id,)
    if gateway is None:
        return ()
    if told.automatic:
        return await gateway.paid_out(told.account_id, told.id)
    known = await store.payouts.of_account(told.account_id)
    unnoted = [each for each in known if each.transfer_id is None and each.state is not PayoutState.FAILED]
    for each in unnoted:  # their replies were lost
        transfer_id = await gateway.find_transfer(each.id)
        if transfer_id is not None:
            await note_transfer(store, gateway, each.id, transfer_id)
    if unnoted:
        known = await store.payouts.of_account(told.account_id)
    if told.amount is not None and told.made_at is not None:
        held = held_by(told.amount, told.made_at, known)
        if held is not None:
            return tuple(each.id for each in held)
    log.error("nobody can tell what a payout to a bank holds", bank_payout=told.id, account=told.account_id)
    return None


async def apply_bank(
    store: Store, gateway: PayoutGateway | None, payout_id: str, told: BankPayout, now: datetime
) -> None:
    """What the bank made of a payout."""
    match told.status:
        case BankStatus.PAID:
            await store.payouts.conclude(payout_id, None, now)
        case BankStatus.FAILED | BankStatus.CANCELED:
            await take_back(store, gateway, payout_id, told.failure or "the bank sent it back", now)


async def note_transfer(
    store: Store, gateway: PayoutGateway | None, payout_id: str, transfer_id: str, row_id: str | None = None
) -> Payout | None:
    """Note the transfer of a payout, whoever tells of it: its own answer, an event that heals a lost answer, or the
    books. One whose payout has failed meanwhile is brought back, since its DOF are back already."""
    payout = await store.payouts.note_sent(payout_id, transfer_id, row_id)
    if payout is None:
        return None
    if payout.transfer_id != transfer_id:  # money went out twice: which one is to come back is for a human to say
        log.error("payout has a second transfer", payout=payout_id, first=payout.transfer_id, second=transfer_id)
    elif payout.state is PayoutState.FAILED and gateway is not None:
        await gateway.reverse(transfer_id, key=f"reverse:{payout_id}")
    if payout.state is PayoutState.FAILED and row_id is not None:
        await store.outbox.finish(row_id)
    return payout


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
