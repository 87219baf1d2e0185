"""What a session's topic tells: its stored changes, and between them one reading of the meter at each full minute.

Both are numbered together: a change that made version v after k full minutes has the number v + k, and the k-th minute
under version v has v + k too. So the numbers have no gap, and a client that was away can be told every one again from
the stored changes alone: no write is made for a tick of the meter (ruling 6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from domain.events import Event, EventType, session_topic
from domain.metering import MINUTE
from domain.money import Dof
from domain.sessions import Session

MOMENT = timedelta(microseconds=1)  # the finest that the meter knows


def mark(session: Session) -> Mapping[str, str | int]:
    """What a stored change must carry so that the minutes after it can be computed again."""
    return {"version": session.version, "usage": session.usage.units, "legs": len(session.legs)}


def tick(session: Session, minute: int) -> Event:
    """The meter's reading as a full minute ends and the next one, which is billed once it has started, begins."""
    at = session.started_at + MINUTE * minute
    begun = at + MOMENT
    running = replace(session, settlement=None, settled=False)
    data: dict[str, str | int] = {
        "sessionId": session.id,
        "consumed": running.consumed(begun).units,
        "remaining": running.remaining(begun).units,
    }
    return Event(session_topic(session.id), session.version + minute, EventType.SESSION_DOF_UPDATED, at, data)


def ticks(session: Session, since: int, until: datetime) -> Iterator[Event]:
    """The readings after minute `since` that have come by `until`."""
    for minute in range(max(0, since) + 1, session.ticks(until) + 1):
        yield tick(session, minute)


def as_of(session: Session, stored: Event) -> Session:
    """The session as a stored change left it: facts only grow, so the present ones contain the earlier ones."""
    version, usage, legs = (int(stored.data[name]) for name in ("version", "usage", "legs"))
    held = session.held
    for leg in session.legs[legs:]:
        held = held - leg.price - session.surcharge_per_minute * leg.minutes
    kept = session.legs[:legs]
    return replace(session, version=version, usage=Dof(usage), legs=kept, held=held, settlement=None, settled=False)


def standing(session: Session) -> Event:
    """The session's present state as the change that led to it: where a reader stands who knows of no stored one."""
    at = session.last_change_at
    return Event(session_topic(session.id), session.sequence(at), EventType.SESSION_DOF_UPDATED, at, mark(session))


def version_of(stored: Event) -> int:
    """The session's version that a stored change made."""
    return int(stored.data["version"])


def replay(session: Session, stored: Sequence[Event], after: int, until: datetime) -> list[Event]:
    """Every event with a number above `after`, in order, with the readings that have come by `until`.

    `stored` are the kept changes, oldest first, beginning with the one before `after` where that is kept. Where a
    needed one is not, a GAP names the numbers that cannot be told again. Where the session is newer than the last of
    them, the newest is on its way, and no reading after the last is told before it has come.
    """
    told: list[Event] = []
    reached, known = after, None
    for change in stored or (standing(session),):
        if known is not None:
            told += ticks(known, reached - known.version, change.at)
            reached = told[-1].sequence if told else reached
        last_missed = change.sequence - 1 if stored else change.sequence
        if last_missed > reached:
            told.append(gap(session.id, reached + 1, last_missed, change.at))
            reached = last_missed
        if change.sequence > reached:
            told.append(change)
            reached = change.sequence
        known = as_of(session, change)
    if known is not None and known.version == session.version:
        told += ticks(session, reached - session.version, until)
    return told


def gap(session_id: str, missed_from: int, missed_to: int, at: datetime) -> Event:
    """What was told under these numbers is gone: the reader reads the object again and goes on from here."""
    data: dict[str, str | int] = {"missedFrom": missed_from, "missedTo": missed_to}
    return Event(session_topic(session_id), missed_to, EventType.GAP, at, data)
