"""What a shop's customer may ask by law: to be told what is held of them, and to be forgotten.

The ledger and the orders stay, as the books of account must: only what names a person goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.ids import Kind, derived_id, fingerprint
from domain.purchases import Rail

REDACTED = "redacted"
"""What stands where an order's e-mail stood. No address, so no user ever has it; not nothing, so that a late delivery
about the order does not bring the e-mail back."""


class Ask(StrEnum):
    """What is asked. The words are the outcomes under which the inbox keeps the requests."""

    DATA = "data request"
    FORGET_CUSTOMER = "redact customer"
    FORGET_SHOP = "redact shop"


@dataclass(frozen=True, slots=True)
class PrivacyRequest:
    """A request as a shop passes it on. `named_shop` is the shop that the signed body names, `shop` the one that our
    orders have. `references` are the provider's numbers of the customer's orders; e-mail or number of the customer may
    be missing, not both."""

    ask: Ask
    rail: Rail
    shop: str
    named_shop: str
    email: str | None = None
    customer: str | None = None
    references: tuple[str, ...] = ()

    @property
    def order_ids(self) -> tuple[str, ...]:
        return tuple(derived_id(Kind.ORDER, self.rail, self.shop, each) for each in dict.fromkeys(self.references))

    @property
    def subject(self) -> str | None:
        """Under which the customer's requests are found again, without saying who it is; None for a whole shop's."""
        if self.ask is Ask.FORGET_SHOP:
            return None
        return fingerprint("customer", self.rail.value, self.shop, self.email or self.customer)
