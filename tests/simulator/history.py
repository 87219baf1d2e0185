"""One history: people, providers and the clockwork at work on a faulty machine, then the reckoning."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec

from domain.audit import check
from domain.errors import Conflict, IdempotencyConflict, Refusal, Unavailable
from domain.money import DOF_MAX, ZERO
from domain.purchases import Rail
from firestore.audit import audit, books_of
from functions.schedule.rounds import sweep
from functions.tasks.payouts import take_back
from integrations.services import PayoutGateway
from tests.nouns import user_id
from tests.simulator import orders, second_checker
from tests.simulator.orders import Planned
from tests.simulator.script import Act, Scribe, perform
from tests.simulator.wire import Faults, Killed
from tests.simulator.world import CREATOR, NAMES, RULES, World

PLAYERS = NAMES[:4]
LIVE_AUDIT_EACH = 5  # every fifth history is audited while it happens
DELETED_EACH = 4  # in every fourth history, who created an agent deletes the account
FIRST_EACH = 10  # in every tenth history, two credits at once are the first that a wallet sees
NAP_SECONDS = 1500  # between two acts of one person: some sessions of an hour run out meanwhile


@dataclass(frozen=True)
class Verdict:
    """What became of a history: `problems` is empty when all is well; `trace` is the same for the same seed.

    `dumps` are the documents and the moment, midway and at the end.
    """

    seed: int
    problems: tuple[str, ...]
    counts: dict[str, int]
    trace: str
    dumps: tuple[tuple[dict[str, dict[str, Any]], datetime], ...]


def run(seed: int, faults: Faults | None = None) -> Verdict:
    """Run the history of a seed."""
    world = World(seed, faults or Faults(), CREATOR if seed % DELETED_EACH == 1 else "ada")
    history = _History(world)
    try:
        world.loop.run(history.main())
    except Exception as problem:
        world.problems.append(f"the history itself raised {problem!r}")
    dump = world.dump()
    text = msgspec.json.encode(dump, order="deterministic")
    for process in world.processes:
        world.bury(process)
    counts = {**world.counts, "steps": world.loop.steps, "acts": len(history.scribe.acts)}
    counts |= {"entries": sum(path.startswith("entries/") for path in dump)}
    trace = hashlib.sha256(text).hexdigest()[:16]
    return Verdict(seed, tuple(world.problems), counts, trace, tuple(history.dumps))


class _History:
    def __init__(self, world: World) -> None:
        self.world = world
        self.scribe = Scribe(world)
        self.orders: list[Planned] = []
        self.dumps: list[tuple[dict[str, dict[str, Any]], datetime]] = []
        self._sending: list[asyncio.Future[Any]] = []

    async def main(self) -> None:
        world = self.world
        people = (self._person(name, world.rng.randint(2, 5)) for name in PLAYERS)
        more = [self._audit_live()] if world.seed % LIVE_AUDIT_EACH == 0 else []
        more += [self._leave()] if world.seed % DELETED_EACH == 1 else []
        more += [self._first_credits(world.rng.choice(PLAYERS))] if world.seed % FIRST_EACH == 2 else []
        await self._all(*people, self._clock(), *more)
        self._check("midway", whole=False)
        await asyncio.sleep(timedelta(days=8).total_seconds())
        people = (self._person(name, world.rng.randint(0, 2)) for name in PLAYERS)
        await self._all(*people, self._mature(), self._refund_some())
        await self._all(self._cash_out("ada"), self._cash_out("bob"), self._refund_some())
        await self._all(*self._sending)
        await world.settle_down()
        await self._all(*(orders.decide(world, order) for order in self.orders))
        await self._mature()
        await world.settle_down()
        self._check("at the end", whole=True)
        self._reckon()
        await self._replay()

    async def _all(self, *work: Awaitable[Any]) -> None:
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, BaseException):
                self.world.problems.append(f"the script itself raised {result!r}")

    # ---- who does what

    async def _person(self, name: str, acts: int) -> None:
        rng, mine = self.world.rng, list[str]()
        for _ in range(acts):
            await asyncio.sleep(rng.expovariate(1 / NAP_SECONDS))
            await self._act(name, mine)

    async def _act(self, name: str, mine: list[str]) -> None:
        rng, scribe = self.world.rng, self.scribe
        others = [each for each in PLAYERS if each != name]
        draw = rng.random()
        if draw < 0.25:
            await self._buy(name)
        elif draw < 0.33:
            amount = 10**15 - 10_000 if rng.random() < 0.03 else rng.choice((50, 400, 3000, -300))
            await self._do(scribe.adjust(name, amount))
        elif draw < 0.335:
            await self._do(scribe.reprice(*rng.choice((("ada", 0), ("bob", 1)))))
        elif draw < 0.41:
            await self._do(scribe.transfer(name, rng.choice(others)))
        elif draw < 0.48:
            await self._do(scribe.pay_out(name, rng.choice((50, 200, 900))))
        else:
            session = await self._do(scribe.hire(name) if draw < 0.9 else scribe.start(name))
            if session is not None:
                session_id = scribe.sessions[-1] if not isinstance(session, tuple) else session[0].id
                mine.append(session_id)
                await self._play(name, session_id)

    async def _play(self, name: str, session_id: str) -> None:
        """What happens to a running session, part of it at once."""
        rng, scribe = self.world.rng, self.scribe
        work = [scribe.use(name, session_id, count) for count in range(rng.choice((0, 0, 1, 2, 3)))]
        if rng.random() < 0.35:
            work.append(scribe.extend(name, session_id))
        if rng.random() < 0.1:  # used up at one moment, and extended at the next, by whoever's clock
            await self._all(
                self._do(scribe.use(name, session_id, 9, 90_000)), self._do(scribe.extend(name, session_id))
            )
        if rng.random() < 0.4:
            work.append(scribe.end(rng.choice((name, "ada", "bob")), session_id))
        if rng.random() < 0.05:
            work.append(scribe.end("amy", session_id, moderator=True))
        if rng.random() < 0.25:
            work.append(scribe.review(name, session_id))
        rng.shuffle(work)
        await self._all(*(self._later(each) for each in work))

    async def _later(self, act: Act) -> None:
        await asyncio.sleep(self.world.rng.choice((0.0, 0.0, 60.0, 600.0, 4000.0)) * self.world.rng.random())
        await self._do(act)

    async def _do(self, act: Act) -> Any:
        return await perform(self.world, act)

    async def _buy(self, name: str) -> None:
        rng, world = self.world.rng, self.world
        rail = rng.choice((Rail.SHOPIFY, Rail.STRIPE))
        sku, quantity = rng.choice([each.sku for each in RULES.packages]), rng.choice((1, 1, 2))
        begun = await self._do(self.scribe.buy(name, rail, sku, quantity))
        if begun is None:
            return
        planned = [orders.plan(world, name, rail, sku, quantity, begun[0].id, len(self.orders))]
        if rng.random() < 0.15:  # a cart that is paid twice, or an order that names no purchase
            purchase_id = rng.choice((begun[0].id, None))
            planned.append(orders.plan(world, name, Rail.STRIPE, sku, quantity, purchase_id, len(self.orders) + 1))
            planned[-1].reference += "_again"
        for order in planned:
            self.orders.append(order)
            self._sending.append(asyncio.ensure_future(orders.provide(world, order)))

    async def _clock(self) -> None:
        """The clockwork: sweeps, and steps of the clock."""
        world = self.world
        for _ in range(4):
            await asyncio.sleep(world.rng.expovariate(1 / 1800))
            world.step = timedelta(seconds=world.rng.choice((0, 0, -600, 600)))
            process = world.process()
            try:
                await sweep(process.store, process.dispatcher, process.clock())
            except (Killed, Unavailable):
                continue

    async def _cash_out(self, name: str) -> None:
        """Ask for more than has matured, in several payouts at once."""
        rng = self.world.rng
        asked = [self.scribe.pay_out(name, rng.choice((50, 60, 120, 400))) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
        await self._all(*(self._do(each) for each in asked))

    async def _refund_some(self) -> None:
        """Service refunds, of sessions that may be over, in parts and at once."""
        rng, scribe = self.world.rng, self.scribe
        for session_id in list(dict.fromkeys(scribe.sessions)):
            if rng.random() < 0.3:
                amounts = [rng.choice((1, 10, 97, 300)) for _ in range(rng.choice((1, 2)))]
                await self._all(*(self._do(scribe.refund(session_id, each)) for each in amounts))

    async def _mature(self) -> None:
        """Mature what is due, twice at once, until nothing is; then tell how the payouts ended."""
        for _ in range(20):
            process = self.world.process()
            try:
                due = await process.store.earnings.due(process.clock())
                await asyncio.gather(*(self._mature_one(user) for user in due for _ in range(2)))
            except (Killed, Unavailable):
                continue
            if not due:
                break
        await asyncio.gather(*(self._conclude(payout_id) for payout_id in list(self.world.bank.transfers)))

    async def _mature_one(self, user: str) -> None:
        process = self.world.process()
        try:
            await process.store.earnings.mature(user, process.clock())
        except (Killed, Unavailable):
            return

    async def _conclude(self, payout_id: str) -> None:
        """The bank tells that a transfer was paid out, or failed, or the one and then the other, in any order."""
        how = self.world.bank.fate(payout_id)
        for failure in [*how, *how]:
            for _ in range(20):
                process = self.world.process()
                try:
                    if failure is None:
                        await process.store.payouts.conclude(payout_id, None, process.clock())
                    else:
                        gateway = cast(PayoutGateway, self.world.bank)
                        await take_back(process.store, gateway, payout_id, failure, process.clock())
                    break
                except (Killed, Unavailable):
                    await asyncio.sleep(1)
            else:
                if not self._is_full(payout_id):
                    self.world.problems.append(f"the end of {payout_id} was not taken")

    def _is_full(self, payout_id: str) -> bool:
        """Whether what comes back finds no room in the wallet: then it waits, and nothing is lost."""
        dump = self.world.dump()
        payout = dump[f"payouts/{payout_id}"]
        wallet = dump[f"wallets/{payout['user_id']}"]
        return bool(wallet["available"] + wallet["held"] + payout["amount"] > DOF_MAX)

    async def _first_credits(self, name: str) -> None:
        """A document that is not there yet is written by two: one of them must see that the other was first."""
        await self._all(*(self._do(self.scribe.adjust(name, amount)) for amount in (50, 400)))

    async def _leave(self) -> None:
        """The account is deleted, or not, because a session runs or something has not matured."""
        world = self.world
        await asyncio.sleep(world.rng.choice((0, NAP_SECONDS)))
        while True:  # ends: a wire is not dead for ever
            process = world.process()
            try:
                await process.store.erasures.request(user_id(CREATOR), ZERO, process.clock())
            except Conflict:
                return
            except (Killed, Unavailable):
                await asyncio.sleep(1)
            else:
                return

    async def _audit_live(self) -> None:
        """Audits beside the work: nobody stops, and none gives a false alarm."""
        world, mark = self.world, None
        for _ in range(3):
            await asyncio.sleep(world.rng.expovariate(1 / 2_400))
            report = await audit(world.memory, world.now(), since=mark, progress=lambda line: None)
            found = [str(each) for each in report.violations if each.invariant != "I13"]
            world.problems += [f"an audit since {mark} says {each}" for each in found[:3]]
            mark = report.mark

    # ---- the reckoning

    def _check(self, when: str, *, whole: bool) -> None:
        world, dump = self.world, self.world.dump()
        self.dumps.append((dump, world.now()))
        books, unreadable = books_of(dump, world.now())
        found = [f"{each.invariant} {each.path} {each.message}" for each in [*unreadable, *check(books)]]
        if not whole:
            found = [each for each in found if not each.startswith("I13")]
        second = second_checker.broken(dump, world.now())
        if not whole:
            second = [each for each in second if not each.startswith("I13")]
        if bool(found) != bool(second):
            world.problems.append(f"{when} the checkers disagree: {found[:2]}, {second[:2]}")
        world.problems += [f"{when}: {each}" for each in found[:5]]

    def _reckon(self) -> None:
        """What was granted is there, what was refused is not, and each order came to what it had to."""
        world, dump = self.world, self.world.dump()
        for act in self.scribe.acts:
            if (act.answer is not None) != act.left(dump):
                granted = "granted" if act.answer is not None else f"refused as {act.refusal}"
                world.problems.append(f"{act.name} was {granted}, and the store says otherwise")
        for path, payout in dump.items():
            fate = world.bank.told.get(payout["id"]) if path.startswith("payouts/") else None
            due = "FAILED" if fate and any(fate) else "PAID"
            if fate is not None and payout["state"] != due and not self._is_full(payout["id"]):
                world.problems.append(f"{path} is {payout['state']}, and the bank told {fate}")
            kept = path.startswith("payouts/") and payout["id"] in world.bank.transfers.keys() - world.bank.reversed
            if kept and payout["state"] == "FAILED":
                world.problems.append(f"{path} has failed, and its transfer was not brought back")
        shut = [each for path, each in dump.items() if path.startswith("wallets/") and each["closed"]]
        for wallet in shut:  # only what a deleted account owed, or had, before could be there, and it had nothing
            if wallet["available"] or wallet["debt"] or wallet["payable"]:
                world.problems.append(f"a deleted account has {wallet}")
        counted: set[str] = set()
        disputes = dict.fromkeys(map(user_id, PLAYERS), 0)
        for order in self.orders:
            kept = dump.get(f"orders/{order.id}")
            told = order.paid is not None or order.refunds or order.disputes or order.cancelled
            if kept is None:
                if told:
                    world.problems.append(f"the order {order.reference} is lost")
                continue
            applied, user = kept["applied"], kept["user_id"]
            if (kept["review"] or "").startswith("the wallet would"):
                continue
            if applied != order.target or (applied and user != user_id(order.name)):
                world.problems.append(f"{order} came to {applied} for {user}, due are {order.target}")
            if user is not None:
                disputes[user_id(order.name)] += order.open_disputes
            if order.waits and not kept["in_review"]:
                world.problems.append(f"{order} is in doubt, and waits for nobody")
            counted.add(order.id)
        for user, count in disputes.items():
            wallet = dump.get(f"wallets/{user}", {"open_disputes": 0})
            if wallet["open_disputes"] != count and len(counted) == len(self.orders):
                world.problems.append(f"{user} counts {wallet['open_disputes']} open disputes, there are {count}")

        for id_, listing in ((path, each) for path, each in dump.items() if path.startswith("listings/")):
            hires = [each for path, each in dump.items() if path.startswith("sessions/") and each["type"] == "HIRED"]
            mine = [each for each in hires if id_.endswith(each["listing_id"])]
            ratings = sum(each["review_id"] is not None for each in mine)
            if (listing["total_hires"], listing["rating_count"]) != (len(mine), ratings):
                world.problems.append(
                    f"{id_} counts {listing['total_hires']} hires and {listing['rating_count']} ratings"
                )

    async def _replay(self) -> None:
        """Each request again: the same answer; and with another input under its key: a conflict. Nothing changes."""
        world = self.world
        before = world.versions()
        for act in self.scribe.acts:
            if act.answer is None:
                continue
            try:
                answer = await act.ask(world.process())
                if act.key(answer) != act.key(act.answer):
                    world.problems.append(f"{act.name} again is {act.key(answer)}, not {act.key(act.answer)}")
            except (Refusal, Unavailable) as refusal:
                world.problems.append(f"{act.name} again is refused: {refusal!r}")
            if act.other is None:
                continue
            try:
                await act.other(world.process())
                world.problems.append(f"{act.name} with another input under its key was granted")
            except IdempotencyConflict:
                continue
            except Refusal as refusal:
                world.problems.append(f"{act.name} with another input under its key was refused as {refusal!r}")
        if world.versions() != before:
            world.problems.append("asking again changed the store")
