"""API keys as their owner sees them; the secret is shown once, by the mutation that makes it."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import keys
from domain.keys import KeyScope
from domain.money import Dof
from graph.sizes import at_most


@strawberry.type(description="A key for a program: sent as `Authorization: Bearer jiga_…`.")
class ApiKey:
    id: strawberry.ID
    name: str
    prefix: str = strawberry.field(description="What the key begins with; it is no secret.")
    scopes: list[KeyScope] = strawberry.field(metadata=at_most(len(KeyScope)))
    created_at: datetime
    expires_at: datetime | None
    rate_limit_per_minute: int | None
    dof_spend_cap: Dof | None
    dof_spent: Dof = strawberry.field(
        description="What its hires, extensions and transfers held or gave so far; what came back of a hold counts too."
    )

    @classmethod
    def of(cls, record: keys.ApiKey) -> ApiKey:
        return cls(
            id=strawberry.ID(record.id),
            name=record.name,
            prefix=record.prefix,
            scopes=list(record.scopes),
            created_at=record.created_at,
            expires_at=record.expires_at,
            rate_limit_per_minute=record.rate_limit_per_minute,
            dof_spend_cap=record.dof_spend_cap,
            dof_spent=record.spent,
        )
