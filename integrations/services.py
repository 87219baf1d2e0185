"""The gateways that the store talks through. `main.py` chooses the adapters; nothing else knows which one it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.money import Money
from domain.orders import OrderFacts
from domain.search import SearchDocument, SearchPage, SearchQuery


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a verified ID token speaks for. Roles are not here: they come from the store (T-A10)."""

    uid: str
    email: str
    email_verified: bool
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a client gets when it signs up, signs in or refreshes."""

    uid: str
    email: str
    id_token: str
    refresh_token: str
    expires_in_seconds: int


class IdentityGateway(Protocol):
    """Accounts, passwords and tokens. Every method answers within 2 s or raises Unavailable."""

    async def sign_up(self, email: str, password: str) -> SignIn:
        """Make an account. Raises EmailTaken, WeakPassword."""

    async def sign_in(self, email: str, password: str) -> SignIn:
        """Raises BadCredentials, the same for an unknown e-mail and a wrong password, in the same time class."""

    async def refresh(self, refresh_token: str) -> SignIn:
        """Trade a refresh token for new tokens. Raises BadCredentials when it is unknown, revoked or used twice."""

    async def verify(self, id_token: str, *, check_revoked: bool) -> Identity:
        """Raises Unauthenticated. With `check_revoked`, a revoked token or a disabled account is refused at once;
        without it, at most 60 s later."""

    async def revoke(self, uid: str) -> None:
        """End all sign-ins of the account: its refresh tokens die now, its ID tokens at the next checked use."""

    async def delete(self, uid: str) -> None:
        """Remove the account for good. Deleting twice is fine."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where a buyer pays."""

    url: str


class CheckoutGateway(Protocol):
    """A payment rail's way in: a page to pay on. What comes back comes by webhook."""

    async def checkout(
        self, *, purchase_id: str, user_id: str, email: str, sku: str, quantity: int, price: Money
    ) -> Checkout:
        """A page on which `quantity` of `sku` is paid for. It carries the purchase's id, so that the order names it."""

    async def close(self) -> None: ...


class Signatures(Protocol):
    """Verifies what a payment provider posts, over the raw body."""

    def verify(self, body: bytes, signature: str | None) -> bool:
        """Constant time in the secret; False for anything but a signature of exactly these bytes."""


class TaskQueue(Protocol):
    """Delivers tasks at least once to `POST /tasks/<name>`."""

    async def enqueue(
        self, name: str, row_id: str, args: Mapping[str, str], *, not_before: datetime | None = None
    ) -> None:
        """Ask for a delivery of the outbox row, with the ids that its handler needs. `row_id` names the task: a second
        enqueue may be dropped. Raises Unavailable; the row then waits for the sweep."""

    async def close(self) -> None: ...


class TaskCaller(Protocol):
    """Decides whether a request to `/tasks/*` comes from our queue."""

    async def verify(self, headers: Mapping[str, str]) -> bool: ...


Deliver = Callable[[str, str, Mapping[str, str]], Awaitable[bool]]
"""Runs one task, given its name, its outbox row's id and its arguments; False or an exception asks for another try."""

OrderParser = Callable[[bytes], OrderFacts]


@dataclass(frozen=True, slots=True)
class PayoutAccount:
    """A user's account with the payout provider. `missing` names what the provider still asks for."""

    id: str
    ready: bool
    missing: tuple[str, ...] = ()


class PayoutGateway(Protocol):
    """Pays creators. Every call that moves money takes a key that was fixed and stored before the first try, so that a
    retry after a lost reply moves nothing twice (T-F07)."""

    async def open_account(self, *, user_id: str, email: str, country: str | None) -> str:
        """The user's account id with the provider: opened once, found again afterwards. Raises Unavailable."""

    async def onboarding_url(self, account_id: str) -> str:
        """A page on which the user gives what the provider asks for; it expires within minutes."""

    async def account(self, account_id: str) -> PayoutAccount: ...

    async def transfer(self, *, account_id: str, amount: Money, payout_id: str, key: str) -> str:
        """Move money to the account; the provider's id of the transfer. Raises Unavailable (try again with the same
        key), PayoutRejected (it will never work)."""

    async def find_transfer(self, payout_id: str) -> str | None:
        """The transfer that an earlier try made for the payout, for a key that is too old to be replayed."""

    async def reverse(self, transfer_id: str, *, key: str) -> None:
        """Bring a transfer back, for a payout that failed."""

    async def paid_out(self, account_id: str, bank_payout_id: str) -> tuple[str, ...]:
        """Which of our payouts a payout to the user's bank holds."""

    async def close(self) -> None: ...


class PayoutRejected(Exception):
    """The provider refuses the transfer for good; the text is the provider's code, never a person's data."""


class OrderSource(Protocol):
    """What a provider says of its orders, for reconciliation: webhooks get lost, its books do not."""

    def orders(self, since: datetime, until: datetime) -> AsyncIterator[OrderFacts]:
        """Every order that changed in the window, with all that the provider knows of it, oldest first. Pages are read
        as the caller goes on; a rate limit is waited for within bounds. Raises Unavailable."""


class SearchGateway(Protocol):
    """An engine that finds listings. It holds what it is given and nothing else: who may see a hit is the store's to
    say when it is read. Every method raises Unavailable when the engine is down, overwhelmed, or not filled yet."""

    async def put(self, documents: Sequence[SearchDocument]) -> None:
        """Hold these documents, each in the place of the one with its id. Found as soon as it returns."""

    async def remove(self, ids: Sequence[str]) -> None:
        """Hold these no longer. Removing twice is fine."""

    async def replace_all(self, documents: Sequence[SearchDocument]) -> None:
        """Hold exactly these. Searches meanwhile are answered from what was held before."""

    async def search(self, query: SearchQuery) -> SearchPage:
        """A page of hits: all words, the last as a beginning, from four letters on with one mistake; the whole filter;
        in the query's order, from behind its place on."""

    async def close(self) -> None: ...
