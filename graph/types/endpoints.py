"""Webhook endpoints of integrators, and what became of each delivery."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import endpoints
from domain.endpoints import DeliveryStatus, WebhookEvent
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info
from graph.enums import enum
from graph.sizes import at_most

enum(
    DeliveryStatus,
    "How far a delivery has come.",
    name="WebhookDeliveryStatus",
    PENDING="It is being tried: up to 11 times over 31 hours.",
    DELIVERED="An attempt was answered with a 2xx.",
    FAILED="The last attempt failed, or was answered with 410: replayWebhookDelivery tries it again.",
)
enum(
    WebhookEvent,
    "What an endpoint can be told of, each once. A message's `type` is the name with a dot, such as `agent.hired`, and "
    "its data are ids.",
    AGENT_HIRED="An agent of the user's was hired.",
    SESSION_STARTED="The user hired an agent.",
    SESSION_LOW="A hire of the user's has used nearly all that it holds.",
    SESSION_ENDED="A hire is over: one of the user's, or one of the user's agents.",
    WALLET_CREDITED="DOF came in: a purchase, another user's transfer, a refunded session, an admin's adjustment, or "
    "matured earnings (told once a day). What a settled session gives back is told by SESSION_ENDED.",
    WALLET_DEBITED="DOF went out: a purchase refunded or disputed, the user's own transfer, an admin's adjustment. "
    "Not for a hire, told by SESSION_STARTED, nor for a payout, told by its own events.",
    PURCHASE_FAILED="A purchase ended before it was credited.",
    PAYOUT_PAID="A payout is in the user's bank.",
    PAYOUT_FAILED="A payout came back: its DOF are in the wallet again.",
    REVIEW_ADDED="An agent of the user's was reviewed.",
    NOTIFICATION_RECEIVED="The user has a new notification in the app, of whatever kind, besides the event of its own.",
)


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
    events: list[WebhookEvent] = strawberry.field(metadata=at_most(len(WebhookEvent)))
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
