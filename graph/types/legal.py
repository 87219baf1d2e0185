"""Legal documents, and what the viewer has accepted of them."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import legal


@strawberry.type(description="A document in its version of today.")
class LegalDocument:
    name: str
    version: str
    title: str
    url: str | None = strawberry.field(description="Where its text is.")

    @classmethod
    def of(cls, record: legal.LegalDocument) -> LegalDocument:
        return cls(name=record.name, version=record.version, title=record.title, url=record.url)


@strawberry.type
class LegalAcceptance:
    document: str
    version: str
    accepted_at: datetime

    @classmethod
    def of(cls, record: legal.Acceptance) -> LegalAcceptance:
        return cls(document=record.document, version=record.version, accepted_at=record.accepted_at)
