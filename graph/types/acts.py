"""What was done by an office, as admins read it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import acts
from domain.users import Role
from firestore.collections import USERS
from graph.context import Info
from graph.sizes import at_most

if TYPE_CHECKING:
    from graph.types.users import User

FACTS_MAX = 10  # figures that one act changes: an account's role and suspension are four


@strawberry.type(description="A figure that the act changed; null is nothing.")
class ActFact:
    name: str
    before: str | None
    after: str | None


@strawberry.type(description="One privileged mutation that took effect. `role` is the actor's at that moment.")
class Act:
    id: strawberry.ID
    at: datetime
    actor_id: strawberry.ID
    role: Role | None
    name: str = strawberry.field(description="The mutation.")
    subject_id: strawberry.ID
    reason: str | None
    facts: list[ActFact] = strawberry.field(metadata=at_most(FACTS_MAX))

    @classmethod
    def of(cls, record: acts.Act) -> Act:
        return cls(
            id=strawberry.ID(record.id),
            at=record.at,
            actor_id=strawberry.ID(record.actor_id),
            role=record.role,
            name=record.name,
            subject_id=strawberry.ID(record.subject_id),
            reason=record.reason,
            facts=[ActFact(name=name, before=before, after=after) for name, (before, after) in record.facts.items()],
        )

    @strawberry.field(description="Null once the account is gone.")
    async def actor(self, info: Info) -> Annotated[User, strawberry.lazy("graph.types.users")] | None:
        from graph.types.users import User

        record = await info.context.loaders.one(USERS, self.actor_id)
        return None if record is None else User.of(record)
