"""Runs tasks by name, for whoever delivers them: the queue in this process, or `POST /tasks/<name>`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import structlog
from opentelemetry.trace import SpanKind

from domain.users import Channel
from firestore.accounts import FOLLOW_STANDING
from firestore.erasures import ERASE_ACCOUNT
from firestore.image_drops import DROP_IMAGE
from firestore.images import DROP_UPLOAD
from firestore.mail_digests import SEND_MAIL_DIGEST
from firestore.notifications import NOTIFY, POST_WEBHOOK, TASKS
from firestore.payouts import SEND_PAYOUT
from firestore.search import INDEX_LISTING
from firestore.settlement import FOLLOW
from firestore.store import Store
from firestore.topics import ANNOUNCE
from functions.outbox import Dispatcher
from functions.search_mirror import Mirror
from functions.tasks.accounts import follow_standing
from functions.tasks.announce import announce
from functions.tasks.erasure import EraseAccount
from functions.tasks.images import DropImage, DropUpload
from functions.tasks.notifications import Outlets, PostWebhook, SendMail, SendMailDigest, SendPush, notify
from functions.tasks.orders import APPLY_ORDER, apply_order
from functions.tasks.payouts import APPLY_PAYOUT, ApplyPayout, SendPayout
from functions.tasks.privacy import HONOUR_PRIVACY, honour_privacy
from functions.tasks.search import IndexListing
from functions.tasks.sessions import follow_session
from integrations.images import Gallery
from integrations.services import IdentityGateway, PayoutGateway
from integrations.tracing import entry

log = structlog.get_logger(__name__)

Task = Callable[[Store, str, Mapping[str, str], datetime], Awaitable[datetime | None]]


def tasks(
    payouts: PayoutGateway | None,
    gallery: Gallery | None = None,
    identity: IdentityGateway | None = None,
    *,
    outlets: Outlets,
    mirror: Mirror | None = None,
) -> Mapping[str, Task]:
    """Every task by name. The names outlive a deploy: a queue may hold tasks of an older one. Add a name, drain the old
    one, then remove it."""
    known: dict[str, Task] = {
        APPLY_ORDER: apply_order,
        FOLLOW: follow_session,
        "warn_low": follow_session,  # to be drained: following a session warns, too
        FOLLOW_STANDING: follow_standing,
        ANNOUNCE: announce,
        HONOUR_PRIVACY: honour_privacy,
        SEND_PAYOUT: SendPayout(payouts),
        APPLY_PAYOUT: ApplyPayout(payouts),
        INDEX_LISTING: IndexListing(mirror),
        NOTIFY: notify,
        TASKS[Channel.EMAIL]: SendMail(outlets.mail),
        TASKS[Channel.PUSH]: SendPush(outlets.push),
        SEND_MAIL_DIGEST: SendMailDigest(outlets.mail),
        POST_WEBHOOK: PostWebhook(outlets.web),
    }
    if gallery is not None:
        known |= {DROP_UPLOAD: DropUpload(gallery), DROP_IMAGE: DropImage(gallery)}
    if identity is not None:
        known[ERASE_ACCOUNT] = EraseAccount(identity)
    return known


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
        with entry(f"task {name}", SpanKind.CONSUMER):
            again = await task(self._store, row_id, args, self._clock())
            if again is not None:
                self._dispatcher.ask(name, row_id, args, not_before=again)
        return True
