"""What can be bought, and a user's wish to buy it. Money comes with the provider's order: `domain/orders.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.errors import BadInput, UnknownPackage
from domain.money import Dof, Money

QUANTITY_MAX = 100  # packages in one purchase: far above a real cart, far below an overflow


class Rail(StrEnum):
    """A payment provider."""

    SHOPIFY = "SHOPIFY"
    STRIPE = "STRIPE"


class PurchaseStatus(StrEnum):
    """How a purchase stands, by the orders that pay for it."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"


class Tier(StrEnum):
    """A package's tier; the same words as an agent's rank."""

    BRONZE = "BRONZE"
    SILVER = "SILVER"
    GOLD = "GOLD"
    PLATINUM = "PLATINUM"


@dataclass(frozen=True, slots=True)
class Package:
    """A row of the DOF price table."""

    sku: str
    title: str
    tier: Tier
    dof: Dof
    bonus_dof: Dof
    price: Money


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
        raise UnknownPackage(f"There is no package with this SKU: choose one of {known}.")
    return (package.dof + package.bonus_dof) * quantity, Money(
        package.price.minor_units * quantity, package.price.currency
    )


def require_plausible(dof: Dof, packages: Sequence[Package]) -> None:
    """Raises BadInput for more DOF than any payment buys.

    The bound is one line of the largest package: what an admin decides on is one payment, an order of more than that is
    no player's, and a slip of some zeros is caught before it is spent.
    """
    most = QUANTITY_MAX * max((each.dof + each.bonus_dof).units for each in packages)
    if dof.units > most:
        raise BadInput(
            f"No payment is worth more than {most} DOF: look the order up, and send less.", field="input.dof"
        )
