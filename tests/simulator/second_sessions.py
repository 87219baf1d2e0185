"""The second checker's view of sessions: what was agreed, metered, held and divided (rulings 5 to 7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor

from tests.simulator.second_names import PARTIES, UNIT_MINUTES, Amount, Doc, Shelf, mark_of, name_of, net


def _prices(session: Doc) -> list[int]:
    return [leg["price"] + session["surcharge_per_minute"] * leg["minutes"] for leg in session["legs"]]


def entries_due(id_: str, session: Doc) -> dict[str, tuple[str, int]]:
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


def holds(shelves: Mapping[str, Shelf]) -> Iterator[str]:
    running: dict[str, int] = defaultdict(int)
    for id_, session in shelves["sessions"].items():
        hirer, ended = session["hirer_id"], session["settlement"]
        if session["settled"] != (ended is not None):
            yield f"I5 {id_} is settled or not"
        running[hirer] += 0 if ended else session["held"]
        for entry_id, (kind, amount) in entries_due(id_, session).items():
            entry = shelves["entries"].get(entry_id)
            if entry is None:
                yield f"I14 {id_} has no {kind}"
                continue
            moved = {name: units for name, units in net(entry).items() if units}
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


def meters(shelves: Mapping[str, Shelf]) -> Iterator[str]:
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
        yield from _moments(shelves, id_, session, records, [each["at"] for each in billed])
        if session["settlement"] is not None:
            yield from _cost(id_, session)
        elif session["end_key"] is not None:
            yield f"I5 {id_} is not settled, and was ended"
        if any(session["returned"].values()) and not (session["settlement"] and session["held"]):
            yield f"I5 {id_} was refunded"


def _moments(
    shelves: Mapping[str, Shelf], id_: str, session: Doc, records: list[Doc], used: list[datetime]
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
    elif (silent and changed < max(told)) or (not silent and changed != (max(told) if len(told) > 1 else None)):
        yield f"I14 {id_} changed at {changed}"
    at = session["usage_at"]
    if (at is not None) != bool(used) or (used and at not in told and not (silent and at > max(used))):
        yield f"I14 {id_} was used at {at}"


def _charge(session: Doc, minutes: int) -> int:
    cost: int
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


def terms(shelves: Mapping[str, Shelf]) -> Iterator[str]:
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
            marks = {mark_of(session["agent_id"], kind, _Raw(chosen), span, Amount(beyond), "") for span in spans}
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


def over_at(session: Doc) -> datetime:
    """When a session is over by itself."""
    return _over(session)[0]
