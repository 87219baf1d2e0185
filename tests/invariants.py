"""The ledger's invariants (docs/rules.md), read from a dump by other means than the store's own code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from domain.ids import Kind, derived_id
from tests.simulator.second_orders import due as due_of

Document = Mapping[str, Any]
PARTS = ("available", "held", "debt")


def broken(dump: Mapping[str, Document]) -> list[str]:
    """A sentence for each invariant that does not hold; none in a ledger that is whole."""
    shelves: dict[str, dict[str, Document]] = defaultdict(dict)
    for path, data in dump.items():
        shelf, _, id_ = path.partition("/")
        shelves[shelf][id_] = data
    return [
        *_entries(shelves["entries"]),
        *_wallets(shelves["wallets"], shelves["entries"]),
        *_sessions(shelves["sessions"], shelves["wallets"], shelves["entries"]),
        *_orders(shelves["orders"], shelves["entries"]),
        *_accruals(shelves["accruals"], shelves["entries"]),
        *_events(shelves),
    ]


def _fold(entries: Mapping[str, Document]) -> Counter[str]:
    balances: Counter[str] = Counter()
    for entry in entries.values():
        for posting in entry["postings"]:
            balances[posting["source"]] -= posting["amount"]
            balances[posting["target"]] += posting["amount"]
    return balances


def _entries(entries: Mapping[str, Document]) -> Iterator[str]:
    for id_, entry in entries.items():
        if not entry["postings"]:
            yield f"I1 {id_} moves nothing"
        for posting in entry["postings"]:
            if type(posting["amount"]) is not int or posting["amount"] <= 0 or posting["source"] == posting["target"]:
                yield f"I1 {id_} has the posting {posting}"
    if sum(_fold(entries).values()) != 0:
        yield "I10 the ledger does not sum to nothing"


def _wallets(wallets: Mapping[str, Document], entries: Mapping[str, Document]) -> Iterator[str]:
    balances = _fold(entries)
    owners = {name.split(":")[1] for name in balances if name.startswith("user:") and not name.endswith(":earned")}
    for missing in owners - wallets.keys():
        yield f"I2 {missing} has postings and no wallet"
    for id_, wallet in wallets.items():
        has = {part: wallet[part] for part in PARTS}
        fold = {part: balances[f"user:{id_}:{part}"] * (-1 if part == "debt" else 1) for part in PARTS}
        if has != fold:
            yield f"I2 {id_} has {has}, its postings {fold}"
        if min(has.values()) < 0 or has["available"] * has["debt"]:
            yield f"I3 {id_} has {has}"
        touching = sorted((e["after"][id_]["version"], e_id) for e_id, e in entries.items() if id_ in e["after"])
        if [version for version, _ in touching] != list(range(1, wallet["version"] + 1)):
            yield f"I12 {id_} has the versions {[version for version, _ in touching]}, not 1 to {wallet['version']}"
        running = Counter(dict.fromkeys(PARTS, 0))
        for _, entry_id in touching:
            for part in PARTS:
                name = f"user:{id_}:{part}"
                for posting in entries[entry_id]["postings"]:
                    sign = (posting["target"] == name) - (posting["source"] == name)
                    running[part] += posting["amount"] * sign * (-1 if part == "debt" else 1)
                if entries[entry_id]["after"][id_][part] != running[part]:
                    yield f"I12 {id_} after {entry_id}: {part} should be {running[part]}"


def _sessions(
    sessions: Mapping[str, Document], wallets: Mapping[str, Document], entries: Mapping[str, Document]
) -> Iterator[str]:
    open_holds: Counter[str] = Counter()
    kinds = Counter((entry["ref"], entry["kind"]) for entry in entries.values())
    for id_, session in sessions.items():
        settlement = session["settlement"]
        if session["settled"] != (settlement is not None):
            yield f"I5 {id_} does not know whether it is settled"
        if settlement is None:
            open_holds[session["hirer_id"]] += session["held"]
        held = sum(
            posting["amount"]
            for entry in entries.values()
            if entry["ref"] == id_ and entry["kind"] in ("HOLD", "EXTEND")
            for posting in entry["postings"]
        )
        if held != session["held"]:
            yield f"I14 {id_} holds {session['held']}, its entries {held}"
        if kinds[id_, "SETTLE"] != (settlement is not None and session["held"] > 0):
            yield f"I5 {id_} was settled {kinds[id_, 'SETTLE']} times"
        if settlement is not None:
            yield from _split(id_, session, settlement)
    for id_, wallet in wallets.items():
        if wallet["held"] != open_holds[id_]:
            yield f"I4 {id_} holds {wallet['held']}, its open sessions {open_holds[id_]}"
    for id_ in open_holds.keys() - wallets.keys():
        if open_holds[id_]:
            yield f"I4 {id_} has open holds and no wallet"


def _split(id_: str, session: Document, settlement: Document) -> Iterator[str]:
    consumed, shares = settlement["consumed"], settlement["distribution"]
    if not 0 <= consumed <= session["held"]:
        yield f"I5 {id_} consumed {consumed} of {session['held']}"
    if sum(shares.values()) != consumed:
        yield f"I8 {id_} split {consumed} into {shares}"
    for party, share in shares.items():
        if abs(share * 10_000 - consumed * session["shares"][f"{party}_bps"]) >= 10_000:
            yield f"I8 {id_} gives {party} {share} of {consumed}"


def _orders(orders: Mapping[str, Document], entries: Mapping[str, Document]) -> Iterator[str]:
    for id_, order in orders.items():
        of_it = {e_id: entry for e_id, entry in entries.items() if entry["ref"] == id_}
        expected = {
            derived_id(Kind.ENTRY, kind, "order", id_, number)
            for number in range(order["entries"])
            for kind in ("PURCHASE", "RECLAIM")
        }
        if len(of_it) != order["entries"] or not of_it.keys() <= expected:
            yield f"I7 {id_} counts {order['entries']} entries, and has {len(of_it)}"
        balances = _fold(of_it)
        if -balances[f"world:{order['rail'].lower()}"] != order["applied"]:
            yield f"I6 {id_} says {order['applied']}, the world paid {-balances['world:shopify']}"
        due = due_of(order) if order["user_id"] else 0
        if order["applied"] != due and "the wallet would" not in (order["review"] or ""):
            yield f"I6 {id_} gave {order['applied']}, due is {due}"


def _accruals(accruals: Mapping[str, Document], entries: Mapping[str, Document]) -> Iterator[str]:
    earned: Counter[str] = Counter()
    for accrual in accruals.values():
        earned[accrual["user_id"]] += accrual["amount"] if accrual["state"] == "MATURING" else 0
    balances = _fold(entries)
    names = {name.split(":")[1] for name in balances if name.endswith(":earned")}
    for user_id in names | earned.keys():
        if earned[user_id] != balances[f"user:{user_id}:earned"]:
            yield f"I14 {user_id} has accruals of {earned[user_id]}, earned {balances[f'user:{user_id}:earned']}"


def _events(shelves: Mapping[str, Mapping[str, Document]]) -> Iterator[str]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in shelves["outbox"].values():
        for event in row["events"]:
            numbers[event["topic"]].append(event["sequence"])
    heads = {f"wallet:{id_}": wallet["sequence"] for id_, wallet in shelves["wallets"].items()}
    heads |= {topic: head["sequence"] for topic, head in shelves["topics"].items()}
    heads |= {f"notifications:{user}": box["sequence"] for user, box in shelves["notification_boxes"].items()}
    for topic in numbers.keys() | heads.keys():
        told = sorted(numbers[topic])
        if topic.startswith("session:"):
            if len(set(told)) != len(told):
                yield f"{topic} has a number twice: {told}"
        elif told != [heads.get(topic, 0) - place for place in range(len(told))][::-1]:  # the oldest rows expire
            yield f"{topic} counts to {heads.get(topic)}, and told {told}"
