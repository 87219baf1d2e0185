"""What Stripe's events tell, of orders and of payouts. Pure: bytes in, values out.

Shapes: Stripe's Event around a Checkout Session, Charge, Refund, Dispute, Account, Transfer or Payout, and the same
objects as its API lists them. The whole event is signed, its type included, so its type may be believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from domain.ids import Kind, is_id
from domain.money import Money
from domain.orders import CHECKOUT_EXPIRED, PAYMENT_FAILED, FactKind, OrderFacts, OrderLine, Report
from domain.purchases import Rail
from integrations.payloads import Doubt, Malformed, flag_at, object_at, parse_object, readable_email, shown
from integrations.services import BankPayout, BankStatus, PayoutAccount, TransferTold
from integrations.stripe_money import money_from_stripe

SHOP = "stripe"  # the shop of an order's identity: a store has one Stripe account
PURCHASE_METADATA = "jiga_purchase_id"
USER_METADATA = "jiga_user_id"
SKU_METADATA = "jiga_sku"
QUANTITY_METADATA = "jiga_quantity"
PAYOUT_METADATA = "jiga_payout_id"

_AMOUNT_MAX = 10**12  # Stripe's own bound has 12 digits at most: beyond it is no amount, and sums stay in 64 bits
_SECONDS_MAX = 2**33  # the year 2242: beyond it is no moment
_ID = re.compile(r"[A-Za-z0-9_]{1,255}")  # docs.stripe.com/upgrades: ids never exceed 255 characters
_TYPE = re.compile(r"[a-z0-9_.]{1,100}")
_CODE = re.compile(r"[a-z0-9_.]{1,100}")
_QUANTITY = re.compile(r"[1-9][0-9]{0,8}")
_CURRENCY = re.compile(r"[a-z]{3}")

_REFUNDED = frozenset({"pending", "requires_action", "succeeded", None})  # Stripe's balance pays from the first moment
_COME_BACK = frozenset({"failed", "canceled"})
_DISPUTES = {
    "warning_needs_response": ("inquiry", FactKind.DISPUTE_INQUIRY),
    "warning_under_review": ("inquiry", FactKind.DISPUTE_INQUIRY),
    "warning_closed": ("closed", FactKind.DISPUTE_CLOSED),
    "prevented": ("prevented", FactKind.DISPUTE_WON),  # settled by a refund, which is told by itself
    "needs_response": ("opened", FactKind.DISPUTE_OPENED),
    "under_review": ("opened", FactKind.DISPUTE_OPENED),
    "won": ("won", FactKind.DISPUTE_WON),
    "lost": ("lost", FactKind.DISPUTE_LOST),
    "appeal_needs_response": ("appealed", FactKind.DISPUTE_APPEALED),  # it is lost until the appeal is won
    "appeal_under_review": ("appealed", FactKind.DISPUTE_APPEALED),
}


_BANK_STATUSES = {
    "pending": BankStatus.ON_ITS_WAY,
    "in_transit": BankStatus.ON_ITS_WAY,
    "paid": BankStatus.PAID,
    "failed": BankStatus.FAILED,
    "canceled": BankStatus.CANCELED,
}


PayoutEvent = PayoutAccount | TransferTold | BankPayout


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """An event. `told` is None where the store has nothing to do with it: a type that it does not read, a sale of a
    connected account's own (which may carry any metadata that its owner likes), or a payout of the platform's."""

    id: str
    type: str
    test: bool
    told: OrderFacts | PayoutEvent | None


def read_event(body: bytes, *, shop: str = SHOP) -> StripeEvent:
    """What a verified webhook tells. One fact has one key, whatever event tells it.

    Raises Malformed where the body is not JSON, no event, or not of its type's shape. A single value that cannot be
    read becomes the report's `doubt`: the order waits, it is not lost.
    """
    return event_of(parse_object(body), shop=shop)


def event_of(event: Mapping[str, object], *, shop: str = SHOP) -> StripeEvent:
    """`read_event` of an event that is parsed, as the API lists them. Raises Malformed."""
    if event.get("object") != "event":
        raise Malformed(f"its object is {shown(event.get('object'))}, and no event")
    event_id, test = _id(event, "id"), not flag_at(event, "livemode")
    event_type = event.get("type")
    if not isinstance(event_type, str) or not _TYPE.fullmatch(event_type):
        raise Malformed(f"its type is {shown(event_type)}, which is no type of event")
    account = _id(event, "account") if event.get("account") is not None else None
    told: OrderFacts | PayoutEvent | None = None
    subject = object_at(object_at(event, "data"), "object")
    if "livemode" in subject and flag_at(subject, "livemode") is test:
        raise Malformed("its livemode is not that of what it is about")
    if event_type in _ORDERS and account is None:
        told = _ORDERS[event_type](subject, shop, test)
    elif event_type == "account.updated" and account is not None:
        told = read_account(subject)
    elif event_type.startswith("transfer.") and account is None:
        told = read_transfer(subject)
    elif event_type.startswith("payout.") and account is not None:
        told = read_payout(subject, account)
    return StripeEvent(event_id, event_type, test, told)


def read_session(session: Mapping[str, object], shop: str, test: bool) -> OrderFacts:
    """A Checkout Session: paid, given up, or (with no report) neither yet. Money counts once Stripe says "paid"."""
    _expect(session, "checkout.session")
    session_id, intent = _id(session, "id"), _maybe_id(session, "payment_intent")
    status = session.get("payment_status")
    reports: tuple[Report, ...] = ()
    if status in ("paid", "no_payment_required"):
        reports = (_paid(session, free=intent is None),)
    elif status != "unpaid":
        raise Malformed(f"its payment_status is {shown(status)}, which Stripe does not know")
    details = object_at(session, "customer_details")
    return OrderFacts(
        rail=Rail.STRIPE,
        shop=shop,
        reference=intent or session_id,
        test=test,
        reports=reports,
        purchase_id=_purchase(session),
        email=readable_email(details.get("email")) or readable_email(session.get("customer_email")),
        user_hint=_named(session, USER_METADATA, Kind.USER),
    )


def read_dead_session(session: Mapping[str, object], shop: str, test: bool) -> OrderFacts:
    """A session that expired, or whose late payment failed: nobody can pay on it any more."""
    told = read_session(session, shop, test)
    if told.reports:  # paid after all: Stripe would not say both, and money outweighs
        return told
    why = CHECKOUT_EXPIRED if session.get("status") == "expired" else PAYMENT_FAILED
    return replace(told, reports=(Report("cancel", FactKind.CANCEL, subject=why),))


def read_charge(charge: Mapping[str, object], shop: str, test: bool) -> OrderFacts:
    """A charge: all that was ever given back of it, as one cumulative figure."""
    _expect(charge, "charge")
    money, doubt = _told_money(charge, "amount_refunded")
    key = f"refunded:{money.minor_units}" if money else "refunded:unclear"
    none = money is not None and money.minor_units == 0
    reports = () if none else (Report(key, FactKind.REFUNDED_TOTAL, money, doubt=doubt),)
    return _of_charge(charge, _id(charge, "id"), shop, test, reports)


def read_refund(refund: Mapping[str, object], shop: str, test: bool) -> OrderFacts:
    """A refund. It counts from the moment that Stripe takes it; one that fails or is canceled came back.

    One that came back tells both, so that what Stripe's cumulative figure holds of it is known too.
    """
    _expect(refund, "refund")
    key, status = f"refund:{_id(refund, 'id')}", refund.get("status")
    if status is not None and not isinstance(status, str):
        raise Malformed(f"its status is {shown(status)}, which is no text")
    money, doubt = _told_money(refund, "amount")
    given = Report(key, FactKind.REFUND, money, doubt=doubt)
    reports: tuple[Report, ...] = (given,)
    if money is not None and money.minor_units == 0:
        reports = ()
    elif status in _COME_BACK:
        reports = (given, Report(f"{key}:failed", FactKind.REFUND_FAILED, money, doubt=doubt, subject=key))
    elif status not in _REFUNDED:  # under a key of its own, so that it does not stand for what becomes clear later
        reports = (Report(f"{key}:unclear", FactKind.REFUND, doubt=f"a refund's status is {shown(status)}"),)
    return _of_charge(refund, _maybe_id(refund, "charge"), shop, test, reports)


def read_dispute(dispute: Mapping[str, object], shop: str, test: bool) -> OrderFacts:
    """A dispute, as its status says; every event about one status tells one fact."""
    _expect(dispute, "dispute")
    dispute_id, status = _id(dispute, "id"), dispute.get("status")
    money, doubt = _told_money(dispute, "amount")
    word, kind = _DISPUTES.get(status if isinstance(status, str) else "", ("unclear", FactKind.DISPUTE_INQUIRY))
    if word == "unclear":
        doubt = f"a dispute's status is {shown(status)}"
    report = Report(f"dispute:{dispute_id}:{word}", kind, money, doubt=doubt, subject=dispute_id)
    return _of_charge(dispute, _maybe_id(dispute, "charge"), shop, test, (report,))


def read_account(account: Mapping[str, object]) -> PayoutAccount:
    """A creator's account: ready once Stripe takes transfers to it and pays them out; else what Stripe asks for."""
    _expect(account, "account")
    requirements = object_at(account, "requirements")
    transfers = object_at(account, "capabilities").get("transfers")
    ready = account.get("payouts_enabled") is True and transfers in ("active", None)
    due = requirements.get("currently_due")
    missing = [each for each in due if isinstance(each, str) and _CODE.fullmatch(each)] if isinstance(due, list) else []
    reason = requirements.get("disabled_reason")
    if not ready and not missing and isinstance(reason, str) and _CODE.fullmatch(reason):
        missing = [reason]
    return PayoutAccount(_id(account, "id"), ready, tuple(missing))


def read_transfer(transfer: Mapping[str, object]) -> TransferTold:
    """A transfer to a creator's account: whether it came back since, whole or in part."""
    _expect(transfer, "transfer")
    returned, back = flag_at(transfer, "reversed"), transfer.get("amount_reversed")
    return TransferTold(
        id=_id(transfer, "id"),
        account_id=_maybe_id(transfer, "destination"),
        payout_id=_named(transfer, PAYOUT_METADATA, Kind.PAYOUT),
        returned=returned,
        partly=not returned and type(back) is int and back > 0,
    )


def read_payout(payout: Mapping[str, object], account: str) -> BankPayout:
    """A payout of a creator's account to the bank."""
    _expect(payout, "payout")
    status = payout.get("status")
    if not isinstance(status, str) or status not in _BANK_STATUSES:
        raise Malformed(f"its status is {shown(status)}, which no payout has")
    code = payout.get("failure_code")
    failure = code if isinstance(code, str) and _CODE.fullmatch(code) else None
    return BankPayout(
        id=_id(payout, "id"),
        account_id=account,
        status=_BANK_STATUSES[status],
        failure=failure,
        payout_id=_named(payout, PAYOUT_METADATA, Kind.PAYOUT),
        automatic=payout.get("automatic") is not False,
        amount=_told_money(payout, "amount")[0],
        made_at=_moment(payout, "created"),
    )


def _paid(session: Mapping[str, object], *, free: bool) -> Report:
    """The one fact that the session's price was captured. `free` is a session for which no money moved."""
    money: Money | None = None
    gross: Money | None = None
    lines: tuple[OrderLine, ...] = ()
    doubt = "no payment stands behind it" if free or session.get("payment_status") != "paid" else None
    try:
        gross = _money(session, "amount_total")
        details = object_at(session, "total_details")
        extra = sum(
            _money({"currency": session.get("currency"), **details}, name, absent=0).minor_units for name in _EXTRA
        )
        if extra > gross.minor_units:
            raise Doubt("its tax and shipping are more than its amount_total")
        money = Money(gross.minor_units - extra, gross.currency)
        lines = _lines(session)
    except Doubt as why:
        doubt = doubt or str(why)
    return Report("paid", FactKind.PAID, money, lines, doubt, gross)


_EXTRA = ("amount_tax", "amount_shipping")


def _lines(session: Mapping[str, object]) -> tuple[OrderLine, ...]:
    """What we wrote into the session when we made it. A session that we did not make has none."""
    metadata = object_at(session, "metadata")
    sku, quantity = metadata.get(SKU_METADATA), metadata.get(QUANTITY_METADATA)
    if sku is None and quantity is None:
        return ()
    if not isinstance(sku, str):
        raise Doubt(f"its {SKU_METADATA} is {shown(sku)}, which is no text")
    if not isinstance(quantity, str) or not _QUANTITY.fullmatch(quantity):
        raise Doubt(f"its {QUANTITY_METADATA} is {shown(quantity)}, which is no number of packages")
    return (OrderLine(sku.encode("utf-8", "replace").decode(), int(quantity)),)


def _of_charge(
    told: Mapping[str, object], charge_id: str | None, shop: str, test: bool, reports: tuple[Report, ...]
) -> OrderFacts:
    """Facts about the order of a charge. A charge without a payment intent is no sale of ours, and its own order."""
    reference = _maybe_id(told, "payment_intent") or charge_id
    if reference is None:
        raise Malformed("it names neither a payment_intent nor a charge")
    return OrderFacts(
        rail=Rail.STRIPE,
        shop=shop,
        reference=reference,
        test=test,
        reports=reports,
        purchase_id=_purchase(told),
        user_hint=_named(told, USER_METADATA, Kind.USER),
    )


def _purchase(told: Mapping[str, object]) -> str | None:
    named = told.get("client_reference_id")
    if isinstance(named, str) and is_id(named, Kind.PURCHASE):
        return named
    return _named(told, PURCHASE_METADATA, Kind.PURCHASE)


def _named(told: Mapping[str, object], name: str, kind: Kind) -> str | None:
    """An id of ours in the metadata. A dashboard user can write there, so what is no such id is not looked at."""
    value = object_at(told, "metadata").get(name)
    return value if isinstance(value, str) and is_id(value, kind) else None


def _expect(told: Mapping[str, object], name: str) -> None:
    if told.get("object") != name:
        raise Malformed(f"it is about {shown(told.get('object'))}, and not about a {name}")


def _id(told: Mapping[str, object], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Malformed(f"its {name} is {shown(value)}, which is no id of Stripe's")
    return value


def _maybe_id(told: Mapping[str, object], name: str) -> str | None:
    """An id that may be null, or stand expanded into the whole object that it names."""
    value = told.get(name)
    if value is None:
        return None
    return _id(value, "id") if isinstance(value, dict) else _id(told, name)


def _moment(told: Mapping[str, object], name: str) -> datetime | None:
    seconds = told.get(name)
    return datetime.fromtimestamp(seconds, UTC) if type(seconds) is int and 0 <= seconds < _SECONDS_MAX else None


def _told_money(told: Mapping[str, object], name: str) -> tuple[Money | None, str | None]:
    try:
        return _money(told, name), None
    except Doubt as why:
        return None, str(why)


def _money(told: Mapping[str, object], name: str, *, absent: int | None = None) -> Money:
    """An amount, never negative; `absent` stands for one that is not told. Raises Doubt."""
    currency, amount = told.get("currency"), told.get(name)
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise Doubt(f"its currency is {shown(currency)}, which is no currency")
    if amount is None and absent is not None:
        return Money(absent, currency.upper())
    if type(amount) is int and 0 <= amount <= _AMOUNT_MAX:
        money = money_from_stripe(amount, currency.upper())
        if money is not None:
            return money
    raise Doubt(f"its {name} is {shown(amount)}, which is no amount of {currency.upper()}")


_Reader = Callable[[Mapping[str, object], str, bool], OrderFacts]
_ORDERS: Mapping[str, _Reader] = {
    "checkout.session.completed": read_session,
    "checkout.session.async_payment_succeeded": read_session,
    "checkout.session.async_payment_failed": read_dead_session,
    "checkout.session.expired": read_dead_session,
    "charge.refunded": read_charge,
    "refund.created": read_refund,
    "refund.updated": read_refund,
    "refund.failed": read_refund,
    "charge.refund.updated": read_refund,
    "charge.dispute.created": read_dispute,
    "charge.dispute.updated": read_dispute,
    "charge.dispute.closed": read_dispute,
    "charge.dispute.funds_withdrawn": read_dispute,
    "charge.dispute.funds_reinstated": read_dispute,
}
ORDER_TYPES = tuple(_ORDERS)  # Stripe lists events by at most 20 types at once
