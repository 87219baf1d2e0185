"""The figures that the product can tune, as one value: every rule takes what it needs of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from domain.agents import Catalogue
from domain.legal import LegalDocument
from domain.payouts import PayoutTerms
from domain.pricing import Surcharges
from domain.progress import Progression
from domain.purchases import Package
from domain.revenue import Shares

ROWS_MAX = 50  # packages, badges, achievements or documents that a catalogue offers: what one page shows at once


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings' tables and terms. `event_retention` is how long a subscriber may be away and still miss nothing."""

    packages: tuple[Package, ...]
    shares: Shares
    surcharges: Surcharges
    catalogue: Catalogue
    payouts: PayoutTerms
    trial_minutes: int
    owned_minutes: int
    maturing: timedelta
    event_retention: timedelta
    inbox_retention: timedelta
    progression: Progression = field(default_factory=Progression)  # without rules nobody earns anything
    legal: tuple[LegalDocument, ...] = ()
