"""Payouts whose events come late, out of order or never: where the money is, there the DOF are not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from domain.ledger import PAYOUTS_PENDING, balance
from domain.money import Money
from domain.payouts import Payout, PayoutState
from firestore.backend import Query
from firestore.collections import ENTRIES, PAYOUTS, TRANSACTIONS
from firestore.memory import MemoryBackend
from functions.caller import Caller, tasks
from integrations.local.stripe import event_payload
from integrations.stripe_events import PAYOUT_METADATA
from tests.kill import flows
from tests.kill.house import ADA, AMY, Fuse, House, furniture
from tests.kill.worker import problems_of
from tests.outlets import heard

EARNED, PAID_OUT = 183, 120  # 61 minutes at 4 DOF, of which ada has three quarters; 120 DOF are 2.40 USD


class Stripe:
    """A Stripe that keeps books: what was moved and brought back, and what became of it."""

    def __init__(self) -> None:
        self.moved: dict[str, str] = {}
        self.reversed: dict[str, str] = {}
        self.lost_replies = 0

    async def transfer(self, *, account_id: str, amount: Money, payout_id: str, key: str) -> str:
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
        return tuple(self.moved)


class Stand(House):
    """The house of the kills, with a Stripe that keeps books."""

    def __init__(self, backend: MemoryBackend, books: Path) -> None:
        super().__init__(backend, Fuse(), books)
        self.there = Stripe()
        known = tasks(self.there, outlets=heard())  # type: ignore[arg-type]  # nobody connects an account
        self.caller = Caller(self.store, self.dispatcher, self.clock, known)

    async def told(self, event_type: str, about: dict[str, Any], account: str | None = "acct_ada") -> None:
        await self.stripe(event_payload(event_type, about, at=self.now, test=True, account=account))

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
    """ada has earned. At the end the ledger is audited."""
    memory = MemoryBackend()
    await memory.commit(furniture())
    made = Stand(memory, tmp_path)
    for step in flows.EARNED:
        await step(made)
    yield made
    assert await problems_of(memory, made.now) == []


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
