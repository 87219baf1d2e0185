"""The documents that users accept, and what each user has accepted of them, for ever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.errors import Conflict, NotFound
from domain.ids import Kind, derived_id


@dataclass(frozen=True, slots=True)
class LegalDocument:
    """A document in its version of today (settings). `name` never changes; a new text is a new version."""

    name: str
    version: str
    title: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A user accepted one version of one document. Written once, and never changed."""

    id: str
    user_id: str
    document: str
    version: str
    accepted_at: datetime


def acceptance_id(user_id: str, document: str, version: str) -> str:
    """One per user, document and version: accepting again is the same fact."""
    return derived_id(Kind.ACCEPTANCE, user_id, document, version)


def require_current(documents: Sequence[LegalDocument], name: str, version: str) -> LegalDocument:
    """The document, if this is its version of today.

    Raises NotFound for no such document, Conflict for another version: nobody accepts what is not shown any more.
    """
    for document in documents:
        if document.name == name:
            if document.version != version:
                raise Conflict(f"{name} is at version {document.version}: show that one, then accept it.")
            return document
    raise NotFound("legal document")


def due(documents: Sequence[LegalDocument], accepted: Iterable[Acceptance]) -> tuple[LegalDocument, ...]:
    """What a user has yet to accept, in the order of the documents."""
    known = {(each.document, each.version) for each in accepted}
    return tuple(each for each in documents if (each.name, each.version) not in known)
