"""Bring a changed listing to the search engine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from firestore.store import Store
from functions.search_mirror import Mirror


class IndexListing:
    """The task `index_listing`. Without a mirror the engine is in this process and follows the store by itself: then
    there is nothing to bring."""

    def __init__(self, mirror: Mirror | None) -> None:
        self._mirror = mirror

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
        if self._mirror is not None:
            await self._mirror.bring([args["listing_id"]])
        await store.outbox.finish(row_id)
