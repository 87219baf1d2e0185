"""DOF, the store's token, and money of the outside world. Whole numbers only: no float touches either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import total_ordering

DOF_MAX = 10**15  # contract.graphql: exact in every client, below 2^53
BPS = 10_000  # basis points in a whole


@total_ordering
class Dof:
    """An amount of whole DOF, `-DOF_MAX <= units <= DOF_MAX`. Immutable; adds only to its own kind.

    Raises OverflowError beyond the bounds: a sum that large is a fault, and must stop before it is written.
    """

    __slots__ = ("units",)
    units: int

    def __init__(self, units: int) -> None:
        if type(units) is not int:
            raise TypeError(f"DOF are whole numbers, not {type(units).__name__}")
        if not -DOF_MAX <= units <= DOF_MAX:
            raise OverflowError(f"{units} is beyond the {DOF_MAX} DOF that an amount may reach")
        object.__setattr__(self, "units", units)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an amount does not change; make a new one")

    def __add__(self, other: Dof) -> Dof:
        return Dof(self.units + other.units) if isinstance(other, Dof) else NotImplemented

    def __sub__(self, other: Dof) -> Dof:
        return Dof(self.units - other.units) if isinstance(other, Dof) else NotImplemented

    def __mul__(self, count: int) -> Dof:
        return Dof(self.units * count) if type(count) is int else NotImplemented

    def __neg__(self) -> Dof:
        return Dof(-self.units)

    def __eq__(self, other: object) -> bool:
        return self.units == other.units if isinstance(other, Dof) else NotImplemented

    def __lt__(self, other: Dof) -> bool:
        return self.units < other.units if isinstance(other, Dof) else NotImplemented

    def __hash__(self) -> int:
        return hash(("Dof", self.units))

    def __bool__(self) -> bool:
        return self.units != 0

    def __repr__(self) -> str:
        return f"Dof({self.units})"

    def prorate(self, part: int, whole: int) -> Dof:
        """`part/whole` of the amount, rounded up to a whole DOF; `0 <= part <= whole`; the whole gives all of it."""
        assert 0 <= part <= whole, "a part lies within its whole"
        assert whole > 0, "a whole is not empty"
        return Dof(-(-self.units * part // whole))


ZERO = Dof(0)


def total(amounts: Sequence[Dof]) -> Dof:
    """The sum of the amounts."""
    return Dof(sum(amount.units for amount in amounts))


def split(amount: Dof, shares_bps: Sequence[int]) -> tuple[Dof, ...]:
    """Divide a non-negative amount by basis points that add up to 10,000 (ruling 5)."""
    assert sum(shares_bps) == BPS, "the shares make the whole"
    return divide(amount, shares_bps)


def divide(amount: Dof, weights: Sequence[int]) -> tuple[Dof, ...]:
    """Divide a non-negative amount in proportion to non-negative weights; the parts always make the whole.

    Largest remainder; equal remainders go to the earlier share. No part exceeds its weight when the amount does not
    exceed their sum.
    """
    assert amount >= ZERO, "only what is there can be divided"
    assert min(weights) >= 0, "no share is negative"
    whole = sum(weights)
    assert whole > 0, "somebody has a share"
    exact = [amount.units * weight for weight in weights]
    parts = [value // whole for value in exact]
    order = sorted(range(len(parts)), key=lambda place: (-(exact[place] % whole), place))
    for place in order[: amount.units - sum(parts)]:
        parts[place] += 1
    return tuple(Dof(part) for part in parts)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of a currency in its smallest unit: `Money(499, "USD")` is 4.99 USD."""

    minor_units: int
    currency: str

    @property
    def decimal(self) -> str:
        """The amount as a decimal string with the currency's own number of places, such as "4.99" or "500"."""
        places = minor_digits(self.currency)
        sign, units = ("-", -self.minor_units) if self.minor_units < 0 else ("", self.minor_units)
        if places == 0:
            return f"{sign}{units}"
        return f"{sign}{units // 10**places}.{units % 10**places:0{places}d}"


# ISO 4217: currencies whose smallest unit is not a hundredth.
_MINOR_DIGITS = {
    **dict.fromkeys(
        (
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def minor_digits(currency: str) -> int:
    """How many decimal places the currency has (ISO 4217)."""
    return _MINOR_DIGITS.get(currency, 2)


def money_from_decimal(text: str, currency: str) -> Money | None:
    """Read a provider's decimal string exactly; None where it is no plain decimal number or has too many places."""
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.removeprefix("-").partition(".")
    places = minor_digits(currency)
    plain = (
        whole.isascii()
        and whole.isdigit()
        and len(whole) <= 15
        and (fraction == "" or (fraction.isascii() and fraction.isdigit()))
    )
    if not plain or text.endswith(".") or not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        return None
    if fraction[places:].strip("0"):
        return None
    return Money(sign * int(whole + fraction[:places].ljust(places, "0")), currency)
