"""The task `send_digest`: one mail for a period, whatever comes twice, late, or in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from domain.users import Channel, MailRhythm, NotificationKind, Preferences, erase
from firestore.collections import NOTIFICATIONS, OUTBOX, USERS
from firestore.mail_digests import CLAIM, SEND_MAIL_DIGEST
from firestore.memory import MemoryBackend
from firestore.notifications import NOTIFY, notice
from firestore.rows import SWEEP_AFTER, OutboxRow, RowState
from functions.caller import Task, tasks
from integrations.services import Mail, MessageRejected
from tests import make
from tests.make import NOW, SECOND, World, user_id
from tests.outlets import Heard, Mails, heard

MAX = user_id("max")
DUE = datetime(2026, 3, 2, 7, tzinfo=UTC)  # eight in Berlin
SUBJECT, BEGIN = "Neues für dich im JIGA Store", "Das haben wir für dich gesammelt, das Neueste zuerst:\n\n"
CHANNELS = {NotificationKind.BADGES: (Channel.EMAIL,), NotificationKind.REVIEWS: (Channel.EMAIL,)}


def line(number: int) -> str:
    return f"- Du hast das Abzeichen No. {number} verdient.\n"


@dataclass
class Post:
    """A world whose tasks a test runs by hand."""

    world: World
    outlets: Heard
    known: Mapping[str, Task]

    @property
    def sent(self) -> list[Mail]:
        return self.outlets.mail.sent

    async def choose(self, rhythm: MailRhythm = MailRhythm.DAILY, **changes: Any) -> None:
        preferences = changes.pop("preferences", Preferences(CHANNELS, mail_rhythm=rhythm))
        said = {"locale": "de-AT", "timezone": "Europe/Berlin", "preferences": preferences}
        await self.world.put(USERS, make.user("max", **{**said, **changes}))

    async def tell(self, *numbers: int, kind: NotificationKind = NotificationKind.BADGES) -> None:
        """Raise a fact a second after the other, and tell of each."""
        for number in numbers:
            self.world.now += SECOND
            raised = notice(
                kind, MAX, ("badge_awarded", number), self.world.now, timedelta(7), {"badge": f"No. {number}"}
            )

            async def body(tx: Any, raised: OutboxRow = raised) -> None:
                tx.tell(raised)

            await self.world.commits.run(body)
            await self.run(raised)

    async def run(self, row: OutboxRow) -> None:
        again = await self.known[row.task or ""](self.world.store, row.id, row.args, self.world.now)
        assert again is None, "the sweep asks again, where need be"

    async def digest(self) -> OutboxRow:
        """The one row of a digest, as it is now."""
        (found,) = [each for each in await self.world.all(OUTBOX) if each.task == SEND_MAIL_DIGEST]
        return found

    async def send(self, at: datetime = DUE) -> OutboxRow:
        """Deliver the digest's task; the row after it."""
        self.world.now = at
        await self.run(await self.digest())
        return await self.digest()

    async def mailed(self) -> list[datetime | None]:
        told = sorted(await self.world.all(NOTIFICATIONS), key=lambda each: each.created_at)
        return [each.mailed_at for each in told]


@pytest_asyncio.fixture
async def post() -> AsyncIterator[Post]:
    world, outlets = World(MemoryBackend()), heard()
    await world.open()
    made = Post(world, outlets, tasks(None, outlets=outlets))
    await made.choose()
    yield made
    assert [each for each in await world.all(OUTBOX) if each.task == NOTIFY and each.state is not RowState.DONE] == []


async def test_one_mail_in_the_users_language_once(post: Post) -> None:
    await post.tell(1, 2)
    row = await post.digest()
    assert (row.not_before, post.sent) == (DUE, [])
    for at in (DUE, DUE, DUE + CLAIM, DUE + timedelta(days=1)):
        row = await post.send(at)
    assert post.sent == [Mail(row.id, "max@jiga.test", SUBJECT, BEGIN + line(2) + line(1))]
    assert await post.mailed() == [DUE, DUE]
    assert row.state is RowState.DONE


async def test_it_is_not_sent_before_its_moment(post: Post) -> None:
    await post.tell(1)
    before = await post.digest()
    assert await post.send(DUE - SECOND) == before
    assert post.sent == []


async def test_each_period_has_its_own(post: Post) -> None:
    await post.tell(1)
    await post.send()
    await post.tell(2)  # a second after eight
    rows = [each for each in await post.world.all(OUTBOX) if each.task == SEND_MAIL_DIGEST]
    later = max(rows, key=lambda each: each.not_before or NOW)
    assert later.not_before == DUE + timedelta(days=1)
    post.world.now = later.not_before
    await post.run(later)
    assert [mail.text for mail in post.sent] == [BEGIN + line(1), BEGIN + line(2)]
    assert len({mail.id for mail in post.sent}) == 2
    assert await post.mailed() == [DUE, DUE + timedelta(days=1)]


async def test_two_deliveries_at_once_send_one_mail(post: Post) -> None:
    await post.tell(1)

    class Slow(Mails):
        """While a mail is on its way, the task is delivered again, before and after the provider has it."""

        async def send(self, mail: Mail) -> None:
            await post.run(await post.digest())
            await super().send(mail)
            await post.run(await post.digest())

    post.world.now = DUE
    slow = tasks(None, outlets=replace(post.outlets, mail=Slow(post.sent)))
    await slow[SEND_MAIL_DIGEST](post.world.store, (await post.digest()).id, {}, DUE)
    assert [mail.text for mail in post.sent] == [BEGIN + line(1)]
    assert await post.mailed() == [DUE]


async def test_it_is_tried_again_while_the_provider_is_down(post: Post) -> None:
    await post.tell(1)
    post.outlets.mail.fails = [Unavailable("down")]
    with pytest.raises(Unavailable):
        await post.send()
    row = await post.send(DUE + SECOND)  # the queue's own retry: the claim may be another's that is at it
    assert (post.sent, row.state, row.due_at) == ([], RowState.PENDING, DUE + CLAIM + SWEEP_AFTER)
    assert await post.world.store.outbox.due(DUE + CLAIM + SWEEP_AFTER) == [row]
    row = await post.send(DUE + CLAIM + SWEEP_AFTER)
    assert [mail.text for mail in post.sent] == [BEGIN + line(1)]
    assert (row.state, await post.mailed()) == (RowState.DONE, [DUE + CLAIM + SWEEP_AFTER])


async def test_a_process_that_ends_in_between_leaves_it_to_another(post: Post) -> None:
    await post.tell(1)
    assert await post.world.store.mail_digests.claim((await post.digest()).id, DUE) is not None
    await post.send(DUE + CLAIM - SECOND)
    assert post.sent == []
    await post.send(DUE + CLAIM)
    assert [mail.text for mail in post.sent] == [BEGIN + line(1)]


async def test_a_mail_that_is_never_taken_is_given_up(post: Post) -> None:
    await post.tell(1)
    post.outlets.mail.fails = [MessageRejected("SendGrid answered 400")]
    row = await post.send()
    assert (post.sent, row.state, await post.mailed()) == ([], RowState.DONE, [None])


@pytest.mark.parametrize("kind", ["unverified", "erased", "forgotten", "silent", "gone"])
async def test_nobody_is_mailed_who_must_not_be(post: Post, kind: str) -> None:
    await post.tell(1)
    (notification,) = await post.world.all(NOTIFICATIONS)
    match kind:
        case "unverified":
            await post.choose(email_verified=False)
        case "erased":
            await post.world.put(USERS, erase(make.user("max"), NOW))
        case "forgotten":
            await post.world.store.erasures.clear(MAX)
        case "silent":
            await post.choose(preferences=Preferences({**CHANNELS, NotificationKind.BADGES: (Channel.IN_APP,)}))
        case _:
            row = await post.digest()
            await post.world.put(OUTBOX, replace(row, args={**row.args, "user_id": user_id("nobody")}))
    row = await post.send()
    assert (post.sent, row.state) == ([], RowState.DONE)
    assert await post.world.all(NOTIFICATIONS) == ([] if kind == "forgotten" else [notification])


async def test_a_kind_that_is_silent_by_then_is_left_out(post: Post) -> None:
    await post.tell(1)
    await post.tell(2, kind=NotificationKind.REVIEWS)
    await post.tell(3)
    await post.choose(preferences=Preferences({**CHANNELS, NotificationKind.REVIEWS: ()}))
    await post.send()
    assert [mail.text for mail in post.sent] == [BEGIN + line(3) + line(1)]
    assert await post.mailed() == [DUE, None, DUE]


async def test_whoever_wants_mails_at_once_again_gets_the_gathered_ones_once(post: Post) -> None:
    await post.tell(1)
    await post.choose(MailRhythm.AT_ONCE)
    await post.tell(2)
    (row,) = [each for each in await post.world.all(OUTBOX) if each.task == "send_mail"]
    await post.run(row)
    assert [mail.text for mail in post.sent] == [line(2).removeprefix("- ")]
    await post.send()
    assert [mail.text for mail in post.sent[1:]] == [BEGIN + line(1)]
    assert await post.mailed() == [DUE, NOW + 2 * SECOND]


async def test_fifty_are_listed_and_the_others_counted(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firestore.mail_digests.GATHERED_MAX", 55)
    await post.tell(*range(1, 59))
    row = await post.send()
    (mail,) = post.sent
    more = "\n… und 8 weitere: in deinen Mitteilungen im Store stehen alle.\n"
    assert mail.text == BEGIN + "".join(line(number) for number in range(58, 8, -1)) + more
    assert await post.mailed() == [None] * 3 + [DUE] * 55  # of those beyond the bound the row says it
    assert row.state is RowState.DONE
