"""Webhook endpoints of integrators, and what became of each delivery."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import endpoints
from domain.endpoints import DeliveryStatus, WebhookEvent
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info

strawberry.enum(DeliveryStatus, name="WebhookDeliveryStatus")
strawberry.enum(WebhookEvent)


@strawberry.type(description="One event for one endpoint; kept for 30 days.")
class WebhookDelivery:
    id: strawberry.ID = strawberry.field(description="The `webhook-id` of the message: the same at every attempt.")
    event: WebhookEvent
    status: DeliveryStatus
    attempts: int
    response_code: int | None = strawberry.field(description="Of the last attempt; null where no answer came.")
    failure: str | None = strawberry.field(description="Why no answer came to the last attempt.")
    duration_ms: int | None
    created_at: datetime
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, record: endpoints.Delivery) -> WebhookDelivery:
        return cls(
            id=strawberry.ID(record.id),
            event=record.event,
            status=record.status,
            attempts=record.attempts,
            response_code=record.response_code,
            failure=record.failure,
            duration_ms=record.duration_ms,
            created_at=record.created_at,
            last_attempt_at=record.last_attempt_at,
            next_attempt_at=record.next_attempt_at,
        )


@strawberry.type(description="Where the viewer's events are posted, signed as Standard Webhooks are.")
class WebhookEndpoint:
    id: strawberry.ID
    url: str
    events: list[WebhookEvent]
    enabled: bool = strawberry.field(description="False once it was switched off, by its user or by days of failures.")
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, record: endpoints.Endpoint) -> WebhookEndpoint:
        return cls(
            id=strawberry.ID(record.id),
            url=record.url,
            events=list(record.events),
            enabled=record.enabled,
            failing_since=record.failing_since,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )

    @strawberry.field(description="Newest first.")
    async def deliveries(
        self, info: Info, first: int | None = None, after: str | None = None
    ) -> Connection[WebhookDelivery]:
        context = info.context
        scope = scope_of("WebhookEndpoint.deliveries", context.user_id, self.id)
        position = position_of(context.desk.cursors, scope, after)
        page = await context.store.endpoints.deliveries(self.id, page_size(first), position)
        return connect(page, WebhookDelivery.of, context.desk.cursors, scope, after)
