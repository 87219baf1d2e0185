"""kill -9 in the middle of the trade: started again on the same data, and asked again with the same keys, nothing is
lost and nothing doubled."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client import Client
from tests.emulators import ROOT, Emulator, free_port, start_local
from tests.journeys import market, shop
from tests.journeys.market import until
from tests.journeys.server import Server

PATIENCE_SECONDS = 40.0
CONSUMED = 10 + 100  # one started minute of 600 for the hour, and the recorded usage
LEFT = shop.BRONZE_DOF - CONSUMED
SESSION = "session { id status dofHeld dofConsumed } wallet { available held debt }"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    store = Server(tmp_path / "store").start()
    yield store
    store.stop()


async def test_the_store_is_killed_within_every_step_of_the_trade(store: Server) -> None:
    """Each step is sent, the store is killed some milliseconds later, started again, and the step is sent again."""
    async with Client(store.url) as guest:
        creator, player, *others = [await guest.sign_up(name) for name in ("Ada", "Max", "Zoe", "Ravi", "Mei", "Emma")]
        listing_id = await market.offer(creator)
        await market.pay(player, 6_000)
        orders = [await _order(other, 6_001 + place) for place, other in enumerate(others)]
        taken = await _deliver_into_a_kill(store, guest, orders)
        hired = await _across(store, 0.006, lambda: player.act("hireAgent", market.hire(listing_id, "hire"), SESSION))
        session_id = hired["session"]["id"]
        assert hired["wallet"] == {"available": shop.BRONZE_DOF - 600, "held": 600, "debt": 0}
        used = {"sessionId": session_id, "sequence": 1, "dof": 100}
        await _across(store, 0.008, lambda: player.act("recordUsage", used, "session { dofConsumed }"))
        ending = {"sessionId": session_id, "idempotencyKey": "end"}
        ended = await _across(store, 0.010, lambda: player.act("endSession", ending, SESSION))
        assert ended["wallet"] == {"available": LEFT, "held": 0, "debt": 0}
        assert (ended["session"]["status"], ended["session"]["dofConsumed"]) == ("ENDED", CONSUMED)
        review = {"sessionId": session_id, "rating": 5, "comment": "Still here."}
        # A review carries no key: asked for again, it stands already.
        await _across(store, 0.010, lambda: player.call("submitReview", review))
        await _whole(creator, player, listing_id)
        await _credited([others[place] for place in taken])
        # The shop delivers again what was not answered; and what was, for good measure.
        for order in orders:
            assert (await shop.post(guest.http, order.told())).status_code == 200
        await _credited(others)


async def _order(player: Client, number: int) -> shop.Order:
    return shop.Order(number, await shop.buy(player, "one"), player.user_id)


async def _deliver_into_a_kill(store: Server, guest: Client, orders: list[shop.Order]) -> list[int]:
    """Deliver all at once and kill the store at its first answer; gives which were answered with 200."""
    answers = [asyncio.ensure_future(shop.post(guest.http, order.told())) for order in orders]
    await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    store.kill()
    found = await asyncio.gather(*answers, return_exceptions=True)
    taken = [place for place, each in enumerate(found) if isinstance(each, httpx.Response) and each.status_code == 200]
    assert taken
    await asyncio.to_thread(store.start)
    return taken


async def _credited(players: list[Client]) -> None:
    """Each was credited once. What nobody delivers again is found by the sweep."""
    for player in players:
        wallet = await until(player.wallet, lambda seen: seen["available"] > 0, "the credit", PATIENCE_SECONDS)
        assert wallet == {"available": shop.BRONZE_DOF, "held": 0, "debt": 0, "earned": 0}
        (told,) = await player.transactions()
        assert (told["status"], told["amount"]) == ("COMPLETED", shop.BRONZE_DOF)


async def _whole(creator: Client, player: Client, listing_id: str) -> None:
    """One purchase, one hire, one earning, one review, counted once each, whatever was cut off on the way."""
    told = await player.transactions()
    assert [(each["type"], each["status"], each["amount"]) for each in told] == [
        ("HIRE", "COMPLETED", -CONSUMED),
        ("PURCHASE", "COMPLETED", shop.BRONZE_DOF),
    ]
    assert market.explain(told) == (await player.wallet())["available"] == LEFT
    # 110 DOF: 82.5, 16.5 and 11; the half goes to the owner, who is the creator too.
    assert [each["amount"] for each in await creator.transactions()] == [83 + 11]
    assert (await creator.wallet())["earned"] == 83 + 11
    read = """query ($id: ID!) { listing(id: $id) { stats { totalHires activeHires rating ratingCount successRate }
        reviews { nodes { rating } } } }"""
    once = {"totalHires": 1, "activeHires": 0, "rating": 5.0, "ratingCount": 1, "successRate": 1.0}
    await until(
        lambda: creator.ask(read, id=listing_id),
        lambda data: data["listing"] == {"stats": once, "reviews": {"nodes": [{"rating": 5}]}},
        "the figures",
        PATIENCE_SECONDS,
    )


async def _across(store: Server, seconds: float, act: Any) -> Any:
    """Act, kill the store so many seconds later, start it again, and act again."""
    first = asyncio.ensure_future(act())
    await asyncio.sleep(seconds)
    store.kill()
    answers = await asyncio.gather(first, return_exceptions=True)
    assert all(not isinstance(each, AssertionError) for each in answers), answers
    await asyncio.to_thread(store.start)
    return await act()


class Firestore:
    """The local Firestore at an address of its own, so that it can be killed apart from the store."""

    def __init__(self, data: Path) -> None:
        self._port = free_port()
        self._data = data
        self.host = f"127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        indexes = str(ROOT / "firestore" / "firestore.indexes.json")
        self._emulator: Emulator = start_local(self._data, "--port", str(self._port), "--indexes", indexes)

    def kill(self) -> None:
        os.killpg(self._emulator.process.pid, signal.SIGKILL)
        self._emulator.process.wait()

    def stop(self) -> None:
        self._emulator.stop()


async def test_firestore_is_killed_under_a_running_store(tmp_path: Path) -> None:
    """Mutations are refused as UNAVAILABLE within two seconds; once Firestore is back all go on, sockets too."""
    firestore = Firestore(tmp_path)
    store = Server(tmp_path / "store", FIRESTORE_EMULATOR_HOST=firestore.host)
    try:
        await asyncio.to_thread(store.start)
        async with Client(store.url) as guest:
            creator, player = await guest.sign_up("Ada"), await guest.sign_up("Max")
            listing_id = await market.offer(creator, hourly=1_000)
            await market.pay(player, 6_200)
            async with player.socket() as socket:
                wallets = await socket.subscribe("subscription { walletUpdated { available held } }")
                assert (await wallets.next())["walletUpdated"]["held"] == 0
                done = await _hire_through_an_outage(player, listing_id, firestore)
                held = 1_000 * done
                while (await wallets.next())["walletUpdated"] != {"available": shop.BRONZE_DOF - held, "held": held}:
                    pass
            assert (await player.wallet())["held"] == held
            told = await player.transactions()
            assert sum(each["type"] == "HIRE" for each in told) == done
            assert market.explain(told) == shop.BRONZE_DOF - held
        store.stop()
    finally:
        store.stop()
        firestore.stop()


async def _hire_through_an_outage(player: Client, listing_id: str, firestore: Firestore) -> int:
    """Twenty hires with Firestore killed under them; each is asked for again until it stands. Gives how many."""
    asked = [market.hire(listing_id, f"hire {number}") for number in range(20)]
    first = [asyncio.ensure_future(player.answer(_HIRE, input=each)) for each in asked]
    await asyncio.sleep(0.03)
    firestore.kill()
    answers = await asyncio.gather(*first)
    codes = {each["errors"][0]["extensions"]["code"] for each in answers if "errors" in each}
    assert codes <= {"UNAVAILABLE"}
    down = await player.answer(_HIRE, input=market.hire(listing_id, "while it is down"))
    assert down["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    ready = await player.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"ready": False, "down": ["firestore"]})
    await asyncio.to_thread(firestore.start)
    for each in asked:
        again = partial(player.answer, _HIRE, input=each)
        await until(again, lambda answer: "errors" not in answer, "the hire", PATIENCE_SECONDS)
    return len(asked)


_HIRE = """mutation ($input: HireAgentInput!) { hireAgent(input: $input) {
    ... on HireAgentPayload { session { id } } ... on Refusal { code } } }"""


async def test_a_store_that_is_told_to_end_finishes_what_it_has_begun(store: Server) -> None:
    async with Client(store.url) as guest:
        player = await guest.sign_up("Max")
        asked = [{"sku": shop.BRONZE, "provider": "SHOPIFY", "idempotencyKey": f"buy {number}"} for number in range(10)]
        begun = [asyncio.ensure_future(player.act("purchaseDof", each, "purchase { id }")) for each in asked]
        await asyncio.sleep(0.02)
        await asyncio.to_thread(store.stop)
        answers = await asyncio.gather(*begun, return_exceptions=True)
        done = {each["purchase"]["id"] for each in answers if isinstance(each, dict)}
        assert all(isinstance(each, dict | httpx.TransportError) for each in answers), answers
        await asyncio.to_thread(store.start)
        kept = {each["externalReference"] for each in await player.transactions()}
        assert done <= kept
        again = [(await player.act("purchaseDof", each, "purchase { id }"))["purchase"]["id"] for each in asked]
        assert len(set(again)) == len(await player.transactions()) == 10
