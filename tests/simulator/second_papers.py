"""The second checker's view of what users see, and of what is late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.simulator.second_names import Doc, Shelf, mark_of, name_of, net
from tests.simulator.second_orders import entries_of, owed, paper_of, state, too_much
from tests.simulator.second_sessions import over_at

TEN_MINUTES, WEEK = timedelta(minutes=10), timedelta(days=7)


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
        for user, share in (owed(session) if settled else {}).items():
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
        over = [order for order in named if not order["entries"] and state(order) in ("FAILED", "REFUNDED")]
        status, reference, when = "PENDING", id_, None
        closers = [order for order in closers if order in over]
        alive = any(not order["entries"] and state(order) == "COMPLETED" for order in named)
        if over and not (alive and not closers and paper["status"] == "PENDING"):
            by = (closers or over)[0]
            status, reference, when = state(by), by["reference"], ...
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
        for number, found in enumerate(entries_of(shelves, id_, order)):
            entry, paper_id = found[0], paper_of(id_, order, number)
            asked = shelves["purchases"].get(order["purchase_id"])
            begun = asked is not None and paper_id == name_of("txn", "purchase", order["purchase_id"])
            if not begun and paper_id != name_of("txn", "order", id_, number):
                continue
            paper = shelves["transactions"].get(paper_id, {"type": None, "status": None})
            kind = "PURCHASE" if number == 0 else "REFUND"
            status = state(order) if number == 0 else "COMPLETED"
            due[paper_id] = {
                **_by(entry, order["user_id"]),
                "type": "DISPUTE" if number and disputed and paper["type"] == "DISPUTE" else kind,
                "status": paper["status"] if too_much(order) else status,
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
            if sum(each["amount"] > 0 for each in mine) != 1:
                due[f"to the hirer of {entry['id']}"] = {}
            seen = [(each["user_id"], each["amount"] < 0) for each in mine]
            if len(set(seen)) != len(seen):
                due[f"twice {entry['id']}"] = {}
    return due


def _of_payouts(shelves: Mapping[str, Shelf]) -> dict[str, dict[str, Any]]:
    due = {}
    for id_, payout in shelves["payouts"].items():
        names = [name_of("ent", kind, id_) for kind in ("PAYOUT_FAILED", "PAYOUT_PAID", "PAYOUT")]
        entry = next((shelves["entries"][name] for name in names if name in shelves["entries"]), None)
        if entry is None:
            continue
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
        if row["task"] == "apply_order" and row["state"] == "DONE" and order not in shelves["orders"]:
            yield f"I14 {order} is gone"
        if row["task"] == "follow_session" and row["args"]["session_id"] not in shelves["sessions"]:
            yield f"I14 {row['args']['session_id']} is gone"
    for id_, session in shelves["sessions"].items():
        if session["settlement"] is None and now - over_at(session) > TEN_MINUTES:
            yield f"I13 {id_} is over"
    for id_, payout in shelves["payouts"].items():
        if payout["state"] in ("REQUESTED", "SENT") and now - payout["created_at"] > WEEK:
            yield f"I13 {id_} waits"
