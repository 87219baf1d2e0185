"""Reading the audit log."""

from __future__ import annotations

import strawberry

from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info
from graph.types.acts import Act


@strawberry.input(description="Both may be given: what one actor did to one subject.")
class ActFilter:
    actor_id: strawberry.ID | None = None
    subject_id: strawberry.ID | None = None


async def acts(
    info: Info, filter: ActFilter | None = None, first: int | None = None, after: str | None = None
) -> Connection[Act]:
    """What moderators and admins did by their office, newest first."""
    context, asked = info.context, filter or ActFilter()
    scope = scope_of("acts", context.user_id, asked.actor_id, asked.subject_id)
    position = position_of(context.desk.cursors, scope, after)
    page = await context.store.acts.page(asked.actor_id, asked.subject_id, page_size(first), position)
    return connect(page, Act.of, context.desk.cursors, scope, after)
