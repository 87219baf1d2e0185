"""Operations of privacy: what is held of a shop's customer, and forgetting them. No entry of the ledger changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from domain.orders import Order
from domain.privacy import REDACTED, Ask, PrivacyRequest
from firestore.backend import Backend, Filter, Query
from firestore.backend import Order as By
from firestore.collections import INBOX, ORDERS, OUTBOX
from firestore.commit import Commits, Tx
from firestore.paging import Page, Position, read_page
from firestore.rows import InboxRow

Clean = Callable[[InboxRow], bytes]
"""Gives a delivery's body without the person that it names."""

BATCH = 30  # documents found at a time, and Firestore's own bound on the values of an `in`
BATCHES_MAX = 50  # in one run of one search: 1,500 documents, some ten seconds; what is left is for the next run
HELD_MAX = 1_000  # orders, and deliveries, of one customer that an answer lists


@dataclass(frozen=True, slots=True)
class Held:
    """All that names a shop's customer here: orders, and the webhooks that told of them, while the inbox has them."""

    orders: tuple[Order, ...]
    deliveries: tuple[InboxRow, ...]


class Privacy:
    """Every method raises Unavailable when Firestore does not answer; what was done until then stays done."""

    def __init__(self, backend: Backend, commits: Commits) -> None:
        self._backend = backend
        self._commits = commits

    async def forget(self, request: PrivacyRequest, request_id: str, clean: Clean) -> bool:
        """Take the e-mails out of orders and out of recorded deliveries; False when there is more to do.

        A delivery goes before its order, so that what a broken run leaves is found by the next one. The request's own
        delivery stays: `conclude` empties it. Forgetting whom nobody knows, or twice, changes nothing.
        """
        if request.ask is Ask.FORGET_SHOP:
            return await self._forget_shop(request, request_id, clean)
        done = await self._clean_all((Filter("subject", "==", request.subject),), request_id, clean)
        listed = iter(request.order_ids)
        while batch := list(islice(listed, BATCH)):  # ends: the request's body is bounded
            done &= await self._forget_orders(batch, request_id, clean)
        if request.email is None:
            return done
        return done and await self._forget_found(_of_email(request, request.email), request_id, clean)

    async def forget_orders(self, order_ids: Sequence[str], clean: Clean) -> bool:
        """Take the e-mails out of these orders and of the deliveries about them; False when there is more to do."""
        done = True
        listed = iter(order_ids)
        while batch := list(islice(listed, BATCH)):  # ends: the caller's page does
            done &= await self._forget_orders(batch, "", clean)
        return done

    async def held(self, request: PrivacyRequest) -> Held:
        """What is held of the customer, the first thousand of each."""
        ids = dict.fromkeys(request.order_ids)
        if request.email is not None:
            query = Query(ORDERS.name, _of_email(request, request.email), limit=HELD_MAX)
            ids |= dict.fromkeys(each.id for each in await self._backend.query(query))
        orders: list[Order] = []
        deliveries: list[InboxRow] = []
        listed = iter(islice(ids, HELD_MAX))
        while batch := list(islice(listed, BATCH)):  # ends after a thousand
            found = await self._backend.get_many([ORDERS.at(each) for each in batch])
            orders += [ORDERS.decode(each) for each in found if each is not None]
            if left := HELD_MAX - len(deliveries):
                about = Query(INBOX.name, (Filter("subject", "in", batch),), limit=left)
                deliveries += [INBOX.decode(each) for each in await self._backend.query(about)]
        return Held(tuple(orders), tuple(deliveries))

    async def data_requests(self, first: int, after: Position | None) -> Page[InboxRow]:
        """The customers' requests for their data that the inbox has, in no meaningful order. One RPC."""
        filters = (Filter("outcome", "==", Ask.DATA.value), Filter("redacted", "==", False))
        return await read_page(self._backend, INBOX, Query(INBOX.name, filters), first, after)

    async def conclude(self, request_id: str, row_id: str) -> None:
        """Empty the request's own delivery, which names the person too, and finish its task. Two RPCs."""

        async def body(tx: Tx) -> None:
            await tx.read(INBOX.at(request_id), OUTBOX.at(row_id))
            delivery = tx.get(INBOX, request_id)
            if delivery is not None and not delivery.redacted:
                tx.put(INBOX, replace(delivery, body=b"", redacted=True))
            await tx.finish(row_id)

        await self._commits.run(body)

    async def _forget_shop(self, request: PrivacyRequest, request_id: str, clean: Clean) -> bool:
        source = Filter("source", "==", request.rail.value.lower())
        done = await self._clean_all((source, Filter("shop", "==", request.shop)), request_id, clean)
        ours = _of_shop(request)
        # There is no "not equal" that an index answers: what sorts before, and what sorts after.
        for op in ("<", ">"):
            done = done and await self._forget_found((*ours, Filter("email", op, REDACTED)), request_id, clean)
        return done

    async def _forget_found(self, filters: tuple[Filter, ...], request_id: str, clean: Clean) -> bool:
        """Forget the orders that match, which then match no more."""
        by = () if filters[-1].op == "==" else (By("email"),)
        for _ in range(BATCHES_MAX):
            found = await self._backend.query(Query(ORDERS.name, filters, by, BATCH, fields=("email",)))
            if not found:
                return True
            if not await self._forget_orders([each.id for each in found], request_id, clean):
                return False
        return False

    async def _forget_orders(self, order_ids: Sequence[str], request_id: str, clean: Clean) -> bool:
        if not await self._clean_all((Filter("subject", "in", list(order_ids)),), request_id, clean):
            return False
        found = await self._backend.get_many([ORDERS.at(each) for each in order_ids])
        for snapshot in found:
            if snapshot is not None and snapshot.data.get("email") != REDACTED:
                await self._forget_order(snapshot.id)
        return True

    async def _forget_order(self, order_id: str) -> None:
        async def body(tx: Tx) -> None:
            order = await tx.load(ORDERS, order_id)
            if order is not None and order.email != REDACTED:
                tx.put(ORDERS, replace(order, email=REDACTED))

        await self._commits.run(body, lane=order_id)

    async def _clean_all(self, filters: tuple[Filter, ...], request_id: str, clean: Clean) -> bool:
        """Clean the deliveries that match, which are then marked as clean."""
        query = Query(INBOX.name, (*filters, Filter("redacted", "==", False)), limit=BATCH, fields=("topic",))
        for _ in range(BATCHES_MAX):
            found = [each.id for each in await self._backend.query(query)]
            if not set(found) - {request_id}:
                return True
            for inbox_id in found:
                if inbox_id != request_id:
                    await self._clean(inbox_id, clean)
        return False

    async def _clean(self, inbox_id: str, clean: Clean) -> None:
        async def body(tx: Tx) -> None:
            delivery = await tx.load(INBOX, inbox_id)
            if delivery is not None and not delivery.redacted:
                tx.put(INBOX, replace(delivery, body=clean(delivery), redacted=True))

        await self._commits.run(body)


def _of_shop(request: PrivacyRequest) -> tuple[Filter, ...]:
    return Filter("rail", "==", request.rail.value), Filter("shop", "==", request.shop)


def _of_email(request: PrivacyRequest, email: str) -> tuple[Filter, ...]:
    return *_of_shop(request), Filter("email", "==", email)
