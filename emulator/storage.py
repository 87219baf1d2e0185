"""Documents, index rows and recent history in one SQLite file, and consistent views of them.

`documents`: the present state. `entries`: index rows (see `indexes`). `history`: what each commit replaced, kept for
some minutes, so that a read can look at a time in the past: the present, minus what changed since.
"""

import asyncio
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from emulator.clock import Clock
from emulator.indexes import Catalog, row_prefix
from emulator.paths import Database, Segments, path_key, path_segments
from emulator.protocol import Document, Message, failed_precondition, invalid, iso
from emulator.query import Query
from emulator.values import successor

READERS_MAX = 16  # views open at one time; more wait
LOCK_SECONDS = 5.0  # a killed store's emulator notices within a second and lets go; its successor waits for that
REBUILD_PAGE = 500  # documents whose index rows are rebuilt at a time
FUTURE_WAIT_SECONDS = 2.0  # a read time a little ahead (a group of commits is being written) is waited for

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, document INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, path BLOB NOT NULL,
    collection BLOB NOT NULL, family BLOB NOT NULL, body BLOB
);
CREATE INDEX IF NOT EXISTS history_path ON history (path, time);
CREATE INDEX IF NOT EXISTS history_collection ON history (collection, time);
CREATE INDEX IF NOT EXISTS history_time ON history (time);
"""


_ENTRIES = (
    "SELECT e.key, d.body FROM entries e CROSS JOIN documents d ON d.id = e.document "
    "WHERE e.key >= ? AND e.key < ? ORDER BY e.key ASC",
    "SELECT e.key, d.body FROM entries e CROSS JOIN documents d ON d.id = e.document "
    "WHERE e.key >= ? AND e.key < ? ORDER BY e.key DESC",
)
_ENTRY = (
    "SELECT key, document FROM entries WHERE key >= ? AND key < ? ORDER BY key ASC LIMIT 1",
    "SELECT key, document FROM entries WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT 1",
)
_REPLACED_IN_COLLECTION = "SELECT path, body FROM history WHERE collection = ? AND time > ? ORDER BY id"
_REPLACED_IN_GROUP = "SELECT path, body FROM history WHERE family = ? AND time > ? ORDER BY id"
_REPLACED_BELOW = "SELECT path, body FROM history WHERE path > ? AND time > ? ORDER BY id"


class View:
    """One consistent state: the present, or a time in the past. Also counts the rows it looked at."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Nothing is read before `begin`."""
        self._sql = connection
        self._cursors: list[sqlite3.Cursor] = []
        self._behind = False
        self.rows_scanned = 0
        self.read_time = 0

    def begin(self, now: int, past: int | None) -> None:
        """Fix the state. `now` is from `Clock.read_time`; FAILED_PRECONDITION when `past` is no longer kept."""
        self._sql.execute("BEGIN")
        last = _meta(self._sql, "last_commit")
        if past is not None and past < _meta(self._sql, "horizon"):
            raise failed_precondition(
                f"The requested 'read_time' {iso(past)} is too old: history is kept for some minutes only. "
                "Read at a later time."
            )
        # A group of commits may have become visible after `now` was taken; then its last commit dates this view.
        self.read_time = max(now, last) if past is None else past
        self._behind = self.read_time < last

    def close(self) -> None:
        """End the reading, also where a scan was left half way: an open cursor would hold the old state."""
        for cursor in self._cursors:
            cursor.close()
        if self._sql.in_transaction:
            self._sql.execute("ROLLBACK")

    def _rows(self, statement: str, bounds: tuple[bytes, bytes]) -> sqlite3.Cursor:
        cursor = self._sql.execute(statement, bounds)
        self._cursors.append(cursor)
        return cursor

    def document(self, database: Database, segments: Segments) -> Message | None:
        """The document at this view's time, or None."""
        path = path_key(database, segments)
        self.rows_scanned += 1
        if self._behind:
            row = self._sql.execute(
                "SELECT body FROM history WHERE path = ? AND time > ? ORDER BY time LIMIT 1", (path, self.read_time)
            ).fetchone()
            if row is not None:
                return None if row[0] is None else Document.FromString(row[0])
        row = self._sql.execute("SELECT body FROM documents WHERE path = ?", (path,)).fetchone()
        return None if row is None else Document.FromString(row[0])

    def overlay(self, query: Query) -> dict[str, Message | None]:
        """Documents that changed after this view's time in the queried place: name -> their state at that time."""
        if not self._behind:
            return {}
        return replaced_since(self._sql, query, self.read_time)

    def entries(self, low: bytes, high: bytes, *, backwards: bool) -> Iterator[tuple[bytes, Message]]:
        """Index rows within [low, high) with their documents, in key order (or backwards)."""
        for key, body in self._rows(_ENTRIES[backwards], (low, high)):
            self.rows_scanned += 1
            yield key, Document.FromString(body)

    def entry(self, low: bytes, high: bytes, *, backwards: bool) -> tuple[bytes, int] | None:
        """The first index row within [low, high): its key and its document's number."""
        self.rows_scanned += 1
        row = self._sql.execute(_ENTRY[backwards], (low, high)).fetchone()
        return None if row is None else (row[0], row[1])

    def numbered(self, number: int) -> Message:
        """The present document with a number from `entry`."""
        self.rows_scanned += 1
        return Document.FromString(
            self._sql.execute("SELECT body FROM documents WHERE id = ?", (number,)).fetchone()[0]
        )

    def count(self, low: bytes, high: bytes, at_most: int | None) -> int:
        """How many index rows lie within [low, high), counting no further than `at_most`."""
        bound = -1 if at_most is None else at_most
        number: int = self._sql.execute(
            "SELECT count(*) FROM (SELECT 1 FROM entries WHERE key >= ? AND key < ? LIMIT ?)", (low, high, bound)
        ).fetchone()[0]
        self.rows_scanned += number
        return number

    def by_path(self, low: bytes, high: bytes) -> Iterator[Message]:
        """The present documents whose paths lie within [low, high), in path order."""
        sql = "SELECT body FROM documents WHERE path >= ? AND path < ? ORDER BY path"
        for (body,) in self._rows(sql, (low, high)):
            self.rows_scanned += 1
            yield Document.FromString(body)

    def children(self, database: Database, parent: Segments, after: str) -> Iterator[str]:
        """Ids directly below a path that hold documents at any depth, in order, those above `after` only.

        Below a document these are its collections; below a collection its documents, missing ones included. Each
        costs one seek, however much lies below it; a view of the past pays for what changed there since.
        """
        prefix = path_key(database, parent)
        end = successor(prefix)
        low = successor(path_key(database, (*parent, after))) if after else prefix + b"\0"
        replaced = self._replaced_paths(low, end)
        gone = sorted(path for path, existed in replaced.items() if existed)
        while True:
            path = self._first_path(low, end, replaced)
            lost = next((old for old in gone if old >= low), None)
            if lost is not None and (path is None or lost < path):
                path = lost
            if path is None:
                return
            child = path_segments(path)[len(parent)]
            yield child
            low = successor(path_key(database, (*parent, child)))

    def _first_path(self, low: bytes, high: bytes, skipped: dict[bytes, bool]) -> bytes | None:
        sql = "SELECT path FROM documents WHERE path >= ? AND path < ? ORDER BY path"
        for (path,) in self._rows(sql, (low, high)):
            self.rows_scanned += 1
            if path not in skipped:
                found: bytes = path
                return found
        return None

    def _replaced_paths(self, low: bytes, high: bytes) -> dict[bytes, bool]:
        """Paths that changed after this view's time, and whether a document was there at that time."""
        if not self._behind:
            return {}
        rows = self._sql.execute(
            "SELECT path, body IS NOT NULL FROM history WHERE path >= ? AND path < ? AND time > ? ORDER BY id DESC",
            (low, high, self.read_time),
        )
        return {path: bool(existed) for path, existed in rows}

    @property
    def behind(self) -> bool:
        """Whether something has changed since this view's time."""
        return self._behind


def replaced_since(sql: sqlite3.Connection, query: Query, time: int) -> dict[str, Message | None]:
    """What commits after `time` replaced in the queried place: name -> the document as it was at `time`."""
    if query.scope == "collection":
        statement, key = _REPLACED_IN_COLLECTION, row_prefix(query.database, "collection", query.place, "")
    elif query.group is not None:
        statement, key = _REPLACED_IN_GROUP, row_prefix(query.database, "group", query.group, "")
    else:
        statement, key = _REPLACED_BELOW, path_key(query.database, query.parent)
    rows = sql.execute(statement, (key, time))
    replaced: dict[str, Message | None] = {}
    database_key = path_key(query.database, ())
    for path, body in rows:
        if not path.startswith(database_key):
            continue
        name = "/".join((query.database.root, *path_segments(path)))
        if name not in replaced:
            replaced[name] = None if body is None else Document.FromString(body)
    return replaced


class Storage:
    """The file, its clock, and a bounded number of readers."""

    def __init__(self, path: Path, catalog: Catalog) -> None:
        """Open or create the file; rebuild index rows when the declared indexes changed since the last start."""
        self._path = path
        self.catalog = catalog
        # All that a store knows of its users: their owner's alone. SQLite gives its journals the mode of the main file.
        for each in (path, Path(f"{path}.lock")):
            os.close(os.open(each, os.O_RDWR | os.O_CREAT, 0o600))
            each.chmod(0o600)
        # Held until this process ends, however it ends: two writers would give out the same commit times.
        self._lock = sqlite3.connect(f"{path}.lock", timeout=LOCK_SECONDS, isolation_level=None)
        try:
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise OSError(f"{path} is in use by another process; end it, or use another file.") from error
        self.writing = self._connect()
        self.writing.executescript(_SCHEMA)
        for name, value in (("last_commit", 0), ("horizon", 0), ("identity", uuid.uuid4().bytes[:8])):
            self.writing.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
        self.identity = bytes(self.writing.execute("SELECT value FROM meta WHERE name = 'identity'").fetchone()[0])
        self.clock = Clock(_meta(self.writing, "last_commit"))
        self._readers: list[sqlite3.Connection] = []
        self._free = asyncio.Semaphore(READERS_MAX)
        row = self.writing.execute("SELECT value FROM meta WHERE name = 'indexes'").fetchone()
        if row is None or row[0] != catalog.fingerprint:
            self._rebuild()

    def _connect(self) -> sqlite3.Connection:
        # Views are used by one thread at a time, though not always by the same one.
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # an acknowledged commit is on the disk
        connection.execute("PRAGMA cache_size = -16000")
        return connection

    def _rebuild(self) -> None:
        self.writing.execute("BEGIN IMMEDIATE")
        self.writing.execute("DELETE FROM entries")
        last = 0
        while True:
            page = self.writing.execute(
                "SELECT id, path, body FROM documents WHERE id > ? ORDER BY id LIMIT ?", (last, REBUILD_PAGE)
            ).fetchall()
            if not page:
                break
            for number, _, body in page:
                document = Document.FromString(body)
                parts = document.name.split("/")
                rows = self.catalog.rows(Database(parts[1], parts[3]), tuple(parts[5:]), document.fields)
                self.writing.executemany("INSERT INTO entries VALUES (?, ?)", [(key, number) for key in sorted(rows)])
            last = page[-1][0]
        self.writing.execute("INSERT OR REPLACE INTO meta VALUES ('indexes', ?)", (self.catalog.fingerprint,))
        self.writing.execute("COMMIT")

    @asynccontextmanager
    async def view(self, past: int | None = None) -> AsyncIterator[View]:
        """A consistent view of now, or of `past` (microseconds since 1970)."""
        async with self._free:
            now = self.clock.read_time()
            if past is not None and past > now:
                now = await self._reach(past)
            connection = self._readers.pop() if self._readers else self._connect()
            view = View(connection)
            try:
                view.begin(now, past)
                yield view
            finally:
                view.close()
                self._readers.append(connection)

    async def _reach(self, past: int) -> int:
        """Wait until reads are dated at or after `past`."""
        deadline = asyncio.get_running_loop().time() + FUTURE_WAIT_SECONDS
        while (now := self.clock.read_time()) < past:
            too_far = past > now + FUTURE_WAIT_SECONDS * 1_000_000
            if too_far or asyncio.get_running_loop().time() > deadline:
                raise invalid(f"The requested 'read_time' {iso(past)} is in the future.")
            await asyncio.sleep(0.002)
        return now

    def close(self) -> None:
        """Close all connections (no view may be open)."""
        for connection in (*self._readers, self.writing, self._lock):
            connection.close()


def _meta(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
    return value
