"""Reading many documents of which one may be damaged: it must not stop the work on all the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from firestore.backend import Snapshot
from firestore.records import Collection, R

log = logging.getLogger(__name__)

UNREADABLE = (AssertionError, ArithmeticError, LookupError, TypeError, ValueError)  # what a broken record raises


def legible(collection: Collection[R], snapshots: Iterable[Snapshot]) -> list[R]:
    """The records of those that can be read. The others are logged by their place, not by what they say, and left as
    they are: a human must look, and the audit names those of the ledger too."""
    found = []
    for snapshot in snapshots:
        try:
            found.append(collection.decode(snapshot))
        except UNREADABLE as problem:
            log.error("%s cannot be read: %s", snapshot.path, type(problem).__name__)
    return found
