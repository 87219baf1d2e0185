"""What a commit tells the world: rows written with it, delivered after it, found again by the sweep."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from domain.errors import NotFound
from domain.events import Event
from domain.ids import Kind, derived_id, is_id
from firestore import acts
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import OUTBOX, USERS
from firestore.commit import Commits, Tx
from firestore.legible import legible
from firestore.paging import Page, Position, position, read_page
from firestore.rows import BUCKETS, SWEEP_AFTER, OutboxRow, RowState, bucket_of

SWEEP_ROWS_MAX = 50  # per bucket and round: a round stays short, the next one goes on
SWEEP_PAGES_MAX = 20  # of rows that cannot be read, in front of those that can
ATTEMPTS_MAX = 20  # of the sweep, each a whole round of the queue's own retries: hours; then a human must look
BACKOFF_SECONDS_MAX = 3600


def row(
    fact: tuple[str | int, ...],
    now: datetime,
    retention: timedelta,
    *,
    events: Sequence[Event] = (),
    task: str | None = None,
    args: Mapping[str, str] | None = None,
    not_before: datetime | None = None,
) -> OutboxRow:
    """A row for one fact. `task` runs once `not_before` has come, or at once; `retention` is how long its events can be
    told again."""
    row_id = derived_id(Kind.OUTBOX, *fact)
    return OutboxRow(
        id=row_id,
        at=now,
        kept_until=now + retention,
        expires_at=None if task else now + retention,
        bucket=bucket_of(row_id),
        topics=tuple(dict.fromkeys(event.topic for event in events)),
        events=tuple(events),
        task=task,
        args=dict(args or {}),
        state=RowState.PENDING if task else RowState.DONE,
        not_before=not_before,
        due_at=(not_before or now) + SWEEP_AFTER if task else None,
    )


class Outbox:
    """The sweep's side of the rows."""

    def __init__(self, backend: Backend, commits: Commits) -> None:
        self._backend = backend
        self._commits = commits

    async def due(self, now: datetime) -> list[OutboxRow]:
        """Rows whose task the queue should have delivered by now, oldest first in each bucket. One RPC a bucket, and
        one more for each fifty that cannot be read: they stay where they are, and others are behind them."""
        found: list[OutboxRow] = []
        for bucket in range(BUCKETS):
            query = Query(
                OUTBOX.name,
                (
                    Filter("bucket", "==", bucket),
                    Filter("state", "==", RowState.PENDING.value),
                    Filter("due_at", "<=", now),
                ),
                (Order("due_at"),),
                SWEEP_ROWS_MAX,
            )
            for _ in range(SWEEP_PAGES_MAX):
                page = await self._backend.query(query)
                rows = legible(OUTBOX, page)
                found += rows
                if rows or len(page) < SWEEP_ROWS_MAX:
                    break
                query = replace(query, after=position(query, page[-1]))
        return found

    async def lag_seconds(self, now: datetime) -> float:
        """How long the oldest row that is due has waited; 0 when none is. One RPC a bucket, all at once."""

        async def oldest(bucket: int) -> datetime:
            pending = Filter("state", "==", RowState.PENDING.value)
            query = Query(OUTBOX.name, (Filter("bucket", "==", bucket), pending), (Order("due_at"),), 1)
            found = [snapshot.data.get("due_at") for snapshot in await self._backend.query(query)]
            return next((due_at for due_at in found if isinstance(due_at, datetime)), now)

        return max(0.0, (now - min(await asyncio.gather(*map(oldest, range(BUCKETS))))).total_seconds())

    async def postpone(self, row_id: str, now: datetime) -> OutboxRow | None:
        """Note that the sweep hands the row to the queue again: its next turn is later, and after 20 it is DEAD.

        Gives the row as it is then; None when it was no longer pending.
        """

        async def body(tx: Tx) -> OutboxRow | None:
            current = await tx.load(OUTBOX, row_id)
            if current is None or current.state is not RowState.PENDING:
                return None
            attempts = current.attempts + 1
            pause = min(SWEEP_AFTER.total_seconds() * 2**attempts, BACKOFF_SECONDS_MAX)
            dead = attempts >= ATTEMPTS_MAX
            state = RowState.DEAD if dead else RowState.PENDING
            postponed = replace(current, attempts=attempts, due_at=now + timedelta(seconds=pause), state=state)
            tx.put(OUTBOX, postponed)
            return postponed

        return await self._commits.run(body)

    async def dead(self, first: int, after: Position | None) -> Page[OutboxRow]:
        """The rows that were given up, in no meaningful order. One RPC."""
        query = Query(OUTBOX.name, (Filter("state", "==", RowState.DEAD.value),))
        return await read_page(self._backend, OUTBOX, query, first, after)

    async def revive(self, actor_id: str, row_id: str, now: datetime) -> OutboxRow:
        """Let a given-up row try again from the start. Two RPCs. Raises NotFound for a row that is not given up."""
        if not is_id(row_id, Kind.OUTBOX):
            raise NotFound("dead letter")

        async def body(tx: Tx) -> OutboxRow:
            await tx.read(OUTBOX.at(row_id), USERS.at(actor_id))
            current = tx.get(OUTBOX, row_id)
            if current is None or current.state is RowState.DONE:
                raise NotFound("dead letter")
            if current.state is RowState.PENDING:
                return current
            revived = replace(current, state=RowState.PENDING, attempts=0, due_at=now)
            tx.put(OUTBOX, revived)
            facts = {"attempts": (current.attempts, revived.attempts), "task": (current.task, revived.task)}
            await acts.record(tx, actor_id, "retryDeadLetter", row_id, None, now, facts)
            return revived

        return await self._commits.run(body)

    async def give_up(self, row_id: str) -> None:
        """Make a dead letter of a row whose task no further try can do, before somebody has decided. Two RPCs."""

        async def body(tx: Tx) -> None:
            row = await tx.load(OUTBOX, row_id)
            if row is not None and row.state is RowState.PENDING:
                tx.put(OUTBOX, replace(row, state=RowState.DEAD))

        await self._commits.run(body)

    async def postpone_until(self, row_id: str, moment: datetime) -> None:
        """Let a row's task wait for another moment, in a commit of its own. Two RPCs, one if it is done or gone."""

        async def body(tx: Tx) -> None:
            await tx.postpone(row_id, moment)

        await self._commits.run(body)

    async def finish(self, row_id: str) -> None:
        """Mark a row as done whose task ended without a commit of its own. Two RPCs, one if it is done or gone."""

        async def body(tx: Tx) -> None:
            await tx.finish(row_id)

        await self._commits.run(body)
