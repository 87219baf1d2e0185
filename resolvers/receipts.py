"""The published digests of the journal."""

from __future__ import annotations

import re
from datetime import date

from domain.errors import BadInput
from graph.context import Info
from graph.types.receipts import LedgerDigest

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


async def ledger_digest(info: Info, day: str) -> LedgerDigest | None:
    """The digest of a day; null while it is not sealed, which is soon after its end."""
    try:
        wanted = date.fromisoformat(day) if _DAY.fullmatch(day) else None
    except ValueError:
        wanted = None
    if wanted is None:
        raise BadInput("A day is written like 2026-03-01.", field="day")
    found = await info.context.store.digests.get(wanted)
    return None if found is None else LedgerDigest.of(found)
