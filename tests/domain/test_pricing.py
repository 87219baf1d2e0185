"""Prices and quotes."""

from __future__ import annotations

import pytest

from domain.errors import BadInput, PriceChanged
from domain.money import Dof
from domain.pricing import (
    PRICE_MAX,
    HireUnit,
    Leg,
    Pricing,
    SessionConfiguration,
    leg,
    quote,
    require_pricing,
    require_version,
)
from tests.make import PLAIN, SURCHARGES

PRICES = Pricing(Dof(6_000), Dof(96_000), Dof(500_000), version=3)
ALL = SessionConfiguration(high_speed_vision=True, voice_enabled=True, commentator=True)


@pytest.mark.parametrize(
    ("unit", "quantity", "total", "minutes", "per_minute"),
    [
        (HireUnit.HOUR, 1, 6_000, 60, 100),
        (HireUnit.HOUR, 672, 4_032_000, 40_320, 100),
        (HireUnit.DAY, 2, 192_000, 2_880, 67),
        (HireUnit.WEEK, 4, 2_000_000, 40_320, 50),
    ],
)
def test_a_quote_is_units_times_price(unit: HireUnit, quantity: int, total: int, minutes: int, per_minute: int) -> None:
    priced = quote(PRICES, unit, quantity, PLAIN, SURCHARGES)
    assert (priced.total, priced.leg.minutes, priced.per_minute) == (Dof(total), minutes, Dof(per_minute))


def test_features_cost_by_the_minute() -> None:  # ruling 7
    priced = quote(PRICES, HireUnit.HOUR, 2, ALL, SURCHARGES)
    assert (priced.surcharge_per_minute, priced.total, priced.per_minute) == (Dof(100), Dof(24_000), Dof(200))
    one = SessionConfiguration(voice_enabled=True)
    assert quote(PRICES, HireUnit.HOUR, 1, one, SURCHARGES).total == Dof(6_000 + 60 * 20)


@pytest.mark.parametrize(
    ("unit", "quantity", "most"),
    [
        *((HireUnit.HOUR, quantity, 672) for quantity in (0, -1, 673, 2**31 - 1, -(2**31), 2**63)),
        (HireUnit.DAY, 29, 28),
        (HireUnit.WEEK, 5, 4),
    ],
)
def test_a_hire_lasts_one_unit_to_four_weeks(unit: HireUnit, quantity: int, most: int) -> None:  # T-M01
    with pytest.raises(BadInput, match=f"by the {unit.lower()} takes a quantity from 1 to {most}") as refused:
        quote(PRICES, unit, quantity, PLAIN, SURCHARGES)
    assert refused.value.field == "input.quantity"


def test_a_leg_is_a_quote_without_surcharges() -> None:
    assert leg(PRICES, HireUnit.DAY, 3) == Leg(Dof(288_000), 4_320)


@pytest.mark.parametrize("units", [0, -1, PRICE_MAX + 1, 2**63])
@pytest.mark.parametrize("field", ["hourly", "daily", "weekly"])
def test_a_price_has_bounds(units: int, field: str) -> None:
    prices = {"hourly": 1, "daily": PRICE_MAX, "weekly": 1, field: units}
    with pytest.raises(BadInput) as refused:
        require_pricing(**prices, version=1)
    assert refused.value.field == f"input.pricing.{field}"


def test_a_stale_version_is_refused_with_the_current_one() -> None:  # T-M16
    require_version(PRICES, 3)
    for stale in (2, 4, 0):
        with pytest.raises(PriceChanged) as refused:
            require_version(PRICES, stale)
        assert refused.value.current_version == 3
