"""How long public keys are believed, how often they are asked for, and what is said when they cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from integrations.public_keys import FETCH_SECONDS, NoKeys, PublicKeys

FRESH = 3_600


class Owner:
    """Publishes some keys, counts how often it is asked, and may fail or wait until it is let go."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.fetches = 0
        self.fault: Exception | None = None
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.seconds = 1_000.0
        self.keys = PublicKeys("somebody", self.publish, fresh_seconds=FRESH, seconds=lambda: self.seconds)

    async def publish(self) -> Mapping[str, str]:
        self.fetches += 1
        await self.let_go.wait()
        if self.fault is not None:
            raise self.fault
        return {name: f"key {name}" for name in self.names}

    async def is_refused(self, key_id: str) -> bool:
        try:
            await self.keys.get(key_id)
        except NoKeys:
            return True
        return False


async def test_keys_are_kept_while_they_are_fresh_and_then_asked_for_anew() -> None:
    owner = Owner("a")
    assert (await owner.keys.get("a"), owner.fetches) == ("key a", 1)
    owner.seconds += FRESH - 1
    assert (await owner.keys.get("a"), owner.fetches) == ("key a", 1)
    owner.names = ("b",)
    owner.seconds += 1
    assert (await owner.keys.get("a"), owner.fetches) == (None, 2)  # withdrawn
    assert (await owner.keys.get("b"), owner.fetches) == ("key b", 2)


async def test_an_unknown_key_is_asked_for_once_a_minute() -> None:
    owner = Owner("a")
    assert await owner.keys.get("a") == "key a"
    for second in range(59):
        owner.seconds += 1
        assert await owner.keys.get(f"made up {second}") is None
    assert owner.fetches == 1
    owner.names, owner.seconds = ("a", "b"), owner.seconds + 1
    assert (await owner.keys.get("b"), owner.fetches) == ("key b", 2)


async def test_many_who_wait_cost_one_fetch() -> None:
    owner = Owner("a")
    owner.let_go.clear()
    waiting = asyncio.gather(*(owner.keys.get("a") for _ in range(20)))
    await asyncio.sleep(0)
    owner.let_go.set()
    assert (await waiting, owner.fetches) == (["key a"] * 20, 1)


async def test_a_known_key_waits_for_nobody() -> None:
    owner = Owner("a")
    await owner.keys.get("a")
    owner.seconds += FRESH
    owner.let_go.clear()
    fetching = asyncio.create_task(owner.keys.get("b"))
    await asyncio.sleep(0)
    assert (await owner.keys.get("a"), owner.fetches) == ("key a", 2)
    owner.let_go.set()
    assert await fetching is None


async def test_keys_of_the_last_day_serve_while_no_others_come_and_the_log_says_so() -> None:
    owner = Owner("a")
    await owner.keys.get("a")
    owner.fault = OSError("no route to https://keys.test/?token=eyJ")
    owner.seconds += 24 * 3_600 - 1
    with capture_logs() as logs:
        assert await owner.keys.get("a") == "key a"
        assert await owner.keys.get("a") == "key a"  # within the minute, and nobody is asked
        owner.seconds += 1
        assert await owner.is_refused("a")
    told: dict[str, Any] = {"event": "public keys not fetched", "log_level": "warning"}
    told |= {"issuer": "somebody", "fault": "OSError"}
    assert logs == [{**told, "old_serve": True}, {**told, "old_serve": False}]
    owner.fault = None
    assert await owner.keys.get("a") == "key a"  # as soon as there are any


async def test_without_any_keys_each_request_asks_again() -> None:
    owner = Owner("a")
    owner.fault = ValueError("no JSON")
    assert [await owner.is_refused("a") for _ in range(3)] == [True] * 3
    assert owner.fetches == 3


async def test_a_fetch_that_hangs_is_given_up() -> None:
    owner = Owner("a")
    owner.let_go.clear()
    async with asyncio.timeout(10 * FETCH_SECONDS):  # far above it only a hang is left
        with pytest.raises(NoKeys, match="TimeoutError"):
            await owner.keys.get("a")
