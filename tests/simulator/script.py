"""What users, admins and providers ask for in a history, and what each answer must leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from domain.errors import BadInput, IdempotencyConflict, Refusal, Unavailable
from domain.ids import Kind, derived_id, fingerprint
from domain.money import Dof
from domain.pricing import HireUnit, SessionConfiguration
from domain.purchases import Rail
from domain.reviews import ReviewWish
from domain.sessions import SessionType
from firestore.collections import REVIEWS
from firestore.sessions import Hire, Start, Usage
from tests.nouns import an_offer, user_id
from tests.simulator.wire import Killed
from tests.simulator.world import ADMIN, AGENT_IDS, LISTING_IDS, RULES, Process, World

TRIES_MAX = 60  # of a client that wants an answer
FLIGHT_SECONDS = 5.0  # longer than any commit of the wire's is under way (docs/decisions/0002)

Ask = Callable[[Process], Awaitable[Any]]
Shelf = dict[str, dict[str, Any]]


@dataclass
class Act:
    """One request: how to ask, what names its answer, what it leaves in the store if it was granted.

    `other` asks with the same key for something else: once granted, that must be a conflict.
    """

    name: str
    ask: Ask
    key: Callable[[Any], Any]
    left: Callable[[Shelf], bool]
    other: Ask | None = None
    answer: Any = None
    refusal: str | None = None
    unanswered: bool = False
    note: Callable[[Any], None] = field(default=lambda answer: None)


async def perform(world: World, act: Act) -> Any:
    """Ask until there is an answer, as a client does that wants one; sometimes twice at once.

    A try without an answer may be under way when another process refuses the next: then the client asks again later.
    """
    if world.rng.random() < 0.1:
        twin = asyncio.ensure_future(_once(world, act))
        await _until_answered(world, act)
        await twin
    else:
        await _until_answered(world, act)
    while act.answer is None and act.unanswered:
        act.unanswered = False
        await asyncio.sleep(FLIGHT_SECONDS)
        await _until_answered(world, act)
    if act.answer is not None:
        act.note(act.answer)
    return act.answer


async def _until_answered(world: World, act: Act) -> None:
    for attempt in range(TRIES_MAX):
        if await _once(world, act):
            return
        await asyncio.sleep(world.rng.random() * min(30, 2**attempt))
    world.problems.append(f"{act.name} had no answer after {TRIES_MAX} tries")


async def _once(world: World, act: Act) -> bool:
    try:
        answer = await act.ask(world.process())
    except (Unavailable, Killed):
        act.unanswered = True
        return False
    except IdempotencyConflict:
        world.problems.append(f"{act.name} was told that its key was used with another input")
    except (Refusal, BadInput) as refusal:
        if act.answer is None:
            act.refusal = type(refusal).__name__
    except Exception as problem:
        world.problems.append(f"{act.name} raised {problem!r}")
    else:
        if act.answer is not None and act.key(act.answer) != act.key(answer):
            world.problems.append(f"{act.name} was answered {act.key(act.answer)}, then {act.key(answer)}")
        act.answer, act.refusal = answer, None
    return True


class Scribe:
    """Makes the requests of a history. Keys are numbered, so two requests never share one by accident."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.acts: list[Act] = []
        self.sessions: list[str] = []
        self._count = 0

    def _key(self) -> str:
        self._count += 1
        return f"k{self._count}"

    def _add(self, act: Act) -> Act:
        self.acts.append(act)
        return act

    def _features(self) -> SessionConfiguration:
        draw = self.world.rng.random
        return SessionConfiguration(draw() < 0.3, draw() < 0.3, draw() < 0.3)

    def buy(self, name: str, rail: Rail, sku: str, quantity: int) -> Act:
        user, key = user_id(name), self._key()
        purchase_id = derived_id(Kind.PURCHASE, user, key)

        def ask(count: int) -> Ask:
            async def run(process: Process) -> Any:
                wish = process.store.purchases.wish(user, rail, sku, count, key)
                return await process.store.purchases.begin(wish, f"https://pay.test/{wish.id}", process.clock())

            return run

        return self._add(
            Act(
                f"buy {key}",
                ask(quantity),
                lambda answer: (answer[0].id, answer[1].id),
                lambda dump: f"purchases/{purchase_id}" in dump,
                ask(quantity + 1),
            )
        )

    def hire(self, name: str) -> Act:
        user, key, rng = user_id(name), self._key(), self.world.rng
        session_id = derived_id(Kind.SESSION, "hire", user, key)
        unit, most = rng.choice(((HireUnit.HOUR, 3), (HireUnit.HOUR, 3), (HireUnit.DAY, 1)))
        wish = Hire(rng.choice(LISTING_IDS), unit, rng.randint(1, most), 1, self._features(), key)

        def ask(wish: Hire) -> Ask:
            return lambda process: process.store.sessions.hire(user, wish, process.clock())

        return self._add(
            Act(
                f"hire {key}",
                ask(wish),
                lambda answer: answer[0].id,
                lambda dump: f"sessions/{session_id}" in dump,
                ask(replace(wish, quantity=wish.quantity + 1)),
                note=lambda answer: self.sessions.append(session_id),
            )
        )

    def start(self, name: str) -> Act:
        user, key, rng = user_id(name), self._key(), self.world.rng
        trial = rng.random() < 0.3
        agent_id = rng.choice(AGENT_IDS)
        allowance = Dof(0 if trial else rng.choice((0, 10, 100)))
        kind = SessionType.TRIAL if trial else SessionType.OWNED
        wish = Start(agent_id, kind, self._features(), None if trial else rng.choice((None, 30, 90)), allowance, key)
        fact = ("trial", user, agent_id) if trial else ("owned", user, key)
        session_id = derived_id(Kind.SESSION, *fact)

        def left(dump: Shelf) -> bool:
            mark = fingerprint(agent_id, kind.value, wish.configuration, wish.minutes, allowance, key if trial else "")
            return dump.get(f"sessions/{session_id}", {}).get("fingerprint") == mark

        return self._add(
            Act(
                f"start {key}",
                lambda process: process.store.sessions.start(user, wish, process.clock()),
                lambda answer: answer.id,
                left,
                note=lambda answer: self.sessions.append(session_id),
            )
        )

    def reprice(self, name: str, place: int) -> Act:
        """The owner of an agent changes its price: who saw the old one must not pay the new one."""
        wish = an_offer(hourly=300, daily=2_000, weekly=9_000)

        async def ask(process: Process) -> Any:
            return await process.store.listings.publish(user_id(name), AGENT_IDS[place], wish, process.clock())

        def left(dump: Shelf) -> bool:
            return bool(dump[f"listings/{LISTING_IDS[place]}"]["pricing"]["hourly"] == 300)

        return self._add(Act(f"reprice {place}", ask, lambda answer: answer.pricing, left))

    def extend(self, name: str, session_id: str) -> Act:
        user, key = user_id(name), self._key()
        count = self.world.rng.randint(1, 2)

        def ask(count: int) -> Ask:
            return lambda process: process.store.sessions.extend(
                user, session_id, HireUnit.HOUR, count, key, process.clock()
            )

        def left(dump: Shelf) -> bool:
            extensions = dump.get(f"sessions/{session_id}", {}).get("extensions", ())
            return any(each.startswith(fingerprint("extend", key)) for each in extensions)

        return self._add(Act(f"extend {key}", ask(count), lambda answer: answer[0].id, left, ask(count + 1)))

    def use(self, name: str, session_id: str, sequence: int, most: int | None = None) -> Act:
        user, rng = user_id(name), self.world.rng
        dof = most or rng.choice((0, 1, 7, 40, 400, 4_000))
        latency = rng.choice((None, 20, 55))
        usage_id = derived_id(Kind.USAGE, session_id, sequence)
        figures = (rng.randint(0, 5), latency, rng.random() < 0.1)

        def ask(dof: int) -> Ask:
            usage = Usage(session_id, sequence, Dof(dof), *figures)
            return lambda process: process.store.sessions.record_usage(user, usage, process.clock())

        def left(dump: Shelf) -> bool:
            return dump.get(f"usage/{usage_id}", {}).get("fingerprint") == fingerprint(dof, *figures)

        return self._add(
            Act(f"use {session_id[-4:]} {sequence}", ask(dof), lambda answer: answer.id, left, ask(dof + 1))
        )

    def end(self, name: str, session_id: str, *, moderator: bool = False) -> Act:
        user, key = user_id(name), self._key()

        def left(dump: Shelf) -> bool:
            return dump.get(f"sessions/{session_id}", {}).get("end_key") == fingerprint(user, key)

        def note(answer: Any) -> None:
            if not moderator and user not in (answer[0].hirer_id, answer[0].owner_id):
                self.world.problems.append(f"{name} ended {session_id}, which is none of theirs")

        return self._add(
            Act(
                f"end {key}",
                lambda process: process.store.sessions.end(user, session_id, key, process.clock(), moderator=moderator),
                lambda answer: (answer[0].id, answer[0].settlement),
                left,
                note=note,
            )
        )

    def transfer(self, giver: str, taker: str) -> Act:
        user, key, amount = user_id(giver), self._key(), self.world.rng.choice((1, 30, 500, 2000))
        paper = derived_id(Kind.TRANSACTION, "transfer", user, key)

        def ask(amount: int) -> Ask:
            return lambda process: process.store.wallets.transfer(
                user, user_id(taker), Dof(amount), "for you", key, process.clock()
            )

        return self._add(
            Act(
                f"transfer {key}",
                ask(amount),
                lambda answer: (answer[0].id, answer[0].amount),
                lambda dump: f"transactions/{paper}" in dump,
                ask(amount + 1),
            )
        )

    def adjust(self, name: str, amount: int) -> Act:
        key = self._key()
        paper = derived_id(Kind.TRANSACTION, "adjust", ADMIN, key)

        def ask(amount: int) -> Ask:
            return lambda process: process.store.wallets.adjust(
                ADMIN, user_id(name), amount, "a gift", key, process.clock()
            )

        return self._add(
            Act(
                f"adjust {key}",
                ask(amount),
                lambda answer: (answer[0].id, answer[0].amount),
                lambda dump: f"transactions/{paper}" in dump,
                ask(amount + 1),
            )
        )

    def review(self, name: str, session_id: str) -> Act:
        wish = ReviewWish(self.world.rng.randint(1, 5), "Good company.")

        async def ask(process: Process) -> Any:
            (known,) = await process.store.read([(REVIEWS, derived_id(Kind.REVIEW, session_id))])
            if known is not None:
                return known
            return await process.store.reviews.submit(user_id(name), session_id, wish, process.clock())

        return self._add(
            Act(
                f"review {session_id[-4:]}",
                ask,
                lambda answer: answer.id,
                lambda dump: f"reviews/{derived_id(Kind.REVIEW, session_id)}" in dump,
            )
        )

    def refund(self, session_id: str, amount: int) -> Act:
        key = self._key()
        paper = derived_id(Kind.TRANSACTION, "service refund", ADMIN, key)

        def ask(reason: str) -> Ask:
            return lambda process: process.store.refunds.refund(
                ADMIN, session_id, Dof(amount), reason, key, process.clock()
            )

        return self._add(
            Act(
                f"refund {key}",
                ask("a bad run"),
                lambda answer: (answer[0].id, answer[1].id),
                lambda dump: f"transactions/{paper}" in dump,
                ask("another reason"),
            )
        )

    def pay_out(self, name: str, amount: int) -> Act:
        user, key = user_id(name), self._key()
        payout_id = derived_id(Kind.PAYOUT, user, key)

        def ask(amount: int) -> Ask:
            return lambda process: process.store.payouts.request(user, Dof(amount), key, process.clock())

        return self._add(
            Act(
                f"pay out {key}",
                ask(amount),
                lambda answer: answer[0].id,
                lambda dump: f"payouts/{payout_id}" in dump,
                ask(amount + 1),
            )
        )


def package_of(sku: str) -> tuple[int, int]:
    """The DOF and the minor units of one package."""
    (package,) = [each for each in RULES.packages if each.sku == sku]
    return package.dof.units + package.bonus_dof.units, package.price.minor_units
