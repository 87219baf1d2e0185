"""Mail digests: one row gathers a period's mails, and no note joins one that is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio

from domain.ids import Kind, derived_id
from domain.notifications import Notification, note
from domain.users import Channel, MailRhythm, NotificationKind, Preferences
from firestore.backend import Backend, Write
from firestore.collections import NOTIFICATIONS, OUTBOX, USERS
from firestore.counting import CountingBackend
from firestore.mail_digests import CLAIM, SEND_MAIL_DIGEST, Gathered
from firestore.memory import MemoryBackend
from firestore.notifications import NOTIFY, notes, notice, read_notes
from firestore.outbox import row
from firestore.rows import SWEEP_AFTER, OutboxRow, RowState
from tests import make
from tests.make import MINUTE, NOW, SECOND, World, user_id

MAX = user_id("max")
DUE = datetime(2026, 3, 2, 8, tzinfo=UTC)  # of a Monday: the next after NOW of either rhythm
NEXT = DUE + timedelta(days=1)
RETENTION = make.policy().event_retention
MAILED = dict.fromkeys(NotificationKind, (Channel.EMAIL,))
Kinds = NotificationKind


def digest_id(due: datetime, user: str = MAX) -> str:
    return derived_id(Kind.OUTBOX, SEND_MAIL_DIGEST, user, due.isoformat())


async def choose(world: World, rhythm: MailRhythm = MailRhythm.DAILY, **changes: Any) -> None:
    await world.put(USERS, make.user("max", preferences=Preferences(MAILED, mail_rhythm=rhythm), **changes))


async def tell(world: World, *facts: tuple[NotificationKind, str, int]) -> list[Notification]:
    """Tell max of facts in one commit each; their notifications."""
    told = []
    for kind, text, number in facts:
        raised = notice(kind, MAX, (text, number), world.now, RETENTION, {"badge": "Chess"})
        await commit(world, raised)
        given = read_notes(raised.args)
        await world.store.notifications.tell(raised.id, given, world.now)
        told.append(await world.get(NOTIFICATIONS, given[0].id))
    return told


async def commit(world: World, *rows: OutboxRow) -> None:
    async def body(tx: Any) -> None:
        for each in rows:
            tx.tell(each)

    await world.commits.run(body)


def named(world: World, *tasks: str) -> list[OutboxRow]:
    """The rows of these tasks that the store told of."""
    return [each for each in world.rows if each.task in tasks]


@pytest_asyncio.fixture
async def world(backend: Backend) -> AsyncIterator[World]:
    made = World(backend, rehearse=isinstance(backend, MemoryBackend))
    await made.open()
    await choose(made)
    yield made
    await made.check()


async def test_a_period_has_one_row_and_no_mail_of_its_own(world: World) -> None:
    told = await tell(
        world, (Kinds.BADGES, "badge_awarded", 1), (Kinds.BADGES, "badge_awarded", 2), (Kinds.REVIEWS, "hired", 3)
    )
    assert {each.mail_digest_id for each in told} == {digest_id(DUE)}
    (asked,) = named(world, SEND_MAIL_DIGEST, "send_mail")  # of the queue: once, for the moment
    assert (asked.id, asked.not_before) == (digest_id(DUE), DUE)
    kept = await world.get(OUTBOX, digest_id(DUE))
    assert kept == replace(asked, args={"user_id": MAX, "BADGES": "2", "REVIEWS": "1"})
    assert (kept.state, kept.due_at, kept.kept_until) == (RowState.PENDING, DUE + SWEEP_AFTER, DUE + RETENTION)


async def test_a_task_that_comes_twice_counts_once(world: World) -> None:
    raised = notice(Kinds.BADGES, MAX, ("badge_awarded", 1), NOW, RETENTION, {"badge": "Chess"})
    await commit(world, raised)
    for _ in range(2):
        await world.store.notifications.tell(raised.id, read_notes(raised.args), NOW)
    assert (await world.get(OUTBOX, digest_id(DUE))).args == {"user_id": MAX, "BADGES": "1"}


async def test_two_notes_of_one_commit_join_together(world: World) -> None:
    both = [note(kind, MAX, ("hired", kind), {}) for kind in (Kinds.HIRES, Kinds.SESSIONS)]
    raised = row(("both",), NOW, RETENTION, task=NOTIFY, args=notes(both))
    await commit(world, raised)
    await world.store.notifications.tell(raised.id, both, NOW)
    assert (await world.get(OUTBOX, digest_id(DUE))).args == {"user_id": MAX, "HIRES": "1", "SESSIONS": "1"}


async def test_what_cannot_wait_is_mailed_at_once(world: World) -> None:
    told = await tell(
        world,
        (Kinds.ACCOUNT, "role_changed", 1),
        (Kinds.PURCHASES, "purchase_cancelled", 2),
        (Kinds.EARNINGS, "payout_failed", 3),
        (Kinds.SESSIONS, "session_low", 4),
    )
    assert [each.mail_digest_id for each in told] == [None] * 4
    assert [each.args["notification_id"] for each in named(world, "send_mail")] == [each.id for each in told]
    assert named(world, SEND_MAIL_DIGEST) == []


async def test_whoever_changes_the_rhythm_or_the_zone_has_a_digest_of_each(world: World) -> None:
    cases = (
        (MailRhythm.DAILY, "UTC", DUE),
        (MailRhythm.WEEKLY, "UTC", DUE),  # of one moment: one mail
        (MailRhythm.WEEKLY, "America/New_York", DUE + timedelta(hours=5)),
        (MailRhythm.DAILY, "Asia/Tokyo", DUE - timedelta(hours=9)),
        (MailRhythm.DAILY, "No/Where", DUE),
    )
    for number, (rhythm, zone, due) in enumerate(cases):
        await choose(world, rhythm, timezone=zone)
        (told,) = await tell(world, (Kinds.BADGES, "badge_awarded", number))
        assert told.mail_digest_id == digest_id(due)
    assert (await world.get(OUTBOX, digest_id(DUE))).args["BADGES"] == "3"
    await choose(world, MailRhythm.AT_ONCE)
    (told,) = await tell(world, (Kinds.BADGES, "badge_awarded", 9))
    assert (told.mail_digest_id, len(named(world, "send_mail"))) == (None, 1)
    assert len(named(world, SEND_MAIL_DIGEST)) == 3  # what is gathered is sent all the same


async def test_a_moment_later_it_is_the_next_period(world: World) -> None:
    await tell(world, (Kinds.BADGES, "badge_awarded", 1))
    for moment in (DUE, DUE + SECOND):
        world.now = moment
        (told,) = await tell(world, (Kinds.BADGES, "badge_awarded", moment.second + 2))
        assert told.mail_digest_id == digest_id(NEXT)
    assert (await world.get(OUTBOX, digest_id(DUE))).args["BADGES"] == "1"


async def test_a_clock_that_is_behind_joins_nothing_that_is_closed(world: World) -> None:
    """Another process's clock was ahead, and claimed the digest before ours says that it is due."""
    await tell(world, (Kinds.BADGES, "badge_awarded", 1))
    claimed = await world.store.mail_digests.claim(digest_id(DUE), DUE)
    assert claimed is not None
    world.now = DUE - SECOND
    (second,) = await tell(world, (Kinds.BADGES, "badge_awarded", 2))
    await world.put(OUTBOX, replace(claimed, not_before=DUE, state=RowState.DONE))
    (third,) = await tell(world, (Kinds.BADGES, "badge_awarded", 3))
    assert [second.mail_digest_id, third.mail_digest_id] == [digest_id(NEXT)] * 2
    await world.store.mail_digests.claim(digest_id(NEXT), NEXT)
    (fourth,) = await tell(world, (Kinds.BADGES, "badge_awarded", 4))  # a clock that is a day behind
    assert fourth.mail_digest_id is None
    assert [each.args["notification_id"] for each in named(world, "send_mail")] == [fourth.id]


async def test_a_claim_holds_for_ninety_seconds(world: World) -> None:
    await tell(world, (Kinds.BADGES, "badge_awarded", 1))
    claim = world.store.mail_digests.claim
    assert await claim(digest_id(DUE), DUE - SECOND) is None
    first = await claim(digest_id(DUE), DUE)
    assert first is not None
    assert (first.not_before, first.due_at) == (DUE + CLAIM, DUE + CLAIM + SWEEP_AFTER)
    assert await claim(digest_id(DUE), DUE) is None
    assert await claim(digest_id(DUE), DUE + CLAIM - SECOND) is None
    assert await world.store.outbox.due(DUE + CLAIM + SWEEP_AFTER - SECOND) == []
    (found,) = await world.store.outbox.due(DUE + CLAIM + SWEEP_AFTER)
    assert found == first
    await world.store.outbox.postpone(found.id, DUE + timedelta(hours=1))
    paused = DUE + timedelta(hours=1, seconds=40)
    again = await claim(digest_id(DUE), DUE + timedelta(hours=1) - CLAIM - MINUTE)
    assert again is not None
    assert (again.attempts, again.due_at) == (1, paused)  # the sweep's own pause is longer, and stays
    await world.store.outbox.finish(digest_id(DUE))
    assert await claim(digest_id(DUE), NEXT) is None
    assert await claim(digest_id(NEXT), NEXT) is None


async def test_what_a_digest_tells_is_the_newest_first_and_still_wanted(world: World) -> None:
    facts = [(Kinds.BADGES, "badge_awarded", 1), (Kinds.HIRES, "hired", 2), (Kinds.BADGES, "badge_awarded", 3)]
    told = []
    for fact in facts:
        world.now += SECOND
        told += await tell(world, fact)
    claimed = await world.store.mail_digests.claim(digest_id(DUE), DUE)
    assert claimed is not None
    found = await world.store.mail_digests.gathered(claimed)
    max_ = make.user("max", preferences=Preferences(MAILED, mail_rhythm=MailRhythm.DAILY))
    assert found == Gathered(max_, told[::-1], 3)
    silent = replace(max_, preferences=Preferences({**MAILED, Kinds.BADGES: ()}))
    await world.put(USERS, silent)
    assert await world.store.mail_digests.gathered(claimed) == Gathered(silent, [told[1]], 1)
    nobody = replace(claimed, args={**claimed.args, "user_id": user_id("nobody")})
    assert await world.store.mail_digests.gathered(nobody) is None


async def test_all_that_was_sent_is_marked_with_the_row(world: World) -> None:
    told = await tell(world, *((Kinds.BADGES, "badge_awarded", number) for number in range(3)))
    gone = replace(told[0], id=derived_id(Kind.NOTIFICATION, "gone"))
    for at in (DUE, DUE + MINUTE):
        await world.store.mail_digests.note_sent(digest_id(DUE), [*told, gone], at)
    assert [each.mailed_at for each in await world.all(NOTIFICATIONS)] == [DUE] * 3
    assert (await world.get(OUTBOX, digest_id(DUE))).state is RowState.DONE


class Between(MemoryBackend):
    """Memory in which something else happens right before a commit."""

    meanwhile: Callable[[], Awaitable[Any]] | None = None

    async def commit(self, writes: Sequence[Write]) -> None:
        first, self.meanwhile = self.meanwhile, None
        if first is not None:
            await first()
        await super().commit(writes)


async def racing() -> tuple[World, Between]:
    backend = Between()
    world = World(backend, rehearse=False)
    await world.open()
    await choose(world)
    await tell(world, (Kinds.BADGES, "badge_awarded", 1))
    return world, backend


async def test_a_note_that_races_with_the_claim_goes_into_the_next_digest() -> None:
    world, backend = await racing()
    raised = notice(Kinds.BADGES, MAX, ("badge_awarded", 2), NOW, RETENTION, {"badge": "Chess"})
    await commit(world, raised)
    backend.meanwhile = lambda: world.store.mail_digests.claim(digest_id(DUE), DUE)
    await world.store.notifications.tell(raised.id, read_notes(raised.args), DUE - SECOND)
    told = await world.get(NOTIFICATIONS, read_notes(raised.args)[0].id)
    assert told.mail_digest_id == digest_id(NEXT)
    assert (await world.get(OUTBOX, digest_id(DUE))).args["BADGES"] == "1"
    assert (await world.get(OUTBOX, digest_id(NEXT))).args["BADGES"] == "1"


async def test_a_claim_that_races_with_a_note_sends_it_too() -> None:
    world, backend = await racing()
    backend.meanwhile = lambda: tell(world, (Kinds.BADGES, "badge_awarded", 2))
    claimed = await world.store.mail_digests.claim(digest_id(DUE), DUE)
    assert claimed is not None
    found = await world.store.mail_digests.gathered(claimed)
    assert found is not None
    assert (found.count, len(found.newest)) == (2, 2)


async def test_of_two_claims_at_once_one_holds() -> None:
    world, backend = await racing()
    others: list[OutboxRow | None] = []

    async def other() -> None:
        others.append(await world.store.mail_digests.claim(digest_id(DUE), DUE))

    backend.meanwhile = other
    assert await world.store.mail_digests.claim(digest_id(DUE), DUE) is None
    assert [each is not None for each in others] == [True]


async def test_what_it_costs() -> None:
    """A note that waits: one RPC more than one that is mailed at once, and no more writes."""
    counting = CountingBackend(MemoryBackend())
    world = World(counting, rehearse=False)
    await world.open()
    for number, (rhythm, rpcs, reads) in enumerate(
        ((MailRhythm.AT_ONCE, 2, 4), (MailRhythm.DAILY, 3, 6), (MailRhythm.DAILY, 3, 6))
    ):
        await choose(world, rhythm)
        raised = notice(Kinds.BADGES, MAX, ("badge_awarded", number), NOW, RETENTION, {"badge": "Chess"})
        await commit(world, raised)
        with counting.measure() as counts:
            await world.store.notifications.tell(raised.id, read_notes(raised.args), NOW)
        assert (counts.rpcs, counts.reads, counts.writes) == (rpcs, reads, 3)
    with counting.measure() as counts:
        claimed = await world.store.mail_digests.claim(digest_id(DUE), DUE)
        assert claimed is not None
        found = await world.store.mail_digests.gathered(claimed)
        assert found is not None
        await world.store.mail_digests.note_sent(digest_id(DUE), found.newest, DUE)
    assert (counts.rpcs, counts.writes) == (6, 4)
