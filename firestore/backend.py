"""The store's verbs. Two backends speak them: `cloud` over Firestore's gRPC, and `memory` for the simulator.

Above the verbs nobody knows what is below.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from domain.errors import Unavailable

Value: TypeAlias = "bool | int | float | str | bytes | datetime | Sequence[Value] | Mapping[str, Value] | None"
"""What a field may hold. A datetime is aware and in UTC; an int fits 64 bits."""

Op = Literal["==", "<", "<=", ">", ">=", "in", "array-contains", "array-contains-any"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One document as it was read. `version` is its update time in nanoseconds: the precondition of the next write."""

    path: str
    data: Mapping[str, Value]
    version: int

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Filter:
    field: str
    op: Op
    value: Value


@dataclass(frozen=True, slots=True)
class Order:
    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A page of one collection. The order always ends with the document's name, in the last order's direction.

    `after` holds one value per order and then the document's id: the page starts behind it. `fields` is a projection.
    """

    collection: str
    filters: tuple[Filter, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    after: tuple[Value, ...] | None = None
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """One document's change, with its precondition.

    `data` None deletes. `must_be_absent` creates; `version` updates exactly what was read; with neither, the write is
    unconditional, which is right only for a document that no decision was based on. `mask` names the top-level fields
    to replace, and the document must then exist; without it, the whole document is replaced.
    """

    path: str
    data: Mapping[str, Value] | None
    must_be_absent: bool = False
    version: int | None = None
    mask: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`count` of the query's documents, or `sum` of one of their fields (integers stay integers up to 2^63)."""

    kind: Literal["count", "sum"]
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What changed in a listened target, as of one moment, in commit order.

    The first batch of a target holds its whole present state. `reset` says that the stream lost its place: the batch
    again holds the whole state, and what it does not name is gone.
    """

    changed: tuple[Snapshot, ...]
    removed: tuple[str, ...] = ()
    reset: bool = False


class Conflict(Exception):
    """A precondition did not hold, or another commit was in the way. Nothing was written: read and decide again."""


class Unclear(Unavailable):
    """A commit whose reply was lost: it may or may not have been applied. Its guard document tells, when read again."""

    def __init__(self) -> None:
        super().__init__("The store did not answer in time: send the same request again, it takes effect once.")


class Backend(Protocol):
    """Every verb has a deadline and a bounded retry; a dead Firestore is `Unavailable` within 2 s, never a hang.

    A query without its index, or a value that Firestore refuses, is our own fault: it raises `ValueError`.
    """

    async def get_many(self, paths: Sequence[str], *, read_time: datetime | None = None) -> list[Snapshot | None]:
        """The documents in the order of `paths` (`collection/id`), None for the absent. One RPC; none for no paths."""

    async def query(self, query: Query, *, read_time: datetime | None = None) -> list[Snapshot]:
        """The matching documents, in the query's order. One RPC."""

    async def aggregate(
        self, query: Query, aggregates: Mapping[str, Aggregate], *, read_time: datetime | None = None
    ) -> dict[str, int | float]:
        """The figures by alias. One RPC."""

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Apply all or nothing; the new versions in the order of the writes. One RPC. Raises Conflict, Unclear."""

    def listen(self, target: Query | str) -> AsyncGenerator[Batch, None]:
        """The changes of a query, or of the document with this path, for as long as the iterator is held.

        All listeners of a process share one stream, which resumes after it broke; close the iterator to stop.
        """

    async def close(self) -> None: ...
