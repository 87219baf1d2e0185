"""Reading the journal as an admin."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.ledger import EntryKind
from firestore.journal import JournalFilter
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info
from graph.scalars import moment
from graph.types.journal import LedgerEntry


@strawberry.input(
    description="An `address` is such as `platform:fees` or `user:<id>:held`. `from` is included, `to` is not."
)
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
    begin = None if asked.from_ is None else moment(asked.from_, "filter.from")
    end = None if asked.to is None else moment(asked.to, "filter.to")
    wanted = JournalFilter(asked.user_id, asked.address, asked.kind, begin, end)
    scope = scope_of("ledgerEntries", context.user_id, wanted)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.journal.page(wanted, page_size(first), position)
    return connect(page, LedgerEntry.of, context.desk.cursors, scope, after)
