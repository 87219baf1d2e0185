"""DOF and money: whole numbers, bounds, splits that lose nothing."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.money import BPS, DOF_MAX, ZERO, Dof, Money, minor_digits, money_from_decimal, split, total
from tests.make import STEADY

AMOUNTS = st.integers(0, DOF_MAX)


@st.composite
def shares_bps(draw: st.DrawFn) -> list[int]:
    cuts = sorted(draw(st.lists(st.integers(0, BPS), max_size=4)))
    edges = [0, *cuts, BPS]
    return [high - low for low, high in itertools.pairwise(edges)]


@pytest.mark.parametrize("units", [1.0, 0.5, True, False, "1", None, b"1", Fraction(1), float("nan")])
def test_only_a_whole_number_is_an_amount(units: Any) -> None:
    with pytest.raises(TypeError):
        Dof(units)


@pytest.mark.parametrize("units", [DOF_MAX, -DOF_MAX, 0, 1, 2**31])
def test_within_the_bounds(units: int) -> None:  # T-M01
    assert Dof(units).units == units


@pytest.mark.parametrize("units", [DOF_MAX + 1, -DOF_MAX - 1, 2**53 + 1, 2**63 - 1, 2**63, 10**1000])
def test_beyond_the_bounds(units: int) -> None:  # T-M01
    with pytest.raises(OverflowError):
        Dof(units)


def test_sums_stop_at_the_bounds() -> None:  # T-M03
    for beyond in (
        lambda: Dof(DOF_MAX) + Dof(1),
        lambda: Dof(-DOF_MAX) - Dof(1),
        lambda: Dof(DOF_MAX) * 2,
        lambda: total([Dof(DOF_MAX), Dof(1)]),
    ):
        with pytest.raises(OverflowError):
            beyond()


def test_an_amount_mixes_with_nothing_else() -> None:
    one: Any = Dof(1)
    for mixed in (
        lambda: one + 1,
        lambda: 1 + one,
        lambda: one - 1,
        lambda: one * 1.0,
        lambda: one * True,
        lambda: one * one,
        lambda: one < 1,
        lambda: one >= 1,
    ):
        with pytest.raises(TypeError):
            mixed()
    assert one != 1
    assert len({Dof(1), Dof(1), 1}) == 2


def test_an_amount_does_not_change() -> None:
    amount: Any = Dof(1)
    with pytest.raises(AttributeError):
        amount.units = 2
    with pytest.raises(AttributeError):
        amount.other = 2


@STEADY
@given(st.lists(st.integers(-1000, 1000)))
def test_arithmetic_is_that_of_integers(units: list[int]) -> None:
    assert total([Dof(each) for each in units]) == Dof(sum(units))
    assert sorted(Dof(each) for each in units) == [Dof(each) for each in sorted(units)]
    assert all(bool(Dof(each)) == bool(each) and -Dof(each) == Dof(-each) for each in units)


@STEADY
@given(AMOUNTS, st.integers(1, 50_000), st.data())
def test_a_part_is_rounded_up_and_the_whole_is_whole(units: int, whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    exact = Fraction(units * part, whole)
    assert 0 <= Dof(units).prorate(part, whole).units - exact < 1
    assert (Dof(units).prorate(0, whole), Dof(units).prorate(whole, whole)) == (ZERO, Dof(units))


@STEADY
@given(AMOUNTS, shares_bps())
def test_parts_make_the_whole(units: int, bps: list[int]) -> None:
    parts = split(Dof(units), bps)
    assert sum(part.units for part in parts) == units
    assert all(abs(part.units - Fraction(units * each, BPS)) < 1 for part, each in zip(parts, bps, strict=True))
    assert all(part >= ZERO for part in parts)
    assert parts == split(Dof(units), bps)


@STEADY
@given(AMOUNTS, shares_bps())
def test_the_largest_remainders_win_and_ties_go_to_the_earlier(units: int, bps: list[int]) -> None:
    parts = [part.units for part in split(Dof(units), bps)]
    raised = [part > units * each // BPS for part, each in zip(parts, bps, strict=True)]
    rests = [units * each % BPS for each in bps]
    for place, rest in enumerate(rests):
        for other, other_rest in enumerate(rests):
            if raised[other] and not raised[place]:
                assert (other_rest, -other) > (rest, -place)


@pytest.mark.parametrize(
    ("units", "bps", "parts"),
    [
        (1, (7000, 2000, 1000), (1, 0, 0)),
        (2, (7000, 2000, 1000), (2, 0, 0)),
        (3, (7000, 2000, 1000), (2, 1, 0)),
        (1, (3333, 3333, 3334), (0, 0, 1)),
        (2, (3333, 3333, 3334), (1, 0, 1)),
        (3, (3333, 3333, 3334), (1, 1, 1)),
        (2, (2500, 2500, 2500, 2500), (1, 1, 0, 0)),
        (3, (10000, 0, 0), (3, 0, 0)),
        (0, (7500, 1500, 1000), (0, 0, 0)),
        (DOF_MAX, (7500, 1500, 1000), (75 * 10**13, 15 * 10**13, 10**14)),
    ],
)
def test_small_splits(units: int, bps: tuple[int, ...], parts: tuple[int, ...]) -> None:  # T-M04
    assert split(Dof(units), bps) == tuple(Dof(part) for part in parts)


@pytest.mark.parametrize("bps", [(9_999,), (10_001,), (11_000, -1_000), ()])
def test_shares_that_are_no_whole_are_refused(bps: tuple[int, ...]) -> None:  # T-M05
    with pytest.raises(AssertionError):
        split(Dof(1), bps)


def test_nothing_negative_is_split() -> None:
    with pytest.raises(AssertionError):
        split(Dof(-1), (BPS,))


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("4.99", "USD", 499),
        ("4.9", "USD", 490),
        ("4", "USD", 400),
        ("4.990000", "USD", 499),
        ("-0.01", "USD", -1),
        ("500", "JPY", 500),
        ("500.00", "JPY", 500),
        ("1.234", "KWD", 1234),
        ("007.10", "USD", 710),
        ("999999999999999.99", "USD", 10**17 - 1),
    ],
)
def test_a_decimal_is_read_exactly(text: str, currency: str, minor: int) -> None:  # T-W16
    assert money_from_decimal(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        *((text, "USD") for text in ("1e3", "0x10", " 5", "5 ", "٣", "+5", "5.", ".5", "", "-", "--5", "1,0", "5.001")),
        ("1_0", "USD"),
        ("1.²", "USD"),
        ("NaN", "USD"),
        ("9" * 16, "USD"),
        ("9" * 10**6, "USD"),
        ("5.1", "JPY"),
        ("5", "usd"),
        ("5", "US"),
        ("5", ""),
        ("5", "ÜSD"),
    ],
)
def test_anything_else_is_no_amount(text: str, currency: str) -> None:  # T-M02
    assert money_from_decimal(text, currency) is None


@STEADY
@given(st.integers(-(10**15), 10**15), st.sampled_from(["USD", "JPY", "KWD", "XAF", "MXN"]))
def test_a_decimal_is_read_as_it_was_written(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assume(len(money.decimal.lstrip("-").partition(".")[0]) <= 15)
    assert money_from_decimal(money.decimal, currency) == money


def test_decimals_have_the_places_of_their_currency() -> None:
    shown = [Money(-5, code).decimal for code in ("USD", "JPY", "KWD")]
    assert shown == ["-0.05", "-5", "-0.005"]
    assert [minor_digits(code) for code in ("USD", "JPY", "KWD", "XXX")] == [2, 0, 3, 2]
