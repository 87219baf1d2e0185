"""Who may call a root field. Declared at the roof, printed into the SDL, closed when forgotten (house rule 8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location

from domain.keys import KeyScope
from domain.users import Role
from graph.context import Context, Info
from integrations.tracing import span


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], name="anyone")
class Anyone:
    """Guests may call it."""


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], name="signedIn")
class SignedIn:
    """Needs a sign-in; for a mutation, one that is not revoked at this moment."""


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], name="moderator")
class ModeratorOnly:
    """Needs the role MODERATOR or ADMIN."""


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], name="admin")
class AdminOnly:
    """Needs the role ADMIN."""


strawberry.enum(
    KeyScope,
    description="What an API key may do. READ: what everybody sees, and the viewer's own profile, agents and sessions. "
    "AGENTS, LISTINGS, SESSIONS: change those. USAGE: report usage. WALLET_READ: read the wallet and its books. "
    "SPEND: hire, start, extend and transfer, within the key's dofSpendCap, and read `available` and `held` of the "
    "wallet that it spends from. What a mutation answers with is read with these scopes too: a field that the key may "
    "not read is FORBIDDEN, and what was done stays done.",
)


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], name="keys")
class Keys:
    """API keys with this scope may call it too. A field without this directive is closed to every key."""

    scope: KeyScope


@dataclass(frozen=True, slots=True)
class Permission:
    """A named gate and the directive that prints it. One that reads the role refuses a suspended account on the way."""

    directive: object
    check: Callable[[Context], Awaitable[None]]
    reads_standing: bool = False


async def _anyone(context: Context) -> None:
    return None


async def _signed_in(context: Context) -> None:
    _ = context.signed_in


async def _moderator(context: Context) -> None:
    await _signed_in(context)
    await context.confirm()
    await context.require_role(Role.MODERATOR, Role.ADMIN)


async def _admin(context: Context) -> None:
    await _signed_in(context)
    await context.confirm()
    await context.require_role(Role.ADMIN)


ANYONE = Permission(Anyone(), _anyone)
SIGNED_IN = Permission(SignedIn(), _signed_in)
MODERATOR = Permission(ModeratorOnly(), _moderator, reads_standing=True)
ADMIN = Permission(AdminOnly(), _admin, reads_standing=True)


class Standing(Enum):
    """Where a mutation asks whether the viewer's account is suspended: one that does not say asks at the door."""

    AT_THE_DOOR = auto()  # one RPC before the resolver
    IN_THE_COMMIT = auto()  # the operation reads the viewer's record with the rest: no RPC
    NOT_ASKED = auto()  # it ends what costs or what is open, or is everybody's right


class Gate(FieldExtension):
    """Checks a permission before the resolver runs. `confirms` refuses a sign-in that was revoked a moment ago, and
    `scope` is what an API key must have; without one the field is closed to keys."""

    def __init__(
        self,
        permission: Permission,
        scope: KeyScope | None,
        *,
        confirms: bool,
        standing: Standing = Standing.NOT_ASKED,
    ) -> None:
        self.permission = permission
        self.scope = scope
        self.confirms = confirms
        self.standing = standing

    async def resolve_async(self, next_: Any, source: Any, info: Info, **kwargs: Any) -> Any:
        with span(f"{info.path.typename}.{info.field_name}"):
            info.context.require_scope(self.scope)
            await self.permission.check(info.context)
            if self.confirms:
                await info.context.confirm()
            if self.standing is Standing.AT_THE_DOOR and not self.permission.reads_standing:
                await info.context.require_standing()
            return await next_(source, info, **kwargs)


class KeyGate(FieldExtension):
    """What a key may read of a type that a root field has opened to it; None closes the field to keys, and a key with
    the scope `also` reads it too."""

    def __init__(self, scope: KeyScope | None, also: KeyScope | None = None) -> None:
        self.scope = scope
        self.also = also

    async def resolve_async(self, next_: Any, source: Any, info: Info, **kwargs: Any) -> Any:
        info.context.require_scope(self.scope, self.also)
        return await next_(source, info, **kwargs)
