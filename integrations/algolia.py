"""Algolia as the search engine of all processes (algolia.com/doc/rest-api/search).

Searches have little time and a breaker: an engine that is down or slow is left, and the store answers by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import orjson

from domain.errors import Unavailable
from domain.search import SearchDocument, SearchPage, SearchQuery
from integrations import algolia_index as index
from integrations.algolia_index import ORDERS, Record
from integrations.breaker import Breaker
from integrations.services import Held

T = TypeVar("T")

SEARCH_SECONDS_MAX = 0.8  # for a search with all its tries: below the second that the resolver waits
CONNECT_MS, READ_MS, WRITE_MS = 300, 500, 10_000
WRITE_SECONDS_MAX = 60.0  # for a batch until it is found: the queue of the engine is some seconds long at worst
REBUILD_SECONDS_MAX = 1_800.0  # 100,000 records are 100 batches of some seconds each
HOSTS_MAX = 4  # Algolia's own: one for the application, three of a second network
BATCH = 1_000  # records in one request, at 10 KB at most


class AlgoliaSearch:
    """A `SearchMirror`. The key may search, add and delete objects, browse, and read and edit settings, of the index,
    its replicas and its temporary copies (`<index>*`). `site` points at a stand-in instead of Algolia."""

    def __init__(
        self,
        app_id: str,
        api_key: str,
        name: str,
        *,
        site: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from algoliasearch.http.hosts import Host, HostsCollection
        from algoliasearch.search.client import SearchClient
        from algoliasearch.search.config import SearchConfig

        config = SearchConfig(app_id, api_key)
        config.connect_timeout, config.read_timeout, config.write_timeout = CONNECT_MS, READ_MS, WRITE_MS
        config.max_rate_limit_retries = 0  # a search does not wait, and what is written is tried again by its task
        if site is not None:
            told = urlsplit(site)
            config.hosts = HostsCollection([Host(told.hostname or "", told.scheme, told.port)])
        config.set_default_hosts()  # type: ignore[no-untyped-call]
        self._hosts = config.hosts
        self._client = SearchClient.create_with_config(config)
        self._name = name
        self._breaker = Breaker(clock)

    async def put(self, documents: Sequence[SearchDocument]) -> None:
        records = [index.record_of(document) for document in documents]
        await self._write(lambda: self._client.save_objects(self._name, records, wait_for_tasks=True))

    async def remove(self, ids: Sequence[str]) -> None:
        await self._write(lambda: self._client.delete_objects(self._name, list(ids), wait_for_tasks=True))

    async def update_figures(self, documents: Sequence[SearchDocument]) -> None:
        parts = [{"objectID": each.id, **index.figures_of(each)} for each in documents]
        await self._write(lambda: self._client.partial_update_objects(self._name, parts, wait_for_tasks=True))

    async def replace_all(self, documents: Sequence[SearchDocument]) -> None:
        """Fill a temporary index and move it over this one: its replicas follow, and no search sees a part."""
        await self.configure()  # the temporary index has its settings from this one

        async def rebuild() -> None:
            records = (index.record_of(document) for document in documents)
            await self._client.replace_all_objects(self._name, records, batch_size=BATCH)

        await self._write(rebuild, seconds_max=REBUILD_SECONDS_MAX)

    async def configure(self) -> dict[str, list[str]]:
        """As `SearchMirror` has it. The index, its replicas and all their settings are there afterwards.

        They are compared, and not just sent: sending is a paid operation for each replica (support.algolia.com,
        "operations on replica indices") and may index every record anew. Whatever is not equal counts as other, so that
        no difference is overlooked; a value that Algolia gave back in another form than it got would be sent with every
        round, whose log names it, and would do no more harm than that.
        """
        told: list[tuple[str, Record]] = [(self._name, index.settings(self._name))]  # first: it makes its replicas
        told += [(index.replica(self._name, sort), index.replica_settings(self._name, sort)) for sort in ORDERS]
        others: dict[str, list[str]] = {}

        async def compare() -> None:
            for name, wanted in told:
                held = await self._settings(name)
                differing = [each for each, value in wanted.items() if held.get(each) != value]
                if differing:
                    task = await self._client.set_settings(name, wanted)
                    await self._client.wait_for_task(name, task.task_id)
                    others[name] = differing

        await self._write(compare, seconds_max=REBUILD_SECONDS_MAX)  # new settings may index every record anew
        return others

    async def held(self) -> dict[str, Held]:
        found: dict[str, Held] = {}

        def take(page: Any) -> None:
            for hit in page.hits:
                row = hit.to_dict()
                figures = tuple(int(row.get(name, 0)) for name in index.FIGURES)
                found[row["objectID"]] = Held(str(row.get("mark")), figures)

        async def browse() -> None:
            asked = {"attributesToRetrieve": ["mark", *index.FIGURES], "hitsPerPage": BATCH}
            await self._client.browse_objects(self._name, take, asked)  # type: ignore[arg-type]

        await self._write(browse, seconds_max=REBUILD_SECONDS_MAX)
        return found

    def holding(self, document: SearchDocument) -> Held:
        record = index.record_of(document)
        return Held(record["mark"], tuple(record[name] for name in index.FIGURES))

    async def search(self, query: SearchQuery) -> SearchPage:
        """One request. Raises Unavailable within 0.8 s, and at once while the engine rests (T-F09)."""
        self._breaker.admit()
        try:
            asked = {"requests": index.requests(self._name, query)}
            answer = await self._ask(
                lambda: self._client.search_with_http_info(asked), seconds_max=SEARCH_SECONDS_MAX, is_read=True
            )
            page = index.page_of(query, orjson.loads(answer.raw_data or b"")["results"])
        except (Unavailable, KeyError, TypeError, ValueError) as problem:
            self._breaker.note(answered=False)
            raise Unavailable(f"The search engine does not answer: {problem}") from problem
        self._breaker.note(answered=True)
        return page

    async def close(self) -> None:
        await self._client.close()

    async def _settings(self, name: str) -> Record:
        """What an index has, without what is null; nothing for one that is not there."""
        from algoliasearch.http.exceptions import RequestException

        try:
            # Version 1 is for older clients, and brings all synonyms along (REST, `getVersion`).
            answer = await self._client.get_settings_with_http_info(name, get_version=2)
        except RequestException as problem:
            if problem.status_code != HTTPStatus.NOT_FOUND:
                raise
            return {}
        return cast("Record", orjson.loads(answer.raw_data or b"{}"))

    async def _write(self, work: Callable[[], Awaitable[object]], *, seconds_max: float = WRITE_SECONDS_MAX) -> None:
        await self._ask(work, seconds_max=seconds_max, is_read=False)

    async def _ask(self, work: Callable[[], Awaitable[T]], *, seconds_max: float, is_read: bool) -> T:
        """Do it within its time, on another host where one refuses the connection. Raises Unavailable."""
        from aiohttp import ClientError
        from algoliasearch.http.exceptions import AlgoliaException, AlgoliaUnreachableHostException

        try:
            async with asyncio.timeout(seconds_max):
                for _ in range(HOSTS_MAX):
                    try:
                        return await work()
                    except ClientError:  # the library goes on with the next host after every failure but this one
                        if not self._leave_host(is_read):
                            raise
                raise Unavailable("no host takes a connection")
        except (AlgoliaException, ClientError, TimeoutError) as problem:
            if isinstance(problem, AlgoliaUnreachableHostException | ClientError):
                self._try_all_again()
            status = getattr(problem, "status_code", "")
            raise Unavailable(f"Algolia: {type(problem).__name__} {status}".rstrip()) from problem

    def _leave_host(self, is_read: bool) -> bool:
        """Note that the host in use is down; whether another one is left."""
        assert self._hosts is not None, "the hosts are set when this is made"
        hosts = self._hosts.read() if is_read else self._hosts.write()
        up = [host for host in hosts if host.up]
        if up:
            up[0].up, up[0].last_use = False, time.time()
        return len(up) > 1

    def _try_all_again(self) -> None:
        """All are down: the library would leave them alone for five minutes, the breaker does for five seconds."""
        assert self._hosts is not None, "the hosts are set when this is made"
        for host in {*self._hosts.read(), *self._hosts.write()}:
            host.reset()
