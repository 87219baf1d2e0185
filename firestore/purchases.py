"""Operations of purchases: a user's wish to buy, and where it is paid. What a provider tells of it is an order's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain import purchases
from domain.errors import BadInput, IdempotencyConflict
from domain.ids import Kind, derived_id, fingerprint, is_id, require_key
from domain.money import Dof, Money
from domain.policy import Policy
from domain.purchases import QUANTITY_MAX, Purchase, Rail
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.users import require_active
from firestore.backend import Backend
from firestore.collections import PURCHASES, TRANSACTIONS, USERS
from firestore.commit import Commits, Tx


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
