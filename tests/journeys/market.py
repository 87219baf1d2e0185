"""What the journeys have in common: a creator with a listing, a player with DOF, and eventually."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.client import Client
from tests.journeys import shop

PATIENCE_SECONDS = 20.0


async def until(
    read: Callable[[], Awaitable[Any]],
    wanted: Callable[[Any], bool],
    what: str,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Any:
    """What is read once it is as wanted: work that follows a commit is done soon after, not with it."""
    give_up = time.monotonic() + patience_seconds
    while True:
        seen = await read()
        if wanted(seen):
            return seen
        assert time.monotonic() < give_up, f"{what} did not come: {seen}"
        await asyncio.sleep(0.05)


async def create(creator: Client, name: str = "Nova") -> str:
    """An agent; gives its id."""
    asked = {
        "name": name,
        "type": "SPECIALIST",
        "provider": "GEMINI",
        "nationality": "Mexican",
        "language": "es-MX",
        "specialization": {"games": ["Chess"], "focus": "Openings", "specialistType": "TRAINED"},
    }
    return str((await creator.act("createAgent", asked, "agent { id }"))["agent"]["id"])


async def publish(creator: Client, agent_id: str, hourly: int = 600, title: str = "A coach") -> str:
    """Offer an agent; gives the listing's id."""
    asked = {
        "agentId": agent_id,
        "title": title,
        "description": "Plays with you.",
        "tags": ["openings"],
        "categories": ["Coaching"],
        "pricing": {"hourly": hourly, "daily": hourly * 8, "weekly": hourly * 40},
    }
    return str((await creator.act("publishAgent", asked, "listing { id }"))["listing"]["id"])


async def offer(creator: Client, hourly: int = 600, name: str = "Nova") -> str:
    """A fresh agent on offer; gives the listing's id."""
    return await publish(creator, await create(creator, name), hourly)


async def pay(player: Client, number: int, *, sku: str = shop.BRONZE, price: str = shop.BRONZE_PRICE) -> int:
    """Buy a package and pay for it; gives what is available after that."""
    before = (await player.wallet())["available"]
    order = shop.Order(number, await shop.buy(player, f"order {number}", sku=sku), player.user_id, sku, price)
    assert (await shop.post(player.http, order.told())).status_code == 200
    wallet = await until(player.wallet, lambda seen: seen["available"] > before, "the credit")
    return int(wallet["available"])


def hire(listing_id: str, key: str, *, hours: int = 1, version: int = 1) -> dict[str, Any]:
    """The input of hireAgent."""
    return {
        "listingId": listing_id,
        "unit": "HOUR",
        "quantity": hours,
        "pricingVersion": version,
        "idempotencyKey": key,
    }


def explain(transactions: list[dict[str, Any]]) -> int:
    """What a user's transactions say is available: the sum of those that moved it, and so have an `availableAfter`."""
    return sum(each["amount"] for each in transactions if each["availableAfter"] is not None)
