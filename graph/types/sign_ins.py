"""Where the viewer is signed in."""

from __future__ import annotations

from datetime import datetime

import strawberry

from graph.context import Context
from integrations.services import DeviceSignIn

SIGN_INS_MAX = 100  # that an account lists, the last used


@strawberry.type(description="A sign-in: a device or a browser that holds tokens of this account.")
class SignIn:
    id: strawberry.ID
    device: str | None = strawberry.field(description="What the client called itself; anybody can say anything here.")
    created_at: datetime
    last_used_at: datetime = strawberry.field(description="Exact to about an hour: when its tokens were last renewed.")
    current: bool = strawberry.field(description="Whether it is the one that asks.")
    covers_all: bool = strawberry.field(
        description="Whether it stands for all sign-ins, because the identity provider ends them only together."
    )

    @classmethod
    def of(cls, record: DeviceSignIn, context: Context) -> SignIn:
        return cls(
            id=strawberry.ID(record.id),
            device=record.device,
            created_at=record.created_at,
            last_used_at=record.used_at,
            current=context.identity is not None and context.identity.sign_in_id == record.id,
            covers_all=record.covers_all,
        )


async def sign_ins_of(context: Context) -> list[SignIn]:
    """The viewer's, the last used first. Asks the identity provider, not the store."""
    if context.identity is None:
        return []
    return [SignIn.of(each, context) for each in await context.desk.identity.sign_ins(context.identity.uid)]
