"""Who is let in: what one operation may cost, and how much anybody may ask for in a while (`domain/rates.py`).

Counted before anything runs, each alias and each fragment's copy by itself (T-G10). Where nobody can count, what only
reads goes on, and what tries passwords or moves money is refused (T-P12).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from graphql import FieldNode, value_from_ast_untyped

from domain.errors import BadInput, RateLimited, Unavailable
from domain.rates import (
    ALONE_FIELDS,
    COST_LIMITS,
    GIVING_FIELDS,
    MONEY_FIELDS,
    OUTSIDE_FIELDS,
    PASSWORD_FIELDS,
    REFUSED_UNITS,
    SEARCH_FIELDS,
    SIGN_IN_FIELDS,
    Caller,
    Rate,
)
from domain.users import Role
from graph.context import Context
from graph.cost import Estimate
from graph.limits import over_limit
from graph.operations import Account, Answer, Used
from integrations.credentials import normalised_email
from integrations.services import RateCounters

NAMED: Mapping[str, frozenset[str]] = {
    "money": MONEY_FIELDS,
    "search": SEARCH_FIELDS,
    "outside": OUTSIDE_FIELDS,
    "giving": GIVING_FIELDS,
}
"""The fields that count in a rate of their own, by the rate's name."""

TURNED_AWAY_MAX = 10_000  # about 3 MB; who falls out is counted again
NOBODY = "unknown"
"""The address of a connection that has none, such as a Unix socket's: all of those count together."""

Told = Callable[[Account, tuple[str, ...]], None]
"""Hears of each operation's end, with the codes of its refusals and errors."""


class Guard:
    """The gate of a process. `measure` counts what the backend is asked; `told` hears of ends."""

    def __init__(
        self,
        counters: RateCounters,
        rates: Mapping[str, Rate],
        measure: Callable[[], AbstractContextManager[Used]],
        told: Told,
    ) -> None:
        self._counters = counters
        self._rates = rates
        self._measure = measure
        self._told = told
        self._turned_away: OrderedDict[str, datetime] = OrderedDict()
        """Who has sent too many documents that were refused, and until when he is not listened to."""

    async def admit(self, account: Account, estimate: Estimate, variables: Mapping[str, Any], context: Context) -> None:
        """Set the account's limit. Raises GraphQLError for a cost above it, RateLimited, Unavailable, and
        Unauthenticated for a guest who asks for what is let through for users alone."""
        account.limit = await self._limit(estimate, context)
        if estimate.reads > account.limit:
            await self.refused(context)
            raise over_limit(
                f"This operation costs {estimate.reads} reads; you may ask for {account.limit} at a time."
                " Ask for smaller pages (`first`) or fewer fields.",
                cost=estimate.reads,
                limit=account.limit,
            )
        for rate, key, units in self._due(estimate, variables, context):
            await self.take(rate, key, units)

    async def charge(self, estimate: Estimate, context: Context) -> None:
        """Count an event's execution as what its subscription asked for. Raises RateLimited.

        A key's own rate counts what the program asks for, and it asks for no event: its owner's units count them. Where
        the counters are apart this is a question to them for each execution, never for each who is told.
        """
        for rate, key, units in self._for_reads(estimate, context):
            await self.take(rate, key, units)

    def payer(self, context: Context) -> Hashable:
        return _subject(context), context.address

    def knock(self, context: Context) -> None:
        """Raises RateLimited for who has sent too many documents that were refused, before another one is parsed. It is
        remembered here, so that an operation which is good costs no question more."""
        until = self._turned_away.get(_subject(context))
        if until is not None and context.now < until:
            raise _too_many(self._rates[_class(context)], max(1, ceil((until - context.now).total_seconds())))

    async def refused(self, context: Context) -> None:
        """Count a document that was refused before it ran. Raises RateLimited."""
        subject, address = _subject(context), _hidden(context.address)
        try:
            for name, key in ((_class(context), subject), ("address", address)):
                await self.take(self._rates[name], key, REFUSED_UNITS)
        except RateLimited as told:
            self._turned_away[subject] = context.now + timedelta(seconds=told.retry_after_seconds or 1)
            self._turned_away.move_to_end(subject)
            while len(self._turned_away) > TURNED_AWAY_MAX:
                self._turned_away.popitem(last=False)
            raise

    def measure(self) -> AbstractContextManager[Used]:
        return self._measure()

    def ended(self, account: Account, context: Context, answer: Answer | None) -> None:
        """Pass on what ended, with every code that the client was told."""
        errors = (answer or {}).get("errors", ())
        codes = (str(error.get("extensions", {}).get("code")) for error in errors)
        self._told(account, (*context.refusals, *codes))

    async def turn_away_guessers(self, address: str) -> None:
        """Raises RateLimited for an address that has tried too many wrong credentials, before another is looked up."""
        rate = self._rates["wrong_credentials"]
        try:
            wait_seconds = await self._counters.wait_seconds(rate, _hidden(address))
        except Unavailable:
            return
        if wait_seconds:
            raise _too_many(rate, wait_seconds)

    async def note_wrong_credentials(self, address: str) -> None:
        """Raises RateLimited once it was one too many."""
        await self.take(self._rates["wrong_credentials"], _hidden(address), 1)

    async def take(self, rate: Rate, key: str, units: int) -> None:
        """Raises RateLimited where the units do not fit, and Unavailable where a strict rate cannot be counted."""
        try:
            wait_seconds = await self._counters.take(rate, key, units)
        except Unavailable:
            if rate.strict:
                raise
            return
        if wait_seconds:
            raise _too_many(rate, wait_seconds)

    async def _limit(self, estimate: Estimate, context: Context) -> int:
        """What the caller may ask for. The role is read only where it decides."""
        alone = len(estimate.roots) == 1 and estimate.roots[0].name.value in ALONE_FIELDS
        if alone:
            if context.user_id is None:
                await self.refused(context)
            _ = context.signed_in
            return estimate.reads
        if context.user_id is None:
            return COST_LIMITS[Caller.GUEST]
        if context.key is not None:
            return COST_LIMITS[Caller.KEY]
        limit = COST_LIMITS[Caller.USER]
        if estimate.reads > limit and await context.role() in (Role.MODERATOR, Role.ADMIN):
            return COST_LIMITS[Caller.STAFF]
        return limit

    def _due(self, estimate: Estimate, variables: Mapping[str, Any], context: Context) -> list[tuple[Rate, str, int]]:
        """The rates that an operation counts in, the narrowest first: rate, key and units."""
        address, subject = _hidden(context.address), _subject(context)
        due: list[tuple[str, str, int]] = []
        entering = [node for node in estimate.roots if node.name.value in SIGN_IN_FIELDS]
        if entering:
            trying = [node for node in entering if node.name.value in PASSWORD_FIELDS]
            for email in filter(None, (_email(node, variables) for node in trying)):
                due += [(name, _hidden(email), 1) for name in ("sign_in_account", "sign_in_account_hourly")]
            due += [(name, address, len(entering)) for name in ("sign_in_address", "sign_in_address_hourly")]
        for name, fields in NAMED.items():
            if count := sum(node.name.value in fields for node in estimate.roots):
                due.append((name, subject, count))
        counted = [(self._rates[name], key, units) for name, key, units in due]
        counted += self._for_reads(estimate, context)
        if context.key is not None and context.key.rate_limit_per_minute is not None:
            own = Rate("key", context.key.rate_limit_per_minute, 60)
            counted.insert(0, (own, context.key.id, len(estimate.roots)))
        return counted

    def _for_reads(self, estimate: Estimate, context: Context) -> list[tuple[Rate, str, int]]:
        """The rates that everything counts in which reads."""
        units = max(1, estimate.reads)
        due = ((_class(context), _subject(context)), ("address", _hidden(context.address)))
        return [(self._rates[name], key, units) for name, key in due]


def _email(node: FieldNode, variables: Mapping[str, Any]) -> str | None:
    """Whose account an attempt is on, in the one spelling that the identity provider knows it by."""
    for argument in node.arguments or ():
        given = value_from_ast_untyped(argument.value, dict(variables))
        email = given.get("email", given.get("confirm")) if isinstance(given, dict) else None
        if isinstance(email, str):
            try:
                return normalised_email(email)
            except BadInput:
                return None  # nobody's: it is refused before any password is looked at
    return None


def _subject(context: Context) -> str:
    """Whose units an operation counts in, beside its address's."""
    return context.user_id or _hidden(context.address)


def _class(context: Context) -> str:
    """The rate of all that such a caller asks for."""
    return "guest" if context.user_id is None else "user"


def _hidden(text: str) -> str:
    """A key that tells whoever reads the counters no address and no e-mail."""
    return hashlib.blake2b((text or NOBODY).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _too_many(rate: Rate, wait_seconds: int) -> RateLimited:
    text = f"Too many requests ({rate.name.replace('_', ' ')}): try again in {wait_seconds} s."
    return RateLimited(text, retry_after_seconds=wait_seconds)
