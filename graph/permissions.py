"""Who may call a root field. Declared at the roof, printed into the SDL, closed when forgotten (rule 8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location

from domain.users import Role
from graph.context import Context, Info


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


@dataclass(frozen=True, slots=True)
class Permission:
    """A named gate and the directive that prints it."""

    directive: object
    check: Callable[[Context], Awaitable[None]]


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
MODERATOR = Permission(ModeratorOnly(), _moderator)
ADMIN = Permission(AdminOnly(), _admin)


class Gate(FieldExtension):
    """Checks a permission before the resolver runs. `confirms` refuses a sign-in that was revoked a moment ago."""

    def __init__(self, permission: Permission, *, confirms: bool) -> None:
        self.permission = permission
        self.confirms = confirms

    async def resolve_async(self, next_: Any, source: Any, info: Info, **kwargs: Any) -> Any:
        await self.permission.check(info.context)
        if self.confirms:
            await info.context.confirm()
        return await next_(source, info, **kwargs)
