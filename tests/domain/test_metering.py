"""The meter: pure, monotone, never above the hold."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.metering import MINUTE, charge, consumed, payable_minutes, started_minutes, total_minutes
from domain.money import ZERO, Dof
from domain.pricing import Leg
from tests.make import NOW, SECOND, STEADY

LEGS = st.lists(st.builds(Leg, st.integers(0, 10**6).map(Dof), st.integers(1, 400)), min_size=1, max_size=4)
TICK = timedelta(microseconds=1)


def test_a_started_minute_is_billed() -> None:
    at = [(-SECOND, 0), (0 * SECOND, 0), (TICK, 1), (MINUTE, 1), (MINUTE + TICK, 2), (9 * MINUTE, 9), (MINUTE * 999, 9)]
    assert [started_minutes(NOW, NOW + elapsed, 9) for elapsed, _ in at] == [minutes for _, minutes in at]


def test_each_leg_is_charged_at_its_own_price() -> None:
    legs = (Leg(Dof(100), 60), Leg(Dof(10), 60))
    charges = {0: 0, 1: 2, 3: 5, 59: 99, 60: 100, 61: 101, 119: 110, 120: 110}
    assert {minutes: charge(legs, ZERO, minutes).units for minutes in charges} == charges
    assert charge(legs, Dof(7), 61) == Dof(101 + 7 * 61)


@STEADY
@given(LEGS, st.integers(0, 100))
def test_the_last_minute_completes_the_price_and_none_makes_it_cheaper(legs: list[Leg], surcharge: int) -> None:
    most = total_minutes(legs)
    charges = [charge(legs, Dof(surcharge), minutes).units for minutes in range(most + 1)]
    assert charges == sorted(charges)
    assert charges[0] == 0
    assert charges[-1] == sum(leg.price.units for leg in legs) + surcharge * most


@STEADY
@given(LEGS, st.integers(0, 100), st.integers(0, 10**7), st.integers(0, 10**7))
def test_payable_minutes_are_the_most_that_is_paid(legs: list[Leg], surcharge: int, usage: int, held: int) -> None:
    per_minute, most = Dof(surcharge), total_minutes(legs)
    payable = payable_minutes(legs, per_minute, Dof(usage), Dof(held))
    fits = [minutes for minutes in range(most + 1) if charge(legs, per_minute, minutes).units + usage <= held]
    assert payable == max(fits, default=0)


@STEADY
@given(LEGS, st.integers(0, 100), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 1600))
def test_never_above_the_hold(legs: list[Leg], surcharge: int, usage: int, held: int, minutes: int) -> None:
    minutes = min(minutes, total_minutes(legs))
    owed = charge(legs, Dof(surcharge), minutes).units + usage
    assert consumed(legs, Dof(surcharge), minutes, Dof(usage), Dof(held)) == Dof(min(owed, held))
