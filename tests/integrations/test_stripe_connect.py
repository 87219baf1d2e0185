"""Paying out: Stripe Connect's adapter, and the one that needs no account (T-F07, T-M14)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import Unavailable
from domain.money import Money
from integrations.connect import StripePayouts
from integrations.local import connect as local
from integrations.local.connect import LocalPayouts
from integrations.services import (
    BankPayout,
    BankStatus,
    FundsShort,
    PayoutAccount,
    PayoutGateway,
    PayoutRejected,
    TransferTold,
)
from integrations.stripe import KeyReused, StripeApi, StripeSignatures
from integrations.stripe_events import read_event
from tests.integrations.stripe_stand_in import KEY, Answer, Asked, StandIn, refusal, standing_in

USER = "usr_0123456789abcdefghjkmnpqrs"
PAYOUT = "pay_0123456789abcdefghjkmnpqrs"
OTHER = "pay_abcdefghjkmnpqrs0123456789"
ACCOUNT = "acct_1SJigaCreator01"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Remote:
    """A `StripePayouts` before a stand-in whose answers are chosen by method and path."""

    def __init__(self, **answers: Answer | Callable[[Asked], Answer]) -> None:
        self._answers = answers

    def answer(self, asked: Asked) -> Answer:
        words = asked.path.removeprefix("/v1/").split("/")
        known = self._answers["_".join([asked.method.lower(), *(word for word in words if "_1" not in word)])]
        return known(asked) if callable(known) else known

    async def ask(self, call: Callable[[StripePayouts], object]) -> tuple[object, StandIn]:
        async with standing_in(self.answer) as there:
            payouts = StripePayouts(
                StripeApi(KEY, base_url=there.url), "https://jiga.test/back", "https://jiga.test/again"
            )
            conforming: PayoutGateway = payouts
            try:
                return await call(payouts), there  # type: ignore[misc]
            finally:
                await conforming.close()


def listed(*data: dict[str, object], more: bool = False) -> Answer:
    return Answer({"object": "list", "data": list(data), "has_more": more})


def transfer(call_key: str = "payout:1:transfer", **changes: object) -> Callable[[StripePayouts], object]:
    asked: dict[str, object] = {"account_id": ACCOUNT, "amount": Money(4200, "USD"), "payout_id": PAYOUT} | changes
    return lambda payouts: payouts.transfer(key=call_key, **asked)  # type: ignore[arg-type]


class TestAccounts:
    async def test_an_account_is_opened(self) -> None:
        remote = Remote(post_accounts=Answer({"id": ACCOUNT, "object": "account"}))
        opened, there = await remote.ask(
            lambda payouts: payouts.open_account(user_id=USER, email="ada@jiga.test", country="DE")
        )
        assert opened == ACCOUNT
        (asked,) = there.asked
        assert asked.key == f"account:{USER}"
        assert dict(asked.form) == {
            "type": "express",
            "capabilities[transfers][requested]": "true",
            "metadata[jiga_user_id]": USER,
            "email": "ada@jiga.test",
            "country": "DE",
        }

    async def test_one_that_was_opened_with_other_words_is_found_again(self) -> None:
        others = [{"id": f"acct_1Other{number}", "metadata": {}} for number in range(2)]

        def pages(asked: Asked) -> Answer:
            if dict(asked.query).get("starting_after") != "acct_1Other1":
                return listed(*others, more=True)
            return listed({"id": "acct_1None"}, {"id": ACCOUNT, "metadata": {"jiga_user_id": USER}})

        remote = Remote(post_accounts=refusal(400, None, "idempotency_error"), get_accounts=pages)
        opened, there = await remote.ask(lambda payouts: payouts.open_account(user_id=USER, email="", country=None))
        assert opened == ACCOUNT
        assert [asked.method for asked in there.asked] == ["POST", "GET", "GET"]

    @pytest.mark.parametrize(
        "answers",
        [
            {"post_accounts": refusal(400, "country_unsupported")},
            {"post_accounts": refusal(500)},
            {"post_accounts": Answer({})},
            {"post_accounts": refusal(400, None, "idempotency_error"), "get_accounts": listed()},
            {"post_accounts": refusal(400, None, "idempotency_error"), "get_accounts": refusal(403)},
            {
                "post_accounts": refusal(400, None, "idempotency_error"),
                "get_accounts": listed({"id": "acct_1Other"}, more=True),
            },
        ],
    )
    async def test_what_does_not_work_is_unavailable(self, answers: dict[str, Answer]) -> None:
        with pytest.raises(Unavailable):
            await Remote(**answers).ask(lambda payouts: payouts.open_account(user_id=USER, email="", country=None))

    async def test_an_onboarding_page(self) -> None:
        remote = Remote(post_account_links=Answer({"url": "https://connect.stripe.com/setup/e/1"}))
        url, there = await remote.ask(lambda payouts: payouts.onboarding_url(ACCOUNT))
        assert url == "https://connect.stripe.com/setup/e/1"
        assert dict(there.asked[0].form) == {
            "account": ACCOUNT,
            "type": "account_onboarding",
            "return_url": "https://jiga.test/back",
            "refresh_url": "https://jiga.test/again",
        }
        with pytest.raises(Unavailable, match="account_invalid"):
            await Remote(post_account_links=refusal(403, "account_invalid")).ask(
                lambda payouts: payouts.onboarding_url(ACCOUNT)
            )

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (
                Answer({"id": ACCOUNT, "object": "account", "payouts_enabled": True}),
                PayoutAccount(ACCOUNT, True),
            ),
            (
                Answer({"id": ACCOUNT, "object": "account", "requirements": {"currently_due": ["external_account"]}}),
                PayoutAccount(ACCOUNT, False, ("external_account",)),
            ),
            (refusal(403, "account_invalid"), PayoutAccount(ACCOUNT, False, ("account_invalid",))),
        ],
    )
    async def test_how_an_account_stands(self, answer: Answer, expected: PayoutAccount) -> None:  # T-M14
        told, _ = await Remote(get_accounts=answer).ask(lambda payouts: payouts.account(ACCOUNT))
        assert told == expected

    @pytest.mark.parametrize("answer", [Answer({"id": 7}), refusal(403), refusal(400, "a_code_of_tomorrow")])
    async def test_an_account_that_nobody_tells_of_is_unavailable(self, answer: Answer) -> None:
        with pytest.raises(Unavailable):
            await Remote(get_accounts=answer).ask(lambda payouts: payouts.account(ACCOUNT))


class TestTransfers:
    async def test_what_is_asked(self) -> None:
        moved, there = await Remote(post_transfers=Answer({"id": "tr_1"})).ask(transfer())
        assert moved == "tr_1"
        (asked,) = there.asked
        assert asked.key == "payout:1:transfer"
        assert dict(asked.form) == {
            "amount": "4200",
            "currency": "usd",
            "destination": ACCOUNT,
            "transfer_group": PAYOUT,
            "metadata[jiga_payout_id]": PAYOUT,
        }

    @pytest.mark.parametrize("code", ["account_invalid", "resource_missing", "insufficient_capabilities_for_transfer"])
    async def test_what_never_works_is_rejected(self, code: str) -> None:  # T-M14
        with pytest.raises(PayoutRejected, match=f"^{code}$"):
            await Remote(post_transfers=refusal(400, code)).ask(transfer())

    @pytest.mark.parametrize(
        "answer",
        [
            refusal(400, "balance_insufficient"),  # ours to mend
            refusal(400, "a_code_of_tomorrow"),
            refusal(400),
            refusal(400, None, "idempotency_error"),  # another call with the key may have moved the money
            refusal(401),
            refusal(409, "idempotency_key_in_use"),
            refusal(429),
            refusal(500),
            Answer({}),
        ],
        ids=range(9),
    )
    async def test_what_may_have_worked_or_will_is_no_rejection(self, answer: Answer) -> None:  # T-F07
        with pytest.raises(Unavailable):
            await Remote(post_transfers=answer).ask(transfer())

    async def test_a_short_balance_is_told_from_an_outage(self) -> None:
        with pytest.raises(FundsShort):
            await Remote(post_transfers=refusal(400, "balance_insufficient")).ask(transfer())

    async def test_a_lost_reply_is_asked_for_again_with_the_same_key(self) -> None:  # T-F07
        tries: list[Asked] = []

        def answer(asked: Asked) -> Answer:
            tries.append(asked)
            return Answer(b"", 502) if len(tries) == 1 else Answer({"id": "tr_1"})

        moved, _ = await Remote(post_transfers=answer).ask(transfer())
        assert moved == "tr_1"
        assert [asked.key for asked in tries] == ["payout:1:transfer"] * 2

    async def test_an_earlier_transfer_is_found(self) -> None:  # T-F07
        found = [
            {"id": "tr_1Third", "metadata": {"jiga_payout_id": OTHER}},
            {"id": "tr_1Second", "metadata": {"jiga_payout_id": PAYOUT}},
            {"id": "tr_1First", "metadata": {"jiga_payout_id": PAYOUT}},
        ]
        remote = Remote(get_transfers=listed(*found))
        told, there = await remote.ask(lambda payouts: payouts.find_transfer(PAYOUT))
        assert told == "tr_1First"
        assert dict(there.asked[0].query) == {"transfer_group": PAYOUT, "limit": "100"}
        assert (await Remote(get_transfers=listed()).ask(lambda payouts: payouts.find_transfer(PAYOUT)))[0] is None
        with pytest.raises(Unavailable):
            await Remote(get_transfers=refusal(403)).ask(lambda payouts: payouts.find_transfer(PAYOUT))

    async def test_how_a_transfer_stands(self) -> None:
        stands = Answer({"id": "tr_1", "object": "transfer", "reversed": False, "amount_reversed": 600})
        told, there = await Remote(get_transfers=stands).ask(lambda payouts: payouts.transferred("tr_1"))
        assert told == TransferTold("tr_1", None, None, returned=False, partly=True)
        assert there.asked[0].path == "/v1/transfers/tr_1"
        for answer in (refusal(404, "resource_missing"), Answer({"id": "tr_1"})):
            with pytest.raises(Unavailable):
                await Remote(get_transfers=answer).ask(lambda payouts: payouts.transferred("tr_1"))

    async def test_what_left_an_account_for_the_bank(self) -> None:
        paid = {"object": "payout", "status": "paid", "currency": "usd", "amount": 4200, "created": NOON.timestamp()}
        newest_first = [paid | {"id": "po_2"}, {"id": "po_unreadable"}, paid | {"id": "po_1", "status": "pending"}]
        told, there = await Remote(get_payouts=listed(*newest_first)).ask(
            lambda payouts: payouts.bank_payouts(ACCOUNT, NOON)
        )
        assert isinstance(told, tuple)
        assert [(each.id, each.account_id, each.status) for each in told] == [
            ("po_1", ACCOUNT, BankStatus.ON_ITS_WAY),
            ("po_2", ACCOUNT, BankStatus.PAID),
        ]
        assert there.asked[0].headers["stripe-account"] == ACCOUNT
        assert dict(there.asked[0].query) == {"created[gte]": str(int(NOON.timestamp())), "limit": "100"}
        with pytest.raises(Unavailable):
            await Remote(get_payouts=refusal(403)).ask(lambda payouts: payouts.bank_payouts(ACCOUNT, NOON))

    async def test_a_transfer_is_brought_back(self) -> None:
        remote = Remote(post_transfers_reversals=Answer({"id": "trr_1"}))
        _, there = await remote.ask(lambda payouts: payouts.reverse("tr_1", key="payout:1:reversal"))
        (asked,) = there.asked
        assert (asked.path, asked.key, asked.form) == ("/v1/transfers/tr_1/reversals", "payout:1:reversal", [])

    @pytest.mark.parametrize("back", [True, False])
    async def test_one_that_is_back_already_is_fine(self, back: bool) -> None:
        remote = Remote(post_transfers_reversals=refusal(400), get_transfers=Answer({"id": "tr_1", "reversed": back}))
        if back:
            await remote.ask(lambda payouts: payouts.reverse("tr_1", key="k"))
        else:
            with pytest.raises(Unavailable):
                await remote.ask(lambda payouts: payouts.reverse("tr_1", key="k"))

    async def test_which_payouts_a_bank_was_paid(self) -> None:
        parts = [{"source": {"source_transfer": name}} for name in ("tr_1B", "tr_1A", "tr_1Gone")]
        sent = [
            {"id": "tr_1C", "metadata": {"jiga_payout_id": PAYOUT}},
            {"id": "tr_1B", "metadata": {"jiga_payout_id": PAYOUT}},
            {"id": "tr_1A", "metadata": {"jiga_payout_id": OTHER}},
        ]
        remote = Remote(get_balance_transactions=listed(*parts, {"source": None}), get_transfers=listed(*sent))
        told, there = await remote.ask(lambda payouts: payouts.paid_out(ACCOUNT, "po_1"))
        assert told == (OTHER, PAYOUT)
        assert there.asked[0].headers["stripe-account"] == ACCOUNT
        assert dict(there.asked[0].query)["payout"] == "po_1"
        assert "stripe-account" not in there.asked[1].headers
        assert dict(there.asked[1].query)["destination"] == ACCOUNT


class Here:
    """A `LocalPayouts` whose events are verified and read as the store's door would."""

    def __init__(self) -> None:
        self.now = NOON
        self.told: list[tuple[str, object]] = []
        self.failing = 0
        self._signatures = StripeSignatures(["whsec_local"], lambda: self.now)
        self.payouts = LocalPayouts(
            lambda: "http://127.0.0.1:8000/", "whsec_local", self.post, clock=lambda: self.now, test=True
        )

    async def post(self, body: bytes, signature: str) -> bool:
        assert self._signatures.verify(body, signature)
        if self.failing:
            self.failing -= 1
            raise ConnectionError
        event = read_event(body)
        assert event.test
        self.told.append((event.type, event.told))
        return True

    async def ready(self) -> str:
        account_id = await self.payouts.open_account(user_id=USER, email="ada@jiga.test", country="DE")
        assert await self.payouts.confirm(account_id)
        await self.payouts.settled()
        self.told.clear()
        return account_id

    async def transfer(self, minor_units: int, key: str = "k", account_id: str | None = None) -> str:
        return await self.payouts.transfer(
            account_id=account_id or await self.payouts.open_account(user_id=USER, email="", country=None),
            amount=Money(minor_units, "USD"),
            payout_id=PAYOUT,
            key=key,
        )

    async def types(self) -> list[str]:
        await self.payouts.settled()
        return [event_type for event_type, _ in self.told]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setattr(local, "FIRST_WAIT_SECONDS", 0)
    return Here()


class TestLocal:
    async def test_an_account_becomes_ready_on_its_page(self, here: Here) -> None:
        payouts: PayoutGateway = here.payouts
        account_id = await payouts.open_account(user_id=USER, email="ada@jiga.test", country="DE")
        assert account_id == await payouts.open_account(user_id=USER, email="other@jiga.test", country=None)
        assert await payouts.onboarding_url(account_id) == (
            f"http://127.0.0.1:8000/local/payouts/onboarding?account={account_id}"
        )
        assert account_id in local.page(account_id)
        assert await payouts.account(account_id) == PayoutAccount(account_id, False, local.ASKED)
        with pytest.raises(PayoutRejected, match="insufficient_capabilities_for_transfer"):
            await here.transfer(4200, account_id=account_id)
        assert await here.payouts.confirm(account_id)
        assert await payouts.account(account_id) == PayoutAccount(account_id, True)
        await here.payouts.settled()
        assert here.told == [("account.updated", PayoutAccount(account_id, True))]
        await payouts.close()

    async def test_a_payout_arrives(self, here: Here) -> None:
        account_id = await here.ready()
        transfer_id = await here.transfer(4200)
        assert await here.types() == ["transfer.created", "payout.paid"]
        assert here.told[0][1] == TransferTold(transfer_id, account_id, PAYOUT, returned=False)
        bank = here.told[1][1]
        assert isinstance(bank, BankPayout)
        assert (bank.account_id, bank.status, bank.failure, bank.payout_id) == (account_id, BankStatus.PAID, None, None)
        assert await here.payouts.paid_out(account_id, bank.id) == (PAYOUT,)
        assert await here.payouts.find_transfer(PAYOUT) == transfer_id
        assert await here.payouts.find_transfer(OTHER) is None
        assert await here.payouts.transferred(transfer_id) == here.told[0][1]
        assert await here.payouts.bank_payouts(account_id, NOON) == (bank,)
        assert await here.payouts.bank_payouts(account_id, NOON + timedelta(seconds=1)) == ()
        with pytest.raises(Unavailable, match="forgotten"):
            await here.payouts.transferred("tr_of_before_the_restart")

    @pytest.mark.parametrize(("ending", "ends"), [(13, ["payout.failed"]), (14, ["payout.paid", "payout.failed"])])
    async def test_the_bank_sends_it_back(self, here: Here, ending: int, ends: list[str]) -> None:  # T-M14
        await here.ready()
        transfer_id = await here.transfer(4200 + ending)
        assert await here.types() == ["transfer.created", *ends]
        failed = here.told[-1][1]
        assert isinstance(failed, BankPayout)
        assert (failed.status, failed.failure) == (BankStatus.FAILED, "account_closed")
        assert await here.payouts.bank_payouts(failed.account_id, NOON) == (failed,)
        for _ in range(2):
            await here.payouts.reverse(transfer_id, key="r")
        assert (await here.types())[-1] == "transfer.reversed"
        assert (await here.types()).count("transfer.reversed") == 1
        told = here.told[-1][1]
        assert isinstance(told, TransferTold)
        assert told.returned

    async def test_stripe_refuses_for_good(self, here: Here) -> None:
        await here.ready()
        for _ in range(2):
            with pytest.raises(PayoutRejected, match="account_invalid"):
                await here.transfer(4215)
        assert await here.types() == []

    async def test_a_closed_account_takes_nothing(self, here: Here) -> None:  # T-M14
        account_id = await here.ready()
        await here.payouts.close_account(account_id)
        with pytest.raises(PayoutRejected, match="account_invalid"):
            await here.transfer(4200)
        assert await here.payouts.account(account_id) == PayoutAccount(account_id, False, ("account_invalid",))
        assert not await here.payouts.confirm(account_id)
        await here.payouts.settled()
        assert here.told == [("account.updated", PayoutAccount(account_id, False, ("rejected.other",)))]

    async def test_a_lost_reply(self, here: Here) -> None:  # T-F07
        await here.ready()
        with pytest.raises(Unavailable):
            await here.transfer(4216)
        again = await here.transfer(4216)
        assert again == await here.payouts.find_transfer(PAYOUT)
        assert (await here.types()).count("transfer.created") == 1

    async def test_a_saved_error(self, here: Here) -> None:  # T-F07
        await here.ready()
        for hours in (0, 23):
            here.now = NOON + timedelta(hours=hours)
            with pytest.raises(Unavailable, match="500"):
                await here.transfer(4217)
        assert await here.payouts.find_transfer(PAYOUT) is None
        here.now = NOON + timedelta(hours=24)
        assert await here.transfer(4217) == await here.payouts.find_transfer(PAYOUT)

    async def test_a_key_answers_for_a_day_and_for_one_input(self, here: Here) -> None:  # T-F07
        await here.ready()
        first = await here.transfer(4200)
        assert await here.transfer(4200) == first
        with pytest.raises(KeyReused):
            await here.transfer(4300)
        here.now = NOON + timedelta(hours=24)
        assert await here.transfer(4200) != first, "who does not ask find_transfer first pays twice, as with Stripe"
        assert await here.payouts.find_transfer(PAYOUT) == first
        assert (await here.types()).count("transfer.created") == 2

    async def test_events_are_tried_again(self, here: Here) -> None:
        await here.ready()
        here.failing = local.TRIES_MAX - 1
        await here.transfer(4200)
        assert await here.types() == ["transfer.created", "payout.paid"]

    async def test_after_a_restart(self, here: Here) -> None:
        account_id = await here.ready()
        transfer_id = await here.transfer(4200)
        later = Here()
        assert await later.payouts.account(account_id) == PayoutAccount(account_id, True)
        assert await later.transfer(4200, account_id=account_id) == transfer_id
        await later.payouts.close()

    async def test_an_account_of_nobodys(self, here: Here) -> None:
        with pytest.raises(Unavailable):
            await here.payouts.onboarding_url("nobody")
        assert not await here.payouts.confirm("nobody")
        with pytest.raises(PayoutRejected):
            await here.transfer(4200, account_id="nobody")
