"""Amounts as Stripe writes them: whole numbers of a smallest unit, which is not always the one of ISO 4217.

Source: docs.stripe.com/currencies, "Zero-decimal currencies", "Special cases" and "Three-decimal currencies".
"""

from __future__ import annotations

from domain.money import Money, minor_digits

# Stripe keeps ISK and UGX at two places, for compatibility, though they have none; and MGA at none, though it has two.
_FURTHER_DIGITS = {"ISK": 2, "UGX": 2, "MGA": -2}


def stripe_amount(money: Money) -> int:
    """The amount as Stripe takes it. Raises ValueError for one that Stripe cannot express or does not take."""
    shift = _FURTHER_DIGITS.get(money.currency, 0)
    amount = money.minor_units * 10**shift if shift >= 0 else _divided(money.minor_units, 10**-shift)
    if amount is None or (minor_digits(money.currency) == 3 and amount % 10):
        raise ValueError(f"Stripe takes no {money.decimal} {money.currency}: the currency has fewer places there")
    return amount


def money_from_stripe(amount: int, currency: str) -> Money | None:
    """The money that a Stripe amount of an upper-case currency is; None for a fraction of the smallest unit."""
    shift = _FURTHER_DIGITS.get(currency, 0)
    minor_units = _divided(amount, 10**shift) if shift >= 0 else amount * 10**-shift
    return None if minor_units is None else Money(minor_units, currency)


def _divided(amount: int, unit: int) -> int | None:
    whole, rest = divmod(amount, unit)
    return None if rest else whole
