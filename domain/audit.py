"""The ledger's invariants (docs/rules.md): small named rules over records, and what breaks one, by document.

A rule looks at one document, or at the books as a whole, and says what is wrong; it changes nothing. What an entry did
is derived again from its postings, and what a document says from the entries. Here are the rules of entries, wallets
and outbox rows, in the `audit_…` files beside those of the rest. I11, and the provider's half of I9, ask the providers:
they are the reconciliation's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from domain import ledger
from domain.audit_orders import (
    accrual_is_its_entry,
    order_entry_ids,
    order_is_its_entries,
    order_waits_or_is_settled,
    payout_is_its_entries,
    purchase_is_told,
)
from domain.audit_sessions import (
    session_ended_once,
    session_entry_ids,
    session_is_its_entries,
    session_is_its_usage,
    session_kept_its_terms,
    usage_is_metered,
)
from domain.audit_transactions import entry_is_told, transaction_is_true
from domain.books import Books, Finding, Owed, Rule, Violation, derive
from domain.ids import Kind
from domain.ledger import Balances, Entry, EntryKind
from domain.payouts import PayoutState
from domain.revenue import AccrualState
from domain.wallets import Wallet

STUCK_AFTER = timedelta(minutes=10)  # the sweep asks again after 20 s: who still waits after this waits for a human
SYSTEM_ADDRESSES = frozenset(
    {
        ledger.PLATFORM_FEES,
        ledger.WORLD_SHOPIFY,
        ledger.WORLD_STRIPE,
        ledger.PAYOUTS_PENDING,
        ledger.PROMO,
        ledger.LOSS,
    }
)
WALLET_PARTS = ("available", "held", "debt")
USER_PARTS = frozenset({*WALLET_PARTS, "earned"})


def check(books: Books) -> list[Violation]:
    """All that is wrong with the books, in order; none where they are whole. Never raises: a rule that a record stops
    has found that record."""
    return sorted({violation for found in findings(books) for violation in found})


def findings(books: Books) -> Iterator[list[Violation]]:
    """What is wrong with each document, one after the other, and at last with the whole: so that who checks on an event
    loop can let others have a turn."""
    for collection, rules in RULES.items():
        for id_, record in getattr(books, collection).items():
            path = f"{collection}/{id_}" if collection != "owed" else f"outbox/{id_}"
            found = [] if record.id == id_ else [Violation("I14", path, f"says that it is {record.id}")]
            for rule in rules:
                found += _apply(rule, books, record, path)
            yield found
    yield _apply(sums_to_nothing, books, None, "entries/*")
    needed = set(books.chains)
    if books.whole:
        told_of = {*books.disputed, *books.closed, *books.erased}
        needed |= {user_id for user_id in told_of if user_id is not None}
    missing = sorted(needed - books.wallets.keys())
    yield [Violation("I2", f"wallets/{each}", "is missing, and something was told of it") for each in missing]


def _apply(rule: Rule, books: Books, record: Any, path: str) -> list[Violation]:
    try:
        return [Violation(invariant, path, message) for invariant, message in rule(books, record)]
    except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError) as problem:
        return [Violation("I14", path, f"{rule.__name__} cannot read it: {problem!r}")]


# ---- entries


def entry_moves(books: Books, entry: Entry) -> Iterator[Finding]:
    """I1: postings move something between addresses that there are; the users are those of the postings."""
    for posting in entry.postings:
        if posting.amount.units <= 0 or posting.source == posting.target:
            yield "I1", f"has the posting {posting}"
        for address in (posting.source, posting.target):
            if address not in SYSTEM_ADDRESSES and _user_part(address) is None:
                yield "I1", f"posts to {address}, which is no address"
    if entry.user_ids != tuple(sorted({*ledger.user_ids(entry.postings), *entry.after})):
        yield "I14", f"names the users {entry.user_ids}, it concerns others"
    if entry.corrects is not None and entry.corrects not in books.entries:
        yield "I14", f"corrects {entry.corrects}, which is no entry"
    moved = {part[0] for part in map(_user_part, books.effects[entry.id]) if part and part[1] in WALLET_PARTS}
    if not moved <= entry.after.keys():
        yield "I12", f"does not say how it left the wallets of {sorted(moved - entry.after.keys())}"


def entry_has_its_fact(books: Books, entry: Entry) -> Iterator[Finding]:
    """I7, I14: the id is the hash of a fact that another document tells, so that it can be entered once only."""
    if not _is_claimed(books, entry):
        yield ("I7", f"is a {entry.kind} of {entry.ref}, and no other document gives a reason for it")
    if any(address.startswith("world:") for address in books.effects[entry.id]) and entry.kind not in _OUTSIDE:
        yield "I6", f"is a {entry.kind}, and moves money of the outside world"


_OUTSIDE = (EntryKind.PURCHASE, EntryKind.RECLAIM, EntryKind.PAYOUT_PAID, EntryKind.PAYOUT_FAILED)
_OF_ORDERS = (EntryKind.PURCHASE, EntryKind.RECLAIM)
_OF_SESSIONS = (EntryKind.HOLD, EntryKind.EXTEND, EntryKind.SETTLE)
_OF_PAYOUTS = (EntryKind.PAYOUT, EntryKind.PAYOUT_PAID, EntryKind.PAYOUT_FAILED)


def _is_claimed(books: Books, entry: Entry) -> bool:
    if entry.kind in _OF_SESSIONS:
        session = books.sessions.get(entry.ref)
        return session is not None and session_entry_ids(session).get(entry.id) is entry.kind
    if entry.kind in _OF_ORDERS:
        order = books.orders.get(entry.ref)
        return order is not None and entry.id in order_entry_ids(order, entry.kind)
    if entry.kind in _OF_PAYOUTS:
        return entry.ref in books.payouts and entry.id == derive(Kind.ENTRY, entry.kind, entry.ref)
    if entry.kind is EntryKind.MATURE:
        accruals = sorted(accrual.id for accrual in books.matured.get(entry.id, ()))
        return bool(accruals) and entry.id == derive(Kind.ENTRY, entry.kind, entry.ref, *accruals)
    if entry.kind is EntryKind.REFUND:
        return entry.ref in books.sessions and bool(books.papers_of.get(entry.id))
    paper = books.transactions.get(entry.ref)
    return paper is not None and paper.entry_id == entry.id


def entry_spares_the_closed(books: Books, entry: Entry) -> Iterator[Finding]:
    """I14: only of a deleted account is anything booked as the platform's: what it would earn, what comes back to it,
    and what it cannot give back."""
    moved, whole = books.effects[entry.id], sum(posting.amount.units for posting in entry.postings)
    kept = moved.get(ledger.PLATFORM_FEES if entry.kind is EntryKind.MATURE else ledger.LOSS, 0)
    if kept == 0:
        return
    shut = {user_id for user_id in entry.after if user_id in books.wallets and books.wallets[user_id].closed}
    papers = books.papers_of.get(entry.id, ())
    owed = -sum(paper.amount for paper in papers if paper.user_id in shut and paper.amount < 0)
    whole_or_part = -owed <= kept < 0 if entry.kind is EntryKind.REFUND else kept == whole
    if not shut or not whole_or_part or entry.kind not in _OF_THE_CLOSED:
        yield "I14", f"is a {entry.kind} that books {kept} as of a deleted account, and there is none"


_OF_THE_CLOSED = (EntryKind.MATURE, EntryKind.PAYOUT_FAILED, EntryKind.REFUND)


# ---- wallets


def wallet_is_its_postings(books: Books, wallet: Wallet) -> Iterator[Finding]:
    """I2, I3, I12: each entry leaves the wallet as it found it plus its postings, version by version without a gap."""
    chain = books.chains.get(wallet.id, [])
    versions = [entry.after[wallet.id].version for entry in chain]
    first = 1 if books.first is None else books.first[wallet.id]
    whole = versions == list(range(first, first + len(versions)))
    if not whole or wallet.version != first + len(versions) - 1:
        yield "I12", f"is at version {wallet.version}, and has entries of the versions {_shortened(versions)}"
    running = [0] * 4
    if not books.whole and chain:
        after, moved = chain[0].after[wallet.id], _moved(books, chain[0], wallet.id)
        before = [value - change for value, change in zip(_parts(after), moved, strict=True)]
        running = [*before[:3], max(0, before[3])]
    for number, entry in enumerate(chain):
        running = [value + change for value, change in zip(running, _moved(books, entry, wallet.id), strict=True)]
        after = entry.after[wallet.id]
        # What is spent is spent of what was earned too, as far as nothing else is left. What is held is not spent yet.
        left = running[0] + running[1]
        running[3] = min(running[3], left) if books.whole or number else after.payable.units
        if running != _parts(after):
            yield "I12", f"is {_parts(after)} after {entry.id}, by its postings {running}"
        if min(running) < 0 or (running[0] and running[2]) or running[3] > left:
            yield "I3", f"is {running} after {entry.id}"
    if running != _parts(wallet):
        yield "I2", f"has {_parts(wallet)}, by its postings {running}"
    if min(_parts(wallet)) < 0 or (wallet.available and wallet.debt):
        yield "I3", f"has {_parts(wallet)}"


def wallet_holds_its_sessions(books: Books, wallet: Wallet) -> Iterator[Finding]:
    """I4: what is held is held by sessions that run."""
    if wallet.held.units != books.held_by[wallet.id]:
        yield "I4", f"holds {wallet.held.units}, its running sessions {books.held_by[wallet.id]}"


def wallet_is_closed_with_its_account(books: Books, wallet: Wallet) -> Iterator[Finding]:
    """I14: the wallets of deleted accounts are closed, and no others. One that a backup has opened is closed again by
    the round that erases its user again."""
    if books.whole and wallet.closed != (wallet.id in books.erased):
        yield "I14", f"is closed: {wallet.closed}, and the log of erasures says otherwise"


def wallet_counts_its_disputes(books: Books, wallet: Wallet) -> Iterator[Finding]:
    """I14: it is frozen by as many orders as are disputed."""
    if books.whole and wallet.open_disputes != books.disputed[wallet.id]:
        yield "I14", f"counts {wallet.open_disputes} open disputes, its orders {books.disputed[wallet.id]}"


def wallet_counts_its_events(books: Books, wallet: Wallet) -> Iterator[Finding]:
    """I14: each entry that completes something is told, so no fewer events than those were numbered."""
    told = sum(entry.kind in _TOLD for entry in books.chains.get(wallet.id, ()))
    if wallet.sequence < told + books.closed[wallet.id]:
        yield "I14", f"has told {wallet.sequence} events of {told} entries"


_TOLD = (EntryKind.PURCHASE, EntryKind.RECLAIM, EntryKind.SETTLE, EntryKind.TRANSFER, EntryKind.ADJUST)


# ---- the whole


def sums_to_nothing(books: Books, _: None) -> Iterator[Finding]:
    """I10, I14: wallets, maturing earnings, pending payouts and the system's addresses together are nothing."""
    if not books.whole:
        return
    fold: Counter[str] = Counter()
    for moved in books.effects.values():
        fold.update(moved)
    system = sum(units for address, units in fold.items() if address in SYSTEM_ADDRESSES)
    wallets = sum(w.available.units + w.held.units - w.debt.units for w in books.wallets.values())
    maturing: Counter[str] = Counter()
    for accrual in books.accruals.values():
        if accrual.state is AccrualState.MATURING:
            maturing[accrual.user_id] += accrual.amount.units
    if system + wallets + sum(maturing.values()) != 0:
        yield "I10", f"the books sum to {system + wallets + sum(maturing.values())}"
    earned = {address.split(":")[1]: units for address, units in fold.items() if address.endswith(":earned")}
    for user_id in sorted(earned.keys() | maturing.keys()):
        if earned.get(user_id, 0) != maturing[user_id]:
            yield "I14", f"{user_id} has earned {earned.get(user_id, 0)}, the accruals {maturing[user_id]}"
    pending = sum(
        p.amount.units for p in books.payouts.values() if p.state in (PayoutState.REQUESTED, PayoutState.SENT)
    )
    if fold[ledger.PAYOUTS_PENDING] != pending:
        yield "I9", f"{fold[ledger.PAYOUTS_PENDING]} wait to be paid out, the payouts say {pending}"


# ---- what is owed


def nothing_is_stuck(books: Books, owed: Owed) -> Iterator[Finding]:
    """I13: work is done within minutes of its moment."""
    if owed.is_dead:
        yield "I13", f"its task {owed.task} was given up: see why, and ask for it again"
    elif owed.is_pending and books.at - owed.since > STUCK_AFTER:
        yield "I13", f"its task {owed.task} waits since {owed.since.isoformat()}"
    if not books.whole:
        return
    done = not (owed.is_pending or owed.is_dead)
    if owed.task == "apply_order" and done and owed.args["order_id"] not in books.orders:
        yield "I14", f"was applied to {owed.args['order_id']}, which is missing"
    if owed.task == "follow_session" and owed.args["session_id"] not in books.sessions:
        yield "I14", f"follows {owed.args['session_id']}, which is missing"


def _user_part(address: str) -> tuple[str, str] | None:
    parts = address.split(":")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == "user" and parts[2] in USER_PARTS else None


def _moved(books: Books, entry: Entry, user_id: str) -> list[int]:
    """The changes of what is available, held, owed, and may be paid out: only what matured may, until it was."""
    moved = books.effects[entry.id]
    came = moved.get(ledger.available(user_id), 0) + moved.get(ledger.debt(user_id), 0)
    payable = {
        EntryKind.MATURE: came,
        EntryKind.PAYOUT: -moved.get(ledger.PAYOUTS_PENDING, 0),
        EntryKind.PAYOUT_FAILED: came,
    }
    return [
        moved.get(ledger.available(user_id), 0),
        moved.get(ledger.held(user_id), 0),
        -moved.get(ledger.debt(user_id), 0),
        payable.get(entry.kind, 0),
    ]


def _parts(of: Balances | Wallet) -> list[int]:
    return [of.available.units, of.held.units, of.debt.units, of.payable.units]


def _shortened(numbers: list[int]) -> str:
    return str(numbers) if len(numbers) <= 10 else f"{numbers[:3]} … {numbers[-3:]}"


RULES: Mapping[str, tuple[Rule, ...]] = {
    "entries": (entry_moves, entry_has_its_fact, entry_is_told, entry_spares_the_closed),
    "wallets": (
        wallet_is_its_postings,
        wallet_holds_its_sessions,
        wallet_is_closed_with_its_account,
        wallet_counts_its_disputes,
        wallet_counts_its_events,
    ),
    "sessions": (session_is_its_entries, session_kept_its_terms, session_is_its_usage, session_ended_once),
    "usage": (usage_is_metered,),
    "orders": (order_is_its_entries, order_waits_or_is_settled),
    "purchases": (purchase_is_told,),
    "accruals": (accrual_is_its_entry,),
    "payouts": (payout_is_its_entries,),
    "transactions": (transaction_is_true,),
    "owed": (nothing_is_stuck,),
}
