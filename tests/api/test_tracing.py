"""One trace through a hire: request, root field, the store's operation, Firestore's verbs, the gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import sight
from tests.api.api import Market, Rig, open_market

HIRE = "mutation ($input: HireAgentInput!) { hireAgent(input: $input) { __typename } }"
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
async def traced(data: Path, spans: InMemorySpanExporter) -> AsyncIterator[Market]:
    rig = Rig(data)
    await rig.start()
    market = await open_market(rig)
    spans.clear()
    yield market
    await rig.stop()


def children(spans: tuple[ReadableSpan, ...], parent: ReadableSpan) -> set[str]:
    return {each.name for each in spans if each.parent and each.parent.span_id == parent.context.span_id}


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
    request, field, operation = by_name["POST"], by_name["Mutation.hireAgent"], by_name["sessions.hire"]
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == PARENT
    assert request.kind is SpanKind.SERVER
    assert (request.attributes or {})["http.response.status_code"] == 200
    assert children(mine, request) >= {"Mutation.hireAgent", "identity.verify"}
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


async def test_without_a_collector_nothing_is_wrapped(market: Market, spans: InMemorySpanExporter) -> None:
    assert "hire" not in vars(market.rig.store.sessions)
    assert "get_many" not in vars(market.rig.backend)
    await market.max.ask("{ viewer { email } }")
    assert spans.get_finished_spans() == ()
