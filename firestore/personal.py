"""What the store holds of one person: named here by collection, so that an export is complete and an erasure too.

A test asks of every collection whether it is named here, or says nothing of a person.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from domain.ledger import user_ids
from firestore.backend import Backend, Filter, Op, Query, Snapshot, Value
from firestore.collections import (
    ACCEPTANCES,
    ACCRUALS,
    AGENT_VERSIONS,
    AGENTS,
    API_KEYS,
    APPEALS,
    CUSTOMERS,
    DELIVERIES,
    DEVICES,
    ENDPOINTS,
    ENTRIES,
    LISTINGS,
    NOTIFICATIONS,
    ORDERS,
    PAYOUT_ACCOUNTS,
    PAYOUTS,
    PROGRESS,
    PURCHASES,
    REPORT_TALLIES,
    REPORTS,
    REVIEWS,
    SELLERS,
    SESSIONS,
    TRANSACTIONS,
    UPLOADS,
    USAGE,
    USERS,
    VOTES,
    WALLETS,
)
from firestore.records import SEAL, Collection

PAGE = 200  # documents in memory at a time, some hundred kilobytes
SOME = 30  # values of one `in`: Firestore's own bound


@dataclass(frozen=True, slots=True)
class Shelf:
    """Documents that are a person's by a field."""

    collection: Collection[Any]
    field: str = "user_id"
    op: Op = "=="


PROFILE: tuple[Collection[Any], ...] = (USERS, WALLETS, SELLERS, PAYOUT_ACCOUNTS, PROGRESS, CUSTOMERS, REPORT_TALLIES)
"""One document each, under the user's own id."""

SHELVES = (
    Shelf(AGENTS, "owner_id"),
    Shelf(AGENT_VERSIONS, "author_id"),
    Shelf(LISTINGS, "owner_id"),
    Shelf(SESSIONS, "hirer_id"),
    Shelf(REVIEWS, "reviewer_id"),
    Shelf(VOTES),
    Shelf(REPORTS, "reporter_id"),
    Shelf(APPEALS, "owner_id"),
    Shelf(TRANSACTIONS),
    Shelf(ENTRIES, "user_ids", "array-contains"),
    Shelf(ACCRUALS),
    Shelf(PURCHASES),
    Shelf(ORDERS),
    Shelf(PAYOUTS),
    Shelf(NOTIFICATIONS),
    Shelf(DEVICES),
    Shelf(ENDPOINTS),
    Shelf(DELIVERIES),
    Shelf(UPLOADS),
    Shelf(ACCEPTANCES),
    Shelf(API_KEYS),
)

FORGOTTEN: tuple[Collection[Any], ...] = (NOTIFICATIONS, DEVICES, ENDPOINTS, DELIVERIES)
"""What an erasure deletes by the field `user_id`. Of the rest the books need each, under the pseudonym:
firestore/erasures.py takes the person's words out of it."""

# What proves or opens something and says nothing of a person: hashes, seals, secrets, places in an index.
_HIDDEN = frozenset({SEAL, "digest", "fingerprint", "end_key", "transfer_key", "secret", "token", "bucket", "uid"})
_PARTS = ("available", "held", "debt", "payable")


class Personal:
    """Raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def documents(self, user_id: str) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
        """All of a user's documents by the collection's name, page by page: those of one collection follow each other.

        One RPC for the first, then one a page, and one for each 30 sessions' usage. Another's data is left out of what
        tells of several people.
        """
        found = await self._backend.get_many([each.at(user_id) for each in PROFILE])
        for collection, snapshot in zip(PROFILE, found, strict=True):
            yield collection.name, [] if snapshot is None else [_shown(snapshot.data)]
        for shelf in SHELVES:
            async for page in self._pages(shelf.collection, Filter(shelf.field, shelf.op, user_id)):
                yield shelf.collection.name, [_own(shelf.collection, each, user_id) for each in page]
        async for sessions in self._pages(
            SESSIONS, Filter("hirer_id", "==", user_id), fields=("hirer_id",), limit=SOME
        ):
            ids = [each.id for each in sessions]
            if ids:
                async for page in self._pages(USAGE, Filter("session_id", "in", ids)):
                    yield USAGE.name, [_shown(each.data) for each in page]

    async def _pages(
        self,
        collection: Collection[Any],
        wanted: Filter,
        *,
        fields: tuple[str, ...] | None = None,
        limit: int = PAGE,
    ) -> AsyncIterator[list[Snapshot]]:
        """At least one page, which may be empty. Each begins behind the one before, so it ends."""
        after: tuple[Value, ...] | None = None
        while True:
            found = await self._backend.query(Query(collection.name, (wanted,), (), limit, after, fields))
            yield found
            if len(found) < limit:
                return
            after = (found[-1].id,)


def _own(collection: Collection[Any], snapshot: Snapshot, user_id: str) -> dict[str, Any]:
    if collection is REPORTS:  # a moderator's note on it is of the one who was reported
        return {name: value for name, value in _shown(snapshot.data).items() if name != "note"}
    if collection is not ENTRIES:
        return _shown(snapshot.data)
    entry = ENTRIES.decode(snapshot)
    mine, left = f"user:{user_id}:", entry.after.get(user_id)
    return {
        "id": entry.id,
        "kind": entry.kind.value,
        "at": entry.at,
        "ref": entry.ref,
        "postings": [
            {"from": _place(each.source, mine), "to": _place(each.target, mine), "amount": each.amount.units}
            for each in entry.postings
            if user_id in user_ids((each,))
        ],
        "after": None if left is None else {name: getattr(left, name).units for name in _PARTS},
    }


def _place(address: str, mine: str) -> str:
    """An address of the journal, where another's is nobody's business."""
    return "another user" if address.startswith("user:") and not address.startswith(mine) else address


def _shown(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in _HIDDEN}
