"""Optimistic transactions: what was read must still hold; conflicts are ABORTED, and the official client retries."""

import asyncio

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter


async def test_ten_writers_of_one_counter(db: firestore.AsyncClient) -> None:
    ref = db.document("c/counter")
    await ref.set({"n": 0})

    async def add() -> None:
        @firestore.async_transactional
        async def work(transaction: firestore.AsyncTransaction) -> None:
            found = await ref.get(transaction=transaction)
            transaction.update(ref, {"n": found.get("n") + 1})

        await work(db.transaction(max_attempts=60))

    await asyncio.gather(*(add() for _ in range(10)))
    assert (await ref.get()).get("n") == 10


async def test_a_changed_read_aborts_and_nothing_is_written(db: firestore.AsyncClient) -> None:
    await db.document("c/a").set({"n": 0})
    transaction = db.transaction()
    await transaction._begin()
    await db.document("c/a").get(transaction=transaction)
    await db.document("c/a").update({"n": 1})
    transaction.set(db.document("c/other"), {"n": 1})
    with pytest.raises(exceptions.Aborted, match="has changed since it was read"):
        await transaction._commit()
    assert not (await db.document("c/other").get()).exists


async def test_an_absent_document_that_appears_is_a_conflict(db: firestore.AsyncClient) -> None:
    transaction = db.transaction()
    await transaction._begin()
    assert not (await db.document("c/a").get(transaction=transaction)).exists
    await db.document("c/a").set({"n": 1})
    transaction.set(db.document("c/b"), {"n": 1})
    with pytest.raises(exceptions.Aborted):
        await transaction._commit()


@pytest.mark.parametrize(
    ("path", "data", "conflict"),
    [
        ("c/new", {"k": 1}, True),
        ("c/a", {"k": 2}, True),
        ("c/new", {"k": 2}, False),
        ("d/new", {"k": 1}, False),
    ],
)
async def test_phantoms(db: firestore.AsyncClient, path: str, data: dict[str, int], conflict: bool) -> None:
    await db.document("c/a").set({"k": 1})
    query = db.collection("c").where(filter=FieldFilter("k", "==", 1))
    transaction = db.transaction()
    await transaction._begin()
    assert [d.id async for d in query.stream(transaction=transaction)] == ["a"]
    await db.document(path).set(data)
    # Reads of one transaction see one moment, also when the world moved on.
    assert [d.id async for d in query.stream(transaction=transaction)] == ["a"]
    transaction.set(db.document("out/x"), {"n": 1})
    if conflict:
        with pytest.raises(exceptions.Aborted):
            await transaction._commit()
    else:
        await transaction._commit()
    assert (await db.document("out/x").get()).exists != conflict


async def test_writes_without_reads_do_not_conflict(db: firestore.AsyncClient) -> None:
    transaction = db.transaction()
    await transaction._begin()
    await db.document("c/a").set({"n": 1})
    transaction.set(db.document("c/a"), {"n": 2})
    await transaction._commit()
    assert (await db.document("c/a").get()).get("n") == 2


async def test_read_only_and_ended_transactions(db: firestore.AsyncClient) -> None:
    await db.document("c/a").set({"n": 1})
    transaction = db.transaction(read_only=True)
    await transaction._begin()
    assert (await db.document("c/a").get(transaction=transaction)).get("n") == 1
    key = transaction.id
    await transaction._rollback()
    with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
        await db._firestore_api.commit(request={"database": db._database_string, "transaction": key}, retry=None)
