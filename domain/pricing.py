"""What a hire costs before it runs: unit prices, feature surcharges, the quote."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.errors import BadInput, PriceChanged
from domain.money import Dof

PRICE_MAX = 10**9  # DOF for one unit: far above a real price, and 100 units of it stay far below an overflow


class HireUnit(StrEnum):
    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"


MINUTES = {HireUnit.HOUR: 60, HireUnit.DAY: 24 * 60, HireUnit.WEEK: 7 * 24 * 60}
SESSION_MINUTES_MAX = 28 * 24 * 60  # four weeks: a hold should not outlive a refund window by much


@dataclass(frozen=True, slots=True)
class Pricing:
    """A listing's prices in whole DOF. `version` rises with each change; a hire names the version that it saw."""

    hourly: Dof
    daily: Dof
    weekly: Dof
    version: int = 1

    def unit_price(self, unit: HireUnit) -> Dof:
        return {HireUnit.HOUR: self.hourly, HireUnit.DAY: self.daily, HireUnit.WEEK: self.weekly}[unit]


@dataclass(frozen=True, slots=True)
class SessionConfiguration:
    """The features that a session runs with."""

    high_speed_vision: bool = False
    voice_enabled: bool = False
    commentator: bool = False


@dataclass(frozen=True, slots=True)
class Surcharges:
    """DOF per billed minute for each feature (settings; ruling 7)."""

    high_speed_vision: Dof
    voice: Dof
    commentator: Dof

    def per_minute(self, configuration: SessionConfiguration) -> Dof:
        chosen = (
            self.high_speed_vision.units * configuration.high_speed_vision
            + self.voice.units * configuration.voice_enabled
            + self.commentator.units * configuration.commentator
        )
        return Dof(chosen)


@dataclass(frozen=True, slots=True)
class Leg:
    """A stretch of a session at one price: `price` is what all its `minutes` cost, surcharges aside."""

    price: Dof
    minutes: int


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of a hire: `total` is what it will hold, and the most that it can cost."""

    leg: Leg
    surcharge_per_minute: Dof

    @property
    def total(self) -> Dof:
        return self.leg.price + self.surcharge_per_minute * self.leg.minutes

    @property
    def per_minute(self) -> Dof:
        """The highest price of one minute, in whole DOF: prices need not divide by 60."""
        return self.leg.price.prorate(1, self.leg.minutes) + self.surcharge_per_minute


def require_pricing(hourly: int, daily: int, weekly: int, version: int) -> Pricing:
    """Check a listing's prices. Raises BadInput naming the field."""
    for name, units in (("hourly", hourly), ("daily", daily), ("weekly", weekly)):
        if not 1 <= units <= PRICE_MAX:
            raise BadInput(
                f"A price lies between 1 and {PRICE_MAX} DOF: {units} does not.", field=f"input.pricing.{name}"
            )
    return Pricing(Dof(hourly), Dof(daily), Dof(weekly), version)


def quote(
    pricing: Pricing, unit: HireUnit, quantity: int, configuration: SessionConfiguration, surcharges: Surcharges
) -> Quote:
    """Price `quantity` units. Raises BadInput when the time is not between one unit and four weeks."""
    return Quote(leg(pricing, unit, quantity), surcharges.per_minute(configuration))


def leg(pricing: Pricing, unit: HireUnit, quantity: int) -> Leg:
    """A stretch of `quantity` units, surcharges aside. Raises BadInput as `quote` does."""
    minutes = MINUTES[unit] * quantity
    if not 1 <= minutes <= SESSION_MINUTES_MAX:
        most = SESSION_MINUTES_MAX // MINUTES[unit]
        raise BadInput(
            f"A hire by the {unit.lower()} takes a quantity from 1 to {most}, not {quantity}.", field="input.quantity"
        )
    return Leg(pricing.unit_price(unit) * quantity, minutes)


def require_version(pricing: Pricing, expected_version: int) -> None:
    """Raises PriceChanged when the caller saw another price."""
    if pricing.version != expected_version:
        raise PriceChanged(expected_version=expected_version, current_version=pricing.version)
