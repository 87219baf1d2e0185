"""Masks, transforms, preconditions, limits, times: through the official client."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import types as t

V = t.Value
FT = t.DocumentTransform.FieldTransform
INT64_MAX = 2**63 - 1


async def commit(db: firestore.AsyncClient, *writes: t.Write) -> t.CommitResponse:
    request = t.CommitRequest(database=db._database_string, writes=writes)
    return await db._firestore_api.commit(request=request, retry=None)


def name_of(db: firestore.AsyncClient, path: str = "c/a") -> str:
    return db.document(path)._document_path


def transform(db: firestore.AsyncClient, *transforms: FT) -> t.Write:
    return t.Write(update=t.Document(name=name_of(db)), update_mask=t.DocumentMask(), update_transforms=transforms)


async def test_masks_merge_replace_and_delete(db: firestore.AsyncClient) -> None:
    ref = db.document("c/a")
    await ref.set({"a": 1, "m": {"x": 1, "y": 2}, "gone": 1})
    await ref.update({"m.x": 5, "gone": firestore.DELETE_FIELD, "m.`odd.name`": 7})
    assert (await ref.get()).to_dict() == {"a": 1, "m": {"x": 5, "y": 2, "odd.name": 7}}
    await ref.set({"m": {"z": 3}}, merge=True)
    assert (await ref.get()).to_dict() == {"a": 1, "m": {"x": 5, "y": 2, "odd.name": 7, "z": 3}}
    await ref.update({"a.deep": True})
    assert (await ref.get()).get("a") == {"deep": True}
    await ref.set({"only": 1})
    assert (await ref.get()).to_dict() == {"only": 1}
    assert (await ref.get(["none"])).to_dict() == {}
    empty = t.Write(update=t.Document(name=name_of(db, "c/empty")), update_mask=t.DocumentMask())
    await commit(db, empty)
    assert (await db.document("c/empty").get()).to_dict() == {}


@pytest.mark.parametrize(
    ("stored", "kind", "operand", "expected"),
    [
        (V(integer_value=5), "increment", V(integer_value=-7), V(integer_value=-2)),
        (V(integer_value=INT64_MAX - 1), "increment", V(integer_value=5), V(integer_value=INT64_MAX)),
        (V(integer_value=-INT64_MAX), "increment", V(integer_value=-5), V(integer_value=-INT64_MAX - 1)),
        (V(integer_value=1), "increment", V(double_value=0.5), V(double_value=1.5)),
        (V(double_value=0.5), "increment", V(integer_value=1), V(double_value=1.5)),
        (V(string_value="x"), "increment", V(integer_value=1), V(integer_value=1)),
        (None, "increment", V(integer_value=3), V(integer_value=3)),
        (V(integer_value=3), "maximum", V(double_value=3.0), V(integer_value=3)),
        (V(integer_value=3), "maximum", V(double_value=3.5), V(double_value=3.5)),
        (V(integer_value=3), "minimum", V(integer_value=2), V(integer_value=2)),
        (V(double_value=-0.0), "minimum", V(integer_value=0), V(double_value=-0.0)),
        (None, "minimum", V(integer_value=9), V(integer_value=9)),
        (V(boolean_value=True), "maximum", V(integer_value=-9), V(integer_value=-9)),
    ],
)
async def test_numeric_transforms(
    db: firestore.AsyncClient, stored: V | None, kind: str, operand: V, expected: V
) -> None:
    if stored is not None:
        await commit(db, t.Write(update=t.Document(name=name_of(db), fields={"f": stored})))
    response = await commit(db, transform(db, FT(field_path="f", **{kind: operand})))
    assert response.write_results[0].transform_results == [expected]
    found = await db._firestore_api.get_document(request={"name": name_of(db)})
    assert found.fields["f"] == expected


async def test_nan_wins_maximum_and_minimum(db: firestore.AsyncClient) -> None:
    await db.document("c/a").set({"hi": 1, "lo": math.nan})
    nan = V(double_value=math.nan)
    await commit(db, transform(db, FT(field_path="hi", maximum=nan), FT(field_path="lo", minimum=V(integer_value=0))))
    found = (await db.document("c/a").get()).to_dict()
    assert math.isnan(found["hi"])
    assert math.isnan(found["lo"])


async def test_array_transforms_and_server_time(db: firestore.AsyncClient) -> None:
    ref = db.document("c/a")
    await ref.set({"tags": [1, "x", None]})
    result = await ref.update({"tags": firestore.ArrayUnion([1.0, "y", "y", None]), "at": firestore.SERVER_TIMESTAMP})
    found = await ref.get()
    assert found.get("tags") == [1, "x", None, "y"]
    assert found.get("at").microsecond % 1000 == 0
    assert 0 <= (result.update_time - found.get("at")).total_seconds() < 0.001
    await ref.update({"tags": firestore.ArrayRemove([1.0, None])})
    assert (await ref.get()).get("tags") == ["x", "y"]
    await ref.update({"at": firestore.ArrayUnion([2])})
    assert (await ref.get()).get("at") == [2]


async def test_two_transforms_of_one_field_follow_each_other(db: firestore.AsyncClient) -> None:
    five = FT(field_path="k", increment=V(integer_value=5))
    response = await commit(db, transform(db, five, five))
    assert [r.integer_value for r in response.write_results[0].transform_results] == [5, 10]


async def test_preconditions(db: firestore.AsyncClient) -> None:
    ref = db.document("c/a")
    with pytest.raises(exceptions.NotFound, match="No document to update: projects/"):
        await ref.update({"a": 1})
    await ref.create({"a": 1})
    with pytest.raises(exceptions.AlreadyExists, match="Document already exists: projects/"):
        await ref.create({"a": 2})
    first = await ref.get()
    await ref.update({"a": 2})
    second = await ref.get()
    stale = db.write_option(last_update_time=first.update_time)
    for attempt in (ref.update({"a": 3}, option=stale), ref.delete(option=stale)):
        with pytest.raises(exceptions.FailedPrecondition, match="does not match the required base version"):
            await attempt
    assert (await ref.get()).to_dict() == {"a": 2}
    await ref.update({"a": 3}, option=db.write_option(last_update_time=second.update_time))
    absent = t.Write(delete=name_of(db), current_document=t.Precondition(exists=False))
    with pytest.raises(exceptions.AlreadyExists):
        await commit(db, absent)
    await ref.delete(option=db.write_option(exists=True))
    with pytest.raises(exceptions.NotFound):
        await ref.delete(option=db.write_option(exists=True))
    await ref.delete()
    assert not (await ref.get()).exists


async def test_a_commit_is_all_or_nothing(db: firestore.AsyncClient) -> None:
    await db.document("c/there").set({"n": 1})
    batch = db.batch()
    batch.set(db.document("c/new"), {"n": 1})
    batch.update(db.document("c/there"), {"n": 2})
    batch.create(db.document("c/there"), {"n": 3})
    with pytest.raises(exceptions.AlreadyExists):
        await batch.commit()
    assert not (await db.document("c/new").get()).exists
    assert (await db.document("c/there").get()).to_dict() == {"n": 1}


async def test_bulk_write_reports_each_write(db: firestore.AsyncClient) -> None:
    await db.document("c/there").set({"n": 1})
    create = t.Precondition(exists=False)
    writes = [
        t.Write(
            update=t.Document(name=name_of(db, f"c/{key}"), fields={"n": V(integer_value=2)}), current_document=create
        )
        for key in ("new", "there")
    ]
    response = await db._firestore_api.batch_write(request={"database": db._database_string, "writes": writes})
    assert [status.code for status in response.status] == [0, 6]
    assert (await db.document("c/new").get()).to_dict() == {"n": 2}
    assert (await db.document("c/there").get()).to_dict() == {"n": 1}


async def test_unchanged_content_keeps_its_update_time(db: firestore.AsyncClient) -> None:
    ref = db.document("c/a")
    await ref.set({"a": 1, "b": math.nan})
    first = await ref.get()
    assert (await ref.set({"a": 1, "b": math.nan})).update_time == first.update_time
    assert (await ref.update({"a": firestore.Maximum(0)})).update_time == first.update_time
    later = await ref.set({"a": 1.0, "b": math.nan})
    assert later.update_time > first.update_time
    assert (await ref.get()).create_time == first.create_time


async def test_times_are_strictly_monotonic(db: firestore.AsyncClient) -> None:
    results = await asyncio.gather(*(db.document(f"c/{i}").set({"i": i}) for i in range(60)))
    times = [result.update_time for result in results]
    assert len(set(times)) == 60
    last = max(times)
    snapshot = await db.document("c/0").get()
    assert snapshot.read_time >= last
    assert (await db.document("c/0").set({"i": -1})).update_time > snapshot.read_time


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"f": "x" * 1_048_488}, "longer than 1048487 bytes"),
        ({"f": b"x" * 1_048_488}, "longer than 1048487 bytes"),
        ({"f": "x" * 600_000, "g": "x" * 600_000}, "exceeds the maximum allowed size of 1,048,576 bytes"),
        ({"f": [[1]]}, "array value in an array value"),
        ({"f": nested(21)}, "invalid nested entity"),
        ({"__x__": 1}, "reserved"),
        ({"x" * 1501: 1}, "longer than 1500 bytes"),
        ({"f": {f"k{i}": i for i in range(40_001)}}, "Too many index entries"),
    ],
)
async def test_documents_out_of_bounds_are_refused(
    db: firestore.AsyncClient, data: dict[str, Any], message: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=message):
        await db.document("c/a").set(data)
    assert not (await db.document("c/a").get()).exists


async def test_documents_at_the_bounds_are_kept(db: firestore.AsyncClient) -> None:
    for data in ({"f": "x" * 1_048_487}, {"f": nested(20)}):
        await db.document("c/a").set(data)
        assert (await db.document("c/a").get()).to_dict() == data


@pytest.mark.parametrize("key", [".", "..", "__x__", "x" * 1501])
async def test_bad_ids_are_refused(db: firestore.AsyncClient, key: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await db.document("c", key).set({})


async def test_a_request_over_10_mib_is_refused(db: firestore.AsyncClient) -> None:
    batch = db.batch()
    for i in range(11):
        batch.set(db.document(f"c/{i}"), {"f": "x" * 1_000_000})
    with pytest.raises(exceptions.InvalidArgument, match="payload size exceeds"):
        await batch.commit()


async def test_databases_and_projects_are_isolated(
    address: str, project: str, connect: Callable[..., firestore.AsyncClient]
) -> None:
    clients = [connect(address, project), connect(address, project, "other"), connect(address, project + "x")]
    for number, client in enumerate(clients):
        await client.document("c/a").set({"n": number})
    for number, client in enumerate(clients):
        assert [d.to_dict() async for d in client.collection("c").stream()] == [{"n": number}]
        assert [d.to_dict() async for d in client.collection_group("c").stream()] == [{"n": number}]


async def test_what_is_not_here_says_so(db: firestore.AsyncClient) -> None:
    request = {"parent": f"{db._database_string}/documents", "partition_count": 3}
    with pytest.raises(
        exceptions.MethodNotImplemented, match="PartitionQuery is not implemented by this local Firestore"
    ):
        await db._firestore_api.partition_query(request=request, retry=None)
