"""Where what takes long waits in a test, so that it can be seen how much of it is under way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass
class Hall:
    """A context whose resolvers wait in it. How many do now, and did at most; the gate lets them end."""

    request_id: str = "req"
    user_id: str | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0
    most: int = 0

    def fresh(self) -> Hall:
        return self

    async def wait(self) -> None:
        """Be inside until the gate opens."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.gate.wait()
        self.inside -= 1
