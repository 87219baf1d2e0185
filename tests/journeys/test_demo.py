"""The demo market: made once, whole, also when the process that makes it dies on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import argon2
import pytest

from demo.agents import ROWS
from demo.people import PEOPLE
from demo.seed import ACCOUNTS, PASSWORD, seed
from demo.visits import RUNNING, VISITS
from domain.agents import Rank
from firestore.backend import Query
from firestore.collections import LISTINGS, USERS, WALLETS
from firestore.memory import MemoryBackend
from firestore.store import Store
from integrations.local.identity import LocalIdentity
from integrations.local.pages import LocalCheckout
from settings import Settings, read_policy
from tests.client import Client
from tests.journeys.server import Server

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
COLLECTIONS = ("users", "agents", "agent_versions", "listings", "sessions", "usage", "reviews", "sellers", "wallets")
MONEY = ("entries", "accruals", "transactions", "purchases", "orders", "inbox", "outbox")


class Cut(Exception):
    """The process dies here."""


class Place:
    """A store in memory with accounts of its own; `cut_at` counts the commits after which the process dies."""

    def __init__(self, data: Path) -> None:
        self.memory = MemoryBackend()
        self.identity = LocalIdentity(data / "accounts.sqlite3", clock=lambda: NOW)
        # Nobody guesses these passwords: a hash that is cheap, for forty people in each of a dozen markets.
        self.identity._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self.checkout = LocalCheckout(lambda: "http://shop.test", "/local/checkout/shopify")
        self.commits = 0
        self.cut_at: int | None = None
        self.memory.after = self._count

    async def _count(self, verb: str) -> None:
        self.commits += verb == "commit"
        if verb == "commit" and self.commits == self.cut_at:
            raise Cut

    async def seed(self) -> bool:
        """With a store that remembers nothing of an earlier run."""
        policy = read_policy(Settings(demo=True))
        store = Store(self.memory, policy, clock=lambda: NOW, jitter=lambda: 0.5, told=lambda rows: None)
        return await seed(store, self.identity, self.checkout, lambda: NOW, progress=lambda line: None)

    async def state(self) -> Any:
        """How much there is of everything, and what each person has."""
        sizes = {name: len(await self.memory.query(Query(name))) for name in (*COLLECTIONS, *MONEY)}
        wallets = {each.id: each for each in map(WALLETS.decode, await self.memory.query(Query("wallets")))}
        people = [USERS.decode(each) for each in await self.memory.query(Query("users"))]
        have = {
            user.email: (user.role, wallets[user.id].available.units, wallets[user.id].held.units)
            for user in people
            if user.id in wallets
        }
        return sizes, have, {user.email: user.created_at for user in people}


async def test_the_market_is_worth_looking_at_and_made_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert await place.seed()
    sizes, have, _ = before = await place.state()
    assert sizes["agents"] == sizes["listings"] == len(ROWS) == 40
    assert sizes["users"] == len(PEOPLE) + 1
    assert sizes["sessions"] == len(VISITS) + len(RUNNING)
    assert sizes["reviews"] == sum(visit.rating is not None for visit in VISITS)
    assert have["max@jiga.test"][1] > 1_000_000
    listings = [LISTINGS.decode(each) for each in await place.memory.query(Query("listings"))]
    assert {each.rank for each in listings} == set(Rank)
    assert len({each.language for each in listings}) >= 12
    assert len({game for each in listings for game in each.games}) >= 10
    assert sum(each.featured for each in listings) >= 6
    assert len({each.rating_milli for each in listings if each.rating_count}) >= 5
    ratings = Counter(visit.rating for visit in VISITS)
    assert set(ratings) == {1, 2, 3, 4, 5, None}
    commits = place.commits
    assert not await place.seed()
    assert (await place.state(), place.commits) == (before, commits)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Any]:
    """How many commits an uninterrupted seeding makes, and what it leaves."""

    async def make() -> tuple[int, Any]:
        place = Place(tmp_path_factory.mktemp("whole"))
        assert await place.seed()
        return place.commits, await place.state()

    return asyncio.run(make())


@pytest.mark.parametrize("part", [0.02, 0.4, 0.8, 0.995], ids=lambda part: f"after {part:.1%}")
async def test_a_market_that_was_cut_off_is_completed_and_not_doubled(
    whole: tuple[int, Any], tmp_path: Path, part: float
) -> None:
    commits, state = whole
    cut = Place(tmp_path)
    cut.cut_at = max(1, int(commits * part))
    with pytest.raises((Cut, ExceptionGroup)):
        await cut.seed()
    assert await cut.seed()
    assert await cut.state() == state


async def test_a_store_with_something_on_offer_is_left_alone(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert await place.seed()
    other = Place(tmp_path / "elsewhere")  # the same store, where nobody has the demo's accounts
    other.memory = place.memory
    assert not await other.seed()


async def test_a_running_store_shows_it(tmp_path: Path) -> None:
    """As a newcomer meets it: the accounts that are printed sign in, the printed query answers."""
    server = Server(tmp_path, JIGA_DEMO="1").start()
    try:
        log = server.log()
        assert all(email in log for email, _ in ACCOUNTS)
        async with Client(server.url) as guest:
            query = log.split("Try        ")[1].splitlines()[0]
            assert [len(each) for each in (await guest.ask(query)).values()] == [1]
            featured = (await guest.ask("{ featuredListings(first: 100) { stats { totalHires } } }"))[
                "featuredListings"
            ]
            assert len(featured) >= 6
            wallets = {}
            for email, _ in ACCOUNTS:
                async with await guest.sign_in(email, PASSWORD) as person:
                    wallets[email] = await person.wallet()
            assert wallets["max@jiga.test"]["available"] > 1_000_000
            assert wallets["max@jiga.test"]["held"] > 0
            assert wallets["ada@jiga.test"]["earned"] > 10_000
            total = await guest.ask(
                "{ listings(first: 100) { nodes { stats { totalHires activeHires ratingCount } } } }"
            )
            figures = Counter[str]()
            for each in total["listings"]["nodes"]:
                figures.update(each["stats"])
            assert figures == {
                "totalHires": len(VISITS) + len(RUNNING),
                "activeHires": len(RUNNING),
                "ratingCount": sum(visit.rating is not None for visit in VISITS),
            }
    finally:
        server.stop()
