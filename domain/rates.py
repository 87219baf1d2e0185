"""How much anybody may ask for: the cost of one operation, and units in a window. The figures, each with its reason.

A unit is one backend read as `graph.cost` counts it, unless a rate says otherwise. A deployer changes a rate's units by
its name (`JIGA_RATE_LIMITS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, floor


class Caller(StrEnum):
    """Whose limits hold for an operation."""

    GUEST = "guest"
    KEY = "key"
    USER = "user"
    STAFF = "staff"


COST_LIMITS: Mapping[Caller, int] = {
    # A page of 100 listings, each with agent, owner and ten reviews, is 1,400.
    Caller.GUEST: 2_000,
    # A program pages; it needs no wall of nested lists, and its mistakes repeat.
    Caller.KEY: 5_000,
    # A dashboard: 100 sessions, each with agent, listing, people and a page of reviews. 10,000 reads cost 0.6 cents.
    Caller.USER: 10_000,
    # Moderators look at everything of everybody at once, and are few.
    Caller.STAFF: 20_000,
}
"""Backend reads that one operation may ask for."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `units` in any `per_seconds`, counted for each key apart. `strict` rates refuse when nobody can count:
    what they guard is worth more than an answer."""

    name: str
    units: int
    per_seconds: int
    strict: bool = False


RATES: Mapping[str, Rate] = {
    rate.name: rate
    for rate in (
        # A whole school or office behind one address browses: 100 people at a page of 20 with agent and owner each two
        # seconds are 180,000 a minute. It also is the roof over all accounts that one address signs up.
        Rate("address", 240_000, 60),
        # Guests are told apart by nothing else: the same people, before they sign in.
        Rate("guest", 120_000, 60),
        # A thousand full pages of 60 reads: more than a hand can open, and 4 cents of Firestore. Each event that is
        # executed counts as its subscription did: five that show a session with its agent, listing and people (14) or
        # a wallet (11), each with an event a second, are 4,200 a minute. Of the dearest, six events fit.
        Rate("user", 60_000, 60),
        # Passwords tried, accounts made and tokens renewed from one address, in attempts: a class of pupils signs in
        # within a minute; ten thousand guesses take almost three hours, for all accounts together.
        Rate("sign_in_address", 120, 60, strict=True),
        Rate("sign_in_address_hourly", 3_600, 3_600, strict=True),
        # Attempts on one account from anywhere, in attempts: who forgot a password tries some; ten thousand addresses
        # are no better than one.
        Rate("sign_in_account", 20, 60, strict=True),
        Rate("sign_in_account_hourly", 200, 3_600, strict=True),
        # Mutations that move DOF, in mutations: five a second for a minute is no person, and each is several writes.
        Rate("money", 300, 60, strict=True),
        # Searches, in searches: typing ahead sends some a second, and the engine is a shared and paid one.
        Rate("search", 300, 60),
        # Mutations that set somebody else's servers or a whole core to work, in mutations: a picture to store and to
        # draw, a webhook posted again, an account with the payment provider, a file of all one's data.
        Rate("outside", 60, 60),
        # Agents given away, in mutations: a studio hands a customer what it has built in one go. Each stands unasked in
        # somebody else's list and notifications, so the next ones wait for the next day.
        Rate("giving", 20, 86_400),
        # Wrong tokens and API keys from one address, in attempts: a broken client retries, a guesser goes on.
        Rate("wrong_credentials", 60, 60),
    )
}

REFUSED_UNITS = 20
"""What a document counts that is refused before it runs: reading and validating the worst takes about as long as a page
of twenty, and who sends nothing else would hold the process for nothing."""

SIGN_IN_FIELDS = frozenset({"signIn", "signUp", "refreshToken", "deleteMyAccount"})
"""What tries a password or a refresh token, or makes an account."""
PASSWORD_FIELDS = frozenset({"signIn", "deleteMyAccount"})
"""What tries a password of the account that it names. A sign-up tries none: who knows an e-mail could use up its
owner's attempts with it."""
SEARCH_FIELDS = frozenset({"searchListings", "categories"})
"""What asks the search engine. `categories` counts also where its answer is a kept one: counting comes first."""
OUTSIDE_FIELDS = frozenset(
    {
        "createImageUpload",
        "completeImageUpload",
        "replayWebhookDelivery",
        "connectPayouts",
        "exportMyData",
    }
)
GIVING_FIELDS = frozenset({"transferAgent"})
ALONE_FIELDS = frozenset({"exportReceipts"})
"""What costs more than one operation may ask for, and is let through all the same where it is the only root field of
somebody who has signed in: everybody's proofs are theirs to take away. It counts in full, and there is room for one a
minute; for none at all where a deployer gives a user fewer than 50,000 units."""
MONEY_FIELDS = frozenset(
    {
        "hireAgent",
        "extendSession",
        "startSession",
        "endSession",
        "purchaseDof",
        "transferDof",
        "requestPayout",
        "adjustWallet",
        "refundSession",
        "approveOrder",
        "rejectOrder",
    }
)


def rates_with(changes: Mapping[str, int]) -> Mapping[str, Rate]:
    """The rates with other units, by name. Raises ValueError for a name that there is not, or less than one unit."""
    for name, units in changes.items():
        if name not in RATES:
            raise ValueError(f"there is no rate {name!r}: choose among {', '.join(sorted(RATES))}")
        if units < 1:
            raise ValueError(f"the rate {name} needs at least 1 unit")
    return {name: replace(rate, units=changes.get(name, rate.units)) for name, rate in RATES.items()}


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted in the window before and in the present one, and how much of the present one is over (0 to 1).

    A sliding window, as Cloudflare counts it: the window before weighs as much as of it still lies within the last
    `per_seconds`. It forgets nothing at the turn of a minute, and needs two numbers.
    """

    previous: int
    current: int
    over: float

    def has_room(self, rate: Rate, units: int) -> bool:
        """Whether so many units more fit."""
        return floor(self.previous * (1 - self.over) + self.current) + units <= rate.units

    def wait_seconds(self, rate: Rate, units: int) -> int:
        """Whole seconds until so many units fit, if nobody else takes any; a whole window where they never do."""
        if self.has_room(rate, units):
            return 0
        room = rate.units - units
        if room < 0:
            return rate.per_seconds
        if self.current <= room:  # the window before fades within this one
            windows = (1 - self.over) - (room - self.current) / self.previous
        else:  # this one becomes the window before, and fades in its turn
            windows = (1 - self.over) + 1 - room / self.current
        return max(1, ceil(windows * rate.per_seconds))
