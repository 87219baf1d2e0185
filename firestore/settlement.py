"""The end of a session: what it consumed is captured and divided, the rest goes back, in one commit."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain import meter_feed, revenue, sessions, wallets
from domain.events import Event, EventType, session_topic
from domain.ids import Kind, derived_id
from domain.ledger import EntryKind
from domain.money import Dof
from domain.policy import Policy
from domain.revenue import Accrual
from domain.sessions import EndReason, Session
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.wallets import Wallet
from firestore.collections import ACCRUALS, SESSIONS, TRANSACTIONS
from firestore.commit import Tx
from firestore.ledger import enter, wallet_of
from firestore.outbox import row
from firestore.rows import bucket_of

FOLLOW = "follow_session"  # counts a session, warns when it runs low, settles it; the name outlives a deploy


def settle(
    tx: Tx, session: Session, reason: EndReason | None, actor: str, now: datetime, policy: Policy
) -> tuple[Session, Wallet]:
    """End the session: capture, split and release in one commit (ruling 6).

    The session, its hirer's wallet and its transaction were read before. What was not used repays debt first.
    """
    settled = sessions.settle(session, reason, now)
    assert settled.settlement is not None, "it was settled just now"
    wallet = wallet_of(tx, session.hirer_id)
    events = [told(settled, EventType.SESSION_ENDED)]
    if session.held:
        wallet, paid = _pay_out(tx, settled, wallet, actor, now, policy)
        events += paid
    tx.put(SESSIONS, settled)
    args = {"session_id": session.id}
    fact = ("session", session.id, settled.version)
    tx.tell(row(fact, now, policy.event_retention, events=events, task=FOLLOW, args=args))
    return settled, wallet


def _pay_out(
    tx: Tx, session: Session, wallet: Wallet, actor: str, now: datetime, policy: Policy
) -> tuple[Wallet, tuple[Event, ...]]:
    settlement = session.settlement
    assert settlement is not None, "only a settled session is paid out"
    shares = revenue.targets(settlement.distribution, session.owner_id, session.creator_id)
    captured = wallets.capture(wallet, settlement.consumed, shares)
    released = wallets.release(captured.wallet, session.held - settlement.consumed)
    hirer, hire = session.hirer_id, session.transaction_id
    assert hire is not None, "a session that holds has its transaction"
    entry, moved, events = enter(
        tx,
        EntryKind.SETTLE,
        (session.id,),
        (captured, released),
        ref=session.id,
        actor=actor,
        at=now,
        completes={hirer: hire},
    )
    known = tx.get(TRANSACTIONS, hire)
    assert known is not None, "a session that holds has its transaction"
    tx.put(
        TRANSACTIONS,
        replace(
            known,
            status=TransactionStatus.COMPLETED,
            amount=-settlement.consumed.units,
            completed_at=now,
            available_after=moved[hirer].available.units,
            distribution=settlement.distribution,
            entry_id=entry.id,
        ),
    )
    for user_id, share in revenue.payees(settlement.distribution, session.owner_id, session.creator_id):
        _accrue(tx, session, user_id, share, entry.id, now, policy)
    return moved[hirer], events


def _accrue(tx: Tx, session: Session, user_id: str, share: Dof, entry_id: str, now: datetime, policy: Policy) -> None:
    accrual_id = derived_id(Kind.ACCRUAL, session.id, user_id)
    matures_at = now + policy.maturing
    bucket = bucket_of(accrual_id)
    tx.create(ACCRUALS, Accrual(accrual_id, user_id, session.id, share, entry_id, now, matures_at, bucket=bucket))
    assert session.settlement is not None, "only a settled session is paid out"
    tx.create(
        TRANSACTIONS,
        Transaction(
            id=derived_id(Kind.TRANSACTION, "earning", session.id, user_id),
            user_id=user_id,
            type=TransactionType.EARNING,
            status=TransactionStatus.COMPLETED,
            amount=share.units,
            created_at=now,
            completed_at=now,
            counterparty_id=session.hirer_id,
            agent_id=session.agent_id,
            session_id=session.id,
            distribution=session.settlement.distribution,
            payment_method=PaymentMethod.WALLET,
            entry_id=entry_id,
        ),
    )


def told(session: Session, kind: EventType) -> Event:
    """The last stored change of a session, as its topic tells it."""
    at = session.last_change_at
    data: dict[str, str | int] = {"sessionId": session.id, **meter_feed.mark(session)}
    if kind is EventType.SESSION_ENDED and session.settlement is not None:
        data["endReason"] = session.settlement.reason.value
    if kind is EventType.SESSION_DOF_UPDATED:
        data |= {"consumed": session.consumed(at).units, "remaining": session.remaining(at).units}
    return Event(session_topic(session.id), session.sequence(at), kind, at, data)
