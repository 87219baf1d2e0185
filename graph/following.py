"""A subscription that has begun: what its source takes, and each event that it executes, counted and traced."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from opentelemetry.trace import Span

from graph.operations import Account, Answer, Gate, OperationContext, Used
from integrations.tracing import apart, say, under

END: Final = object()


class Following:
    """One subscription. What its source reads is counted with the event that follows, or at the end.

    An event is a trace of its own that links to the `begun` span. It is told by who executes it: of many who ask the
    same, one does.
    """

    def __init__(self, gate: Gate, account: Account, context: OperationContext, begun: Span) -> None:
        self._gate = gate
        self._account = replace(account)
        self._context = context
        self._begun = begun
        self._measured = gate.measure()
        self._source: Used = Account()
        self._told = (0, 0, 0)  # of the source's rpcs, reads and writes
        self._sum = {"events": 0, "rpcs": 0, "reads": 0, "writes": 0}
        self._began = time.perf_counter()

    async def next(self, source: AsyncIterator[Any]) -> Any:
        """What the source tells next, or END."""
        with under(self._begun), self._measured as self._source:
            payload = await anext(source, END)
        self._sum["events"] += payload is not END
        return payload

    async def execute(self, context: OperationContext, run: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to one event, in its own context."""
        account = replace(self._account, kind="event")
        began = time.perf_counter()
        with apart("event", self._begun) as seen, self._gate.measure() as used:
            answer = await run()
            show(seen, account, answer)
        account.use(used, time.perf_counter() - began)
        self._tell(account, context, answer)
        return answer

    def end(self, answer: Answer | None) -> None:
        """Tell of the whole; `answer` is the fault that the source ended with, if it did, and only that is traced."""
        account = replace(self._account, kind="stream", whole=self._sum)
        if answer is not None:
            with apart("stream", self._begun) as seen:
                show(seen, account, answer)
        account.use(Account(), time.perf_counter() - self._began)
        self._tell(account, self._context, answer)

    def _tell(self, account: Account, context: OperationContext, answer: Answer | None) -> None:
        source = (self._source.rpcs, self._source.reads, self._source.writes)
        rpcs, reads, writes = (now - told for now, told in zip(source, self._told, strict=True))
        self._told = source
        account.rpcs, account.reads, account.writes = (
            account.rpcs + rpcs,
            account.reads + reads,
            account.writes + writes,
        )
        for name in ("rpcs", "reads", "writes"):
            self._sum[name] += getattr(account, name)
        self._gate.ended(account, context, answer)


def show(seen: Span, account: Account, answer: Answer | None) -> None:
    """Tell a trace the operation's type and root fields, and the code of the first fault: nothing that a client wrote
    is in them, because a text with a field that the schema lacks is refused before its fields are noted."""
    if not seen.is_recording():
        return
    errors = (answer or {}).get("errors", ())
    code = str(errors[0].get("extensions", {}).get("code")) if errors else None
    if account.kind == "none":
        say(seen, "graphql", {}, code)
        return
    kind = "subscription" if account.kind in {"event", "stream"} else account.kind
    attributes = {"graphql.operation.type": kind, "graphql.operation.fields": account.fields}
    say(seen, account.kind, attributes, code)
