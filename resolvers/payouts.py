"""Being paid."""

from __future__ import annotations

import re
from typing import Annotated

import strawberry

from domain.errors import BadInput, Unavailable
from domain.money import Dof
from graph.context import Context, Info
from graph.errors import BelowMinimum, IdempotencyConflict, InsufficientDof, PayoutNotReady, WalletFrozen
from graph.types.payouts import Payout
from graph.types.wallets import Wallet
from integrations.services import PayoutGateway

_COUNTRY = re.compile("[A-Z]{2}")  # ISO 3166-1, alpha-2


@strawberry.input
class ConnectPayoutsInput:
    country: str | None = strawberry.field(default=None, description="ISO 3166, where the account is to be.")


@strawberry.input
class RequestPayoutInput:
    amount: Dof
    idempotency_key: str


@strawberry.type
class ConnectPayoutsPayload:
    onboarding_url: str


@strawberry.type
class RequestPayoutPayload:
    payout: Payout
    wallet: Wallet


ConnectPayoutsResult = Annotated[ConnectPayoutsPayload | PayoutNotReady, strawberry.union("ConnectPayoutsResult")]
RequestPayoutResult = Annotated[
    RequestPayoutPayload | PayoutNotReady | BelowMinimum | InsufficientDof | WalletFrozen | IdempotencyConflict,
    strawberry.union("RequestPayoutResult"),
]


async def connect_payouts(info: Info, input: ConnectPayoutsInput) -> ConnectPayoutsResult:
    """The provider's page on which the viewer gives what it asks for; called again, the same account goes on."""
    context = info.context
    if input.country is not None and _COUNTRY.fullmatch(input.country) is None:
        raise BadInput("A country is two capital letters of ISO 3166, such as MX.", field="input.country")
    gateway, user = _gateway(context), await context.user()
    known = await context.store.payouts.account(user.id)
    account_id = known.account_id if known else None
    if account_id is None:
        account_id = await gateway.open_account(user_id=user.id, email=user.email, country=input.country)
        await context.store.payouts.keep_account(user.id, account_id, ready=False, missing=(), now=context.now)
    return ConnectPayoutsPayload(onboarding_url=await gateway.onboarding_url(account_id))


async def request_payout(info: Info, input: RequestPayoutInput) -> RequestPayoutResult:
    """Pay matured earnings out to the viewer's bank, at the store's rate. BELOW_MINIMUM and PAYOUT_NOT_READY say what
    is missing; the same idempotencyKey and input pay once.
    """
    context = info.context
    record, wallet = await context.store.payouts.request(
        context.signed_in, input.amount, input.idempotency_key, context.now
    )
    return RequestPayoutPayload(payout=Payout.of(record), wallet=Wallet.of(wallet))


def _gateway(context: Context) -> PayoutGateway:
    if context.desk.payouts is None:
        raise Unavailable("Payouts are not set up here: the store's owner connects Stripe first.")
    return context.desk.payouts
