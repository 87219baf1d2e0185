"""What leaves the house: each channel once, tried again while it must be, and an integrator's webhooks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from standardwebhooks import Webhook

from domain.endpoints import DeliveryStatus, Endpoint, WebhookEvent
from domain.errors import Unavailable
from domain.ids import Kind, derived_id
from domain.notifications import Platform, device
from domain.users import Channel, NotificationKind, Preferences
from firestore.collections import DELIVERIES, ENDPOINTS, NOTIFICATIONS, OUTBOX, USERS
from firestore.memory import MemoryBackend
from firestore.notifications import notice
from firestore.rows import OutboxRow, RowState
from functions.caller import Task, tasks
from integrations.local.mail import LocalMail, LocalPush
from integrations.messaging import SendGridMail
from integrations.services import Mail, MessageRejected
from outlets import make_outlets
from settings import Settings, SettingsError, require_startable
from tests import make
from tests.make import World, user_id
from tests.outlets import Heard, heard

MAX = user_id("max")
HOOK = "https://max.example/hooks"
EVERYWHERE = Preferences({NotificationKind.BADGES: tuple(Channel)})


@dataclass
class Post:
    """A world whose tasks a test runs by hand."""

    world: World
    outlets: Heard
    known: Mapping[str, Task]

    async def raise_(self, number: int = 1) -> None:
        row = notice(
            NotificationKind.BADGES, MAX, ("badge_awarded", number), self.world.now, timedelta(7), {"badge": "Chess"}
        )

        async def body(tx: object) -> None:
            tx.tell(row)  # type: ignore[attr-defined]

        await self.world.commits.run(body)  # type: ignore[arg-type]

    async def run(self, row: OutboxRow) -> datetime | None:
        return await self.known[row.task or ""](self.world.store, row.id, row.args, self.world.now)

    async def rows(self, *names: str) -> list[OutboxRow]:
        """The pending rows of these tasks."""
        found = [each for each in await self.world.all(OUTBOX) if each.state is RowState.PENDING]
        return [each for each in found if each.task in names]

    async def follow(self, name: str) -> Iterable[OutboxRow]:
        """Tell users of what was raised; the rows of one task that came of it."""
        for row in await self.rows("notify"):
            await self.run(row)
        return await self.rows(name)


@pytest_asyncio.fixture
async def post() -> AsyncIterator[Post]:
    world, outlets = World(MemoryBackend()), heard()
    world.now = datetime.now(UTC)  # the verifying client asks its own clock
    await world.open()
    await world.put(USERS, make.user("max", preferences=EVERYWHERE, locale="de-AT"))
    yield Post(world, outlets, tasks(None, outlets=outlets))


async def test_a_mail_in_the_users_language_once(post: Post) -> None:
    await post.raise_()
    (row,) = await post.follow("send_mail")
    for _ in range(2):
        await post.run(row)
    ((notification),) = await post.world.all(NOTIFICATIONS)
    said = Mail(notification.id, "max@jiga.test", "Ein neues Abzeichen", "Du hast das Abzeichen Chess verdient.\n")
    assert post.outlets.mail.sent == [said]
    assert notification.mailed_at == post.world.now
    assert (await post.world.get(OUTBOX, row.id)).state is RowState.DONE


async def test_a_mail_is_tried_again_while_the_provider_is_down(post: Post) -> None:
    await post.raise_()
    (row,) = await post.follow("send_mail")
    post.outlets.mail.fails = [Unavailable("down")]
    with pytest.raises(Unavailable):
        await post.run(row)
    assert await post.rows("send_mail") == [row]
    await post.run(row)
    assert len(post.outlets.mail.sent) == 1


async def test_a_mail_that_is_never_taken_is_given_up(post: Post) -> None:
    await post.raise_()
    (row,) = await post.follow("send_mail")
    post.outlets.mail.fails = [MessageRejected("SendGrid answered 400")]
    await post.run(row)
    assert (post.outlets.mail.sent, await post.rows("send_mail")) == ([], [])


async def test_an_address_that_nobody_has_proved_gets_no_mail(post: Post) -> None:
    await post.world.put(USERS, make.user("max", preferences=EVERYWHERE, email_verified=False))
    await post.raise_()
    (row,) = await post.follow("send_mail")
    await post.run(row)
    assert (post.outlets.mail.sent, await post.rows("send_mail")) == ([], [])


async def test_a_push_to_every_device_and_the_gone_are_forgotten(post: Post) -> None:
    store = post.world.store.notifications
    for token in ("phone", "tablet", "sold"):
        await store.register(device(MAX, token, Platform.ANDROID, post.world.now))
    post.outlets.push.gone = {"sold"}
    await post.raise_()
    (row,) = await post.follow("send_push")
    for _ in range(2):
        await post.run(row)
    ((push, tokens),) = post.outlets.push.sent
    assert (push.title, sorted(tokens)) == ("Ein neues Abzeichen", ["phone", "sold", "tablet"])
    assert sorted(each.token for each in await store.devices(MAX)) == ["phone", "tablet"]


async def test_who_has_no_device_is_not_pushed_to(post: Post) -> None:
    await post.raise_()
    (row,) = await post.follow("send_push")
    await post.run(row)
    assert (post.outlets.push.sent, await post.rows("send_push")) == ([], [])


async def endpoint(post: Post) -> Endpoint:
    events = (WebhookEvent.NOTIFICATION_RECEIVED,)
    endpoint_id = derived_id(Kind.ENDPOINT, "max")
    return await post.world.store.endpoints.create(MAX, endpoint_id, HOOK, events, bytes(range(32)), post.world.now)


async def test_a_webhook_that_its_receiver_can_verify(post: Post) -> None:
    made = await endpoint(post)
    await post.raise_()
    (row,) = await post.follow("post_webhook")
    for _ in range(2):
        assert await post.run(row) is None
    ((url, content, headers),) = post.outlets.web.posted
    (notification,) = await post.world.all(NOTIFICATIONS)
    told = Webhook(made.secret).verify(content, headers)
    assert (url, told["type"], told["data"]) == (HOOK, "notification.received", {"notificationId": notification.id})
    (delivery,) = await post.world.all(DELIVERIES)
    assert headers["webhook-id"] == delivery.id
    assert (delivery.status, delivery.response_code, delivery.duration_ms) == (DeliveryStatus.DELIVERED, 204, 7)


async def test_a_webhook_is_posted_again_as_the_same_message(post: Post) -> None:
    await endpoint(post)
    await post.raise_()
    (row,) = await post.follow("post_webhook")
    post.outlets.web.answers = [None, 404, 200]
    again = await post.run(row)
    assert again == post.world.now + timedelta(seconds=5)
    assert await post.run(row) == again  # too early: a queue may deliver twice
    for pause in (5, 60):
        post.world.now += timedelta(seconds=pause)
        await post.run(row)
    contents = {content for _, content, _ in post.outlets.web.posted}
    ids = {headers["webhook-id"] for _, _, headers in post.outlets.web.posted}
    assert (len(post.outlets.web.posted), len(contents), len(ids)) == (3, 1, 1)
    (delivery,) = await post.world.all(DELIVERIES)
    assert (delivery.status, delivery.attempts, delivery.response_code) == (DeliveryStatus.DELIVERED, 3, 200)


async def test_an_endpoint_that_is_off_or_gone_is_posted_to_no_more(post: Post) -> None:
    made = await endpoint(post)
    for number, remove in enumerate((False, True)):
        await post.raise_(number)
        (row,) = await post.follow("post_webhook")
        if remove:
            await post.world.store.endpoints.delete(MAX, made.id)
        else:
            await post.world.put(ENDPOINTS, replace(made, enabled=False))
        await post.run(row)
        await post.world.put(ENDPOINTS, made)
    assert post.outlets.web.posted == []
    assert {each.status for each in await post.world.all(DELIVERIES)} == {DeliveryStatus.FAILED}
    assert await post.rows("post_webhook") == []


async def test_what_is_posted_names_nobody_and_says_nothing(post: Post) -> None:
    """Ids alone: what they mean is asked of the store, with the rights of whoever asks."""
    await endpoint(post)
    await post.raise_()
    (row,) = await post.follow("post_webhook")
    await post.run(row)
    ((_, content, _),) = post.outlets.web.posted
    assert set(json.loads(content)) == {"type", "timestamp", "data"}
    assert b"Chess" not in content
    assert b"max" not in content


async def test_a_local_store_writes_files_until_it_has_an_account(tmp_path: Path) -> None:
    local = make_outlets(Settings(env="local", data_dir=tmp_path, sendgrid_api_key=None))
    assert (type(local.mail), type(local.push)) == (LocalMail, LocalPush)
    await local.close()
    mailing = make_outlets(Settings(env="local", data_dir=tmp_path, sendgrid_api_key=SecretStr("SG.x")))
    assert (type(mailing.mail), type(mailing.push)) == (SendGridMail, LocalPush)
    await mailing.close()


def test_a_production_store_sends_its_mails_and_posts_to_no_loopback() -> None:
    with pytest.raises(SettingsError) as refused:
        require_startable(Settings(env="production", sendgrid_api_key=None, mail_from=None, webhook_loopback=True))
    said = str(refused.value)
    assert "SENDGRID_API_KEY is missing: set it" in said
    assert "JIGA_MAIL_FROM is missing: set it" in said
    assert "JIGA_WEBHOOK_LOOPBACK lets webhooks reach this machine: unset it" in said
