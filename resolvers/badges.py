"""Badges: which there are, and a moderator's award."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain import badges as rules
from domain import errors, texts
from domain.ids import Kind, kind_of
from domain.revisions import GAME_CHARACTERS_MAX
from domain.users import Viewer
from firestore.paging import Page
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info
from graph.errors import Conflict, NotFound
from graph.types.badges import Badge, EarnedBadge, earned_badge


@strawberry.input(description="To one of both: a user, or an agent.")
class AwardBadgeInput:
    badge_id: strawberry.ID
    reason: str
    user_id: strawberry.ID | None = None
    agent_id: strawberry.ID | None = None


@strawberry.type
class AwardBadgePayload:
    badge: EarnedBadge


AwardBadgeResult = Annotated[AwardBadgePayload | NotFound | Conflict, strawberry.union("AwardBadgeResult")]


async def badges(
    info: Info, game: str | None = None, first: int | None = None, after: str | None = None
) -> Connection[Badge]:
    """The badges that can be earned, all or those of a game."""
    context = info.context
    game = texts.optional_line(game, "game", GAME_CHARACTERS_MAX)
    scope = scope_of("Query.badges", None, game)
    place = position_of(context.desk.cursors, scope, after)
    found = rules.of_game(context.desk.policy.progression.badges, game)
    start = next((index + 1 for index, each in enumerate(found) if place == (each.id,)), 0)
    shown = tuple(found[start : start + page_size(first)])
    places = tuple((each.id,) for each in shown)
    page = Page(shown, places, start + len(shown) < len(found), places[-1] if places else None)
    return connect(page, Badge.of, context.desk.cursors, scope, after)


async def award_badge(info: Info, input: AwardBadgeInput) -> AwardBadgeResult:
    """Give a badge to a user or an agent, whatever its hours; name one of the two. One that it has stays as it was
    earned.
    """
    context = info.context
    if (input.user_id is None) == (input.agent_id is None):
        raise errors.BadInput("Name one of userId and agentId.", field="input.userId")
    kind, subject_id = (Kind.USER, input.user_id) if input.user_id is not None else (Kind.AGENT, input.agent_id)
    if subject_id is None or kind_of(subject_id) is not kind:
        raise errors.NotFound("user or agent")
    actor = Viewer(context.signed_in, await context.role())
    earned = await context.store.progress.award(actor, subject_id, input.badge_id, input.reason, context.now)
    (rule,) = (each for each in context.desk.policy.progression.badges if each.id == earned.badge_id)
    return AwardBadgePayload(badge=earned_badge(rule, earned))
