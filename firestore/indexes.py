"""The indexes that our queries need, as data: `python -m firestore.indexes` writes `firestore.indexes.json` of it.

A query of several equalities and an order is answered by merging the indexes of each equality, as long as all of them
end in that same order (firebase.google.com/docs/firestore/query-data/index-overview, "index merging"): so the listings
need facets x orders indexes, not their combinations. A query of equalities alone merges the automatic ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from firestore.collections import LEDGER
from firestore.listings import ORDERS
from firestore.records import SEAL

FILE = Path(__file__).with_name("firestore.indexes.json")

# What a browse may ask of a listing to be equal; `labels` is the array of games, categories and tags.
LISTING_FACETS = (
    "status",
    "labels contains",
    "type",
    "language",
    "has_voice_chat",
    "has_memory",
    "owner_id",
    "rank",
)

# Collection, then the fields: ascending, where not said otherwise. The document's name follows in the last direction.
COMPOSITES: tuple[tuple[str, ...], ...] = (
    ("listings", "featured", "total_hires desc"),
    ("listings", "status", "agent_id"),  # a shard of what a search engine follows
    ("agents", "owner_id", "deleted_at", "created_at desc"),
    ("agent_versions", "agent_id", "version desc"),
    ("reviews", "listing_id", "created_at desc"),
    ("reviews", "listing_id", "helpful desc", "created_at desc"),
    ("reviews", "listing_id", "created_at", "rating"),  # a sum needs its field in the index
    ("figures", "subject", "day"),
    ("sessions", "hirer_id", "started_at desc"),
    ("sessions", "hirer_id", "settled", "started_at desc"),
    ("sessions", "bucket", "started_at"),
    ("sessions", "bucket", "settled_at"),
    ("orders", "in_review", "created_at"),
    ("orders", "rail", "shop", "email"),
    ("payouts", "user_id", "created_at desc"),
    ("payouts", "account_id", "created_at desc"),
    ("payouts", "state", "created_at"),
    ("transactions", "user_id", "created_at desc"),
    ("transactions", "user_id", "type", "created_at desc"),
    ("entries", "user_ids contains", "at desc"),
    ("entries", "bucket", "at"),
    ("accruals", "bucket", "state", "matures_at"),
    ("accruals", "user_id", "state", "matures_at"),
    ("accruals", "user_id", "created_at desc"),
    ("accruals", "state", "user_id", "amount"),  # a sum needs its field in the index
    ("outbox", "bucket", "state", "due_at"),
    ("outbox", "topics contains", "at"),
    ("outbox", "topics contains", "at desc"),
    ("notifications", "user_id", "sequence desc"),
    ("notifications", "user_id", "read", "sequence desc"),
    ("notifications", "mail_digest_id", "created_at desc"),
    ("webhook_deliveries", "endpoint_id", "created_at desc"),
    ("users", "role", "email"),
    ("appeals", "state", "opened_at"),
    ("reports", "state", "reported_at"),
    ("reports", "subject_id", "reported_at"),
    ("acts", "actor_id", "at desc"),
    ("acts", "subject_id", "at desc"),
)

# Fields without automatic indexes. A moment that only grows limits its collection to 500 writes a second, if it is
# indexed by itself (firebase.google.com/docs/firestore/best-practices); a long text, or a map that nobody asks for, is
# paid with every write.
UNINDEXED: dict[str, tuple[str, ...]] = {
    "users": ("updated_at", "preferences", "suspended_until", "suspension_reason", "erased_at"),
    "agents": ("created_at", "updated_at", "configuration", "image"),
    "agent_versions": ("at", "configuration", "changes"),
    "listings": ("created_at", "updated_at", "description", "title", "status_reason", "judged_at", "top_reviews"),
    "reviews": ("created_at", "updated_at", "title", "comment"),
    "votes": ("at",),
    "appeals": ("text", "decision", "reason", "decided_at"),  # `opened_at` is indexed: appeals and reports are rare
    "reports": ("text", "note", "resolved_at"),
    "report_tallies": ("since", "count"),
    "sessions": (
        "started_at",
        "settled_at",
        "changed_at",
        "usage_at",
        "settlement",
        "legs",
        "pricing",
        "shares",
        "configuration",
        "extensions",
        "fingerprint",
        "end_key",
        "latency_total_ms",
        "latency_samples",
    ),
    "usage": ("at", "fingerprint"),
    "transactions": ("created_at", "completed_at", "distribution", "available_after"),
    "entries": ("at", "postings", "after"),
    "accruals": ("created_at", "matures_at"),
    "payouts": ("created_at", "concluded_at", "fingerprint", "failure", "transfer_key"),
    "payout_accounts": ("updated_at", "missing"),
    "api_keys": ("created_at", "expires_at", "revoked_at", "name", "digest", "scopes", "spent"),
    "key_rings": ("key_ids",),
    "erasures": ("erased_at", "forfeited"),
    "acceptances": ("accepted_at",),
    "purchases": ("created_at", "checkout_url", "fingerprint", "price"),
    "orders": ("created_at", "facts", "review"),
    "inbox": ("received_at", "body"),
    "outbox": ("at", "kept_until", "due_at", "not_before", "events", "args"),
    "topics": ("sequence",),
    "notifications": ("created_at", "mailed_at", "pushed_at", "mail_digest_id", "args"),
    "notification_boxes": ("sequence", "read_to", "endpoint_ids"),
    "devices": ("token", "registered_at"),
    "webhook_endpoints": ("secret", "created_at", "updated_at", "failing_since"),
    "webhook_deliveries": ("created_at", "next_attempt_at", "last_attempt_at", "data", "failure"),
    "uploads": ("created_at", "ends_at"),
    "progress": ("games", "badges", "achieved"),
    "marks": ("at",),
    "badge_totals": ("counted_at", "awarded"),
    "digests": ("root", "previous", "made_at", "key", "late", "starts", "roots"),
    "digest_leaves": ("places", "hashes"),
    "figures": ("subject", "day", "cells"),
    "platform_days": ("cells", "active"),
    "cohorts": ("signed_up", "converted", "hired", "returned"),
    "counting_marks": ("by", "until", "counted_until"),
    "acts": ("reason", "facts"),  # `at` is indexed: acts are rare
}

# Fields by which Firestore itself deletes what is past (TTL); they grow too, and are not indexed either.
EXPIRING: dict[str, str] = {
    "inbox": "expires_at",
    "outbox": "expires_at",
    "uploads": "expires_at",
    "notifications": "expires_at",
    "webhook_deliveries": "expires_at",
}


def definition() -> dict[str, Any]:
    """The content, as the Firebase command line reads it (firebase.google.com/docs/reference/firestore/indexes)."""
    rows = (*_browse(), *COMPOSITES)
    exempt = [(collection, field, False) for collection, fields in UNINDEXED.items() for field in fields]
    exempt += [(collection.name, SEAL, False) for collection in LEDGER]
    exempt += [(collection, field, True) for collection, field in EXPIRING.items()]
    return {
        "indexes": [
            {"collectionGroup": collection, "queryScope": "COLLECTION", "fields": [_field(text) for text in fields]}
            for collection, *fields in rows
        ],
        "fieldOverrides": [
            {"collectionGroup": collection, "fieldPath": field, "ttl": expires, "indexes": []}
            for collection, field, expires in sorted(exempt)
        ],
    }


def render() -> str:
    """The file's text."""
    return json.dumps(definition(), indent=2) + "\n"


def _browse() -> list[tuple[str, ...]]:
    """Each facet before each order of the listings, the orders that two sorts share once."""
    orders = dict.fromkeys(
        tuple(f"{order.field} desc" if order.descending else order.field for order in orders)
        for orders in ORDERS.values()
    )
    return [("listings", facet, *order) for facet in LISTING_FACETS for order in orders]


def _field(text: str) -> dict[str, str]:
    name, _, how = text.partition(" ")
    if how == "contains":
        return {"fieldPath": name, "arrayConfig": "CONTAINS"}
    return {"fieldPath": name, "order": "DESCENDING" if how == "desc" else "ASCENDING"}


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"wrote {FILE.name}\n")
