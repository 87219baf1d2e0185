"""Accounts as those see them who care for the store. What others see of a user is in graph/types/users.py."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import users
from domain.users import Role
from graph.types.users import User


@strawberry.type(description="`until` null has no end.")
class Suspension:
    at: datetime
    until: datetime | None
    reason: str | None

    @classmethod
    def of(cls, record: users.User) -> Suspension | None:
        if record.suspended_at is None:
            return None
        return cls(at=record.suspended_at, until=record.suspended_until, reason=record.suspension_reason)


@strawberry.type(description="A user with what only admins see.")
class Account:
    id: strawberry.ID
    user: User
    email: str
    role: Role
    suspension: Suspension | None

    @classmethod
    def of(cls, record: users.User) -> Account:
        return cls(
            id=strawberry.ID(record.id),
            user=User.of(record),
            email=record.email,
            role=record.role,
            suspension=Suspension.of(record),
        )
