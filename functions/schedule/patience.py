"""What a round does about one thing that fails: it goes on with the next, and ends where everything fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from domain.errors import Unavailable

log = structlog.get_logger(__name__)

DOWN_MAX = 10  # times in a row that the store does not answer, each within 2 s: then it is not that one thing


class Patience:
    """Of one round. Each thing is passed over by itself; what is passed over has its turn in the next round."""

    def __init__(self, round_name: str) -> None:
        self._round = round_name
        self._down = 0

    @contextmanager
    def over(self, **thing: str) -> Iterator[None]:
        """Do something about one thing, named by ids alone. Raises Unavailable once the store fails for the tenth time
        in a row."""
        try:
            yield
        except Unavailable:
            self._down += 1
            log.warning("passed over", round=self._round, reason="no answer in time", **thing)
            if self._down >= DOWN_MAX:
                raise
        except Exception:
            self._down = 0
            log.exception("passed over", round=self._round, **thing)  # the log drops the fault's own words
        else:
            self._down = 0
