"""Deleting an account: what must be settled before, what is lost by it, and what the log keeps.

The ledger, the sessions and the orders stay, as books of account must; the user's id in them is a pseudonym from then
on, because nothing is left that leads from it to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.errors import Conflict
from domain.money import ZERO, Dof
from domain.wallets import Wallet

FORFEIT_NOTE = "given up with the deleted account"


@dataclass(frozen=True, slots=True)
class Erasure:
    """That an account was deleted, by the user's id. Written once; what a backup brings back is erased again by it."""

    id: str
    erased_at: datetime
    forfeited: Dof = ZERO


@dataclass(frozen=True, slots=True)
class Affairs:
    """What of a user is under way: ids of sessions as hirer, owner and creator, of payouts, and maturing earnings."""

    hired: Sequence[str] = ()
    sold: Sequence[str] = ()
    created: Sequence[str] = ()
    payouts: Sequence[str] = ()
    maturing: Sequence[str] = ()


def require_erasable(wallet: Wallet, affairs: Affairs, forfeit: Dof) -> None:
    """Raises Conflict that says all that is in the way, and what to do about each.

    Nobody loses DOF without having said how many: `forfeit` is exactly what is available.
    """
    left = []
    if affairs.hired:
        left.append(f"Your session {affairs.hired[0]} is not settled: end it with endSession.")
    if affairs.sold:
        left.append(f"Your agent is in use by the session {affairs.sold[0]}: end it, or wait for its end.")
    if affairs.created and not affairs.sold:
        left.append(f"An agent that you created is in use by the session {affairs.created[0]}: wait for its end.")
    if affairs.payouts:
        left.append(f"The payout {affairs.payouts[0]} is on its way: wait until it has arrived.")
    if affairs.maturing:
        left.append("Earnings of yours have not matured: wait until they have, then take them out with requestPayout.")
    if wallet.debt:
        left.append(f"The wallet owes {wallet.debt.units} DOF: repay it with purchaseDof.")
    if wallet.open_disputes:
        left.append("A payment of yours is disputed: wait for the bank's decision.")
    if not left and forfeit != wallet.available:
        left.append(_to_lose(wallet))
    if left:
        raise Conflict("The account cannot be deleted yet. " + " ".join(left))


def _to_lose(wallet: Wallet) -> str:
    available, payable = wallet.available.units, wallet.payable_now.units
    earned = f", {payable} of them earned, which requestPayout pays out" if payable else ""
    return (
        f"{available} DOF would be lost{earned}: spend them, or send forfeitDof: {available} to say that you give "
        "them up."
    )
