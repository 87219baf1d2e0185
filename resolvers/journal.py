"""Reading the journal as an admin."""

from __future__ import annotations

from datetime import UTC, datetime

import strawberry

from domain.errors import BadInput
from domain.ledger import EntryKind
from firestore.journal import JournalFilter
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info
from graph.types.journal import LedgerEntry


@strawberry.input(description="An `address` is such as `platform:fees` or `user:<id>:held`. `to` is no longer in it.")
class LedgerFilter:
    user_id: strawberry.ID | None = None
    address: str | None = None
    kind: EntryKind | None = None
    from_: datetime | None = strawberry.field(default=None, name="from")
    to: datetime | None = None


async def ledger_entries(
    info: Info, filter: LedgerFilter | None = None, first: int | None = None, after: str | None = None
) -> Connection[LedgerEntry]:
    """The ledger's entries: a user's newest first, everybody's oldest first."""
    context, asked = info.context, filter or LedgerFilter()
    begin, end = _moment(asked.from_, "filter.from"), _moment(asked.to, "filter.to")
    wanted = JournalFilter(asked.user_id, asked.address, asked.kind, begin, end)
    scope = scope_of("ledgerEntries", context.user_id, wanted)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.journal.page(wanted, page_size(first), position)
    return connect(page, LedgerEntry.of, context.desk.cursors, scope, after)


def _moment(moment: datetime | None, field: str) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise BadInput("A moment needs its time zone, such as 2027-01-01T00:00:00Z.", field=field)
    return None if moment is None else moment.astimezone(UTC)
