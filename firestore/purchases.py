"""Operations of purchases and orders: a wish to buy, and what the provider's webhooks tell of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from domain import purchases, wallets
from domain.errors import BadInput, IdempotencyConflict, NotFound
from domain.events import Event, EventType, wallet_topic
from domain.ids import Kind, derived_id, fingerprint, is_id, require_key
from domain.ledger import WORLD_SHOPIFY, WORLD_STRIPE, EntryKind
from domain.money import DOF_MAX, ZERO, Dof, Money
from domain.policy import Policy
from domain.purchases import QUANTITY_MAX, Order, OrderFacts, Purchase, PurchaseStatus, Rail
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.users import require_active
from domain.wallets import Wallet
from firestore.backend import Backend, Filter, Query
from firestore.collections import INBOX, ORDERS, OUTBOX, PURCHASES, TRANSACTIONS, USERS, WALLETS
from firestore.commit import Commits, Tx
from firestore.ledger import enter, wallet_of
from firestore.outbox import row
from firestore.rows import InboxRow

_WORLD = {Rail.SHOPIFY: WORLD_SHOPIFY, Rail.STRIPE: WORLD_STRIPE}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user wishes to buy; `id` follows from the user and the idempotency key."""

    id: str
    user_id: str
    rail: Rail
    sku: str
    quantity: int
    dof: Dof
    price: Money
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Told:
    """Where a recorded delivery is, and the ids that it names: enough to read all that its work needs in one RPC."""

    inbox_id: str
    order_id: str
    purchase_id: str | None
    user_hint: str | None
    row_id: str | None


class Purchases:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    def wish(self, viewer_id: str, rail: Rail, sku: str, quantity: int, key: str) -> Wish:
        """Price a wish. No RPC. Raises UnknownPackage, BadInput."""
        require_key(key)
        if not 1 <= quantity <= QUANTITY_MAX:
            raise BadInput(f"A purchase takes 1 to {QUANTITY_MAX} packages.", field="input.quantity")
        dof, price = purchases.price_of(self._policy.packages, sku, quantity)
        purchase_id = derived_id(Kind.PURCHASE, viewer_id, key)
        return Wish(purchase_id, viewer_id, rail, sku, quantity, dof, price, fingerprint(rail.value, sku, quantity))

    async def begin(self, wish: Wish, checkout_url: str, now: datetime) -> tuple[Purchase, Transaction]:
        """Record a pending purchase. Two RPCs, two writes. Raises IdempotencyConflict."""
        transaction_id = derived_id(Kind.TRANSACTION, "purchase", wish.id)

        async def body(tx: Tx) -> tuple[Purchase, Transaction]:
            await tx.read(PURCHASES.at(wish.id), TRANSACTIONS.at(transaction_id), USERS.at(wish.user_id))
            known = tx.get(PURCHASES, wish.id)
            if known is not None:
                if known.fingerprint != wish.fingerprint:
                    raise IdempotencyConflict
                pending = tx.get(TRANSACTIONS, known.transaction_id)
                assert pending is not None, "a purchase has its transaction"
                return known, pending
            require_active(tx.get(USERS, wish.user_id))
            purchase = Purchase(
                id=wish.id,
                user_id=wish.user_id,
                rail=wish.rail,
                sku=wish.sku,
                quantity=wish.quantity,
                dof=wish.dof,
                price=wish.price,
                checkout_url=checkout_url,
                transaction_id=transaction_id,
                fingerprint=wish.fingerprint,
                created_at=now,
            )
            pending = Transaction(
                id=transaction_id,
                user_id=wish.user_id,
                type=TransactionType.PURCHASE,
                status=TransactionStatus.PENDING,
                amount=wish.dof.units,
                created_at=now,
                payment_method=PaymentMethod(wish.rail.value),
                external_reference=wish.id,
            )
            tx.create(PURCHASES, purchase)
            tx.create(TRANSACTIONS, pending)
            return purchase, pending

        return await self._commits.run(body)

    async def known(self, wish: Wish) -> Purchase | None:
        """The purchase that the same key began before. One RPC. Raises IdempotencyConflict for another input."""
        (found,) = await self._backend.get_many([PURCHASES.at(wish.id)])
        if found is None:
            return None
        purchase = PURCHASES.decode(found)
        if purchase.fingerprint != wish.fingerprint:
            raise IdempotencyConflict
        return purchase

    async def get(self, purchase_id: str) -> Purchase | None:
        """A purchase by its id. One RPC."""
        if not is_id(purchase_id, Kind.PURCHASE):
            return None
        (found,) = await self._backend.get_many([PURCHASES.at(purchase_id)])
        return None if found is None else PURCHASES.decode(found)

    async def absorb(self, told: Told, read: Callable[[InboxRow], OrderFacts], now: datetime) -> Order:
        """Add what a delivery tells to its order, and bring the wallet to the order's target in the same commit.

        Two RPCs where the delivery names purchase and user, else three. Any order and number of deliveries ends in one
        state.
        Raises NotFound when the inbox has expired, and what `read` raises.
        """

        async def body(tx: Tx) -> Order:
            paths = [INBOX.at(told.inbox_id), ORDERS.at(told.order_id)]
            if told.purchase_id is not None:
                transaction_id = derived_id(Kind.TRANSACTION, "purchase", told.purchase_id)
                paths += [PURCHASES.at(told.purchase_id), TRANSACTIONS.at(transaction_id)]
            if told.user_hint is not None:
                paths.append(WALLETS.at(told.user_hint))
            if told.row_id is not None:
                paths.append(OUTBOX.at(told.row_id))
            await tx.read(*paths)
            delivery = tx.get(INBOX, told.inbox_id)
            if delivery is None:
                raise NotFound("delivery")
            facts = read(delivery)
            before = tx.get(ORDERS, told.order_id) or Order(told.order_id, facts.rail, facts.shop, facts.reference, now)
            order = purchases.absorb(before, facts, self._policy.packages, now)
            order = await self._bind(tx, order)
            order = await _Settling(tx, order, now, self._policy).run()
            if order != before:
                tx.put(ORDERS, order)
            await tx.finish(told.row_id)
            return order

        return await self._commits.run(body, lane=told.order_id)

    async def _bind(self, tx: Tx, order: Order) -> Order:
        """Find whose order it is: the purchase's user, else the one with its verified e-mail (product.md, flow 1)."""
        if order.user_id is not None:
            return order
        if order.purchase_id is not None:
            purchase = await tx.load(PURCHASES, order.purchase_id)
            if purchase is not None:
                return replace(order, user_id=purchase.user_id)
        if order.email is not None and order.is_paid:
            filters = (Filter("email", "==", order.email), Filter("email_verified", "==", True))
            users = await tx.find(USERS, Query(USERS.name, filters, limit=2))
            if len(users) == 1:
                return replace(order, user_id=users[0].id)
        return order


class _Settling:
    """One run of bringing a user's wallet and transactions to where an order's facts put them."""

    def __init__(self, tx: Tx, order: Order, now: datetime, policy: Policy) -> None:
        self._tx = tx
        self._order = order
        self._now = now
        self._policy = policy

    async def run(self) -> Order:
        """The order after its entry, if it needed one."""
        order = replace(self._order, review=_review(self._order))
        if order.user_id is None:
            return order
        if order.target != order.applied:
            return await self._move(order, order.user_id)
        if order.entries == 0 and order.outcome in (PurchaseStatus.FAILED, PurchaseStatus.REFUNDED):
            return await self._close(order, order.user_id)
        return order

    async def _move(self, order: Order, user_id: str) -> Order:
        tx, now = self._tx, self._now
        asked_id, first_id = _asked(order), order.transaction_id
        await tx.read(*(TRANSACTIONS.at(each) for each in (asked_id, first_id) if each), WALLETS.at(user_id))
        delta, world = order.target - order.applied, _WORLD[order.rail]
        wallet = wallet_of(tx, user_id)
        if not wallets.fits(wallet, delta.units):
            return replace(order, review=f"the wallet would hold or owe more than {DOF_MAX} DOF")
        asked = tx.get(TRANSACTIONS, asked_id) if asked_id and order.entries == 0 else None
        # A cart can be paid twice: its second order has a transaction of its own.
        pending = asked is not None and asked.status is TransactionStatus.PENDING and asked.user_id == user_id
        seen = asked if pending else None
        transaction_id = seen.id if seen else derived_id(Kind.TRANSACTION, "order", order.id, order.entries)
        rising = delta > ZERO
        entry, moved, events = enter(
            tx,
            EntryKind.PURCHASE if rising else EntryKind.RECLAIM,
            ("order", order.id, order.entries),
            (wallets.credit(wallet, delta, world) if rising else wallets.reclaim(wallet, -delta, world),),
            ref=order.id,
            actor=f"webhook:{order.rail.value.lower()}",
            at=now,
            completes={user_id: transaction_id},
        )
        self._note(order, moved[user_id], seen, transaction_id, delta, entry.id)
        tx.tell(row(("order", order.id, order.entries), now, self._policy.event_retention, events=events))
        kept_id = order.transaction_id or transaction_id
        return replace(order, applied=order.target, entries=order.entries + 1, transaction_id=kept_id)

    def _note(
        self, order: Order, wallet: Wallet, seen: Transaction | None, transaction_id: str, delta: Dof, entry_id: str
    ) -> None:
        """Write what the user sees: the purchase completed, and each refund as a transaction of its own."""
        begun = seen or Transaction(
            id=transaction_id,
            user_id=wallet.id,
            type=TransactionType.PURCHASE if delta > ZERO else TransactionType.REFUND,
            status=TransactionStatus.PENDING,
            amount=0,
            created_at=self._now,
            payment_method=PaymentMethod(order.rail.value),
        )
        completed = replace(
            begun,
            status=TransactionStatus.COMPLETED,
            amount=delta.units,
            completed_at=self._now,
            available_after=wallet.available.units,
            external_reference=order.reference,
            entry_id=entry_id,
        )
        if seen is None:
            self._tx.create(TRANSACTIONS, completed)
        else:
            self._tx.put(TRANSACTIONS, completed)
        first = self._tx.get(TRANSACTIONS, order.transaction_id) if order.transaction_id else None
        if first is not None and first.status.value != order.outcome.value:
            self._tx.put(TRANSACTIONS, replace(first, status=TransactionStatus(order.outcome.value)))

    async def _close(self, order: Order, user_id: str) -> Order:
        """A purchase that will bring nothing, cancelled or refunded before its money counted, is over. Tell so."""
        tx, asked_id = self._tx, _asked(order)
        if asked_id is None:
            return order
        await tx.read(TRANSACTIONS.at(asked_id), WALLETS.at(user_id))
        asked = tx.get(TRANSACTIONS, asked_id)
        status = TransactionStatus(order.outcome.value)
        if asked is None or asked.status is status or asked.user_id != user_id:
            return order
        if asked.status is not TransactionStatus.PENDING and asked.external_reference != order.reference:
            return order
        wallet = wallet_of(tx, user_id)
        wallet = replace(wallet, sequence=wallet.sequence + 1)
        tx.put(WALLETS, wallet)
        closed = replace(asked, status=status, completed_at=self._now, external_reference=order.reference)
        tx.put(TRANSACTIONS, closed)
        data = {"transactionId": asked_id, "error": "The order was cancelled or refunded before it was credited."}
        event = Event(wallet_topic(user_id), wallet.sequence, EventType.TRANSACTION_FAILED, self._now, data)
        tx.tell(row(("closed", order.id, status), self._now, self._policy.event_retention, events=(event,)))
        return order


def _asked(order: Order) -> str | None:
    """The transaction that the purchase began with, where the order names one."""
    return derived_id(Kind.TRANSACTION, "purchase", order.purchase_id) if order.purchase_id else None


def _review(order: Order) -> str | None:
    """Why a human must look at the order, or None."""
    if order.doubts:
        return "; ".join(order.doubts)
    if order.user_id is None and order.is_paid and not order.is_cancelled:
        return "paid, and no user is known for it: neither a purchase id nor the verified e-mail of one user"
    return None
