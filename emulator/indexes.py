"""Which indexes exist, and the index rows of a document.

Declared ones come from the Firebase command line's `firestore.indexes.json`
(https://firebase.google.com/docs/reference/firestore/indexes); every field not exempted there has the automatic
single-field ones. A row's key is: 12 bytes naming the index within one collection, the fields' values, the
document's name; so a query on an index is a range of keys.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeAlias

from emulator.paths import (
    NAME,
    PATH_END,
    Database,
    FieldPath,
    Segments,
    format_field,
    parse_field,
    path_key,
    segment_key,
)
from emulator.protocol import Message, invalid
from emulator.values import INDEXED_BYTES_MAX, complement, encode, get_field, vector_of

Mode: TypeAlias = Literal["asc", "desc", "contains"]
Scope: TypeAlias = Literal["collection", "group"]

KEY_FORMAT = 2  # raise it when the bytes of a key change: index rows are then rebuilt at start
ENTRIES_MAX = 40_000  # Firestore quota: index entries of one document

# All documents that expire, of every database: in front of a row's time, in the place where others name their index.
EXPIRY_PREFIX = hashlib.blake2b(b"expiry", digest_size=12).digest()

_MODES: dict[str, Mode] = {"ASCENDING": "asc", "DESCENDING": "desc", "CONTAINS": "contains"}
_NAMES = {mode: name for name, mode in _MODES.items()}
_SCOPES: dict[str, Scope] = {"COLLECTION": "collection", "COLLECTION_GROUP": "group"}
_SCOPE_NAMES = {scope: name for name, scope in _SCOPES.items()}
_AUTOMATIC: frozenset[tuple[Scope, Mode]] = frozenset(
    {("collection", "asc"), ("collection", "desc"), ("collection", "contains")}
)


@dataclass(frozen=True, slots=True)
class Part:
    """One field of an index."""

    field: FieldPath
    mode: Mode


@dataclass(frozen=True, slots=True)
class Index:
    """A declared composite index; the document's name is its last, implicit field."""

    scope: Scope
    parts: tuple[Part, ...]
    name_descending: bool

    @property
    def spec(self) -> str:
        """What tells this index from the others of its collection."""
        fields = ",".join(f"{format_field(part.field)}:{part.mode}" for part in self.parts)
        return f"{fields},{'desc' if self.name_descending else 'asc'}"


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """A declared index for nearest-neighbour queries: equality fields, then one vector field."""

    scope: Scope
    equalities: frozenset[FieldPath]
    field: FieldPath
    dimension: int


@lru_cache(maxsize=65_536)
def row_prefix(database: Database, scope: Scope, place: str, spec: str) -> bytes:
    """The first bytes of all rows of one index. `place` is a collection's path, or a group's id."""
    text = "\0".join((*database, scope, place, spec))
    return hashlib.blake2b(text.encode(), digest_size=12).digest()


def place_of(scope: Scope, segments: Segments) -> str:
    """The collection path or group id under which a document's rows stand."""
    return "/".join(segments[:-1]) if scope == "collection" else segments[-2]


def name_part(scope: Scope, segments: Segments) -> bytes:
    """A document's name as the last part of a key: its id in a collection, its path in a group."""
    if scope == "collection":
        return segment_key(segments[-1])
    return b"".join(map(segment_key, segments)) + PATH_END


class Catalog:
    """All indexes; `enforced` says whether a query without its index is refused."""

    def __init__(self, definition: dict[str, Any] | None = None) -> None:
        """`definition` is the parsed file; None means: nothing declared, nothing enforced."""
        self.enforced = definition is not None
        self._composites: dict[str, tuple[Index, ...]] = {}
        self._vectors: dict[str, tuple[VectorIndex, ...]] = {}
        self._overrides: dict[str, dict[FieldPath, frozenset[tuple[Scope, Mode]]]] = {}
        self._expiring: dict[str, FieldPath] = {}
        definition = definition or {}
        for item in definition.get("indexes", ()):
            self._declare(item)
        for item in definition.get("fieldOverrides", ()):
            rows = self._overrides.setdefault(item["collectionGroup"], {})
            path = NAME if item["fieldPath"] == "*" else parse_field(item["fieldPath"])
            if item.get("ttl"):
                self._expire(item["collectionGroup"], path)
            rows[path] = frozenset(
                (_SCOPES[index.get("queryScope", "COLLECTION")], _mode(index)) for index in item.get("indexes", ())
            )
        canonical = json.dumps([definition, self.enforced, KEY_FORMAT, INDEXED_BYTES_MAX], sort_keys=True)
        self.fingerprint = hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def load(cls, path: Path | None) -> "Catalog":
        """Read `firestore.indexes.json`; raises OSError, ValueError or KeyError when it cannot be used."""
        return cls(None if path is None else json.loads(path.read_text(encoding="utf-8")))

    def _declare(self, item: dict[str, Any]) -> None:
        group, scope = item["collectionGroup"], _SCOPES[item.get("queryScope", "COLLECTION")]
        fields = item["fields"]
        vectors = [field for field in fields if "vectorConfig" in field]
        if vectors:
            vector = VectorIndex(
                scope,
                frozenset(parse_field(f["fieldPath"]) for f in fields if f not in vectors) - {NAME},
                parse_field(vectors[0]["fieldPath"]),
                int(vectors[0]["vectorConfig"]["dimension"]),
            )
            self._vectors[group] = (*self._vectors.get(group, ()), vector)
            return
        parts = tuple(Part(parse_field(f["fieldPath"]), _mode(f)) for f in fields)
        if parts[-1].field == NAME:
            index = Index(scope, parts[:-1], parts[-1].mode == "desc")
        else:
            index = Index(scope, parts, parts[-1].mode == "desc")
        self._composites[group] = (*self._composites.get(group, ()), index)

    def _expire(self, group: str, field: FieldPath) -> None:
        if group in self._expiring or field == NAME:
            raise ValueError(f'"ttl" names one field of the collection group {group}, and no more.')
        self._expiring[group] = field

    def composites(self, group: str, scope: Scope) -> list[Index]:
        """The declared composite indexes that can serve queries of one scope."""
        return [index for index in self._composites.get(group, ()) if index.scope == scope]

    def vectors(self, group: str, scope: Scope) -> list[VectorIndex]:
        """The declared vector indexes that can serve queries of one scope."""
        return [index for index in self._vectors.get(group, ()) if index.scope == scope]

    def single(self, group: str, field: FieldPath) -> frozenset[tuple[Scope, Mode]]:
        """The single-field indexes of a field: its own override, else its nearest map's, else `*`, else automatic."""
        rows = self._overrides.get(group)
        if not rows:
            return _AUTOMATIC
        for length in range(len(field), 0, -1):
            found = rows.get(field[:length])
            if found is not None:
                return found
        return rows.get(NAME, _AUTOMATIC)

    def rows(self, database: Database, segments: Segments, fields: Message) -> set[bytes]:
        """The keys of all index rows of a document; INVALID_ARGUMENT above Firestore's 40,000."""
        group = segments[-2]
        places = {scope: place_of(scope, segments) for scope in _SCOPES.values()}
        names = {scope: name_part(scope, segments) for scope in _SCOPES.values()}
        keys = {row_prefix(database, scope, places[scope], "") + names[scope] for scope in _SCOPES.values()}
        for field, value in _leaves((), fields):
            single = self.single(group, field)
            for mode, keyed in _keyed(value, {mode for _, mode in single}):
                spec = f"{format_field(field)}:{'contains' if mode == 'contains' else 'asc'}"
                for scope in _SCOPES.values():
                    if (scope, mode) in single:
                        keys.add(row_prefix(database, scope, places[scope], spec) + keyed + names[scope])
        for index in self._composites.get(group, ()):
            prefix = row_prefix(database, index.scope, places[index.scope], index.spec)
            name = names[index.scope]
            keys.update(
                prefix + middle + (complement(name) if index.name_descending else name)
                for middle in _composite_keys(index, fields)
            )
        expiry = get_field(fields, self._expiring[group]) if group in self._expiring else None
        if expiry is not None and expiry.HasField("timestamp_value"):
            keys.add(EXPIRY_PREFIX + encode(expiry) + path_key(database, segments))
        if len(keys) > ENTRIES_MAX:
            raise invalid(f"Too many index entries for one document: {len(keys)}, at most {ENTRIES_MAX}.")
        return keys


def _mode(item: dict[str, Any]) -> Mode:
    return _MODES[item.get("arrayConfig") or item["order"]]


def _leaves(path: FieldPath, fields: Message) -> Iterator[tuple[FieldPath, Message]]:
    """Every field path of a document with its value: maps themselves and, below them, their fields."""
    for name, value in fields.items():
        here = (*path, name)
        if value.HasField("map_value") and vector_of(value) is None:
            yield from _leaves(here, value.map_value.fields)
        yield here, value


def _keyed(value: Message, modes: set[Mode]) -> Iterator[tuple[Mode, bytes]]:
    if "asc" in modes or "desc" in modes:
        key = encode(value)[:INDEXED_BYTES_MAX]
        # One row serves both directions; both modes are yielded because an override may leave only one of them.
        yield "asc", key
        yield "desc", key
    if "contains" in modes and value.HasField("array_value"):
        for key in {encode(item)[:INDEXED_BYTES_MAX] for item in value.array_value.values}:
            yield "contains", key


def _composite_keys(index: Index, fields: Message) -> Iterator[bytes]:
    choices: list[list[bytes]] = []
    for part in index.parts:
        value = get_field(fields, part.field)
        if value is None or (part.mode == "contains" and not value.HasField("array_value")):
            return
        if part.mode == "contains":
            choices.append(sorted({encode(item)[:INDEXED_BYTES_MAX] for item in value.array_value.values}))
        else:
            key = encode(value)[:INDEXED_BYTES_MAX]
            choices.append([complement(key) if part.mode == "desc" else key])
    for combination in product(*choices):
        yield b"".join(combination)


def describe(group: str, scope: Scope, parts: tuple[Part, ...]) -> str:
    """The JSON that `firestore.indexes.json` needs for an index."""
    fields = [
        {"fieldPath": format_field(part.field)}
        | ({"arrayConfig": "CONTAINS"} if part.mode == "contains" else {"order": _NAMES[part.mode]})
        for part in parts
    ]
    if len(parts) == 1 and parts[0].field != NAME:
        indexes = [{key: text for key, text in fields[0].items() if key != "fieldPath"}]
        override = {
            "collectionGroup": group,
            "fieldPath": fields[0]["fieldPath"],
            "indexes": [{**item, "queryScope": _SCOPE_NAMES[scope]} for item in indexes],
        }
        return f'in "fieldOverrides": {json.dumps(override)}'
    index = {"collectionGroup": group, "queryScope": _SCOPE_NAMES[scope], "fields": fields}
    return f'in "indexes": {json.dumps(index)}'
