"""Operations of wallets: reading, transferring, adjusting, and what a user sees of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain import ledger, notifications, wallets
from domain.acts import require_other
from domain.errors import BadInput, Conflict, IdempotencyConflict, NotFound, SelfDealing
from domain.ids import Kind, derived_id, fingerprint, is_id, require_key
from domain.ledger import EntryKind
from domain.money import DOF_MAX, Dof
from domain.policy import Policy
from domain.revenue import AccrualState
from domain.transactions import PaymentMethod, Transaction, TransactionStatus, TransactionType
from domain.users import NotificationKind, User, require_active
from domain.wallets import Move, Wallet
from firestore import acts
from firestore.backend import Aggregate, Backend, Filter, Order, Query
from firestore.collections import ACCRUALS, TRANSACTIONS, USERS, WALLETS
from firestore.commit import Commits, Tx
from firestore.keys import key_paths, spend
from firestore.ledger import enter, wallet_of
from firestore.notifications import NOTIFY, notes
from firestore.outbox import row
from firestore.paging import Page, Position, read_page

NOTE_CHARACTERS_MAX = 200  # it is shown on one transaction, a line among others


class Wallets:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def get_many(self, user_ids: list[str]) -> list[Wallet]:
        """Wallets in the order of the ids; one that was never written is empty. One RPC."""
        found = await self._backend.get_many([WALLETS.at(user_id) for user_id in user_ids])
        return [
            Wallet(user_id) if each is None else WALLETS.decode(each)
            for user_id, each in zip(user_ids, found, strict=True)
        ]

    async def earned(self, user_id: str) -> Dof:
        """What was settled to the user and has not matured: the sum of the maturing accruals. One RPC."""
        maturing = (Filter("user_id", "==", user_id), Filter("state", "==", AccrualState.MATURING.value))
        figures = await self._backend.aggregate(Query(ACCRUALS.name, maturing), {"sum": Aggregate("sum", "amount")})
        return Dof(int(figures["sum"]))

    def newest_accrual(self, user_id: str) -> Query:
        """The query whose result changes with each earning of the user, for a listener."""
        return Query(
            ACCRUALS.name, (Filter("user_id", "==", user_id),), (Order("created_at", descending=True),), limit=1
        )

    async def transfer(
        self,
        viewer_id: str,
        to_user_id: str,
        amount: Dof,
        note: str | None,
        key: str,
        now: datetime,
        key_id: str | None = None,
    ) -> tuple[Transaction, Wallet]:
        """Give available DOF to another user. Two RPCs, six writes.

        Raises BadInput, NotFound, SelfDealing, WalletFrozen, InsufficientDof, SpendCapReached, IdempotencyConflict.
        """
        require_key(key)
        if not 1 <= amount.units <= DOF_MAX:
            raise BadInput(f"A transfer moves 1 to {DOF_MAX} DOF.", field="input.amount")
        if not is_id(to_user_id, Kind.USER):
            raise NotFound("user")
        if to_user_id == viewer_id:
            raise SelfDealing("A transfer goes to another user: toUserId is your own id.")
        mark = fingerprint(to_user_id, amount.units, note)
        sent_id = derived_id(Kind.TRANSACTION, "transfer", viewer_id, key)
        received_id = derived_id(Kind.TRANSACTION, "received", viewer_id, key)

        async def body(tx: Tx) -> tuple[Transaction, Wallet]:
            await tx.read(
                TRANSACTIONS.at(sent_id),
                *(WALLETS.at(each) for each in (viewer_id, to_user_id)),
                *(USERS.at(each) for each in (viewer_id, to_user_id)),
                *key_paths(key_id),
            )
            known = tx.get(TRANSACTIONS, sent_id)
            if known is not None:
                if known.fingerprint != mark:
                    raise IdempotencyConflict
                return known, wallet_of(tx, viewer_id)
            require_active(tx.get(USERS, viewer_id))
            giver, taker = wallet_of(tx, viewer_id), wallet_of(tx, to_user_id)
            wallets.require_spendable(giver, amount)
            spend(tx, key_id, amount, now)
            _require_taker(tx.get(USERS, to_user_id), taker, amount)
            move = wallets.credit(taker, amount, ledger.available(viewer_id))
            given = Move(replace(giver, available=giver.available - amount), ())
            completes = {viewer_id: sent_id, to_user_id: received_id}
            fact = ("transfer", viewer_id, key)
            entry, moved, events = enter(
                tx, EntryKind.TRANSFER, fact, (given, move), ref=sent_id, actor=viewer_id, at=now, completes=completes
            )
            sent = _completed(sent_id, TransactionType.TRANSFER, moved[viewer_id], -amount, entry.id, now)
            sent = replace(sent, counterparty_id=to_user_id, note=note, fingerprint=mark)
            received = _completed(received_id, TransactionType.TRANSFER, moved[to_user_id], amount, entry.id, now)
            tx.create(TRANSACTIONS, sent)
            tx.create(TRANSACTIONS, replace(received, counterparty_id=viewer_id, note=note))
            told = _transferred(viewer_id, to_user_id, fact, (sent_id, received_id), amount)
            tx.tell(row(fact, now, self._policy.event_retention, events=events, task=NOTIFY, args=told))
            return sent, moved[viewer_id]

        return await self._commits.run(body, lane=viewer_id)

    async def adjust(
        self, actor_id: str, user_id: str, amount: int, reason: str, key: str, now: datetime
    ) -> tuple[Transaction, Wallet]:
        """An admin's correction out of or into `promo`. What is taken beyond the available becomes debt. Two RPCs.

        Raises BadInput, NotFound, Conflict, IdempotencyConflict.
        """
        require_key(key)
        if amount == 0 or abs(amount) > DOF_MAX:
            raise BadInput(f"An adjustment is not zero and at most {DOF_MAX} DOF either way.", field="input.amount")
        if not is_id(user_id, Kind.USER):
            raise NotFound("user")
        mark = fingerprint(user_id, amount, reason)
        transaction_id = derived_id(Kind.TRANSACTION, "adjust", actor_id, key)

        async def body(tx: Tx) -> tuple[Transaction, Wallet]:
            people = (USERS.at(user_id), USERS.at(actor_id))
            await tx.read(TRANSACTIONS.at(transaction_id), WALLETS.at(user_id), *people)
            known = tx.get(TRANSACTIONS, transaction_id)
            if known is not None:
                if known.fingerprint != mark:
                    raise IdempotencyConflict
                return known, wallet_of(tx, user_id)
            user = tx.get(USERS, user_id)
            if user is None or user.erased_at is not None:
                raise NotFound("user")
            require_other(actor_id, user_id)
            wallet = wallet_of(tx, user_id)
            if not wallets.fits(wallet, amount):
                raise Conflict(f"A wallet holds, or owes, at most {DOF_MAX} DOF: adjust by less.")
            given = wallets.credit(wallet, Dof(amount), ledger.PROMO) if amount > 0 else None
            move = given or wallets.reclaim(wallet, Dof(-amount), ledger.PROMO)
            fact = ("adjust", actor_id, key)
            entry, moved, events = enter(
                tx,
                EntryKind.ADJUST,
                fact,
                (move,),
                ref=transaction_id,
                actor=actor_id,
                at=now,
                completes={user_id: transaction_id},
            )
            done = _completed(transaction_id, TransactionType.ADJUSTMENT, moved[user_id], Dof(amount), entry.id, now)
            done = replace(done, note=reason, fingerprint=mark)
            tx.create(TRANSACTIONS, done)
            facts = {name: (getattr(wallet, name), getattr(moved[user_id], name)) for name in ("available", "debt")}
            await acts.record(tx, actor_id, "adjustWallet", user_id, reason, now, facts)
            told = _adjusted(user_id, fact, transaction_id, amount)
            tx.tell(row(fact, now, self._policy.event_retention, events=events, task=NOTIFY, args=told))
            return done, moved[user_id]

        return await self._commits.run(body, lane=user_id)

    async def page_of_user(
        self, user_id: str, kind: TransactionType | None, first: int, after: Position | None
    ) -> Page[Transaction]:
        """A user's transactions, newest first. One RPC."""
        filters = [Filter("user_id", "==", user_id)]
        if kind is not None:
            filters.append(Filter("type", "==", kind.value))
        query = Query(TRANSACTIONS.name, tuple(filters), (Order("created_at", descending=True),))
        return await read_page(self._backend, TRANSACTIONS, query, first, after)


def _transferred(
    giver_id: str, taker_id: str, fact: tuple[str | int, ...], transaction_ids: tuple[str, str], amount: Dof
) -> dict[str, str]:
    """What a transfer tells its taker, and its giver's integrators: the giver did it, and needs to be told nothing.

    The taker is told as of earnings, which are not mailed where nobody asked for it. Else a stranger with a hundred DOF
    could send a hundred mails.
    """
    sent_id, received_id = transaction_ids
    said = {"transaction_id": received_id, "dof": str(amount.units)}
    return notes(
        [
            notifications.note(NotificationKind.EARNINGS, taker_id, ("dof_received", *fact), said),
            notifications.note(None, giver_id, ("dof_sent", *fact), {"transaction_id": sent_id}),
        ]
    )


def _adjusted(user_id: str, fact: tuple[str | int, ...], transaction_id: str, amount: int) -> dict[str, str]:
    """What an adjustment tells whose wallet it is: the figure, and never the reason, which is the admin's."""
    said = {"transaction_id": transaction_id, "dof": str(abs(amount))}
    text = "adjustment_credited" if amount > 0 else "adjustment_debited"
    return notes([notifications.note(NotificationKind.ACCOUNT, user_id, (text, *fact), said)])


def _require_taker(user: User | None, wallet: Wallet, amount: Dof) -> None:
    """Raises NotFound for who can be given nothing: why a wallet is frozen is its owner's business. BadInput."""
    if user is None or user.suspended_at is not None or user.erased_at is not None or wallet.frozen or wallet.closed:
        raise NotFound("user")
    if not wallets.fits(wallet, amount.units):
        raise BadInput("That is more than the other wallet can hold: transfer less.", field="input.amount")


def _completed(
    transaction_id: str, kind: TransactionType, wallet: Wallet, amount: Dof, entry_id: str, now: datetime
) -> Transaction:
    return Transaction(
        id=transaction_id,
        user_id=wallet.id,
        type=kind,
        status=TransactionStatus.COMPLETED,
        amount=amount.units,
        created_at=now,
        completed_at=now,
        available_after=wallet.available.units,
        payment_method=PaymentMethod.WALLET,
        entry_id=entry_id,
    )
