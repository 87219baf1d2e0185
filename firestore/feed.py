"""Live push: the events of topics as they are committed, from where a subscriber left off.

Every process listens to the outbox itself, so any number of them serves the same topics with the same numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from domain import meter_feed
from domain.errors import Unavailable
from domain.events import Event, EventType, session_topic
from domain.meter_feed import version_of
from domain.metering import MINUTE
from domain.sessions import Session
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import OUTBOX, SESSIONS
from firestore.once import Once
from firestore.rows import OutboxRow

T = TypeVar("T")

OVERLAP = timedelta(seconds=15)  # a commit carries the time of its start: it may become visible some seconds later
TICK_GRACE = timedelta(seconds=3)  # a change that began before a full minute is visible by then: commits end within 2 s
RECENT = timedelta(minutes=2)  # so long ago, nobody has missed enough for a bound
REPLAY_ROWS_MAX = 1_000  # of one topic at a resume; beyond it a GAP says so, and the reader reads the object again
TARGET_ROWS_MAX = 1_000  # that one listened target gathers beside those
OUTAGE_SECONDS_MAX = 60.0  # a restart or a failover of Firestore is over by then; a longer one ends the subscription
OUTAGE_PAUSE_SECONDS = 0.5
SESSIONS_MAX = 1_024  # read a moment ago, some kilobytes each: those who follow one read a change of it once
MERGED_MAX = 256  # events that wait for a slow subscriber; its socket's own bound then slows or closes it


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a subscriber is in a topic: the last number that it was told, and when that event was."""

    sequence: int
    at: datetime


class Feed:
    """Follows topics. Close an iterator to stop following."""

    def __init__(self, backend: Backend, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock
        self._sessions: Once[Session | None] = Once(SESSIONS_MAX)

    async def follow(self, topic: str, mark: Mark, head: int = 0) -> AsyncGenerator[Event, None]:
        """The topic's events after the mark: what was missed, or a GAP where that is gone, then each as it comes.

        `head` is the number that the topic has reached: what of it is no longer kept is told as a GAP at once.
        """
        reached = mark.sequence
        since = await self._from(topic, mark.at - OVERLAP)
        async with aclosing(self._changes(topic, since)) as batches:
            async for events in batches:
                for event in events:
                    if event.sequence <= reached:
                        continue
                    if event.sequence > reached + 1:
                        yield _gap(topic, reached + 1, event.sequence - 1, event.at)
                    yield event
                    reached = event.sequence
                if reached < head:
                    yield _gap(topic, reached + 1, head, self._clock())
                    reached = head

    async def follow_session(self, session: Session, mark: Mark | None) -> AsyncGenerator[Event, None]:
        """A session's stored changes and the meter's readings between them, after the mark or from now on."""
        topic, now = session_topic(session.id), self._clock()
        start = mark or Mark(session.sequence(now), now)
        since = await self._from(topic, start.at - OVERLAP)
        before = await self._last_before(topic, since) if mark else []
        reader = _Reader(session, start.sequence)
        async with aclosing(self._changes(topic, since)) as batches:
            pending = asyncio.ensure_future(anext(batches, None))
            try:
                while True:
                    await asyncio.wait({pending}, timeout=self._seconds_until(reader.due))
                    if pending.done():
                        events = pending.result()
                        if events is None:
                            return
                        pending = asyncio.ensure_future(anext(batches, None))
                        current = await self._current(reader.session, events)
                        told = reader.hear(current, [*before, *events], self._clock() - TICK_GRACE)
                        before = []
                    else:
                        told = reader.read_meter(self._clock() - TICK_GRACE)
                    for event in told:
                        yield event
            finally:
                pending.cancel()
                with suppress(asyncio.CancelledError):
                    await pending

    async def signs(self, target: Query | str) -> AsyncGenerator[Hashable, None]:
        """A sign for the present state of a document or of a query's result, and one for each later change: all who
        listen hear the same one of a change, and none like it of another."""
        async with aclosing(self._backend.listen(target)) as batches:
            async for batch in batches:
                yield tuple((each.path, each.version) for each in batch.changed), batch.removed

    async def _from(self, topic: str, at: datetime) -> datetime:
        """From when to listen: `at`, or the oldest of the newest 1,000 rows since then. No RPC for a recent moment."""
        at = _minute(at)
        if self._clock() - at <= RECENT:
            return at
        newest = _since(topic, at, descending=True)
        found = await self._backend.query(replace(newest, limit=REPLAY_ROWS_MAX, fields=("at",)))
        oldest = found[-1].data["at"] if len(found) == REPLAY_ROWS_MAX else at
        assert isinstance(oldest, datetime), "every row has its moment"
        return _minute(oldest)

    async def _changes(self, topic: str, since: datetime) -> AsyncGenerator[list[Event], None]:
        """The topic's stored events, batch by batch; the first batch holds those that are there already.

        A target keeps all its rows in memory. After 1,000 more it is left for one that begins later, and those of the
        overlap are told again. Ends when the backend closes.
        """
        while True:
            newest, first, heard = since, True, 0
            async with aclosing(self._backend.listen(_since(topic, since))) as batches:
                async for batch in batches:
                    rows = [OUTBOX.decode(snapshot) for snapshot in batch.changed]
                    yield _events(topic, rows)
                    newest = max((newest, *(row.at for row in rows)))
                    heard += 0 if first else len(rows)
                    first = False
                    if heard >= TARGET_ROWS_MAX:
                        break
                else:
                    return
            since = max(since, _minute(newest - OVERLAP))

    def _seconds_until(self, due: datetime | None) -> float | None:
        """How long to wait for a reading of the meter; None when none is to come."""
        return None if due is None else max(0.05, (due + TICK_GRACE - self._clock()).total_seconds())

    async def _current(self, known: Session, events: Sequence[Event]) -> Session:
        """The session as the newest change left it: read again when there is one that `known` does not hold, once for
        all who follow it."""
        newest = max(map(version_of, events), default=0)
        if newest <= known.version:
            return known

        async def read() -> Session | None:
            (found,) = await patiently(lambda: self._backend.get_many([SESSIONS.at(known.id)]))
            return None if found is None else SESSIONS.decode(found)

        return await self._sessions.get((known.id, newest), read) or known

    async def _last_before(self, topic: str, at: datetime) -> list[Event]:
        filters = (Filter("topics", "array-contains", topic), Filter("at", "<", at))
        query = Query(OUTBOX.name, filters, (Order("at", descending=True),), 1)
        return _events(topic, [OUTBOX.decode(snapshot) for snapshot in await self._backend.query(query)])


class _Reader:
    """Where one subscriber is in a session: what it was told, and what follows from the newest facts."""

    def __init__(self, session: Session, reached: int) -> None:
        self.session = session
        self._reached = reached
        self._last: Event | None = None  # the newest stored change that was heard; None before the first batch

    def hear(self, session: Session, changes: Sequence[Event], until: datetime) -> list[Event]:
        """Take in stored changes and the session as it is now; what these tell, and the minutes between them."""
        last, self.session = self._last, session
        fresh = [each for each in changes if last is None or version_of(each) > version_of(last)]
        late = [each for each in fresh if last is not None and each.sequence <= self._reached]
        if late:
            # Its commit took longer than the grace, and minutes were told under its number: say so, do not drop it.
            head = max(self._reached + 1, session.sequence(until))
            told = [_gap(late[0].topic, late[0].sequence, head, late[0].at)]
        else:
            told = meter_feed.replay(session, [*([last] if last else []), *fresh], self._reached, until)
        self._last = max((*([last] if last else []), *fresh), key=version_of, default=meter_feed.standing(session))
        return self._tell(told)

    def read_meter(self, until: datetime) -> list[Event]:
        """The readings that have come by `until`."""
        if self._is_behind:
            return []
        return self._tell(list(meter_feed.ticks(self.session, self._reached - self.session.version, until)))

    @property
    def due(self) -> datetime | None:
        """The moment of the next reading; None when none is to come before another change."""
        minute = max(0, self._reached - self.session.version) + 1
        at = self.session.started_at + MINUTE * minute
        return None if self._is_behind or self.session.ticks(at) < minute else at

    @property
    def _is_behind(self) -> bool:
        return self._last is None or version_of(self._last) < self.session.version

    def _tell(self, told: list[Event]) -> list[Event]:
        self._reached = told[-1].sequence if told else self._reached
        return told


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """What is read, once Firestore answers: the stream of changes outlives an outage, and so do the readings that a
    change asks for. Raises Unavailable after a minute."""
    give_up = asyncio.get_running_loop().time() + OUTAGE_SECONDS_MAX
    while True:
        try:
            return await read()
        except Unavailable:
            if asyncio.get_running_loop().time() >= give_up:
                raise
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)


async def merge(sources: Sequence[AsyncIterator[T]]) -> AsyncGenerator[T, None]:
    """The items of several sources as they come; the first error ends it all. At most 256 items wait."""
    queue: asyncio.Queue[T | BaseException] = asyncio.Queue(MERGED_MAX)

    async def pump(source: AsyncIterator[T]) -> None:
        try:
            async with aclosing(_closable(source)) as items:
                async for item in items:
                    await queue.put(item)
        except Exception as error:
            await queue.put(error)

    tasks = [asyncio.create_task(pump(source)) for source in sources]
    try:
        while True:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _since(topic: str, at: datetime, *, descending: bool = False) -> Query:
    filters = (Filter("topics", "array-contains", topic), Filter("at", ">=", at))
    return Query(OUTBOX.name, filters, (Order("at", descending),))


def _minute(at: datetime) -> datetime:
    """The full minute before: subscribers of a topic who come within one minute share one target."""
    return at.replace(second=0, microsecond=0)


def _events(topic: str, rows: Sequence[OutboxRow]) -> list[Event]:
    found = [event for row in rows for event in row.events if event.topic == topic]
    return sorted(found, key=lambda event: event.sequence)


def _gap(topic: str, missed_from: int, missed_to: int, at: datetime) -> Event:
    return Event(topic, missed_to, EventType.GAP, at, {"missedFrom": missed_from, "missedTo": missed_to})


def _closable(source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    assert isinstance(source, AsyncGenerator), "a followed source can be closed"
    return source
