"""A session: its meter at every moment, its extensions, its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import sessions
from domain.errors import BadInput, SessionOver
from domain.money import ZERO, Dof
from domain.pricing import HireUnit, Leg, Quote, SessionConfiguration
from domain.revenue import ALL_TO_PLATFORM, Distribution
from domain.sessions import LEGS_MAX, EndReason, Session, SessionStatus, SessionType, Settlement
from tests.make import NOW, SECOND, STEADY, session

ALL = SessionConfiguration(high_speed_vision=True, voice_enabled=True, commentator=True)
TICK = timedelta(microseconds=1)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def use(of: Session, dof: int, now: datetime, **changes: Any) -> Session:
    told: dict[str, Any] = {"interactions": 1, "latency_ms": None, "crashed": False} | changes
    return sessions.record_usage(of, Dof(dof), now=now, **told)


def owned(allowance: int = 0, surcharge: int = 0, minutes: int = 60, kind: SessionType = SessionType.OWNED) -> Session:
    held = Dof(allowance + surcharge * minutes)
    made = session(type=kind, legs=(Leg(ZERO, minutes),), surcharge_per_minute=Dof(surcharge), held=held)
    return replace(made, shares=ALL_TO_PLATFORM, pricing=None)


def shown(of: Session, now: datetime) -> tuple[int, int, int, SessionStatus]:
    return of.minutes(now), of.consumed(now).units, of.remaining(now).units, of.status(now)


def test_the_meter_of_an_hour() -> None:
    hour = session()
    active, ended = SessionStatus.ACTIVE, SessionStatus.ENDED
    assert shown(hour, NOW - SECOND) == (0, 0, 6_000, active)
    assert shown(hour, NOW) == (0, 0, 6_000, active)
    assert shown(hour, NOW + TICK) == (1, 100, 5_900, active)
    assert shown(hour, at(1)) == (1, 100, 5_900, active)
    assert shown(hour, at(59) + TICK) == (60, 6_000, 0, active)
    assert shown(hour, at(60)) == (60, 6_000, 0, ended)
    assert shown(hour, at(10**6)) == (60, 6_000, 0, ended)
    assert (hour.end_reason(at(60)), hour.ended_at(at(99))) == (EndReason.COMPLETED, at(60))
    assert (hour.end_reason(at(59)), hour.ended_at(at(59))) == (None, None)


def test_usage_shortens_the_time_that_the_hold_pays() -> None:
    used = use(session(), 1_000, at(5))
    assert (used.over_at, used.natural_end()) == (at(50), EndReason.EXHAUSTED)
    assert shown(used, at(5)) == (5, 1_500, 4_500, SessionStatus.ACTIVE)
    assert shown(used, at(50)) == (50, 6_000, 0, SessionStatus.ENDED)


def test_a_minute_that_was_paid_for_may_be_used_to_its_end() -> None:
    used = use(session(), 5_400, at(5.5))
    assert used.over_at == at(6)
    assert shown(used, at(5.9)) == (6, 6_000, 0, SessionStatus.ACTIVE)


@pytest.mark.parametrize("burst", [5_500, 6_000, 6_001, 10**15])
def test_usage_beyond_the_hold_ends_it_when_it_is_recorded(burst: int) -> None:  # T-M06
    used = use(session(), burst, at(5.5))
    assert used.over_at == at(5.5)
    assert shown(used, at(5.5)) == (6, 6_000, 0, SessionStatus.ENDED)
    assert used.end_reason(at(5.5)) is EndReason.EXHAUSTED
    assert used.usage.units == min(burst, 6_001)
    with pytest.raises(SessionOver):
        use(used, 1, at(5.5))


def test_usage_that_just_fits_lets_it_complete() -> None:
    roomy = owned(allowance=100, surcharge=10)
    used = use(roomy, 100, at(1))
    assert (used.over_at, used.natural_end()) == (at(60), EndReason.COMPLETED)
    assert used.consumed(at(60)) == Dof(700)


def test_an_owned_session_pays_surcharges_and_usage_only() -> None:  # ruling 7
    assert shown(owned(), at(30)) == (30, 0, 0, SessionStatus.ACTIVE)
    assert shown(owned(surcharge=20), at(30)) == (30, 600, 600, SessionStatus.ACTIVE)
    assert shown(use(owned(allowance=50), 30, at(1)), at(2)) == (2, 30, 20, SessionStatus.ACTIVE)
    assert use(owned(), 1, at(1)).is_over(at(1))


def test_a_trial_is_free() -> None:  # ruling 7
    trial = owned(minutes=10, kind=SessionType.TRIAL)
    used = use(trial, 10**15, at(1), interactions=7, crashed=True)
    assert (used.usage, used.interactions, used.crashes, used.over_at) == (ZERO, 7, 1, at(10))
    assert sessions.settle(used, None, at(10)).settlement == Settlement(
        at(10), EndReason.COMPLETED, 10, ZERO, Distribution()
    )


@STEADY
@given(
    st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 2_000)), max_size=5),
    st.sampled_from([SessionConfiguration(), ALL]),
)
def test_no_moment_costs_less_than_an_earlier(reports: list[tuple[int, int]], features: SessionConfiguration) -> None:
    running, before = session(features), ZERO
    for second, dof in sorted(reports):
        now = NOW + second * SECOND
        if not running.is_over(now):
            running = use(running, dof, now)
        assert before <= running.consumed(now) <= running.held
        assert running.consumed(now) + running.remaining(now) == running.held
        before = running.consumed(now)
    assert running.consumed(running.over_at) == running.consumed(at(10**6)) >= before


def test_an_extension_is_a_further_leg() -> None:
    more = Quote(Leg(Dof(12_000), 60), ZERO)
    longer = sessions.extend(session(), more, "k", at(30))
    assert (longer.held, longer.total_minutes, longer.over_at) == (Dof(18_000), 120, at(120))
    assert (longer.version, longer.extensions, longer.changed_at) == (2, ("k",), at(30))
    assert longer.consumed(at(60)) == Dof(6_000)
    assert longer.consumed(at(61)) == Dof(6_200)


def test_an_extension_gives_an_exhausted_hold_time_again() -> None:
    used = use(session(), 5_000, at(5))
    longer = sessions.extend(used, Quote(Leg(Dof(6_000), 60), ZERO), "k", at(6))
    assert (used.over_at, longer.over_at) == (at(10), at(70))
    assert longer.natural_end() is EndReason.EXHAUSTED


def test_what_is_over_is_not_extended() -> None:
    with pytest.raises(SessionOver):
        sessions.extend(session(), Quote(Leg(Dof(1), 1), ZERO), "k", at(60))
    ended = sessions.settle(session(), EndReason.ENDED_BY_HIRER, at(1))
    with pytest.raises(SessionOver):
        sessions.extend(ended, Quote(Leg(Dof(1), 1), ZERO), "k", at(1))


def test_a_session_lasts_four_weeks_at_most() -> None:
    long = session(unit=HireUnit.WEEK, quantity=4)
    with pytest.raises(BadInput, match="0 minutes can still be added"):
        sessions.extend(long, Quote(Leg(Dof(1), 1), ZERO), "k", NOW)
    many = session(legs=tuple(Leg(Dof(1), 1) for _ in range(LEGS_MAX)))
    with pytest.raises(BadInput, match="at most 99 times"):
        sessions.extend(many, Quote(Leg(Dof(1), 1), ZERO), "k", NOW)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dof": -1}, "input.dof"),
        ({"interactions": -1}, "input.interactions"),
        ({"interactions": 10**6 + 1}, "input.interactions"),
        ({"latency_ms": -1}, "input.latencyMs"),
        ({"latency_ms": 600_001}, "input.latencyMs"),
    ],
)
def test_figures_that_cannot_be(changes: dict[str, int], field: str) -> None:
    told = {"dof": 0} | changes
    with pytest.raises(BadInput) as refused:
        use(session(), now=NOW, **told)
    assert refused.value.field == field


def test_metrics_add_up() -> None:
    used = session()
    for latency, crashed in ((100, False), (None, True), (101, False)):
        used = use(used, 0, at(1), interactions=3, latency_ms=latency, crashed=crashed)
    assert (used.interactions, used.crashes, sessions.average_latency_ms(used)) == (9, 1, 101)
    assert sessions.average_latency_ms(session()) is None
    assert used.usage_at is None


def test_a_settlement_is_the_meter_divided() -> None:
    ended = sessions.settle(session(), EndReason.ENDED_BY_OWNER, at(9.5))
    assert ended.settlement == Settlement(
        at(9.5), EndReason.ENDED_BY_OWNER, 10, Dof(1_000), Distribution(Dof(750), Dof(150), Dof(100))
    )
    assert (ended.settled, ended.version, ended.changed_at) == (True, 2, at(9.5))
    assert shown(ended, at(59)) == (10, 1_000, 0, SessionStatus.ENDED)
    assert sessions.hours_used(ended) == 0.17


@pytest.mark.parametrize("reason", [None, *EndReason])
def test_a_session_that_is_over_keeps_its_own_end(reason: EndReason | None) -> None:  # T-M07
    settlement = sessions.settle(session(), reason, at(90)).settlement
    assert settlement is not None
    assert (settlement.ended_at, settlement.reason, settlement.consumed) == (at(60), EndReason.COMPLETED, Dof(6_000))


def test_a_running_session_needs_a_reason_and_ends_once() -> None:
    with pytest.raises(AssertionError):
        sessions.settle(session(), None, at(59))
    with pytest.raises(AssertionError):
        sessions.settle(sessions.settle(session(), None, at(60)), None, at(60))


def test_a_clock_that_is_behind_does_not_turn_time_back() -> None:
    used = use(session(), 10, at(5))
    behind = use(used, 10, at(4.9))
    assert (behind.usage_at, behind.changed_at) == (at(5), at(5))
    ended = sessions.settle(behind, EndReason.ENDED_BY_HIRER, at(4.9)).settlement
    assert ended is not None
    assert (ended.ended_at, ended.minutes) == (at(5), 5)
    assert sessions.extend(used, Quote(Leg(Dof(1), 1), ZERO), "k", at(4)).changed_at == at(5)


def test_changes_and_minutes_are_numbered_together() -> None:
    hour = session()
    assert [hour.sequence(at(minutes)) for minutes in (0, 0.9, 1, 59.9, 60, 61)] == [1, 1, 2, 60, 61, 61]
    used = use(hour, 10, at(1.5))
    assert used.sequence(at(1.5)) == hour.sequence(at(1.5)) + 1 == 3
    assert sessions.settle(used, EndReason.ENDED_BY_HIRER, at(2)).sequence(at(9)) == 5
