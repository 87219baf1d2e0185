"""Wallets: any sequence of moves conserves, nothing goes below zero, and the postings say exactly what changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain import ledger, wallets
from domain.errors import InsufficientDof, WalletFrozen
from domain.ledger import Posting, balance
from domain.money import DOF_MAX, ZERO, Dof
from domain.wallets import Move, Wallet
from tests.make import STEADY

AMOUNTS = st.integers(1, 1000).map(Dof)


def wallet(available: int = 0, held: int = 0, debt: int = 0, **changes: Any) -> Wallet:
    return Wallet("usr_a", Dof(available), Dof(held), Dof(debt), **changes)


def parts(of: Wallet) -> tuple[int, int, int]:
    return of.available.units, of.held.units, of.debt.units


class Moves(RuleBasedStateMachine):
    """Every move there is, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.wallet = wallet()
        self.postings: tuple[Posting, ...] = ()

    def take(self, move: Move) -> None:
        self.wallet = move.wallet
        self.postings += move.postings

    @rule(amount=AMOUNTS)
    def credit(self, amount: Dof) -> None:
        self.take(wallets.credit(self.wallet, amount, ledger.WORLD_SHOPIFY))

    @rule(amount=AMOUNTS)
    def reclaim(self, amount: Dof) -> None:
        held = self.wallet.held
        self.take(wallets.reclaim(self.wallet, amount, ledger.WORLD_SHOPIFY))
        assert self.wallet.held == held

    @rule(amount=AMOUNTS)
    def hold(self, amount: Dof) -> None:
        before = self.wallet
        if before.debt:
            with pytest.raises(WalletFrozen) as frozen:
                wallets.hold(before, amount)
            assert frozen.value.debt == before.debt.units
        elif before.available < amount:
            with pytest.raises(InsufficientDof) as lacking:
                wallets.hold(before, amount)
            assert (lacking.value.needed, lacking.value.available) == (amount.units, before.available.units)
        else:
            self.take(wallets.hold(before, amount))

    @rule(part=st.integers(0, 100), shared=st.integers(0, 100))
    def settle(self, part: int, shared: int) -> None:
        used = self.wallet.held.prorate(part, 100)
        rest = self.wallet.held - used
        owner = used.prorate(shared, 100)
        targets = ((ledger.earned("usr_o"), owner), (ledger.PLATFORM_FEES, used - owner))
        self.take(wallets.capture(self.wallet, used, targets))
        self.take(wallets.release(self.wallet, rest))
        assert self.wallet.held == ZERO

    @invariant()
    def it_is_what_its_postings_leave(self) -> None:
        left = [balance(self.postings, address("usr_a")) for address in (ledger.available, ledger.held, ledger.debt)]
        assert parts(self.wallet) == (left[0], left[1], -left[2])

    @invariant()
    def nothing_is_negative_and_who_owes_has_nothing(self) -> None:
        assert min(parts(self.wallet)) >= 0
        assert not (self.wallet.available and self.wallet.debt)


TestMoves = Moves.TestCase
TestMoves.settings = settings(STEADY, max_examples=60)


def test_a_wallet_that_cannot_be_does_not_exist() -> None:
    for wrong in ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (1, 0, 1)):
        with pytest.raises(AssertionError):
            wallet(*wrong)


def test_debt_is_repaid_first() -> None:  # T-M08
    move = wallets.credit(wallet(debt=30), Dof(100), ledger.PROMO)
    assert parts(move.wallet) == (70, 0, 0)
    assert move.postings == (
        Posting("promo", "user:usr_a:debt", Dof(30)),
        Posting("promo", "user:usr_a:available", Dof(70)),
    )
    assert parts(wallets.credit(wallet(debt=30), Dof(30), ledger.PROMO).wallet) == (0, 0, 0)
    assert parts(wallets.credit(wallet(debt=30), Dof(10), ledger.PROMO).wallet) == (0, 0, 20)


def test_a_reclaim_takes_what_is_there_and_leaves_what_is_held() -> None:  # ruling 8
    move = wallets.reclaim(wallet(available=40, held=500), Dof(100), ledger.WORLD_STRIPE)
    assert parts(move.wallet) == (0, 500, 60)
    assert move.postings == (
        Posting("user:usr_a:available", "world:stripe", Dof(40)),
        Posting("user:usr_a:debt", "world:stripe", Dof(60)),
    )


def test_what_was_held_repays_debt_first() -> None:  # LerianStudio/midaz#2317
    move = wallets.release(wallet(held=100, debt=30), Dof(100))
    assert parts(move.wallet) == (70, 0, 0)
    assert {posting.source for posting in move.postings} == {"user:usr_a:held"}


@pytest.mark.parametrize("changes", [{"open_disputes": 1}, {"open_disputes": 1, "available": 10**6}])
def test_a_frozen_wallet_spends_nothing(changes: dict[str, Any]) -> None:
    with pytest.raises(WalletFrozen) as refused:
        wallets.hold(wallet(**changes), Dof(1))
    assert refused.value.debt == 0


def test_an_empty_move_posts_nothing() -> None:
    assert wallets.credit(wallet(), ZERO, ledger.PROMO) == Move(wallet(), ())
    assert wallets.capture(wallet(held=5), ZERO, ()) == Move(wallet(held=5), ())


def test_a_capture_is_paid_out_whole() -> None:
    with pytest.raises(AssertionError):
        wallets.capture(wallet(held=10), Dof(10), ((ledger.PLATFORM_FEES, Dof(9)),))
    with pytest.raises(AssertionError):
        wallets.capture(wallet(held=9), Dof(10), ((ledger.PLATFORM_FEES, Dof(10)),))


@STEADY
@given(st.integers(-DOF_MAX, DOF_MAX), st.integers(0, DOF_MAX), st.integers(0, DOF_MAX))
def test_what_fits_never_overflows_then_or_later(change: int, held: int, standing: int) -> None:  # T-M03
    for before in (wallet(min(standing, DOF_MAX - held), held), wallet(0, held, standing)):
        if not wallets.fits(before, change):
            continue
        if change >= 0:
            after = wallets.credit(before, Dof(change), ledger.PROMO).wallet
        else:
            after = wallets.reclaim(before, Dof(-change), ledger.PROMO).wallet
        wallets.release(after, after.held)
    assert wallets.fits(wallet(DOF_MAX - 1), 1)
    assert not wallets.fits(wallet(DOF_MAX - 1), 2)
    assert not wallets.fits(wallet(0, DOF_MAX), 1)
    assert not wallets.fits(wallet(debt=DOF_MAX), -1)


def test_versions_are_the_ledgers_business() -> None:
    before = wallet(available=10, version=4, sequence=2)
    assert wallets.hold(before, Dof(10)).wallet == replace(before, available=ZERO, held=Dof(10))
