"""What of a wallet may be paid out: what it earned, for as long as the wallet still has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest_asyncio

from domain.errors import InsufficientDof, PayoutNotReady
from domain.money import Dof
from domain.pricing import Pricing
from domain.sessions import Session, SessionType
from firestore.collections import LISTINGS, WALLETS
from firestore.memory import MemoryBackend
from firestore.sessions import Start, Usage
from tests import agree, make
from tests.make import MINUTE, NOW, PLAIN, SECOND, World, policy, user_id, wish

ADA, MAX = user_id("ada"), user_id("max")
EARNED = 525_000
HOUR = Pricing(Dof(700_000), Dof(800_000), Dof(900_000))


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """Ada has 525,000 DOF that she earned and that have matured, and an account to be paid to."""
    made = World(MemoryBackend(), policy=policy())
    offered = await made.open("root")
    await made.put(LISTINGS, replace(offered, pricing=HOUR))
    await made.fund("max", 700_000)
    session, _ = await made.store.sessions.hire(MAX, wish(await made.get(LISTINGS, offered.id)), NOW)
    await made.store.sessions.end(MAX, session.id, "e", NOW + 59 * MINUTE + SECOND)
    made.now = NOW + timedelta(days=8)
    await made.store.earnings.mature(ADA, made.now)
    await made.store.payouts.keep_account(ADA, "acct_ada", True, (), made.now)
    yield made
    await agree.whole(made)


async def start(world: World, allowance: int) -> Session:
    asked = Start(make.listing().agent_id, SessionType.OWNED, PLAIN, 60, Dof(allowance), "k")
    return await world.store.sessions.start(ADA, asked, world.now)


async def use(world: World, session: Session, dof: int) -> None:
    told = Usage(session.id, 1, Dof(dof), 1, None, False)
    await world.store.sessions.record_usage(ADA, told, world.now + SECOND)


async def payable(world: World) -> tuple[int, int, int, int]:
    """Available, held, payable, and what of it a payout may take at once."""
    wallet = await world.get(WALLETS, ADA)
    return wallet.available.units, wallet.held.units, wallet.payable.units, wallet.payable_now.units


async def test_a_hold_that_is_given_back_leaves_all_to_be_paid_out(world: World) -> None:
    session = await start(world, EARNED)
    assert await payable(world) == (0, EARNED, EARNED, 0)
    async with world.refuses(InsufficientDof):
        await world.store.payouts.request(ADA, Dof(500_000), "p", world.now)
    await world.store.sessions.end(ADA, session.id, "e", world.now + SECOND)
    assert await payable(world) == (EARNED, 0, EARNED, EARNED)
    await world.store.payouts.request(ADA, Dof(EARNED), "p", world.now)
    assert await payable(world) == (0, 0, 0, 0)


async def test_what_a_session_used_is_no_longer_paid_out(world: World) -> None:
    session = await start(world, EARNED)
    await use(world, session, 20_000)
    await world.store.sessions.end(ADA, session.id, "e", world.now + MINUTE)
    assert await payable(world) == (EARNED - 20_000, 0, EARNED - 20_000, EARNED - 20_000)


async def test_what_was_bought_is_spent_first_and_never_paid_out(world: World) -> None:
    await world.fund("ada", 100_000)
    session = await start(world, 200_000)
    assert await payable(world) == (425_000, 200_000, EARNED, 425_000)
    await use(world, session, 60_000)
    await world.store.sessions.end(ADA, session.id, "e", world.now + MINUTE)
    assert await payable(world) == (565_000, 0, EARNED, EARNED)
    async with world.refuses(PayoutNotReady):
        await world.store.payouts.request(ADA, Dof(EARNED + 1), "p", world.now)


async def test_what_is_reclaimed_beside_a_hold_is_taken_of_what_is_payable(world: World) -> None:
    session = await start(world, 200_000)
    await world.fund("ada", -400_000)
    assert await payable(world) == (0, 200_000, 200_000, 0)
    await world.store.sessions.end(ADA, session.id, "e", world.now + SECOND)
    assert await payable(world) == (125_000, 0, 125_000, 125_000)
