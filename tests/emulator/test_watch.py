"""Listen: snapshots, order, removal, resume, reset; raw streams, and the official client's `on_snapshot`."""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import pytest
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.types import ListenRequest, ListenResponse, Target

TYPES = ["NO_CHANGE", "ADD", "REMOVE", "CURRENT", "RESET"]


class Stream:
    """One raw Listen stream; `until_snapshot` gathers events up to the NO_CHANGE that dates them."""

    def __init__(self, address: str, db: firestore.AsyncClient) -> None:
        self.database = db._database_string
        self.channel = grpc.aio.insecure_channel(address)
        self.call = self.channel.stream_stream(
            "/google.firestore.v1.Firestore/Listen",
            request_serializer=ListenRequest.serialize,
            response_deserializer=ListenResponse.deserialize,
        )()
        self.token = b""
        self.read_time: Any = None

    async def add(self, query: Any, number: int = 1, **options: Any) -> None:
        query = query if hasattr(query, "_parent") else query._query()
        parent, _ = query._parent._parent_info()
        target = Target(
            query=Target.QueryTarget(parent=parent, structured_query=query._to_protobuf()), target_id=number, **options
        )
        await self.call.write(ListenRequest(database=self.database, add_target=target))

    async def add_documents(self, *refs: Any, number: int = 1, **options: Any) -> None:
        names = [ref._document_path for ref in refs]
        target = Target(documents=Target.DocumentsTarget(documents=names), target_id=number, **options)
        await self.call.write(ListenRequest(database=self.database, add_target=target))

    async def next(self) -> tuple[str, Any]:
        response = await asyncio.wait_for(self.call.read(), 10)
        kind = ListenResponse.pb(response).WhichOneof("response_type")
        if kind == "target_change":
            change = response.target_change
            if change.resume_token:
                assert self.read_time is None or change.read_time >= self.read_time
                self.token, self.read_time = change.resume_token, change.read_time
            return TYPES[change.target_change_type], list(change.target_ids)
        if kind == "document_change":
            document = response.document_change.document
            return "change", (document.name.rpartition("/")[2], document.fields["n"].integer_value)
        event = response.document_delete if kind == "document_delete" else response.document_remove
        return kind.removeprefix("document_"), event.document.rpartition("/")[2]

    async def until_snapshot(self) -> list[tuple[str, Any]]:
        events = []
        while True:
            event = await self.next()
            if event == ("NO_CHANGE", []):
                return events
            events.append(event)

    async def close(self) -> None:
        self.call.cancel()
        await self.channel.close()


@pytest.fixture
async def stream(address: str, db: firestore.AsyncClient) -> AsyncIterator[Stream]:
    opened = Stream(address, db)
    yield opened
    await opened.close()


async def test_a_query_from_its_first_snapshot_on(db: firestore.AsyncClient, stream: Stream) -> None:
    c = db.collection("c")
    await c.document("a").set({"n": 1})
    await c.document("low").set({"n": -1})
    await stream.add(c.where(filter=FieldFilter("n", ">", 0)).order_by("n"))
    assert await stream.until_snapshot() == [("ADD", [1]), ("change", ("a", 1)), ("CURRENT", [1])]
    await c.document("b").set({"n": 2})
    assert await stream.until_snapshot() == [("change", ("b", 2))]
    await c.document("low").set({"n": -2})
    await c.document("a").set({"n": -5})
    assert await stream.until_snapshot() == [("remove", "a")]
    await c.document("b").delete()
    assert await stream.until_snapshot() == [("delete", "b")]
    batch = db.batch()
    batch.set(c.document("x"), {"n": 7})
    batch.set(c.document("y"), {"n": 8})
    done = await batch.commit()
    assert sorted(await stream.until_snapshot()) == [("change", ("x", 7)), ("change", ("y", 8))]
    assert stream.read_time >= done[0].update_time


async def test_changes_come_in_commit_order(db: firestore.AsyncClient, stream: Stream) -> None:
    await stream.add(db.collection("c"))
    await stream.until_snapshot()
    committed = await asyncio.gather(*(db.document(f"c/d{i:03}").set({"n": i}) for i in range(80)))
    seen: list[Any] = []
    while len(seen) < 80:
        seen += [payload for kind, payload in await stream.until_snapshot() if kind == "change"]
    order = sorted(range(80), key=lambda i: committed[i].update_time)
    assert seen == [(f"d{i:03}", i) for i in order]


async def test_a_limit_lets_the_next_one_in(db: firestore.AsyncClient, stream: Stream) -> None:
    c = db.collection("c")
    for n in range(4):
        await c.document(f"d{n}").set({"n": n})
    await stream.add(c.order_by("n").limit(2))
    assert [event for event in await stream.until_snapshot() if event[0] == "change"] == [
        ("change", ("d0", 0)),
        ("change", ("d1", 1)),
    ]
    await c.document("d0").delete()
    assert await stream.until_snapshot() == [("delete", "d0"), ("change", ("d2", 2))]
    await c.document("first").set({"n": -1})
    assert await stream.until_snapshot() == [("remove", "d2"), ("change", ("first", -1))]


async def test_documents_and_two_targets(db: firestore.AsyncClient, stream: Stream) -> None:
    a, b = db.document("c/a"), db.document("c/b")
    await a.set({"n": 1})
    await stream.add_documents(a, b)
    assert await stream.until_snapshot() == [("ADD", [1]), ("delete", "b"), ("change", ("a", 1)), ("CURRENT", [1])]
    await stream.add(db.collection("other"), number=2)
    assert await stream.until_snapshot() == [("ADD", [2]), ("CURRENT", [2])]
    await b.set({"n": 2})
    assert await stream.until_snapshot() == [("change", ("b", 2))]
    await stream.call.write(ListenRequest(database=stream.database, remove_target=1))
    assert await stream.next() == ("REMOVE", [1])
    await a.delete()
    await db.document("other/x").set({"n": 3})
    assert await stream.until_snapshot() == [("change", ("x", 3))]


async def test_resume_tells_only_what_changed(address: str, db: firestore.AsyncClient) -> None:
    c = db.collection("c")
    for key in "abc":
        await c.document(key).set({"n": 1})
    first = Stream(address, db)
    await first.add(c)
    await first.until_snapshot()
    await first.close()
    await c.document("a").delete()
    await c.document("b").set({"n": 2})
    await c.document("d").set({"n": 4})
    second = Stream(address, db)
    await second.add(c, resume_token=first.token)
    assert await second.until_snapshot() == [
        ("ADD", [1]),
        ("delete", "a"),
        ("change", ("b", 2)),
        ("change", ("d", 4)),
        ("CURRENT", [1]),
    ]
    await second.close()
    third = Stream(address, db)
    await third.add_documents(c.document("b"), c.document("a"), resume_token=second.token)
    assert await third.until_snapshot() == [("ADD", [1]), ("CURRENT", [1])]
    await third.close()


async def test_an_unknown_token_resets(db: firestore.AsyncClient, stream: Stream) -> None:
    await db.document("c/a").set({"n": 1})
    await stream.add(db.collection("c"), resume_token=b"from another file")
    expected = [("ADD", [1]), ("RESET", [1]), ("change", ("a", 1)), ("CURRENT", [1])]
    assert await stream.until_snapshot() == expected


async def test_resume_survives_a_restart_and_resets_when_history_is_gone(
    start: Callable[..., Any], connect: Any, project: str
) -> None:
    server = start("--history-seconds", "1")
    db = connect(server.address, project)
    await db.document("c/a").set({"n": 1})
    await db.document("c/b").set({"n": 2})
    first = Stream(server.address, db)
    await first.add(db.collection("c"))
    await first.until_snapshot()
    await first.close()
    await db.document("c/a").delete()
    assert server.stop() == 0
    server = start("--history-seconds", "1")
    db = connect(server.address, project)
    second = Stream(server.address, db)
    await second.add(db.collection("c"), resume_token=first.token)
    assert await second.until_snapshot() == [("ADD", [1]), ("delete", "a"), ("CURRENT", [1])]
    await second.close()
    await asyncio.sleep(1.1)
    for n in range(3):
        await db.document("c/b").set({"n": 10 + n})
    third = Stream(server.address, db)
    await third.add(db.collection("c"), resume_token=first.token)
    assert await third.until_snapshot() == [("ADD", [1]), ("RESET", [1]), ("change", ("b", 12)), ("CURRENT", [1])]
    await third.close()


async def test_a_bad_target_is_removed_with_its_cause(db: firestore.AsyncClient, stream: Stream) -> None:
    await stream.add(db.collection("c").where(filter=FieldFilter("a", "in", list(range(31)))))
    assert await stream.next() == ("REMOVE", [1])
    await stream.add(db.collection("c"), number=2, once=True)
    assert await stream.until_snapshot() == [("ADD", [2]), ("CURRENT", [2])]
    assert await stream.next() == ("REMOVE", [2])


async def test_a_stream_that_lags_catches_up(address: str, db: firestore.AsyncClient) -> None:
    """A thousand commits while nobody reads: in the end the client knows the last state."""
    slow = Stream(address, db)
    await slow.add(db.collection("c"))
    await slow.until_snapshot()
    for _ in range(10):
        await asyncio.gather(*(db.document(f"c/{i}").set({"n": i, "pad": "x" * 3000}) for i in range(50)))
        await asyncio.gather(*(db.document(f"c/{i}").set({"n": -i, "pad": "x" * 3000}) for i in range(50)))
    await db.document("c/0").delete()
    await db.document("c/last").set({"n": 99})
    known: dict[str, int] = {}
    while "last" not in known:
        for kind, payload in await slow.until_snapshot():
            if kind == "change":
                known[payload[0]] = payload[1]
            else:
                known.pop(payload, None)
    assert known == {str(i): -i for i in range(1, 50)} | {"last": 99}
    await slow.close()


async def test_on_snapshot_of_the_official_client(address: str, connect_sync: Any, project: str) -> None:
    client = connect_sync(address, project)
    client.document("c/a").set({"n": 1})
    seen: queue.Queue[Any] = queue.Queue()
    watch = (
        client.collection("c")
        .order_by("n")
        .on_snapshot(
            lambda documents, changes, _time: seen.put(
                ([d.id for d in documents], [(change.type.name, change.document.id) for change in changes])
            )
        )
    )

    async def got() -> Any:
        return await asyncio.to_thread(seen.get, True, 10)

    assert await got() == (["a"], [("ADDED", "a")])
    client.document("c/b").set({"n": 0})
    assert await got() == (["b", "a"], [("ADDED", "b")])
    client.document("c/a").update({"n": -1})
    assert await got() == (["a", "b"], [("MODIFIED", "a")])
    client.document("c/a").delete()
    assert await got() == (["b"], [("REMOVED", "a")])
    watch.unsubscribe()
