"""How the store names things, written down a second time: ids of facts, fingerprints of requests."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

Doc = Mapping[str, Any]
Shelf = Mapping[str, Doc]

LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
UNIT_MINUTES = {"HOUR": 60, "DAY": 1440, "WEEK": 10080}
PARTIES = ("owner", "platform", "creator")
SYSTEM = {"platform:fees", "world:shopify", "world:stripe", "payouts:pending", "promo", "loss"}
FACTS = {
    *("PAID", "REFUND", "REFUNDED_TOTAL", "REFUND_FAILED", "CANCEL", "APPROVED", "REJECTED"),
    *("DISPUTE_INQUIRY", "DISPUTE_OPENED", "DISPUTE_WON", "DISPUTE_LOST", "DISPUTE_CLOSED"),
    "DISPUTE_APPEALED",
}
LEDGER = ("entries", "wallets", "sessions", "usage", "orders", "purchases", "accruals", "transactions", "payouts")


def name_of(prefix: str, *fact: Any) -> str:
    """The id of a fact: SHA-256 over its length-prefixed parts, its first 130 bits in Crockford's base 32."""
    hashed = hashlib.sha256()
    for part in (prefix, *fact):
        text = str(part).encode()
        hashed.update(len(text).to_bytes(4, "big"))
        hashed.update(text)
    bits = bin(int.from_bytes(hashed.digest(), "big"))[2:].zfill(256)[:130]
    return f"{prefix}_" + "".join(LETTERS[int(bits[at : at + 5], 2)] for at in range(0, 130, 5))


def mark_of(*values: Any) -> str:
    """The fingerprint of a request's values, as text."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:32]


class Amount:
    """How an amount appears in a fingerprint."""

    def __init__(self, units: int) -> None:
        self.units = units

    def __repr__(self) -> str:
        return f"Dof({self.units})"


def net(entry: Doc) -> dict[str, int]:
    """What an entry moved, by address."""
    moved: dict[str, int] = defaultdict(int)
    for posting in entry["postings"]:
        moved[posting["target"]] += posting["amount"]
        moved[posting["source"]] -= posting["amount"]
    return moved
