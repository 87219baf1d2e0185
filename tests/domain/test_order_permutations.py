"""All orders of eight facts about one purchase, told by two sources, some more than once: one final state (T-W04).

The orders are walked level by level, and those that have come to one state go on as one: some thousand deliveries tell
what 10,321,920 walks would, which are 8! orders, each fact of which one source tells alone, or the other with all that
it knows. Everywhere on the way all that is known is told again, and changes nothing: a duplicate at any place of any
order is one of these.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from domain import ledger, orders, wallets
from domain.ids import Kind, derived_id
from domain.ledger import balance
from domain.money import ZERO, Dof, Money
from domain.orders import FactKind, Order, OrderFacts, OrderLine, Report
from domain.purchases import Package, PurchaseStatus, Rail, Tier
from domain.wallets import Wallet

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USER = derived_id(Kind.USER, "max")
PACKAGES = (Package("DOF-S", "Small", Tier.BRONZE, Dof(1_000), Dof(0), Money(500, "USD")),)
SPENT = Dof(90)

FACTS = (
    Report("paid", FactKind.PAID, Money(500, "USD"), (OrderLine("DOF-S", 1),)),
    Report("refund:a", FactKind.REFUND, Money(100, "USD")),
    Report("refund:b", FactKind.REFUND, Money(75, "USD")),
    Report("refund:b:failed", FactKind.REFUND_FAILED, Money(75, "USD"), subject="refund:b"),
    Report("dispute:d:opened", FactKind.DISPUTE_OPENED, Money(200, "USD"), subject="d"),
    Report("dispute:d:won", FactKind.DISPUTE_WON, Money(200, "USD"), subject="d"),
    Report("dispute:e:opened", FactKind.DISPUTE_OPENED, Money(150, "USD"), subject="e"),
    Report("dispute:e:lost", FactKind.DISPUTE_LOST, Money(150, "USD"), subject="e"),
)
INQUIRY, CLOSED, OPENED, LOST, APPEALED, WON = (
    Report(f"dispute:d:{stage.lower()}", FactKind[f"DISPUTE_{stage}"], Money(200, "USD"), subject="d")
    for stage in ("INQUIRY", "CLOSED", "OPENED", "LOST", "APPEALED", "WON")
)
CANCEL = Report("cancel", FactKind.CANCEL)
LEFT = 500 - 100 - 150  # of the 500 cents: one refund stands and one dispute is lost

State = tuple[Order, Wallet, int]
"""The order, its user's wallet, and what the world has given by the postings."""


@dataclass(frozen=True)
class End:
    """A state, and how many walks come to it."""

    state: State
    walks: int


def told(*reports: Report) -> OrderFacts:
    return OrderFacts(Rail.STRIPE, "stripe", "pi_1", False, reports)


def fresh(available: int = 0) -> State:
    return Order("order", Rail.STRIPE, "stripe", "pi_1", NOW, user_id=USER), Wallet(USER, Dof(available)), 0


def deliver(state: State, facts: OrderFacts) -> State:
    """What one delivery does: the facts are added, and the wallet follows the target."""
    before, wallet, given = state
    order = orders.absorb(before, facts, PACKAGES, NOW)
    if order == before:
        return state
    delta = order.target - order.applied
    if delta:
        move = (
            wallets.credit(wallet, delta, ledger.WORLD_STRIPE)
            if delta > ZERO
            else wallets.reclaim(wallet, -delta, ledger.WORLD_STRIPE)
        )
        wallet, given = move.wallet, given - balance(move.postings, ledger.WORLD_STRIPE)
        order = replace(order, applied=order.target, entries=order.entries + 1)
    if order.has_open_dispute != order.disputed:
        step = 1 if order.has_open_dispute else -1
        wallet = replace(wallet, open_disputes=wallet.open_disputes + step)
        order = replace(order, disputed=order.has_open_dispute)
    return order, wallet, given


def walk(state: State, rest: Sequence[Report], known: Sequence[Report] = ()) -> list[End]:
    """Where every order of `rest` ends, each fact told in both ways: alone, as the one source does, or with all that
    is known by then, as the other's books do."""
    level: dict[frozenset[Report], list[End]] = {frozenset(): [End(state, 1)]}
    rng = random.Random(len(rest))
    for _ in rest:
        following: dict[frozenset[Report], list[End]] = {}
        for heard, ends in level.items():
            for end, report in itertools.product(ends, set(rest) - heard):
                now_known = (*known, *(each for each in rest if each in heard or each is report))
                for delivery in (told(report), told(*now_known)):
                    after = deliver(end.state, delivery)
                    assert deliver(backwards(end.state), delivery) == after
                    _join(following.setdefault(heard | {report}, []), after, end.walks)
        for heard, ends in following.items():
            for end in ends:
                _check_told_again(end.state, (*known, *heard), rng)
        level = following
    (ends,) = level.values()
    return ends


def _join(ends: list[End], state: State, walks: int) -> None:
    """Walks that have come to one state go on as one: what a delivery does depends on nothing else."""
    for place, end in enumerate(ends):
        if end.state == state:
            ends[place] = End(end.state, end.walks + walks)
            return
    ends.append(End(state, walks))


def backwards(state: State) -> State:
    """An equal state, whose facts stand in the other order."""
    order, *others = state
    return replace(order, facts=dict(reversed(order.facts.items()))), *others


def shuffled(state: State, rng: random.Random) -> State:
    order, *others = state
    return replace(order, facts=dict(rng.sample([*order.facts.items()], len(order.facts)))), *others


def _check_told_again(state: State, known: Sequence[Report], rng: random.Random) -> None:
    """A duplicate of anything that is known changes nothing; nor does the order in which the facts were kept."""
    for delivery in (told(*known), told(*reversed(known)), *map(told, known)):
        assert deliver(state, delivery) == state
    for each in (backwards(state), shuffled(state, rng), shuffled(state, rng)):
        assert meaning(each[0]) == meaning(state[0])


def meaning(order: Order) -> tuple[object, ...]:
    """What is read from an order's facts."""
    return order.target, order.outcome, order.doubts, order.has_open_dispute, order.is_contested, order.refunded


def final(state: State) -> tuple[object, ...]:
    """What may not depend on the order in which the facts came: all but the number of entries on the way."""
    order, wallet, given = state
    facts = tuple(sorted((key, fact.kind, fact.dof, fact.money) for key, fact in order.facts.items()))
    doubts = order.doubts
    return facts, order.applied, order.outcome, doubts, wallet.balances, wallet.open_disputes, given


def test_t_w04_every_order_of_eight_facts_ends_in_one_state() -> None:
    ends = walk(fresh(), FACTS)
    assert sum(end.walks for end in ends) == math.factorial(8) * 2**8
    seen = {final(end.state) for end in ends}
    ((_, applied, outcome, doubts, balances, open_disputes, given),) = seen
    due = 1_000 * LEFT // 500
    assert (applied, outcome, doubts) == (Dof(due), PurchaseStatus.COMPLETED, ())
    assert (balances, open_disputes, given) == (Wallet(USER, Dof(due)).balances, 0, due)


def test_t_w04_every_order_ends_in_one_debt_after_the_dof_were_spent() -> None:
    """Paid and spent first: then refunds, disputes and the cancellation in any order."""
    order, wallet, given = deliver(fresh(), told(FACTS[0]))
    spent = replace(wallet, available=wallet.available - SPENT)
    rest = (FACTS[1], FACTS[4], FACTS[5], FACTS[6], CANCEL)
    ends = walk((order, spent, given), rest, (FACTS[0],))
    assert sum(end.walks for end in ends) == math.factorial(5) * 2**5
    ((_, applied, outcome, _, balances, open_disputes, left),) = {final(end.state) for end in ends}
    assert (applied, outcome, left) == (ZERO, PurchaseStatus.REFUNDED, 0)
    assert (balances.available, balances.debt, open_disputes) == (ZERO, SPENT, 1)


@pytest.mark.parametrize(
    ("stages", "due", "open_disputes", "contested"),
    [
        ((INQUIRY,), 1_000, 0, False),
        ((INQUIRY, CLOSED), 1_000, 0, False),
        ((INQUIRY, CLOSED, OPENED), 600, 1, False),
        ((INQUIRY, OPENED, WON), 1_000, 0, False),
        ((INQUIRY, CLOSED, OPENED, LOST), 600, 0, False),
        ((OPENED, LOST, APPEALED), 600, 0, False),
        ((OPENED, LOST, APPEALED, WON), 1_000, 0, False),
        ((OPENED, WON, LOST), 600, 1, True),
        ((WON, LOST), 600, 1, True),
    ],
)
def test_t_w04_a_dispute_ends_alike_whatever_was_told_first(
    stages: tuple[Report, ...], due: int, open_disputes: int, contested: bool
) -> None:
    """Its stages have an order of their own. Won and lost have none without an appeal: that is open, and asked."""
    ends = walk(fresh(), (FACTS[0], *stages))
    assert len({final(end.state) for end in ends}) == 1
    order, wallet, given = ends[0].state
    assert (order.applied, wallet.available, given) == (Dof(due), Dof(due), due)
    assert (wallet.open_disputes, {end.state[0].is_contested for end in ends}) == (open_disputes, {contested})


def test_t_w05_refunds_disputes_and_a_cancellation_without_a_payment_leave_nothing() -> None:
    ends = walk(fresh(7), (*FACTS[1:5], CANCEL))
    ((_, applied, outcome, _, balances, open_disputes, given),) = {final(end.state) for end in ends}
    assert (applied, outcome, given) == (ZERO, PurchaseStatus.FAILED, 0)
    assert (balances.available, balances.debt, open_disputes) == (Dof(7), ZERO, 1)
