"""How fast money moves, beside what the backend below can do at all: `python -m bench.money`.

For the memory backend and for the project's own Firestore on loopback it prints hires a second over many wallets and on
one, webhook credits a second, and entries a second that the checker verifies; each beside the ceiling that was measured
in the same run: plain commits and plain readings of the same size, with nothing around them. Everything is bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from domain.ids import Kind, derived_id
from domain.money import Money
from domain.pricing import HireUnit, SessionConfiguration
from domain.purchases import Rail
from firestore.audit import SETTLE_SECONDS, audit
from firestore.backend import Backend, Write
from firestore.cloud import CloudBackend
from firestore.collections import USERS
from firestore.memory import MemoryBackend
from firestore.records import encode
from firestore.sessions import Hire
from integrations.local.checkout import Cart, order_payload
from tests.emulators import ROOT, start_local
from tests.kill.house import AMY, LISTING_ID, Fuse, House, furniture
from tests.nouns import a_user, user_id

MOST = 20_000  # operations of one measurement: a benchmark for one machine
HIRE_READS, HIRE_WRITES = 4, 5
RECORD_WRITES, CREDIT_WRITES = 2, 6  # a delivery and its row; then order, wallet, entry, transaction and two rows
SIZES = (RECORD_WRITES, HIRE_WRITES, CREDIT_WRITES)
FUNDS = 10**9


@dataclass(frozen=True)
class Plan:
    """How much of each is done, and how much of it at once."""

    operations: int
    wallets: int
    at_once: int


class Bench:
    """One backend under measurement."""

    def __init__(self, backend: Backend, plan: Plan, books: Path) -> None:
        self._backend = backend
        self._plan = plan
        self._house = House(backend, Fuse(), books)
        self._house.now = datetime.now(UTC)
        self._players = [user_id(f"bench {number}") for number in range(plan.wallets)]

    async def run(self, name: str) -> None:
        """Measure all, and print it."""
        house, plan = self._house, self._plan
        await self._prepare()
        print(f"{name}: {plan.operations} operations, {plan.at_once} at once, {plan.wallets} wallets")
        raw = {"entity": "x" * 40, "figures": {str(number): number for number in range(12)}, "at": house.now}
        commits = {size: await self._rate(self._commits(raw, size)) for size in SIZES}
        gets = await self._rate(self._gets())
        ceiling = commits[HIRE_WRITES]
        for size, rate in commits.items():
            _say("ceiling: commits", rate, f"of {size} writes")
        _say("ceiling: readings", gets, f"of {HIRE_READS} documents")
        many = await self._rate(self._hires("many", lambda number: number % plan.wallets))
        _say("hires over all wallets", many, _beside(many, _both(ceiling, gets)))
        one = await self._rate(self._hires("one", lambda number: 0))
        _say("hires on one wallet", one, _beside(one, _both(ceiling, gets)))
        await self._rate(self._purchases())
        credited = await self._rate(self._credits())
        room = 1 / (1 / commits[RECORD_WRITES] + 1 / gets + 1 / commits[CREDIT_WRITES])
        _say("webhook credits", credited, _beside(credited, room))
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        report = await audit(
            self._backend, datetime.now(UTC) + timedelta(seconds=SETTLE_SECONDS - 0.1), progress=lambda line: None
        )
        entries = report.entries / (time.monotonic() - begun)
        _say("checker: entries", entries, f"{report.documents} documents read, {len(report.violations)} violations")

    async def _prepare(self) -> None:
        people = [a_user(f"bench {number}") for number in range(self._plan.wallets)]
        writes = [*furniture(), *(Write(USERS.at(each.id), encode(each)) for each in people)]
        for start in range(0, len(writes), 400):
            await self._backend.commit(writes[start : start + 400])
        for player in self._players:
            await self._house.store.wallets.adjust(AMY, player, FUNDS, "for a bench", player, self._house.now)

    async def _rate(self, work: Iterable[Callable[[], Awaitable[object]]]) -> float:
        """How many a second, with so many under way at a time."""
        waiting, done = iter(work), 0

        async def run() -> None:
            nonlocal done
            for act in waiting:
                await act()
                done += 1

        begun = time.monotonic()
        await asyncio.gather(*(run() for _ in range(self._plan.at_once)))
        self._house.queued.clear()
        return done / (time.monotonic() - begun)

    def _commits(self, raw: dict[str, object], size: int) -> Iterable[Callable[[], Awaitable[object]]]:
        for number in range(self._plan.operations):
            # Of another collection than the ledger's: the checker must not meet them.
            paths = (f"bench{place}/{size}-{number}" for place in range(size))
            writes = [Write(path, raw, must_be_absent=True) for path in paths]  # type: ignore[arg-type]
            yield partial(self._backend.commit, writes)

    def _gets(self) -> Iterable[Callable[[], Awaitable[object]]]:
        for number in range(self._plan.operations):
            paths = [f"bench{place}/{HIRE_WRITES}-{number}" for place in range(HIRE_READS)]
            yield partial(self._backend.get_many, paths)

    def _hires(self, name: str, player: Callable[[int], int]) -> Iterable[Callable[[], Awaitable[object]]]:
        house = self._house
        for number in range(self._plan.operations):
            wish = Hire(LISTING_ID, HireUnit.HOUR, 1, 1, SessionConfiguration(), f"{name} {number}")
            hirer = self._players[player(number)]
            yield partial(house.store.sessions.hire, hirer, wish, house.now)

    def _purchases(self) -> Iterable[Callable[[], Awaitable[object]]]:
        purchases, now = self._house.store.purchases, self._house.now
        for number in range(self._plan.operations):
            player = self._players[number % self._plan.wallets]
            wish = purchases.wish(player, Rail.SHOPIFY, "DOF-S", 1, f"bench {number}")
            yield partial(purchases.begin, wish, "https://pay.test", now)

    def _credits(self) -> Iterable[Callable[[], Awaitable[object]]]:
        house = self._house
        for number in range(self._plan.operations):
            player = self._players[number % self._plan.wallets]
            purchase_id = derived_id(Kind.PURCHASE, player, f"bench {number}")
            cart = Cart(purchase_id, player, "bench@jiga.test", "DOF-S", 1, Money(499, "USD"))
            body = order_payload(cart, at=house.now, test=True)
            yield partial(house.shopify, "orders/paid", body)


def _both(commits: float, gets: float) -> float:
    """How often a reading and a commit can follow each other."""
    return 1 / (1 / commits + 1 / gets)


def _beside(rate: float, ceiling: float) -> str:
    return f"{rate / ceiling:4.0%} of the {ceiling:,.0f} /s that the backend has room for"


def _say(what: str, rate: float, beside: str) -> None:
    print(f"  {what:<24}{rate:>10,.0f} /s   {beside}", flush=True)


async def _in_memory(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as books:
        await Bench(MemoryBackend(clock=lambda: datetime.now(UTC)), plan, Path(books)).run("memory")


async def _on_the_emulator(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as base:
        (data := Path(base, "data")).mkdir()
        (books := Path(base, "books")).mkdir()
        indexes = str(ROOT / "firestore" / "firestore.indexes.json")
        emulator = await asyncio.to_thread(start_local, data, "--indexes", indexes)
        backend = CloudBackend("bench", emulator_host=emulator.host)
        try:
            await Bench(backend, plan, books).run("the project's own Firestore, on SQLite, in another process")
        finally:
            await backend.close()
            emulator.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=2_000, help="of each kind")
    parser.add_argument("--wallets", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=32)
    asked = parser.parse_args()
    if not (1 <= asked.operations <= MOST and 1 <= asked.wallets <= 1_000 and 1 <= asked.at_once <= 256):
        parser.error(f"1 to {MOST} operations, 1 to 1000 wallets, 1 to 256 at once")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    plan = Plan(asked.operations, asked.wallets, asked.at_once)
    asyncio.run(_in_memory(plan))
    asyncio.run(_on_the_emulator(plan))


if __name__ == "__main__":
    main()
