"""Firestore gone, slow or moody, seen from outside the running store: every answer in time, nothing half done, and
normal again soon after (T-F04, T-F05, T-F06, T-W21)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.client import Client
from tests.emulators import ROOT, start_local
from tests.firestore.test_outage import Proxy
from tests.journeys import market, shop
from tests.journeys.faulty import Code, FaultyLine, sometimes
from tests.journeys.server import Server

ANSWER_SECONDS, BACK_SECONDS, WEBHOOK_SECONDS = 2.0, 5.0, 4.0
SLACK_SECONDS = 13.0  # a shared machine stands still for seconds; without deadlines an answer takes a minute
PRICE = 600

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one store for all: it is what must come back

HIRE = """mutation ($input: HireAgentInput!) { hireAgent(input: $input) {
    ... on HireAgentPayload { session { id } } ... on Refusal { code } } }"""
WALLET = "{ viewer { wallet { available held debt } } }"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def firestore(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    indexes = str(ROOT / "firestore" / "firestore.indexes.json")
    emulator = await asyncio.to_thread(start_local, tmp_path_factory.mktemp("firestore"), "--indexes", indexes)
    yield emulator.host
    await asyncio.to_thread(emulator.stop)


class Scene:
    """A store behind a line, a player with DOF and an agent on offer. What was done in it is counted."""

    def __init__(self, guest: Client, player: Client, listing_id: str) -> None:
        self.guest, self.player, self.listing_id = guest, player, listing_id
        self.hires, self.purchases = 0, 1
        self.slowest_seconds = 0.0

    async def hire(self, key: str) -> str:
        """The code of the answer, DONE for a hire; how long it took is noted."""
        answer = await self.timed(self.player.answer(HIRE, input=market.hire(self.listing_id, key)))
        if "errors" in answer:
            return str(answer["errors"][0]["extensions"]["code"])
        return str(answer["data"]["hireAgent"].get("code", "DONE"))

    async def timed(self, call: Any) -> Any:
        start = time.monotonic()
        try:
            return await call
        finally:
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - start)

    async def order(self, number: int) -> shop.Order:
        """A purchase that waits for its webhook."""
        return shop.Order(number, await shop.buy(self.player, f"order {number}"), self.player.user_id)

    async def taken(self, order: shop.Order) -> None:
        """The order's webhook is taken, soon after Firestore is back."""
        since = time.monotonic()
        while (await shop.post(self.guest.http, order.told())).status_code != 200:
            assert time.monotonic() - since < BACK_SECONDS + SLACK_SECONDS

    async def settled(self, *, hires: int = 0, purchases: int = 0) -> None:
        """So many more were made, and nothing else."""
        self.hires += hires
        self.purchases += purchases
        held, bought = PRICE * self.hires, shop.BRONZE_DOF * self.purchases
        left = {"available": bought - held, "held": held, "debt": 0, "earned": 0}
        await market.until(self.player.wallet, lambda seen: seen == left, f"{left}")
        told = await self.player.transactions()
        assert sum(each["type"] == "HIRE" for each in told) == self.hires
        assert sum(each["type"] == "PURCHASE" and each["status"] == "COMPLETED" for each in told) == self.purchases
        assert market.explain(told) == left["available"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lines(firestore: str) -> AsyncIterator[tuple[Proxy, FaultyLine]]:
    """The line that knows gRPC, and before it the one that knows only bytes."""
    line = await FaultyLine(firestore).start()
    proxy = Proxy(line.host)
    await proxy.passing()
    yield proxy, line
    await proxy.refusing()
    await line.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory, lines: tuple[Proxy, FaultyLine]) -> AsyncIterator[Scene]:
    store = Server(tmp_path_factory.mktemp("store"), FIRESTORE_EMULATOR_HOST=lines[0].host)
    try:
        await asyncio.to_thread(store.start)
        async with Client(store.url) as guest:
            creator, player = await guest.sign_up("Ada"), await guest.sign_up("Max")
            listing_id = await market.offer(creator, hourly=PRICE)
            await market.pay(player, 7_000)
            yield Scene(guest, player, listing_id)
    finally:
        await asyncio.to_thread(store.stop)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(opened: Scene, lines: tuple[Proxy, FaultyLine]) -> AsyncIterator[Scene]:
    proxy, line = lines
    opened.slowest_seconds = 0.0

    await _quiet(line)
    yield opened
    line.calm()
    await proxy.passing()


async def _quiet(line: FaultyLine) -> None:
    """Wait for the end of what was begun before: the line cannot tell its calls from those that are to be counted."""

    async def commits() -> int:
        line.calm()
        await asyncio.sleep(0.5)
        return line.calls["Commit"]

    await market.until(commits, lambda seen: seen == 0, "the end of what was left to do")


@pytest.fixture
def proxy(lines: tuple[Proxy, FaultyLine]) -> Proxy:
    return lines[0]


@pytest.fixture
def line(lines: tuple[Proxy, FaultyLine]) -> FaultyLine:
    return lines[1]


async def test_t_f04_firestore_refuses_and_then_hangs(scene: Scene, proxy: Proxy) -> None:
    keys = iter(f"outage {number}" for number in range(1_000))
    asked: list[str] = []
    for fault in (proxy.refusing, proxy.hanging):
        during = [next(keys) for _ in range(6)]
        asked += during
        under_way = asyncio.gather(*(scene.hire(key) for key in during[:3]))
        await asyncio.sleep(0.01)
        await fault()
        codes = await under_way
        for _ in range(2):
            codes += await asyncio.gather(*(scene.hire(key) for key in during[3:]))
            read = await scene.timed(scene.player.answer(WALLET))
            assert read["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
        assert set(codes) <= {"DONE", "UNAVAILABLE"}
        assert codes[3:] == ["UNAVAILABLE"] * 6
        ready = await scene.timed(scene.guest.http.get("/readyz"))
        assert (ready.status_code, ready.json()) == (503, {"ready": False, "down": ["firestore"]})
        await proxy.passing()
        since = time.monotonic()
        while await scene.hire(during[0]) != "DONE":
            assert time.monotonic() - since < BACK_SECONDS + SLACK_SECONDS
        for key in during[1:]:
            assert await scene.hire(key) == "DONE"
    assert scene.slowest_seconds < ANSWER_SECONDS + SLACK_SECONDS
    await scene.settled(hires=len(asked))


async def test_t_w21_a_webhook_while_firestore_hangs_is_not_taken(scene: Scene, proxy: Proxy) -> None:
    order = await scene.order(7_100)
    for fault in (proxy.hanging, proxy.refusing):
        await fault()
        start = time.monotonic()
        answer = await shop.post(scene.guest.http, order.told())
        assert answer.status_code == 503
        assert time.monotonic() - start < WEBHOOK_SECONDS + SLACK_SECONDS
        await proxy.passing()
    await scene.taken(order)
    await scene.settled(purchases=1)


async def test_t_w21_a_webhook_while_firestore_is_four_seconds_slow(scene: Scene, line: FaultyLine) -> None:
    order = await scene.order(7_200)
    line.delay_seconds = 4.0
    start = time.monotonic()
    answer = await shop.post(scene.guest.http, order.told())
    assert answer.status_code == 503
    assert time.monotonic() - start < WEBHOOK_SECONDS + SLACK_SECONDS
    line.calm()
    await scene.taken(order)
    await scene.settled(purchases=1)


async def test_t_f05_half_a_second_more_and_one_call_in_twenty_refused(scene: Scene, line: FaultyLine) -> None:
    assert await scene.hire("calm") == "DONE"
    await _quiet(line)
    line.delay_seconds, line.refuse = 0.5, sometimes(0.05, Code.UNAVAILABLE)
    requests, keys = 0, [f"slow {number}" for number in range(8)]
    waiting = list(keys)
    while waiting:
        assert requests < 4 * len(keys), "a client asks again; it does not have to ask for ever"
        requests += len(waiting)
        # One after another: hires of one wallet wait for each other.
        codes = [await scene.hire(key) for key in waiting]
        assert set(codes) <= {"DONE", "UNAVAILABLE"}
        waiting = [key for key, code in zip(waiting, codes, strict=True) if code != "DONE"]
    assert scene.slowest_seconds < ANSWER_SECONDS + SLACK_SECONDS
    # No storm of tries: an answer's time has room for four calls of half a second, and what follows a hire (the count,
    # the telling and each way of telling) has its own.
    called = line.calls["BatchGetDocuments"] + line.calls["Commit"]
    line.calm()
    await scene.settled(hires=len(keys) + 1)
    assert called <= 20 * requests


async def test_t_f06_a_storm_of_aborted_and_of_exhausted(scene: Scene, line: FaultyLine) -> None:
    storms = {"ABORTED": Code.ABORTED, "RESOURCE_EXHAUSTED": Code.RESOURCE_EXHAUSTED}
    for name, code in storms.items():
        await _quiet(line)
        line.refuse = lambda called, code=code: code if called == "Commit" else None
        assert await scene.hire(name) == "UNAVAILABLE"
        # Each try waits up to twice as long as the one before, to a quarter second: some twenty fit the answer's time.
        assert 1 <= line.calls["Commit"] <= 60
        line.calm()
        line.refuse = lambda called, code=code: code if called in ("BatchGetDocuments", "Commit") else None
        assert await scene.hire(name) == "UNAVAILABLE"
        line.calm()
        assert await scene.hire(name) == "DONE"
        assert await scene.hire(name) == "DONE"
        await scene.settled(hires=1)
    assert scene.slowest_seconds < ANSWER_SECONDS + SLACK_SECONDS


async def test_t_f03_replies_of_commits_are_lost(scene: Scene, line: FaultyLine) -> None:
    """Firestore has done it, and nobody hears so: the caller is told the true result, and it is done once."""
    for number in range(3):
        lost = iter([True])
        line.lose = lambda called, lost=lost: called == "Commit" and next(lost, False)
        assert await scene.hire(f"lost {number}") == "DONE"
    line.calm()
    await scene.settled(hires=3)


async def test_t_f12_a_refused_task_leaves_its_record(scene: Scene, line: FaultyLine) -> None:
    """The delivery is recorded apart from the work that fails: the work is done once Firestore lets it."""
    order = await scene.order(7_300)
    commits = iter(range(1_000))
    # The record is the first commit; every one after it is refused, so the work fails again and again.
    line.refuse = lambda called: Code.ABORTED if called == "Commit" and next(commits) > 0 else None
    answer: httpx.Response = await shop.post(scene.guest.http, order.told())
    assert answer.status_code == 200
    await asyncio.sleep(2.5)
    line.calm()
    await scene.settled(purchases=1)
