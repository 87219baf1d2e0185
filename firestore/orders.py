"""Operations of orders: what the providers' webhooks tell, and what an admin decides of an order that waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from domain import orders, wallets
from domain.acts import require_other
from domain.errors import BadInput, Conflict, NotFound
from domain.events import Event, EventType, wallet_topic
from domain.ids import Kind, derived_id, is_id
from domain.ledger import WORLD_SHOPIFY, WORLD_STRIPE, EntryKind
from domain.money import DOF_MAX, ZERO, Dof
from domain.notifications import note, words
from domain.orders import CONTEST_DECISION, DECISION, UNFIT, Fact, FactKind, Order, OrderFacts
from domain.policy import Policy
from domain.privacy import REDACTED
from domain.purchases import PurchaseStatus, Rail, require_plausible
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.users import NotificationKind
from domain.wallets import Wallet
from firestore import acts
from firestore.backend import Backend, Filter, Query
from firestore.backend import Order as By
from firestore.collections import INBOX, ORDERS, OUTBOX, PURCHASES, TRANSACTIONS, USERS, WALLETS
from firestore.commit import Commits, Tx
from firestore.ledger import enter, wallet_of
from firestore.notifications import NOTIFY, notes
from firestore.outbox import row
from firestore.paging import Page, Position, read_page
from firestore.rows import InboxRow

_WORLD = {Rail.SHOPIFY: WORLD_SHOPIFY, Rail.STRIPE: WORLD_STRIPE}
CLAIMS_MAX = 20  # waiting orders of one e-mail that a sign-in takes in; the next one goes on


@dataclass(frozen=True, slots=True)
class Told:
    """Where a recorded delivery is, and the ids that it names: enough to read all that its work needs in one RPC."""

    inbox_id: str
    order_id: str
    purchase_id: str | None
    user_hint: str | None
    row_id: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What an admin makes of an order in review. `dof` is what its payment is worth by all that is in doubt, before
    refunds and disputes beyond doubt are taken off; None says that nothing is due.

    Of a contested dispute, any `dof` says that it is won, and None that it is lost.
    """

    order_id: str
    actor_id: str
    reason: str
    dof: Dof | None = None
    user_id: str | None = None


class Orders:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

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
            known = tx.get(ORDERS, told.order_id)
            before = known or Order(told.order_id, facts.rail, facts.shop, facts.reference, now)
            order = orders.absorb(before, facts, self._policy.packages, now)
            order = await _discreet(tx, await self._applied(tx, order, now))
            if order != known:  # one that tells nothing is kept too, so that the audit can miss an order that is gone
                tx.put(ORDERS, order)
            await tx.finish(told.row_id)
            return order

        # What else the user does writes the same wallet. A hint that lies costs its own delivery some waiting.
        return await self._commits.run(body, lane=told.user_hint or told.order_id)

    async def reconcile(self, facts: OrderFacts, now: datetime) -> bool:
        """Add what the provider's own books tell of an order; whether anything of it was missing. Two RPCs or three."""
        order_id = facts.order_id

        async def body(tx: Tx) -> bool:
            known = await tx.load(ORDERS, order_id)
            before = known or Order(order_id, facts.rail, facts.shop, facts.reference, now)
            order = await self._applied(tx, orders.absorb(before, facts, self._policy.packages, now), now)
            if order == before:
                return False
            order = await _discreet(tx, order)
            tx.put(ORDERS, order)
            return order.facts != before.facts

        return await self._commits.run(body, lane=order_id)

    async def claim(self, user_id: str, email: str, now: datetime) -> int:
        """Give a user the orders that wait for the e-mail, which the user has verified; how many. One RPC, if none."""
        filters = (Filter("in_review", "==", True), Filter("email", "==", email))
        waiting = await self._backend.query(Query(ORDERS.name, filters, limit=CLAIMS_MAX))
        for snapshot in waiting:
            await self._give(ORDERS.decode(snapshot).id, user_id, now)
        return len(waiting)

    async def decide(self, decision: Decision, now: datetime) -> Order:
        """Close a review: credit what the payment is worth to its user, or nothing. Two RPCs or three.

        Raises NotFound, Conflict when it was decided otherwise, does not wait or is the actor's own, BadInput.
        """
        if not is_id(decision.order_id, Kind.ORDER):
            raise NotFound("order")
        if decision.dof is not None:
            require_plausible(decision.dof, self._policy.packages)
        kind = FactKind.REJECTED if decision.dof is None else FactKind.APPROVED
        told = f"{decision.actor_id}: {decision.reason}"

        async def body(tx: Tx) -> Order:
            await tx.read(ORDERS.at(decision.order_id), USERS.at(decision.actor_id))
            before = tx.get(ORDERS, decision.order_id)
            if before is None:
                raise NotFound("order")
            fact = Fact(kind, now, dof=decision.dof or ZERO, subject=told)
            if _is_known(before, fact):
                return before
            if not before.in_review:
                state = "is decided already" if before.is_decided else "does not wait for a decision"
                raise Conflict(f"This order {state}: read reviewQueue again.")
            if before.is_contested and _doubts(before) is None:
                key = CONTEST_DECISION
            else:
                key, fact = orders.decision_key(before), replace(fact, seen=tuple(sorted(before.facts)))
            user_id = before.user_id or decision.user_id
            require_other(decision.actor_id, user_id)
            if kind is FactKind.APPROVED and (user_id is None or await tx.load(USERS, user_id) is None):
                raise BadInput("Name the user that the order is for.", field="input.userId")
            decided = replace(before, facts={**before.facts, key: fact}, user_id=user_id)
            order = await self._applied(tx, decided, now)
            tx.put(ORDERS, order)
            name = "rejectOrder" if decision.dof is None else "approveOrder"
            facts = {"applied": (before.applied, order.applied), "user": (before.user_id, order.user_id)}
            await acts.record(tx, decision.actor_id, name, order.id, decision.reason, now, facts)
            return order

        return await self._commits.run(body, lane=decision.order_id)

    async def review_queue(self, first: int, after: Position | None) -> Page[Order]:
        """Orders that wait for a decision, oldest first. One RPC."""
        query = Query(ORDERS.name, (Filter("in_review", "==", True),), (By("created_at"),))
        return await read_page(self._backend, ORDERS, query, first, after)

    async def _give(self, order_id: str, user_id: str, now: datetime) -> None:
        async def body(tx: Tx) -> None:
            before = await tx.load(ORDERS, order_id)
            if before is None or before.user_id is not None:
                return
            tx.put(ORDERS, await self._applied(tx, replace(before, user_id=user_id), now))

        await self._commits.run(body, lane=order_id)

    async def _applied(self, tx: Tx, order: Order, now: datetime) -> Order:
        return await _Applying(tx, await self._bind(tx, order), now, self._policy).run()

    async def _bind(self, tx: Tx, order: Order) -> Order:
        """Find whose order it is: the purchase's user, else the one with its verified e-mail."""
        if order.user_id is not None or order.is_rejected:
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


class _Applying:
    """One run of bringing a user's wallet and transactions to where an order's facts put them."""

    def __init__(self, tx: Tx, order: Order, now: datetime, policy: Policy) -> None:
        self._tx, self._order = tx, order
        self._now, self._policy = now, policy

    async def run(self) -> Order:
        """The order after its entry, if it needed one."""
        review = _review(self._order)
        order = replace(self._order, review=review, in_review=review is not None)
        if order.user_id is None:
            return order
        if order.target != order.applied or order.has_open_dispute != order.disputed:
            return await self._move(order, order.user_id)
        if _is_over(order):
            return await self._close(order, order.user_id)
        return order

    async def _move(self, order: Order, user_id: str) -> Order:
        tx, now = self._tx, self._now
        asked_id, first_id = _asked(order), order.transaction_id
        await tx.read(*(TRANSACTIONS.at(each) for each in (asked_id, first_id) if each), WALLETS.at(user_id))
        delta, world = order.target - order.applied, _WORLD[order.rail]
        wallet = wallet_of(tx, user_id)
        asked = tx.get(TRANSACTIONS, asked_id) if asked_id and order.entries == 0 else None
        shut = wallet.closed and delta > ZERO
        if shut or not wallets.fits(wallet, delta.units):
            if asked is not None and _closed_by(order, asked):
                # A refund that came back: the purchase is open again, and waits with its order.
                reference = order.purchase_id
                reopened = replace(asked, status=TransactionStatus.PENDING, completed_at=None)
                tx.put(TRANSACTIONS, replace(reopened, external_reference=reference))
            why = f"{UNFIT} hold or owe more than {DOF_MAX} DOF"
            if shut:
                why = f"{UNFIT} be a deleted account's: refund the order at the provider"
            return replace(order, review=why, in_review=True)
        if order.has_open_dispute != order.disputed:
            opened = 1 if order.has_open_dispute else -1
            wallet = replace(wallet, open_disputes=wallet.open_disputes + opened)
            order = replace(order, disputed=order.has_open_dispute)
        if not delta:
            tx.put(WALLETS, self._closed(order, wallet) if _is_over(order) else wallet)
            return order
        # A cart can be paid twice: its second order has a transaction of its own.
        open_ = asked is not None and (asked.status is TransactionStatus.PENDING or _closed_by(order, asked))
        seen = asked if asked is not None and open_ and asked.user_id == user_id else None
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
        fact, retention = ("order", order.id, order.entries), self._policy.event_retention
        credited = "purchase_restored" if order.entries else "dof_credited"
        told = _noted(wallet.id, credited if rising else "purchase_reversed", fact, transaction_id, delta)
        tx.tell(row(fact, now, retention, events=events, task=NOTIFY, args=told))
        kept_id = order.transaction_id or transaction_id
        return replace(order, applied=order.target, entries=order.entries + 1, transaction_id=kept_id)

    def _note(
        self, order: Order, wallet: Wallet, seen: Transaction | None, transaction_id: str, delta: Dof, entry_id: str
    ) -> None:
        """Write what the user sees: the purchase completed, and each refund as a transaction of its own."""
        begun = seen or Transaction(
            id=transaction_id,
            user_id=wallet.id,
            type=self._type(order),
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

    def _type(self, order: Order) -> TransactionType:
        """The first entry is the purchase; what a dispute took, or gave back, is told apart from refunds."""
        before = self._tx.get(ORDERS, order.id)
        if before is None or not order.entries:
            return TransactionType.PURCHASE
        return TransactionType.REFUND if before.charged_back == order.charged_back else TransactionType.DISPUTE

    async def _close(self, order: Order, user_id: str) -> Order:
        """A purchase that will bring nothing, cancelled or refunded before its money counted, is over. Tell so."""
        tx, asked_id = self._tx, _asked(order)
        if asked_id is None:
            return order
        await tx.read(TRANSACTIONS.at(asked_id), WALLETS.at(user_id))
        wallet = wallet_of(tx, user_id)
        told = self._closed(order, wallet)
        if told != wallet:
            tx.put(WALLETS, told)
        return order

    def _closed(self, order: Order, wallet: Wallet) -> Wallet:
        """Close what the purchase began with, which was read; the wallet after telling so, or as it was."""
        tx, asked_id = self._tx, _asked(order)
        asked = tx.get(TRANSACTIONS, asked_id) if asked_id else None
        status = TransactionStatus(order.outcome.value)
        if asked_id is None or asked is None or asked.status is status or asked.user_id != wallet.id:
            return wallet
        if asked.status is not TransactionStatus.PENDING and asked.external_reference != order.reference:
            return wallet
        wallet = replace(wallet, sequence=wallet.sequence + 1)
        closed = replace(asked, status=status, completed_at=self._now, external_reference=order.reference)
        tx.put(TRANSACTIONS, closed)
        data: dict[str, str | int] = {"transactionId": asked_id, "error": words(order.ending, {}, None).text}
        event = Event(wallet_topic(wallet.id), wallet.sequence, EventType.TRANSACTION_FAILED, self._now, data)
        # A refund that comes back opens the purchase again, so it can close more than once.
        fact, retention = ("closed", order.id, status, wallet.sequence), self._policy.event_retention
        told = _noted(wallet.id, order.ending, fact, asked_id, ZERO)
        tx.tell(row(fact, self._now, retention, events=(event,), task=NOTIFY, args=told))
        return wallet


async def _discreet(tx: Tx, order: Order) -> Order:
    """The order as it may be kept: one of a deleted account names nobody, however late it comes."""
    if order.user_id is None or order.email == REDACTED:
        return order
    # No RPC where the order has moved it, or the delivery named its user.
    wallet = await tx.load(WALLETS, order.user_id)
    return replace(order, email=REDACTED) if wallet is not None and wallet.closed else order


def _noted(user_id: str, text: str, fact: tuple[str | int, ...], transaction_id: str, delta: Dof) -> dict[str, str]:
    """What the buyer is told of it."""
    args = {"transaction_id": transaction_id, "dof": str(abs(delta.units))}
    return notes([note(NotificationKind.PURCHASES, user_id, (text, *fact), args)])


def _is_over(order: Order) -> bool:
    """Whether the order ended before it was credited."""
    return order.entries == 0 and order.outcome in (PurchaseStatus.FAILED, PurchaseStatus.REFUNDED)


def _closed_by(order: Order, asked: Transaction) -> bool:
    """Whether it was this order that ended, uncredited, and closed what its purchase began with."""
    over = asked.status in (TransactionStatus.FAILED, TransactionStatus.REFUNDED)
    return over and asked.entry_id is None and asked.external_reference == order.reference


def _asked(order: Order) -> str | None:
    """The transaction that the purchase began with, where the order names one."""
    return derived_id(Kind.TRANSACTION, "purchase", order.purchase_id) if order.purchase_id else None


def _is_known(order: Order, decision: Fact) -> bool:
    """Whether the order has this decision, and has been told nothing since: then it is the same request again."""
    made = [(key, each) for key, each in order.facts.items() if key.partition(":")[0] == DECISION]
    return any(
        replace(each, at=decision.at, seen=()) == decision
        and (key == CONTEST_DECISION or order.facts.keys() <= {*each.seen, key})
        for key, each in made
    )


def _review(order: Order) -> str | None:
    """Why a human must look at the order, or None once one has."""
    doubts = _doubts(order)
    if doubts is None and order.is_contested:
        return "a dispute was told as won and as lost: look it up, then approve the order if it is won, else reject it"
    return doubts


def _doubts(order: Order) -> str | None:
    """Why nobody can say what the order is worth, or to whom, until it is decided."""
    if order.doubts:
        return "; ".join(order.doubts)
    if order.user_id is None and order.is_paid and not (order.is_cancelled or order.is_rejected):
        return "paid, and no user is known for it: neither a purchase id nor the verified e-mail of one user"
    return None
