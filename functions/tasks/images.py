"""Delete what nobody shows: a file that was sent and has had its time, a picture that another took the place of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from firestore.store import Store
from integrations.images import Gallery


class DropUpload:
    """Removes what a client has sent, checked or not: its address is over, and what it became is kept by itself."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
        await self._gallery.drop_upload(args["upload_id"])
        await store.outbox.finish(row_id)


class DropImage:
    """Removes a picture in every size."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
        await self._gallery.drop(args["image"])
        await store.images.forget(args["image"])
        await store.outbox.finish(row_id)
