"""Runs a plan over a view: ranges of index rows, intersected and merged, lazily.

A page of n documents reads about n rows, whatever the size of the collection.
"""

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import TypeAlias

from emulator.filters import Candidate
from emulator.indexes import Catalog
from emulator.planner import Plan, Source, Stream, plan
from emulator.protocol import Message
from emulator.query import Query
from emulator.storage import View
from emulator.values import complement, successor

# Documents with their sort keys, in the order of the keys.
Keyed: TypeAlias = Iterator[tuple[bytes, Candidate]]


def run(view: View, catalog: Catalog, query: Query) -> Iterator[Candidate]:
    """The query's documents in order, offset and limit applied; refuses (FAILED_PRECONDITION) without its index."""
    found = ordered(view, plan(catalog, query), query)
    end = None if query.limit is None else query.offset + query.limit
    return islice(found, query.offset, end)


def ordered(view: View, chosen: Plan, query: Query) -> Iterator[Candidate]:
    """All matching documents in the query's order, each once."""
    overlay = view.overlay(query)
    streams = [_documents(view, stream, query, overlay) for stream in chosen.streams]
    past = _from_overlay(overlay, query)
    if chosen.sort:
        return _sorted(streams, past, query)
    if len(streams) == 1 and not past:
        return (candidate for _, candidate in streams[0])
    return _merged(streams, past)


def countable(chosen: Plan, query: Query, view: View) -> bool:
    """Whether rows can be counted without looking at documents."""
    if len(chosen.streams) != 1 or chosen.sort or view.behind:
        return False
    if query.scope == "group" and query.parent:
        return False  # the group's rows are not kept by parent
    return len(chosen.streams[0].sources) == 1 and chosen.streams[0].exact


def count_rows(view: View, chosen: Plan, at_most: int | None) -> int:
    """The number of rows of a `countable` plan, up to `at_most`."""
    stream = chosen.streams[0]
    return view.count(*_range(stream.sources[0], stream.low, stream.high), at_most)


def _documents(view: View, stream: Stream, query: Query, overlay: dict[str, Message | None]) -> Keyed:
    """One alternative's documents with their sort keys."""
    for document in _rows(view, stream):
        if document.name in overlay:
            continue
        candidate = Candidate(document, tuple(document.name.split("/")[5:]))
        if not all(condition.holds(candidate) for condition in stream.conditions):
            continue
        key = query.key(candidate)
        if key is None or not _within(query, candidate.segments, key):
            continue
        yield key, candidate


def _within(query: Query, segments: tuple[str, ...], key: bytes) -> bool:
    if not query.covers(segments):
        return False  # a group query under a parent reads the whole group's rows
    if query.start is not None and key < query.start.threshold:
        return False
    return query.end is None or key < query.end.threshold


def _rows(view: View, stream: Stream) -> Iterator[Message]:
    if not stream.sources:
        yield from view.by_path(stream.low, stream.high or b"")
    elif len(stream.sources) == 1:
        source = stream.sources[0]
        low, high = _range(source, stream.low, stream.high)
        for _, document in view.entries(low, high, backwards=source.flipped):
            yield document
    else:
        for number in _intersection(view, stream):
            yield view.numbered(number)


def _range(source: Source, low: bytes, high: bytes | None) -> tuple[bytes, bytes]:
    """Stored keys for query keys within [low, high); a flipped source stores them complemented."""
    prefix, flipped = source
    if not flipped:
        return prefix + low, successor(prefix) if high is None else prefix + high
    return (
        prefix if high is None else successor(prefix + complement(high)),
        successor(prefix + complement(low)),
    )


def _intersection(view: View, stream: Stream) -> Iterator[int]:
    """Zigzag: each source is asked for its first row at or after the farthest of the others, until all agree.

    The rows read are bounded by the smallest source times the number of sources, and end with the first that ends.
    """
    position, agreed = stream.low, 0
    while True:
        for source in stream.sources:
            row = view.entry(*_range(source, position, stream.high), backwards=source.flipped)
            if row is None:
                return
            raw = row[0][len(source.prefix) :]
            key = complement(raw) if source.flipped else raw
            agreed = agreed + 1 if key == position else 1
            position = key
            if agreed >= len(stream.sources):
                yield row[1]
                position, agreed = successor(key), 0


def _from_overlay(overlay: dict[str, Message | None], query: Query) -> list[tuple[bytes, Candidate]]:
    found = []
    for document in overlay.values():
        if document is not None:
            candidate = Candidate(document, tuple(document.name.split("/")[5:]))
            key = query.match(candidate)
            if key is not None:
                found.append((key, candidate))
    return sorted(found, key=lambda item: item[0])


def _merged(streams: list[Keyed], past: list[tuple[bytes, Candidate]]) -> Iterator[Candidate]:
    last = None
    for key, candidate in heapq.merge(*streams, past, key=lambda item: item[0]):
        if key != last:  # the name is part of the key, so equal keys are one document found twice
            yield candidate
        last = key


def _sorted(streams: list[Keyed], past: list[tuple[bytes, Candidate]], query: Query) -> Iterator[Candidate]:
    """Without its index a query is sorted in memory: at most offset + limit documents are held when it has a limit."""
    everything = ((key, candidate) for stream in (*streams, iter(past)) for key, candidate in stream)
    if query.limit is not None and len(streams) == 1:
        held = heapq.nsmallest(query.offset + query.limit, everything, key=lambda item: item[0])
    else:
        held = sorted(everything, key=lambda item: item[0])
    return _merged([iter(held)], [])
