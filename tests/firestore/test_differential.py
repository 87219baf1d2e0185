"""The same random calls on memory, our emulator and the official one: equal answers, or the round's seed and calls.

JIGA_DIFFERENTIAL_ROUNDS makes it a campaign, JIGA_DIFFERENTIAL_SEED begins at another seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from firestore.backend import Aggregate, Backend, Conflict, Filter, Order, Query, Snapshot, Write
from firestore.cloud import CloudBackend
from firestore.memory import MemoryBackend

ROUNDS = int(os.environ.get("JIGA_DIFFERENTIAL_ROUNDS", "30"))
FIRST_SEED = int(os.environ.get("JIGA_DIFFERENTIAL_SEED", "1"))
CALLS = 40

COLLECTIONS = ("shops", "shops/s1/items")
IDS = ("a", "b", "c", "d", "B", "1", "10", "2", "é", "ö-ö", "😀")
FIELDS = ("x", "y", "deep.z", "tags")
MOMENT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**53 + 1, 2**53, -(2**63), 1.0, 2.5, -2.5, float("inf"), float("nan")),
    *("", "a", "b", "aa", "é", "\uffff", "😀", b"", b"a", b"\xff"),
    *(MOMENT, MOMENT.replace(microsecond=0), datetime(1960, 1, 1, tzinfo=UTC)),
)
COMPOSED: tuple[Any, ...] = ([], [1], [1, "a"], [1.0], ["a", None], {}, {"z": 1}, {"z": 1, "a": 2}, {"z": {"q": [1]}})
VALUES = SCALARS + COMPOSED


@dataclass
class Side:
    """One backend in a round. `labels` name its versions by the write that made them, so that sides can be compared."""

    name: str
    backend: Backend
    labels: dict[int, str] = field(default_factory=dict)
    written: dict[str, list[int]] = field(default_factory=dict)  # path: versions


def exact(value: Any) -> Any:
    """A form in which 1, 1.0 and True differ, NaN equals itself and a map's order does not count."""
    if isinstance(value, dict):
        return {name: exact(one) for name, one in value.items()}
    if isinstance(value, list):
        return [exact(one) for one in value]
    return repr(value)


def shown(side: Side, snapshot: Snapshot | None) -> Any:
    return snapshot and (snapshot.path, exact(dict(snapshot.data)), side.labels.get(snapshot.version, "unknown"))


class Round:
    def __init__(self, seed: int, sides: Sequence[Side]) -> None:
        self.random = random.Random(seed)
        self.sides = sides
        self.log: list[str] = [f"seed {seed}"]
        self.commits = 0
        self.last: list[Snapshot] = []
        # A few values per round, so that filters and cursors often hit what was stored.
        self.values = self.random.sample(VALUES, 7)
        self.comparable = [value for value in self.values if value is not None and value == value] or [1]

    async def play(self) -> None:
        for _ in range(8):
            await self.commit()
        for _ in range(CALLS):
            await self.random.choices([self.commit, self.get_many, self.query, self.aggregate], [5, 2, 8, 2])[0]()

    async def everywhere(self, what: str, call: Callable[[Side], Awaitable[Any]]) -> Any:
        self.log.append(what)
        answers = []
        for side in self.sides:
            try:
                answers.append(await call(side))
            except Conflict:
                answers.append("Conflict")
            except ValueError as error:
                self.log.append(f"  {side.name}: {error}")
                answers.append("ValueError")
        for side, answer in zip(self.sides[1:], answers[1:], strict=True):
            assert answer == answers[0], "\n".join(
                [*self.log[-60:], f"{self.sides[0].name}: {answers[0]}", f"{side.name}: {answer}"]
            )
        return answers[0]

    # ---- calls

    def path(self) -> str:
        return f"{self.random.choice(COLLECTIONS)}/{self.random.choice(IDS)}"

    def data(self) -> dict[str, Any]:
        pick = self.random.choice
        data: dict[str, Any] = {}
        if self.random.random() < 0.9:
            data["x"] = pick(self.values)
        if self.random.random() < 0.8:
            data["y"] = pick((0, 1, 2, 3, 1.0, "a", 2**62))
        if self.random.random() < 0.5:
            data["deep"] = {"z": pick(self.values)} if self.random.random() < 0.8 else pick(self.values)
        if self.random.random() < 0.6:
            data["tags"] = [
                v for v in self.random.choices(self.values, k=self.random.randrange(4)) if not isinstance(v, list)
            ]
        if self.random.random() < 0.2:
            data["odd-name `x\\"] = pick(VALUES)
        return data

    def write(self, path: str) -> tuple[Write, int | None]:
        """A write, and which of the path's versions it demands, counted from the last."""
        chance = self.random.random()
        data: dict[str, Any] | None = None if self.random.random() < 0.15 else self.data()
        known = len(self.sides[0].written.get(path, ()))
        back = self.random.choice((1, 1, 1, 1, 1, 2)) if known else None
        if chance < (0.05 if known else 0.4):
            return Write(path, data or {}, must_be_absent=True), None
        if chance < 0.5 and back is not None and back <= known:
            return Write(path, data), back
        if chance < (0.75 if known else 0.45) and data is not None:
            mask = tuple({*data, *self.random.sample(("x", "y", "deep"), self.random.randrange(3))})
            return Write(path, data, mask=mask), back if back is not None and back <= known else None
        return Write(path, data), None

    async def commit(self) -> None:
        paths = {self.path() for _ in range(self.random.choice((1, 1, 2, 2, 3)))}
        planned = [self.write(path) for path in sorted(paths)]
        self.commits += 1

        async def call(side: Side) -> Any:
            writes = [
                write
                if back is None
                else Write(write.path, write.data, version=side.written[write.path][-back], mask=write.mask)
                for write, back in planned
            ]
            versions = await side.backend.commit(writes)
            assert len(versions) == len(writes)
            for (write, _), version in zip(planned, versions, strict=True):
                side.labels.setdefault(version, f"commit {self.commits}")
                if write.data is not None:  # a deletion leaves nothing whose version one could demand
                    side.written.setdefault(write.path, []).append(version)
            return [side.labels[version] for version in versions]

        await self.everywhere(f"commit {self.commits}: {planned}", call)

    async def get_many(self) -> None:
        paths = [self.path() for _ in range(self.random.randrange(1, 6))]

        async def call(side: Side) -> Any:
            return [shown(side, snapshot) for snapshot in await side.backend.get_many(paths)]

        await self.everywhere(f"get_many {paths}", call)

    def filters(self) -> tuple[Filter, ...]:
        filters = []
        for _ in range(self.random.choice((0, 0, 1, 1, 1, 2))):
            field_ = self.random.choice(("x", "x", "y", "deep.z"))
            op: Any = self.random.choice(("==", "==", "<", "<=", ">", ">=", "in"))
            if op == "in":
                count = self.random.randrange(1, 4)
                few: Any = [v for v in self.random.choices(self.comparable, k=count) if not isinstance(v, list)] or [1]
                filters.append(Filter(field_, op, few))
            else:
                values = self.values if op == "==" else self.comparable
                filters.append(Filter(field_, op, self.random.choice(values)))
        tags: list[Any] = [value for value in self.comparable if not isinstance(value, list)] or [1]
        if self.random.random() < 0.1:
            filters.append(Filter("tags", "array-contains", self.random.choice(tags)))
        elif self.random.random() < 0.1:
            filters.append(Filter("tags", "array-contains-any", self.random.choices(tags, k=3)))
        return tuple(filters)

    async def query(self) -> None:
        filters = self.filters()
        fields = self.random.sample(("x", "y", "deep.z"), self.random.randrange(3))
        order = tuple(Order(name, self.random.random() < 0.5) for name in fields)
        after = None
        implied = {f.field for f in filters if f.op in ("<", "<=", ">", ">=")} - set(fields)
        if self.random.random() < 0.4 and not implied:
            after = (*(self.random.choice(self.values) for _ in order), self.random.choice(IDS))
            if self.last and self.random.random() < 0.7:
                after = self.cursor(self.random.choice(self.last), order)
        asked = Query(
            self.random.choice(COLLECTIONS),
            filters,
            order,
            self.random.choice((None, None, 1, 2, 5)),
            after,
            self.random.choice((None, None, None, ("x",), ("deep.z", "y"), ())),
        )

        async def call(side: Side) -> Any:
            found = await side.backend.query(asked)
            if side is self.sides[0]:
                self.last = found if asked.fields is None else []
            return [shown(side, snapshot) for snapshot in found]

        await self.everywhere(f"{asked}", call)

    def cursor(self, snapshot: Snapshot, order: tuple[Order, ...]) -> tuple[Any, ...]:
        values = []
        for one in order:
            value: Any = snapshot.data
            for name in one.field.split("."):
                value = value.get(name) if isinstance(value, dict) else None
            values.append(value)
        return (*values, snapshot.id)

    async def aggregate(self) -> None:
        asked = Query(self.random.choice(COLLECTIONS), self.filters())
        every = {"n": Aggregate("count"), "s": Aggregate("sum", "y")}
        figures = self.random.choice([every, {"n": every["n"]}, {"s": every["s"]}])

        async def call(side: Side) -> Any:
            return exact(await side.backend.aggregate(asked, figures))

        await self.everywhere(f"aggregate {asked} {figures}", call)


@pytest.mark.parametrize("server", ["local_host", "official_host"])
async def test_random_calls_are_answered_alike(server: str, request: pytest.FixtureRequest) -> None:
    """Against memory, each server for itself, so that one server's absence does not hide the other."""
    host = request.getfixturevalue(server)
    for seed in range(FIRST_SEED, FIRST_SEED + ROUNDS):
        cloud = CloudBackend(f"demo-differential-{seed}", emulator_host=host)
        try:
            await Round(seed, [Side("memory", MemoryBackend()), Side(server, cloud)]).play()
        finally:
            await cloud.close()
