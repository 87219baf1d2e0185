"""What an operator sees of a running store: readiness, figures, and the outbox's lag."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
import structlog

from domain.errors import Unavailable
from firestore.collections import OUTBOX
from firestore.outbox import row
from functions import logs
from functions.vitals import Vitals
from tests.api.api import Market, Rig
from tests.make import NOW


async def ready(rig: Rig) -> tuple[int, Any]:
    answer = await rig.http.get("/readyz")
    return answer.status_code, answer.json()


async def _gone(*_: object, **__: object) -> Any:
    raise Unavailable("gone")


async def test_readiness_names_what_is_down_and_asks_for_no_requests_where_it_is_needed(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = market.rig
    assert await ready(rig) == (200, {"ready": True, "down": []})
    rig.sight.pulse.note("search", answered=False)
    rig.sight.pulse.note("queue", answered=False)
    assert await ready(rig) == (200, {"ready": True, "down": ["queue", "search"]})
    rig.sight.pulse.note("identity", answered=False)
    assert await ready(rig) == (503, {"ready": False, "down": ["identity", "queue", "search"]})
    for name in ("search", "queue", "identity"):
        rig.sight.pulse.note(name, answered=True)
    with monkeypatch.context() as broken:
        broken.setattr(rig.memory, "get_many", _gone)
        assert await ready(rig) == (503, {"ready": False, "down": ["firestore"]})
    assert await ready(rig) == (200, {"ready": True, "down": []})


async def test_a_gateway_that_does_not_answer_is_noticed_by_those_who_ask(rig: Rig) -> None:
    assert await ready(rig) == (200, {"ready": True, "down": []})
    await rig.queue.close()
    with pytest.raises(Unavailable):
        await rig.queue.enqueue("announce", "out_1", {})
    assert await ready(rig) == (200, {"ready": True, "down": ["queue"]})


async def test_t_f11_a_process_that_runs_short_is_not_ready_and_takes_no_work(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = market.rig
    monkeypatch.setattr(Vitals, "short_of", lambda _: ("disk",))
    async with market.unchanged():
        refused = await market.max.raw("mutation ($i: HireAgentInput!) { hireAgent(input: $i) { __typename } }", i={})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert await ready(rig) == (503, {"ready": False, "down": ["disk"]})
    assert (await rig.http.get("/healthz")).status_code == 200


async def test_the_outboxs_lag_is_the_age_of_its_oldest_due_row(rig: Rig) -> None:
    assert await rig.store.outbox.lag_seconds(NOW) == 0.0
    for number, minutes in enumerate((1, 9, 4)):
        await rig.put(
            OUTBOX, row(("late", number), NOW - timedelta(minutes=minutes), timedelta(days=1), task="announce")
        )
    assert await rig.store.outbox.lag_seconds(NOW) == 9 * 60 - 20  # a row is due 20 s after it was written
    text = (await rig.http.get("/metrics")).text
    assert "jiga_outbox_lag_seconds 520.0" in text
    assert "jiga_sockets 0.0" in text


async def test_an_operation_is_told_by_its_name_and_figures(market: Market) -> None:
    told = io.StringIO()
    logs.configure(json=True, stream=told)
    try:
        await market.max.raw("query Mine { viewer { email wallet { available } } }")
        async with await market.max.subscribe("query Mine { viewer { email } }") as stream:
            assert await stream.answer()
        await market.max.raw("mutation ($i: HireAgentInput!) { hireAgent(input: $i) { __typename } }", i=market.hire())
        await market.max.raw("{ nope }")
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in told.getvalue().splitlines()]
    figures = ("operation", "kind", "fields", "outcome", "cost", "rpcs", "reads", "writes")
    assert [tuple(line.get(name) for name in figures) for line in lines if line["event"] == "request"] == [
        ("Mine", "query", ["viewer"], "ok", 3, 1, 2, 0),
        (None, "mutation", ["hireAgent"], "ok", 10, 2, 4, 5),
        (None, "none", [], ["BAD_USER_INPUT"], None, 0, 0, 0),
    ]


def _figures(text: str, field: str) -> dict[str, float]:
    """What was counted of a root field; the times are left out."""
    lines = (line.rpartition(" ") for line in text.splitlines() if f'{{field="{field}"}}' in line)
    found = {name.partition("{")[0]: float(value) for name, _, value in lines}
    return {name: value for name, value in found.items() if not name.endswith(("_created", "_sum"))}


async def test_a_subscription_is_counted_with_what_its_source_and_its_events_read(market: Market) -> None:
    rig, told = market.rig, io.StringIO()
    asked = "subscription Mine ($id: ID!) { sessionUpdated(id: $id) { dofConsumed agent { name } } }"
    logs.configure(json=True, stream=told)
    try:
        async with await market.max.subscribe(asked, id=market.ids.running) as stream:
            assert (await stream.next())["sessionUpdated"]["dofConsumed"] == 510
            first = _figures((await rig.http.get("/metrics")).text, "sessionUpdated")
            assert await stream.answer() is None
            await market.max.act("recordUsage", {"sessionId": market.ids.running, "sequence": 2, "dof": 5})
            assert (await stream.next())["sessionUpdated"]["dofConsumed"] == 515
    finally:
        structlog.reset_defaults()
    # The source reads the session, and the event the agent that it shows.
    assert first == {"jiga_event_seconds_count": 1, "jiga_operation_rpcs_total": 2, "jiga_operation_reads_total": 2}
    # The source hears of the change, which is no RPC, and reads the session for the meter and for the event.
    whole = _figures((await rig.http.get("/metrics")).text, "sessionUpdated")
    assert whole == {"jiga_event_seconds_count": 2, "jiga_operation_rpcs_total": 5, "jiga_operation_reads_total": 6}
    lines = [json.loads(line) for line in told.getvalue().splitlines()]
    (line,) = [each for each in lines if each["event"] == "operation" and each["kind"] == "stream"]
    figures = ("operation", "fields", "outcome", "events", "rpcs", "reads", "writes")
    assert [line[name] for name in figures] == ["Mine", ["sessionUpdated"], "ok", 2, 5, 6, 0]


async def test_what_ends_a_subscription_is_counted_and_told(market: Market) -> None:
    told = io.StringIO()
    logs.configure(json=True, stream=told)
    try:
        async with await market.eve.subscribe(
            "subscription ($id: ID!) { sessionUpdated(id: $id) { dofConsumed } }", id=market.ids.running
        ) as stream:
            assert await stream.code() == "NOT_FOUND"
            assert await stream.answer() == {"complete": True}
    finally:
        structlog.reset_defaults()
    (line,) = [json.loads(each) for each in told.getvalue().splitlines() if '"stream"' in each]
    assert (line["events"], line["outcome"]) == (0, ["NOT_FOUND"])
    text = (await market.rig.http.get("/metrics")).text
    assert 'jiga_refusals_total{code="NOT_FOUND"} 1.0' in text
    # The session, and who eve is, because a moderator may see it.
    assert _figures(text, "sessionUpdated") == {"jiga_operation_rpcs_total": 2, "jiga_operation_reads_total": 2}
