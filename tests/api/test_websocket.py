"""graphql-transport-ws against a real server. Rows T-S01 to T-S04, and the socket half of T-G07."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import strawberry
import uvicorn
from graphql import GraphQLError
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from graph.execution import Execution
from graph.limits import SocketLimits, TokenBucket
from graph.places import Places
from graph.websocket import PROTOCOL, SocketDoor

WEB = "https://app.jiga.test"


class Refusal(Exception):
    def __init__(self, code: str) -> None:
        super().__init__("postgres://user:hunter2@db")
        self.code = code


class Context:
    def __init__(self, user_id: str | None, expires_at: datetime | None = None, number: int = 0) -> None:
        self.request_id = "req_1"
        self.user_id = user_id
        self.expires_at = expires_at
        self.number = number
        self.fresh_count = 0

    async def recheck(self) -> bool:
        if self.user_id == "usr_down":
            raise OSError("the store is down")
        return self.user_id != "usr_revoked"

    def fresh(self) -> Context:
        self.fresh_count += 1
        return Context(self.user_id, number=self.fresh_count)


opened: Counter[str] = Counter()
closed: Counter[str] = Counter()
moved: list[int] = []


@strawberry.type
class Query:
    @strawberry.field
    def number(self, info: strawberry.Info) -> int:
        return info.context.number

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError("postgres://user:hunter2@db")

    @strawberry.field
    def huge(self) -> strawberry.scalars.JSON:
        return 2**70


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def move(self, amount: int) -> int:
        opened["move"] += 1
        await asyncio.sleep(0.05)
        moved.append(amount)
        return amount


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, upto: int, fail: bool = False) -> AsyncGenerator[int, None]:
        for number in range(upto):
            yield number
        if fail:
            raise RuntimeError("postgres://user:hunter2@db")

    @strawberry.subscription
    async def silence(self) -> AsyncGenerator[int, None]:
        opened["silence"] += 1
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            await asyncio.sleep(0.01)  # Leaving a feed is asynchronous.
            closed["silence"] += 1

    @strawberry.subscription
    async def ticks(self) -> AsyncGenerator[int, None]:
        try:
            while True:
                opened["tick"] += 1
                yield opened["tick"]
                await asyncio.sleep(0.01)
        finally:
            closed["ticks"] += 1

    @strawberry.subscription
    async def flood(self) -> AsyncGenerator[str, None]:
        try:
            while True:
                opened["flood"] += 1
                yield "x" * 50_000
        finally:
            closed["flood"] += 1


def present(error: GraphQLError) -> dict[str, Any]:
    code = getattr(error.original_error, "code", "INTERNAL")
    return {"message": "Something broke.", "extensions": {"code": code}}


async def open_context(payload: dict[str, Any], websocket: Any) -> Context:
    token = payload.get("token")
    if token in {"UNAUTHENTICATED", "RATE_LIMITED", "UNAVAILABLE", "SURPRISE"}:
        raise Refusal(token)
    if token == "slow":
        await asyncio.sleep(30)
    if token == "soon":
        return Context("usr_soon", datetime.now(UTC) + timedelta(seconds=0.2))
    if token == "past":
        return Context("usr_past", datetime.now(UTC) - timedelta(days=1))
    return Context(token)


class Running:
    """A server on a free port, in this event loop, so that a test can look at the door."""

    def __init__(self, door: SocketDoor, port: int) -> None:
        self.door = door
        self.port = port

    def connect(self, subprotocols: Any = (PROTOCOL,), **options: Any) -> Any:
        return connect(
            f"ws://127.0.0.1:{self.port}/graphql", subprotocols=subprotocols, proxy=None, compression=None, **options
        )

    @asynccontextmanager
    async def client(self, token: str | None = None, **options: Any) -> AsyncIterator[ClientConnection]:
        """A socket that has been acknowledged."""
        async with self.connect(**options) as client:
            await say(client, type="connection_init", payload={"token": token} if token else {})
            assert await hear(client) == {"type": "connection_ack"}
            yield client


@asynccontextmanager
async def serving(ws_max_size: int = 16_777_216, **limits: Any) -> AsyncIterator[Running]:
    for kept in (opened, closed, moved):
        kept.clear()
    execution = Execution(strawberry.Schema(Query, Mutation, Subscription), present=present)
    door = SocketDoor(execution, open_context, allowed_origins=[WEB], places=Places(SocketLimits(**limits)))
    app = Starlette(routes=[WebSocketRoute("/graphql", door.serve)])
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws_max_size=ws_max_size)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        try:
            yield Running(door, listener.getsockname()[1])
        finally:
            server.should_exit = True
            server.force_exit = True
            await serve


async def until(holds: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


async def say(client: ClientConnection, **message: Any) -> None:
    await client.send(json.dumps(message))


async def hear(client: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(10):
        return json.loads(await client.recv())


async def ask(client: ClientConnection, query: str, id: str = "1", **payload: Any) -> None:
    await say(client, id=id, type="subscribe", payload={"query": query, **payload})


async def drop_all(client: ClientConnection) -> None:
    while True:
        await client.recv()


async def closing(client: ClientConnection) -> tuple[int, str]:
    """Code and reason of the close; what comes before it is dropped."""
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionClosed) as end:
            await drop_all(client)
    assert end.value.rcvd is not None
    return end.value.rcvd.code, end.value.rcvd.reason


async def test_a_subscription_a_query_and_a_mutation_run_side_by_side() -> None:
    async with serving() as server, server.client() as client:
        assert client.subprotocol == PROTOCOL
        await ask(client, "subscription($n:Int!){count(upto:$n)}", id="a", variables={"n": 2})
        answers = [await hear(client) for _ in range(3)]
        assert answers == [
            {"id": "a", "type": "next", "payload": {"data": {"count": 0}}},
            {"id": "a", "type": "next", "payload": {"data": {"count": 1}}},
            {"id": "a", "type": "complete"},
        ]
        await ask(client, "query Q{number} mutation M{move(amount:7)}", id="a", operationName="M")
        assert await hear(client) == {"id": "a", "type": "next", "payload": {"data": {"move": 7}}}
        assert await hear(client) == {"id": "a", "type": "complete"}
        await ask(client, "{number}", id="b")
        assert await hear(client) == {"id": "b", "type": "next", "payload": {"data": {"number": 3}}}
        assert await hear(client) == {"id": "b", "type": "complete"}
        assert server.door.operations == 0


async def test_errors_name_their_operation_and_leave_the_socket_open() -> None:
    async with serving() as server, server.client() as client:
        await ask(client, "{nope}")
        error = await hear(client)
        assert (error["id"], error["type"]) == ("1", "error")
        assert error["payload"][0]["extensions"] == {"code": "BAD_USER_INPUT"}
        await ask(client, "subscription{count(upto:1,fail:true)}")
        assert (await hear(client))["payload"] == {"data": {"count": 0}}
        masked = [{"message": "Something broke.", "extensions": {"code": "INTERNAL"}}]
        assert await hear(client) == {"id": "1", "type": "error", "payload": masked}
        await ask(client, "{broken}")
        assert (await hear(client))["payload"] == {"errors": masked, "data": {"broken": None}}
        assert await hear(client) == {"id": "1", "type": "complete"}
        await ask(client, "{huge}")
        assert await hear(client) == {"id": "1", "type": "error", "payload": masked}
        await ask(client, "{number}")
        assert (await hear(client))["type"] == "next"


async def test_complete_ends_an_operation_and_frees_its_id_at_once() -> None:
    async with serving() as server, server.client() as client:
        for round_ in range(1, 4):
            await ask(client, "subscription{silence}")
            await until(lambda n=round_: opened["silence"] == n)
            await say(client, id="1", type="complete")
        await say(client, id="unknown", type="complete")
        await ask(client, "{number}")
        assert await hear(client) == {"id": "1", "type": "next", "payload": {"data": {"number": 4}}}
        assert await hear(client) == {"id": "1", "type": "complete"}
        await until(lambda: closed["silence"] == 3)


async def test_t_s01_no_init_in_time_is_4408() -> None:
    async with serving(init_timeout_seconds=0.1) as server:
        async with server.connect() as client:
            assert await closing(client) == (4408, "Connection initialisation timeout")
        async with server.connect() as client:
            await say(client, type="ping")
            await say(client, type="connection_init", payload={"token": "slow"})
            assert await closing(client) == (4408, "Connection initialisation timeout")
        async with server.client() as client:
            await asyncio.sleep(0.2)
            await say(client, type="ping")
            assert await hear(client) == {"type": "pong"}


async def test_t_s01_a_second_init_is_4429() -> None:
    async with serving() as server, server.client() as client:
        await say(client, type="connection_init")
        assert await closing(client) == (4429, "Too many initialisation requests")


async def test_t_s01_subscribe_before_the_init_is_4401() -> None:
    async with serving() as server, server.connect() as client:
        await ask(client, "{number}")
        assert await closing(client) == (4401, "Unauthorized")


@pytest.mark.parametrize("subprotocols", [None, ["graphql-ws"], ["soap", "graphql-ws"]])
async def test_t_s01_the_legacy_protocol_and_no_protocol_are_refused(subprotocols: list[str] | None) -> None:
    async with serving() as server:
        with pytest.raises(InvalidStatus) as refused:
            await server.connect(subprotocols)
        assert refused.value.response.status_code == 400
        assert server.door.sockets == 0
        async with server.connect(["graphql-ws", PROTOCOL]) as client:
            assert client.subprotocol == PROTOCOL


@pytest.mark.parametrize(
    ("token", "code", "reason"),
    [
        ("UNAUTHENTICATED", 4403, "Forbidden"),
        ("RATE_LIMITED", 4429, "Too many requests"),
        ("UNAVAILABLE", 4503, "Unavailable; try again"),
        ("SURPRISE", 4500, "Internal server error"),
    ],
)
async def test_a_refused_token_closes_the_socket(token: str, code: int, reason: str) -> None:
    async with serving() as server:
        async with server.connect() as client:
            await say(client, type="connection_init", payload={"token": token})
            assert await closing(client) == (code, reason)
        await until(lambda: server.door.sockets == 0)


@pytest.mark.parametrize(
    ("token", "reason"), [("soon", "Token expired"), ("past", "Token expired"), ("usr_revoked", "Token revoked")]
)
async def test_t_s02_a_token_that_expires_or_is_revoked_closes_with_4401(token: str, reason: str) -> None:
    async with serving(recheck_seconds=0.2) as server, server.client(token) as client:
        if token != "past":
            await ask(client, "subscription{ticks}")
        assert await closing(client) == (4401, reason)
        ticks = opened["tick"]
        await until(lambda: server.door.sockets == 0)
        assert opened["tick"] == ticks
        assert closed["ticks"] == (token != "past")


async def test_t_s02_a_sign_in_that_cannot_be_checked_is_kept_for_three_checks() -> None:
    async with serving(recheck_seconds=0.05) as server, server.client("usr_down") as client:
        assert await closing(client) == (1013, "The sign-in cannot be checked; try again later")


async def test_t_s03_the_101st_operation_is_refused_and_the_socket_lives() -> None:
    async with serving() as server, server.client() as client:
        for number in range(101):
            await ask(client, "subscription{silence}", id=f"op{number}")
        refusal = await hear(client)
        assert (refusal["id"], refusal["type"]) == ("op100", "error")
        assert refusal["payload"][0]["extensions"] == {"code": "RATE_LIMITED"}
        assert server.door.operations == 100
        await say(client, id="op5", type="complete")
        await ask(client, "{number}", id="again")
        assert (await hear(client))["id"] == "again"


async def test_t_s03_a_thousand_subscribes_at_once_close_that_socket_only() -> None:
    async with serving() as server, server.client() as other, server.client() as client:
        try:
            for number in range(1_000):
                await ask(client, "subscription{silence}", id=f"op{number}")
        except ConnectionClosed:
            pass
        assert await closing(client) == (4429, "At most 50 subscribes a second")
        await until(lambda: server.door.sockets == 1)
        assert opened["silence"] == closed["silence"] <= 100
        await ask(other, "{number}")
        assert (await hear(other))["type"] == "next"


def test_t_s03_the_bucket_refills_at_its_rate_and_never_above_its_burst() -> None:
    bucket = TokenBucket(50, 3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.02), bucket.take(0.02)] == [True, False]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


BAD_MESSAGES = {
    "1 MB": json.dumps({"type": "ping", "payload": {"x": "x" * 1_000_000}}),
    "one byte too many": json.dumps({"type": "ping"}).ljust(102_401),
    "binary": b'{"type":"ping"}',
    "empty": "",
    "bad JSON": "{",
    "duplicate key": '{"type":"ping","type":"ping"}',
    "NaN": '{"type":"ping","payload":{"x":NaN}}',
    "deep": "[" * 50_000,
    "array": '[{"type":"ping"}]',
    "null": "null",
    "no type": "{}",
    "unknown type": '{"type":"start","id":"1"}',
    "type of another type": '{"type":["ping"]}',
    "ping with a string": '{"type":"ping","payload":"x"}',
    "subscribe without id": '{"type":"subscribe","payload":{"query":"{number}"}}',
    "subscribe with a number": '{"type":"subscribe","id":1,"payload":{"query":"{number}"}}',
    "subscribe with an empty id": '{"type":"subscribe","id":"","payload":{"query":"{number}"}}',
    "subscribe with a long id": json.dumps({"type": "subscribe", "id": "x" * 101, "payload": {"query": "{a}"}}),
    "subscribe without payload": '{"type":"subscribe","id":"1"}',
    "subscribe without query": '{"type":"subscribe","id":"1","payload":{}}',
    "subscribe with bad variables": '{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":[]}}',
    "complete without id": '{"type":"complete"}',
}


async def test_t_s03_a_message_outside_the_protocol_is_4400_and_others_are_unaffected() -> None:
    async with serving() as server, server.client() as other:
        for name, message in BAD_MESSAGES.items():
            async with server.client() as client:
                await client.send(message)
                code, reason = await closing(client)
                assert (name, code) == (name, 4400)
                assert 10 < len(reason.encode()) <= 123
        await say(other, type="ping")
        assert await hear(other) == {"type": "pong"}
        await until(lambda: server.door.sockets == 1)


async def test_t_s03_a_message_of_exactly_the_limit_is_read() -> None:
    async with serving(ws_max_size=102_400) as server, server.client() as client:
        await client.send(json.dumps({"type": "ping"}).ljust(102_400))
        assert await hear(client) == {"type": "pong"}
        await client.send("x" * 102_401)
        assert (await closing(client))[0] == 1009  # The server's own bound comes first.


async def test_t_s03_an_id_in_use_is_4409() -> None:
    async with serving() as server, server.client() as client:
        await ask(client, "subscription{silence}", id="twice")
        await ask(client, "{number}", id="twice")
        assert await closing(client) == (4409, "Subscriber for twice already exists")


async def test_t_s04_a_consumer_that_reads_nothing_is_closed_and_memory_stays_flat() -> None:
    bounds = {"max_queued_messages": 8, "slow_consumer_seconds": 0.3, "leave_timeout_seconds": 0.2}
    async with serving(**bounds) as server, server.client() as other:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.connect(("127.0.0.1", server.port))
        raw.setblocking(False)
        client = await server.connect(sock=raw, max_queue=1, ping_interval=None)
        await say(client, type="connection_init")
        assert await hear(client) == {"type": "connection_ack"}
        await ask(client, "subscription{flood}")
        await until(lambda: closed["flood"] == 1)
        # 50 KB each: the kernel's buffers, the server's, and eight in the queue.
        assert opened["flood"] < 200
        await ask(other, "{number}")
        assert (await hear(other))["type"] == "next"
        await until(lambda: server.door.sockets == 1)
        client.transport.abort()


async def test_t_s04_a_consumer_that_reads_gets_everything_in_order() -> None:
    async with serving(max_queued_messages=2, max_queued_bytes=100) as server, server.client() as client:
        await ask(client, "subscription{count(upto:500)}")
        numbers = [(await hear(client))["payload"]["data"]["count"] for _ in range(500)]
        assert numbers == list(range(500))
        assert await hear(client) == {"id": "1", "type": "complete"}


async def test_ping_is_answered_with_its_payload_before_and_after_the_init() -> None:
    async with serving() as server, server.connect() as client:
        await say(client, type="ping")
        assert await hear(client) == {"type": "pong"}
        await say(client, type="connection_init")
        assert await hear(client) == {"type": "connection_ack"}
        await say(client, type="ping", payload={"at": 1})
        assert await hear(client) == {"type": "pong", "payload": {"at": 1}}
        await say(client, type="pong", payload={"unasked": True})
        await say(client, type="ping")
        assert await hear(client) == {"type": "pong"}


async def test_heartbeats_end_a_silent_socket_and_keep_one_that_answers() -> None:
    async with serving(ping_interval_seconds=0.1) as server:
        async with server.client() as client:
            for _ in range(5):
                assert await hear(client) == {"type": "ping"}
                await say(client, type="pong")
        async with server.client() as client:
            assert await hear(client) == {"type": "ping"}
            assert await closing(client) == (4408, "No pong in time")


async def test_t_s05_places_are_counted_by_user_by_address_and_by_process() -> None:
    async with serving(max_sockets_per_user=1, max_sockets_per_address=3) as server:
        async with server.client("usr_1"), server.client():
            async with server.connect() as client:
                await say(client, type="connection_init", payload={"token": "usr_1"})
                assert await closing(client) == (4429, "At most 1 sockets a user; close some")
            await until(lambda: server.door.sockets == 2)
            async with server.client("usr_2"):
                with pytest.raises(InvalidStatus) as refused:
                    await server.connect()
                assert refused.value.response.status_code == 429
        await until(lambda: server.door.sockets == 0)
        async with server.client("usr_1"):
            pass
    async with serving(max_sockets=1) as server, server.client():
        with pytest.raises(InvalidStatus) as refused:
            await server.connect()
        assert refused.value.response.status_code == 503


async def test_t_g07_a_foreign_origin_is_refused_at_the_handshake() -> None:
    async with serving() as server:
        for origin in ("https://evil.test", "null", "http://127.0.0.1.evil.test"):
            with pytest.raises(InvalidStatus) as refused:
                await server.connect(origin=origin)
            assert refused.value.response.status_code == 403
        for origin in (WEB, f"http://127.0.0.1:{server.port}", None):
            async with server.client(origin=origin) as client:
                await say(client, type="ping")
                assert await hear(client) == {"type": "pong"}


async def test_a_socket_that_closes_leaves_nothing_behind() -> None:
    async with serving() as server:
        before = len(asyncio.all_tasks())
        for round_ in range(1, 21):
            client = await server.connect()
            await say(client, type="connection_init", payload={"token": "usr_1"})
            await hear(client)
            for number in range(5):
                await ask(client, "subscription{silence}", id=str(number))
            await until(lambda n=round_: opened["silence"] == n * 5)
            if round_ % 2:
                await client.close()
            else:
                client.transport.abort()
        await until(lambda: server.door.sockets == 0)
        assert closed["silence"] == opened["silence"] == 100
        assert server.door.operations == 0
        await until(lambda: len(asyncio.all_tasks()) <= before)
        assert server.door.places.seat("usr_1")


async def test_t_f14_a_mutation_runs_to_its_end_after_its_socket_has_gone() -> None:
    async with serving() as server:
        async with server.client() as client:
            await ask(client, "mutation{move(amount:3)}")
            await until(lambda: opened["move"] == 1)
        await until(lambda: server.door.sockets == 0)
        await until(lambda: moved == [3])


async def test_t_s07_shutdown_closes_every_socket_with_a_retry_hint_of_its_own() -> None:
    async with serving() as server:
        clients = [await server.connect() for _ in range(8)]
        for client in clients[1:]:
            await say(client, type="connection_init")
            await hear(client)
            await ask(client, "subscription{silence}")
        await until(lambda: opened["silence"] == 7)
        assert await server.door.close_all() == 0
        hints = set()
        for client in clients:
            code, reason = await closing(client)
            assert code == 1012
            name, _, value = reason.partition("=")
            assert name == "retry-after-ms"
            assert 500 <= int(value) < 10_000
            hints.add(value)
        assert len(hints) > 1
        assert closed["silence"] == 7
        with pytest.raises(InvalidStatus) as refused:
            await server.connect()
        assert refused.value.response.status_code == 503
