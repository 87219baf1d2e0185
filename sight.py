"""Builds what guards a store and what shows its inside: rates, logs, figures, traces, health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from opentelemetry.trace import SpanKind
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from domain.rates import rates_with
from firestore.counting import CountingBackend
from firestore.store import Store
from functions.caller import Caller
from functions.entrance import Entrance, way_of
from functions.headers import SecurityHeaders
from functions.hosts import KnownHosts
from functions.metrics import Ended, Figures, Lag, Meters, metrics_route
from functions.vitals import Refuge, Vitals
from functions.watchdog import Watchdog
from graph.guard import Guard
from graph.operations import Account
from integrations.local.rates import LocalRates
from integrations.rates import RedisRates
from integrations.services import RateCounters
from integrations.tracing import TracedRequests, otlp_provider, trace_calls, trace_entries
from integrations.watched import Pulse
from settings import Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider

log = structlog.get_logger(__name__)

PREFLIGHT_SECONDS = 7_200  # the longest that Chromium keeps one
HEADERS_OF_PAGES = ("authorization", "x-firebase-appcheck", "content-type", "x-request-id", "traceparent", "tracestate")
HEADERS_FOR_PAGES = ("X-Request-Id", "Retry-After")
NEEDED = {"identity"}
"""Gateways without which a process serves nobody who has signed in."""
NAME_CHARACTERS_MAX = 64  # of an operation's name in the log; generated clients' names are shorter


class Sight:
    """One store's. `fields` are the schema's root fields. Raises SettingsError."""

    def __init__(self, settings: Settings, backend: CountingBackend, fields: Collection[str]) -> None:
        self._settings = settings
        self._backend = backend
        self.meters = Meters(fields)
        self.counters: RateCounters = LocalRates(time.time)
        if settings.redis_url is not None:
            self.counters = RedisRates(settings.redis_url.get_secret_value())
        try:
            rates = rates_with(settings.rate_limits)
        except ValueError as problem:
            raise SettingsError(f"JIGA_RATE_LIMITS cannot be used: {problem}.") from problem
        self.guard = Guard(self.counters, rates, backend.measure, self._ended)
        self.pulse = Pulse()
        self.vitals = Vitals(None if settings.is_production else settings.data_dir)
        self.watchdog = Watchdog(settings.stall_milliseconds / 1e3) if settings.stall_milliseconds else None
        self.provider = self._provider()
        self._leaves = False

    def figures(self, store: Store, clock: Callable[[], datetime], gauges: Mapping[str, Callable[[], float]]) -> Route:
        """Where Prometheus reads."""
        totals = self._backend.totals
        lag = Lag(lambda: store.outbox.lag_seconds(clock()))
        counters = {
            "firestore_rpcs": lambda: totals.rpcs,
            "firestore_reads": lambda: totals.reads,
            "firestore_writes": lambda: totals.writes,
        }
        figures = Figures(counters=counters, gauges={**gauges, "outbox_lag_seconds": lambda: lag.seconds})
        return metrics_route(figures, self.meters, lag)

    def follow(self, **gateways: object) -> None:
        """Note which gateways answer."""
        for name, gateway in gateways.items():
            self.pulse.follow(name, gateway)

    def trace(self, store: Store, caller: Caller, gateways: Mapping[str, object]) -> None:
        """Where a collector waits, trace deliveries beside requests, and give every call of the gateways, of the
        store's rooms and of Firestore's verbs a span of its own."""
        if self.provider is None:
            return
        trace_entries(caller, self.provider)
        for name, room in vars(store).items():
            if not name.startswith("_") and type(room).__module__.startswith("firestore."):
                trace_calls(room, name)
        trace_calls(self._backend, "firestore")
        for name, gateway in gateways.items():
            trace_calls(gateway, name, SpanKind.CLIENT)

    @property
    def health(self) -> tuple[Callable[[], list[str]], Callable[[], list[str]]]:
        """What `Doors` asks: `blocked` and `weak`."""
        return self.blocked, self.weak

    def leave(self) -> None:
        """Ask, by /readyz, for no more requests: the process is about to end."""
        self._leaves = True

    def blocked(self) -> list[str]:
        """What nothing can be served without, and is missing."""
        ending = ["process"] if self._leaves else []
        return [*ending, *self.vitals.short_of(), *(name for name in self.pulse.down() if name in NEEDED)]

    def weak(self) -> list[str]:
        """What is missing, and is done without: search falls back to browsing, tasks wait for the sweep."""
        return [name for name in self.pulse.down() if name not in NEEDED]

    def middleware(self) -> list[Middleware]:
        """What every request passes, the first one outermost."""
        settings = self._settings
        local = Middleware(KnownHosts, listens_on=settings.host, public_url=settings.public_url)
        traced = [] if self.provider is None else [Middleware(TracedRequests, provider=self.provider, way_of=way_of)]
        return [
            Middleware(SecurityHeaders, secure=settings.is_production),
            Middleware(Entrance, trusted_proxies=settings.trusted_proxies),
            *([] if settings.is_production else [local]),
            *traced,
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                allow_methods=("GET", "POST"),
                allow_headers=HEADERS_OF_PAGES,
                expose_headers=HEADERS_FOR_PAGES,
                max_age=PREFLIGHT_SECONDS,
            ),
            Middleware(Refuge, vitals=self.vitals),
        ]

    def start(self) -> None:
        if self.watchdog is not None:
            self.watchdog.start()

    async def close(self) -> None:
        if self.watchdog is not None:
            self.watchdog.stop()
        await self.counters.close()
        if self.provider is not None:
            await asyncio.to_thread(self.provider.shutdown)  # sends what is left, or waits for a collector in vain

    def _provider(self) -> SdkProvider | None:
        endpoint = self._settings.otlp_endpoint
        if endpoint is None:
            return None
        try:
            return otlp_provider(endpoint)
        except ImportError as problem:
            raise SettingsError(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the exporter is not installed: pip install 'jiga-store[otel]'."
            ) from problem

    def _ended(self, account: Account, codes: tuple[str, ...]) -> None:
        """Count an operation; a request's line tells of it, and on a socket it gets a line of its own. So does the end
        of a subscription, for all of its events: a line for each would hide the rest."""
        ended: Ended = account
        self.meters.note(ended, codes)
        if account.kind == "event":
            return
        told: dict[str, object] = {
            "operation": (account.name or "")[:NAME_CHARACTERS_MAX] or None,
            "fields": list(account.fields),
            "outcome": list(codes) or "ok",
            "cost": account.requested,
            "rpcs": account.rpcs,
            "reads": account.reads,
            "writes": account.writes,
        }
        if account.whole is not None or structlog.contextvars.get_contextvars().get("door") == "websocket":
            told |= account.whole or {}
            log.info("operation", kind=account.kind, milliseconds=round(account.seconds * 1e3, 1), **told)
        else:
            structlog.contextvars.bind_contextvars(kind=account.kind, **told)
