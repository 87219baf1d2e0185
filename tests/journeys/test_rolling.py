"""Stores that are told to end and started again, one after the other, under load: nobody notices (T-F02)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from tests.client import ANSWER_SECONDS, Client, Socket, mutation
from tests.emulators import ROOT, start_local
from tests.journeys import shop
from tests.journeys.server import Server

RESTARTS = 10
CALLERS = 3
GOING_AWAY = 1012  # "service restart": the client comes back
DRAIN_SECONDS = 1.0  # how long a process that was told to end serves on
FRESH_SECONDS = 0.3  # how old a process's word may be: a request then arrives long before its doors close


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    """Two processes of one store, on one Firestore."""
    indexes = str(ROOT / "firestore" / "firestore.indexes.json")
    firestore = await asyncio.to_thread(start_local, tmp_path, "--indexes", indexes)
    settings = {"FIRESTORE_EMULATOR_HOST": firestore.host, "JIGA_DRAIN_SECONDS": str(DRAIN_SECONDS)}
    pair = tuple(Server(tmp_path / "store", **settings) for _ in range(2))
    try:
        for each in pair:
            await asyncio.to_thread(each.start)
        yield pair  # type: ignore[misc]
    finally:
        for each in pair:
            await asyncio.to_thread(each.stop)
        await asyncio.to_thread(firestore.stop)


class Balancer:
    """What stands before the processes, and asks each at /readyz whether it wants more. It sends a request once, to one
    that has just said so: what breaks then is lost."""

    def __init__(self, pair: tuple[Server, Server]) -> None:
        self._ready = dict.fromkeys(pair, 0.0)  # when it was last asked and said yes
        self._turns = itertools.count()

    async def watch(self) -> None:
        """Ask, for as long as it is held."""
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS) as http:
            while True:
                for server in self._ready:
                    asked = time.monotonic()
                    try:
                        answer = await http.get(f"{server.url}/readyz")
                    except httpx.TransportError:
                        continue
                    if answer.status_code == 200:
                        self._ready[server] = asked
                await asyncio.sleep(0.05)

    async def send(self, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        give_up = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < give_up:
            ready = [server for server, at in self._ready.items() if time.monotonic() - at < FRESH_SECONDS]
            if ready:
                url = f"{ready[next(self._turns) % len(ready)].url}/graphql"
                async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS, verify=False) as http:
                    return await http.post(url, json=body, headers=headers)
            await asyncio.sleep(0.02)
        raise AssertionError("no process is ready")


async def test_t_f02_ten_restarts_under_load_fail_no_request(pair: tuple[Server, Server]) -> None:
    balancer, over = Balancer(pair), asyncio.Event()
    async with Client(pair[0].url) as guest:
        player = await guest.sign_up("Max")
    text = mutation("purchaseDof", "purchase { id }")
    asked: list[str] = []
    answers: list[dict[str, Any]] = []

    async def call(caller: int) -> None:
        for number in itertools.count():
            if over.is_set():
                return
            key = f"{caller} {number}"
            asked.append(key)
            wish = {"sku": shop.BRONZE, "quantity": 1, "provider": "SHOPIFY", "idempotencyKey": key}
            answer = await balancer.send({"query": text, "variables": {"input": wish}}, player.headers)
            assert answer.status_code == 200, answer.text
            answers.append(answer.json()["data"]["purchaseDof"])
            await asyncio.sleep(0.1)

    watch = asyncio.create_task(balancer.watch())
    load = asyncio.gather(*(call(caller) for caller in range(CALLERS)))
    try:
        for restart in range(RESTARTS):
            one = pair[restart % 2]
            async with Client(one.url, player.token).socket() as socket:
                wallets = await socket.subscribe("subscription { walletUpdated { available } }")
                assert (await wallets.next())["walletUpdated"]["available"] == 0
                await asyncio.to_thread(one.stop)
                code, reason = await asyncio.wait_for(_close(socket), ANSWER_SECONDS)
                assert (code, (reason or "").startswith("retry-after-ms=")) == (GOING_AWAY, True)
            await asyncio.to_thread(one.start)
    finally:
        over.set()
        try:
            await load
        finally:
            watch.cancel()
    assert len(answers) == len(asked) > RESTARTS
    made = {each["purchase"]["id"] for each in answers}
    assert len(made) == len(asked)


async def _close(socket: Socket) -> tuple[int | None, str | None]:
    """The code and the reason with which the store closed the socket, once it has."""
    await socket._raw.wait_closed()
    return socket._raw.close_code, socket._raw.close_reason
