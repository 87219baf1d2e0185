"""What moderators do to listings, and what a suspension of the owner does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain import texts
from domain.errors import BadInput, Conflict
from domain.listings import MODERATED, PUBLIC, Listing, ListingStatus, revised
from domain.users import REASON_CHARACTERS_MAX


def moderate(listing: Listing, status: ListingStatus, reason: str, now: datetime) -> Listing:
    """Suspend, put under review, or lift either with ACTIVE. Raises Conflict, BadInput."""
    if status not in MODERATED and status is not ListingStatus.ACTIVE:
        raise BadInput("A moderator sets ACTIVE, UNDER_REVIEW or SUSPENDED.", field="input.status")
    why = texts.prose(reason, "input.reason", REASON_CHARACTERS_MAX)
    before = judged(listing)
    said = replace(listing, status_reason=why)
    after = replace(said, status=status) if listing.shelved is None else replace(said, shelved=status)
    if after == listing:  # said before
        return listing
    if status is ListingStatus.ACTIVE and before not in MODERATED:
        raise Conflict(f"The listing is {before} by its owner: only what a moderator held back can be lifted.")
    return revised(listing, replace(after, judged_at=now), now)


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


def feature(listing: Listing, featured: bool, now: datetime) -> Listing:
    """Show it among the featured, or not. Raises Conflict for one that is not on offer."""
    if featured and listing.status not in PUBLIC:
        raise Conflict(f"The listing is {listing.status}: only one on offer can be featured.")
    return revised(listing, replace(listing, featured=featured), now)
