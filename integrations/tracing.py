"""OpenTelemetry: one trace from the request through the root field and the store's operation to each of its calls.

A request that is not traced costs one look at a context variable. Spans carry names of ours and types of exceptions:
no argument, no id, no text of an exception, which the SDK would add by itself (T-P01).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry.propagate import extract
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integrations.watched import watch

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider

EXPORT_SECONDS = 2.0  # a batch that does not arrive is lost; a stopping process waits no longer for its last one

_tracer: ContextVar[Tracer | None] = ContextVar("tracer", default=None)


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL) -> Iterator[None]:
    """A span around the block, where the request is traced."""
    tracer = _tracer.get()
    if tracer is None:
        yield
        return
    with (
        tracer.start_as_current_span(name, kind=kind, record_exception=False, set_status_on_exception=False) as begun,
        _told(begun),
    ):
        yield


@contextmanager
def _told(begun: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as fault:
        begun.set_status(Status(StatusCode.ERROR))
        begun.set_attribute("error.type", type(fault).__name__)
        raise


def trace_calls(watched: object, name: str, kind: SpanKind = SpanKind.INTERNAL) -> None:
    """A span `name.method` for each call of the object's coroutine methods."""
    watch(watched, lambda method: span(f"{name}.{method}", kind))


class TracedRequests:
    """Pure ASGI middleware: the first span of a request, under its caller's `traceparent` where it sends one."""

    def __init__(self, app: ASGIApp, *, provider: TracerProvider) -> None:
        self._app = app
        self._tracer = provider.get_tracer("jiga")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        token = _tracer.set(self._tracer)
        try:
            with self._tracer.start_as_current_span(
                scope["method"],
                context=extract(carrier),
                kind=SpanKind.SERVER,
                record_exception=False,
                set_status_on_exception=False,
            ) as begun:

                async def told(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        begun.set_attribute("http.response.status_code", message["status"])
                        if message["status"] >= 500:
                            begun.set_status(Status(StatusCode.ERROR))
                    await send(message)

                with _told(begun):
                    await self._app(scope, receive, told)
        finally:
            _tracer.reset(token)


def otlp_provider(endpoint: str) -> SdkProvider:
    """Sends spans to a collector, in batches from a thread. Raises ImportError without the extra `otel`."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = SdkProvider(resource=Resource.create({"service.name": "jiga-store"}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
