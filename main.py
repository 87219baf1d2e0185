"""The composition root: settings -> gateways and store -> app. The only place that builds, imported by nobody."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route, WebSocketRoute

from demo.seed import ACCOUNTS, PASSWORD, seed
from domain.policy import Policy
from domain.purchases import Rail
from firestore.backend import Backend
from firestore.cloud import CloudBackend
from firestore.counting import CountingBackend
from firestore.store import Store
from functions.caller import Caller, tasks
from functions.commands import run
from functions.metrics import Figures, metrics_route
from functions.outbox import Dispatcher
from functions.pages import front
from functions.router import Doors
from functions.schedule.rounds import Clock, rounds
from functions.search_index import SearchIndex
from graph.connection import Cursors
from graph.context import Desk
from graph.errors import present
from graph.execution import Execution
from graph.http import graphql_route
from graph.schema import make_schema
from graph.sign_in import Reception
from graph.websocket import SocketDoor
from integrations.identity import FirebaseIdentity
from integrations.local.firestore import LocalFirestore, LocalFirestoreError
from integrations.local.identity import LocalIdentity
from integrations.local.queue import LocalCaller, LocalQueue
from integrations.local.search import LocalSearch
from integrations.services import IdentityGateway, TaskCaller, TaskQueue
from integrations.tasks import CloudTasks, OidcCaller
from rails import Rails
from resolvers.loaders import make_loaders
from settings import Settings, SettingsError, read_policy, require_startable

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 8.0  # what a stopping process gives to the mutations under way


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What signs cursors and webhooks. A rail without a secret has its door shut."""

    cursor: bytes
    rails: dict[Rail, tuple[str, ...]]


class House:
    """Everything that a running store is made of."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = now) -> None:
        self.settings = settings
        self.clock = clock
        self.policy: Policy = read_policy(settings)
        if not settings.is_production:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.secrets = _secrets(settings)
        self.firestore = self._start_firestore()
        self.backend = CountingBackend(self._backend())
        self.queue = self._queue()
        self.dispatcher = Dispatcher(self.queue)
        self.store = Store(self.backend, self.policy, clock=clock, jitter=random.random, told=self.dispatcher.told)
        self.rails = Rails(settings, self.secrets.rails, self.store, self.policy, self.base_url, clock)
        self.caller = Caller(self.store, self.dispatcher, clock, tasks(self.rails.payouts))
        self.identity = self._identity()
        self.rounds = rounds(
            self.store, self.dispatcher, self.rails.sources, settings.schedule_seconds, settings.money_mode == "live"
        )
        self.schedule = Clock(self.rounds, clock)
        self.search = LocalSearch()
        self.search_index = SearchIndex(self.store.listings, self.search)
        self._build_graph()

    def _build_graph(self) -> None:
        settings = self.settings
        desk = Desk(
            store=self.store,
            identity=self.identity,
            checkouts=self.rails.checkouts,
            payouts=self.rails.payouts,
            search=self.search,
            policy=self.policy,
            cursors=Cursors(self.secrets.cursor),
            clock=self.clock,
            new_id=lambda: secrets.token_bytes(17),
            make_loaders=make_loaders,
        )
        self.reception = Reception(desk)
        self.execution = Execution(make_schema(), present=present, introspection=not settings.is_production)
        self.sockets = SocketDoor(self.execution, self.reception.for_socket, allowed_origins=settings.allowed_origins)

    def _start_firestore(self) -> LocalFirestore | None:
        if self.settings.is_production or self.settings.firestore_emulator_host:
            return None
        try:
            return LocalFirestore(self.settings.data_dir / "firestore.sqlite3")
        except LocalFirestoreError as problem:
            raise SettingsError(str(problem)) from problem

    def _backend(self) -> Backend:
        settings = self.settings
        host = self.firestore.host if self.firestore else settings.firestore_emulator_host
        return CloudBackend(settings.project, settings.database, emulator_host=host)

    def _identity(self) -> IdentityGateway:
        settings = self.settings
        if settings.is_production or settings.auth_emulator_host:
            key = settings.firebase_api_key.get_secret_value() if settings.firebase_api_key else "local"
            return FirebaseIdentity(
                project_id=settings.project,
                api_key=key,
                clock=self.clock,
                emulator_host=settings.auth_emulator_host,
            )
        return LocalIdentity(settings.data_dir / "accounts.sqlite3", clock=self.clock)

    def _queue(self) -> TaskQueue:
        settings = self.settings
        if not settings.is_production:
            return LocalQueue(now=self.clock)
        assert settings.public_url, "require_startable has seen to it"
        return CloudTasks(
            queue=f"projects/{settings.project}/locations/{settings.tasks_location}/queues/{settings.tasks_queue}",
            base_url=settings.public_url,
            service_account=settings.tasks_service_account or "",
            audience=settings.tasks_audience or "",
        )

    def _task_caller(self) -> TaskCaller:
        settings = self.settings
        if not settings.is_production:
            return LocalCaller()
        return OidcCaller(audience=settings.tasks_audience or "", service_account=settings.tasks_service_account or "")

    @property
    def base_url(self) -> str:
        return self.settings.public_url or f"http://{self.settings.host}:{self.settings.port}"

    def routes(self) -> list[BaseRoute]:
        """Every door of the store."""
        settings = self.settings
        graphql = graphql_route(
            self.execution,
            self.reception.for_request,
            graphiql=not settings.is_production,
            allowed_origins=settings.allowed_origins,
        )
        by_name = {each.name: each for each in self.rounds}
        webhooks = (self.rails.shopify, self.rails.stripe)
        doors = Doors(self.store, *webhooks, self.caller, by_name, self._task_caller(), self.clock)
        figures = Figures(
            counters={
                "firestore_rpcs": lambda: self.backend.totals.rpcs,
                "firestore_reads": lambda: self.backend.totals.reads,
                "firestore_writes": lambda: self.backend.totals.writes,
            },
            gauges={
                "sockets": lambda: self.sockets.sockets,
                "socket_operations": lambda: self.sockets.operations,
            },
        )
        routes: list[BaseRoute] = [
            Route("/graphql", graphql),
            WebSocketRoute("/graphql", self.sockets.serve),
            Route("/", front, methods=["GET"]),
            metrics_route(figures),
            *doors.routes(),
        ]
        return [*routes, *self.rails.pages()]

    async def start(self) -> None:
        """Begin to deliver and to keep the schedule; fill an empty local store with the demo."""
        if self.firestore is not None:
            self.firestore.watch()
        seeded = False
        if self.settings.demo and self.firestore is not None:
            # Before any delivery: the demo tells past moments, and a task would end a past hire before its time.
            seeded = await seed(
                self.store, self.identity, self.rails.checkouts[Rail.SHOPIFY], self.clock, progress=_say
            )
        if isinstance(self.queue, LocalQueue):
            self.queue.start(self.caller.deliver)
        if seeded:
            await self._drain()
        await self.rails.start()
        self.search_index.start()
        if not self.settings.is_production:
            self.schedule.start()

    async def stop(self) -> None:
        """End in the order in which nothing is lost: sockets, mutations, deliveries, then the store."""
        await self.sockets.close_all()
        await self.execution.drain(DRAIN_SECONDS)
        await self.schedule.close()
        await self.search_index.close()
        await self.search.close()
        await self.dispatcher.close()
        await self.queue.close()
        await self.rails.close()
        await self.identity.close()
        await self.store.close()
        if self.firestore is not None:
            await self.firestore.stop()

    async def _drain(self) -> None:
        await self.dispatcher.close()
        if isinstance(self.queue, LocalQueue):
            await self.queue.drain()


def create_app(settings: Settings) -> FastAPI:
    """The app of a store. Raises SettingsError when the settings do not describe one that may start."""
    require_startable(settings)
    house = House(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await house.start()
        try:
            yield
        finally:
            await house.stop()

    app = FastAPI(lifespan=lifespan, openapi_url=None, routes=house.routes())
    app.state.house = house
    return app


def _secrets(settings: Settings) -> Secrets:
    """The settings' secrets; a local store makes its own once, and keeps them beside its data."""
    told = {Rail.SHOPIFY: settings.shopify_secrets, Rail.STRIPE: settings.stripe_secrets}
    if settings.is_production:
        assert settings.cursor_secret is not None, "require_startable has seen to it"
        cursor = settings.cursor_secret.get_secret_value()
        return Secrets(cursor.encode(), {rail: given or () for rail, given in told.items()})
    cursor = settings.cursor_secret.get_secret_value() if settings.cursor_secret else _kept(settings, "cursor")
    made = {
        rail: (_kept(settings, f"{rail.value.lower()}-webhook"),) if given is None else given
        for rail, given in told.items()
    }
    return Secrets(cursor.encode(), made)


def _kept(settings: Settings, name: str) -> str:
    path = settings.data_dir / f"{name}.secret"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(24))
    return path.read_text()


def _say(line: str) -> None:
    print(line, flush=True)


def _greet(house: House) -> None:
    url = house.base_url
    _say(f"\nJIGA Store is open at {url}")
    _say(f"  GraphQL    {url}/graphql   (HTTP, graphql-transport-ws, and a page for browsers)")
    for rail, kept in house.secrets.rails.items():
        if kept:
            _say(f"  Webhooks   {url}/webhooks/{rail.value.lower()}   signed with {kept[0]}")
    if house.settings.demo and house.firestore is not None:
        _say("  Accounts   " + ", ".join(f"{email} ({what})" for email, what in ACCOUNTS) + f"; password {PASSWORD}")
    query = "{ listings(first: 3, sort: RATING) { nodes { title pricing { hourly } agent { name rank } } } }"
    _say(f"  Try        {query}\n")


class _Server(uvicorn.Server):
    """Greets once the doors are open, and not before."""

    house: House

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _greet(self.house)


async def _audit(house: House) -> int:
    """Check the whole ledger; gives the exit status: 1 where a document breaks an invariant."""
    if house.firestore is not None:
        house.firestore.watch()
    try:
        report = await house.store.audit(now(), since=None, progress=_say)
    finally:
        await house.stop()
    for violation in report.violations:
        _say(f"{violation.invariant} {violation.path}: {violation.message}")
    found = len(report.violations)
    _say(f"{report.entries} entries, {report.documents} documents, {found} violations as of {report.at}")
    return 1 if report.violations else 0


def main() -> None:
    """Start the store that the environment describes, or do the one command that is asked for."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    if sys.argv[1:] and sys.argv[1] != "audit":
        sys.exit(run(sys.argv[1:]))
    try:
        settings = Settings()
        require_startable(settings)
        if sys.argv[1:]:
            sys.exit(asyncio.run(_audit(House(settings))))
        app = create_app(settings)
    except SettingsError as problem:
        sys.exit(str(problem))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=131_072,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    server = _Server(config)
    server.house = app.state.house
    server.run()


if __name__ == "__main__":
    main()
