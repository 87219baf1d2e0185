"""Paying out what a user has earned and what has matured, at the settings' rate (ruling 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain import ledger
from domain.errors import BelowMinimum, InsufficientDof, PayoutNotReady
from domain.money import ZERO, Dof, Money
from domain.wallets import Move, Wallet, credit, require_spendable

RATE_UNIT = 1_000_000  # the rate is told for a million DOF, so that it can be a whole number of cents


class PayoutState(StrEnum):
    """REQUESTED waits for its transfer, SENT for the bank. FAILED is terminal and wins, even over PAID."""

    REQUESTED = "REQUESTED"
    SENT = "SENT"
    PAID = "PAID"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class PayoutTerms:
    """What a million DOF pays, in the currency's smallest unit, and the least that is paid out at once."""

    rate_minor_units: int
    currency: str
    minimum: Money

    def money(self, amount: Dof) -> Money:
        """What the amount pays, rounded down to the smallest unit."""
        return Money(amount.units * self.rate_minor_units // RATE_UNIT, self.currency)

    @property
    def least(self) -> Dof:
        """The smallest amount that reaches the minimum."""
        return Dof(-(-self.minimum.minor_units * RATE_UNIT // self.rate_minor_units))


@dataclass(frozen=True, slots=True)
class PayoutAccount:
    """A user's account with the provider; `id` is the user's. `missing` names what the provider still asks for."""

    id: str
    account_id: str
    ready: bool
    missing: tuple[str, ...]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Payout:
    """A payout. `transfer_key` was fixed with the request, before any call to the provider."""

    id: str
    user_id: str
    amount: Dof
    money: Money
    account_id: str
    state: PayoutState
    transfer_key: str
    transaction_id: str
    fingerprint: str
    created_at: datetime
    transfer_id: str | None = None
    concluded_at: datetime | None = None
    failure: str | None = None


def require_payable(wallet: Wallet, account: PayoutAccount | None, amount: Dof, terms: PayoutTerms) -> PayoutAccount:
    """The account to pay to. Raises PayoutNotReady, BelowMinimum, WalletFrozen, InsufficientDof."""
    if account is None:
        raise PayoutNotReady("No payout account is connected: begin with connectPayouts.")
    if not account.ready:
        asked = ", ".join(account.missing) or "its review by the provider"
        raise PayoutNotReady(f"The payout account is not complete ({asked}): go on with connectPayouts.")
    if amount < terms.least:
        least, money = terms.least.units, terms.minimum
        raise BelowMinimum(f"A payout is at least {money.decimal} {money.currency}: ask for {least} DOF or more.")
    require_spendable(wallet, ZERO)
    if wallet.available < amount:
        raise InsufficientDof(needed=amount.units, available=wallet.payable.units, payout=True)
    if wallet.payable < amount:
        matured = wallet.payable.units
        raise PayoutNotReady(f"Only earnings that have matured are paid out: of this wallet {matured} DOF have.")
    return account


def set_aside(wallet: Wallet, amount: Dof) -> Move:
    """Take a payout out of what is available."""
    posting = ledger.Posting(ledger.available(wallet.id), ledger.PAYOUTS_PENDING, amount)
    after = replace(wallet, available=wallet.available - amount, payable=wallet.payable - amount)
    return Move(after, (posting,))


def sent(payout: Payout, transfer_id: str) -> Payout:
    """The provider has taken the transfer. A payout that ended meanwhile stays ended, and its transfer is known still:
    what fails later is brought back by it. The first transfer that is told stays the payout's."""
    state = PayoutState.SENT if payout.state is PayoutState.REQUESTED else payout.state
    return replace(payout, state=state, transfer_id=payout.transfer_id or transfer_id)


def held_by(money: Money, made_at: datetime, known: Sequence[Payout]) -> tuple[Payout, ...] | None:
    """Which of an account's payouts a payment to its bank holds, if the provider tells its amount and moment alone.

    Only what had been moved to the account by then and had not ended before can be in it; where nothing is, nothing of
    ours is. Of these, it holds the only one of its amount, or else all of them; None says that nobody can tell. What
    has ended since stays in question, so that told a second time the answer is the same.
    """
    asked = [
        each
        for each in known
        if each.transfer_id is not None
        and each.created_at <= made_at
        and (each.concluded_at is None or each.concluded_at >= made_at)
    ]
    alone = [each for each in asked if each.money == money]
    if len(alone) == 1 or not asked:
        return tuple(alone)
    same = all(each.money.currency == money.currency for each in asked)
    whole = same and sum(each.money.minor_units for each in asked) == money.minor_units
    return tuple(asked) if whole else None


def paid(payout: Payout, now: datetime) -> Payout:
    """The bank has the money. Told again, or told of a failed one, it changes nothing."""
    if payout.state not in (PayoutState.REQUESTED, PayoutState.SENT):
        return payout
    return replace(payout, state=PayoutState.PAID, concluded_at=now)


def failed(payout: Payout, wallet: Wallet, reason: str, now: datetime) -> tuple[Payout, Move | None]:
    """The money comes back, once: from where it is, to the debt first. Told again, it changes nothing."""
    if payout.state is PayoutState.FAILED:
        return payout, None
    source = ledger.WORLD_STRIPE if payout.state is PayoutState.PAID else ledger.PAYOUTS_PENDING
    ended = replace(payout, state=PayoutState.FAILED, concluded_at=now, failure=reason)
    if wallet.closed:  # of a deleted account: nobody is there to be given it
        return ended, Move(wallet, (ledger.Posting(source, ledger.LOSS, payout.amount),))
    back = credit(wallet, payout.amount, source)
    return ended, replace(back, wallet=replace(back.wallet, payable=wallet.payable + payout.amount))
