"""Wallets, transactions, packages and purchases: what a user sees of the ledger."""

from __future__ import annotations

import decimal
from collections.abc import Hashable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import ledger, money, purchases, revenue, transactions, wallets
from domain.agents import Rank
from domain.ledger import EntryKind
from domain.money import Dof
from domain.purchases import Rail
from domain.transactions import PaymentMethod, TransactionStatus, TransactionType
from firestore import statements
from firestore.collections import SESSIONS, USERS
from graph.context import Context, Info
from graph.enums import enum
from graph.sizes import at_most
from graph.types.agents import Agent, agent_of
from graph.types.nodes import Node
from graph.types.receipts import Receipt
from graph.types.sessions import Session

if TYPE_CHECKING:
    from graph.types.users import User

enum(
    EntryKind,
    "What an entry of the ledger records.",
    PURCHASE="Money came in: an order is worth more DOF than before.",
    RECLAIM="Money went back: a refund, a cancellation or a dispute takes DOF away.",
    HOLD="DOF set aside for a session.",
    EXTEND="More set aside for it.",
    SETTLE="Its end: what was used is divided, and the rest given back.",
    MATURE="Earnings became available.",
    ADJUST="An admin's correction.",
    REFUND="DOF of a settled session given back.",
    PAYOUT="Earnings set aside for the bank.",
    PAYOUT_PAID="The bank has them.",
    PAYOUT_FAILED="They came back.",
)
enum(PaymentMethod, "By what a transaction was paid: a provider, or DOF of the wallet.")
enum(
    TransactionStatus,
    "How far a transaction has come.",
    PENDING="Begun: nothing is credited yet, or a session or payout is under way.",
    FAILED="It came to nothing, or came back.",
    REFUNDED="All that it brought was taken back.",
)
enum(
    TransactionType,
    "What moved DOF, seen from the viewer's side.",
    PURCHASE="DOF bought.",
    HIRE="DOF held for a session, and what it cost once it is settled.",
    EARNING="A share of a session, as owner or creator of its agent.",
    REFUND="A purchase taken back in part or in whole, or a session given back.",
    TRANSFER="DOF to or from another user.",
    PAYOUT="Earnings on their way to a bank.",
    ADJUSTMENT="An admin's correction.",
    DISPUTE="Money of a purchase that the buyer's bank claimed back, or gave back.",
)
enum(Rail, "Who takes the money of a purchase.", name="PaymentProvider")


@strawberry.type(
    description="Whole DOF: what can be spent, what is set aside for sessions, what is owed, and what is settled to "
    "the user and has not matured (`earned`)."
)
class Wallet:
    record: strawberry.Private[wallets.Wallet]
    earning: strawberry.Private[Dof | None] = None
    share_key: strawberry.Private[Hashable] = None

    @classmethod
    def of(cls, record: wallets.Wallet) -> Wallet:
        return cls(record=record)

    @classmethod
    def told(cls, record: wallets.Wallet, earned: Dof, context: Context) -> Wallet:
        """As `of`, for those who are told of it: all that it shows is known already."""
        return cls(record=record, earning=earned, share_key=(record, earned, context.rights))

    # Each a resolver of its own, so that `open_to_keys` can stand before it.

    @strawberry.field
    def available(self) -> Dof:
        return self.record.available

    @strawberry.field
    def held(self) -> Dof:
        return self.record.held

    @strawberry.field
    def debt(self) -> Dof:
        return self.record.debt

    @strawberry.field(description="Of what is available, what was earned and can be paid out.")
    def payable(self) -> Dof:
        return self.record.payable_now

    @strawberry.field
    async def earned(self, info: Info) -> Dof:
        return await info.context.loaders.earned.load(self.record.id) if self.earning is None else self.earning


@strawberry.type(description="Who gets what of a price, in whole DOF; together exactly the price.")
class Distribution:
    owner: Dof
    platform: Dof
    creator: Dof

    @classmethod
    def of(cls, record: revenue.Distribution) -> Distribution:
        return cls(owner=record.owner, platform=record.platform, creator=record.creator)


@strawberry.type(description="An entry, or a pending purchase, from its user's side: `amount` is signed.")
class Transaction(Node):
    record: strawberry.Private[transactions.Transaction]
    type: TransactionType
    status: TransactionStatus
    amount: Dof
    distribution: Distribution | None
    payment_method: PaymentMethod | None
    external_reference: str | None
    created_at: datetime
    completed_at: datetime | None
    available_after: Dof | None

    @classmethod
    def of(cls, record: transactions.Transaction) -> Transaction:
        after = record.available_after
        return cls(
            id=strawberry.ID(record.id),
            record=record,
            type=record.type,
            status=record.status,
            amount=Dof(record.amount),
            distribution=Distribution.of(record.distribution) if record.distribution else None,
            payment_method=record.payment_method,
            external_reference=record.external_reference,
            created_at=record.created_at,
            completed_at=record.completed_at,
            available_after=None if after is None else Dof(after),
        )

    @strawberry.field
    async def counterparty(self, info: Info) -> Annotated[User, strawberry.lazy("graph.types.users")] | None:
        from graph.types.users import User

        if self.record.counterparty_id is None:
            return None
        return User.of(await info.context.loaders.known(USERS, self.record.counterparty_id))

    @strawberry.field
    async def agent(self, info: Info) -> Agent | None:
        return await agent_of(info, self.record.agent_id) if self.record.agent_id else None

    @strawberry.field
    async def session(self, info: Info) -> Session | None:
        if self.record.session_id is None:
            return None
        record = await info.context.loaders.known(SESSIONS, self.record.session_id)
        # A creator earns of sessions that are the hirer's and the owner's to read.
        if info.context.user_id not in (record.hirer_id, record.owner_id):
            return None
        return Session.of(record, info.context)

    @strawberry.field(description="The proof of its last entry; null until the day of that entry is sealed.")
    async def receipt(self, info: Info) -> Receipt | None:
        if self.record.entry_id is None:
            return None
        found = await info.context.loaders.receipts.load((self.record.entry_id, self.record.user_id))
        return None if found is None else Receipt.of(found)


@strawberry.type
class Balances:
    available: Dof
    held: Dof
    debt: Dof

    @classmethod
    def of(cls, record: ledger.Balances) -> Balances:
        return cls(available=record.available, held=record.held, debt=record.debt)


@strawberry.type(description="One entry of the journal: how it moved the wallet, and the wallet right after it.")
class StatementLine:
    entry_id: strawberry.ID
    kind: EntryKind
    at: datetime
    available: Dof
    held: Dof
    debt: Dof
    after: Balances

    @classmethod
    def of(cls, record: statements.Line) -> StatementLine:
        return cls(
            entry_id=strawberry.ID(record.entry.id),
            kind=record.entry.kind,
            at=record.entry.at,
            available=Dof(record.available),
            held=Dof(record.held),
            debt=Dof(record.debt),
            after=Balances.of(record.after),
        )


@strawberry.type(description="A month of the wallet, in UTC: the opening, every entry, the closing.")
class WalletStatement:
    year: int
    month: int
    opening: Balances
    closing: Balances
    entries: list[StatementLine] = strawberry.field(metadata=at_most(statements.ENTRIES_MAX))
    csv: str

    @classmethod
    def of(cls, record: statements.Statement) -> WalletStatement:
        return cls(
            year=record.year,
            month=record.month,
            opening=Balances.of(record.opening),
            closing=Balances.of(record.closing),
            entries=[StatementLine.of(line) for line in record.lines],
            csv=statements.as_csv(record),
        )


@strawberry.type(description="An amount in the currency's own decimals, and the currency by ISO 4217.")
class Money:
    amount: decimal.Decimal
    currency: str

    @classmethod
    def of(cls, record: money.Money) -> Money:
        return cls(amount=decimal.Decimal(record.decimal), currency=record.currency)


@strawberry.type(description="A row of the DOF price table.")
class DofPackage:
    sku: str
    title: str
    tier: Rank
    dof: Dof
    bonus_dof: Dof
    price: Money

    @classmethod
    def of(cls, record: purchases.Package) -> DofPackage:
        return cls(
            sku=record.sku,
            title=record.title,
            tier=Rank(record.tier.value),
            dof=record.dof,
            bonus_dof=record.bonus_dof,
            price=Money.of(record.price),
        )


@strawberry.type(description="A purchase that was begun: pay at `checkoutUrl`, then follow its transaction.")
class Purchase:
    id: strawberry.ID
    checkout_url: str
    transaction: Transaction
