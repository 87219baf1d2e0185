"""Users as others see them, and the viewer as nobody else does."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import users
from domain.endpoints import ENDPOINTS_MAX
from domain.images import ImageSize
from domain.keys import KEYS_MAX
from domain.listings import Seller
from domain.notifications import NotificationBox
from domain.policy import ROWS_MAX
from domain.sessions import SessionStatus
from domain.transactions import TransactionType
from domain.users import Channel, MailRhythm, NotificationKind, Role
from domain.wallets import Wallet as WalletRecord
from firestore.collections import NOTIFICATION_BOXES, PAYOUT_ACCOUNTS, SELLERS, WALLETS
from firestore.legal import LISTED_MAX
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Context, Info
from graph.enums import enum
from graph.sizes import at_most
from graph.types.agents import Agent
from graph.types.badges import Achievement, EarnedBadge, achievements_of, badges_of
from graph.types.endpoints import WebhookEndpoint
from graph.types.keys import ApiKey
from graph.types.legal import LegalAcceptance, LegalDocument
from graph.types.listings import Listing
from graph.types.nodes import Node
from graph.types.notifications import Notification
from graph.types.payouts import Payout, PayoutAccount
from graph.types.sessions import Session
from graph.types.sign_ins import SIGN_INS_MAX, SignIn, sign_ins_of
from graph.types.wallets import Transaction, Wallet

enum(Role, "What a user may do by office; a moderator may not do what an admin may.")
enum(
    NotificationKind,
    "What a notification is about, and what its channels are chosen by.",
    HIRES="Agents of one's own that were hired.",
    SESSIONS="Sessions that run low or are over, one's own and those with one's agents.",
    PURCHASES="DOF bought, refunded or taken back, and purchases that failed.",
    EARNINGS="Earnings, payouts, and DOF that others sent.",
    BADGES="Badges, ranks and achievements.",
    ACCOUNT="API keys, the role, a suspension, decisions on one's listings and reviews, an adjusted wallet.",
)
enum(Channel, "How a notification comes: in the app's list, by mail, or pushed to the registered devices.")
enum(
    MailRhythm,
    "When mails come.",
    DAILY="At 08:00 of the user's time zone.",
    WEEKLY="On Mondays at 08:00 of the user's time zone.",
)


MAIL_RHYTHM = (
    "When the mails of notifications come: each at once, or gathered into one at the next 08:00 of the user's own time"
    " zone, every day or every Monday. What cannot wait is mailed at once all the same: ACCOUNT and PURCHASES, a payout"
    " that failed, and a session that will end soon. What is gathered comes when it is due, whatever is chosen since."
)


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
    async def avatar_url(self, info: Info, size: ImageSize | None = None) -> str | None:
        shown = await info.context.sees(self.record, users.shows_profile)
        return info.context.desk.gallery.url(self.record.avatar, size or ImageSize.LARGE) if shown else None

    @strawberry.field(description="Null where the user's privacy preferences say so.")
    async def nationality(self, info: Info) -> str | None:
        return self.record.nationality if await info.context.sees(self.record, users.shows_profile) else None

    @strawberry.field(description="Zeros, and no rating, where the user's privacy preferences say so.")
    async def stats(self, info: Info) -> SellerStats:
        shown = await info.context.sees(self.record, users.shows_profile)
        known = await info.context.loaders.one(SELLERS, self.record.id) if shown else None
        seller = known or Seller(self.record.id)
        return SellerStats(
            total_hires=seller.total_hires,
            average_rating=seller.average_rating,
            rating_count=seller.rating_count,
        )

    @strawberry.field(
        metadata=at_most(ROWS_MAX, reads=1),
        description="The latest first; none where the user's privacy preferences say so.",
    )
    async def badges(self, info: Info) -> list[EarnedBadge]:
        shown = await info.context.sees(self.record, users.shows_badges)
        return await badges_of(info.context, self.record.id) if shown else []

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
    channels: list[Channel] = strawberry.field(metadata=at_most(len(Channel)))


@strawberry.type
class Preferences:
    notifications: list[NotificationPreference] = strawberry.field(metadata=at_most(len(NotificationKind)))
    show_profile: bool
    show_badges: bool
    mail_rhythm: MailRhythm = strawberry.field(description=MAIL_RHYTHM)

    @classmethod
    def of(cls, record: users.Preferences) -> Preferences:
        return cls(
            notifications=[
                NotificationPreference(kind=kind, channels=list(record.channels(kind))) for kind in NotificationKind
            ],
            show_profile=record.show_profile,
            show_badges=record.show_badges,
            mail_rhythm=record.mail_rhythm,
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

    @strawberry.field(metadata=at_most(KEYS_MAX), description="Those that are not revoked, the oldest first.")
    async def api_keys(self, info: Info) -> list[ApiKey]:
        return [ApiKey.of(record) for record in await info.context.store.keys.of_user(self.id)]

    @strawberry.field(description="Newest first.")
    async def notifications(
        self, info: Info, unread_only: bool | None = None, first: int | None = None, after: str | None = None
    ) -> Connection[Notification]:
        context = info.context
        scope = scope_of("Viewer.notifications", self.id)
        position = position_of(context.desk.cursors, scope, after)
        box = await box_of(context)
        page = await context.store.notifications.page_of_user(box, bool(unread_only), page_size(first), position)
        return connect(page, lambda record: Notification.of(record, box), context.desk.cursors, scope, after)

    @strawberry.field(description="How many notifications are unread, at most 100.")
    async def unread_notifications(self, info: Info) -> int:
        return await info.context.store.notifications.unread(await box_of(info.context))

    @strawberry.field(description="The language of what the store writes to the viewer; null is English.")
    async def locale(self, info: Info) -> str | None:
        return (await info.context.user()).locale

    @strawberry.field(metadata=at_most(ENDPOINTS_MAX), description="In the order of their making.")
    async def webhook_endpoints(self, info: Info) -> list[WebhookEndpoint]:
        return [WebhookEndpoint.of(each) for each in await info.context.store.endpoints.of_user(self.id)]

    @strawberry.field(metadata=at_most(ROWS_MAX, reads=1), description="The latest first.")
    async def badges(self, info: Info) -> list[EarnedBadge]:
        return await badges_of(info.context, self.id)

    @strawberry.field(metadata=at_most(ROWS_MAX, reads=1))
    async def achievements(self, info: Info) -> list[Achievement]:
        return await achievements_of(info.context, self.id)

    @strawberry.field(
        metadata=at_most(SIGN_INS_MAX, reads=1),
        description="Where this account is signed in, the last used first, at most 100.",
    )
    async def sign_ins(self, info: Info) -> list[SignIn]:
        return await sign_ins_of(info.context)

    @strawberry.field(metadata=at_most(LISTED_MAX), description="All that was accepted, the newest first, at most 200.")
    async def legal_acceptances(self, info: Info) -> list[LegalAcceptance]:
        return [LegalAcceptance.of(record) for record in await info.context.store.legal.accepted(self.id)]

    @strawberry.field(
        metadata=at_most(ROWS_MAX), description="The documents whose version of today is not accepted yet."
    )
    async def legal_due(self, info: Info) -> list[LegalDocument]:
        return [LegalDocument.of(document) for document in await info.context.store.legal.due(self.id)]

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


async def box_of(context: Context) -> NotificationBox:
    """How far the viewer's notifications have counted and are read; who was never told of anything is at the start."""
    user_id = context.signed_in
    return await context.loaders.one(NOTIFICATION_BOXES, user_id) or NotificationBox(user_id)


async def wallet_of(context: Context) -> Wallet:
    """The viewer's wallet; one that was never written is empty."""
    user_id = context.signed_in
    return Wallet.of(await context.loaders.one(WALLETS, user_id) or WalletRecord(user_id))
