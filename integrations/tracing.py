"""OpenTelemetry: one trace from what came in through the operation, its root field and the store's to each call.

What is not traced costs one look at a context variable. Spans carry names of ours and types of exceptions: no argument,
no id, no text of an exception, which the SDK would add by itself (T-P01).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.propagate import extract
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    use_span,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integrations.watched import watch

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider

EXPORT_SECONDS = 2.0  # a batch that does not arrive is lost; a stopping process waits no longer for its last one

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}  # any other is a word of the caller's

_tracer: ContextVar[Tracer | None] = ContextVar("tracer", default=None)


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL) -> Iterator[Span]:
    """A span around the block, where what came in is traced; elsewhere one that nobody keeps."""
    tracer = _tracer.get()
    if tracer is None:
        yield INVALID_SPAN
        return
    with _begun(tracer, name, kind=kind) as begun:
        yield begun


@contextmanager
def entry(name: str, kind: SpanKind = SpanKind.SERVER, sent: Mapping[str, object] | None = None) -> Iterator[Span]:
    """The first span of what came in by another way than HTTP; inside a request, or another entry, a span of that.

    `sent` may hold the caller's `traceparent`. His `tracestate` is left alone: it is a text of his that would be kept.
    """
    tracer = _tracer.get()
    if tracer is None:
        yield INVALID_SPAN
        return
    options: dict[str, Any] = {}
    if not get_current_span().get_span_context().is_valid:
        parent = (sent or {}).get("traceparent")
        options = {"kind": kind, "context": extract({"traceparent": parent} if isinstance(parent, str) else {})}
    with _begun(tracer, name, **options) as begun:
        yield begun


@contextmanager
def apart(name: str, cause: Span) -> Iterator[Span]:
    """A span that begins a trace of its own and links to its cause: what goes on for hours would be no trace."""
    tracer = _tracer.get()
    if tracer is None:
        yield INVALID_SPAN
        return
    with _begun(tracer, name, context=Context(), links=[Link(cause.get_span_context())]) as begun:
        yield begun


def under(parent: Span) -> AbstractContextManager[object]:
    """Spans that begin in the block are the parent's, which may be over."""
    if parent is INVALID_SPAN:
        return nullcontext()
    return use_span(parent, record_exception=False, set_status_on_exception=False)


def say(begun: Span, name: str, attributes: Mapping[str, str | Sequence[str]], fault: str | None) -> None:
    """What a span turned out to be, and the type of the fault that it ended with."""
    if begun.is_recording():
        begun.update_name(name)
        begun.set_attributes(attributes)
        if fault is not None:
            _fail(begun, fault)


@contextmanager
def _begun(tracer: Tracer, name: str, **options: Any) -> Iterator[Span]:
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False, **options) as begun:
        try:
            yield begun
        except BaseException as fault:
            _fail(begun, type(fault).__name__)
            raise


def _fail(begun: Span, fault: str) -> None:
    begun.set_status(Status(StatusCode.ERROR))
    begun.set_attribute("error.type", fault)


def trace_calls(watched: object, name: str, kind: SpanKind = SpanKind.INTERNAL) -> None:
    """A span `name.method` for each call of the object's coroutine methods."""
    watch(watched, lambda method: span(f"{name}.{method}", kind))


def trace_entries(watched: object, provider: TracerProvider) -> None:
    """Trace what begins in the object's coroutine methods: nothing that came in by HTTP is around them."""
    tracer = provider.get_tracer("jiga")
    watch(watched, lambda _: _traced(tracer))


@contextmanager
def _traced(tracer: Tracer) -> Iterator[None]:
    token = _tracer.set(tracer)
    try:
        yield
    finally:
        _tracer.reset(token)


class TracedRequests:
    """Pure ASGI middleware: the first span of a request, under its caller's `traceparent` where it sends one.

    `way_of` gives a request's path without what is the caller's in it. A socket lives for hours and gets no span;
    its operations do (`entry`).
    """

    def __init__(
        self, app: ASGIApp, *, provider: TracerProvider, way_of: Callable[[MutableMapping[str, Any]], str]
    ) -> None:
        self._app = app
        self._tracer = provider.get_tracer("jiga")
        self._way_of = way_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with _traced(self._tracer):
            if scope["type"] == "http":
                await self._answer(scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        method = scope["method"] if scope["method"] in _METHODS else "HTTP"
        with _begun(self._tracer, method, context=extract(carrier), kind=SpanKind.SERVER) as begun:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    begun.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        begun.set_status(Status(StatusCode.ERROR))
                await send(message)

            try:
                await self._app(scope, receive, told)
            finally:
                way = self._way_of(scope)  # known once a door was found
                begun.update_name(f"{method} {way}")
                begun.set_attribute("http.route", way)


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
