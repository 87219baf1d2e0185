"""The index that Algolia holds: its settings, the record of a listing, and what a search asks of it.

Algolia has one order per index, so that every order but relevance is a replica (algolia.com/doc, "Exhaustive sorting").
A page starts behind a place, by comparing the numbers that its order is made of: there is no offset to drift, and no
1,000th hit to end at. Relevance alone is a rank and no number: it pages by offset, from an anchor that is looked for.

No text from outside is ever part of a filter: labels are hashed, and what remains are our own words and ids (T-P10).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from domain.filters import ListingFilter, ListingSort
from domain.ids import BODY_CHARACTERS
from domain.search import (
    FACET_VALUES_MAX,
    FACETS,
    FUZZY_LETTERS_MIN,
    WORD_LETTERS_MAX,
    FacetCounts,
    Hit,
    Place,
    SearchDocument,
    SearchPage,
    SearchQuery,
    split,
)
from domain.texts import fold

Record: TypeAlias = dict[str, Any]

SHAPE = 1  # of a record: raised with every change of its form, so that all marks differ and everything is sent anew
RECORD_BYTES_MAX = (
    9_900  # 10 KB is the least that a plan allows (algolia.com/doc/guides/scaling/algolia-service-limits)
)
TITLE_BYTES_MAX, NAMES_BYTES_MAX = 1_000, 4_000  # the description has what is left, 900 bytes at least
QUERY_BYTES_MAX = 500  # of 512: what is longer, Algolia does not read
RELEVANT_HITS_MAX = 1_000  # the order behind the 1,000th hit is not promised (support.algolia.com, "sorting")
OVERLAP = 20  # hits around a page by relevance: its anchor is looked for among them when others came or went
SPELT = frozenset({"game", "category"})
SPELLINGS_MAX = 300  # asked for: a game that is spelt in three ways is still one value

FIGURES = ("total_hires", "rating_milli", "rating_count")
"""What counters change and nobody's edit does: the round brings them, as partial updates."""

TIE = ("tie_1", "tie_2")
ORDERS: dict[ListingSort, tuple[str, ...]] = {
    ListingSort.POPULAR: ("total_hires",),
    ListingSort.RATING: ("rating_milli", "rating_count"),
    ListingSort.NEWEST: ("created_s", "created_us"),
    ListingSort.PRICE_LOW: ("hourly",),
    ListingSort.PRICE_HIGH: ("hourly",),
}
"""The numbers of each order before the tie, each below 2^31: no engine rounds those."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIE_LETTERS = 6  # of 5 bits: two numbers hold 60 bits of an id, and no two listings share those
_DIGITS = str.maketrans("abcdefghjkmnpqrstvwxyz", "abcdefghijklmnopqrstuv")  # Crockford's letters as Python's digits


def settings(index: str) -> Record:
    """Of the index itself, which answers by relevance. A setting that leaves this table is left as it was: to take one
    back, name it with None, which is its default."""
    return {
        "searchableAttributes": ["unordered(title)", "unordered(names)", "unordered(description)"],
        "attributesForFaceting": [
            *FACETS,
            *(f"filterOnly({name})" for name in ("label", "owner_id", "has_voice_chat", "has_memory")),
        ],
        "numericAttributesForFiltering": [*dict.fromkeys(name for order in ORDERS.values() for name in order), *TIE],
        "ranking": ["typo", "words", "attribute", "exact", "custom"],
        "customRanking": [f"desc({name})" for name in ("total_hires", *TIE)],
        "replicas": [replica(index, sort) for sort in ORDERS],
        "queryType": "prefixLast",
        "typoTolerance": True,
        "minWordSizefor1Typo": FUZZY_LETTERS_MIN,
        "minWordSizefor2Typos": WORD_LETTERS_MAX + 1,  # never: two mistakes are another word
        "removeWordsIfNoResults": "none",
        "removeStopWords": False,
        "ignorePlurals": False,
        "decompoundQuery": False,
        "advancedSyntax": False,
        "maxValuesPerFacet": SPELLINGS_MAX,
        "paginationLimitedTo": RELEVANT_HITS_MAX,
        "attributesToHighlight": [],
        "unretrievableAttributes": ["owner_id"],
    }


def replica_settings(index: str, sort: ListingSort) -> Record:
    """Of the replica that answers in one order, whatever the words: its ranking has no place for a custom one."""
    way = "asc" if sort is ListingSort.PRICE_LOW else "desc"
    shared = {name: value for name, value in settings(index).items() if name not in ("replicas", "customRanking")}
    return {**shared, "ranking": [f"{way}({name})" for name in (*ORDERS[sort], *TIE)]}


def replica(index: str, sort: ListingSort) -> str:
    return f"{index}_{sort.value.lower()}"


# ---- records


def record_of(document: SearchDocument) -> Record:
    """The listing as a record. Its words are split as those of a query are; `mark` says which form of it this is."""
    names = " ".join((document.agent_name, *document.games, *document.categories, *document.tags))
    created = document.created_at - _EPOCH
    record: Record = {
        "objectID": document.id,
        "title": _cut(split(document.title), TITLE_BYTES_MAX),
        "names": _cut(split(names), NAMES_BYTES_MAX),
        "label": [token(label) for label in document.labels],
        "game": _each_once(document.games),
        "category": _each_once(document.categories),
        "rank": document.rank.value,
        "type": document.type.value,
        "language": document.language,
        "owner_id": document.owner_id,
        "has_voice_chat": document.has_voice_chat,
        "has_memory": document.has_memory,
        "hourly": document.hourly,
        "created_s": created // timedelta(seconds=1),
        "created_us": created.microseconds,
        **dict(zip(TIE, tie_of(document.id), strict=True)),
    }
    mark = hashlib.sha256(repr((SHAPE, record, document.description)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    record |= {"mark": mark, **figures_of(document)}
    left = RECORD_BYTES_MAX - len(repr(record).encode("utf-8", "surrogatepass"))
    return record | {"description": _cut(split(document.description), left)}


def figures_of(document: SearchDocument) -> Record:
    return {name: getattr(document, name) for name in FIGURES}


def token(label: str) -> str:
    """A label as it is filtered by: 64 bits of its hash."""
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def tie_of(listing_id: str) -> tuple[int, int]:
    """The beginning of an id as numbers that stand in the order of the ids."""
    body = listing_id[-BODY_CHARACTERS:].translate(_DIGITS)
    return int(body[:_TIE_LETTERS], 32), int(body[_TIE_LETTERS : 2 * _TIE_LETTERS], 32)


def _cut(words: Iterable[str], bytes_max: int) -> str:
    """The words that fit, and none of them in part."""
    kept, left = [], bytes_max
    for word in words:
        left -= len(word.encode("utf-8", "surrogatepass")) + 1
        if left < 0:
            break
        kept.append(word)
    return " ".join(kept)


def _each_once(values: Iterable[str]) -> list[str]:
    kept: dict[str, str] = {}
    for value in values:
        kept.setdefault(fold(value), value)
    return list(kept.values())


# ---- searches


def requests(index: str, query: SearchQuery) -> list[Record]:
    """The searches that make a page, sent as one request. A later page of an order that is no relevance takes two: of
    all hits only those behind its place, and the counts of all of them."""
    wanted = {
        "indexName": index if query.is_by_relevance else replica(index, _sort(query)),
        "query": _cut(query.words, QUERY_BYTES_MAX),
        "facetFilters": _facet_filters(query.wanted),
        "attributesToRetrieve": [*FIGURES, *ORDERS[_sort(query)]],
        "responseFields": ["hits", "nbHits", "facets"],
        "enableRules": False,
        "analytics": False,  # what people type stays with us
    }
    ranges = _ranges(query.wanted)
    counts: Record = {"facets": list(FACETS), "numericFilters": ranges}
    if query.is_by_relevance:
        begin, behind = _window(query)
        return [{**wanted, **counts, "offset": begin, "length": behind - begin + query.first + 1 + OVERLAP}]
    page: Record = {"hitsPerPage": query.first + 1}
    if query.after is None:
        return [{**wanted, **counts, **page}]
    behind_place = _behind(query.after, _sort(query), descending=query.is_descending)
    return [
        {**wanted, **page, "numericFilters": [*ranges, *behind_place]},
        {**wanted, **counts, "hitsPerPage": 1, "attributesToRetrieve": []},
    ]


def page_of(query: SearchQuery, results: Sequence[Mapping[str, Any]]) -> SearchPage:
    """The page that the searches of `requests` found. Raises KeyError, TypeError, ValueError where it is none."""
    rows: Sequence[Mapping[str, Any]] = results[0]["hits"]
    more = len(rows) > query.first
    if query.is_by_relevance:
        begin, behind = _window(query)
        found = [place for place, row in enumerate(rows) if query.after and row["objectID"] == query.after[-1]]
        start = found[0] + 1 if found else behind - begin
        shown = rows[start : start + query.first]
        hits = [
            Hit(row["objectID"], (begin + start + place, row["total_hires"], row["objectID"]))
            for place, row in enumerate(shown, 1)
        ]
        reached = begin + start + len(shown)
        more = len(rows) > start + query.first and reached < RELEVANT_HITS_MAX
    else:
        hits = [Hit(row["objectID"], _place(row, _sort(query))) for row in rows[: query.first]]
    counted = results[-1]
    facets = counted.get("facets", {})
    return SearchPage(
        tuple(hits), more, int(counted["nbHits"]), tuple(_facet(name, facets.get(name, {})) for name in FACETS)
    )


def _sort(query: SearchQuery) -> ListingSort:
    """Without words to be relevant to, what others hire is (as in the store)."""
    return ListingSort.POPULAR if query.sort is ListingSort.RELEVANCE else query.sort


def _facet_filters(wanted: ListingFilter) -> list[list[str]]:
    """All of these lists, and of each any one. Every value is ours or a hash: none begins with the minus of a NOT."""
    ored: list[list[str]] = [[f"label:{token(label)}"] for label in (wanted.game, wanted.category) if label is not None]
    if wanted.tags:
        ored.append([f"label:{token(tag)}" for tag in wanted.tags])
    if wanted.ranks:
        ored.append(sorted(f"rank:{rank.value}" for rank in wanted.ranks))
    equal: dict[str, str | bool | None] = {
        "type": wanted.type.value if wanted.type else None,
        "language": wanted.language,
        "owner_id": wanted.owner_id,
        "has_voice_chat": wanted.has_voice_chat,
        "has_memory": wanted.has_memory,
    }
    for name, value in equal.items():
        if value is not None:
            ored.append([f"{name}:{str(value).lower() if isinstance(value, bool) else value}"])
    return ored


def _ranges(wanted: ListingFilter) -> list[list[str]]:
    low, high = wanted.min_price, wanted.max_price
    bounds = (
        ("hourly>=", low.units if low is not None else None),
        ("hourly<=", high.units if high is not None else None),
        ("rating_milli>=", wanted.min_rating_milli),
    )
    return [[f"{bound}{number}"] for bound, number in bounds if number is not None]


def _behind(place: Place, sort: ListingSort, *, descending: bool) -> list[list[str]]:
    """What stands behind a place, as lists of which each needs one to hold: Algolia has no ORs of ANDs.

    (a, b) < (A, B) is: a <= A, and (a < A or b < B).
    """
    numbers = dict(zip((*ORDERS[sort], *TIE), (*_numbers(place, sort), *tie_of(str(place[-1]))), strict=True))
    way, clauses, before = ("<" if descending else ">"), [], list[str]()
    for name, number in numbers.items():
        last = name == TIE[-1]
        clauses.append([*before, f"{name}{way}{'' if last else '='}{number}"])
        before.append(f"{name}{way}{number}")
    return clauses


def _numbers(place: Place, sort: ListingSort) -> tuple[int, ...]:
    if sort is ListingSort.NEWEST:
        (created, _) = place
        assert isinstance(created, datetime), "the newest are ordered by a moment"
        since = created - _EPOCH
        return since // timedelta(seconds=1), since.microseconds
    return tuple(int(str(part)) for part in place[:-1])


def _place(row: Mapping[str, Any], sort: ListingSort) -> Place:
    if sort is ListingSort.NEWEST:
        return (_EPOCH + timedelta(seconds=row["created_s"], microseconds=row["created_us"]), row["objectID"])
    return (*(int(row[name]) for name in ORDERS[sort]), row["objectID"])


def _window(query: SearchQuery) -> tuple[int, int]:
    """From which hit on to read, and behind how many the page begins if its anchor is gone."""
    behind = int(str(query.after[0])) if query.after is not None else 0
    behind = max(0, min(behind, RELEVANT_HITS_MAX))
    return max(0, behind - OVERLAP), behind


def _facet(name: str, counts: Mapping[str, int]) -> FacetCounts:
    """The counts by folded value, each as most of its hits spell it; of equals the first in the alphabet."""
    if name not in SPELT:
        rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
        return FacetCounts(name, tuple(rows[:FACET_VALUES_MAX]))
    summed: Counter[str] = Counter()
    spelt: dict[str, str] = {}
    for value, count in sorted(counts.items(), key=lambda row: (-row[1], row[0])):
        summed[fold(value)] += count
        spelt.setdefault(fold(value), value)
    ranked = sorted(summed.items(), key=lambda row: (-row[1], row[0]))[:FACET_VALUES_MAX]
    return FacetCounts(name, tuple((spelt[folded], count) for folded, count in ranked))
