"""Every collection of the store, by name and type."""

from __future__ import annotations

from typing import Any

from domain.acts import Act
from domain.agents import Agent, AgentVersion
from domain.analytics import Cohort, Customer
from domain.appeals import Appeal
from domain.badges import BadgeTotals
from domain.endpoints import Delivery, Endpoint
from domain.erasure import Erasure
from domain.images import ImageUpload
from domain.keys import ApiKey, KeyRing
from domain.ledger import Entry
from domain.legal import Acceptance
from domain.listings import Listing, Seller, Tally
from domain.notifications import Device, Notification, NotificationBox
from domain.orders import Order
from domain.payouts import Payout, PayoutAccount
from domain.progress import Mark, Progress
from domain.purchases import Purchase
from domain.receipts import Digest, Run
from domain.reports import Report, ReportTally
from domain.revenue import Accrual
from domain.reviews import Review, Vote
from domain.sessions import Ending, Session, UsageRecord
from domain.transactions import Transaction
from domain.users import User
from domain.wallets import Wallet
from firestore.records import Collection
from firestore.rows import CountingMark, Figures, InboxRow, OutboxRow, PlatformDay, TopicHead

USERS = Collection("users", User)
SELLERS = Collection("sellers", Seller)
AGENTS = Collection("agents", Agent)
AGENT_VERSIONS = Collection("agent_versions", AgentVersion)
LISTINGS = Collection("listings", Listing)
TALLIES = Collection("tallies", Tally)
SESSIONS = Collection("sessions", Session, sealed=True)
USAGE = Collection("usage", UsageRecord, sealed=True)
ENDINGS = Collection("endings", Ending)
REVIEWS = Collection("reviews", Review)
VOTES = Collection("votes", Vote)
WALLETS = Collection("wallets", Wallet, sealed=True)
ENTRIES = Collection("entries", Entry, sealed=True)
ACCRUALS = Collection("accruals", Accrual, sealed=True)
PAYOUTS = Collection("payouts", Payout, sealed=True)
PAYOUT_ACCOUNTS = Collection("payout_accounts", PayoutAccount)
TRANSACTIONS = Collection("transactions", Transaction, sealed=True)
PURCHASES = Collection("purchases", Purchase, sealed=True)
ORDERS = Collection("orders", Order, sealed=True)
INBOX = Collection("inbox", InboxRow)
OUTBOX = Collection("outbox", OutboxRow)
TOPICS = Collection("topics", TopicHead)
NOTIFICATIONS = Collection("notifications", Notification)
NOTIFICATION_BOXES = Collection("notification_boxes", NotificationBox)
DEVICES = Collection("devices", Device)
ENDPOINTS = Collection("webhook_endpoints", Endpoint)
DELIVERIES = Collection("webhook_deliveries", Delivery)
API_KEYS = Collection("api_keys", ApiKey)
ACCEPTANCES = Collection("acceptances", Acceptance)
ERASURES = Collection("erasures", Erasure)
KEY_RINGS = Collection("key_rings", KeyRing)
FIGURES = Collection("figures", Figures)
PLATFORM_DAYS = Collection("platform_days", PlatformDay)
CUSTOMERS = Collection("customers", Customer)
COHORTS = Collection("cohorts", Cohort)
COUNTING_MARKS = Collection("counting_marks", CountingMark)
DIGESTS = Collection("digests", Digest)
RUNS = Collection("digest_leaves", Run)
ACTS = Collection("acts", Act)
APPEALS = Collection("appeals", Appeal)
REPORTS = Collection("reports", Report)
REPORT_TALLIES = Collection("report_tallies", ReportTally)
UPLOADS = Collection("uploads", ImageUpload)
PROGRESS = Collection("progress", Progress)
MARKS = Collection("marks", Mark)
BADGE_TOTALS = Collection("badge_totals", BadgeTotals)

LEDGER: tuple[Collection[Any], ...] = (
    ENTRIES,
    WALLETS,
    SESSIONS,
    USAGE,
    ORDERS,
    PURCHASES,
    ACCRUALS,
    TRANSACTIONS,
    PAYOUTS,
)
"""What the audit holds against each other."""
