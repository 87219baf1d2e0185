"""Buying, giving and reading DOF."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain import texts
from domain.errors import BadInput, Unavailable
from domain.money import Dof
from domain.purchases import Rail
from firestore.wallets import NOTE_CHARACTERS_MAX
from graph.context import Info
from graph.errors import (
    Conflict,
    IdempotencyConflict,
    InsufficientDof,
    NotFound,
    SelfDealing,
    SpendCapReached,
    UnknownPackage,
    WalletFrozen,
)
from graph.types.wallets import DofPackage, Purchase, Transaction, Wallet, WalletStatement
from resolvers import nodes


@strawberry.input
class PurchaseDofInput:
    sku: str
    provider: Rail
    idempotency_key: str
    quantity: int | None = None


@strawberry.input
class TransferDofInput:
    to_user_id: strawberry.ID
    amount: Dof
    idempotency_key: str
    note: str | None = None


@strawberry.input(description="A signed amount; what is taken beyond the available becomes debt.")
class AdjustWalletInput:
    user_id: strawberry.ID
    amount: Dof
    reason: str
    idempotency_key: str


@strawberry.type
class PurchaseDofPayload:
    purchase: Purchase


@strawberry.type
class TransferDofPayload:
    transaction: Transaction
    wallet: Wallet


@strawberry.type
class AdjustWalletPayload:
    transaction: Transaction
    wallet: Wallet


PurchaseDofResult = Annotated[
    PurchaseDofPayload | UnknownPackage | IdempotencyConflict, strawberry.union("PurchaseDofResult")
]
TransferDofResult = Annotated[
    TransferDofPayload
    | NotFound
    | SelfDealing
    | InsufficientDof
    | SpendCapReached
    | WalletFrozen
    | IdempotencyConflict,
    strawberry.union("TransferDofResult"),
]
AdjustWalletResult = Annotated[
    AdjustWalletPayload | NotFound | Conflict | IdempotencyConflict, strawberry.union("AdjustWalletResult")
]


async def transaction(info: Info, id: strawberry.ID) -> Transaction | None:
    """One of the viewer's own transactions; null for everybody else's."""
    return await nodes.transaction(info.context, id)


async def dof_packages(info: Info) -> list[DofPackage]:
    """What DOF cost: the packages that purchaseDof sells."""
    return [DofPackage.of(package) for package in info.context.desk.policy.packages]


async def wallet_statement(info: Info, year: int, month: int) -> WalletStatement:
    """The viewer's wallet over a month of UTC: its balances at the beginning and the end, and what moved between."""
    context = info.context
    return WalletStatement.of(await context.store.statements.month(context.signed_in, year, month))


async def purchase_dof(info: Info, input: PurchaseDofInput) -> PurchaseDofResult:
    """Begin a purchase and get the page to pay on. Only the provider's word that it is paid credits the DOF; the same
    idempotencyKey and input give the same purchase.
    """
    context = info.context
    rail = input.provider
    wish = context.store.purchases.wish(
        context.signed_in, rail, input.sku, 1 if input.quantity is None else input.quantity, input.idempotency_key
    )
    known = await context.store.purchases.known(wish)
    if known is None:
        gateway = context.desk.checkouts.get(rail)
        if gateway is None:
            raise Unavailable(f"Buying with {rail.value.title()} is not set up here: choose another provider.")
        user = await context.user()
        checkout = await gateway.checkout(
            purchase_id=wish.id,
            user_id=wish.user_id,
            email=user.email,
            sku=wish.sku,
            quantity=wish.quantity,
            price=wish.price,
        )
        url = checkout.url
    else:
        url = known.checkout_url
    purchase, pending = await context.store.purchases.begin(wish, url, context.now)
    return PurchaseDofPayload(
        purchase=Purchase(
            id=strawberry.ID(purchase.id), checkout_url=purchase.checkout_url, transaction=Transaction.of(pending)
        )
    )


async def transfer_dof(info: Info, input: TransferDofInput) -> TransferDofResult:
    """Give 1 or more of the viewer's available DOF to another user, at once and for good. The same idempotencyKey and
    input move them once.
    """
    context = info.context
    if input.amount.units < 1:
        raise BadInput("A transfer moves 1 DOF or more.", field="input.amount")
    note = texts.optional_line(input.note, "input.note", NOTE_CHARACTERS_MAX)
    record, wallet = await context.store.wallets.transfer(
        context.signed_in, input.to_user_id, input.amount, note, input.idempotency_key, context.now, context.key_id
    )
    return TransferDofPayload(transaction=Transaction.of(record), wallet=Wallet.of(wallet))


async def adjust_wallet(info: Info, input: AdjustWalletInput) -> AdjustWalletResult:
    """Add DOF to a user's wallet, or take them. Its user is told the figure; the reason stays on the transaction and in
    the acts.
    """
    context = info.context
    reason = texts.line(input.reason, "input.reason", NOTE_CHARACTERS_MAX)
    record, wallet = await context.store.wallets.adjust(
        context.signed_in, input.user_id, input.amount.units, reason, input.idempotency_key, context.now
    )
    return AdjustWalletPayload(transaction=Transaction.of(record), wallet=Wallet.of(wallet))
