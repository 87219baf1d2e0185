"""How the store does, for admins."""

from __future__ import annotations

import asyncio

from graph.context import Info
from graph.types.analytics import DateRange
from graph.types.platform import PlatformAnalytics


async def platform_analytics(info: Info, range: DateRange) -> PlatformAnalytics:
    """The whole store's figures over a range of days."""
    context = info.context
    timezone, asked = await range.read(context)
    mark, found = await asyncio.gather(context.store.roll_up.mark(), context.store.analytics.of_platform(asked))
    return PlatformAnalytics.of(timezone, mark, found)
