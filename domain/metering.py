"""The meter: what a session has consumed is a pure function of facts and time, not a job (ruling 6)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from domain.money import ZERO, Dof
from domain.pricing import Leg

MINUTE = timedelta(minutes=1)


def started_minutes(started_at: datetime, now: datetime, most: int) -> int:
    """Minutes begun by `now`, from 0 to `most`: a started minute is billed."""
    elapsed = now - started_at
    return max(0, min(most, -(-elapsed // MINUTE)))


def total_minutes(legs: Sequence[Leg]) -> int:
    return sum(leg.minutes for leg in legs)


def charge(legs: Sequence[Leg], surcharge_per_minute: Dof, minutes: int) -> Dof:
    """The price of the first `minutes`: each leg in proportion, rounded up; its last minute completes its price."""
    price, left = ZERO, minutes
    for leg in legs:
        part = min(left, leg.minutes)
        price += leg.price.prorate(part, leg.minutes)
        left -= part
    return price + surcharge_per_minute * minutes


def consumed(legs: Sequence[Leg], surcharge_per_minute: Dof, minutes: int, usage: Dof, held: Dof) -> Dof:
    """What is owed after `minutes` and the recorded usage: never above the hold."""
    return Dof(min(held.units, charge(legs, surcharge_per_minute, minutes).units + usage.units))


def payable_minutes(legs: Sequence[Leg], surcharge_per_minute: Dof, usage: Dof, held: Dof) -> int:
    """How many whole minutes the hold pays for beside the usage. Found by halving: the charge never falls with time."""
    low, high = 0, total_minutes(legs)
    while low < high:
        middle = (low + high + 1) // 2
        if charge(legs, surcharge_per_minute, middle).units + usage.units <= held.units:
            low = middle
        else:
            high = middle - 1
    return low
