"""Entries of the journal, as admins read them. What a user sees of them are transactions."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import ledger
from domain.ledger import PARTIES_MAX, POSTINGS_MAX, EntryKind
from domain.money import Dof
from graph.sizes import at_most


@strawberry.type
class LedgerPosting:
    source: str
    target: str
    amount: Dof


@strawberry.type(description="One fact. `ref` is the id of what it is about, `actor` who caused it.")
class LedgerEntry:
    id: strawberry.ID
    kind: EntryKind
    at: datetime
    ref: str
    actor: str
    user_ids: list[strawberry.ID] = strawberry.field(metadata=at_most(PARTIES_MAX))
    postings: list[LedgerPosting] = strawberry.field(metadata=at_most(POSTINGS_MAX))

    @classmethod
    def of(cls, record: ledger.Entry) -> LedgerEntry:
        return cls(
            id=strawberry.ID(record.id),
            kind=record.kind,
            at=record.at,
            ref=record.ref,
            actor=record.actor,
            user_ids=[strawberry.ID(each) for each in record.user_ids],
            postings=[
                LedgerPosting(source=each.source, target=each.target, amount=each.amount) for each in record.postings
            ],
        )
