"""A wallet's statement: one month of the journal, from its opening balances to its closing ones."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from domain.errors import BadInput
from domain.ledger import Balances, Entry, available, balance, debt, held
from domain.money import ZERO
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import ENTRIES

ENTRIES_MAX = 1_500  # of one wallet in one month: far above a real player's, and with all fields one answer's worth
OPENING_PAGE = 50  # entries looked at for the one that moved the wallet last
NEVER = Balances(0, ZERO, ZERO, ZERO)


@dataclass(frozen=True, slots=True)
class Line:
    """One entry as it moved the wallet: the changes in DOF, and the balances after it."""

    entry: Entry
    available: int
    held: int
    debt: int
    after: Balances


@dataclass(frozen=True, slots=True)
class Statement:
    """`opening` plus all lines is `closing`; the versions of the balances have no gap."""

    year: int
    month: int
    opening: Balances
    closing: Balances
    lines: tuple[Line, ...]


class Statements:
    """Raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def month(self, user_id: str, year: int, month: int) -> Statement:
        """The statement of a month, in UTC. Two RPCs. Raises BadInput for no month, or more than 1,500 entries."""
        if not (2020 <= year <= 9000 and 1 <= month <= 12):
            raise BadInput("A statement is of a month from 1 to 12 of a year since 2020.", field="month")
        start = datetime(year, month, 1, tzinfo=UTC)
        end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        mine = Filter("user_ids", "array-contains", user_id)
        inside = Query(
            ENTRIES.name,
            (mine, Filter("at", ">=", start), Filter("at", "<", end)),
            (Order("at", descending=True),),
            ENTRIES_MAX + 1,
        )
        found = [ENTRIES.decode(each) for each in await self._backend.query(inside)]
        if len(found) > ENTRIES_MAX:
            raise BadInput(f"This month has more than {ENTRIES_MAX} entries: ask support for the whole of it.")
        # An entry of what is earned and not matured leaves the wallet alone.
        touching = sorted(
            (each for each in found if user_id in each.after), key=lambda each: each.after[user_id].version
        )
        lines = tuple(_line(entry, user_id) for entry in touching)
        opening = await self._opening(mine, start, user_id)
        closing = lines[-1].after if lines else opening
        return Statement(year, month, opening, closing, lines)

    async def _opening(self, mine: Filter, start: datetime, user_id: str) -> Balances:
        """The balances after the last entry before `start` that moved the wallet. One RPC, or a few for a creator whose
        last pages are all earnings; each page lies behind the one before, so it ends."""
        query = Query(ENTRIES.name, (mine, Filter("at", "<", start)), (Order("at", descending=True),), OPENING_PAGE)
        found = await self._backend.query(query)
        while found:
            touching = [entry.after[user_id] for entry in map(ENTRIES.decode, found) if user_id in entry.after]
            if touching:
                return max(touching, key=lambda each: each.version)
            last = found[-1]
            found = await self._backend.query(replace(query, after=(last.data["at"], last.id)))
        return NEVER


def as_csv(statement: Statement) -> str:
    """The statement as a table: plain numbers and our own words only, so that no cell can be a formula."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    table.writerow(("at", "kind", "entry", "available", "held", "debt", "available_after", "held_after", "debt_after"))
    first = statement.opening
    opening = (first.available.units, first.held.units, first.debt.units)
    table.writerow((f"{statement.year:04d}-{statement.month:02d}", "OPENING", "", "", "", "", *opening))
    for line in statement.lines:
        after = line.after
        moved = (line.available, line.held, line.debt)
        left = (after.available.units, after.held.units, after.debt.units)
        table.writerow((line.entry.at.isoformat(), line.entry.kind.value, line.entry.id, *moved, *left))
    return out.getvalue()


def _line(entry: Entry, user_id: str) -> Line:
    return Line(
        entry=entry,
        available=balance(entry.postings, available(user_id)),
        held=balance(entry.postings, held(user_id)),
        debt=-balance(entry.postings, debt(user_id)),
        after=entry.after[user_id],
    )
