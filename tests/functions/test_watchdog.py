"""The event loop's watchdog."""

from __future__ import annotations

import asyncio
import time
from queue import Empty, SimpleQueue

import pytest

from functions.watchdog import Stall, Watchdog

LIMIT_SECONDS = 0.2


def planted_and_slow() -> None:
    """A synchronous call where none belongs."""
    time.sleep(LIMIT_SECONDS * 4)


async def test_t_f13_a_blocked_loop_is_noticed_with_the_function_that_blocks_it() -> None:
    told: SimpleQueue[Stall] = SimpleQueue()
    watchdog = Watchdog(LIMIT_SECONDS, told.put)
    watchdog.start()
    planted_and_slow()
    stall = told.get(timeout=20)
    assert stall.seconds >= LIMIT_SECONDS
    assert stall.stack[0].startswith("test_watchdog.py:")
    assert stall.stack[0].endswith(" planted_and_slow")
    assert "test_t_f13_a_blocked_loop" in stall.stack[1]
    watchdog.stop()


async def test_a_stall_is_told_once_and_nothing_after_the_stop() -> None:
    told: SimpleQueue[Stall] = SimpleQueue()
    watchdog = Watchdog(LIMIT_SECONDS, told.put)
    watchdog.start()
    planted_and_slow()
    assert told.get(timeout=20)
    await asyncio.sleep(0)
    watchdog.stop()
    while not told.empty():  # a loaded machine may stall the loop once more, by itself
        assert "planted_and_slow" not in "".join(told.get().stack)
    planted_and_slow()
    with pytest.raises(Empty):
        told.get(timeout=LIMIT_SECONDS)
