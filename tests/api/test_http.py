"""GraphQL over HTTP. Rows T-G05, T-G06, T-G07, T-G08 and T-G11."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import strawberry
import uvicorn
from graphql import GraphQLError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from graph.execution import Execution
from graph.http import GRAPHQL_JSON, PLAIN_JSON, graphql_route, negotiate
from graph.places import Places
from graph.sse import StreamDoor

WEB = "https://app.jiga.test"


class Unauthenticated(Exception):
    code = "UNAUTHENTICATED"


class RateLimited(Exception):
    code = "RATE_LIMITED"


class Context:
    def __init__(self, token: str | None) -> None:
        self.request_id = "req_7"
        self.user_id = token
        self.expires_at = None

    async def recheck(self) -> bool:
        return True

    def fresh(self) -> Context:
        return Context(self.user_id)


moved: list[int] = []
moving = asyncio.Event()


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "max") -> str:
        return f"hello {name}"

    @strawberry.field
    def broken(self) -> str:
        raise RuntimeError("postgres://user:hunter2@db")

    @strawberry.field
    def hasty(self) -> str | None:
        raise RateLimited

    @strawberry.field
    def huge(self) -> strawberry.scalars.JSON:
        return 2**70


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def move(self, amount: int) -> int:
        moving.set()
        await asyncio.sleep(0.02)
        moved.append(amount)
        return amount


def present(error: GraphQLError) -> dict[str, Any]:
    code = getattr(error.original_error, "code", "INTERNAL")
    extensions = {"code": code} if code != "RATE_LIMITED" else {"code": code, "retryAfterSeconds": 1.2}
    return {"message": "Sign in again." if code != "INTERNAL" else "Something broke.", "extensions": extensions}


async def make_context(request: Request) -> Context:
    token = request.headers.get("authorization")
    if token == "Bearer bad":
        raise Unauthenticated
    if token == "Bearer hasty":
        raise RateLimited
    if token == "Bearer breaks":
        raise RuntimeError("postgres://user:hunter2@db")
    return Context(token)


def make_app(**options: Any) -> Starlette:
    schema = strawberry.Schema(Query, Mutation)
    graphiql = options.pop("graphiql", False)
    execution = Execution(schema, present=present, introspection=graphiql)
    streams = StreamDoor(execution, Places())
    route = graphql_route(execution, make_context, streams, graphiql=graphiql, allowed_origins=[WEB], **options)
    return Starlette(routes=[Route("/graphql", route)])


def client(**options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(make_app(**options))
    return httpx.AsyncClient(transport=transport, base_url="http://api.jiga.test")


async def post(content: Any, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
    if isinstance(content, dict):
        content = json.dumps(content)
    async with client(**options) as http:
        return await http.post(
            "/graphql", content=content, headers={"content-type": "application/json", **(headers or {})}
        )


def assert_refused(response: httpx.Response, status: int, code: str = "BAD_USER_INPUT") -> dict[str, Any]:
    """A refusal is a GraphQL error in JSON, with one sentence for a person."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].endswith("json; charset=utf-8")
    body = response.json()
    assert set(body) == {"errors"}
    assert body["errors"][0]["extensions"]["code"] == code
    assert len(body["errors"][0]["message"]) > 10
    return body


async def test_an_answer_is_not_cached_and_names_its_request() -> None:
    response = await post({"query": "query Hi($n:String!){hello(name:$n)}", "variables": {"n": "ada"}})
    assert response.status_code == 200
    assert response.json() == {"data": {"hello": "hello ada"}}
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-request-id"] == "req_7"
    assert response.headers["vary"] == "Accept"


BODIES = {
    "empty": b"",
    "null": b"null",
    "one": b"1",
    "string": b'"x"',
    "true": b"true",
    "array": b'[{"query":"{hello}"}]',
    "empty array": b"[]",
    "not JSON": b"{hello}",
    "cut": b'{"query":"{hello}"',
    "two values": b'{"query":"{hello}"}{"query":"{hello}"}',
    "UTF-16": '{"query":"{hello}"}'.encode("utf-16"),
    "UTF-16 without BOM": '{"query":"{hello}"}'.encode("utf-16-le"),
    "UTF-8 BOM": b'\xef\xbb\xbf{"query":"{hello}"}',
    "Latin-1": '{"query":"{hello(name:\\"é\\")}"}'.encode("latin-1"),
    "NUL": b"\x00",
    "lone surrogate": b'{"query":"{hello(name:$n)}","variables":{"n":"\\ud800"}}',
    "deep arrays": b"[" * 100_000,
    "deep balanced arrays": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "deep variables": b'{"query":"{hello}","variables":{"a":' + b"[" * 1_020 + b"]" * 1_020 + b"}}",
    "duplicate key": b'{"query":"{hello}","query":"{broken}"}',
    "duplicate nested key": b'{"query":"{hello}","variables":{"a":1,"a":2}}',
    "escaped duplicate key": b'{"query":"{hello}","\\u0071uery":"{broken}"}',
    "NaN": b'{"query":"{hello}","variables":{"a":NaN}}',
    "Infinity": b'{"query":"{hello}","variables":{"a":-Infinity}}',
    "infinite float": b'{"query":"{hello}","variables":{"a":1e999}}',
    "integer beyond 64 bits": b'{"query":"{hello}","variables":{"a":9223372036854775808}}',
    "integer below 64 bits": b'{"query":"{hello}","variables":{"a":-9223372036854775809}}',
    "90,000 digits": b'{"query":"{hello}","variables":{"a":' + b"9" * 90_000 + b"}}",
    "no query": b"{}",
    "query null": b'{"query":null}',
    "query number": b'{"query":1}',
    "query array": b'{"query":["{hello}"]}',
    "operationName number": b'{"query":"{hello}","operationName":1}',
    "operationName array": b'{"query":"{hello}","operationName":["A"]}',
    "variables string": b'{"query":"{hello}","variables":"{}"}',
    "variables array": b'{"query":"{hello}","variables":[]}',
    "variables false": b'{"query":"{hello}","variables":false}',
    "extensions string": b'{"query":"{hello}","extensions":"x"}',
    "extensions array": b'{"query":"{hello}","extensions":[]}',
}


@pytest.mark.parametrize("accept", [PLAIN_JSON, GRAPHQL_JSON])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_t_g05_a_body_that_is_no_request_is_400(body: bytes, accept: str) -> None:
    assert_refused(await post(body, {"accept": accept}), 400)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 1.5, "x" * 1_000, None, [[[[1]]]], {"a": {"b": []}}])
async def test_t_g05_every_ordinary_value_passes(value: Any) -> None:
    assert (await post({"query": "{hello}", "variables": {"a": value}})).json() == {"data": {"hello": "hello max"}}


async def test_t_g05_null_parameters_are_absent_parameters() -> None:
    body = {"query": "{hello}", "variables": None, "operationName": None, "extensions": None}
    assert (await post(body)).json() == {"data": {"hello": "hello max"}}


async def test_t_g06_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_413() -> None:
    body = json.dumps({"query": "{hello}"}).encode()
    at_limit = body + b" " * (102_400 - len(body))
    assert (await post(at_limit)).status_code == 200
    refused = await post(at_limit + b" ")
    assert_refused(refused, 413)
    assert refused.headers["connection"] == "close"
    assert_refused(await post(b"[" * 20_000_000), 413)


async def test_t_g06_a_chunked_body_is_not_read_beyond_the_limit() -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 10_000
            yield b" " * 10_000

    assert_refused(await post(chunks()), 413)
    assert sent <= 120_000


async def test_t_g06_a_slow_trickle_is_408() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    response = await post(chunks(), body_timeout_seconds=0.1)
    assert_refused(response, 408)
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", "9" * 30, ""])
async def test_t_g06_a_content_length_that_is_no_number_is_400(length: str) -> None:
    assert_refused(await post(b"{}", {"content-length": length}), 400)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, gzip"])
async def test_t_g06_a_compressed_body_is_415(encoding: str) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    assert_refused(await post(bomb, {"content-encoding": encoding}), 415)


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[int]:
    """The port of a real server in this event loop."""
    server = uvicorn.Server(uvicorn.Config(make_app(**options), log_level="critical", lifespan="off"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await serve


async def test_t_g06_on_the_wire_a_body_that_never_ends_is_answered_and_its_connection_closed() -> None:
    head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    cases = {
        "20 MB announced, none sent": (head + b"Content-Length: 20000000\r\n\r\n", 413),
        "shorter than announced": (head + b"Content-Length: 50\r\n\r\n{", 408),
        "chunks without end": (head + b"Transfer-Encoding: chunked\r\n\r\n" + b"4\r\n    \r\n" * 30_000, 413),
        "a chunk that never comes": (head + b"Transfer-Encoding: chunked\r\n\r\n4\r\n", 408),
    }
    async with listening(body_timeout_seconds=0.2) as port:
        for name, (sent, status) in cases.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            async with asyncio.timeout(10):
                answer = await reader.read()
            assert (name, answer.split(b" ", 2)[1]) == (name, str(status).encode())
            assert b"connection: close" in answer.lower()
            writer.close()


async def test_t_g06_content_encoding_identity_is_no_encoding() -> None:
    assert (await post({"query": "{hello}"}, {"content-encoding": "identity"})).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
        "text/plain; application/json",
        "",
    ],
)
async def test_t_g07_another_content_type_is_415(content_type: str) -> None:
    moved.clear()
    body = {"query": "mutation{move(amount:1)}"}
    assert_refused(await post(body, {"content-type": content_type}), 415)
    assert moved == []


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON", "application/json;charset=UTF-8", 'application/json; charset="utf-8"'],
)
async def test_t_g07_json_in_utf_8_is_taken_however_it_is_written(content_type: str) -> None:
    assert (await post({"query": "{hello}"}, {"content-type": content_type})).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_t_g07_every_other_method_is_405(method: str) -> None:
    moved.clear()
    async with client() as http:
        for query in ("{hello}", "mutation{move(amount:1)}"):
            response = await http.request(method, "/graphql", params={"query": query})
            assert response.status_code == 405
            assert response.headers["allow"] == "POST, OPTIONS"
    assert moved == []


@pytest.mark.parametrize(
    "origin", ["https://evil.test", "null", "http://[", "https://app.jiga.test.evil.test", "https://app.jiga.test/"]
)
async def test_t_g07_a_foreign_origin_is_403(origin: str) -> None:
    moved.clear()
    response = await post({"query": "mutation{move(amount:1)}"}, {"origin": origin})
    assert_refused(response, 403, "FORBIDDEN")
    assert "access-control-allow-origin" not in response.headers
    assert moved == []


async def test_t_g07_an_allowed_origin_and_the_own_host_are_answered() -> None:
    response = await post({"query": "{hello}"}, {"origin": WEB})
    assert response.status_code == 200
    own = await post({"query": "{hello}"}, {"origin": "http://api.jiga.test"})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    async with client() as http:  # preflights: tests/functions/test_entrance.py
        assert (await http.options("/graphql", headers={"origin": "https://evil.test"})).status_code == 403


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, PLAIN_JSON),
        ("", PLAIN_JSON),
        ("*/*", PLAIN_JSON),
        ("application/*", PLAIN_JSON),
        ("text/html, */*;q=0.8", PLAIN_JSON),
        (PLAIN_JSON, PLAIN_JSON),
        ("APPLICATION/JSON; charset=utf-8", PLAIN_JSON),
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}, {PLAIN_JSON}", GRAPHQL_JSON),
        (f"{PLAIN_JSON}, {GRAPHQL_JSON}", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}, {PLAIN_JSON};q=0.9", GRAPHQL_JSON),
        (f"{PLAIN_JSON}, {GRAPHQL_JSON};q=0.9", PLAIN_JSON),
        (f"{GRAPHQL_JSON};q=0.5, */*;q=0.1", GRAPHQL_JSON),
        (f"{PLAIN_JSON};q=0, */*", GRAPHQL_JSON),
        (f"{PLAIN_JSON};q=0", None),
        ("text/html", None),
        ("image/png;q=1", None),
        ("text/event-stream", "text/event-stream"),
        (f"{PLAIN_JSON};q=nonsense", None),
        (",;,", None),
    ],
)
async def test_the_accept_header_chooses_the_media_type(accept: str | None, media: str | None) -> None:
    assert negotiate(accept) == media


async def test_a_client_that_takes_neither_media_type_is_406() -> None:
    assert_refused(await post({"query": "{hello}"}, {"accept": "text/html"}), 406)


REQUEST_ERRORS = {
    "syntax": {"query": "{"},
    "validation": {"query": "{nope}"},
    "variables": {"query": "query($n:String!){hello(name:$n)}", "variables": {"n": 1}},
    "T-G11 unknown operationName": {"query": "query A{hello}", "operationName": "B"},
    "T-G11 two anonymous operations": {"query": "{hello} {hello}"},
    "T-G11 huge variables": {"query": "query($n:Int!){hello}", "variables": {"n": ["x"] * 20_000}},
    "T-G08 introspection": {"query": "{__schema{types{name}}}"},
    "T-G08 __type": {"query": '{__type(name:"Query"){name}}'},
    "subscription": {"query": "subscription{ticks}"},
}


@pytest.mark.parametrize("body", REQUEST_ERRORS.values(), ids=REQUEST_ERRORS.keys())
async def test_t_g11_a_request_error_is_400_or_under_plain_json_200(body: dict[str, Any]) -> None:
    assert_refused(await post(body, {"accept": GRAPHQL_JSON}), 400)
    assert_refused(await post(body, {"accept": PLAIN_JSON}), 200)


@pytest.mark.parametrize("accept", [PLAIN_JSON, GRAPHQL_JSON])
async def test_a_resolvers_error_is_200_and_masked(accept: str) -> None:
    response = await post({"query": "{broken}"}, {"accept": accept})
    assert response.status_code == 200
    assert response.json() == {
        "errors": [{"message": "Something broke.", "extensions": {"code": "INTERNAL"}}],
        "data": None,
    }


@pytest.mark.parametrize("accept", [PLAIN_JSON, GRAPHQL_JSON])
async def test_a_refused_token_is_401_and_a_fault_is_a_masked_500(accept: str) -> None:
    headers = {"accept": accept, "authorization": "Bearer bad"}
    response = await post({"query": "{hello}"}, headers)
    assert_refused(response, 401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"] == "Bearer"
    fault = await post({"query": "{hello}"}, {**headers, "authorization": "Bearer breaks"})
    assert_refused(fault, 500, "INTERNAL")
    assert "hunter2" not in fault.text
    hasty = await post({"query": "{hello}"}, {**headers, "authorization": "Bearer hasty"})
    assert_refused(hasty, 429, "RATE_LIMITED")
    assert hasty.headers["retry-after"] == "2"


async def test_a_rate_that_a_resolver_hits_says_when_to_come_back() -> None:
    response = await post({"query": "{hello hasty}"})
    assert (response.status_code, response.headers["retry-after"]) == (200, "2")
    assert "retry-after" not in (await post({"query": "{hello}"})).headers


async def test_a_value_that_json_cannot_hold_is_a_masked_500() -> None:
    assert_refused(await post({"query": "{huge}"}), 500, "INTERNAL")


async def test_a_mutation_outlives_its_client() -> None:
    moved.clear()
    moving.clear()
    request = asyncio.create_task(post({"query": "mutation{move(amount:9)}"}))
    await asyncio.wait_for(moving.wait(), 5)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert moved == []
    async with asyncio.timeout(5):
        while not moved:
            await asyncio.sleep(0.005)
    assert moved == [9]


async def test_a_client_that_leaves_while_sending_is_not_answered() -> None:
    sent: list[Any] = []
    incoming = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", b"x")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
    }
    await make_app()(scope, receive, send)
    assert sent == []


async def test_t_g08_graphiql_is_a_page_of_its_own_and_only_where_it_is_on() -> None:
    html = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
    async with client() as http:
        assert (await http.get("/graphql", headers=html)).status_code == 405
    async with client(graphiql=True) as http:
        first, second = [await http.get("/graphql", headers=html) for _ in range(2)]
        assert (await http.get("/graphql", params={"query": "{hello}"})).status_code == 405
        schema = await http.post("/graphql", json={"query": "{__schema{queryType{name}}}"})
        assert schema.json() == {"data": {"__schema": {"queryType": {"name": "Query"}}}}
    assert first.status_code == 200
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    policy = first.headers["content-security-policy"]
    nonces = set(re.findall(r"'nonce-([^']+)'", policy))
    assert len(nonces) == 1
    assert set(re.findall(r'nonce="([^"]+)"', first.text)) == nonces
    assert "default-src 'none'" in policy
    assert first.headers["content-security-policy"] != second.headers["content-security-policy"]
    assert not re.search(r"""(src|href)=|https?://""", first.text)
