"""An owner's appeal against what a moderator decided on a listing: one for each decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain import moderation, texts
from domain.acts import require_other
from domain.errors import Conflict, NotFound
from domain.ids import Kind, derived_id
from domain.listings import MODERATED, Listing, ListingStatus, require_owned
from domain.users import REASON_CHARACTERS_MAX

TEXT_CHARACTERS_MAX = 2_000  # a page: somebody has to read each one


class AppealState(StrEnum):
    OPEN = "OPEN"
    UPHELD = "UPHELD"
    GRANTED = "GRANTED"


@dataclass(frozen=True, slots=True)
class Appeal:
    """`decision` is what the moderator said, and `reason` what was said of the appeal."""

    id: str
    listing_id: str
    owner_id: str
    text: str
    decision: str
    opened_at: datetime
    state: AppealState = AppealState.OPEN
    reason: str | None = None
    decided_at: datetime | None = None


def appeal_id(listing: Listing) -> str:
    """The id of the one appeal against the last decision on a listing."""
    judged_at = listing.judged_at.isoformat() if listing.judged_at else ""
    return derived_id(Kind.APPEAL, listing.id, judged_at)


def appeal(listing: Listing | None, viewer_id: str, text: str, now: datetime) -> Appeal:
    """The owner's appeal. Raises NotFound, Conflict where no moderator holds the listing back, BadInput."""
    listing = require_owned(listing, viewer_id)
    if moderation.judged(listing) not in MODERATED:
        raise Conflict("No moderator holds this listing back: there is nothing to appeal against.")
    said = texts.prose(text, "input.text", TEXT_CHARACTERS_MAX)
    return Appeal(appeal_id(listing), listing.id, viewer_id, said, listing.status_reason or "", now)


def decide(
    before: Appeal | None, listing: Listing | None, moderator_id: str, granted: bool, reason: str, now: datetime
) -> tuple[Appeal, Listing]:
    """The appeal and its listing after a moderator's decision; said again, they stay as they are.

    Granting lifts what was appealed against, and nothing that was decided since. Raises NotFound, Conflict, BadInput.
    """
    if before is None or listing is None:
        raise NotFound("appeal")
    require_other(moderator_id, before.owner_id)
    why = texts.prose(reason, "input.reason", REASON_CHARACTERS_MAX)
    state = AppealState.GRANTED if granted else AppealState.UPHELD
    if before.state is not AppealState.OPEN:
        if (before.state, before.reason) != (state, why):
            raise Conflict(f"This appeal is {before.state} already: read appeals again.")
        return before, listing
    after = replace(before, state=state, reason=why, decided_at=now)
    if granted and appeal_id(listing) == before.id and moderation.judged(listing) in MODERATED:
        listing = moderation.moderate(listing, ListingStatus.ACTIVE, why, now)
    return after, listing
