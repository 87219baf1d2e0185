"""The one place where money is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

import firestore.commit
from domain import ledger, wallets
from domain.events import EventType, wallet_topic
from domain.ids import Kind, derived_id
from domain.ledger import Balances, Entry, EntryKind, Posting
from domain.money import Dof
from domain.wallets import Move, Wallet
from firestore.backend import Backend, Unclear
from firestore.collections import ENTRIES, WALLETS
from firestore.commit import Tx
from firestore.ledger import enter, wallet_of
from firestore.memory import MemoryBackend
from tests.make import NOW, World, user_id

MAX, EVE = user_id("max"), user_id("eve")


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(MemoryBackend())
    yield made
    await made.check()


def credit(amount: int, wallet: Wallet) -> Move:
    return wallets.credit(wallet, Dof(amount), ledger.PROMO)


async def move(world: World, fact: str, make: Callable[[Wallet], tuple[Move, ...]]) -> Entry:
    async def body(tx: Tx) -> Entry:
        await tx.read(WALLETS.at(MAX))
        moves = make(wallet_of(tx, MAX))
        entry, _, _ = enter(tx, EntryKind.ADJUST, (fact,), moves, ref="r", actor="a", at=NOW)
        return entry

    return await world.commits.run(body)


async def test_an_entry_and_its_wallets_are_one_commit(world: World) -> None:
    entry = await move(world, "one", lambda wallet: (credit(70, wallet),))
    assert entry == Entry(
        id=derived_id(Kind.ENTRY, "ADJUST", "one"),
        kind=EntryKind.ADJUST,
        ref="r",
        actor="a",
        at=NOW,
        postings=(Posting("promo", f"user:{MAX}:available", Dof(70)),),
        after={MAX: Balances(1, Dof(70), Dof(0), Dof(0))},
        user_ids=(MAX,),
    )
    assert await world.get(ENTRIES, entry.id) == entry
    assert await world.get(WALLETS, MAX) == Wallet(MAX, Dof(70), version=1)


async def test_moves_of_one_wallet_follow_each_other(world: World) -> None:
    await move(world, "one", lambda wallet: (credit(70, wallet),))

    def both(wallet: Wallet) -> tuple[Move, ...]:
        held = wallets.hold(wallet, Dof(50))
        return held, wallets.release(held.wallet, Dof(50))

    entry = await move(world, "two", both)
    assert entry.after == {MAX: Balances(2, Dof(70), Dof(0), Dof(0))}
    assert len(entry.postings) == 2


async def test_what_an_entry_completes_is_told_by_number(world: World) -> None:
    async def body(tx: Tx) -> tuple[tuple[str, int, EventType, object], ...]:
        await tx.read(WALLETS.at(MAX), WALLETS.at(EVE))
        moves = (credit(1, wallet_of(tx, MAX)), credit(2, wallet_of(tx, EVE)))
        done = {MAX: "txn_1", EVE: "txn_2"}
        _, moved, events = enter(tx, EntryKind.TRANSFER, ("f",), moves, ref="r", actor="a", at=NOW, completes=done)
        assert {user: wallet.sequence for user, wallet in moved.items()} == {MAX: 1, EVE: 1}
        raise Told(events)

    class Told(Exception):
        pass

    with pytest.raises(Told) as told:
        await world.commits.run(body)
    assert [(event.topic, event.sequence, event.type, event.data) for event in told.value.args[0]] == [
        (wallet_topic(MAX), 1, EventType.TRANSACTION_COMPLETED, {"transactionId": "txn_1"}),
        (wallet_topic(EVE), 1, EventType.TRANSACTION_COMPLETED, {"transactionId": "txn_2"}),
    ]


async def test_one_fact_is_entered_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await move(world, "same", lambda wallet: (credit(70, wallet),))
    monkeypatch.setattr(firestore.commit, "ATTEMPT_SECONDS_MAX", 0.05)
    with pytest.raises(Unclear):
        await move(world, "same", lambda wallet: (credit(70, wallet),))
    assert (await world.get(WALLETS, MAX)).available == Dof(70)


async def test_entries_in_parallel_chain_without_a_gap(backend: Backend) -> None:  # I12
    world = World(backend)
    await asyncio.gather(*(move(world, f"f{n}", lambda wallet: (credit(1, wallet),)) for n in range(8)))
    assert (await world.get(WALLETS, MAX)).version == 8
    await world.check()
