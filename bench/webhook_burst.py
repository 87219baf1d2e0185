"""A burst of 10,000 deliveries of 2,000 facts against a running store on this machine: `python -m bench.webhook_burst`.

Starts a store of its own on loopback, with its local Firestore, and ends it. Prints how fast deliveries were
acknowledged, and whether anything was lost or doubled; exits with 1 if so.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.journeys.burst import Burst, burst
from tests.journeys.server import Server

ROOMY = '{"sign_in_address": 1000, "money": 10000}'  # hundreds of players sign up and buy from one machine
FACTS_MAX, DELIVERIES_MAX, AT_ONCE_MAX, PLAYERS_MAX = (
    10_000,
    50_000,
    256,
    200,
)  # a benchmark for one machine, not a weapon


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=2_000)
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=16, help="deliveries under way at a time")
    parser.add_argument("--players", type=int, default=40, help="whose wallets are credited")
    asked = parser.parse_args()
    if not (0 < asked.facts <= min(asked.deliveries, FACTS_MAX) and asked.deliveries <= DELIVERIES_MAX):
        parser.error(f"give 1 to {FACTS_MAX} facts, and at least as many deliveries, at most {DELIVERIES_MAX}")
    if not (1 <= asked.at_once <= AT_ONCE_MAX and 1 <= asked.players <= PLAYERS_MAX):
        parser.error(f"1 to {AT_ONCE_MAX} deliveries at once, for 1 to {PLAYERS_MAX} players")
    with tempfile.TemporaryDirectory() as base:
        store = Server(Path(base) / "store", JIGA_SCHEDULE_SECONDS="5", JIGA_RATE_LIMITS=ROOMY).start()
        try:
            told = {"facts": asked.facts, "deliveries": asked.deliveries}
            seen = asyncio.run(burst(store.url, **told, at_once=asked.at_once, players=asked.players))
        finally:
            store.stop()
    report(seen, asked.at_once)
    sys.exit(bool(seen.wrong))


def report(seen: Burst, at_once: int) -> None:
    rate = seen.deliveries / seen.seconds
    print(f"{seen.deliveries} deliveries of {seen.facts} facts, {at_once} at once")
    print(f"  acknowledged   {rate:8.0f} /s in {seen.seconds:.1f} s")
    print(f"  posted again   {seen.refused} after a 503, {seen.broken} after a broken connection")
    shares = ", ".join(f"p{share * 100:g} {seen.percentile(share) * 1e3:.0f} ms" for share in (0.5, 0.95, 0.99, 1.0))
    print(f"  acknowledgement {shares}")
    print(f"  settled        {seen.settled_seconds:8.1f} s after the first delivery")
    print(f"  lost or doubled {len(seen.wrong)} of {len(seen.due)} wallets {seen.wrong or ''}")


if __name__ == "__main__":
    main()
