"""One thing that is damaged, or that fails for good, holds up nobody else's: each round passes it over, and says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from domain.errors import Unavailable
from domain.ids import Kind, derived_id
from domain.money import Dof
from domain.orders import OrderFacts
from domain.purchases import Rail
from domain.revenue import AccrualState
from domain.search import document_of
from firestore.backend import Unclear, Write
from firestore.collections import ACCRUALS, ENTRIES, ERASURES, FIGURES, LISTINGS, ORDERS, OUTBOX, USERS, WALLETS
from firestore.earnings import DUE_MAX
from firestore.memory import MemoryBackend
from firestore.outbox import SWEEP_ROWS_MAX, row
from firestore.rows import RowState
from functions.outbox import Dispatcher
from functions.schedule import patience, rounds
from functions.schedule.erasures import erase_again
from functions.schedule.figures import count
from functions.search_mirror import Mirror
from tests.functions.test_search_mirror import Stand, stand
from tests.integrations.test_search import a_found
from tests.make import BRONZE, MINUTE, NOW, SECOND, World, facts, paid, user_id, wish

__all__ = ["stand"]

ADA, CLEO, MAX = user_id("ada"), user_id("cleo"), user_id("max")
LATER = NOW + timedelta(days=8)


@dataclass
class Provider:
    """Tells of some orders, and then, where it is said, that it is down."""

    told: tuple[OrderFacts, ...]
    fault: Exception | None = None

    async def orders(self, since: datetime, until: datetime) -> AsyncIterator[OrderFacts]:
        for each in self.told:
            yield each
        if self.fault is not None:
            raise self.fault


@dataclass
class Queue:
    asked: list[str] = field(default_factory=list)

    async def enqueue(
        self, name: str, row_id: str, args: Mapping[str, str], *, not_before: datetime | None = None
    ) -> None:
        self.asked.append(row_id)


@pytest_asyncio.fixture
async def world() -> World:
    made = World(MemoryBackend())
    await made.open("admin", "eve")
    return made


async def damage(world: World, path: str, **fields: Any) -> None:
    """Write into a document what no version of ours writes."""
    (found,) = await world.backend.get_many([path])
    await world.backend.commit([Write(path, {**(found.data if found is not None else {}), **fields})])


async def orders(world: World, names: list[str]) -> list[OrderFacts]:
    """A paid order of each."""
    told = []
    for number, name in enumerate(names):
        asked = world.store.purchases.wish(user_id(name), Rail.SHOPIFY, BRONZE, 1, f"k{number}")
        purchase, _ = await world.store.purchases.begin(asked, "https://shop.test", NOW)
        told.append(facts(paid(), purchase_id=purchase.id, reference=str(number)))
    return told


async def reconcile(world: World, *sources: Any) -> int:
    return await rounds.reconcile(world.store, sources, True, rounds.HOURLY_WINDOW, NOW)


def passed_over(logs: Any, name: str) -> list[tuple[str, ...]]:
    plain = ("event", "log_level", "exc_info", "reason", "round")
    found = [each for each in logs if each["event"] == "passed over" and each["round"] == name]
    return [tuple(str(each[key]) for key in each if key not in plain) for each in found]


# ---- reconciliation


async def test_an_order_that_cannot_be_read_stops_no_other(world: World) -> None:
    bad, good = await orders(world, ["max", "eve"])
    await world.absorb(bad)
    await damage(world, ORDERS.at(bad.order_id), facts={"x": {"kind": "OF_A_LATER_VERSION"}})
    with capture_logs() as logs:
        assert await reconcile(world, Provider((bad, good))) == 1
    assert passed_over(logs, "reconcile") == [(bad.order_id,)]
    assert await world.wallet("eve") == (150_000, 0, 0)


async def test_an_order_that_cannot_be_committed_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = await orders(world, ["max", "eve"])
    take = world.store.orders.reconcile

    async def fail(told: OrderFacts, now: datetime) -> bool:
        if told.order_id == bad.order_id:
            raise Unclear
        return await take(told, now)

    monkeypatch.setattr(world.store.orders, "reconcile", fail)
    with capture_logs() as logs:
        assert await reconcile(world, Provider((bad, good))) == 1
    assert passed_over(logs, "reconcile") == [(bad.order_id,)]
    assert await world.wallet("eve") == (150_000, 0, 0)


@pytest.mark.parametrize("fault", [Unavailable("down"), ValueError("no JSON")])
async def test_a_provider_that_fails_stops_no_other(world: World, fault: Exception) -> None:
    first, second = await orders(world, ["max", "eve"])
    with capture_logs() as logs:
        assert await reconcile(world, Provider((first,), fault), Provider((second,))) == 2
    assert [each["event"] for each in logs if "source" in each] == ["reconciliation put off"]


async def test_a_store_that_does_not_answer_ends_the_round_soon(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told = await orders(world, ["max"] * (patience.DOWN_MAX + 5))
    asked = 0

    async def fail(*_: Any) -> bool:
        nonlocal asked
        asked += 1
        raise Unclear

    monkeypatch.setattr(world.store.orders, "reconcile", fail)
    assert await reconcile(world, Provider(tuple(told))) == 0
    assert asked == patience.DOWN_MAX


# ---- the sweep


async def test_a_row_that_cannot_be_read_stops_no_other(world: World) -> None:
    made = [row((number,), NOW, timedelta(days=7), task="notify") for number in range(20)]
    await world.put(OUTBOX, *made)
    await damage(world, OUTBOX.at(made[0].id), attempts="three")
    queue = Queue()
    dispatcher = Dispatcher(queue)
    assert await rounds.sweep(world.store, dispatcher, NOW + MINUTE) == 19
    await dispatcher.close()
    assert sorted(queue.asked) == sorted(each.id for each in made[1:])
    assert await world.store.outbox.lag_seconds(NOW + 2 * MINUTE) > 0


async def test_a_page_of_rows_that_cannot_be_read_is_not_the_end(world: World) -> None:
    made = [
        replace(row((number,), NOW + number * SECOND, timedelta(days=7), task="notify"), bucket=3)
        for number in range(SWEEP_ROWS_MAX + 2)
    ]
    await world.put(OUTBOX, *made)
    for each in made[:SWEEP_ROWS_MAX]:
        await damage(world, OUTBOX.at(each.id), attempts="three")
    assert await world.store.outbox.due(NOW + timedelta(hours=1)) == made[SWEEP_ROWS_MAX:]


async def test_a_row_that_cannot_be_postponed_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [replace(row((number,), NOW, timedelta(days=7), task="notify"), bucket=3) for number in range(3)]
    await world.put(OUTBOX, *made)
    postpone = world.store.outbox.postpone

    async def fail(row_id: str, now: datetime) -> Any:
        if row_id == made[0].id:
            raise Unclear
        return await postpone(row_id, now)

    monkeypatch.setattr(world.store.outbox, "postpone", fail)
    with capture_logs() as logs:
        assert await rounds.sweep(world.store, Dispatcher(Queue()), NOW + MINUTE) == 2
    assert passed_over(logs, "sweep") == [(made[0].id,)]
    assert (await world.get(OUTBOX, made[0].id)).state is RowState.PENDING


# ---- maturing


async def earn(world: World, hires: int = 1) -> None:
    """Ada and Cleo earn by some hires of an hour."""
    offered = (await world.all(LISTINGS))[0]
    for number in range(hires):
        await world.fund("max", 6_000)
        begun, _ = await world.store.sessions.hire(MAX, wish(offered, f"h{number}"), NOW + number * 2 * SECOND)
        await world.store.sessions.end(MAX, begun.id, f"e{number}", NOW + number * 2 * SECOND + SECOND)


async def test_an_accrual_that_cannot_be_read_stops_no_other(world: World) -> None:
    await earn(world, hires=2)
    bad, good = (each for each in await world.all(ACCRUALS) if each.user_id == ADA)
    await damage(world, ACCRUALS.at(bad.id), amount="much")
    assert await rounds.mature_all(world.store, LATER) == 3
    assert await world.wallet("ada") == (good.amount.units, 0, 0)
    assert (await world.get(WALLETS, CLEO)).available > Dof(0)


async def test_a_wallet_that_cannot_be_read_stops_no_other(world: World) -> None:
    await earn(world)
    await damage(world, WALLETS.at(ADA), id=ADA, available="much")
    with capture_logs() as logs:
        assert await rounds.mature_all(world.store, LATER) == 1
    assert passed_over(logs, "mature") == [(ADA,)]
    assert (await world.get(WALLETS, CLEO)).available > Dof(0)


async def test_those_who_wait_for_long_are_not_in_front_of_the_others(world: World) -> None:
    await earn(world)
    mine, hers = sorted(await world.all(ACCRUALS), key=lambda each: each.user_id != ADA)
    stuck = [
        replace(mine, id=derived_id(Kind.ACCRUAL, number), matures_at=NOW + number * SECOND, bucket=hers.bucket)
        for number in range(DUE_MAX)
    ]
    await world.put(ACCRUALS, *stuck)
    assert {*await world.store.earnings.due(LATER)} == {ADA, CLEO}
    assert hers.state is AccrualState.MATURING


# ---- the others


async def test_who_cannot_be_erased_again_stops_no_other(world: World) -> None:
    for user in (CLEO, ADA, MAX):
        await world.store.erasures.request(user, Dof(0), NOW)
    gone = {each.id: each for each in await world.all(USERS) if each.erased_at is not None}
    await world.put(USERS, *(replace(each, erased_at=None) for each in gone.values()))
    await damage(world, WALLETS.at(ADA), available="much")
    await damage(world, ERASURES.at(CLEO), erased_at="once")
    with capture_logs() as logs:
        assert await erase_again(world.store, LATER) == 1
    assert passed_over(logs, "erasures") == [(ADA,)]
    assert (await world.get(USERS, MAX)).erased_at == LATER


async def test_a_fact_that_cannot_be_read_leaves_the_others_counted(world: World) -> None:
    await earn(world, hires=2)
    entries = await world.all(ENTRIES)
    await damage(world, ENTRIES.at(entries[0].id), kind="OF_A_LATER_VERSION")
    assert await count(world.store, NOW + timedelta(hours=1)) > 0
    assert len(await world.all(FIGURES)) > 0


async def test_a_listing_that_cannot_be_read_is_taken_from_the_engine_and_stops_no_other(stand: Stand) -> None:
    made = [a_found(number) for number in range(6)]
    await stand.put(*made)
    mirror: Mirror = stand.mirror
    await mirror.reconcile(NOW)
    fresh = a_found(9)
    await stand.put(fresh)
    path = LISTINGS.at(made[0].id)
    (found,) = await stand.market.backend.get_many([path])
    assert found is not None
    await stand.market.backend.commit([Write(path, {**found.data, "total_hires": "many"})])
    assert await mirror.reconcile(NOW) == 2
    assert document_of(fresh) is not None
    assert set(await stand.found()) == {each.id for each in (*made[1:], fresh)}
