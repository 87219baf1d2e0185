"""The pages that stand in for a provider's: a cart to pay, or a form to fill in. They run no script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import quote, urlencode

from domain.money import Money
from integrations.services import Checkout


@dataclass(frozen=True, slots=True)
class Cart:
    """What a buyer pays for on our page; `price` is that of all the packages."""

    purchase_id: str
    user_id: str
    email: str
    sku: str
    quantity: int
    price: Money

    @property
    def fields(self) -> dict[str, str]:
        """The cart as the page's address and its form carry it."""
        return {
            "purchase_id": self.purchase_id,
            "sku": self.sku,
            "quantity": str(self.quantity),
            "amount": self.price.decimal,
            "currency": self.price.currency,
            "email": self.email,
            "user_id": self.user_id,
        }


class LocalCheckout:
    """Sends a buyer to our own page. `base_url` is asked each time: the port is known only once the server listens."""

    def __init__(self, base_url: Callable[[], str], path: str) -> None:
        self._base_url = base_url
        self._path = path

    async def checkout(
        self, *, purchase_id: str, user_id: str, email: str, sku: str, quantity: int, price: Money
    ) -> Checkout:
        """The page's address. `price` is that of all the packages, and travels as a decimal with its currency."""
        cart = Cart(purchase_id, user_id, email, sku, quantity, price)
        return Checkout(f"{self._base_url().rstrip('/')}{self._path}?{urlencode(cart.fields, quote_via=quote)}")

    async def close(self) -> None:
        """Nothing is open."""


def cart_page(provider: str, path: str, cart: Cart, choices: Mapping[str, str]) -> str:
    """The checkout page: what is bought, and a form that posts the cart and one of the choices back to `path`."""
    buttons = "\n".join(
        f'<p><button type="submit" name="choice" value="{choice}">{escape(words)}</button></p>'
        for choice, words in choices.items()
    )
    told = f"""<p>This page stands in for {escape(provider)}. No money moves.</p>
<dl>
<dt>Package</dt><dd>{cart.quantity} &times; {escape(cart.sku)}</dd>
<dt>Price</dt><dd>{escape(cart.price.decimal)} {escape(cart.price.currency)}</dd>
<dt>Buyer</dt><dd>{escape(cart.email)}</dd>
</dl>"""
    return form_page("Local checkout", told, path, cart.fields, buttons)


def form_page(title: str, told: str, path: str, fields: Mapping[str, str], buttons: str) -> str:
    """A page with a form of hidden fields. `told` and `buttons` are HTML; all else is text, and escaped."""
    hidden = "\n".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in fields.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 28rem; margin: 4rem auto; padding: 0 1rem }}
button {{ font: inherit; padding: .5rem 1.5rem }}
</style>
</head>
<body>
<h1>{escape(title)}</h1>
{told}
<form method="post" action="{path}">
{hidden}
{buttons}
</form>
</body>
</html>
"""
