"""Number and publish what happened to listings and agents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from firestore.store import Store


async def announce(store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
    """Publish a review, a publication or a change of an agent to the topics that it concerns, and count the progress
    that the first two are."""
    if args["kind"] == "review":
        await store.progress.count_review(args["review_id"], now)
    if args["kind"] == "published":
        await store.progress.count_publication(args["listing_id"], now)
    await store.topics.announce(args["kind"], dict(args), row_id, now)
