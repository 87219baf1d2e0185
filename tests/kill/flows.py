"""Every flow of money: what was before it, and its steps. Each step can be asked for again, as after a restart."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from domain.ids import Kind, derived_id
from domain.money import Dof, Money
from domain.orders import FactKind, OrderFacts, OrderLine, Report
from domain.pricing import HireUnit, SessionConfiguration
from domain.purchases import Rail
from domain.reviews import ReviewWish
from domain.sessions import SessionType
from firestore.orders import Decision
from firestore.sessions import Hire, Start, Usage
from integrations.local.checkout import Cart, cancel_payload, order_number, order_payload, refund_payload
from integrations.local.stripe import dispute_payload, event_payload, session_payload
from integrations.stripe_events import PAYOUT_METADATA
from tests.kill.house import ADA, AMY, BOB, LISTING_ID, MAX, SHOP, House
from tests.nouns import NOW

Steps = Callable[[House], Awaitable[None]]

PRICE = Money(499, "USD")
DOF = 1_009
SESSION = derived_id(Kind.SESSION, "hire", MAX, "hire")
PAYOUT = derived_id(Kind.PAYOUT, ADA, "payout")
PURCHASE = derived_id(Kind.PURCHASE, MAX, "buy")
CART = Cart(PURCHASE, MAX, "max@jiga.test", "DOF-S", 1, PRICE)
STRAY = "9001"


@dataclass(frozen=True)
class Flow:
    """`given` has happened before, undisturbed; `steps` are killed, and begun again with the same keys."""

    given: tuple[Steps, ...]
    steps: tuple[Steps, ...]


async def buy(house: House) -> None:
    wish = house.store.purchases.wish(MAX, Rail.SHOPIFY, "DOF-S", 1, "buy")
    await house.store.purchases.begin(wish, "https://pay.test", house.now)


async def buy_by_stripe(house: House) -> None:
    wish = house.store.purchases.wish(MAX, Rail.STRIPE, "DOF-S", 1, "buy")
    await house.store.purchases.begin(wish, "https://pay.test", house.now)


async def created(house: House) -> None:
    await house.shopify("orders/create", order_payload(CART, at=NOW, test=True))


async def paid(house: House) -> None:
    await house.shopify("orders/paid", order_payload(CART, at=NOW, test=True))


async def paid_by_stripe(house: House) -> None:
    await house.stripe(session_payload(CART, "pay", at=NOW, test=True))


async def refunded(house: House) -> None:
    for name, minor in (("one", 200), ("two", 100)):
        body = refund_payload(purchase_id=PURCHASE, refund=name, amount=Money(minor, "USD"), at=NOW, test=True)
        await house.shopify("refunds/create", body)


async def cancelled(house: House) -> None:
    await house.shopify("orders/cancelled", cancel_payload(CART, at=NOW, test=True))


def disputed(kind: str, status: str) -> Steps:
    async def step(house: House) -> None:
        body = dispute_payload(
            f"charge.dispute.{kind}",
            purchase_id=PURCHASE,
            dispute="d",
            amount=PRICE,
            at=NOW,
            test=True,
            status=status,
        )
        await house.stripe(body)

    return step


async def underpaid(house: House) -> None:
    cart = Cart(PURCHASE, MAX, "max@jiga.test", "DOF-S", 1, Money(450, "USD"))
    await house.shopify("orders/paid", order_payload(cart, at=NOW, test=True))


def decided(dof: Dof | None) -> Steps:
    async def step(house: House) -> None:
        page = await house.store.orders.review_queue(1, None)
        known = page.nodes[0].id if page.nodes else derived_order()
        await house.store.orders.decide(Decision(known, AMY, "looked at it", dof, MAX), house.now)

    return step


def derived_order() -> str:
    """The id of the order about the purchase, for who begins again and finds the queue empty."""
    return derived_id(Kind.ORDER, Rail.SHOPIFY, SHOP, str(order_number("order", PURCHASE)))


def stray(email: str) -> OrderFacts:
    """An order that names no purchase, as the provider's books tell of it."""
    told = Report("paid", FactKind.PAID, PRICE, (OrderLine("DOF-S", 1),))
    return OrderFacts(Rail.SHOPIFY, SHOP, STRAY, True, (told,), None, email)


async def strayed(house: House) -> None:
    await house.store.orders.reconcile(stray("new@jiga.test"), house.now)


async def claimed(house: House) -> None:
    await house.store.orders.claim(MAX, "new@jiga.test", house.now)


async def reconciled(house: House) -> None:
    await house.store.orders.reconcile(stray("max@jiga.test"), house.now)


async def fund(house: House) -> None:
    await house.store.wallets.adjust(AMY, MAX, 2_000, "a gift", "fund", house.now)


async def fund_ada(house: House) -> None:
    await house.store.wallets.adjust(AMY, ADA, 2_000, "a gift", "fund ada", house.now)


async def spend(house: House) -> None:
    await house.store.wallets.transfer(MAX, BOB, Dof(900), None, "spend", house.now)


async def transfer(house: House) -> None:
    await house.store.wallets.transfer(MAX, ADA, Dof(700), "for you", "transfer", house.now)


async def hire(house: House) -> None:
    wish = Hire(LISTING_ID, HireUnit.HOUR, 2, 1, SessionConfiguration(), "hire")
    await house.store.sessions.hire(MAX, wish, house.now)
    await house.work()


async def start(house: House) -> None:
    agent_id = derived_id(Kind.AGENT, "nova")
    wish = Start(agent_id, SessionType.OWNED, SessionConfiguration(), 30, Dof(50), "start")
    await house.store.sessions.start(ADA, wish, house.now)
    await house.work()


async def extend(house: House) -> None:
    await house.store.sessions.extend(MAX, SESSION, HireUnit.HOUR, 1, "extend", house.now)
    await house.work()


async def use(house: House) -> None:
    for sequence, dof in ((1, 30), (2, 500)):  # the second uses the hold up
        usage = Usage(SESSION, sequence, Dof(dof), 3, 40, False)
        try:
            await house.store.sessions.record_usage(MAX, usage, house.now)
        finally:
            await house.work()


async def end(house: House) -> None:
    house.now = NOW + timedelta(minutes=61)
    await house.store.sessions.end(MAX, SESSION, "end", house.now)
    await house.work()


async def expire(house: House) -> None:
    house.now = NOW + timedelta(hours=3)
    await house.round()


async def review(house: House) -> None:
    wish = ReviewWish(5, "Good company.")
    await house.store.reviews.submit(MAX, SESSION, wish, house.now)
    await house.work()


async def mature(house: House) -> None:
    house.now = NOW + timedelta(days=9)
    await house.mature()


async def request_payout(house: House) -> None:
    await house.store.payouts.request(ADA, Dof(120), "payout", house.now)
    await house.work()


def bank_told(status: str) -> Steps:
    async def step(house: House) -> None:
        about = {
            "id": "po_1",
            "object": "payout",
            "status": status,
            "failure_code": "account_closed" if status == "failed" else None,
            "metadata": {PAYOUT_METADATA: PAYOUT},
        }
        await house.stripe(event_payload(f"payout.{status}", about, at=NOW, test=True, account="acct_ada"))

    return step


async def service_refund(house: House) -> None:
    for key, amount in (("a", 50), ("b", 30)):
        await house.store.refunds.refund(AMY, SESSION, Dof(amount), "a bad run", key, house.now)


async def fund_by_a_key_of_the_process(house: House) -> None:
    """What house rule 5 forbids: a restart that makes its own key does its work a second time."""
    await house.store.wallets.adjust(AMY, MAX, 2_000, "a gift", f"fund {os.getpid()}", house.now)


EARNED = (fund, hire, end, mature)

FLOWS = {
    "purchase": Flow((), (buy, created, paid)),
    "purchase by Stripe": Flow((), (buy_by_stripe, paid_by_stripe)),
    "refund": Flow((buy, paid), (refunded,)),
    "refund before paid": Flow((buy,), (refunded, paid)),
    "refund after the spend": Flow((buy, paid, spend), (refunded,)),
    "cancel": Flow((buy, paid, hire), (cancelled,)),
    "dispute": Flow(
        (buy_by_stripe, paid_by_stripe), (disputed("created", "needs_response"), disputed("closed", "won"))
    ),
    "dispute lost": Flow(
        (buy_by_stripe, paid_by_stripe, spend), (disputed("created", "needs_response"), disputed("closed", "lost"))
    ),
    "dispute won and lost": Flow(
        (buy_by_stripe, paid_by_stripe, disputed("created", "needs_response")),
        (disputed("closed", "won"), disputed("closed", "lost")),
    ),
    "approve": Flow((buy, underpaid), (decided(Dof(DOF)),)),
    "reject": Flow((buy, underpaid), (decided(None),)),
    "claim": Flow((strayed,), (claimed,)),
    "reconcile": Flow((), (reconciled,)),
    "adjust": Flow((), (fund,)),
    "transfer": Flow((fund,), (transfer,)),
    "hire": Flow((fund,), (hire,)),
    "owned session": Flow((fund_ada,), (start,)),
    "extend": Flow((fund, hire), (extend,)),
    "usage": Flow((fund, hire), (use,)),
    "end": Flow((fund, hire), (end,)),
    "expire": Flow((fund, hire), (expire,)),
    "review": Flow((fund, hire, end), (review,)),
    "mature": Flow((fund, hire, end), (mature,)),
    "service refund": Flow((fund, hire, end), (service_refund,)),
    "service refund of matured earnings": Flow((fund, hire, end, mature), (service_refund,)),
    "payout": Flow(EARNED, (request_payout,)),
    "payout paid": Flow((*EARNED, request_payout), (bank_told("paid"),)),
    "payout failed": Flow((*EARNED, request_payout), (bank_told("failed"),)),
    "payout failed after it was paid": Flow((*EARNED, request_payout, bank_told("paid")), (bank_told("failed"),)),
}
"""By the name under which a failure is told."""

PLANTED = Flow((), (fund_by_a_key_of_the_process,))
"""A bug that the enumeration has to find, or it finds nothing."""
