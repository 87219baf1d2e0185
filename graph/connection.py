"""Relay connections, once for every list: pages by signed cursors, never by offset."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import strawberry

from domain.errors import BadInput
from firestore.paging import Page, Position, dump, load
from firestore.records import Record

FIRST_DEFAULT, FIRST_MAX = 20, 100  # contract.graphql, Conventions
CURSOR_CHARACTERS_MAX = 4_000  # the longest holds the places of 20 topics, at most 2,200
_OF_ANOTHER_LIST = "This cursor does not belong to this list: take one from its pageInfo, with the same arguments."
_MAC_BYTES = 12  # 96 bits: a cursor is no secret, it only must not be made up

N = TypeVar("N")
R = TypeVar("R", bound=Record)


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[N]):
    cursor: str
    node: N


@strawberry.type
class Connection(Generic[N]):
    edges: list[Edge[N]]
    page_info: PageInfo

    @strawberry.field
    def nodes(self) -> list[N]:
        return [edge.node for edge in self.edges]


class Cursors:
    """Seals positions into opaque cursors and opens them again.

    The scope (field, arguments, viewer) is part of the seal, so that a cursor serves the list that it came from and no
    other (T-P09).
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, scope: str, position: Sequence[Any]) -> str:
        body = json.dumps(position, separators=(",", ":"), ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(self._mac(scope, body) + body).decode().rstrip("=")

    def open(self, scope: str, cursor: str, field: str = "after", refusal: str = _OF_ANOTHER_LIST) -> list[Any]:
        """The position of a cursor that was sealed for this scope. Raises BadInput, with `refusal` as its text."""
        try:
            if len(cursor) > CURSOR_CHARACTERS_MAX:
                raise ValueError("too long")
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            mac, body = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(scope, body)):
                raise ValueError("not ours")
            position = json.loads(body)
        except ValueError:
            raise BadInput(refusal, field=field) from None
        assert isinstance(position, list), "a position is a list"
        return position

    def _mac(self, scope: str, body: bytes) -> bytes:
        return hmac.digest(self._secret, scope.encode("utf-8", "surrogatepass") + b"\0" + body, "sha256")[:_MAC_BYTES]


def scope_of(field: str, viewer_id: str | None, *arguments: object) -> str:
    """What a cursor is bound to."""
    return f"{field}|{viewer_id}|{hashlib.sha256(repr(arguments).encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def page_size(first: int | None) -> int:
    """How many nodes a page has. Raises BadInput outside 1 to 100."""
    if first is None:
        return FIRST_DEFAULT
    if not 1 <= first <= FIRST_MAX:
        raise BadInput(f"`first` lies between 1 and {FIRST_MAX}, not at {first}.", field="first")
    return first


def position_of(cursors: Cursors, scope: str, after: str | None, field: str = "after") -> Position | None:
    """Where the page begins. Raises BadInput for a cursor of another list."""
    if after is None:
        return None
    try:
        return load(cursors.open(scope, after, field))
    except ValueError:
        raise BadInput("This cursor is of an older version: begin at the first page.", field=field) from None


def connect(page: Page[R], convert: Callable[[R], N], cursors: Cursors, scope: str, after: str | None) -> Connection[N]:
    """A page of records as a connection. There is a previous page exactly when this one began behind a cursor."""
    edges = [
        Edge(cursor=cursors.seal(scope, dump(position)), node=convert(record))
        for record, position in zip(page.nodes, page.positions, strict=True)
    ]
    end = cursors.seal(scope, dump(page.end)) if page.end is not None else None
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=page.has_next_page,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=end,
        ),
    )
