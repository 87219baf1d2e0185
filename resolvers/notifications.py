"""Reading one's notifications, and naming the devices that they are pushed to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated

import strawberry

from domain import notifications
from domain.errors import BadInput
from domain.events import EventType
from domain.notifications import Platform, notifications_topic
from firestore.collections import NOTIFICATIONS
from firestore.feed import Mark
from graph.connection import FIRST_MAX, position_of, scope_of
from graph.context import Context, Info
from graph.errors import NotFound
from graph.sizes import at_most
from graph.types.notifications import Device, Notification
from resolvers import nodes


@strawberry.input(description="Either some ids, or all up to a cursor of Viewer.notifications.")
class MarkNotificationsReadInput:
    ids: list[strawberry.ID] | None = None
    up_to: str | None = strawberry.field(default=None, description="The newest that was read: its edge's cursor.")


@strawberry.input
class RegisterDeviceInput:
    token: str = strawberry.field(description="What the Firebase SDK gave the app.")
    platform: Platform


@strawberry.type
class MarkNotificationsReadPayload:
    notifications: list[Notification] = strawberry.field(
        metadata=at_most(FIRST_MAX), description="Those that were named by their ids."
    )
    unread: int = strawberry.field(description="How many are left, at most 100.")


@strawberry.type
class RegisterDevicePayload:
    device: Device


MarkNotificationsReadResult = Annotated[
    MarkNotificationsReadPayload | NotFound, strawberry.union("MarkNotificationsReadResult")
]
RegisterDeviceResult = Annotated[RegisterDevicePayload | NotFound, strawberry.union("RegisterDeviceResult")]


async def mark_notifications_read(info: Info, input: MarkNotificationsReadInput) -> MarkNotificationsReadResult:
    """Mark some of the viewer's notifications as read, or all up to a cursor of their list. Send one of `ids` and
    `upTo`.
    """
    context = info.context
    if (input.ids is None) == (input.up_to is None):
        raise BadInput("Send either ids or upTo.", field="input")
    if len(input.ids or ()) > FIRST_MAX:
        raise BadInput(f"Mark at most {FIRST_MAX} at once, or all of them with upTo.", field="input.ids")
    scope = scope_of("Viewer.notifications", context.signed_in)
    place = position_of(context.desk.cursors, scope, input.up_to, "input.upTo")
    number = place[0] if place is not None else None
    assert number is None or isinstance(number, int), "the list is in the order of its numbers"
    store = context.store.notifications
    marked, box = await store.mark_read(context.signed_in, input.ids or (), number)
    return MarkNotificationsReadPayload(
        notifications=[Notification.of(each, box) for each in marked], unread=await store.unread(box)
    )


async def register_device(info: Info, input: RegisterDeviceInput) -> RegisterDeviceResult:
    """Push to a device from now on; a token that was another user's is the viewer's now. The newest 10 devices of a
    user are kept.
    """
    context = info.context
    wanted = notifications.device(context.signed_in, input.token, input.platform, context.now)
    return RegisterDevicePayload(device=Device.of(await context.store.notifications.register(wanted)))


async def notification_received(info: Info) -> AsyncGenerator[Notification, None]:
    """Each notification of the viewer's from now on."""
    context = info.context
    user_id, store, now = context.signed_in, context.store, context.desk.clock()
    head = (await store.notifications.box(user_id)).sequence
    async with aclosing(store.feed.follow(notifications_topic(user_id), Mark(head, now), head)) as told:
        async for event in told:
            if event.type is EventType.NOTIFICATION_RECEIVED:
                notification_id = str(event.data["notificationId"])
                record, box = await context.seen(event.identity, partial(_read, context.fresh, notification_id))
                yield Notification.told(record, box, context)


async def _read(
    fresh: Callable[[], Context], notification_id: str
) -> tuple[notifications.Notification, notifications.NotificationBox]:
    """A notification and how far its user has read. One RPC; `fresh` for each try, because a loader remembers its
    failures too."""
    context = fresh()
    return await asyncio.gather(context.loaders.known(NOTIFICATIONS, notification_id), nodes.box(context))
