"""Notifications: told once for each fact, numbered, read, and fed by what happened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from domain.endpoints import WebhookEvent
from domain.errors import NotFound
from domain.events import EventType
from domain.ids import Kind, derived_id
from domain.listings import ListingStatus
from domain.money import Dof
from domain.notifications import Device, Notification, NotificationBox, Platform, device, words
from domain.policy import Policy
from domain.reviews import ReviewWish
from domain.sessions import earnings_of
from domain.users import Channel, NotificationKind, Preferences, Role, Viewer
from firestore.backend import Backend
from firestore.collections import (
    DELIVERIES,
    DEVICES,
    LISTINGS,
    NOTIFICATION_BOXES,
    NOTIFICATIONS,
    OUTBOX,
    SESSIONS,
    USERS,
)
from firestore.memory import MemoryBackend
from firestore.notifications import NOTIFY, notice, read_notes
from firestore.rows import OutboxRow, RowState
from tests import make
from tests.make import MINUTE, NOW, SECOND, World, facts, paid, user_id, wish

MAX, ADA, EVE = user_id("max"), user_id("ada"), user_id("eve")
POLICY: Policy = make.policy()
BADGE = {"badge": "Chess master"}


@pytest_asyncio.fixture
async def world(backend: Backend) -> AsyncIterator[World]:
    made = World(backend, rehearse=isinstance(backend, MemoryBackend))
    await made.open("eve")
    await made.fund("max", 60_000)
    made.rows.clear()  # what an adjustment tells is a test of its own
    yield made
    await made.check()


async def raise_(world: World, user: str, number: int, kind: NotificationKind = NotificationKind.BADGES) -> OutboxRow:
    """Put a notice into a commit of its own."""
    row = notice(kind, user, ("badge_awarded", number), world.now, POLICY.event_retention, BADGE)

    async def body(tx: Any) -> None:
        tx.tell(row)

    await world.commits.run(body)
    return row


async def work(world: World, rows: Sequence[OutboxRow]) -> None:
    for row in rows:
        if row.task == NOTIFY:
            await world.store.notifications.tell(row.id, read_notes(row.args), world.now)


async def told(world: World, user: str) -> list[tuple[str, dict[str, str]]]:
    """The texts of a user's list, newest first."""
    box = await world.store.notifications.box(user)
    page = await world.store.notifications.page_of_user(box, False, 100, None)
    return [(each.text, dict(each.args)) for each in page.nodes]


async def choose(world: World, name: str, **channels: tuple[Channel, ...]) -> None:
    chosen = {NotificationKind[kind]: picked for kind, picked in channels.items()}
    await world.put(USERS, make.user(name, preferences=Preferences(chosen)))


async def test_a_notice_is_told_once_and_numbered(world: World) -> None:
    first, second = await raise_(world, MAX, 1), await raise_(world, MAX, 2)
    for _ in range(2):  # a task is delivered at least once
        await work(world, (first, second))
    rows = await world.all(NOTIFICATIONS)
    assert sorted((each.sequence, each.kind, each.text, each.read) for each in rows) == [
        (1, NotificationKind.BADGES, "badge_awarded", False),
        (2, NotificationKind.BADGES, "badge_awarded", False),
    ]
    assert await world.store.notifications.box(MAX) == NotificationBox(MAX, sequence=2)
    events = [event for row in await world.all(OUTBOX) for event in row.events if event.topic == f"notifications:{MAX}"]
    assert sorted((event.sequence, event.type) for event in events) == [
        (1, EventType.NOTIFICATION_RECEIVED),
        (2, EventType.NOTIFICATION_RECEIVED),
    ]
    assert {event.data["notificationId"] for event in events} == {each.id for each in rows}
    assert {(await world.get(OUTBOX, row.id)).state for row in (first, second)} == {RowState.DONE}


async def test_a_second_notice_of_one_fact_does_not_commit(world: World) -> None:
    await raise_(world, MAX, 1)
    with pytest.raises(Exception, match="did not answer in time"):
        await raise_(world, MAX, 1)


async def test_preferences_of_the_moment_decide(world: World) -> None:
    cases: tuple[tuple[tuple[Channel, ...], int, list[str]], ...] = (
        ((), 0, []),
        ((Channel.IN_APP,), 1, ["notified"]),
        ((Channel.EMAIL,), 1, ["send_mail"]),
        ((Channel.PUSH, Channel.EMAIL), 1, ["send_mail", "send_push"]),
    )
    for number, (channels, kept, follow) in enumerate(cases, 1):
        row = await raise_(world, MAX, number)
        await choose(world, "max", BADGES=channels)
        before, count = len(world.rows), len(await world.all(NOTIFICATIONS))
        await work(world, [row])
        assert len(await world.all(NOTIFICATIONS)) - count == kept
        assert sorted(each.task or "notified" for each in world.rows[before:]) == follow
    # What is only mailed or pushed is no part of the list, and no number is left out for it.
    assert len(await told(world, MAX)) == 1
    assert (await world.store.notifications.box(MAX)).sequence == 1


async def test_nobody_is_told_who_is_not_there_or_was_erased(world: World) -> None:
    await world.put(USERS, make.user("eve", erased_at=NOW))
    for name in ("nobody", "eve"):
        row = await raise_(world, user_id(name), 1)
        await work(world, [row])
        assert await world.all(NOTIFICATIONS) == []
        assert (await world.get(OUTBOX, row.id)).state is RowState.DONE


async def test_reading(world: World) -> None:
    rows = [await raise_(world, MAX, number) for number in range(1, 6)]
    await work(world, rows)
    store = world.store.notifications
    box = await store.box(MAX)
    first = await store.page_of_user(box, False, 2, None)
    rest = await store.page_of_user(box, False, 9, first.end)
    assert [each.sequence for each in (*first.nodes, *rest.nodes)] == [5, 4, 3, 2, 1]
    assert await store.unread(box) == 5
    (marked,), box = await store.mark_read(MAX, [rest.nodes[0].id], None)
    assert (marked.sequence, marked.read, await store.unread(box)) == (3, True, 4)
    assert await store.mark_read(MAX, [marked.id, marked.id], None) == ([marked], box)
    none, box = await store.mark_read(MAX, [], 4)
    assert (none, box.read_to, await store.unread(box)) == ([], 4, 1)
    assert [each.sequence for each in (await store.page_of_user(box, True, 9, None)).nodes] == [5]
    assert (await store.mark_read(MAX, [], 2))[1].read_to == 4  # an older cursor unreads nothing
    assert (await store.mark_read(MAX, [], 99))[1].read_to == 5


async def test_t_z04_anothers_notification_is_not_there(world: World) -> None:
    await work(world, [await raise_(world, MAX, 1), await raise_(world, EVE, 2)])
    own, others = sorted(await world.all(NOTIFICATIONS), key=lambda each: each.user_id != MAX)
    for wanted in ([own.id, others.id], [derived_id(Kind.NOTIFICATION, "missing")], ["ntf_x"], [MAX]):
        async with world.refuses(NotFound):
            await world.store.notifications.mark_read(MAX, wanted, None)


async def test_a_hire_tells_its_owner_and_its_end_both(world: World) -> None:
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    row = world.rows[-1]
    await world.store.topics.follow_session(session.id, row.id, NOW)
    await world.store.topics.follow_session(session.id, row.id, NOW)
    await work(world, world.rows)
    about = {"session_id": session.id, "agent_id": session.agent_id, "listing_id": session.listing_id, "agent": "Nova"}
    assert await told(world, ADA) == [("hired", {**about, "dof": "6000"})]
    assert await told(world, MAX) == []
    world.now = NOW + 90 * SECOND
    await world.store.sessions.end(MAX, session.id, "e", world.now)
    await world.store.topics.follow_session(session.id, row.id, world.now)
    await work(world, world.rows)
    assert (await told(world, ADA))[0] == ("hire_ended", {**about, "dof": "150"})
    assert (await told(world, MAX))[0] == ("session_ended", {**about, "minutes": "2", "dof": "200"})
    del about["session_id"]  # a creator who is not the owner does not read it
    assert await told(world, user_id("cleo")) == [("share_earned", {**about, "dof": "20"})]
    await world.store.reviews.submit(MAX, session.id, ReviewWish(4, "Good."), world.now)
    review = world.rows[-1]
    for _ in range(2):
        await world.store.topics.announce("review", dict(review.args), review.id, world.now)
    await work(world, world.rows)
    text, args = (await told(world, ADA))[0]
    assert (text, args["rating"], args["agent"]) == ("review_received", "4", "Nova")
    assert len(await told(world, ADA)) == 3


async def test_a_hold_that_runs_low_is_told_once_for_each_stretch(world: World) -> None:
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    row, follow = world.rows[-1], world.store.topics.follow_session
    for minutes in (0, 53):
        assert await follow(session.id, row.id, NOW + minutes * MINUTE) == NOW + 54 * MINUTE
    for _ in range(2):
        assert await follow(session.id, row.id, NOW + 54 * MINUTE) == NOW + 60 * MINUTE
    await work(world, [each for each in world.rows if each.args.get("notes", "").find("session_low") > 0])
    assert await told(world, MAX) == [("session_low", {"session_id": session.id, "agent": "Nova", "dof": "600"})]
    await world.store.sessions.extend(MAX, session.id, make.HireUnit.HOUR, 1, "x", NOW + 55 * MINUTE)
    assert await follow(session.id, row.id, NOW + 60 * MINUTE) == NOW + 108 * MINUTE
    assert await follow(session.id, row.id, NOW + 108 * MINUTE) == NOW + 120 * MINUTE
    await work(world, world.rows[-1:])
    assert (await told(world, MAX))[0][1]["dof"] == "1200"
    await world.store.sessions.settle_if_over(session.id, NOW + 120 * MINUTE)
    assert await follow(session.id, row.id, NOW + 120 * MINUTE) is None
    assert (await world.get(OUTBOX, row.id)).state is RowState.DONE


async def test_money_tells_whom_it_concerns(world: World) -> None:
    await world.absorb(facts(paid(), user_hint=MAX, email="max@jiga.test"))
    await work(world, world.rows)
    text, args = (await told(world, MAX))[0]
    assert (text, args["dof"]) == ("dof_credited", "150000")
    assert args["transaction_id"].startswith("txn_")
    await world.absorb(facts(make.refund(1, 499)))
    await world.store.wallets.transfer(MAX, EVE, Dof(7), None, "k", world.now)
    await work(world, world.rows)
    assert [(text, args["dof"]) for text, args in await told(world, MAX)] == [
        ("purchase_reversed", "150000"),
        ("dof_credited", "150000"),
    ]
    assert [(text, args["dof"]) for text, args in await told(world, EVE)] == [("dof_received", "7")]
    mails = [each.args["user_id"] for each in world.rows if each.task == "send_mail"]
    assert mails == [MAX, MAX]  # purchases are mailed where nobody chose otherwise; what a stranger sends is not


async def test_who_owns_and_created_is_told_both_shares(world: World) -> None:
    await world.put(LISTINGS, replace(make.listing(), creator_id=ADA))
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    row = world.rows[-1]
    world.now = NOW + 90 * SECOND
    await world.store.sessions.end(MAX, session.id, "e", world.now)
    await world.store.topics.follow_session(session.id, row.id, world.now)
    await work(world, world.rows)
    text, args = (await told(world, ADA))[0]
    assert (text, args["dof"]) == ("hire_ended", "170")
    ended = await world.get(SESSIONS, session.id)
    assert earnings_of(ended, ADA, world.now) == Dof(170)
    assert earnings_of(replace(ended, creator_id=EVE), ADA, world.now) == Dof(150)


async def test_an_adjustment_tells_its_user_and_never_why(world: World) -> None:
    await world.put(USERS, make.user("root", role=Role.ADMIN))
    endpoint_id = derived_id(Kind.ENDPOINT, "one")
    events = (WebhookEvent.WALLET_CREDITED, WebhookEvent.WALLET_DEBITED)
    await world.store.endpoints.create(MAX, endpoint_id, "https://a.example/", events, bytes(32), NOW)
    wallets = world.store.wallets
    added, _ = await wallets.adjust(user_id("root"), MAX, 500_000, "a secret", "a", world.now)
    taken, _ = await wallets.adjust(user_id("root"), MAX, -7, "a secret", "b", world.now)
    sent, _ = await wallets.transfer(MAX, EVE, Dof(3), None, "k", world.now)
    await work(world, list(world.rows))
    assert await told(world, MAX) == [
        ("adjustment_debited", {"transaction_id": taken.id, "dof": "7"}),
        ("adjustment_credited", {"transaction_id": added.id, "dof": "500000"}),
    ]
    assert {each.data["transactionId"]: each.event for each in await world.all(DELIVERIES)} == {
        added.id: WebhookEvent.WALLET_CREDITED,
        taken.id: WebhookEvent.WALLET_DEBITED,
        sent.id: WebhookEvent.WALLET_DEBITED,
    }


async def test_a_suspended_listing_tells_its_owner_why(world: World) -> None:
    mia = Viewer(user_id("mia"), Role.MODERATOR)
    await world.put(USERS, make.user("mia", role=Role.MODERATOR))
    for _ in range(2):
        await world.store.listings.moderate(mia, make.listing().id, ListingStatus.SUSPENDED, "It lies.", NOW)
    await work(world, world.rows)
    ((text, args),) = await told(world, ADA)
    assert words(text, args, "en").text == "A moderator suspended the listing of Nova: It lies."


async def test_devices_are_few_and_of_their_last_user(world: World) -> None:
    store = world.store.notifications
    made: list[Device] = []
    for number in range(12):
        wanted = device(MAX, f"token-{number:02}", Platform.ANDROID, NOW + number * SECOND)
        made.append(await store.register(wanted))
    kept = await store.devices(MAX)
    assert sorted(each.token for each in kept) == [f"token-{number:02}" for number in range(2, 12)]
    assert await store.register(replace(made[11], registered_at=NOW + MINUTE)) == made[11]
    moved = await store.register(device(EVE, "token-05", Platform.WEB, NOW + MINUTE))
    assert await store.devices(EVE) == [moved]
    assert len(await store.devices(MAX)) == 9
    await store.forget_devices(MAX, [moved.id, made[11].id, made[0].id])
    assert len(await store.devices(MAX)) == 8
    assert await store.devices(EVE) == [moved]
    assert len(await world.all(DEVICES)) == 9


async def test_an_endpoint_hears_of_a_fact_in_the_same_commit(world: World) -> None:
    endpoint_id = derived_id(Kind.ENDPOINT, "one")
    events = (WebhookEvent.SESSION_STARTED, WebhookEvent.NOTIFICATION_RECEIVED)
    await world.store.endpoints.create(MAX, endpoint_id, "https://a.example/", events, bytes(32), NOW)
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    await world.store.topics.follow_session(session.id, world.rows[-1].id, NOW)
    for _ in range(2):
        await work(world, list(world.rows))
    (delivery,) = await world.all(DELIVERIES)
    about = {"agentId": session.agent_id, "listingId": str(session.listing_id), "sessionId": session.id}
    assert (delivery.event, delivery.data, delivery.user_id) == (WebhookEvent.SESSION_STARTED, about, MAX)
    (row,) = [each for each in world.rows if each.task == "post_webhook"]
    assert row.args == {"delivery_id": delivery.id, "endpoint_id": endpoint_id}
    assert await told(world, MAX) == []  # a session's start is nothing that its own player needs to be told


async def test_what_it_costs(world: World) -> None:
    """Two RPCs for a notification; the writes: itself, the box, the event, the row, and a row for a mail."""
    from firestore.counting import CountingBackend

    counting = CountingBackend(MemoryBackend())
    priced = World(counting, rehearse=False)
    await priced.open()
    row = await raise_(priced, MAX, 1, NotificationKind.ACCOUNT)
    with counting.measure() as counts:
        await work(priced, [row])
    assert (counts.rpcs, counts.rounds, counts.reads, counts.writes) == (2, 2, 4, 5)
    with counting.measure() as again:
        await work(priced, [row])
    assert (again.rpcs, again.writes) == (1, 0)
    kept: list[Notification] = await priced.all(NOTIFICATIONS)
    assert [each.kind for each in kept] == [NotificationKind.ACCOUNT]
    assert await priced.get(NOTIFICATION_BOXES, MAX) == NotificationBox(MAX, 1)
