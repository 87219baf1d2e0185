"""The one place where money is written: an entry and the wallets that it moves, in one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from domain.events import Event, EventType, wallet_topic
from domain.ids import Kind, derived_id
from domain.ledger import Entry, EntryKind, user_ids
from domain.wallets import Move, Wallet
from firestore.collections import ENTRIES, WALLETS
from firestore.commit import Tx
from firestore.rows import bucket_of


def wallet_of(tx: Tx, user_id: str) -> Wallet:
    """The wallet that was read; one that was never written is empty."""
    return tx.get(WALLETS, user_id) or Wallet(user_id)


def enter(
    tx: Tx,
    kind: EntryKind,
    fact: tuple[str | int, ...],
    moves: Sequence[Move],
    *,
    ref: str,
    actor: str,
    at: datetime,
    completes: Mapping[str, str] | None = None,
) -> tuple[Entry, dict[str, Wallet], tuple[Event, ...]]:
    """Write one entry for `fact`, which can be entered only once, and the wallets after its moves.

    Several moves of one wallet follow each other: the last one's wallet stands. `completes` names, by user, the
    transaction that this entry completes; each is told on the user's wallet topic. Gives the entry, the wallets by user
    and the events, which the caller puts into its outbox row.
    """
    wallets: dict[str, Wallet] = {move.wallet.id: move.wallet for move in moves}
    events = []
    for user_id, transaction_id in (completes or {}).items():
        wallet = replace(wallets[user_id], sequence=wallets[user_id].sequence + 1)
        wallets[user_id] = wallet
        data = {"transactionId": transaction_id}
        events.append(Event(wallet_topic(user_id), wallet.sequence, EventType.TRANSACTION_COMPLETED, at, data))
    wallets = {
        user_id: replace(wallet, version=wallet.version + 1, payable=wallet.payable_at_most)
        for user_id, wallet in wallets.items()
    }
    postings = tuple(posting for move in moves for posting in move.postings)
    entry_id = derived_id(Kind.ENTRY, kind, *fact)
    entry = Entry(
        id=entry_id,
        kind=kind,
        ref=ref,
        actor=actor,
        at=at,
        postings=postings,
        after={user_id: wallet.balances for user_id, wallet in wallets.items()},
        user_ids=tuple(sorted({*user_ids(postings), *wallets})),
        bucket=bucket_of(entry_id),
    )
    tx.create(ENTRIES, entry)
    for wallet in wallets.values():
        tx.put(WALLETS, wallet)
    return entry, wallets, tuple(events)
