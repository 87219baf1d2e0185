"""Every collection of the store, by name and type."""

from __future__ import annotations

from domain.agents import Agent, AgentVersion
from domain.ledger import Entry
from domain.listings import Listing, Seller, Tally
from domain.purchases import Order, Purchase
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
SESSIONS = Collection("sessions", Session)
USAGE = Collection("usage", UsageRecord)
REVIEWS = Collection("reviews", Review)
WALLETS = Collection("wallets", Wallet)
ENTRIES = Collection("entries", Entry)
ACCRUALS = Collection("accruals", Accrual)
TRANSACTIONS = Collection("transactions", Transaction)
PURCHASES = Collection("purchases", Purchase)
ORDERS = Collection("orders", Order)
INBOX = Collection("inbox", InboxRow)
OUTBOX = Collection("outbox", OutboxRow)
TOPICS = Collection("topics", TopicHead)
