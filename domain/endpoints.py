"""Webhook endpoints of integrators: what their users' agents, wallets and sessions do, posted and signed.

The form is Standard Webhooks' (github.com/standard-webhooks): its libraries verify what we send.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

from domain.errors import BadInput, Conflict, NotFound
from domain.ids import Kind, derived_id
from domain.notifications import Note

ENDPOINTS_MAX = 5  # of one user: production, staging and a developer or two
URL_CHARACTERS_MAX = 1_000
SECRET_BYTES = 32  # Standard Webhooks: 24 to 64
DELIVERIES_KEPT = timedelta(days=30)
DISABLED_AFTER = timedelta(days=5)  # of failing with no success between
GONE = 410  # Standard Webhooks: the receiver wants no more
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=20),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=6),
    timedelta(hours=8),
    timedelta(hours=10),
)
"""Between the attempts: eleven in all, over 31 hours, so that a receiver may be down for a day and miss nothing."""


class WebhookEvent(StrEnum):
    """What an endpoint can be told. Its `type` on the wire has a dot: `agent.hired`."""

    AGENT_HIRED = "AGENT_HIRED"
    SESSION_STARTED = "SESSION_STARTED"
    SESSION_LOW = "SESSION_LOW"
    SESSION_ENDED = "SESSION_ENDED"
    WALLET_CREDITED = "WALLET_CREDITED"
    WALLET_DEBITED = "WALLET_DEBITED"
    PURCHASE_FAILED = "PURCHASE_FAILED"
    PAYOUT_PAID = "PAYOUT_PAID"
    PAYOUT_FAILED = "PAYOUT_FAILED"
    REVIEW_ADDED = "REVIEW_ADDED"
    NOTIFICATION_RECEIVED = "NOTIFICATION_RECEIVED"

    @property
    def wire(self) -> str:
        return self.value.lower().replace("_", ".", 1)


OF_NOTES: Mapping[str, WebhookEvent] = {
    "hired": WebhookEvent.AGENT_HIRED,
    "session_started": WebhookEvent.SESSION_STARTED,
    "session_low": WebhookEvent.SESSION_LOW,
    "session_ended": WebhookEvent.SESSION_ENDED,
    "hire_ended": WebhookEvent.SESSION_ENDED,
    "dof_credited": WebhookEvent.WALLET_CREDITED,
    "dof_received": WebhookEvent.WALLET_CREDITED,
    "session_refunded": WebhookEvent.WALLET_CREDITED,
    "earnings_matured": WebhookEvent.WALLET_CREDITED,
    "adjustment_credited": WebhookEvent.WALLET_CREDITED,
    "adjustment_debited": WebhookEvent.WALLET_DEBITED,
    "dof_sent": WebhookEvent.WALLET_DEBITED,
    "purchase_restored": WebhookEvent.WALLET_CREDITED,
    "purchase_reversed": WebhookEvent.WALLET_DEBITED,
    "purchase_cancelled": WebhookEvent.PURCHASE_FAILED,
    "purchase_refunded": WebhookEvent.PURCHASE_FAILED,
    "purchase_rejected": WebhookEvent.PURCHASE_FAILED,
    "payment_failed": WebhookEvent.PURCHASE_FAILED,
    "checkout_expired": WebhookEvent.PURCHASE_FAILED,
    "payout_paid": WebhookEvent.PAYOUT_PAID,
    "payout_failed": WebhookEvent.PAYOUT_FAILED,
    "review_received": WebhookEvent.REVIEW_ADDED,
}
"""Which of a user's notes are events of their own; each notification is one besides."""


class DeliveryStatus(StrEnum):
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a user's events are posted. `failing_since` is the first failure that no success has followed."""

    id: str
    user_id: str
    url: str
    events: tuple[WebhookEvent, ...]
    secret: str
    created_at: datetime
    updated_at: datetime
    enabled: bool = True
    failing_since: datetime | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint, and what became of it. `data` holds ids alone; `round` counts the replays."""

    id: str
    endpoint_id: str
    user_id: str
    event: WebhookEvent
    data: Mapping[str, str]
    created_at: datetime
    expires_at: datetime
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    round: int = 0
    next_attempt_at: datetime | None = None
    last_attempt_at: datetime | None = None
    response_code: int | None = None
    duration_ms: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of posting once: the answer's status code, or why there was none."""

    at: datetime
    duration_ms: int
    response_code: int | None = None
    failure: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.response_code is not None and 200 <= self.response_code < 300


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """What to change of an endpoint; None leaves it as it is."""

    url: str | None = None
    events: tuple[WebhookEvent, ...] | None = None
    enabled: bool | None = None


def require_room(count: int) -> None:
    """Raises Conflict for a user who has as many endpoints as one may have."""
    if count >= ENDPOINTS_MAX:
        raise Conflict(f"You have {ENDPOINTS_MAX} endpoints, the most there are: delete one first.")


def create(
    endpoint_id: str, user_id: str, url: str, events: Sequence[WebhookEvent], entropy: bytes, now: datetime
) -> Endpoint:
    """A new endpoint; the url was checked. `entropy` is at least 32 random bytes. Raises BadInput."""
    assert len(entropy) >= SECRET_BYTES, "a secret needs its bytes"
    secret = "whsec_" + base64.b64encode(entropy[:SECRET_BYTES]).decode()
    return Endpoint(endpoint_id, user_id, url, _some(events), secret, now, now)


def change(endpoint: Endpoint, wish: EndpointChange, now: datetime) -> Endpoint:
    """The same endpoint where nothing changes. One that is switched on again has a clean slate. Raises BadInput."""
    after = replace(
        endpoint,
        url=endpoint.url if wish.url is None else wish.url,
        events=endpoint.events if wish.events is None else _some(wish.events),
        enabled=endpoint.enabled if wish.enabled is None else wish.enabled,
    )
    if after.enabled and not endpoint.enabled:
        after = replace(after, failing_since=None)
    return endpoint if after == endpoint else replace(after, version=endpoint.version + 1, updated_at=now)


def require_owned(endpoint: Endpoint | None, user_id: str) -> Endpoint:
    """Raises NotFound for everybody else's."""
    if endpoint is None or endpoint.user_id != user_id:
        raise NotFound("webhook endpoint")
    return endpoint


def require_url(raw: str, *, loopback: bool) -> str:
    """An https address on port 443 with a host's name, no sign-in, no fragment; where it leads is checked again with
    every post. With `loopback` also http to this machine, at any port. Raises BadInput (T-P07)."""
    try:
        if len(raw) > URL_CHARACTERS_MAX or not raw.isascii() or not raw.isprintable() or set(raw) & set(" \\"):
            raise ValueError("its characters")
        parts = urlsplit(raw)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _bad_url() from None
    if "@" in parts.netloc or parts.fragment:
        raise _bad_url()
    if loopback and is_loopback(host) and parts.scheme in {"http", "https"}:
        return raw
    if parts.scheme != "https" or port not in {None, 443} or not _is_name(host):
        raise _bad_url()
    return raw


def is_loopback(host: str) -> bool:
    """Whether a host is written as this machine."""
    return host in {"localhost", "127.0.0.1", "::1"}


def deliveries(note: Note, endpoints: Sequence[Endpoint], told: bool, now: datetime) -> list[Delivery]:
    """What the endpoints are to be told of a note; `told` says that it became a notification in the app."""
    about = {_camel(name): value for name, value in note.args.items() if name.endswith("_id")}
    facts: list[tuple[WebhookEvent, dict[str, str]]] = []
    if note.text in OF_NOTES:
        facts.append((OF_NOTES[note.text], about))
    if told:
        facts.append((WebhookEvent.NOTIFICATION_RECEIVED, {"notificationId": note.id}))
    return [
        Delivery(
            id=derived_id(Kind.DELIVERY, endpoint.id, note.id, event),
            endpoint_id=endpoint.id,
            user_id=endpoint.user_id,
            event=event,
            data=data,
            created_at=now,
            expires_at=now + DELIVERIES_KEPT,
            next_attempt_at=now,
        )
        for endpoint in endpoints
        for event, data in facts
        if endpoint.enabled and event in endpoint.events
    ]


def body(delivery: Delivery) -> bytes:
    """What is posted: the event's type, its moment, and ids; the same bytes at every attempt."""
    told = {"type": delivery.event.wire, "timestamp": delivery.created_at.isoformat(), "data": dict(delivery.data)}
    return json.dumps(told, separators=(",", ":"), sort_keys=True).encode()


def signed(secret: str, message_id: str, content: bytes, now: datetime) -> dict[str, str]:
    """The headers by which the receiver knows that it is us, that it is whole, and when it was sent."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    stamp = str(int(now.timestamp()))
    mac = hmac.digest(key, b".".join((message_id.encode(), stamp.encode(), content)), hashlib.sha256)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


def attempted(delivery: Delivery, attempt: Attempt) -> Delivery:
    """The delivery after an attempt. Whatever is no success is tried again, a 4xx too: a receiver in the middle of its
    own deploy answers 404 for a minute, and only 410 says that it will never want it."""
    attempts = delivery.attempts + 1
    last = attempt.response_code == GONE or attempts > len(PAUSES)
    pending = None if attempt.succeeded or last else attempt.at + PAUSES[attempts - 1]
    status = DeliveryStatus.PENDING if pending else DeliveryStatus.FAILED
    return replace(
        delivery,
        attempts=attempts,
        status=DeliveryStatus.DELIVERED if attempt.succeeded else status,
        next_attempt_at=pending,
        last_attempt_at=attempt.at,
        response_code=attempt.response_code,
        duration_ms=attempt.duration_ms,
        failure=attempt.failure,
    )


def judged(endpoint: Endpoint, attempt: Attempt) -> Endpoint:
    """The endpoint after an attempt: the same but where a failure begins, ends, or has lasted for days."""
    if attempt.succeeded:
        return endpoint if endpoint.failing_since is None else replace(endpoint, failing_since=None)
    since = endpoint.failing_since or attempt.at
    if attempt.response_code == GONE or attempt.at - since >= DISABLED_AFTER:
        version = endpoint.version + 1
        return replace(endpoint, enabled=False, failing_since=since, updated_at=attempt.at, version=version)
    return replace(endpoint, failing_since=since)


def replayed(delivery: Delivery, now: datetime) -> Delivery:
    """The delivery to be tried from the start, under the same message id. Raises Conflict while it is pending."""
    if delivery.status is DeliveryStatus.PENDING:
        raise Conflict("This delivery is still being tried: see its nextAttemptAt.")
    return replace(
        delivery,
        status=DeliveryStatus.PENDING,
        attempts=0,
        round=delivery.round + 1,
        next_attempt_at=now,
        expires_at=now + DELIVERIES_KEPT,
    )


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def _some(events: Sequence[WebhookEvent]) -> tuple[WebhookEvent, ...]:
    if not events:
        raise BadInput("Name at least one event.", field="input.events")
    return tuple(sorted(set(events)))


def _is_name(host: str) -> bool:
    """Whether a host is a public-looking name: with a dot, and its last part no number, as in every way of writing an
    address (decimal, octal, hexadecimal, IPv6)."""
    labels = host.rstrip(".").split(".")
    last = labels[-1]
    if len(labels) < 2 or not all(labels) or not last[0].isalpha() or last in {"local", "internal", "localhost"}:
        return False
    try:
        ip_address(host)
    except ValueError:
        return all(label.replace("-", "").isalnum() or label.startswith("_") for label in labels)
    return False


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _bad_url() -> BadInput:
    return BadInput(
        "A webhook's address is an https URL on port 443 with a public host's name, such as https://example.com/hooks.",
        field="input.url",
    )
