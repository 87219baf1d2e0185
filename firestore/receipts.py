"""Receipts: what proves a user's entries against the published digests, one by one or as a file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from domain.ids import Kind, is_id
from domain.ledger import Entry
from domain.receipt_files import to_file
from domain.receipts import Digest, Receipt, day_of, late_place, parties, place, prove
from firestore.backend import Backend, Filter, Order, Query, Value
from firestore.collections import DIGESTS, ENTRIES, RUNS
from firestore.digests import LATE_DAYS
from firestore.records import Collection, R

EXPORT_MAX = 20_000  # entries in one file, some 30 MB: years of a player's, and a creator's newest
PAGE = 100  # entries proven at once: their runs are 20 MB at most
READ_MAX = 300  # digests in one RPC
DIGESTS_MAX = 4_000  # in one file: eleven years of days

Wanted = tuple[str, str]
"""An entry's id and the user for whom it is proven."""


class Receipts:
    """Every method raises Unavailable when Firestore does not answer, and Tampered when an entry or a leaf is not what
    was sealed."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get_many(self, wanted: Sequence[Wanted]) -> list[Receipt | None]:
        """Receipts in the order asked: None for an entry that is not sealed yet, or is not the user's. Three RPCs one
        after the other; one more where an entry is not in its day's digest, and another where it came late."""
        ids = list(dict.fromkeys(entry_id for entry_id, _ in wanted if is_id(entry_id, Kind.ENTRY)))
        entries = await self._load(ENTRIES, ids)
        found = [
            (entries[entry_id], user_id) if entry_id in entries and user_id in parties(entries[entry_id]) else None
            for entry_id, user_id in wanted
        ]
        proven = iter(await self._prove([each for each in found if each is not None]))
        return [None if each is None else next(proven) for each in found]

    async def export(self, user_id: str) -> dict[str, Any]:
        """The user's receipts as the values of a JSON file, newest first, with the digests that they hang on (see
        domain/receipt_files.py). At most the newest 20,000 entries. Five RPCs for each hundred."""
        receipts: list[Receipt] = []
        pending: list[Entry] = []
        after: tuple[Value, ...] | None = None
        mine = Query(
            ENTRIES.name,
            (Filter("user_ids", "array-contains", user_id),),
            (Order("at", descending=True),),
            PAGE,
        )
        complete = False
        for _ in range(EXPORT_MAX // PAGE):
            page = Query(mine.collection, mine.filters, mine.order, PAGE, after)
            found = await self._backend.query(page)
            entries = [ENTRIES.decode(each) for each in found]
            proofs = await self._prove([(entry, user_id) for entry in entries])
            receipts += [proof for proof in proofs if proof is not None]
            pending += [entry for entry, proof in zip(entries, proofs, strict=True) if proof is None]
            if len(found) < PAGE:
                complete = True
                break
            after = (found[-1].data["at"], found[-1].id)
        digests = await self._digests_since(min((each.day for each in receipts), default=None))
        return to_file(user_id, complete, digests, receipts, pending)

    async def _prove(self, wanted: Sequence[tuple[Entry, str]]) -> list[Receipt | None]:
        digests = await self._load(DIGESTS, {day_of(entry.at).isoformat() for entry, _ in wanted})
        proven = await self._prove_in(
            {entry.id: (digests.get(day_of(entry.at).isoformat()), place(entry)) for entry, _ in wanted}, wanted
        )
        missed = [pair for pair, proof in zip(wanted, proven, strict=True) if proof is None]
        late = await self._late_homes([entry for entry, _ in missed])
        found = iter(await self._prove_in(late, missed))
        return [next(found) if proof is None else proof for proof in proven]

    async def _prove_in(
        self, homes: Mapping[str, tuple[Digest | None, str]], wanted: Sequence[tuple[Entry, str]]
    ) -> list[Receipt | None]:
        """Prove each entry in the digest and at the place that `homes` gives for it; None where it is not there."""
        numbers: dict[str, int] = {}
        for entry_id, (digest, where) in homes.items():
            if digest is not None and digest.starts and where >= digest.starts[0]:
                numbers[entry_id] = bisect_right(digest.starts, where) - 1
        names = {id_: _digest_in(homes, id_).run_id(number) for id_, number in numbers.items()}
        runs = await self._load(RUNS, set(names.values()))
        proven: list[Receipt | None] = []
        for entry, user_id in wanted:
            run = runs.get(names.get(entry.id, ""))
            if run is None or homes[entry.id][1] not in run.places:
                proven.append(None)
                continue
            digest, where = _digest_in(homes, entry.id), homes[entry.id][1]
            proven.append(prove(entry, user_id, digest, numbers[entry.id], run, where))
        return proven

    async def _late_homes(self, entries: Iterable[Entry]) -> dict[str, tuple[Digest | None, str]]:
        """In which later digest each entry is, that came after its own day was sealed."""
        later = {
            entry.id: [(day_of(entry.at) + timedelta(days=ahead)).isoformat() for ahead in range(1, LATE_DAYS + 1)]
            for entry in entries
        }
        digests = await self._load(DIGESTS, {day for days in later.values() for day in days})
        homes: dict[str, tuple[Digest | None, str]] = {}
        for entry_id, days in later.items():
            home = next((digests[day] for day in days if day in digests and entry_id in digests[day].late), None)
            homes[entry_id] = (home, late_place(entry_id))
        return homes

    async def _digests_since(self, first: str | None) -> list[Digest]:
        """Every digest from a day to the last one, in order."""
        digests: list[Digest] = []
        day = date.fromisoformat(first) if first else None
        while day is not None and len(digests) < DIGESTS_MAX:
            days = [(day + timedelta(days=ahead)).isoformat() for ahead in range(READ_MAX)]
            found = await self._load(DIGESTS, days)
            digests += [found[each] for each in days if each in found]
            day = day + timedelta(days=READ_MAX) if days[-1] in found else None
        return digests

    async def _load(self, collection: Collection[R], ids: Iterable[str]) -> dict[str, R]:
        """Records by id, those that are there. One RPC, none for no ids."""
        found = await self._backend.get_many([collection.at(each) for each in ids])
        return {each.id: collection.decode(each) for each in found if each is not None}


def _digest_in(homes: Mapping[str, tuple[Digest | None, str]], entry_id: str) -> Digest:
    digest = homes[entry_id][0]
    assert digest is not None, "it was found in a digest"
    return digest
