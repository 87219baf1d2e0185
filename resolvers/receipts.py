"""The published digests of the journal."""

from __future__ import annotations

import json
import re
from datetime import date

from domain.errors import BadInput
from graph.context import Info
from graph.types.receipts import LedgerDigest

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


async def ledger_digest(info: Info, day: str) -> LedgerDigest | None:
    """The digest of a day such as 2026-03-01; null while it is not sealed, which is soon after its end."""
    try:
        wanted = date.fromisoformat(day) if _DAY.fullmatch(day) else None
    except ValueError:
        wanted = None
    if wanted is None:
        raise BadInput("A day is written like 2026-03-01.", field="day")
    found = await info.context.store.digests.get(wanted)
    return None if found is None else LedgerDigest.of(found)


async def export_receipts(info: Info) -> str:
    """The viewer's receipts as the text of a JSON file, for `python main.py verify FILE`."""
    export = await info.context.store.receipts.export(info.context.signed_in)
    return json.dumps(export, ensure_ascii=False, indent=1)
