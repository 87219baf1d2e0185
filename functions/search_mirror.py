"""Keeps an engine apart from this process in step with the store: by a task for each change, and by a round.

Whoever brings a listing reads it again afterwards: of several who bring it at once, in whichever order their writes
arrive, the one who wrote last also looked last, and what it left is what the store holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from domain.errors import Unavailable
from domain.search import SearchDocument, document_of
from firestore.listings import Listings
from integrations.services import Held, SearchMirror

log = structlog.get_logger(__name__)

LOOKS_MAX = 5  # at a listing that changes again while it is brought; its next change has a task of its own
PART = 200  # listings that are read and brought at once
REBUILT_FROM = 0.5  # where more than this part differs, everything is sent anew, and changes hands in one moment


class Mirror:
    """Brings listings to the engine. Every method raises Unavailable when the store or the engine does not answer."""

    def __init__(self, listings: Listings, engine: SearchMirror) -> None:
        self._listings = listings
        self._engine = engine

    async def bring(self, ids: Sequence[str]) -> None:
        """Let the engine hold these listings as the store does now. One RPC more than the times that they differ."""
        for start in range(0, len(ids), PART):
            part = list(ids[start : start + PART])
            known: dict[str, SearchDocument | None] = {}
            for _ in range(LOOKS_MAX):
                current = await self._documents(part)
                stale = {id_: each for id_, each in current.items() if id_ not in known or known[id_] != each}
                if not stale:
                    break
                await self._hand_over(stale)
                known |= stale
            else:
                raise Unavailable("These listings change faster than the search engine takes them: bring them later.")

    async def reconcile(self, now: datetime) -> int:
        """Compare all that the engine holds with all that is on offer, and mend it; gives how many listings differed.

        It begins with the engine's settings, of which no listing tells: an engine that is sent one before it was given
        settings takes some of its own, and newer code brings new ones.

        Reads every listing on offer once, and twice where it rebuilds: hourly, 100,000 of them cost some cents.
        """
        configured = await self._engine.configure()
        if configured:
            log.warning("search engine configured", settings=configured)
        wanted = {document.id: document async for document in self._listings.documents()}
        held = await self._engine.held()
        gone, figures, others = self._differences(wanted, held)
        differing = len(gone) + len(figures) + len(others)
        if len(others) + len(gone) > REBUILT_FROM * max(1, len(held)):
            log.warning("search engine rebuilt", held=len(held), wanted=len(wanted))
            await self._engine.replace_all(list(wanted.values()))
            # What tasks brought while the copy was made went to the index that is no more.
            fresh = {document.id: document async for document in self._listings.documents()}
            gone, figures, others = self._differences(fresh, await self._engine.held())
            wanted = fresh
        if figures:
            await self._engine.update_figures([wanted[id_] for id_ in figures])
        await self.bring([*gone, *others])
        return differing

    def _differences(
        self, wanted: dict[str, SearchDocument], held: dict[str, Held]
    ) -> tuple[list[str], list[str], list[str]]:
        """What it holds too much; what differs in figures alone; what it lacks, or holds in another form."""
        gone = [id_ for id_ in held if id_ not in wanted]
        figures, others = [], []
        for id_, document in wanted.items():
            ours, theirs = self._engine.holding(document), held.get(id_)
            if theirs is None or theirs.mark != ours.mark:
                others.append(id_)
            elif theirs.figures != ours.figures:
                figures.append(id_)
        return gone, figures, others

    async def _documents(self, ids: Sequence[str]) -> dict[str, SearchDocument | None]:
        found = await self._listings.legible(ids)
        return {id_: document_of(found[id_]) if id_ in found else None for id_ in ids}

    async def _hand_over(self, documents: dict[str, SearchDocument | None]) -> None:
        gone = [id_ for id_, document in documents.items() if document is None]
        if gone:
            await self._engine.remove(gone)
        there = [document for document in documents.values() if document is not None]
        if there:
            await self._engine.put(there)
