"""A stand-in for Algolia's REST API on this machine, as far as its documentation tells what our adapter relies on:
settings, replicas, batches, tasks, copy and move, browsing, and searches with their filters, typos, order and facets.

What the documentation forbids it refuses: a filter on what is not declared, a record of more than 10 KB, a wrong key.
An index comes into being with the first thing that is sent to it, with the settings that all have by default.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import pytest

from integrations import algolia

APP, KEY = "APPID", "canary-write-key-0123456789"
RECORD_BYTES_MAX, QUERY_BYTES_MAX = 10_000, 512
PAGE_MAX = 1_000
DEFAULTS = {
    "searchableAttributes": None,  # all of them
    "attributesForFaceting": None,  # none
    "numericAttributesForFiltering": None,  # all numbers
    "ranking": ["typo", "geo", "words", "filters", "proximity", "attribute", "exact", "custom"],
    "customRanking": None,
    "replicas": None,
    "queryType": "prefixLast",
    "typoTolerance": True,
    "minWordSizefor1Typo": 4,
    "minWordSizefor2Typos": 8,
    "hitsPerPage": 20,
    "maxValuesPerFacet": 100,
    "paginationLimitedTo": 1_000,
}
"""Settings of an index that was given none (algolia.com/doc/api-reference/settings-api-parameters)."""
Json = Any


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: Json


@dataclass(frozen=True)
class Answer:
    status: int
    body: Json
    after_seconds: float = 0


class Refused(Exception):
    """Said with the status 400."""


@dataclass
class StandIn:
    """`trouble` is said in place of every answer, or of none."""

    trouble: Callable[[Asked], Answer | None] = lambda asked: None
    asked: list[Asked] = field(default_factory=list)
    settings: dict[str, Json] = field(default_factory=dict)
    records: dict[str, dict[str, Json]] = field(default_factory=dict)
    url: str = ""
    tasks: int = 0

    def searches(self) -> int:
        return sum(each.path.endswith("/queries") for each in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        asked = Asked(method, unquote(target.partition("?")[0]), json.loads(body) if body else None)
        self.asked.append(asked)
        answer = self.trouble(asked)
        if answer is None:
            if (headers.get("x-algolia-application-id"), headers.get("x-algolia-api-key")) == (APP, KEY):
                answer = self.answer(asked)
            else:
                answer = Answer(403, {"message": "Invalid Application-ID or API key", "status": 403})
        await asyncio.sleep(answer.after_seconds)
        told = json.dumps(answer.body).encode()
        lines = [
            f"HTTP/1.1 {answer.status} Whatever",
            "Content-Type: application/json",
            f"Content-Length: {len(told)}",
            "Connection: close",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + told)
        with contextlib.suppress(ConnectionError):  # the caller gave up
            await writer.drain()
        writer.close()

    def answer(self, asked: Asked) -> Answer:
        try:
            return Answer(200, self._answer(asked))
        except Refused as refused:
            return Answer(400, {"message": str(refused), "status": 400})
        except LookupError as missing:
            return Answer(404, {"message": f"Index {missing} does not exist", "status": 404})

    def _answer(self, asked: Asked) -> Json:
        match asked.method, asked.path.split("/")[3:]:
            case "POST", ["*", "queries"]:
                return {"results": [self.search(each["indexName"], each) for each in asked.body["requests"]]}
            case "POST", [name, "batch"]:
                return self._batch(name, asked.body["requests"])
            case "POST", [name, "browse"]:
                return self._browse(name, asked.body)
            case "POST", [name, "operation"]:
                return self._operate(name, asked.body)
            case "PUT", [name, "settings"]:
                self._make(name)
                self.settings[name] |= asked.body
                for each in asked.body.get("replicas", ()):
                    # One that is new begins with all that its index has; one that is there keeps its settings.
                    self.settings.setdefault(each, {**self.settings[name], "replicas": None})
                return self._task()
            case "GET", [name, "settings"]:
                return {key: value for key, value in self.settings[name].items() if value is not None}
            case "GET", [_, "task", _]:
                return {"status": "published", "pendingTask": False}
            case "DELETE", [name]:
                self.records.pop(name, None)
                self.settings.pop(name, None)
                return {**self._task(), "deletedAt": "2026-03-01T12:00:00Z"}
        raise Refused(f"{asked.method} {asked.path} is not known here")

    def _task(self) -> Json:
        self.tasks += 1
        return {"taskID": self.tasks, "updatedAt": "2026-03-01T12:00:00Z"}

    def _make(self, name: str) -> None:
        self.settings.setdefault(name, dict(DEFAULTS))
        self.records.setdefault(name, {})

    def _batch(self, name: str, requests: list[Json]) -> Json:
        self._make(name)
        held = self.records[name]
        for each in requests:
            body = each["body"]
            if len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()) > RECORD_BYTES_MAX:
                raise Refused("Record is too big")
        for each in requests:
            body, key = each["body"], each["body"]["objectID"]
            match each["action"]:
                case "addObject":
                    held[key] = body
                case "deleteObject":
                    held.pop(key, None)
                case "partialUpdateObjectNoCreate":
                    if key in held:
                        held[key] = held[key] | body
                case other:
                    raise Refused(f"{other} is not known here")
        return {**self._task(), "objectIDs": [each["body"]["objectID"] for each in requests]}

    def _operate(self, name: str, told: Json) -> Json:
        to = told["destination"]
        if told["operation"] == "copy":
            if told.get("scope") is None:
                raise Refused("only settings are copied here")
            # Replicas stay with their index.
            self.settings[to] = {**self.settings.get(name, DEFAULTS), "replicas": None}
            self.records.setdefault(to, {})
        else:
            replicas = self.settings[to]["replicas"]
            self.settings[to] = {**self.settings.pop(name), "replicas": replicas}
            self.records[to] = self.records.pop(name)
        return self._task()

    def _browse(self, name: str, asked: Json) -> Json:
        held = sorted(self.records[name].values(), key=lambda each: each["objectID"])
        start, count = int(asked.get("cursor") or 0), asked["hitsPerPage"]
        rows = [_retrieved(each, asked["attributesToRetrieve"]) for each in held[start : start + count]]
        answer = {"hits": rows, "query": "", "params": "", "processingTimeMS": 1, "nbHits": len(held), "page": 0}
        more = {"cursor": str(start + count)} if start + count < len(held) else {}
        return {**answer, "nbPages": 1, "hitsPerPage": count, **more}

    def search(self, name: str, asked: Json) -> Json:
        settings, held = self.settings[name], self._held(name)
        declared = settings["attributesForFaceting"] or ()
        filters = {_bare(each) for each in declared}
        if len(asked["query"].encode()) > QUERY_BYTES_MAX:
            raise Refused("query too long")
        for each in asked.get("facetFilters", ()):
            for one in each:
                if one.partition(":")[0] not in filters:
                    raise Refused(f"{one} is not declared in attributesForFaceting")
        found = []
        for record in held.values():
            match = _match(record, asked["query"].split(), settings)
            if match is not None and _passes(record, asked, settings):
                found.append((_rank(record, match, settings), record))
        found.sort(key=lambda row: row[0])
        if "offset" in asked:
            start, count = asked["offset"], asked["length"]
        else:
            start, count = 0, asked["hitsPerPage"]
        if not 1 <= count <= PAGE_MAX:
            raise Refused("hitsPerPage lies between 1 and 1000")
        rows = [record for _, record in found][: settings["paginationLimitedTo"]][start : start + count]
        answer = {"hits": [_retrieved(each, asked["attributesToRetrieve"]) for each in rows], "nbHits": len(found)}
        if "facets" in asked:
            shown = [each for each in asked["facets"] if each in declared]
            counted = {each: _counts([record for _, record in found], each) for each in shown}
            most = settings["maxValuesPerFacet"]
            answer["facets"] = {each: dict(counts.most_common(most)) for each, counts in counted.items() if counts}
        return answer

    def _held(self, name: str) -> dict[str, Json]:
        """A replica holds what its index holds."""
        for primary, settings in self.settings.items():
            if name in (settings["replicas"] or ()):
                return self.records[primary]
        return self.records[name]


@lru_cache(maxsize=1_000)
def _bare(attribute: str) -> str:
    return re.sub(r"^\w+\((.+)\)$", r"\1", attribute)


def _retrieved(record: Json, attributes: Iterable[str]) -> Json:
    return {name: record[name] for name in ("objectID", *attributes) if name in record}


def _counts(records: Iterable[Json], attribute: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for record in records:
        value = record[attribute]
        counts.update(value if isinstance(value, list) else [str(value)])
    return counts


@dataclass(frozen=True)
class Match:
    typos: int = 0
    attribute: int = 0
    exact: int = 0


def _match(record: Json, words: list[str], settings: Json) -> Match | None:
    """How well all the words are found, the last as a beginning; None where one is not."""
    searched = settings["searchableAttributes"] or [name for name, value in record.items() if isinstance(value, str)]
    texts = [record[_bare(name)].split() for name in searched]
    typos, attributes, exact = 0, [0] if not words else [], 0
    for place, word in enumerate(words):
        prefix = settings["queryType"] == "prefixLast" and place == len(words) - 1
        ways = [
            (cost, attribute, held != word)
            for attribute, text in enumerate(texts)
            for held in text
            if (cost := _cost(word, held, settings, prefix=prefix)) is not None
        ]
        if not ways:
            return None
        best = min(ways)
        typos, exact = typos + best[0], exact + (not best[2])
        attributes.append(best[1])
    return Match(typos, min(attributes), exact)


def _cost(word: str, held: str, settings: Json, *, prefix: bool) -> int | None:
    if held == word or (prefix and held.startswith(word)):
        return 0
    if len(word) < settings["minWordSizefor1Typo"] or not settings["typoTolerance"]:
        return None
    lengths = range(len(word) - 1, len(word) + 2) if prefix else [len(held)]
    return 1 if any(_is_near(word, held[:length]) for length in lengths) else None


@lru_cache(maxsize=100_000)  # the same words meet in every record
def _is_near(one: str, other: str) -> bool:
    """One letter more, less, other, or two swapped."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:])


def _passes(record: Json, asked: Json, settings: Json) -> bool:
    return all(any(_is_facet(record, one) for one in each) for each in asked.get("facetFilters", ())) and all(
        any(_is_number(record, one, settings) for one in each) for each in asked.get("numericFilters", ())
    )


def _is_facet(record: Json, told: str) -> bool:
    name, _, value = told.partition(":")
    assert not value.startswith("-"), "a minus in front is a NOT"
    held = record[name]
    values = held if isinstance(held, list) else [held]
    return value.lower() in {str(each).lower() for each in values}


def _is_number(record: Json, told: str, settings: Json) -> bool:
    found = re.fullmatch(r"(\w+?)(<=|>=|<|>|=)(-?\d+)", told)
    declared = settings["numericAttributesForFiltering"]
    if found is None or (declared is not None and found[1] not in declared):
        raise Refused(f"{told} is no filter on a declared number")
    held, number = record[found[1]], int(found[3])
    assert abs(number) < 2**31, "numbers stay where no engine rounds them"
    return {"<": held < number, "<=": held <= number, ">": held > number, ">=": held >= number, "=": held == number}[
        found[2]
    ]


def _rank(record: Json, match: Match, settings: Json) -> tuple[int, ...]:
    rank: list[int] = []
    for criterion in settings["ranking"]:
        match criterion:
            case "typo":
                rank.append(match.typos)
            case "words":
                rank.append(0)  # all of them, or it is no hit
            case "geo" | "filters" | "proximity":
                rank.append(0)  # nothing here tells records apart by them
            case "attribute":
                rank.append(match.attribute)
            case "exact":
                rank.append(-match.exact)
            case "custom":
                rank += [_key(record, each) for each in settings["customRanking"] or ()]
            case _:
                rank.append(_key(record, criterion))
    return tuple(rank)


def _key(record: Json, criterion: str) -> int:
    value = int(record[_bare(criterion)])
    return value if criterion.startswith("asc(") else -value


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    server = await asyncio.start_server(stand_in.serve, "127.0.0.1", 0)
    stand_in.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield stand_in
    server.close()


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the engine the time of a busy machine: what is slow on purpose says so by itself."""
    for name, patience in (("SEARCH_SECONDS_MAX", 30.0), ("CONNECT_MS", 30_000), ("READ_MS", 30_000)):
        monkeypatch.setattr(algolia, name, patience)
