"""Badges: for hours with agents that are specialised in a game, to who played and to the agent; the rules are data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain import texts
from domain.agents import Rank
from domain.ids import Kind, derived_id
from domain.users import REASON_CHARACTERS_MAX


@dataclass(frozen=True, slots=True)
class Badge:
    """A rule of the catalogue: so many billed hours in a game. `key` names it for ever; the rest may be reworded."""

    key: str
    name: str
    game: str
    hours_required: int
    criteria: str
    tier: Rank

    @property
    def id(self) -> str:
        """Its public id."""
        return derived_id(Kind.BADGE, self.key)


@dataclass(frozen=True, slots=True)
class EarnedBadge:
    """A badge that a user or an agent has, for good. `reason` is a moderator's, None where the hours were reached."""

    badge_id: str
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BadgeTotals:
    """How many users and agents have each badge, by its id, as last counted. The count alone writes it."""

    id: str
    counted_at: datetime
    awarded: Mapping[str, int] = field(default_factory=dict)


def reached(badges: Sequence[Badge], game: str, minutes: int) -> list[Badge]:
    """The badges that so many billed minutes in the game are worth, in the order of the catalogue."""
    folded = texts.fold(game)
    return [each for each in badges if texts.fold(each.game) == folded and minutes >= 60 * each.hours_required]


def of_game(badges: Sequence[Badge], game: str | None) -> list[Badge]:
    """The badges of a game however it is spelled, or all."""
    if game is None:
        return list(badges)
    folded = texts.fold(game)
    return [each for each in badges if texts.fold(each.game) == folded]


def require_reason(raw: str) -> str:
    """Why a moderator awards it. Raises BadInput."""
    return texts.prose(raw, "input.reason", REASON_CHARACTERS_MAX)
