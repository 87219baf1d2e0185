"""Declared indexes: enforced, merged, rebuilt; and what a page costs, in rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.types import RunQueryRequest, RunQueryResponse


def index(group: str, *fields: str, scope: str = "COLLECTION") -> dict[str, Any]:
    """`a` ascending, `-a` descending, `a[]` contains."""
    rows = [
        {"fieldPath": f[:-2], "arrayConfig": "CONTAINS"}
        if f.endswith("[]")
        else {"fieldPath": f.lstrip("-"), "order": "DESCENDING" if f.startswith("-") else "ASCENDING"}
        for f in fields
    ]
    return {"collectionGroup": group, "queryScope": scope, "fields": rows}


DECLARED = {
    "indexes": [
        index("c", "kind", "-at"),
        index("c", "color", "-at"),
        index("c", "tags[]", "-at"),
        index("c", "kind", "color", "size"),
        index("c", "kind", "at", scope="COLLECTION_GROUP"),
        index("c", "kind", "size"),
    ],
    "fieldOverrides": [
        {"collectionGroup": "c", "fieldPath": "body", "indexes": []},
        {
            "collectionGroup": "c",
            "fieldPath": "owner",
            "indexes": [
                {"order": "ASCENDING", "queryScope": "COLLECTION"},
                {"order": "ASCENDING", "queryScope": "COLLECTION_GROUP"},
            ],
        },
    ],
}


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    path = tmp_path / "firestore.indexes.json"
    path.write_text(json.dumps(DECLARED))
    return path


def narrowed(query: Any, conditions: dict[str, Any]) -> Any:
    for text, value in conditions.items():
        field, _, op = text.partition(" ")
        query = query.where(filter=FieldFilter(field, op or "==", value))
    return query


def ordered(query: Any, *fields: str) -> Any:
    for field in fields:
        query = query.order_by(field.lstrip("-"), direction="DESCENDING" if field.startswith("-") else "ASCENDING")
    return query


async def ids(query: Any) -> list[str]:
    return [document.id async for document in query.stream(retry=None)]


async def fill(db: firestore.AsyncClient, count: int, collection: str = "c") -> None:
    for begin in range(0, count, 250):
        batch = db.batch()
        for i in range(begin, min(begin + 250, count)):
            data = {"kind": i % 2, "color": i % 3, "size": i % 5, "at": i, "tags": [i % 7], "body": "b", "owner": i % 4}
            batch.set(db.document(f"{collection}/{i:06}"), data)
        await batch.commit()


async def test_enforcement(start: Callable[..., Any], connect: Any, declared: Path, project: str) -> None:
    db = connect(start("--indexes", str(declared)).address, project)
    await fill(db, 60)
    c, group = db.collection("c"), db.collection_group("c")
    allowed = [
        (ordered(narrowed(c, {"kind": 1}), "-at"), [f"{i:06}" for i in range(59, 0, -2)]),
        (ordered(narrowed(c, {"kind": 1, "color": 2, "tags array_contains": 3}), "-at"), ["000059", "000017"]),
        (narrowed(c, {"kind": 1, "color": 2, "size": 0}), ["000005", "000035"]),
        (narrowed(c, {"kind": 0, "owner": 2, "size": 0}), ["000010", "000030", "000050"]),
        (narrowed(c, {"kind": 1, "color": 2, "size >": 3}), ["000029", "000059"]),
        (narrowed(c, {"kind in": [0, 1], "at >": 57}).order_by("at", direction="DESCENDING"), ["000059", "000058"]),
        (narrowed(group, {"kind": 1, "at >=": 57}), ["000057", "000059"]),
        (narrowed(group, {"owner": 3}).limit(2), ["000003", "000007"]),
        (ordered(c, "-at").limit(1), ["000059"]),
    ]
    for query, expected in allowed:
        assert await ids(query) == expected
    refused = [
        (ordered(narrowed(c, {"kind": 1}), "at"), index("c", "kind", "at")),
        (ordered(narrowed(c, {"size": 1}), "-at"), index("c", "size", "-at")),
        (narrowed(c, {"color": 1, "at >": 3}), index("c", "color", "at")),
        (ordered(c, "at", "size"), index("c", "at", "size")),
        (ordered(narrowed(c, {"tags array_contains": 1}), "at"), index("c", "tags[]", "at")),
        (ordered(narrowed(group, {"kind": 1}), "-at"), index("c", "kind", "-at", scope="COLLECTION_GROUP")),
        (ordered(c, "-__name__"), index("c", "-__name__")),
    ]
    for query, missing in refused:
        with pytest.raises(exceptions.FailedPrecondition, match="The query requires an index") as refusal:
            await ids(query)
        assert f'in "indexes": {json.dumps(missing)}' in refusal.value.message
    single = {
        "collectionGroup": "c",
        "fieldPath": "body",
        "indexes": [{"order": "ASCENDING", "queryScope": "COLLECTION"}],
    }
    with pytest.raises(exceptions.FailedPrecondition) as refusal:
        await ids(narrowed(c, {"body": "b"}))
    assert f'in "fieldOverrides": {json.dumps(single)}' in refusal.value.message
    for query in (ordered(c, "-owner"), narrowed(group, {"color": 1})):
        with pytest.raises(exceptions.FailedPrecondition, match="fieldOverrides"):
            await ids(query)


async def test_aggregations_need_the_summed_field_in_the_index(
    start: Callable[..., Any], connect: Any, declared: Path, project: str
) -> None:
    db = connect(start("--indexes", str(declared)).address, project)
    await fill(db, 20)
    c = db.collection("c")
    assert (await narrowed(c, {"kind": 1}).sum("size").get())[0][0].value == 20
    assert (await c.sum("at").get())[0][0].value == 190
    with pytest.raises(exceptions.FailedPrecondition) as refusal:
        await narrowed(c, {"color": 1}).sum("size").get()
    assert json.dumps(index("c", "color", "size")) in refusal.value.message


async def test_rows_are_rebuilt_when_the_declaration_changes(
    start: Callable[..., Any], connect: Any, declared: Path, project: str
) -> None:
    first = start("--indexes", str(declared))
    db = connect(first.address, project)
    await fill(db, 10)
    query = ordered(narrowed(db.collection("c"), {"color": 1}), "size")
    with pytest.raises(exceptions.FailedPrecondition):
        await ids(query)
    assert first.stop() == 0
    declared.write_text(json.dumps({"indexes": [*DECLARED["indexes"], index("c", "color", "size")]}))
    db = connect(start("--indexes", str(declared)).address, project)
    query = ordered(narrowed(db.collection("c"), {"color": 1}), "size")
    assert await ids(query) == ["000001", "000007", "000004"]
    assert len(await ids(narrowed(db.collection("c"), {"body": "b"}))) == 10


async def rows_scanned(address: str, query: Any) -> tuple[list[str], int]:
    """The ids found, and the rows the server looked at for them."""
    parent, _ = query._parent._parent_info()
    request = RunQueryRequest(parent=parent, structured_query=query._to_protobuf())
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_stream(
            "/google.firestore.v1.Firestore/RunQuery",
            request_serializer=RunQueryRequest.serialize,
            response_deserializer=RunQueryResponse.deserialize,
        )(request)
        found = [response.document.name.rpartition("/")[2] async for response in call if response.document.name]
        return found, int(dict(await call.trailing_metadata())["x-rows-scanned"])


async def test_a_page_costs_its_rows_whatever_the_collection_holds(
    start: Callable[..., Any], connect: Any, declared: Path, project: str
) -> None:
    address = start("--indexes", str(declared)).address
    costs = []
    # The sizes differ by a multiple of the pattern's period, so that the newest documents look alike.
    for size, name in ((100, project), (100 + 14 * 200, project + "-big")):
        db = connect(address, name)
        await fill(db, size)
        await db.document("c/000050/c/below").set({"kind": 1})
        c = db.collection("c")
        pages = [
            c.limit(10),
            c.order_by("at").start_after({"at": 40}).limit(10),
            ordered(narrowed(c, {"kind": 1}), "-at").limit(10),
            ordered(narrowed(c, {"kind": 1, "at <": 90}), "-at").limit(10),
            ordered(narrowed(c, {"kind in": [0, 1]}), "-at").limit(10),
            ordered(narrowed(c, {"kind": 1, "tags array_contains": 3}), "-at").limit(3),
            narrowed(c, {"owner": 3}).limit(10),
        ]
        results = [await rows_scanned(address, page) for page in pages]
        assert [len(found) for found, _ in results] == [10, 10, 10, 10, 10, 3, 10]
        costs.append([rows for _, rows in results])
    assert costs[0] == costs[1]
    # One row a document; one more row for each further alternative that is merged.
    assert costs[0][:5] == [10, 10, 10, 10, 11]
    assert costs[0][6] == 10


async def test_a_broken_declaration_is_named(tmp_path: Path, start: Callable[..., Any]) -> None:
    path = tmp_path / "broken.json"
    path.write_text("{")
    with pytest.raises(AssertionError, match="did not start"):
        start("--indexes", str(path))
