"""The one thread that writes: commits are validated and applied in order, many to one SQLite transaction.

Group commit: while one group is being made durable (an fsync), the next gathers; each commit in it is still atomic and
validated on its own, and none is acknowledged before the disk has it.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc

from emulator.filters import Candidate
from emulator.indexes import row_prefix
from emulator.paths import Database, Segments, path_key
from emulator.protocol import Document, Message, Refused, WriteResult, aborted
from emulator.query import Query
from emulator.storage import Storage, replaced_since
from emulator.writes import apply_write, check_precondition, same, target

GROUP_MAX = 256  # commits in one SQLite transaction: bounds the wait of the first by some 100 ms
WAITING_MAX = 10_000  # commits not yet begun; beyond, RESOURCE_EXHAUSTED
WAITING_BYTES_MAX = 256 * 1024 * 1024  # of their contents: what this process may take for them on a small machine
HISTORY_ROWS_MAX = 250_000  # old versions of documents, of some 1 KB each: a quarter of a gigabyte on the disk
PRUNE_ROWS = 600  # history rows dropped per group, more than one group's usual growth


@dataclass(slots=True)
class Reads:
    """What a transaction has seen at `time`; its commit holds only if all of it is still so."""

    time: int
    documents: set[tuple[Database, Segments]] = field(default_factory=set)
    queries: list[Query] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Change:
    """One document before and after a commit."""

    database: Database
    segments: Segments
    before: Message | None
    after: Message | None


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit's time, its per-write results, and what changed."""

    time: int
    results: list[Message]
    changes: list[Change]


@dataclass(slots=True)
class _Commit:
    database: Database
    writes: Sequence[Message]
    reads: Reads | None
    size: int
    answer: asyncio.Future[Committed]
    outcome: Committed | Exception | None = None


@dataclass(slots=True)
class _Draft:
    """A document while its commit is being worked out."""

    segments: Segments
    number: int | None
    before: Message | None
    after: Message | None


class Writer:
    """Applies commits; `publish` is called on the event loop with each durable group, in commit order."""

    def __init__(self, storage: Storage, publish: Callable[[list[Committed]], None], history_seconds: float) -> None:
        """History older than `history_seconds` is dropped, and with it the ability to read at such times."""
        self._storage = storage
        self._sql = storage.writing
        self._publish = publish
        self._history_micros = int(history_seconds * 1_000_000)
        self._waiting: queue.SimpleQueue[_Commit | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="firestore-writer", daemon=True)
        self._thread.start()

    async def commit(self, database: Database, writes: Sequence[Message], reads: Reads | None = None) -> Committed:
        """Apply all writes or none; returns when they are durable. Raises `Refused`."""
        size = sum(write.ByteSize() for write in writes)
        if self._waiting.qsize() >= WAITING_MAX or self._waiting_bytes + size > WAITING_BYTES_MAX:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many commits are waiting; retry with back-off.")
        item = _Commit(database, writes, reads, size, self._loop.create_future())
        self._waiting_bytes += size
        self._waiting.put(item)
        try:
            # The write goes on even when the caller leaves: it may be in the group already.
            return await asyncio.shield(item.answer)
        finally:
            self._waiting_bytes -= size

    async def close(self) -> None:
        """Finish what is waiting and end the thread."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        running = True
        while running:
            group: list[_Commit] = []
            item = self._waiting.get()
            while item is not None and len(group) < GROUP_MAX:
                group.append(item)
                try:
                    item = self._waiting.get_nowait()
                except queue.Empty:
                    break
            else:
                if item is None:
                    running = False
                else:
                    group.append(item)
            if group:
                self._write_group(group)
                self._loop.call_soon_threadsafe(self._answer, group)

    def _write_group(self, group: list[_Commit]) -> None:
        clock = self._storage.clock
        clock.open_group()
        try:
            self._sql.execute("BEGIN IMMEDIATE")
            for item in group:
                try:
                    item.outcome = self._apply(item)
                except Refused as refusal:
                    item.outcome = refusal
            last = clock.commit_time()
            self._prune(last)
            self._sql.execute("UPDATE meta SET value = ? WHERE name = 'last_commit'", (last,))
            self._sql.execute("COMMIT")
        except Exception as fault:
            # Whatever it is, nobody may believe that the group was written.
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            for item in group:
                item.outcome = Refused(grpc.StatusCode.INTERNAL, f"The commit could not be written: {fault!r}")
        finally:
            clock.close_group()

    def _answer(self, group: list[_Commit]) -> None:
        self._publish([item.outcome for item in group if isinstance(item.outcome, Committed)])
        for item in group:
            if item.answer.done():
                continue  # the loop is closing
            if isinstance(item.outcome, Committed):
                item.answer.set_result(item.outcome)
            elif item.outcome is not None:
                item.answer.set_exception(item.outcome)
                item.answer.exception()  # seen: a caller who left must not be reported as an unretrieved error

    def _apply(self, item: _Commit) -> Committed:
        if item.reads is not None:
            self._validate(item.reads)
        time = self._storage.clock.commit_time()
        drafts: dict[bytes, _Draft] = {}
        results = []
        for write in item.writes:
            name, segments = target(item.database, write)
            path = path_key(item.database, segments)
            draft = drafts.get(path)
            if draft is None:
                number, stored = self._load(path)
                draft = drafts[path] = _Draft(segments, number, stored, stored)
            check_precondition(write, name, draft.after)
            draft.after, transformed = apply_write(write, name, segments, draft.after, time)
            result = WriteResult(transform_results=transformed)
            if draft.after is not None:
                result.update_time.CopyFrom(draft.after.update_time)
            results.append(result)
        return Committed(time, results, self._store(item.database, drafts, time))

    def _load(self, path: bytes) -> tuple[int | None, Message | None]:
        row = self._sql.execute("SELECT id, body FROM documents WHERE path = ?", (path,)).fetchone()
        return (None, None) if row is None else (row[0], Document.FromString(row[1]))

    def _store(self, database: Database, drafts: dict[bytes, _Draft], time: int) -> list[Change]:
        catalog = self._storage.catalog
        # All index rows are worked out first: a refusal here must leave nothing of this commit behind.
        planned = []
        for path, draft in drafts.items():
            before, after = draft.before, draft.after
            if before is after or (before is not None and after is not None and same(before, after)):
                continue
            old = set() if before is None else catalog.rows(database, draft.segments, before.fields)
            new = set() if after is None else catalog.rows(database, draft.segments, after.fields)
            planned.append((path, draft, old, new))
        changes = []
        for path, draft, old, new in planned:
            self._replace(path, draft, old, new)
            place = "/".join(draft.segments[:-1])
            self._sql.execute(
                "INSERT INTO history (time, path, collection, family, body) VALUES (?, ?, ?, ?, ?)",
                (
                    time,
                    path,
                    row_prefix(database, "collection", place, ""),
                    row_prefix(database, "group", draft.segments[-2], ""),
                    None if draft.before is None else draft.before.SerializeToString(deterministic=True),
                ),
            )
            changes.append(Change(database, draft.segments, draft.before, draft.after))
        return changes

    def _replace(self, path: bytes, draft: _Draft, old: set[bytes], new: set[bytes]) -> None:
        sql, number = self._sql, draft.number
        sql.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in old - new])
        if draft.after is None:
            sql.execute("DELETE FROM documents WHERE id = ?", (number,))
            return
        body = draft.after.SerializeToString(deterministic=True)
        if number is None:
            number = sql.execute("INSERT INTO documents (path, body) VALUES (?, ?)", (path, body)).lastrowid
        else:
            sql.execute("UPDATE documents SET body = ? WHERE id = ?", (body, number))
        sql.executemany("INSERT INTO entries VALUES (?, ?)", [(key, number) for key in sorted(new - old)])

    def _validate(self, reads: Reads) -> None:
        """ABORTED unless everything the transaction read is still as it was."""
        horizon = self._sql.execute("SELECT value FROM meta WHERE name = 'horizon'").fetchone()[0]
        if reads.time < horizon:
            raise aborted("The transaction has been open for too long; run it again.")
        for database, segments in reads.documents:
            row = self._sql.execute(
                "SELECT 1 FROM history WHERE path = ? AND time > ? LIMIT 1",
                (path_key(database, segments), reads.time),
            ).fetchone()
            if row is not None:
                raise aborted(f'Transaction conflict: "{"/".join(segments)}" has changed since it was read.')
        for query in reads.queries:
            for name, before in replaced_since(self._sql, query, reads.time).items():
                segments = tuple(name.split("/")[5:])
                _, after = self._load(path_key(query.database, segments))
                for state in (before, after):
                    if state is not None and query.match(Candidate(state, segments)) is not None:
                        raise aborted(f'Transaction conflict: "{"/".join(segments)}" changed a query that was read.')

    def _prune(self, now: int) -> None:
        """Drop a bounded number of history rows that are too old or too many."""
        first = self._sql.execute("SELECT id, time FROM history ORDER BY id LIMIT 1").fetchone()
        if first is None:
            return
        newest = self._sql.execute("SELECT max(id) FROM history").fetchone()[0]
        cutoff = now - self._history_micros
        if first[1] >= cutoff and newest - first[0] < HISTORY_ROWS_MAX:
            return
        keep_from = max(newest - HISTORY_ROWS_MAX, first[0])
        rows = self._sql.execute(
            "SELECT id, time FROM history WHERE time < ? OR id < ? ORDER BY id LIMIT ?",
            (cutoff, keep_from, PRUNE_ROWS),
        ).fetchall()
        if rows:
            # A view at exactly the time of the last dropped change needs no row of it, so it stays allowed.
            self._sql.execute("DELETE FROM history WHERE id <= ?", (rows[-1][0],))
            self._sql.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'horizon'", (rows[-1][1],))
