"""What a resolver knows of its request: who asks, when, and through what it reaches the store and the gateways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias, TypeVar, cast

import strawberry
from strawberry.dataloader import DataLoader

from domain.errors import Forbidden, NotFound, Unauthenticated
from domain.money import Dof
from domain.policy import Policy
from domain.purchases import Rail
from domain.receipts import Receipt
from domain.sessions import Session
from domain.users import Role, User, Viewer
from firestore.collections import USERS
from firestore.records import Collection, R
from firestore.store import Store
from graph.connection import Cursors
from integrations.services import CheckoutGateway, Identity, IdentityGateway, PayoutGateway, SearchGateway

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """What all requests of a process share. Built once, in `main.py`."""

    store: Store
    identity: IdentityGateway
    checkouts: dict[Rail, CheckoutGateway]
    payouts: PayoutGateway | None
    search: SearchGateway
    policy: Policy
    cursors: Cursors
    clock: Callable[[], datetime]
    new_id: Callable[[], bytes]
    make_loaders: Callable[[Store], Loaders]


@dataclass(frozen=True, slots=True)
class Loaders:
    """The batch functions of one request: a lookup by id is one of a batch, whatever asks for it (rule 9)."""

    records: DataLoader[tuple[Collection[Any], str], Any]
    earned: DataLoader[str, Dof]
    receipts: DataLoader[tuple[str, str], Receipt | None]
    unsettled: DataLoader[str, list[Session]]

    async def one(self, collection: Collection[R], record_id: str) -> R | None:
        """A record, or None; all lookups of one turn of the event loop share an RPC, whatever their collections."""
        return cast("R | None", await self.records.load((collection, record_id)))

    async def known(self, collection: Collection[R], record_id: str) -> R:
        """A record that another one names, and that is therefore there."""
        record = await self.one(collection, record_id)
        if record is None:
            raise LookupError(f"{collection.at(record_id)} is named and is not there")
        return record


@dataclass(slots=True)
class Context:
    """One operation's context. `now` is the moment that all its answers speak of."""

    desk: Desk
    request_id: str
    now: datetime
    identity: Identity | None
    user_id: str | None
    token: str | None
    loaders: Loaders = field(init=False)
    prefetched: dict[object, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loaders = self.desk.make_loaders(self.desk.store)

    @property
    def store(self) -> Store:
        return self.desk.store

    @property
    def expires_at(self) -> datetime | None:
        return self.identity.expires_at if self.identity else None

    def fresh(self) -> Context:
        """The same viewer for another operation, at the present moment."""
        return Context(self.desk, self.request_id, self.desk.clock(), self.identity, self.user_id, self.token)

    async def recheck(self) -> bool:
        """Whether the sign-in still holds: a socket asks every minute."""
        try:
            await self.confirm()
        except Unauthenticated:
            return False
        return True

    async def confirm(self) -> None:
        """Refuse a sign-in that was revoked a moment ago: money, keys and roles are not for those (T-A05)."""
        if self.token is not None:
            await self.desk.identity.verify(self.token, check_revoked=True)

    @property
    def signed_in(self) -> str:
        """The viewer's id. Raises Unauthenticated."""
        if self.user_id is None:
            raise Unauthenticated("Sign in first: send the header Authorization: Bearer <idToken> of signIn or signUp.")
        return self.user_id

    async def user(self) -> User:
        """The viewer's own record. Raises Unauthenticated when the account has none, as after an erasure."""
        user = await self.loaders.one(USERS, self.signed_in)
        if user is None:
            raise Unauthenticated("This account is no longer there: sign up again.")
        return user

    async def role(self) -> Role:
        """The viewer's role as the store has it, never as a token claims (T-A10)."""
        return (await self.user()).role if self.user_id else Role.USER

    async def viewer(self) -> Viewer | None:
        """The viewer with its role, or None for a guest."""
        return Viewer(self.user_id, await self.role()) if self.user_id else None

    async def sees(self, record: T | None, visible_to: Callable[[T, Viewer | None], bool]) -> bool:
        """Whether the viewer may know of the record. The role is read only where it decides."""
        if record is None:
            return False
        return self.sees_plainly(record, visible_to) or (
            self.user_id is not None and visible_to(record, await self.viewer())
        )

    def sees_plainly(self, record: T, visible_to: Callable[[T, Viewer | None], bool]) -> bool:
        """Whether the viewer may know of the record whatever its role is."""
        return visible_to(record, Viewer(self.user_id) if self.user_id else None)

    async def require_role(self, *roles: Role) -> None:
        """Raises Forbidden unless the viewer has one of the roles."""
        if await self.role() not in roles:
            raise Forbidden("This needs the role " + " or ".join(roles) + ": ask an admin.")


Info: TypeAlias = strawberry.Info[Context, None]


def found(record: T | None, kind: str) -> T:
    """The record, or the refusal NOT_FOUND."""
    if record is None:
        raise NotFound(kind)
    return record
