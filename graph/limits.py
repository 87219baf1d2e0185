"""What a GraphQL document may ask for, measured on its text before any resolver runs; and a socket's bounds.

`measure_document` reads the bare syntax tree (no schema), so it also protects validation, whose field-merging rule is
quadratic. Fragments are counted once and multiplied, never walked twice. What an operation costs, which needs types and
variables, is `graph.cost`.

`@skip` and `@include` are counted as if the field were asked for: a limit is on the shape of the text.
The figures follow the OWASP GraphQL cheat sheet and graphql-armor, widened where Relay connections
need it (`viewer { sessions { edges { node { agent { listing { …` is ten deep before it is unusual).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    TokenKind,
)

from domain.errors import RateLimited

# Python frames that one walk may nest: depth limits count fields only, and inline fragments nest for free.
_MAX_NESTED_SETS = 64

# Introspection is bounded by its own depth: a standard introspection query is fifteen deep.
_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """Upper bounds of one document; the unit is in each name (`max_depth`: nested fields, a root field is 1).

    `max_values` counts values in the answer: a field of each object, times the size of every list around it.
    It is about half a second of graphql-core's time, so that one request cannot hold the loop for longer.
    """

    max_source_chars: int = 100_000
    max_tokens: int = 2_000
    max_comments: int = 500
    max_directives: int = 50
    max_depth: int = 12
    max_introspection_depth: int = 20
    max_root_fields: int = 20
    max_selections: int = 1_000
    max_operations: int = 50
    max_field_pairs: int = 5_000
    """Pairs of fields that share a place in the answer: what the validation rule on merging compares, one by one."""
    max_values: int = 20_000
    default_page_items: int = 20
    """Items of a connection whose `first` is left out (contract: default 20)."""
    assumed_list_items: int = 10
    """Items of a list that takes no `first` and declares no size (`graph.sizes`)."""


@dataclass(frozen=True, slots=True)
class _Size:
    """A selection set after fragment expansion: all selections, nested fields, fields of the first level."""

    selections: int = 0
    depth: int = 0
    width: int = 0


def over_limit(message: str, *nodes: FieldNode | OperationDefinitionNode, **facts: int) -> GraphQLError:
    """The error of a request that is well formed and asks for too much; `facts` go into its extensions."""
    return GraphQLError(message, list(nodes), extensions={"code": "COST_LIMIT_EXCEEDED", **facts})


def measure_document(document: DocumentNode, limits: DocumentLimits) -> None:
    """Refuses a document that is too large once its fragments are expanded.

    Raises:
        GraphQLError: COST_LIMIT_EXCEEDED above a limit, BAD_USER_INPUT for a fragment that contains itself.
    """
    directives = _count_directives(document)
    if directives > limits.max_directives:
        raise over_limit(f"The document has {directives} directives; at most {limits.max_directives} fit.")
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) > limits.max_operations:
        raise over_limit(f"The document has {len(operations)} operations; send the one that should run.")
    walk = _Walk(document, limits)
    for operation in operations:
        walk.check(operation)


def _count_directives(document: DocumentNode) -> int:
    """Every `@` of the document, read from the parser's token chain (bounded by `max_tokens`)."""
    count = 0
    token = document.loc.start_token if document.loc else None
    while token is not None:
        count += token.kind is TokenKind.AT
        token = token.next
    return count


class _Walk:
    """One pass over the operations of one document; a fragment's size is remembered."""

    def __init__(self, document: DocumentNode, limits: DocumentLimits) -> None:
        self._limits = limits
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._sizes: dict[str, _Size] = {}
        self._open: set[str] = set()

    def check(self, operation: OperationDefinitionNode) -> None:
        size = self._measure(operation.selection_set, 0)
        if size.width > self._limits.max_root_fields:
            raise over_limit(
                f"The operation asks for {size.width} root fields (aliases and fragments counted);"
                f" send at most {self._limits.max_root_fields} at a time.",
                operation,
            )
        if size.depth > self._limits.max_depth:
            raise over_limit(
                f"The operation is {size.depth} fields deep; at most {self._limits.max_depth} are answered.",
                operation,
            )
        if self._pairs([operation.selection_set]) > self._limits.max_field_pairs:
            raise over_limit("The operation repeats the same fields too often; ask for each field once.", operation)

    def _pairs(self, merged: list[SelectionSetNode]) -> int:
        """Pairs of equal response names among sets that merge, and below them; `_measure` bounds the walk."""
        below: dict[str, list[SelectionSetNode]] = {}
        times: Counter[str] = Counter()
        for field in self._fields_of(merged):
            name = field.alias.value if field.alias else field.name.value
            times[name] += 1
            if field.selection_set:
                below.setdefault(name, []).append(field.selection_set)
        return sum(n * (n - 1) // 2 for n in times.values()) + sum(map(self._pairs, below.values()))

    def _fields_of(self, sets: list[SelectionSetNode]) -> Iterator[FieldNode]:
        for selection_set in sets:
            for node in selection_set.selections:
                if isinstance(node, FieldNode):
                    yield node
                elif isinstance(node, FragmentSpreadNode):
                    fragment = self._fragments.get(node.name.value)
                    yield from self._fields_of([fragment.selection_set] if fragment else [])
                else:
                    yield from self._fields_of([inline_of(node).selection_set])

    def _measure(self, selection_set: SelectionSetNode | None, nested: int) -> _Size:
        if selection_set is None:
            return _Size()
        if nested > _MAX_NESTED_SETS:
            raise over_limit(
                f"The document nests selections too deeply; at most {self._limits.max_depth} fields are answered."
            )
        selections = depth = width = 0
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                inner = self._measure(node.selection_set, nested + 1)
                deep = self._introspection_depth(node, inner) if node.name.value in _INTROSPECTION else inner.depth
                inner = _Size(inner.selections, deep + 1, 1)
            elif isinstance(node, FragmentSpreadNode):
                inner = self._measure_fragment(node.name.value, nested + 1)
            else:
                inner = self._measure(inline_of(node).selection_set, nested + 1)
            selections += 1 + inner.selections
            depth = max(depth, inner.depth)
            width += inner.width
            if selections > self._limits.max_selections:
                raise over_limit(
                    f"The operation has more than {self._limits.max_selections} selections"
                    " once its fragments are expanded; ask for less at a time."
                )
        return _Size(selections, depth, width)

    def _introspection_depth(self, node: FieldNode, inner: _Size) -> int:
        if inner.depth >= self._limits.max_introspection_depth:
            raise over_limit(f"Introspection deeper than {self._limits.max_introspection_depth} is refused.", node)
        return 0

    def _measure_fragment(self, name: str, nested: int) -> _Size:
        if name in self._sizes:
            return self._sizes[name]
        if name in self._open:
            raise GraphQLError(
                f"Fragment '{name}' contains itself; a fragment must end.", extensions={"code": "BAD_USER_INPUT"}
            )
        fragment = self._fragments.get(name)
        if fragment is None:
            return _Size()  # Validation names the missing fragment.
        self._open.add(name)
        size = self._measure(fragment.selection_set, nested)
        self._open.discard(name)
        self._sizes[name] = size
        return size


def inline_of(node: SelectionNode) -> InlineFragmentNode:
    """What a selection is that is neither a field nor a spread."""
    # The third and last kind of selection that the grammar knows.
    assert isinstance(node, InlineFragmentNode)
    return node


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of one socket and of the door; the unit is in each name."""

    init_timeout_seconds: float = 10.0
    ping_interval_seconds: float = 25.0
    recheck_seconds: float = 50.0
    """A revoked sign-in is gone within a minute, with the check's own time."""
    leave_timeout_seconds: float = 5.0
    max_message_bytes: int = 102_400
    max_operations: int = 100
    max_subscribes_per_second: float = 50.0
    subscribe_burst: int = 200
    """A client that comes back may restore all of its operations at once, and then some."""
    max_queued_messages: int = 256
    max_queued_bytes: int = 1_000_000
    slow_consumer_seconds: float = 10.0
    max_sockets_per_user: int = 20
    max_sockets_per_address: int = 200
    max_sockets: int = 10_000


class TokenBucket:
    """A token bucket: `rate` a second, `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """One token at `now` (seconds of any steady clock); False if none is left."""
        if self._at is not None:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class HeavyLane:
    """Large answers are made few at a time: graphql-core completes a list without giving the loop to anybody else, and
    between two of them everybody's small ones go first (T-G13).
    """

    HEAVY_VALUES = 2_000
    """From here on an operation is large: some 50 ms of the loop."""
    AT_ONCE = 2
    """One is made while the other waits for the backend."""
    WAITING_MAX = 64
    """Each takes half a second of the loop: the last of them waits half a minute, and more are told to come back."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(self.AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def enter(self, values: int) -> AsyncIterator[None]:
        """Hold a place while an operation of so many values runs. Raises RateLimited when too many wait."""
        if values < self.HEAVY_VALUES:
            yield
            return
        if self._waiting >= self.WAITING_MAX:
            raise RateLimited("Too many large queries wait; ask for smaller pages.", retry_after_seconds=5)
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()
