"""One GraphQL request to one answer, for both doors of people (`graph.http`, `graph.websocket`).

graphql-core runs directly on Strawberry's schema: resolvers, field extensions, permissions and exception
handlers live inside the converted fields, so they work as under `Schema.execute`. What is left out is
Strawberry's schema extensions (an instance per request each), so a schema that has any is refused.

A text is parsed and validated once and remembered; requests share the syntax tree.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from inspect import isawaitable
from typing import Any, NoReturn

import orjson
import strawberry
from graphql import (
    ExecutionResult,
    Executor,
    FragmentDefinitionNode,
    GraphQLError,
    NoSchemaIntrospectionCustomRule,
    OperationType,
    create_source_event_stream,
    execute_root_selection_set,
    execute_subscription_event,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import MaxIntrospectionDepthRule
from opentelemetry.trace import Span
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from domain.errors import RateLimited
from firestore.once import Once
from graph.cost import Estimate, estimate_cost
from graph.following import END, Following, show
from graph.limits import DocumentLimits, HeavyLane, measure_document, over_limit
from graph.operations import Account, Answer, Gate, Open, OperationContext
from graph.plans import Plan, Plans
from graph.requests import GraphQLRequest, discreet
from integrations.tracing import entry

log = logging.getLogger(__name__)


class Pushed(Answer):
    """The answer to an event that several subscribers asked the same of: made once, and written as JSON once."""

    __slots__ = ("encoded",)

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.encoded = orjson.dumps(answer)


class _Unpaid(Exception):
    """Who was to pay for a shared answer has no units left: another who waits for it may have some."""

    def __init__(self, payer: Hashable, refusal: RateLimited) -> None:
        super().__init__(refusal.message)
        self.payer = payer
        self.refusal = refusal


# The subscribers of one event are told within moments of each other, and most answers have some kilobytes. In memory
# one takes several times its bytes as JSON; the largest that there may be, of 20,000 values, has about a million.
_MAX_PUSHED = 1_024
_MAX_PUSHED_BYTES = 8_000_000

# Mutations outlive their client, so they are counted here.
_MAX_RUNNING_MUTATIONS = 1_000

# More errors than a person reads only cost time, and a literal of 100 KB need not come back quoted.
_MAX_ERRORS = 20
_MAX_MESSAGE_CHARS = 500

# Strawberry's quicker test; its signature lacks graphql-core's type guard.
_is_awaitable: Any = optimized_is_awaitable


class _Refused(Exception):
    """The request does not run; `errors` say why."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


class Execution:
    """Runs requests against one schema, within limits. Built once per process.

    Args:
        schema: Strawberry's schema, without schema extensions or custom operation directives.
        present: formats one error that a resolver (or a door's own code, through `present_fault`) raised;
            `original_error` holds the exception. It masks what clients may not read and sets `extensions.code`.
        introspection: off in production, and with it every "Did you mean …".
        gate: lets operations in and hears of their ends; without one, only the texts' own limits hold.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        *,
        present: Callable[[GraphQLError], Mapping[str, Any]],
        limits: DocumentLimits | None = None,
        introspection: bool = False,
        gate: Gate | None = None,
    ) -> None:
        if schema.extensions or schema.directives:
            raise ValueError("Schema extensions and directives would be skipped; use field extensions instead.")
        # Strawberry keeps graphql-core's schema under this name and has no public one.
        self._schema = schema._schema
        self._executor_class: type[Executor[Any]] = schema.execution_context_class
        self._present = present
        self._limits = limits or DocumentLimits()
        self._introspection = introspection
        guard = MaxIntrospectionDepthRule if introspection else NoSchemaIntrospectionCustomRule
        self._rules = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule, guard)
        self._plans = Plans()
        self._gate: Gate = gate or Open()
        self._heavy = HeavyLane()
        self._mutations: set[asyncio.Task[Answer]] = set()
        self._pushed: Once[Pushed] = Once(
            _MAX_PUSHED, weigh=lambda answer: len(answer.encoded), most_bytes=_MAX_PUSHED_BYTES
        )

    @property
    def planned_texts(self) -> int:
        """Distinct texts remembered now, at most 256: what the tests hold that bound by."""
        return len(self._plans)

    async def execute(self, request: GraphQLRequest, context: OperationContext) -> Answer:
        """Runs one query or mutation; a mutation runs to its end even if the caller is cancelled.

        Never raises for what a client sent: `{"errors": […]}` without `data` is a refused request.
        """
        answer = await self._accounted(request, context, streams=False)
        assert isinstance(answer, dict), "only `subscribe` streams"
        return answer

    async def subscribe(
        self, request: GraphQLRequest, context: OperationContext
    ) -> Answer | AsyncGenerator[Answer, None]:
        """Runs any operation: a subscription gives a stream of answers, everything else one answer.

        A subscription that cannot start gives `{"errors": […]}`. Each event runs with `context.fresh()`,
        so that a socket open for a day does not read a day-old loader. An event that has a `share_key` runs
        once for all who ask the same of it, and the key holds all that the answer depends on; one of them pays for it.
        An answer without `data` inside the stream is its last: the source failed, or nobody's units pay for more.
        """
        return await self._accounted(request, context, streams=True)

    async def _accounted(
        self, request: GraphQLRequest, context: OperationContext, *, streams: bool
    ) -> Answer | AsyncGenerator[Answer, None]:
        """Run an operation and tell the gate, a trace, and the client what it took."""
        account = Account()
        began = time.perf_counter()
        with entry("graphql", sent=request.extensions) as seen, self._gate.measure() as used:
            outcome = await self._begin(request, context, account, seen, streams=streams)
            answer = outcome if isinstance(outcome, dict) else None
            show(seen, account, answer)
        account.use(used, time.perf_counter() - began)
        self._gate.ended(account, context, answer)
        if answer is not None and account.limit is not None:
            answer["extensions"] = {"cost": account.cost}
        return outcome

    async def _begin(
        self, request: GraphQLRequest, context: OperationContext, account: Account, seen: Span, *, streams: bool
    ) -> Answer | AsyncGenerator[Answer, None]:
        try:
            self._gate.knock(context)
            executor, estimate = self._executor(request, context)
            kind = executor.operation.operation
            account.kind, account.requested = kind.value, estimate.reads
            account.name = executor.operation.name.value if executor.operation.name else None
            account.fields = tuple(dict.fromkeys(node.name.value for node in estimate.roots))
            if kind is OperationType.SUBSCRIPTION and not streams:
                self._refuse(
                    "Subscriptions run at this same address over WebSocket (graphql-transport-ws), or as a POST that "
                    "accepts text/event-stream."
                )
            await self._gate.admit(account, estimate, executor.variable_values.coerced, context)
            if kind is not OperationType.SUBSCRIPTION:
                async with self._heavy.enter(estimate.values):
                    return await self._run(executor)
            source = create_source_event_stream(executor)
            source = await source if isawaitable(source) else source
        except _Refused as refused:
            return await self._refused(refused, request, account, context)
        except Exception as fault:  # A fault of ours or of graphql-core before any resolver: masked like the rest.
            return self.present_fault(fault)
        if isinstance(source, ExecutionResult):
            return {"errors": [self._present(error) for error in source.errors or ()]}
        asked = (request.query, request.operation_name, orjson.dumps(request.variables, option=orjson.OPT_SORT_KEYS))
        following = Following(self._gate, account, context, seen)
        tell = self._teller(executor, estimate, context, following, asked)
        return self._events(source, tell, following)

    async def _refused(
        self, refused: _Refused, request: GraphQLRequest, account: Account, context: OperationContext
    ) -> Answer:
        if account.limit is None:  # nobody has counted it
            try:
                await self._gate.refused(context)
            except Exception as too_many:
                return self.present_fault(too_many)
        return _refusal(refused.errors, request.variables)

    def present_fault(self, fault: Exception) -> Answer:
        """The answer for an exception outside resolvers, such as a refused token."""
        error = fault if isinstance(fault, GraphQLError) else GraphQLError(str(fault), original_error=fault)
        return {"errors": [self._present(error)]}

    async def drain(self, timeout_seconds: float) -> int:
        """Waits for running mutations, for shutdown; returns how many were still running."""
        if self._mutations:
            await asyncio.wait(self._mutations, timeout=timeout_seconds)
        return len(self._mutations)

    def _plan(self, text: str) -> Plan:
        plan = self._plans.get(text)
        if plan is not None:
            return plan
        limits = self._limits
        try:
            document = parse(
                text,
                max_lexical_tokens=limits.max_tokens,
                max_comments=limits.max_comments,
                max_source_length=limits.max_source_chars,
            )
            measure_document(document, limits)
        except GraphQLError as error:
            log.info("document refused: %s", error.message[:_MAX_MESSAGE_CHARS])
            raise _Refused([error]) from None
        errors = validate(
            self._schema,
            document,
            self._rules,
            max_errors=_MAX_ERRORS,
            hide_suggestions=not self._introspection,
        )
        if errors:
            raise _Refused(errors)
        fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        plan = Plan(document, fragments)
        self._plans.keep(text, plan)
        return plan

    def _executor(self, request: GraphQLRequest, context: OperationContext) -> tuple[Executor[Any], Estimate]:
        """The chosen operation with its variables, ready to run, and what it asks for; raises _Refused."""
        plan = self._plan(request.query)
        built = self._executor_class.build(
            self._schema,
            plan.document,
            context_value=context,
            raw_variable_values=request.variables,
            operation_name=request.operation_name,
            max_coercion_errors=_MAX_ERRORS,
            is_awaitable=_is_awaitable,
            hide_suggestions=not self._introspection,
        )
        if isinstance(built, list):
            raise _Refused(built)
        found = plan.estimates.get(request.operation_name)
        if found is None:
            found = estimate_cost(
                self._schema, built.operation, plan.fragments, built.variable_values.coerced, self._limits
            )
            if not found.varies:
                plan.estimates[request.operation_name] = found
        if found.values > self._limits.max_values:
            error = over_limit(
                f"The answer could hold {found.values} values; at most {self._limits.max_values} are answered."
                " Ask for smaller pages (`first`) or fewer fields.",
                built.operation,
                cost=found.values,
                limit=self._limits.max_values,
            )
            log.info("operation refused: %s", error.message)
            raise _Refused([error])
        return built, found

    async def _run(self, executor: Executor[Any]) -> Answer:
        if executor.operation.operation is not OperationType.MUTATION:
            return await self._finish(executor)
        if len(self._mutations) >= _MAX_RUNNING_MUTATIONS:
            self._refuse("Too many changes are under way; try again in a second.", code="UNAVAILABLE")
        # A client that leaves must not stop a mutation between two of its fields.
        task = asyncio.create_task(self._finish(executor))
        self._mutations.add(task)
        task.add_done_callback(self._mutations.discard)
        return await asyncio.shield(task)

    async def _finish(self, executor: Executor[Any]) -> Answer:
        try:
            result = execute_root_selection_set(executor)
            return self._answer(await result if isawaitable(result) else result)
        except Exception as fault:  # graphql-core collects resolvers' errors; what is left is its own or ours.
            return {**self.present_fault(fault), "data": None}

    def _teller(
        self,
        executor: Executor[Any],
        estimate: Estimate,
        context: OperationContext,
        following: Following,
        asked: Hashable,
    ) -> Callable[[Any], Awaitable[Answer]]:
        """What makes an event's payload an answer. It raises RateLimited when the viewer has asked for too much."""

        async def run(event: Executor[Any]) -> Answer:
            async with self._heavy.enter(estimate.values):
                event.context_value = fresh = context.fresh()

                async def answer() -> Answer:
                    result = execute_subscription_event(event)
                    return self._answer(await result if isawaitable(result) else result)

                return await following.execute(fresh, answer)

        async def share(event: Executor[Any]) -> Pushed:
            try:
                await self._gate.charge(estimate, context)
            except RateLimited as refusal:
                raise _Unpaid(self._gate.payer(context), refusal) from None
            return Pushed(await run(event))

        async def tell(payload: Any) -> Answer:
            event = executor.build_per_event_executor(payload)
            key = getattr(payload, "share_key", None)
            if key is None:
                await self._gate.charge(estimate, context)
                return await run(event)
            while True:  # each turn, one payer has no units left and goes with all of theirs; one of the others pays
                try:
                    return await self._pushed.get((asked, key), lambda: share(event))
                except _Unpaid as unpaid:
                    if unpaid.payer == self._gate.payer(context):
                        raise unpaid.refusal from None

        return tell

    async def _events(
        self, source: Any, tell: Callable[[Any], Awaitable[Answer]], following: Following
    ) -> AsyncGenerator[Answer, None]:
        last: Answer | None = None
        async with aclosing(source):
            try:
                while (payload := await following.next(source)) is not END:
                    yield await tell(payload)
            except Exception as fault:  # The source ends here, and the client learns that it did.
                last = self.present_fault(fault)
                yield last
            finally:
                following.end(last)

    def _answer(self, result: ExecutionResult) -> Answer:
        if not result.errors:
            return {"data": result.data}
        return {"errors": [self._present(error) for error in result.errors], "data": result.data}

    def _refuse(self, message: str, code: str = "BAD_USER_INPUT") -> NoReturn:
        raise _Refused([GraphQLError(message, extensions={"code": code})])


def _refusal(errors: Sequence[GraphQLError], variables: Mapping[str, Any] | None) -> Answer:
    """Errors about the request itself: their texts speak only of what the client sent, so none is masked."""
    return {
        "errors": [
            {
                **error.formatted,
                "message": discreet(error.message[:_MAX_MESSAGE_CHARS], variables),
                "extensions": {"code": "BAD_USER_INPUT", **(error.extensions or {})},
            }
            for error in errors
        ]
    }
