"""What a listener hears when the stream itself behaves oddly: a stream that says what the test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.cloud.firestore_v1 import types

from firestore import codec
from firestore.backend import Query
from firestore.watch import Watch
from tests.firestore.test_listen import following, told

DATABASE = "projects/p/databases/(default)"
Change = types.TargetChange.TargetChangeType
Reply: Any = types.ListenResponse.pb()


class Stream:
    """One Listen call: `asked` is what came in, `say` what goes out."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[Any] = asyncio.Queue()
        self.said: asyncio.Queue[Any] = asyncio.Queue()

    def say(self, *replies: Any) -> None:
        for reply in replies:
            self.said.put_nowait(reply)

    async def read(self) -> Any:
        reply = await self.said.get()
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def write(self, request: Any) -> None:
        self.asked.put_nowait(request)

    def cancel(self) -> None:
        self.say(asyncio.CancelledError())

    async def added(self) -> Any:
        """The next target that was asked for."""
        async with asyncio.timeout(5):
            while True:
                request = await self.asked.get()
                if request.HasField("add_target"):
                    return request.add_target


class Firestore:
    def __init__(self) -> None:
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()

    async def open(self) -> Stream:
        stream = Stream()
        self.streams.put_nowait(stream)
        return stream

    async def stream(self) -> Stream:
        async with asyncio.timeout(5):
            return await self.streams.get()


def document(target: int, path: str, version_micros: int, **data: Any) -> Any:
    reply = Reply()
    reply.document_change.target_ids.append(target)
    reply.document_change.document.name = f"{DATABASE}/documents/{path}"
    reply.document_change.document.update_time.nanos = version_micros * 1_000
    codec.encode_document(reply.document_change.document, data)
    return reply


def change(kind: int, *targets: int, token: bytes = b"", read: bool = False, cause: int = 0) -> Any:
    reply = Reply()
    reply.target_change.target_change_type = kind
    reply.target_change.target_ids.extend(targets)
    reply.target_change.resume_token = token
    if read:
        reply.target_change.read_time.seconds = 1
    if cause:
        reply.target_change.cause.code = cause
        reply.target_change.cause.message = "as told"
    return reply


def settled(token: bytes) -> Any:
    return change(Change.NO_CHANGE, token=token, read=True)


def counted(target: int, count: int) -> Any:
    reply = Reply()
    reply.filter.target_id, reply.filter.count = target, count
    return reply


def broken(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "as told")


@pytest.fixture
def firestore() -> Firestore:
    return Firestore()


@pytest_asyncio.fixture
async def watch(firestore: Firestore) -> AsyncIterator[Watch]:
    watch = Watch(firestore.open, DATABASE)
    yield watch
    await watch.close()


async def test_pieces_wait_for_a_consistent_moment(firestore: Firestore, watch: Watch) -> None:
    batches = watch.listen(Query("a"))
    first = asyncio.ensure_future(following(batches))
    stream = await firestore.stream()
    id_ = (await stream.added()).target_id
    stream.say(change(Change.ADD, id_), settled(b"0"), document(id_, "a/1", 5, n=1), change(Change.CURRENT, id_))
    await asyncio.sleep(0.01)
    assert not first.done()
    stream.say(settled(b"1"))
    assert told(await first) == ([("a/1", {"n": 1})], (), False)
    await batches.aclose()


async def test_a_break_forgets_pieces_and_asks_from_the_last_moment(firestore: Firestore, watch: Watch) -> None:
    batches = watch.listen(Query("a"))
    first = asyncio.ensure_future(following(batches))
    stream = await firestore.stream()
    id_ = (await stream.added()).target_id
    stream.say(document(id_, "a/1", 5, n=1), change(Change.CURRENT, id_), settled(b"1"))
    await first
    # The token 2 covers a piece that was never handed on: it must not be the one to resume from.
    stream.say(
        document(id_, "a/2", 6, n=2), change(Change.NO_CHANGE, id_, token=b"2"), broken(grpc.StatusCode.INTERNAL)
    )
    again = await firestore.stream()
    target = await again.added()
    assert (target.resume_token, target.expected_count.value) == (b"1", 1)
    again.say(document(target.target_id, "a/2", 6, n=2), change(Change.CURRENT, target.target_id), settled(b"3"))
    assert told(await following(batches)) == ([("a/2", {"n": 2})], (), False)
    await batches.aclose()


async def test_a_removal_that_went_missing_is_found_by_the_count(firestore: Firestore, watch: Watch) -> None:
    batches = watch.listen(Query("a"))
    first = asyncio.ensure_future(following(batches))
    stream = await firestore.stream()
    id_ = (await stream.added()).target_id
    stream.say(document(id_, "a/1", 5, n=1), document(id_, "a/2", 5, n=2), change(Change.CURRENT, id_), settled(b"1"))
    await first
    stream.say(counted(id_, 2), counted(id_, 1))  # the first is right, and changes nothing
    target = await stream.added()
    assert (target.target_id > id_, target.resume_token) == (True, b"")
    stream.say(document(id_, "a/9", 9, late=True))  # of the old number
    new = target.target_id
    stream.say(document(new, "a/2", 5, n=2), change(Change.CURRENT, new), settled(b"2"))
    assert told(await following(batches)) == ([], ("a/1",), False)
    await batches.aclose()


async def test_a_reset_is_told_as_what_differs(firestore: Firestore, watch: Watch) -> None:
    batches = watch.listen(Query("a"))
    first = asyncio.ensure_future(following(batches))
    stream = await firestore.stream()
    id_ = (await stream.added()).target_id
    stream.say(document(id_, "a/1", 5, n=1), document(id_, "a/2", 5, n=2), change(Change.CURRENT, id_), settled(b"1"))
    await first
    stream.say(change(Change.RESET, id_, token=b"2"), document(id_, "a/2", 5, n=2), document(id_, "a/3", 7, n=3))
    stream.say(change(Change.CURRENT, id_), settled(b"3"))
    assert told(await following(batches)) == ([("a/3", {"n": 3})], ("a/1",), False)
    await batches.aclose()


async def test_a_refused_target_fails_alone(firestore: Firestore, watch: Watch) -> None:
    good, bad = watch.listen(Query("a")), watch.listen(Query("b"))
    waiting = [asyncio.ensure_future(following(batches)) for batches in (good, bad)]
    stream = await firestore.stream()
    by_path = {}
    for _ in waiting:
        target = await stream.added()
        by_path[target.query.structured_query.from_[0].collection_id] = target.target_id
    stream.say(change(Change.REMOVE, by_path["b"], cause=9))
    with pytest.raises(ValueError, match="as told"):
        await waiting[1]
    stream.say(change(Change.CURRENT, by_path["a"]), settled(b"1"))
    assert told(await waiting[0]) == ([], (), False)
    await good.aclose()


async def test_a_target_that_ends_the_stream_fails_and_the_others_resume(firestore: Firestore, watch: Watch) -> None:
    good = watch.listen(Query("a"))
    first = asyncio.ensure_future(following(good))
    stream = await firestore.stream()
    id_ = (await stream.added()).target_id
    stream.say(change(Change.ADD, id_), change(Change.CURRENT, id_), settled(b"1"))
    await first
    refused = asyncio.ensure_future(following(watch.listen(Query("b"))))
    await stream.added()
    stream.say(broken(grpc.StatusCode.INVALID_ARGUMENT))
    with pytest.raises(ValueError, match="as told"):
        await refused
    again = await firestore.stream()
    assert (await again.added()).resume_token == b"1"
    await good.aclose()


async def test_a_target_removed_for_a_while_is_asked_for_again(firestore: Firestore, watch: Watch) -> None:
    batches = watch.listen("a/1")
    first = asyncio.ensure_future(following(batches))
    stream = await firestore.stream()
    id_ = (await stream.added()).target_id
    stream.say(change(Change.REMOVE, id_, cause=14))
    again = await firestore.stream()
    assert list((await again.added()).documents.documents) == [f"{DATABASE}/documents/a/1"]
    again.say(document(id_, "a/1", 5, n=1), change(Change.CURRENT, id_), settled(b"1"))
    assert told(await first) == ([("a/1", {"n": 1})], (), False)
    await batches.aclose()


async def test_a_document_of_a_foreign_kind_fails_its_listener(firestore: Firestore, watch: Watch) -> None:
    batches = watch.listen(Query("a"))
    first = asyncio.ensure_future(following(batches))
    stream = await firestore.stream()
    id_ = (await stream.added()).target_id
    reply = document(id_, "a/1", 5)
    reply.document_change.document.fields["place"].geo_point_value.latitude = 1
    stream.say(reply)
    with pytest.raises(ValueError, match="geo_point_value"):
        await first
