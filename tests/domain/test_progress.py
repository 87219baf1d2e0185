"""What hours are worth: badges, achievements, ranks, levels. Figures only grow, and nothing earned is taken away."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import badges, progress
from domain.agents import ExperienceItem, Rank
from domain.badges import Badge, EarnedBadge
from domain.errors import BadInput
from domain.ids import Kind, is_id
from domain.progress import Achieved, Achievement, Level, Metric, Played, Progress, RankRule
from tests.make import NOW, STEADY

LATER = NOW + timedelta(days=1)
CHESS2, CHESS10 = (Badge(f"chess-{n}", f"Chess {n}", "Chess", n, f"{n} hours", Rank.BRONZE) for n in (2, 10))
GO = Badge("go", "Go", "Go", 1, "an hour", Rank.GOLD)
BADGES = (CHESS2, CHESS10, GO)
RANKS = (
    RankRule(Rank.SILVER, 10, 2, 3_500),
    RankRule(Rank.GOLD, 100, 5, 4_000),
    RankRule(Rank.PLATINUM, 1_000, 20, 4_500),
)
LEVELS = (Level("Novice", 1), Level("Student", 10), Level("Adept", 50))
EMPTY = Progress("usr_x")


def test_minutes_count_in_every_game_of_the_agent_however_it_is_spelled() -> None:
    once = progress.play(EMPTY, ("Chess", "Go"), 90, NOW)
    twice = progress.play(once, ("CHESS",), 40, LATER)
    assert once.games == (Played("Chess", 90, NOW), Played("Go", 90, NOW))
    assert twice.games == (Played("Chess", 130, LATER), Played("Go", 90, NOW))
    assert (once.minutes, twice.minutes) == (90, 130)
    late = progress.play(twice, ("chess",), 1, NOW)  # told out of order
    assert late.games[0] == Played("Chess", 131, LATER)
    assert progress.play(EMPTY, (), 5, NOW) == replace(EMPTY, minutes=5)


def test_hours_are_kept_of_so_many_games_and_no_more() -> None:
    full = progress.play(EMPTY, [f"game {n}" for n in range(progress.GAMES_MAX)], 1, NOW)
    more = progress.play(full, ("one more", "game 0"), 2, LATER)
    assert len(more.games) == progress.GAMES_MAX
    assert more.games[0] == Played("game 0", 3, LATER)
    assert more.minutes == 3


def test_a_badge_is_earned_at_its_hours_and_not_a_minute_before() -> None:
    almost = progress.award_reached(progress.play(EMPTY, ("chess",), 119, NOW), BADGES, NOW)
    assert almost.badges == ()
    reached = progress.award_reached(progress.play(almost, ("chess",), 1, LATER), BADGES, LATER)
    assert reached.badges == (EarnedBadge(CHESS2.id, LATER),)
    assert reached.badge_ids == (CHESS2.id,)
    assert progress.award_reached(reached, BADGES, LATER + timedelta(days=1)) == reached
    jumped = progress.award_reached(progress.play(EMPTY, ("Chess", "Go"), 600, NOW), BADGES, NOW)
    assert jumped.badge_ids == (CHESS2.id, CHESS10.id, GO.id)
    assert is_id(CHESS2.id, Kind.BADGE)


def test_a_rule_that_goes_or_grows_takes_no_badge_away() -> None:
    earned = progress.award_reached(progress.play(EMPTY, ("Chess",), 120, NOW), BADGES, NOW)
    assert progress.award_reached(earned, (), LATER) == earned
    harder = replace(CHESS2, hours_required=50)
    assert progress.award_reached(earned, (harder,), LATER) == earned


def test_a_badge_that_is_there_stays_as_it_was_earned() -> None:
    given_ = progress.award(EMPTY, EarnedBadge(GO.id, NOW, "A tournament."))
    assert progress.award(given_, EarnedBadge(GO.id, LATER)) == given_


@pytest.mark.parametrize(
    ("game", "found"), [("chess", 2), ("  CHESS ", 2), ("go", 1), ("poker", 0), ("", 0), (None, 3)]
)
def test_the_badges_of_a_game(game: str | None, found: int) -> None:
    assert len(badges.of_game(BADGES, game)) == found


def test_a_reason_is_said() -> None:
    assert badges.require_reason(" Well played. ") == "Well played."
    for raw in ("", " ", "a" * 501):
        with pytest.raises(BadInput) as refusal:
            badges.require_reason(raw)
        assert refusal.value.field == "input.reason"


@pytest.mark.parametrize("metric", Metric)
def test_an_achievement_is_reached_once_for_each_metric(metric: Metric) -> None:
    rule = Achievement("key", "Name", "Do it.", metric, 3)
    field = {Metric.HOURS: "minutes"}.get(metric, metric.value.lower())
    unit = 60 if metric is Metric.HOURS else 1
    short = replace(EMPTY, **{field: 3 * unit - 1})
    assert progress.achieve(short, (rule,), NOW) == short
    there = replace(EMPTY, **{field: 3 * unit})
    reached = progress.achieve(there, (rule,), NOW)
    assert reached.achieved == (Achieved("key", NOW),)
    assert progress.achieve(replace(reached, **{field: 5 * unit}), (rule,), LATER).achieved == reached.achieved


@pytest.mark.parametrize(
    ("minutes", "ratings", "milli", "has", "gets"),
    [
        (0, 0, 0, Rank.BRONZE, Rank.BRONZE),
        (600, 2, 3_500, Rank.BRONZE, Rank.SILVER),
        (599, 2, 3_500, Rank.BRONZE, Rank.BRONZE),
        (600, 1, 5_000, Rank.BRONZE, Rank.BRONZE),
        (600, 2, 3_499, Rank.BRONZE, Rank.BRONZE),
        (60_000, 20, 4_500, Rank.BRONZE, Rank.PLATINUM),
        (60_000, 20, 4_499, Rank.BRONZE, Rank.GOLD),
        (0, 0, 0, Rank.GOLD, Rank.GOLD),
        (600, 2, 3_500, Rank.PLATINUM, Rank.PLATINUM),
    ],
)
def test_a_rank_needs_hours_ratings_and_their_mean_and_stays(
    minutes: int, ratings: int, milli: int, has: Rank, gets: Rank
) -> None:
    assert progress.rank_of(RANKS, minutes, ratings, milli, has) is gets


def test_experience_is_whole_hours_with_a_title_the_most_first() -> None:
    made = progress.play(progress.play(EMPTY, ("Chess",), 59, NOW), ("Go",), 3_059, LATER)
    made = progress.play(made, ("Poker",), 60, NOW)
    assert progress.experience(made, LEVELS) == (
        ExperienceItem("Go", 50, "Adept", 3, LATER),
        ExperienceItem("Poker", 1, "Novice", 1, NOW),
    )
    assert progress.experience(made, ())[0] == ExperienceItem("Go", 50, "", 0, LATER)


def test_experience_is_of_the_twenty_games_with_the_most_hours() -> None:
    made = EMPTY
    for number in range(30):
        made = progress.play(made, (f"Game {number:02}",), 60 * (number + 1), NOW)
    assert [item.hours for item in progress.experience(made, LEVELS)] == list(range(30, 10, -1))


@STEADY
@given(st.lists(st.tuples(st.sampled_from(["Chess", "Go", "chess"]), st.integers(1, 500)), max_size=30))
def test_the_order_of_the_hires_does_not_matter(hires: list[tuple[str, int]]) -> None:
    def after(order: list[tuple[str, int]]) -> tuple[dict[str, int], set[str]]:
        made = EMPTY
        for game, minutes in order:
            made = progress.award_reached(progress.play(made, (game,), minutes, NOW), BADGES, NOW)
        return {each.game.casefold(): each.minutes for each in made.games}, set(made.badge_ids)

    assert after(hires) == after(hires[::-1])
