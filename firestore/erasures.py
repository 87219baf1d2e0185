"""Deleting accounts: the person goes in one commit, what else names them by a task, and a log says whom to erase again
when a backup brings them back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain import agents, erasure, listings, users, wallets
from domain.erasure import FORFEIT_NOTE, Affairs, Erasure
from domain.errors import Unauthenticated
from domain.ids import Kind, derived_id, fingerprint
from domain.keys import KeyRing
from domain.ledger import PROMO, EntryKind
from domain.money import ZERO, Dof
from domain.payouts import PayoutState
from domain.policy import Policy
from domain.revenue import AccrualState
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.users import User
from domain.wallets import Wallet
from firestore.backend import Backend, Conflict, Filter, Query, Snapshot, Unclear, Value, Write
from firestore.collections import (
    ACCRUALS,
    AGENT_VERSIONS,
    AGENTS,
    API_KEYS,
    APPEALS,
    ERASURES,
    KEY_RINGS,
    LISTINGS,
    NOTIFICATION_BOXES,
    ORDERS,
    PAYOUT_ACCOUNTS,
    PAYOUTS,
    PURCHASES,
    REPORTS,
    REVIEWS,
    SESSIONS,
    TRANSACTIONS,
    USERS,
    WALLETS,
)
from firestore.commit import Commits, Tx
from firestore.image_drops import drop
from firestore.keys import ring_of
from firestore.ledger import enter, wallet_of
from firestore.legible import legible
from firestore.outbox import row
from firestore.personal import FORGOTTEN, SOME
from firestore.records import Collection, R

ERASE_ACCOUNT = "erase_account"  # the task; the name outlives a deploy
PAGE = 100  # documents read, and written, at once: far within a commit's 500 writes


class Erasures:
    """Every method raises Unavailable when Firestore does not answer; what was done until then stays done."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def request(self, viewer_id: str, forfeit: Dof, now: datetime) -> Erasure:
        """Erase the viewer, who gives up what is available, and ask for the rest of the work. Doing so again answers
        the same.

        Seven RPCs. Raises Conflict for what must be settled before, Unauthenticated for who is not there.
        """

        async def body(tx: Tx) -> Erasure:
            user, known = await self._read(tx, viewer_id)
            if user is None:
                raise Unauthenticated("This account is no longer there: sign up again.")
            if known is not None and user.erased_at is not None:
                return known
            erasure.require_erasable(wallet_of(tx, viewer_id), await self._affairs(tx, viewer_id), forfeit)
            return self._erase(tx, user, known, now)

        return await self._commits.run(body, lane=viewer_id)

    async def reapply(self, user_id: str, now: datetime) -> bool:
        """Erase again whom a backup has brought back, whatever is under way; whether that was needed. Two RPCs.

        Sessions that run are let run to their end, as after any deletion that they raced with.
        """

        async def body(tx: Tx) -> bool:
            user, known = await self._read(tx, user_id)
            if user is None or known is None or user.erased_at is not None:
                return False
            self._erase(tx, user, known, now)
            return True

        return await self._commits.run(body, lane=user_id)

    async def log(self) -> AsyncIterator[list[Erasure]]:
        """Everybody who was erased, page by page. One RPC a page."""
        async for page in self._pages(Query(ERASURES.name)):
            yield legible(ERASURES, page)

    async def resurrected(self, logged: list[Erasure]) -> list[str]:
        """Of some who were erased, those who are back as they were. One RPC."""
        found = await self._backend.get_many([USERS.at(each.id) for each in logged])
        return [each.id for each in found if each is not None and each.data.get("erased_at") is None]

    async def note(self, erased: Erasure) -> None:
        """Put a line of another store's log into this one's, so that a round erases whom it names. Two RPCs."""

        async def body(tx: Tx) -> None:
            if await tx.load(ERASURES, erased.id) is None:
                tx.create(ERASURES, erased)

        await self._commits.run(body)

    async def orders(self, user_id: str) -> AsyncIterator[list[str]]:
        """The ids of the user's orders, page by page."""
        query = Query(ORDERS.name, (Filter("user_id", "==", user_id),), fields=("user_id",))
        async for page in self._pages(query):
            yield [each.id for each in page]

    async def clear(self, user_id: str) -> None:
        """Take away what else names the user, or speaks for them. Doing so again changes nothing.

        It ends, since a deleted account makes no further documents. A rating stays, as part of its listing's sums; its
        words go. Agents are `clear_agents`'.
        """
        for collection in FORGOTTEN:
            async for page in self._pages(Query(collection.name, (Filter("user_id", "==", user_id),))):
                await self._drop([each.path for each in page])
        await self._drop([PAYOUT_ACCOUNTS.at(user_id)])
        # How far notifications have counted stays: what told of them is kept a while, and a number is told once.
        await self._rewrite(
            NOTIFICATION_BOXES, Filter("id", "==", user_id), lambda each: replace(each, endpoint_ids=())
        )
        await self._rewrite(
            REVIEWS, Filter("reviewer_id", "==", user_id), lambda each: replace(each, title=None, comment="")
        )
        await self._rewrite(REPORTS, Filter("reporter_id", "==", user_id), lambda each: replace(each, text=""))
        await self._rewrite(APPEALS, Filter("owner_id", "==", user_id), lambda each: replace(each, text=""))
        await self._rewrite(PURCHASES, Filter("user_id", "==", user_id), lambda each: replace(each, checkout_url=""))

    async def clear_agents(self, user_id: str, now: datetime) -> None:
        """Take the user's words and pictures out of their agents, which are all deleted, and of their offers. Doing so
        again changes nothing.

        A version is of its agent, whoever wrote it: what the user was given goes, and what the user has given away is
        another's to run and to sell, as it was.
        """
        await self._rewrite(LISTINGS, Filter("owner_id", "==", user_id), listings.forget)
        query = Query(AGENTS.name, (Filter("owner_id", "==", user_id),), fields=("owner_id",))
        async for page in self._pages(query):
            ids = [each.id for each in page]
            for start in range(0, len(ids), SOME):
                some = Filter("agent_id", "in", ids[start : start + SOME])
                await self._rewrite(AGENT_VERSIONS, some, agents.forget_version)
            await self._clear_agents(ids, now)

    async def _clear_agents(self, ids: list[str], now: datetime) -> None:
        async def body(tx: Tx) -> None:
            await tx.read(*map(AGENTS.at, ids))
            for each in ids:
                before = tx.get(AGENTS, each)
                if before is not None and agents.forget(before) != before:
                    tx.put(AGENTS, agents.forget(before))
                    drop(tx, before.image, None, now)

        await self._commits.run(body)

    async def _drop(self, paths: list[str]) -> None:
        """Delete documents, whatever they say by now. Raises Unavailable, also where another commit is in the way: the
        task is asked again."""
        try:
            await self._backend.commit([Write(path, None) for path in paths])
        except Conflict:
            raise Unclear from None

    async def _rewrite(self, collection: Collection[R], wanted: Filter, change: Callable[[R], R]) -> None:
        async for page in self._pages(Query(collection.name, (wanted,), fields=(wanted.field,))):

            async def body(tx: Tx, page: list[Snapshot] = page) -> None:
                await tx.read(*(each.path for each in page))
                for each in page:
                    before = tx.get(collection, each.id)
                    if before is not None and change(before) != before:
                        tx.put(collection, change(before))

            await self._commits.run(body)

    async def _read(self, tx: Tx, user_id: str) -> tuple[User | None, Erasure | None]:
        await tx.read(USERS.at(user_id), ERASURES.at(user_id), WALLETS.at(user_id), KEY_RINGS.at(user_id))
        await tx.read(*(API_KEYS.at(each) for each in ring_of(tx, user_id).key_ids))
        return tx.get(USERS, user_id), tx.get(ERASURES, user_id)

    async def _affairs(self, tx: Tx, user_id: str) -> Affairs:
        async def open_(collection: Collection[Any], owner: str, field: str, *values: Value) -> list[str]:
            filters = (Filter(owner, "==", user_id), Filter(field, "in", values))
            return [each.id for each in await tx.find(collection, Query(collection.name, filters, limit=1))]

        return Affairs(
            hired=await open_(SESSIONS, "hirer_id", "settled", False),
            sold=await open_(SESSIONS, "owner_id", "settled", False),
            created=await open_(SESSIONS, "creator_id", "settled", False),
            payouts=await open_(PAYOUTS, "user_id", "state", PayoutState.REQUESTED.value, PayoutState.SENT.value),
            maturing=await open_(ACCRUALS, "user_id", "state", AccrualState.MATURING.value),
        )

    def _erase(self, tx: Tx, user: User, known: Erasure | None, now: datetime) -> Erasure:
        """The wallet is written whatever is in it: a hire that began before would else be made by nobody (T-P03)."""
        erased = users.erase(user, now)
        tx.put(USERS, erased)
        drop(tx, user.avatar, None, now)
        ring = ring_of(tx, user.id)
        for key_id in ring.key_ids:
            key = tx.get(API_KEYS, key_id)
            if key is not None:
                tx.put(API_KEYS, replace(key, name=users.DELETED_NAME, revoked_at=now))
        if ring.key_ids:
            tx.put(KEY_RINGS, KeyRing(user.id))
        forfeited = self._close(tx, wallet_of(tx, user.id), now)
        if known is None:
            known = Erasure(user.id, now, forfeited)
            tx.create(ERASURES, known)
        args = {"user_id": user.id, "uid": user.uid}
        fact = (ERASE_ACCOUNT, user.id, now.isoformat())
        tx.tell(row(fact, now, self._policy.event_retention, task=ERASE_ACCOUNT, args=args))
        return known

    def _close(self, tx: Tx, wallet: Wallet, now: datetime) -> Dof:
        """Close the wallet, and take what is available back to where gifts come from; gives how much."""
        amount, shut = wallet.available, replace(wallet, closed=True)
        if not amount:
            tx.put(WALLETS, shut)
            return ZERO
        fact = ("erasure", wallet.id, wallet.version)
        transaction_id = derived_id(Kind.TRANSACTION, *fact)
        move = wallets.reclaim(shut, amount, PROMO)
        completes = {wallet.id: transaction_id}
        entry, moved, events = enter(
            tx, EntryKind.ADJUST, fact, (move,), ref=transaction_id, actor=wallet.id, at=now, completes=completes
        )
        tx.create(
            TRANSACTIONS,
            Transaction(
                id=transaction_id,
                user_id=wallet.id,
                type=TransactionType.ADJUSTMENT,
                status=TransactionStatus.COMPLETED,
                amount=-amount.units,
                created_at=now,
                completed_at=now,
                available_after=moved[wallet.id].available.units,
                payment_method=PaymentMethod.WALLET,
                entry_id=entry.id,
                note=FORFEIT_NOTE,
                fingerprint=fingerprint(wallet.id, -amount.units, FORFEIT_NOTE),
            ),
        )
        tx.tell(row(fact, now, self._policy.event_retention, events=events))
        return amount

    async def _pages(self, query: Query) -> AsyncIterator[list[Snapshot]]:
        """All that match, in the order of their names: each page begins behind the one before, so it ends."""
        after: tuple[Value, ...] | None = None
        while True:
            found = await self._backend.query(replace(query, limit=PAGE, after=after))
            if found:
                yield found
            if len(found) < PAGE:
                return
            after = (found[-1].id,)
