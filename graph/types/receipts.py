"""Receipts and digests: what proves to a user, and to anybody, that the journal is as it was."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import receipts
from domain.ledger import PARTIES_MAX
from domain.receipts import PATH_MAX, canonical
from graph.sizes import at_most


@strawberry.type(
    description="Proof that an entry stands in the journal, unchanged. `entry` and `share` are JSON as it was hashed; "
    "`share` is the viewer's own side, which `salt` opens among the `commitments`. The leaf, at `index` of `count`, "
    "leads by `path` to the `root` of the digest of `day`. Hashes are SHA-256, in hex; RFC 6962 says how they combine."
)
class Receipt:
    entry_id: strawberry.ID
    day: str
    late: bool
    entry: str
    share: str
    salt: str
    commitments: list[str] = strawberry.field(metadata=at_most(PARTIES_MAX + 1))
    leaf: str
    index: int
    count: int
    path: list[str] = strawberry.field(metadata=at_most(PATH_MAX))
    root: str
    digest: str

    @classmethod
    def of(cls, record: receipts.Receipt) -> Receipt:
        return cls(
            entry_id=strawberry.ID(record.entry[0]),
            day=record.day,
            late=record.is_late,
            entry=canonical(record.entry).decode(),
            share=canonical(record.share).decode(),
            salt=record.salt.hex(),
            commitments=list(record.commitments),
            leaf=record.leaf.hex(),
            index=record.index,
            count=record.count,
            path=[step.hex() for step in record.path],
            root=record.root,
            digest=record.digest,
        )


@strawberry.type(
    description="The seal of all entries of a day, in UTC. Each names the `digest` of the day before in `previous`: "
    "who keeps one can hold us to it and to all before it."
)
class LedgerDigest:
    day: str
    count: int
    late: int
    root: str
    previous: str
    made_at: datetime
    digest: str

    @classmethod
    def of(cls, record: receipts.Digest) -> LedgerDigest:
        return cls(
            day=record.id,
            count=record.count,
            late=len(record.late),
            root=record.root,
            previous=record.previous,
            made_at=record.made_at,
            digest=record.digest,
        )
