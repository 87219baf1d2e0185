"""One trace through a hire: request, operation, root field, the store's operation, Firestore's verbs, the gateways.

And through what comes in by other doors: webhooks, tasks, sockets, streams of events.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import opentelemetry.sdk.trace
import opentelemetry.trace
import pytest
import pytest_asyncio
import uvicorn
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from websockets.asyncio.client import ClientConnection, connect

import sight
from domain.ids import Kind, derived_id
from graph.context import Context
from graph.websocket import PROTOCOL
from integrations.local.queue import LocalCaller
from tests.api.api import Json, Market, Person, Rig, missing, open_market
from tests.api.test_sse import ACCEPT, events_of
from tests.api.test_websocket import ask, hear, say, until
from tests.journeys import shop
from tests.make import NOW

HIRE = "mutation ($input: HireAgentInput!) { hireAgent(input: $input) { __typename } }"
SESSION = "subscription ($id: ID!) { sessionUpdated(id: $id) { dofConsumed agent { name } } }"
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { __typename } }"
EVENTS = "subscription ($topics: [String!]!) { events(topics: $topics) { topic sequence } }"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of a store go whose deployer has set the collector's address."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.test")
    monkeypatch.setattr(sight, "otlp_provider", lambda _: provider)
    return kept


@pytest_asyncio.fixture
async def traced(data: Path, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Market]:
    monkeypatch.setattr(Context, "expires_at", None)  # the rig's tokens end in the rig's time, and sockets live in ours
    rig = Rig(data)
    await rig.start()
    market = await open_market(rig)
    await rig.drain()
    spans.clear()
    yield market
    await rig.stop()


@asynccontextmanager
async def serving(rig: Rig) -> AsyncIterator[str]:
    """The rig's doors on a free port; gives host and port."""
    app = rig.http._transport.app  # type: ignore[attr-defined] # httpx's own name
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            await serve


@asynccontextmanager
async def connected(person: Person, **payload: Json) -> AsyncIterator[ClientConnection]:
    """A socket of this person at the rig's own door."""
    async with (
        serving(person.rig) as address,
        connect(f"ws://{address}/graphql", subprotocols=[PROTOCOL], proxy=None) as client,  # type: ignore[list-item]
    ):
        await say(client, type="connection_init", payload={"token": person.token, **payload})
        assert await hear(client) == {"type": "connection_ack"}
        yield client


async def answer_on(client: ClientConnection, query: str, **payload: Json) -> Json:
    """The answer to a query or mutation on a socket."""
    await ask(client, query, "one", **payload)
    answer = await hear(client)
    if answer["type"] == "next":
        assert await hear(client) == {"id": "one", "type": "complete"}
    return answer["payload"]


def children(spans: tuple[ReadableSpan, ...], parent: ReadableSpan) -> set[str]:
    return {each.name for each in spans if each.parent and each.parent.span_id == parent.context.span_id}


def tree(spans: InMemorySpanExporter) -> dict[str, set[str | None]]:
    """The names of each span's parents by the span's own name; None for the first of a trace."""
    every = spans.get_finished_spans()
    names = {each.context.span_id: each.name for each in every}
    found: dict[str, set[str | None]] = {}
    for each in every:
        found.setdefault(each.name, set()).add(names[each.parent.span_id] if each.parent else None)
    return found


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [each for each in spans.get_finished_spans() if each.name == name]


def said(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_a_hire_is_one_trace_from_the_callers_own_to_the_queue(
    traced: Market, spans: InMemorySpanExporter
) -> None:
    headers = {"authorization": "Bearer max", "traceparent": f"00-{TRACE}-{PARENT}-01"}
    body = {"query": HIRE, "variables": {"input": traced.hire()}}
    answer = await traced.rig.http.post("/graphql", json=body, headers=headers)
    assert answer.json()["data"]["hireAgent"]["__typename"] == "HireAgentPayload"
    await traced.rig.drain()
    mine = tuple(each for each in spans.get_finished_spans() if format(each.context.trace_id, "032x") == TRACE)
    by_name = {each.name: each for each in mine}
    request, field, operation = by_name["POST /graphql"], by_name["Mutation.hireAgent"], by_name["sessions.hire"]
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == PARENT
    assert request.kind is SpanKind.SERVER
    assert said(request) == {"http.response.status_code": 200, "http.route": "/graphql"}
    assert children(mine, request) == {"identity.verify", "mutation"}
    assert said(by_name["mutation"]) == {
        "graphql.operation.type": "mutation",
        "graphql.operation.fields": ("hireAgent",),
    }
    assert children(mine, by_name["mutation"]) == {"Mutation.hireAgent"}
    assert "sessions.hire" in children(mine, field)
    assert children(mine, operation) >= {"firestore.get_many", "firestore.commit"}
    assert by_name["queue.enqueue"].kind is SpanKind.CLIENT
    assert all(each.end_time >= each.start_time for each in mine if each.end_time and each.start_time)


async def test_t_p01_a_span_tells_nothing_of_people_and_a_failure_by_its_type_alone(
    traced: Market, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("max@jiga.test and sk_live_1")

    await traced.max.raw(HIRE, input=traced.hire(quantity=0))
    monkeypatch.setattr(traced.rig.memory, "get_many", breaks)
    await traced.max.raw("{ viewer { email wallet { available } } }")
    every = spans.get_finished_spans()
    failed = [each for each in every if each.status.status_code is StatusCode.ERROR]
    assert {(each.attributes or {}).get("error.type") for each in failed} >= {"BadInput", "RuntimeError"}
    told = str([(each.name, dict(each.attributes or {}), each.status.description, each.events) for each in every])
    assert [
        word for word in ("jiga.test", "sk_live", "max", traced.max.user_id, traced.ids.listing) if word in told
    ] == []
    assert all(not each.events for each in every)


async def test_a_webhook_and_the_task_that_it_asks_for_are_a_trace_each(
    traced: Market, spans: InMemorySpanExporter
) -> None:
    assert (await shop.post(traced.rig.http, shop.Order(77).told())).status_code == 200
    await traced.rig.drain()
    assert tree(spans) == {
        "POST /webhooks/shopify": {None},
        "inbox.record": {"POST /webhooks/shopify"},
        "firestore.commit": {"inbox.record", "orders.absorb"},
        "queue.enqueue": {"inbox.record"},
        "task apply_order": {None},
        "orders.absorb": {"task apply_order"},
        "firestore.get_many": {"orders.absorb"},
        "firestore.query": {"orders.absorb"},
    }
    (task,) = named(spans, "task apply_order")
    assert task.kind is SpanKind.CONSUMER


async def test_a_task_and_a_round_that_are_posted_are_named_in_their_requests(
    traced: Market, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ours(*_: object) -> bool:
        return True

    monkeypatch.setattr(LocalCaller, "verify", ours)
    body = {"row": derived_id(Kind.OUTBOX, "none"), "args": {"session_id": traced.ids.ended}}
    assert (await traced.rig.http.post("/tasks/follow_session", json=body)).status_code == 200
    assert (await traced.rig.http.post("/tasks/badges")).status_code == 200
    assert (await traced.rig.http.post("/tasks/max@jiga.test")).status_code == 404
    found = tree(spans)
    assert found["task follow_session"] == found["round badges"] == {"POST /tasks/{name}"}
    assert found["POST /tasks/{name}"] == {None}
    assert "task follow_session" in found["topics.follow_session"]
    assert len(named(spans, "POST /tasks/{name}")) == 3


async def test_a_query_on_a_socket_is_a_trace_of_its_own(traced: Market, spans: InMemorySpanExporter) -> None:
    async with connected(traced.max) as client:
        assert "errors" not in await answer_on(client, "{ mine: viewer { sessions(first: 1) { nodes { id } } } }")
    assert tree(spans) == {
        "connection_init": {None},
        "identity.verify": {"connection_init"},
        "query": {None},
        "Query.viewer": {"query"},
        "sessions.page_of_hirer": {"query"},
        "firestore.query": {"sessions.page_of_hirer"},
    }
    (query,) = named(spans, "query")
    assert query.kind is SpanKind.SERVER
    assert said(query) == {"graphql.operation.type": "query", "graphql.operation.fields": ("viewer",)}
    assert query.status.status_code is StatusCode.UNSET


async def test_a_mutation_on_a_socket_goes_on_its_callers_trace(traced: Market, spans: InMemorySpanExporter) -> None:
    sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "mail=max@jiga.test"}
    async with connected(traced.max, **sent) as client:
        await answer_on(client, HIRE, variables={"input": traced.hire()}, extensions=sent)
        for odd in ("no trace", 7, None, ["00"], f"00-{TRACE}-{PARENT}-01" * 9):
            await answer_on(client, "{ viewer { id } }", extensions={"traceparent": odd})
    by_name = {each.name: each for each in spans.get_finished_spans()}
    mutation, field = by_name["mutation"], by_name["Mutation.hireAgent"]
    for each in (by_name["connection_init"], mutation):
        assert each.parent is not None
        assert (each.context.trace_id, each.parent.span_id) == (int(TRACE, 16), int(PARENT, 16))
        assert not each.context.trace_state
    assert children(spans.get_finished_spans(), mutation) == {"Mutation.hireAgent"}
    assert children(spans.get_finished_spans(), field) == {"identity.verify", "sessions.hire"}
    assert children(spans.get_finished_spans(), by_name["sessions.hire"]) == {
        "firestore.get_many",
        "firestore.commit",
        "queue.enqueue",
    }
    assert [each.parent for each in named(spans, "query")] == [None] * 5


async def test_t_p01_a_socket_tells_nothing_of_what_it_was_sent(traced: Market, spans: InMemorySpanExporter) -> None:
    canary = {"email": "canary@jiga.test", "password": "tell-nobody-4711"}
    async with connected(traced.max) as client:
        await answer_on(client, "query Canary4711 " + "{ canary: viewer { canary: email } }")
        await answer_on(client, "query Canary4711 { canary4711 }")
        await answer_on(client, SIGN_IN, variables={"input": canary})
        await answer_on(client, HIRE, variables={"input": traced.hire("canary", quantity=0)})
        await ask(client, SESSION, "two", variables={"id": missing(Kind.SESSION)})
        assert (await hear(client))["type"] == "error"
    every = spans.get_finished_spans()
    faults = Counter(
        (each.name, said(each).get("error.type")) for each in every if each.status.status_code is StatusCode.ERROR
    )
    assert faults == {
        ("graphql", "BAD_USER_INPUT"): 1,
        # A refusal is an answer of the operation's, and ends what it was raised in.
        ("identity.sign_in", "BadCredentials"): 1,
        ("Mutation.signIn", "BadCredentials"): 1,
        ("sessions.hire", "BadInput"): 1,
        ("Mutation.hireAgent", "BadInput"): 1,
        ("mutation", "BAD_USER_INPUT"): 1,
        ("stream", "NOT_FOUND"): 1,
    }
    told = str([(each.name, said(each), each.status.description, each.events) for each in every]).lower()
    secret = ("canary", "4711", "jiga.test", "max", traced.max.user_id, traced.ids.listing, missing(Kind.SESSION))
    assert [word for word in secret if word in told] == []


async def test_each_event_on_a_socket_is_a_trace_that_links_to_its_subscription(
    traced: Market, spans: InMemorySpanExporter
) -> None:
    async with connected(traced.max) as client:
        await ask(client, SESSION, "live", variables={"id": traced.ids.running})
        assert (await hear(client))["payload"]["data"]["sessionUpdated"]["dofConsumed"] == 510
        used = {"sessionId": traced.ids.running, "sequence": 2, "dof": 5}
        await traced.max_bot.act("recordUsage", used)
        assert (await hear(client))["payload"]["data"]["sessionUpdated"]["dofConsumed"] == 515
        await say(client, id="live", type="complete")
    (begun,), told = named(spans, "subscription"), named(spans, "event")
    assert (begun.parent, begun.kind) == (None, SpanKind.SERVER)
    assert [each.parent for each in told] == [None, None]
    assert len({each.context.trace_id for each in (begun, *told)}) == 3
    assert [[link.context.span_id for link in each.links] for each in told] == [[begun.context.span_id]] * 2
    for each in (begun, *told):
        fields = {"graphql.operation.type": "subscription", "graphql.operation.fields": ("sessionUpdated",)}
        assert said(each) == fields
    # The event reads the agent that it shows; the source has read the session.
    assert [children(spans.get_finished_spans(), each) for each in told] == [{"firestore.get_many"}] * 2
    assert children(spans.get_finished_spans(), begun) == {"firestore.get_many"}


async def test_an_event_that_many_follow_is_traced_once(traced: Market, spans: InMemorySpanExporter) -> None:
    asked = {"query": EVENTS, "variables": {"topics": [f"listing:{traced.ids.listing}"]}}
    about = {"kind": "published", "agent_id": traced.ids.nova, "listing_id": traced.ids.listing}
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(traced.rig))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://{address}", trust_env=False))
        streams = [
            events_of(await stack.enter_async_context(http.stream("POST", "/graphql", json=asked, headers=ACCEPT)))
            for _ in range(3)
        ]
        await until(lambda: len(named(spans, "topics.head")) == 3)
        await traced.rig.store.topics.announce("published", about, derived_id(Kind.OUTBOX, "said", 1), NOW)
        assert [(await anext(each))[0] for each in streams] == ["next"] * 3
    begun, (event,) = named(spans, "subscription"), named(spans, "event")
    requests = named(spans, "POST /graphql")
    assert {each.parent.span_id for each in begun if each.parent} == {each.context.span_id for each in requests}
    assert event.parent is None
    assert {link.context.span_id for link in event.links} < {each.context.span_id for each in begun}
    assert said(event) == {"graphql.operation.type": "subscription", "graphql.operation.fields": ("events",)}


async def test_without_a_collector_nothing_is_wrapped_and_no_span_is_made(
    market: Market, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for kind in (opentelemetry.sdk.trace.Span, opentelemetry.trace.NonRecordingSpan):
        monkeypatch.setattr(kind, "__init__", lambda self, *_, **__: made.append(type(self).__name__))
    monkeypatch.setattr(Context, "expires_at", None)
    assert "hire" not in vars(market.rig.store.sessions)
    assert "get_many" not in vars(market.rig.backend)
    assert "deliver" not in vars(market.rig.caller)
    await market.max.ask("{ viewer { email } }")
    async with connected(market.max) as client:
        sent = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        await answer_on(client, HIRE, variables={"input": market.hire()}, extensions=sent)
        await ask(client, SESSION, "live", variables={"id": market.ids.running})
        assert (await hear(client))["type"] == "next"
    await market.rig.drain()
    assert spans.get_finished_spans() == ()
    assert made == []
