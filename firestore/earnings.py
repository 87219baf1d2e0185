"""Earnings: accrued by settlements, matured in batches, so that no creator's wallet is written by every session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from domain import wallets
from domain.ids import Kind, derived_id
from domain.ledger import EntryKind
from domain.money import total
from domain.policy import Policy
from domain.revenue import Accrual, AccrualState
from domain.users import NotificationKind
from domain.wallets import Wallet
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import ACCRUALS, OUTBOX, WALLETS
from firestore.commit import Commits, Tx
from firestore.ledger import enter, wallet_of
from firestore.notifications import notice, notice_id
from firestore.paging import position
from firestore.rows import BUCKETS

BATCH_MAX = 200  # accruals in one commit: their writes stay well within a commit's bounds
DUE_MAX = 200  # accruals that one round of the schedule looks at in one RPC, per bucket
DUE_PAGES_MAX = 50  # RPCs of one round, per bucket: the next round begins with the oldest again


class Earnings:
    """Every method raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def due(self, now: datetime) -> list[str]:
        """Users with accruals that have matured, in no order. One RPC a bucket, and one more for each 200 accruals of
        it: some may wait for long, for room in a full wallet, and others are behind them."""
        users: dict[str, None] = {}
        for bucket in range(BUCKETS):
            filters = (
                Filter("bucket", "==", bucket),
                Filter("state", "==", AccrualState.MATURING.value),
                Filter("matures_at", "<=", now),
            )
            query = Query(ACCRUALS.name, filters, (Order("matures_at"),), DUE_MAX)
            for _ in range(DUE_PAGES_MAX):
                found = await self._backend.query(query)
                # Whose it is can be read of an accrual that says nothing else.
                users |= dict.fromkeys(str(each.data["user_id"]) for each in found if "user_id" in each.data)
                if len(found) < DUE_MAX:
                    break
                query = replace(query, after=position(query, found[-1]))
        return list(users)

    async def mature(self, user_id: str, now: datetime) -> int:
        """Make up to 200 matured accruals of a user available, in one entry; gives how many, none for a full wallet.

        What others' hires still bring a deleted account becomes the platform's here, and not in the settlement: no hire
        pays for reading its payees' wallets, and an account that is deleted after its last hire is met all the same.
        Two RPCs, or three. Maturing that runs twice, or beside itself, matures each accrual once: each is updated as it
        was read.
        """

        async def body(tx: Tx) -> int:
            filters = (*_maturing(user_id), Filter("matures_at", "<=", now))
            query = Query(ACCRUALS.name, filters, (Order("matures_at"),), BATCH_MAX)
            found = await tx.find(ACCRUALS, query, damaged_too=False)
            if not found:
                return 0
            # Once a day: a busy creator's earnings mature by the minute.
            told = ("earnings_matured", user_id, now.date().isoformat())
            await tx.read(WALLETS.at(user_id), OUTBOX.at(notice_id(user_id, told)))
            wallet = wallet_of(tx, user_id)
            if not (wallet.closed or wallets.fits(wallet, total([accrual.amount for accrual in found]).units)):
                return 0  # earned, and waiting until the wallet has room (T-M03); others' must not wait with it
            self._enter(tx, wallet, found, now)
            if not wallet.closed and tx.get(OUTBOX, notice_id(user_id, told)) is None:
                tx.tell(notice(NotificationKind.EARNINGS, user_id, told, now, self._policy.event_retention, {}))
            return len(found)

        return await self._commits.run(body, lane=user_id)

    def _enter(self, tx: Tx, wallet: Wallet, matured: Sequence[Accrual], now: datetime) -> None:
        amount = total([accrual.amount for accrual in matured])
        fact = (wallet.id, *sorted(accrual.id for accrual in matured))
        entry_id = derived_id(Kind.ENTRY, EntryKind.MATURE, *fact)
        if amount:
            move = wallets.mature(wallet, amount)
            enter(tx, EntryKind.MATURE, fact, (move,), ref=wallet.id, actor="platform", at=now)
        for accrual in matured:
            tx.put(ACCRUALS, replace(accrual, state=AccrualState.MATURED, matured_by=entry_id if amount else None))


def _maturing(user_id: str) -> tuple[Filter, ...]:
    return (Filter("user_id", "==", user_id), Filter("state", "==", AccrualState.MATURING.value))
