"""Stores that are told to end and started again, one after the other, under load: nobody notices (T-F02)."""

from __future__ import annotations

import asyncio
import itertools
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


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    """Two processes of one store, on one Firestore."""
    indexes = str(ROOT / "firestore" / "firestore.indexes.json")
    firestore = await asyncio.to_thread(start_local, tmp_path, "--indexes", indexes)
    pair = tuple(Server(tmp_path / "store", FIRESTORE_EMULATOR_HOST=firestore.host) for _ in range(2))
    try:
        for each in pair:
            await asyncio.to_thread(each.start)
        yield pair  # type: ignore[misc]
    finally:
        for each in pair:
            await asyncio.to_thread(each.stop)
        await asyncio.to_thread(firestore.stop)


class Balancer:
    """What stands before the processes. Where nobody takes a connection, or it breaks before a byte of the answer came,
    it goes on to the next, as proxies do with requests that may be repeated: each of these carries its key.

    A kernel takes connections for a process that is about to close its door; these break, whatever the process does.
    """

    def __init__(self, pair: tuple[Server, Server]) -> None:
        self._pair = pair
        self._turns = itertools.count()

    async def send(self, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        turn = next(self._turns)
        for place in range(len(self._pair) * 2):
            url = f"{self._pair[(turn + place) % len(self._pair)].url}/graphql"
            try:
                async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS) as http:
                    return await http.post(url, json=body, headers=headers)
            except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
                continue
        raise AssertionError("no process takes a connection")


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
            await asyncio.sleep(0.02)

    load = asyncio.gather(*(call(caller) for caller in range(CALLERS)))
    try:
        for restart in range(RESTARTS):
            one = pair[restart % 2]
            async with Client(one.url, player.token).socket() as socket:
                wallets = await socket.subscribe("subscription { walletUpdated { available } }")
                assert (await wallets.next())["walletUpdated"]["available"] == 0
                await asyncio.to_thread(one.stop)
                assert await asyncio.wait_for(_close_code(socket), ANSWER_SECONDS) == GOING_AWAY
            await asyncio.to_thread(one.start)
    finally:
        over.set()
        await load
    assert len(answers) == len(asked) > RESTARTS
    made = {each["purchase"]["id"] for each in answers}
    assert len(made) == len(asked)


async def _close_code(socket: Socket) -> int | None:
    """The code with which the store closed the socket, once it has."""
    await socket._raw.wait_closed()
    return socket._raw.close_code
