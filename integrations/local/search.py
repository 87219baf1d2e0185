"""A search engine in this process: tantivy, in memory, filled and kept in step by `functions.search_index`.

Every process has its own, and every one finds the same: the order follows from the listing and the words alone, never
from what else the index holds or how it came there.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar, cast

import tantivy
from tantivy import FieldType, Occur, Query

from domain.errors import Unavailable
from domain.filters import ListingFilter
from domain.search import (
    FACET_VALUES_MAX,
    FACETS,
    FUZZY_LETTERS_MIN,
    FacetCounts,
    Hit,
    Place,
    SearchDocument,
    SearchPage,
    SearchQuery,
    place_of,
    split,
)
from domain.texts import fold

T = TypeVar("T")

WAITING_MAX = 64  # searches and changes that wait for the one thread: at some milliseconds each, within a second
PART_DOCUMENTS = 200  # changed at once: some 50 ms, between which searches come in
HEAP_BYTES = 15_000_000  # the least that tantivy takes for its writer

# What one word is worth: where it stands counts first, then how well it fits. A sum of them orders by relevance.
EXACT = {"title": 12.0, "names": 9.0, "description": 6.0}
BEGINS = {"title": 8.0, "names": 5.0, "description": 3.0}
NEARLY = {"title": 4.0, "names": 2.0, "description": 1.0}


class LocalSearch:
    """A `SearchGateway` of its own. The work is done by one thread, in the order in which it is asked for."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "search")
        self._index: _Index | None = None
        self._waiting = 0

    async def put(self, documents: Sequence[SearchDocument]) -> None:
        for start in range(0, len(documents), PART_DOCUMENTS):
            part = documents[start : start + PART_DOCUMENTS]
            await self._run(partial(self._filled().change, part, ()))

    async def remove(self, ids: Sequence[str]) -> None:
        await self._run(partial(self._filled().change, (), ids))

    async def replace_all(self, documents: Sequence[SearchDocument]) -> None:
        """Searches before it is done are of what was there before."""
        index = _Index()
        for start in range(0, len(documents), PART_DOCUMENTS):
            part = documents[start : start + PART_DOCUMENTS]
            await self._run(partial(index.change, part, ()))
        self._index = index

    async def search(self, query: SearchQuery) -> SearchPage:
        return await self._run(partial(self._filled().search, query))

    async def close(self) -> None:
        """What waits is dropped: the store has it."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._index = None

    def _filled(self) -> _Index:
        if self._index is None:
            raise Unavailable("The search engine is still reading the listings: ask again in a moment.")
        return self._index

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("The search engine has too much to do: ask again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1


class _Index:
    """The index, and the documents that it was made of. Used by one thread at a time."""

    def __init__(self) -> None:
        self._schema = _schema()
        self._index = tantivy.Index(self._schema)
        self._writer = self._index.writer(HEAP_BYTES, 1)
        self._documents: dict[int, SearchDocument] = {}  # by number: a changed document gets another one
        self._numbers: dict[str, int] = {}
        self._next = 0
        self._spellings: dict[tuple[str, str], Counter[str]] = {}

    def change(self, documents: Sequence[SearchDocument], gone: Sequence[str]) -> None:
        """Put documents, whatever was there under their ids, and take others away; all of it shows at once."""
        # Of a session's whole life most changes of a listing are of figures that no search knows.
        fresh = [each for each in documents if each != self._known(each.id)]
        forgotten = [id_ for id_ in gone if id_ in self._numbers]
        if not fresh and not forgotten:
            return
        for id_ in (*forgotten, *(each.id for each in fresh)):
            self._forget(id_)
        for each in fresh:
            self._add(each)
        self._writer.commit()
        self._index.reload()

    def search(self, query: SearchQuery) -> SearchPage:
        searcher = self._index.searcher()
        asked = self._query(query)
        found = searcher.search(asked, limit=max(1, searcher.num_docs)).hits
        numbers = searcher.fast_field_values("number", [address for _, address in found])
        places: Iterable[Place] = (
            place_of(self._documents[cast(int, number)], query, round(score))
            for (score, _), number in zip(found, numbers, strict=True)
        )
        after = query.after
        if after is not None:
            places = (each for each in places if (each < after if query.is_descending else each > after))
        pick = heapq.nlargest if query.is_descending else heapq.nsmallest
        shown = pick(query.first + 1, places)
        hits = tuple(Hit(str(place[-1]), place) for place in shown[: query.first])
        return SearchPage(hits, len(shown) > query.first, len(found), self._facets(searcher, asked))

    def _known(self, id_: str) -> SearchDocument | None:
        number = self._numbers.get(id_)
        return None if number is None else self._documents[number]

    def _forget(self, id_: str) -> None:
        number = self._numbers.pop(id_, None)
        if number is None:
            return
        self._writer.delete_documents_by_term("number", number)
        for key, value in _spelt(self._documents.pop(number)):
            spellings = self._spellings[key]
            spellings[value] -= 1
            if spellings[value] == 0:
                del spellings[value]
            if not spellings:
                del self._spellings[key]

    def _add(self, document: SearchDocument) -> None:
        number = self._next
        self._next += 1
        self._numbers[document.id], self._documents[number] = number, document
        names = " ".join((document.agent_name, *document.games, *document.categories, *document.tags))
        spelt = list(_spelt(document))
        fields = {
            "number": number,
            "title": " ".join(split(document.title)),
            "names": " ".join(split(names)),
            "description": " ".join(split(document.description)),
            "label": list(document.labels),
            "game": [folded for (name, folded), _ in spelt if name == "game"],
            "category": [folded for (name, folded), _ in spelt if name == "category"],
            "rank": document.rank.value,
            "type": document.type.value,
            "language": document.language,
            "owner": document.owner_id,
            "has_voice_chat": document.has_voice_chat,
            "has_memory": document.has_memory,
            "hourly": document.hourly,
            "rating_milli": document.rating_milli,
        }
        self._writer.add_document(tantivy.Document.from_dict(fields, self._schema))
        for key, value in spelt:
            self._spellings.setdefault(key, Counter())[value] += 1

    def _query(self, query: SearchQuery) -> Query:
        """All the words and all of the filter. A filter weighs nothing, so that the score is the words' alone."""
        parts = [Query.const_score_query(each, 0.0) for each in self._filters(query.wanted)]
        last = len(query.words) - 1
        parts += [self._word(word, is_last=place == last) for place, word in enumerate(query.words)]
        if not parts:
            return Query.const_score_query(Query.all_query(), 0.0)
        return Query.boolean_query([(Occur.Must, part) for part in parts])

    def _word(self, word: str, *, is_last: bool) -> Query:
        """The best of what one word may be: itself, the beginning of a longer one if it may still be typed, or,
        from four letters on, nearly itself (one letter more, less, other, or two swapped)."""
        schema, ways = self._schema, []
        for field, worth in EXACT.items():
            ways.append(Query.const_score_query(Query.term_query(schema, field, word, "basic"), worth))
            if is_last:
                begins = Query.fuzzy_term_query(schema, field, word, 0, True, True)
                ways.append(Query.const_score_query(begins, BEGINS[field]))
            if len(word) >= FUZZY_LETTERS_MIN:
                nearly = Query.fuzzy_term_query(schema, field, word, 1, True, is_last)
                ways.append(Query.const_score_query(nearly, NEARLY[field]))
        return Query.disjunction_max_query(ways)

    def _filters(self, wanted: ListingFilter) -> list[Query]:
        schema = self._schema
        equal: dict[str, str | bool | None] = {
            "type": wanted.type.value if wanted.type else None,
            "language": wanted.language,
            "owner": wanted.owner_id,
            "has_voice_chat": wanted.has_voice_chat,
            "has_memory": wanted.has_memory,
        }
        told = [(field, value) for field, value in equal.items() if value is not None]
        told += [("label", label) for label in (wanted.game, wanted.category) if label is not None]
        parts = [Query.term_query(schema, field, value, "basic") for field, value in told]
        if wanted.tags:
            parts.append(Query.term_set_query(schema, "label", list(wanted.tags)))
        if wanted.ranks:
            parts.append(Query.term_set_query(schema, "rank", sorted(rank.value for rank in wanted.ranks)))
        low, high = wanted.min_price, wanted.max_price
        ranges = (
            ("hourly", low.units if low is not None else None, high.units if high is not None else None),
            ("rating_milli", wanted.min_rating_milli, None),
        )
        for field, least, most in ranges:
            if least is not None or most is not None:
                parts.append(Query.range_query(schema, field, FieldType.Integer, least, most))
        return parts

    def _facets(self, searcher: tantivy.Searcher, asked: Query) -> tuple[FacetCounts, ...]:
        counted = searcher.aggregate(asked, {name: {"terms": {"field": name, "size": 1_000}} for name in FACETS})
        facets = []
        for name in FACETS:
            rows = [(str(each["key"]), int(each["doc_count"])) for each in counted[name]["buckets"]]
            rows.sort(key=lambda row: (-row[1], row[0]))
            values = tuple((self._spelling(name, key), count) for key, count in rows[:FACET_VALUES_MAX])
            facets.append(FacetCounts(name, values))
        return tuple(facets)

    def _spelling(self, facet: str, folded: str) -> str:
        """How most listings spell a game or a category; of equals the first in the alphabet."""
        spellings = self._spellings.get((facet, folded))
        return folded if spellings is None else min(spellings, key=lambda text: (-spellings[text], text))


def _spelt(document: SearchDocument) -> Iterable[tuple[tuple[str, str], str]]:
    """The games and categories of a document, each once, by facet and folded form."""
    kept: dict[tuple[str, str], str] = {}
    for name, values in (("game", document.games), ("category", document.categories)):
        for value in values:
            kept.setdefault((name, fold(value)), value)
    return kept.items()


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    for name in EXACT:  # split already: the words of a document and those of a query are made by one function
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="basic")
    for name in ("label", "owner"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in FACETS:
        builder.add_text_field(name, fast=True, tokenizer_name="raw", index_option="basic")
    for name in ("has_voice_chat", "has_memory"):
        builder.add_boolean_field(name, indexed=True)
    for name in ("number", "hourly", "rating_milli"):
        builder.add_integer_field(name, indexed=True, fast=True)
    return builder.build()
