"""Webhook endpoints: made, changed and removed by their user."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain import endpoints
from domain.endpoints import SECRET_BYTES, EndpointChange, WebhookEvent
from domain.ids import Kind, random_id
from graph.context import Info
from graph.errors import Conflict, NotFound
from graph.types.endpoints import WebhookDelivery, WebhookEndpoint


@strawberry.input
class CreateWebhookEndpointInput:
    url: str
    events: list[WebhookEvent]


@strawberry.input(description="Fields that are absent stay.")
class UpdateWebhookEndpointInput:
    id: strawberry.ID
    url: str | None = None
    events: list[WebhookEvent] | None = None
    enabled: bool | None = None


@strawberry.input
class DeleteWebhookEndpointInput:
    id: strawberry.ID


@strawberry.input
class ReplayWebhookDeliveryInput:
    id: strawberry.ID


@strawberry.type
class CreateWebhookEndpointPayload:
    endpoint: WebhookEndpoint
    secret: str = strawberry.field(description="What verifies its messages. It is shown now and never again: keep it.")


@strawberry.type
class UpdateWebhookEndpointPayload:
    endpoint: WebhookEndpoint


@strawberry.type
class DeleteWebhookEndpointPayload:
    id: strawberry.ID


@strawberry.type
class ReplayWebhookDeliveryPayload:
    delivery: WebhookDelivery


CreateWebhookEndpointResult = Annotated[
    CreateWebhookEndpointPayload | Conflict, strawberry.union("CreateWebhookEndpointResult")
]
UpdateWebhookEndpointResult = Annotated[
    UpdateWebhookEndpointPayload | NotFound, strawberry.union("UpdateWebhookEndpointResult")
]
DeleteWebhookEndpointResult = Annotated[
    DeleteWebhookEndpointPayload | NotFound, strawberry.union("DeleteWebhookEndpointResult")
]
ReplayWebhookDeliveryResult = Annotated[
    ReplayWebhookDeliveryPayload | NotFound | Conflict, strawberry.union("ReplayWebhookDeliveryResult")
]


async def create_webhook_endpoint(info: Info, input: CreateWebhookEndpointInput) -> CreateWebhookEndpointResult:
    """Post the viewer's events to an https address, signed as Standard Webhooks has it. The secret is shown this once;
    a user has at most 5 endpoints.
    """
    context, desk = info.context, info.context.desk
    url = endpoints.require_url(input.url, loopback=desk.webhook_loopback)
    made_id, entropy = random_id(Kind.ENDPOINT, desk.new_id()), (desk.new_id() + desk.new_id())[:SECRET_BYTES]
    record = await context.store.endpoints.create(context.signed_in, made_id, url, input.events, entropy, context.now)
    return CreateWebhookEndpointPayload(endpoint=WebhookEndpoint.of(record), secret=record.secret)


async def update_webhook_endpoint(info: Info, input: UpdateWebhookEndpointInput) -> UpdateWebhookEndpointResult:
    """Change what is given of an endpoint. Switched on again, its failures are forgotten."""
    context = info.context
    loopback = context.desk.webhook_loopback
    url = None if input.url is None else endpoints.require_url(input.url, loopback=loopback)
    events = None if input.events is None else tuple(input.events)
    wish = EndpointChange(url, events, input.enabled)
    record = await context.store.endpoints.update(context.signed_in, input.id, wish, context.now)
    return UpdateWebhookEndpointPayload(endpoint=WebhookEndpoint.of(record))


async def delete_webhook_endpoint(info: Info, input: DeleteWebhookEndpointInput) -> DeleteWebhookEndpointResult:
    """Delete an endpoint; what was to be posted to it is given up."""
    await info.context.store.endpoints.delete(info.context.signed_in, input.id)
    return DeleteWebhookEndpointPayload(id=input.id)


async def replay_webhook_delivery(info: Info, input: ReplayWebhookDeliveryInput) -> ReplayWebhookDeliveryResult:
    """Post a delivery again, under the same `webhook-id`. CONFLICT while it is still being tried."""
    context = info.context
    record = await context.store.endpoints.replay(context.signed_in, input.id, context.now)
    return ReplayWebhookDeliveryPayload(delivery=WebhookDelivery.of(record))
