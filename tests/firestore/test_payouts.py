"""What the round and a payout by hand read, with the indexes that it needs; and a row that is given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest_asyncio

from domain.ids import Kind, derived_id
from domain.money import Dof, Money
from domain.payouts import Payout, PayoutState
from firestore.backend import Backend
from firestore.cloud import CloudBackend
from firestore.collections import OUTBOX, PAYOUTS
from firestore.indexes import FILE
from firestore.outbox import row
from firestore.rows import RowState
from tests.emulators import start_local
from tests.make import NOW, World, user_id


@pytest_asyncio.fixture
async def anywhere(backend: Backend) -> AsyncIterator[World]:
    yield World(backend, rehearse=False)


@pytest_asyncio.fixture
async def indexed(tmp_path: Path) -> AsyncIterator[World]:
    """Over a Firestore that refuses a query without its index."""
    host = await asyncio.to_thread(start_local, tmp_path, "--indexes", str(FILE))
    backend = CloudBackend("jiga-payouts", emulator_host=host.host)
    yield World(backend, rehearse=False)
    await backend.close()
    await asyncio.to_thread(host.stop)


def payout(number: int, **changes: object) -> Payout:
    payout_id = derived_id(Kind.PAYOUT, number)
    made = Payout(
        id=payout_id,
        user_id=user_id("ada"),
        amount=Dof(100),
        money=Money(200, "USD"),
        account_id="acct_ada",
        state=PayoutState.SENT,
        transfer_key=f"transfer:{payout_id}",
        transaction_id=derived_id(Kind.TRANSACTION, "payout", payout_id),
        fingerprint="",
        created_at=NOW + timedelta(hours=number),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_what_waits_is_read_oldest_first(anywhere: World) -> None:
    first, second, third = payout(0), payout(1), payout(2)
    await anywhere.put(PAYOUTS, third, first, second, payout(3), payout(-1, state=PayoutState.PAID))
    before = NOW + timedelta(hours=3)
    page = await anywhere.store.payouts.page_of_state(PayoutState.SENT, before, 2, None)
    assert page.nodes == (first, second)
    rest = await anywhere.store.payouts.page_of_state(PayoutState.SENT, before, 2, page.end)
    assert (rest.nodes, rest.has_next_page) == ((third,), False)


async def test_the_indexes_are_declared(indexed: World) -> None:
    first = payout(0)
    await indexed.put(PAYOUTS, first)
    page = await indexed.store.payouts.page_of_state(PayoutState.SENT, NOW + timedelta(hours=1), 1, None)
    assert (page.nodes, await indexed.store.payouts.of_account("acct_ada")) == ((first,), [first])


async def test_an_accounts_payouts_are_read_newest_first(anywhere: World) -> None:
    first, second = payout(0), payout(1, state=PayoutState.PAID)
    await anywhere.put(PAYOUTS, first, second, payout(2, account_id="acct_bob"))
    assert await anywhere.store.payouts.of_account("acct_ada") == [second, first]
    assert await anywhere.store.payouts.of_account("acct_nobody") == []


async def test_a_row_that_is_given_up_is_a_dead_letter_at_once(anywhere: World) -> None:
    made = row(("a", "fact"), NOW, timedelta(days=1), task="apply_payout")
    await anywhere.put(OUTBOX, made)
    for _ in range(2):
        await anywhere.store.outbox.give_up(made.id)
        assert await anywhere.get(OUTBOX, made.id) == replace(made, state=RowState.DEAD)
    assert (await anywhere.store.outbox.dead(10, None)).nodes == (replace(made, state=RowState.DEAD),)
    await anywhere.store.outbox.finish(made.id)
    await anywhere.store.outbox.give_up(made.id)
    assert (await anywhere.get(OUTBOX, made.id)).state is RowState.DONE
    await anywhere.store.outbox.give_up(derived_id(Kind.OUTBOX, "nobody's"))
