"""What must hold of orders, purchases, accruals and payouts (I6, I7, I9, I13, I14)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from domain import ledger
from domain.books import Books, Finding, derive
from domain.ids import Kind, fingerprint
from domain.ledger import Entry, EntryKind
from domain.orders import UNFIT, FactKind, Order
from domain.payouts import Payout, PayoutState
from domain.purchases import Purchase
from domain.revenue import Accrual, AccrualState

PAYOUT_STUCK_AFTER = timedelta(days=7)  # a bank takes some days


# ---- orders and purchases


def order_is_its_entries(books: Books, order: Order) -> Iterator[Finding]:
    """I6, I7: what was applied is due by the facts, and is what its entries moved, each once."""
    if order.id != derive(Kind.ORDER, order.rail, order.shop, order.reference):
        yield "I14", "is not the order that its rail, shop and reference name"
    due = order.target.units if order.user_id is not None else 0
    if order.applied.units != due and not is_unfit(order):
        yield "I6", f"has applied {order.applied.units}, due is {due}"
    entries = order_entries(books, order)
    paid = 0
    for number, found in enumerate(entries):
        if len(found) != 1:
            yield "I7", f"has {len(found)} entries of its number {number}"
            continue
        change = -books.effects[found[0].id][f"world:{order.rail.value.lower()}"]
        paid += change
        if (change > 0) != (found[0].kind is EntryKind.PURCHASE) or found[0].ref != order.id:
            yield "I7", f"has the entry {found[0].id}, which says {change} as a {found[0].kind}"
        paper = books.transactions.get(derived_paper(order, number))
        if paper is None or paper.entry_id != found[0].id:
            yield "I14", f"has no transaction of its number {number}"
    if paid != order.applied.units:
        yield "I6", f"has applied {order.applied.units}, its entries {paid}"


def order_waits_or_is_settled(books: Books, order: Order) -> Iterator[Finding]:
    """I6, I14: whose it is follows from what it names; who must look at it is asked; its facts fit their keys."""
    if (order.entries != 0) != (order.transaction_id is not None) or (order.entries and order.user_id is None):
        yield "I14", f"has {order.entries} entries, the transaction {order.transaction_id}, the user {order.user_id}"
    asked = books.purchases.get(order.purchase_id) if order.purchase_id else None
    if order.user_id is not None and asked is None and order.email is None and not order.is_decided:
        yield "I14", f"is of {order.user_id}, and nothing says why"
    if asked is not None and order.user_id not in (None, asked.user_id) and order.email is None:
        yield "I14", f"is of {order.user_id}, and {asked.user_id} asked for it"
    waits = order.review is not None
    asked_for = order.is_contested or bool(order.doubts)
    if order.in_review != waits or (asked_for and not waits):
        yield "I6", f"has the doubts {order.doubts}, and its review is {order.review}"
    if order.user_id is not None and order.disputed != order.has_open_dispute and not is_unfit(order):
        yield "I14", f"counts as disputed: {order.disputed}, its facts say {order.has_open_dispute}"
    for key, fact in order.facts.items():
        name = key.partition(":")[0]
        if _NAMES.get(fact.kind, name) != name:
            yield "I6", f"keeps a {fact.kind} as {key}"


_NAMES = {
    FactKind.PAID: "paid",
    FactKind.REFUND: "refund",
    FactKind.CANCEL: "cancel",
    FactKind.APPROVED: "decision",
    FactKind.REJECTED: "decision",
}


def is_unfit(order: Order) -> bool:
    """Whether it waits because no wallet can hold, or owe, what it brings."""
    return order.review is not None and order.review.startswith(UNFIT)


def order_entries(books: Books, order: Order) -> list[list[Entry]]:
    """The entries under each of an order's numbers: one each, where all is well."""
    kinds = (EntryKind.PURCHASE, EntryKind.RECLAIM)
    found = ([books.entry(kind, "order", order.id, number) for kind in kinds] for number in range(order.entries))
    return [[entry for entry in pair if entry is not None] for pair in found]


def order_entry_ids(order: Order, kind: EntryKind) -> set[str]:
    """The ids that entries of this kind may have for an order."""
    return {derive(Kind.ENTRY, kind, "order", order.id, number) for number in range(order.entries)}


def derived_paper(order: Order, number: int) -> str:
    """The id of the transaction of an order's entry: the first may be the one that its purchase began with."""
    if number == 0 and order.transaction_id is not None:
        return order.transaction_id
    return derive(Kind.TRANSACTION, "order", order.id, number)


def purchase_is_told(books: Books, purchase: Purchase) -> Iterator[Finding]:
    """I14: it is what its fingerprint was made of, and its user sees it."""
    if purchase.fingerprint != fingerprint(purchase.rail.value, purchase.sku, purchase.quantity):
        yield "I14", "does not have the terms that its fingerprint was made of"
    if purchase.transaction_id != derive(Kind.TRANSACTION, "purchase", purchase.id):
        yield "I14", f"names the transaction {purchase.transaction_id}, which is not its own"
    paper = books.transactions.get(purchase.transaction_id)
    if paper is None:
        yield "I14", "has no transaction that its user sees"
    elif (paper.user_id, paper.created_at) != (purchase.user_id, purchase.created_at):
        yield "I14", "and its transaction differ in user or moment"


# ---- accruals and payouts


def accrual_is_its_entry(books: Books, accrual: Accrual) -> Iterator[Finding]:
    """I14: it is what the settlement paid, less what service refunds took back, and matured with the entry it names."""
    if accrual.id != derive(Kind.ACCRUAL, accrual.session_id, accrual.user_id):
        yield "I14", "is not the accrual of its session and user"
    entry = books.entry(EntryKind.SETTLE, accrual.session_id)
    if entry is None or entry.id != accrual.entry_id:
        yield "I14", f"was earned by {accrual.entry_id}, which did not settle its session"
        return
    address = ledger.earned(accrual.user_id)
    refunds = (each for each in books.by_ref.get(accrual.session_id, ()) if each.kind is EntryKind.REFUND)
    left = books.effects[entry.id][address] + sum(books.effects[each.id][address] for each in refunds)
    if accrual.amount.units != left:
        yield "I14", f"is of {accrual.amount.units}, its entries leave {left}"
    if accrual.created_at != entry.at or accrual.matures_at < accrual.created_at:
        yield "I14", f"was made at {accrual.created_at} and matures at {accrual.matures_at}, its entry says {entry.at}"
    matured = accrual.state is AccrualState.MATURED
    if (accrual.matured_by is not None and not matured) or (matured and accrual.amount and not accrual.matured_by):
        yield "I14", f"is {accrual.state}, by {accrual.matured_by}"
    if accrual.matured_by is not None and (books.whole or accrual.matured_by in books.entries):
        ripe = books.entries.get(accrual.matured_by)
        if ripe is not None and ripe.at < accrual.matures_at:
            yield "I14", f"matured at {ripe.at}, and was due at {accrual.matures_at}"
        batch = books.matured[accrual.matured_by]
        total = sum(each.amount.units for each in batch)
        if -books.effects.get(accrual.matured_by, Counter())[address] != total:
            yield "I14", f"matured by {accrual.matured_by}, which did not move the {total} of its accruals"


def payout_is_its_entries(books: Books, payout: Payout) -> Iterator[Finding]:
    """I9, I13: the amount left the wallet once, and is where the state says."""
    failed = payout.state is PayoutState.FAILED
    needed = [EntryKind.PAYOUT]
    needed += [EntryKind.PAYOUT_PAID] if payout.state is PayoutState.PAID else []
    needed += [EntryKind.PAYOUT_FAILED] if failed else []
    found = {kind: books.entry(kind, payout.id) for kind in PAYOUT_KINDS}
    for kind, entry in found.items():
        if entry is None and kind in needed:
            yield "I9", f"is {payout.state}, and has no entry of its {kind}"
        if entry is not None and kind not in needed and not (failed and kind is EntryKind.PAYOUT_PAID):
            yield "I9", f"is {payout.state}, and has an entry of its {kind}"
        if entry is not None and sum(posting.amount.units for posting in entry.postings) != payout.amount.units:
            yield "I9", f"is of {payout.amount.units}, its {kind} of another amount"
    asked = found[EntryKind.PAYOUT]
    if asked is not None and (asked.at, asked.actor) != (payout.created_at, payout.user_id):
        yield "I14", "was asked for by somebody else, or at another moment"
    if payout.fingerprint != fingerprint(payout.amount.units):
        yield "I14", "does not have the terms that its fingerprint was made of"
    if payout.transaction_id != derive(Kind.TRANSACTION, "payout", payout.id):
        yield "I14", f"names the transaction {payout.transaction_id}, which is not its own"
    if payout.transaction_id not in books.transactions:
        yield "I14", "has no transaction that its user sees"
    if payout.transfer_key != f"transfer:{payout.id}":
        yield "I14", f"has the transfer key {payout.transfer_key}, which is not its own"
    pending = payout.state in (PayoutState.REQUESTED, PayoutState.SENT)
    if pending and books.at - payout.created_at > PAYOUT_STUCK_AFTER:
        yield "I13", f"waits since {payout.created_at.isoformat()}"


PAYOUT_KINDS = (EntryKind.PAYOUT, EntryKind.PAYOUT_PAID, EntryKind.PAYOUT_FAILED)
