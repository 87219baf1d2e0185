"""How far a user or an agent has come: hours by game, and what they are worth in badges, achievements, ranks, levels.

All of it follows from figures that only grow, kept by the tasks that follow a session, a review or a publication. The
rules are the catalogue's, so a new rule finds the old figures, and what somebody has earned is never taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain import badges, texts
from domain.agents import ExperienceItem, Rank
from domain.badges import Badge, EarnedBadge

EXPERIENCE_MAX = 20  # games that an agent shows, the most played: it is specialised in ten at a time
GAMES_MAX = 200  # that hours are kept of, for one user or agent: a document stays small, and few people know 50


class Metric(StrEnum):
    """What an achievement is measured by."""

    HIRES = "HIRES"
    HOURS = "HOURS"
    REVIEWS = "REVIEWS"
    PUBLICATIONS = "PUBLICATIONS"
    SALES = "SALES"
    FIVE_STAR_AGENTS = "FIVE_STAR_AGENTS"


@dataclass(frozen=True, slots=True)
class Played:
    """Billed minutes in one game, and when the last of them ended. `game` is spelled as when it was first played."""

    game: str
    minutes: int
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class Achieved:
    """An achievement by its key, and the end of the step that completed it."""

    key: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """The figures of one user, or of one agent, under its id.

    `minutes` are the billed minutes of ended hires: a user's own, an agent's with all its hirers. A hire counts when it
    has ended with a billed minute. `badge_ids` repeats those of `badges` for the count.
    """

    id: str
    games: tuple[Played, ...] = ()
    minutes: int = 0
    hires: int = 0
    sales: int = 0
    reviews: int = 0
    publications: int = 0
    five_star_agents: int = 0
    badges: tuple[EarnedBadge, ...] = ()
    badge_ids: tuple[str, ...] = ()
    achieved: tuple[Achieved, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """That a step was counted: a session, a review, a publication. Kept for ever, so that none counts twice."""

    id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Achievement:
    """A rule of the catalogue: a figure that reaches its target. `key` names it for ever."""

    key: str
    name: str
    description: str
    metric: Metric
    target: int


@dataclass(frozen=True, slots=True)
class RankRule:
    """What an agent needs for a rank, all of it: billed hours, ratings, and their mean in thousandths."""

    rank: Rank
    hours: int
    ratings: int
    rating_milli: int


@dataclass(frozen=True, slots=True)
class Level:
    """A title for so many whole hours in one game."""

    title: str
    hours: int


@dataclass(frozen=True, slots=True)
class Progression:
    """The catalogue's rules. `ranks` and `levels` ascend; a listing has five stars from its mean and count on."""

    badges: tuple[Badge, ...] = ()
    achievements: tuple[Achievement, ...] = ()
    ranks: tuple[RankRule, ...] = ()
    levels: tuple[Level, ...] = ()
    five_stars_milli: int = 4_800
    five_stars_ratings: int = 5


# ---- what is counted


def play(before: Progress, games: Sequence[str], minutes: int, at: datetime) -> Progress:
    """Count an ended hire of an agent that is specialised in these games: its minutes count in each of them, since
    nobody tells which one was played."""
    known = {texts.fold(each.game): each for each in before.games}
    for game in games:
        key = texts.fold(game)
        played = known.get(key, Played(game, 0, at))
        if key in known or len(known) < GAMES_MAX:
            last = max(at, played.last_used_at)
            known[key] = replace(played, minutes=played.minutes + minutes, last_used_at=last)
    return replace(before, games=tuple(known.values()), minutes=before.minutes + minutes)


def award_reached(before: Progress, rules: Sequence[Badge], at: datetime) -> Progress:
    """With the badges that the hours have reached by now."""
    worth = [badge.id for each in before.games for badge in badges.reached(rules, each.game, each.minutes)]
    after = before
    for badge_id in worth:
        after = award(after, EarnedBadge(badge_id, at))
    return after


def award(before: Progress, earned: EarnedBadge) -> Progress:
    """With the badge; the same where it is there, as it was first earned."""
    if earned.badge_id in before.badge_ids:
        return before
    return replace(before, badges=(*before.badges, earned), badge_ids=(*before.badge_ids, earned.badge_id))


def achieve(before: Progress, rules: Sequence[Achievement], at: datetime) -> Progress:
    """With the achievements whose target is reached by now."""
    have = {each.key for each in before.achieved}
    new = [rule.key for rule in rules if rule.key not in have and figure(before, rule.metric) >= rule.target]
    return replace(before, achieved=(*before.achieved, *(Achieved(key, at) for key in new))) if new else before


def figure(progress: Progress, metric: Metric) -> int:
    """Where the figure stands; hours are whole ones."""
    match metric:
        case Metric.HIRES:
            return progress.hires
        case Metric.HOURS:
            return progress.minutes // 60
        case Metric.REVIEWS:
            return progress.reviews
        case Metric.PUBLICATIONS:
            return progress.publications
        case Metric.SALES:
            return progress.sales
        case Metric.FIVE_STAR_AGENTS:
            return progress.five_star_agents


# ---- what it is worth


def rank_of(rules: Sequence[RankRule], minutes: int, rating_count: int, rating_milli: int, now: Rank) -> Rank:
    """The rank that an agent has reached, and never a lower one than it has: a bad week takes nothing away."""
    ranks = tuple(Rank)
    met = [
        rule.rank
        for rule in rules
        if minutes >= 60 * rule.hours and rating_count >= rule.ratings and rating_milli >= rule.rating_milli
    ]
    return max((now, *met), key=ranks.index)


def experience(progress: Progress, levels: Sequence[Level]) -> tuple[ExperienceItem, ...]:
    """What an agent has learned, the most first, 20 games at most: one counts from its first whole hour on."""
    items = [_item(each, levels) for each in progress.games if each.minutes >= 60]
    return tuple(sorted(items, key=lambda item: (-item.hours, item.game))[:EXPERIENCE_MAX])


def _item(played: Played, levels: Sequence[Level]) -> ExperienceItem:
    hours = played.minutes // 60
    reached = [level for level in levels if hours >= level.hours]
    title = reached[-1].title if reached else ""
    return ExperienceItem(played.game, hours, title, len(reached), played.last_used_at)
