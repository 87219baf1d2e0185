"""Counts what an operation costs: RPCs, serial rounds, documents read and written. In production, and in tests exactly.

A page costs more by its rounds than by its work. `tests/firestore/test_costs.py` holds what each operation may cost.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import datetime

from firestore.backend import Aggregate, Backend, Batch, Query, Snapshot, Write

ENTRIES_PER_READ = 1_000
"""Index entries that an aggregate reads for the price of one document (firebase.google.com/docs/firestore/pricing)."""


@dataclass(slots=True)
class Counts:
    """`rpcs` are verbs that went out (their inner retries are not seen); `rounds` those that began while no other was
    under way. `reads` are as Firestore bills them: a document asked for by path costs one also when it is absent, a
    query one at least, an aggregate one per 1,000 entries that it counted, a listener one per changed document.
    """

    rpcs: int = 0
    rounds: int = 0
    reads: int = 0
    writes: int = 0
    by_verb: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0

    def _begin(self, verb: str) -> None:
        self.rpcs += 1
        self.rounds += self.in_flight == 0
        self.in_flight += 1
        self.by_verb[verb] = self.by_verb.get(verb, 0) + 1


# A tuple, so that a task that is started inside a measurement counts in it, and one beside it does not.
_measured: ContextVar[tuple[Counts, ...]] = ContextVar("measured", default=())


class Measurement:
    """Counts what a task does in the block, with the tasks that it starts there; others beside it are not seen.

    Entered again after it was left, it goes on counting: what is done in steps is one measurement.
    """

    __slots__ = ("_counts", "_token")

    def __init__(self) -> None:
        self._counts = Counts()
        self._token: Token[tuple[Counts, ...]] | None = None

    def __enter__(self) -> Counts:
        assert self._token is None, "a measurement is entered again once it was left"
        self._token = _measured.set((*_measured.get(), self._counts))
        return self._counts

    def __exit__(self, *_: object) -> None:
        assert self._token is not None, "a measurement that is left was entered"
        _measured.reset(self._token)
        self._token = None


class CountingBackend:
    """A `Backend` around another one. `totals` count since the start, `measure()` within one block and its tasks."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.totals = Counts()

    def measure(self) -> Measurement:
        """What this task does in the block."""
        return Measurement()

    async def get_many(self, paths: Sequence[str], *, read_time: datetime | None = None) -> list[Snapshot | None]:
        if not paths:
            return []
        with self._counted("get_many") as all_counts:
            found = await self._backend.get_many(paths, read_time=read_time)
            for counts in all_counts:
                counts.reads += len(set(paths))
            return found

    async def query(self, query: Query, *, read_time: datetime | None = None) -> list[Snapshot]:
        with self._counted("query") as all_counts:
            found = await self._backend.query(query, read_time=read_time)
            for counts in all_counts:
                counts.reads += max(1, len(found))
            return found

    async def aggregate(
        self, query: Query, aggregates: Mapping[str, Aggregate], *, read_time: datetime | None = None
    ) -> dict[str, int | float]:
        with self._counted("aggregate") as all_counts:
            figures = await self._backend.aggregate(query, aggregates, read_time=read_time)
            entries = max((int(figures[alias]) for alias, a in aggregates.items() if a.kind == "count"), default=0)
            for counts in all_counts:
                counts.reads += max(1, -(-entries // ENTRIES_PER_READ))
            return figures

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        if not writes:
            return ()
        with self._counted("commit") as all_counts:
            versions = await self._backend.commit(writes)
            for counts in all_counts:
                counts.writes += len(writes)
            return versions

    async def listen(self, target: Query | str) -> AsyncGenerator[Batch, None]:
        """Its reads count where it was begun. It shares the process's stream, so it is no RPC."""
        all_counts = (self.totals, *_measured.get())
        for counts in all_counts:
            counts.by_verb["listen"] = counts.by_verb.get("listen", 0) + 1
        async with aclosing(self._backend.listen(target)) as batches:
            async for batch in batches:
                for counts in all_counts:
                    counts.reads += len(batch.changed)
                yield batch

    async def close(self) -> None:
        await self._backend.close()

    @contextmanager
    def _counted(self, verb: str) -> Iterator[tuple[Counts, ...]]:
        all_counts = (self.totals, *_measured.get())
        for counts in all_counts:
            counts._begin(verb)
        try:
            yield all_counts
        finally:
            for counts in all_counts:
                counts.in_flight -= 1
