"""What Prometheus reads: by root field and by code, and by nothing that a client chooses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from domain.errors import Unavailable
from functions import metrics
from functions.metrics import Figures, Lag, Meters, metrics_route


def ended(
    *fields: str, kind: str = "query", seconds: float = 0.03, rpcs: int = 2, reads: int = 3, writes: int = 0
) -> Any:
    return SimpleNamespace(kind=kind, fields=fields, seconds=seconds, rpcs=rpcs, reads=reads, writes=writes)


async def read(meters: Meters, lag: Lag | None = None) -> dict[str, float]:
    """The figures by name and label."""
    lag = lag or Lag(_nothing)
    figures = Figures({"firestore_rpcs": lambda: 5}, {"outbox_lag_seconds": lambda: lag.seconds})
    app = Starlette(routes=[metrics_route(figures, meters, lag)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        lines = (await http.get("/metrics")).text.splitlines()
    told = (line.rpartition(" ") for line in lines if not line.startswith("#") and "_created" not in line)
    return {name: float(value) for name, _, value in told}


async def _nothing() -> float:
    return 0.0


async def test_an_operation_is_counted_by_its_root_field() -> None:
    meters = Meters({"listings", "hireAgent", "walletUpdated"})
    meters.note(ended("listings"), [])
    meters.note(ended("listings", seconds=0.3), [])
    meters.note(ended("hireAgent", kind="mutation", rpcs=2, reads=4, writes=5), ["INSUFFICIENT_DOF", "CONFLICT"])
    meters.note(ended("walletUpdated", kind="subscription", seconds=900.0), [])
    told = await read(meters)
    assert told['jiga_operation_rpcs_total{field="listings"}'] == 4
    assert told['jiga_operation_reads_total{field="hireAgent"}'] == 4
    assert told['jiga_operation_writes_total{field="hireAgent"}'] == 5
    assert told['jiga_operation_seconds_bucket{field="listings",le="0.05"}'] == 1
    assert told['jiga_operation_seconds_count{field="listings"}'] == 2
    assert 'jiga_operation_seconds_count{field="walletUpdated"}' not in told
    assert 'jiga_event_seconds_count{field="listings"}' not in told
    assert told['jiga_refusals_total{code="INSUFFICIENT_DOF"}'] == 1
    assert told["jiga_firestore_rpcs_total"] == 5


async def test_a_subscriptions_events_are_counted_apart_from_operations() -> None:
    meters = Meters({"walletUpdated"})
    meters.note(ended("walletUpdated", kind="subscription", rpcs=0, reads=0), [])
    for seconds in (0.01, 0.4):
        meters.note(ended("walletUpdated", kind="event", seconds=seconds, reads=4), [])
    meters.note(ended("walletUpdated", kind="stream", seconds=900.0, rpcs=0, reads=1), ["NOT_FOUND"])
    told = await read(meters)
    assert told['jiga_event_seconds_bucket{field="walletUpdated",le="0.05"}'] == 1
    assert told['jiga_event_seconds_count{field="walletUpdated"}'] == 2
    assert told['jiga_operation_rpcs_total{field="walletUpdated"}'] == 4
    assert told['jiga_operation_reads_total{field="walletUpdated"}'] == 9
    assert 'jiga_operation_seconds_count{field="walletUpdated"}' not in told
    assert told['jiga_refusals_total{code="NOT_FOUND"}'] == 1


async def test_t_p01_no_label_is_a_clients_choice() -> None:
    meters = Meters({"listings"})
    for name in ("ada@jiga.test", "a" * 200, "__typename", "listings2"):
        meters.note(ended(name), [name])
    meters.note(ended("listings", "viewer"), ["UNAVAILABLE"])
    meters.note(ended(), ["None"])
    told = await read(meters)
    labels = {name.partition("{")[2].partition(",")[0].rstrip("}") for name in told if "{" in name}
    assert labels == {'field="other"', 'code="other"', 'code="UNAVAILABLE"'}
    assert told['jiga_refusals_total{code="other"}'] == 5


async def test_the_outbox_is_asked_at_most_every_ten_seconds_and_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[float | Exception] = [12.5, Unavailable("down"), 3.0]
    now = [1_000.0]
    monkeypatch.setattr(metrics, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def answer() -> float:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    meters, lag = Meters(()), Lag(answer)
    assert (await read(meters, lag))["jiga_outbox_lag_seconds"] == 12.5
    now[0] += metrics.LAG_SECONDS - 0.1
    await lag.refresh()
    assert (lag.seconds, len(answers)) == (12.5, 2)
    now[0] += 0.2
    await lag.refresh()
    assert (lag.seconds, len(answers)) == (0.0, 1)
    now[0] += metrics.LAG_SECONDS
    await lag.refresh()
    assert lag.seconds == 3.0
