"""Every collection of the store, by name and type."""

from __future__ import annotations

from typing import Any

from domain.agents import Agent, AgentVersion
from domain.ledger import Entry
from domain.listings import Listing, Seller, Tally
from domain.orders import Order
from domain.payouts import Payout, PayoutAccount
from domain.purchases import Purchase
from domain.receipts import Digest, Run
from domain.revenue import Accrual
from domain.reviews import Review
from domain.sessions import Session, UsageRecord
from domain.transactions import Transaction
from domain.users import User
from domain.wallets import Wallet
from firestore.records import Collection
from firestore.rows import InboxRow, OutboxRow, TopicHead

USERS = Collection("users", User)
SELLERS = Collection("sellers", Seller)
AGENTS = Collection("agents", Agent)
AGENT_VERSIONS = Collection("agent_versions", AgentVersion)
LISTINGS = Collection("listings", Listing)
TALLIES = Collection("tallies", Tally)
SESSIONS = Collection("sessions", Session, sealed=True)
USAGE = Collection("usage", UsageRecord, sealed=True)
REVIEWS = Collection("reviews", Review)
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
DIGESTS = Collection("digests", Digest)
RUNS = Collection("digest_leaves", Run)

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
