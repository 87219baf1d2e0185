"""What a resolver knows of its request: who asks, when, and through what it reaches the store and the gateways."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias, TypeVar, cast

import strawberry
from strawberry.dataloader import DataLoader

from domain import keys
from domain.errors import Forbidden, NotFound, Unauthenticated
from domain.keys import ApiKey, KeyScope
from domain.money import Dof
from domain.policy import Policy
from domain.purchases import Rail
from domain.receipts import Receipt
from domain.sessions import Session
from domain.users import Role, User, Viewer, require_active
from firestore.collections import USERS
from firestore.feed import patiently
from firestore.once import Once
from firestore.records import Collection, R
from firestore.store import Store
from graph.connection import Cursors
from integrations.images import Gallery
from integrations.services import CheckoutGateway, Identity, IdentityGateway, PayoutGateway, SearchGateway
from integrations.tracing import entry

T = TypeVar("T")

CategoryCounts: TypeAlias = tuple[tuple[str, int | None], ...]
"""Each category with its number of listings, or None where that is not known."""

SEEN_MAX = 1_024  # records that events of the last moments are about; one read serves all who are told of the event


@dataclass(frozen=True, slots=True)
class Desk:
    """What all requests of a process share. Built once, in `main.py`."""

    store: Store
    identity: IdentityGateway
    checkouts: dict[Rail, CheckoutGateway]
    payouts: PayoutGateway | None
    search: SearchGateway
    gallery: Gallery
    policy: Policy
    cursors: Cursors
    clock: Callable[[], datetime]
    new_id: Callable[[], bytes]
    make_loaders: Callable[[Store], Loaders]
    export_url: Callable[[str, datetime], str]
    key_environment: str = keys.TEST
    webhook_loopback: bool = False
    seen: Once[Any] = field(default_factory=lambda: Once(SEEN_MAX))
    categories: Once[CategoryCounts] = field(default_factory=lambda: Once(1))


@dataclass(frozen=True, slots=True)
class Loaders:
    """The batch functions of one request: a lookup by id is one of a batch, whatever asks for it (house rule 9)."""

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
    """One operation's context. `now` is the moment that all its answers speak of.

    Who asks is a person with a token, a program with a `key`, or a guest. `device` is what the client calls itself,
    `address` where it calls from, `refusals` the codes of what it was refused so far.
    """

    desk: Desk
    request_id: str
    now: datetime
    identity: Identity | None
    user_id: str | None
    token: str | None
    key: ApiKey | None = None
    device: str | None = None
    address: str = ""
    refusals: list[str] = field(default_factory=list)
    loaders: Loaders = field(init=False)
    prefetched: dict[object, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loaders = self.desk.make_loaders(self.desk.store)

    @property
    def store(self) -> Store:
        return self.desk.store

    @property
    def expires_at(self) -> datetime | None:
        if self.key is not None:
            return self.key.expires_at
        return self.identity.expires_at if self.identity else None

    @property
    def key_id(self) -> str | None:
        """The key whose spending counts; None for a person."""
        return None if self.key is None else self.key.id

    @property
    def rights(self) -> Hashable:
        """What two operations have in common that may be told the same answer: whose they are, and what a key may do.
        A role is its user's at a moment, and is read where it decides, so it needs no place of its own."""
        return self.user_id, None if self.key is None else (self.key.id, self.key.scopes)

    @property
    def minute(self) -> datetime:
        """The full minute before the present moment: what is shared is shared for no longer."""
        return self.desk.clock().replace(second=0, microsecond=0)

    async def seen(self, about: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gave to the first who was told of this change: one read serves all subscribers of it, and no
        replay is told what was so long ago. Raises Unavailable."""
        return cast("T", await self.desk.seen.get((about, self.minute), lambda: patiently(read)))

    def fresh(self) -> Context:
        """The same viewer for another operation, at the present moment."""
        now, who = self.desk.clock(), (self.identity, self.user_id, self.token)
        return Context(self.desk, self.request_id, now, *who, key=self.key, device=self.device, address=self.address)

    async def recheck(self) -> bool:
        """Whether the sign-in still holds: a socket asks every minute."""
        with entry("recheck"):
            try:
                await self.confirm()
                await self.require_standing()
            except (Unauthenticated, Forbidden):
                return False
            return True

    async def require_standing(self) -> None:
        """Refuse an account that is suspended at this moment, whatever the operation has read. One RPC.

        Raises Forbidden. Who has no record passes: what needs one says so.
        """
        if self.user_id is not None:
            (user,) = await self.store.users.get_many([self.user_id])
            if user is not None and user.erased_at is None:
                require_active(user)

    async def confirm(self) -> None:
        """Refuse a sign-in that was revoked a moment ago: money, keys and roles are not for those (T-A05)."""
        if self.key is not None:
            keys.require_usable(await self.store.keys.get(self.key.id), self.desk.clock())
        elif self.token is not None:
            await self.desk.identity.verify(self.token, check_revoked=True)

    def require_scope(self, scope: KeyScope | None, also: KeyScope | None = None) -> None:
        """Let a person pass, and a key that has the scope, or the one that serves `also`; None is what no key may do.
        Raises Forbidden.
        """
        if self.key is None or scope in self.key.scopes or also in self.key.scopes:
            return
        if scope is None:
            raise Forbidden("API keys are not for this: sign in as a person, with the idToken of signIn.")
        has = ", ".join(self.key.scopes)
        raise Forbidden(f"This needs an API key with the scope {scope}, and this one has {has}: make one, or sign in.")

    def may(self, scope: KeyScope) -> bool:
        """Whether a person asks, or a key that has the scope."""
        return self.key is None or scope in self.key.scopes

    @property
    def signed_in(self) -> str:
        """The viewer's id. Raises Unauthenticated."""
        if self.user_id is None:
            raise Unauthenticated("Sign in first: send the header Authorization: Bearer <idToken> of signIn or signUp.")
        return self.user_id

    async def user(self) -> User:
        """The viewer's own record. Raises Unauthenticated when the account has none, as after an erasure."""
        user = await self.loaders.one(USERS, self.signed_in)
        if user is None or user.erased_at is not None:
            raise Unauthenticated("This account is no longer there: sign up again.")
        return user

    async def role(self) -> Role:
        """The viewer's role as the store has it, never as a token claims (T-A10). A key has no office."""
        return (await self.user()).role if self.user_id and self.key is None else Role.USER

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
        """Raises Forbidden unless the viewer has one of the roles, and while the account is suspended."""
        if self.key is None:
            require_active(await self.user())
        if await self.role() not in roles:
            raise Forbidden("This needs the role " + " or ".join(roles) + ": ask an admin.")


Info: TypeAlias = strawberry.Info[Context, None]


def found(record: T | None, kind: str) -> T:
    """The record, or the refusal NOT_FOUND."""
    if record is None:
        raise NotFound(kind)
    return record
