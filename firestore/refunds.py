"""Service refunds: an admin gives a hirer back what a settled session cost, out of what it brought the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain import ledger, refunds, revenue, wallets
from domain.acts import require_other
from domain.errors import Conflict, IdempotencyConflict, NotFound
from domain.ids import Kind, derived_id, fingerprint, is_id, require_key
from domain.ledger import EntryKind
from domain.money import Dof
from domain.notifications import note
from domain.policy import Policy
from domain.revenue import Distribution
from domain.sessions import Session
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.users import NotificationKind
from domain.wallets import Move, Wallet
from firestore import acts
from firestore.backend import Backend
from firestore.collections import ACCRUALS, SESSIONS, TRANSACTIONS, USERS, WALLETS
from firestore.commit import Commits, Tx
from firestore.ledger import enter, wallet_of
from firestore.notifications import NOTIFY, notes
from firestore.outbox import row


class Refunds:
    """Raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def refund(
        self, actor_id: str, session_id: str, amount: Dof, reason: str, key: str, now: datetime
    ) -> tuple[Session, Transaction]:
        """Give `amount` back: from maturing earnings first, then from the payees' wallets, as debt where short.

        A deleted account is given nothing, so the refund is refused, and gives nothing back: that is the platform's
        loss. Three RPCs. Raises NotFound, Conflict, BadInput, IdempotencyConflict.
        """
        require_key(key)
        if not is_id(session_id, Kind.SESSION):
            raise NotFound("session")
        mark = fingerprint(session_id, amount.units, reason)
        transaction_id = derived_id(Kind.TRANSACTION, "service refund", actor_id, key)

        async def body(tx: Tx) -> tuple[Session, Transaction]:
            await tx.read(SESSIONS.at(session_id), TRANSACTIONS.at(transaction_id), USERS.at(actor_id))
            session, known = tx.get(SESSIONS, session_id), tx.get(TRANSACTIONS, transaction_id)
            if known is not None and known.fingerprint != mark:
                raise IdempotencyConflict
            if session is None:
                raise NotFound("session")
            if known is not None:
                return session, known
            require_other(actor_id, session.hirer_id, session.owner_id, session.creator_id)
            refunds.require_refundable(session, amount)
            back = refunds.shares_back(session, amount)
            after = refunds.returned(session, back)
            paid = await self._pay_back(tx, session, back, (actor_id, key), now)
            paid = replace(paid, note=reason, fingerprint=mark)
            tx.create(TRANSACTIONS, paid)
            tx.put(SESSIONS, after)
            facts = {"refunded": (session.refunded, after.refunded)}
            await acts.record(tx, actor_id, "refundSession", session_id, reason, now, facts)
            return after, paid

        return await self._commits.run(body)

    async def _pay_back(
        self, tx: Tx, session: Session, back: Distribution, request: tuple[str, str], now: datetime
    ) -> Transaction:
        """One entry that takes each share from where it is and credits the hirer, whose transaction it gives."""
        payees = revenue.payees(back, session.owner_id, session.creator_id)
        accruals = {user_id: derived_id(Kind.ACCRUAL, session.id, user_id) for user_id, _ in payees}
        people = dict.fromkeys((session.hirer_id, *accruals))
        await tx.read(*map(WALLETS.at, people), *map(ACCRUALS.at, accruals.values()))
        held = {user_id: wallet_of(tx, user_id) for user_id in people}
        if held[session.hirer_id].closed:
            raise NotFound("user")
        whole = Dof(back.owner.units + back.platform.units + back.creator.units)
        if not wallets.fits(held[session.hirer_id], whole.units):
            raise Conflict("The hirer's wallet cannot hold that much more: refund less, or later.")
        moves: list[Move] = []
        taken: dict[str, Dof] = {}
        for user_id, share in payees:
            accrual = tx.get(ACCRUALS, accruals[user_id])
            take = refunds.take_back(user_id, share, accrual)
            if take.from_earned:
                assert accrual is not None, "what is taken of an accrual was accrued"
                tx.put(ACCRUALS, replace(accrual, amount=accrual.amount - take.from_earned))
                moves.append(_credit(held, session.hirer_id, take.from_earned, ledger.earned(user_id)))
            if take.from_wallet and user_id != session.hirer_id:
                moves += _take(held, user_id, session.hirer_id, take.from_wallet)
            taken[user_id] = share
        if back.platform:
            moves.append(_credit(held, session.hirer_id, back.platform, ledger.PLATFORM_FEES))
        if not moves:
            raise Conflict(
                "This part of the session its hirer earned: nobody else can give it back. Refund more at once."
            )
        return self._enter(tx, session, whole, moves, taken, request, now)

    def _enter(
        self,
        tx: Tx,
        session: Session,
        amount: Dof,
        moves: list[Move],
        taken: dict[str, Dof],
        request: tuple[str, str],
        now: datetime,
    ) -> Transaction:
        actor_id, key = request
        transaction_id = derived_id(Kind.TRANSACTION, "service refund", actor_id, key)
        fact = ("service refund", actor_id, key)
        completes = {session.hirer_id: transaction_id}
        entry, moved, events = enter(
            tx, EntryKind.REFUND, fact, moves, ref=session.id, actor=actor_id, at=now, completes=completes
        )
        plain = Transaction(
            id=transaction_id,
            user_id=session.hirer_id,
            type=TransactionType.REFUND,
            status=TransactionStatus.COMPLETED,
            amount=amount.units,
            created_at=now,
            completed_at=now,
            available_after=moved[session.hirer_id].available.units,
            agent_id=session.agent_id,
            session_id=session.id,
            payment_method=PaymentMethod.WALLET,
            entry_id=entry.id,
        )
        for user_id, share in taken.items():
            lost_id = derived_id(Kind.TRANSACTION, "service refund", actor_id, key, user_id)
            wallet = moved.get(user_id)
            lost = replace(plain, id=lost_id, user_id=user_id, amount=-share.units, counterparty_id=session.hirer_id)
            after = wallet.available.units if wallet is not None else None
            tx.create(TRANSACTIONS, replace(lost, available_after=after))
        said = {"transaction_id": transaction_id, "session_id": session.id, "dof": str(amount.units)}
        told = notes([note(NotificationKind.PURCHASES, session.hirer_id, ("session_refunded", *fact), said)])
        tx.tell(row(fact, now, self._policy.event_retention, events=events, task=NOTIFY, args=told))
        return plain


def _credit(held: dict[str, Wallet], user_id: str, amount: Dof, source: str) -> Move:
    move = wallets.credit(held[user_id], amount, source)
    held[user_id] = move.wallet
    return move


def _take(held: dict[str, Wallet], user_id: str, hirer_id: str, amount: Dof) -> list[Move]:
    """From a payee's wallet to the hirer's: what is available, and what becomes the payee's debt. A deleted account has
    neither: its DOF were given up, and what came later went to the platform.
    """
    wallet = held[user_id]
    if wallet.closed:
        return [Move(wallet, ()), _credit(held, hirer_id, amount, ledger.LOSS)]
    ready = min(wallet.available, amount)
    owed = amount - ready
    held[user_id] = replace(wallet, available=wallet.available - ready, debt=wallet.debt + owed)
    moves = [Move(held[user_id], ())]
    if ready:
        moves.append(_credit(held, hirer_id, ready, ledger.available(user_id)))
    if owed:
        moves.append(_credit(held, hirer_id, owed, ledger.debt(user_id)))
    return moves
