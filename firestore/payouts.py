"""Operations of payouts: connect an account, request, send, conclude."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from domain import payouts, wallets
from domain.errors import BadInput, IdempotencyConflict, Unavailable
from domain.ids import Kind, derived_id, fingerprint, is_id, require_key
from domain.ledger import PAYOUTS_PENDING, WORLD_STRIPE, EntryKind, Posting
from domain.money import DOF_MAX, Dof
from domain.notifications import note
from domain.payouts import Payout, PayoutAccount, PayoutState
from domain.policy import Policy
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.users import NotificationKind, require_active
from domain.wallets import Move, Wallet
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import PAYOUT_ACCOUNTS, PAYOUTS, TRANSACTIONS, USERS, WALLETS
from firestore.commit import Commits, Tx
from firestore.ledger import enter, wallet_of
from firestore.notifications import NOTIFY, notes
from firestore.outbox import row
from firestore.paging import Page, Position, read_page

log = logging.getLogger(__name__)

SEND_PAYOUT = "send_payout"
SEND_WITHIN = timedelta(hours=20)  # Stripe forgets a key after 24 hours: an older try looks for its transfer first

OF_ACCOUNT_MAX = 100  # of one creator's payouts, the newest: a bank takes days, not a hundred payouts


class Payouts:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def account(self, user_id: str) -> PayoutAccount | None:
        """The user's payout account. One RPC."""
        (found,) = await self._backend.get_many([PAYOUT_ACCOUNTS.at(user_id)])
        return None if found is None else PAYOUT_ACCOUNTS.decode(found)

    async def owner_of(self, account_id: str) -> str | None:
        """The user of a provider's account. One RPC."""
        filters = (Filter("account_id", "==", account_id),)
        found = await self._backend.query(Query(PAYOUT_ACCOUNTS.name, filters, limit=1))
        return PAYOUT_ACCOUNTS.decode(found[0]).id if found else None

    async def keep_account(
        self, user_id: str, account_id: str, ready: bool, missing: tuple[str, ...], now: datetime
    ) -> PayoutAccount:
        """Note what the provider says of the user's account. Two RPCs, at most one write."""

        async def body(tx: Tx) -> PayoutAccount:
            before = await tx.load(PAYOUT_ACCOUNTS, user_id)
            told = PayoutAccount(user_id, account_id, ready, missing, now)
            if before is not None and replace(told, updated_at=before.updated_at) == before:
                return before
            tx.put(PAYOUT_ACCOUNTS, told)
            return told

        return await self._commits.run(body)

    async def request(self, viewer_id: str, amount: Dof, key: str, now: datetime) -> tuple[Payout, Wallet]:
        """Set the amount aside and ask for its transfer. Two RPCs, five writes.

        Raises PayoutNotReady, BelowMinimum, WalletFrozen, InsufficientDof, IdempotencyConflict, BadInput.
        """
        require_key(key)
        if not 1 <= amount.units <= DOF_MAX:
            raise BadInput(f"A payout takes 1 to {DOF_MAX} DOF.", field="input.amount")
        payout_id = derived_id(Kind.PAYOUT, viewer_id, key)
        mark = fingerprint(amount.units)

        async def body(tx: Tx) -> tuple[Payout, Wallet]:
            paths = (PAYOUTS.at(payout_id), PAYOUT_ACCOUNTS.at(viewer_id), WALLETS.at(viewer_id), USERS.at(viewer_id))
            await tx.read(*paths)
            known = tx.get(PAYOUTS, payout_id)
            if known is not None:
                if known.fingerprint != mark:
                    raise IdempotencyConflict
                return known, wallet_of(tx, viewer_id)
            require_active(tx.get(USERS, viewer_id))
            wallet, terms = wallet_of(tx, viewer_id), self._policy.payouts
            account = payouts.require_payable(wallet, tx.get(PAYOUT_ACCOUNTS, viewer_id), amount, terms)
            payout = Payout(
                id=payout_id,
                user_id=viewer_id,
                amount=amount,
                money=terms.money(amount),
                account_id=account.account_id,
                state=PayoutState.REQUESTED,
                transfer_key=f"transfer:{payout_id}",
                transaction_id=derived_id(Kind.TRANSACTION, "payout", payout_id),
                fingerprint=mark,
                created_at=now,
            )
            move = payouts.set_aside(wallet, amount)
            entry, moved, _ = enter(tx, EntryKind.PAYOUT, (payout_id,), (move,), ref=payout_id, actor=viewer_id, at=now)
            tx.create(PAYOUTS, payout)
            tx.create(TRANSACTIONS, _transaction(payout, moved[viewer_id], entry.id))
            fact = ("payout", payout_id)
            retention = self._policy.event_retention
            tx.tell(row(fact, now, retention, task=SEND_PAYOUT, args={"payout_id": payout_id}))
            return payout, moved[viewer_id]

        return await self._commits.run(body, lane=viewer_id)

    async def get(self, payout_id: str) -> Payout | None:
        """A payout by its id. One RPC."""
        if not is_id(payout_id, Kind.PAYOUT):
            return None
        (found,) = await self._backend.get_many([PAYOUTS.at(payout_id)])
        return None if found is None else PAYOUTS.decode(found)

    async def note_sent(self, payout_id: str, transfer_id: str, row_id: str | None) -> Payout | None:
        """Note that the provider has taken the transfer, and give the payout as it is then. Two RPCs or three.

        The row of one that has FAILED is left open: its DOF are back, so its transfer has to come back before the row
        is done. None for a payout that nobody knows: it is another system's.
        """

        async def body(tx: Tx) -> Payout | None:
            before = await tx.load(PAYOUTS, payout_id)
            if before is None:
                await tx.finish(row_id)
                return None
            after = payouts.sent(before, transfer_id)
            if after != before:
                tx.put(PAYOUTS, after)
                if after.concluded_at is not None:
                    known = await tx.load(TRANSACTIONS, after.transaction_id)
                    assert known is not None, "a payout has its transaction"
                    tx.put(TRANSACTIONS, replace(known, external_reference=after.transfer_id))
            if after.state is not PayoutState.FAILED:
                await tx.finish(row_id)
            return after

        return await self._commits.run(body)

    async def conclude(self, payout_id: str, failure: str | None, now: datetime, row_id: str | None = None) -> None:
        """The bank has the money, or it comes back, once, whatever is told in which order. Two RPCs or three.

        Raises Unavailable while the wallet is too full for what comes back. A payout that nobody knows is another
        system's: it is left alone.
        """
        if not is_id(payout_id, Kind.PAYOUT):
            return

        async def body(tx: Tx) -> bool:
            payout, homeless = await tx.load(PAYOUTS, payout_id), False
            if payout is not None:
                await tx.read(WALLETS.at(payout.user_id), TRANSACTIONS.at(payout.transaction_id))
                if failure is None:
                    self._pay(tx, payout, now)
                else:
                    homeless = payout.state is not PayoutState.FAILED and wallet_of(tx, payout.user_id).closed
                    self._fail(tx, payout, failure, now)
            await tx.finish(row_id)
            return homeless

        if await self._commits.run(body):
            log.warning("%s came back to a deleted account: its DOF are booked as the platform's", payout_id)

    async def page_of_user(self, user_id: str, first: int, after: Position | None) -> Page[Payout]:
        """A user's payouts, newest first. One RPC."""
        query = Query(PAYOUTS.name, (Filter("user_id", "==", user_id),), (Order("created_at", descending=True),))
        return await read_page(self._backend, PAYOUTS, query, first, after)

    async def of_account(self, account_id: str) -> list[Payout]:
        """The newest hundred payouts to an account of the provider's. One RPC."""
        filters = (Filter("account_id", "==", account_id),)
        query = Query(PAYOUTS.name, filters, (Order("created_at", descending=True),), OF_ACCOUNT_MAX)
        return [PAYOUTS.decode(each) for each in await self._backend.query(query)]

    async def page_of_state(
        self, state: PayoutState, before: datetime, first: int, after: Position | None
    ) -> Page[Payout]:
        """Payouts that were asked for before then and stand there still, oldest first. One RPC."""
        filters = (Filter("state", "==", state.value), Filter("created_at", "<", before))
        return await read_page(
            self._backend, PAYOUTS, Query(PAYOUTS.name, filters, (Order("created_at"),)), first, after
        )

    def _pay(self, tx: Tx, payout: Payout, now: datetime) -> None:
        after = payouts.paid(payout, now)
        if after == payout:
            return
        wallet = wallet_of(tx, payout.user_id)
        out = Move(wallet, (Posting(PAYOUTS_PENDING, WORLD_STRIPE, payout.amount),))
        self._note(tx, after, out, EntryKind.PAYOUT_PAID, TransactionStatus.COMPLETED, now)

    def _fail(self, tx: Tx, payout: Payout, reason: str, now: datetime) -> None:
        wallet = wallet_of(tx, payout.user_id)
        if payout.state is not PayoutState.FAILED and not wallets.fits(wallet, payout.amount.units):
            # It is tried again for hours, and then shown among the dead letters, where it can be retried (T-M03).
            raise Unavailable("The wallet has no room for a payout that came back: retry once some of it is spent.")
        after, back = payouts.failed(payout, wallet, reason, now)
        if back is not None:
            self._note(tx, after, back, EntryKind.PAYOUT_FAILED, TransactionStatus.FAILED, now)

    def _note(
        self, tx: Tx, payout: Payout, move: Move, kind: EntryKind, status: TransactionStatus, now: datetime
    ) -> None:
        known = tx.get(TRANSACTIONS, payout.transaction_id)
        assert known is not None, "a payout has its transaction"
        completes = {payout.user_id: payout.transaction_id}
        fact = (payout.id,)
        entry, moved, events = enter(
            tx, kind, fact, (move,), ref=payout.id, actor="webhook:stripe", at=now, completes=completes
        )
        tx.put(PAYOUTS, payout)
        seen = replace(known, status=status, completed_at=now, external_reference=payout.transfer_id)
        after = moved[payout.user_id].available.units
        tx.put(TRANSACTIONS, replace(seen, available_after=after, entry_id=entry.id))
        text = "payout_paid" if kind is EntryKind.PAYOUT_PAID else "payout_failed"
        said = {"payout_id": payout.id, "money": f"{payout.money.decimal} {payout.money.currency}"}
        told = notes([note(NotificationKind.EARNINGS, payout.user_id, (text, payout.id), said)])
        tx.tell(row((kind, payout.id), now, self._policy.event_retention, events=events, task=NOTIFY, args=told))


def _transaction(payout: Payout, wallet: Wallet, entry_id: str) -> Transaction:
    return Transaction(
        id=payout.transaction_id,
        user_id=payout.user_id,
        type=TransactionType.PAYOUT,
        status=TransactionStatus.PENDING,
        amount=-payout.amount.units,
        created_at=payout.created_at,
        available_after=wallet.available.units,
        payment_method=PaymentMethod.STRIPE,
        external_reference=payout.id,
        entry_id=entry_id,
    )
