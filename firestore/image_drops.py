"""Letting go of a picture: whoever takes one away leaves a row that deletes it a day later."""

from __future__ import annotations

from datetime import datetime

from domain.images import KEPT_AFTER
from firestore.commit import Tx
from firestore.outbox import row

DROP_IMAGE = "drop_image"


def drop(tx: Tx, before: str | None, after: str | None, now: datetime) -> None:
    """Let the picture that was shown before be deleted, where another or none is shown now. One write.

    A name is of one upload and of one agent or user, so nobody else shows it.
    """
    if before is not None and before != after:
        fact, later = ("drop_image", before, now.isoformat()), now + KEPT_AFTER
        tx.tell(row(fact, now, KEPT_AFTER, task=DROP_IMAGE, args={"image": before}, not_before=later))
