"""Money in. A webhook adds facts to an order; what the wallet is owed is a pure function of the facts.

So duplicates, disorder and two events about one purchase all lead to one final state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from domain.ids import Kind, derived_id
from domain.money import DOF_MAX, ZERO, Dof, Money, minor_digits
from domain.purchases import QUANTITY_MAX, Package, PurchaseStatus, Rail, find_package

FACTS_MAX = 200  # facts that one order may gather: beyond this somebody plays, and the document's size is bounded
LINES_MAX = 250  # Shopify's own bound on a cart
UNFIT = "the wallet would"  # how the review of an order begins whose DOF the wallet cannot take
NO_CURRENCY = "XXX"  # ISO 4217's own word for it: a refund that names no currency is in its order's


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of a provider's order: the variant's SKU as sent, and how many."""

    sku: str
    quantity: int


class FactKind(StrEnum):
    """What can be told of an order. The last two are an admin's decisions on what its money is worth."""

    PAID = "PAID"
    REFUND = "REFUND"
    REFUNDED_TOTAL = "REFUNDED_TOTAL"  # all refunds so far in one figure, from an event that does not name them
    REFUND_FAILED = "REFUND_FAILED"
    CANCEL = "CANCEL"
    DISPUTE_INQUIRY = "DISPUTE_INQUIRY"
    DISPUTE_OPENED = "DISPUTE_OPENED"
    DISPUTE_WON = "DISPUTE_WON"
    DISPUTE_LOST = "DISPUTE_LOST"
    DISPUTE_APPEALED = "DISPUTE_APPEALED"  # lost, and fought on: if it is won after all, the appeal is why
    DISPUTE_CLOSED = "DISPUTE_CLOSED"  # an inquiry ended; it can still become a dispute
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


FLOODABLE = frozenset({FactKind.REFUND, FactKind.REFUNDED_TOTAL})
DECISION = "decision"  # the key of the first fact that says what a doubted order is worth; later ones are numbered
CONTEST_DECISION = "decision:dispute"  # and of the one that says how a contested dispute ended: approved is won
CHECKOUT_EXPIRED = "checkout_expired"  # why a checkout was cancelled, as the cancellation's subject has it
PAYMENT_FAILED = "payment_failed"
_STAGES = (
    FactKind.DISPUTE_INQUIRY,
    FactKind.DISPUTE_CLOSED,
    FactKind.DISPUTE_OPENED,
    FactKind.DISPUTE_LOST,
    FactKind.DISPUTE_APPEALED,
    FactKind.DISPUTE_WON,
)
_CONTEST = {FactKind.DISPUTE_WON, FactKind.DISPUTE_LOST}
_TAKING = {FactKind.DISPUTE_OPENED, FactKind.DISPUTE_LOST, FactKind.DISPUTE_APPEALED}  # what a dispute takes away in


@dataclass(frozen=True, slots=True)
class Report:
    """One fact as a provider tells it: `PAID` brings lines and the goods' price as paid, `REFUND` the money given back.

    `gross` is all that a payment captured, with tax and shipping: a refund gives back a part of that. `subject` is the
    dispute, the refund that came back, or why a checkout was cancelled, where we know. `key` names the fact within its
    order: two reports with one key are one fact. `doubt` is why a human must look.
    """

    key: str
    kind: FactKind
    money: Money | None = None
    lines: tuple[OrderLine, ...] = ()
    doubt: str | None = None
    gross: Money | None = None
    subject: str | None = None


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

    `money` is all that it captured or gave back; `seen` are the keys of the facts that a decision knew of.
    """

    kind: FactKind
    at: datetime
    money: Money | None = None
    dof: Dof = ZERO
    doubt: str | None = None
    subject: str | None = None
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """A provider's order. `applied` is what the ledger gave for it, in `entries` entries; `review` is why it waits, if
    it does; `transaction_id` is what its user sees of it; `disputed`, that the wallet counts it as an open dispute."""

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
    in_review: bool = False
    transaction_id: str | None = None
    disputed: bool = False

    @property
    def target(self) -> Dof:
        """What the buyer is due: the payment's DOF less the part of its money that went back; none once cancelled."""
        paid = self._paid
        if self.is_cancelled or paid is None:
            return ZERO
        if paid.money is None or paid.money.minor_units <= 0:
            return paid.dof if self.is_decided else ZERO  # an admin's word, and no money that a part of could go back
        lost = self._given_back + self.charged_back
        return Dof(paid.dof.units * max(0, paid.money.minor_units - lost) // paid.money.minor_units)

    @property
    def has_open_dispute(self) -> bool:
        """Whether a dispute was opened and is neither won nor lost."""
        return any(self._stands(kinds) is FactKind.DISPUTE_OPENED for kinds, _ in self._disputes())

    @property
    def is_contested(self) -> bool:
        """Whether a dispute was told as won and as lost, and nobody has said yet which. Facts come in any order, so
        which was the last cannot be told from them; an appeal alone explains both."""
        return CONTEST_DECISION not in self.facts and any(_is_contest(kinds) for kinds, _ in self._disputes())

    @property
    def was_disputed(self) -> bool:
        return any(fact.kind.startswith("DISPUTE_") for fact in self.facts.values())

    @property
    def is_paid(self) -> bool:
        return any(fact.kind is FactKind.PAID for fact in self.facts.values())

    @property
    def is_cancelled(self) -> bool:
        return any(fact.kind is FactKind.CANCEL for fact in self.facts.values())

    @property
    def is_decided(self) -> bool:
        """Whether an admin has approved or rejected what was doubted of it."""
        return self._verdict is not None

    @property
    def is_rejected(self) -> bool:
        """Whether the last decision was that nothing is due."""
        return self._verdict is not None and self._verdict.kind is FactKind.REJECTED

    @property
    def refunded(self) -> Money | None:
        """What of the payment went back, disputes apart; None where there is none that can be read."""
        paid = self._money
        return None if paid is None else Money(self._given_back, paid.currency)

    @property
    def outcome(self) -> PurchaseStatus:
        """How the purchase stands: like the target, a function of the facts, whatever order they came in."""
        if self.target > ZERO:
            return PurchaseStatus.COMPLETED
        if self.is_rejected and not any(self._counted(fact) for fact in self.facts.values()):
            return PurchaseStatus.FAILED
        if self._paid is not None:
            return PurchaseStatus.REFUNDED
        return PurchaseStatus.FAILED if self.is_cancelled else PurchaseStatus.PENDING

    @property
    def ending(self) -> str:
        """Of an order that ended before it was credited: the name of the text that tells its buyer why."""
        if self.is_rejected:
            return "purchase_rejected"
        cancelled = next((fact for fact in self.facts.values() if fact.kind is FactKind.CANCEL), None)
        if cancelled is None:
            return "purchase_refunded"
        known = (CHECKOUT_EXPIRED, PAYMENT_FAILED)
        return cancelled.subject if cancelled.subject in known else "purchase_cancelled"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why a human must look, in the order of the facts' keys. What the last decision knew of is settled; whatever
        is in doubt after it is asked again. Of what was cancelled nothing is due, whatever is in doubt."""
        if self.is_cancelled:
            return ()
        settled = self._settled
        fresh = [(key, fact) for key, fact in sorted(self.facts.items()) if key not in settled]
        told = [fact.doubt for _, fact in fresh if fact.doubt]
        paid = self._payment
        told += [text for _, fact in fresh if paid is not None and (text := _foreign(fact, paid.money))]
        if self._verdict and any(fact.kind is FactKind.PAID for _, fact in fresh):
            told.append("a payment was told after the order had been decided")
        if len(self.facts) >= FACTS_MAX > len(settled):
            told.append(f"it has gathered {FACTS_MAX} facts, and takes in no further refund")
        return tuple(dict.fromkeys(told))

    @property
    def _verdict(self) -> Fact | None:
        """The last decision on what the order is worth: it knew of all those before it."""
        kinds = (FactKind.APPROVED, FactKind.REJECTED)
        made = [fact for key, fact in self.facts.items() if fact.kind in kinds and key != CONTEST_DECISION]
        return max(made, key=lambda fact: len(fact.seen), default=None)

    @property
    def _settled(self) -> tuple[str, ...]:
        """The keys that the last decision knew of. One that was stored without them knew what had been told by then."""
        verdict = self._verdict
        if verdict is None:
            return ()
        return verdict.seen or tuple(key for key, fact in self.facts.items() if fact.at <= verdict.at)

    @property
    def _payment(self) -> Fact | None:
        """The payment that counts or may count: one beyond doubt before others, and none that the last decision did not
        know of. An order is paid once, whoever tells it."""
        settled = self._settled if self.is_decided else self.facts
        told = [fact for key, fact in sorted(self.facts.items()) if fact.kind is FactKind.PAID and key in settled]
        return next((fact for fact in told if fact.doubt is None), told[0] if told else None)

    @property
    def _paid(self) -> Fact | None:
        """The payment, where it is beyond doubt or an admin has valued it."""
        payment, verdict = self._payment, self._verdict
        if payment is None or verdict is None:
            return payment if payment is not None and payment.doubt is None else None
        return replace(payment, dof=verdict.dof, doubt=None)

    def _counted(self, fact: Fact) -> bool:
        """Whether the fact alone brings DOF: a payment beyond doubt, or an admin's yes."""
        return fact.kind is FactKind.APPROVED or (fact.kind is FactKind.PAID and fact.doubt is None)

    @property
    def _money(self) -> Money | None:
        return self._payment.money if self._payment else None

    @property
    def _given_back(self) -> int:
        """Refunded minor units: each refund that did not come back, or the figure of all, whichever is more."""
        paid = self._money
        came_back = {fact.subject for fact in self.facts.values() if fact.kind is FactKind.REFUND_FAILED}
        refunds = {key: _units(fact, paid) for key, fact in self.facts.items() if fact.kind is FactKind.REFUND}
        failed = sum(units for key, units in refunds.items() if key in came_back)
        totals = [_units(fact, paid) for fact in self.facts.values() if fact.kind is FactKind.REFUNDED_TOTAL]
        return max(sum(refunds.values()) - failed, max(totals, default=0) - failed, 0)

    @property
    def charged_back(self) -> int:
        """Disputed minor units: what is open, lost, or lost so far."""
        return sum(units for kinds, units in self._disputes() if self._stands(kinds) in _TAKING)

    def _stands(self, kinds: set[FactKind]) -> FactKind:
        """How far a dispute has come. Its stages follow each other whatever order they were told in; one that is
        contested is open until it is decided."""
        if not _is_contest(kinds):
            return max(kinds, key=_STAGES.index)
        decided = self.facts.get(CONTEST_DECISION)
        if decided is None:
            return FactKind.DISPUTE_OPENED
        return FactKind.DISPUTE_WON if decided.kind is FactKind.APPROVED else FactKind.DISPUTE_LOST

    def _disputes(self) -> Iterator[tuple[set[FactKind], int]]:
        """Each dispute: what was told of it, and its money."""
        told: dict[str, list[Fact]] = {}
        for fact in self.facts.values():
            if fact.kind.startswith("DISPUTE_"):
                told.setdefault(fact.subject or "", []).append(fact)
        paid = self._money if told else None
        for facts in told.values():
            yield {fact.kind for fact in facts}, max(_units(fact, paid) for fact in facts)


def _units(fact: Fact, paid: Money | None) -> int:
    """A fact's money in minor units, where it is in the payment's currency."""
    return fact.money.minor_units if fact.money is not None and _in_currency(fact.money, paid) else 0


def _in_currency(money: Money, paid: Money | None) -> bool:
    if paid is None:
        return False
    # Read without its currency, an amount was taken for hundredths; of yen it would be a hundred times too much.
    assumed = money.currency == NO_CURRENCY and minor_digits(paid.currency) == minor_digits(NO_CURRENCY)
    return assumed or money.currency == paid.currency


def _foreign(fact: Fact, paid: Money | None) -> str | None:
    """What to ask of money that went back in another currency than the payment's."""
    if fact.money is None or _in_currency(fact.money, paid):
        return None
    if fact.kind in FLOODABLE:
        return f"a refund gave {fact.money.currency} back, which is not what was paid"
    return f"a dispute is about {fact.money.currency}, which is not what was paid" if fact.kind in _TAKING else None


def _is_contest(kinds: set[FactKind]) -> bool:
    """Whether a dispute was told as won and as lost, without an appeal between the two."""
    return kinds >= _CONTEST and FactKind.DISPUTE_APPEALED not in kinds


def value(report: Report, packages: Sequence[Package], at: datetime) -> Fact:
    """Value a report by our price table: never by what the payload says a thing is worth (ruling 4)."""
    if report.kind is not FactKind.PAID or report.doubt is not None:
        return Fact(report.kind, at, report.gross or report.money, doubt=report.doubt, subject=report.subject)
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


def decision_key(order: Order) -> str:
    """Where the next decision on what the order is worth is kept."""
    made = sum(key.partition(":")[0] == DECISION and key != CONTEST_DECISION for key in order.facts)
    return f"{DECISION}:{made + 1}" if made else DECISION


def absorb(order: Order, told: OrderFacts, packages: Sequence[Package], at: datetime) -> Order:
    """The order with what a webhook tells added. A fact that is known stays as it was first told; a refund may grow, as
    one of its transactions succeeds after the other.

    A payment and a cancellation always find room, or a flood of refunds could keep a cancellation out.
    """
    facts = dict(order.facts)
    for report in told.reports:
        known = facts.get(report.key)
        if known is not None:
            facts[report.key] = _grown(known, report)
        elif report.kind not in FLOODABLE or len(facts) < FACTS_MAX:
            facts[report.key] = value(report, packages, at)
    return replace(
        order,
        facts=facts,
        purchase_id=order.purchase_id or told.purchase_id,
        email=order.email or told.email,
    )


def _grown(known: Fact, report: Report) -> Fact:
    before, after = known.money, report.money
    if known.kind is not FactKind.REFUND or report.kind is not known.kind or before is None or after is None:
        return known
    grown = before.currency == after.currency and before.minor_units < after.minor_units
    return replace(known, money=after) if grown else known
