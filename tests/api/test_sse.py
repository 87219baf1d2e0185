"""GraphQL over server-sent events against a real server, and one execution for all who ask the same of an event."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import strawberry
import uvicorn
from graphql import GraphQLError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from firestore.once import Once
from graph.execution import Execution, Pushed
from graph.http import graphql_route
from graph.limits import SocketLimits
from graph.operations import Answer
from graph.places import Places
from graph.requests import GraphQLRequest
from graph.sse import StreamDoor

ACCEPT = {"accept": "text/event-stream"}
shown: Counter[int] = Counter()
left: Counter[str] = Counter()


class Unauthenticated(Exception):
    code = "UNAUTHENTICATED"


class Context:
    request_id = "req_1"

    def __init__(self, user_id: str | None = None, expires_at: datetime | None = None) -> None:
        self.user_id = user_id
        self.expires_at = expires_at

    async def recheck(self) -> bool:
        return self.user_id != "usr_revoked"

    def fresh(self) -> Context:
        return Context(self.user_id)


@strawberry.type
class News:
    number: int
    share_key: strawberry.Private[object]

    @strawberry.field
    def shown(self) -> int:
        shown[self.number] += 1
        return self.number


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "hello"


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
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            left["silence"] += 1

    @strawberry.subscription
    async def flood(self) -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "x" * 50_000
        finally:
            left["flood"] += 1

    @strawberry.subscription
    async def news(self, upto: int, shared: bool = True) -> AsyncGenerator[News, None]:
        for number in range(upto):
            await asyncio.sleep(0)
            yield News(number=number, share_key=("news", number) if shared else None)


def present(error: GraphQLError) -> dict[str, Any]:
    code = getattr(error.original_error, "code", "INTERNAL")
    return {"message": "Something broke.", "extensions": {"code": code}}


async def make_context(request: Request) -> Context:
    token = request.headers.get("authorization", "").removeprefix("Bearer ") or None
    if token == "bad":
        raise Unauthenticated
    if token == "soon":
        return Context("usr_soon", datetime.now(UTC) + timedelta(seconds=0.3))
    return Context(token)


@dataclass
class Running:
    door: StreamDoor
    http: httpx.AsyncClient

    @asynccontextmanager
    async def open(self, query: str, token: str | None = None) -> AsyncIterator[httpx.Response]:
        headers = {**ACCEPT, **({"authorization": f"Bearer {token}"} if token else {})}
        async with self.http.stream("POST", "/graphql", json={"query": query}, headers=headers) as response:
            yield response

    async def events(self, query: str, token: str | None = None) -> list[tuple[str, Any]]:
        async with self.open(query, token) as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            return [event async for event in events_of(response)]


async def events_of(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    """Each event's name and data, until the server ends the response."""
    name = ""
    async with asyncio.timeout(20):
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data:"):
                data = line.removeprefix("data:").strip()
                yield name, json.loads(data) if data else None


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[Running]:
    for kept in (shown, left):
        kept.clear()
    execution = Execution(strawberry.Schema(Query, subscription=Subscription), present=present)
    door = StreamDoor(execution, Places(SocketLimits(**limits)))
    route = graphql_route(execution, make_context, door, graphiql=False, allowed_origins=[])
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=[Route("/graphql", route)]), log_level="critical", lifespan="off")
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=base, timeout=20, trust_env=False) as http:
                yield Running(door, http)
        finally:
            server.should_exit = True
            server.force_exit = True
            await serve


async def until(holds: Any, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


# ---- the protocol


async def test_each_answer_is_a_next_and_the_end_is_a_complete() -> None:
    async with serving() as server:
        counted = await server.events("subscription { count(upto: 3) }")
        assert counted == [*(("next", {"data": {"count": number}}) for number in range(3)), ("complete", None)]
        assert await server.events("{ hello }") == [("next", {"data": {"hello": "hello"}}), ("complete", None)]
        assert (server.door.streams, server.door.places.taken) == (0, 0)


async def test_a_source_that_fails_ends_the_stream_with_a_masked_error() -> None:
    async with serving() as server:
        (*_, failed, last) = await server.events("subscription { count(upto: 1, fail: true) }")
    masked = {"message": "Something broke.", "extensions": {"code": "INTERNAL"}}
    assert (failed, last) == (("next", {"errors": [masked]}), ("complete", None))


@pytest.mark.parametrize(
    ("query", "token", "status"), [("subscription { nothing }", None, 400), ("{ hello }", "bad", 401)]
)
async def test_what_cannot_start_is_refused_in_json(query: str, token: str | None, status: int) -> None:
    async with serving() as server, server.open(query, token) as response:
        body = json.loads(await response.aread())
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json; charset=utf-8")
    assert "errors" in body


async def test_a_client_that_leaves_ends_its_source() -> None:
    async with serving() as server:
        async with server.open("subscription { silence }") as response:
            assert response.status_code == 200
            await until(lambda: server.door.streams == 1)
        await until(lambda: server.door.streams == 0)
        assert (left["silence"], server.door.places.taken) == (1, 0)


async def test_a_silent_stream_has_a_heartbeat() -> None:
    async with serving(ping_interval_seconds=0.05) as server, server.open("subscription { silence }") as response:
        beats = 0
        async for chunk in response.aiter_bytes():
            beats += chunk.count(b":\n\n")
            if beats >= 3:
                break
    assert beats >= 3


async def test_t_s02_a_token_that_expires_or_is_revoked_ends_the_stream() -> None:
    async with serving(recheck_seconds=0.2) as server:
        for token in ("soon", "usr_revoked"):
            told, last = await server.events("subscription { silence }", token)
            assert told[1]["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}
            assert last == ("complete", None)


async def test_t_s04_a_client_that_reads_nothing_is_closed() -> None:
    async with serving(slow_consumer_seconds=0.3) as server, server.open("subscription { flood }"):
        await until(lambda: left["flood"] == 1)
        await until(lambda: server.door.streams == 0)


async def test_t_s05_streams_have_places_by_address() -> None:
    async with serving(max_sockets_per_address=2) as server:
        async with server.open("subscription { silence }"), server.open("subscription { silence }"):
            await until(lambda: server.door.places.taken == 2)
            async with server.open("subscription { silence }") as refused:
                assert refused.status_code == 429
                assert json.loads(await refused.aread())["errors"][0]["extensions"] == {"code": "RATE_LIMITED"}
        await until(lambda: server.door.places.taken == 0)


async def test_t_s05_streams_have_places_by_user_beside_the_sockets() -> None:
    async with serving(max_sockets_per_user=2) as server:
        assert server.door.places.seat("usr_1")  # a socket of the same user
        async with server.open("subscription { silence }", "usr_1"):
            await until(lambda: server.door.places.taken == 1)
            async with server.open("subscription { silence }", "usr_1") as refused:
                assert refused.status_code == 429
                told = json.loads(await refused.aread())["errors"][0]
                assert told == {
                    "message": "At most 2 connections a user; close some.",
                    "extensions": {"code": "RATE_LIMITED"},
                }
            async with server.open("subscription { silence }", "usr_2"), server.open("subscription { silence }"):
                await until(lambda: server.door.places.taken == 3)
        await until(lambda: server.door.places.taken == 0)
        assert await server.events("{ hello }", "usr_1") == [("next", {"data": {"hello": "hello"}}), ("complete", None)]
        async with server.open("{ nope }", "usr_1") as wrong:
            assert wrong.status_code == 400
        assert server.door.places._users == {"usr_1": 1}
        assert server.door.places.taken == 0


async def test_t_s07_shutdown_tells_when_to_come_back() -> None:
    async with serving() as server, server.open("subscription { silence }") as response:
        await until(lambda: server.door.streams == 1)
        assert await server.door.close_all() == 0
        text = (await response.aread()).decode()
        hint = next(line for line in text.splitlines() if line.startswith("retry: "))
        assert 500 <= int(hint.removeprefix("retry: ")) < 10_000
        assert text.endswith("event: complete\ndata:\n\n")
        async with server.open("subscription { silence }") as refused:
            assert refused.status_code == 503


# ---- one execution for all


async def _answers(execution: Execution, query: str) -> list[Answer]:
    outcome = await execution.subscribe(GraphQLRequest(query), Context())
    assert not isinstance(outcome, dict)
    return [answer async for answer in outcome]


async def test_an_event_is_executed_once_for_all_who_ask_the_same() -> None:
    """A hundred subscribers of five events: five executions for each distinct operation."""
    shown.clear()
    execution = Execution(strawberry.Schema(Query, subscription=Subscription), present=present)
    query = "subscription { news(upto: 5) { number shown } }"
    told = await asyncio.gather(*(_answers(execution, query) for _ in range(100)))
    assert all(answers == told[0] for answers in told)
    assert [answer["data"]["news"]["number"] for answer in told[0]] == [0, 1, 2, 3, 4]
    assert shown == dict.fromkeys(range(5), 1)
    assert all(isinstance(answer, Pushed) and json.loads(answer.encoded) == answer for answer in told[0])
    await _answers(execution, "subscription { news(upto: 5) { shown } }")
    assert shown == dict.fromkeys(range(5), 2)


async def test_what_has_no_key_is_executed_for_each() -> None:
    shown.clear()
    execution = Execution(strawberry.Schema(Query, subscription=Subscription), present=present)
    query = "subscription { news(upto: 1, shared: false) { shown } }"
    await asyncio.gather(*(_answers(execution, query) for _ in range(10)))
    assert shown == {0: 10}


async def test_once_keeps_no_more_bytes_than_it_may() -> None:
    once: Once[str] = Once(10, weigh=len, most_bytes=100)
    made: list[str] = []

    async def make(text: str) -> str:
        made.append(text)
        return text

    async def get(text: str) -> str:
        return await once.get(text[0], partial(make, text))

    for text in ("a" * 60, "b" * 40, "a" * 60, "c" * 60, "b" * 40, "a" * 60, "d" * 101, "d" * 101):
        assert await get(text) == text
    assert [text[0] for text in made] == ["a", "b", "c", "a", "d", "d"]


async def test_once_is_bounded_and_keeps_no_failure() -> None:
    once: Once[int] = Once(2)
    made: list[int] = []

    async def make(number: int) -> int:
        made.append(number)
        if number < 0:
            raise ValueError(number)
        return number

    for number in (1, 2, 1, 3, 1):
        assert await once.get(number, partial(make, number)) == number
    assert made == [1, 2, 3, 1]  # the third pushed the first out
    for _ in range(2):
        with pytest.raises(ValueError, match="-1"):
            await once.get(-1, lambda: make(-1))
    assert made == [1, 2, 3, 1, -1, -1]


async def test_once_goes_on_when_the_first_who_asked_leaves() -> None:
    once: Once[int] = Once(2)
    go = asyncio.Event()

    async def make() -> int:
        await go.wait()
        return 7

    first = asyncio.create_task(once.get("key", make))
    second = asyncio.create_task(once.get("key", make))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert await second == 7
    assert first.cancelled()
