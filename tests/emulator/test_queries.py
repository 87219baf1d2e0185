"""What queries find, in which order: through the official client, without declared indexes."""

import math
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import And, FieldFilter, Or
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.vector import Vector

VALUES: dict[str, Any] = {
    "null": None,
    "f": False,
    "t": True,
    "nan": math.nan,
    "neg0": -0.0,
    "one": 1,
    "onehalf": 1.5,
    "str": "s",
    "bytes": b"q",
    "geo": firestore.GeoPoint(1, 2),
    "arr": [1, None],
    "vec": Vector([1.0, 2.0]),
    "map": {"a": 1},
}
ORDERED = ["null", "f", "t", "nan", "neg0", "one", "onehalf", "str", "bytes", "geo", "arr", "vec", "map"]


async def ids(query: Any) -> list[str]:
    return [document.id async for document in query.stream()]


def where(*conditions: tuple[str, str, Any]) -> And:
    return And([FieldFilter(*condition) for condition in conditions])


@pytest.fixture
async def values(db: firestore.AsyncClient) -> firestore.AsyncCollectionReference:
    batch = db.batch()
    for key, value in VALUES.items():
        batch.set(db.document(f"v/{key}"), {"v": value, "w": 1})
    batch.set(db.document("v/absent"), {"w": 1})
    await batch.commit()
    return db.collection("v")


async def test_order_across_types(values: firestore.AsyncCollectionReference) -> None:
    assert await ids(values.order_by("v")) == ORDERED
    assert await ids(values.order_by("v", direction="DESCENDING")) == ORDERED[::-1]


@pytest.mark.parametrize(
    ("op", "operand", "found"),
    [
        ("==", 1.0, "one"),
        ("==", 0, "neg0"),
        ("==", None, "null"),
        ("==", math.nan, "nan"),
        ("==", {"a": 1}, "map"),
        ("<", 1, "neg0"),
        ("<=", 1, "neg0 one"),
        (">", 1, "onehalf"),
        (">=", 1, "one onehalf"),
        (">", False, "t"),
        (">=", False, "f t"),
        ("<=", "z", "str"),
        ("!=", 1, "f t nan neg0 onehalf str bytes geo arr vec map"),
        ("!=", None, "f t nan neg0 one onehalf str bytes geo arr vec map"),
        ("!=", math.nan, "f t neg0 one onehalf str bytes geo arr vec map"),
        ("in", [1, None, math.nan, "s"], "one str"),
        ("not-in", [1, "s"], "f t nan neg0 onehalf bytes geo arr vec map"),
        ("not-in", [1, None], ""),
        ("array_contains", 1.0, "arr"),
        ("array_contains_any", ["x", 1], "arr"),
    ],
)
async def test_operators(values: firestore.AsyncCollectionReference, op: str, operand: Any, found: str) -> None:
    matched = await ids(values.where(filter=FieldFilter("v", op, operand)))
    assert sorted(matched) == sorted(found.split())
    if op in ("<", "<=", ">", ">=", "!=", "not-in"):
        assert matched == found.split()


@pytest.fixture
async def grid(db: firestore.AsyncClient) -> firestore.AsyncCollectionReference:
    """16 documents `ab` with a, b of 0..3, and tags."""
    batch = db.batch()
    for a in range(4):
        for b in range(4):
            batch.set(db.document(f"g/{a}{b}"), {"a": a, "b": b, "m": {"s": a + b}, "tags": [a, f"t{b}"]})
    await batch.commit()
    return db.collection("g")


async def test_combined_filters(grid: firestore.AsyncCollectionReference) -> None:
    assert await ids(grid.where(filter=where(("a", "==", 1), ("b", ">", 1)))) == ["12", "13"]
    assert await ids(grid.where(filter=where(("a", ">", 1), ("b", "<", 1)))) == ["20", "30"]
    assert await ids(grid.where(filter=where(("a", ">=", 2), ("b", "!=", 1))).order_by("b").limit(3)) == [
        "20",
        "30",
        "22",
    ]
    assert await ids(grid.where(filter=where(("tags", "array_contains", "t2"), ("a", "==", 3)))) == ["32"]
    assert await ids(grid.where(filter=where(("m.s", "==", 6)))) == ["33"]
    either = Or([FieldFilter("a", "==", 3), where(("b", "==", 0), ("a", "in", [0, 3]))])
    assert await ids(grid.where(filter=either)) == ["00", "30", "31", "32", "33"]
    assert await ids(grid.where(filter=either).order_by("b", direction="DESCENDING").limit(3)) == ["33", "32", "31"]
    assert await ids(grid.where(filter=where(("a", "in", [2, 0]), ("b", "in", [1, 3])))) == ["01", "03", "21", "23"]
    assert await ids(grid.where(filter=where(("a", "==", 1), ("a", "==", 2)))) == []


async def test_order_of_an_equality_field_and_cursors(grid: firestore.AsyncCollectionReference) -> None:
    fixed = grid.where(filter=where(("a", "==", 1))).order_by("a").order_by("b", direction="DESCENDING")
    assert await ids(fixed) == ["13", "12", "11", "10"]
    assert await ids(fixed.start_after({"a": 1, "b": 2})) == ["11", "10"]
    assert await ids(fixed.start_at({"a": 0})) == ["13", "12", "11", "10"]
    assert await ids(fixed.start_at({"a": 2})) == []
    assert await ids(fixed.end_before({"a": 1, "b": 1})) == ["13", "12"]
    several = grid.where(filter=where(("a", "in", [0, 2]))).order_by("a", direction="DESCENDING").limit(5)
    assert await ids(several) == ["23", "22", "21", "20", "03"]


async def test_cursors_limits_and_projection(grid: firestore.AsyncCollectionReference) -> None:
    by_b = grid.order_by("b").order_by("a", direction="DESCENDING")
    assert (await ids(by_b))[:6] == ["30", "20", "10", "00", "31", "21"]
    assert await ids(by_b.start_after({"b": 2, "a": 1}).limit(3)) == ["02", "33", "23"]
    assert await ids(by_b.start_at({"b": 3}).end_at({"b": 3, "a": 2})) == ["33", "23"]
    snapshot = await grid.document("21").get()
    assert (await ids(by_b.start_at(snapshot)))[:2] == ["21", "11"]
    assert [d.id for d in await grid.order_by("b").limit_to_last(2).get()] == ["23", "33"]
    assert await ids(by_b.offset(14)) == ["13", "03"]
    assert await ids(by_b.offset(16)) == []
    assert await ids(grid.limit(0)) == []
    one = [d async for d in grid.select(["m.s", "none"]).limit(1).stream()]
    assert one[0].to_dict() == {"m": {"s": 0}}
    keys = [d async for d in grid.select([]).limit(1).stream()]
    assert (keys[0].id, keys[0].to_dict()) == ("00", {})


async def test_names(grid: firestore.AsyncCollectionReference) -> None:
    name = "__name__"
    assert await ids(grid.where(filter=FieldFilter(name, "==", grid.document("21")))) == ["21"]
    assert await ids(grid.where(filter=FieldFilter(name, "in", [grid.document("33"), grid.document("00")]))) == [
        "00",
        "33",
    ]
    assert await ids(grid.where(filter=FieldFilter(name, ">", grid.document("31")))) == ["32", "33"]
    assert len(await ids(grid.where(filter=FieldFilter(name, "!=", grid.document("21"))))) == 15
    within = where(("a", "==", 2), (name, ">=", grid.document("22")))
    assert await ids(grid.where(filter=within)) == ["22", "23"]


async def test_groups_parents_and_recursive_deletes(
    db: firestore.AsyncClient, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)  # the bulk writer makes a client of its own
    for path in ("a/1/c/x", "a/2/c/y", "c/z", "b/1/c/1/c/w", "a/2/d/q"):
        await db.document(path).set({"p": path, "n": len(path)})
    group = db.collection_group("c")
    assert [d.reference.path async for d in group.stream()] == ["a/1/c/x", "a/2/c/y", "b/1/c/1/c/w", "c/z"]
    assert await ids(group.where(filter=FieldFilter("n", ">", 4)).order_by("n")) == ["x", "y", "w"]
    assert await ids(db.collection("a", "2", "c")) == ["y"]
    assert [c.id async for c in db.collections()] == ["a", "b", "c"]
    assert [c.id async for c in db.document("a/2").collections()] == ["c", "d"]
    assert [d.id async for d in db.collection("a").list_documents()] == ["1", "2"]
    assert [d.id async for d in db.collection("a").list_documents(page_size=1)] == ["1", "2"]
    assert await aggregates(group.count(alias="n")) == {"n": 4}
    assert await db.recursive_delete(db.collection("a")) == 3
    assert [d.reference.path async for d in group.stream()] == ["b/1/c/1/c/w", "c/z"]


async def aggregates(query: Any) -> dict[str, Any]:
    return {a.alias: a.value for row in await query.get() for a in row}


async def test_aggregations(db: firestore.AsyncClient) -> None:
    c = db.collection("s")
    for key, data in {
        "a": {"x": 2**62, "y": 2, "k": 1},
        "b": {"x": 2**62 - 1, "k": 1},
        "c": {"x": "text", "k": 1},
        "d": {"y": 0.5, "k": 2},
    }.items():
        await c.document(key).set(data)
    assert await aggregates(c.count(alias="n")) == {"n": 4}
    assert await aggregates(c.where(filter=FieldFilter("k", "in", [None])).count(alias="n")) == {"n": 0}
    assert await aggregates(c.limit(3).count(alias="n")) == {"n": 3}
    assert await aggregates(c.where(filter=FieldFilter("k", "==", 1)).count(alias="n")) == {"n": 3}
    assert await aggregates(c.where(filter=FieldFilter("k", "in", [1, 2])).count(alias="n")) == {"n": 4}
    assert await aggregates(c.sum("x", alias="s").count(alias="n")) == {"s": 2**63 - 1, "n": 3}
    assert await aggregates(c.sum("y", alias="s").avg("y", alias="a")) == {"s": 2.5, "a": 1.25}
    assert await aggregates(c.sum("none", alias="s").avg("none", alias="a")) == {"s": 0, "a": 0}
    await c.document("e").set({"x": 1})
    found = await aggregates(c.sum("x", alias="s"))
    assert found == {"s": 9.223372036854775807e18}
    assert isinstance(found["s"], float)


async def test_nearest_neighbours(db: firestore.AsyncClient) -> None:
    c = db.collection("e")
    for key, (color, numbers) in {"a": ("r", [1.0, 0.0]), "b": ("g", [0.0, 1.0]), "c": ("r", [3.0, 4.0])}.items():
        await c.document(key).set({"color": color, "v": Vector(numbers)})
    near = c.find_nearest("v", Vector([1.0, 0.0]), 2, DistanceMeasure.EUCLIDEAN, distance_result_field="d")
    assert [(d.id, d.get("d")) async for d in near.stream()] == [("a", 0.0), ("b", math.sqrt(2))]
    dot = c.where(filter=FieldFilter("color", "==", "r")).find_nearest(
        "v", Vector([1.0, 1.0]), 5, DistanceMeasure.DOT_PRODUCT, distance_threshold=2.0
    )
    assert await ids(dot) == ["c"]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([("v", "in", list(range(31)))], "up to 30"),
        ([("v", "not-in", list(range(11)))], "up to 10"),
        ([("v", "in", list(range(8))), ("w", "in", list(range(5)))], "30 disjunctions"),
        ([("v", "array_contains", 1), ("w", "array_contains", 2)], "maximum of 1 'ARRAY_CONTAINS'"),
        ([("v", "!=", 1), ("w", "not-in", [2])], "Only a single 'NOT_EQUAL'"),
        ([("v", "in", [])], "requires a non-empty ArrayValue"),
    ],
)
async def test_filters_out_of_bounds_are_refused(
    db: firestore.AsyncClient, conditions: list[tuple[str, str, Any]], message: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=message):
        await ids(db.collection("v").where(filter=where(*conditions)))


async def test_long_values_are_ordered_by_what_is_indexed_and_matched_whole(db: firestore.AsyncClient) -> None:
    c = db.collection("long")
    stem = "x" * 2000
    for key, tail in {"a": "3", "b": "2", "c": "1"}.items():
        await c.document(key).set({"s": stem + tail})
    assert await ids(c.where(filter=FieldFilter("s", "==", stem + "2"))) == ["b"]
    assert await ids(c.where(filter=FieldFilter("s", ">", stem + "1"))) == ["a", "b"]
    assert await ids(c.order_by("s").start_after({"s": stem + "1"})) == []
