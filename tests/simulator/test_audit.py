"""The audit reads one moment, page by page, whole or since a mark, and names the documents that break an invariant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import pytest

import firestore.audit
from domain.audit import check
from domain.books import Violation
from firestore.audit import audit, books_of
from firestore.backend import Write
from firestore.memory import MemoryBackend
from firestore.records import SEAL, seal
from tests.simulator.history import run
from tests.simulator.second_checker import broken

Dump = dict[str, dict[str, Any]]
LATER = timedelta(seconds=10)


@lru_cache(maxsize=1)
def ledger() -> tuple[Dump, datetime]:
    """The ledger at the end of a history with hires, refunds, a transfer and payouts."""
    dumps = [run(seed).dumps[-1] for seed in range(6)]
    return max(dumps, key=lambda each: sum(path.startswith("entries/") for path in each[0]))


async def stored(dump: Mapping[str, Mapping[str, Any]]) -> MemoryBackend:
    backend = MemoryBackend(clock=lambda: ledger()[1])
    paths = sorted(dump)
    for start in range(0, len(paths), 400):
        await backend.commit([Write(path, dump[path]) for path in paths[start : start + 400]])
    return backend


async def audited(dump: Dump, *, since: datetime | None = None) -> tuple[Violation, ...]:
    report = await audit(await stored(dump), ledger()[1] + LATER, since=since, progress=lambda line: None)
    return report.violations


def changed(dump: Dump, path: str, **fields: Any) -> Dump:
    """The dump with fields of a document changed by the store's own means: its seal fits."""
    data = {**dump[path], **fields}
    return {**dump, path: {**data, SEAL: seal(path, data)}}


def first(dump: Dump, shelf: str, that: Callable[[dict[str, Any]], Any] = lambda data: True) -> str:
    return min(path for path, data in dump.items() if path.startswith(f"{shelf}/") and that(data))


async def test_a_whole_ledger_breaks_nothing(quiet: None) -> None:
    dump, now = ledger()
    lines: list[str] = []
    report = await audit(await stored(dump), now + LATER, progress=lines.append)
    assert report.violations == ()
    assert report.entries == sum(path.startswith("entries/") for path in dump)
    assert report.at == now + LATER - timedelta(seconds=3)
    assert lines[-1] == f"{report.entries} entries and 0 violations"
    assert broken(dump, now) == []


async def test_it_pages(quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firestore.audit, "PAGE", 3)
    monkeypatch.setattr(firestore.audit, "SOME", 2)
    dump, now = ledger()
    assert await audited(dump) == ()
    assert await audited(dump, since=now - timedelta(days=400)) == ()


async def test_it_names_the_document(quiet: None) -> None:
    dump, _ = ledger()
    path = first(dump, "wallets", lambda data: data["version"] > 2)
    found = await audited(changed(dump, path, available=dump[path]["available"] + 1))
    assert (path, "I2") in {(each.path, each.invariant) for each in found}
    assert ("entries/*", "I10") in {(each.path, each.invariant) for each in found}


async def test_a_document_changed_by_hand_breaks_its_seal(quiet: None) -> None:
    dump, _ = ledger()
    path = first(dump, "purchases")
    found = await audited({**dump, path: {**dump[path], "checkout_url": "https://elsewhere.test"}})
    assert found == (Violation("I14", path, "is not as the store wrote it: its seal is broken"),)


async def test_what_cannot_be_read_is_named(quiet: None) -> None:
    dump, _ = ledger()
    path = first(dump, "accruals")
    found = await audited(changed(dump, path, amount="much"))
    assert path in {each.path for each in found}
    assert any("cannot be read" in each.message for each in found)


async def test_an_entry_that_nobody_gave_a_reason_for(quiet: None) -> None:
    dump, _ = ledger()
    path = first(dump, "entries", lambda data: data["kind"] == "PURCHASE")
    copy = "entries/ent_" + "0" * 26
    data = {**dump[path], "id": copy.partition("/")[2]}
    found = await audited({**dump, copy: {**data, SEAL: seal(copy, data)}})
    assert ("I7", copy) in {(each.invariant, each.path) for each in found}


async def test_since_a_mark_it_reads_what_was_touched(quiet: None) -> None:
    dump, now = ledger()
    moments = sorted(data["at"] for path, data in dump.items() if path.startswith("entries/"))
    middle = moments[len(moments) // 2]
    backend = await stored(dump)
    report = await audit(backend, now + LATER, since=middle, progress=lambda line: None)
    assert report.violations == ()
    assert 0 < report.entries <= len(moments)
    path = first(dump, "entries", lambda data: data["at"] == moments[-1])
    user = min(dump[path]["after"])
    wallet = f"wallets/{user}"
    found = await audited(changed(dump, wallet, held=dump[wallet]["held"] + 5), since=middle)
    assert wallet in {each.path for each in found}


async def test_what_is_stuck_is_told(quiet: None) -> None:
    dump, now = ledger()
    path = first(dump, "outbox", lambda data: data["task"] is not None)
    pending = {**dump[path], "state": "PENDING", "not_before": None, "at": now - timedelta(minutes=11)}
    assert [(each.invariant, each.path) for each in await audited({**dump, path: pending})] == [("I13", path)]
    dead = {**dump[path], "state": "DEAD"}
    assert [(each.invariant, each.path) for each in await audited({**dump, path: dead})] == [("I13", path)]


def test_a_rule_that_a_record_stops_has_found_it(quiet: None) -> None:
    dump, now = ledger()
    books, _ = books_of(dump, now)
    id_, session = next((id_, each) for id_, each in sorted(books.sessions.items()) if each.pricing)
    found = check(replace(books, sessions={**books.sessions, id_: replace(session, legs=())}))
    assert any(each.path == f"sessions/{id_}" and "cannot read it" in each.message for each in found)
