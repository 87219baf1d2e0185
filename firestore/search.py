"""What an engine apart from this process must hear of: rows in the commit that changed what a search would find."""

from __future__ import annotations

from datetime import timedelta

from domain.listings import Listing
from domain.search import document_of
from firestore.commit import Tx
from firestore.outbox import row

INDEX_LISTING = "index_listing"  # the task; the name outlives a deploy
_KEPT = timedelta(days=1)  # such a row is of no use once it is done


def tell_search(tx: Tx, before: Listing | None, after: Listing) -> None:
    """Have the listing's document brought to the engine, or taken from it, where the change shows in it. One write.

    Hires and ratings, which change by themselves, are brought by a round: no hire and no review pays for a search.
    """
    if document_of(after) == (None if before is None else document_of(before)):
        return
    fact = ("indexed", after.id, after.version)
    tx.tell(row(fact, after.updated_at, _KEPT, task=INDEX_LISTING, args={"listing_id": after.id}))
