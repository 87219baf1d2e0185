"""What moderators do to listings, and what a suspension of the owner does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain import texts
from domain.errors import BadInput, Conflict
from domain.listings import MODERATED, PUBLIC, Listing, ListingStatus, revised, unpublish
from domain.users import REASON_CHARACTERS_MAX


def moderate(listing: Listing, status: ListingStatus, reason: str, now: datetime) -> Listing:
    """Suspend, put under review, or lift either with ACTIVE. Raises Conflict, BadInput.

    A moderator takes a listing from the market, and never puts it there: lifted, it is what its owner had made it
    before the first of the holds. One that an older version held back says nothing of that, and comes back ACTIVE.
    """
    if status not in MODERATED and status is not ListingStatus.ACTIVE:
        raise BadInput("A moderator sets ACTIVE, UNDER_REVIEW or SUSPENDED.", field="input.status")
    why = texts.prose(reason, "input.reason", REASON_CHARACTERS_MAX)
    before = judged(listing)
    own = listing.held_from if before in MODERATED else before
    if status in MODERATED:
        said = replace(listing, status_reason=why, held_from=own)
    elif before in MODERATED:
        said, status = replace(listing, status_reason=why, held_from=None), own or ListingStatus.ACTIVE
    elif listing.status_reason == why:  # said before: what else gives a reason holds the listing back
        return listing
    else:
        raise Conflict(f"The listing is {before} by its owner: only what a moderator held back can be lifted.")
    after = replace(said, status=status) if listing.shelved is None else replace(said, shelved=status)
    return listing if after == listing else revised(listing, replace(after, judged_at=now), now)


def judged(listing: Listing) -> ListingStatus:
    """The listing's own status, whatever its owner's standing is."""
    return listing.shelved or listing.status


def shelve(listing: Listing, now: datetime) -> Listing:
    """Take it off the market because its owner is suspended; what it was is kept."""
    if listing.shelved is not None:
        return listing
    return revised(listing, replace(listing, status=ListingStatus.SUSPENDED, shelved=listing.status), now)


def unshelve(listing: Listing, now: datetime) -> Listing:
    """Put it back to what it was before its owner was suspended, or to what a moderator has said since."""
    if listing.shelved is None:
        return listing
    return revised(listing, replace(listing, status=listing.shelved, shelved=None), now)


def withdraw(listing: Listing, now: datetime) -> Listing:
    """Take it off the market because its agent is deleted, or given to another. What a moderator or a suspension holds
    back stays so, and the end of that brings nothing back."""
    if judged(listing) in MODERATED:
        return revised(listing, replace(listing, held_from=ListingStatus.UNPUBLISHED), now)
    if listing.shelved is not None:
        return revised(listing, replace(listing, shelved=ListingStatus.UNPUBLISHED), now)
    return unpublish(listing, now)


def feature(listing: Listing, featured: bool, now: datetime) -> Listing:
    """Show it among the featured, or not. Raises Conflict for one that is not on offer."""
    if featured and listing.status not in PUBLIC:
        raise Conflict(f"The listing is {listing.status}: only one on offer can be featured.")
    return revised(listing, replace(listing, featured=featured), now)
