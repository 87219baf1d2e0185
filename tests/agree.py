"""What both checkers of the ledger say of a world's documents, beside the invariants that `World.check` reads."""

from __future__ import annotations

from domain.audit import check
from firestore.audit import books_of
from tests.make import World
from tests.simulator import second_checker


async def whole(world: World) -> None:
    """Neither finds anything wrong, but for tasks that no test runs and that wait (I13)."""
    await world.check()
    ours, theirs = await said(world)
    assert (ours, theirs) == ([], [])


async def said(world: World) -> tuple[list[str], list[str]]:
    """What the audit finds, and what the second checker finds."""
    dump = await world.dump()
    books, unreadable = books_of(dump, world.now)
    ours = [f"{each.invariant} {each.path} {each.message}" for each in [*unreadable, *check(books)]]
    theirs = second_checker.broken(dump, world.now)
    return [each for each in ours if not each.startswith("I13")], [x for x in theirs if not x.startswith("I13")]
