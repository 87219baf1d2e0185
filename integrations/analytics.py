"""Google Analytics 4, told by the Measurement Protocol of what happened in the store, and of nobody in particular.

What leaves is a list: the names and parameters below, whole numbers and words of our own. Who it was is a hash under
a key that stays here; no text that anybody wrote, no address and no id of the store is among it.
developers.google.com/analytics/devguides/collection/protocol/ga4/reference
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

import httpx
import msgspec

from domain.analytics import Entered, Fact, Settled, SignedUp, Started, is_purchase
from domain.errors import Unavailable
from domain.ledger import EntryKind

SITE = "https://www.google-analytics.com"
DEADLINE_SECONDS = 5.0  # of one request: nobody waits for it but the round
EVENTS_MAX = 25  # in one request, all of one client: Google's bound
BACKDATED_MAX = timedelta(hours=71)  # Google takes moments of the last 72 hours


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one pseudonymous client. `params` are whole numbers, and words of our own enumerations."""

    client_id: str
    name: str
    at: datetime
    params: Mapping[str, int | str]


class Ga4:
    """The analytics gateway over GA4 (services.AnalyticsGateway). `key` is 16 bytes or more, and never leaves."""

    def __init__(self, measurement_id: str, api_secret: str, *, key: bytes, site: str = SITE) -> None:
        self._target = f"{site}/mp/collect?{urlencode({'measurement_id': measurement_id, 'api_secret': api_secret})}"
        self._key = hmac.digest(key, b"ga4 client ids", "sha256")

    async def tell(self, facts: Sequence[Fact], now: datetime) -> None:
        """Send what the facts are as events; one that is older than three days is left out. Raises Unavailable.

        Google answers 204 to whatever it gets, and forgets what it cannot read: it is told once, and not asked.
        """
        by_client: dict[str, list[Event]] = defaultdict(list)
        for fact in facts:
            event = self.event_of(fact)
            if event is not None and now - event.at <= BACKDATED_MAX:
                by_client[event.client_id].append(event)
        if not by_client:
            return
        # The secret is part of the address, and a client logs addresses: below it nothing does.
        async with httpx.AsyncHTTPTransport(retries=1) as transport:
            for client_id, events in by_client.items():
                for start in range(0, len(events), EVENTS_MAX):
                    await self._send(transport, client_id, events[start : start + EVENTS_MAX])

    def event_of(self, fact: Fact) -> Event | None:
        """The event that a fact is; None for what concerns nobody outside."""
        match fact:
            case SignedUp(user_id, at):
                return Event(self.pseudonym(user_id), "sign_up", at, {})
            case Started(session):
                kind = {"session_type": session.type.value, "minutes": session.total_minutes, "dof": session.held.units}
                return Event(self.pseudonym(session.hirer_id), "session_begin", fact.at, kind)
            case Settled(session) if session.settlement is not None:
                ended = session.settlement
                used: dict[str, int | str] = {"session_type": session.type.value, "end_reason": ended.reason.value}
                used |= {"minutes": ended.minutes, "dof": ended.consumed.units}
                return Event(self.pseudonym(session.hirer_id), "session_settled", fact.at, used)
            case Entered(entry) if entry.kind in _ENTRIES:
                dof = sum(posting.amount.units for posting in entry.postings)
                paid: dict[str, int | str] = {"dof": dof}
                if is_purchase(entry):  # by which Google counts one once, if it is told twice
                    paid["transaction_id"] = self.pseudonym(entry.id)
                return Event(self.pseudonym(entry.user_ids[0]), _ENTRIES[entry.kind], fact.at, paid)
        return None

    def pseudonym(self, id_: str) -> str:
        """What stands for an id: the same one always, and nobody without the key finds the way back."""
        digest = hmac.digest(self._key, id_.encode(), hashlib.sha256)
        return f"{int.from_bytes(digest[:4], 'big')}.{int.from_bytes(digest[4:8], 'big')}"  # as Google's own look

    async def _send(self, transport: httpx.AsyncHTTPTransport, client_id: str, events: Sequence[Event]) -> None:
        told = {
            "client_id": client_id,
            "consent": {"ad_user_data": "DENIED", "ad_personalization": "DENIED"},
            "events": [
                {
                    "name": event.name,
                    "timestamp_micros": int(event.at.timestamp()) * 1_000_000 + event.at.microsecond,
                    "params": dict(event.params),
                }
                for event in events
            ],
        }
        steps = dict.fromkeys(("connect", "read", "write", "pool"), DEADLINE_SECONDS)
        request = httpx.Request(
            "POST", self._target, headers={"Content-Type": "application/json"}, content=msgspec.json.encode(told)
        )
        request.extensions["timeout"] = steps
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                answer = await transport.handle_async_request(request)
                await answer.aclose()
        except (TimeoutError, httpx.HTTPError) as fault:
            raise Unavailable(f"Google Analytics does not answer: {type(fault).__name__}.") from None
        if answer.status_code >= 300:
            raise Unavailable(f"Google Analytics answered {answer.status_code}.")


_ENTRIES = {
    EntryKind.PURCHASE: "purchase",
    EntryKind.RECLAIM: "refund",
    EntryKind.PAYOUT_PAID: "payout",
}
