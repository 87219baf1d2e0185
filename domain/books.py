"""The books: all records of the ledger as of one moment, and what the audit looks up in them again and again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from domain.ids import Kind, derived_id
from domain.ledger import Entry, EntryKind
from domain.orders import Order
from domain.payouts import Payout
from domain.purchases import Purchase
from domain.revenue import Accrual
from domain.sessions import Session, UsageRecord
from domain.transactions import Transaction, TransactionStatus
from domain.wallets import Wallet

derive = lru_cache(maxsize=2**16)(derived_id)  # several rules ask for the ids of one document, close together


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """`path` is the document, `collection/id`, that does not agree with the others; the message says how."""

    invariant: str
    path: str
    message: str


Finding = tuple[str, str]
"""An invariant and a message; the rule's document is its path."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What an outbox row still owes: its task, since when, and whether it was given up."""

    id: str
    task: str | None
    since: datetime
    is_pending: bool
    is_dead: bool
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Books:
    """The ledger's records by document id, all of one moment `at`.

    With `first` the books are not whole: they hold all that hangs together with some entries, and `first` gives, by
    user, the version from which the wallet's entries are among them. What lies before was checked before. `erased` are
    the users of deleted accounts, as the log of erasures has them.
    """

    at: datetime
    entries: Mapping[str, Entry]
    wallets: Mapping[str, Wallet]
    sessions: Mapping[str, Session]
    usage: Mapping[str, UsageRecord]
    orders: Mapping[str, Order]
    purchases: Mapping[str, Purchase]
    accruals: Mapping[str, Accrual]
    transactions: Mapping[str, Transaction]
    payouts: Mapping[str, Payout]
    owed: Mapping[str, Owed]
    first: Mapping[str, int] | None = None
    erased: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        return self.first is None

    @cached_property
    def by_ref(self) -> Mapping[str, list[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries.values():
            found[entry.ref].append(entry)
        return found

    @cached_property
    def chains(self) -> Mapping[str, list[Entry]]:
        """Each user's entries by the version of the wallet that they made."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries.values():
            for user_id, after in entry.after.items():
                if self.first is None or after.version >= self.first.get(user_id, after.version + 1):
                    found[user_id].append(entry)
        for user_id, entries in found.items():
            entries.sort(key=lambda entry: entry.after[user_id].version)
        return found

    @cached_property
    def effects(self) -> Mapping[str, Counter[str]]:
        """What each entry moved, by address."""
        return {id_: effect(entry) for id_, entry in self.entries.items()}

    @cached_property
    def usage_of(self) -> Mapping[str, list[UsageRecord]]:
        found: dict[str, list[UsageRecord]] = defaultdict(list)
        for record in self.usage.values():
            found[record.session_id].append(record)
        return found

    @cached_property
    def held_by(self) -> Counter[str]:
        """What each user's running sessions hold."""
        held: Counter[str] = Counter()
        for session in self.sessions.values():
            if session.settlement is None:
                held[session.hirer_id] += session.held.units
        return held

    @cached_property
    def disputed(self) -> Counter[str | None]:
        """How many orders of each user are disputed."""
        return Counter(order.user_id for order in self.orders.values() if order.disputed)

    @cached_property
    def closed(self) -> Counter[str]:
        """How many purchases of each user were over before they were credited: each was told."""
        over = (TransactionStatus.FAILED, TransactionStatus.REFUNDED)
        papers = self.transactions.values()
        return Counter(paper.user_id for paper in papers if paper.entry_id is None and paper.status in over)

    @cached_property
    def matured(self) -> Mapping[str, list[Accrual]]:
        """The accruals by the entry that they say has matured them."""
        found: dict[str, list[Accrual]] = defaultdict(list)
        for accrual in self.accruals.values():
            if accrual.matured_by is not None:
                found[accrual.matured_by].append(accrual)
        return found

    @cached_property
    def papers_of(self) -> Mapping[str, list[Transaction]]:
        """The transactions by the entry that they name."""
        found: dict[str, list[Transaction]] = defaultdict(list)
        for transaction in self.transactions.values():
            if transaction.entry_id is not None:
                found[transaction.entry_id].append(transaction)
        return found

    @cached_property
    def purchases_by_paper(self) -> Mapping[str, list[Purchase]]:
        found: dict[str, list[Purchase]] = defaultdict(list)
        for purchase in self.purchases.values():
            found[purchase.transaction_id].append(purchase)
        return found

    @cached_property
    def orders_of(self) -> Mapping[str, list[Order]]:
        """The orders by the purchase that they name."""
        found: dict[str, list[Order]] = defaultdict(list)
        for order in self.orders.values():
            if order.purchase_id is not None:
                found[order.purchase_id].append(order)
        return found

    def entry(self, kind: EntryKind, *fact: str | int) -> Entry | None:
        """The entry of a fact."""
        return self.entries.get(derive(Kind.ENTRY, kind, *fact))


def effect(entry: Entry) -> Counter[str]:
    """What an entry moved, by address."""
    moved: Counter[str] = Counter()
    for posting in entry.postings:
        moved[posting.source] -= posting.amount.units
        moved[posting.target] += posting.amount.units
    return moved


Rule = Callable[[Books, Any], Iterator[Finding]]
"""What may be wrong with one record. It yields each thing that is."""
