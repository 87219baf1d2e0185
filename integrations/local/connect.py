"""Payouts without Stripe: accounts, transfers and a bank, which post the signed events that Stripe would.

How a payout ends is chosen by the last two digits of its amount in the smallest unit:

====  =================================================================================================
13    the bank sends it back: payout.failed, "account_closed"
14    the bank takes it and then sends it back: payout.paid, later payout.failed (T-M14)
15    Stripe refuses the transfer for good: PayoutRejected, "account_invalid"
16    the transfer is made but its reply is lost: Unavailable once; the same key then tells the transfer (T-F07)
17    Stripe answers 500, and the same again to the same key for 24 h: Unavailable, nothing moved; then
      it works (T-F07)
else  it arrives: payout.paid
====  =================================================================================================

Everything is kept in memory. After a restart, keys and transfers are forgotten, but an id follows from its key, so a
retry is told the same transfer; an account from before it counts as complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import quote

from domain.errors import Unavailable
from domain.ids import fingerprint
from domain.money import Money
from integrations.local.pages import form_page
from integrations.local.stripe import event_payload, stripe_id
from integrations.services import BankPayout, PayoutAccount, PayoutRejected, TransferTold
from integrations.stripe import KeyReused, sign, unavailable
from integrations.stripe_events import PAYOUT_METADATA, USER_METADATA, read_payout, read_transfer
from integrations.stripe_money import stripe_amount

PATH = "/local/payouts/onboarding"
KEY_TTL = timedelta(hours=24)  # as Stripe's, which then forgets what the key did
KEYS_MAX = 10_000  # about 5 MB; the oldest goes first
TRIES_MAX = 5  # Stripe tries for three days; a local store that is down this long is not running
FIRST_WAIT_SECONDS = 0.2
ASKED = ("external_account", "individual.verification.document", "tos_acceptance.date")

Post = Callable[[bytes, str], Awaitable[bool]]
"""Posts a body with its Stripe-Signature to the store's own door; False or an exception asks for another try."""


@dataclass(frozen=True, slots=True)
class _Account:
    id: str
    user_id: str
    email: str = ""
    country: str = "US"
    ready: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class _Transfer:
    id: str
    account_id: str
    amount: Money
    payout_id: str
    at: datetime
    returned: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a key's first call was answered: a text, or the refusal that is raised again and again."""

    fingerprint: str
    at: datetime
    text: str
    refusal: Callable[[], Exception] | None = None


class LocalPayouts:
    """The payout gateway of one machine (services.PayoutGateway), as close to Stripe as a creator can see.

    `secret` signs what `post` delivers. Events are posted in the background, in order, as Stripe would: often before
    the caller has written down what it asked for.
    """

    def __init__(
        self, base_url: Callable[[], str], secret: str, post: Post, *, clock: Callable[[], datetime], test: bool
    ) -> None:
        self._base_url = base_url
        self._secret = secret
        self._post = post
        self._clock = clock
        self._test = test
        self._accounts: dict[str, _Account] = {}
        self._transfers: dict[str, _Transfer] = {}
        self._parts: dict[str, tuple[str, ...]] = {}
        self._answers: dict[str, _Answer] = {}
        self._posting: set[asyncio.Task[None]] = set()

    async def open_account(self, *, user_id: str, email: str, country: str | None) -> str:
        """The user's account: opened once, found again afterwards."""
        account = _Account(stripe_id("acct", user_id), user_id, email, country or "US")
        return self._accounts.setdefault(account.id, account).id

    async def onboarding_url(self, account_id: str) -> str:
        """Our own page, whose button the store answers with `confirm`."""
        self._require(account_id)
        return f"{self._base_url().rstrip('/')}{PATH}?account={quote(account_id, safe='')}"

    async def confirm(self, account_id: str) -> bool:
        """The user gave all that was asked: the account is ready, and account.updated says so. False if unknown."""
        account = self._accounts.get(account_id)
        if account is None or account.closed:
            return False
        self._accounts[account_id] = ready = replace(account, ready=True)
        self._announce(("account.updated", _account_object(ready), account_id))
        return True

    async def close_account(self, account_id: str) -> None:
        """The creator closes the account with the provider: nothing can be sent there any more."""
        self._accounts[account_id] = closed = replace(self._require(account_id), ready=False, closed=True)
        self._announce(("account.updated", _account_object(closed), account_id))

    async def account(self, account_id: str) -> PayoutAccount:
        account = self._account(account_id)
        if account is None or account.closed:
            return PayoutAccount(account_id, False, ("account_invalid",))
        return PayoutAccount(account_id, account.ready, () if account.ready else ASKED)

    async def transfer(self, *, account_id: str, amount: Money, payout_id: str, key: str) -> str:
        """Move the money. Raises Unavailable, PayoutRejected: see the table above."""
        asked = fingerprint(account_id, amount, payout_id)
        known = self._answer(key, asked)
        if known is not None:
            return _told(known)
        answer = self._moved(account_id, amount, payout_id, key)
        self._keep(key, replace(answer, fingerprint=asked))
        if answer.refusal is None and _ending(amount) == 16:
            raise unavailable("no answer in time")
        return _told(answer)

    async def find_transfer(self, payout_id: str) -> str | None:
        """The transfer of the payout, whether or not it came back since."""
        found = (each.id for each in self._transfers.values() if each.payout_id == payout_id)
        return next(found, None)

    async def transferred(self, transfer_id: str) -> TransferTold:
        transfer = self._transfers.get(transfer_id)
        if transfer is None:
            raise unavailable("it has forgotten the transfer")
        return read_transfer(self._transfer_object(transfer))

    async def reverse(self, transfer_id: str, *, key: str) -> None:
        """Bring all of a transfer back. One that is back already is fine."""
        if self._answer(key, fingerprint(transfer_id)) is not None:
            return
        transfer = self._transfers.get(transfer_id)
        if transfer is not None and not transfer.returned:
            self._transfers[transfer_id] = back = replace(transfer, returned=True)
            self._announce(("transfer.reversed", self._transfer_object(back), None))
        self._keep(key, _Answer(fingerprint(transfer_id), self._clock(), transfer_id))

    async def bank_payouts(self, account_id: str, since: datetime) -> tuple[BankPayout, ...]:
        """How each transfer ended at the bank."""
        made = [each for each in self._transfers.values() if each.account_id == account_id and each.at >= since]
        return tuple(
            read_payout(self._payout_object(each, stripe_id("po", each.id), _ends(each.amount)[-1]), account_id)
            for each in made
        )

    async def paid_out(self, account_id: str, bank_payout_id: str) -> tuple[str, ...]:
        """Which of our payouts a payout to the creator's bank holds: one here, as if the bank were paid at once."""
        return self._parts.get(bank_payout_id, ())

    async def settled(self) -> None:
        """Return once every event that is due has been posted, or given up."""
        while self._posting:
            await asyncio.gather(*self._posting)

    async def close(self) -> None:
        """Post nothing more."""
        for task in self._posting:
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)

    def _moved(self, account_id: str, amount: Money, payout_id: str, key: str) -> _Answer:
        now, ending, account = self._clock(), _ending(amount), self._account(account_id)
        again = () if key not in self._answers else (now.isoformat(),)  # the key is forgotten: Stripe would pay twice
        if ending == 17 and not again:
            return _Answer("", now, "", lambda: unavailable("APIError, status 500"))
        if account is None or account.closed or ending == 15:
            return _Answer("", now, "", lambda: PayoutRejected("account_invalid"))
        if not account.ready:
            return _Answer("", now, "", lambda: PayoutRejected("insufficient_capabilities_for_transfer"))
        transfer = _Transfer(stripe_id("tr", key, *again), account_id, amount, payout_id, now)
        self._transfers[transfer.id] = transfer
        bank_id = stripe_id("po", transfer.id)
        self._parts[bank_id] = (payout_id,)
        self._announce(
            ("transfer.created", self._transfer_object(transfer), None),
            *((f"payout.{end}", self._payout_object(transfer, bank_id, end), account_id) for end in _ends(amount)),
        )
        return _Answer("", now, transfer.id)

    def _answer(self, key: str, asked: str) -> _Answer | None:
        """What the key was answered, within its day. The same key with other parameters is an error, as Stripe's."""
        known = self._answers.get(key)
        if known is None or self._clock() - known.at >= KEY_TTL:
            return None
        if known.fingerprint != asked:
            raise KeyReused
        return known

    def _keep(self, key: str, answer: _Answer) -> None:
        self._answers.pop(key, None)
        self._answers[key] = answer
        while len(self._answers) > KEYS_MAX:
            del self._answers[next(iter(self._answers))]

    def _account(self, account_id: str) -> _Account | None:
        if account_id not in self._accounts and account_id.startswith("acct_1"):
            return _Account(account_id, "", ready=True)
        return self._accounts.get(account_id)

    def _require(self, account_id: str) -> _Account:
        account = self._account(account_id)
        if account is None:
            raise Unavailable("There is no such payout account: open one first.")
        return account

    def _announce(self, *events: tuple[str, dict[str, object], str | None]) -> None:
        at = self._clock()
        bodies = [
            event_payload(kind, about, at=at, test=self._test, account=account) for kind, about, account in events
        ]
        task = asyncio.get_running_loop().create_task(self._deliver(bodies))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _deliver(self, bodies: list[bytes]) -> None:
        for body in bodies:
            for tried in range(TRIES_MAX):
                if await self._taken(body):
                    break
                await asyncio.sleep(FIRST_WAIT_SECONDS * 2**tried)

    async def _taken(self, body: bytes) -> bool:
        try:
            return await self._post(body, sign(body, self._secret, self._clock()))
        except Exception:  # whatever the door raises, Stripe would only see that it did not answer 200
            return False

    def _transfer_object(self, transfer: _Transfer) -> dict[str, object]:
        amount = stripe_amount(transfer.amount)
        return {
            "id": transfer.id,
            "object": "transfer",
            "amount": amount,
            "amount_reversed": amount if transfer.returned else 0,
            "balance_transaction": stripe_id("txn", transfer.id),
            "created": int(transfer.at.timestamp()),
            "currency": transfer.amount.currency.lower(),
            "description": None,
            "destination": transfer.account_id,
            "destination_payment": stripe_id("py", transfer.id),
            "livemode": not self._test,
            "metadata": {PAYOUT_METADATA: transfer.payout_id},
            "reversals": {
                "object": "list",
                "data": [],
                "has_more": False,
                "url": f"/v1/transfers/{transfer.id}/reversals",
            },
            "reversed": transfer.returned,
            "source_transaction": None,
            "source_type": "card",
            "transfer_group": transfer.payout_id,
        }

    def _payout_object(self, transfer: _Transfer, bank_id: str, status: str) -> dict[str, object]:
        """A payout by Stripe's own schedule: it carries nothing of ours, as in production."""
        failed = status == "failed"
        return {
            "id": bank_id,
            "object": "payout",
            "amount": stripe_amount(transfer.amount),
            "application_fee": None,
            "application_fee_amount": None,
            "arrival_date": int(transfer.at.timestamp()),
            "automatic": True,
            "balance_transaction": stripe_id("txn", bank_id),
            "created": int(transfer.at.timestamp()),
            "currency": transfer.amount.currency.lower(),
            "description": "STRIPE PAYOUT",
            "destination": stripe_id("ba", transfer.account_id),
            "failure_balance_transaction": stripe_id("txn", bank_id, "failed") if failed else None,
            "failure_code": "account_closed" if failed else None,
            "failure_message": "The bank account has been closed." if failed else None,
            "livemode": not self._test,
            "metadata": {},
            "method": "standard",
            "original_payout": None,
            "payout_method": None,
            "reconciliation_status": "completed",
            "reversed_by": None,
            "source_type": "card",
            "statement_descriptor": None,
            "status": status,
            "trace_id": None,
            "type": "bank_account",
        }


def page(account_id: str) -> str:
    """The page that stands in for Stripe's onboarding."""
    told = "<p>This page stands in for Stripe's onboarding. Nothing about you is asked.</p>"
    button = '<button type="submit">Everything is filled in</button>'
    return form_page("Local payouts", told, PATH, {"account": account_id}, button)


def _account_object(account: _Account) -> dict[str, object]:
    active = account.ready and not account.closed
    due = [] if active or account.closed else list(ASKED)
    return {
        "id": account.id,
        "object": "account",
        "business_type": "individual",
        "capabilities": {"transfers": "active" if active else "inactive"},
        "charges_enabled": False,
        "country": account.country,
        "default_currency": "usd",
        "details_submitted": account.ready or account.closed,
        "email": account.email or None,
        "metadata": {USER_METADATA: account.user_id},
        "payouts_enabled": active,
        "requirements": {
            "alternatives": [],
            "current_deadline": None,
            "currently_due": due,
            "disabled_reason": None if active else ("rejected.other" if account.closed else "requirements.past_due"),
            "errors": [],
            "eventually_due": due,
            "past_due": due,
            "pending_verification": [],
        },
        "type": "express",
    }


def _ends(amount: Money) -> tuple[str, ...]:
    """What becomes of the payout to the bank."""
    return {13: ("failed",), 14: ("paid", "failed")}.get(_ending(amount), ("paid",))


def _ending(amount: Money) -> int:
    return amount.minor_units % 100


def _told(answer: _Answer) -> str:
    if answer.refusal is not None:
        raise answer.refusal()
    return answer.text
