"""Tell users: in the app, by mail, by push, and their integrators by webhook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from domain import endpoints, mail_digests, notifications
from domain.endpoints import Attempt, DeliveryStatus, Endpoint
from domain.notifications import Notification
from domain.users import Channel, User
from firestore.notifications import read_notes
from firestore.store import Store
from integrations.fetch import Fetcher, FetchRefused
from integrations.services import Mail, MailGateway, MessageRejected, Push, PushGateway

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outlets:
    """What leaves the house."""

    mail: MailGateway
    push: PushGateway
    web: Fetcher

    async def close(self) -> None:
        await self.mail.close()
        await self.push.close()
        await self.web.close()


async def notify(store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
    """The task `notify`: tell each user of a row's notes, once."""
    await store.notifications.tell(row_id, read_notes(args), now)


class SendMail:
    """The task `send_mail`. It doubles a mail only where the process ends, or Firestore, between the provider's yes
    and our mark of it."""

    def __init__(self, gateway: MailGateway) -> None:
        self._gateway = gateway

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
        found = await store.notifications.get(args["notification_id"], args["user_id"])
        # An address that nobody has proved to be theirs gets no mail: it may be a stranger's.
        if found is None or found[0].mailed_at is not None or not found[1].email_verified:
            await store.outbox.finish(row_id)
            return
        notification, user = found
        said = _words(notification, user)
        try:
            await self._gateway.send(Mail(notification.id, user.email, said.title, said.text + "\n"))
        except MessageRejected as reason:
            log.warning("mail rejected", notification=notification.id, code=str(reason))
            await store.outbox.finish(row_id)
            return
        await store.notifications.note_sent(notification.id, Channel.EMAIL, row_id, now)


class SendMailDigest:
    """The task `send_digest`: one mail for all that a mail digest gathered. Of two deliveries at once only one holds
    the claim, so a mail is doubled only where the process ends, or Firestore, between the provider's yes and our mark
    of it. A mail that failed waits until the claim is over and the sweep asks again."""

    def __init__(self, gateway: MailGateway) -> None:
        self._gateway = gateway

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
        claimed = await store.mail_digests.claim(row_id, now)
        if claimed is None:
            return
        found = await store.mail_digests.gathered(claimed)
        if found is None or not found.newest or not found.user.email_verified:
            await store.outbox.finish(row_id)
            return
        said = mail_digests.letter(found.newest, found.count, found.user.locale)
        try:
            await self._gateway.send(Mail(row_id, found.user.email, said.title, said.text + "\n"))
        except MessageRejected as reason:
            log.warning("mail rejected", mail_digest=row_id, code=str(reason))
            await store.outbox.finish(row_id)
            return
        await store.mail_digests.note_sent(row_id, found.newest, now)


class SendPush:
    """The task `send_push`: to all of a user's devices; those that are gone are forgotten."""

    def __init__(self, gateway: PushGateway) -> None:
        self._gateway = gateway

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> None:
        found = await store.notifications.get(args["notification_id"], args["user_id"])
        devices = await store.notifications.devices(found[1].id) if found and found[0].pushed_at is None else []
        if found is None or not devices:
            await store.outbox.finish(row_id)
            return
        notification, user = found
        said = _words(notification, user)
        push = Push(notification.id, said.title, said.text)
        gone = set(await self._gateway.send(push, [each.token for each in devices]))
        if gone:
            await store.notifications.forget_devices(user.id, [each.id for each in devices if each.token in gone])
        await store.notifications.note_sent(notification.id, Channel.PUSH, row_id, now)


class PostWebhook:
    """The task `post_webhook`: at least once until the endpoint takes it; the receiver knows a repeated one by its
    `webhook-id`."""

    def __init__(self, web: Fetcher) -> None:
        self._web = web

    async def __call__(self, store: Store, row_id: str, args: Mapping[str, str], now: datetime) -> datetime | None:
        found = await store.endpoints.delivery(args["delivery_id"], args["endpoint_id"])
        if found is None or found[0].status is not DeliveryStatus.PENDING:
            await store.outbox.finish(row_id)
            return None
        delivery, endpoint = found
        if endpoint is None or not endpoint.enabled:
            await store.endpoints.give_up(delivery, "the endpoint is switched off", row_id)
            return None
        if delivery.next_attempt_at is not None and now < delivery.next_attempt_at:
            return delivery.next_attempt_at
        content = endpoints.body(delivery)
        attempt = await self._post(endpoint, content, endpoints.signed(endpoint.secret, delivery.id, content, now), now)
        return await store.endpoints.note_attempt(delivery, attempt, row_id)

    async def _post(self, endpoint: Endpoint, content: bytes, headers: Mapping[str, str], now: datetime) -> Attempt:
        try:
            answer = await self._web.post(endpoint.url, content, headers)
        except FetchRefused as why:
            return Attempt(now, 0, failure=str(why))
        return Attempt(now, answer.duration_ms, answer.status)


def _words(notification: Notification, user: User) -> notifications.Words:
    return notifications.words(notification.text, notification.args, user.locale)
