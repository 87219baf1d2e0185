"""Webhook endpoints: a user's own, few, tried for a day and more, switched off after days of failing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio

from domain.endpoints import Attempt, Delivery, DeliveryStatus, Endpoint, EndpointChange, WebhookEvent
from domain.errors import BadInput, Conflict, Forbidden, NotFound
from domain.ids import Kind, derived_id
from firestore.backend import Backend
from firestore.collections import DELIVERIES, ENDPOINTS, OUTBOX, USERS
from firestore.memory import MemoryBackend
from firestore.notifications import posting, read_notes
from firestore.rows import OutboxRow, RowState
from tests import make
from tests.make import MINUTE, NOW, SECOND, World, user_id

ADA, EVE = user_id("ada"), user_id("eve")
DAY = timedelta(days=1)
URL = "https://ada.example/hooks"
HIRED = (WebhookEvent.AGENT_HIRED,)


@pytest_asyncio.fixture
async def world(backend: Backend) -> AsyncIterator[World]:
    made = World(backend, rehearse=isinstance(backend, MemoryBackend))
    await made.open("eve")
    yield made


async def create(world: World, name: str = "one", user: str = ADA) -> Endpoint:
    endpoint_id = derived_id(Kind.ENDPOINT, name)
    return await world.store.endpoints.create(user, endpoint_id, URL, HIRED, bytes(32), NOW)


async def deliver(world: World, endpoint: Endpoint, name: str = "one") -> tuple[Delivery, OutboxRow]:
    """A delivery that waits for its first attempt."""
    made = Delivery(
        derived_id(Kind.DELIVERY, name), endpoint.id, endpoint.user_id, HIRED[0], {}, NOW, NOW + 30 * DAY,
        next_attempt_at=NOW,
    )  # fmt: skip
    row = posting(made, NOW, DAY)
    await world.put(DELIVERIES, made)
    await world.put(OUTBOX, row)
    return made, row


async def test_a_user_has_a_few(world: World) -> None:
    made = [await create(world, str(number)) for number in range(5)]
    assert await create(world, "0") == made[0]  # our own commit, whose reply was lost
    async with world.refuses(Conflict):
        await create(world, "6")
    assert await world.store.endpoints.of_user(ADA) == made
    assert await world.store.endpoints.of_user(EVE) == []
    assert made[0].secret == "whsec_" + "A" * 43 + "="
    await world.store.endpoints.delete(ADA, made[2].id)
    assert [each.id for each in await world.store.endpoints.of_user(ADA)] == [
        each.id for each in made if each != made[2]
    ]
    assert len(await world.all(ENDPOINTS)) == 4


async def test_what_is_refused_changes_nothing(world: World) -> None:
    made = await create(world)
    async with world.refuses(NotFound):
        await world.store.endpoints.update(EVE, made.id, EndpointChange(enabled=False), NOW)
    async with world.refuses(NotFound):
        await world.store.endpoints.delete(EVE, made.id)
    async with world.refuses(NotFound):
        await world.store.endpoints.delete(ADA, "end_nothing")
    async with world.refuses(BadInput):
        await world.store.endpoints.update(ADA, made.id, EndpointChange(events=()), NOW)
    await world.put(USERS, make.user("ada", suspended_at=NOW))
    async with world.refuses(Forbidden):
        await create(world, "two")


async def test_attempts_until_it_is_taken(world: World) -> None:
    made = await create(world)
    delivery, row = await deliver(world, made)
    store = world.store.endpoints
    first = await store.note_attempt(delivery, Attempt(NOW, 9, 503), row.id)
    assert first == NOW + 5 * SECOND
    kept = await world.get(OUTBOX, row.id)
    assert (kept.state, kept.not_before, kept.due_at) == (RowState.PENDING, first, first + 20 * SECOND)
    assert (await world.get(ENDPOINTS, made.id)).failing_since == NOW
    # Another process that posted at the same time is too late to be noted.
    assert await store.note_attempt(delivery, Attempt(NOW, 9, 200), row.id) == first
    second, _ = await store.delivery(delivery.id, made.id) or (delivery, None)
    assert (second.attempts, second.response_code, second.status) == (1, 503, DeliveryStatus.PENDING)
    assert await store.note_attempt(second, Attempt(NOW + MINUTE, 4, 204), row.id) is None
    done = await world.get(DELIVERIES, delivery.id)
    assert (done.status, done.attempts, done.duration_ms) == (DeliveryStatus.DELIVERED, 2, 4)
    assert (await world.get(OUTBOX, row.id)).state is RowState.DONE
    assert await world.get(ENDPOINTS, made.id) == made
    page = await store.deliveries(made.id, 5, None)
    assert page.nodes == (done,)


async def test_days_of_failures_switch_it_off_and_tell_its_user(world: World) -> None:
    made = await create(world)
    delivery, row = await deliver(world, made)
    await world.store.endpoints.note_attempt(delivery, Attempt(NOW, 9, 500), row.id)
    other, other_row = await deliver(world, made, "two")
    late = Attempt(NOW + 5 * DAY, 9, failure="no answer within 3 s")
    await world.store.endpoints.note_attempt(other, late, other_row.id)
    off = await world.get(ENDPOINTS, made.id)
    assert (off.enabled, off.failing_since) == (False, NOW)
    (told,) = read_notes(world.rows[-1].args)
    assert (told.user_id, told.text, told.args) == (ADA, "endpoint_disabled", {"host": "ada.example"})
    waiting, _ = await world.store.endpoints.delivery(delivery.id, made.id) or (delivery, None)
    await world.store.endpoints.give_up(waiting, "the endpoint is switched off", row.id)
    given_up = await world.get(DELIVERIES, delivery.id)
    assert (given_up.status, given_up.failure) == (DeliveryStatus.FAILED, "the endpoint is switched off")
    on = await world.store.endpoints.update(ADA, made.id, EndpointChange(enabled=True), NOW + 6 * DAY)
    assert (on.enabled, on.failing_since) == (True, None)


async def test_a_replay_is_a_new_round_of_the_same_message(world: World) -> None:
    made = await create(world)
    delivery, row = await deliver(world, made)
    async with world.refuses(Conflict):
        await world.store.endpoints.replay(ADA, delivery.id, NOW)
    await world.store.endpoints.note_attempt(delivery, Attempt(NOW, 9, 200), row.id)
    async with world.refuses(NotFound):
        await world.store.endpoints.replay(EVE, delivery.id, NOW)
    again = await world.store.endpoints.replay(ADA, delivery.id, NOW + MINUTE)
    assert (again.id, again.round, again.status) == (delivery.id, 1, DeliveryStatus.PENDING)
    assert await world.store.endpoints.replay(ADA, delivery.id, NOW + MINUTE) == again
    assert world.rows[-1].id != row.id
    assert world.rows[-1].args == {"delivery_id": delivery.id, "endpoint_id": made.id}
