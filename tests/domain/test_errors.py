"""What a refusal says where one text would send its reader the wrong way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from domain.errors import IdempotencyConflict, InsufficientDof, WalletFrozen
from domain.money import Dof
from domain.payouts import PayoutAccount, require_payable
from domain.wallets import Wallet
from tests import make

ACCOUNT = PayoutAccount("usr_a", "acct_1", True, (), datetime(2026, 3, 1, tzinfo=UTC))


def test_a_payout_tells_to_wait_and_not_to_buy() -> None:
    terms = make.policy().payouts
    wallet = Wallet("usr_a", available=terms.least, payable=Dof(7))
    with pytest.raises(InsufficientDof) as refused:
        require_payable(wallet, ACCOUNT, terms.least + Dof(1), terms)
    least = terms.least.units
    said = refused.value.message
    assert said.startswith(f"Only matured earnings are payable, and 7 of {least + 1} DOF are: ask for less, or wait")
    assert (refused.value.needed, refused.value.available) == (least + 1, 7)
    with pytest.raises(WalletFrozen):
        require_payable(replace(wallet, open_disputes=1), ACCOUNT, terms.least, terms)


def test_debt_names_no_cause_that_may_not_be_its_own() -> None:
    assert WalletFrozen(debt=7).message == "This wallet cannot spend, because it owes 7 DOF: buy DOF to repay it."


def test_a_key_is_called_what_its_caller_calls_it() -> None:
    said = "was used with another input: send the same input again, or choose a new"
    assert IdempotencyConflict().message == f"This idempotencyKey {said} key."
    assert IdempotencyConflict("sequence").message == f"This sequence {said} sequence."
