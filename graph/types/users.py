"""Users as others see them, and the viewer as nobody else does."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import users
from domain.listings import Seller
from domain.sessions import SessionStatus
from domain.transactions import TransactionType
from domain.users import Channel, NotificationKind, Role
from domain.wallets import Wallet as WalletRecord
from firestore.collections import PAYOUT_ACCOUNTS, SELLERS, WALLETS
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Context, Info
from graph.types.agents import Agent
from graph.types.listings import Listing
from graph.types.nodes import Node
from graph.types.payouts import Payout, PayoutAccount
from graph.types.sessions import Session
from graph.types.wallets import Transaction, Wallet

for _words in (Role, NotificationKind, Channel):
    strawberry.enum(_words)


@strawberry.type
class SellerStats:
    total_hires: int
    average_rating: float | None
    rating_count: int


@strawberry.type(description="A user as everybody may see it; private data hangs on `viewer`.")
class User(Node):
    record: strawberry.Private[users.User]
    display_name: str
    created_at: datetime

    @classmethod
    def of(cls, record: users.User) -> User:
        return cls(
            id=strawberry.ID(record.id),
            record=record,
            display_name=record.display_name,
            created_at=record.created_at,
        )

    @strawberry.field(description="Null where the user's privacy preferences say so.")
    async def avatar_url(self, info: Info) -> str | None:
        return self.record.avatar_url if await info.context.sees(self.record, users.shows_profile) else None

    @strawberry.field(description="Null where the user's privacy preferences say so.")
    async def nationality(self, info: Info) -> str | None:
        return self.record.nationality if await info.context.sees(self.record, users.shows_profile) else None

    @strawberry.field
    async def stats(self, info: Info) -> SellerStats:
        seller = await info.context.loaders.one(SELLERS, self.record.id) or Seller(self.record.id)
        return SellerStats(
            total_hires=seller.total_hires,
            average_rating=seller.average_rating,
            rating_count=seller.rating_count,
        )

    @strawberry.field(description="What the user offers, newest first.")
    async def listings(self, info: Info, first: int | None = None, after: str | None = None) -> Connection[Listing]:
        context = info.context
        scope = scope_of("User.listings", context.user_id, self.id)
        position = position_of(context.desk.cursors, scope, after)
        plain = users.Viewer(context.user_id) if context.user_id else None
        page = await context.store.listings.by_owner(plain, self.record.id, page_size(first), position)
        return connect(page, Listing.of, context.desk.cursors, scope, after)


@strawberry.type(description="Where notifications of one kind go.")
class NotificationPreference:
    kind: NotificationKind
    channels: list[Channel]


@strawberry.type
class Preferences:
    notifications: list[NotificationPreference]
    show_profile: bool
    show_badges: bool

    @classmethod
    def of(cls, record: users.Preferences) -> Preferences:
        return cls(
            notifications=[
                NotificationPreference(kind=kind, channels=list(record.channels(kind))) for kind in NotificationKind
            ],
            show_profile=record.show_profile,
            show_badges=record.show_badges,
        )


@strawberry.type(description="Who is signed in, and all that is nobody else's business.")
class Viewer:
    id: strawberry.ID

    @strawberry.field
    async def user(self, info: Info) -> User:
        return User.of(await info.context.user())

    @strawberry.field
    async def email(self, info: Info) -> str:
        return (await info.context.user()).email

    @strawberry.field
    async def role(self, info: Info) -> Role:
        return await info.context.role()

    @strawberry.field
    async def preferences(self, info: Info) -> Preferences:
        return Preferences.of((await info.context.user()).preferences)

    @strawberry.field
    async def wallet(self, info: Info) -> Wallet:
        return await wallet_of(info.context)

    @strawberry.field(description="Newest first.")
    async def agents(self, info: Info, first: int | None = None, after: str | None = None) -> Connection[Agent]:
        context = info.context
        scope = scope_of("Viewer.agents", self.id)
        position = position_of(context.desk.cursors, scope, after)
        page = await context.store.agents.page_of_owner(self.id, page_size(first), position)
        return connect(page, Agent.of, context.desk.cursors, scope, after)

    @strawberry.field(description="Newest first.")
    async def sessions(
        self, info: Info, status: SessionStatus | None = None, first: int | None = None, after: str | None = None
    ) -> Connection[Session]:
        context = info.context
        scope = scope_of("Viewer.sessions", self.id, status)
        position = position_of(context.desk.cursors, scope, after)
        page = await context.store.sessions.page_of_hirer(self.id, status, page_size(first), position)
        return connect(page, lambda record: Session.of(record, context), context.desk.cursors, scope, after)

    @strawberry.field(description="Newest first.")
    async def transactions(
        self, info: Info, type: TransactionType | None = None, first: int | None = None, after: str | None = None
    ) -> Connection[Transaction]:
        context = info.context
        scope = scope_of("Viewer.transactions", self.id, type)
        position = position_of(context.desk.cursors, scope, after)
        page = await context.store.wallets.page_of_user(self.id, type, page_size(first), position)
        return connect(page, Transaction.of, context.desk.cursors, scope, after)

    @strawberry.field(description="Where payouts go; null until connectPayouts.")
    async def payout_account(self, info: Info) -> PayoutAccount | None:
        record = await info.context.loaders.one(PAYOUT_ACCOUNTS, self.id)
        return None if record is None else PayoutAccount.of(record)

    @strawberry.field(description="Newest first.")
    async def payouts(self, info: Info, first: int | None = None, after: str | None = None) -> Connection[Payout]:
        context = info.context
        scope = scope_of("Viewer.payouts", self.id)
        position = position_of(context.desk.cursors, scope, after)
        page = await context.store.payouts.page_of_user(self.id, page_size(first), position)
        return connect(page, Payout.of, context.desk.cursors, scope, after)


async def wallet_of(context: Context) -> Wallet:
    """The viewer's wallet; one that was never written is empty."""
    user_id = context.signed_in
    return Wallet.of(await context.loaders.one(WALLETS, user_id) or WalletRecord(user_id))
