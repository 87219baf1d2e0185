"""What comes round with the clock, each round by name: on this process's own clock, or posted by Cloud Scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from domain.errors import Unavailable
from firestore.rows import OutboxRow, RowState
from firestore.store import Store
from functions.outbox import Dispatcher
from functions.schedule.erasures import erase_again
from functions.schedule.figures import Teller, count, count_again
from functions.schedule.patience import Patience
from functions.schedule.payouts import look_after
from functions.schedule.seals import seal_days
from functions.search_mirror import Mirror
from integrations.services import AnalyticsGateway, OrderSource, PayoutGateway

log = structlog.get_logger(__name__)

HOURLY_WINDOW = timedelta(hours=48)  # of the hourly reconciliation: a whole weekend without webhooks
DAILY_WINDOW = timedelta(days=60)  # of the daily one: as far back as Shopify tells of orders
AUDIT_WINDOW = timedelta(hours=48)  # what a process that is new checks: the one before checked what is older
MATURING_BATCHES_MAX = 50  # of 200 accruals for one user in one round: the next round goes on


@dataclass(frozen=True, slots=True)
class Round:
    """A named piece of the schedule: how often it comes round, and what it does; it gives how much it has done."""

    name: str
    every_seconds: float
    run: Callable[[datetime], Awaitable[int]]
    first_after_seconds: float = 0


def rounds(
    store: Store,
    dispatcher: Dispatcher,
    sources: Sequence[OrderSource],
    sweep_seconds: float,
    money_is_live: bool,
    mirror: Mirror | None = None,
    analytics: AnalyticsGateway | None = None,
    payouts: PayoutGateway | None = None,
) -> list[Round]:
    """Every round of the store."""
    auditor = Auditor(store)
    return [
        Round("sweep", sweep_seconds, partial(sweep, store, dispatcher)),
        Round("mature", 60, partial(mature_all, store)),
        Round("reconcile", 3_600, partial(reconcile, store, sources, money_is_live, HOURLY_WINDOW)),
        Round("reconcile_daily", 86_400, partial(reconcile, store, sources, money_is_live, DAILY_WINDOW)),
        Round("payouts", 21_600, partial(look_after, store, payouts), first_after_seconds=600),
        Round("seal", 3_600, partial(seal_days, store)),
        Round("erasures", 86_400, partial(erase_again, store), first_after_seconds=60),
        Round("badges", 3_600, store.progress.count_badges),
        # What a store that was down has left behind is delivered before it is called late.
        Round("audit", 3_600, auditor.run, first_after_seconds=600),
        *([Round("search", 3_600, mirror.reconcile)] if mirror is not None else []),
        Round("figures", 300, partial(count, store), first_after_seconds=60),
        Round("figures_again", 86_400, partial(count_again, store), first_after_seconds=3_600),
        *([Round("tell_analytics", 300, Teller(store, analytics).run)] if analytics is not None else []),
    ]


async def sweep(store: Store, dispatcher: Dispatcher, now: datetime) -> int:
    """Hand every late outbox row to the queue again; gives how many. A row that fails for hours is DEAD, and logged."""
    handed, patience = 0, Patience("sweep")
    for row in await store.outbox.due(now):
        with patience.over(row=row.id):
            handed += await _hand_over(store, dispatcher, row, now)
    return handed


async def _hand_over(store: Store, dispatcher: Dispatcher, row: OutboxRow, now: datetime) -> bool:
    postponed = await store.outbox.postpone(row.id, now)
    if postponed is None or postponed.task is None:
        return False
    if postponed.state is RowState.DEAD:
        log.error("row given up", row=row.id, task=row.task)
        return False
    dispatcher.ask(postponed.task, row.id, postponed.args, not_before=now)
    return True


class Auditor:
    """Checks what the ledger has grown by since its last round; the first of a process, what AUDIT_WINDOW says. The
    whole ledger is checked by `python main.py audit`, which is given the time for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mark: datetime | None = None

    async def run(self, now: datetime) -> int:
        """Log each document that breaks an invariant; gives how many do."""
        report = await self._store.audit(now, since=self._mark or now - AUDIT_WINDOW, progress=log.debug)
        self._mark = report.mark
        for violation in report.violations:
            log.error("invariant broken", invariant=violation.invariant, path=violation.path, why=violation.message)
        return len(report.violations)


async def mature_all(store: Store, now: datetime) -> int:
    """Make what has matured available, user by user; gives how many accruals."""
    matured, patience = 0, Patience("mature")
    for user_id in await store.earnings.due(now):
        with patience.over(user=user_id):
            for _ in range(MATURING_BATCHES_MAX):
                batch = await store.earnings.mature(user_id, now)
                matured += batch
                if not batch:
                    break
    return matured


async def reconcile(
    store: Store, sources: Sequence[OrderSource], money_is_live: bool, window: timedelta, now: datetime
) -> int:
    """Hold the providers' books of the last `window` against ours, and add what our webhooks missed; gives how many
    orders were mended.

    An order that cannot be entered is passed over, and those behind it are not. A provider that is down, or says what
    we cannot read, is left for the next round; the others are reconciled all the same.
    """
    mended = 0
    for source in sources:
        name, patience = type(source).__name__, Patience("reconcile")
        try:
            async for facts in source.orders(now - window, now):
                if facts.test == money_is_live:
                    continue
                with patience.over(order=facts.order_id):
                    if await store.orders.reconcile(facts, now):
                        mended += 1
                        log.warning("order mended", order=facts.order_id, rail=facts.rail.value)
        except Unavailable as down:
            log.warning("reconciliation put off", source=name, reason=down.message)
        except Exception:
            log.exception("reconciliation put off", source=name)
    return mended


class Clock:
    """Runs the rounds of a store without Cloud Scheduler, one after the other, for as long as it is held."""

    def __init__(self, rounds: Sequence[Round], clock: Callable[[], datetime]) -> None:
        self._rounds = rounds
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin at once, but for rounds that wait at first: the process before may have left something behind."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="schedule")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = {each.name: loop.time() + each.first_after_seconds for each in self._rounds}
        while True:
            for each in self._rounds:
                if loop.time() >= due[each.name]:
                    await self._run_one(each)
                    due[each.name] = loop.time() + each.every_seconds
            await asyncio.sleep(max(0.05, min(due.values()) - loop.time()))

    async def _run_one(self, each: Round) -> None:
        try:
            await each.run(self._clock())
        except Unavailable:
            log.warning("round put off", round=each.name, reason="the store does not answer")
        except Exception:
            log.exception("round failed", round=each.name)
