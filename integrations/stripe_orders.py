"""Stripe's own books, for reconciliation: what its webhooks should have told, read back from its API."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from domain.errors import Unavailable
from domain.orders import OrderFacts
from integrations.payloads import Malformed
from integrations.stripe import PAGE_DEADLINE_SECONDS, RateLimited, Refused, StripeApi, unavailable
from integrations.stripe_events import (
    ORDER_TYPES,
    SHOP,
    event_of,
    read_dead_session,
    read_dispute,
    read_refund,
    read_session,
)

if TYPE_CHECKING:
    import stripe

log = structlog.get_logger(__name__)

EVENTS_KEPT = timedelta(days=29)  # Stripe keeps events for 30 days; a day of it is left for clocks and long runs
EVENTS_SLICE = timedelta(hours=6)
OBJECTS_SLICE = timedelta(days=1)
PAGE = 100  # the most that Stripe gives at once
PAGES_MAX = 200  # 20,000 things in one slice, some 100 MB: a busier store makes the slices shorter
TRIES_MAX = 6  # with the waits between them, about a minute
WAIT_SECONDS_MAX = 30.0

_List = Callable[[Any], Awaitable["stripe.StripeObject"]]
_Read = Callable[[Mapping[str, object]], OrderFacts | None]


class StripeOrders:
    """The order source over Stripe (services.OrderSource).

    A window that begins within 29 days is read from Stripe's events, so it tells exactly what the webhooks should have
    told. An older one is read from its Checkout Sessions, refunds and disputes that were made in it, as they stand now.
    Stripe lists the newest first; oldest first, as promised, is done slice by slice of the window.
    """

    def __init__(
        self,
        api: StripeApi,
        *,
        clock: Callable[[], datetime],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._clock = clock
        self._pause = pause

    async def orders(self, since: datetime, until: datetime) -> AsyncIterator[OrderFacts]:
        """What happened in the window, oldest first. Raises Unavailable.

        A thing that cannot be read is logged and left out: the rest of the books must not wait for it.
        """
        recent = self._clock() - since < EVENTS_KEPT
        for start, end in _slices(since, until, EVENTS_SLICE if recent else OBJECTS_SLICE):
            told = await self._events(start, end) if recent else await self._objects(start, end)
            for facts in told:
                yield facts

    async def _events(self, start: int, end: int) -> list[OrderFacts]:
        """The facts of one slice of events."""
        listed = await self._listed(self._api.v1.events.list_async, start, end, {"types": list(ORDER_TYPES)})
        return [facts for event in reversed(listed) if (facts := self._read(event, self._event)) is not None]

    async def _objects(self, start: int, end: int) -> list[OrderFacts]:
        """The facts of what was made in one slice. Each kind by itself: their order does not matter to an order."""
        kinds: tuple[tuple[_List, _Read], ...] = (
            (self._api.v1.checkout.sessions.list_async, self._session),
            (self._api.v1.refunds.list_async, lambda told: read_refund(told, SHOP, self._api.is_test)),
            (self._api.v1.disputes.list_async, lambda told: read_dispute(told, SHOP, self._api.is_test)),
        )
        found = []
        for list_them, read in kinds:
            for each in await self._listed(list_them, start, end, {}):
                facts = self._read(each, read)
                if facts is not None:
                    found.append((each.get("created"), facts))
        return [facts for _, facts in sorted(found, key=lambda both: both[0] if type(both[0]) is int else start)]

    def _event(self, event: Mapping[str, object]) -> OrderFacts | None:
        told = event_of(event, shop=SHOP).told
        return told if isinstance(told, OrderFacts) and told.reports else None

    def _session(self, session: Mapping[str, object]) -> OrderFacts | None:
        expired = session.get("status") == "expired"
        facts = (read_dead_session if expired else read_session)(session, SHOP, self._api.is_test)
        return facts if facts.reports else None

    def _read(self, told: Mapping[str, object], read: _Read) -> OrderFacts | None:
        try:
            return read(told)
        except Malformed as why:
            log.warning("stripe's books hold what cannot be read", id=str(told.get("id"))[:80], why=str(why)[:200])
            return None

    async def _listed(
        self, list_them: _List, start: int, end: int, more: Mapping[str, object]
    ) -> list[dict[str, object]]:
        """All that was created in `start <= second < end`, newest first."""
        found: list[dict[str, object]] = []
        params: dict[str, object] = {"created": {"gte": start, "lt": end}, "limit": PAGE, **more}
        for _ in range(PAGES_MAX):
            page = await self._page(list_them, params)
            data = page.get("data")
            if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
                raise unavailable("a list that cannot be read")
            found += data
            if page.get("has_more") is not True or not data:
                return found
            params = {**params, "starting_after": data[-1].get("id")}
        raise unavailable(f"it lists more than {PAGE * PAGES_MAX} things between {start} and {end}")

    async def _page(self, list_them: _List, params: dict[str, object]) -> dict[str, object]:
        """One page; Stripe's rate limit, and what may pass, is waited for (T-F08)."""
        for tried in range(TRIES_MAX):
            wait_seconds = float(2**tried)
            try:
                return await self._api.ask(list_them(params), deadline_seconds=PAGE_DEADLINE_SECONDS)
            except RateLimited as limit:
                wait_seconds = limit.retry_after_seconds or wait_seconds
            except Refused as refused:
                raise unavailable(f"it refuses its list, {refused.code}") from None
            except Unavailable:
                if tried == TRIES_MAX - 1:
                    raise
            await self._pause(min(wait_seconds, WAIT_SECONDS_MAX))
        raise unavailable("it takes no more calls for now")

    async def close(self) -> None:
        await self._api.close()


def _slices(since: datetime, until: datetime, length: timedelta) -> Iterator[tuple[int, int]]:
    """Whole seconds, `start <= second < end`, that together make the window."""
    start, end, step = math.floor(since.timestamp()), math.ceil(until.timestamp()), int(length.total_seconds())
    for begin in range(start, end, step):
        yield begin, min(begin + step, end)
