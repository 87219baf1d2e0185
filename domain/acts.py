"""The audit log: what somebody did by an office, and why. An act is written once, and never changed or removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from domain.errors import Conflict
from domain.users import Role


@dataclass(frozen=True, slots=True)
class Act:
    """`name` is the mutation; `role` the actor's at that moment, None for who has no account, as an operator's script.

    `facts` holds what the act changed, as text: a figure's name, then what it was and what it is. None is nothing.
    """

    id: str
    at: datetime
    actor_id: str
    role: Role | None
    name: str
    subject_id: str
    reason: str | None = None
    facts: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


def require_other(actor_id: str, *parties: str | None) -> None:
    """An office is not for oneself: whoever is a party to something leaves it to another. None is nobody.

    Raises Conflict.
    """
    if actor_id in parties:
        raise Conflict("You are a party to this yourself: another moderator or admin decides it.")
