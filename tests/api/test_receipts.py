"""Proofs at the public face: null until the day is sealed, then all that a client needs to climb to the digest."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta

import pytest

from domain import merkle
from functions.schedule.seals import seal_days
from tests.api.api import Market

RECEIPT = "receipt { entryId day late entry share salt commitments leaf index count path root digest }"
DIGEST = "ledgerDigest(day: $day) { day count late root previous madeAt digest }"
MINE = f"{{ viewer {{ transactions(first: 50) {{ nodes {{ id completedAt {RECEIPT} }} }} }} }}"


async def seal(market: Market) -> int:
    """As the schedule does, two days later."""
    return await seal_days(market.rig.store, market.rig.now + timedelta(days=2))


async def test_a_receipt_is_null_until_its_day_is_sealed(market: Market) -> None:
    """The market is sealed up to the day before."""
    nodes = (await market.max.ask(MINE))["viewer"]["transactions"]["nodes"]
    today = [node for node in nodes if (node["completedAt"] or "") >= "2026-03-01"]
    assert [node["receipt"] for node in today] == [None]
    await seal(market)
    nodes = (await market.max.ask(MINE))["viewer"]["transactions"]["nodes"]
    assert [node["receipt"] is None for node in nodes] == [node["completedAt"] is None for node in nodes]


async def test_a_client_climbs_from_its_receipt_to_the_published_digest(market: Market) -> None:
    assert await seal(market) > 0
    nodes = (await market.max.ask(MINE))["viewer"]["transactions"]["nodes"]
    proofs = [node["receipt"] for node in nodes if node["receipt"]]
    assert len(proofs) == 3
    for proof in proofs:
        hidden = hmac.new(bytes.fromhex(proof["salt"]), proof["share"].encode(), hashlib.sha256).hexdigest()
        assert hidden in proof["commitments"][1:]
        assert json.loads(proof["share"])[1] == market.max.user_id
        text = json.dumps([*json.loads(proof["entry"]), proof["commitments"]], separators=(",", ":"))
        leaf = hashlib.sha256(b"\x00\x01" + text.encode()).digest()
        assert (leaf.hex(), json.loads(proof["entry"])[0]) == (proof["leaf"], proof["entryId"])
        steps = [bytes.fromhex(step) for step in proof["path"]]
        root = merkle.climb(leaf, proof["index"], proof["count"], steps)
        asked = f"query ($day: String!) {{ {DIGEST} }}"
        told = (await market.guest.ask(asked, day=proof["day"]))["ledgerDigest"]
        assert root is not None
        assert (root.hex(), proof["digest"], proof["count"]) == (told["root"], told["digest"], told["count"])


async def test_the_other_side_of_an_entry_has_a_receipt_of_its_own(market: Market) -> None:
    await seal(market)
    asked = f"query ($id: ID!) {{ transaction(id: $id) {{ {RECEIPT} }} }}"
    earned = (await market.cleo.ask(asked, id=market.ids.earning))["transaction"]["receipt"]
    assert json.loads(earned["share"])[1] == market.cleo.user_id
    assert market.max.user_id not in json.dumps(earned)
    assert (await market.max.ask(asked, id=market.ids.earning))["transaction"] is None


async def test_the_digests_are_a_chain_that_anybody_reads(market: Market) -> None:
    assert (await market.guest.ask(f"query ($day: String!) {{ {DIGEST} }}", day="2026-03-01"))["ledgerDigest"] is None
    await seal(market)
    asked = f"query ($day: String!) {{ {DIGEST} }}"
    first = (await market.guest.ask(asked, day="2026-03-01"))["ledgerDigest"]
    second = (await market.guest.ask(asked, day="2026-03-02"))["ledgerDigest"]
    assert second["previous"] == first["digest"]
    assert (first["late"], second["count"]) == (0, 0)
    assert first["count"] > 0


@pytest.mark.parametrize("day", ["", "today", "2026-3-1", "2026-02-30", "20260301", "2026-03-01T00:00", "٢٠٢٦-03-01"])
async def test_a_day_is_written_one_way(market: Market, day: str) -> None:
    error = await market.guest.error(f"query ($day: String!) {{ {DIGEST} }}", day=day)
    assert (error["extensions"]["code"], error["message"]) == (
        "BAD_USER_INPUT",
        "A day is written like 2026-03-01.",
    )
