"""Follow a user's standing: a suspended one's listings are hidden, a reinstated one's come back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from firestore.store import Store


async def follow_standing(store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> datetime | None:
    """Bring a user's listings to where the user's record puts them; gives when to look again."""
    return await store.accounts.follow(args["user_id"], args.get("until"), row_id, now)
