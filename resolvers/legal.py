"""Reading and accepting the legal documents."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain.policy import ROWS_MAX
from graph.context import Info
from graph.errors import Conflict, NotFound
from graph.sizes import at_most
from graph.types.legal import LegalAcceptance, LegalDocument


@strawberry.input(description="The document and the version of it that was shown.")
class AcceptLegalInput:
    document: str
    version: str


@strawberry.type
class AcceptLegalPayload:
    acceptance: LegalAcceptance
    legal_due: list[LegalDocument] = strawberry.field(
        metadata=at_most(ROWS_MAX), description="What is still to be accepted."
    )


AcceptLegalResult = Annotated[AcceptLegalPayload | NotFound | Conflict, strawberry.union("AcceptLegalResult")]


async def legal_documents(info: Info) -> list[LegalDocument]:
    """The documents to accept, each in its version of today."""
    return [LegalDocument.of(document) for document in info.context.desk.policy.legal]


async def accept_legal(info: Info, input: AcceptLegalInput) -> AcceptLegalResult:
    """Accept a document in its version of today. Said again, the first moment stays."""
    context = info.context
    user_id = context.signed_in
    (record,) = await context.store.legal.accept(user_id, [(input.document, input.version)], context.now)
    due = await context.store.legal.due(user_id)
    return AcceptLegalPayload(
        acceptance=LegalAcceptance.of(record), legal_due=[LegalDocument.of(document) for document in due]
    )
