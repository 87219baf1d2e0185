"""What must hold of sessions and of what they meter (I5, I8, I13, I14)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from domain import hiring, ledger, metering, revenue, sessions
from domain.books import Books, Finding, derive
from domain.ids import Kind, fingerprint
from domain.ledger import EntryKind
from domain.money import BPS, Dof
from domain.pricing import MINUTES, HireUnit, Leg, Pricing
from domain.sessions import EndReason, Session, SessionType, UsageRecord

UNSETTLED_AFTER = timedelta(minutes=10)  # a session's own task settles it within seconds, the sweep within a minute


# ---- sessions


def session_is_its_entries(books: Books, session: Session) -> Iterator[Finding]:
    """I5, I14: it holds what its entries hold, and was paid out once, whole, when it was settled."""
    expected = session_entry_ids(session)
    for entry_id, kind in expected.items():
        if entry_id not in books.entries:
            yield "I14", f"has no entry of its {kind}"
    settled = Counter(books.entries[each].kind for each in expected if each in books.entries)[EntryKind.SETTLE]
    if settled != (session.settlement is not None and bool(session.held)):
        yield "I5", f"was settled {settled} times"
    prices = dict(zip((each.partition(":")[0] for each in session.extensions), extension_prices(session), strict=True))
    first = session.held.units - sum(prices.values())
    held = {derive(Kind.ENTRY, EntryKind.HOLD, session.id): first}
    held |= {derive(Kind.ENTRY, EntryKind.EXTEND, session.id, used): price for used, price in prices.items()}
    hirer = session.hirer_id
    for entry_id, units in held.items():
        moved = books.effects.get(entry_id)
        if moved is not None and dict(moved) != {ledger.available(hirer): -units, ledger.held(hirer): units}:
            yield "I14", f"holds {units} more by a stretch, and its entry says {dict(moved)}"
    for entry_id in expected.keys() & held.keys() & books.entries.keys():
        if books.entries[entry_id].actor != hirer:
            yield "I14", f"was held by {books.entries[entry_id].actor}"
    hold = books.entries.get(derive(Kind.ENTRY, EntryKind.HOLD, session.id))
    if hold is not None and hold.at != session.started_at:
        yield "I14", "was not held for when it started"
    if bool(session.held) != (session.transaction_id is not None):
        yield "I14", f"holds {session.held.units}, and its transaction is {session.transaction_id}"
    if session.transaction_id is not None:
        if session.transaction_id != hiring.transaction_id(session.id, hirer):
            yield "I14", f"names the transaction {session.transaction_id}, which is not its own"
        if session.transaction_id not in books.transactions:
            yield "I14", "has no transaction that its hirer sees"


def session_kept_its_terms(books: Books, session: Session) -> Iterator[Finding]:
    """I14: what was agreed at the start is what its fingerprint was made of, and the hold is its price."""
    minutes = metering.total_minutes(session.legs)
    beyond = session.held.units - sum(leg.price.units for leg in session.legs)
    beyond -= session.surcharge_per_minute.units * minutes
    if beyond < 0 or (beyond and session.type is not SessionType.OWNED):
        yield "I14", f"holds {beyond} beside its price"
    listing_id = None if session.type is SessionType.OWNED else derive(Kind.LISTING, session.agent_id)
    by_type = (session.type is SessionType.HIRED, session.type is SessionType.OWNED, listing_id)
    if (session.pricing is not None, session.owner_id == session.hirer_id, session.listing_id) != by_type:
        yield "I14", f"is of the type {session.type}, and its listing, pricing or owner is not"
    if session.type is not SessionType.HIRED and session.shares != revenue.ALL_TO_PLATFORM:
        yield "I14", "shares with others than the platform"
    if session.type is SessionType.TRIAL:
        free = (session.held.units, session.surcharge_per_minute.units) == (0, 0)
        if not free or session.id != derive(Kind.SESSION, "trial", session.hirer_id, session.agent_id):
            yield "I14", "is a trial, and not free, or not of its hirer and agent"
    elif session.fingerprint not in _fingerprints(session, beyond):
        yield "I14", "does not have the terms that its fingerprint was made of"
    if len(session.extensions) != len(session.legs) - 1:
        yield "I14", f"has {len(session.legs)} legs and {len(session.extensions)} extensions"
    for extension, leg in zip(session.extensions, session.legs[1:], strict=False):
        mark = extension.partition(":")[2]
        if mark not in {fingerprint(unit.value, count) for unit, count in _stretches(leg, session.pricing)}:
            yield "I14", f"was extended by {leg}, which was not asked for"
    if session.review_id not in (None, derive(Kind.REVIEW, session.id)):
        yield "I14", f"names the review {session.review_id}, which is not its own"


def _stretches(leg: Leg, prices: Pricing | None) -> Iterator[tuple[HireUnit, int]]:
    """The units and quantities that a leg may be of, at the session's prices."""
    for unit, minutes in MINUTES.items():
        count, rest = divmod(leg.minutes, minutes)
        if not rest and leg.price == (prices or hiring.FREE).unit_price(unit) * count:
            yield unit, count


def _fingerprints(session: Session, allowance: int) -> Iterator[str]:
    """What the fingerprint of a session with these terms can be."""
    chosen = session.configuration
    if session.type is SessionType.HIRED and session.pricing is not None:
        for unit, count in _stretches(session.legs[0], session.pricing):
            yield fingerprint(session.listing_id, unit.value, count, session.pricing.version, chosen)
    for minutes in (None, session.legs[0].minutes):
        yield fingerprint(session.agent_id, session.type.value, chosen, minutes, Dof(allowance), "")


def session_is_its_usage(books: Books, session: Session) -> Iterator[Finding]:
    """I5, I14: what was metered is the sum of the records, up to the hold; each change counted one version."""
    records = books.usage_of.get(session.id, [])
    billed = 0 if session.type is SessionType.TRIAL else sum(record.dof.units for record in records)
    if session.usage.units != min(billed, session.held.units + 1):
        yield "I5", f"has metered {session.usage.units}, its records {billed}"
    latencies = [record.latency_ms for record in records if record.latency_ms is not None]
    expected = (
        sum(record.interactions for record in records),
        sum(latencies),
        len(latencies),
        sum(record.crashed for record in records),
    )
    has = (session.interactions, session.latency_total_ms, session.latency_samples, session.crashes)
    if has != expected:
        yield "I14", f"has the metrics {has}, its records {expected}"
    version = 1 + len(records) + len(session.extensions) + (session.settlement is not None)
    if session.version != version:
        yield "I14", f"is at version {session.version}, its changes make {version}"
    moments = _moments(books, session, records)
    changed = max(moments) if len(moments) > 1 else None
    if session.settlement is not None:
        changed = session.settlement.ended_at
    if session.changed_at != changed:
        yield "I14", f"was changed last at {session.changed_at}, its records say {changed}"
    used = [record.at for record in records if record.dof and session.type is not SessionType.TRIAL]
    # A stretch that costs nothing has no entry, so its moment is forgotten once another change has taken its place.
    silent = session.type is SessionType.OWNED and bool(session.extensions)
    at = session.usage_at
    known = at in moments or (silent and at is not None and at > max(used, default=at))
    if (session.usage_at is not None) != bool(used) or (used and not known):
        yield "I14", f"was used last at {session.usage_at}, its records do not say so"


def _moments(books: Books, session: Session, records: list[UsageRecord]) -> list[datetime]:
    """When it was started and changed, its settlement aside, by whichever process's clock."""
    entries = (books.entry(EntryKind.EXTEND, session.id, each.partition(":")[0]) for each in session.extensions)
    found = [session.started_at, *(record.at for record in records), *(each.at for each in entries if each)]
    if session.type is SessionType.OWNED and session.extensions and session.changed_at is not None:
        found.append(session.changed_at)  # a stretch that costs nothing has no entry that says when
    return found


def session_ended_once(books: Books, session: Session) -> Iterator[Finding]:
    """I5, I8, I13: it ends for a reason that there was, costs what the meter showed, and is divided without a rest."""
    ended = session.settlement
    if session.settled != (ended is not None):
        yield "I5", "does not know whether it is settled"
    if ended is None:
        if session.end_key is not None:
            yield "I5", "was ended by somebody, and not settled"
        if session.returned != revenue.Distribution():
            yield "I5", "has given back what it has not taken"
        if books.at - session.over_at > UNSETTLED_AFTER:
            yield "I13", f"is over since {session.over_at.isoformat()}, and not settled"
        return
    running = replace(session, settlement=None, settled=False)
    natural = ended.reason in (EndReason.COMPLETED, EndReason.EXHAUSTED)
    if natural and (ended.ended_at, ended.reason) != (running.over_at, running.natural_end()):
        yield "I5", f"ended as {ended.reason} at {ended.ended_at}, not when it was over"
    if not natural and not session.started_at <= ended.ended_at <= running.over_at:
        yield "I5", f"was ended at {ended.ended_at}, when it did not run"
    if ended.minutes != running.minutes(ended.ended_at) or ended.consumed != running.consumed(ended.ended_at):
        yield "I5", f"cost {ended.consumed.units} for {ended.minutes} minutes, by the meter something else"
    if not 0 <= ended.consumed.units <= session.held.units:
        yield "I5", f"cost {ended.consumed.units} of {session.held.units}"
    yield from _divided(session, ended)
    if session.held:
        yield from _paid_out(books, session, ended)
    elif session.returned != revenue.Distribution():
        yield "I5", "has given back what it has not taken"


def _divided(session: Session, ended: sessions.Settlement) -> Iterator[Finding]:
    got, bps = ended.distribution, session.shares
    parts = ((got.owner, bps.owner_bps), (got.platform, bps.platform_bps), (got.creator, bps.creator_bps))
    if sum(part.units for part, _ in parts) != ended.consumed.units:
        yield "I8", f"divided {ended.consumed.units} into {got}"
    if any(abs(part.units * BPS - ended.consumed.units * share) >= BPS for part, share in parts):
        yield "I8", f"divided {ended.consumed.units} into {got}, which is not by its shares"


def _paid_out(books: Books, session: Session, ended: sessions.Settlement) -> Iterator[Finding]:
    entry = books.entry(EntryKind.SETTLE, session.id)
    if entry is None:
        return
    hirer, got = session.hirer_id, ended.distribution
    moved = Counter(books.effects[entry.id])
    back = moved.pop(ledger.available(hirer), 0) + moved.pop(ledger.debt(hirer), 0)
    taken = -moved.pop(ledger.held(hirer), 0)
    shares: Counter[str] = Counter()
    shares[ledger.earned(session.owner_id)] += got.owner.units
    shares[ledger.earned(session.creator_id)] += got.creator.units
    shares[ledger.PLATFORM_FEES] += got.platform.units
    if (taken, back) != (session.held.units, session.held.units - ended.consumed.units):
        yield "I5", f"held {session.held.units}, of which {taken} were taken and {back} came back"
    if +moved != +shares or -moved:
        yield "I8", f"was divided into {dict(shares)}, and its entry pays {dict(moved)}"
    natural = ended.reason in (EndReason.COMPLETED, EndReason.EXHAUSTED)
    by_hand = {EndReason.ENDED_BY_HIRER: hirer, EndReason.ENDED_BY_OWNER: session.owner_id}.get(ended.reason)
    if (by_hand is not None and entry.actor != by_hand) or (entry.actor == "platform") != (session.end_key is None):
        yield "I5", f"ended as {ended.reason} by {entry.actor}"
    last = max(_moments(books, replace(session, changed_at=None), books.usage_of.get(session.id, [])))
    if (natural and entry.at < ended.ended_at) or (not natural and ended.ended_at < max(last, entry.at)):
        yield "I5", f"ended at {ended.ended_at}, and its entry says {entry.at}"
    for user_id, _ in revenue.payees(got, session.owner_id, session.creator_id):
        if derive(Kind.ACCRUAL, session.id, user_id) not in books.accruals:
            yield "I14", f"earned {user_id} something, and there is no accrual of it"
        if derive(Kind.TRANSACTION, "earning", session.id, user_id) not in books.transactions:
            yield "I14", f"earned {user_id} something, and there is no transaction of it"
    yield from _given_back(books, session)


def _given_back(books: Books, session: Session) -> Iterator[Finding]:
    """Of service refunds: the platform's part is in their entries, each payee's in the transactions that it sees."""
    entries = [entry for entry in books.by_ref.get(session.id, ()) if entry.kind is EntryKind.REFUND]
    gave: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        gave[ledger.PLATFORM_FEES] -= books.effects[entry.id].get(ledger.PLATFORM_FEES, 0)
        for paper in books.papers_of.get(entry.id, ()):
            if paper.amount < 0:
                gave[paper.user_id] -= paper.amount
    back = session.returned
    parts = ((ledger.PLATFORM_FEES, back.platform), (session.owner_id, back.owner), (session.creator_id, back.creator))
    for party, share in parts:
        gave[party] -= share.units
    if any(gave.values()):
        yield "I14", f"has given back {back}, its entries differ by {dict(gave)}"


def usage_is_metered(books: Books, record: UsageRecord) -> Iterator[Finding]:
    """I14: each record is of a session, once per sequence, with the figures that its fingerprint was made of."""
    if record.session_id not in books.sessions:
        yield "I14", f"was metered for {record.session_id}, which is missing"
    if record.id != derive(Kind.USAGE, record.session_id, record.sequence):
        yield "I14", f"is not the record {record.sequence} of its session"
    figures = (record.dof.units, record.interactions, record.latency_ms, record.crashed)
    if record.fingerprint != fingerprint(*figures):
        yield "I14", "does not have the figures that its fingerprint was made of"


def session_entry_ids(session: Session) -> dict[str, EntryKind]:
    """The ids of all the entries of a session but its service refunds."""
    found = {}
    prices = extension_prices(session)
    if session.held.units != sum(prices):
        found[derive(Kind.ENTRY, EntryKind.HOLD, session.id)] = EntryKind.HOLD
    for extension, price in zip(session.extensions, prices, strict=True):
        if price:
            used = extension.partition(":")[0]
            found[derive(Kind.ENTRY, EntryKind.EXTEND, session.id, used)] = EntryKind.EXTEND
    if session.settlement is not None and session.held:
        found[derive(Kind.ENTRY, EntryKind.SETTLE, session.id)] = EntryKind.SETTLE
    return found


def extension_prices(session: Session) -> list[int]:
    """What each extension added to the hold, in order."""
    per_minute = session.surcharge_per_minute.units
    return [leg.price.units + per_minute * leg.minutes for leg in session.legs[1:]]
