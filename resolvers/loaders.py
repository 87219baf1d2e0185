"""The batch functions of a request, in key order."""

from __future__ import annotations

import asyncio
from typing import Any

from strawberry.dataloader import DataLoader

from domain.money import Dof
from domain.receipts import Receipt
from domain.sessions import Session
from firestore.receipts import PAGE
from firestore.records import Collection
from firestore.store import Store
from graph.context import Loaders

BATCH_MAX = 300  # documents in one read: a page of 100 with agent, owner and listing each


def make_loaders(store: Store) -> Loaders:
    """Fresh loaders: what they remember is one request's, and one viewer's."""

    async def records(keys: list[tuple[Collection[Any], str]]) -> list[Any]:
        return await store.read(keys)

    async def earned(user_ids: list[str]) -> list[Dof]:
        return list(await asyncio.gather(*map(store.wallets.earned, user_ids)))

    async def receipts(wanted: list[tuple[str, str]]) -> list[Receipt | None]:
        return await store.receipts.get_many(wanted)

    async def unsettled(user_ids: list[str]) -> list[list[Session]]:
        return list(await asyncio.gather(*map(store.sessions.unsettled, user_ids)))

    return Loaders(
        records=DataLoader(records, max_batch_size=BATCH_MAX, cache_key_fn=_path),
        earned=DataLoader(earned, max_batch_size=BATCH_MAX),
        receipts=DataLoader(receipts, max_batch_size=PAGE),
        unsettled=DataLoader(unsettled, max_batch_size=BATCH_MAX),
    )


def _path(key: tuple[Collection[Any], str]) -> str:
    return key[0].at(key[1])
