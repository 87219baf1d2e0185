"""The verbs as every backend answers them, and what the cloud backend makes of Firestore's refusals and silences."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.cloud.firestore_v1 import types

from domain.errors import Unavailable
from firestore.backend import Aggregate, Backend, Conflict, Filter, Order, Query, Unclear, Write
from firestore.cloud import CloudBackend
from tests.emulators import start_local

Code = grpc.StatusCode


# ---- on every backend


async def test_a_commit_is_all_or_nothing(backend: Backend) -> None:
    (first,) = await backend.commit([Write("wallets/ann", {"available": 5}, must_be_absent=True)])
    with pytest.raises(Conflict):
        await backend.commit([Write("wallets/bob", {"available": 1}), Write("wallets/ann", {}, must_be_absent=True)])
    ann, bob = await backend.get_many(["wallets/ann", "wallets/bob"])
    assert ann is not None
    assert (ann.path, ann.data, ann.version) == ("wallets/ann", {"available": 5}, first)
    assert bob is None


async def test_a_version_updates_exactly_what_was_read(backend: Backend) -> None:
    (first,) = await backend.commit([Write("wallets/ann", {"available": 5})])
    (second,) = await backend.commit([Write("wallets/ann", {"available": 4}, version=first)])
    assert second > first
    for stale in (
        Write("wallets/ann", {"available": 9}, version=first),
        Write("wallets/ann", None, version=first),
        Write("wallets/none", {}, version=first),
        Write("wallets/none", {"available": 9}, mask=("available",)),
        Write("wallets/ann", {"available": 9}, mask=("available",), version=first),
    ):
        with pytest.raises(Conflict):
            await backend.commit([stale])
    (ann,) = await backend.get_many(["wallets/ann"])
    assert ann is not None
    assert (ann.data, ann.version) == ({"available": 4}, second)


async def test_of_ten_racing_updates_one_wins(backend: Backend) -> None:
    (version,) = await backend.commit([Write("wallets/ann", {"n": 0})])
    race = [backend.commit([Write("wallets/ann", {"n": n}, version=version)]) for n in range(1, 11)]
    answers = await asyncio.gather(*race, return_exceptions=True)
    won = [n for n, answer in enumerate(answers, 1) if isinstance(answer, tuple)]
    assert len(won) == 1
    assert {type(answer) for answer in answers} <= {tuple, Conflict}
    (ann,) = await backend.get_many(["wallets/ann"])
    assert ann is not None
    assert ann.data == {"n": won[0]}


async def test_a_mask_replaces_and_removes_whole_fields(backend: Backend) -> None:
    await backend.commit([Write("a/1", {"keep": 1, "map": {"x": 1, "y": 2}, "gone": 1, "a.b": 1, "é": 1})])
    await backend.commit([Write("a/1", {"map": {"x": 3}, "a.b": 2}, mask=("map", "gone", "a.b", "é"))])
    (found,) = await backend.get_many(["a/1"])
    assert found is not None
    assert found.data == {"keep": 1, "map": {"x": 3}, "a.b": 2}


async def test_unchanged_content_keeps_its_version(backend: Backend) -> None:
    first = await backend.commit([Write("a/1", {"x": 1})])
    assert await backend.commit([Write("a/1", {"x": 1}, version=first[0])]) == first
    assert await backend.commit([Write("a/1", {}, mask=(), version=first[0])]) == first
    assert await backend.commit([Write("a/1", {"x": 1.0})]) > first


async def test_get_many_keeps_the_order_and_repeats(backend: Backend) -> None:
    await backend.commit([Write(f"a/{n}", {"n": n}) for n in range(3)])
    found = await backend.get_many(["a/2", "a/9", "a/0", "a/2"])
    assert [one and one.data["n"] for one in found] == [2, None, 0, 2]
    assert await backend.get_many([]) == []
    assert await backend.commit([]) == ()


async def test_a_page_starts_behind_its_cursor(backend: Backend) -> None:
    await backend.commit(
        [Write(f"a/{id_}", {"n": n, "m": {"x": n}}) for id_, n in zip("abcde", (1, 2, 2, 2, 3), strict=True)]
    )
    await backend.commit([Write("a/z", {"other": 1}), Write("b/a", {"n": 1})])
    query = Query("a", order=(Order("n", descending=True),), limit=2)
    pages, after = [], None
    for _ in range(4):
        page = await backend.query(Query(query.collection, (), query.order, 2, after))
        pages.append([one.id for one in page])
        after = (page[-1].data["n"], page[-1].id) if page else after
    assert pages == [["e", "d"], ["c", "b"], ["a"], []]
    named = await backend.query(Query("a", after=("c",), fields=("m.x", "none")))
    assert [(one.id, one.data) for one in named] == [("d", {"m": {"x": 2}}), ("e", {"m": {"x": 3}}), ("z", {})]


async def test_figures(backend: Backend) -> None:
    everything = Query("a")
    figures = {"n": Aggregate("count"), "sum": Aggregate("sum", "x")}
    assert await backend.aggregate(everything, figures) == {"n": 0, "sum": 0}
    await backend.commit([Write("a/1", {"x": 2**53 + 1}), Write("a/2", {"x": 2}), Write("a/3", {"x": "text"})])
    answer = await backend.aggregate(everything, figures)
    assert (answer, type(answer["sum"])) == ({"n": 3, "sum": 2**53 + 3}, int)
    assert await backend.aggregate(Query("a", limit=2), {"n": Aggregate("count")}) == {"n": 2}


async def test_a_count_beside_a_sum_leaves_out_documents_without_the_field(backend: Backend) -> None:
    await backend.commit([Write("a/1", {"x": 1}), Write("a/2", {"y": 1})])
    assert await backend.aggregate(Query("a"), {"n": Aggregate("count"), "s": Aggregate("sum", "x")}) == {
        "n": 1,
        "s": 1,
    }
    assert await backend.aggregate(Query("a"), {"n": Aggregate("count")}) == {"n": 2}


async def test_a_reading_at_a_time_is_one_consistent_state(backend: Backend) -> None:
    await backend.commit([Write("a/1", {"n": 1}), Write("a/2", {"n": 1})])
    (version,) = await backend.commit([Write("a/1", {"n": 2})])
    await backend.commit([Write("a/2", None), Write("a/3", {"n": 5})])
    then = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=version // 1_000)
    assert [one and one.data["n"] for one in await backend.get_many(["a/1", "a/2", "a/3"], read_time=then)] == [
        2,
        1,
        None,
    ]
    assert [one.data["n"] for one in await backend.query(Query("a"), read_time=then)] == [2, 1]
    assert await backend.aggregate(Query("a"), {"s": Aggregate("sum", "n")}, read_time=then) == {"s": 3}


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (Query("a/b"), "is a document"),
        (Query("a", limit=0), "choose 1 to 10000"),
        (Query("a", (Filter("x", "in", []),)), "list of 1 to 30"),
        (Query("a", (Filter("x", "in", list(range(31))),)), "31 alternatives"),
        (Query("a", (Filter("x", ">", None),)), "only == asks for null"),
        (Query("a", (Filter("x", ">", 1),), after=("b",)), r"needs \['x'\] in the query's order"),
        (Query("a", order=(Order("x"),), after=("b",)), "one value per order"),
        (Query("a", order=(Order("__name__"),)), "ends with the document's name"),
        (Query("a", (Filter("x", "array-contains", 1), Filter("y", "array-contains", 1))), "one array filter"),
    ],
)  # fmt: skip
async def test_a_query_that_firestore_refuses_is_our_fault(backend: Backend, query: Query, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        await backend.query(query)


@pytest.mark.parametrize(
    ("writes", "why"),
    [
        ([Write("a", {})], "is no document"),
        ([Write("a/..", {})], "is no id"),
        ([Write("a/" + "é" * 751, {})], "1502 bytes"),
        ([Write("a/1", {}), Write("a/1", {})], "written twice"),
        ([Write("a/1", None, must_be_absent=True)], "goes with data alone"),
        ([Write("a/1", {"x": 1}, mask=("y",))], "would be lost"),
        ([Write("a/1", {}, version=17)], "is no version"),
        ([Write(f"a/{n}", {}) for n in range(501)], "at most 500"),
        ([Write("a/1", {"x": datetime(2026, 1, 1)})], "time zone"),  # noqa: DTZ001 - the point of the test
    ],
)
async def test_a_commit_that_means_nothing_is_our_fault(backend: Backend, writes: list[Write], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        await backend.commit(writes)
    assert await backend.get_many(["a/1"]) == [None]


# ---- on servers


async def test_twenty_levels_are_held(cloud: CloudBackend) -> None:
    data: dict[str, Any] = {}
    for _ in range(20):
        data = {"in": data}
    await cloud.commit([Write("a/1", data)])
    (found,) = await cloud.get_many(["a/1"])
    assert found is not None
    assert found.data == data


async def test_databases_of_a_project_are_apart(host: str, project: str) -> None:
    default, named = CloudBackend(project, emulator_host=host), CloudBackend(project, "other", emulator_host=host)
    await default.commit([Write("a/1", {"x": 1})])
    assert await named.get_many(["a/1"]) == [None]
    await default.close()
    await named.close()


async def test_a_missing_index_is_our_fault(tmp_path: Path) -> None:
    """Only our emulator can know: the official one does not enforce indexes."""
    indexes = tmp_path / "indexes.json"
    indexes.write_text(json.dumps({"indexes": [], "fieldOverrides": []}))
    emulator = start_local(tmp_path, "--indexes", str(indexes))
    backend = CloudBackend("demo-indexes", emulator_host=emulator.host)
    query = Query("a", (Filter("x", "==", 1),), (Order("y"),))
    try:
        with pytest.raises(ValueError, match="index"):
            await backend.query(query)
        with pytest.raises(ValueError, match="index"):
            await anext(backend.listen(query))
    finally:
        await backend.close()
        emulator.stop()


# ---- against a server that answers as told


@dataclass
class Puppet:
    """A Firestore that fails `codes` in turn and then answers with nothing; it remembers how it was called."""

    codes: list[grpc.StatusCode] = field(default_factory=list)
    silent: bool = False
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def handler(self, details: Any) -> Any:
        method = details.method.rpartition("/")[2]
        metadata = {key: str(value) for key, value in details.invocation_metadata}

        async def obey(request: bytes, context: Any) -> None:
            self.calls.append((method, metadata))
            if self.silent:
                await asyncio.sleep(60)
            if self.codes:
                await context.abort(self.codes.pop(0), "as told")

        async def one(request: bytes, context: Any) -> bytes:
            await obey(request, context)
            return types.CommitResponse.pb()().SerializeToString()  # type: ignore[no-any-return]

        async def many(request: bytes, context: Any) -> AsyncIterator[bytes]:
            await obey(request, context)
            return
            yield b""

        if method == "Commit":
            return grpc.unary_unary_rpc_method_handler(one)
        return grpc.unary_stream_rpc_method_handler(many)


@asynccontextmanager
async def puppet_backend(puppet: Puppet, deadline_seconds: float = 1.8) -> AsyncIterator[CloudBackend]:
    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            return puppet.handler(handler_call_details)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    backend = CloudBackend("demo-puppet", emulator_host=f"127.0.0.1:{port}", deadline_seconds=deadline_seconds)
    try:
        yield backend
    finally:
        await backend.close()
        await server.stop(None)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.ALREADY_EXISTS, Conflict),
        (Code.FAILED_PRECONDITION, Conflict),
        (Code.ABORTED, Conflict),
        (Code.NOT_FOUND, Conflict),
        (Code.DEADLINE_EXCEEDED, Unclear),
        (Code.UNAVAILABLE, Unclear),
        (Code.INTERNAL, Unclear),
        (Code.CANCELLED, Unclear),
        (Code.UNKNOWN, Unclear),
        (Code.RESOURCE_EXHAUSTED, Unavailable),
        (Code.INVALID_ARGUMENT, ValueError),
        (Code.PERMISSION_DENIED, ValueError),
    ],
)
async def test_a_commit_is_tried_once_and_says_what_is_known(code: Any, error: type[Exception]) -> None:
    puppet = Puppet([code])
    async with puppet_backend(puppet) as backend:
        with pytest.raises(error) as caught:
            await backend.commit([Write("a/1", {})])
    assert type(caught.value) is error
    assert len(puppet.calls) == 1


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.ABORTED, Code.INTERNAL, Code.RESOURCE_EXHAUSTED])
async def test_a_reading_is_tried_three_times(code: Any) -> None:
    puppet = Puppet([code, code])
    async with puppet_backend(puppet) as backend:
        assert await backend.query(Query("a")) == []
        assert len(puppet.calls) == 3
        puppet.codes = [code, code, code]
        with pytest.raises(Unavailable):
            await backend.get_many(["a/1"])
    assert len(puppet.calls) == 6


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.INVALID_ARGUMENT, ValueError),
        (Code.FAILED_PRECONDITION, ValueError),
        (Code.PERMISSION_DENIED, ValueError),
        (Code.DEADLINE_EXCEEDED, Unavailable),
        (Code.UNKNOWN, Unavailable),
    ],
)
async def test_other_errors_of_a_reading_are_final(code: Any, error: type[Exception]) -> None:
    puppet = Puppet([code])
    async with puppet_backend(puppet) as backend:
        with pytest.raises(error):
            await backend.query(Query("a"))
    assert len(puppet.calls) == 1


async def test_a_cancelled_caller_is_cancelled(backend: Backend) -> None:
    task = asyncio.create_task(backend.get_many(["a/1"]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_answers_what_is_under_way() -> None:
    puppet = Puppet(silent=True)
    async with puppet_backend(puppet, deadline_seconds=30) as backend:
        calls = [backend.query(Query("a")), backend.commit([Write("a/1", {})])]
        tasks = [asyncio.ensure_future(call) for call in calls]
        while len(puppet.calls) < 2:
            await asyncio.sleep(0.01)
        await backend.close()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable, Unclear]
        with pytest.raises(Unavailable, match="closing"):
            await backend.query(Query("a"))


async def test_requests_say_where_they_go() -> None:
    puppet = Puppet()
    async with puppet_backend(puppet) as backend:
        await backend.commit([Write("a/1", {})])
        await backend.query(Query("a/1/b"))
    (_, commit), (_, query) = puppet.calls
    database = "projects/demo-puppet/databases/(default)"
    assert commit["google-cloud-resource-prefix"] == query["google-cloud-resource-prefix"] == database
    assert commit["authorization"] == "Bearer owner"
    quoted = "projects%2Fdemo-puppet%2Fdatabases%2F%28default%29"
    assert commit["x-goog-request-params"] == f"database={quoted}"
    assert query["x-goog-request-params"] == f"parent={quoted}%2Fdocuments%2Fa%2F1"
