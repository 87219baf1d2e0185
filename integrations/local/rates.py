"""Units counted in this process's memory: exact for one process, and for each of several by itself."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from domain.rates import Rate, Window

KEYS_MAX = 100_000  # about 25 MB; the keys longest unused make room, so a flood of addresses costs no more


class LocalRates:
    """A `RateCounters` of one process. `clock` is seconds of the wall: windows turn with it, as Redis's do."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[int, int, int]] = OrderedDict()

    async def take(self, rate: Rate, key: str, units: int) -> int:
        """Count units where they fit; seconds to wait where they do not."""
        number, window = self._window(rate, key)
        wait_seconds = window.wait_seconds(rate, units)
        if wait_seconds == 0:
            place = (rate.name, key)
            self._kept[place] = (number, window.previous, window.current + units)
            self._kept.move_to_end(place)
            while len(self._kept) > KEYS_MAX:
                self._kept.popitem(last=False)
        return wait_seconds

    async def wait_seconds(self, rate: Rate, key: str) -> int:
        """Seconds until one unit fits. Counts nothing."""
        return self._window(rate, key)[1].wait_seconds(rate, 1)

    async def close(self) -> None:
        """Nothing is open."""

    def _window(self, rate: Rate, key: str) -> tuple[int, Window]:
        turns = self._clock() / rate.per_seconds
        number, (kept, previous, current) = int(turns), self._kept.get((rate.name, key), (0, 0, 0))
        if number != kept:
            # A clock that stepped back begins anew as well: it must not hold old units for ever.
            previous, current = (current if number == kept + 1 else 0), 0
        return number, Window(previous, current, turns - number)
