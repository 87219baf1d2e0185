"""`GET /metrics`: what the process does, for Prometheus. No label carries an id, a name or an e-mail: every label's
value is one of a set that was fixed at the start, whatever a client sends."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.errors import Fault, RefusalCode, Unavailable

OTHER = "other"
"""The label of what is none of ours, or several at once."""
BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # around the goal: p95 below 0.2 s
LAG_SECONDS = 10.0  # the outbox is asked for its oldest row at most as often: eight small queries


class Ended(Protocol):
    """What is known of an operation that ended (`graph.operations.Account`)."""

    kind: str
    fields: tuple[str, ...]
    seconds: float
    rpcs: int
    reads: int
    writes: int


class Figures(Collector):
    """Reads the figures when they are asked for: `counters` only grow, `gauges` go both ways."""

    def __init__(self, counters: Mapping[str, Callable[[], float]], gauges: Mapping[str, Callable[[], float]]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, read in self._counters.items():
            counter = CounterMetricFamily(f"jiga_{name}", name.replace("_", " "))
            counter.add_metric([], read())
            yield counter
        for name, read in self._gauges.items():
            gauge = GaugeMetricFamily(f"jiga_{name}", name.replace("_", " "))
            gauge.add_metric([], read())
            yield gauge


class Meters:
    """Counts operations by root field. `fields` are all that the schema has."""

    def __init__(self, fields: Collection[str]) -> None:
        self.registry = CollectorRegistry()
        self._fields = frozenset(fields)
        self._codes = frozenset(RefusalCode) | {each.code for each in _family(Fault)} | {"COST_LIMIT_EXCEEDED"}
        self._seconds = Histogram(
            "jiga_operation_seconds",
            "From the request's last byte to the answer, by root field.",
            ["field"],
            buckets=BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._event_seconds = Histogram(
            "jiga_event_seconds",
            "An event's execution for its subscribers, by root field.",
            ["field"],
            buckets=BUCKETS_SECONDS,
            registry=self.registry,
        )
        told = (("rpcs", "Calls to Firestore"), ("reads", "Documents read"), ("writes", "Documents written"))
        self._used = {
            name: Counter(f"jiga_operation_{name}", f"{text}, by root field.", ["field"], registry=self.registry)
            for name, text in told
        }
        self._refused = Counter("jiga_refusals", "Refusals and errors, by code.", ["code"], registry=self.registry)

    def note(self, ended: Ended, codes: Sequence[str]) -> None:
        """Count an operation that ended, or an event or the end of a subscription, and what it was told."""
        field = ended.fields[0] if len(ended.fields) == 1 and ended.fields[0] in self._fields else OTHER
        if ended.kind == "event":
            self._event_seconds.labels(field).observe(ended.seconds)
        elif ended.kind not in ("subscription", "stream"):  # one lasts as long as its reader stays
            self._seconds.labels(field).observe(ended.seconds)
        for name, count in (("rpcs", ended.rpcs), ("reads", ended.reads), ("writes", ended.writes)):
            if count:
                self._used[name].labels(field).inc(count)
        for code in codes:
            self._refused.labels(code if code in self._codes else OTHER).inc()


class Lag:
    """How long the outbox's oldest due row has waited. 0 when none waits, or when the store does not answer."""

    def __init__(self, read: Callable[[], Awaitable[float]]) -> None:
        self._read = read
        self._read_at = float("-inf")
        self.seconds = 0.0

    async def refresh(self) -> None:
        now = time.monotonic()
        if now - self._read_at >= LAG_SECONDS:
            self._read_at = now
            try:
                self.seconds = await self._read()
            except Unavailable:
                self.seconds = 0.0


def metrics_route(figures: Figures, meters: Meters, lag: Lag) -> Route:
    meters.registry.register(figures)

    async def show(request: Request) -> Response:
        await lag.refresh()
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", show, methods=["GET"])


def _family(parent: type[Fault]) -> Iterator[type[Fault]]:
    yield parent
    for child in parent.__subclasses__():
        yield from _family(child)
