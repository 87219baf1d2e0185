"""Money in. A webhook adds facts to an order; what the wallet is owed is a pure function of the facts.

So duplicates, disorder and two events about one purchase all lead to one final state (reliability.md, section 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from domain.errors import UnknownPackage
from domain.ids import Kind, derived_id
from domain.money import DOF_MAX, ZERO, Dof, Money, minor_digits

QUANTITY_MAX = 100  # packages in one purchase: far above a real cart, far below an overflow
FACTS_MAX = 200  # facts that one order may gather: beyond this somebody plays, and the document's size is bounded
LINES_MAX = 250  # Shopify's own bound on a cart
NO_CURRENCY = "XXX"  # ISO 4217's own word for it: a refund that names no currency is in its order's


class Rail(StrEnum):
    """A payment provider."""

    SHOPIFY = "SHOPIFY"
    STRIPE = "STRIPE"


class Tier(StrEnum):
    """A package's tier; the same words as an agent's rank."""

    BRONZE = "BRONZE"
    SILVER = "SILVER"
    GOLD = "GOLD"
    PLATINUM = "PLATINUM"


@dataclass(frozen=True, slots=True)
class Package:
    """A row of the DOF price table (product.md, Nouns)."""

    sku: str
    title: str
    tier: Tier
    dof: Dof
    bonus_dof: Dof
    price: Money


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of a provider's order: the variant's SKU as sent, and how many."""

    sku: str
    quantity: int


class FactKind(StrEnum):
    PAID = "PAID"
    REFUND = "REFUND"
    CANCEL = "CANCEL"


@dataclass(frozen=True, slots=True)
class Report:
    """One fact as a provider tells it: `PAID` brings lines and the goods' price as paid, `REFUND` the money given back.

    `gross` is all that a payment captured, with tax and shipping: a refund gives back a part of that.

    `key` names the fact within its order: two reports with one key are one fact. `doubt` is why a human must look.
    """

    key: str
    kind: FactKind
    money: Money | None = None
    lines: tuple[OrderLine, ...] = ()
    doubt: str | None = None
    gross: Money | None = None


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """All that one webhook tells of one order. `reference` is the provider's order id, exact, as text."""

    rail: Rail
    shop: str
    reference: str
    test: bool
    reports: tuple[Report, ...]
    purchase_id: str | None = None
    email: str | None = None
    user_hint: str | None = None  # who the cart says it is for: read with the rest, never believed

    @property
    def order_id(self) -> str:
        return derived_id(Kind.ORDER, self.rail, self.shop, self.reference)


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact as the order keeps it, valued once by our price table: `dof` is what a payment buys.

    `money` is all that it captured or gave back.
    """

    kind: FactKind
    at: datetime
    money: Money | None = None
    dof: Dof = ZERO
    doubt: str | None = None


class PurchaseStatus(StrEnum):
    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"


@dataclass(frozen=True, slots=True)
class Order:
    """A provider's order. `applied` is what the ledger gave for it, in `entries` entries; `review` is why it waits,
    `transaction_id` what its user sees of it."""

    id: str
    rail: Rail
    shop: str
    reference: str
    created_at: datetime
    user_id: str | None = None
    purchase_id: str | None = None
    email: str | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    applied: Dof = ZERO
    entries: int = 0
    review: str | None = None
    transaction_id: str | None = None

    @property
    def target(self) -> Dof:
        """What the buyer is due: the payment's DOF less the refunded part of its money; nothing once cancelled."""
        if any(fact.kind is FactKind.CANCEL for fact in self.facts.values()):
            return ZERO
        paid = self._paid
        if paid is None or paid.money is None or paid.money.minor_units <= 0:
            return ZERO
        given_back = sum(money.minor_units for money in self._refunds if self._in_currency(money))
        kept = max(0, paid.money.minor_units - given_back)
        return Dof(paid.dof.units * kept // paid.money.minor_units)

    @property
    def _paid(self) -> Fact | None:
        """The payment, where it is beyond doubt: an order is paid once, whatever topics tell it."""
        paid = (fact for _, fact in sorted(self.facts.items()) if fact.kind is FactKind.PAID and fact.doubt is None)
        return next(paid, None)

    @property
    def _refunds(self) -> tuple[Money, ...]:
        return tuple(fact.money for fact in self.facts.values() if fact.kind is FactKind.REFUND and fact.money)

    def _in_currency(self, money: Money) -> bool:
        paid = self._paid
        if paid is None or paid.money is None:
            return False
        # Read without its currency, an amount was taken for hundredths; of yen it would be a hundred times too much.
        assumed = money.currency == NO_CURRENCY and minor_digits(paid.money.currency) == minor_digits(NO_CURRENCY)
        return assumed or money.currency == paid.money.currency

    @property
    def is_paid(self) -> bool:
        return any(fact.kind is FactKind.PAID for fact in self.facts.values())

    @property
    def is_cancelled(self) -> bool:
        return any(fact.kind is FactKind.CANCEL for fact in self.facts.values())

    @property
    def outcome(self) -> PurchaseStatus:
        """How the purchase stands: like the target, a function of the facts, whatever order they came in."""
        if self.target > ZERO:
            return PurchaseStatus.COMPLETED
        if self._paid is not None:
            return PurchaseStatus.REFUNDED
        return PurchaseStatus.FAILED if self.is_cancelled else PurchaseStatus.PENDING

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why a human must look, in the order of the facts' keys."""
        told = [fact.doubt for _, fact in sorted(self.facts.items()) if fact.doubt]
        foreign = sorted({money.currency for money in self._refunds if self._paid and not self._in_currency(money)})
        told += [f"a refund gave {currency} back, which is not what was paid" for currency in foreign]
        if len(self.facts) >= FACTS_MAX:
            told.append(f"it has gathered {FACTS_MAX} facts, and takes in no further refund")
        return tuple(told)


@dataclass(frozen=True, slots=True)
class Purchase:
    """A user's wish to buy. Money arrives as an order that names it; only the order credits."""

    id: str
    user_id: str
    rail: Rail
    sku: str
    quantity: int
    dof: Dof
    price: Money
    checkout_url: str
    transaction_id: str
    fingerprint: str
    created_at: datetime


def find_package(packages: Sequence[Package], sku: str) -> Package | None:
    """The package of an SKU, written exactly as the table writes it: a look-alike goes to review, not to a wallet."""
    return next((package for package in packages if package.sku == sku), None)


def price_of(packages: Sequence[Package], sku: str, quantity: int) -> tuple[Dof, Money]:
    """What `quantity` of a package gives and costs. Raises UnknownPackage."""
    package = find_package(packages, sku)
    if package is None:
        known = ", ".join(package.sku for package in packages)
        raise UnknownPackage(f"There is no package with the SKU {sku!r}: choose one of {known}.")
    return (package.dof + package.bonus_dof) * quantity, Money(
        package.price.minor_units * quantity, package.price.currency
    )


def value(report: Report, packages: Sequence[Package], at: datetime) -> Fact:
    """Value a report by our price table: never by what the payload says a thing is worth (product.md, ruling 4)."""
    if report.kind is not FactKind.PAID or report.doubt is not None:
        return Fact(report.kind, at, report.gross or report.money, doubt=report.doubt)
    dof, price, doubt = _worth(report.lines, packages)
    if doubt is None and report.money != price:
        paid = f"{report.money.decimal} {report.money.currency}" if report.money else "nothing"
        asked = f"{price.decimal} {price.currency}" if price else "nothing"
        doubt = f"paid {paid} where the price table asks {asked}"
    return Fact(FactKind.PAID, at, report.gross or report.money, ZERO if doubt else dof, doubt)


def _worth(lines: Sequence[OrderLine], packages: Sequence[Package]) -> tuple[Dof, Money | None, str | None]:
    if not lines:
        return ZERO, None, "the order has no line of a DOF package"
    if len(lines) > LINES_MAX:
        return ZERO, None, f"the order has more than {LINES_MAX} lines"
    units, minor, currencies = 0, 0, set()
    for line in lines:
        package = find_package(packages, line.sku)
        if package is None:
            return ZERO, None, f"the SKU {line.sku[:80]!r} is not in the price table"
        if not 1 <= line.quantity <= QUANTITY_MAX:
            return ZERO, None, f"a quantity of {line.quantity} is outside 1 to {QUANTITY_MAX}"
        units += (package.dof + package.bonus_dof).units * line.quantity
        minor += package.price.minor_units * line.quantity
        currencies.add(package.price.currency)
    if units > DOF_MAX or len(currencies) != 1:
        return ZERO, None, "the order is larger than a wallet may hold, or mixes currencies"
    return Dof(units), Money(minor, currencies.pop()), None


def absorb(order: Order, told: OrderFacts, packages: Sequence[Package], at: datetime) -> Order:
    """The order with what a webhook tells added. A fact that is known stays as it was first told.

    A payment and a cancellation always find room, or a flood of refunds could keep a cancellation out.
    """
    facts = dict(order.facts)
    for report in told.reports:
        if report.key not in facts and (report.kind is not FactKind.REFUND or len(facts) < FACTS_MAX):
            facts[report.key] = value(report, packages, at)
    return replace(
        order,
        facts=facts,
        purchase_id=order.purchase_id or told.purchase_id,
        email=order.email or told.email,
    )
