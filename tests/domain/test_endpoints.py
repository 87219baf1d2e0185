"""Webhooks to integrators: where to, signed how, tried how long."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from domain import endpoints
from domain.endpoints import Attempt, Delivery, DeliveryStatus, EndpointChange, WebhookEvent
from domain.errors import BadInput, Conflict, NotFound
from domain.ids import Kind, derived_id
from domain.notifications import note
from domain.users import NotificationKind
from tests.nouns import user_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA, SESSION = user_id("ada"), derived_id(Kind.SESSION, "one")
HOOK = "https://hooks.example.com/jiga"
ENDPOINT = endpoints.create(
    derived_id(Kind.ENDPOINT, "one"), ADA, HOOK, (WebhookEvent.AGENT_HIRED,), bytes(range(32)), NOW
)
DELIVERY = Delivery(
    derived_id(Kind.DELIVERY, "one"), ENDPOINT.id, ADA, WebhookEvent.AGENT_HIRED, {"sessionId": SESSION}, NOW, NOW
)


@pytest.mark.parametrize("url", [HOOK, "https://a.b:443/", "https://xn--bcher-kva.example/x?y=z", "https://a.b.c"])
def test_a_public_address(url: str) -> None:
    assert endpoints.require_url(url, loopback=False) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/",
        "//hooks.example.com/",
        "hooks.example.com",
        "https://hooks.example.com:22/",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:99999/",
        "https://user:pw@hooks.example.com/",
        "https://hooks.example.com@127.0.0.1/",
        "https://hooks.example.com/#x",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://0.0.0.0/",
        "https://8.8.8.8/",
        "https://127.1/",
        "https://1.2.3.0x4/",
        "https://localhost/",
        "https://localhost./",
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://hooks..example.com/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com /",
        "https://hooks.exämple.com/",
        "https://hooks.example.com/" + "x" * 1_000,
        "https://",
        "",
    ],
)
def test_t_p07_what_is_no_public_https_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput) as refused:
        endpoints.require_url(url, loopback=False)
    assert refused.value.field == "input.url"


def test_this_machine_is_allowed_by_an_explicit_setting_alone() -> None:
    for url in ("http://127.0.0.1:9000/x", "http://localhost:80/", "https://[::1]:4443/"):
        assert endpoints.require_url(url, loopback=True) == url
        with pytest.raises(BadInput):
            endpoints.require_url(url, loopback=False)
    for url in ("http://10.0.0.1/", "http://hooks.example.com/", "ftp://localhost/", "http://a@localhost/"):
        with pytest.raises(BadInput):
            endpoints.require_url(url, loopback=True)


def test_the_verifying_client_of_standard_webhooks_takes_what_we_sign() -> None:
    now = datetime.now(UTC)  # the client asks its own clock
    content = endpoints.body(DELIVERY)
    headers = endpoints.signed(ENDPOINT.secret, DELIVERY.id, content, now)
    client = Webhook(ENDPOINT.secret)
    assert client.verify(content, headers) == {
        "type": "agent.hired",
        "timestamp": "2026-03-01T12:00:00+00:00",
        "data": {"sessionId": SESSION},
    }
    with pytest.raises(WebhookVerificationError):
        client.verify(content + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        client.verify(content, {**headers, "webhook-id": "dlv_other"})
    with pytest.raises(WebhookVerificationError):
        client.verify(content, endpoints.signed(ENDPOINT.secret, DELIVERY.id, content, now - timedelta(minutes=6)))


def test_a_receiver_that_is_down_for_a_day_misses_nothing() -> None:
    delivery, at, attempts = DELIVERY, NOW, 0
    while delivery.status is DeliveryStatus.PENDING:
        delivery = endpoints.attempted(delivery, Attempt(at, 5, 503))
        attempts += 1
        at = delivery.next_attempt_at or at
    assert (attempts, delivery.status, delivery.response_code) == (11, DeliveryStatus.FAILED, 503)
    assert at - NOW == timedelta(hours=31, minutes=26, seconds=5)


@pytest.mark.parametrize("code", [200, 201, 204, 299])
def test_a_success_ends_it(code: int) -> None:
    done = endpoints.attempted(DELIVERY, Attempt(NOW, 5, code))
    assert (done.status, done.attempts, done.next_attempt_at) == (DeliveryStatus.DELIVERED, 1, None)


@pytest.mark.parametrize("code", [None, 301, 400, 401, 404, 408, 429, 500])
def test_everything_else_is_tried_again(code: int | None) -> None:
    again = endpoints.attempted(DELIVERY, Attempt(NOW, 5, code, None if code else "no answer"))
    assert (again.status, again.next_attempt_at) == (DeliveryStatus.PENDING, NOW + timedelta(seconds=5))


def test_gone_is_gone() -> None:
    gone = Attempt(NOW, 5, 410)
    assert endpoints.attempted(DELIVERY, gone).status is DeliveryStatus.FAILED
    assert endpoints.judged(ENDPOINT, gone).enabled is False


def test_days_of_failures_switch_an_endpoint_off_and_one_success_forgives_them() -> None:
    failing = endpoints.judged(ENDPOINT, Attempt(NOW, 5, 500))
    assert (failing.enabled, failing.failing_since) == (True, NOW)
    later = NOW + timedelta(days=5)
    assert endpoints.judged(failing, Attempt(later - timedelta(seconds=1), 5, 500)) == failing
    assert endpoints.judged(failing, Attempt(later, 5, 200)) == ENDPOINT
    off = endpoints.judged(failing, Attempt(later, 5, failure="no answer"))
    assert (off.enabled, off.failing_since, off.version) == (False, NOW, 2)
    on = endpoints.change(off, EndpointChange(enabled=True), later)
    assert (on.enabled, on.failing_since, on.version) == (True, None, 3)


def test_a_change_that_changes_nothing_is_none() -> None:
    assert endpoints.change(ENDPOINT, EndpointChange(url=HOOK, events=(WebhookEvent.AGENT_HIRED,)), NOW) == ENDPOINT
    with pytest.raises(BadInput):
        endpoints.change(ENDPOINT, EndpointChange(events=()), NOW)
    with pytest.raises(NotFound):
        endpoints.require_owned(ENDPOINT, user_id("eve"))


def test_a_note_is_told_to_those_who_asked_for_its_event() -> None:
    args = {"session_id": SESSION, "agent": "Nova", "dof": "600"}
    told = note(NotificationKind.HIRES, ADA, ("hired", SESSION), args)
    both = replace(ENDPOINT, events=(WebhookEvent.AGENT_HIRED, WebhookEvent.NOTIFICATION_RECEIVED))
    off, other = replace(both, enabled=False), replace(both, events=(WebhookEvent.PAYOUT_PAID,))
    hired, received = endpoints.deliveries(told, [both, off, other], True, NOW)
    assert (hired.event, hired.data) == (WebhookEvent.AGENT_HIRED, {"sessionId": SESSION})
    assert (received.event, received.data) == (WebhookEvent.NOTIFICATION_RECEIVED, {"notificationId": told.id})
    assert [each.event for each in endpoints.deliveries(told, [both], False, NOW)] == [WebhookEvent.AGENT_HIRED]
    assert "Nova" not in json.loads(endpoints.body(hired)).__repr__()


def test_a_delivery_is_replayed_once_it_has_ended() -> None:
    with pytest.raises(Conflict):
        endpoints.replayed(DELIVERY, NOW)
    done = endpoints.attempted(DELIVERY, Attempt(NOW, 5, 200))
    again = endpoints.replayed(done, NOW + timedelta(hours=1))
    assert (again.id, again.status, again.attempts, again.round) == (DELIVERY.id, DeliveryStatus.PENDING, 0, 1)
