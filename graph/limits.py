"""What a GraphQL document may ask for, measured on its text before any resolver runs; and a socket's bounds.

Two measures of a document, each linear in the size of the document:

* `measure_document` reads the bare syntax tree (no schema), so it also protects validation, whose
  field-merging rule is quadratic. Fragments are counted once and multiplied, never walked twice.
* `estimate_cost` reads the tree with its types and variables: how many values the answer can hold.

`@skip` and `@include` are counted as if the field were asked for: a limit is on the shape of the text.
The figures follow the OWASP GraphQL cheat sheet and graphql-armor, widened where Relay connections
need it (`viewer { sessions { edges { node { agent { listing { …` is ten deep before it is unusual).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    TokenKind,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
    value_from_ast_untyped,
)

# Python frames that one walk may nest: depth limits count fields only, and inline fragments nest for free.
_MAX_NESTED_SETS = 64

# Introspection is bounded by its own depth: a standard introspection query is fifteen deep.
_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """Upper bounds of one document; the unit is in each name (`max_depth`: nested fields, a root field is 1).

    `max_cost` counts values in the answer: a field of each object, times the size of every list around it.
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
    max_cost: int = 20_000
    default_page_items: int = 20
    """Items of a connection whose `first` is left out (contract: default 20)."""
    assumed_list_items: int = 10
    """Items of a list that takes no `first`, such as an agent's badges."""


@dataclass(frozen=True, slots=True)
class _Size:
    """A selection set after fragment expansion: all selections, nested fields, fields of the first level."""

    selections: int = 0
    depth: int = 0
    width: int = 0


def over_limit(message: str, *nodes: FieldNode | OperationDefinitionNode) -> GraphQLError:
    """The error of a request that is well formed and asks for too much."""
    return GraphQLError(message, list(nodes), extensions={"code": "COST_LIMIT_EXCEEDED"})


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
                    yield from self._fields_of([_inline(node).selection_set])

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
                inner = self._measure(_inline(node).selection_set, nested + 1)
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


def _inline(node: SelectionNode) -> InlineFragmentNode:
    # The third and last kind of selection that the grammar knows.
    assert isinstance(node, InlineFragmentNode)
    return node


@dataclass(slots=True)
class Estimate:
    """Values that an answer can hold, and whether another set of variables would change the figure."""

    cost: int = 0
    varies: bool = False


def estimate_cost(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
    limits: DocumentLimits,
) -> Estimate:
    """How many values the answer can hold; for a validated operation within `measure_document`'s limits.

    A field that takes `first` yields that many items: itself when it is a list, else through the lists
    directly inside it (`edges`, `nodes`). A list asked for by `ids` is as long as `ids`. `first` is not
    clamped here: who asks for a million is told so, whatever the resolver would have made of it.
    """
    root = schema.get_root_type(operation.operation)
    pricing = _Pricing(schema, fragments, variables, limits)
    pricing.estimate.cost = pricing.price(operation.selection_set, root, limits.assumed_list_items)
    return pricing.estimate


class _Pricing:
    """One walk over a typed operation; expansion is bounded by `max_selections`, so it is walked outright."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        limits: DocumentLimits,
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self._limits = limits
        self.estimate = Estimate()

    def price(self, selection_set: SelectionSetNode | None, parent: GraphQLNamedType | None, items: int) -> int:
        """Values under one object of `parent`, whose plain lists hold `items` each."""
        if selection_set is None or parent is None:
            return 0
        total = 0
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                total += self._price_field(node, parent, items)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                on = self._schema.get_type(fragment.type_condition.name.value)
                total += self.price(fragment.selection_set, on, items)
            else:
                inline = _inline(node)
                named = inline.type_condition
                on = self._schema.get_type(named.name.value) if named else parent
                total += self.price(inline.selection_set, on, items)
        return total

    def _price_field(self, node: FieldNode, parent: GraphQLNamedType, items: int) -> int:
        field = None if node.name.value.startswith("__") else self._schema.get_field(parent, node.name.value)  # type: ignore[arg-type]
        if field is None or node.selection_set is None:
            return 1
        page = self._page_items(node, field)
        is_list = is_list_type(get_nullable_type(field.type))
        inside = page if page is not None and not is_list else self._limits.assumed_list_items
        inner = self.price(node.selection_set, get_named_type(field.type), inside)
        times = (items if page is None else page) if is_list else 1
        return times * (1 + inner)

    def _page_items(self, node: FieldNode, field: GraphQLField) -> int | None:
        """What `first` or `ids` says, at least 1; None where the field takes neither."""
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        if "first" in field.args:
            first = self._value(given["first"]) if "first" in given else None
            return max(1, first) if isinstance(first, int) else self._limits.default_page_items
        if "ids" in given and "ids" in field.args:
            ids = self._value(given["ids"])
            return max(1, len(ids)) if isinstance(ids, list) else 1
        return None

    def _value(self, node: ValueNode) -> Any:
        if isinstance(node, VariableNode):
            self.estimate.varies = True
            return self._variables.get(node.name.value)
        return value_from_ast_untyped(node) if isinstance(node, IntValueNode | ListValueNode) else None


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
