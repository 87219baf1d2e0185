"""Days are sealed, proven and held against their seals, on every backend."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from domain import merkle, receipts
from domain.ids import Kind, derived_id
from domain.ledger import Entry
from domain.money import Dof
from domain.receipt_files import check_file
from domain.receipts import GENESIS, Digest, Receipt, Tampered
from firestore import digests, indexes
from firestore.backend import Backend, Value, Write
from firestore.cloud import CloudBackend
from firestore.collections import DIGESTS, ENTRIES, RUNS
from firestore.counting import CountingBackend
from firestore.digests import Finding
from firestore.memory import MemoryBackend
from firestore.rows import bucket_of
from functions.schedule.seals import seal_days
from tests.emulators import start_local
from tests.make import World, user_id, wish

HOUR = timedelta(hours=1)
ONE, TWO, THREE = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
KEYS = [bytes([number]) * 32 for number in range(40)]


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def after(day: date) -> datetime:
    """When the day can be sealed."""
    return noon(day) + 13 * HOUR


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four leaves in a run and three entries in a page, so that a small day has several of both."""
    monkeypatch.setattr(digests, "RUN_LEAVES", 4)
    monkeypatch.setattr(receipts, "RUN_LEAVES", 4)
    monkeypatch.setattr(digests, "PAGE", 3)


@pytest_asyncio.fixture
async def world(backend: Backend) -> World:
    return await traded(backend)


@pytest_asyncio.fixture
async def memory_world() -> World:
    return await traded(MemoryBackend())


async def traded(backend: Backend) -> World:
    """Two days of trade: top-ups, transfers, and a hire that ends on the second day."""
    world = World(backend, rehearse=False)
    listing = await world.open("bo")
    for number in range(4):
        world.now = noon(ONE) + number * HOUR
        await world.fund("max", 30_000)
        await world.fund("bo", 500)
        await world.store.wallets.transfer(user_id("max"), user_id("bo"), Dof(7), None, f"t{number}", world.now)
    world.now = noon(ONE) + 11 * HOUR + timedelta(minutes=30)
    session, *_ = await world.store.sessions.hire(user_id("max"), wish(listing), world.now)
    world.now = noon(TWO)
    await world.store.sessions.end(user_id("max"), session.id, "over", world.now)
    await world.fund("max", 5)
    return world


async def entries(world: World, day: date) -> list[Entry]:
    """The day's entries in the order of their leaves."""
    found = [entry for entry in await world.all(ENTRIES) if entry.at.date() == day]
    return sorted(found, key=receipts.place)


async def sealed(world: World, *days: date) -> list[Digest]:
    return [await world.store.digests.seal(day, after(day), KEYS[day.day]) for day in days]


async def change(world: World, path: str, **fields: Value) -> None:
    """Change stored fields behind the store's back."""
    (found,) = await world.backend.get_many([path])
    assert found is not None
    await world.backend.commit([Write(path, {**found.data, **fields})])


async def remove(world: World, path: str) -> None:
    await world.backend.commit([Write(path, None)])


async def insert(world: World, name: str, at: datetime) -> Entry:
    """An entry that no operation made."""
    (like, *_) = await entries(world, ONE)
    made = replace(like, id=derived_id(Kind.ENTRY, "inserted", name), at=at)
    await world.put(ENTRIES, made)
    return made


async def receipt_of(world: World, entry_id: str, who: str) -> Receipt | None:
    (receipt,) = await world.store.receipts.get_many([(entry_id, who)])
    return receipt


# ---- sealing


async def test_entries_are_spread_over_the_index(world: World) -> None:
    found = await world.all(ENTRIES)
    assert [entry.bucket for entry in found] == [bucket_of(entry.id) for entry in found]
    assert len({entry.bucket for entry in found}) > 3


async def test_a_day_is_sealed_under_the_root_of_its_entries(world: World) -> None:
    inside = await entries(world, ONE)
    assert len(inside) == 13
    (digest,) = await sealed(world, ONE)
    assert digest.root == merkle.fold([receipts.leaf_of(entry, KEYS[1]) for entry in inside]).hex()
    assert (digest.id, digest.count, digest.previous, dict(digest.late)) == ("2026-03-01", 13, GENESIS, {})
    assert digest.made_at == after(ONE)
    assert await world.store.digests.get(ONE) == digest
    assert await world.store.digests.newest() == digest
    assert len(await world.all(RUNS)) == 4
    assert await world.store.digests.verify_day(ONE) == []


async def test_every_party_has_a_receipt_once_the_day_is_sealed(world: World) -> None:
    inside = await entries(world, ONE)
    wanted = [(entry.id, who) for entry in inside for who in receipts.parties(entry)]
    assert await world.store.receipts.get_many(wanted) == [None] * len(wanted)
    (digest,) = await sealed(world, ONE)
    proofs = await world.store.receipts.get_many(wanted)
    assert [(proof.entry[0], proof.share[1]) for proof in proofs if proof] == wanted
    assert {(proof.holds, proof.root, proof.digest, proof.is_late) for proof in proofs if proof} == {
        (True, digest.root, digest.digest, False)
    }
    assert sorted({proof.index for proof in proofs if proof}) == list(range(13))


async def test_a_receipt_is_for_those_whom_it_concerns(world: World) -> None:
    await sealed(world, ONE)
    (entry, *_) = [each for each in await entries(world, ONE) if receipts.parties(each) == [user_id("bo")]]
    assert await receipt_of(world, entry.id, user_id("max")) is None
    assert await receipt_of(world, derived_id(Kind.ENTRY, "none"), user_id("max")) is None
    assert await receipt_of(world, "../digests/2026-03-01", user_id("max")) is None
    (open_entry, *_) = await entries(world, TWO)
    assert await receipt_of(world, open_entry.id, user_id("max")) is None


async def test_a_day_is_sealed_after_its_end_and_in_its_turn(world: World) -> None:
    with pytest.raises(ValueError, match="after its end"):
        await world.store.digests.seal(ONE, noon(TWO) - 12 * HOUR, KEYS[0])
    assert await world.store.digests.next_day() == ONE
    (first,) = await sealed(world, ONE)
    with pytest.raises(ValueError, match="does not follow 2026-03-01"):
        await world.store.digests.seal(THREE, after(THREE), KEYS[0])
    assert await world.store.digests.next_day() == TWO
    second, third = await sealed(world, TWO, THREE)
    assert (second.previous, third.previous) == (first.digest, second.digest)
    assert (second.count, third.count) == (2, 0)
    assert third.root == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for day in (ONE, TWO, THREE):
        assert await world.store.digests.verify_day(day) == []


async def test_a_sealed_day_stays_as_it_is(world: World) -> None:
    (first,) = await sealed(world, ONE)
    before = await world.dump()
    assert await world.store.digests.seal(ONE, after(TWO), KEYS[9]) == first
    assert await world.dump() == before
    (entry, *_) = await entries(world, ONE)
    await change(world, ENTRIES.at(entry.id), actor="usr_other")
    with pytest.raises(Tampered, match="changed, 1 in all"):
        await world.store.digests.seal(ONE, after(TWO), KEYS[9])


async def test_two_who_seal_at_once_leave_one_digest(world: World) -> None:
    made = await asyncio.gather(*(world.store.digests.seal(ONE, after(ONE), key) for key in KEYS[1:4]))
    (digest,) = await world.all(DIGESTS)
    assert made == [digest] * 3
    assert {run.id for run in await world.all(RUNS)} == {digest.run_id(number) for number in range(4)}
    assert await world.store.digests.verify_day(ONE) == []


async def test_what_a_killed_attempt_left_is_swept() -> None:
    class Killed(BaseException):
        """The process ends here."""

    backend = MemoryBackend()
    world = await traded(backend)
    for after_commits in range(5):
        seen = 0

        async def kill(verb: str, limit: int = after_commits) -> None:
            nonlocal seen
            if verb == "commit":
                seen += 1
                if seen > limit:
                    raise Killed

        backend.before = kill
        with pytest.raises(Killed):
            await world.store.digests.seal(ONE, after(ONE), KEYS[after_commits])
        backend.before = None
        assert await world.store.digests.get(ONE) is None
    digest = await world.store.digests.seal(ONE, after(ONE), KEYS[9])
    assert {run.id for run in await world.all(RUNS)} == {digest.run_id(number) for number in range(4)}
    assert await world.store.digests.verify_day(ONE) == []


# ---- what is found


async def test_a_changed_a_removed_and_an_inserted_entry_are_found(world: World) -> None:
    await sealed(world, ONE, TWO)
    changed, removed, moved, *_, unreadable = [each.id for each in await entries(world, ONE)]
    inserted = await insert(world, "one", noon(ONE))
    await change(world, ENTRIES.at(changed), ref="txn_other")
    await remove(world, ENTRIES.at(removed))
    await change(world, ENTRIES.at(moved), at=noon(TWO))
    await change(world, ENTRIES.at(unreadable), postings=[])
    assert set(await world.store.digests.verify_day(ONE)) == {
        Finding("changed", ENTRIES.at(changed)),
        Finding("removed", ENTRIES.at(removed)),
        Finding("changed", ENTRIES.at(moved)),
        Finding("unreadable", ENTRIES.at(unreadable)),
        Finding("changed", ENTRIES.at(unreadable)),
        Finding("inserted", ENTRIES.at(inserted.id)),
    }
    assert await world.store.digests.verify_day(TWO) == [Finding("inserted", ENTRIES.at(moved))]
    with pytest.raises(Tampered):
        await receipt_of(world, changed, user_id("max"))


async def test_a_changed_digest_is_found(world: World) -> None:
    first, second, _ = await sealed(world, ONE, TWO, THREE)
    before = {path: data for path, data in (await world.dump()).items() if path.startswith("digest")}
    lies: list[tuple[str, dict[str, Value], date]] = [
        (DIGESTS.at(first.id), {"count": 12}, ONE),
        (DIGESTS.at(first.id), {"root": second.root}, ONE),
        (DIGESTS.at(first.id), {"late": {"ent_x": "2026-02-01"}}, ONE),
        (DIGESTS.at(first.id), {"roots": first.roots[:-32]}, ONE),
        (DIGESTS.at(first.id), {"starts": []}, ONE),
        (DIGESTS.at(first.id), {"made_at": noon(TWO)}, ONE),
        (DIGESTS.at(second.id), {"previous": GENESIS}, TWO),
        (DIGESTS.at(first.id), {"key": KEYS[9]}, ONE),
        (DIGESTS.at(first.id), {"count": "many"}, ONE),
        (RUNS.at(first.run_id(1)), {"hashes": bytes(4 * 32)}, ONE),
        (RUNS.at(first.run_id(1)), {"hashes": b""}, ONE),
        (RUNS.at(first.run_id(1)), {"places": ["x"] * 4}, ONE),
        (RUNS.at(first.run_id(1)), {"places": 5}, ONE),
    ]
    for path, lie, day in lies:
        await change(world, path, **lie)
        assert await world.store.digests.verify_day(day) != [], (path, lie)
        await world.backend.commit([Write(path, before[path])])
    await remove(world, RUNS.at(first.run_id(3)))
    assert Finding("broken", RUNS.at(first.run_id(3))) in await world.store.digests.verify_day(ONE)
    with pytest.raises(LookupError, match="is not sealed"):
        await world.store.digests.verify_day(date(2026, 3, 9))


async def test_an_entry_that_comes_late_is_sealed_with_the_next_day(world: World) -> None:
    (first,) = await sealed(world, ONE)
    late = await insert(world, "late", noon(ONE))
    early = await insert(world, "early", noon(ONE) - timedelta(days=3))
    assert await world.store.digests.verify_day(ONE) == [Finding("inserted", ENTRIES.at(late.id))]
    second, third = await sealed(world, TWO, THREE)
    assert dict(second.late) == {late.id: "2026-03-01", early.id: "2026-02-26"}
    assert (second.count, dict(third.late)) == (4, {})
    assert await world.store.digests.get(ONE) == first
    for day in (ONE, TWO, THREE):
        assert await world.store.digests.verify_day(day) == []
    for entry in (late, early):
        for who in receipts.parties(entry):
            proof = await receipt_of(world, entry.id, who)
            assert proof is not None
            assert (proof.holds, proof.is_late, proof.day, proof.digest) == (True, True, second.id, second.digest)
    await change(world, ENTRIES.at(late.id), actor="usr_other")
    assert await world.store.digests.verify_day(TWO) == [Finding("changed", ENTRIES.at(late.id))]
    await remove(world, ENTRIES.at(late.id))
    assert await world.store.digests.verify_day(TWO) == [Finding("removed", ENTRIES.at(late.id))]


async def test_the_schedule_seals_what_is_over_and_nothing_else(world: World) -> None:
    assert await seal_days(world.store, noon(ONE)) == 0
    assert await seal_days(world.store, after(THREE)) == 3
    assert await seal_days(world.store, after(THREE)) == 0
    assert sorted(each.id for each in await world.all(DIGESTS)) == ["2026-03-01", "2026-03-02", "2026-03-03"]


async def test_a_store_without_entries_has_nothing_to_seal(backend: Backend) -> None:
    assert await seal_days(World(backend).store, after(THREE)) == 0


# ---- files


async def test_an_export_holds_by_itself(world: World) -> None:
    (_, second) = await sealed(world, ONE, TWO)
    world.now = noon(THREE)
    await world.fund("max", 3)
    told = await world.store.receipts.export(user_id("max"))
    verdict = check_file(json.loads(json.dumps(told)))
    assert verdict.problems == ()
    assert (verdict.sealed, verdict.late, verdict.open) == (11, 0, 1)
    assert (verdict.last_day, verdict.last_digest) == ("2026-03-02", second.digest)
    assert told["complete"] is True
    assert user_id("bo") not in json.dumps(told)


async def test_a_creators_export_tells_what_is_earned(world: World) -> None:
    await sealed(world, ONE, TWO)
    told = await world.store.receipts.export(user_id("ada"))
    assert check_file(told).problems == ()
    (row,) = told["receipts"]
    (held,) = [each for each in await world.all(ENTRIES) if each.id == row["entry"][0]]
    earned = sum(posting.amount.units for posting in held.postings if posting.target == f"user:{user_id('ada')}:earned")
    assert row["share"] == ["share", user_id("ada"), [0, 0, 0, earned], None]
    assert earned > 0


async def test_an_export_before_the_first_seal_proves_nothing_yet(world: World) -> None:
    verdict = check_file(await world.store.receipts.export(user_id("max")))
    assert (verdict.problems, verdict.sealed, verdict.open, verdict.last_day) == ((), 0, 11, "")


async def test_the_operator_who_rewrites_history_is_found_by_an_old_file(memory_world: World) -> None:
    """Somebody who can write everything makes all of it new, consistently: the digest that an old file names stays."""
    world = memory_world
    await sealed(world, ONE, TWO)
    kept = await world.store.receipts.export(user_id("max"))
    for collection in (DIGESTS, RUNS):
        for each in await world.all(collection):
            await remove(world, collection.at(each.id))
    (entry, *_) = [each for each in await entries(world, ONE) if each.kind.value == "ADJUST"]
    await change(world, ENTRIES.at(entry.id), actor="usr_other")
    await sealed(world, ONE, TWO)
    assert await world.store.digests.verify_day(ONE) == []
    newer = await world.store.receipts.export(user_id("max"))
    assert check_file(newer).problems == ()
    known = check_file(kept).last_digest
    assert check_file(newer, [known]).problems == (f"The digest {known} that you know is not in the file.",)


# ---- what it costs, and that the declared indexes are enough


async def test_a_page_of_receipts_is_three_rpcs() -> None:
    backend = CountingBackend(MemoryBackend())
    world = await traded(backend)
    inside = await entries(world, ONE)
    await sealed(world, ONE)
    with backend.measure() as counts:
        proofs = await world.store.receipts.get_many([(each.id, receipts.parties(each)[0]) for each in inside])
    assert all(proofs)
    assert (counts.rpcs, counts.reads) == (3, 13 + 1 + 4)
    with backend.measure() as counts:
        assert await receipt_of(world, inside[5].id, receipts.parties(inside[5])[0])
    assert (counts.rpcs, counts.reads) == (3, 3)


@pytest_asyncio.fixture
async def strict(tmp_path: Path, project: str) -> AsyncIterator[Backend]:
    """A server that refuses a query whose index is not declared."""
    emulator = start_local(tmp_path, "--indexes", str(indexes.FILE))
    backend = CloudBackend(project, emulator_host=emulator.host)
    yield backend
    await backend.close()
    emulator.stop()


async def test_the_declared_indexes_are_enough(strict: Backend) -> None:
    world = await traded(strict)
    assert await seal_days(world.store, after(ONE)) == 1
    late = await insert(world, "late", noon(ONE))
    assert await seal_days(world.store, after(THREE)) == 2
    (who, *_) = receipts.parties(late)
    told = await world.store.receipts.export(who)
    assert [each["entry"][0] for each in told["receipts"] if each["day"] == "2026-03-02"][-1] == late.id
    assert [await world.store.digests.verify_day(day) for day in (ONE, TWO, THREE)] == [[], [], []]


# ---- corruption


def corrupted(data: Mapping[str, Any], dice: random.Random) -> dict[str, Any]:
    """The document with one value changed, somewhere in it."""
    made = copy.deepcopy(dict(data))
    place: Any = made
    name: Any = dice.choice([key for key in sorted(made) if key not in {"user_ids", "bucket", "seal", "id"}])
    while isinstance(place[name], (dict, list)) and place[name]:
        place = place[name]
        name = dice.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
    old = place[name]
    if isinstance(old, datetime):
        place[name] = old + timedelta(seconds=dice.choice([-1, 1, 90_000]))
    elif isinstance(old, bool) or old is None:
        place[name] = "ent_strange"
    elif isinstance(old, int):
        place[name] = old + dice.choice([-1, 1, 1_000])
    elif isinstance(old, str):
        place[name] = old + "x"
    elif isinstance(old, bytes):
        where = dice.randrange(len(old))
        place[name] = old[:where] + bytes([old[where] ^ 1]) + old[where + 1 :]
    else:
        place[name] = {"x": 1}
    return made


async def test_random_corruption_of_a_sealed_day_is_found(memory_world: World) -> None:
    """300 of 300: any value of any entry, run or digest; documents that are gone; entries that were never made."""
    world = memory_world
    await sealed(world, ONE, TWO, THREE)
    dump = await world.dump()
    day = {
        path: data for path, data in dump.items() if path.startswith(("digests/2026-03-01", "digest_leaves/2026-03-01"))
    }
    day |= {path: data for path, data in dump.items() if path.startswith("entries/") and data["at"].date() == ONE}
    dice = random.Random(7)
    for number in range(300):
        path = dice.choice(sorted(day))
        what = dice.choice(["change"] * 8 + ["remove", "insert"])
        if what == "change":
            await world.backend.commit([Write(path, corrupted(day[path], dice))])
        elif what == "remove":
            await remove(world, path)
        else:
            inserted = await insert(world, str(number), noon(ONE) + number * timedelta(seconds=1))
        assert await world.store.digests.verify_day(ONE) != [], (number, what, path)
        if what == "insert":
            await remove(world, ENTRIES.at(inserted.id))
        else:
            await world.backend.commit([Write(path, day[path])])
    assert await world.store.digests.verify_day(ONE) == []
