"""Operations of sessions: hire, start, extend, meter, end, settle. Each is one commit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from domain import hiring, pricing, sessions, wallets
from domain.errors import BadInput, IdempotencyConflict, NotFound, SessionOver, TrialUsed
from domain.events import EventType
from domain.ids import Kind, derived_id, fingerprint, is_id, require_key
from domain.ledger import EntryKind
from domain.money import Dof
from domain.policy import Policy
from domain.pricing import HireUnit, Quote, SessionConfiguration
from domain.sessions import Ending, EndReason, Session, SessionStatus, SessionType, UsageRecord
from domain.users import require_active
from domain.wallets import Wallet
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import AGENTS, ENDINGS, LISTINGS, SESSIONS, TRANSACTIONS, USAGE, USERS, WALLETS
from firestore.commit import Commits, Tx
from firestore.keys import key_paths, spend
from firestore.ledger import enter, wallet_of
from firestore.outbox import row
from firestore.paging import Page, Position, read_page
from firestore.rows import bucket_of
from firestore.settlement import FOLLOW, settle, told

RUNNING_MAX = 200  # unsettled sessions of one user that are looked at: more is no real use


@dataclass(frozen=True, slots=True)
class Hire:
    """What a player wishes to hire. `key` is the client's idempotency key, which it may use once."""

    listing_id: str
    unit: HireUnit
    quantity: int
    pricing_version: int
    configuration: SessionConfiguration
    key: str


@dataclass(frozen=True, slots=True)
class Start:
    """An owned session of one's own agent, or a trial of another's. `usage_allowance` is held beside the surcharges."""

    agent_id: str
    type: SessionType
    configuration: SessionConfiguration
    minutes: int | None
    usage_allowance: Dof
    key: str


@dataclass(frozen=True, slots=True)
class Usage:
    """A game client's report; `sequence` is its own count, so that repeating or reordering does no harm."""

    session_id: str
    sequence: int
    dof: Dof
    interactions: int
    latency_ms: int | None
    crashed: bool


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote with what it was made of; `affordable` is None for who is not signed in."""

    quote: Quote
    pricing_version: int
    affordable: bool | None


class Sessions:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def quote(
        self, viewer_id: str | None, listing_id: str, unit: HireUnit, quantity: int, configuration: SessionConfiguration
    ) -> Quoted:
        """What a hire would cost now. One RPC. Raises NotFound, NotHirable, BadInput."""
        if not is_id(listing_id, Kind.LISTING):
            raise NotFound("listing")
        paths = [LISTINGS.at(listing_id), *([WALLETS.at(viewer_id)] if viewer_id else [])]
        found = await self._backend.get_many(paths)
        listing = hiring.require_offered(LISTINGS.decode(found[0]) if found[0] else None, viewer_id)
        priced = pricing.quote(listing.pricing, unit, quantity, configuration, self._policy.surcharges)
        affordable = None
        if viewer_id:
            wallet = WALLETS.decode(found[1]) if found[1] else Wallet(viewer_id)
            affordable = not (wallet.frozen or wallet.debt) and wallet.available >= priced.total
        return Quoted(priced, listing.pricing.version, affordable)

    async def hire(
        self, viewer_id: str, wish: Hire, now: datetime, key_id: str | None = None
    ) -> tuple[Session, Wallet]:
        """Hold the whole price and start the session. Two RPCs, five writes; a key that asks for it pays by one more.

        Raises NotFound, NotHirable, SelfDealing, PriceChanged, WalletFrozen, InsufficientDof, SpendCapReached,
        IdempotencyConflict.
        """
        require_key(wish.key)
        if not is_id(wish.listing_id, Kind.LISTING):
            raise NotFound("listing")
        session_id = derived_id(Kind.SESSION, "hire", viewer_id, wish.key)
        mark = fingerprint(wish.listing_id, wish.unit.value, wish.quantity, wish.pricing_version, wish.configuration)

        async def body(tx: Tx) -> tuple[Session, Wallet]:
            await tx.read(
                SESSIONS.at(session_id),
                WALLETS.at(viewer_id),
                LISTINGS.at(wish.listing_id),
                USERS.at(viewer_id),
                *key_paths(key_id),
            )
            known = _replay(tx.get(SESSIONS, session_id), mark)
            if known is not None:
                return known, wallet_of(tx, viewer_id)
            require_active(tx.get(USERS, viewer_id))
            listing = hiring.require_offered(tx.get(LISTINGS, wish.listing_id), viewer_id)
            pricing.require_version(listing.pricing, wish.pricing_version)
            priced = pricing.quote(
                listing.pricing, wish.unit, wish.quantity, wish.configuration, self._policy.surcharges
            )
            session = hiring.hired(
                session_id, viewer_id, listing, wish.configuration, priced, self._policy.shares, mark, now
            )
            spend(tx, key_id, priced.total, now)
            wallet = self._hold(tx, session, priced.total, EntryKind.HOLD, (session_id,), now)
            tx.create(TRANSACTIONS, hiring.transaction(session, wallet.available, now))
            return self._start(tx, session, now), wallet

        return await self._commits.run(body, lane=viewer_id)

    async def start(self, viewer_id: str, wish: Start, now: datetime, key_id: str | None = None) -> Session:
        """Start an owned session or a trial. Two RPCs.

        Raises NotFound, NotAvailable, SelfDealing, TrialUsed, WalletFrozen, InsufficientDof, SpendCapReached,
        IdempotencyConflict.
        """
        require_key(wish.key)
        if not is_id(wish.agent_id, Kind.AGENT):
            raise NotFound("agent")
        trial = wish.type is SessionType.TRIAL
        fact = ("trial", viewer_id, wish.agent_id) if trial else ("owned", viewer_id, wish.key)
        session_id = derived_id(Kind.SESSION, *fact)
        listing_id = derived_id(Kind.LISTING, wish.agent_id)
        key = wish.key if trial else ""
        mark = fingerprint(wish.agent_id, wish.type.value, wish.configuration, wish.minutes, wish.usage_allowance, key)

        async def body(tx: Tx) -> Session:
            await tx.read(
                SESSIONS.at(session_id),
                WALLETS.at(viewer_id),
                AGENTS.at(wish.agent_id),
                LISTINGS.at(listing_id),
                USERS.at(viewer_id),
                *key_paths(key_id),
            )
            known = tx.get(SESSIONS, session_id)
            if trial and known is not None and known.fingerprint != mark:
                raise TrialUsed("You have tried this agent already: hire it with hireAgent to go on.")
            replayed = _replay(known, mark)
            if replayed is not None:
                return replayed
            require_active(tx.get(USERS, viewer_id))
            agent = tx.get(AGENTS, wish.agent_id)
            if trial:
                listing = hiring.require_offered(tx.get(LISTINGS, listing_id), viewer_id, asked="agent")
                minutes = self._policy.trial_minutes
                session = hiring.trial(session_id, viewer_id, agent, listing, wish.configuration, minutes, mark, now)
            else:
                minutes = self._policy.owned_minutes if wish.minutes is None else wish.minutes
                per_minute = self._policy.surcharges.per_minute(wish.configuration)
                terms = hiring.OwnTerms(minutes, per_minute, wish.usage_allowance)
                session = hiring.owned(session_id, viewer_id, agent, wish.configuration, terms, mark, now)
            spend(tx, key_id, session.held, now)
            if session.held:
                wallet = self._hold(tx, session, session.held, EntryKind.HOLD, (session_id,), now)
                tx.create(TRANSACTIONS, hiring.transaction(session, wallet.available, now))
            return self._start(tx, session, now)

        return await self._commits.run(body, lane=viewer_id)

    async def extend(
        self,
        viewer_id: str,
        session_id: str,
        unit: HireUnit,
        quantity: int,
        key: str,
        now: datetime,
        key_id: str | None = None,
    ) -> tuple[Session, Wallet]:
        """Hold more and run longer, at the session's own prices. Two RPCs.

        Raises NotFound, SessionOver, NotAvailable, WalletFrozen, InsufficientDof, SpendCapReached, IdempotencyConflict.
        """
        require_key(key)
        if not is_id(session_id, Kind.SESSION):
            raise NotFound("session")
        mark = fingerprint(unit.value, quantity)
        used = fingerprint("extend", key)

        async def body(tx: Tx) -> tuple[Session, Wallet]:
            held_by = TRANSACTIONS.at(hiring.transaction_id(session_id, viewer_id))
            mine = (WALLETS.at(viewer_id), USERS.at(viewer_id), held_by, *key_paths(key_id))
            await tx.read(SESSIONS.at(session_id), *mine)
            session = tx.get(SESSIONS, session_id)
            if session is None or session.hirer_id != viewer_id:
                raise NotFound("session")
            done = dict(each.split(":") for each in session.extensions)
            if used in done:
                if done[used] != mark:
                    raise IdempotencyConflict
                return session, wallet_of(tx, viewer_id)
            require_active(tx.get(USERS, viewer_id))
            priced = hiring.extension(session, unit, quantity)
            longer = sessions.extend(session, priced, f"{used}:{mark}", now)
            wallet = wallet_of(tx, viewer_id)
            spend(tx, key_id, priced.total, now)
            if priced.total:
                wallet = self._hold(tx, session, priced.total, EntryKind.EXTEND, (session_id, used), now)
                self._note_hold(tx, longer, wallet)
            tx.put(SESSIONS, longer)
            event = told(longer, EventType.SESSION_DOF_UPDATED)
            tx.tell(row(("session", session_id, longer.version), now, self._policy.event_retention, events=(event,)))
            return longer, wallet

        return await self._commits.run(body, lane=viewer_id)

    async def record_usage(self, viewer_id: str, usage: Usage, now: datetime) -> Session:
        """Add metered usage once per sequence number. Two RPCs, three writes.

        Raises NotFound, SessionOver, BadInput, IdempotencyConflict for a sequence that came before with other figures.
        """
        if not is_id(usage.session_id, Kind.SESSION):
            raise NotFound("session")
        if not 0 <= usage.sequence <= sessions.SEQUENCE_MAX:
            raise BadInput(f"A sequence lies between 0 and {sessions.SEQUENCE_MAX}.", field="input.sequence")
        usage_id = derived_id(Kind.USAGE, usage.session_id, usage.sequence)
        mark = fingerprint(usage.dof.units, usage.interactions, usage.latency_ms, usage.crashed)

        async def body(tx: Tx) -> Session:
            await tx.read(SESSIONS.at(usage.session_id), USAGE.at(usage_id))
            session = tx.get(SESSIONS, usage.session_id)
            if session is None or session.hirer_id != viewer_id:
                raise NotFound("session")
            before = tx.get(USAGE, usage_id)
            if before is not None:
                if before.fingerprint != mark:
                    raise IdempotencyConflict("sequence")
                return session
            metered = sessions.record_usage(
                session,
                usage.dof,
                interactions=usage.interactions,
                latency_ms=usage.latency_ms,
                crashed=usage.crashed,
                now=now,
            )
            tx.put(SESSIONS, metered)
            figures = (usage.interactions, usage.latency_ms, usage.crashed)
            tx.create(USAGE, UsageRecord(usage_id, session.id, usage.sequence, usage.dof, mark, now, *figures))
            event = told(metered, EventType.SESSION_DOF_UPDATED)
            fact, retention = ("session", session.id, metered.version), self._policy.event_retention
            ran_low = session.low_at > now >= metered.low_at
            due_at = now if ran_low else metered.due_at(now)
            if due_at == session.due_at(now):
                tx.tell(row(fact, now, retention, events=(event,)))
            else:  # the rows that are there come too late
                args = {"session_id": session.id}
                tx.tell(row(fact, now, retention, events=(event,), task=FOLLOW, args=args, not_before=due_at))
            return metered

        return await self._commits.run(body, lane=usage.session_id)

    async def end(
        self, viewer_id: str, session_id: str, key: str, now: datetime, *, moderator: bool = False
    ) -> tuple[Session, Wallet]:
        """End and settle. The hirer, the owner or a moderator may; the wallet is the hirer's. Two RPCs for the hirer,
        three for another. Raises NotFound, IdempotencyConflict; SessionOver once it is settled under another key.
        """
        require_key(key)
        if not is_id(session_id, Kind.SESSION):
            raise NotFound("session")
        mark, ending_id = fingerprint(viewer_id, key), derived_id(Kind.ENDING, viewer_id, key)

        async def body(tx: Tx) -> tuple[Session, Wallet]:
            held_by = TRANSACTIONS.at(hiring.transaction_id(session_id, viewer_id))
            await tx.read(SESSIONS.at(session_id), WALLETS.at(viewer_id), held_by, ENDINGS.at(ending_id))
            session = tx.get(SESSIONS, session_id)
            if session is None or not (moderator or viewer_id in (session.hirer_id, session.owner_id)):
                raise NotFound("session")
            before = tx.get(ENDINGS, ending_id)
            if before is not None and before.session_id != session_id:
                raise IdempotencyConflict
            await tx.read(WALLETS.at(session.hirer_id), *_transaction_paths(session))
            if session.settlement is not None:
                if session.end_key == mark:
                    return session, wallet_of(tx, session.hirer_id)
                raise SessionOver("This session has ended and is settled: read it with session(id).")
            tx.create(ENDINGS, Ending(ending_id, session_id))
            reason = EndReason.MODERATED
            if viewer_id == session.hirer_id:
                reason = EndReason.ENDED_BY_HIRER
            elif viewer_id == session.owner_id:
                reason = EndReason.ENDED_BY_OWNER
            return settle(tx, replace(session, end_key=mark), reason, viewer_id, now, self._policy)

        return await self._commits.run(body, lane=viewer_id)

    async def settle_if_over(self, session_id: str, now: datetime) -> Session | None:
        """Settle a session that is over by itself; a running or settled one stays as it is. None when there is none."""

        async def body(tx: Tx) -> Session | None:
            session = await tx.load(SESSIONS, session_id)
            if session is None or session.settlement is not None or now < session.over_at:
                return session
            await tx.read(WALLETS.at(session.hirer_id), *_transaction_paths(session))
            return settle(tx, session, None, "platform", now, self._policy)[0]

        return await self._commits.run(body)

    async def unsettled(self, user_id: str) -> list[Session]:
        """The user's sessions that are not settled: those that run, and those that wait for their end. One RPC."""
        filters = (Filter("hirer_id", "==", user_id), Filter("settled", "==", False))
        found = await self._backend.query(Query(SESSIONS.name, filters, limit=RUNNING_MAX))
        return [SESSIONS.decode(each) for each in found]

    async def page_of_hirer(
        self, user_id: str, status: SessionStatus | None, first: int, after: Position | None
    ) -> Page[Session]:
        """A user's sessions, newest first. One RPC.

        `ACTIVE` lists what is not settled: one that is over and waits for its settlement is among them for a moment.
        """
        filters = [Filter("hirer_id", "==", user_id)]
        if status is not None:
            filters.append(Filter("settled", "==", status is SessionStatus.ENDED))
        query = Query(SESSIONS.name, tuple(filters), (Order("started_at", descending=True),))
        return await read_page(self._backend, SESSIONS, query, first, after)

    def _hold(
        self, tx: Tx, session: Session, amount: Dof, kind: EntryKind, fact: tuple[str | int, ...], now: datetime
    ) -> Wallet:
        move = wallets.hold(wallet_of(tx, session.hirer_id), amount)
        _, moved, _ = enter(tx, kind, fact, (move,), ref=session.id, actor=session.hirer_id, at=now)
        return moved[session.hirer_id]

    def _note_hold(self, tx: Tx, session: Session, wallet: Wallet) -> None:
        """Let the hire's transaction show the larger hold."""
        if session.transaction_id is not None:
            known = tx.get(TRANSACTIONS, session.transaction_id)
            assert known is not None, "a session that holds has its transaction"
            tx.put(TRANSACTIONS, replace(known, amount=-session.held.units, available_after=wallet.available.units))

    def _start(self, tx: Tx, session: Session, now: datetime) -> Session:
        session = replace(session, bucket=bucket_of(session.id))
        tx.create(SESSIONS, session)
        event, args = told(session, EventType.SESSION_STARTED), {"session_id": session.id}
        fact = ("session", session.id, session.version)
        tx.tell(row(fact, now, self._policy.event_retention, events=(event,), task=FOLLOW, args=args))
        return session


def _replay(known: Session | None, mark: str) -> Session | None:
    if known is not None and known.fingerprint != mark:
        raise IdempotencyConflict
    return known


def _transaction_paths(session: Session) -> list[str]:
    return [TRANSACTIONS.at(session.transaction_id)] if session.transaction_id else []
