"""Many at once: one wallet hired from fifty times, and one order told in every order and many times over."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.client import Client
from tests.emulators import ROOT, start_local
from tests.journeys import market, shop
from tests.journeys.market import until
from tests.journeys.server import Server

INDEXES = str(ROOT / "firestore" / "firestore.indexes.json")
PRICE, ENOUGH_FOR = 4_000, 37
HELD = PRICE * ENOUGH_FOR
REFUNDS = ("1.00", "0.99")
KEPT = shop.BRONZE_DOF * (499 - 100 - 99) // 499  # what is left of the package after both refunds


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two processes of one store: they share the Firestore and the accounts, and no memory."""
    data = tmp_path_factory.mktemp("shared")
    firestore = start_local(data, "--indexes", INDEXES)
    both = tuple(Server(data, FIRESTORE_EMULATOR_HOST=firestore.host) for _ in range(2))
    try:
        for each in both:
            each.start()
        yield both[0], both[1]
        for each in both:
            each.stop()
    finally:
        firestore.stop()


async def test_fifty_hires_of_a_wallet_with_dof_for_37(two: tuple[Server, Server]) -> None:
    async with Client(two[0].url) as guest:
        creator, player = await guest.sign_up("Ada-37"), await guest.sign_up("Max-37")
        listing_id = await market.offer(creator, hourly=PRICE)
        assert await market.pay(player, 370) == shop.BRONZE_DOF
        async with creator, player, Client(two[1].url, player.token) as elsewhere:
            doors = itertools.cycle((player, elsewhere))
            wanted = "session { id dofHeld }", "... on InsufficientDof { needed available }"
            asked = [market.hire(listing_id, f"hire {number}") for number in range(50)]
            answers = await asyncio.gather(*(next(doors).call("hireAgent", each, *wanted) for each in asked))
            done = [each["session"] for each in answers if "session" in each]
            refused = [each for each in answers if "code" in each]
            assert (len(done), len({each["id"] for each in done})) == (ENOUGH_FOR, ENOUGH_FOR)
            rest = shop.BRONZE_DOF - HELD
            facts = {(each["code"], each["needed"], each["available"]) for each in refused}
            assert (len(refused), facts) == (13, {("INSUFFICIENT_DOF", PRICE, rest)})
            assert await player.wallet() == {"available": rest, "held": HELD, "debt": 0, "earned": 0}
            told = await player.transactions()
            assert Counter(each["type"] for each in told) == {"HIRE": ENOUGH_FOR, "PURCHASE": 1}
            assert market.explain(told) == rest
            # Asked again with the same keys: those who hired have hired, those who were refused are refused.
            again = await asyncio.gather(*(next(doors).call("hireAgent", each, *wanted) for each in asked))
            assert Counter("session" in each for each in again) == {True: ENOUGH_FOR, False: 13}
            assert (await player.wallet())["held"] == HELD


async def test_one_delivery_twenty_times_at_once(two: tuple[Server, Server]) -> None:
    async with Client(two[0].url) as guest, Client(two[1].url) as elsewhere, await guest.sign_up("Max-20") as player:
        order = shop.Order(2_000, await shop.buy(player, "one"))
        doors = itertools.cycle((guest, elsewhere))
        answers = await asyncio.gather(*(shop.post(next(doors).http, order.told()) for _ in range(20)))
        assert {each.status_code for each in answers} <= {200, 503}
        assert any(each.status_code == 200 for each in answers)
        await until(player.wallet, lambda seen: seen["available"] == shop.BRONZE_DOF, "the credit")
        await asyncio.sleep(0.5)
        assert await player.wallet() == {"available": shop.BRONZE_DOF, "held": 0, "debt": 0, "earned": 0}
        (told,) = await player.transactions()
        assert (told["status"], told["amount"]) == ("COMPLETED", shop.BRONZE_DOF)


@pytest.mark.parametrize("cancelled", [False, True], ids=["refunded in part", "cancelled"])
async def test_facts_of_an_order_in_any_order_lead_to_one_state(two: tuple[Server, Server], cancelled: bool) -> None:
    """Each player's order is told in an order of its own, each fact up to 20 times, from two processes' doors."""
    chance = random.Random(f"facts {cancelled}")
    async with Client(two[0].url) as guest, Client(two[1].url) as elsewhere:
        names = [f"Facts-{cancelled}-{number}" for number in range(5)]
        players = [await guest.sign_up(name) for name in names]
        base = 3_000 + 100 * cancelled
        await asyncio.gather(
            *(_tell(each, base + number, cancelled, chance, (guest, elsewhere)) for number, each in enumerate(players))
        )
        wanted = 0 if cancelled else KEPT
        status = "REFUNDED" if cancelled else "COMPLETED"
        for player in players:
            await until(partial(_state, player), lambda seen: seen == (wanted, 0, 0, wanted, status), "the final state")
        await asyncio.sleep(0.5)
        assert {await _state(player) for player in players} == {(wanted, 0, 0, wanted, status)}
        await asyncio.gather(*(player.http.aclose() for player in players))


async def _tell(
    player: Client, number: int, cancelled: bool, chance: random.Random, doors: tuple[Client, Client]
) -> None:
    order = shop.Order(number, await shop.buy(player, "one"))
    told = [("orders/paid", order.told())] * 20 + [("orders/create", order.told(financial_status="pending"))] * 3
    for refund, amount in enumerate(REFUNDS):
        told += [("refunds/create", order.refund(amount, number=number * 10 + refund))] * 4
    told += [("orders/cancelled", order.cancelled())] * 4 * cancelled
    chance.shuffle(told)
    first = ["refunds/create", "orders/cancelled" if cancelled else "refunds/create"]
    told.sort(key=lambda each: each[0] not in first[: number % 3])  # in some, before the order is paid
    for start in range(0, len(told), 12):
        await asyncio.gather(*(_deliver(chance.choice(doors), *each) for each in told[start : start + 12]))


async def _deliver(door: Client, topic: str, body: bytes) -> None:
    """Until it is taken, as Shopify does: 503 asks for another delivery."""
    for _ in range(10):
        if (await shop.post(door.http, body, topic)).status_code == 200:
            return
    raise AssertionError("a delivery was refused ten times")


async def _state(player: Client) -> tuple[Any, ...]:
    """The wallet, what the transactions explain of it, and how the purchase stands."""
    wallet, told = await player.wallet(), await player.transactions()
    (purchase,) = [each for each in told if each["type"] == "PURCHASE"]
    return wallet["available"], wallet["held"], wallet["debt"], market.explain(told), purchase["status"]
