"""Payouts that nobody has told the end of: a webhook can be lost for good, the provider's books cannot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from domain.payouts import Payout, PayoutState
from firestore.paging import FIRST_MAX, Position
from firestore.store import Store
from functions.schedule.patience import Patience
from functions.tasks.payouts import apply_bank, apply_transfer, held_of
from integrations.services import BankStatus, PayoutGateway

log = structlog.get_logger(__name__)

WAITS_AFTER = timedelta(days=1)  # what was asked for a day ago should have been sent, and may have arrived
PAGES_MAX = 5  # of each state in one round, the oldest first: 500 payouts whose events were all lost are an outage


async def look_after(store: Store, gateway: PayoutGateway | None, now: datetime) -> int:
    """Ask the provider's books what became of the payouts that wait for longer than a day, and conclude them; gives how
    many it concluded. A payout or an account that cannot be read is logged, and holds up no other. Raises Unavailable
    once ten of them in a row have no answer: then it is not those, and the next round asks again."""
    if gateway is None:
        return 0
    by_account: dict[str, list[Payout]] = {}
    for state in (PayoutState.SENT, PayoutState.REQUESTED):
        for payout in await _waiting(store, state, now):
            by_account.setdefault(payout.account_id, []).append(payout)
    patience = Patience("payouts")
    for account_id, payouts in by_account.items():
        sent = await _transfers(store, gateway, payouts, now, patience)
        if sent:
            await _banks(store, gateway, account_id, sent, now, patience)
    concluded = 0
    for payout in (each for payouts in by_account.values() for each in payouts):
        with patience.over(payout=payout.id):
            stands = await store.payouts.get(payout.id)
            concluded += stands is not None and stands.concluded_at is not None
    return concluded


async def _waiting(store: Store, state: PayoutState, now: datetime) -> list[Payout]:
    found: list[Payout] = []
    after: Position | None = None
    for _ in range(PAGES_MAX):
        page = await store.payouts.page_of_state(state, now - WAITS_AFTER, FIRST_MAX, after)
        found += page.nodes
        if not page.has_next_page:
            return found
        after = page.end
    log.error("more payouts wait than one round looks at", state=state.value, looked_at=len(found))
    return found


async def _transfers(
    store: Store, gateway: PayoutGateway, payouts: Sequence[Payout], now: datetime, patience: Patience
) -> dict[str, datetime]:
    """Note each payout's transfer as the provider tells of it; gives when those were asked for that are with the
    creator still. One without a transfer waits for its task, which may be a dead letter."""
    sent: dict[str, datetime] = {}
    for payout in payouts:
        with patience.over(payout=payout.id):
            transfer_id = payout.transfer_id or await gateway.find_transfer(payout.id)
            if transfer_id is None:
                log.warning("payout has no transfer", payout=payout.id, since=payout.created_at.isoformat())
                continue
            told = await gateway.transferred(transfer_id)
            await apply_transfer(store, gateway, payout.id, told, now)
            if not told.returned:
                sent[payout.id] = payout.created_at
    return sent


async def _banks(
    store: Store,
    gateway: PayoutGateway,
    account_id: str,
    sent: dict[str, datetime],
    now: datetime,
    patience: Patience,
) -> None:
    """Conclude by what left the account for the bank since the oldest of them was asked for."""
    with patience.over(account=account_id):
        for told in await gateway.bank_payouts(account_id, min(sent.values())):
            if told.status is BankStatus.ON_ITS_WAY or not sent:
                continue
            with patience.over(bank_payout=told.id):
                for payout_id in await held_of(store, gateway, told) or ():
                    if payout_id in sent:
                        await apply_bank(store, gateway, payout_id, told, now)
                        del sent[payout_id]
                        log.warning("payout mended", payout=payout_id, bank_payout=told.id)
