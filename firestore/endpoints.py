"""Operations of webhook endpoints: made and changed by their user, posted to by a task, switched off when they fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from domain import endpoints
from domain.endpoints import Attempt, Delivery, DeliveryStatus, Endpoint, EndpointChange, WebhookEvent
from domain.errors import NotFound
from domain.ids import Kind, is_id
from domain.notifications import NotificationBox
from domain.policy import Policy
from domain.users import NotificationKind, require_active
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import DELIVERIES, ENDPOINTS, NOTIFICATION_BOXES, OUTBOX, USERS
from firestore.commit import Commits, Tx
from firestore.notifications import notice, posting
from firestore.paging import Page, Position, read_page


class Endpoints:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing.

    A user's box names the endpoints, so that a fact is told without a search for who wants to hear of it.
    """

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def create(
        self,
        user_id: str,
        endpoint_id: str,
        url: str,
        events: Sequence[WebhookEvent],
        entropy: bytes,
        now: datetime,
    ) -> Endpoint:
        """A new endpoint, with the secret that it is told once. Two RPCs, two writes.

        Raises Conflict beyond five, Forbidden while suspended, BadInput.
        """

        async def body(tx: Tx) -> Endpoint:
            await tx.read(ENDPOINTS.at(endpoint_id), NOTIFICATION_BOXES.at(user_id), USERS.at(user_id))
            known = tx.get(ENDPOINTS, endpoint_id)
            if known is not None:  # our own commit, whose reply was lost
                return known
            require_active(tx.get(USERS, user_id))
            box = tx.get(NOTIFICATION_BOXES, user_id) or NotificationBox(user_id)
            endpoints.require_room(len(box.endpoint_ids))
            made = endpoints.create(endpoint_id, user_id, url, events, entropy, now)
            tx.create(ENDPOINTS, made)
            tx.put(NOTIFICATION_BOXES, replace(box, endpoint_ids=(*box.endpoint_ids, endpoint_id)))
            return made

        return await self._commits.run(body)

    async def update(self, user_id: str, endpoint_id: str, wish: EndpointChange, now: datetime) -> Endpoint:
        """Change one's own endpoint. Two RPCs, at most one write. Raises NotFound, BadInput."""
        _require_id(endpoint_id)

        async def body(tx: Tx) -> Endpoint:
            before = endpoints.require_owned(await tx.load(ENDPOINTS, endpoint_id), user_id)
            after = endpoints.change(before, wish, now)
            if after != before:
                tx.put(ENDPOINTS, after)
            return after

        return await self._commits.run(body)

    async def delete(self, user_id: str, endpoint_id: str) -> None:
        """Remove one's own endpoint; what was to be posted to it is given up. Two RPCs. Raises NotFound."""
        _require_id(endpoint_id)

        async def body(tx: Tx) -> None:
            await tx.read(ENDPOINTS.at(endpoint_id), NOTIFICATION_BOXES.at(user_id))
            endpoints.require_owned(tx.get(ENDPOINTS, endpoint_id), user_id)
            box = tx.get(NOTIFICATION_BOXES, user_id) or NotificationBox(user_id)
            left = tuple(each for each in box.endpoint_ids if each != endpoint_id)
            tx.delete(ENDPOINTS, endpoint_id)
            tx.put(NOTIFICATION_BOXES, replace(box, endpoint_ids=left))

        await self._commits.run(body)

    async def of_user(self, user_id: str) -> list[Endpoint]:
        """A user's endpoints in the order of their making. Two RPCs, one where there are none."""
        (found,) = await self._backend.get_many([NOTIFICATION_BOXES.at(user_id)])
        ids = NOTIFICATION_BOXES.decode(found).endpoint_ids if found is not None else ()
        kept = await self._backend.get_many([ENDPOINTS.at(each) for each in ids])
        return [ENDPOINTS.decode(each) for each in kept if each is not None]

    async def deliveries(self, endpoint_id: str, first: int, after: Position | None) -> Page[Delivery]:
        """What an endpoint was told, newest first, for 30 days. One RPC. Whose it is was asked before."""
        filters = (Filter("endpoint_id", "==", endpoint_id),)
        query = Query(DELIVERIES.name, filters, (Order("created_at", descending=True),))
        return await read_page(self._backend, DELIVERIES, query, first, after)

    async def delivery(self, delivery_id: str, endpoint_id: str) -> tuple[Delivery, Endpoint | None] | None:
        """A delivery and where it goes, for the task that posts it. One RPC."""
        found = await self._backend.get_many([DELIVERIES.at(delivery_id), ENDPOINTS.at(endpoint_id)])
        if found[0] is None:
            return None
        return DELIVERIES.decode(found[0]), None if found[1] is None else ENDPOINTS.decode(found[1])

    async def note_attempt(self, seen: Delivery, attempt: Attempt, row_id: str) -> datetime | None:
        """Note what came of posting, and when to post again, if at all. Two RPCs.

        Of two that posted at one time the first is noted. An endpoint is written only where its failing begins, ends,
        or has lasted: then it is switched off, and its user told.
        """

        async def body(tx: Tx) -> datetime | None:
            await tx.read(DELIVERIES.at(seen.id), ENDPOINTS.at(seen.endpoint_id), OUTBOX.at(row_id))
            delivery, endpoint = tx.get(DELIVERIES, seen.id), tx.get(ENDPOINTS, seen.endpoint_id)
            if delivery is None or (delivery.attempts, delivery.round) != (seen.attempts, seen.round):
                return None if delivery is None else delivery.next_attempt_at
            after = endpoints.attempted(delivery, attempt)
            tx.put(DELIVERIES, after)
            if endpoint is not None:
                self._judge(tx, endpoint, attempt)
            if after.next_attempt_at is None:
                await tx.finish(row_id)
            else:
                await tx.postpone(row_id, after.next_attempt_at)
            return after.next_attempt_at

        return await self._commits.run(body)

    async def give_up(self, seen: Delivery, why: str, row_id: str) -> None:
        """Note that a delivery has nowhere to go any more. Two RPCs."""

        async def body(tx: Tx) -> None:
            await tx.read(DELIVERIES.at(seen.id), OUTBOX.at(row_id))
            delivery = tx.get(DELIVERIES, seen.id)
            if delivery is not None and delivery.status is DeliveryStatus.PENDING:
                over = replace(delivery, status=DeliveryStatus.FAILED, next_attempt_at=None, failure=why)
                tx.put(DELIVERIES, over)
            await tx.finish(row_id)

        await self._commits.run(body)

    async def replay(self, user_id: str, delivery_id: str, now: datetime) -> Delivery:
        """Post a delivery again that has ended, well or not. Two RPCs. Raises NotFound, Conflict."""
        if not is_id(delivery_id, Kind.DELIVERY):
            raise NotFound("webhook delivery")

        async def body(tx: Tx) -> Delivery:
            before = await tx.load(DELIVERIES, delivery_id)
            if before is None or before.user_id != user_id:
                raise NotFound("webhook delivery")
            if before.status is DeliveryStatus.PENDING and before.round and before.next_attempt_at == now:
                return before  # our own commit, whose reply was lost
            again = endpoints.replayed(before, now)
            tx.put(DELIVERIES, again)
            tx.tell(posting(again, now, self._policy.event_retention))
            return again

        return await self._commits.run(body)

    def _judge(self, tx: Tx, endpoint: Endpoint, attempt: Attempt) -> None:
        after = endpoints.judged(endpoint, attempt)
        if after == endpoint:
            return
        tx.put(ENDPOINTS, after)
        if endpoint.enabled and not after.enabled:
            fact = ("endpoint_disabled", endpoint.id, after.version)
            args = {"host": endpoints.host_of(endpoint.url)}
            retention = self._policy.event_retention
            tx.tell(notice(NotificationKind.ACCOUNT, endpoint.user_id, fact, attempt.at, retention, args))


def _require_id(endpoint_id: str) -> None:
    if not is_id(endpoint_id, Kind.ENDPOINT):
        raise NotFound("webhook endpoint")
