"""The wire between a simulated process and the one store of documents: latency, lost and late replies, and death."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from domain.errors import Unavailable
from firestore.backend import Aggregate, Conflict, Query, Snapshot, Unclear, Write
from firestore.memory import MemoryBackend

T = TypeVar("T")


class Killed(BaseException):
    """The process is dead. No handler of the store's catches it, as none survives a SIGKILL."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each is, for one verb. `slow` is slower than the operation's own deadline, and still arrives."""

    lost: float = 0.03
    unclear: float = 0.05
    conflict: float = 0.02
    killed: float = 0.02
    slow: float = 0.01
    late_reply: float = 0.2


NONE = Faults(0, 0, 0, 0, 0, 0)


class Wire:
    """A `Backend` for one process. What was sent arrives, whether or not somebody still waits for the answer."""

    def __init__(
        self,
        memory: MemoryBackend,
        rng: random.Random,
        faults: Callable[[], Faults],
        witness: Callable[[Sequence[Write]], None],
    ) -> None:
        self._memory = memory
        self._witness = witness
        self._rng = rng
        self._faults = faults
        self._waiting: dict[asyncio.Future[Any], None] = {}
        self.dead = False
        self.verbs = 0
        self.kills = 0

    def kill(self) -> None:
        """Nobody of this process gets any further than the next verb."""
        self.dead = True
        self.kills += 1
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(Killed())
        self._waiting.clear()

    async def get_many(self, paths: Sequence[str], *, read_time: datetime | None = None) -> list[Snapshot | None]:
        if not paths:
            return []
        return await self._call(lambda: at_once(self._memory.get_many(paths)), writes=False)

    async def query(self, query: Query, *, read_time: datetime | None = None) -> list[Snapshot]:
        return await self._call(lambda: at_once(self._memory.query(query)), writes=False)

    async def aggregate(
        self, query: Query, aggregates: Mapping[str, Aggregate], *, read_time: datetime | None = None
    ) -> dict[str, int | float]:
        return await self._call(lambda: at_once(self._memory.aggregate(query, aggregates)), writes=False)

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        return await self._call(lambda: self._apply(writes), writes=True)

    def _apply(self, writes: Sequence[Write]) -> tuple[int, ...]:
        versions = at_once(self._memory.commit(writes))
        self._witness(writes)
        return versions

    async def _call(self, act: Callable[[], T], *, writes: bool) -> T:
        if self.dead:
            raise Killed
        self.verbs += 1
        rng, faults = self._rng, self._faults()
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[T] = loop.create_future()
        self._waiting[reply] = None
        latency = rng.random() * 0.02
        draw = rng.random()
        for kind in ("lost", "unclear", "conflict", "killed", "slow"):
            draw -= getattr(faults, kind)
            if draw < 0:
                self._fail(kind, reply, act, writes, latency)
                break
        else:
            late = rng.random() * 0.05 if rng.random() < faults.late_reply else 0.0
            loop.call_later(latency, self._arrive, reply, act, late)
        try:
            return await reply
        finally:
            self._waiting.pop(reply, None)

    def _fail(self, kind: str, reply: asyncio.Future[Any], act: Callable[[], Any], writes: bool, after: float) -> None:
        rng, loop = self._rng, asyncio.get_running_loop()
        applied = rng.random() < 0.5
        if kind == "slow":
            loop.call_later(after + 1 + rng.random() * 3, self._arrive, reply, act, 0.0)
        elif kind == "killed":
            if applied:
                loop.call_later(after, self._swallow, act)
            loop.call_later(after, self.kill)
        elif writes and kind == "unclear":
            if applied:
                # It may also land after the caller has begun to try again.
                loop.call_later(after + (rng.random() * 0.5 if rng.random() < 0.3 else 0.0), self._swallow, act)
            loop.call_later(after, _refuse, reply, Unclear())
        elif writes and kind == "conflict":
            loop.call_later(after, _refuse, reply, Conflict("another commit was in the way"))
        else:
            loop.call_later(after, _refuse, reply, Unavailable("the simulated store does not answer"))

    def _arrive(self, reply: asyncio.Future[Any], act: Callable[[], Any], late: float) -> None:
        try:
            answer, problem = act(), None
        except Conflict as conflict:
            answer, problem = None, conflict
        if late:
            asyncio.get_running_loop().call_later(late, _answer, reply, answer, problem)
        else:
            _answer(reply, answer, problem)

    def _swallow(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except Conflict:
            return

    async def close(self) -> None:
        """The documents stay."""


def at_once(verb: Coroutine[Any, Any, T]) -> T:
    """Run a verb of the memory backend to its end: it waits for nothing but a turn of the loop."""
    while True:
        try:
            verb.send(None)
        except StopIteration as end:
            return cast(T, end.value)


def _answer(reply: asyncio.Future[Any], answer: Any, problem: Exception | None) -> None:
    if reply.done():
        return
    if problem is not None:
        reply.set_exception(problem)
    else:
        reply.set_result(answer)


def _refuse(reply: asyncio.Future[Any], problem: Exception) -> None:
    if not reply.done():
        reply.set_exception(problem)
