"""A circuit breaker: who has just failed several times is left alone for a while, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable

from domain.errors import Unavailable

FAILURES_MAX = 5  # in a row: one may be chance, five within the traffic of a search are none
PAUSE_SECONDS = 5.0  # then one request finds out whether it is back


class Breaker:
    """Ask `admit` before a request and tell `note` after it. `clock` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._resting_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether requests are refused but for the one that finds out."""
        return self._failures >= FAILURES_MAX

    def admit(self) -> None:
        """Raises Unavailable while the other side rests. After the pause one request passes; the others wait for it."""
        if not self.is_open:
            return
        now = self._clock()
        if now < self._resting_until:
            raise Unavailable("It has failed several times in a row: it is asked again in some seconds.")
        self._resting_until = now + PAUSE_SECONDS

    def note(self, *, answered: bool) -> None:
        """What came of a request."""
        self._failures = 0 if answered else self._failures + 1
        if self.is_open:
            self._resting_until = self._clock() + PAUSE_SECONDS
