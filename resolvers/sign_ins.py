"""Ending one's own sign-ins, one by one; `signOut` ends them all."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain.errors import NotFound as Missing
from domain.errors import Unauthenticated
from graph.context import Info
from graph.errors import NotFound
from graph.sizes import at_most
from graph.types.sign_ins import SIGN_INS_MAX, SignIn, sign_ins_of


@strawberry.input
class RevokeSignInInput:
    id: strawberry.ID


@strawberry.type
class RevokeSignInPayload:
    sign_ins: list[SignIn] = strawberry.field(metadata=at_most(SIGN_INS_MAX), description="Those that are left.")


RevokeSignInResult = Annotated[RevokeSignInPayload | NotFound, strawberry.union("RevokeSignInResult")]


async def revoke_sign_in(info: Info, input: RevokeSignInInput) -> RevokeSignInResult:
    """End one of the viewer's sign-ins; the others stay."""
    context = info.context
    if context.identity is None:
        raise Unauthenticated("Nobody is signed in: there is no sign-in to end.")
    if not await context.desk.identity.revoke_sign_in(context.identity.uid, input.id):
        raise Missing("sign-in")
    return RevokeSignInPayload(sign_ins=await sign_ins_of(context))
