"""Digests: each day of the journal, once it is over, is sealed under one published hash, and held against it later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from domain import merkle
from domain.ledger import Entry
from domain.receipts import (
    GENESIS,
    KEY_BYTES,
    LATE_MAX,
    MARGIN,
    RUN_LEAVES,
    RUNS_MAX,
    Digest,
    Run,
    Tampered,
    bounds,
    day_of,
    hashes_of,
    id_at,
    is_over,
    late_place,
    leaf_of,
    place,
    run_id,
)
from firestore.backend import Aggregate, Backend, Filter, Order, Query, Snapshot, Value
from firestore.collections import DIGESTS, ENTRIES, RUNS
from firestore.commit import Commits, Tx
from firestore.legible import UNREADABLE
from firestore.rows import BUCKETS

LATE_DAYS = 7  # sealed days that are counted again with each seal
PAGE = 500  # entries in one RPC, some 500 KB
PROBE_IDS = 100  # documents looked for at once

_Leaf = tuple[str, bytes]
"""A place and a hash."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a sealed day: `change` is changed, removed, inserted or unreadable for the entry of `path`,
    and broken for a document of the digest itself."""

    change: str
    path: str


@dataclass(slots=True)
class _Draft:
    """The digest of a day while its leaves come in."""

    day: str
    key: bytes
    count: int = 0
    places: list[str] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)

    def add(self, where: str, leaf: bytes) -> None:
        self.count += 1
        self.places.append(where)
        self.hashes.append(leaf)

    def cut(self) -> Run:
        """End a run of leaves and begin the next."""
        if len(self.roots) >= RUNS_MAX:
            raise ValueError(f"{self.day} has more than {RUNS_MAX * RUN_LEAVES} entries: a digest must hold less")
        name = run_id(self.day, self.key, len(self.roots))
        run = Run(name, self.day, tuple(self.places), b"".join(self.hashes))
        self.starts.append(self.places[0])
        self.roots.append(merkle.fold(self.hashes))
        self.places, self.hashes = [], []
        return run


class Digests:
    """Every method raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend, commits: Commits) -> None:
        self._backend = backend
        self._commits = commits

    async def get(self, day: date) -> Digest | None:
        """The digest of a day, None while it is not sealed. One RPC."""
        (found,) = await self._backend.get_many([DIGESTS.at(day.isoformat())])
        return None if found is None else DIGESTS.decode(found)

    async def newest(self) -> Digest | None:
        """The last digest. One RPC."""
        found = await self._backend.query(Query(DIGESTS.name, (), (Order("id", descending=True),), 1))
        return DIGESTS.decode(found[0]) if found else None

    async def next_day(self) -> date | None:
        """The day that is to be sealed next: behind the last digest, or the first that has an entry; None before any.
        One RPC, or one more for each bucket."""
        newest = await self.newest()
        if newest is not None:
            return date.fromisoformat(newest.id) + timedelta(days=1)
        queries = [
            Query(ENTRIES.name, (Filter("bucket", "==", bucket),), (Order("at"),), 1) for bucket in range(BUCKETS)
        ]
        pages = await asyncio.gather(*map(self._backend.query, queries))
        return min((day_of(ENTRIES.decode(each).at) for page in pages for each in page), default=None)

    async def seal(self, day: date, now: datetime, key: bytes) -> Digest:
        """Seal a day that is over; `key` is 32 random bytes. Days are sealed in order, each once, and entries that came
        late to a day of the last week are sealed with this one.

        A day that is sealed already is verified, and its digest given. Raises ValueError for a day that is not over, or
        not the next; Tampered for a sealed one that has changed. Some 20 RPCs, and one for 500 entries.
        """
        assert len(key) == KEY_BYTES, "a key has 32 bytes"
        if not is_over(day, now):
            raise ValueError(f"{day} is sealed {MARGIN} after its end, not before")
        known = await self.get(day)
        if known is not None:
            return await self._verified(known, day)
        before = await self.newest()
        if before is not None and day - date.fromisoformat(before.id) != timedelta(days=1):
            raise ValueError(f"{day} does not follow {before.id}, the last day that is sealed: seal the next one first")
        late = {entry.id: entry for entry in await self._find_late(day)}
        draft = _Draft(day.isoformat(), key)
        await self._write_runs(draft, late)
        digest = Digest(
            id=draft.day,
            count=draft.count,
            root=merkle.fold(draft.roots).hex(),
            previous=before.digest if before else GENESIS,
            made_at=now,
            key=key,
            late={entry_id: day_of(entry.at).isoformat() for entry_id, entry in late.items()},
            starts=tuple(draft.starts),
            roots=b"".join(draft.roots),
        )

        async def body(tx: Tx) -> Digest:
            already = await tx.load(DIGESTS, digest.id)
            if already is None:
                tx.create(DIGESTS, digest)
            return already or digest

        sealed = await self._commits.run(body)
        await self._sweep(sealed)
        return sealed

    async def verify_day(self, day: date) -> list[Finding]:
        """Read a sealed day again and hold it against its digest; what does not agree, in order. Raises LookupError for
        a day that is not sealed. One RPC for 500 entries and one for 2,048 leaves."""
        days = [(day + timedelta(days=ahead)).isoformat() for ahead in (-1, 0, 1)]
        stored = await self._backend.get_many([DIGESTS.at(each) for each in days])
        try:
            before, digest, following = (None if each is None else DIGESTS.decode(each) for each in stored)
        except UNREADABLE:
            return [Finding("broken", DIGESTS.at(day.isoformat()))]
        if digest is None and (following is None or following.previous == GENESIS):
            raise LookupError(f"{day} is not sealed")
        if digest is None or not _is_whole(digest, before, following):
            return [Finding("broken", DIGESTS.at(day.isoformat()))]
        findings: list[Finding] = []
        gone, new = await self._compare(digest, day, findings)
        known = await self._sealed_later(day)
        still_there = await self._present(sorted(gone - new))
        findings += [Finding("changed", ENTRIES.at(each)) for each in (gone & new) | still_there]
        findings += [Finding("removed", ENTRIES.at(each)) for each in gone - new - still_there]
        findings += [Finding("inserted", ENTRIES.at(each)) for each in new - gone - known.keys()]
        return sorted(findings, key=lambda each: (each.path, each.change))

    # ---- reading

    async def _day(self, start: datetime, end: datetime) -> AsyncIterator[Snapshot]:
        """The entries of a stretch of time in the order of their places: bucket by bucket, page by page."""
        for bucket in range(BUCKETS):
            filters = (Filter("bucket", "==", bucket), Filter("at", ">=", start), Filter("at", "<", end))
            after: tuple[Value, ...] | None = None
            while True:
                query = Query(ENTRIES.name, filters, (Order("at"),), PAGE, after)
                found = await self._backend.query(query)
                for snapshot in found:
                    yield snapshot
                if len(found) < PAGE:
                    break
                after = (found[-1].data["at"], found[-1].id)

    async def _present(self, ids: Sequence[str]) -> set[str]:
        """Those of the entries that are there at all."""
        there: set[str] = set()
        for start in range(0, len(ids), PROBE_IDS):
            found = await self._backend.get_many([ENTRIES.at(each) for each in ids[start : start + PROBE_IDS]])
            there |= {each.id for each in found if each is not None}
        return there

    # ---- sealing

    async def _verified(self, digest: Digest, day: date) -> Digest:
        findings = await self.verify_day(day)
        if findings:
            told = ", ".join(f"{each.path} {each.change}" for each in findings[:5])
            raise Tampered(f"{day} is not as it was sealed: {told}, {len(findings)} in all")
        return digest

    async def _write_runs(self, draft: _Draft, late: Mapping[str, Entry]) -> None:
        """Write the leaves as they are read, so that no more than one run of a day is in memory."""
        async for snapshot in self._day(*bounds(date.fromisoformat(draft.day))):
            entry = ENTRIES.decode(snapshot)
            draft.add(place(entry), leaf_of(entry, draft.key))
            await self._write_run(draft, RUN_LEAVES)
        for entry_id in sorted(late):
            draft.add(late_place(entry_id), leaf_of(late[entry_id], draft.key))
            await self._write_run(draft, RUN_LEAVES)
        await self._write_run(draft, 1)

    async def _write_run(self, draft: _Draft, leaves: int) -> None:
        """Write what has come in as a run, once it is as many leaves."""
        if len(draft.places) < leaves:
            return
        run = draft.cut()

        async def body(tx: Tx) -> None:
            if await tx.load(RUNS, run.id) is None:
                tx.create(RUNS, run)

        await self._commits.run(body)

    async def _sweep(self, digest: Digest) -> None:
        """Remove runs of this day that another attempt has left, which was killed, or came second."""
        query = Query(RUNS.name, (Filter("day", "==", digest.id),), limit=PAGE, fields=())
        ours = {digest.run_id(number) for number in range(len(digest.starts))}
        after: tuple[Value, ...] | None = None
        while True:
            found = await self._backend.query(replace(query, after=after))
            for snapshot in found:
                if snapshot.id not in ours:
                    await self._remove_run(snapshot.id)
            if len(found) < PAGE:
                return
            after = (found[-1].id,)

    async def _remove_run(self, run_id: str) -> None:
        async def body(tx: Tx) -> None:
            if await tx.load(RUNS, run_id) is not None:
                tx.delete(RUNS, run_id)

        await self._commits.run(body)

    async def _find_late(self, day: date) -> list[Entry]:
        """Entries of the week before that appeared after their day was sealed; at most 1,000, the next seal goes on."""
        days = [day - timedelta(days=back) for back in range(LATE_DAYS, 0, -1)]
        known = await self._sealed_in(days)
        counted = await asyncio.gather(*(self._count(bucket, days[0], day) for bucket in range(BUCKETS)))
        if sum(counted) == sum(known.values()):
            return []
        late: list[Entry] = []
        for each in days:
            if await self.get(each) is None:
                late += [ENTRIES.decode(snapshot) async for snapshot in self._day(*bounds(each))]
                continue
            inserted = {one.path for one in await self.verify_day(each) if one.change == "inserted"}
            found = [one async for one in self._day(*bounds(each)) if one.path in inserted] if inserted else []
            late += map(ENTRIES.decode, found)
        sealed = await self._sealed_later(days[0])
        return [entry for entry in late if entry.id not in sealed][:LATE_MAX]

    async def _count(self, bucket: int, first: date, end: date) -> int:
        filters = (
            Filter("bucket", "==", bucket),
            Filter("at", ">=", bounds(first)[0]),
            Filter("at", "<", bounds(end)[0]),
        )
        figures = await self._backend.aggregate(Query(ENTRIES.name, filters), {"count": Aggregate("count")})
        return int(figures["count"])

    async def _sealed_in(self, days: Sequence[date]) -> dict[str, int]:
        """How many entries of each of these days are sealed, there or as late ones."""
        wanted = {day.isoformat(): 0 for day in days}
        for found in await self._backend.get_many([DIGESTS.at(day) for day in wanted]):
            if found is not None:
                digest = DIGESTS.decode(found)
                wanted[digest.id] += digest.count - len(digest.late)
                for late_day in digest.late.values():
                    if late_day in wanted:
                        wanted[late_day] += 1
        return wanted

    async def _sealed_later(self, day: date) -> dict[str, str]:
        """Late entries of the days after this one, and their own days."""
        days = [(day + timedelta(days=ahead)).isoformat() for ahead in range(1, LATE_DAYS + 1)]
        late: dict[str, str] = {}
        for found in await self._backend.get_many([DIGESTS.at(each) for each in days]):
            late |= {} if found is None else DIGESTS.decode(found).late
        return late

    # ---- verifying

    async def _compare(self, digest: Digest, day: date, findings: list[Finding]) -> tuple[set[str], set[str]]:
        """Walk the sealed leaves beside the entries, both in order; give the ids of what only one side has."""
        gone: set[str] = set()
        new: set[str] = set()
        sealed, found = self._sealed(digest, findings), self._leaves(digest, day, findings)
        left, right = await anext(sealed, None), await anext(found, None)
        while left is not None or right is not None:
            if left == right:
                left, right = await anext(sealed, None), await anext(found, None)
            elif left is not None and (right is None or left[0] <= right[0]):
                gone.add(id_at(left[0]))
                left = await anext(sealed, None)
            elif right is not None:
                new.add(id_at(right[0]))
                right = await anext(found, None)
        return gone, new

    async def _sealed(self, digest: Digest, findings: list[Finding]) -> AsyncIterator[_Leaf]:
        """The leaves of a digest as they were sealed, one run in memory; what is not so itself is a finding."""
        seen = 0
        for number, root in enumerate(digest.run_roots):
            path = RUNS.at(digest.run_id(number))
            (found,) = await self._backend.get_many([path])
            run = _readable(found)
            hashes = [] if run is None else hashes_of(run.hashes)
            named = run is not None and run.day == digest.id and run.places[:1] == digest.starts[number : number + 1]
            if run is None or not named or merkle.fold(hashes) != root or len(run.places) != len(hashes):
                findings.append(Finding("broken", path))
                continue
            seen += len(hashes)
            for leaf in zip(run.places, hashes, strict=True):
                yield leaf
        if seen != digest.count and not findings:
            findings.append(Finding("broken", DIGESTS.at(digest.id)))

    async def _leaves(self, digest: Digest, day: date, findings: list[Finding]) -> AsyncIterator[_Leaf]:
        """The leaves as the entries have them today: those of the day, then the late ones."""
        async for snapshot in self._day(*bounds(day)):
            try:
                entry = ENTRIES.decode(snapshot)
            except UNREADABLE:
                findings.append(Finding("unreadable", snapshot.path))
            else:
                yield place(entry), leaf_of(entry, digest.key)
        for entry_id in sorted(digest.late):
            (found,) = await self._backend.get_many([ENTRIES.at(entry_id)])
            if found is not None:
                yield late_place(entry_id), leaf_of(ENTRIES.decode(found), digest.key)


def _readable(snapshot: Snapshot | None) -> Run | None:
    try:
        return None if snapshot is None else RUNS.decode(snapshot)
    except UNREADABLE:
        return None


def _is_whole(digest: Digest, before: Digest | None, following: Digest | None) -> bool:
    """Whether a digest agrees with itself and with its neighbours."""
    chained = digest.previous == (before.digest if before else GENESIS)
    named = following is None or following.previous == digest.digest
    roots = digest.run_roots
    return chained and named and len(roots) == len(digest.starts) and merkle.fold(roots).hex() == digest.root
