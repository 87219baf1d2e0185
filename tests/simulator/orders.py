"""Orders as providers tell of them in a history, and what each must come to in the end, worked out apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from domain.errors import Refusal, Unavailable
from domain.ids import Kind, derived_id
from domain.money import Dof, Money
from domain.purchases import Rail
from firestore.orders import Decision
from integrations.local.checkout import Cart, cancel_payload, order_number, order_payload, refund_payload
from tests.nouns import NOW, user_id
from tests.simulator.script import package_of
from tests.simulator.wire import Killed
from tests.simulator.world import ADMIN, SHOP, Process, World, post, tell

TRIES_MAX = 60  # of a provider: it goes on for days
WAYS = {
    "OPENED": ("OPENED",),
    "WON": ("OPENED", "WON"),
    "LOST": ("OPENED", "LOST"),
    "CLOSED": ("INQUIRY", "CLOSED"),
    "ESCALATED": ("INQUIRY", "CLOSED", "OPENED"),
    "APPEALED": ("OPENED", "LOST", "APPEALED"),
    "REGAINED": ("OPENED", "LOST", "APPEALED", "WON"),
    "CONTESTED": ("OPENED", "WON", "LOST"),
}
"""What is told of a dispute, by the way that it goes."""


@dataclass
class Planned:
    """One order: what is paid and what comes back. `dof` is what a payment buys that is beyond doubt."""

    name: str
    rail: Rail
    sku: str
    quantity: int
    purchase_id: str | None
    reference: str
    email: str | None
    paid: int | None
    currency: str = "USD"
    right: bool = True
    refunds: dict[str, int] = field(default_factory=dict)
    came_back: tuple[str, ...] = ()
    total: int | None = None
    disputes: dict[str, tuple[int, str]] = field(default_factory=dict)
    cancelled: bool = False
    approve: bool | None = None
    won: bool | None = None  # how an admin decides the disputes that are contested

    @property
    def id(self) -> str:
        shop = SHOP if self.rail is Rail.SHOPIFY else "sim"
        return derived_id(Kind.ORDER, self.rail, shop, self.reference)

    @property
    def target(self) -> int:
        """What its buyer is due once everything is told, in DOF."""
        dof = package_of(self.sku)[0] * self.quantity
        if self.paid is None or self.cancelled or (not self.right and not self.approve):
            return 0
        back = sum(minor for key, minor in self.refunds.items() if key not in self.came_back)
        if self.total is not None:
            failed = sum(self.refunds[key] for key in self.came_back)
            back = max(back, self.total - failed)
        back += sum(minor for minor, how in self.disputes.values() if self._fate(how) in ("OPENED", "LOST"))
        return dof * max(0, self.paid - max(0, back)) // self.paid

    @property
    def open_disputes(self) -> int:
        return int(any(self._fate(how) == "OPENED" for _, how in self.disputes.values()))

    @property
    def is_contested(self) -> bool:
        return any(how == "CONTESTED" for _, how in self.disputes.values())

    @property
    def waits(self) -> bool:
        """Whether a human is asked, and has not answered."""
        return (self.is_doubted and self.approve is None) or (self.is_contested and self.won is None)

    @property
    def is_doubted(self) -> bool:
        """Whether somebody must say what its payment is worth: of what was cancelled nothing is due in any case."""
        return not self.right and self.paid is not None and not self.cancelled

    def _fate(self, how: str) -> str:
        """What a dispute's way comes to."""
        if how == "CONTESTED":
            return "OPENED" if self.won is None else "WON" if self.won else "LOST"
        return {"APPEALED": "LOST", "REGAINED": "WON", "ESCALATED": "OPENED"}.get(how, how)


def plan(world: World, name: str, rail: Rail, sku: str, quantity: int, purchase_id: str | None, number: int) -> Planned:
    """Draw the fate of an order."""
    rng = world.rng
    price = package_of(sku)[1] * quantity
    shopify = rail is Rail.SHOPIFY
    reference = str(order_number("order", purchase_id)) if shopify and purchase_id else f"ch_{number}"
    email = f"{name}@jiga.test"
    order = Planned(name, rail, sku, quantity, purchase_id, reference, email, price)
    draw = rng.random()
    if draw < 0.08:
        order.paid = None
    elif draw < 0.16:
        order.right, order.paid = False, price - rng.randint(1, 200)
    elif draw < 0.2:
        order.right, order.currency = False, "EUR"
    for count in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
        order.refunds[f"refund:re_{count}"] = rng.choice((100, price // 3, price // 2, price))
    if not shopify:
        order.came_back = tuple(key for key in order.refunds if rng.random() < 0.3)
        if order.refunds and rng.random() < 0.3:
            order.total = sum(order.refunds.values())
        for count in range(rng.choice((0, 0, 0, 1, 1, 2))):
            order.disputes[f"dp_{count}"] = (rng.choice((200, price)), rng.choice(tuple(WAYS)))
    order.cancelled = rng.random() < 0.15
    if not order.right:
        order.approve = rng.choice((None, True, False))
    if order.is_contested and (not order.is_doubted or order.approve is not None):
        order.won = rng.choice((None, True, False))  # what is doubted of the payment is decided first
    return order


async def provide(world: World, order: Planned) -> None:
    """Tell all of it, in any order, each one to three times, until each is recorded."""
    told = _shopify(order) if order.rail is Rail.SHOPIFY else _plain(order)
    deliveries = [each for each in told for _ in range(world.rng.choice((1, 1, 1, 2, 3)))]
    world.rng.shuffle(deliveries)
    await asyncio.gather(*(_deliver(world, each) for each in deliveries))


Delivery = Callable[[Process], Any]


async def _deliver(world: World, send: Delivery) -> None:
    await asyncio.sleep(world.rng.expovariate(1 / 1800))
    for attempt in range(TRIES_MAX):
        try:
            if await send(world.process()) is not False:
                return
        except (Unavailable, Killed):
            pass
        except Exception as problem:
            world.problems.append(f"a webhook raised {problem!r}")
            return
        await asyncio.sleep(world.rng.random() * min(600, 2**attempt))
    world.problems.append("a webhook was not taken")


def _shopify(order: Planned) -> list[Delivery]:
    assert order.purchase_id is not None, "our checkout's carts carry the purchase"
    minor = package_of(order.sku)[1] * order.quantity if order.paid is None else order.paid
    price = Money(minor, order.currency)
    cart = Cart(order.purchase_id, user_id(order.name), order.email or "", order.sku, order.quantity, price)
    status = "pending" if order.paid is None else "paid"
    body = order_payload(cart, at=NOW, test=True, financial_status=status)
    found = [("orders/create", body), ("orders/paid", body)] if order.paid is not None else [("orders/create", body)]
    for key, amount in order.refunds.items():
        money = Money(amount, order.currency)
        told = refund_payload(purchase_id=order.purchase_id, refund=key, amount=money, at=NOW, test=True)
        found.append(("refunds/create", told))
    if order.cancelled:
        told = cancel_payload(cart, at=NOW, test=True, financial_status="voided" if order.paid is None else "refunded")
        found.append(("orders/cancelled", told))
    return [_posting(topic, body) for topic, body in found]


def _posting(topic: str, body: bytes) -> Delivery:
    return lambda process: post(process, topic, body)


def _plain(order: Planned) -> list[Delivery]:
    head = {
        "reference": order.reference,
        "purchase_id": order.purchase_id,
        "email": order.email,
        "sku": order.sku,
        "quantity": order.quantity,
    }
    facts: list[dict[str, Any]] = []

    def add(key: str, kind: str, minor: int | None = None, subject: str | None = None) -> None:
        facts.append({"key": key, "kind": kind, "minor": minor, "currency": order.currency, "subject": subject})

    if order.paid is not None:
        add("paid", "PAID", order.paid)
    for key, minor in order.refunds.items():
        add(key, "REFUND", minor)
        if key in order.came_back:
            add(f"{key}:failed", "REFUND_FAILED", minor, key)
    if order.total is not None:
        add("total:1", "REFUNDED_TOTAL", order.total)
        add("total:0", "REFUNDED_TOTAL", min(order.refunds.values()))
    for key, (minor, how) in order.disputes.items():
        for stage in WAYS[how]:
            add(f"dispute:{key}:{stage.lower()}", f"DISPUTE_{stage}", minor, key)
    if order.cancelled:
        add("cancel", "CANCEL")
    return [_telling(head, fact) for fact in facts]


def _telling(head: dict[str, Any], fact: dict[str, Any]) -> Delivery:
    return lambda process: tell(process, head, fact)


async def decide(world: World, order: Planned) -> None:
    """An admin's decisions on an order that waits; one that does not wait is left as it is."""
    dof = Dof(package_of(order.sku)[0] * order.quantity)
    if order.approve is not None and order.is_doubted:
        await _decided(world, Decision(order.id, ADMIN, "looked at it", dof if order.approve else None, _buyer(order)))
    if order.won is not None:
        await _decided(world, Decision(order.id, ADMIN, "asked the bank", dof if order.won else None, _buyer(order)))


async def _decided(world: World, decision: Decision) -> None:
    for _ in range(TRIES_MAX):
        process = world.process()
        try:
            await process.store.orders.decide(decision, process.clock())
        except (Unavailable, Killed):
            await asyncio.sleep(1)
        except Refusal as refusal:
            world.problems.append(f"a decision on a doubted order was refused: {refusal!r}")
            return
        else:
            return


def _buyer(order: Planned) -> str:
    return user_id(order.name)


__all__ = ["Planned", "decide", "plan", "provide", "replace"]
