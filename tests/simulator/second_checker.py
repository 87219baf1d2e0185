"""A second checker of the ledger, written from the invariants and rulings alone: plain dictionaries, no code of ours.

It shares nothing with `domain/audit.py`, so that both have to be wrong in the same way to miss the same thing. It works
the other way round: it builds what the books must hold from the facts (orders, sessions, usage, requests).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from tests.simulator.second_names import FACTS, LEDGER, SYSTEM, Doc, Shelf, name_of, net
from tests.simulator.second_orders import earnings, orders, payouts, purchases
from tests.simulator.second_papers import late, papers
from tests.simulator.second_sessions import entries_due, holds, meters, terms


def broken(dump: Mapping[str, Doc], now: datetime) -> list[str]:
    """A sentence for each thing that is wrong; none in books that are whole."""
    shelves: dict[str, dict[str, Doc]] = defaultdict(dict)
    for path, document in dump.items():
        shelf, _, id_ = path.partition("/")
        shelves[shelf][id_] = document
    found: list[str] = []
    laws = (_ids, _postings, _chains, _deleted, holds, meters, terms, purchases, orders, earnings, payouts)
    for law in (*laws, papers, lambda shelves: late(shelves, now)):
        try:
            found += law(shelves)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as problem:
            found.append(f"{law.__name__} cannot be told: {problem!r}")
    return found


# ---- entries and wallets


def _ids(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    for shelf in LEDGER:
        for id_, document in shelves[shelf].items():
            if document["id"] != id_:
                yield f"I14 {shelf}/{id_} is {document['id']}"
    for id_, order in shelves["orders"].items():
        for key, fact in order["facts"].items():
            if fact["kind"] not in FACTS or not (fact["money"] is None or isinstance(fact["money"], dict)):
                yield f"I14 {id_} has no fact in {key}"


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
        outside = any(name.startswith("world:") for name in net(entry))
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
        return set() if session is None else {id_ for id_, (of, _) in entries_due(ref, session).items() if of == kind}
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
        touched = {name.split(":")[1] for name in net(entry) if _is_wallet(name)}
        if touched - set(entry["after"]):
            yield f"I12 {id_} forgets {touched}"
        for user, after in entry["after"].items():
            steps[user].append((after["version"], id_))
        total += sum(units for name, units in net(entry).items() if name in SYSTEM)
    frozen: dict[str, int] = defaultdict(int)
    for order in shelves["orders"].values():
        frozen[order["user_id"]] += order["disputed"]
    over: dict[str, int] = defaultdict(int)
    for paper in shelves["transactions"].values():
        over[paper["user_id"]] += paper["entry_id"] is None and paper["status"] in ("FAILED", "REFUNDED")
    told_of = {user for counts in (frozen, over) for user, count in counts.items() if count}
    for user in (steps.keys() | shelves["wallets"].keys() | told_of) - {None}:
        wallet = shelves["wallets"].get(user)
        if wallet is None:
            yield f"I2 {user} has no wallet"
            continue
        have = {"available": 0, "held": 0, "debt": 0, "payable": 0}
        for number, (version, id_) in enumerate(sorted(steps[user]), 1):
            moved = net(shelves["entries"][id_])
            for part in ("available", "held", "debt"):
                have[part] += moved.get(f"user:{user}:{part}", 0) * (-1 if part == "debt" else 1)
            mine = have["available"] + have["held"]
            have["payable"] = min(mine, have["payable"] + _ripened(shelves["entries"][id_], user))
            after = shelves["entries"][id_]["after"][user]
            if version != number or any(after[part] != have[part] for part in have):
                yield f"I12 {user} after {id_} is {have}, not {after}"
            if min(have.values()) < 0 or have["available"] * have["debt"]:
                yield f"I3 {user} after {id_} is {have}"
        if any(wallet[part] != have[part] for part in have) or wallet["version"] != len(steps[user]):
            yield f"I2 {user} is {have}, not {wallet}"
        told = ("PURCHASE", "RECLAIM", "SETTLE", "TRANSFER", "ADJUST")
        if wallet["sequence"] < over[user] + sum(shelves["entries"][id_]["kind"] in told for _, id_ in steps[user]):
            yield f"I14 {user} was told too little"
        if wallet["open_disputes"] != frozen[user]:
            yield f"I14 {user} has {frozen[user]} disputes"
        total += wallet["available"] + wallet["held"] - wallet["debt"]
    total += sum(each["amount"] for each in shelves["accruals"].values() if each["state"] == "MATURING")
    if total:
        yield f"I10 the books sum to {total}"


def _ripened(entry: Doc, user: str) -> int:
    """By how much an entry changes what may be paid out of its user's wallet."""
    whole: int = sum(posting["amount"] for posting in entry["postings"])
    mine = (f"user:{user}:available", f"user:{user}:debt")
    got: int = sum(posting["amount"] for posting in entry["postings"] if posting["target"] in mine)
    return {"MATURE": got, "PAYOUT_FAILED": got, "PAYOUT": -whole}.get(entry["kind"], 0)


def _deleted(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    """I14: the platform keeps what a deleted account would have matured or been given back, all of it; and bears, of a
    service refund, no more than what such an account was to give. Of nobody else's does it do either."""
    gone = {id_ for id_, wallet in shelves["wallets"].items() if wallet["closed"]}
    for id_ in gone ^ shelves["erasures"].keys():
        yield f"I14 the account of {id_} is deleted or its wallet is closed, and not both"
    for id_, entry in shelves["entries"].items():
        ends = {end: [each["amount"] for each in entry["postings"] if each[end] == "loss"] for end in _ENDS}
        fees = [each["amount"] for each in entry["postings"] if each["target"] == "platform:fees"]
        kept = {"MATURE": fees, "PAYOUT_FAILED": ends["target"]}.get(entry["kind"], [])
        borne = ends["source"] if entry["kind"] == "REFUND" else []
        if len(borne) + len(kept) != len(ends["source"] + ends["target"]) + (len(fees) * (entry["kind"] == "MATURE")):
            yield f"I14 {id_} moves {ends} as of a deleted account"
        if kept and (len(entry["postings"]) != 1 or not set(entry["after"]) <= gone):
            yield f"I14 {id_} lets the platform keep {kept} of {sorted(entry['after'])}"
        told = [each for each in shelves["transactions"].values() if borne and each["entry_id"] == id_]
        share = -sum(each["amount"] for each in told if each["user_id"] in gone and each["amount"] < 0)
        if sum(borne) > share:
            yield f"I14 {id_} lets the platform bear {borne}, and deleted accounts were to give {share}"


_ENDS = ("source", "target")


def _is_wallet(name: str) -> bool:
    return name.startswith("user:") and not name.endswith(":earned")
