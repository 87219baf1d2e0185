"""Firestore refused, and Firestore in a black hole: every verb answers in time, and comes back by itself.

A proxy in the test stands for the network. The bounds are the promise's own (2 s, 5 s) with room for a busy machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from firestore.backend import Aggregate, Query, Unclear, Write
from firestore.cloud import CloudBackend
from tests.emulators import free_port
from tests.firestore.test_listen import following, told, until

ANSWER_SECONDS = 2.0
BACK_SECONDS = 5.0
SLACK_SECONDS = 1.0
"""For a machine that is busy with other tests; the promises themselves are the numbers above."""

Pump = asyncio.Task[None]


class Proxy:
    """A line to the server: `passing`, `hanging` (connections are taken, and no byte moves) or `refusing`."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._age = 0
        self._pumps: set[Pump] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def passing(self) -> None:
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def hanging(self) -> None:
        await self.passing()
        self._open.clear()

    async def refusing(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def forget(self) -> None:
        """Let the present connections swallow all that comes, while new ones work."""
        self._age += 1

    def cut(self) -> None:
        """End the present connections."""
        for pump in self._pumps:
            pump.cancel()
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        host, _, port = self._upstream.rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        self._writers.add(there_writer)
        if self._server is None:  # it was closed while this one was on its way through
            self.cut()
            return
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        age = self._age
        try:
            while chunk := await source.read(65_536):
                await self._open.wait()
                if age != self._age:
                    continue
                sink.write(chunk)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()


@pytest_asyncio.fixture
async def proxy(local_host: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(local_host)
    await proxy.passing()
    yield proxy
    await proxy.refusing()


@pytest_asyncio.fixture
async def backend(proxy: Proxy, project: str) -> AsyncIterator[CloudBackend]:
    backend = CloudBackend(project, emulator_host=proxy.host)
    yield backend
    await backend.close()


async def timed(call: Awaitable[Any]) -> tuple[Any, float]:
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        return await call, loop.time() - start
    except Exception as error:
        return error, loop.time() - start


async def all_fail_in_time(backend: CloudBackend) -> None:
    calls: list[tuple[Awaitable[Any], type[Exception]]] = [
        (backend.get_many(["a/1"]), Unavailable),
        (backend.query(Query("a")), Unavailable),
        (backend.aggregate(Query("a"), {"n": Aggregate("count")}), Unavailable),
        (backend.commit([Write("a/1", {"n": -1})]), Unclear),
    ]
    answers = await asyncio.gather(*(timed(call) for call, _ in calls))
    assert [type(answer) for answer, _ in answers] == [kind for _, kind in calls]
    assert max(seconds for _, seconds in answers) < ANSWER_SECONDS + SLACK_SECONDS


async def comes_back(backend: CloudBackend) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    while True:
        answer, _ = await timed(backend.get_many(["a/2"]))
        if not isinstance(answer, Exception):
            break
        assert isinstance(answer, Unavailable)
    assert loop.time() - start < BACK_SECONDS + SLACK_SECONDS
    assert answer[0].data == {"n": 1}


Outage = Callable[[Proxy], Awaitable[None]]


@pytest.mark.parametrize("outage", [Proxy.refusing, Proxy.hanging], ids=["refused", "black hole"])
async def test_every_verb_answers_in_time_and_comes_back(outage: Outage, proxy: Proxy, backend: CloudBackend) -> None:
    await backend.commit([Write("a/2", {"n": 1})])
    await outage(proxy)
    await all_fail_in_time(backend)
    await all_fail_in_time(backend)  # on the channel that was made anew, too
    await proxy.passing()
    await comes_back(backend)


async def test_firestore_may_be_gone_from_the_start(proxy: Proxy, backend: CloudBackend) -> None:
    await proxy.refusing()
    await all_fail_in_time(backend)
    await proxy.passing()
    while isinstance((await timed(backend.commit([Write("a/2", {"n": 1})])))[0], Unclear):
        pass
    await comes_back(backend)


async def test_a_connection_that_died_silently_is_left(proxy: Proxy, backend: CloudBackend) -> None:
    """As when a router forgets it: new connections work, the old one swallows everything."""
    await backend.commit([Write("a/2", {"n": 1})])
    batches = backend.listen("a/3")
    await following(batches)
    proxy.forget()
    await comes_back(backend)
    await backend.commit([Write("a/3", {"n": 3})])
    assert told(await following(batches)) == ([("a/3", {"n": 3})], (), False)
    await batches.aclose()


@pytest.mark.parametrize("outage", [Proxy.refusing, Proxy.hanging], ids=["refused", "black hole"])
async def test_a_listener_waits_and_loses_nothing(
    outage: Outage, proxy: Proxy, backend: CloudBackend, local_host: str, project: str
) -> None:
    beside = CloudBackend(project, emulator_host=local_host)
    await beside.commit([Write("a/1", {"n": 1}), Write("a/2", {"n": 1})])
    batches = backend.listen(Query("a"))
    assert told(await following(batches))[0] == [("a/1", {"n": 1}), ("a/2", {"n": 1})]
    state: dict[str, Any] = {"a/1": {"n": 1}, "a/2": {"n": 1}}
    await outage(proxy)
    await beside.commit([Write("a/1", None), Write("a/3", {"n": 3})])
    await beside.commit([Write("a/2", {"n": 2})])
    waiting = asyncio.ensure_future(until(state, batches, {"a/2": {"n": 2}, "a/3": {"n": 3}}))
    await timed(backend.get_many(["a/2"]))
    assert not waiting.done()  # a dead Firestore raises nothing in a listener
    await proxy.passing()
    await waiting
    await batches.aclose()
    await beside.close()


async def test_a_listener_may_begin_before_firestore(proxy: Proxy, backend: CloudBackend) -> None:
    await proxy.refusing()
    batches = backend.listen("a/1")
    waiting = asyncio.ensure_future(following(batches))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await proxy.passing()
    assert told(await waiting) == ([], (), False)
    await batches.aclose()
