"""Seal the days of the journal that are over, and hold the one before against its seal."""

from __future__ import annotations

import secrets
from datetime import date, datetime, timedelta

import structlog

from domain.receipts import KEY_BYTES, is_over
from firestore.store import Store

log = structlog.get_logger(__name__)

DAYS_MAX = 100  # in one round: a store that was away for longer catches up with the next ones


async def seal_days(store: Store, now: datetime) -> int:
    """Seal every day that is over and is not sealed; gives how many. Whatever disagrees with a seal is logged."""
    day = await store.digests.next_day()
    sealed = 0
    while day is not None and is_over(day, now) and sealed < DAYS_MAX:
        digest = await store.digests.seal(day, now, secrets.token_bytes(KEY_BYTES))
        log.info("day sealed", day=digest.id, entries=digest.count, digest=digest.digest)
        if digest.late:
            log.error("entries came late", day=digest.id, late=sorted(digest.late)[:20], count=len(digest.late))
        sealed += 1
        day += timedelta(days=1)
    if sealed and day is not None:
        await look_back(store, day - timedelta(days=2))
    return sealed


async def look_back(store: Store, day: date) -> None:
    """Read the day before the last sealed one again: a day after its seal, nothing of it may have changed."""
    if await store.digests.get(day) is None:
        return
    for finding in await store.digests.verify_day(day):
        log.error("journal differs from its digest", day=day.isoformat(), change=finding.change, path=finding.path)
