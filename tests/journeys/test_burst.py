"""A short burst of webhooks in the test run; `python -m bench.webhook_burst` is the long one, with its figures."""

from __future__ import annotations

from tests.journeys.burst import burst
from tests.journeys.server import Server

FACTS, DELIVERIES = 80, 400


async def test_t_w03_a_burst_of_webhooks_loses_and_doubles_nothing(server: Server) -> None:
    seen = await burst(server.url, facts=FACTS, deliveries=DELIVERIES, at_once=16, players=6)
    assert (seen.facts, seen.deliveries) == (FACTS, DELIVERIES)
    assert sum(seen.due.values()) > 0
    assert seen.wrong == {}
