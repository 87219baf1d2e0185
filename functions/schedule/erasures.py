"""Erasing again whom a backup has brought back: the log outlives what is restored beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

import structlog

from domain.erasure import Erasure
from domain.ids import Kind, is_id
from firestore.store import Store
from functions.schedule.patience import Patience

log = structlog.get_logger(__name__)


async def erase_again(store: Store, now: datetime) -> int:
    """Look for everybody of the log, and erase those who are back; gives how many. One RPC for each hundred."""
    erased, patience = 0, Patience("erasures")
    async for page in store.erasures.log():
        for user_id in await store.erasures.resurrected(page):
            with patience.over(user=user_id):
                erased += await store.erasures.reapply(user_id, now)
                log.warning("erased again", user=user_id)
    return erased


def as_lines(page: Iterable[Erasure]) -> list[str]:
    """The log as text, to be kept beside the backups: a database that is restored whole has lost what was newer."""
    return [json.dumps({"user": each.id, "erased_at": each.erased_at.isoformat()}) for each in page]


async def take_lines(store: Store, lines: Iterable[str]) -> int:
    """Put the lines of a kept log into the store's; gives how many. Raises ValueError for what is no such line."""
    taken = 0
    for line in lines:
        told = json.loads(line)
        if not isinstance(told, dict) or not is_id(str(told.get("user")), Kind.USER):
            raise ValueError('a line is {"user": "usr_…", "erased_at": "…"}')
        await store.erasures.note(Erasure(told["user"], datetime.fromisoformat(told["erased_at"])))
        taken += 1
    return taken
