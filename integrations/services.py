"""The gateways that the store talks through. `main.py` chooses the adapters; nothing else knows which one it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domain.analytics import Fact
from domain.errors import Unavailable
from domain.money import Money
from domain.orders import OrderFacts
from domain.rates import Rate
from domain.search import SearchDocument, SearchPage, SearchQuery


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a verified ID token speaks for. Roles are not here: they come from the store (T-A10).

    `sign_in_id` is the sign-in that the token follows from, as `sign_ins` lists it; `signed_in_at` when a password was
    last given for it. None is what the provider does not say.
    """

    uid: str
    email: str
    email_verified: bool
    issued_at: datetime
    expires_at: datetime
    sign_in_id: str | None = None
    signed_in_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a client gets when it signs up, signs in or refreshes."""

    uid: str
    email: str
    id_token: str
    refresh_token: str
    expires_in_seconds: int


@dataclass(frozen=True, slots=True)
class DeviceSignIn:
    """Where an account is signed in. `device` is what the client called itself.

    `covers_all` says that the provider tells no sign-in from another: this one stands for all, and ends them all.
    """

    id: str
    device: str | None
    created_at: datetime
    used_at: datetime
    covers_all: bool = False


class IdentityGateway(Protocol):
    """Accounts, passwords and tokens. Every method answers within 2 s or raises Unavailable."""

    async def sign_up(self, email: str, password: str, *, device: str | None = None) -> SignIn:
        """Make an account. Raises EmailTaken, WeakPassword."""

    async def sign_in(self, email: str, password: str, *, device: str | None = None) -> SignIn:
        """Raises BadCredentials, the same for an unknown e-mail and a wrong password, in the same time class."""

    async def check_password(self, email: str, password: str) -> None:
        """As `sign_in` raises, and nobody is signed in by it."""

    async def refresh(self, refresh_token: str, *, device: str | None = None) -> SignIn:
        """Trade a refresh token for new tokens. Raises BadCredentials when it is unknown, revoked or used twice."""

    async def verify(self, id_token: str, *, check_revoked: bool) -> Identity:
        """Raises Unauthenticated. With `check_revoked`, a revoked token or a disabled account is refused at once;
        without it, at most 60 s later."""

    async def revoke(self, uid: str) -> None:
        """End all sign-ins of the account: its refresh tokens die now, its ID tokens at the next checked use."""

    async def sign_ins(self, uid: str) -> tuple[DeviceSignIn, ...]:
        """Where the account is signed in, the last used first; none for an account that is gone."""

    async def revoke_sign_in(self, uid: str, sign_in_id: str) -> bool:
        """End one sign-in of the account as `revoke` ends all. False where there is no such one."""

    async def delete(self, uid: str) -> None:
        """Remove the account for good. Deleting twice is fine."""

    async def close(self) -> None: ...


class AppCheckGateway(Protocol):
    """Tells the apps of the store from whatever else speaks to it."""

    async def verify(self, token: str) -> bool:
        """Whether one of the apps sends it, and it holds now. Raises Unavailable, within 2 s, where nobody can tell."""

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


@dataclass(frozen=True, slots=True)
class PayoutAccount:
    """A user's account with the payout provider. `missing` names what the provider still asks for."""

    id: str
    ready: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TransferTold:
    """Money that we moved to a creator's account. `returned` says that all of it came back, `partly` that some did:
    only somebody at the provider's dashboard does that, and nobody but they knows what for."""

    id: str
    account_id: str | None
    payout_id: str | None
    returned: bool
    partly: bool = False


class BankStatus(StrEnum):
    """Where a payout to a bank stands."""

    ON_ITS_WAY = "ON_ITS_WAY"
    PAID = "PAID"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


@dataclass(frozen=True, slots=True)
class BankPayout:
    """What left a creator's account for the bank. `failure` is the provider's code, such as "account_closed".

    `payout_id` is ours only where the payout carries our metadata. An `automatic` one follows the provider's schedule,
    and `PayoutGateway.paid_out` says which of ours it holds; of one that the creator asked for, the amount and the
    moment are all that is known. A payout that was PAID may still come back as FAILED.
    """

    id: str
    account_id: str
    status: BankStatus
    failure: str | None
    payout_id: str | None
    automatic: bool = True
    amount: Money | None = None
    made_at: datetime | None = None


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
        key), its kind FundsShort, PayoutRejected (it will never work)."""

    async def find_transfer(self, payout_id: str) -> str | None:
        """The transfer that an earlier try made for the payout, for a key that is too old to be replayed."""

    async def transferred(self, transfer_id: str) -> TransferTold:
        """What the provider's books say of a transfer now. Raises Unavailable."""

    async def reverse(self, transfer_id: str, *, key: str) -> None:
        """Bring a transfer back, for a payout that failed."""

    async def bank_payouts(self, account_id: str, since: datetime) -> tuple[BankPayout, ...]:
        """What left the account for the bank since then, the newest hundred, oldest first. Raises Unavailable."""

    async def paid_out(self, account_id: str, bank_payout_id: str) -> tuple[str, ...]:
        """Which of our payouts an automatic payout to the user's bank holds."""

    async def close(self) -> None: ...


class FundsShort(Unavailable):
    """The platform's own balance does not cover the transfer yet: nothing has moved, and the payout waits for it."""


class PayoutRejected(Exception):
    """The provider refuses the transfer for good; the text is the provider's code, never a person's data."""


class OrderSource(Protocol):
    """What a provider says of its orders, for reconciliation: webhooks get lost, its books do not."""

    def orders(self, since: datetime, until: datetime) -> AsyncIterator[OrderFacts]:
        """Every order that changed in the window, with all that the provider knows of it, oldest first. Pages are read
        as the caller goes on; a rate limit is waited for within bounds. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """Where to PUT a file, with exactly these headers; the address holds for them alone, for one file, for minutes."""

    url: str
    headers: Mapping[str, str]


class StorageGateway(Protocol):
    """Files by key, such as `uploads/…`. Nothing in it is public: what may be seen is served by whoever reads it. Every
    method raises Unavailable when the storage does not answer in time."""

    async def sign_upload(self, key: str, *, content_type: str, size_bytes: int, ends_at: datetime) -> SignedUpload:
        """An address that takes one file of this type and of exactly this size, once, until then."""

    async def read(self, key: str, bytes_max: int) -> bytes | None:
        """The file, None where there is none. No more than `bytes_max` of it."""

    async def write(self, key: str, content: bytes, content_type: str) -> None:
        """Keep a file, in place of one that is there."""

    async def delete(self, key: str) -> None:
        """Remove a file. Removing twice is fine."""

    async def close(self) -> None: ...


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


class AnalyticsGateway(Protocol):
    """Somebody who draws curves of what happens in the store, and must not learn whom it happens to."""

    async def tell(self, facts: Sequence[Fact], now: datetime) -> None:
        """Pass facts on, without a word that names a person or was written by one. Raises Unavailable."""


class RateCounters(Protocol):
    """Counts what anybody asked for, per rate and key. Raises Unavailable within a quarter second when it cannot."""

    async def take(self, rate: Rate, key: str, units: int) -> int:
        """Count units where they fit, and give 0; else count nothing, and give the seconds to wait."""

    async def wait_seconds(self, rate: Rate, key: str) -> int:
        """Seconds until one unit fits; 0 for now. Counts nothing."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Held:
    """Which form of a listing an engine holds: a mark of what people write, and the figures that counters change."""

    mark: str
    figures: tuple[int, ...]


class SearchMirror(SearchGateway, Protocol):
    """An engine apart from this process: it is told of each change by a task, and compared by a round."""

    async def configure(self) -> dict[str, list[str]]:
        """Give it the settings that searches rely on, where it has others; gives the names of those, by index."""

    async def update_figures(self, documents: Sequence[SearchDocument]) -> None:
        """Renew the figures alone, of those of these documents that it holds."""

    async def held(self) -> dict[str, Held]:
        """All that it holds, by listing. Configure it before."""

    def holding(self, document: SearchDocument) -> Held:
        """What it holds once it was given the document."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail of plain text. `id` is its notification's, or its digest's, by which the provider's log and ours meet."""

    id: str
    to: str
    subject: str
    text: str

    @property
    def subject_line(self) -> str:
        """The subject on one line, whatever it is made of: a line more in a mail's head is a header more."""
        return " ".join(self.subject.split())


@dataclass(frozen=True, slots=True)
class Push:
    """A push; one with the same `id` replaces it on the device."""

    id: str
    title: str
    text: str


class MessageRejected(Exception):
    """The provider will never take this message; the text is its code, never an address."""


class MailGateway(Protocol):
    async def send(self, mail: Mail) -> None:
        """Hand a mail over. Raises Unavailable (try again), MessageRejected."""

    async def close(self) -> None: ...


class PushGateway(Protocol):
    async def send(self, push: Push, tokens: Sequence[str]) -> list[str]:
        """Push to devices; the tokens that are registered no longer. Raises Unavailable where none was reached."""

    async def close(self) -> None: ...
