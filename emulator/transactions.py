"""Open transactions: optimistic. Reads see one moment; the commit holds only if what was read is still so."""

import secrets
import time
from dataclasses import dataclass, field

import grpc

from emulator.paths import Database
from emulator.protocol import Message, Refused, aborted, invalid, to_micros
from emulator.writer import Reads

LIVE_MAX = 10_000  # open transactions; the oldest gives way
IDLE_SECONDS = 60.0  # Firestore quota
LIFE_SECONDS = 270.0  # Firestore quota


@dataclass(slots=True)
class Transaction:
    """One open transaction. `reads` is None until its first read fixes the moment it looks at."""

    key: bytes
    database: Database
    read_only: bool
    read_time: int | None = None  # asked for by a read-only transaction
    reads: Reads | None = None
    begun: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)

    @property
    def moment(self) -> int | None:
        """The time its reads look at, in microseconds; None before the first."""
        return self.read_time if self.reads is None else self.reads.time

    def saw(self, moment: int) -> Reads:
        """The read set, begun at `moment` if this is the first read."""
        if self.reads is None:
            self.reads = Reads(moment)
        return self.reads


class Transactions:
    """Open transactions by id, in memory: they do not outlive the process, nor need to."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._open: dict[bytes, Transaction] = {}

    def begin(self, database: Database, options: Message) -> Transaction:
        """Open one."""
        now = time.monotonic()
        for key in [k for k, t in self._open.items() if _expired(t, now)]:
            del self._open[key]
        if len(self._open) >= LIVE_MAX:
            del self._open[next(iter(self._open))]
        read_only = options.HasField("read_only")
        transaction = Transaction(secrets.token_bytes(16), database, read_only)
        if read_only and options.read_only.HasField("read_time"):
            transaction.read_time = to_micros(options.read_only.read_time)
        self._open[transaction.key] = transaction
        return transaction

    def find(self, database: Database, key: bytes) -> Transaction:
        """The open transaction; INVALID_ARGUMENT when it ended, ABORTED when it expired."""
        transaction = self._open.get(key)
        if transaction is None or transaction.database != database:
            raise invalid("The referenced transaction has expired or is no longer valid.")
        now = time.monotonic()
        if _expired(transaction, now):
            del self._open[key]
            raise aborted("The referenced transaction has expired; run it again.")
        transaction.used = now
        return transaction

    def finish(self, database: Database, key: bytes) -> Transaction:
        """Close it, for a commit or a rollback, and return it."""
        transaction = self.find(database, key)
        del self._open[key]
        return transaction


def refuse_writes(transaction: Transaction, writes: int) -> None:
    """INVALID_ARGUMENT when a read-only transaction wants to write."""
    if transaction.read_only and writes:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "Cannot modify entities in a read-only transaction.")


def _expired(transaction: Transaction, now: float) -> bool:
    return now - transaction.used > IDLE_SECONDS or now - transaction.begun > LIFE_SECONDS
