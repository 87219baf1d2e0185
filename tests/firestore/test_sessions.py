"""Sessions in the store: hire, extend, meter, end. A refusal changes nothing; what happens at once happens once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from domain import hiring
from domain.errors import (
    BadInput,
    Forbidden,
    IdempotencyConflict,
    InsufficientDof,
    NotAvailable,
    NotFound,
    NotHirable,
    PriceChanged,
    SelfDealing,
    SessionOver,
    TrialUsed,
    Unauthenticated,
    WalletFrozen,
)
from domain.events import EventType
from domain.listings import ListingStatus
from domain.money import DOF_MAX, ZERO, Dof
from domain.pricing import HireUnit, Leg, Pricing, SessionConfiguration
from domain.revenue import Accrual, Distribution
from domain.sessions import EndReason, Session, SessionStatus, SessionType, Settlement
from domain.transactions import TransactionStatus, TransactionType
from domain.wallets import Wallet
from firestore.backend import Backend, Unclear
from firestore.collections import ACCRUALS, ENTRIES, LISTINGS, SESSIONS, TRANSACTIONS, USAGE, USERS, WALLETS
from firestore.memory import MemoryBackend
from firestore.rows import RowState
from firestore.sessions import Start, Usage
from firestore.settlement import FOLLOW
from tests import make
from tests.make import MINUTE, NOW, PLAIN, World, user_id, wish

MAX, ADA, CLEO, EVE = user_id("max"), user_id("ada"), user_id("cleo"), user_id("eve")
VOICED = SessionConfiguration(voice_enabled=True)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(MemoryBackend())
    await made.open("eve")
    await made.fund("max", 10_000)
    yield made
    await made.check()


@pytest_asyncio.fixture
async def anywhere(backend: Backend) -> AsyncIterator[World]:
    made = World(backend, rehearse=False)
    await made.open("eve")
    yield made
    await made.check()


async def hire(world: World, name: str = "max", key: str = "k", **changes: Any) -> tuple[Session, Wallet]:
    return await world.store.sessions.hire(user_id(name), wish(make.listing(), key, **changes), world.now)


async def end(world: World, session: Session, name: str = "max", key: str = "e", **changes: Any) -> Session:
    ended, _ = await world.store.sessions.end(user_id(name), session.id, key, world.now, **changes)
    return ended


async def use(world: World, session: Session, sequence: int, dof: int, name: str = "max", **changes: Any) -> Session:
    report = replace(Usage(session.id, sequence, Dof(dof), 1, None, False), **changes)
    return await world.store.sessions.record_usage(user_id(name), report, world.now)


def start(kind: SessionType, key: str = "k", **changes: Any) -> Start:
    return replace(Start(make.agent().id, kind, PLAIN, None, ZERO, key), **changes)


# ---- hire


async def test_a_hire_holds_the_whole_price(world: World) -> None:
    session, wallet = await hire(world, configuration=VOICED)
    assert (session.held, session.over_at, session.status(NOW)) == (Dof(7_200), NOW + 60 * MINUTE, SessionStatus.ACTIVE)
    assert (wallet.available, wallet.held) == (Dof(2_800), Dof(7_200))
    assert await world.get(SESSIONS, session.id) == session
    assert await world.get(WALLETS, MAX) == wallet
    assert session.transaction_id is not None
    seen = await world.get(TRANSACTIONS, session.transaction_id)
    assert (seen.type, seen.status, seen.amount) == (TransactionType.HIRE, TransactionStatus.PENDING, -7_200)
    assert (seen.available_after, seen.counterparty_id, seen.session_id) == (2_800, ADA, session.id)
    told = world.rows[-1]
    assert (told.task, told.args, told.state) == (FOLLOW, {"session_id": session.id}, RowState.PENDING)
    assert [(event.type, event.sequence) for event in told.events] == [(EventType.SESSION_STARTED, 1)]


async def test_the_same_key_is_the_same_hire(world: World) -> None:  # T-M15
    first = await hire(world)
    world.now += 5 * MINUTE
    rows = len(world.rows)
    assert await hire(world) == first
    assert len(world.rows) == rows
    async with world.refuses(IdempotencyConflict):
        await hire(world, quantity=2)
    async with world.refuses(IdempotencyConflict):
        await hire(world, configuration=VOICED)
    await world.fund("eve", 6_000)
    other, _ = await hire(world, "eve")
    assert other.id != first[0].id


async def test_a_replay_outlives_the_listing_and_the_money(world: World) -> None:
    first, _ = await hire(world)
    await world.put(
        LISTINGS, make.listing(status=ListingStatus.UNPUBLISHED, pricing=Pricing(Dof(1), Dof(1), Dof(1), 9))
    )
    await world.put(USERS, make.user("max", suspended_at=NOW))
    assert (await hire(world))[0] == first


async def test_a_price_that_was_not_seen_is_refused(world: World) -> None:  # T-M16
    await world.put(LISTINGS, make.listing(pricing=Pricing(Dof(9_000), Dof(1), Dof(1), 2)))
    async with world.refuses(PriceChanged, current_version=2):
        await hire(world)
    assert (await hire(world, pricing_version=2))[0].held == Dof(9_000)


@pytest.mark.parametrize(
    ("status", "hirer", "refusal"),
    [
        (ListingStatus.PAUSED, "max", NotAvailable),
        (ListingStatus.SUSPENDED, "max", NotFound),
        (ListingStatus.UNPUBLISHED, "max", NotFound),
        (ListingStatus.UNPUBLISHED, "ada", NotHirable),
    ],
)
async def test_what_is_not_on_offer(world: World, status: ListingStatus, hirer: str, refusal: type[Exception]) -> None:
    await world.put(LISTINGS, make.listing(status=status))
    async with world.refuses(refusal):
        await hire(world, hirer)


@pytest.mark.parametrize("listing_id", ["", "lst_", "../users", make.agent().id, make.listing(make.agent("other")).id])
async def test_a_listing_that_is_not_there(world: World, listing_id: str) -> None:  # T-Z01
    async with world.refuses(NotFound):
        await hire(world, listing_id=listing_id)


async def test_nobody_hires_their_own(world: World) -> None:  # T-Z06
    await world.fund("ada", 10_000)
    async with world.refuses(SelfDealing):
        await hire(world, "ada")


async def test_too_little_says_how_much(world: World) -> None:
    async with world.refuses(InsufficientDof, needed=12_000, available=10_000):
        await hire(world, quantity=2)
    async with world.refuses(InsufficientDof, needed=6_000, available=0):
        await hire(world, "eve")


async def test_who_owes_does_not_hire(world: World) -> None:  # ruling 8
    await world.fund("max", -10_050)
    async with world.refuses(WalletFrozen, debt=50):
        await hire(world)


async def test_a_frozen_wallet_does_not_hire(world: World) -> None:
    await world.put(WALLETS, replace(await world.get(WALLETS, MAX), open_disputes=1))
    async with world.refuses(WalletFrozen, debt=0):
        await hire(world)


async def test_who_is_suspended_or_gone_does_not_hire(world: World) -> None:
    await world.put(USERS, make.user("max", suspended_at=NOW))
    async with world.refuses(Forbidden):
        await hire(world)
    async with world.refuses(Unauthenticated):
        await hire(world, "ghost")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"quantity": 0}, "input.quantity"),
        ({"quantity": -1}, "input.quantity"),
        ({"quantity": 2**31 - 1}, "input.quantity"),
        ({"unit": HireUnit.WEEK, "quantity": 5}, "input.quantity"),
        ({"key": ""}, "input.idempotencyKey"),
        ({"key": "k" * 201}, "input.idempotencyKey"),
    ],
)
async def test_a_hire_that_cannot_be(world: World, changes: dict[str, Any], field: str) -> None:  # T-M01
    async with world.refuses(BadInput, field=field):
        await hire(world, **changes)


async def test_fifty_hires_with_dof_for_thirty_seven(anywhere: World) -> None:  # T-M13, spree/spree#13734
    await anywhere.fund("max", 37 * 6_000 + 5_999)
    results = await asyncio.gather(*(hire(anywhere, key=f"k{n}") for n in range(50)), return_exceptions=True)
    assert sum(isinstance(result, tuple) for result in results) == 37
    refused = [result for result in results if not isinstance(result, tuple)]
    assert [type(each) for each in refused] == [InsufficientDof] * 13
    assert await anywhere.wallet("max") == (5_999, 222_000, 0)


async def test_one_key_at_once_is_one_hire(anywhere: World) -> None:  # T-M15
    await anywhere.fund("max", 60_000)
    results = await asyncio.gather(*(hire(anywhere) for _ in range(10)))
    assert {session.id for session, _ in results} == {results[0][0].id}
    assert await anywhere.wallet("max") == (54_000, 6_000, 0)


async def test_a_lost_reply_is_one_hire(world: World) -> None:  # T-F03
    lost = [Unclear()]

    async def after(verb: str) -> None:
        if verb == "commit" and lost:
            raise lost.pop()

    assert isinstance(world.backend, MemoryBackend)
    world.backend.after = after
    session, wallet = await hire(world)
    world.backend.after = None
    assert (session.held, wallet.available, lost) == (Dof(6_000), Dof(4_000), [])
    assert await world.wallet("max") == (4_000, 6_000, 0)
    assert len(await world.all(SESSIONS)) == 1


# ---- quote


async def test_a_quote_promises_what_a_hire_holds(world: World) -> None:
    quoted = await world.store.sessions.quote(MAX, make.listing().id, HireUnit.HOUR, 1, VOICED)
    assert (quoted.quote.total, quoted.pricing_version, quoted.affordable) == (Dof(7_200), 1, True)
    listing_id = make.listing().id
    ask = world.store.sessions.quote
    assert (await ask(MAX, listing_id, HireUnit.HOUR, 2, PLAIN)).affordable is False
    assert (await ask(EVE, listing_id, HireUnit.HOUR, 1, PLAIN)).affordable is False
    assert (await ask(None, listing_id, HireUnit.HOUR, 1, PLAIN)).affordable is None
    await world.fund("max", -10_001)
    assert (await ask(MAX, listing_id, HireUnit.HOUR, 1, PLAIN)).affordable is False
    for wrong in ("", "lst_x", make.listing(make.agent("other")).id):
        with pytest.raises(NotFound):
            await ask(MAX, wrong, HireUnit.HOUR, 1, PLAIN)


# ---- extend


async def test_an_extension_holds_more_at_the_old_price(world: World) -> None:
    await world.fund("max", 10_000)
    session, _ = await hire(world, configuration=VOICED)
    await world.put(LISTINGS, make.listing(pricing=Pricing(Dof(9_000), Dof(1), Dof(1), 2)))
    world.now += 30 * MINUTE
    extend = world.store.sessions.extend
    longer, wallet = await extend(MAX, session.id, HireUnit.HOUR, 1, "x", world.now)
    assert (longer.held, longer.total_minutes, longer.version) == (Dof(14_400), 120, 2)
    assert (wallet.available, wallet.held) == (Dof(5_600), Dof(14_400))
    assert session.transaction_id is not None
    seen = await world.get(TRANSACTIONS, session.transaction_id)
    assert (seen.amount, seen.available_after) == (-14_400, 5_600)
    assert [(event.type, event.sequence) for event in world.rows[-1].events] == [(EventType.SESSION_DOF_UPDATED, 32)]
    assert await extend(MAX, session.id, HireUnit.HOUR, 1, "x", world.now) == (longer, wallet)
    async with world.refuses(IdempotencyConflict):
        await extend(MAX, session.id, HireUnit.HOUR, 2, "x", world.now)
    async with world.refuses(InsufficientDof, needed=7_200, available=5_600):
        await extend(MAX, session.id, HireUnit.HOUR, 1, "y", world.now)


async def test_one_extension_key_at_once_is_one_extension(anywhere: World) -> None:
    await anywhere.fund("max", 60_000)
    session, _ = await hire(anywhere)
    await asyncio.gather(
        *(anywhere.store.sessions.extend(MAX, session.id, HireUnit.HOUR, 1, f"x{n % 3}", NOW) for n in range(9))
    )
    assert await anywhere.wallet("max") == (36_000, 24_000, 0)
    assert len((await anywhere.get(SESSIONS, session.id)).legs) == 4


async def test_an_extension_of_anothers_or_of_none_is_not_found(world: World) -> None:  # T-Z04
    session, _ = await hire(world)
    for viewer, session_id in ((EVE, session.id), (ADA, session.id), (MAX, "ses_x"), (MAX, make.session().id)):
        async with world.refuses(NotFound):
            await world.store.sessions.extend(viewer, session_id, HireUnit.HOUR, 1, "x", NOW)


async def test_what_is_over_is_not_extended(world: World) -> None:
    session, _ = await hire(world)
    world.now += 60 * MINUTE
    async with world.refuses(SessionOver):
        await world.store.sessions.extend(MAX, session.id, HireUnit.HOUR, 1, "x", world.now)


# ---- usage


async def test_usage_counts_once_in_any_order(world: World) -> None:  # T-M06
    session, _ = await hire(world)
    for sequence in (3, 1, 2, 3, 1):
        used = await use(world, session, sequence, 10 * sequence)
    assert (used.usage, used.interactions, used.version) == (Dof(60), 3, 4)
    assert sorted(record.sequence for record in await world.all(USAGE)) == [1, 2, 3]
    async with world.refuses(IdempotencyConflict):
        await use(world, session, 2, 21)
    async with world.refuses(IdempotencyConflict):
        await use(world, session, 2, 20, interactions=2)


async def test_usage_in_parallel_with_duplicates(anywhere: World) -> None:  # T-M06
    await anywhere.fund("max", 6_000)
    session, _ = await hire(anywhere)
    await asyncio.gather(*(use(anywhere, session, n % 8, n % 8) for n in range(24)))
    used = await anywhere.get(SESSIONS, session.id)
    assert (used.usage, used.version) == (Dof(28), 9)


async def test_usage_beyond_the_hold_ends_the_session_and_asks_for_its_settlement(world: World) -> None:
    session, _ = await hire(world)
    world.now += 10 * MINUTE
    used = await use(world, session, 1, 10**15)
    assert used.end_reason(world.now) is EndReason.EXHAUSTED
    assert (world.rows[-1].task, world.rows[-1].args) == (FOLLOW, {"session_id": session.id})
    async with world.refuses(SessionOver):
        await use(world, session, 2, 1)
    assert await use(world, session, 1, 10**15) == used
    settled = await world.store.sessions.settle_if_over(session.id, world.now)
    assert settled is not None
    assert settled.settlement is not None
    assert (settled.settlement.consumed, settled.settlement.reason) == (Dof(6_000), EndReason.EXHAUSTED)
    assert await world.wallet("max") == (4_000, 0, 0)


@pytest.mark.parametrize("sequence", [-1, 2**31])
async def test_a_sequence_has_bounds(world: World, sequence: int) -> None:
    session, _ = await hire(world)
    async with world.refuses(BadInput, field="input.sequence"):
        await use(world, session, sequence, 1)


async def test_usage_of_anothers_session_is_not_found(world: World) -> None:  # T-Z04
    session, _ = await hire(world)
    for name in ("eve", "ada"):
        async with world.refuses(NotFound):
            await use(world, session, 1, 1, name)
    async with world.refuses(NotFound):
        await use(world, replace(session, id="ses_x"), 1, 1)
    async with world.refuses(BadInput, field="input.dof"):
        await use(world, session, 1, -1)


# ---- end


async def test_an_end_captures_splits_and_releases(world: World) -> None:  # rulings 5, 6
    session, _ = await hire(world)
    world.now += 9 * MINUTE + MINUTE / 2
    ended, wallet = await world.store.sessions.end(MAX, session.id, "e", world.now)
    shares = Distribution(Dof(750), Dof(150), Dof(100))
    assert ended.settlement == Settlement(world.now, EndReason.ENDED_BY_HIRER, 10, Dof(1_000), shares)
    assert (wallet.available, wallet.held, wallet.debt) == (Dof(9_000), ZERO, ZERO)
    settled = next(entry for entry in await world.all(ENTRIES) if entry.kind == "SETTLE")
    assert {(posting.target, posting.amount.units) for posting in settled.postings} == {
        (f"user:{ADA}:earned", 750),
        (f"user:{CLEO}:earned", 100),
        ("platform:fees", 150),
        (f"user:{MAX}:available", 5_000),
    }
    accruals = {each.user_id: each for each in await world.all(ACCRUALS)}
    assert {user: each.amount.units for user, each in accruals.items()} == {ADA: 750, CLEO: 100}
    ada: Accrual = accruals[ADA]
    assert (ada.entry_id, ada.matures_at) == (settled.id, world.now + timedelta(days=7))
    assert await world.store.wallets.earned(ADA) == Dof(750)
    seen = {each.user_id: each for each in await world.all(TRANSACTIONS) if each.session_id == session.id}
    assert {user: (each.type, each.status, each.amount) for user, each in seen.items()} == {
        MAX: (TransactionType.HIRE, TransactionStatus.COMPLETED, -1_000),
        ADA: (TransactionType.EARNING, TransactionStatus.COMPLETED, 750),
        CLEO: (TransactionType.EARNING, TransactionStatus.COMPLETED, 100),
    }
    assert (seen[MAX].distribution, seen[MAX].available_after) == (shares, 9_000)
    told = world.rows[-1]
    assert [(event.type, event.sequence) for event in told.events] == [
        (EventType.SESSION_ENDED, 11),
        (EventType.TRANSACTION_COMPLETED, 2),
    ]
    assert told.events[0].data["endReason"] == "ENDED_BY_HIRER"
    assert told.task == FOLLOW


async def test_earnings_wait_while_the_wallet_is_full(world: World) -> None:  # T-M03
    """Nothing overflows, nobody else waits with it, and they come once there is room."""
    session, _ = await hire(world)
    world.now += 10 * MINUTE
    await end(world, session)
    await world.fund("ada", DOF_MAX - 749)
    world.now += timedelta(days=7)
    before = await world.dump()
    assert await world.store.earnings.mature(ADA, world.now) == 0
    assert await world.dump() == before
    assert await world.store.earnings.mature(CLEO, world.now) == 1
    await world.fund("ada", -1)
    assert await world.store.earnings.mature(ADA, world.now) == 1
    assert await world.wallet("ada") == (DOF_MAX, 0, 0)


async def test_owner_and_creator_in_one_person(world: World) -> None:  # T-M11
    await world.put(LISTINGS, make.listing(make.agent(creator="ada")))
    session, _ = await hire(world)
    world.now += MINUTE
    await end(world, session)
    assert [(each.user_id, each.amount) for each in await world.all(ACCRUALS)] == [(ADA, Dof(85))]


async def test_the_creator_who_hires_earns_their_share(world: World) -> None:
    await world.fund("cleo", 6_000)
    session, _ = await hire(world, "cleo")
    world.now += 60 * MINUTE
    await end(world, session, "cleo")
    assert await world.wallet("cleo") == (0, 0, 0)
    assert await world.store.wallets.earned(CLEO) == Dof(600)


@pytest.mark.parametrize(
    ("name", "moderator", "reason"),
    [
        ("max", False, EndReason.ENDED_BY_HIRER),
        ("ada", False, EndReason.ENDED_BY_OWNER),
        ("eve", True, EndReason.MODERATED),
        ("max", True, EndReason.ENDED_BY_HIRER),
    ],
)
async def test_who_may_end(world: World, name: str, moderator: bool, reason: EndReason) -> None:
    session, _ = await hire(world)
    world.now += MINUTE
    ended = await end(world, session, name, moderator=moderator)
    assert ended.settlement is not None
    assert ended.settlement.reason is reason
    assert await world.wallet("max") == (9_900, 0, 0)


async def test_nobody_else_may_end(world: World) -> None:  # T-Z04
    session, _ = await hire(world)
    for name in ("eve", "cleo"):
        async with world.refuses(NotFound):
            await end(world, session, name)
    async with world.refuses(NotFound):
        await end(world, replace(session, id="ses_x"))


async def test_an_end_is_once_per_key(world: World) -> None:  # T-M15
    session, _ = await hire(world)
    world.now += MINUTE
    first = await world.store.sessions.end(MAX, session.id, "e", world.now)
    world.now += MINUTE
    assert await world.store.sessions.end(MAX, session.id, "e", world.now) == first
    for name, key in (("max", "f"), ("ada", "e")):
        async with world.refuses(SessionOver):
            await end(world, session, name, key)


async def test_an_end_before_the_first_second_costs_nothing(world: World) -> None:
    session, _ = await hire(world)
    ended = await end(world, session)
    assert ended.settlement is not None
    assert (ended.settlement.minutes, ended.settlement.consumed) == (0, ZERO)
    assert await world.wallet("max") == (10_000, 0, 0)
    assert await world.all(ACCRUALS) == []


async def test_expiry_needs_no_task(world: World) -> None:  # ruling 6
    session, _ = await hire(world)
    late = NOW + timedelta(days=3)
    stored = await world.get(SESSIONS, session.id)
    assert (stored.status(late), stored.consumed(late), stored.end_reason(late)) == (
        SessionStatus.ENDED,
        Dof(6_000),
        EndReason.COMPLETED,
    )
    assert await world.store.sessions.settle_if_over(session.id, NOW + 59 * MINUTE) == stored
    settled = await world.store.sessions.settle_if_over(session.id, late)
    assert settled is not None
    assert settled.settlement is not None
    assert settled.settlement.ended_at == NOW + 60 * MINUTE
    assert await world.store.sessions.settle_if_over(session.id, late) == settled
    assert await world.store.sessions.settle_if_over(make.session().id, late) is None
    assert await world.wallet("max") == (4_000, 0, 0)


async def test_who_ends_what_is_over_gets_its_own_end(world: World) -> None:
    session, _ = await hire(world)
    world.now += 61 * MINUTE
    ended = await end(world, session)
    assert ended.settlement is not None
    assert (ended.settlement.reason, ended.settlement.ended_at) == (EndReason.COMPLETED, NOW + 60 * MINUTE)
    assert await end(world, session) == ended


async def test_all_ends_at_once_are_one(anywhere: World) -> None:  # T-M07
    await anywhere.fund("max", 6_000)
    session, _ = await hire(anywhere)
    anywhere.now += 60 * MINUTE
    store, now = anywhere.store.sessions, anywhere.now
    results = await asyncio.gather(
        store.settle_if_over(session.id, now),
        store.settle_if_over(session.id, now),
        store.end(MAX, session.id, "e", now),
        store.end(ADA, session.id, "e", now),
        store.end(EVE, session.id, "e", now, moderator=True),
        return_exceptions=True,
    )
    assert all(isinstance(result, Session | tuple | SessionOver) for result in results), results
    settled = await anywhere.get(SESSIONS, session.id)
    assert settled.settlement is not None
    assert (settled.version, settled.settlement.consumed) == (2, Dof(6_000))
    assert await anywhere.wallet("max") == (0, 0, 0)
    assert await anywhere.store.wallets.earned(ADA) == Dof(4_500)


async def test_a_release_repays_debt_first(world: World) -> None:  # T-M08
    session, _ = await hire(world)
    await world.fund("max", -7_000)
    assert await world.wallet("max") == (0, 6_000, 3_000)
    world.now += 10 * MINUTE
    await end(world, session)
    assert await world.wallet("max") == (2_000, 0, 0)


async def test_an_extension_is_settled_with_the_rest(world: World) -> None:
    await world.fund("max", 2_000)
    session, _ = await hire(world)
    await world.store.sessions.extend(MAX, session.id, HireUnit.HOUR, 1, "x", NOW)
    world.now += 90 * MINUTE
    ended = await end(world, session)
    assert ended.settlement is not None
    assert (ended.settlement.consumed, ended.settlement.minutes) == (Dof(9_000), 90)
    assert await world.wallet("max") == (3_000, 0, 0)


async def test_shares_are_those_of_the_hire(world: World) -> None:  # T-M05
    session, _ = await hire(world)
    later = World(world.backend, policy=replace(make.policy(), shares=make.Shares(0, 10_000, 0)), now=NOW + 10 * MINUTE)
    ended = await end(later, session)
    assert ended.settlement is not None
    assert ended.settlement.distribution == Distribution(Dof(750), Dof(150), Dof(100))


# ---- owned and trial


async def test_an_owned_session_pays_the_platform(world: World) -> None:  # ruling 7
    await world.fund("ada", 2_000)
    made = await world.store.sessions.start(
        ADA, start(SessionType.OWNED, configuration=VOICED, usage_allowance=Dof(500)), NOW
    )
    assert (made.held, made.total_minutes) == (Dof(1_700), 60)
    assert await world.wallet("ada") == (300, 1_700, 0)
    await use(world, made, 1, 120, "ada")
    world.now += 10 * MINUTE
    ended = await end(world, made, "ada")
    assert ended.settlement is not None
    assert ended.settlement.distribution == Distribution(platform=Dof(320))
    assert await world.wallet("ada") == (1_680, 0, 0)
    assert await world.all(ACCRUALS) == []


async def test_an_owned_session_without_costs_needs_no_wallet(world: World) -> None:
    made = await world.store.sessions.start(ADA, start(SessionType.OWNED, minutes=5), NOW)
    assert await world.store.sessions.start(ADA, start(SessionType.OWNED, minutes=5), NOW) == made
    async with world.refuses(IdempotencyConflict):
        await world.store.sessions.start(ADA, start(SessionType.OWNED, minutes=6), NOW)
    longer, wallet = await world.store.sessions.extend(ADA, made.id, HireUnit.HOUR, 1, "x", NOW)
    assert (longer.legs, wallet) == ((Leg(ZERO, 5), Leg(ZERO, 60)), Wallet(ADA))
    world.now += 9 * MINUTE
    ended = await end(world, made, "ada")
    assert ended.settlement is not None
    assert ended.settlement.minutes == 9
    assert await world.all(ENTRIES) == [entry for entry in await world.all(ENTRIES) if entry.kind == "ADJUST"]


async def test_only_owners_start_owned_sessions(world: World) -> None:
    for viewer in (MAX, CLEO):
        async with world.refuses(NotFound):
            await world.store.sessions.start(viewer, start(SessionType.OWNED), NOW)
    async with world.refuses(InsufficientDof, needed=1_200, available=0):
        await world.store.sessions.start(ADA, start(SessionType.OWNED, configuration=VOICED), NOW)


async def test_a_trial_is_once_per_user_and_agent(world: World) -> None:  # ruling 7
    made = await world.store.sessions.start(EVE, start(SessionType.TRIAL), NOW)
    assert (made.held, made.over_at, made.transaction_id) == (ZERO, NOW + 10 * MINUTE, None)
    assert await world.store.sessions.start(EVE, start(SessionType.TRIAL), NOW) == made
    async with world.refuses(TrialUsed):
        await world.store.sessions.start(EVE, start(SessionType.TRIAL, "other"), NOW)
    other = await world.store.sessions.start(MAX, start(SessionType.TRIAL), NOW)
    assert other.id != made.id
    async with world.refuses(SessionOver):
        await world.store.sessions.extend(EVE, made.id, HireUnit.HOUR, 1, "x", NOW)
    await use(world, made, 1, 1_000, "eve")
    world.now += 10 * MINUTE
    settled = await world.store.sessions.settle_if_over(made.id, world.now)
    assert settled is not None
    assert settled.settlement is not None
    assert (settled.settlement.consumed, settled.settlement.minutes) == (ZERO, 10)


async def test_trials_at_once_are_one(anywhere: World) -> None:
    results = await asyncio.gather(
        *(anywhere.store.sessions.start(EVE, start(SessionType.TRIAL, f"k{n}"), NOW) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Session) for result in results) == 1
    assert sum(isinstance(result, TrialUsed) for result in results) == 7


async def test_what_cannot_be_tried(world: World) -> None:
    async with world.refuses(SelfDealing):
        await world.store.sessions.start(ADA, start(SessionType.TRIAL), NOW)
    async with world.refuses(NotFound):
        await world.store.sessions.start(EVE, start(SessionType.TRIAL, agent_id="agt_x"), NOW)
    await world.put(LISTINGS, make.listing(status=ListingStatus.PAUSED))
    async with world.refuses(NotAvailable):
        await world.store.sessions.start(EVE, start(SessionType.TRIAL), NOW)
    await world.put(LISTINGS, make.listing(status=ListingStatus.UNPUBLISHED))
    async with world.refuses(NotFound):
        await world.store.sessions.start(EVE, start(SessionType.TRIAL), NOW)


# ---- reading


async def test_sessions_of_a_hirer_by_page(anywhere: World) -> None:
    await anywhere.fund("max", 60_000)
    made = []
    for number in range(5):
        anywhere.now = NOW + number * MINUTE
        made.append((await hire(anywhere, key=f"k{number}"))[0])
    ended = await end(anywhere, made[1])
    page = await anywhere.store.sessions.page_of_hirer(MAX, None, 2, None)
    assert [each.id for each in page.nodes] == [made[4].id, made[3].id]
    rest = await anywhere.store.sessions.page_of_hirer(MAX, None, 9, page.end)
    assert ([each.id for each in rest.nodes], rest.has_next_page) == ([made[2].id, made[1].id, made[0].id], False)
    only = await anywhere.store.sessions.page_of_hirer(MAX, SessionStatus.ENDED, 9, None)
    assert only.nodes == (ended,)
    running = await anywhere.store.sessions.page_of_hirer(MAX, SessionStatus.ACTIVE, 9, None)
    assert len(running.nodes) == 4
    assert (await anywhere.store.sessions.page_of_hirer(EVE, None, 9, None)).nodes == ()
    read = await anywhere.store.read([(SESSIONS, made[0].id), (SESSIONS, make.session().id)])
    assert read == [made[0], None]


def test_the_transaction_of_a_session_is_known_before_it_is_read() -> None:
    assert make.session().transaction_id == hiring.transaction_id(make.session().id, MAX)
