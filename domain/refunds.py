"""A service refund: what a settled session cost comes back, in part or whole, from those who got it.

Each party gives in proportion to what it still has of the session, so that refunds of the whole, in however many
parts, take back from each exactly what it got (T-M09).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from domain.errors import BadInput, Conflict
from domain.money import ZERO, Dof, divide
from domain.revenue import Accrual, AccrualState, Distribution
from domain.sessions import Session


@dataclass(frozen=True, slots=True)
class Take:
    """What one payee gives back: first of what has not matured, the rest of the wallet, as debt where it is short."""

    user_id: str
    from_earned: Dof
    from_wallet: Dof


def require_refundable(session: Session, amount: Dof) -> None:
    """Raises Conflict for a session that is not settled, BadInput for more than is left of what it cost."""
    if session.settlement is None:
        raise Conflict("The session is not settled yet: end it first, then refund what it cost.")
    left = session.settlement.consumed - session.refunded
    if not 1 <= amount.units <= left.units:
        raise BadInput(f"Of this session {left.units} DOF can be refunded.", field="input.amount")


def shares_back(session: Session, amount: Dof) -> Distribution:
    """What each party gives back for this refund: in proportion to what it still has of the session."""
    assert session.settlement is not None, "only a settled session is refunded"
    got, gave = session.settlement.distribution, session.returned
    left = (got.owner - gave.owner, got.platform - gave.platform, got.creator - gave.creator)
    return Distribution(*divide(amount, [part.units for part in left]))


def returned(session: Session, back: Distribution) -> Session:
    """The session with one more refund in its books. Its meter does not change, so neither does its version."""
    gave = session.returned
    after = Distribution(gave.owner + back.owner, gave.platform + back.platform, gave.creator + back.creator)
    return replace(session, returned=after)


def take_back(user_id: str, share: Dof, accrual: Accrual | None) -> Take:
    """How a payee's share comes back."""
    maturing = accrual.amount if accrual is not None and accrual.state is AccrualState.MATURING else ZERO
    from_earned = min(share, maturing)
    return Take(user_id, from_earned, share - from_earned)
