"""What is published is found, over the local Firestore as a process of its own: its listening, its indexes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from main import create_app
from settings import Settings
from tests.client import Client
from tests.journeys import market
from tests.journeys.server import SECRET

FOUND_SECONDS_MAX = 20.0  # a busy machine; two seconds are promised
SEARCH = '{ searchListings(query: "agent") { totalCount degraded nodes { id } } }'
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

            guest = Client("http://inside.test")
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
            await guest.http.aclose()
    assert len(published) == COUNT
