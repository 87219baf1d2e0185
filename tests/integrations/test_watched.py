"""Who looks on while a gateway is called."""

from __future__ import annotations

import pytest

from domain.errors import NotFound, Unavailable
from integrations.watched import DOWN_SECONDS, Pulse


class Gateway:
    fault: Exception | None = None
    asked = 0

    @property
    def dear(self) -> str:
        raise AssertionError("a property is not called")

    def plain(self) -> str:
        return "plain"

    async def ask(self, word: str, *, twice: bool = False) -> str:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return word * (1 + twice)

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_gateway_is_down_from_its_last_call_on_until_one_is_answered() -> None:
    now = [0.0]
    pulse, gateway, other = Pulse(lambda: now[0]), Gateway(), Gateway()
    pulse.follow("queue", gateway)
    pulse.follow("search", other)
    assert (await gateway.ask("a", twice=True), gateway.plain(), pulse.down()) == ("aa", "plain", [])
    gateway.fault = other.fault = Unavailable("gone")
    for each in (gateway, other):
        with pytest.raises(Unavailable):
            await each.ask("a")
    assert pulse.down() == ["queue", "search"]
    await gateway.close()
    assert pulse.down() == ["queue", "search"]
    gateway.fault = NotFound("thing")  # a refusal is an answer
    with pytest.raises(NotFound):
        await gateway.ask("a")
    assert pulse.down() == ["search"]
    now[0] = DOWN_SECONDS
    assert pulse.down() == []
    assert (gateway.asked, other.asked) == (3, 1)
