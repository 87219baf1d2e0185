"""What an operation asks for, counted on its typed text before any resolver runs.

One walk gives two figures. `values` is the size of the answer, and bounds the time that graphql-core holds the loop.
`reads` is what the backend would read: a page costs its `first`, what hangs on its nodes costs as many times more.
Every field whose resolver is a coroutine may read, so a resolver that begins to read is priced from that day on; a
table has the few that read hundreds at once. The loaders ask for the same record once, so an operation reads at most
what was counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
    value_from_ast_untyped,
)

from graph.limits import DocumentLimits, inline_of
from graph.sizes import Size, size_of

ROOT_READS = {
    OperationType.QUERY: 1,
    OperationType.MUTATION: 10,  # a hire reads 4 documents and writes 5, and a write is paid like two reads or three
    OperationType.SUBSCRIPTION: 10,  # what is replayed before the first event; each one that is executed counts again
}

FIELD_READS: Mapping[str, int] = {
    "marketInsights": 400,  # a sample of that many listings
    "recommendedListings": 250,  # two times 60 candidates, 50 hires with their listings and reviews
    "agentAnalytics": 400,  # the days of the longest range
    "earningsAnalytics": 400,
    "usageAnalytics": 500,  # and the agents of the answer
    "platformAnalytics": 500,
    "walletStatement": 1_600,  # 1,500 entries of the month, and those in front of them until one moved the wallet
    "exportReceipts": 50_000,  # 20,000 entries, a run of the journal for each, digests of eleven years, what came late
}
"""What root fields read that look at much to answer little: an alias of one costs as much again (T-G03)."""

SCALARS_OF_A_VALUE = 10
"""Items of a list of scalars that count as one value: each takes about a microsecond, where a value with its resolver
takes up to 25."""


@dataclass(slots=True)
class Estimate:
    """Values that an answer can hold, documents that it can need, its root fields one by one (an alias is another
    one), and whether another set of variables would change the figures."""

    values: int = 0
    reads: int = 0
    roots: list[FieldNode] = field(default_factory=list)
    varies: bool = False


def estimate_cost(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
    limits: DocumentLimits,
) -> Estimate:
    """The figures of a validated operation within `measure_document`'s limits.

    A field that takes `first` yields that many items: itself when it is a list, else through the lists
    directly inside it (`edges`, `nodes`). A list asked for by `ids` is as long as `ids`, and any other as long as its
    field declares (`graph.sizes`). `first` is not clamped here: who asks for a million is told so, whatever the
    resolver would have made of it.
    """
    root = schema.get_root_type(operation.operation)
    pricing = _Pricing(schema, fragments, variables, limits, root, ROOT_READS[operation.operation])
    found = pricing.estimate
    found.values, found.reads = pricing.price(operation.selection_set, root, limits.assumed_list_items)
    return found


class _Pricing:
    """One walk over a typed operation; expansion is bounded by `max_selections`, so it is walked outright."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        limits: DocumentLimits,
        root: GraphQLNamedType | None,
        root_reads: int,
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self._limits = limits
        self._root = root
        self._root_reads = root_reads
        self.estimate = Estimate()

    def price(
        self, selection_set: SelectionSetNode | None, parent: GraphQLNamedType | None, items: int
    ) -> tuple[int, int]:
        """Values and reads under one object of `parent`, whose plain lists hold `items` each."""
        if selection_set is None or parent is None:
            return 0, 0
        values = reads = 0
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                more = self._price_field(node, parent, items)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                on = self._schema.get_type(fragment.type_condition.name.value)
                more = self.price(fragment.selection_set, on, items)
            else:
                inline = inline_of(node)
                named = inline.type_condition
                on = self._schema.get_type(named.name.value) if named else parent
                more = self.price(inline.selection_set, on, items)
            values, reads = values + more[0], reads + more[1]
        return values, reads

    def _price_field(self, node: FieldNode, parent: GraphQLNamedType, items: int) -> tuple[int, int]:
        if parent is self._root:
            self.estimate.roots.append(node)
        field = None if node.name.value.startswith("__") else self._schema.get_field(parent, node.name.value)  # type: ignore[arg-type]
        if field is None:
            return 1, 0
        page = self._page_items(node, field)
        is_list = is_list_type(get_nullable_type(field.type))
        size = size_of(field) if is_list and page is None else None
        own = self._own_reads(field, page, is_list, size)
        if parent is self._root:
            own = max(own, self._root_reads, FIELD_READS.get(node.name.value, 0))
        if node.selection_set is None:
            return 1 + (size.items // SCALARS_OF_A_VALUE if size else 0), own
        inside = page if page is not None and not is_list else self._limits.assumed_list_items
        values, reads = self.price(node.selection_set, get_named_type(field.type), inside)
        times = (page or (size.items if size else items)) if is_list else 1
        return times * (1 + values), own + times * reads

    def _own_reads(self, field: GraphQLField, page: int | None, is_list: bool, size: Size | None) -> int:
        if page is not None:
            return page
        told = field.extensions.get("strawberry-definition")
        resolver = getattr(told, "base_resolver", None)
        if resolver is None or not resolver.is_async:
            return 0
        if size is None:
            return self._limits.assumed_list_items if is_list else 1
        return size.items if size.reads is None else size.reads

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
