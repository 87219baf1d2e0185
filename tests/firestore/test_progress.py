"""Figures and what they earn, by the store's operations: each step counts once, in any order, and is told once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from domain.agents import Rank, SpecialistType, Specialization
from domain.badges import Badge, EarnedBadge
from domain.errors import BadInput, NotFound
from domain.ids import Kind, derived_id
from domain.money import ZERO
from domain.progress import Achieved, Achievement, Level, Metric, Played, Progress, Progression, RankRule
from domain.reviews import ReviewChange, ReviewWish
from domain.sessions import Session, SessionType
from domain.users import Role, Viewer
from firestore.backend import Backend
from firestore.collections import ACTS, AGENTS, BADGE_TOTALS, LISTINGS, MARKS, OUTBOX, PROGRESS, USERS
from firestore.counting import CountingBackend
from firestore.memory import MemoryBackend
from firestore.progress import TOTALS
from firestore.sessions import Start
from functions.tasks.announce import announce
from functions.tasks.sessions import follow_session
from tests import make
from tests.make import MINUTE, NOW, PLAIN, World, policy, user_id, wish

MAX, ADA, MIA = map(user_id, ("max", "ada", "mia"))
AGENT, LISTING = make.agent().id, make.listing().id
HOUR1 = Badge("chess-1", "Chess 1", "Chess", 1, "an hour", Rank.BRONZE)
HOUR2 = Badge("chess-2", "Chess 2", "Chess", 2, "two hours", Rank.SILVER)
OTHER = Badge("go-1", "Go 1", "Go", 1, "an hour", Rank.BRONZE)
RULES = Progression(
    badges=(HOUR1, HOUR2, OTHER),
    achievements=(
        Achievement("hire", "First hire", "Hire.", Metric.HIRES, 1),
        Achievement("review", "First review", "Review.", Metric.REVIEWS, 1),
        Achievement("sale", "First sale", "Sell.", Metric.SALES, 1),
        Achievement("publish", "On the market", "Publish.", Metric.PUBLICATIONS, 1),
        Achievement("stars", "Five stars", "Be liked.", Metric.FIVE_STAR_AGENTS, 1),
    ),
    ranks=(RankRule(Rank.SILVER, 1, 1, 4_000), RankRule(Rank.GOLD, 2, 2, 4_000)),
    levels=(Level("Novice", 1),),
    five_stars_milli=4_800,
    five_stars_ratings=2,
)
MODERATOR = Viewer(MIA, Role.MODERATOR)


async def opened(backend: Backend, **changes: Any) -> World:
    made = World(backend, policy=policy(progression=RULES), **changes)
    await made.open("mia", "eve")
    plays = Specialization(("Chess",), "Openings", SpecialistType.TRAINED)
    await made.put(
        AGENTS, make.agent(specialization=plays, progression_enabled=True, listing_id=LISTING, published=True)
    )
    for name in ("max", "eve"):
        await made.fund(name, 600_000)
    return made


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = await opened(MemoryBackend())
    yield made
    await made.check()


@pytest_asyncio.fixture
async def anywhere(backend: Backend) -> AsyncIterator[World]:
    made = await opened(backend, rehearse=False)
    yield made
    await made.check()


async def hired(world: World, minutes: int, key: str = "k", name: str = "max") -> Session:
    """An ended hire of so many billed minutes; nothing has followed it yet."""
    hours = -(-minutes // 60)
    session, _ = await world.store.sessions.hire(user_id(name), wish(make.listing(), key, quantity=hours), world.now)
    world.now += MINUTE * minutes
    if minutes % 60:
        await world.store.sessions.end(user_id(name), session.id, session.id, world.now)
    settled = await world.store.sessions.settle_if_over(session.id, world.now)
    assert settled is not None
    assert settled.settlement is not None
    assert settled.settlement.minutes == minutes
    return settled


async def of(world: World, subject_id: str) -> Progress:
    (found,) = await world.store.read([(PROGRESS, subject_id)])
    return found or Progress(subject_id)


async def told(world: World) -> list[tuple[str, str, dict[str, str]]]:
    """Whom the store tells what."""
    rows = [row for row in await world.all(OUTBOX) if row.task == "notify" and "BADGES" in row.args["notes"]]
    found = [(note[1], note[3], note[4]) for row in rows for note in json.loads(row.args["notes"])]
    return sorted(found, key=repr)


async def test_an_ended_hire_counts_for_hirer_agent_and_owner_once(world: World) -> None:
    session = await hired(world, 61)
    for _ in range(3):
        await world.store.progress.count_session(session, world.now)
    at = session.settlement.ended_at if session.settlement else NOW
    badge = EarnedBadge(HOUR1.id, at)
    figures = Progress(MAX, (Played("Chess", 61, at),), 61, hires=1, badges=(badge,), badge_ids=(HOUR1.id,))
    assert await of(world, MAX) == replace(figures, achieved=(Achieved("hire", at),))
    assert await of(world, AGENT) == replace(figures, id=AGENT, hires=0)
    assert await of(world, ADA) == Progress(ADA, sales=1, achieved=(Achieved("sale", at),))
    about = {"badge_id": HOUR1.id, "badge": "Chess 1"}
    assert await told(world) == sorted(
        [
            (MAX, "badge_awarded", about),
            (MAX, "achievement_unlocked", {"achievement": "First hire"}),
            (ADA, "agent_badge_awarded", {**about, "agent_id": AGENT, "agent": make.agent().name}),
            (ADA, "achievement_unlocked", {"achievement": "First sale"}),
        ],
        key=repr,
    )


async def test_hours_add_up_to_the_next_badge(world: World) -> None:
    for key, minutes in (("a", 59), ("b", 1), ("c", 59), ("d", 2)):
        await world.store.progress.count_session(await hired(world, minutes, key), world.now)
        expected = {"a": (), "b": (HOUR1.id,), "c": (HOUR1.id,), "d": (HOUR1.id, HOUR2.id)}[key]
        assert (await of(world, MAX)).badge_ids == (await of(world, AGENT)).badge_ids == expected


async def test_neither_a_trial_nor_a_running_hire_counts(world: World) -> None:
    running, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    await world.store.progress.count_session(running, NOW)
    trial = await world.store.sessions.start(MAX, Start(AGENT, SessionType.TRIAL, PLAIN, None, ZERO, "t"), NOW)
    over = await world.store.sessions.settle_if_over(trial.id, NOW + 10 * MINUTE)
    assert over is not None
    await world.store.progress.count_session(over, NOW + 10 * MINUTE)
    assert await world.all(PROGRESS) == await world.all(MARKS) == []


async def test_parallel_deliveries_of_parallel_hires_count_each_once(anywhere: World) -> None:
    sessions = [await hired(anywhere, 10, f"k{n}") for n in range(6)]
    await asyncio.gather(*(anywhere.store.progress.count_session(each, anywhere.now) for each in sessions * 2))
    assert ((await of(anywhere, MAX)).minutes, (await of(anywhere, MAX)).hires) == (60, 6)
    assert ((await of(anywhere, AGENT)).minutes, (await of(anywhere, ADA)).sales) == (60, 6)
    assert (await of(anywhere, MAX)).badge_ids == (HOUR1.id,)


async def test_the_task_that_follows_a_session_counts_it(world: World) -> None:
    session, _ = await world.store.sessions.hire(MAX, wish(make.listing()), NOW)
    row = next(each for each in world.rows if each.args == {"session_id": session.id})
    for at in (NOW, NOW + 60 * MINUTE, NOW + 61 * MINUTE):
        await follow_session(world.store, row.id, row.args, at)
    assert (await of(world, MAX)).minutes == 60
    assert len(await world.all(MARKS)) == 1


async def reviewed(world: World, rating: int, key: str, name: str = "max") -> str:
    session = await hired(world, 60, key, name)
    await world.store.progress.count_session(session, world.now)
    review = await world.store.reviews.submit(user_id(name), session.id, ReviewWish(rating, "Good."), world.now)
    return review.id


async def test_a_review_counts_for_its_author_and_stars_for_the_owner(world: World) -> None:
    first = await reviewed(world, 5, "a")
    for _ in range(2):
        await world.store.progress.count_review(first, world.now)
    assert (await of(world, MAX)).reviews == 1
    assert [each.key for each in (await of(world, MAX)).achieved] == ["hire", "review"]
    assert (await of(world, ADA)).five_star_agents == 0
    second = await reviewed(world, 4, "b", "eve")
    await world.store.progress.count_review(second, world.now)
    assert (await of(world, ADA)).five_star_agents == 0  # 4.5 of two
    await world.store.reviews.update(user_id("eve"), second, ReviewChange(rating=5), world.now)
    for _ in range(2):
        await world.store.progress.count_review(second, world.now)
    assert (await of(world, ADA)).five_star_agents == 1
    assert (await of(world, user_id("eve"))).reviews == 1
    assert [each.key for each in (await of(world, ADA)).achieved] == ["sale", "stars"]


async def test_a_publication_counts_once_however_often_it_is_told(world: World) -> None:
    args = {"kind": "published", "agent_id": AGENT, "listing_id": LISTING}
    for row in ("row1", "row2", "row1"):
        await announce(world.store, row, args, NOW)
    assert await of(world, ADA) == Progress(
        ADA, publications=1, achieved=(Achieved("publish", make.listing().created_at),)
    )


async def test_an_agent_rises_when_hours_and_ratings_are_there_and_never_falls(world: World) -> None:
    before = await world.get(AGENTS, AGENT)
    first = await reviewed(world, 5, "a")
    assert (await world.get(AGENTS, AGENT)).rank is Rank.BRONZE  # no rating is counted yet
    await world.store.progress.count_review(first, world.now)
    risen = await world.get(AGENTS, AGENT)
    assert (risen.rank, risen.version, risen.updated_at) == (Rank.SILVER, before.version + 1, world.now)
    assert (await world.get(LISTINGS, LISTING)).rank is Rank.SILVER
    announced = [row.args for row in await world.all(OUTBOX) if row.args.get("kind") == "agent_updated"]
    assert announced == [{"kind": "agent_updated", "agent_id": AGENT, "changes": "rank"}]
    about = {"agent_id": AGENT, "agent": before.name, "rank": "SILVER"}
    assert (ADA, "rank_reached", about) in await told(world)
    await world.store.reviews.update(MAX, first, ReviewChange(rating=1), world.now)
    await world.store.progress.count_review(first, world.now)
    assert (await world.get(AGENTS, AGENT)).rank is Rank.SILVER
    assert (await world.get(AGENTS, AGENT)).version == risen.version


async def test_without_progression_an_agent_keeps_its_rank(world: World) -> None:
    await world.put(AGENTS, replace(await world.get(AGENTS, AGENT), progression_enabled=False))
    await world.store.progress.count_review(await reviewed(world, 5, "a"), world.now)
    assert (await world.get(AGENTS, AGENT)).rank is Rank.BRONZE
    assert (await of(world, AGENT)).minutes == 60  # what it has learned is kept all the same


async def test_a_moderator_awards_a_badge_with_a_reason_and_on_record(world: World) -> None:
    await world.put(USERS, make.user("mia", role=Role.MODERATOR))
    for subject in (MAX, AGENT):
        earned = await world.store.progress.award(MODERATOR, subject, OTHER.id, " Won the cup. ", NOW)
        assert earned == EarnedBadge(OTHER.id, NOW, "Won the cup.")
        again = await world.store.progress.award(MODERATOR, subject, OTHER.id, "Once more.", NOW + MINUTE)
        assert again == earned
        assert (await of(world, subject)).badges == (earned,)
    acts = sorted((act for act in await world.all(ACTS) if act.name == "awardBadge"), key=lambda act: act.subject_id)
    assert [(act.actor_id, act.name, act.subject_id, act.reason) for act in acts] == [
        (MIA, "awardBadge", subject, "Won the cup.") for subject in sorted((MAX, AGENT))
    ]
    assert acts[0].facts == {"badge": (None, OTHER.id)}
    assert [(who, text) for who, text, _ in await told(world)] == sorted(
        [(MAX, "badge_awarded"), (ADA, "agent_badge_awarded")]
    )


@pytest.mark.parametrize(
    ("subject", "badge", "reason", "refusal"),
    [
        (MAX, "bdg_x", "Why.", NotFound),
        (MAX, OTHER.id, " ", BadInput),
        (user_id("nobody"), OTHER.id, "Why.", NotFound),
        (derived_id(Kind.AGENT, "nothing"), OTHER.id, "Why.", NotFound),
        (LISTING, OTHER.id, "Why.", NotFound),
        ("../users", OTHER.id, "Why.", NotFound),
    ],
)
async def test_an_award_that_cannot_be_changes_nothing(
    world: World, subject: str, badge: str, reason: str, refusal: type[Exception]
) -> None:
    async with world.refuses(refusal):
        await world.store.progress.award(MODERATOR, subject, badge, reason, NOW)


async def test_a_deleted_agent_is_given_nothing(world: World) -> None:
    await world.put(AGENTS, replace(await world.get(AGENTS, AGENT), deleted_at=NOW))
    async with world.refuses(NotFound):
        await world.store.progress.award(MODERATOR, AGENT, OTHER.id, "Why.", NOW)


async def test_the_totals_are_counted_into_one_document(anywhere: World) -> None:
    await anywhere.store.progress.count_session(await hired(anywhere, 120), anywhere.now)
    await anywhere.store.progress.award(MODERATOR, user_id("eve"), HOUR1.id, "A gift.", NOW)
    assert await anywhere.store.progress.count_badges(NOW) == 5
    totals = await anywhere.get(BADGE_TOTALS, TOTALS)
    assert (totals.awarded, totals.counted_at) == ({HOUR1.id: 3, HOUR2.id: 2, OTHER.id: 0}, NOW)
    await anywhere.store.progress.count_badges(NOW + timedelta(hours=1))
    assert await anywhere.get(BADGE_TOTALS, TOTALS) == totals  # nothing new, nothing written


async def test_what_it_costs() -> None:
    """Behind the hire and off its path: three figures, a mark, and a row for each thing earned."""
    counting = CountingBackend(MemoryBackend())
    world = await opened(counting, rehearse=False)
    first, second = await hired(world, 60, "a"), await hired(world, 1, "b")
    for session, rpcs, writes in ((first, 2, 8), (second, 2, 4), (first, 1, 0)):
        with counting.measure() as counts:
            await world.store.progress.count_session(session, world.now)
        assert (counts.rpcs, counts.writes) == (rpcs, writes)
