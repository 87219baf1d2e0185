"""Stripe Connect: paying creators out, through an Express account of Stripe's for each of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from domain.errors import Unavailable
from domain.ids import Kind, is_id
from domain.money import Money
from integrations.payloads import Malformed
from integrations.services import BankPayout, FundsShort, PayoutAccount, PayoutRejected, TransferTold
from integrations.stripe import DEADLINE_SECONDS, PAGE_DEADLINE_SECONDS, KeyReused, Refused, StripeApi, unavailable
from integrations.stripe_events import PAYOUT_METADATA, USER_METADATA, read_account, read_payout, read_transfer
from integrations.stripe_money import stripe_amount

if TYPE_CHECKING:
    from stripe.params import AccountCreateParams, AccountListParams

PAGE = 100  # the most that Stripe gives at once
ACCOUNT_PAGES_MAX = 10  # the newest thousand accounts: more than open in the day for which a key is remembered

# What can never work, however often it is tried. Any other refusal is ours to mend, and the payout waits: to call it
# dead would give the creator back what a transfer may already have moved.
_FINAL = frozenset(
    {
        "account_closed",
        "account_invalid",
        "amount_too_large",
        "amount_too_small",
        "country_unsupported",
        "insufficient_capabilities_for_transfer",
        "payouts_not_allowed",
        "resource_missing",
        "transfers_not_allowed",
    }
)
_FUNDS_SHORT = "balance_insufficient"  # mended by the next sales, which may be a weekend away
_GONE = frozenset({"account_closed", "account_invalid", "resource_missing"})


class StripePayouts:
    """The payout gateway over Stripe Connect (services.PayoutGateway).

    Stripe replays the answer to a key for 24 h, an error's too, a 500's too; then it may forget the key, and the same
    call would move the money again. So whoever tries a transfer for the second time asks `find_transfer` first (T-F07).
    """

    def __init__(self, api: StripeApi, return_url: str, refresh_url: str) -> None:
        self._api = api
        self._return_url = return_url
        self._refresh_url = refresh_url

    async def open_account(self, *, user_id: str, email: str, country: str | None) -> str:
        """The id of the user's Express account. Raises Unavailable.

        Stripe cannot look an account up by its metadata. Within 24 h the key finds it again, also where e-mail or
        country changed meanwhile; after that a lost reply leaves an empty account behind, and opens another.
        """
        params: AccountCreateParams = {
            "type": "express",
            "capabilities": {"transfers": {"requested": True}},
            "metadata": {USER_METADATA: user_id},
        }
        if email:
            params["email"] = email
        if country:
            params["country"] = country
        try:
            opened = await self._api.ask(
                self._api.v1.accounts.create_async(params, {"idempotency_key": f"account:{user_id}"})
            )
            return _text(opened, "id")
        except Refused as refused:
            raise _refusing("an account", refused) from None
        except KeyReused:
            return await self._account_of(user_id)

    async def onboarding_url(self, account_id: str) -> str:
        """Stripe's page on which the user gives what it asks for; it works once, for minutes. Raises Unavailable."""
        try:
            link = await self._api.ask(
                self._api.v1.account_links.create_async(
                    {
                        "account": account_id,
                        "type": "account_onboarding",
                        "return_url": self._return_url,
                        "refresh_url": self._refresh_url,
                    }
                )
            )
        except Refused as refused:
            raise _refusing("an onboarding page", refused) from None
        return _text(link, "url")

    async def account(self, account_id: str) -> PayoutAccount:
        """How the account stands; one that was closed is not ready, and misses what Stripe calls it (T-M14)."""
        try:
            return read_account(await self._api.ask(self._api.v1.accounts.retrieve_async(account_id)))
        except Refused as refused:
            if refused.code not in _GONE:  # such as a key without the permission, which says nothing of the account
                raise _refusing("to tell of an account", refused) from None
            return PayoutAccount(account_id, False, (refused.code,))
        except Malformed:
            raise unavailable("an account that cannot be read") from None

    async def transfer(self, *, account_id: str, amount: Money, payout_id: str, key: str) -> str:
        """Move money to the account: Stripe's id of the transfer. Raises Unavailable, PayoutRejected."""
        try:
            moved = await self._api.ask(
                self._api.v1.transfers.create_async(
                    {
                        "amount": stripe_amount(amount),
                        "currency": amount.currency.lower(),
                        "destination": account_id,
                        "transfer_group": payout_id,
                        "metadata": {PAYOUT_METADATA: payout_id},
                    },
                    {"idempotency_key": key},
                )
            )
        except Refused as refused:
            if refused.code in _FINAL:
                raise PayoutRejected(refused.code) from None
            if refused.code == _FUNDS_SHORT:
                raise FundsShort("Stripe's balance does not cover the transfer yet.") from None
            raise _refusing("the transfer", refused) from None
        return _text(moved, "id")

    async def find_transfer(self, payout_id: str) -> str | None:
        """The transfer of the payout, whether or not it came back since. Raises Unavailable."""
        try:
            found = await self._api.ask(self._api.v1.transfers.list_async({"transfer_group": payout_id, "limit": PAGE}))
        except Refused as refused:
            raise _refusing("the list of transfers", refused) from None
        ours = [each for each in _items(found) if _metadata(each).get(PAYOUT_METADATA) == payout_id]
        return _text(ours[-1], "id") if ours else None  # the newest comes first, and the first is the one that counted

    async def transferred(self, transfer_id: str) -> TransferTold:
        """How a transfer stands. Raises Unavailable."""
        try:
            return read_transfer(await self._api.ask(self._api.v1.transfers.retrieve_async(transfer_id)))
        except Refused as refused:
            raise _refusing("to tell of a transfer", refused) from None
        except Malformed:
            raise unavailable("a transfer that cannot be read") from None

    async def reverse(self, transfer_id: str, *, key: str) -> None:
        """Bring all of a transfer back. One that is back already is fine. Raises Unavailable."""
        try:
            await self._api.ask(
                self._api.v1.transfers.reversals.create_async(transfer_id, {}, {"idempotency_key": key})
            )
        except Refused as refused:
            if not await self._is_back(transfer_id):
                raise _refusing("the reversal", refused) from None

    async def bank_payouts(self, account_id: str, since: datetime) -> tuple[BankPayout, ...]:
        """The newest hundred since then, oldest first. One that cannot be read is left out. Raises Unavailable."""
        try:
            found = await self._api.ask(
                self._api.v1.payouts.list_async(
                    {"created": {"gte": int(since.timestamp())}, "limit": PAGE}, {"stripe_account": account_id}
                ),
                deadline_seconds=PAGE_DEADLINE_SECONDS,
            )
        except Refused as refused:
            raise _refusing("the list of payouts", refused) from None
        read: list[BankPayout] = []
        for each in reversed(_items(found)):
            with contextlib.suppress(Malformed):
                read.append(read_payout(each, account_id))
        return tuple(read)

    async def paid_out(self, account_id: str, bank_payout_id: str) -> tuple[str, ...]:
        """Which of our payouts a payout to the creator's bank holds, for one that Stripe made by its own schedule.

        Raises Unavailable. It looks at the newest hundred of each: Stripe pays out daily, a creator asks less often.
        """
        try:
            parts = await self._api.ask(
                self._api.v1.balance_transactions.list_async(
                    {"payout": bank_payout_id, "type": "payment", "limit": PAGE, "expand": ["data.source"]},
                    {"stripe_account": account_id},
                ),
                deadline_seconds=PAGE_DEADLINE_SECONDS,
            )
            sent = await self._api.ask(
                self._api.v1.transfers.list_async({"destination": account_id, "limit": PAGE}),
                deadline_seconds=PAGE_DEADLINE_SECONDS,
            )
        except Refused as refused:
            raise _refusing("the parts of a payout", refused) from None
        sources = [each.get("source") for each in _items(parts)]
        held = {source.get("source_transfer") for source in sources if isinstance(source, dict)}
        ids = [_metadata(each).get(PAYOUT_METADATA) for each in _items(sent) if each.get("id") in held]
        return tuple(each for each in reversed(ids) if isinstance(each, str) and is_id(each, Kind.PAYOUT))

    async def close(self) -> None:
        await self._api.close()

    async def _account_of(self, user_id: str) -> str:
        """The account that an earlier try opened: the newest with the user's metadata, among the newest thousand."""
        after: str | None = None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                for _ in range(ACCOUNT_PAGES_MAX):
                    params: AccountListParams = {"limit": PAGE}
                    if after:
                        params["starting_after"] = after
                    page = await self._api.ask(self._api.v1.accounts.list_async(params))
                    accounts = _items(page)
                    for each in accounts:
                        if _metadata(each).get(USER_METADATA) == user_id:
                            return _text(each, "id")
                    if page.get("has_more") is not True or not accounts:
                        break
                    after = _text(accounts[-1], "id")
        except TimeoutError:
            raise unavailable("no answer in time") from None
        except Refused as refused:
            raise _refusing("the list of accounts", refused) from None
        raise unavailable("it opened an account that it does not list")

    async def _is_back(self, transfer_id: str) -> bool:
        try:
            told = await self._api.ask(self._api.v1.transfers.retrieve_async(transfer_id))
        except Refused:
            return False
        return told.get("reversed") is True


def _items(page: Mapping[str, object]) -> list[dict[str, object]]:
    data = page.get("data")
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []


def _metadata(told: Mapping[str, object]) -> dict[str, object]:
    metadata = told.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _text(told: Mapping[str, object], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not value:
        raise unavailable(f"an answer without its {name}")
    return value


def _refusing(what: str, refused: Refused) -> Unavailable:
    return unavailable(f"it refuses {what}, {refused.code}")
