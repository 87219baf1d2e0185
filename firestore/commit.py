"""The commit rule: one operation reads all, decides, and writes all in one atomic commit with preconditions.

No locks are held between RPCs, so a killed process blocks nobody; a conflict or a lost reply means: read again, decide
again. The body of an operation may therefore run more than once, and has no effect
but its writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from domain.errors import Refusal, Unavailable
from firestore.backend import Backend, Conflict, Query, Snapshot, Unclear, Write
from firestore.collections import OUTBOX
from firestore.legible import legible
from firestore.records import Collection, R
from firestore.rows import SWEEP_AFTER, OutboxRow, RowState

T = TypeVar("T")

ATTEMPT_SECONDS_MAX = 1.9  # from the first read to the last retry: an answer within 2 s whatever Firestore does
LANE_SECONDS_MAX = 10.0  # waiting behind others on one wallet: 1,000 operations at 10 ms each
BACKOFF_SECONDS_MIN = 0.004  # a commit takes milliseconds
BACKOFF_SECONDS_MAX = 0.25  # four processes spread in a quarter second


class Tx:
    """One run of an operation's body: what it has read, and what it will write."""

    def __init__(self, backend: Backend, known: dict[str, Snapshot | None]) -> None:
        self._backend = backend
        self._known = known
        self._writes: dict[str, Write] = {}
        self._readings = 0
        self.rows: list[OutboxRow] = []

    async def read(self, *paths: str) -> None:
        """Read documents, all in one RPC; those that were read before are not read again."""
        missing = [path for path in dict.fromkeys(paths) if path not in self._known]
        self._readings += bool(missing)
        for path, snapshot in zip(missing, await self._backend.get_many(missing), strict=True):
            self._known[path] = snapshot

    def get(self, collection: Collection[R], record_id: str) -> R | None:
        """A record that `read` has fetched, as it was then."""
        snapshot = self._known[collection.at(record_id)]
        return None if snapshot is None else collection.decode(snapshot)

    async def load(self, collection: Collection[R], record_id: str) -> R | None:
        """Read one record."""
        await self.read(collection.at(record_id))
        return self.get(collection, record_id)

    async def find(self, collection: Collection[R], query: Query, *, damaged_too: bool = True) -> list[R]:
        """Read the records that match; each may then be put. A damaged one is a fault, or is passed over."""
        self._readings += 1
        found = await self._backend.query(query)
        for snapshot in found:
            self._known.setdefault(snapshot.path, snapshot)
        return [collection.decode(snapshot) for snapshot in found] if damaged_too else legible(collection, found)

    async def is_torn(self) -> bool:
        """Whether what was read is no longer all there: several readings may have seen several moments. One RPC where
        there were several, none for one."""
        if self._readings < 2:
            return False
        found = await self._backend.get_many(list(self._known))
        versions = [None if snapshot is None else snapshot.version for snapshot in found]
        return versions != [None if snapshot is None else snapshot.version for snapshot in self._known.values()]

    def create(self, collection: Collection[R], record: R) -> None:
        """Write a record that must not exist."""
        path = collection.at(record.id)
        self._add(Write(path, collection.encode(record), must_be_absent=True))

    def put(self, collection: Collection[R], record: R) -> None:
        """Write a record over exactly what was read; where nothing was, it must still be absent."""
        path = collection.at(record.id)
        before = self._known[path]
        version = None if before is None else before.version
        self._add(Write(path, collection.encode(record), must_be_absent=before is None, version=version))

    def note(self, collection: Collection[R], record: R) -> None:
        """Write a record whose id is a hash of what it says: written again it is the same, so nothing is asked."""
        self._add(Write(collection.at(record.id), collection.encode(record)))

    def delete(self, collection: Collection[R], record_id: str) -> None:
        """Remove exactly what was read."""
        path = collection.at(record_id)
        before = self._known[path]
        assert before is not None, "what is deleted was there"
        self._add(Write(path, None, version=before.version))

    def tell(self, row: OutboxRow) -> None:
        """Write an outbox row: its events reach the subscribers, its task the queue, once the commit stands."""
        self.rows.append(row)
        self.create(OUTBOX, row)

    async def finish(self, row_id: str | None) -> None:
        """Mark the outbox row whose task this operation is as done, in the same commit; one that is done stays so.

        A body that has read the row with the rest pays no RPC for it.
        """
        row = await self.load(OUTBOX, row_id) if row_id is not None else None
        if row is not None and row.state is not RowState.DONE:
            self.put(OUTBOX, replace(row, state=RowState.DONE, expires_at=row.kept_until))

    async def postpone(self, row_id: str | None, moment: datetime) -> None:
        """Let the outbox row whose task this operation is wait for another moment, in the same commit."""
        row = await self.load(OUTBOX, row_id) if row_id is not None else None
        if row is not None and row.state is not RowState.DONE:
            later = replace(row, state=RowState.PENDING, not_before=moment, due_at=moment + SWEEP_AFTER, attempts=0)
            if later != row:
                self.put(OUTBOX, later)

    @property
    def writes(self) -> list[Write]:
        return list(self._writes.values())

    def _add(self, write: Write) -> None:
        assert write.path not in self._writes, f"{write.path} is written once in a commit"
        self._writes[write.path] = write


Body = Callable[[Tx], Awaitable[T]]


class Commits:
    """Runs operations. `rehearse` runs a body twice on the same reads and compares what it would write: the tests'
    proof that a body has no other effect (house rule 4). `told` gets the outbox rows of each commit that stands.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        jitter: Callable[[], float],
        told: Callable[[Iterable[OutboxRow]], None],
        rehearse: bool = False,
    ) -> None:
        self._backend = backend
        self._jitter = jitter
        self._told = told
        self._rehearse = rehearse
        self._lanes = Lanes()

    async def run(self, body: Body[T], *, lane: str | None = None) -> T:
        """Run one operation. Those of one `lane` (a wallet's user) queue up in this process instead of conflicting.

        Raises what the body raises, with nothing written; Unavailable when Firestore does not answer in time.
        """
        async with self._lanes.enter(lane):
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS_MAX):
                    return await self._attempt(body)
            except TimeoutError:
                raise Unclear from None

    async def _attempt(self, body: Body[T]) -> T:
        """Try until a commit stands; the caller's timeout bounds it."""
        pause, unclear = BACKOFF_SECONDS_MIN, False
        while True:
            tx = Tx(self._backend, {})
            try:
                result = await body(tx)
            except Unavailable:
                raise
            except Exception as problem:
                # A commit would have found out that another was in between; a refusal has to look.
                if not await tx.is_torn():
                    if unclear and isinstance(problem, Refusal):
                        # Our own commit may land yet, and then it was no refusal: whoever asks again is told which.
                        raise Unclear from None
                    raise
                await asyncio.sleep(pause * self._jitter())
                continue
            if self._rehearse:
                await self._compare(body, tx, result)
            try:
                if tx.writes:
                    await self._backend.commit(tx.writes)
            except (Conflict, Unclear) as failed:
                unclear = unclear or isinstance(failed, Unclear)
                # A conflict on our own guard may be our own earlier commit, whose reply was lost: the body will see it.
                await asyncio.sleep(pause * self._jitter())
                pause = min(pause * 2, BACKOFF_SECONDS_MAX)
                continue
            self._told(tx.rows)
            return result

    async def _compare(self, body: Body[T], first: Tx, result: T) -> None:
        again = Tx(self._backend, dict(first._known))
        same = await body(again) == result and again.writes == first.writes
        assert same, f"{body.__qualname__} did not write the same when it ran again: it has an effect of its own"


@dataclass(slots=True)
class _Lane:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    down_at: float = -1.0


class Lanes:
    """One queue per key in this process; a key with nobody in it is forgotten.

    When the holder finds Firestore down, all who wait are told at once: waiting for a turn must not add up to more than
    an answer's own deadline.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    @asynccontextmanager
    async def enter(self, key: str | None) -> AsyncIterator[None]:
        """Hold the key's lane. Raises Unavailable after 10 s of waiting, or when Firestore went down meanwhile."""
        if key is None:
            yield
            return
        arrived = asyncio.get_running_loop().time()
        lane = self._lanes.setdefault(key, _Lane())
        lane.users += 1
        try:
            await self._acquire(lane)
            try:
                if lane.down_at >= arrived:
                    raise Unavailable("The store does not answer: try again in a few seconds.")
                async with _noting_outage(lane):
                    yield
            finally:
                lane.lock.release()
        finally:
            lane.users -= 1
            if lane.users == 0:
                del self._lanes[key]

    async def _acquire(self, lane: _Lane) -> None:
        try:
            async with asyncio.timeout(LANE_SECONDS_MAX):
                await lane.lock.acquire()
        except TimeoutError:
            raise Unavailable("Too many requests wait for the same thing: try again in a few seconds.") from None


@asynccontextmanager
async def _noting_outage(lane: _Lane) -> AsyncIterator[None]:
    try:
        yield
    except Unavailable:
        lane.down_at = asyncio.get_running_loop().time()
        raise
