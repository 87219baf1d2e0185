"""Time to live: documents are deleted once a field of theirs is past, as `firestore.indexes.json` says with `"ttl"`.

Firestore promises it within a day, in no order, and only where the field is a timestamp
(https://firebase.google.com/docs/firestore/ttl). Here the earliest go first, found by index rows of their own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

from emulator.indexes import EXPIRY_PREFIX
from emulator.paths import parse_document
from emulator.protocol import Message, Refused, Value, Write, timestamp
from emulator.storage import Storage, View
from emulator.values import T_TIME, encode
from emulator.writer import Writer

ROUND_MAX = 400  # documents in one round: some hundred milliseconds of the writer's time

log = logging.getLogger(__name__)


class Expiry:
    """Deletes what is past, by commits like any other: listeners hear of them, and a kill loses none half way."""

    def __init__(
        self, storage: Storage, writer: Writer, in_thread: Callable[[Callable[[], list[Message]]], Awaitable[Any]]
    ) -> None:
        """`in_thread` runs the reading beside the event loop."""
        self._storage = storage
        self._writer = writer
        self._in_thread = in_thread

    async def run(self, every_seconds: float) -> None:
        """A round now and then one every so often, until cancelled."""
        while True:
            try:
                await self.round()
            except Exception:
                log.exception("a round of deleting what has expired failed")
            await asyncio.sleep(every_seconds)

    async def round(self) -> int:
        """Delete what is past, at most some hundreds; gives how many."""
        async with self._storage.view() as view:
            past = await self._in_thread(lambda: _past(view))
        # Each is a commit of its own: one that was changed meanwhile stays, and holds up no other.
        outcomes = await asyncio.gather(*(self._delete(write) for write in past))
        return sum(outcomes)

    async def _delete(self, write: Message) -> bool:
        database, _ = parse_document(write.delete)
        try:
            await self._writer.commit(database, [write])
        except Refused:
            return False  # it has changed or gone since; the next round looks again
        return True


def _past(view: View) -> list[Message]:
    """The deletions that are due, each of exactly the document that was read."""
    now = encode(Value(timestamp_value=timestamp(view.read_time)))
    due = []
    for _, document in islice(view.entries(EXPIRY_PREFIX + T_TIME, EXPIRY_PREFIX + now, backwards=False), ROUND_MAX):
        write = Write(delete=document.name)
        write.current_document.update_time.CopyFrom(document.update_time)
        due.append(write)
    return due
