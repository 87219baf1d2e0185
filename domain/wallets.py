"""A user's wallet: what the journal leaves at the user's addresses, and the few moves that it allows.

Each move gives the wallet after it and the postings that say so; the two are written in one commit, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from domain import ledger
from domain.errors import InsufficientDof, WalletFrozen
from domain.ledger import Balances, Posting
from domain.money import DOF_MAX, ZERO, Dof


@dataclass(frozen=True, slots=True)
class Wallet:
    """`id` is the user's id. `version` counts the entries that touched it, `sequence` the events that it told.

    What was settled to the user and has not matured is no part of the document: many sessions earn at once, and one
    document for all of them would be a hot one. It is the sum of the user's maturing accruals.

    `payable` is the part of what is available or held that was earned and has matured: what was bought is spent, not
    cashed, and is spent first. It is never more than the two together. A hold spends nothing until it is captured, so
    one that is given back leaves it as it was; what a payout may take meanwhile is `payable_now`.

    `closed` is the wallet of a deleted account: nobody pays into it any more. What it would still earn is the
    platform's, and so is what it can no longer give back.
    """

    id: str
    available: Dof = ZERO
    held: Dof = ZERO
    debt: Dof = ZERO
    version: int = 0
    sequence: int = 0
    open_disputes: int = 0
    payable: Dof = ZERO
    closed: bool = False

    @property
    def frozen(self) -> bool:
        """Whether it may not spend for another reason than debt: a dispute is open (ruling 8)."""
        return self.open_disputes > 0

    @property
    def payable_at_most(self) -> Dof:
        """What of `payable` is left once the rest was spent: what neither is available nor held is gone."""
        return min(self.payable, self.available + self.held)

    @property
    def payable_now(self) -> Dof:
        """What a payout may take: earned and matured, and not held by a session that runs."""
        return min(self.payable, self.available)

    def __post_init__(self) -> None:
        assert min(self.available, self.held, self.debt) >= ZERO, "no part of a wallet is negative"
        assert not (self.available and self.debt), "who owes has nothing available"

    @property
    def balances(self) -> Balances:
        return Balances(self.version, self.available, self.held, self.debt, self.payable)


@dataclass(frozen=True, slots=True)
class Move:
    """A wallet after a move, and the postings that moved it."""

    wallet: Wallet
    postings: tuple[Posting, ...]


def require_spendable(wallet: Wallet, amount: Dof) -> None:
    """Raises WalletFrozen while there is debt or a freeze (ruling 8), InsufficientDof for too little."""
    if wallet.frozen or wallet.debt:
        raise WalletFrozen(debt=wallet.debt.units)
    if wallet.available < amount:
        raise InsufficientDof(needed=amount.units, available=wallet.available.units)


def fits(wallet: Wallet, change: int) -> bool:
    """Whether `change` DOF can be credited, or reclaimed where negative.

    Available and held together, and the debt, stay within what an amount may reach, so that no later release can
    overflow (T-M03).
    """
    kept = wallet.available.units - wallet.debt.units + change
    return -DOF_MAX <= kept <= DOF_MAX - wallet.held.units


def credit(wallet: Wallet, amount: Dof, source: str) -> Move:
    """Bring in from `source`: debt is repaid first, the rest becomes available."""
    repaid = min(wallet.debt, amount)
    rest = amount - repaid
    after = replace(wallet, debt=wallet.debt - repaid, available=wallet.available + rest)
    return Move(after, _postings((source, ledger.debt(wallet.id), repaid), (source, ledger.available(wallet.id), rest)))


def mature(wallet: Wallet, amount: Dof) -> Move:
    """What was earned becomes available, and may be paid out. Of a deleted account it is the platform's."""
    source = ledger.earned(wallet.id)
    if wallet.closed:
        return Move(wallet, _postings((source, ledger.PLATFORM_FEES, amount)))
    move = credit(wallet, amount, source)
    return replace(move, wallet=replace(move.wallet, payable=wallet.payable + amount))


def reclaim(wallet: Wallet, amount: Dof, target: str) -> Move:
    """Take back to `target`: what is available first, the rest becomes debt. Held DOF is not touched (ruling 8)."""
    taken = min(wallet.available, amount)
    owed = amount - taken
    after = replace(wallet, available=wallet.available - taken, debt=wallet.debt + owed)
    return Move(after, _postings((ledger.available(wallet.id), target, taken), (ledger.debt(wallet.id), target, owed)))


def hold(wallet: Wallet, amount: Dof) -> Move:
    """Set aside for a session. Raises WalletFrozen, InsufficientDof."""
    require_spendable(wallet, amount)
    after = replace(wallet, available=wallet.available - amount, held=wallet.held + amount)
    return Move(after, _postings((ledger.available(wallet.id), ledger.held(wallet.id), amount)))


def release(wallet: Wallet, amount: Dof) -> Move:
    """Give back what a session held and did not use: to the debt first, like every credit."""
    source = ledger.held(wallet.id)
    back = credit(replace(wallet, held=wallet.held - amount), amount, source)
    return Move(back.wallet, back.postings)


def capture(wallet: Wallet, amount: Dof, targets: tuple[tuple[str, Dof], ...]) -> Move:
    """Pay out of what is held: `targets` are the shares by address, and they make up the amount."""
    assert sum(share.units for _, share in targets) == amount.units, "the shares make the whole"
    source = ledger.held(wallet.id)
    after = replace(wallet, held=wallet.held - amount)
    return Move(after, _postings(*((source, address, share) for address, share in targets)))


def _postings(*moves: tuple[str, str, Dof]) -> tuple[Posting, ...]:
    return tuple(Posting(source, target, amount) for source, target, amount in moves if amount)
