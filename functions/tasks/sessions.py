"""Follow a session: count its hire, warn when its hold runs low, settle it once it is over, count its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from firestore.store import Store


async def follow_session(store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> datetime | None:
    """Bring all that hangs on a session to where its facts put it; gives when to come back, if it still runs."""
    session_id = args["session_id"]
    session = await store.sessions.settle_if_over(session_id, now)
    if session is not None:  # before the row is finished: what is cut off in between is delivered again
        await store.progress.count_session(session, now)
    return await store.topics.follow_session(session_id, row_id, now)
