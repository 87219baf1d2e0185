"""A session's topic: numbers without a gap, the same told live and told again from anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import meter_feed, sessions
from domain.events import Event, EventType
from domain.money import ZERO, Dof
from domain.pricing import Leg, Quote
from domain.sessions import EndReason, Session
from firestore.settlement import told as tell
from tests.make import MINUTE, NOW, SECOND, STEADY, session

CHANGES = st.lists(
    st.tuples(st.integers(0, 5_000), st.sampled_from(["usage", "extend", "end"]), st.integers(0, 2_500)), max_size=6
)


@dataclass
class Story:
    """A session, its stored changes, and what a subscriber who was there from the start has heard."""

    session: Session = field(default_factory=session)
    stored: list[Event] = field(default_factory=list)
    heard: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store(EventType.SESSION_STARTED)

    def store(self, kind: EventType) -> None:
        change = tell(self.session, kind)
        self.stored.append(change)
        self.heard.append(change)

    def live_until(self, now: datetime) -> None:
        """The minutes, one by one, as they pass."""
        while self.session.ticks(now) > self.heard[-1].sequence - self.session.version:
            self.heard.append(meter_feed.tick(self.session, self.heard[-1].sequence - self.session.version + 1))

    def change(self, now: datetime, kind: str, amount: int) -> None:
        self.live_until(now)
        if self.session.is_over(now):
            if kind == "end" and not self.session.settled:
                self.session = sessions.settle(self.session, None, now)
                self.store(EventType.SESSION_ENDED)
            return
        if kind == "usage":
            figures = {"interactions": 0, "latency_ms": None, "crashed": False}
            self.session = sessions.record_usage(self.session, Dof(amount), now=now, **figures)  # type: ignore[arg-type]
        elif kind == "extend":
            leg = Leg(Dof(amount), 1 + amount % 30)
            quote = Quote(leg, self.session.surcharge_per_minute)
            self.session = sessions.extend(self.session, quote, str(self.session.version), now)
        else:
            self.session = sessions.settle(self.session, EndReason.ENDED_BY_HIRER, now)
            self.store(EventType.SESSION_ENDED)
            return
        self.store(EventType.SESSION_DOF_UPDATED)


def story(changes: list[tuple[int, str, int]], until: datetime) -> Story:
    made = Story()
    for second, kind, amount in sorted(changes):
        made.change(NOW + second * SECOND, kind, amount)
    made.live_until(until)
    return made


@STEADY
@given(CHANGES, st.integers(0, 6_000), st.data())
def test_told_again_is_told_live(changes: list[tuple[int, str, int]], end: int, data: st.DataObject) -> None:
    until = NOW + timedelta(seconds=max([end, *(second for second, _, _ in changes)]))
    lived = story(changes, until)
    numbers = [event.sequence for event in lived.heard]
    assert numbers == list(range(1, len(numbers) + 1))
    after = data.draw(st.integers(0, len(numbers)))
    assert meter_feed.replay(lived.session, lived.stored, after, until) == lived.heard[after:]
    # It does with the changes since the one before `after`.
    needed = [event for event in lived.stored if event.sequence > after]
    before = [event for event in lived.stored if event.sequence <= after][-1:]
    assert meter_feed.replay(lived.session, [*before, *needed], after, until) == lived.heard[after:]


@STEADY
@given(CHANGES, st.data())
def test_what_is_gone_is_one_gap(changes: list[tuple[int, str, int]], data: st.DataObject) -> None:
    until = NOW + timedelta(seconds=6_000)
    lived = story(changes, until)
    gone = data.draw(st.integers(1, len(lived.stored)))
    after = data.draw(st.integers(0, len(lived.heard)))
    kept = lived.stored[gone:]
    again = meter_feed.replay(lived.session, kept, after, until)
    first_known = kept[0].sequence if kept else lived.stored[-1].sequence + 1
    if after >= first_known - 1:
        assert again == lived.heard[after:]
        return
    assert again[0].type is EventType.GAP
    assert again[0].data == {"missedFrom": after + 1, "missedTo": first_known - 1}
    assert again[0].sequence == first_known - 1
    assert again[1:] == lived.heard[first_known - 1 :]


def test_an_hour_alone() -> None:
    lived = story([], NOW + 3 * MINUTE)
    assert [(event.sequence, event.at, event.data.get("consumed")) for event in lived.heard] == [
        (1, NOW, None),
        (2, NOW + MINUTE, 200),  # the first minute is over, and the second, which has started, is billed
        (3, NOW + 2 * MINUTE, 300),
        (4, NOW + 3 * MINUTE, 400),
    ]
    assert {event.topic for event in lived.heard} == {f"session:{lived.session.id}"}


def test_the_last_reading_is_the_whole_price() -> None:
    alone = session()
    last = meter_feed.tick(alone, alone.total_minutes)
    assert (last.data["consumed"], last.data["remaining"]) == (alone.held.units, 0)


def test_the_end_is_told_with_its_own_moment() -> None:
    lived = story([(7_000, "end", 0)], NOW + 7_000 * SECOND)
    ended = lived.heard[-1]
    assert (ended.type, ended.at, ended.sequence) == (EventType.SESSION_ENDED, NOW + 60 * MINUTE, 62)
    assert ended.data["endReason"] == "COMPLETED"


def test_no_reading_follows_an_end() -> None:
    lived = story([(90, "end", 0)], NOW + 50 * MINUTE)
    assert [event.sequence for event in lived.heard] == [1, 2, 3]
    assert meter_feed.replay(lived.session, lived.stored, 3, NOW + 50 * MINUTE) == []


def test_a_change_on_its_way_holds_the_readings_back() -> None:
    lived = story([(90, "usage", 10)], NOW + 5 * MINUTE)
    told = meter_feed.replay(lived.session, lived.stored[:1], 0, NOW + 5 * MINUTE)
    assert told == lived.heard[:1]


@pytest.mark.parametrize("usage", [0, 30])
def test_an_earlier_state_is_told_as_it_was(usage: int) -> None:
    started = session()
    used = story([(30, "usage", usage)], NOW).session
    longer = sessions.extend(used, Quote(Leg(Dof(50), 5), ZERO), "k", NOW + MINUTE)
    assert meter_feed.as_of(longer, tell(started, EventType.SESSION_STARTED)).held == Dof(6_000)
    earlier = meter_feed.as_of(longer, tell(used, EventType.SESSION_DOF_UPDATED))
    assert (earlier.held, earlier.usage, earlier.legs, earlier.version) == (used.held, Dof(usage), used.legs, 2)
