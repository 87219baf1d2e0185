"""One operation as its doors see it: who asks, what it asked for and used, and who lets it in."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self

from graph.cost import Estimate

Answer = dict[str, Any]
"""A GraphQL response: `data` is absent when the request was refused before it ran."""


class OperationContext(Protocol):
    """What both doors need of the context that resolvers get; the application's own class satisfies it."""

    @property
    def request_id(self) -> str: ...
    @property
    def user_id(self) -> str | None:
        """Whose sockets are counted together; None for a guest."""

    @property
    def expires_at(self) -> datetime | None:
        """When the sign-in behind it ends (aware, UTC); None if it does not."""

    async def recheck(self) -> bool:
        """Whether the sign-in still holds: False once it is revoked."""

    def fresh(self) -> Self:
        """The same viewer for another operation: new loaders, new request id."""


class Used(Protocol):
    """What the backend was asked while an operation ran."""

    rpcs: int
    reads: int
    writes: int


@dataclass(slots=True)
class Account:
    """What one operation asked for and used. It holds nothing of its variables.

    `kind` is query, mutation, subscription for one that has begun, event for each that a subscription executed, or
    stream for its end, with what it took altogether in `whole`. `fields` are its root fields, each once; `requested`
    and `limit` are in backend reads (`graph.cost`), and None where the text was refused before it was counted.
    """

    name: str | None = None
    kind: str = "none"
    fields: tuple[str, ...] = ()
    requested: int | None = None
    limit: int | None = None
    seconds: float = 0.0
    rpcs: int = 0
    reads: int = 0
    writes: int = 0
    whole: Mapping[str, int] | None = None

    def use(self, used: Used, seconds: float) -> None:
        """Take down what it used."""
        self.rpcs, self.reads, self.writes, self.seconds = used.rpcs, used.reads, used.writes, seconds

    @property
    def cost(self) -> dict[str, int | None]:
        """What the answer's `extensions.cost` says. What was really read stays ours: a thing that is missing takes
        fewer reads than one that the caller may not see, and the two must look the same (T-Z01)."""
        return {"requested": self.requested, "limit": self.limit}


class Gate(Protocol):
    """Who lets operations in, and hears of each one's end. `context` is the one that the doors were given, whatever the
    application made of it."""

    async def admit(self, account: Account, estimate: Estimate, variables: Mapping[str, Any], context: Any) -> None:
        """Set `account.limit`. Raises what refuses the operation: too costly, too many, or nobody can tell."""

    async def charge(self, estimate: Estimate, context: Any) -> None:
        """Count one execution of an event, for a subscription that was admitted. Raises what ends the subscription."""

    def payer(self, context: Any) -> Hashable:
        """Whose units count, and where: who is refused, is refused with all who have the same."""

    def knock(self, context: Any) -> None:
        """Before a document is looked at at all: raises for who has sent too much that was refused."""

    async def refused(self, context: Any) -> None:
        """Count a document that does not run. Raises for one too many."""

    def measure(self) -> AbstractContextManager[Used]:
        """Count what the backend is asked in the block, and on where the same is entered again."""

    def ended(self, account: Account, context: Any, answer: Answer | None) -> None:
        """Take note of an answer; None for a subscription that has begun, or whose source has ended by itself."""


class Open:
    """A gate that lets everything in, and counts nothing."""

    async def admit(self, account: Account, estimate: Estimate, variables: Mapping[str, Any], context: Any) -> None:
        """Set no limit."""

    async def charge(self, estimate: Estimate, context: Any) -> None:
        """Events are free."""

    def payer(self, context: Any) -> Hashable:
        """Nobody pays."""
        return None

    def knock(self, context: Any) -> None:
        """Everybody may."""

    async def refused(self, context: Any) -> None:
        """Nobody counts."""

    def measure(self) -> AbstractContextManager[Used]:
        return nullcontext(Account())

    def ended(self, account: Account, context: Any, answer: Answer | None) -> None:
        """Nobody is told."""
