"""Payouts whose events come late, out of order or never: where the money is, there the DOF are not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from domain.ledger import PAYOUTS_PENDING, balance
from domain.money import Dof, Money
from domain.payouts import Payout, PayoutState
from firestore.backend import Query
from firestore.collections import ENTRIES, OUTBOX, PAYOUTS, TRANSACTIONS
from firestore.memory import MemoryBackend
from firestore.rows import RowState
from functions.caller import Caller, tasks
from functions.schedule import patience, payouts
from functions.schedule.payouts import look_after
from functions.schedule.rounds import rounds
from integrations.local.stripe import event_payload
from integrations.services import BankPayout, BankStatus, FundsShort, PayoutAccount, TransferTold
from integrations.stripe_events import PAYOUT_METADATA
from tests.kill import flows
from tests.kill.house import ADA, AMY, Fuse, House, furniture
from tests.kill.worker import BOOKS, dump_of, problems_of
from tests.outlets import heard

EARNED, PAID_OUT = 183, 120  # 61 minutes at 4 DOF, of which ada has three quarters; 120 DOF are 2.40 USD


class Stripe:
    """A Stripe that keeps books: what was moved and brought back, and what became of it."""

    def __init__(self) -> None:
        self.moved: dict[str, str] = {}
        self.reversed: dict[str, str] = {}
        self.lost_replies = 0
        self.funds = True
        self.returned: set[str] = set()
        self.partly: set[str] = set()
        self.accounts: list[PayoutAccount] = []
        self.paid: list[BankPayout] = []
        self.held: dict[str, tuple[str, ...]] | None = None
        self.down: set[str] = set()

    async def transfer(self, *, account_id: str, amount: Money, payout_id: str, key: str) -> str:
        if not self.funds:
            raise FundsShort("the balance is short")
        self.moved.setdefault(payout_id, f"tr_{len(self.moved)}")
        if self.lost_replies:
            self.lost_replies -= 1
            raise Unavailable("no answer in time")
        return self.moved[payout_id]

    async def find_transfer(self, payout_id: str) -> str | None:
        return self.moved.get(payout_id)

    async def reverse(self, transfer_id: str, *, key: str) -> None:
        assert self.reversed.setdefault(transfer_id, key) == key

    async def paid_out(self, account_id: str, bank_payout_id: str) -> tuple[str, ...]:
        return tuple(self.moved) if self.held is None else self.held[bank_payout_id]

    async def account(self, account_id: str) -> PayoutAccount:
        return self.accounts.pop(0) if len(self.accounts) > 1 else self.accounts[0]

    async def transferred(self, transfer_id: str) -> TransferTold:
        if transfer_id in self.down:
            raise Unavailable("no answer in time")
        back = transfer_id in self.returned
        return TransferTold(transfer_id, "acct_ada", None, returned=back, partly=transfer_id in self.partly)

    async def bank_payouts(self, account_id: str, since: datetime) -> tuple[BankPayout, ...]:
        if account_id in self.down:
            raise Unavailable("no answer in time")
        return tuple(each for each in self.paid if each.account_id == account_id)


class Stand(House):
    """The house of the kills, with a Stripe that keeps books."""

    def __init__(self, backend: MemoryBackend, books: Path) -> None:
        super().__init__(backend, Fuse(), books)
        self.there = Stripe()
        known = tasks(self.there, outlets=heard())  # type: ignore[arg-type]  # nobody connects an account
        self.caller = Caller(self.store, self.dispatcher, self.clock, known)

    async def told(self, event_type: str, about: dict[str, Any], account: str | None = "acct_ada") -> None:
        await self.stripe(event_payload(event_type, about, at=self.now, test=True, account=account))

    async def look_after(self, days: int = 2) -> int:
        """The round, some days later."""
        self.now += timedelta(days=days)
        done = await look_after(self.store, self.there, self.now)  # type: ignore[arg-type]
        await self.work()
        return done

    async def ask(self, key: str, dof: int) -> str:
        payout, _ = await self.store.payouts.request(ADA, Dof(dof), key, self.now)
        await self.work()
        return payout.id

    async def states(self) -> dict[str, PayoutState]:
        return {each.id: each.state for each in await self.all_of(PAYOUTS)}

    async def rows(self, task: str) -> list[RowState]:
        return [each.state for each in await self.all_of(OUTBOX) if each.task == task]

    async def payout(self) -> Payout:
        (found,) = await self.all_of(PAYOUTS)
        return found  # type: ignore[no-any-return]

    async def available(self) -> int:
        (found,) = await self.store.wallets.get_many([ADA])
        return found.available.units

    async def all_of(self, collection: Any) -> list[Any]:
        return [collection.decode(each) for each in await self.backend.query(Query(collection.name))]

    async def reference(self) -> str | None:
        """What ada sees as the payout's reference."""
        transaction_id = (await self.payout()).transaction_id
        (found,) = [each for each in await self.all_of(TRANSACTIONS) if each.id == transaction_id]
        return found.external_reference  # type: ignore[no-any-return]


@pytest_asyncio.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    """ada has earned. At the end the ledger is audited; that something waits for long (I13) is what is tried here."""
    memory = MemoryBackend()
    await memory.commit(furniture())
    made = Stand(memory, tmp_path)
    for step in flows.EARNED:
        await step(made)
    yield made
    assert [each for each in problems_of(await dump_of(memory, BOOKS), made.now) if not each.startswith("I13")] == []


def bank(status: str, **changes: Any) -> dict[str, Any]:
    """A payout to the bank by Stripe's own schedule."""
    code = "account_closed" if status == "failed" else None
    return {"id": "po_1", "object": "payout", "status": status, "failure_code": code, "metadata": {}} | changes


def transfer(payout: Payout, **changes: Any) -> dict[str, Any]:
    about = {"id": "tr_0", "object": "transfer", "destination": "acct_ada", "amount": 240, "amount_reversed": 0}
    return about | {"reversed": False, "metadata": {PAYOUT_METADATA: payout.id}} | changes


async def ask_with_a_lost_reply(stand: Stand) -> None:
    stand.there.lost_replies = 1
    with pytest.raises(Unavailable):
        await flows.request_payout(stand)
    assert (await stand.payout()).state is PayoutState.REQUESTED


async def test_a_transfer_without_a_reply_is_brought_back_when_the_bank_fails(stand: Stand) -> None:
    """The payee is suspended before the second try, so nobody has noted the transfer when the bank sends it back."""
    await ask_with_a_lost_reply(stand)
    await stand.store.accounts.suspend(AMY, ADA, "a look", None, stand.now)
    await stand.told("payout.failed", bank("failed"))
    payout = await stand.payout()
    assert (payout.state, payout.transfer_id) == (PayoutState.FAILED, "tr_0")
    assert stand.there.reversed == {"tr_0": f"reverse:{payout.id}"}
    assert (await stand.available(), await stand.reference()) == (EARNED, "tr_0")


async def test_a_transfer_that_is_told_of_after_the_bank_was_paid_is_noted(stand: Stand) -> None:
    await ask_with_a_lost_reply(stand)
    await stand.told("payout.paid", bank("paid"))
    assert ((await stand.payout()).state, (await stand.payout()).transfer_id) == (PayoutState.PAID, None)
    await stand.store.payouts.note_sent((await stand.payout()).id, "tr_0", None)
    payout = await stand.payout()
    assert (payout.state, payout.transfer_id, await stand.reference()) == (PayoutState.PAID, "tr_0", "tr_0")
    await stand.told("payout.failed", bank("failed"))
    assert ((await stand.payout()).state, await stand.available()) == (PayoutState.FAILED, EARNED)
    assert list(stand.there.reversed) == ["tr_0"]


async def test_the_event_of_a_transfer_heals_its_lost_reply(stand: Stand) -> None:
    await ask_with_a_lost_reply(stand)
    await stand.told("transfer.created", transfer(await stand.payout()), account=None)
    payout = await stand.payout()
    assert (payout.state, payout.transfer_id) == (PayoutState.SENT, "tr_0")
    assert sum(balance(each.postings, PAYOUTS_PENDING) for each in await stand.all_of(ENTRIES)) == PAID_OUT


async def test_a_transfer_that_is_told_of_after_its_payout_failed_comes_back(stand: Stand) -> None:
    await ask_with_a_lost_reply(stand)
    payout = await stand.payout()
    await stand.store.payouts.conclude(payout.id, "by hand", stand.now)
    await stand.told("transfer.created", transfer(payout), account=None)
    assert stand.there.reversed == {"tr_0": f"reverse:{payout.id}"}
    assert ((await stand.payout()).transfer_id, await stand.available()) == ("tr_0", EARNED)
    # Another transfer for the same payout is for a human to look at: it neither replaces the first nor moves anything.
    await stand.told("transfer.created", transfer(payout, id="tr_9"), account=None)
    assert ((await stand.payout()).transfer_id, list(stand.there.reversed)) == ("tr_0", ["tr_0"])


async def test_the_event_of_another_systems_transfer_changes_nothing(stand: Stand) -> None:
    await flows.request_payout(stand)
    before = await stand.payout()
    unknown = transfer(before, metadata={PAYOUT_METADATA: "pay_" + "0" * 26})
    await stand.told("transfer.created", unknown, account=None)
    assert await stand.payout() == before


# ---- accounts


def account(**changes: Any) -> dict[str, Any]:
    return {"id": "acct_ada", "object": "account", "payouts_enabled": False, "requirements": {}} | changes


async def test_an_older_event_of_an_account_locks_nobody_out(stand: Stand) -> None:
    """The event of before the onboarding comes last. It says that ada is not ready: the account itself says she is."""
    stand.there.accounts = [PayoutAccount("acct_ada", True)]
    await stand.told("account.updated", account())
    kept = await stand.store.payouts.account(ADA)
    assert kept is not None
    assert (kept.ready, kept.missing) == (True, ())
    await flows.request_payout(stand)
    assert (await stand.payout()).state is PayoutState.SENT


async def test_an_account_that_changes_while_it_is_read_is_read_again(stand: Stand) -> None:
    ready, not_ready = PayoutAccount("acct_ada", True), PayoutAccount("acct_ada", False, ("external_account",))
    stand.there.accounts = [not_ready, ready, ready]
    await stand.told("account.updated", account())
    kept = await stand.store.payouts.account(ADA)
    assert kept is not None
    assert kept.ready
    stand.there.accounts = [ready, not_ready] * 5
    with pytest.raises(Unavailable, match="changes"):
        await stand.told("account.updated", account(payouts_enabled=True))
    assert await stand.rows("apply_payout") == [RowState.DONE, RowState.PENDING]


# ---- funds, and what comes back in part


async def test_a_payout_waits_for_funds_for_longer_than_a_weekend(stand: Stand) -> None:
    stand.there.funds = False
    await flows.request_payout(stand)
    for _ in range(4 * 24):
        stand.now += timedelta(hours=1)
        assert await stand.round() <= 1
    assert await stand.rows("send_payout") == [RowState.PENDING]
    assert (await stand.payout()).state is PayoutState.REQUESTED
    stand.there.funds = True
    stand.now += timedelta(hours=1)
    await stand.work()
    assert await stand.rows("send_payout") == [RowState.DONE]
    assert (await stand.payout()).state is PayoutState.SENT


async def test_what_came_back_in_part_waits_for_somebody_to_decide(stand: Stand) -> None:
    """Of 240 cents 100 came back: no DOF do, and it is among the dead letters until all of the transfer is back."""
    await flows.request_payout(stand)
    payout = await stand.payout()
    await stand.told("transfer.reversed", transfer(payout, amount_reversed=100), account=None)
    assert (await stand.payout(), await stand.available()) == (payout, EARNED - PAID_OUT)
    (row,) = (await stand.store.outbox.dead(10, None)).nodes
    assert row.task == "apply_payout"
    await stand.told("transfer.reversed", transfer(payout, amount_reversed=240, reversed=True), account=None)
    assert ((await stand.payout()).state, await stand.available()) == (PayoutState.FAILED, EARNED)
    await stand.store.outbox.revive(AMY, row.id, stand.now)
    await stand.round()
    assert (await stand.store.outbox.dead(10, None)).nodes == ()
    assert await stand.available() == EARNED


# ---- what the creator sends to the bank herself


def by_hand(status: str, stand: Stand, amount: int, **changes: Any) -> dict[str, Any]:
    """Stripe refuses to say what such a payout holds."""
    made = int(stand.now.timestamp()) + 1
    return bank(status, automatic=False, amount=amount, currency="usd", created=made, **changes)


async def test_a_payout_by_hand_is_known_by_its_amount(stand: Stand) -> None:
    one, two = await stand.ask("one", 60), await stand.ask("two", 120)
    told = by_hand("paid", stand, 240)
    stand.now += timedelta(days=1)
    for event_type in ("payout.paid", "payout.updated"):  # told again, it does not go on to the other
        await stand.told(event_type, told)
    assert await stand.states() == {one: PayoutState.SENT, two: PayoutState.PAID}
    await stand.told("payout.failed", told | {"status": "failed", "failure_code": "no_account"})
    assert await stand.states() == {one: PayoutState.SENT, two: PayoutState.FAILED}
    assert list(stand.there.reversed) == ["tr_1"]
    assert await stand.available() == EARNED - 60


async def test_a_payout_by_hand_of_all_there_is(stand: Stand) -> None:
    stand.there.lost_replies = 1
    with pytest.raises(Unavailable):
        await stand.ask("one", 60)
    await stand.ask("two", 120)
    await stand.told("payout.paid", by_hand("paid", stand, 360))
    assert set((await stand.states()).values()) == {PayoutState.PAID}
    assert {each.transfer_id for each in await stand.all_of(PAYOUTS)} == {"tr_0", "tr_1"}


@pytest.mark.parametrize("amount", [120, 200, None])
async def test_what_nobody_can_tell_is_a_dead_letter_at_once(stand: Stand, amount: int | None) -> None:
    """Two payouts of one amount, or an amount of none: an admin names the payout in Stripe's metadata."""
    one, two = await stand.ask("one", 60), await stand.ask("two", 60)
    told = by_hand("paid", stand, 0) | {"amount": amount}
    await stand.told("payout.paid", told)
    assert await stand.states() == {one: PayoutState.SENT, two: PayoutState.SENT}
    (row,) = (await stand.store.outbox.dead(10, None)).nodes
    assert row.task == "apply_payout"
    await stand.told("payout.updated", told | {"metadata": {PAYOUT_METADATA: two}})
    assert await stand.states() == {one: PayoutState.SENT, two: PayoutState.PAID}


async def test_what_left_before_a_payout_was_asked_for_does_not_hold_it(stand: Stand) -> None:
    told = by_hand("paid", stand, 240)
    stand.now += timedelta(minutes=1)
    await flows.request_payout(stand)
    await stand.told("payout.paid", told)
    assert (await stand.payout()).state is PayoutState.SENT
    assert await stand.rows("apply_payout") == [RowState.DONE]
    await stand.told("payout.paid", told | {"id": "po_2"}, account="acct_nobody")
    assert await stand.rows("apply_payout") == [RowState.DONE] * 2


# ---- the round


def left(status: BankStatus, name: str = "po_1", **changes: Any) -> BankPayout:
    about: dict[str, Any] = {"account_id": "acct_ada", "failure": None, "payout_id": None} | changes
    return BankPayout(name, status=status, **about)


@pytest.mark.parametrize(
    ("status", "ends", "available"),
    [
        (BankStatus.PAID, PayoutState.PAID, EARNED - PAID_OUT),
        (BankStatus.FAILED, PayoutState.FAILED, EARNED),
        (BankStatus.CANCELED, PayoutState.FAILED, EARNED),
        (BankStatus.ON_ITS_WAY, PayoutState.SENT, EARNED - PAID_OUT),
    ],
)
async def test_a_lost_event_of_the_banks(stand: Stand, status: BankStatus, ends: PayoutState, available: int) -> None:
    await flows.request_payout(stand)
    stand.there.paid = [left(status)]
    assert await look_after(stand.store, stand.there, stand.now) == 0  # type: ignore[arg-type]  # it is of today
    assert (await stand.payout()).state is PayoutState.SENT
    assert await stand.look_after() == (ends is not PayoutState.SENT)
    assert ((await stand.payout()).state, await stand.available()) == (ends, available)
    assert list(stand.there.reversed) == (["tr_0"] if ends is PayoutState.FAILED else [])
    assert await stand.look_after(0) == 0


async def test_a_lost_event_of_a_transfer_that_came_back(stand: Stand) -> None:
    await flows.request_payout(stand)
    stand.there.returned = {"tr_0"}
    assert await stand.look_after() == 1
    assert ((await stand.payout()).state, await stand.available()) == (PayoutState.FAILED, EARNED)


async def test_a_lost_reply_and_a_dead_row(stand: Stand) -> None:
    """The transfer is found by the payout's name; one that was never made is left to its task."""
    await ask_with_a_lost_reply(stand)
    stand.there.paid = [left(BankStatus.PAID)]
    assert await stand.look_after() == 1
    assert ((await stand.payout()).state, (await stand.payout()).transfer_id) == (PayoutState.PAID, "tr_0")
    assert await stand.reference() == "tr_0"


async def test_one_that_was_never_sent_is_left_alone(stand: Stand) -> None:
    stand.there.funds = False
    await flows.request_payout(stand)
    before = await stand.payout()
    assert (await stand.look_after(), await stand.payout()) == (0, before)


async def test_what_came_back_in_part_is_told_again_and_moves_nothing(stand: Stand) -> None:
    await flows.request_payout(stand)
    before, stand.there.partly = await stand.payout(), {"tr_0"}
    assert (await stand.look_after(), await stand.payout()) == (0, before)


async def test_a_lost_event_of_a_payout_by_hand(stand: Stand) -> None:
    one, two = await stand.ask("one", 60), await stand.ask("two", 60)
    later = {"automatic": False, "made_at": stand.now + timedelta(hours=1)}
    stand.there.paid = [left(BankStatus.PAID, amount=Money(120, "USD"), **later)]
    assert await stand.look_after() == 0
    assert await stand.states() == {one: PayoutState.SENT, two: PayoutState.SENT}
    stand.there.paid.append(left(BankStatus.PAID, "po_2", amount=Money(240, "USD"), **later))
    assert await stand.look_after(0) == 2
    assert await stand.states() == {one: PayoutState.PAID, two: PayoutState.PAID}


async def test_one_that_cannot_be_read_holds_up_no_other(stand: Stand) -> None:
    one, two = await stand.ask("one", 60), await stand.ask("two", 120)
    stand.there.paid = [left(BankStatus.PAID, name) for name in ("po_0", "po_1", "po_2")]
    stand.there.held = {"po_1": (one, "pay_of_nobody"), "po_2": (two,)}  # of po_0 the books raise KeyError
    stand.there.down = {"tr_0"}
    assert await stand.look_after() == 1
    assert await stand.states() == {one: PayoutState.SENT, two: PayoutState.PAID}
    stand.there.down = {"acct_ada"}
    assert await stand.look_after() == 0
    stand.there.down = set()
    assert await stand.look_after() == 1
    assert await stand.states() == {one: PayoutState.PAID, two: PayoutState.PAID}


async def test_books_that_do_not_answer_end_the_round_soon(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever's payouts they are: what our own store answers in between says nothing for the provider."""
    asked = [await stand.ask(str(number), 50) for number in range(3)]
    waiting, tried = payouts._waiting, 0

    async def of_three_accounts(*wanted: Any) -> list[Payout]:
        return [replace(each, account_id=f"acct_{each.id}") for each in await waiting(*wanted)]

    async def down(transfer_id: str) -> TransferTold:
        nonlocal tried
        tried += 1
        raise Unavailable("no answer in time")

    monkeypatch.setattr(payouts, "_waiting", of_three_accounts)
    monkeypatch.setattr(stand.there, "transferred", down)
    monkeypatch.setattr(patience, "DOWN_MAX", 2)
    with pytest.raises(Unavailable):
        await stand.look_after()
    assert (tried, await stand.states()) == (2, dict.fromkeys(asked, PayoutState.SENT))


async def test_the_round_reads_in_pages(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [await stand.ask(str(number), 50) for number in range(3)]
    stand.there.paid = [left(BankStatus.PAID)]
    monkeypatch.setattr("functions.schedule.payouts.FIRST_MAX", 1)
    monkeypatch.setattr("functions.schedule.payouts.PAGES_MAX", 2)
    assert await stand.look_after() == 2  # and it logs that more wait
    assert await stand.look_after() == 1
    assert await stand.states() == dict.fromkeys(asked, PayoutState.PAID)


async def test_it_is_one_of_the_rounds(stand: Stand) -> None:
    await flows.request_payout(stand)
    stand.there.paid = [left(BankStatus.PAID)]
    known = rounds(stand.store, stand.dispatcher, [], 5, True, payouts=stand.there)  # type: ignore[arg-type]
    (ours,) = [each for each in known if each.name == "payouts"]
    assert await ours.run(stand.now + timedelta(days=2)) == 1
    assert await look_after(stand.store, None, stand.now + timedelta(days=2)) == 0
