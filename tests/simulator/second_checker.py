"""A second checker of the ledger, written from reliability.md 2.3 and product.md: plain dictionaries, no code of ours.

It shares nothing with `domain/audit.py`, so that both have to be wrong in the same way to miss the same thing. It works
the other way round: it builds what the books must hold from the facts (orders, sessions, usage, requests), and compares.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any

Doc = Mapping[str, Any]
Shelf = Mapping[str, Doc]

LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
UNIT_MINUTES = {"HOUR": 60, "DAY": 1440, "WEEK": 10080}
PARTIES = ("owner", "platform", "creator")
SYSTEM = {"platform:fees", "world:shopify", "world:stripe", "payouts:pending", "promo", "loss"}
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


class _Dof:
    """How an amount appears in a fingerprint."""

    def __init__(self, units: int) -> None:
        self.units = units

    def __repr__(self) -> str:
        return f"Dof({self.units})"


def broken(dump: Mapping[str, Doc], now: datetime) -> list[str]:
    """A sentence for each thing that is wrong; none in books that are whole."""
    shelves: dict[str, dict[str, Doc]] = defaultdict(dict)
    for path, document in dump.items():
        shelf, _, id_ = path.partition("/")
        shelves[shelf][id_] = document
    found: list[str] = []
    for law in (_ids, _postings, _chains, _holds, _meters, _terms, _purchases, _orders, _earnings, _payouts):
        try:
            found += law(shelves)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as problem:
            found.append(f"{law.__name__} cannot be told: {problem!r}")
    for late in (_papers, _late):
        try:
            found += late(shelves, now)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as problem:
            found.append(f"{late.__name__} cannot be told: {problem!r}")
    return found


# ---- entries and wallets


def _ids(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    for shelf in LEDGER:
        for id_, document in shelves[shelf].items():
            if document["id"] != id_:
                yield f"I14 {shelf}/{id_} is {document['id']}"


def _net(entry: Doc) -> dict[str, int]:
    moved: dict[str, int] = defaultdict(int)
    for posting in entry["postings"]:
        moved[posting["target"]] += posting["amount"]
        moved[posting["source"]] -= posting["amount"]
    return moved


def _people(entry: Doc) -> set[str]:
    names = {posting[end] for posting in entry["postings"] for end in ("source", "target")}
    return {name.split(":")[1] for name in names if name.startswith("user:")} | set(entry["after"])


def _postings(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    for id_, entry in shelves["entries"].items():
        if not entry["postings"]:
            yield f"I1 {id_} is empty"
        for posting in entry["postings"]:
            if type(posting["amount"]) is not int or posting["amount"] < 1 or posting["source"] == posting["target"]:
                yield f"I1 {id_}: {posting}"
            for end in ("source", "target"):
                parts = posting[end].split(":")
                user = len(parts) == 3 and parts[0] == "user" and parts[2] in ("available", "held", "debt", "earned")
                if posting[end] not in SYSTEM and not user:
                    yield f"I1 {id_}: {posting[end]}"
        if sorted(_people(entry)) != list(entry["user_ids"]) or entry["corrects"] is not None:
            yield f"I14 {id_} concerns {entry['user_ids']}"
        if id_ not in _reasons(shelves, entry):
            yield f"I7 {id_} has no reason"
        outside = any(name.startswith("world:") for name in _net(entry))
        if outside and entry["kind"] not in ("PURCHASE", "RECLAIM", "PAYOUT_PAID", "PAYOUT_FAILED"):
            yield f"I6 {id_} moves the world's money"


def _reasons(shelves: Mapping[str, Shelf], entry: Doc) -> set[str]:
    """The ids that an entry of this kind about this thing may have."""
    kind, ref = entry["kind"], entry["ref"]
    if kind in ("PURCHASE", "RECLAIM"):
        count = shelves["orders"].get(ref, {"entries": 0})["entries"]
        return {name_of("ent", kind, "order", ref, number) for number in range(count)}
    if kind in ("HOLD", "EXTEND", "SETTLE"):
        session = shelves["sessions"].get(ref)
        return set() if session is None else {id_ for id_, (of, _) in _due(ref, session).items() if of == kind}
    if kind in ("PAYOUT", "PAYOUT_PAID", "PAYOUT_FAILED"):
        return {name_of("ent", kind, ref)} if ref in shelves["payouts"] else set()
    if kind == "MATURE":
        batch = sorted(id_ for id_, each in shelves["accruals"].items() if each["matured_by"] == entry["id"])
        return {name_of("ent", kind, ref, *batch)} if batch else set()
    if kind == "REFUND":
        told = {each["entry_id"] for each in shelves["transactions"].values()}
        return told if ref in shelves["sessions"] else set()
    paper = shelves["transactions"].get(ref)
    return {paper["entry_id"]} if paper is not None and kind in ("TRANSFER", "ADJUST") else set()


def _chains(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    steps: dict[str, list[tuple[int, str]]] = defaultdict(list)
    total = 0
    for id_, entry in shelves["entries"].items():
        touched = {name.split(":")[1] for name in _net(entry) if _is_wallet(name)}
        if touched - set(entry["after"]):
            yield f"I12 {id_} forgets {touched}"
        for user, after in entry["after"].items():
            steps[user].append((after["version"], id_))
        total += sum(units for name, units in _net(entry).items() if name in SYSTEM)
    frozen: dict[str, int] = defaultdict(int)
    for order in shelves["orders"].values():
        frozen[order["user_id"]] += order["disputed"]
    for user in steps.keys() | shelves["wallets"].keys():
        wallet = shelves["wallets"].get(user)
        if wallet is None:
            yield f"I2 {user} has no wallet"
            continue
        have = {"available": 0, "held": 0, "debt": 0}
        for number, (version, id_) in enumerate(sorted(steps[user]), 1):
            moved = _net(shelves["entries"][id_])
            for part in have:
                have[part] += moved.get(f"user:{user}:{part}", 0) * (-1 if part == "debt" else 1)
            after = shelves["entries"][id_]["after"][user]
            if version != number or any(after[part] != have[part] for part in have):
                yield f"I12 {user} after {id_} is {have}, not {after}"
            if min(have.values()) < 0 or have["available"] * have["debt"]:
                yield f"I3 {user} after {id_} is {have}"
        if any(wallet[part] != have[part] for part in have) or wallet["version"] != len(steps[user]):
            yield f"I2 {user} is {have}, not {wallet}"
        told = ("PURCHASE", "RECLAIM", "SETTLE", "TRANSFER", "ADJUST")
        if wallet["sequence"] < sum(shelves["entries"][id_]["kind"] in told for _, id_ in steps[user]):
            yield f"I14 {user} was told too little"
        if wallet["open_disputes"] != frozen[user]:
            yield f"I14 {user} has {frozen[user]} disputes"
        total += wallet["available"] + wallet["held"] - wallet["debt"]
    total += sum(each["amount"] for each in shelves["accruals"].values() if each["state"] == "MATURING")
    if total:
        yield f"I10 the books sum to {total}"


def _is_wallet(name: str) -> bool:
    return name.startswith("user:") and not name.endswith(":earned")


# ---- sessions


def _prices(session: Doc) -> list[int]:
    return [leg["price"] + session["surcharge_per_minute"] * leg["minutes"] for leg in session["legs"]]


def _due(id_: str, session: Doc) -> dict[str, tuple[str, int]]:
    """The entries that a session must have: kind and amount by id, its service refunds aside."""
    found: dict[str, tuple[str, int]] = {}
    more = _prices(session)[1:]
    first = session["held"] - sum(more)
    if first:
        found[name_of("ent", "HOLD", id_)] = ("HOLD", first)
    for extension, price in zip(session["extensions"], more, strict=True):
        if price:
            found[name_of("ent", "EXTEND", id_, extension.split(":")[0])] = ("EXTEND", price)
    if session["settlement"] is not None and session["held"]:
        found[name_of("ent", "SETTLE", id_)] = ("SETTLE", session["held"])
    return found


def _holds(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    running: dict[str, int] = defaultdict(int)
    for id_, session in shelves["sessions"].items():
        hirer, ended = session["hirer_id"], session["settlement"]
        if session["settled"] != (ended is not None):
            yield f"I5 {id_} is settled or not"
        running[hirer] += 0 if ended else session["held"]
        for entry_id, (kind, amount) in _due(id_, session).items():
            entry = shelves["entries"].get(entry_id)
            if entry is None:
                yield f"I14 {id_} has no {kind}"
                continue
            moved = {name: units for name, units in _net(entry).items() if units}
            if kind == "SETTLE":
                yield from _settled(id_, session, entry, moved)
                continue
            if moved != {f"user:{hirer}:available": -amount, f"user:{hirer}:held": amount} or entry["actor"] != hirer:
                yield f"I14 {id_} holds {amount} by {moved}"
            if kind == "HOLD" and entry["at"] != session["started_at"]:
                yield f"I14 {id_} was held for at {entry['at']}"
    for user, wallet in shelves["wallets"].items():
        if wallet["held"] != running[user]:
            yield f"I4 {user} holds {wallet['held']}, not {running[user]}"


def _settled(id_: str, session: Doc, entry: Doc, moved: dict[str, int]) -> Iterator[str]:
    ended, hirer = session["settlement"], session["hirer_id"]
    must: dict[str, int] = defaultdict(int)
    must[f"user:{hirer}:held"] -= session["held"]
    for party in PARTIES:
        name = "platform:fees" if party == "platform" else f"user:{session[party + '_id']}:earned"
        must[name] += ended["distribution"][party]
    back = sum(moved.pop(f"user:{hirer}:{part}", 0) for part in ("available", "debt"))
    if moved != {name: units for name, units in must.items() if units}:
        yield f"I8 {id_} paid {moved}"
    if back != session["held"] - ended["consumed"]:
        yield f"I5 {id_} gave {back} back"
    by = {"ENDED_BY_HIRER": hirer, "ENDED_BY_OWNER": session["owner_id"]}.get(ended["reason"], entry["actor"])
    if entry["actor"] != by or (entry["actor"] == "platform") != (session["end_key"] is None):
        yield f"I5 {id_} was ended by {entry['actor']}"


def _meters(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    usage: dict[str, list[Doc]] = defaultdict(list)
    for id_, record in shelves["usage"].items():
        usage[record["session_id"]].append(record)
        figures = (record["dof"], record["interactions"], record["latency_ms"], record["crashed"])
        if record["fingerprint"] != mark_of(*figures) or record["session_id"] not in shelves["sessions"]:
            yield f"I14 {id_} was not metered"
        if id_ != name_of("usg", record["session_id"], record["sequence"]):
            yield f"I14 {id_} has another sequence"
    for id_, session in shelves["sessions"].items():
        records = usage[id_]
        billed = [] if session["type"] == "TRIAL" else [each for each in records if each["dof"]]
        if session["usage"] != min(sum(each["dof"] for each in billed), session["held"] + 1):
            yield f"I5 {id_} metered {session['usage']}"
        delays = [each["latency_ms"] for each in records if each["latency_ms"] is not None]
        sums = [sum(each["interactions"] for each in records), sum(delays), len(delays)]
        sums += [sum(each["crashed"] for each in records)]
        if sums != [session[name] for name in ("interactions", "latency_total_ms", "latency_samples", "crashes")]:
            yield f"I14 {id_} has other metrics"
        if session["version"] != 1 + len(records) + len(session["extensions"]) + session["settled"]:
            yield f"I14 {id_} is at another version"
        yield from _moments(shelves, id_, session, records, bool(billed))
        if session["settlement"] is not None:
            yield from _cost(id_, session)
        elif session["end_key"] is not None or any(session["returned"].values()):
            yield f"I5 {id_} is not settled, and was ended or refunded"


def _moments(
    shelves: Mapping[str, Shelf], id_: str, session: Doc, records: list[Doc], used: bool
) -> Iterator[str]:
    told = [session["started_at"]] + [each["at"] for each in records]
    for extension in session["extensions"]:
        entry = shelves["entries"].get(name_of("ent", "EXTEND", id_, extension.split(":")[0]))
        if entry is not None:
            told.append(entry["at"])
    # A stretch of an owned session may cost nothing, and then no entry says when it was added.
    silent = session["type"] == "OWNED" and bool(session["extensions"])
    ended = session["settlement"]
    changed = session["changed_at"]
    if ended is not None:
        if changed != ended["ended_at"]:
            yield f"I14 {id_} ended at {changed}"
        settled = shelves["entries"].get(name_of("ent", "SETTLE", id_))
        by_itself = ended["reason"] in ("COMPLETED", "EXHAUSTED")
        if settled is not None and by_itself and settled["at"] < ended["ended_at"]:
            yield f"I5 {id_} was settled before it ended"
        if settled is not None and not by_itself and ended["ended_at"] < max(*told, settled["at"]):
            yield f"I5 {id_} was ended before its last change"
    elif not silent and changed != (max(told) if len(told) > 1 else None):
        yield f"I14 {id_} changed at {changed}"
    if (session["usage_at"] is not None) != used or (used and session["usage_at"] not in told and not silent):
        yield f"I14 {id_} was used at {session['usage_at']}"


def _charge(session: Doc, minutes: int) -> int:
    cost, left = session["surcharge_per_minute"] * minutes, minutes
    for leg in session["legs"]:
        run = min(left, leg["minutes"])
        cost += ceil(Fraction(leg["price"] * run, leg["minutes"]))
        left -= run
    return cost


def _over(session: Doc) -> tuple[datetime, str]:
    """When a session is over by itself, and why."""
    whole = sum(leg["minutes"] for leg in session["legs"])
    paid, low = whole, 0
    while low < paid:
        middle = (low + paid + 1) // 2
        if _charge(session, middle) + session["usage"] <= session["held"]:
            low = middle
        else:
            paid = middle - 1
    end, expiry = (session["started_at"] + timedelta(minutes=count) for count in (paid, whole))
    if session["usage_at"] is not None:
        end = max(end, session["usage_at"])
    return end, "EXHAUSTED" if end < expiry else "COMPLETED"


def _cost(id_: str, session: Doc) -> Iterator[str]:
    ended = session["settlement"]
    over, why = _over(session)
    if ended["reason"] in ("COMPLETED", "EXHAUSTED"):
        if (ended["ended_at"], ended["reason"]) != (over, why):
            yield f"I5 {id_} was over at {over}: {why}"
    elif not session["started_at"] <= ended["ended_at"] <= over:
        yield f"I5 {id_} was ended at {ended['ended_at']}, over at {over}"
    whole = sum(leg["minutes"] for leg in session["legs"])
    run = min(ended["ended_at"], over) - session["started_at"]
    minutes = max(0, min(whole, ceil(Fraction(run // timedelta(microseconds=1), 60_000_000))))
    cost = min(session["held"], _charge(session, minutes) + session["usage"])
    if (ended["minutes"], ended["consumed"]) != (minutes, cost) or not 0 <= cost <= session["held"]:
        yield f"I5 {id_} cost {cost} for {minutes} minutes"
    shares = {party: Fraction(ended["consumed"] * session["shares"][f"{party}_bps"], 10_000) for party in PARTIES}
    got = ended["distribution"]
    if sum(got.values()) != ended["consumed"] or any(
        not floor(shares[party]) <= got[party] <= ceil(shares[party]) for party in PARTIES
    ):
        yield f"I8 {id_} was divided into {got}"


def _terms(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    for id_, session in shelves["sessions"].items():
        kind, hirer, legs = session["type"], session["hirer_id"], session["legs"]
        listing = None if kind == "OWNED" else name_of("lst", session["agent_id"])
        beyond = session["held"] - sum(_prices(session))
        if session["listing_id"] != listing or (kind == "OWNED") != (session["owner_id"] == hirer):
            yield f"I14 {id_} is of another listing or owner"
        if (session["pricing"] is None) == (kind == "HIRED") or beyond < 0 or (beyond and kind != "OWNED"):
            yield f"I14 {id_} has other prices"
        shares = session["shares"]
        if sum(shares.values()) != 10_000 or (kind != "HIRED" and shares["platform_bps"] != 10_000):
            yield f"I14 {id_} has the shares {shares}"
        features = session["configuration"]
        chosen = "SessionConfiguration(" + ", ".join(f"{name}={features[name]!r}" for name in _FEATURES) + ")"
        if kind == "TRIAL":
            free = session["held"] == 0 and session["surcharge_per_minute"] == 0
            fits = free and id_ == name_of("ses", "trial", hirer, session["agent_id"])
        elif kind == "HIRED":
            version = session["pricing"]["version"]
            asked = _asked(legs[0], session["pricing"])
            marks = {mark_of(listing, unit, count, version, _Raw(chosen)) for unit, count in asked}
            fits = session["fingerprint"] in marks
        else:
            spans = (None, legs[0]["minutes"])
            marks = {mark_of(session["agent_id"], kind, _Raw(chosen), span, _Dof(beyond), "") for span in spans}
            fits = session["fingerprint"] in marks
        if not fits:
            yield f"I14 {id_} has other terms"
        if len(session["extensions"]) != len(legs) - 1:
            yield f"I14 {id_} has other extensions"
        for extension, leg in zip(session["extensions"], legs[1:], strict=False):
            marks = {mark_of(unit, count) for unit, count in _asked(leg, session["pricing"])}
            if extension.split(":")[1] not in marks:
                yield f"I14 {id_} has another leg"
        if session["review_id"] not in (None, name_of("rev", id_)):
            yield f"I14 {id_} has another review"
        paper = name_of("txn", "session", id_, hirer)
        if session["transaction_id"] != (paper if session["held"] else None):
            yield f"I14 {id_} has another transaction"


_FEATURES = ("high_speed_vision", "voice_enabled", "commentator")


class _Raw:
    """A text that stands in a fingerprint without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _asked(leg: Doc, pricing: Doc | None) -> Iterator[tuple[str, int]]:
    for unit, minutes in UNIT_MINUTES.items():
        price = 0 if pricing is None else pricing[{"HOUR": "hourly", "DAY": "daily", "WEEK": "weekly"}[unit]]
        if leg["minutes"] % minutes == 0 and leg["price"] == price * (leg["minutes"] // minutes):
            yield unit, leg["minutes"] // minutes
