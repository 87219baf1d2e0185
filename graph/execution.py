"""One GraphQL request to one answer, for both doors of people (`graph.http`, `graph.websocket`).

graphql-core runs directly on Strawberry's schema: resolvers, field extensions, permissions and exception
handlers live inside the converted fields, so they work as under `Schema.execute`. What is left out is
Strawberry's schema extensions (an instance per request each), so a schema that has any is refused.

A text is parsed and validated once and remembered; requests share the syntax tree.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from inspect import isawaitable
from typing import Any, NoReturn, Protocol, Self

import orjson
import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    Executor,
    FragmentDefinitionNode,
    GraphQLError,
    NoSchemaIntrospectionCustomRule,
    OperationType,
    create_source_event_stream,
    execute_root_selection_set,
    execute_subscription_event,
    map_source_to_response_event,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import MaxIntrospectionDepthRule
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from graph.limits import DocumentLimits, estimate_cost, measure_document, over_limit

log = logging.getLogger(__name__)

Answer = dict[str, Any]
"""A GraphQL response: `data` is absent when the request was refused before it ran."""

# A client uses a handful of texts; a few hundred serve every released client. Trees take far more than text.
_MAX_PLANS = 256
_MAX_PLANNED_CHARS = 2_000_000

# Mutations outlive their client, so they are counted here.
_MAX_RUNNING_MUTATIONS = 1_000

# More errors than a person reads only cost time, and a literal of 100 KB need not come back quoted.
_MAX_ERRORS = 20
_MAX_MESSAGE_CHARS = 500

# Strawberry's quicker test; its signature lacks graphql-core's type guard.
_is_awaitable: Any = optimized_is_awaitable

_INT64 = range(-(2**63), 2**63)


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


class MalformedRequest(ValueError):
    """The body or message is no GraphQL request; the text says what to send."""


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """The parameters of the GraphQL-over-HTTP specification, section 5."""

    query: str
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, value: object) -> GraphQLRequest:
        """Raises MalformedRequest unless `value` is one JSON object of the right types; no batches."""
        if not isinstance(value, dict):
            raise MalformedRequest('Send one JSON object: {"query": "…", "variables": {…}}. Batches are not taken.')
        query, name = value.get("query"), value.get("operationName")
        variables, extensions = value.get("variables"), value.get("extensions")
        if not isinstance(query, str):
            raise MalformedRequest("`query` must be a string with the GraphQL document.")
        if name is not None and not isinstance(name, str):
            raise MalformedRequest("`operationName` must be a string or null.")
        if variables is not None and not isinstance(variables, dict):
            raise MalformedRequest("`variables` must be an object or null.")
        if extensions is not None and not isinstance(extensions, dict):
            raise MalformedRequest("`extensions` must be an object or null.")
        return cls(query, name, variables, extensions)


def decode_json(raw: bytes) -> object:
    """Strict JSON: UTF-8 without BOM, finite numbers, integers of 64 bits, no key twice, 1,000 levels at most.

    orjson checks the bytes (it also refuses lone surrogates, which could not be sent back); the standard
    library's decoder is then asked for what orjson lets pass: a key given twice, an integer turned float.
    Raises MalformedRequest with a sentence about the first offence.
    """
    try:
        orjson.loads(raw)
        return _JSON.decode(raw.decode())
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"The JSON cannot be read: {error}.") from None
    except RecursionError:
        raise MalformedRequest("The JSON is nested too deeply.") from None


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedRequest("The JSON gives a key twice in one object; send each key once.")
    return found


def _int64(digits: str) -> int:
    # The length comes first: reading a hundred thousand digits is itself the attack.
    if len(digits) > 20 or (number := int(digits)) not in _INT64:
        raise MalformedRequest("The JSON holds an integer beyond 64 bits; send such a number as a string.")
    return number


_JSON = json.JSONDecoder(object_pairs_hook=_object_of, parse_int=_int64)


class _Refused(Exception):
    """The request does not run; `errors` say why."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


@dataclass(slots=True)
class _Plan:
    """A validated text. `costs` holds, per operation name, a cost that no variable changes."""

    document: DocumentNode
    fragments: dict[str, FragmentDefinitionNode]
    costs: dict[str | None, int] = field(default_factory=dict)


class _Plans:
    """The texts used last, in bounds. Refused texts are not kept: garbage must not push out what clients use."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Plan] = OrderedDict()
        self._chars = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, text: str) -> _Plan | None:
        plan = self._kept.get(text)
        if plan is not None:
            self._kept.move_to_end(text)
        return plan

    def keep(self, text: str, plan: _Plan) -> None:
        self._kept[text] = plan
        self._chars += len(text)
        while len(self._kept) > _MAX_PLANS or self._chars > _MAX_PLANNED_CHARS:
            dropped, _ = self._kept.popitem(last=False)
            self._chars -= len(dropped)


class Execution:
    """Runs requests against one schema, within limits. Built once per process.

    Args:
        schema: Strawberry's schema, without schema extensions or custom operation directives.
        present: formats one error that a resolver (or a door's own code, through `present_fault`) raised;
            `original_error` holds the exception. It masks what clients may not read and sets `extensions.code`.
        introspection: off in production, and with it every "Did you mean …".
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        *,
        present: Callable[[GraphQLError], Mapping[str, Any]],
        limits: DocumentLimits | None = None,
        introspection: bool = False,
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
        self._plans = _Plans()
        self._mutations: set[asyncio.Task[Answer]] = set()

    @property
    def planned_texts(self) -> int:
        """Distinct texts remembered now (at most 256), for metrics."""
        return len(self._plans)

    async def execute(self, request: GraphQLRequest, context: OperationContext) -> Answer:
        """Runs one query or mutation; a mutation runs to its end even if the caller is cancelled.

        Never raises for what a client sent: `{"errors": […]}` without `data` is a refused request.
        """
        try:
            executor = self._executor(request, context)
            if executor.operation.operation is OperationType.SUBSCRIPTION:
                self._refuse("Subscriptions run over WebSocket (graphql-transport-ws) at this same address.")
            return await self._run(executor)
        except _Refused as refused:
            return _refusal(refused.errors)
        except Exception as fault:  # A fault of ours or of graphql-core before any resolver: masked like the rest.
            return self.present_fault(fault)

    async def subscribe(
        self, request: GraphQLRequest, context: OperationContext
    ) -> Answer | AsyncGenerator[Answer, None]:
        """Runs any operation: a subscription gives a stream of answers, everything else one answer.

        A subscription that cannot start gives `{"errors": […]}`. Each event runs with `context.fresh()`,
        so that a socket open for a day does not read a day-old loader. An answer without `data` inside
        the stream is its last: the source failed.
        """
        try:
            executor = self._executor(request, context)
            if executor.operation.operation is not OperationType.SUBSCRIPTION:
                return await self._run(executor)
            source = create_source_event_stream(executor)
            source = await source if isawaitable(source) else source
        except _Refused as refused:
            return _refusal(refused.errors)
        except Exception as fault:
            return self.present_fault(fault)
        if isinstance(source, ExecutionResult):
            return {"errors": [self._present(error) for error in source.errors or ()]}
        return self._events(executor, source, context)

    def present_fault(self, fault: Exception) -> Answer:
        """The answer for an exception outside resolvers, such as a refused token."""
        error = fault if isinstance(fault, GraphQLError) else GraphQLError(str(fault), original_error=fault)
        return {"errors": [self._present(error)]}

    async def drain(self, timeout_seconds: float) -> int:
        """Waits for running mutations, for shutdown; returns how many were still running."""
        if self._mutations:
            await asyncio.wait(self._mutations, timeout=timeout_seconds)
        return len(self._mutations)

    def _plan(self, text: str) -> _Plan:
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
        plan = _Plan(document, fragments)
        self._plans.keep(text, plan)
        return plan

    def _executor(self, request: GraphQLRequest, context: OperationContext) -> Executor[Any]:
        """The chosen operation with its variables, within limits, ready to run; raises _Refused."""
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
        cost = plan.costs.get(request.operation_name)
        if cost is None:
            found = estimate_cost(
                self._schema, built.operation, plan.fragments, built.variable_values.coerced, self._limits
            )
            cost = found.cost
            if not found.varies:
                plan.costs[request.operation_name] = cost
        if cost > self._limits.max_cost:
            error = over_limit(
                f"The answer could hold {cost} values; at most {self._limits.max_cost} are answered."
                " Ask for smaller pages (`first`) or fewer fields.",
                built.operation,
            )
            log.info("operation refused: %s", error.message)
            raise _Refused([error])
        return built

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

    async def _events(
        self, executor: Executor[Any], source: Any, context: OperationContext
    ) -> AsyncGenerator[Answer, None]:
        def run_event(event: Executor[Any]) -> Any:
            event.context_value = context.fresh()
            return execute_subscription_event(event)

        async with aclosing(map_source_to_response_event(executor, source, run_event)) as events:
            try:
                async for result in events:
                    yield self._answer(result)
            except Exception as fault:  # The source ends here, and the client learns that it did.
                yield self.present_fault(fault)

    def _answer(self, result: ExecutionResult) -> Answer:
        if not result.errors:
            return {"data": result.data}
        return {"errors": [self._present(error) for error in result.errors], "data": result.data}

    def _refuse(self, message: str, code: str = "BAD_USER_INPUT") -> NoReturn:
        raise _Refused([GraphQLError(message, extensions={"code": code})])


def _refusal(errors: Sequence[GraphQLError]) -> Answer:
    """Errors about the request itself: their texts speak only of what the client sent, so none is masked."""
    return {
        "errors": [
            {
                **error.formatted,
                "message": error.message[:_MAX_MESSAGE_CHARS],
                "extensions": {"code": "BAD_USER_INPUT", **(error.extensions or {})},
            }
            for error in errors
        ]
    }
