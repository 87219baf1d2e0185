"""What came in by webhook: recorded with its task's outbox row in one commit, before it is answered (house rule 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from domain.errors import Unavailable
from domain.ids import Kind, derived_id
from firestore.backend import Backend, Conflict, Write
from firestore.collections import INBOX, OUTBOX
from firestore.outbox import row
from firestore.records import encode
from firestore.rows import InboxRow, OutboxRow


class Inbox:
    """Records deliveries. The id is the body's own hash: header ids promise nothing."""

    def __init__(
        self, backend: Backend, told: Callable[[Iterable[OutboxRow]], None], *, retention: timedelta, events: timedelta
    ) -> None:
        self._backend = backend
        self._told = told
        self._retention = retention
        self._events = events

    async def record(
        self,
        source: str,
        topic: str,
        shop: str,
        body: bytes,
        now: datetime,
        *,
        outcome: str,
        subject: str | None = None,
        task: str | None = None,
        args: Mapping[str, str] | None = None,
    ) -> bool:
        """Keep a delivery and, with `task`, ask for its work. One RPC. False, after two, when it was recorded before.

        `subject` is what it is about, by which it is found again.

        A repeated delivery needs no second task: the first one's row stays until its work is done, so a crash between
        the two loses nothing. Raises Unavailable; the provider then delivers again.
        """
        inbox_id = delivery_id(source, topic, shop, body)
        kept = InboxRow(inbox_id, source, topic[:80], shop[:255], body, now, now + self._retention, outcome, subject)
        writes = [Write(INBOX.at(inbox_id), encode(kept), must_be_absent=True)]
        rows = []
        if task is not None:
            rows = [row(("inbox", inbox_id), now, self._events, task=task, args={**(args or {}), "inbox_id": inbox_id})]
            writes += [Write(OUTBOX.at(each.id), encode(each), must_be_absent=True) for each in rows]
        try:
            await self._backend.commit(writes)
        except Conflict:
            if await self.read(inbox_id) is not None:
                return False
            await self._record_again(writes[0], rows)
        self._told(rows)
        return True

    async def _record_again(self, kept: Write, rows: Sequence[OutboxRow]) -> None:
        """Keep a delivery that conflicts, and is not there. Two RPCs.

        The record of a delivery expires, and work of it that was given up does not: that work begins anew, as from what
        was kept nobody could do it any more. Its effect has its own guard, should it be done already. Where there is no
        such row, two commits were merely in each other's way, and nothing is kept.
        """
        found = await self._backend.get_many([OUTBOX.at(each.id) for each in rows])
        left = [
            Write(OUTBOX.at(each.id), encode(each), version=snapshot.version)
            for each, snapshot in zip(rows, found, strict=True)
            if snapshot is not None
        ]
        try:
            if not left:
                raise Conflict
            await self._backend.commit([kept, *left])
        except Conflict:
            raise Unavailable("The delivery could not be kept just now: deliver it again.") from None

    async def read(self, inbox_id: str) -> InboxRow | None:
        """A recorded delivery. One RPC."""
        (found,) = await self._backend.get_many([INBOX.at(inbox_id)])
        return None if found is None else INBOX.decode(found)


def delivery_id(source: str, topic: str, shop: str, body: bytes) -> str:
    """The id under which a delivery is kept: the same bytes are the same delivery."""
    return derived_id(Kind.INBOX, source, topic, shop, hashlib.sha256(body).hexdigest())
