"""Names of databases, collections, documents and fields, and their sortable byte form.

Limits: https://firebase.google.com/docs/firestore/quotas (ids up to 1,500 bytes, no `/`, not `.` or `..`, not `__x__`).
"""

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from emulator.protocol import invalid

Segments: TypeAlias = tuple[str, ...]
FieldPath: TypeAlias = tuple[str, ...]

NAME: FieldPath = ("__name__",)
ID_BYTES_MAX = 1500
DEPTH_MAX = 100  # collections and ids in one path (Firestore: "maximum depth of subcollections 100")
# No id, escaped or not, starts with these two bytes, and they sort before all that do.
PATH_END = b"\0\0"
SEGMENT_END = b"\0\1"

# Ids of documents that came from Datastore; also the least and greatest ids, by which clients bound a whole collection.
_NUMERIC = re.compile(r"__id(-?\d{1,19})__")
_NUMERIC_START = b"\0\2"
_RESERVED = re.compile(r"__.*__", re.DOTALL)
_SIMPLE_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FIELD_PART = re.compile(r"`((?:[^`\\]|\\.)*)`|([^.`]+)", re.DOTALL)


class Database(NamedTuple):
    """One isolated database of one project."""

    project: str
    name: str

    @property
    def resource(self) -> str:
        """`projects/{project}/databases/{database}`."""
        return f"projects/{self.project}/databases/{self.name}"

    @property
    def root(self) -> str:
        """The parent of all root collections."""
        return f"{self.resource}/documents"


def parse_database(resource: str) -> Database:
    """`projects/p/databases/d`, possibly with more behind it; INVALID_ARGUMENT otherwise."""
    parts = resource.split("/")
    if len(parts) < 4 or parts[0] != "projects" or parts[2] != "databases" or not parts[1] or not parts[3]:
        raise invalid(f'Invalid resource name "{resource}": expected projects/PROJECT/databases/DATABASE.')
    return Database(parts[1], parts[3])


def parse_parent(resource: str) -> tuple[Database, Segments]:
    """The `documents` root or a document, as database and path segments (possibly none)."""
    database = parse_database(resource)
    parts = resource.split("/")
    if len(parts) < 5 or parts[4] != "documents":
        raise invalid(f'Invalid resource name "{resource}": expected ".../documents[/COLLECTION/ID]*".')
    segments = tuple(parts[5:])
    if len(segments) % 2:
        raise invalid(f'Document parent name "{resource}" has invalid trailing segment or is a collection.')
    for segment in segments:
        check_id(segment, resource)
    return database, segments


@lru_cache(maxsize=8192)
def parse_document(resource: str) -> tuple[Database, Segments]:
    """A document's full name as database and path segments; INVALID_ARGUMENT when it is not one."""
    database, segments = parse_parent(resource)
    if not segments:
        raise invalid(f'Document name "{resource}" lacks a collection and a document id.')
    if len(segments) > DEPTH_MAX * 2:
        raise invalid(f'Document name "{resource}" is nested deeper than {DEPTH_MAX} collections.')
    return database, segments


def check_id(segment: str, whole: str) -> None:
    """Refuse ids that Firestore refuses."""
    if not segment:
        raise invalid(f'Document name "{whole}" contains an empty segment.')
    if segment in (".", ".."):
        raise invalid(f'Resource id "{segment}" is invalid: it must not be "." or "..".')
    if len(segment.encode()) > ID_BYTES_MAX:
        raise invalid(f"Resource id is longer than {ID_BYTES_MAX} bytes.")
    if _RESERVED.fullmatch(segment) and not _NUMERIC.fullmatch(segment):
        raise invalid(f'Resource id "{segment}" is invalid because it is reserved.')


def check_field_name(name: str) -> None:
    """Refuse field names that Firestore refuses: empty, too long, `__x__`."""
    if not name:
        raise invalid("The property name is the empty string.")
    if len(name.encode()) > ID_BYTES_MAX:
        raise invalid(f"The property name is longer than {ID_BYTES_MAX} bytes.")
    if _RESERVED.fullmatch(name):
        raise invalid(f'The property name "{name}" is reserved: names of the form __x__ are Firestore\'s own.')


@lru_cache(maxsize=8192)
def parse_field(text: str) -> FieldPath:
    """``a.b.`c d` `` as its parts; INVALID_ARGUMENT for empty parts or unquoted special characters."""
    parts: list[str] = []
    position = 0
    while True:
        match = _FIELD_PART.match(text, position)
        if match is None:
            raise invalid(f'Invalid property path "{text}": an empty part.')
        quoted, plain = match.groups()
        if quoted is not None:
            parts.append(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL))
        elif _SIMPLE_FIELD.fullmatch(plain):
            parts.append(plain)
        else:
            raise invalid(f'Invalid property path "{text}": unquoted property names must match [A-Za-z_][A-Za-z0-9_]*.')
        position = match.end()
        if position == len(text):
            return tuple(parts)
        if text[position] != ".":
            raise invalid(f'Invalid property path "{text}": expected "." at {position}.')
        position += 1


@lru_cache(maxsize=8192)
def format_field(path: FieldPath) -> str:
    """The inverse of `parse_field`, quoting where it must."""
    return ".".join(
        part if _SIMPLE_FIELD.fullmatch(part) else "`" + part.replace("\\", "\\\\").replace("`", "\\`") + "`"
        for part in path
    )


def segment_key(segment: str) -> bytes:
    """Self-delimiting bytes that sort as the UTF-8 of the segment does; numeric ids come first, as numbers."""
    if segment.startswith("__id") and (match := _NUMERIC.fullmatch(segment)):
        return _NUMERIC_START + f"{(int(match[1]) + (1 << 63)):016x}".encode() + SEGMENT_END
    return segment.encode().replace(b"\0", b"\0\xff") + SEGMENT_END


def path_key(database: Database, segments: Segments) -> bytes:
    """Bytes that sort as paths do, segment by segment; a path is a byte prefix of its descendants."""
    return b"".join(map(segment_key, (*database, *segments)))


def path_segments(key: bytes) -> Segments:
    """The inverse of `path_key`, without the database."""
    parts = key.split(SEGMENT_END)[2:-1]
    return tuple(map(_segment, parts))


def _segment(part: bytes) -> str:
    if part.startswith(_NUMERIC_START):
        return f"__id{int(part[2:], 16) - (1 << 63)}__"
    return part.replace(b"\0\xff", b"\0").decode()


def document_name(database: Database, segments: Segments) -> str:
    """The full resource name of a document."""
    return "/".join((database.root, *segments))
