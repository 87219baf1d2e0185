"""What a process has left behind, byte for byte: the database's documents and the bank's files.

A restart knows nothing else, so that two processes which left the same are recovered from alike.
"""

from __future__ import annotations

from pathlib import Path

import grpc
from google.cloud.firestore_v1 import types

from firestore.cloud import EMULATOR_OPTIONS

SECONDS_MAX = 15.0

Stored = tuple[tuple[str, bytes], ...]

_Reply = types.RunQueryResponse.pb()


def stored(host: str, project: str, books: Path) -> Stored:
    """All of them, by name. The moments at which the server wrote are left out: they are of the server's clock, and
    the store only asks whether they are those that it has read."""
    with grpc.insecure_channel(host, options=EMULATOR_OPTIONS) as channel:
        documents = _documents(channel, f"projects/{project}/databases/(default)/documents")
    files = [(f"bank/{path.name}", path.read_bytes()) for path in books.iterdir()]
    return tuple(sorted([*documents, *files]))


def _documents(channel: grpc.Channel, parent: str) -> list[tuple[str, bytes]]:
    # A selector without a collection's name: a collection that nobody thought of is in it, too.
    everything = types.StructuredQuery(from_=[types.StructuredQuery.CollectionSelector(all_descendants=True)])
    query = channel.unary_stream(
        "/google.firestore.v1.Firestore/RunQuery",
        request_serializer=types.RunQueryRequest.serialize,
        response_deserializer=_Reply.FromString,
    )
    replies = query(types.RunQueryRequest(parent=parent, structured_query=everything), timeout=SECONDS_MAX)
    found = []
    for document in (reply.document for reply in replies if reply.HasField("document")):
        path = document.name.removeprefix(f"{parent}/")
        for each in ("name", "create_time", "update_time"):
            document.ClearField(each)
        found.append((path, document.SerializeToString(deterministic=True)))
    return found
