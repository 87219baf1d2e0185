"""`python main.py recount`, and the rounds that count."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from firestore.collections import FIGURES, SESSIONS
from firestore.memory import MemoryBackend
from functions.commands import OF_THE_STORE, recount
from functions.schedule.figures import count, count_again
from tests.make import NOW, SECOND, World, session, user_id, wish

MAX, HOUR = user_id("max"), timedelta(hours=1)


async def counted() -> World:
    world = World(MemoryBackend())
    offered = await world.open()
    await world.fund("max", 100_000)
    begun, _ = await world.store.sessions.hire(MAX, wish(offered), NOW)
    await world.store.sessions.end(MAX, begun.id, "end", NOW + SECOND)
    assert await count(world.store, NOW + HOUR) > 0
    return world


async def test_a_figure_that_was_changed_is_mended(capsys: pytest.CaptureFixture[str]) -> None:
    world = await counted()
    before = await world.dump()
    assert await recount(world.store, NOW + HOUR) == 0
    figures = await world.all(FIGURES)
    await world.put(FIGURES, *(replace(each, cells='{"48":{"hires":9}}') for each in figures))
    assert await recount(world.store, NOW + HOUR) == 1
    after = await world.dump()
    unlike = {path for path in before if before[path] != after[path]}
    assert unlike == {"counting_marks/figures"}  # whose turn it was
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "0 documents of figures were not what the facts say, and are now.",
        f"{len(figures)} documents of figures were not what the facts say, and are now.",
    ]
    assert OF_THE_STORE["recount"] is recount


async def test_what_came_late_is_logged() -> None:
    world = await counted()
    with capture_logs() as logs:
        assert await count_again(world.store, NOW + 2 * HOUR) == 0
    assert logs == []
    await world.put(SESSIONS, session())
    with capture_logs() as logs:
        assert await count_again(world.store, NOW + 2 * HOUR) == 3
    assert [(each["event"], each["documents"]) for each in logs] == [("figures corrected", 3)]


async def test_a_round_that_is_overtaken_leaves_it_to_the_other() -> None:
    world = await counted()
    memory = world.backend
    assert isinstance(memory, MemoryBackend)
    turns: list[str] = []

    async def take_over(verb: str) -> None:
        if verb == "commit" and not turns:
            turns.append(verb)
            assert await count(world.store, NOW + HOUR) == 0

    memory.after = take_over
    with capture_logs() as logs:
        assert await count(world.store, NOW + HOUR) == 0
    memory.after = None
    assert [each["event"] for each in logs] == ["counting left to another process"]
