"""Taking one's data along, and deleting one's account: by a person, never by a key."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import strawberry

from domain.errors import BadCredentials as Unproven
from domain.errors import BadInput, Unauthenticated
from domain.exports import EXPORT_TTL
from domain.money import DOF_MAX, ZERO, Dof
from domain.users import User
from graph.context import Context, Info
from graph.errors import BadCredentials, Conflict, NotFound
from graph.types.privacy import DataExport

RECENT = timedelta(minutes=5)  # as Firebase asks of what is as grave: firebase.google.com/docs/auth/web/manage-users


@strawberry.input(description="Deleting cannot be undone: sign-ins, keys, agents on the market and DOF are lost.")
class DeleteMyAccountInput:
    confirm: str = strawberry.field(description="The account's own e-mail address, to say that it is meant.")
    password: str | None = strawberry.field(
        default=None, description="Needed unless the sign-in with a password is at most 5 minutes old."
    )
    forfeit_dof: Dof | None = strawberry.field(
        default=None, description="The DOF that are available, and will be lost: exactly as many as the wallet has."
    )


@strawberry.type
class ExportMyDataPayload:
    export: DataExport


@strawberry.type
class DeleteMyAccountPayload:
    forfeited: Dof
    user_id: strawberry.ID = strawberry.field(description="The pseudonym under which the books go on.")


ExportMyDataResult = Annotated[ExportMyDataPayload | NotFound, strawberry.union("ExportMyDataResult")]
DeleteMyAccountResult = Annotated[
    DeleteMyAccountPayload | Conflict | BadCredentials, strawberry.union("DeleteMyAccountResult")
]


async def export_my_data(info: Info) -> ExportMyDataResult:
    """An address, good for 10 minutes, at which all that the store holds of the viewer can be loaded."""
    context = info.context
    user = await context.user()
    url = context.desk.export_url(user.id, context.now)
    return ExportMyDataPayload(export=DataExport(created_at=context.now, expires_at=context.now + EXPORT_TTL, url=url))


async def delete_my_account(info: Info, input: DeleteMyAccountInput) -> DeleteMyAccountResult:
    """Delete the viewer's account for good, at its e-mail address as `confirm` and its password, or within 5 minutes of
    a sign-in. CONFLICT while sessions, payouts or debt are not settled.
    """
    context = info.context
    user = await context.user()
    if input.confirm.strip().casefold() != user.email.casefold():
        message = "To delete this account for good, send its own e-mail address as `confirm`."
        raise BadInput(message, field="input.confirm")
    forfeit = input.forfeit_dof or ZERO
    if not 0 <= forfeit.units <= DOF_MAX:
        raise BadInput("forfeitDof is what the wallet has available: 0 DOF or more.", field="input.forfeitDof")
    await _require_presence(context, user, input.password)
    record = await context.store.erasures.request(user.id, forfeit, context.now)
    return DeleteMyAccountPayload(forfeited=record.forfeited, user_id=strawberry.ID(record.id))


async def _require_presence(context: Context, user: User, password: str | None) -> None:
    """A token alone may be stolen: the person has the password, or has just used it. Raises BadCredentials."""
    if password is not None:
        await context.desk.identity.check_password(user.email, password)
        return
    if context.identity is None:
        raise Unauthenticated("Sign in as a person: this is not for keys.")
    signed_in_at = context.identity.signed_in_at
    if signed_in_at is None or not timedelta(0) <= context.now - signed_in_at <= RECENT:
        raise Unproven("Send the account's password, or sign in again and delete the account within 5 minutes.")
