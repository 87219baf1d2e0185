"""Runs tasks by name, for whoever delivers them: the queue in this process, or `POST /tasks/<name>`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import structlog

from firestore.payouts import SEND_PAYOUT
from firestore.settlement import FOLLOW
from firestore.store import Store
from functions.outbox import Dispatcher
from functions.tasks.announce import announce
from functions.tasks.orders import APPLY_ORDER, apply_order
from functions.tasks.payouts import APPLY_PAYOUT, ApplyPayout, SendPayout
from functions.tasks.privacy import HONOUR_PRIVACY, honour_privacy
from functions.tasks.sessions import follow_session
from integrations.services import PayoutGateway

log = structlog.get_logger(__name__)

Task = Callable[[Store, str, Mapping[str, str], datetime], Awaitable[datetime | None]]


def tasks(payouts: PayoutGateway | None) -> Mapping[str, Task]:
    """Every task by name. The names outlive a deploy: a queue may hold tasks of an older one. Add a name, drain the old
    one, then remove it."""
    return {
        APPLY_ORDER: apply_order,
        FOLLOW: follow_session,
        "announce": announce,
        HONOUR_PRIVACY: honour_privacy,
        SEND_PAYOUT: SendPayout(payouts),
        APPLY_PAYOUT: ApplyPayout(payouts),
    }


class Caller:
    """Runs one delivery. A task that says when to come back is asked for again, for that moment."""

    def __init__(
        self, store: Store, dispatcher: Dispatcher, clock: Callable[[], datetime], tasks: Mapping[str, Task]
    ) -> None:
        self._store = store
        self.tasks = tasks
        self._dispatcher = dispatcher
        self._clock = clock

    async def deliver(self, name: str, row_id: str, args: Mapping[str, str]) -> bool:
        """True when the task is done and need not be delivered again. Raises what the task raises."""
        task = self.tasks.get(name)
        if task is None:
            log.error("unknown task", task=name, row=row_id)
            return False
        again = await task(self._store, row_id, args, self._clock())
        if again is not None:
            self._dispatcher.ask(name, row_id, args, not_before=again)
        return True
