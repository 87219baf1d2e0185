"""The second checker's view of orders, purchases, earnings and payouts (rulings 3, 4, 8, 9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from tests.simulator.second_names import PARTIES, Doc, Shelf, mark_of, name_of, net


def _money(order: Doc) -> tuple[Doc | None, int, bool]:
    """The payment that counts with the DOF that it buys, the minor units that went back, and an open dispute."""
    facts = order["facts"]
    word, payment = _word(order), _payment(order)
    if payment is not None and word is not None:
        payment = {**payment, "dof": word["dof"] if word["kind"] == "APPROVED" else 0, "doubt": None}
    disputes = _disputes(order)
    is_open = any(_fate(facts, told) == "open" for told in disputes.values())
    if payment is None or payment["doubt"] is not None:
        return None, 0, is_open
    back = _refunded(order, payment)
    for told in disputes.values():
        if _fate(facts, told) in ("open", "lost"):
            back += max(_units(payment, fact) for fact in told)
    return payment, back, is_open


def _payment(order: Doc) -> Doc | None:
    """The payment that counts, or would if it were not in doubt."""
    facts = order["facts"]
    known = _known(order)
    paid = [facts[key] for key in sorted(facts) if facts[key]["kind"] == "PAID" and key in known]
    return min(paid, key=lambda fact: fact["doubt"] is not None, default=None)


def _units(payment: Doc, fact: Doc) -> int:
    money, paid = fact["money"], payment["money"]
    return money["minor_units"] if money and paid and money["currency"] in (paid["currency"], "XXX") else 0


def _refunded(order: Doc, payment: Doc) -> int:
    facts = order["facts"]
    failed = {fact["subject"] for fact in facts.values() if fact["kind"] == "REFUND_FAILED"}
    refunds = {key: _units(payment, fact) for key, fact in facts.items() if fact["kind"] == "REFUND"}
    came_back = sum(refunds[key] for key in refunds if key in failed)
    totals = [_units(payment, fact) for fact in facts.values() if fact["kind"] == "REFUNDED_TOTAL"]
    return int(max([sum(refunds.values()) - came_back, 0] + [total - came_back for total in totals]))


def _word(order: Doc) -> Doc | None:
    """An admin's last word on what the order is worth: decisions are numbered from the first, which has no number."""
    last = None
    for number in range(1, len(order["facts"]) + 1):
        last = order["facts"].get("decision" if number == 1 else f"decision:{number}", last)
    return last


def _known(order: Doc) -> set[str]:
    """The facts that the last word knew of, all where there is none; one of old knew what had been told before it."""
    word, facts = _word(order), order["facts"]
    if word is None:
        return set(facts)
    return set(word["seen"]) or {key for key, fact in facts.items() if fact["at"] <= word["at"]}


def _disputes(order: Doc) -> Mapping[str, list[Doc]]:
    found: dict[str, list[Doc]] = defaultdict(list)
    for fact in order["facts"].values():
        if fact["kind"].startswith("DISPUTE_"):
            found[fact["subject"] or ""].append(fact)
    return found


def _is_torn(told: list[Doc]) -> bool:
    """Whether a dispute is said to be won and to be lost, and no appeal makes it both."""
    kinds = {fact["kind"].removeprefix("DISPUTE_") for fact in told}
    return kinds >= {"WON", "LOST"} and "APPEALED" not in kinds


def _fate(facts: Mapping[str, Doc], told: list[Doc]) -> str:
    """What became of a dispute: asked about only, open, won or lost. Told as both, it is open until a human says."""
    kinds = {fact["kind"].removeprefix("DISPUTE_") for fact in told}
    if _is_torn(told):
        if "decision:dispute" not in facts:
            return "open"
        return "won" if facts["decision:dispute"]["kind"] == "APPROVED" else "lost"
    if "WON" in kinds:
        return "won"
    if kinds & {"LOST", "APPEALED"}:
        return "lost"
    return "open" if "OPENED" in kinds else "asked"


def due(order: Doc) -> int:
    """What the buyer is due by the facts, in DOF."""
    payment, back, _ = _money(order)
    cancelled = any(fact["kind"] == "CANCEL" for fact in order["facts"].values())
    if cancelled or payment is None:
        return 0
    if payment["money"] is None or payment["money"]["minor_units"] <= 0:
        return int(payment["dof"]) if _word(order) else 0
    paid = payment["money"]["minor_units"]
    return int(payment["dof"] * max(0, paid - back) // paid)


def state(order: Doc) -> str:
    if due(order) > 0:
        return "COMPLETED"
    word, facts = _word(order), order["facts"].values()
    worthless = all(fact["kind"] != "APPROVED" and (fact["kind"] != "PAID" or fact["doubt"]) for fact in facts)
    if word is not None and word["kind"] == "REJECTED" and worthless:
        return "FAILED"
    if _money(order)[0] is not None:
        return "REFUNDED"
    return "FAILED" if any(fact["kind"] == "CANCEL" for fact in facts) else "PENDING"


def too_much(order: Doc) -> bool:
    return bool(order["review"]) and order["review"].startswith("the wallet would")


def entries_of(shelves: Mapping[str, Shelf], id_: str, order: Doc) -> list[list[Doc]]:
    found = []
    for number in range(order["entries"]):
        names = (name_of("ent", kind, "order", id_, number) for kind in ("PURCHASE", "RECLAIM"))
        found.append([shelves["entries"][name] for name in names if name in shelves["entries"]])
    return found


def paper_of(id_: str, order: Doc, number: int) -> str:
    first = order["transaction_id"] if number == 0 else None
    return first or name_of("txn", "order", id_, number)


def orders(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    """I6, I7: applied is due, and is the sum of the numbered entries."""
    for id_, order in shelves["orders"].items():
        if id_ != name_of("ord", order["rail"], order["shop"], order["reference"]):
            yield f"I14 {id_} is another order"
        world, applied = f"world:{order['rail'].lower()}", 0
        for number, found in enumerate(entries_of(shelves, id_, order)):
            if len(found) != 1:
                yield f"I7 {id_} has {len(found)} entries {number}"
                continue
            change = -net(found[0])[world]
            applied += change
            if (change > 0) != (found[0]["kind"] == "PURCHASE") or found[0]["ref"] != id_:
                yield f"I7 {id_} has a wrong entry {number}"
            if paper_of(id_, order, number) not in shelves["transactions"]:
                yield f"I14 {id_} tells nobody of entry {number}"
        if applied != order["applied"]:
            yield f"I6 {id_} applied {order['applied']}, entered {applied}"
        bound = order["user_id"] is not None
        if not too_much(order):
            if order["applied"] != (due(order) if bound else 0):
                yield f"I6 {id_} applied {order['applied']}, due {due(order)}"
            if bound and order["disputed"] != _money(order)[2]:
                yield f"I14 {id_} is disputed or not"
        if bool(order["entries"]) != (order["transaction_id"] is not None) or (order["entries"] and not bound):
            yield f"I14 {id_} has entries or not"
        yield from _whose(shelves, id_, order)


def _whose(shelves: Mapping[str, Shelf], id_: str, order: Doc) -> Iterator[str]:
    decided = _word(order) is not None
    asked = shelves["purchases"].get(order["purchase_id"])
    bound = order["user_id"] if order["email"] is None else None
    if bound is not None and (not decided if asked is None else asked["user_id"] != bound):
        yield f"I14 {id_} is of another user"
    asked_for = _is_doubted(order)
    asked_for |= "decision:dispute" not in order["facts"] and any(map(_is_torn, _disputes(order).values()))
    if order["in_review"] != (order["review"] is not None) or (asked_for and not order["in_review"]):
        yield f"I6 {id_} is in doubt, and nobody is asked"
    for key, fact in order["facts"].items():
        name = key.split(":")[0]
        must = {"PAID": "paid", "REFUND": "refund", "CANCEL": "cancel", "APPROVED": "decision", "REJECTED": "decision"}
        if must.get(fact["kind"], name) != name:
            yield f"I6 {id_} keeps {key} as {fact['kind']}"


def _is_doubted(order: Doc) -> bool:
    """Whether the facts that the last word did not know of leave a doubt about an order that was not cancelled."""
    word, payment = _word(order), _payment(order)
    if any(fact["kind"] == "CANCEL" for fact in order["facts"].values()):
        return False
    known_of = _known(order) if word else ()
    fresh = [fact for key, fact in order["facts"].items() if key not in known_of]
    if any(fact["doubt"] or (word and fact["kind"] == "PAID") for fact in fresh):
        return True
    if payment is None:
        return False
    takers = ("REFUND", "REFUNDED_TOTAL", "DISPUTE_OPENED", "DISPUTE_LOST", "DISPUTE_APPEALED")
    known = () if payment["money"] is None else (payment["money"]["currency"], "XXX")
    backs = [fact["money"] for fact in fresh if fact["kind"] in takers and fact["money"]]
    return any(money["currency"] not in known for money in backs)


def purchases(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    """I14: what was asked for is what its mark says, and has its transaction."""
    for id_, asked in shelves["purchases"].items():
        if asked["fingerprint"] != mark_of(asked["rail"], asked["sku"], asked["quantity"]):
            yield f"I14 {id_} has other terms"
        paper = shelves["transactions"].get(asked["transaction_id"])
        if paper is None or asked["transaction_id"] != name_of("txn", "purchase", id_):
            yield f"I14 {id_} has no transaction"
        elif paper["user_id"] != asked["user_id"] or paper["created_at"] != asked["created_at"]:
            yield f"I14 {id_} is of another user or moment"


# ---- earnings and payouts


def owed(session: Doc) -> dict[str, int]:
    """What a settled session brings its owner and creator, who may be one."""
    parts: dict[str, int] = defaultdict(int)
    for party in ("owner", "creator"):
        parts[session[f"{party}_id"]] += session["settlement"]["distribution"][party]
    return {user: units for user, units in parts.items() if units}


def earnings(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    """I14: each share of each settled session is accrued once, and matures once."""
    due: dict[str, tuple[str, str]] = {}
    given: dict[tuple[str, str], int] = defaultdict(int)
    for entry in shelves["entries"].values():
        if entry["kind"] == "REFUND":
            for name, units in net(entry).items():
                given[entry["ref"], name] -= units
    for id_, session in shelves["sessions"].items():
        if session["settlement"] is not None and session["held"]:
            due |= {name_of("acc", id_, user): (id_, user) for user in owed(session)}
            yield from _given_back(shelves, id_, session, given)
    for missing in due.keys() - shelves["accruals"].keys():
        yield f"I14 {missing} is missing"
    fold: dict[str, int] = defaultdict(int)
    for entry in shelves["entries"].values():
        for name, units in net(entry).items():
            fold[name] += units
    maturing: dict[str, int] = defaultdict(int)
    for id_, accrual in shelves["accruals"].items():
        if id_ not in due:
            yield f"I14 {id_} was never earned"
            continue
        session_id, user = due[id_]
        share = owed(shelves["sessions"][session_id]).get(user, 0)
        left = share - given[session_id, f"user:{user}:earned"]
        settled = shelves["entries"].get(name_of("ent", "SETTLE", session_id))
        said = (accrual["session_id"], accrual["user_id"], accrual["amount"])
        if settled is None or said != (session_id, user, left) or accrual["entry_id"] != settled["id"]:
            yield f"I14 {id_} is of {said}, not {left}"
        elif accrual["created_at"] != settled["at"] or accrual["matures_at"] < settled["at"]:
            yield f"I14 {id_} was made at {accrual['created_at']}"
        ripe = accrual["state"] == "MATURED"
        if (accrual["matured_by"] and not ripe) or (ripe and accrual["amount"] and not accrual["matured_by"]):
            yield f"I14 {id_} matured or not"
        maturing[user] += accrual["amount"] if accrual["state"] == "MATURING" else 0
        yield from _matured(shelves, id_, accrual)
    for name in {name for name in fold if name.endswith(":earned")} | {f"user:{user}:earned" for user in maturing}:
        if fold[name] != maturing[name.split(":")[1]]:
            yield f"I14 {name} is {fold[name]}"


def _matured(shelves: Mapping[str, Shelf], id_: str, accrual: Doc) -> Iterator[str]:
    by = accrual["matured_by"]
    if by is None:
        return
    batch = [each["amount"] for each in shelves["accruals"].values() if each["matured_by"] == by]
    entry = shelves["entries"].get(by, {"postings": (), "at": accrual["matures_at"]})
    if entry["at"] < accrual["matures_at"]:
        yield f"I14 {id_} matured at {entry['at']}"
    if -net(entry)[f"user:{accrual['user_id']}:earned"] != sum(batch):
        yield f"I14 {id_} did not mature by {by}"


def _given_back(
    shelves: Mapping[str, Shelf], id_: str, session: Doc, given: Mapping[tuple[str, str], int]
) -> Iterator[str]:
    told: dict[str, int] = defaultdict(int)
    told["platform"] = given.get((id_, "platform:fees"), 0)
    refunds = {each["id"] for each in shelves["entries"].values() if each["kind"] == "REFUND" and each["ref"] == id_}
    for paper in shelves["transactions"].values():
        if paper["entry_id"] in refunds and paper["amount"] < 0:
            told[paper["user_id"]] -= paper["amount"]
    says: dict[str, int] = defaultdict(int)
    for party in PARTIES:
        says["platform" if party == "platform" else session[f"{party}_id"]] += session["returned"][party]
    if {k: v for k, v in told.items() if v} != {k: v for k, v in says.items() if v}:
        yield f"I14 {id_} gave {dict(told)} back, says {dict(says)}"


def payouts(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    """I9: what left a wallet for the bank is where the payout's state says."""
    waiting = sum(net(entry)["payouts:pending"] for entry in shelves["entries"].values())
    for id_, payout in shelves["payouts"].items():
        kinds = ("PAYOUT", "PAYOUT_PAID", "PAYOUT_FAILED")
        has = {kind for kind in kinds if name_of("ent", kind, id_) in shelves["entries"]}
        state = payout["state"]
        must = {"PAYOUT"} | ({f"PAYOUT_{state}"} if state in ("PAID", "FAILED") else set())
        if has not in (must, must | {"PAYOUT_PAID"} if state == "FAILED" else must):
            yield f"I9 {id_} is {state}, has {sorted(has)}"
        for kind in has:
            entry = shelves["entries"][name_of("ent", kind, id_)]
            if sum(posting["amount"] for posting in entry["postings"]) != payout["amount"]:
                yield f"I9 {id_} is of another amount"
            if kind == "PAYOUT" and (entry["at"], entry["actor"]) != (payout["created_at"], payout["user_id"]):
                yield f"I14 {id_} was asked for by another"
        keys = (f"transfer:{id_}", mark_of(payout["amount"]), name_of("txn", "payout", id_))
        if (payout["transfer_key"], payout["fingerprint"], payout["transaction_id"]) != keys:
            yield f"I14 {id_} has other terms"
        if payout["transaction_id"] not in shelves["transactions"]:
            yield f"I14 {id_} tells nobody"
        waiting -= payout["amount"] if state in ("REQUESTED", "SENT") else 0
    if waiting:
        yield f"I9 {waiting} wait for nobody"
