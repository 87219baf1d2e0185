"""What is left to do of a deleted account: at the provider, on the market, and wherever else the user is named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from domain.errors import AgentInUse, Conflict, NotFound
from firestore.store import Store
from functions.tasks.orders import clean
from integrations.services import IdentityGateway

log = structlog.get_logger(__name__)

PAUSE = timedelta(minutes=1)  # for a session that began in the moment of the deletion, or a long search in the inbox
AGENTS_AT_ONCE = 50  # with three RPCs each, one run takes some seconds; the next one goes on


class EraseAccount:
    """Runs until nothing is left; each part is safe to repeat, so a run that breaks off is begun again."""

    def __init__(self, identity: IdentityGateway) -> None:
        self._identity = identity

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> datetime | None:
        user_id = args["user_id"]
        if args["uid"]:
            await self._identity.delete(args["uid"])
        withdrawn = done = await _withdraw(store, user_id, now)
        async for order_ids in store.erasures.orders(user_id):
            done &= await store.privacy.forget_orders(order_ids, clean)
        await store.erasures.clear(user_id)
        if withdrawn:  # a hire that still runs needs the agent's instructions
            await store.erasures.clear_agents(user_id, now)
        if not done:
            return now + PAUSE
        await store.outbox.finish(row_id)
        log.info("erased", user=user_id)
        return None


async def _withdraw(store: Store, user_id: str, now: datetime) -> bool:
    """Take the user's agents off the market and delete them; False when some are left, or still in use."""
    page = await store.agents.page_of_owner(user_id, AGENTS_AT_ONCE, None)
    done = not page.has_next_page
    for agent in page.nodes:
        try:
            await store.agents.delete(user_id, agent.id, now)
        except AgentInUse:
            done = False
            try:
                await store.listings.unpublish(user_id, agent.id, now)
            except (Conflict, NotFound):
                continue  # a moderator holds it back, or it was never on offer: nobody can hire it
    return done
