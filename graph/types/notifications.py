"""Notifications and the devices that they are pushed to."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime

import strawberry

from domain import notifications
from domain.notifications import Platform
from domain.users import NotificationKind
from graph.context import Context, Info
from graph.enums import enum
from graph.sizes import at_most
from graph.types.nodes import Node

enum(Platform, "What a device runs.")


@strawberry.type(description="What its user was told, in the user's own language as it is now.")
class Notification(Node):
    record: strawberry.Private[notifications.Notification]
    kind: NotificationKind
    subject_ids: list[strawberry.ID] = strawberry.field(
        metadata=at_most(notifications.ARGS_MAX), description="What it is about: ask node(id:) for each."
    )
    read: bool
    created_at: datetime
    share_key: strawberry.Private[Hashable] = None

    @classmethod
    def told(
        cls, record: notifications.Notification, box: notifications.NotificationBox, context: Context
    ) -> Notification:
        """As `of`, for those who are told of it: its words are the viewer's own, in the language of this minute."""
        shown = cls.of(record, box)
        shown.share_key = (record.id, shown.read, context.rights, context.minute)
        return shown

    @classmethod
    def of(cls, record: notifications.Notification, box: notifications.NotificationBox) -> Notification:
        return cls(
            id=strawberry.ID(record.id),
            record=record,
            kind=record.kind,
            subject_ids=[strawberry.ID(each) for each in record.subject_ids],
            read=record.read or record.sequence <= box.read_to,
            created_at=record.created_at,
        )

    @strawberry.field
    async def title(self, info: Info) -> str:
        return (await self._words(info)).title

    @strawberry.field
    async def text(self, info: Info) -> str:
        return (await self._words(info)).text

    async def _words(self, info: Info) -> notifications.Words:
        locale = (await info.context.user()).locale
        return notifications.words(self.record.text, self.record.args, locale)


@strawberry.type(description="A device that notifications are pushed to.")
class Device:
    id: strawberry.ID
    platform: Platform
    registered_at: datetime

    @classmethod
    def of(cls, record: notifications.Device) -> Device:
        return cls(id=strawberry.ID(record.id), platform=record.platform, registered_at=record.registered_at)
