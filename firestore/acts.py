"""The audit log. Every privileged mutation records its act in the commit that it is, so neither is there alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from domain.acts import Act
from domain.ids import Kind, derived_id
from domain.money import Dof
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import ACTS, USERS
from firestore.commit import Tx
from firestore.paging import Page, Position, read_page


async def record(
    tx: Tx,
    actor_id: str,
    name: str,
    subject_id: str,
    reason: str | None,
    now: datetime,
    facts: Mapping[str, tuple[object, object]] | None = None,
) -> None:
    """Write that the actor did `name` to the subject. `facts` are figures by name, each before and after the act.

    One write, and no RPC where the body has read USERS.at(actor_id) with the rest. The id is a hash of all that the act
    says, so a body that runs again writes the same document. Call it only where something changes: an operation that
    finds its change done already has recorded it.
    """
    actor = await tx.load(USERS, actor_id)
    told = {figure: (_text(before), _text(after)) for figure, (before, after) in sorted((facts or {}).items())}
    act_id = derived_id(Kind.ACT, name, actor_id, subject_id, now.isoformat(), reason or "", repr(told))
    tx.note(ACTS, Act(act_id, now, actor_id, actor.role if actor else None, name, subject_id, reason, told))


def _text(figure: object) -> str | None:
    if isinstance(figure, Dof):
        return str(figure.units)
    return None if figure is None else str(figure)


class Acts:
    """The log's reader."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def page(self, actor_id: str | None, subject_id: str | None, first: int, after: Position | None) -> Page[Act]:
        """The acts of an actor, to a subject, of one to the other, or all, newest first. One RPC."""
        wanted = (("actor_id", actor_id), ("subject_id", subject_id))
        filters = tuple(Filter(field, "==", value) for field, value in wanted if value is not None)
        query = Query(ACTS.name, filters, (Order("at", descending=True),))
        return await read_page(self._backend, ACTS, query, first, after)
