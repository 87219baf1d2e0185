"""Whatever is changed in one document of the ledger is found, and the two checkers agree on what it means."""

from __future__ import annotations

import os

from tests.simulator.corruption import campaign

CORRUPTIONS = int(os.environ.get("JIGA_CORRUPTIONS", "300"))
SHARE_BY_MEANING = 0.8  # the rest is told by one document alone (a URL, an actor): its seal finds those


def test_every_corruption_is_found(quiet: None) -> None:
    result = campaign(CORRUPTIONS, seed=3, histories=15)
    assert result.found == CORRUPTIONS
    assert result.disagreements == []
    assert result.by_meaning >= CORRUPTIONS * SHARE_BY_MEANING, result.only_by_seal
