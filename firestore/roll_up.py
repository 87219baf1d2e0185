"""The roll-up: one run after the other counts what was recorded, by quarter-hours of UTC, into a document per subject
and day.

A quarter-hour is counted from scratch and replaces what was counted of it before, so that counting twice is counting
once. It is counted again and again until it is final: until no process, whatever its clock says, can still add to it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import islice

import msgspec

from domain.analytics import PLATFORM, Cohort, Customer, Fact, counts, customer_of, note, spender
from domain.ranges import DAY, QUARTER, midnight, quarter_of, week_of
from firestore.backend import Aggregate, Backend, Filter, Query
from firestore.collections import COHORTS, COUNTING_MARKS, CUSTOMERS, FIGURES, PLATFORM_DAYS, USERS
from firestore.commit import Commits, Tx
from firestore.facts import MARGIN, Facts
from firestore.records import Collection, R
from firestore.rows import CountingMark, Figures, PlatformDay

MARK = "figures"
BATCH_MAX = 50  # documents in one commit: read, merged and written within its two seconds
DAYS_MAX = 60  # that one run catches up with; the next one goes on
CELLS_CHARACTERS_MAX = 900_000  # of one document: Firestore takes a MiB

Cell = dict[str, int]
Day = dict[int, Cell]
"""A subject's cells of one day by the number of the quarter-hour."""


class Overtaken(Exception):
    """Another run has begun since: this one has nothing more to write."""


@dataclass(slots=True)
class _Sheet:
    """What a stretch of one day has recorded."""

    start: datetime
    end: datetime
    subjects: dict[str, Day] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Counter)))
    customers: dict[str, list[Fact]] = field(default_factory=lambda: defaultdict(list))

    @property
    def day(self) -> str:
        return self.start.date().isoformat()

    def add(self, fact: Fact) -> None:
        number = _number(fact.at)
        for count in counts(fact):
            self.subjects[count.subject][number][count.measure] += count.amount
        customer = customer_of(fact)
        if customer is not None:
            self.customers[customer].append(fact)

    def merge(self, before: str, cells: Day) -> str:
        """The cells of a document with those of this stretch replaced."""
        last = _number(self.end - QUARTER)
        kept = {
            number: cell for number, cell in read_cells(before).items() if not _number(self.start) <= number <= last
        }
        return write_cells({**kept, **{number: dict(cell) for number, cell in cells.items()}})


class RollUp:
    """Every method raises Unavailable when Firestore does not answer, and Overtaken by a later run."""

    def __init__(self, backend: Backend, commits: Commits) -> None:
        self._backend = backend
        self._commits = commits
        self._facts = Facts(backend)

    async def mark(self, name: str = MARK) -> CountingMark:
        """How far was counted. One RPC."""
        (found,) = await self._backend.get_many([COUNTING_MARKS.at(name)])
        return CountingMark(name) if found is None else COUNTING_MARKS.decode(found)

    async def run(self, now: datetime, by: str) -> int:
        """Count what was recorded since the last final quarter-hour, at most 60 days of it; gives how many documents
        have changed. `by` names the run, and is no other's.

        An idle run costs some 50 RPCs, two of them commits; each 300 facts cost an RPC, and each 50 documents that they
        count for a reading and a commit.
        """
        mark = await self._claim(by)
        begun = mark.until or await self._facts.first()
        if begun is None:
            return 0
        start = quarter_of(begun)
        return await self._count(start, min(quarter_of(now) + QUARTER, start + DAYS_MAX * DAY), now, by)

    async def again(self, since: datetime | None, now: datetime, by: str) -> int:
        """Count what is final once more, from a moment on or from the first fact; gives how many documents were not as
        they are now. As many RPCs as a run for each day."""
        mark = await self._claim(by)
        first = await self._facts.first()
        if first is None or mark.until is None:
            return 0
        return await self._count(quarter_of(max(first, since or first)), mark.until, now, by)

    async def note(self, name: str, until: datetime) -> None:
        """Note how far something else has read the facts. Two RPCs."""

        async def body(tx: Tx) -> None:
            mark = await tx.load(COUNTING_MARKS, name) or CountingMark(name)
            tx.put(COUNTING_MARKS, replace(mark, until=until))

        await self._commits.run(body)

    async def _count(self, start: datetime, end: datetime, now: datetime, by: str) -> int:
        changed, at = 0, start
        weeks: set[str] = set()
        while at < end:  # ends: each turn is a day, or what is left
            sheet = _Sheet(at, min(midnight(at.date() + DAY), end))
            async for facts in self._facts.between(sheet.start, sheet.end):
                for fact in facts:
                    sheet.add(fact)
            changed += await self._write(sheet, by)
            weeks |= {week_of(at), week_of(at - 7 * DAY)}
            at = sheet.end
            await self._advance(min(at, quarter_of(now - MARGIN)), min(at, now), by)
        for week in sorted(weeks):
            changed += await self._count_cohort(week, by)
        return changed

    # ---- writing

    async def _write(self, sheet: _Sheet, by: str) -> int:
        """Write a sheet: users and agents first, since the platform's day counts them."""
        changed = 0
        platform = sheet.subjects.pop(PLATFORM, {})
        for some in _batches(sheet.subjects):

            def figures(tx: Tx, some: Sequence[str] = some) -> int:
                return sum(self._put(tx, FIGURES, self._figures(tx, sheet, subject)) for subject in some)

            paths = [FIGURES.at(_figures_id(subject, sheet.day)) for subject in some]
            changed += await self._commit(paths, figures, by)
        for some in _batches(sheet.customers):
            changed += await self._write_customers(sheet, some, by)
        acted = Query(FIGURES.name, (Filter("acted_on", "==", sheet.day),))
        active = int((await self._backend.aggregate(acted, {"count": Aggregate("count")}))["count"])

        def platform_day(tx: Tx) -> int:
            before = tx.get(PLATFORM_DAYS, sheet.day) or PlatformDay(sheet.day)
            cells = sheet.merge(before.cells, platform)
            commission = sum(cell.get("commission", 0) for cell in read_cells(cells).values())
            return self._put(tx, PLATFORM_DAYS, PlatformDay(sheet.day, cells, commission, active))

        return changed + await self._commit([PLATFORM_DAYS.at(sheet.day)], platform_day, by)

    def _figures(self, tx: Tx, sheet: _Sheet, subject: str) -> Figures:
        id_ = _figures_id(subject, sheet.day)
        before = tx.get(FIGURES, id_) or Figures(id_, subject, sheet.day)
        cells = sheet.merge(before.cells, sheet.subjects[subject])
        acts = subject.startswith(spender("")) and any("acts" in cell for cell in read_cells(cells).values())
        return replace(before, cells=cells, acted_on=sheet.day if acts else None)

    async def _write_customers(self, sheet: _Sheet, some: Sequence[str], by: str) -> int:
        """Note what customers did. Who is new, or whose sign-up was not known, is looked up among the users."""

        async def body(tx: Tx) -> int:
            mark = await self._mine(tx, by, [CUSTOMERS.at(each) for each in some])
            known = {each: tx.get(CUSTOMERS, each) or Customer(each) for each in some}
            await tx.read(*(USERS.at(each) for each, customer in known.items() if customer.cohort is None))
            changed = 0
            for each, customer in known.items():
                user = tx.get(USERS, each) if customer.cohort is None else None
                placed = customer if user is None else replace(customer, cohort=week_of(user.created_at))
                changed += self._put(tx, CUSTOMERS, note(placed, sheet.customers[each]))
            if changed:
                tx.put(COUNTING_MARKS, mark)
            return changed

        return await self._commits.run(body)

    async def _count_cohort(self, week: str, by: str) -> int:
        """Count who signed up in a week, and what became of them. Four RPCs, and a commit."""
        flags: tuple[tuple[str, ...], ...] = ((), ("converted",), ("hired_first",), ("hired_first", "hired_second"))
        found = []
        for true in flags:
            filters = (Filter("cohort", "==", week), *(Filter(name, "==", True) for name in true))
            figures = await self._backend.aggregate(Query(CUSTOMERS.name, filters), {"count": Aggregate("count")})
            found.append(int(figures["count"]))
        cohort = Cohort(week, *found)
        return await self._commit([COHORTS.at(week)], lambda tx: self._put(tx, COHORTS, cohort), by)

    def _put(self, tx: Tx, collection: Collection[R], record: R) -> int:
        if tx.get(collection, record.id) == record:
            return 0
        tx.put(collection, record)
        return 1

    # ---- one run at a time

    async def _claim(self, by: str) -> CountingMark:
        async def body(tx: Tx) -> CountingMark:
            mark = await tx.load(COUNTING_MARKS, MARK) or CountingMark(MARK)
            tx.put(COUNTING_MARKS, replace(mark, by=by))
            return mark

        return await self._commits.run(body)

    async def _advance(self, until: datetime, counted_until: datetime, by: str) -> None:
        """Note how far was counted; what was final stays so."""

        async def body(tx: Tx) -> None:
            mark = await self._mine(tx, by, [])
            final = max(until, mark.until or until)
            tx.put(COUNTING_MARKS, replace(mark, until=final, counted_until=max(counted_until, final)))

        await self._commits.run(body)

    async def _commit(self, paths: Sequence[str], write: Callable[[Tx], int], by: str) -> int:
        async def body(tx: Tx) -> int:
            mark = await self._mine(tx, by, paths)
            changed = write(tx)
            if changed:
                tx.put(COUNTING_MARKS, mark)
            return changed

        return await self._commits.run(body)

    async def _mine(self, tx: Tx, by: str, paths: Sequence[str]) -> CountingMark:
        """Read what a commit needs, and the mark. Put with the rest as it was read, the mark stops a run that was
        overtaken between reading and writing."""
        await tx.read(COUNTING_MARKS.at(MARK), *paths)
        mark = tx.get(COUNTING_MARKS, MARK)
        if mark is None or mark.by != by:
            raise Overtaken
        return mark


def read_cells(text: str) -> Day:
    """The cells of a document. Raises ValueError for what is none."""
    return msgspec.json.decode(text, type=dict[int, dict[str, int]])


def write_cells(cells: Mapping[int, Cell]) -> str:
    """The cells as a document has them, in order. A day that would not fit loses parts of measures (`name:detail`), the
    latest first; no sum is lost. That is a day of some 20,000 agents, or hirers of one agent."""
    kept = {number: {name: cells[number][name] for name in sorted(cells[number])} for number in sorted(cells)}
    text = _json(kept)
    for number in reversed(kept):
        if len(text) <= CELLS_CHARACTERS_MAX:
            break
        kept[number] = {name: amount for name, amount in kept[number].items() if ":" not in name}
        text = _json(kept)
    return text


def _json(cells: Mapping[int, Cell]) -> str:
    return msgspec.json.encode(cells).decode()


def _figures_id(subject: str, day: str) -> str:
    return f"{subject}.{day}"


def _number(moment: datetime) -> int:
    """The number of a moment's quarter-hour in its day."""
    at = moment.astimezone(UTC)
    return (at.hour * 60 + at.minute) // 15


def moment_of(day: str, number: int) -> datetime:
    """The beginning of a quarter-hour."""
    return midnight(date.fromisoformat(day)) + number * QUARTER


def _batches(ids: Iterable[str]) -> Iterable[list[str]]:
    rest = iter(sorted(ids))
    while some := list(islice(rest, BATCH_MAX)):
        yield some
