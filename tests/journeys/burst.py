"""A burst of webhooks at a running store: facts told several times, in any order; and whether each counted once."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import httpx

from tests.client import Client
from tests.journeys import shop

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Burst:
    """How the store took it: seconds to acknowledge each delivery, and DOF by player."""

    deliveries: int
    facts: int
    seconds: float
    settled_seconds: float
    acknowledged: tuple[float, ...]
    refused: int
    broken: int
    due: dict[str, int]
    came: dict[str, int]

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the deliveries was acknowledged."""
        return sorted(self.acknowledged)[min(len(self.acknowledged) - 1, int(len(self.acknowledged) * share))]

    @property
    def wrong(self) -> dict[str, tuple[int, int]]:
        """What is due and what came, for each player with whom the two differ: lost, or doubled."""
        return {name: (self.due[name], self.came[name]) for name in self.due if self.due[name] != self.came[name]}


async def burst(url: str, *, facts: int, deliveries: int, at_once: int, players: int, seed: int = 1) -> Burst:
    """Post `deliveries` of `facts` facts, each told at least once; then wait until the wallets come to rest.

    Four facts of five are payments, the fifth is a refund of half of one. A delivery that is refused, or whose
    connection breaks, is posted again, as the shop would.
    """
    rng = random.Random(seed)
    async with Client(url) as guest:
        people = [await guest.sign_up(f"Burst{seed}x{number}") for number in range(players)]
        told, due = await _told(people, facts, seed)
        again = [rng.choice(told) for _ in range(deliveries - len(told))]
        sent = [*told, *again]
        rng.shuffle(sent)
        took: list[float] = []
        refused = broken = 0
        waiting = iter(sent)

        async def post() -> None:
            nonlocal refused, broken
            # A connection of its own: in one pool the deliveries wait for each other by the second, not for the store.
            # Nothing is encrypted on loopback, and reading the roots of trust for each would hold up all.
            async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as http:
                for topic, body in waiting:
                    while True:
                        start = time.monotonic()
                        try:
                            answer = await shop.post(http, body, topic)
                        except httpx.TransportError:
                            broken += 1
                        else:
                            took.append(time.monotonic() - start)
                            if answer.status_code == 200:
                                break
                            refused += 1
                        await asyncio.sleep(0.2)

        begun = time.monotonic()
        await asyncio.gather(*(post() for _ in range(at_once)))
        seconds = time.monotonic() - begun
        came = await _at_rest(people, due)
        return Burst(len(sent), len(told), seconds, time.monotonic() - begun, tuple(took), refused, broken, due, came)


async def _told(players: list[Client], facts: int, seed: int) -> tuple[list[tuple[str, bytes]], dict[str, int]]:
    """Each fact's topic and body, and what each player is due by them."""
    told: list[tuple[str, bytes]] = []
    due = {str(player.user_id): 0 for player in players}
    number = 10_000_000 * seed
    while len(told) < facts:
        number += 1
        player = players[number % len(players)]
        order = shop.Order(number, await shop.buy(player, f"burst {number}"), player.user_id)
        told.append(("orders/paid", order.told()))
        due[str(player.user_id)] += shop.BRONZE_DOF
        if number % 4 == 0 and len(told) < facts:
            told.append(("refunds/create", order.refund("2.50", number)))
            due[str(player.user_id)] -= shop.BRONZE_DOF - shop.BRONZE_DOF * (499 - 250) // 499
    return told, due


async def _at_rest(players: list[Client], due: dict[str, int]) -> dict[str, int]:
    """Available less debt by player, once it is as due or patience ends."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        wallets = {str(player.user_id): await player.wallet() for player in players}
        came = {name: wallet["available"] - wallet["debt"] for name, wallet in wallets.items()}
        if came == due or time.monotonic() > give_up:
            return came
        await asyncio.sleep(0.1)
