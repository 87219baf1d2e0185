"""Topics of listings and agents: each fact counted and told once, in numbers without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from domain.events import Event, EventType, agent_topic, listing_topic
from domain.listings import Seller, Tally
from domain.money import ZERO, Dof
from domain.sessions import EndReason, Session, SessionType
from firestore.backend import Backend
from firestore.collections import LISTINGS, OUTBOX, SELLERS, SESSIONS, TALLIES
from firestore.memory import MemoryBackend
from firestore.rows import OutboxRow, RowState
from firestore.sessions import Start, Usage
from functions.tasks.sessions import follow_session
from tests import make
from tests.make import MINUTE, NOW, PLAIN, SECOND, World, user_id, wish

MAX, ADA = user_id("max"), user_id("ada")
LISTING, AGENT = make.listing().id, make.agent().id
TOPICS = (listing_topic(LISTING), agent_topic(AGENT))


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(MemoryBackend())
    await made.open()
    await made.fund("max", 60_000)
    yield made
    await made.check()


@pytest_asyncio.fixture
async def anywhere(backend: Backend) -> AsyncIterator[World]:
    made = World(backend, rehearse=False)
    await made.open()
    await made.fund("max", 60_000)
    yield made
    await made.check()


async def hire(world: World, key: str = "k") -> tuple[Session, OutboxRow]:
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing(), key), world.now)
    return session, world.rows[-1]


async def figures(world: World) -> tuple[int, int, int, int]:
    listing = await world.get(LISTINGS, LISTING)
    return listing.total_hires, listing.active_hires, listing.ended_hires, listing.successful_hires


async def events(world: World, topic: str) -> list[Event]:
    rows = await world.all(OUTBOX)
    return sorted((e for row in rows for e in row.events if e.topic == topic), key=lambda event: event.sequence)


async def test_a_hire_is_counted_and_told_once(world: World) -> None:
    session, row = await hire(world)
    for _ in range(3):
        assert await world.store.topics.follow_session(session.id, row.id, NOW) == NOW + 54 * MINUTE
    assert await figures(world) == (1, 1, 0, 0)
    assert await world.get(SELLERS, ADA) == Seller(ADA, total_hires=1)
    assert await world.get(TALLIES, session.id) == Tally(session.id, hired=True)
    for topic in TOPICS:
        (told,) = await events(world, topic)
        assert (told.type, told.sequence, told.data) == (
            EventType.AGENT_HIRED,
            1,
            {"agentId": AGENT, "sessionId": session.id},
        )
        assert await world.store.topics.head(topic) == 1
    assert await world.store.topics.head("listing:none") == 0


async def test_the_row_of_a_running_session_waits_for_its_end(world: World) -> None:  # T-T06
    session, row = await hire(world)
    over, low = NOW + 60 * MINUTE, NOW + 54 * MINUTE
    assert await world.store.topics.follow_session(session.id, row.id, NOW) == low
    assert (await world.get(OUTBOX, row.id)).not_before == low
    assert await world.store.topics.follow_session(session.id, row.id, low) == over
    kept = await world.get(OUTBOX, row.id)
    assert (kept.state, kept.not_before, kept.due_at, kept.expires_at) == (
        RowState.PENDING,
        over,
        over + 20 * SECOND,
        None,
    )
    for seconds, due in ((19, []), (20, [kept])):
        found = await world.store.outbox.due(over + seconds * SECOND)
        assert [each for each in found if each.task == "follow_session"] == due
    await world.store.sessions.settle_if_over(session.id, over)
    assert await world.store.topics.follow_session(session.id, row.id, over) is None
    assert (await world.get(OUTBOX, row.id)).state is RowState.DONE
    assert await figures(world) == (1, 0, 1, 1)


async def test_an_extended_session_is_come_back_to_later(world: World) -> None:
    session, row = await hire(world)
    await world.store.sessions.extend(MAX, session.id, make.HireUnit.HOUR, 1, "x", NOW)
    assert await world.store.topics.follow_session(session.id, row.id, NOW + 60 * MINUTE) == NOW + 108 * MINUTE


async def test_usage_that_uses_the_hold_up_brings_the_end_forward(world: World) -> None:
    """What the hold no longer pays for is settled when it is over, and not when the hire would have been."""
    session, _ = await hire(world)
    await world.store.sessions.record_usage(MAX, Usage(session.id, 1, Dof(3_600), 1, None, False), NOW + MINUTE)
    brought = world.rows[-1]
    assert (brought.task, brought.not_before) == ("follow_session", NOW + 18 * MINUTE)
    assert await follow_session(world.store, brought.id, brought.args, NOW + 18 * MINUTE) == NOW + 24 * MINUTE
    again = Usage(session.id, 2, Dof(120), 1, None, False)
    await world.store.sessions.record_usage(MAX, again, NOW + 19 * MINUTE)
    assert world.rows[-1].not_before == NOW + 22 * MINUTE
    for seconds, due in ((19, False), (20, True)):
        found = await world.store.outbox.due(NOW + 22 * MINUTE + seconds * SECOND)
        assert (world.rows[-1] in found) is due
    assert await follow_session(world.store, world.rows[-1].id, world.rows[-1].args, NOW + 22 * MINUTE) is None
    assert (await world.get(SESSIONS, session.id)).settled


async def test_usage_that_changes_no_minute_asks_for_nothing(world: World) -> None:
    session, _ = await hire(world)
    await world.store.sessions.record_usage(MAX, Usage(session.id, 1, ZERO, 1, None, False), NOW + MINUTE)
    assert world.rows[-1].task is None


async def test_a_hire_that_ended_unseen_is_counted_whole(world: World) -> None:
    session, row = await hire(world)
    await world.store.sessions.end(MAX, session.id, "e", NOW + MINUTE)
    for _ in range(2):
        assert await world.store.topics.follow_session(session.id, row.id, NOW + MINUTE) is None
    assert await figures(world) == (1, 0, 1, 1)
    assert await world.get(TALLIES, session.id) == Tally(session.id, hired=True, ended=True)
    assert len(await events(world, TOPICS[0])) == 1


@pytest.mark.parametrize(
    ("case", "successful"), [("completed", 1), ("hirer", 1), ("owner", 0), ("moderated", 0), ("crashed", 0)]
)
async def test_what_counts_as_a_success(world: World, case: str, successful: int) -> None:
    session, row = await hire(world)
    if case == "crashed":
        await world.store.sessions.record_usage(MAX, Usage(session.id, 1, ZERO, 0, None, True), NOW)
    if case in ("completed", "crashed"):
        await world.store.sessions.settle_if_over(session.id, NOW + 60 * MINUTE)
    else:
        who = {"hirer": MAX, "owner": ADA, "moderated": user_id("eve")}[case]
        await world.store.sessions.end(who, session.id, "e", NOW + MINUTE, moderator=case == "moderated")
    await world.store.topics.follow_session(session.id, row.id, NOW + 60 * MINUTE)
    assert await figures(world) == (1, 0, 1, successful)


async def test_only_hires_count(world: World) -> None:
    started = Start(AGENT, SessionType.TRIAL, PLAIN, None, ZERO, "k")
    trial = await world.store.sessions.start(MAX, started, NOW)
    assert await world.store.topics.follow_session(trial.id, world.rows[-1].id, NOW) == NOW + 10 * MINUTE
    assert await figures(world) == (0, 0, 0, 0)
    assert await events(world, TOPICS[0]) == []


async def test_a_session_that_is_gone_finishes_its_row(world: World) -> None:  # T-T04
    _, row = await hire(world)
    assert await world.store.topics.follow_session(make.session().id, row.id, NOW) is None
    assert (await world.get(OUTBOX, row.id)).state is RowState.DONE
    assert await world.store.topics.follow_session(make.session().id, None, NOW) is None


async def test_hires_in_parallel_are_numbered_without_a_gap(anywhere: World) -> None:
    hires = [await hire(anywhere, f"k{number}") for number in range(8)]
    follow = anywhere.store.topics.follow_session
    await asyncio.gather(*(follow(session.id, row.id, NOW) for session, row in hires * 2))
    assert await figures(anywhere) == (8, 8, 0, 0)
    for topic in TOPICS:
        assert [event.sequence for event in await events(anywhere, topic)] == list(range(1, 9))


async def test_announcements_in_parallel_are_each_told_once(anywhere: World) -> None:
    announce = anywhere.store.topics.announce
    subject = {"agent_id": AGENT, "changes": "name"}
    await asyncio.gather(*(announce("agent_updated", subject, f"row{n % 6}", NOW) for n in range(18)))
    told = await events(anywhere, agent_topic(AGENT))
    assert [event.sequence for event in told] == [1, 2, 3, 4, 5, 6]
    assert {event.type for event in told} == {EventType.AGENT_UPDATED}
    assert told[0].data == subject_of(subject)


def subject_of(subject: dict[str, str]) -> dict[str, Any]:
    return {"agentId": subject["agent_id"], "changes": subject["changes"]}


async def test_a_publication_is_told_to_both_topics(world: World) -> None:
    await world.store.topics.announce("published", {"agent_id": AGENT, "listing_id": LISTING}, "row", NOW)
    for topic in TOPICS:
        (told,) = await events(world, topic)
        assert (told.type, told.data) == (EventType.AGENT_PUBLISHED, {"agentId": AGENT, "listingId": LISTING})


async def test_a_review_that_is_gone_is_not_told(world: World) -> None:
    subject = {"review_id": "rev_x", "listing_id": LISTING}
    await world.store.topics.announce("review", subject, "row", NOW)
    assert await events(world, TOPICS[0]) == []
    with pytest.raises(AssertionError, match="nothing to announce"):
        await world.store.topics.announce("weather", subject, "row", NOW)


def test_the_reasons_are_the_contracts() -> None:
    assert {reason.value for reason in EndReason} == {
        "COMPLETED",
        "ENDED_BY_HIRER",
        "ENDED_BY_OWNER",
        "EXHAUSTED",
        "MODERATED",
    }
