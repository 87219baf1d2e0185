"""A deleted account is paid nothing more: not by hires of what it created, not by refunds, not by its bank."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain

import pytest
import pytest_asyncio

from domain import ledger
from domain.analytics import PLATFORM, Count, Entered, counts, earner
from domain.erasure import Erasure
from domain.errors import Conflict, NotFound, Unavailable
from domain.ledger import Entry, EntryKind, Posting
from domain.money import Dof
from domain.payouts import PayoutState
from domain.pricing import Pricing
from domain.sessions import Session
from domain.wallets import Wallet
from firestore.backend import Conflict as InTheWay
from firestore.backend import Write
from firestore.collections import ENTRIES, ERASURES, LISTINGS, PAYOUTS, SESSIONS, TRANSACTIONS, WALLETS
from firestore.memory import MemoryBackend
from tests import agree
from tests.make import MINUTE, World, user_id, wish

ADA, CLEO, MAX, ADMIN = user_id("ada"), user_id("cleo"), user_id("max"), user_id("admin")
WEEK = timedelta(days=7)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """Ada owns, Cleo created, Max has DOF; both checkers find nothing in the end."""
    made = World(MemoryBackend())
    await made.open("admin", "root")
    await made.fund("max", 1_000_000)
    yield made
    await agree.whole(made)


async def hire(world: World, key: str = "k", name: str = "max") -> Session:
    (offered,) = await world.all(LISTINGS)
    session, _ = await world.store.sessions.hire(user_id(name), wish(offered, key), world.now)
    return session


async def end(world: World, session: Session) -> Session:
    """After its whole hour."""
    world.now += 59 * MINUTE + MINUTE / 2
    ended, _ = await world.store.sessions.end(session.hirer_id, session.id, f"end {session.id}", world.now)
    return ended


async def mature(world: World, *users: str) -> None:
    world.now += WEEK + MINUTE
    for each in users:
        await world.store.earnings.mature(each, world.now)


async def erase(world: World, user: str) -> None:
    (wallet,) = await world.store.wallets.get_many([user])
    await world.store.erasures.request(user, wallet.available, world.now)


async def rewrite(world: World, wallet: Wallet) -> None:
    """Write a wallet as it is, with its seal, whatever was there."""
    await world.backend.commit([Write(WALLETS.at(wallet.id), WALLETS.encode(wallet))])


async def entry(world: World, kind: EntryKind) -> Entry:
    (found,) = (each for each in await world.all(ENTRIES) if each.kind is kind)
    return found


async def fees(world: World) -> int:
    return sum(ledger.balance(each.postings, ledger.PLATFORM_FEES) for each in await world.all(ENTRIES))


# ---- a creator who is not the owner


async def test_a_creator_is_not_erased_while_a_hire_runs(world: World) -> None:
    session = await hire(world)
    async with world.refuses(Conflict):
        await erase(world, CLEO)
    await end(world, session)
    await mature(world, CLEO)
    await erase(world, CLEO)
    assert (await world.get(WALLETS, CLEO)).closed


async def test_what_later_hires_bring_a_deleted_creator_is_the_platforms(world: World) -> None:
    await erase(world, CLEO)
    ended = await end(world, await hire(world))
    settlement = ended.settlement
    assert settlement is not None
    share = settlement.distribution.creator
    assert share == Dof(600)  # the books still say who was due what
    before = await fees(world)
    world.rows.clear()
    await mature(world, CLEO, CLEO)
    assert world.rows == []
    made = await entry(world, EntryKind.MATURE)
    assert made.postings == (Posting(ledger.earned(CLEO), ledger.PLATFORM_FEES, share),)
    assert await fees(world) == before + 600
    wallet = await world.get(WALLETS, CLEO)
    assert (wallet.available, wallet.payable, wallet.closed) == (Dof(0), Dof(0), True)
    assert await world.store.wallets.earned(CLEO) == Dof(0)
    assert [*counts(Entered(made))] == [Count(PLATFORM, "commission", 600)]


async def test_what_is_taken_back_before_it_matures_is_taken_of_what_was_earned(world: World) -> None:
    await erase(world, CLEO)
    ended = await end(world, await hire(world))
    await world.store.refunds.refund(ADMIN, ended.id, Dof(6_000), "bad", "r", world.now)
    assert (await world.get(WALLETS, CLEO)).debt == Dof(0)
    assert await world.wallet("max") == (1_000_000, 0, 0)


async def test_what_a_deleted_creator_cannot_give_back_is_the_platforms_loss(world: World) -> None:
    await erase(world, CLEO)
    ended = await end(world, await hire(world))
    await mature(world, CLEO, ADA)
    for number, amount in enumerate((1_000, 5_000)):
        await world.store.refunds.refund(ADMIN, ended.id, Dof(amount), "bad", f"r{number}", world.now)
        await agree.whole(world)
    assert await world.wallet("cleo") == (0, 0, 0)
    assert await world.wallet("max") == (1_000_000, 0, 0)
    lost = sum(ledger.balance(each.postings, ledger.LOSS) for each in await world.all(ENTRIES))
    assert (lost, await fees(world)) == (-600, 600)
    assert (await world.get(SESSIONS, ended.id)).refunded == Dof(6_000)
    report = await world.store.audit(world.now + MINUTE, since=world.now - MINUTE, progress=lambda line: None)
    assert [each for each in report.violations if each.invariant != "I13"] == []
    (session,) = await world.all(SESSIONS)
    told = [[*counts(Entered(each, session))] for each in await world.all(ENTRIES) if each.kind is EntryKind.REFUND]
    assert not any(each.subject == earner(CLEO) for each in chain(*told))


# ---- a hirer


async def test_a_deleted_hirer_is_refunded_nothing(world: World) -> None:
    ended = await end(world, await hire(world))
    await erase(world, MAX)
    async with world.refuses(NotFound):
        await world.store.refunds.refund(ADMIN, ended.id, Dof(6_000), "bad", "r", world.now)


async def test_a_refund_that_was_made_before_is_answered_as_it_was(world: World) -> None:
    ended = await end(world, await hire(world))
    first = await world.store.refunds.refund(ADMIN, ended.id, Dof(6_000), "bad", "r", world.now)
    await erase(world, MAX)
    assert await world.store.refunds.refund(ADMIN, ended.id, Dof(6_000), "bad", "r", world.now) == first


# ---- a payout


@pytest.mark.parametrize("was_paid", [True, False])
async def test_what_comes_back_to_a_deleted_account_is_the_platforms(
    world: World, was_paid: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The deletion waits for a payout that is on its way; one that a backup brought back as such is met as well."""
    (offered,) = await world.all(LISTINGS)
    await world.put(LISTINGS, replace(offered, pricing=Pricing(Dof(700_000), Dof(800_000), Dof(900_000))))
    await end(world, await hire(world))
    await mature(world, ADA)
    await world.store.payouts.keep_account(ADA, "acct_ada", True, (), world.now)
    payout, _ = await world.store.payouts.request(ADA, Dof(525_000), "p", world.now)
    async with world.refuses(Conflict):
        await erase(world, ADA)
    if was_paid:
        await world.store.payouts.conclude(payout.id, None, world.now)
        await erase(world, ADA)
    else:
        await rewrite(world, replace(await world.get(WALLETS, ADA), closed=True))
        await world.put(ERASURES, Erasure(ADA, world.now))
    world.now += timedelta(days=3)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            await world.store.payouts.conclude(payout.id, "account_closed", world.now)
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    made = await entry(world, EntryKind.PAYOUT_FAILED)
    source = ledger.WORLD_STRIPE if was_paid else ledger.PAYOUTS_PENDING
    assert made.postings == (Posting(source, ledger.LOSS, Dof(525_000)),)
    wallet = await world.get(WALLETS, ADA)
    assert (wallet.available, wallet.payable) == (Dof(0), Dof(0))
    assert (await world.get(PAYOUTS, payout.id)).state is PayoutState.FAILED
    assert (await world.get(TRANSACTIONS, payout.transaction_id)).available_after == 0


# ---- the checkers


async def test_neither_checker_lets_the_platform_keep_what_is_anybodys(world: World) -> None:
    await erase(world, CLEO)
    ended = await end(world, await hire(world))
    await mature(world, CLEO, ADA)
    await world.store.refunds.refund(ADMIN, ended.id, Dof(6_000), "bad", "r", world.now)
    shut = await world.get(WALLETS, CLEO)
    await rewrite(world, replace(shut, closed=False))
    ours, theirs = await agree.said(world)
    for each in (EntryKind.MATURE, EntryKind.REFUND):
        made = next(x for x in await world.all(ENTRIES) if x.kind is each and CLEO in x.after)
        assert any(made.id in found for found in ours)
        assert any(made.id in found for found in theirs)
    await rewrite(world, shut)


async def test_both_checkers_miss_a_closed_wallet_that_is_gone_or_open_again(world: World) -> None:
    """A deleted account that never had a DOF has nothing else in the books: its wallet's absence would open it."""
    await erase(world, CLEO)
    shut = await world.get(WALLETS, CLEO)
    for write in (Write(WALLETS.at(CLEO), None), Write(WALLETS.at(CLEO), WALLETS.encode(Wallet(CLEO)))):
        await world.backend.commit([write])
        ours, theirs = await agree.said(world)
        assert [CLEO in each for each in (*ours, *theirs)] == [True, True]
        report = await world.store.audit(world.now + MINUTE, since=None, progress=lambda line: None)
        assert [each.path for each in report.violations if each.invariant != "I13"] == [WALLETS.at(CLEO)]
    await rewrite(world, shut)


# ---- the task that follows


async def test_a_commit_in_the_way_of_the_task_is_no_fault(world: World) -> None:
    """What is left to do is asked again by the queue, as after an outage; a fault would be somebody's to look at."""
    assert isinstance(world.backend, MemoryBackend)
    await erase(world, CLEO)

    async def in_the_way(verb: str) -> None:
        if verb == "commit":
            raise InTheWay

    world.backend.before = in_the_way
    with pytest.raises(Unavailable):
        await world.store.erasures.clear(CLEO)
    world.backend.before = None
    await world.store.erasures.clear(CLEO)
