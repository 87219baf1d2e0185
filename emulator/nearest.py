"""Nearest-neighbour queries, exact: every matching document is measured (production's are exact too, over an index).

Rules: https://firebase.google.com/docs/firestore/vector-search and comments of google/firestore/v1/query.proto.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

from emulator.filters import Candidate
from emulator.indexes import Catalog
from emulator.paths import FieldPath, format_field, parse_field
from emulator.protocol import Message, StructuredQuery, Value, failed_precondition, invalid
from emulator.query import Query
from emulator.scan import run
from emulator.storage import View
from emulator.values import get_field, set_field, vector_of

LIMIT_MAX = 1000  # Firestore quota
DIMENSION_MAX = 2048  # Firestore quota
Measure: TypeAlias = Callable[[list[float], list[float]], float]
_Named = StructuredQuery.FindNearest.DistanceMeasure


def nearest(view: View, catalog: Catalog, query: Query, proto: Message) -> Iterator[Candidate]:
    """The `limit` nearest documents, nearest first (DOT_PRODUCT: greatest first), with their distance if named."""
    path = parse_field(proto.vector_field.field_path)
    sought = vector_of(proto.query_vector)
    if sought is None or not 1 <= len(sought) <= DIMENSION_MAX:
        raise invalid(f"find_nearest needs a query vector of 1 to {DIMENSION_MAX} numbers.")
    if not 1 <= proto.limit.value <= LIMIT_MAX:
        raise invalid(f"find_nearest needs a limit of 1 to {LIMIT_MAX}.")
    _check_index(catalog, query, path, len(sought))
    name = _Named.Name(proto.distance_measure)
    if name not in _MEASURES:
        raise invalid("find_nearest needs a distance measure: EUCLIDEAN, COSINE or DOT_PRODUCT.")
    measure, sign = _MEASURES[name], -1 if name == "DOT_PRODUCT" else 1
    threshold = proto.distance_threshold.value if proto.HasField("distance_threshold") else None
    measured = (
        (sign * distance, number, candidate)
        for number, (distance, candidate) in enumerate(_distances(run(view, catalog, query), path, sought, measure))
        if threshold is None or sign * distance <= sign * threshold
    )
    field = parse_field(proto.distance_result_field) if proto.distance_result_field else None
    for distance, _, candidate in heapq.nsmallest(proto.limit.value, measured):
        if field is not None:
            set_field(candidate.document.fields, field, Value(double_value=sign * distance))
        yield candidate


def _distances(
    candidates: Iterator[Candidate],
    path: FieldPath,
    sought: list[float],
    measure: Measure,
) -> Iterator[tuple[float, Candidate]]:
    for candidate in candidates:
        value = get_field(candidate.document.fields, path)
        vector = None if value is None else vector_of(value)
        if vector is not None and len(vector) == len(sought):
            yield measure(sought, vector), candidate


def _dot(left: list[float], right: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


def _cosine(left: list[float], right: list[float]) -> float:
    lengths = math.hypot(*left) * math.hypot(*right)
    return 1 - _dot(left, right) / lengths if lengths else math.nan


_MEASURES: dict[str, Measure] = {
    "EUCLIDEAN": math.dist,
    "COSINE": _cosine,
    "DOT_PRODUCT": _dot,
}


def _check_index(catalog: Catalog, query: Query, path: FieldPath, dimension: int) -> None:
    if not catalog.enforced or query.group is None:
        return
    equal = frozenset(c.field for conjunction in query.disjuncts for c in conjunction)
    for index in catalog.vectors(query.group, query.scope):
        if index.field == path and index.dimension == dimension and index.equalities == equal:
            return
    fields = ", ".join(f'{{"fieldPath": "{format_field(field)}", "order": "ASCENDING"}}' for field in sorted(equal))
    vector = f'{{"fieldPath": "{format_field(path)}", "vectorConfig": {{"dimension": {dimension}, "flat": {{}}}}}}'
    scope = "COLLECTION" if query.scope == "collection" else "COLLECTION_GROUP"
    raise failed_precondition(
        'The query requires an index. Add it to firestore.indexes.json, in "indexes": '
        f'{{"collectionGroup": "{query.group}", "queryScope": "{scope}", '
        f'"fields": [{fields}{", " if fields else ""}{vector}]}} and start again.'
    )
