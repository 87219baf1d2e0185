"""The composition root: settings -> gateways and store -> app, with rails, outlets and sight. Imported by nobody."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route, WebSocketRoute

from demo.seed import ACCOUNTS, PASSWORD, seed
from domain.keys import LIVE, TEST
from domain.policy import Policy
from domain.purchases import Rail
from firestore.backend import Backend
from firestore.cloud import CloudBackend
from firestore.counting import CountingBackend
from firestore.store import Store
from functions.caller import Caller, tasks
from functions.commands import OF_THE_STORE, parse, verify
from functions.connections import HttpConnection, SocketConnection
from functions.exports import ExportDoor
from functions.images import ImageDoors
from functions.logs import configure
from functions.outbox import Dispatcher
from functions.pages import front
from functions.router import Doors
from functions.schedule.rounds import Clock, rounds
from functions.search_index import SearchIndex
from functions.search_mirror import Mirror
from functions.server import Server
from functions.tasks.notifications import Outlets
from graph.connection import Cursors
from graph.context import Desk
from graph.errors import present
from graph.execution import Execution
from graph.http import graphql_route
from graph.limits import SocketLimits
from graph.places import Places
from graph.schema import make_schema, root_fields
from graph.sign_in import Reception
from graph.sse import StreamDoor
from graph.websocket import SocketDoor
from integrations.algolia import AlgoliaSearch
from integrations.analytics import Ga4
from integrations.app_check import FirebaseAppCheck
from integrations.identity import FirebaseIdentity
from integrations.images import Gallery
from integrations.local.firestore import LocalFirestore, LocalFirestoreError
from integrations.local.identity import LocalIdentity
from integrations.local.queue import LocalCaller, LocalQueue
from integrations.local.search import LocalSearch
from integrations.local.storage import LocalStorage
from integrations.services import IdentityGateway, SearchGateway, StorageGateway, TaskCaller, TaskQueue
from integrations.storage import CloudStorage
from integrations.tasks import CloudTasks, OidcCaller
from outlets import make_outlets
from rails import Rails, read_secrets
from resolvers.loaders import make_loaders
from settings import Settings, SettingsError, read_policy, require_startable
from sight import Sight

CONNECTIONS_MAX = SocketLimits().max_sockets + 2_000  # beyond every place for a socket, as many requests at one moment
DRAIN_SECONDS = 8.0  # what a stopping process gives to the mutations under way


def now() -> datetime:
    return datetime.now(UTC)


class House:
    """Everything that a running store is made of."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = now) -> None:
        self.settings = settings
        self.clock = clock
        self.policy: Policy = read_policy(settings)
        if not settings.is_production:
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # accounts and secrets are in it
        self.secrets = read_secrets(settings)
        self.firestore = self._start_firestore()
        self.backend = CountingBackend(self._backend())
        self.queue = self._queue()
        self.dispatcher = Dispatcher(self.queue)
        self.store = Store(self.backend, self.policy, clock=clock, jitter=random.random, told=self.dispatcher.told)
        self.search, self.mirror = self._search()
        self.search_index = None if self.mirror else SearchIndex(self.store.listings, self.search)
        self.gallery = Gallery(self._storage(), lambda: self.base_url, settings.images_origin)
        self.rails = Rails(settings, self.secrets.rails, self.store, self.policy, self.base_url, clock)
        self.outlets = self._outlets()
        self.identity = self._identity()
        self.app_check = self._app_check()
        self.exports = ExportDoor(self.store, self.identity, self.secrets.cursor, lambda: self.base_url, clock)
        known = tasks(self.rails.payouts, self.gallery, self.identity, outlets=self.outlets, mirror=self.mirror)
        self.caller = Caller(self.store, self.dispatcher, clock, known)
        self.rounds = rounds(
            self.store,
            self.dispatcher,
            self.rails.sources,
            settings.schedule_seconds,
            settings.money_mode == "live",
            mirror=self.mirror,
            payouts=self.rails.payouts,
            analytics=Ga4(ga4, settings.ga4_secret, key=self.secrets.cursor)
            if (ga4 := settings.ga4_measurement_id)
            else None,
        )
        self.schedule = Clock(self.rounds, clock)
        self._build_graph()

    def _build_graph(self) -> None:
        settings = self.settings
        desk = Desk(
            store=self.store,
            identity=self.identity,
            checkouts=self.rails.checkouts,
            payouts=self.rails.payouts,
            search=self.search,
            gallery=self.gallery,
            policy=self.policy,
            cursors=Cursors(self.secrets.cursor),
            clock=self.clock,
            new_id=lambda: secrets.token_bytes(17),
            make_loaders=make_loaders,
            webhook_loopback=settings.webhook_loopback,
            export_url=self.exports.url,
            key_environment=LIVE if settings.is_production and settings.money_mode == "live" else TEST,
        )
        schema = make_schema()
        self.sight = Sight(settings, self.backend, root_fields(schema))
        asked: dict[str, object] = {"queue": self.queue, "search": self.search, "identity": self.identity}
        if self.app_check is not None:
            asked["app_check"] = self.app_check
        self.sight.follow(**asked)
        self.sight.trace(self.store, self.caller, asked | self._others())
        self.reception = Reception(desk, self.sight.guard, self.app_check)
        shown, gate = not settings.is_production, self.sight.guard
        self.execution = Execution(schema, present=present, introspection=shown, gate=gate)
        places = Places()
        self.streams = StreamDoor(self.execution, places)
        self.sockets = SocketDoor(
            self.execution, self.reception.for_socket, allowed_origins=settings.allowed_origins, places=places
        )

    def _others(self) -> dict[str, object]:
        """The gateways whose standing nobody follows, by what their spans are called."""
        rails, outlets = self.rails, self.outlets
        others: dict[str, object] = {f"checkout_{rail.value.lower()}": each for rail, each in rails.checkouts.items()}
        others |= {"images": self.gallery.storage, "mail": outlets.mail, "push": outlets.push, "web": outlets.web}
        return others if rails.payouts is None else {**others, "payouts": rails.payouts}

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

    def _app_check(self) -> FirebaseAppCheck | None:
        number, apps = self.settings.project_number, self.settings.app_check_apps
        return FirebaseAppCheck(project_number=number, apps=apps, clock=self.clock) if number and apps else None

    def _outlets(self) -> Outlets:
        return make_outlets(self.settings)

    def _storage(self) -> StorageGateway:
        settings = self.settings
        if settings.images_bucket:
            return CloudStorage(settings.images_bucket)
        secret = self.secrets.cursor  # signs addresses that live for minutes; each signature says what it is of
        return LocalStorage(settings.data_dir / "storage", secret, lambda: self.base_url, self.clock)

    def _search(self) -> tuple[SearchGateway, Mirror | None]:
        """The engine, and what keeps it in step if it is none of this process."""
        settings = self.settings
        if not (settings.algolia_app_id and settings.algolia_api_key and settings.algolia_index):
            return LocalSearch(), None
        key = settings.algolia_api_key.get_secret_value()
        engine = AlgoliaSearch(settings.algolia_app_id, key, settings.algolia_index)
        return engine, Mirror(self.store.listings, engine)

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
            self.streams,
            graphiql=not settings.is_production,
            allowed_origins=settings.allowed_origins,
        )
        by_name = {each.name: each for each in self.rounds}
        webhooks = (self.rails.shopify, self.rails.stripe)
        doors = Doors(self.store, *webhooks, self.caller, by_name, self._task_caller(), self.clock, *self.sight.health)
        gauges = {
            "sockets": lambda: self.sockets.sockets,
            "socket_operations": lambda: self.sockets.operations,
            "event_streams": lambda: self.streams.streams,
        }
        routes: list[BaseRoute] = [
            Route("/graphql", graphql),
            WebSocketRoute("/graphql", self.sockets.serve),
            Route("/", front, methods=["GET"]),
            self.sight.figures(self.store, self.clock, gauges),
            *doors.routes(),
            *self.exports.routes(),
            *ImageDoors(self.store, self.gallery).routes(),
        ]
        return [*routes, *self.rails.pages()]

    async def start(self) -> None:
        """Begin to deliver and to keep the schedule; fill an empty local store with the demo."""
        self.sight.start()
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
        if self.search_index is not None:
            self.search_index.start()
        if not self.settings.is_production:
            self.schedule.start()

    async def part(self) -> None:
        """Let all who listen go, each with a hint when to come back."""
        await asyncio.gather(self.sockets.close_all(), self.streams.close_all())

    async def stop(self) -> None:
        """End in the order in which nothing is lost: sockets, mutations, deliveries, then the store."""
        await self.part()
        await self.execution.drain(DRAIN_SECONDS)
        await self.schedule.close()
        if self.search_index is not None:
            await self.search_index.close()
        await self.search.close()
        await self.dispatcher.close()
        await self.queue.close()
        await self.rails.close()
        await self.outlets.close()
        await self.gallery.close()
        await self.identity.close()
        if self.app_check is not None:
            await self.app_check.close()
        await self.sight.close()
        await self.store.close()
        if self.firestore is not None:
            await self.firestore.stop()

    async def _drain(self) -> None:
        await self.dispatcher.close()
        if isinstance(self.queue, LocalQueue):
            await self.queue.drain()


def create_app(settings: Settings, clock: Callable[[], datetime] = now) -> FastAPI:
    """The app of a store. Raises SettingsError when the settings do not describe one that may start."""
    require_startable(settings)
    house = House(settings, clock)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await house.start()
        try:
            yield
        finally:
            await house.stop()

    app = FastAPI(
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,  # it would send on to whatever host a request names
        routes=house.routes(),
        middleware=house.sight.middleware(),
    )
    app.state.house = house
    return app


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


async def _do(house: House, command: str) -> int:
    """Do one command on the store, which must not be open; gives the exit status."""
    if house.firestore is not None:
        house.firestore.watch()
    try:
        return await OF_THE_STORE[command](house.store, now())
    finally:
        await house.stop()


def main() -> None:
    """Start the store that the environment describes, or do the one command that is asked for."""
    asked = parse(sys.argv[1:])
    configure(json=False)
    if asked.command == "verify":
        sys.exit(verify(asked.file, asked.digests))
    try:
        settings = Settings()
        require_startable(settings)
        configure(json=settings.is_production)
        if asked.command is not None:
            sys.exit(asyncio.run(_do(House(settings), asked.command)))
        app = create_app(settings)
    except SettingsError as problem:
        sys.exit(str(problem))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        http=HttpConnection,
        ws=SocketConnection,
        ws_per_message_deflate=False,
        ws_max_size=131_072,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_graceful_shutdown=10,
        server_header=False,
        proxy_headers=False,  # Entrance believes as many as the settings say, and uvicorn whoever is local
    )
    house: House = app.state.house
    Server(
        config,
        drain_seconds=settings.drain_seconds,
        greet=lambda: _greet(house),
        leave=house.sight.leave,
        part=house.part,
    ).run()


if __name__ == "__main__":
    main()
