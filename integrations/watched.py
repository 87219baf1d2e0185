"""Looks on while something is called: whether a gateway answers, and the spans of a traced request.

Both wrap the methods of one object, so nothing that is watched knows of it, and what nobody watches pays nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from domain.errors import Unavailable

DOWN_SECONDS = (
    30.0  # a failure is news for so long; a process that is asked nothing any more must not stay down for ever
)

Around = Callable[[str], AbstractContextManager[object]]


def watch(watched: object, around: Around) -> None:
    """Enter `around(method)` for every call of a public coroutine method of this one object."""
    for name in dir(type(watched)):
        if not name.startswith("_") and iscoroutinefunction(getattr(type(watched), name)):
            setattr(watched, name, _within(getattr(watched, name), around, name))


def _within(method: Callable[..., Awaitable[Any]], around: Around, name: str) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def call(*args: Any, **named: Any) -> Any:
        with around(name):
            return await method(*args, **named)

    return call


class Pulse:
    """Which gateways did not answer when they were last asked. It asks nothing itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed_at: dict[str, float] = {}

    def follow(self, name: str, gateway: object) -> None:
        """Take note of how this gateway's calls end."""
        watch(gateway, lambda method: _Beat(self, name, method))

    def down(self) -> list[str]:
        """The gateways whose last call, within half a minute, found nobody."""
        now = self._clock()
        return sorted(name for name, at in self._failed_at.items() if now - at < DOWN_SECONDS)

    def note(self, name: str, *, answered: bool) -> None:
        if answered:
            self._failed_at.pop(name, None)
        else:
            self._failed_at[name] = self._clock()


class _Beat:
    """One call. A refusal is an answer, too; closing says nothing."""

    __slots__ = ("_method", "_name", "_pulse")

    def __init__(self, pulse: Pulse, name: str, method: str) -> None:
        self._pulse, self._name, self._method = pulse, name, method

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> None:
        if self._method != "close" and (fault is None or isinstance(fault, Exception)):
            self._pulse.note(self._name, answered=not isinstance(fault, Unavailable))
