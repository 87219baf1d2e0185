"""Making and revoking API keys: by a person, never by a key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from domain.ids import Kind, random_id
from domain.keys import SECRET_BYTES, KeyScope, KeyWish
from domain.money import Dof
from graph.context import Info
from graph.errors import Conflict, NotFound
from graph.scalars import moment
from graph.types.keys import ApiKey


@strawberry.input
class CreateApiKeyInput:
    name: str
    scopes: list[KeyScope]
    expires_at: datetime | None = strawberry.field(default=None, description="With its time zone; null never expires.")
    rate_limit_per_minute: int | None = None
    dof_spend_cap: Dof | None = strawberry.field(
        default=None, description="The most DOF that the key may ever hold or give; null is as much as the wallet has."
    )


@strawberry.input
class RevokeApiKeyInput:
    id: strawberry.ID


@strawberry.type
class CreateApiKeyPayload:
    api_key: ApiKey
    secret: str = strawberry.field(description="The whole key. It is shown now and never again: keep it.")


@strawberry.type
class RevokeApiKeyPayload:
    api_key: ApiKey


CreateApiKeyResult = Annotated[CreateApiKeyPayload | Conflict, strawberry.union("CreateApiKeyResult")]
RevokeApiKeyResult = Annotated[RevokeApiKeyPayload | NotFound, strawberry.union("RevokeApiKeyResult")]


async def create_api_key(info: Info, input: CreateApiKeyInput) -> CreateApiKeyResult:
    """Make a key for a program, with the scopes that it needs. Its secret is shown this once; CONFLICT for more than 20
    keys.
    """
    context = info.context
    wish = KeyWish(
        name=input.name,
        scopes=tuple(input.scopes),
        expires_at=None if input.expires_at is None else moment(input.expires_at, "input.expiresAt"),
        rate_limit_per_minute=input.rate_limit_per_minute,
        dof_spend_cap=input.dof_spend_cap,
    )
    desk = context.desk
    key_id, secret = random_id(Kind.API_KEY, desk.new_id()), (desk.new_id() + desk.new_id())[:SECRET_BYTES]
    record, text = await context.store.keys.create(
        context.signed_in, key_id, desk.key_environment, secret, wish, context.now
    )
    return CreateApiKeyPayload(api_key=ApiKey.of(record), secret=text)


async def revoke_api_key(info: Info, input: RevokeApiKeyInput) -> RevokeApiKeyResult:
    """End a key for good. Said again, nothing changes."""
    context = info.context
    record = await context.store.keys.revoke(context.signed_in, input.id, context.now)
    return RevokeApiKeyPayload(api_key=ApiKey.of(record))
