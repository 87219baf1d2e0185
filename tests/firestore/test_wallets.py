"""Wallets in the store: transfers, adjustments, and what their owner sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import (
    BadInput,
    Conflict,
    Forbidden,
    IdempotencyConflict,
    InsufficientDof,
    NotFound,
    SelfDealing,
    Unauthenticated,
    WalletFrozen,
)
from domain.ledger import EntryKind, Posting
from domain.money import DOF_MAX, ZERO, Dof
from domain.transactions import Transaction, TransactionStatus, TransactionType
from domain.wallets import Wallet
from firestore.backend import Backend
from firestore.collections import ENTRIES, TRANSACTIONS, USERS, WALLETS
from firestore.memory import MemoryBackend
from tests import make
from tests.make import MINUTE, NOW, World, user_id

MAX, EVE, ADA = user_id("max"), user_id("eve"), user_id("ada")


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(MemoryBackend())
    await made.open("eve")
    await made.fund("max", 1_000)
    yield made
    await made.check()


@pytest_asyncio.fixture
async def anywhere(backend: Backend) -> AsyncIterator[World]:
    made = World(backend, rehearse=False)
    await made.open("eve")
    yield made
    await made.check()


async def give(
    world: World, amount: int, to: str = EVE, key: str = "k", viewer: str = MAX, note: str | None = None
) -> tuple[Transaction, Wallet]:
    return await world.store.wallets.transfer(viewer, to, Dof(amount), note, key, world.now)


async def adjust(world: World, amount: int, to: str = EVE, key: str = "k") -> tuple[Transaction, Wallet]:
    return await world.store.wallets.adjust("root", to, amount, "a gift", key, world.now)


async def test_a_transfer_is_one_entry_and_two_transactions(world: World) -> None:
    sent, wallet = await give(world, 300, note="thanks")
    assert (sent.type, sent.amount, sent.available_after, sent.counterparty_id, sent.note) == (
        TransactionType.TRANSFER,
        -300,
        700,
        EVE,
        "thanks",
    )
    assert wallet == await world.get(WALLETS, MAX)
    assert (await world.wallet("max"), await world.wallet("eve")) == ((700, 0, 0), (300, 0, 0))
    entry = await world.get(ENTRIES, sent.entry_id or "")
    assert (entry.kind, entry.postings) == (
        EntryKind.TRANSFER,
        (Posting(f"user:{MAX}:available", f"user:{EVE}:available", Dof(300)),),
    )
    page = await world.store.wallets.page_of_user(EVE, None, 10, None)
    (got,) = page.nodes
    assert (got.amount, got.available_after, got.counterparty_id, got.status) == (
        300,
        300,
        MAX,
        TransactionStatus.COMPLETED,
    )
    assert [event.topic for event in world.rows[-1].events] == [f"wallet:{MAX}", f"wallet:{EVE}"]


async def test_a_transfer_is_once_per_key(world: World) -> None:  # T-M15
    first = await give(world, 300)
    assert await give(world, 300) == first
    for changes in ({"amount": 301}, {"amount": 300, "to": ADA}, {"amount": 300, "note": "x"}):
        async with world.refuses(IdempotencyConflict):
            await give(world, **changes)  # type: ignore[arg-type]
    await world.fund("eve", 1)
    await give(world, 1, to=MAX, viewer=EVE)
    assert await world.wallet("max") == (701, 0, 0)


async def test_a_transfer_repays_the_others_debt(world: World) -> None:  # ruling 8
    await world.fund("eve", -200)
    await give(world, 300)
    assert await world.wallet("eve") == (100, 0, 0)


@pytest.mark.parametrize("amount", [0, -1, -(10**15)])
async def test_an_amount_is_more_than_nothing(world: World, amount: int) -> None:  # T-M01
    async with world.refuses(BadInput, field="input.amount"):
        await give(world, amount)


@pytest.mark.parametrize(("amount", "available"), [(1_001, 1_000), (10**15, 1_000)])
async def test_nobody_gives_what_they_have_not(world: World, amount: int, available: int) -> None:
    async with world.refuses(InsufficientDof, needed=amount, available=available):
        await give(world, amount)


async def test_a_transfer_to_oneself_or_to_nobody(world: World) -> None:  # T-M10
    async with world.refuses(SelfDealing):
        await give(world, 1, to=MAX)
    for nobody in ("", "usr_x", user_id("ghost"), make.agent().id):
        async with world.refuses(NotFound):
            await give(world, 1, to=nobody)
    await world.put(USERS, make.user("eve", suspended_at=NOW))
    async with world.refuses(NotFound):
        await give(world, 1)
    async with world.refuses(BadInput, field="input.idempotencyKey"):
        await give(world, 1, key="")


async def test_a_frozen_wallet_neither_gives_nor_takes(world: World) -> None:  # T-M10
    await world.fund("eve", 50)
    await world.put(WALLETS, replace(await world.get(WALLETS, EVE), open_disputes=1))
    async with world.refuses(NotFound):
        await give(world, 1)
    async with world.refuses(WalletFrozen, debt=0):
        await give(world, 1, to=MAX, viewer=EVE)


async def test_who_owes_is_suspended_or_is_gone_gives_nothing(world: World) -> None:
    await world.fund("max", -1_001)
    async with world.refuses(WalletFrozen, debt=1):
        await give(world, 1)
    await world.put(USERS, make.user("max", suspended_at=NOW))
    async with world.refuses(Forbidden):
        await give(world, 1)
    async with world.refuses(Unauthenticated):
        await give(world, 1, viewer=user_id("ghost"))


async def test_a_wallet_takes_no_more_than_it_can_hold(world: World) -> None:  # T-M03
    await world.fund("eve", DOF_MAX - 5)
    async with world.refuses(BadInput, field="input.amount"):
        await give(world, 6)
    await give(world, 5)
    assert await world.wallet("eve") == (DOF_MAX, 0, 0)
    async with world.refuses(Conflict):
        await adjust(world, 1)


async def test_a_ring_in_parallel_conserves(anywhere: World) -> None:  # T-M10
    ring = ["max", "eve", "ada"]
    for name in ring:
        await anywhere.fund(name, 100)
    await asyncio.gather(
        *(
            give(anywhere, 40, to=user_id(ring[(place + 1) % 3]), key=f"k{lap}", viewer=user_id(ring[place]))
            for lap in range(2)
            for place in range(3)
        )
    )
    assert [await anywhere.wallet(name) for name in ring] == [(100, 0, 0)] * 3


async def test_one_transfer_key_at_once_is_one_transfer(anywhere: World) -> None:  # T-M15
    await anywhere.fund("max", 1_000)
    results = await asyncio.gather(*(give(anywhere, 400) for _ in range(8)))
    assert {sent.id for sent, _ in results} == {results[0][0].id}
    assert await anywhere.wallet("max") == (600, 0, 0)


async def test_transfers_in_parallel_do_not_overdraw(anywhere: World) -> None:  # spree/spree#13734
    await anywhere.fund("max", 1_000)
    results = await asyncio.gather(*(give(anywhere, 300, key=f"k{n}") for n in range(6)), return_exceptions=True)
    assert sum(isinstance(result, InsufficientDof) for result in results) == 3
    assert (await anywhere.wallet("max"), await anywhere.wallet("eve")) == ((100, 0, 0), (900, 0, 0))


async def test_an_adjustment_comes_out_of_promo_and_goes_back(world: World) -> None:
    done, wallet = await adjust(world, 500)
    assert (done.type, done.amount, done.note, done.available_after) == (
        TransactionType.ADJUSTMENT,
        500,
        "a gift",
        500,
    )
    assert wallet.available == Dof(500)
    assert await adjust(world, 500) == (done, wallet)
    async with world.refuses(IdempotencyConflict):
        await adjust(world, 501)
    taken, wallet = await adjust(world, -700, key="k2")
    assert (taken.amount, wallet.available, wallet.debt) == (-700, ZERO, Dof(200))


@pytest.mark.parametrize("amount", [0, DOF_MAX + 1, -DOF_MAX - 1, 2**63])
async def test_an_adjustment_has_bounds(world: World, amount: int) -> None:  # T-M01
    async with world.refuses(BadInput, field="input.amount"):
        await adjust(world, amount)


async def test_a_debt_has_a_bound_too(world: World) -> None:  # T-M03
    await adjust(world, -DOF_MAX, key="k1")
    async with world.refuses(Conflict):
        await adjust(world, -1, key="k2")


async def test_nobody_is_adjusted_who_is_not_there(world: World) -> None:
    for nobody in ("", "usr_x", user_id("ghost")):
        async with world.refuses(NotFound):
            await adjust(world, 1, to=nobody)


async def test_a_wallet_that_was_never_written_is_empty(anywhere: World) -> None:
    assert await anywhere.store.wallets.get_many([EVE, MAX]) == [Wallet(EVE), Wallet(MAX)]
    assert await anywhere.store.wallets.earned(EVE) == ZERO


async def test_transactions_by_page_and_kind(anywhere: World) -> None:
    for number in range(4):
        anywhere.now = NOW + number * MINUTE
        await anywhere.fund("max", 10)
    await give(anywhere, 5)
    page_of = anywhere.store.wallets.page_of_user
    page = await page_of(MAX, TransactionType.ADJUSTMENT, 3, None)
    assert ([each.created_at for each in page.nodes], page.has_next_page) == (
        [NOW + number * MINUTE for number in (3, 2, 1)],
        True,
    )
    rest = await page_of(MAX, TransactionType.ADJUSTMENT, 3, page.end)
    assert ([each.created_at for each in rest.nodes], rest.has_next_page) == ([NOW], False)
    every: Any = await page_of(MAX, None, 9, None)
    assert sorted(each.amount for each in every.nodes) == [-5, 10, 10, 10, 10]
    read = await anywhere.store.read([(TRANSACTIONS, page.nodes[0].id), (TRANSACTIONS, "txn_x")])
    assert read == [page.nodes[0], None]
