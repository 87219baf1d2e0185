"""The store: one room of operations per noun, over one backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from domain.policy import Policy
from firestore.accounts import Accounts
from firestore.acts import Acts
from firestore.agents import Agents
from firestore.analytics import Analytics
from firestore.appeals import Appeals
from firestore.audit import Report, audit
from firestore.backend import Backend
from firestore.commit import Commits
from firestore.digests import Digests
from firestore.discovery import Discovery
from firestore.earnings import Earnings
from firestore.endpoints import Endpoints
from firestore.erasures import Erasures
from firestore.facts import Facts
from firestore.feed import Feed
from firestore.images import Images
from firestore.inbox import Inbox
from firestore.journal import Journal
from firestore.keys import Keys
from firestore.legal import Legal
from firestore.listings import Listings
from firestore.mail_digests import MailDigests
from firestore.notifications import Notifications
from firestore.orders import Orders
from firestore.outbox import Outbox
from firestore.payouts import Payouts
from firestore.personal import Personal
from firestore.privacy import Privacy
from firestore.progress import Progresses
from firestore.purchases import Purchases
from firestore.receipts import Receipts
from firestore.records import Collection
from firestore.refunds import Refunds
from firestore.reports import Reports
from firestore.reviews import Reviews
from firestore.roll_up import RollUp
from firestore.rows import OutboxRow
from firestore.sessions import Sessions
from firestore.statements import Statements
from firestore.topics import Topics
from firestore.users import Users
from firestore.wallets import Wallets


class Store:
    """Every operation of the store. `told` gets the outbox rows of each commit, right after it stands."""

    def __init__(
        self,
        backend: Backend,
        policy: Policy,
        *,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        told: Callable[[Iterable[OutboxRow]], None],
        rehearse: bool = False,
    ) -> None:
        commits = Commits(backend, jitter=jitter, told=told, rehearse=rehearse)
        self._backend = backend
        self.users = Users(backend, commits)
        self.keys = Keys(backend, commits, policy)
        self.legal = Legal(backend, commits, policy)
        self.erasures = Erasures(backend, commits, policy)
        self.personal = Personal(backend)
        self.agents = Agents(backend, commits, policy)
        self.listings = Listings(backend, commits, policy)
        self.sessions = Sessions(backend, commits, policy)
        self.discovery = Discovery(backend, self.listings, self.sessions)
        self.reviews = Reviews(backend, commits, policy)
        self.wallets = Wallets(backend, commits, policy)
        self.earnings = Earnings(backend, commits, policy)
        self.payouts = Payouts(backend, commits, policy)
        self.refunds = Refunds(backend, commits, policy)
        self.orders = Orders(backend, commits, policy)
        self.acts = Acts(backend)
        self.accounts = Accounts(backend, commits, policy)
        self.appeals = Appeals(backend, commits, policy)
        self.reports = Reports(backend, commits)
        self.journal = Journal(backend)
        self.images = Images(backend, commits, policy)
        self.progress = Progresses(backend, commits, policy)
        self.privacy = Privacy(backend, commits)
        self.purchases = Purchases(backend, commits, policy)
        self.inbox = Inbox(backend, told, retention=policy.inbox_retention, events=policy.event_retention)
        self.statements = Statements(backend)
        self.digests = Digests(backend, commits)
        self.receipts = Receipts(backend)
        self.outbox = Outbox(backend, commits)
        self.topics = Topics(backend, commits, policy)
        self.notifications = Notifications(backend, commits, policy)
        self.mail_digests = MailDigests(backend, commits)
        self.endpoints = Endpoints(backend, commits, policy)
        self.facts = Facts(backend)
        self.roll_up = RollUp(backend, commits)
        self.analytics = Analytics(backend)
        self.feed = Feed(backend, clock)

    async def read(self, wanted: Sequence[tuple[Collection[Any], str]]) -> list[Any]:
        """Records of any collections in the order asked, None for the absent. One RPC."""
        found = await self._backend.get_many([collection.at(record_id) for collection, record_id in wanted])
        return [
            None if snapshot is None else collection.decode(snapshot)
            for (collection, _), snapshot in zip(wanted, found, strict=True)
        ]

    async def audit(self, now: datetime, *, since: datetime | None, progress: Callable[[str], None]) -> Report:
        """Check every invariant of the ledger as of one moment, or what the entries since a mark touched."""
        return await audit(self._backend, now, since=since, progress=progress)

    async def ping(self) -> None:
        """Whether Firestore answers. One RPC. Raises Unavailable."""
        await self._backend.get_many(["health/ping"])

    async def close(self) -> None:
        await self._backend.close()
