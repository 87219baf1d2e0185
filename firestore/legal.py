"""Acceptances of legal documents: created, never changed, never deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from domain import legal
from domain.legal import Acceptance, LegalDocument
from domain.policy import Policy
from firestore.backend import Backend, Filter, Query
from firestore.collections import ACCEPTANCES
from firestore.commit import Commits, Tx

Wanted = tuple[str, str]
"""A document's name and version."""

LISTED_MAX = 200  # acceptances of one user: a handful of documents, and decades of their versions


class Legal:
    """Every method raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._documents = policy.legal

    def require_current(self, wanted: Sequence[Wanted]) -> None:
        """No RPC. Raises NotFound, Conflict."""
        for name, version in wanted:
            legal.require_current(self._documents, name, version)

    async def accept(self, viewer_id: str, wanted: Sequence[Wanted], now: datetime) -> list[Acceptance]:
        """Keep that the user accepts these, each once; the first moment stays. Two RPCs, a write for each new one.

        Raises NotFound, Conflict.
        """
        self.require_current(wanted)
        ids = {legal.acceptance_id(viewer_id, *each): each for each in wanted}

        async def body(tx: Tx) -> list[Acceptance]:
            await tx.read(*map(ACCEPTANCES.at, ids))
            accepted = []
            for each, (name, version) in ids.items():
                known = tx.get(ACCEPTANCES, each)
                accepted.append(known or Acceptance(each, viewer_id, name, version, now))
                if known is None:
                    tx.create(ACCEPTANCES, accepted[-1])
            return accepted

        return await self._commits.run(body)

    async def accepted(self, user_id: str) -> list[Acceptance]:
        """All that the user has accepted, the newest first, at most 200. One RPC."""
        query = Query(ACCEPTANCES.name, (Filter("user_id", "==", user_id),), limit=LISTED_MAX)
        found = [ACCEPTANCES.decode(each) for each in await self._backend.query(query)]
        return sorted(found, key=lambda each: (each.accepted_at, each.id), reverse=True)

    async def due(self, user_id: str) -> tuple[LegalDocument, ...]:
        """The documents whose version of today the user has not accepted. One RPC."""
        ids = [legal.acceptance_id(user_id, each.name, each.version) for each in self._documents]
        found = await self._backend.get_many([ACCEPTANCES.at(each) for each in ids])
        return legal.due(self._documents, [ACCEPTANCES.decode(each) for each in found if each is not None])
