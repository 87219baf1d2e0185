"""Notifications: raised with the fact that they tell of, delivered once by a task of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from domain import endpoints, notifications
from domain.endpoints import Delivery
from domain.errors import NotFound
from domain.events import Event, EventType
from domain.ids import Kind, derived_id, is_id
from domain.notifications import (
    DEVICES_MAX,
    KEPT,
    UNREAD_MAX,
    Device,
    Note,
    Notification,
    NotificationBox,
    notifications_topic,
)
from domain.policy import Policy
from domain.users import Channel, NotificationKind, User
from firestore.backend import Aggregate, Backend, Filter, Order, Query
from firestore.collections import (
    DELIVERIES,
    DEVICES,
    ENDPOINTS,
    NOTIFICATION_BOXES,
    NOTIFICATIONS,
    OUTBOX,
    USERS,
)
from firestore.commit import Commits, Tx
from firestore.mail_digests import Gathering
from firestore.outbox import row
from firestore.paging import Page, Position, read_page
from firestore.rows import OutboxRow, RowState

TASKS: Mapping[Channel, str] = {Channel.EMAIL: "send_mail", Channel.PUSH: "send_push"}
POST_WEBHOOK = "post_webhook"
NOTIFY = "notify"  # the task that tells users; the name outlives a deploy
NOTES_MAX = 8  # of one fact: a hirer, an owner, a creator and what each is told


def notice(
    kind: NotificationKind,
    user_id: str,
    fact: tuple[str | int, ...],
    now: datetime,
    retention: timedelta,
    args: Mapping[str, str],
) -> OutboxRow:
    """A row that tells the user of a fact; write it with `tx.tell(...)` in the commit that makes the fact.

    `fact[0]` names the text in `domain/notification_texts.py` and the rest makes the fact unique: a second row of one
    fact does not commit, so what can happen twice carries a version or a moment. `args` fills in the text, and holds
    under names that end in `_id` what it is about. `retention` is the policy's `event_retention`.
    """
    told = notes([notifications.note(kind, user_id, fact, args)])
    return row(("notify", user_id, *fact), now, retention, task=NOTIFY, args=told)


def notice_id(user_id: str, fact: tuple[str | int, ...]) -> str:
    """The id of the row that `notice` makes, for who must know whether it is there."""
    return derived_id(Kind.OUTBOX, "notify", user_id, *fact)


def notes(given: Sequence[Note]) -> dict[str, str]:
    """Notes as the arguments of the task NOTIFY, for a row that is written anyway."""
    assert 1 <= len(given) <= NOTES_MAX, f"a row tells 1 to {NOTES_MAX} notes"
    listed = [[each.id, each.user_id, each.kind, each.text, dict(each.args)] for each in given]
    return {"notes": json.dumps(listed, separators=(",", ":"), sort_keys=True)}


def carried(args: Mapping[str, str]) -> Mapping[str, str]:
    """What a task's body carries of its row's args: ids. The words of people stay in the row (T-P01)."""
    return notes([replace(each, args={}) for each in read_notes(args)]) if "notes" in args else args


def read_notes(args: Mapping[str, str]) -> list[Note]:
    """The notes that `notes` wrote."""
    return [
        Note(note_id, user_id, None if kind is None else NotificationKind(kind), text, told)
        for note_id, user_id, kind, text, told in json.loads(args["notes"])
    ]


class Notifications:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def tell(self, row_id: str, given: Sequence[Note], now: datetime) -> None:
        """Tell users of a fact, each once: in the app, and by the tasks that mail, push and post. Two RPCs; three where
        there are endpoints, or mails that wait for a digest.

        The user's preferences of this moment decide. A row that is done, or gone, tells nothing again.
        """
        people = list(dict.fromkeys(each.user_id for each in given))

        async def body(tx: Tx) -> None:
            await tx.read(
                OUTBOX.at(row_id),
                *map(USERS.at, people),
                *map(NOTIFICATION_BOXES.at, people),
                *(NOTIFICATIONS.at(each.id) for each in given),
            )
            row_now = tx.get(OUTBOX, row_id)
            if row_now is None or row_now.state is RowState.DONE:
                return
            boxes = {each: tx.get(NOTIFICATION_BOXES, each) or NotificationBox(each) for each in people}
            gathering = Gathering(now, self._policy.event_retention)
            wanting = [ENDPOINTS.at(each) for box in boxes.values() for each in box.endpoint_ids]
            await tx.read(*wanting, *gathering.paths(tx.get(USERS, each) for each in people))
            before = dict(boxes)
            for each in read_notes(row_now.args):  # the row's own: a task's body says whom to tell, and not what
                user = tx.get(USERS, each.user_id)
                here = user is not None and user.erased_at is None
                if here and tx.get(NOTIFICATIONS, each.id) is None:
                    boxes[each.user_id] = self._tell(tx, each, boxes[each.user_id], gathering, now)
            for user_id, box in boxes.items():
                if box != before[user_id]:
                    tx.put(NOTIFICATION_BOXES, box)
            gathering.write(tx)
            await tx.finish(row_id)

        await self._commits.run(body, lane=f"notifications:{people[0]}")

    async def get(self, notification_id: str, user_id: str) -> tuple[Notification, User] | None:
        """A notification and its user, for whoever mails or pushes it. One RPC."""
        found = await self._backend.get_many([NOTIFICATIONS.at(notification_id), USERS.at(user_id)])
        if found[0] is None or found[1] is None:
            return None
        return NOTIFICATIONS.decode(found[0]), USERS.decode(found[1])

    async def note_sent(self, notification_id: str, channel: Channel, row_id: str, now: datetime) -> None:
        """Note that a mail or a push is on its way, so that it is sent no second time. Two RPCs."""

        async def body(tx: Tx) -> None:
            await tx.read(NOTIFICATIONS.at(notification_id), OUTBOX.at(row_id))
            before = tx.get(NOTIFICATIONS, notification_id)
            if before is not None:
                mailed = now if channel is Channel.EMAIL else before.mailed_at
                pushed = now if channel is Channel.PUSH else before.pushed_at
                tx.put(NOTIFICATIONS, replace(before, mailed_at=mailed, pushed_at=pushed))
            await tx.finish(row_id)

        await self._commits.run(body)

    async def box(self, user_id: str) -> NotificationBox:
        """How far a user's notifications have counted. One RPC."""
        (found,) = await self._backend.get_many([NOTIFICATION_BOXES.at(user_id)])
        return NotificationBox(user_id) if found is None else NOTIFICATION_BOXES.decode(found)

    async def page_of_user(
        self, box: NotificationBox, unread_only: bool, first: int, after: Position | None
    ) -> Page[Notification]:
        """A user's notifications, newest first. One RPC."""
        return await read_page(self._backend, NOTIFICATIONS, _listed(box, unread_only), first, after)

    async def unread(self, box: NotificationBox) -> int:
        """How many of a user's notifications are unread, at most 100. One RPC."""
        query = replace(_listed(box, True), limit=UNREAD_MAX)
        counted = await self._backend.aggregate(query, {"unread": Aggregate("count")})
        return int(counted["unread"])

    async def mark_read(
        self, user_id: str, ids: Sequence[str], up_to: int | None
    ) -> tuple[list[Notification], NotificationBox]:
        """Mark some of the user's notifications as read, or all up to a number, in one write. Two RPCs.

        Raises NotFound for one that is missing or another's.
        """
        wanted = list(dict.fromkeys(ids))
        if not all(is_id(each, Kind.NOTIFICATION) for each in wanted):
            raise NotFound("notification")

        async def body(tx: Tx) -> tuple[list[Notification], NotificationBox]:
            await tx.read(NOTIFICATION_BOXES.at(user_id), *map(NOTIFICATIONS.at, wanted))
            known = tx.get(NOTIFICATION_BOXES, user_id) or NotificationBox(user_id)
            box = replace(known, read_to=max(known.read_to, min(up_to or 0, known.sequence)))
            if box != known:
                tx.put(NOTIFICATION_BOXES, box)
            marked = []
            for each in wanted:
                before = tx.get(NOTIFICATIONS, each)
                if before is None or before.user_id != user_id or not before.sequence:
                    raise NotFound("notification")
                after = replace(before, read=True)
                if not before.read:
                    tx.put(NOTIFICATIONS, after)
                marked.append(after)
            return marked, box

        return await self._commits.run(body)

    async def register(self, wanted: Device) -> Device:
        """Push to a device from now on; one that was another user's is this user's now. Three RPCs.

        The oldest go where a user has more than ten. Known ones keep the moment of their registration.
        """

        async def body(tx: Tx) -> Device:
            before = await tx.load(DEVICES, wanted.id)
            if before is not None and replace(before, registered_at=wanted.registered_at) == wanted:
                return before
            others = await tx.find(DEVICES, _devices(wanted.user_id))
            oldest = sorted(others, key=lambda each: each.registered_at)
            for each in oldest[: max(0, len(others) + 1 - DEVICES_MAX)]:
                if each.id != wanted.id:
                    tx.delete(DEVICES, each.id)
            tx.put(DEVICES, wanted)
            return wanted

        return await self._commits.run(body)

    async def devices(self, user_id: str) -> list[Device]:
        """Where a user's pushes go. One RPC."""
        return [DEVICES.decode(each) for each in await self._backend.query(_devices(user_id))]

    async def forget_devices(self, user_id: str, device_ids: Sequence[str]) -> None:
        """Push to these devices no more, where they are still this user's. Two RPCs."""

        async def body(tx: Tx) -> None:
            await tx.read(*map(DEVICES.at, device_ids))
            for each in device_ids:
                known = tx.get(DEVICES, each)
                if known is not None and known.user_id == user_id:
                    tx.delete(DEVICES, each)

        await self._commits.run(body)

    def _tell(self, tx: Tx, given: Note, box: NotificationBox, gathering: Gathering, now: datetime) -> NotificationBox:
        """Write one notification and what it sets in motion; the box after it. What it needs was read."""
        retention = self._policy.event_retention
        user = tx.get(USERS, given.user_id)
        assert user is not None, "nobody is told who is not there"
        channels = user.preferences.channels(given.kind) if given.kind is not None else ()
        shown = Channel.IN_APP in channels
        digest_id = gathering.join(tx, user, given)
        if given.kind is not None and channels:
            box = replace(box, sequence=box.sequence + 1) if shown else box
            sequence, until = box.sequence if shown else 0, now + KEPT
            kept = Notification(given.id, user.id, given.kind, given.text, given.args, sequence, now, until)
            tx.create(NOTIFICATIONS, replace(kept, mail_digest_id=digest_id))
        if shown:
            data: dict[str, str | int] = {"notificationId": given.id}
            told = Event(notifications_topic(user.id), box.sequence, EventType.NOTIFICATION_RECEIVED, now, data)
            tx.tell(row(("notified", given.id), now, retention, events=(told,)))
        for channel, task in TASKS.items():
            if channel in channels and not (channel is Channel.EMAIL and digest_id):
                args = {"notification_id": given.id, "user_id": user.id}
                tx.tell(row((task, given.id), now, retention, task=task, args=args))
        wanting = [tx.get(ENDPOINTS, each) for each in box.endpoint_ids]
        for delivery in endpoints.deliveries(given, [each for each in wanting if each is not None], shown, now):
            tx.create(DELIVERIES, delivery)
            tx.tell(posting(delivery, now, retention))
        return box


def posting(delivery: Delivery, now: datetime, retention: timedelta) -> OutboxRow:
    """The row whose task posts a delivery, and posts it again until it is taken."""
    fact = ("webhook", delivery.id, delivery.round)
    args = {"delivery_id": delivery.id, "endpoint_id": delivery.endpoint_id}
    return row(fact, now, retention, task=POST_WEBHOOK, args=args)


def _listed(box: NotificationBox, unread_only: bool) -> Query:
    filters = [Filter("user_id", "==", box.id)]
    if unread_only:
        filters.append(Filter("read", "==", False))
    filters.append(Filter("sequence", ">", box.read_to if unread_only else 0))
    return Query(NOTIFICATIONS.name, tuple(filters), (Order("sequence", descending=True),))


def _devices(user_id: str) -> Query:
    # Two more than there may be: of two registrations at one moment each sees the others alone.
    return Query(DEVICES.name, (Filter("user_id", "==", user_id),), limit=DEVICES_MAX + 2)
