"""Orders: facts in any order and number end in one state."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import UnknownPackage
from domain.money import ZERO, Dof, Money
from domain.orders import (
    FACTS_MAX,
    NO_CURRENCY,
    Fact,
    FactKind,
    Order,
    OrderLine,
    Report,
    absorb,
    value,
)
from domain.purchases import Package, PurchaseStatus, Rail, Tier, find_package, price_of
from tests.make import BRONZE, CANCEL, NOW, PACKAGES, SILVER, STEADY, facts, paid, refund

EMPTY = Order("ord_1", Rail.SHOPIFY, "jiga.test", "1001", NOW)
STATES = dict[str, Any]


def order_of(*reports: Report, packages: tuple[Package, ...] = PACKAGES) -> Order:
    order = EMPTY
    for number, report in enumerate(reports):
        order = absorb(order, facts(report), packages, NOW + timedelta(seconds=number))
    return order


def ends(orders: Iterable[Order]) -> set[tuple[Dof, PurchaseStatus, tuple[str, ...]]]:
    return {(order.target, order.outcome, order.doubts) for order in orders}


SIX = (paid(), refund(1, 100), refund(2, 100), refund(3, 50), refund(4, 499), CANCEL)


@pytest.mark.parametrize("left_out", [(), (5,), (4, 5), (0,), (0, 5), (3, 4)])
def test_every_order_ends_in_one_state(left_out: tuple[int, ...]) -> None:  # T-W04
    told = [report for place, report in enumerate(SIX) if place not in left_out]
    assert len(ends(order_of(*each) for each in itertools.permutations(told))) == 1


@STEADY
@given(st.lists(st.sampled_from(SIX), max_size=18))
def test_a_fact_counts_once(told: list[Report]) -> None:  # T-W03, T-W13
    once = {report.key: report for report in told}
    assert ends([order_of(*told)]) == ends([order_of(*once.values())])


@pytest.mark.parametrize(
    ("told", "target", "outcome"),
    [
        ((), 0, PurchaseStatus.PENDING),
        ((paid(),), 150_000, PurchaseStatus.COMPLETED),
        ((refund(1, 499),), 0, PurchaseStatus.PENDING),
        ((CANCEL,), 0, PurchaseStatus.FAILED),
        ((CANCEL, paid()), 0, PurchaseStatus.REFUNDED),
        ((paid(), refund(1, 499)), 0, PurchaseStatus.REFUNDED),
        ((paid(), refund(1, 500)), 0, PurchaseStatus.REFUNDED),
        ((paid(), refund(1, 300), refund(2, 300)), 0, PurchaseStatus.REFUNDED),
        ((paid(), refund(1, 100)), 150_000 * 399 // 499, PurchaseStatus.COMPLETED),
        ((paid(), refund(1, 498)), 150_000 // 499, PurchaseStatus.COMPLETED),
        ((paid(), refund(1, 100, NO_CURRENCY)), 150_000 * 399 // 499, PurchaseStatus.COMPLETED),
        ((paid(), refund(1, 100, "CAD")), 150_000, PurchaseStatus.COMPLETED),
        ((paid(minor_units=1),), 0, PurchaseStatus.PENDING),
        ((paid(minor_units=1), CANCEL), 0, PurchaseStatus.FAILED),
    ],
)
def test_where_an_order_stands(told: tuple[Report, ...], target: int, outcome: PurchaseStatus) -> None:  # T-W05, T-W12
    order = order_of(*told)
    assert (order.target, order.outcome) == (Dof(target), outcome)


def test_equal_refunds_with_other_ids_are_several() -> None:  # T-W13
    assert order_of(paid(), *(refund(number, 100) for number in (1, 2, 3))).target == Dof(150_000 * 199 // 499)
    assert order_of(paid(), *(refund(1, 100) for _ in range(3))).target == Dof(150_000 * 399 // 499)


def test_a_refund_is_a_part_of_all_that_was_captured() -> None:
    taxed = replace(paid(), gross=Money(600, "USD"))
    assert order_of(taxed).target == Dof(150_000)
    assert order_of(taxed, refund(1, 300)).target == Dof(75_000)
    assert order_of(taxed, refund(1, 499)).target == Dof(150_000 * 101 // 600)
    assert order_of(taxed, refund(1, 600)).target == ZERO


def test_a_refund_without_a_currency_is_in_the_orders() -> None:
    yen = (Package("Y", "", Tier.GOLD, Dof(1_000), ZERO, Money(500, "JPY")),)
    bought = paid("Y", minor_units=500, currency="JPY")
    assert order_of(bought, packages=yen).target == Dof(1_000)
    assert order_of(bought, refund(1, 250, "JPY"), packages=yen).target == Dof(500)
    # Read as hundredths, 250 yen were 25,000: which it was, nobody can tell.
    unsure = order_of(bought, refund(1, 25_000, NO_CURRENCY), packages=yen)
    assert (unsure.target, unsure.doubts) == (Dof(1_000), ("a refund gave XXX back, which is not what was paid",))


def test_money_of_another_currency_is_a_doubt() -> None:  # T-W16
    assert order_of(paid(), refund(1, 1, "CAD"), refund(2, 1, "MXN")).doubts == (
        "a refund gave CAD back, which is not what was paid",
        "a refund gave MXN back, which is not what was paid",
    )
    assert order_of(refund(1, 1, "CAD")).doubts == ()  # nothing to compare it with, until it is paid


@pytest.mark.parametrize(
    ("report", "doubt"),
    [
        (paid(minor_units=498), "paid 4.98 USD where the price table asks 4.99 USD"),
        (paid(minor_units=500), "paid 5.00 USD where the price table asks 4.99 USD"),
        (paid(minor_units=0), "paid 0.00 USD where the price table asks 4.99 USD"),
        (paid(currency="CAD"), "paid 4.99 CAD where the price table asks 4.99 USD"),
        (paid(currency="JPY"), "paid 499 JPY where the price table asks 4.99 USD"),
        (replace(paid(), money=None), "paid nothing where the price table asks 4.99 USD"),
        (paid("dof-150k-bronze"), "the SKU 'dof-150k-bronze' is not in the price table"),
        (paid(f"{BRONZE} "), "the SKU 'DOF-150K-BRONZE ' is not in the price table"),
        (paid(""), "the SKU '' is not in the price table"),
        (paid("x" * 10**6), f"the SKU {'x' * 80!r} is not in the price table"),
        (paid(quantity=0), "a quantity of 0 is outside 1 to 100"),
        (paid(quantity=-1), "a quantity of -1 is outside 1 to 100"),
        (paid(quantity=101), "a quantity of 101 is outside 1 to 100"),
        (paid(quantity=10**9), "a quantity of 1000000000 is outside 1 to 100"),
        (replace(paid(), lines=()), "the order has no line of a DOF package"),
        (replace(paid(), lines=(OrderLine(BRONZE, 1),) * 251), "the order has more than 250 lines"),
        (replace(paid(), lines=(OrderLine(BRONZE, 1), OrderLine("HAT", 1))), "the SKU 'HAT' is not in the price table"),
        (replace(paid(), doubt="a gift card paid for it"), "a gift card paid for it"),
    ],
)
def test_what_the_table_does_not_ask_is_not_credited(report: Report, doubt: str) -> None:  # T-W14, T-W15, T-W17
    order = order_of(report)
    assert (order.target, order.doubts, order.is_paid) == (ZERO, (doubt,), True)


def test_the_table_decides_what_lines_are_worth() -> None:  # ruling 4
    mixed = replace(paid(), money=Money(2 * 499 + 3 * 1499, "USD"), lines=(OrderLine(BRONZE, 2), OrderLine(SILVER, 3)))
    assert value(mixed, PACKAGES, NOW) == Fact(FactKind.PAID, NOW, mixed.money, Dof(2 * 150_000 + 3 * 525_000))
    assert value(paid(SILVER, 100), PACKAGES, NOW).dof == Dof(52_500_000)


def test_no_order_is_larger_than_a_wallet_or_of_two_currencies() -> None:
    huge = (Package("H", "", Tier.GOLD, Dof(10**15), ZERO, Money(1, "USD")),)
    assert order_of(paid("H", 2, 2), packages=huge).doubts[0].startswith("the order is larger than a wallet may hold")
    mixed = (*PACKAGES, Package("E", "", Tier.GOLD, Dof(1), ZERO, Money(1, "EUR")))
    both = replace(paid(), lines=(OrderLine(BRONZE, 1), OrderLine("E", 1)))
    assert order_of(both, packages=mixed).target == ZERO


def test_a_fact_stays_as_it_was_first_told() -> None:
    order = order_of(paid(), paid(SILVER), refund(1, 100), refund(1, 99), refund(1, 499, "CAD"))
    assert order.target == Dof(150_000 * 399 // 499)
    assert [fact.at for fact in order.facts.values()] == [NOW, NOW + timedelta(seconds=2)]


def test_a_refund_grows_as_its_transactions_succeed() -> None:
    for told in itertools.permutations([paid(), refund(1, 100), refund(1, 300), refund(1, 499)]):
        assert order_of(*told).target == ZERO


def test_no_flood_of_refunds_keeps_a_cancellation_out() -> None:
    flood = [refund(number, 1) for number in range(FACTS_MAX + 50)]
    order = order_of(*flood, paid())
    assert (len(order.facts), order.target) == (FACTS_MAX + 1, Dof(150_000 * 299 // 499))
    assert order.doubts == ("it has gathered 200 facts, and takes in no further refund",)
    assert order_of(*flood, paid(), CANCEL).target == ZERO


def test_an_order_keeps_whom_it_first_named() -> None:
    first = absorb(EMPTY, facts(paid(), purchase_id="pur_1", email="a@x.test"), PACKAGES, NOW)
    again = absorb(first, facts(CANCEL, purchase_id="pur_2", email="b@x.test"), PACKAGES, NOW)
    assert (again.purchase_id, again.email) == ("pur_1", "a@x.test")
    assert absorb(EMPTY, facts(refund(1, 1)), PACKAGES, NOW).email is None


def test_an_order_is_its_shops() -> None:
    told = facts()
    ids = {told.order_id, replace(told, shop="other.test").order_id, replace(told, reference="1002").order_id}
    assert len({*ids, replace(told, rail=Rail.STRIPE).order_id}) == 4


def test_prices_of_packages() -> None:
    assert price_of(PACKAGES, SILVER, 2) == (Dof(1_050_000), Money(2998, "USD"))
    assert find_package(PACKAGES, "nothing") is None
    with pytest.raises(UnknownPackage, match=f"choose one of {BRONZE}, {SILVER}"):
        price_of(PACKAGES, "nothing", 1)
