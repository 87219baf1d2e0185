"""What is published is found, over the local Firestore as a process of its own: its listening, its indexes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from domain.filters import ListingFilter, ListingSort
from firestore.backend import Filter, Order, Query
from main import House, create_app
from settings import Settings
from tests.client import Client
from tests.journeys import market
from tests.journeys.server import SECRET

FOUND_SECONDS_MAX = 20.0  # a busy machine; two seconds are promised
SEARCH = '{ searchListings(query: "agent") { totalCount degraded nodes { id } } }'
INSIGHTS = "{ marketInsights { activeListings sampleSize } }"
RECOMMENDED = "{ recommendedListings(first: 100) { listing { id } why { kind } } }"
COUNT = 20


async def test_what_is_published_is_found_and_a_restart_finds_it_again(tmp_path: Path) -> None:
    """Twenty agents with ids of chance: they lie in many shards, and none is lost between two."""
    told: dict[str, Any] = {"data_dir": tmp_path, "demo": False, "schedule_seconds": 3600, "port": 0}
    settings = Settings(**told, shopify_webhook_secret=SecretStr(SECRET), firestore_emulator_host=None)
    published: set[str] = set()
    for run in range(2):
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)

            async def found(guest: Client) -> bool:
                answer = (await guest.ask(SEARCH))["searchListings"]
                assert {node["id"] for node in answer["nodes"]} <= published
                return (answer["totalCount"], answer["degraded"]) == (COUNT, False)

            guest = Client("http://localhost")
            guest.http = httpx.AsyncClient(transport=transport, base_url=guest.url)
            if run == 0:
                signed = await guest.sign_up("Ada")
                owner = Client(guest.url, signed.token, user_id=signed.user_id)
                owner.http = guest.http
                for number in range(COUNT):
                    published.add(await market.offer(owner, name=f"Agent {number}"))
            async with asyncio.timeout(FOUND_SECONDS_MAX):
                while not await found(guest):
                    await asyncio.sleep(0.05)
            insights = (await guest.ask(INSIGHTS))["marketInsights"]
            assert (insights["activeListings"], insights["sampleSize"]) == (COUNT, COUNT)
            assert len((await guest.ask(RECOMMENDED))["recommendedListings"]) == COUNT
            await _has_its_indexes(app.state.house, published)
            await guest.http.aclose()
    assert len(published) == COUNT


async def _has_its_indexes(house: House, published: set[str]) -> None:
    """The queries behind recommendations, markets, rebuilds and featured reviews: an undeclared one is refused here."""
    store = house.store
    alike = ListingFilter(tags=("game:chess", "category:coaching"))
    page = await store.listings.browse(alike, ListingSort.POPULAR, 60, None)
    assert {each.id for each in page.nodes} == published
    assert (await store.discovery.insights("game:unheard", "category:coaching")).active_listings == 0
    assert {document.id async for document in store.listings.documents()} == published
    order = (Order("helpful", descending=True), Order("created_at", descending=True))
    assert await house.backend.query(Query("reviews", (Filter("listing_id", "==", "x"),), order, 4)) == []
