"""`GET /metrics`: what the process does, for Prometheus. No label carries an id, a name or an e-mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


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


def metrics_route(figures: Figures) -> Route:
    registry = CollectorRegistry()
    registry.register(figures)

    async def show(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", show, methods=["GET"])
