"""The audit on every backend: its queries have their indexes, and it reads one moment while others write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import firestore.audit
from firestore.audit import audit
from firestore.backend import Backend, Write
from firestore.records import SEAL, seal
from tests.simulator.history import run

SEED = 3  # a history with hires, refunds, transfers and payouts


async def test_it_audits_one_moment_of_a_ledger(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firestore.audit, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(firestore.audit, "PAGE", 7)
    dump = {path: data for path, data in run(SEED).dumps[-1][0].items() if not path.startswith("users/")}
    paths = sorted(dump)
    for start in range(0, len(paths), 60):
        versions = await backend.commit([Write(path, dump[path]) for path in paths[start : start + 60]])
    before = moment(max(versions))
    entries = [data for path, data in dump.items() if path.startswith("entries/")]
    first, last = (pick(entries, key=lambda entry: entry["at"]) for pick in (min, max))
    wallet = f"wallets/{min(last['after'])}"
    spoiled = {**dump[wallet], "available": dump[wallet]["available"] + 1}
    spoiled[SEAL] = seal(wallet, spoiled)
    after = moment(*await backend.commit([Write(wallet, spoiled)]))

    for since in (None, first["at"], last["at"] - timedelta(hours=1)):
        report = await audit(backend, after, since=since, progress=lambda line: None)
        found = {each.path for each in report.violations}
        assert wallet in found
        assert found <= {wallet, "entries/*"}
        assert report.entries > 0
    assert (await audit(backend, before, progress=lambda line: None)).violations == ()


def moment(version: int) -> datetime:
    """When a commit was, by the server's clock."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=version // 1_000)
