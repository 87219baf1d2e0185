"""The second checker's view of orders, purchases, earnings, payouts and transactions (product.md, rulings 3, 4, 8, 9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.simulator.second_names import PARTIES, Doc, Shelf, mark_of, name_of, net
from tests.simulator.second_sessions import over_at

TEN_MINUTES, WEEK = timedelta(minutes=10), timedelta(days=7)


# ---- orders


def _money(order: Doc) -> tuple[Doc | None, int, bool]:
    """The payment that counts with the DOF that it buys, the minor units that went back, and an open dispute."""
    facts = order["facts"]
    paid = [facts[key] for key in sorted(facts) if facts[key]["kind"] == "PAID"]
    sure = [fact for fact in paid if fact["doubt"] is None]
    approved = [fact for fact in facts.values() if fact["kind"] == "APPROVED"]
    payment: Doc | None = sure[0] if sure else None
    if payment is None and paid and approved:
        payment = {**paid[0], "dof": approved[0]["dof"]}
    disputes: dict[str, list[Doc]] = defaultdict(list)
    for fact in facts.values():
        if fact["kind"].startswith("DISPUTE_"):
            disputes[fact["subject"] or ""].append(fact)
    is_open = False
    for told in disputes.values():
        kinds = {fact["kind"] for fact in told}
        is_open |= "DISPUTE_OPENED" in kinds and not kinds & {"DISPUTE_WON", "DISPUTE_LOST", "DISPUTE_CLOSED"}
    if payment is None or payment["money"] is None:
        return payment, 0, is_open
    currency = payment["money"]["currency"]

    def units(fact: Doc) -> int:
        money = fact["money"]
        return money["minor_units"] if money is not None and money["currency"] in (currency, "XXX") else 0

    failed = {fact["subject"] for fact in facts.values() if fact["kind"] == "REFUND_FAILED"}
    refunds = {key: units(fact) for key, fact in facts.items() if fact["kind"] == "REFUND"}
    came_back = sum(refunds[key] for key in refunds if key in failed)
    totals = [units(fact) for fact in facts.values() if fact["kind"] == "REFUNDED_TOTAL"]
    back = max([sum(refunds.values()) - came_back, 0] + [total - came_back for total in totals])
    for told in disputes.values():
        kinds = {fact["kind"] for fact in told}
        if kinds & {"DISPUTE_OPENED", "DISPUTE_LOST"} and not kinds & {"DISPUTE_WON", "DISPUTE_CLOSED"}:
            back += max(units(fact) for fact in told)
    return payment, back, is_open


def _due(order: Doc) -> int:
    payment, back, _ = _money(order)
    cancelled = any(fact["kind"] == "CANCEL" for fact in order["facts"].values())
    if cancelled or payment is None or payment["money"] is None or payment["money"]["minor_units"] <= 0:
        return 0
    paid = payment["money"]["minor_units"]
    return int(payment["dof"] * max(0, paid - back) // paid)


def _state(order: Doc) -> str:
    if _due(order) > 0:
        return "COMPLETED"
    if _money(order)[0] is not None:
        return "REFUNDED"
    return "FAILED" if any(fact["kind"] == "CANCEL" for fact in order["facts"].values()) else "PENDING"


def _too_much(order: Doc) -> bool:
    return bool(order["review"]) and order["review"].startswith("the wallet would")


def _entries_of(shelves: Mapping[str, Shelf], id_: str, order: Doc) -> list[list[Doc]]:
    found = []
    for number in range(order["entries"]):
        names = (name_of("ent", kind, "order", id_, number) for kind in ("PURCHASE", "RECLAIM"))
        found.append([shelves["entries"][name] for name in names if name in shelves["entries"]])
    return found


def _paper_of(id_: str, order: Doc, number: int) -> str:
    first = order["transaction_id"] if number == 0 else None
    return first or name_of("txn", "order", id_, number)


def orders(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    """I6, I7: applied is due, and is the sum of the numbered entries."""
    for id_, order in shelves["orders"].items():
        if id_ != name_of("ord", order["rail"], order["shop"], order["reference"]):
            yield f"I14 {id_} is another order"
        world, applied = f"world:{order['rail'].lower()}", 0
        for number, found in enumerate(_entries_of(shelves, id_, order)):
            if len(found) != 1:
                yield f"I7 {id_} has {len(found)} entries {number}"
                continue
            change = -net(found[0])[world]
            applied += change
            if (change > 0) != (found[0]["kind"] == "PURCHASE") or found[0]["ref"] != id_:
                yield f"I7 {id_} has a wrong entry {number}"
            if _paper_of(id_, order, number) not in shelves["transactions"]:
                yield f"I14 {id_} tells nobody of entry {number}"
        if applied != order["applied"]:
            yield f"I6 {id_} applied {order['applied']}, entered {applied}"
        bound = order["user_id"] is not None
        if not _too_much(order):
            if order["applied"] != (_due(order) if bound else 0):
                yield f"I6 {id_} applied {order['applied']}, due {_due(order)}"
            if bound and order["disputed"] != _money(order)[2]:
                yield f"I14 {id_} is disputed or not"
        if bool(order["entries"]) != (order["transaction_id"] is not None) or (order["entries"] and not bound):
            yield f"I14 {id_} has entries or not"
        yield from _whose(shelves, id_, order)


def _whose(shelves: Mapping[str, Shelf], id_: str, order: Doc) -> Iterator[str]:
    kinds = {fact["kind"] for fact in order["facts"].values()}
    decided = bool(kinds & {"APPROVED", "REJECTED"})
    asked = shelves["purchases"].get(order["purchase_id"])
    if order["user_id"] is not None and order["email"] is None:
        if (asked is None and not decided) or (asked is not None and asked["user_id"] != order["user_id"]):
            yield f"I14 {id_} is of another user"
    doubted = any(fact["doubt"] for fact in order["facts"].values())
    payment = _money(order)[0]
    if payment is not None and payment["money"] is not None:
        backs = [fact["money"] for fact in order["facts"].values() if fact["kind"] == "REFUND" and fact["money"]]
        doubted |= any(money["currency"] not in (payment["money"]["currency"], "XXX") for money in backs)
    if order["in_review"] != (order["review"] is not None) or (doubted and not decided and not order["in_review"]):
        yield f"I6 {id_} is in doubt, and nobody is asked"
    for key, fact in order["facts"].items():
        name = key.split(":")[0]
        must = {"PAID": "paid", "REFUND": "refund", "CANCEL": "cancel", "APPROVED": "decision", "REJECTED": "decision"}
        if must.get(fact["kind"], name) != name:
            yield f"I6 {id_} keeps {key} as {fact['kind']}"


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


def _owed(session: Doc) -> dict[str, int]:
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
            due |= {name_of("acc", id_, user): (id_, user) for user in _owed(session)}
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
        share = _owed(shelves["sessions"][session_id]).get(user, 0)
        left = share - given[session_id, f"user:{user}:earned"]
        entry = shelves["entries"].get(name_of("ent", "SETTLE", session_id))
        said = (accrual["session_id"], accrual["user_id"], accrual["amount"])
        if entry is None or said != (session_id, user, left) or accrual["entry_id"] != entry["id"]:
            yield f"I14 {id_} is of {said}, not {left}"
        elif accrual["created_at"] != entry["at"] or accrual["matures_at"] < entry["at"]:
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


# ---- what users see


def papers(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    """I14: the transactions are those that the facts bring forth, field by field, and no others."""
    due: dict[str, dict[str, Any]] = {}
    for make in (_of_sessions, _of_purchases, _of_orders, _of_requests, _of_payouts):
        due |= make(shelves)
    for id_, paper in shelves["transactions"].items():
        if id_ not in due:
            yield f"I14 {id_} has no reason"
            continue
        for name, value in {**_NOTHING, **due[id_]}.items():
            if value is not ... and paper[name] != value:
                yield f"I14 {id_} has {name} {paper[name]!r}, due {value!r}"
    for missing in due.keys() - shelves["transactions"].keys():
        yield f"I14 {missing} is missing"


_NOTHING: Doc = dict.fromkeys(
    (
        "completed_at",
        "available_after",
        "counterparty_id",
        "agent_id",
        "session_id",
        "distribution",
        "external_reference",
        "entry_id",
        "note",
        "fingerprint",
    )
)


def _by(entry: Doc, user: str) -> dict[str, Any]:
    after = entry["after"].get(user)
    left = None if after is None else after["available"]
    return {"completed_at": entry["at"], "entry_id": entry["id"], "available_after": left, "user_id": user}


def _of_sessions(shelves: Mapping[str, Shelf]) -> dict[str, dict[str, Any]]:
    due = {}
    for id_, session in shelves["sessions"].items():
        if not session["held"]:
            continue
        hirer, owner, ended = session["hirer_id"], session["owner_id"], session["settlement"]
        settled = shelves["entries"].get(name_of("ent", "SETTLE", id_)) if ended else None
        holds = [each for each in shelves["entries"].values() if each["ref"] == id_ and each["kind"] in _HOLDS]
        holds = sorted(
            (each for each in holds if hirer in each["after"]), key=lambda each: each["after"][hirer]["version"]
        )
        last = settled or holds[-1]
        about = {"agent_id": session["agent_id"], "session_id": id_, "payment_method": "WALLET"}
        got = ended["distribution"] if ended else None
        due[name_of("txn", "session", id_, hirer)] = {
            **about,
            **_by(last, hirer),
            "type": "HIRE",
            "status": "COMPLETED" if ended else "PENDING",
            "amount": -(ended["consumed"] if ended else session["held"]),
            "created_at": session["started_at"],
            "completed_at": settled["at"] if settled else None,
            "entry_id": settled["id"] if settled else None,
            "counterparty_id": None if owner == hirer else owner,
            "distribution": got,
        }
        for user, share in (_owed(session) if settled else {}).items():
            due[name_of("txn", "earning", id_, user)] = {
                **about,
                **_by(last, user),
                "type": "EARNING",
                "status": "COMPLETED",
                "amount": share,
                "created_at": last["at"],
                "available_after": None,
                "counterparty_id": hirer,
                "distribution": got,
            }
    return due


_HOLDS = ("HOLD", "EXTEND")


def _of_purchases(shelves: Mapping[str, Shelf]) -> dict[str, dict[str, Any]]:
    """Of purchases that no order has credited: pending, or over before they counted."""
    due = {}
    for id_, asked in shelves["purchases"].items():
        paper_id = name_of("txn", "purchase", id_)
        paper = shelves["transactions"].get(paper_id, {"external_reference": None, "status": None})
        named = [order for order in shelves["orders"].values() if order["purchase_id"] == id_]
        named = [order for order in named if order["user_id"] == asked["user_id"]]
        if any(order["transaction_id"] == paper_id for order in named):
            continue
        closers = [order for order in named if order["reference"] == paper["external_reference"]]
        over = [order for order in named if not order["entries"] and _state(order) in ("FAILED", "REFUNDED")]
        status, reference, when = "PENDING", id_, None
        if closers and closers[0]["entries"]:
            status, reference, when = paper["status"], paper["external_reference"], ...
        elif closers or over:
            by = (closers or over)[0]
            status, reference, when = _state(by), by["reference"], ...
        elif any(order["entries"] for order in named):
            continue
        due[paper_id] = {
            "type": "PURCHASE",
            "status": status,
            "user_id": asked["user_id"],
            "amount": asked["dof"],
            "created_at": asked["created_at"],
            "completed_at": when,
            "payment_method": asked["rail"],
            "external_reference": reference,
        }
    return due


def _of_orders(shelves: Mapping[str, Shelf]) -> dict[str, dict[str, Any]]:
    due = {}
    for id_, order in shelves["orders"].items():
        disputed = any(fact["kind"].startswith("DISPUTE_") for fact in order["facts"].values())
        for number, found in enumerate(_entries_of(shelves, id_, order)):
            entry, paper_id = found[0], _paper_of(id_, order, number)
            asked = shelves["purchases"].get(order["purchase_id"])
            begun = asked is not None and paper_id == name_of("txn", "purchase", order["purchase_id"])
            if not begun and paper_id != name_of("txn", "order", id_, number):
                continue
            paper = shelves["transactions"].get(paper_id, {"type": None, "status": None})
            kind = "PURCHASE" if entry["kind"] == "PURCHASE" else "REFUND"
            status = _state(order) if number == 0 else "COMPLETED"
            due[paper_id] = {
                **_by(entry, order["user_id"]),
                "type": "DISPUTE" if number and disputed and paper["type"] == "DISPUTE" else kind,
                "status": paper["status"] if _too_much(order) else status,
                "amount": -net(entry)[f"world:{order['rail'].lower()}"],
                "created_at": asked["created_at"] if asked is not None and begun else entry["at"],
                "payment_method": asked["rail"] if asked is not None and begun else order["rail"],
                "external_reference": order["reference"],
            }
    return due


def _of_requests(shelves: Mapping[str, Shelf]) -> dict[str, dict[str, Any]]:
    """Of transfers, adjustments and service refunds: the request is in the transaction, the rest in the entry."""
    due = {}
    told: dict[str, list[Doc]] = defaultdict(list)
    for paper in shelves["transactions"].values():
        told[paper["entry_id"]].append(paper)
    for entry in shelves["entries"].values():
        moved, mine = net(entry), told[entry["id"]]
        base = {"status": "COMPLETED", "created_at": entry["at"], "payment_method": "WALLET"}
        if entry["kind"] == "ADJUST":
            (user,) = entry["after"]
            amount = -moved["promo"]
            note = shelves["transactions"].get(entry["ref"], {"note": None})["note"]
            mark = mark_of(user, amount, note)
            said = {"type": "ADJUSTMENT", "amount": amount, "note": note, "fingerprint": mark}
            due[entry["ref"]] = {**base, **_by(entry, user), **said}
        elif entry["kind"] == "TRANSFER":
            giver = entry["actor"]
            (taker,) = set(entry["after"]) - {giver}
            amount = -moved[f"user:{giver}:available"]
            note = shelves["transactions"].get(entry["ref"], {"note": None})["note"]
            mark = mark_of(taker, amount, note)
            said = {"type": "TRANSFER", "note": note, "amount": -amount, "counterparty_id": taker, "fingerprint": mark}
            due[entry["ref"]] = {**base, **_by(entry, giver), **said}
            received = [each["id"] for each in mine if each["id"] != entry["ref"]] or [f"of {entry['id']}"]
            said = {"type": "TRANSFER", "note": note, "amount": amount, "counterparty_id": giver}
            due[received[0]] = {**base, **_by(entry, taker), **said}
        elif entry["kind"] == "REFUND":
            session = shelves["sessions"][entry["ref"]]
            about = {"agent_id": session["agent_id"], "session_id": session["id"], "type": "REFUND"}
            lost = [each for each in mine if each["amount"] < 0]
            whole = -sum(each["amount"] for each in lost) - moved["platform:fees"]
            for paper in mine:
                user = paper["user_id"]
                if user == session["hirer_id"] and paper["amount"] > 0:
                    mark = mark_of(session["id"], whole, paper["note"])
                    said = {"amount": whole, "note": paper["note"], "fingerprint": mark}
                else:
                    said = {"amount": paper["amount"], "counterparty_id": session["hirer_id"]}
                due[paper["id"]] = {**base, **about, **_by(entry, user), **said}
            seen = [(each["user_id"], each["amount"] < 0) for each in mine]
            if len(set(seen)) != len(seen):
                due[f"twice {entry['id']}"] = {}
    return due


def _of_payouts(shelves: Mapping[str, Shelf]) -> dict[str, dict[str, Any]]:
    due = {}
    for id_, payout in shelves["payouts"].items():
        names = [name_of("ent", kind, id_) for kind in ("PAYOUT_FAILED", "PAYOUT_PAID", "PAYOUT")]
        entry = next(shelves["entries"][name] for name in names if name in shelves["entries"])
        pending = payout["state"] in ("REQUESTED", "SENT")
        due[name_of("txn", "payout", id_)] = {
            **_by(entry, payout["user_id"]),
            "type": "PAYOUT",
            "status": "PENDING" if pending else {"PAID": "COMPLETED", "FAILED": "FAILED"}[payout["state"]],
            "amount": -payout["amount"],
            "created_at": payout["created_at"],
            "completed_at": None if pending else payout["concluded_at"],
            "payment_method": "STRIPE",
            "external_reference": id_ if pending else payout["transfer_id"],
        }
    return due


# ---- what is late


def late(shelves: Mapping[str, Shelf], now: datetime) -> Iterator[str]:
    """I13, and what the outbox knows of documents that are gone."""
    for id_, row in shelves["outbox"].items():
        if row["state"] == "DEAD" or (
            row["state"] == "PENDING" and now - (row["not_before"] or row["at"]) > TEN_MINUTES
        ):
            yield f"I13 {id_} waits"
        order = row["args"].get("order_id")
        if row["task"] == "apply_order" and row["state"] == "DONE":
            if order not in shelves["orders"]:
                yield f"I14 {order} is gone"
        if row["task"] == "follow_session" and row["args"]["session_id"] not in shelves["sessions"]:
            yield f"I14 {row['args']['session_id']} is gone"
    for id_, session in shelves["sessions"].items():
        if session["settlement"] is None and now - over_at(session) > TEN_MINUTES:
            yield f"I13 {id_} is over"
    for id_, payout in shelves["payouts"].items():
        if payout["state"] in ("REQUESTED", "SENT") and now - payout["created_at"] > WEEK:
            yield f"I13 {id_} waits"
