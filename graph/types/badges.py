"""Badges, achievements, and who has earned them."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import badges, progress
from domain.agents import Rank
from domain.progress import Progress
from firestore.collections import BADGE_TOTALS, PROGRESS
from firestore.progress import TOTALS
from graph.context import Context, Info
from graph.enums import enum
from graph.types.nodes import Node

enum(Rank, "From the least to the greatest; of agents by their experience, of packages by their size.")


@strawberry.type(description="For billed hours with agents that are specialised in a game.")
class Badge(Node):
    name: str
    game: str
    hours_required: int
    criteria: str
    tier: Rank

    @classmethod
    def of(cls, record: badges.Badge) -> Badge:
        return cls(
            id=strawberry.ID(record.id),
            name=record.name,
            game=record.game,
            hours_required=record.hours_required,
            criteria=record.criteria,
            tier=record.tier,
        )

    @strawberry.field(description="How many users and agents have it, as counted within the last hour.")
    async def total_awarded(self, info: Info) -> int:
        totals = await info.context.loaders.one(BADGE_TOTALS, TOTALS)
        return totals.awarded.get(self.id, 0) if totals else 0


@strawberry.type
class EarnedBadge:
    badge: Badge
    awarded_at: datetime
    reason: str | None = strawberry.field(description="A moderator's; null where the hours were reached.")


@strawberry.type(description="A goal, how far it is, and when it was reached.")
class Achievement:
    id: strawberry.ID
    name: str
    description: str
    current: int
    target: int
    achieved_at: datetime | None


async def progress_of(context: Context, subject_id: str) -> Progress:
    """The figures of a user or an agent; who has none has all at 0."""
    return await context.loaders.one(PROGRESS, subject_id) or Progress(subject_id)


async def badges_of(context: Context, subject_id: str) -> list[EarnedBadge]:
    """What a user or an agent has earned, the latest first. A badge that left the catalogue is not shown."""
    known = {each.id: each for each in context.desk.policy.progression.badges}
    earned = [each for each in (await progress_of(context, subject_id)).badges if each.badge_id in known]
    return [earned_badge(known[each.badge_id], each) for each in sorted(earned, key=_earned_at, reverse=True)]


def earned_badge(rule: badges.Badge, earned: badges.EarnedBadge) -> EarnedBadge:
    return EarnedBadge(badge=Badge.of(rule), awarded_at=earned.at, reason=earned.reason)


async def achievements_of(context: Context, user_id: str) -> list[Achievement]:
    """Every achievement of the catalogue, in its order; what is reached shows its whole target."""
    have = await progress_of(context, user_id)
    reached = {each.key: each.at for each in have.achieved}
    return [
        Achievement(
            id=strawberry.ID(rule.key),
            name=rule.name,
            description=rule.description,
            current=rule.target if rule.key in reached else min(progress.figure(have, rule.metric), rule.target),
            target=rule.target,
            achieved_at=reached.get(rule.key),
        )
        for rule in context.desk.policy.progression.achievements
    ]


def _earned_at(earned: badges.EarnedBadge) -> datetime:
    return earned.at
