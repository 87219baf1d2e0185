"""Every transaction that a user sees, derived again from the entries (I14)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from domain import hiring, ledger, revenue
from domain.audit_orders import PAYOUT_KINDS, derived_paper, is_unfit, order_entries
from domain.books import Books, Finding, derive
from domain.ids import Kind, fingerprint
from domain.ledger import Entry, EntryKind
from domain.payouts import PayoutState
from domain.purchases import PurchaseStatus
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType


def transaction_is_true(books: Books, paper: Transaction) -> Iterator[Finding]:
    """I14: every transaction tells what an entry did, or of a purchase that is not paid; nothing else is one."""
    expected = _EXPECTED[paper.type](books, paper)
    if expected is None:
        yield "I14", f"is a {paper.type} for which there is no reason"
        return
    for name, value in expected.items():
        if getattr(paper, name) != value:
            yield "I14", f"has {name} {getattr(paper, name)!r}, where {value!r} is due"


Fields = Mapping[str, object]
_BARE: Fields = dict.fromkeys(
    ("counterparty_id", "agent_id", "session_id", "distribution", "external_reference", "note", "fingerprint")
)


def _of_entry(entry: Entry, user_id: str) -> Fields:
    """What a transaction says that is completed by an entry."""
    after = entry.after.get(user_id)
    left = None if after is None else after.available.units
    return {"completed_at": entry.at, "entry_id": entry.id, "available_after": left}


def _hire(books: Books, paper: Transaction) -> Fields | None:
    session = books.sessions.get(paper.session_id or "")
    if session is None or paper.id != hiring.transaction_id(session.id, session.hirer_id):
        return None
    hirer, ended = session.hirer_id, session.settlement
    entry = books.entry(EntryKind.SETTLE, session.id) if ended else None
    holds = [each for each in books.by_ref.get(session.id, ()) if each.kind in (EntryKind.HOLD, EntryKind.EXTEND)]
    holds = [each for each in holds if hirer in each.after]
    if (ended is not None and entry is None) or not holds:
        return None
    last = entry or max(holds, key=lambda each: each.after[hirer].version)
    return {
        **_BARE,
        **_of_entry(last, hirer),
        "user_id": hirer,
        "status": TransactionStatus.COMPLETED if ended else TransactionStatus.PENDING,
        "amount": -(ended.consumed if ended else session.held).units,
        "created_at": session.started_at,
        "completed_at": entry.at if entry else None,
        "entry_id": entry.id if entry else None,
        "counterparty_id": session.owner_id if session.owner_id != hirer else None,
        "agent_id": session.agent_id,
        "session_id": session.id,
        "distribution": ended.distribution if ended else None,
        "payment_method": PaymentMethod.WALLET,
    }


def _earning(books: Books, paper: Transaction) -> Fields | None:
    session = books.sessions.get(paper.session_id or "")
    entry = books.entry(EntryKind.SETTLE, paper.session_id or "")
    if session is None or session.settlement is None or entry is None:
        return None
    got = session.settlement.distribution
    for user_id, share in revenue.payees(got, session.owner_id, session.creator_id):
        if paper.id == derive(Kind.TRANSACTION, "earning", session.id, user_id):
            return {
                **_BARE,
                **_of_entry(entry, user_id),
                "user_id": user_id,
                "status": TransactionStatus.COMPLETED,
                "amount": share.units,
                "created_at": entry.at,
                "available_after": None,
                "counterparty_id": session.hirer_id,
                "agent_id": session.agent_id,
                "session_id": session.id,
                "distribution": got,
                "payment_method": PaymentMethod.WALLET,
            }
    return None


def _of_order(books: Books, paper: Transaction) -> Fields | None:
    entry = books.entries.get(paper.entry_id or "")
    if entry is None:
        return _of_purchase(books, paper)
    if entry.kind is EntryKind.REFUND:
        return _service_refund(books, paper, entry)
    order = books.orders.get(entry.ref)
    if order is None or order.user_id is None:
        return None
    numbers = (number for number, found in enumerate(order_entries(books, order)) if entry in found)
    number = next(numbers, None)
    if number is None or paper.id != derived_paper(order, number):
        return None
    asked = books.purchases.get(order.purchase_id or "")
    begun = asked is not None and asked.transaction_id == paper.id
    if not begun and paper.id != derive(Kind.TRANSACTION, "order", order.id, number):
        return None
    kind = TransactionType.REFUND if number else TransactionType.PURCHASE
    status = TransactionStatus(order.outcome.value) if number == 0 else TransactionStatus.COMPLETED
    return {
        **_BARE,
        **_of_entry(entry, order.user_id),
        "user_id": order.user_id,
        "type": TransactionType.DISPUTE if number and order.was_disputed and paper.type is _DISPUTE else kind,
        "status": paper.status if is_unfit(order) else status,
        "amount": -books.effects[entry.id][f"world:{order.rail.value.lower()}"],
        "created_at": asked.created_at if asked is not None and begun else entry.at,
        "payment_method": PaymentMethod((asked if asked is not None and begun else order).rail.value),
        "external_reference": order.reference,
    }


_DISPUTE = TransactionType.DISPUTE


def _of_purchase(books: Books, paper: Transaction) -> Fields | None:
    """Of a purchase that is not credited: it waits, or its order ended before it was."""
    asked = next((each for each in books.purchases_by_paper.get(paper.id, ())), None)
    if asked is None:
        return None
    orders = [each for each in books.orders_of.get(asked.id, ()) if each.user_id == asked.user_id]
    over = [each for each in orders if each.entries == 0 and each.outcome in _OVER]
    closed = [each for each in over if each.reference == paper.external_reference]
    expected: dict[str, object] = {
        **_BARE,
        "user_id": asked.user_id,
        "type": TransactionType.PURCHASE,
        "status": TransactionStatus.PENDING,
        "amount": asked.dof.units,
        "created_at": asked.created_at,
        "available_after": None,
        "entry_id": None,
        "payment_method": PaymentMethod(asked.rail.value),
        "external_reference": asked.id,
    }
    waits = any(each.entries == 0 and each.outcome is PurchaseStatus.COMPLETED for each in orders)
    if over and waits and paper.status is TransactionStatus.PENDING and not closed:
        return expected | {"completed_at": None}  # a refund that came back opened it again, beside one that ended
    if over:
        by = closed[0] if closed else over[0]
        return expected | {"status": TransactionStatus(by.outcome.value), "external_reference": by.reference}
    if any(each.entries for each in orders):
        return None
    return expected | {"completed_at": None}


_OVER = (PurchaseStatus.FAILED, PurchaseStatus.REFUNDED)


def _service_refund(books: Books, paper: Transaction, entry: Entry) -> Fields | None:
    session = books.sessions.get(entry.ref)
    if session is None:
        return None
    mine = paper.user_id == session.hirer_id and paper.amount > 0
    lost = [each.amount for each in books.papers_of[entry.id] if each.amount < 0]
    whole = -sum(lost) - books.effects[entry.id][ledger.PLATFORM_FEES]
    mark = fingerprint(session.id, paper.amount, paper.note) if mine else None
    return {
        **_BARE,
        **_of_entry(entry, paper.user_id),
        "type": TransactionType.REFUND,
        "status": TransactionStatus.COMPLETED,
        "amount": whole if mine else paper.amount,
        "created_at": entry.at,
        "counterparty_id": None if mine else session.hirer_id,
        "agent_id": session.agent_id,
        "session_id": session.id,
        "note": paper.note if mine else None,
        "fingerprint": mark,
        "payment_method": PaymentMethod.WALLET,
    }


def _transfer(books: Books, paper: Transaction) -> Fields | None:
    entry = books.entries.get(paper.entry_id or "")
    if entry is None or entry.kind is not EntryKind.TRANSFER or len(entry.after) != 2:
        return None
    giver = entry.actor
    sent = books.transactions.get(entry.ref)
    (taker,) = entry.after.keys() - {giver}
    amount = -books.effects[entry.id][ledger.available(giver)]
    user_id, other, change = (giver, taker, -amount) if paper.id == entry.ref else (taker, giver, amount)
    return {
        **_BARE,
        **_of_entry(entry, user_id),
        "user_id": user_id,
        "status": TransactionStatus.COMPLETED,
        "amount": change,
        "created_at": entry.at,
        "counterparty_id": other,
        "note": sent.note if sent is not None else None,
        "fingerprint": fingerprint(taker, amount, paper.note) if paper.id == entry.ref else None,
        "payment_method": PaymentMethod.WALLET,
    }


def _adjustment(books: Books, paper: Transaction) -> Fields | None:
    entry = books.entries.get(paper.entry_id or "")
    if entry is None or entry.kind is not EntryKind.ADJUST or entry.ref != paper.id or len(entry.after) != 1:
        return None
    (user_id,) = entry.after
    amount = -books.effects[entry.id][ledger.PROMO]
    return {
        **_BARE,
        **_of_entry(entry, user_id),
        "user_id": user_id,
        "status": TransactionStatus.COMPLETED,
        "amount": amount,
        "created_at": entry.at,
        "note": paper.note,
        "fingerprint": fingerprint(user_id, amount, paper.note),
        "payment_method": PaymentMethod.WALLET,
    }


def _payout(books: Books, paper: Transaction) -> Fields | None:
    entry = books.entries.get(paper.entry_id or "")
    payout = books.payouts.get(entry.ref) if entry is not None else None
    if entry is None or payout is None or payout.transaction_id != paper.id:
        return None
    found = [books.entry(kind, payout.id) for kind in reversed(PAYOUT_KINDS)]
    last = next((each for each in found if each is not None), entry)
    pending = payout.state in (PayoutState.REQUESTED, PayoutState.SENT)
    ended = TransactionStatus.FAILED if payout.state is PayoutState.FAILED else TransactionStatus.COMPLETED
    return {
        **_BARE,
        **_of_entry(last, payout.user_id),
        "user_id": payout.user_id,
        "status": TransactionStatus.PENDING if pending else ended,
        "amount": -payout.amount.units,
        "created_at": payout.created_at,
        "completed_at": None if pending else payout.concluded_at,
        "external_reference": payout.id if pending else payout.transfer_id,
        "payment_method": PaymentMethod.STRIPE,
    }


def entry_is_told(books: Books, entry: Entry) -> Iterator[Finding]:
    """I14: who is touched by a transfer, an adjustment or a service refund sees it, once."""
    papers = books.papers_of.get(entry.id, [])
    needed = {EntryKind.TRANSFER: 2, EntryKind.ADJUST: 1}.get(entry.kind)
    if needed is not None and len(papers) != needed:
        yield "I14", f"is told by {len(papers)} transactions, not {needed}"
    if entry.kind is EntryKind.REFUND and sum(paper.amount > 0 for paper in papers) != 1:
        yield "I14", "gives back, and its hirer does not see it once"
    # Who hires an agent of their own making pays for the session, and earns by it: two things, told by two.
    seen = [(paper.user_id, paper.amount < 0) for paper in papers]
    if len(set(seen)) != len(seen):
        yield "I14", "is told twice to one user"


_EXPECTED = {
    TransactionType.HIRE: _hire,
    TransactionType.EARNING: _earning,
    TransactionType.PURCHASE: _of_order,
    TransactionType.REFUND: _of_order,
    TransactionType.DISPUTE: _of_order,
    TransactionType.TRANSFER: _transfer,
    TransactionType.ADJUSTMENT: _adjustment,
    TransactionType.PAYOUT: _payout,
}
