"""Count what was recorded, and tell an analytics provider of it."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import structlog

from firestore.roll_up import Overtaken
from firestore.store import Store
from integrations.services import AnalyticsGateway

log = structlog.get_logger(__name__)

AGAIN = timedelta(days=2)
TOLD = "told"
STRETCH = timedelta(minutes=15)
STRETCHES_MAX = 96  # in one round, a day: the next one goes on
BEHIND_MAX = timedelta(days=3)  # what is older, no provider takes


async def count(store: Store, now: datetime) -> int:
    """Count what has come since; gives how many documents of figures have changed. One that another process overtakes
    leaves it to that one."""
    try:
        return await store.roll_up.run(now, secrets.token_hex(8))
    except Overtaken:
        log.info("counting left to another process")
        return 0


async def count_again(store: Store, now: datetime) -> int:
    """Count the final part of the last two days again: what came later than clocks explain is found, and logged."""
    try:
        changed = await store.roll_up.again(now - AGAIN, now, secrets.token_hex(8))
    except Overtaken:
        return 0
    if changed:
        log.warning("figures corrected", documents=changed)
    return changed


class Teller:
    """Tells a provider of each quarter-hour that is final, one after the other; at least once, and hardly ever twice:
    a quarter-hour whose telling breaks off is told again."""

    def __init__(self, store: Store, gateway: AnalyticsGateway) -> None:
        self._store = store
        self._gateway = gateway

    async def run(self, now: datetime) -> int:
        """Gives how many facts were told. The first round tells nothing: it begins where the counting is. Raises
        Unavailable; the next round then goes on."""
        final = (await self._store.roll_up.mark()).until
        if final is None:
            return 0
        at = (await self._store.roll_up.mark(TOLD)).until
        if at is None or now - at > BEHIND_MAX:
            log.warning("facts left untold", until=final.isoformat())
            await self._store.roll_up.note(TOLD, final)
            return 0
        told = 0
        for _ in range(STRETCHES_MAX):
            if at >= final:
                break
            async for facts in self._store.facts.between(at, at + STRETCH):
                await self._gateway.tell(facts, now)
                told += len(facts)
            at += STRETCH
            await self._store.roll_up.note(TOLD, at)
        return told
