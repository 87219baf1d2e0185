"""What Firestore refuses, refused before the wire: both backends then say the same `ValueError` about our own faults.

The limits are Firestore's (firebase.google.com/docs/firestore/quotas, .../query-data/queries) where not said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from firestore.backend import Aggregate, Order, Query, Value, Write

MAX_PATHS = 1_000
"""Documents in one `get_many`: ours. A page is some 50 documents, and a reply of 1,000 stays far below 2 s."""

MAX_DOCUMENTS = 10_000
"""Documents that one query may return, and that one listened target may hold: ours. More is a job for pages."""

MAX_WRITES = 500
"""Writes in one commit. Firestore's page has dropped this limit; it stays ours, as what all servers promised."""

MAX_DISJUNCTIONS = 30
MAX_AGGREGATES = 5
MAX_ID_BYTES = 1_500

INEQUALITIES = frozenset({"<", "<=", ">", ">="})
LISTS = frozenset({"in", "array-contains-any"})
ARRAYS = frozenset({"array-contains", "array-contains-any"})


def check_path(path: str) -> None:
    """A document's path is `collection/id`, or longer in pairs. Raises ValueError on what Firestore would refuse."""
    parts = path.split("/")
    if len(parts) % 2:
        raise ValueError(f"{path!r} is no document: a path is collection/id, without a slash in the id.")
    for part in parts:
        _check_id(part, path)


def check_paths(paths: Sequence[str]) -> None:
    """Raises ValueError when there are too many, or one is malformed."""
    if len(paths) > MAX_PATHS:
        raise ValueError(f"{len(paths)} documents in one reading: ask for at most {MAX_PATHS}, in several calls.")
    for path in paths:
        check_path(path)


def check_writes(writes: Sequence[Write]) -> None:
    """Raises ValueError on a commit that means nothing: too many writes, a document twice, clashing conditions."""
    if len(writes) > MAX_WRITES:
        raise ValueError(f"{len(writes)} writes in one commit: use at most {MAX_WRITES}, in several operations.")
    seen: set[str] = set()
    for write in writes:
        check_path(write.path)
        if write.path in seen:
            raise ValueError(f"{write.path} is written twice in one commit: merge the two writes into one.")
        seen.add(write.path)
        if write.must_be_absent and (write.version is not None or write.mask is not None or write.data is None):
            raise ValueError(
                f"{write.path}: must_be_absent creates, so it goes with data alone, without version or mask."
            )
        if write.version is not None and (write.version <= 0 or write.version % 1_000):
            raise ValueError(f"{write.path}: {write.version} is no version: hand in the one that a reading gave.")
        if write.mask is not None:
            if write.data is None:
                raise ValueError(f"{write.path}: a mask needs data; to delete the document, leave the mask out.")
            unmasked = write.data.keys() - set(write.mask)
            if unmasked:
                raise ValueError(f"{write.path}: {sorted(unmasked)} would be lost: name these fields in the mask.")


def check_query(query: Query) -> None:
    """Raises ValueError when Firestore would refuse the query, or when its answer would have no bound."""
    parts = query.collection.split("/")
    if len(parts) % 2 == 0:
        raise ValueError(f"{query.collection!r} is a document: query a collection.")
    for part in parts:
        _check_id(part, query.collection)
    if query.limit is not None and not 1 <= query.limit <= MAX_DOCUMENTS:
        raise ValueError(
            f"A limit of {query.limit}: choose 1 to {MAX_DOCUMENTS}, or None for all of a small collection."
        )
    for field in (*(f.field for f in query.filters), *(o.field for o in query.order), *(query.fields or ())):
        check_field(field)
    _check_filters(query)
    if query.after is not None:
        implied = full_order(query)[len(query.order) :]
        if implied:
            raise ValueError(f"A page after a cursor needs {[o.field for o in implied]} in the query's order.")
        if len(query.after) != len(query.order) + 1 or not isinstance(query.after[-1], str):
            raise ValueError("A cursor holds one value per order and then the last document's id.")


def check_aggregates(query: Query, aggregates: Mapping[str, Aggregate]) -> None:
    """Raises ValueError unless there are 1 to 5 figures, each complete, over a query that means one set."""
    check_query(query)
    if query.after is not None or query.fields is not None:
        raise ValueError("An aggregate is over a whole query: leave after and fields out.")
    if query.limit is not None and any(aggregate.kind == "sum" for aggregate in aggregates.values()):
        raise ValueError("A limit says when to stop counting; with a sum it would leave to chance what is summed.")
    if not 1 <= len(aggregates) <= MAX_AGGREGATES:
        raise ValueError(f"{len(aggregates)} figures in one aggregate: ask for 1 to {MAX_AGGREGATES}.")
    for alias, aggregate in aggregates.items():
        if (aggregate.kind == "sum") == (aggregate.field is None):
            raise ValueError(f"{alias}: a sum names its field, and a count names none.")
        if aggregate.field is not None:
            check_field(aggregate.field)


def check_field(field: str) -> None:
    """A field is a name, or names joined by dots for the inside of a map. Raises ValueError."""
    if field == "__name__":
        raise ValueError(
            "Every order ends with the document's name already: page with `after`, and read ids by get_many."
        )
    if not all(field.split(".")):
        raise ValueError(f"{field!r} is no field: a name is not empty, and dots only join names.")


def full_order(query: Query) -> tuple[Order, ...]:
    """The order with what Firestore adds: the inequalities' fields that it does not name, in its last direction."""
    named = {order.field for order in query.order}
    implied = {f.field for f in query.filters if f.op in INEQUALITIES} - named
    descending = bool(query.order) and query.order[-1].descending
    return (*query.order, *(Order(field, descending) for field in sorted(implied)))


def _check_id(part: str, path: str) -> None:
    if part in {"", ".", ".."} or (len(part) > 3 and part.startswith("__") and part.endswith("__")):
        raise ValueError(f"{part!r} in {path!r} is no id: it may not be empty, dots, or between double underscores.")
    if len(part) * 4 > MAX_ID_BYTES and len(part.encode()) > MAX_ID_BYTES:
        raise ValueError(f"An id of {len(part.encode())} bytes: at most {MAX_ID_BYTES}; hash long foreign ids.")


def _check_filters(query: Query) -> None:
    disjunctions = 1
    arrays = 0
    for filter_ in query.filters:
        value = filter_.value
        arrays += filter_.op in ARRAYS
        compared: Sequence[Value] = (value,)
        if filter_.op in LISTS:
            if not isinstance(value, list | tuple) or not value:
                raise ValueError(f"{filter_.field} {filter_.op}: give a list of 1 to {MAX_DISJUNCTIONS} values.")
            disjunctions *= len(value)
            compared = value
        elif filter_.op == "==":
            continue
        # Servers disagree on these: production refuses some of them, and the emulators answer with nothing.
        for one in compared:
            if one is None or one != one:  # noqa: PLR0124 - only NaN differs from itself
                raise ValueError(f"{filter_.field} {filter_.op} {one!r}: only == asks for null or NaN.")
    if disjunctions > MAX_DISJUNCTIONS:
        raise ValueError(f"{disjunctions} alternatives in one query: at most {MAX_DISJUNCTIONS}; split the lists.")
    if arrays > 1:
        raise ValueError("One query may hold one array filter: index the combination as one array of tags.")
