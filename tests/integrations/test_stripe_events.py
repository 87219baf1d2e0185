"""What Stripe's events tell (rows T-W)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.money import Dof, Money
from domain.orders import FactKind, Order, OrderFacts, OrderLine, Report, absorb
from domain.purchases import Package, Rail, Tier
from integrations.local import stripe as local
from integrations.payloads import Malformed
from integrations.services import BankPayout, BankStatus, PayoutAccount, TransferTold
from integrations.stripe_events import ORDER_TYPES, StripeEvent, read_event

PAYLOADS = Path(__file__).parent.parent / "payloads"
PURCHASE = "pur_0123456789abcdefghjkmnpqrs"
USER = "usr_0123456789abcdefghjkmnpqrs"
PAYOUT = "pay_0123456789abcdefghjkmnpqrs"
INTENT = "pi_3SJiga2eZvKYlo2C0aBcDeFg"
CHARGE = "ch_3SJiga2eZvKYlo2C0hIjKlMn"
REFUND = "refund:re_3SJiga2eZvKYlo2C0dEfGhIj"
DISPUTE = "du_1SJiga2eZvKYlo2CrStUvWxY"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PACKAGES = (
    Package("DOF-150K-BRONZE", "Bronze", Tier.BRONZE, Dof(150_000), Dof(0), Money(499, "USD")),
    Package("DOF-500K-SILVER", "Silver", Tier.SILVER, Dof(500_000), Dof(25_000), Money(1499, "USD")),
)
BOUGHT = 1_050_000  # two of DOF-500K-SILVER with their bonus: what the stored session is worth
SENT: dict[str, Any] = {
    "automatic": True,
    "amount": Money(4200, "USD"),
    "made_at": datetime.fromtimestamp(1_795_176_000, UTC),
}
FILES = sorted(path.stem.removeprefix("stripe_") for path in PAYLOADS.glob("stripe_*.json"))
CART = local.Cart(PURCHASE, USER, "max@jiga.test", "DOF-500K-SILVER", 2, Money(2998, "USD"))


def stored(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((PAYLOADS / f"stripe_{name}.json").read_text("utf-8"))
    return event


def body(name: str, /, event: dict[str, object] | None = None, **changes: object) -> bytes:
    told = stored(name)
    told["data"]["object"] |= changes
    return json.dumps(told | (event or {})).encode()


def read(name: str, /, event: dict[str, object] | None = None, **changes: object) -> StripeEvent:
    return read_event(body(name, event, **changes))


def facts(name: str, /, event: dict[str, object] | None = None, **changes: object) -> OrderFacts:
    told = read(name, event, **changes).told
    assert isinstance(told, OrderFacts)
    return told


def session(event_type: str = "checkout.session.completed", **changes: object) -> OrderFacts:
    return facts("checkout_session_completed", {"type": event_type}, **changes)


def paid(**changes: object) -> Report:
    (report,) = session(**changes).reports
    return report


def order_of(*told: OrderFacts) -> Order:
    order = Order(told[0].order_id, Rail.STRIPE, "stripe", told[0].reference, NOON)
    for each in told:
        assert each.order_id == order.id
        order = absorb(order, each, PACKAGES, NOON)
    return order


def of(payload: bytes) -> OrderFacts:
    told = read_event(payload).told
    assert isinstance(told, OrderFacts)
    return told


class TestSessions:
    def test_a_paid_session_tells_all(self) -> None:
        event = read("checkout_session_completed")
        assert (event.id, event.type, event.test) == (
            "evt_1SJiga2eZvKYlo2Ccheckout",
            "checkout.session.completed",
            False,
        )
        assert event.told == OrderFacts(
            rail=Rail.STRIPE,
            shop="stripe",
            reference=INTENT,
            test=False,
            reports=(
                Report(
                    "paid",
                    FactKind.PAID,
                    Money(2998, "USD"),
                    (OrderLine("DOF-500K-SILVER", 2),),
                    gross=Money(3738, "USD"),
                ),
            ),
            purchase_id=PURCHASE,
            email="max@jiga.test",
            user_hint=USER,
        )

    def test_completed_and_late_success_are_one_fact(self) -> None:  # T-W06
        told = [session(), session("checkout.session.async_payment_succeeded")]
        assert told[0] == told[1]
        assert order_of(*told, *told).target == Dof(BOUGHT)

    def test_the_shop_is_the_callers(self) -> None:
        told = read_event(body("checkout_session_completed"), shop="acct_1SJigaStore").told
        assert isinstance(told, OrderFacts)
        assert told.shop == "acct_1SJigaStore"
        assert told.order_id != session().order_id

    def test_only_captured_money_counts(self) -> None:
        told = session(payment_status="unpaid")
        assert (told.reports, told.reference, told.purchase_id) == ((), INTENT, PURCHASE)

    def test_a_free_session_waits_for_a_human(self) -> None:  # T-W15
        told = session(payment_status="no_payment_required", payment_intent=None, amount_total=0, total_details=None)
        (report,) = told.reports
        assert told.reference == "cs_live_a1Jiga7yQX0wPGDvKbnwOT"
        assert (report.kind, report.doubt) == (FactKind.PAID, "no payment stands behind it")
        assert order_of(told).target == Dof(0)

    def test_a_session_that_says_paid_without_a_payment_waits(self) -> None:
        assert paid(payment_intent=None).doubt == "no payment stands behind it"

    @pytest.mark.parametrize("event_type", ["checkout.session.expired", "checkout.session.async_payment_failed"])
    def test_a_dead_session_cancels(self, event_type: str) -> None:
        told = session(event_type, payment_status="unpaid")
        # The payload is of a session that is complete, so only the event's own status tells an expired page.
        assert told.reports == (Report("cancel", FactKind.CANCEL, subject="payment_failed"),)
        expired = session(event_type, payment_status="unpaid", status="expired")
        assert expired.reports == (Report("cancel", FactKind.CANCEL, subject="checkout_expired"),)
        assert session(event_type) == session(), "money outweighs"

    def test_an_expired_page_that_nobody_tried_is_an_order_of_its_own(self) -> None:
        told = session("checkout.session.expired", payment_status="unpaid", payment_intent=None, customer_details=None)
        assert (told.reference, told.purchase_id) == ("cs_live_a1Jiga7yQX0wPGDvKbnwOT", PURCHASE)
        assert told.email == "max@jiga.test"

    def test_a_test_session_says_so(self) -> None:  # T-W11
        assert session().test is False
        told = facts("checkout_session_completed", {"livemode": False}, livemode=False)
        assert told.test is True

    @pytest.mark.parametrize(("of_event", "of_object"), [(True, False), (False, True)])
    def test_mixed_modes_are_malformed(self, of_event: bool, of_object: bool) -> None:  # T-W11
        with pytest.raises(Malformed, match="livemode"):
            read("checkout_session_completed", {"livemode": of_event}, livemode=of_object)

    def test_a_connected_accounts_own_sale_is_not_ours(self) -> None:
        """Its owner can write any metadata, and any price."""
        for name in ("checkout_session_completed", "charge_refunded", "refund_created", "charge_dispute_created"):
            assert read(name, {"account": "acct_1Mallory"}).told is None

    @pytest.mark.parametrize(
        ("reference", "metadata", "expected"),
        [
            (PURCHASE, {}, PURCHASE),
            (None, {"jiga_purchase_id": PURCHASE}, PURCHASE),
            ("customer-7", {"jiga_purchase_id": PURCHASE}, PURCHASE),
            ("customer-7", {"jiga_purchase_id": "pur_1"}, None),
            (7, None, None),
        ],
    )
    def test_which_purchase_it_names(self, reference: object, metadata: object, expected: str | None) -> None:
        assert session(client_reference_id=reference, metadata=metadata).purchase_id == expected

    @pytest.mark.parametrize(
        ("changes", "minor_units", "gross"),
        [
            ({"total_details": {"amount_shipping": 0, "amount_tax": 0}, "amount_total": 2998}, 2998, 2998),
            ({"total_details": None}, 3738, 3738),
            ({"total_details": {"amount_tax": 240, "amount_shipping": None}}, 3498, 3738),
            ({"amount_total": 740}, 0, 740),
        ],
    )
    def test_what_the_goods_cost(self, changes: dict[str, object], minor_units: int, gross: int) -> None:
        report = paid(**changes)
        assert (report.money, report.gross, report.doubt) == (Money(minor_units, "USD"), Money(gross, "USD"), None)

    @pytest.mark.parametrize(
        ("currency", "amount", "expected"),
        [
            ("jpy", 780, Money(780, "JPY")),
            ("kwd", 1530, Money(1530, "KWD")),
            ("eur", 499, Money(499, "EUR")),
            ("isk", 50000, Money(500, "ISK")),
            ("ugx", 1900000, Money(19000, "UGX")),
            ("mga", 2300, Money(230000, "MGA")),
        ],
    )
    def test_each_currency_has_its_own_places(self, currency: str, amount: int, expected: Money) -> None:  # T-W16
        report = paid(currency=currency, amount_total=amount, total_details=None)
        assert (report.money, report.gross, report.doubt) == (expected, expected, None)

    @pytest.mark.parametrize(
        "changes",
        [
            *({"amount_total": value} for value in (None, "3738", 37.38, True, -1, 10**12 + 1, 10**400, [], {})),
            *({"currency": value} for value in (None, "", "USD", "us", "dollar", 840, "ŭsd")),
            {"amount_total": 700},
            {"amount_total": 3738, "currency": "isk", "total_details": None},
            {"total_details": {"amount_tax": -1}},
            {"total_details": {"amount_tax": "240"}},
            *(
                {"metadata": {"jiga_sku": "DOF-500K-SILVER", "jiga_quantity": value}}
                for value in ("0", "-1", "1.5", "1e3", "٣", "+2", " 2", "2 ", "", "1" * 10, 2, None, True)
            ),
            *({"metadata": {"jiga_sku": value, "jiga_quantity": "2"}} for value in (None, 7, ["DOF-500K-SILVER"])),
        ],
    )
    def test_a_value_that_cannot_be_read_waits_for_a_human(self, changes: dict[str, object]) -> None:  # T-W17
        told = session(**changes)
        (report,) = told.reports
        assert (report.key, report.kind) == ("paid", FactKind.PAID)
        assert report.doubt
        assert order_of(told).target == Dof(0)

    @pytest.mark.parametrize(
        ("metadata", "doubt"),
        [
            ({}, "the order has no line of a DOF package"),
            (
                {"jiga_sku": "DOF-500K-SILVER ", "jiga_quantity": "2"},
                "the SKU 'DOF-500K-SILVER ' is not in the price table",
            ),
            (
                {"jiga_sku": "DOF-500K-SILVER", "jiga_quantity": "3"},
                "paid 29.98 USD where the price table asks 44.97 USD",
            ),
            (
                {"jiga_sku": "DOF-500K-SILVER", "jiga_quantity": "101"},
                "a quantity of 101 is outside 1 to 100",
            ),
        ],
    )
    def test_what_does_not_match_the_price_table_waits(self, metadata: dict[str, str], doubt: str) -> None:  # T-W14
        order = order_of(session(metadata=metadata))
        assert (order.target, order.doubts) == (Dof(0), (doubt,))


class TestRefunds:
    def test_a_refund_is_its_own_fact(self) -> None:
        told = facts("refund_created")
        assert told.reports == (Report(REFUND, FactKind.REFUND, Money(1500, "USD")),)
        assert (told.reference, told.purchase_id) == (INTENT, None)

    @pytest.mark.parametrize("event_type", ["refund.created", "refund.updated", "charge.refund.updated"])
    @pytest.mark.parametrize("status", ["succeeded", "pending", "requires_action", None])
    def test_whatever_tells_it_it_is_one(self, event_type: str, status: str | None) -> None:
        assert facts("refund_created", {"type": event_type}, status=status) == facts("refund_created")

    def test_a_charge_tells_the_sum(self) -> None:
        told = facts("charge_refunded")
        assert told.reports == (Report("refunded:1500", FactKind.REFUNDED_TOTAL, Money(1500, "USD")),)
        assert (told.reference, told.purchase_id, told.user_hint) == (INTENT, PURCHASE, USER)
        assert facts("charge_refunded", amount_refunded=0).reports == ()

    def test_both_events_of_one_refund_count_once(self) -> None:  # T-W06
        order = order_of(session(), facts("charge_refunded"), facts("refund_created"))
        assert order.target == Dof(BOUGHT * (3738 - 1500) // 3738)

    def test_a_refund_before_the_payment_waits_for_it(self) -> None:  # T-W05
        early = [facts("refund_created"), facts("charge_refunded")]
        assert order_of(*early).target == Dof(0)
        assert order_of(*early, session()).target == order_of(session(), *early).target > Dof(0)

    def test_three_refunds_of_one_amount(self) -> None:  # T-W13
        same = [facts("refund_created", amount=500)] * 3
        other = [facts("refund_created", amount=500, id=f"re_{number}") for number in range(3)]
        assert order_of(session(), *same).target == Dof(BOUGHT * (3738 - 500) // 3738)
        assert order_of(session(), *other).target == Dof(BOUGHT * (3738 - 1500) // 3738)

    @pytest.mark.parametrize("status", ["failed", "canceled"])
    def test_a_refund_that_came_back_is_none(self, status: str) -> None:
        back = facts("refund_created", {"type": "refund.failed"}, status=status)
        money = Money(1500, "USD")
        assert back.reports == (
            Report(REFUND, FactKind.REFUND, money),
            Report(f"{REFUND}:failed", FactKind.REFUND_FAILED, money, subject=REFUND),
        )
        told = [session(), facts("charge_refunded"), facts("refund_created"), back]
        assert {order_of(*some).target for some in itertools.permutations(told)} == {Dof(BOUGHT)}
        assert order_of(session(), facts("charge_refunded"), back).target == Dof(BOUGHT), "refund.created was lost"

    def test_a_status_of_tomorrow_waits_and_stands_for_nothing(self) -> None:
        (report,) = facts("refund_created", status="reversed").reports
        assert (report.key, report.money, report.doubt) == (
            f"{REFUND}:unclear",
            None,
            "a refund's status is 'reversed'",
        )

    @pytest.mark.parametrize("amount", [None, "1500", -1, 15.0, True])
    def test_an_amount_that_cannot_be_read(self, amount: object) -> None:
        (report,) = facts("refund_created", amount=amount).reports
        assert (report.key, report.money) == (REFUND, None)
        assert report.doubt

    def test_money_that_no_sale_of_ours_took_is_an_order_of_its_own(self) -> None:
        assert facts("refund_created", payment_intent=None).reference == CHARGE
        assert facts("charge_refunded", payment_intent=None).reference == CHARGE
        assert facts("refund_created", payment_intent={"id": INTENT, "object": "payment_intent"}).reference == INTENT
        with pytest.raises(Malformed):
            read("refund_created", payment_intent=None, charge=None)


class TestDisputes:
    STATUSES = (
        ("warning_needs_response", "inquiry", FactKind.DISPUTE_INQUIRY),
        ("warning_under_review", "inquiry", FactKind.DISPUTE_INQUIRY),
        ("warning_closed", "closed", FactKind.DISPUTE_CLOSED),
        ("prevented", "prevented", FactKind.DISPUTE_WON),
        ("needs_response", "opened", FactKind.DISPUTE_OPENED),
        ("under_review", "opened", FactKind.DISPUTE_OPENED),
        ("won", "won", FactKind.DISPUTE_WON),
        ("lost", "lost", FactKind.DISPUTE_LOST),
        ("appeal_needs_response", "appealed", FactKind.DISPUTE_APPEALED),
        ("appeal_under_review", "appealed", FactKind.DISPUTE_APPEALED),
    )

    @pytest.mark.parametrize(("status", "word", "kind"), STATUSES)
    @pytest.mark.parametrize("event_type", [name for name in ORDER_TYPES if "dispute" in name])
    def test_the_status_is_the_fact(self, event_type: str, status: str, word: str, kind: FactKind) -> None:
        told = facts("charge_dispute_created", {"type": event_type}, status=status)
        assert told.reports == (Report(f"dispute:{DISPUTE}:{word}", kind, Money(3738, "USD"), subject=DISPUTE),)
        assert told.reference == INTENT

    def test_the_library_knows_no_other_status(self) -> None:
        stripe = pytest.importorskip("stripe")
        source = Path(stripe.__file__).with_name("_dispute.py").read_text("utf-8")
        listed = source.rpartition("    status: Union[")[2].partition("]")[0]
        assert {line.strip().strip('",') for line in listed.splitlines() if '"' in line} == {
            status for status, *_ in self.STATUSES
        }

    @pytest.mark.parametrize("status", ["tomorrow", None, 7, "charge_refunded"])
    def test_another_status_waits_for_a_human(self, status: object) -> None:
        (report,) = facts("charge_dispute_created", status=status).reports
        assert (report.key, report.kind) == (f"dispute:{DISPUTE}:unclear", FactKind.DISPUTE_INQUIRY)
        assert report.doubt == f"a dispute's status is {status!r}"

    def test_every_order_of_events_is_one_state(self) -> None:  # T-W04
        told = [
            session(),
            facts("refund_created"),
            facts("charge_refunded"),
            facts("charge_dispute_created", amount=1000),
            facts("charge_dispute_created", amount=1000, status="lost"),
        ]
        ends = {order_of(*some, *some[:2]).target for some in itertools.permutations(told)}
        assert ends == {Dof(BOUGHT * (3738 - 1500 - 1000) // 3738)}

    def test_a_won_dispute_gives_all_back(self) -> None:
        told = [session(), *(facts("charge_dispute_created", status=status) for status in ("needs_response", "won"))]
        assert order_of(*told[:2]).target == Dof(0)
        assert {order_of(*some).target for some in itertools.permutations(told)} == {Dof(BOUGHT)}


class TestPayouts:
    def test_an_account(self) -> None:
        assert read("account_updated").told == PayoutAccount(
            "acct_1SJigaCreator01", False, ("external_account", "tos_acceptance.date")
        )

    @pytest.mark.parametrize(
        ("changes", "ready", "missing"),
        [
            ({"payouts_enabled": True, "capabilities": {"transfers": "active"}, "requirements": {}}, True, ()),
            ({"payouts_enabled": True, "capabilities": {}, "requirements": None}, True, ()),
            ({"payouts_enabled": True, "capabilities": {"transfers": "inactive"}, "requirements": {}}, False, ()),
            ({"payouts_enabled": "true", "requirements": {}}, False, ()),
            (
                {"requirements": {"currently_due": [], "disabled_reason": "rejected.fraud"}},
                False,
                ("rejected.fraud",),
            ),
            ({"requirements": {"currently_due": [7, "<b>", "tos_acceptance.ip"]}}, False, ("tos_acceptance.ip",)),
        ],
    )
    def test_when_an_account_is_ready(self, changes: dict[str, object], ready: bool, missing: tuple[str, ...]) -> None:
        assert read("account_updated", **changes).told == PayoutAccount("acct_1SJigaCreator01", ready, missing)

    def test_a_transfer(self) -> None:
        assert read("transfer_reversed").told == TransferTold(
            "tr_1SJiga2eZvKYlo2CaBcDeFgH", "acct_1SJigaCreator01", PAYOUT, returned=True
        )
        not_back = {"reversed": False, "amount_reversed": 0, "metadata": {"jiga_payout_id": "7"}}
        told = read("transfer_reversed", {"type": "transfer.created"}, **not_back)
        assert told.told == TransferTold("tr_1SJiga2eZvKYlo2CaBcDeFgH", "acct_1SJigaCreator01", None, returned=False)

    @pytest.mark.parametrize(("back", "partly"), [(600, True), (0, False), (None, False), (True, False)])
    def test_a_transfer_that_came_back_in_part(self, back: object, partly: bool) -> None:
        told = read("transfer_reversed", reversed=False, amount_reversed=back).told
        assert isinstance(told, TransferTold)
        assert (told.returned, told.partly) == (False, partly)

    def test_a_payout_to_the_bank(self) -> None:
        assert read("payout_failed").told == BankPayout(
            "po_1SJigaCreatoryZaBcDeF", "acct_1SJigaCreator01", BankStatus.FAILED, "account_closed", None, **SENT
        )

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"automatic": False}, {"automatic": False}),
            ({"amount": "4200"}, {"amount": None}),
            ({"currency": "US Dollar"}, {"amount": None}),
            ({"created": 1.5}, {"made_at": None}),
            ({"created": 2**40}, {"made_at": None}),
        ],
    )
    def test_what_is_known_of_one_by_hand(self, changes: dict[str, object], expected: dict[str, object]) -> None:
        told = read("payout_failed", **changes).told
        assert isinstance(told, BankPayout)
        assert {name: getattr(told, name) for name in SENT} == SENT | expected

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            ("pending", BankStatus.ON_ITS_WAY),
            ("in_transit", BankStatus.ON_ITS_WAY),
            ("paid", BankStatus.PAID),
            ("canceled", BankStatus.CANCELED),
        ],
    )
    def test_where_it_stands(self, status: str, expected: BankStatus) -> None:
        metadata = {"jiga_payout_id": PAYOUT}
        told = read("payout_failed", {"type": "payout.updated"}, status=status, failure_code=None, metadata=metadata)
        assert told.told == BankPayout(
            "po_1SJigaCreatoryZaBcDeF", "acct_1SJigaCreator01", expected, None, PAYOUT, **SENT
        )

    @pytest.mark.parametrize("name", ["account_updated", "payout_failed"])
    def test_the_platforms_own_are_not_a_creators(self, name: str) -> None:
        told = stored(name)
        del told["account"]
        assert read_event(json.dumps(told).encode()).told is None

    @pytest.mark.parametrize("status", [None, 7, "lost"])
    def test_a_payout_without_a_status_is_malformed(self, status: object) -> None:
        with pytest.raises(Malformed):
            read("payout_failed", status=status)


class TestShape:
    @pytest.mark.parametrize("name", FILES)
    def test_another_type_is_not_ours(self, name: str) -> None:  # T-W19
        assert read(name, {"type": "customer.created"}).told is None

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("event_type", [*ORDER_TYPES, "account.updated", "transfer.created", "payout.paid"])
    def test_a_type_that_does_not_match_what_it_is_about(self, name: str, event_type: str) -> None:  # T-W19
        event = stored(name)
        about = {"checkout": "checkout.session", "charge": "charge", "refund": "refund"}.get(
            event_type.partition(".")[0], event_type.partition(".")[0]
        )
        about = "dispute" if "dispute" in event_type else "refund" if "refund." in event_type else about
        try:
            told = read_event(json.dumps(event | {"type": event_type}).encode()).told
        except Malformed:
            assert event["data"]["object"]["object"] != about
        else:
            assert told is None or event["data"]["object"]["object"] == about

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"null",
            b"1",
            b'"x"',
            b"[]",
            b"{}",
            b"\xff\xfe{}",
            b"\xef\xbb\xbf{}",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"object":"event","object":"event"}',
            b'{"id":NaN}',
            b'{"id":' + b"9" * 5000 + b"}",
        ],
        ids=range(13),
    )
    def test_what_is_no_event_is_malformed(self, text: bytes) -> None:  # T-W18
        with pytest.raises(Malformed):
            read_event(text)

    @pytest.mark.parametrize(
        "event",
        [
            *({"id": value} for value in (None, 7, "", "evt 1", "evt_" + "a" * 252, "evt_\n", "ëvt_1")),
            *({"type": value} for value in (None, 7, "", "a b", "x" * 101)),
            *({"livemode": value} for value in (None, 1, "true")),
            *({"data": value} for value in (None, 7, [], {}, {"object": None}, {"object": []})),
            {"account": 7},
            {"object": "v2.core.event"},
        ],
    )
    def test_an_envelope_that_is_none_is_malformed(self, event: dict[str, object]) -> None:
        with pytest.raises(Malformed):
            read("checkout_session_completed", event)

    @pytest.mark.parametrize(
        "changes",
        [
            *({"id": value} for value in (None, 7, "", "cs/1")),
            *({"payment_intent": value} for value in (7, [], "pi 1", {"id": 7}, {})),
            *({"payment_status": value} for value in (None, "PAID", 7, [], {})),
            *({name: 7} for name in ("metadata", "customer_details", "total_details")),
        ],
    )
    def test_a_session_that_is_none_is_malformed(self, changes: dict[str, object]) -> None:
        with pytest.raises(Malformed):
            session(**changes)

    def test_a_repeated_key_is_malformed(self) -> None:  # T-W18
        text = body("checkout_session_completed")
        assert read_event(text).told is not None
        with pytest.raises(Malformed, match="twice"):
            read_event(text.replace(b'"amount_total": 3738', b'"amount_total": 1, "amount_total": 3738'))

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=400))
    def test_no_bytes_raise_anything_else(self, text: bytes) -> None:
        with pytest.raises(Malformed):
            read_event(text)

    @settings(max_examples=400, deadline=None)
    @given(st.data())
    def test_no_change_raises_anything_else(self, data: st.DataObject) -> None:
        """One value of a real event, at any depth, becomes any JSON; or some bytes of it become any others."""
        event = stored(data.draw(st.sampled_from(FILES)))
        event["type"] = data.draw(st.sampled_from([event["type"], *ORDER_TYPES, "payout.paid", "transfer.updated"]))
        place: Any = event
        while True:
            key = data.draw(st.sampled_from(sorted(place)))
            if not (isinstance(place[key], dict) and place[key] and data.draw(st.booleans())):
                break
            place = place[key]
        place[key] = data.draw(_JSON)
        text = json.dumps(event).encode()
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(text)))
            text = text[:at] + data.draw(st.binary(max_size=8)) + text[at + data.draw(st.integers(0, 8)) :]
        try:
            told = read_event(text)
        except Malformed:
            return
        assert isinstance(told, StripeEvent)
        if isinstance(told.told, OrderFacts):
            assert absorb(order_of(told.told), told.told, PACKAGES, NOON).target.units >= 0


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["paid", "usd", "\ud800", "failed", 10**12, -(10**30), "pi_1", "warning_closed"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


class TestLocal:
    """The events that the local adapter makes are read as Stripe's."""

    @pytest.mark.parametrize(
        ("choice", "event_type", "keys"),
        [
            ("pay", "checkout.session.completed", ["paid"]),
            ("pay_later", "checkout.session.completed", []),
            ("money_came", "checkout.session.async_payment_succeeded", ["paid"]),
            ("money_failed", "checkout.session.async_payment_failed", ["cancel"]),
            ("expire", "checkout.session.expired", ["cancel"]),
        ],
    )
    def test_each_choice(self, choice: str, event_type: str, keys: list[str]) -> None:
        event = read_event(local.session_payload(CART, choice, at=NOON, test=True))
        assert isinstance(event.told, OrderFacts)
        assert (event.type, event.test, [report.key for report in event.told.reports]) == (event_type, True, keys)
        assert (event.told.purchase_id, event.told.user_hint, event.told.email) == (PURCHASE, USER, "max@jiga.test")

    def test_a_whole_story(self) -> None:  # T-W04
        builders: list[Callable[[], bytes]] = [
            lambda: local.session_payload(CART, "pay_later", at=NOON, test=False),
            lambda: local.session_payload(CART, "money_came", at=NOON, test=False),
            lambda: local.charge_payload(CART, refunded=Money(1000, "USD"), at=NOON, test=False),
            lambda: local.refund_payload(
                "refund.created", purchase_id=PURCHASE, refund="a", amount=Money(1000, "USD"), at=NOON, test=False
            ),
            lambda: local.dispute_payload(
                "charge.dispute.created",
                purchase_id=PURCHASE,
                dispute="a",
                amount=Money(500, "USD"),
                at=NOON,
                test=False,
            ),
            lambda: local.dispute_payload(
                "charge.dispute.closed",
                purchase_id=PURCHASE,
                dispute="a",
                amount=Money(500, "USD"),
                at=NOON,
                test=False,
                status="lost",
            ),
        ]
        told = [of(build()) for build in builders]
        ends = {order_of(*some).target for some in itertools.permutations(told)}
        assert ends == {Dof(BOUGHT * (2998 - 1500) // 2998)}

    def test_a_refund_that_fails(self) -> None:
        given_back = [
            of(
                local.refund_payload(
                    event_type,
                    purchase_id=PURCHASE,
                    refund="a",
                    amount=Money(1000, "USD"),
                    at=NOON,
                    test=False,
                    status=status,
                )
            )
            for event_type, status in (("refund.created", "pending"), ("refund.failed", "failed"))
        ]
        bought = of(local.session_payload(CART, "pay", at=NOON, test=False))
        assert order_of(bought, given_back[0]).target == Dof(BOUGHT * 1998 // 2998)
        assert order_of(bought, *given_back).target == Dof(BOUGHT)

    def test_one_event_has_one_id_and_another_has_another(self) -> None:
        made = [local.session_payload(CART, choice, at=NOON, test=True) for choice in local.CHOICES for _ in range(2)]
        assert len({read_event(each).id for each in made}) == len(local.CHOICES)
