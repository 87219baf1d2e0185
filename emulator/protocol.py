"""The wire's own words: raw protobuf classes of `google.firestore.v1`, refusals, and times in microseconds.

The raw classes (not their proto-plus wrappers) are used everywhere: they parse and serialise in C.
"""

from datetime import UTC, datetime
from typing import Any, TypeAlias

import grpc
from google.cloud.firestore_v1 import types
from google.protobuf import empty_pb2, timestamp_pb2

# Protobuf builds its classes at run time, so a type checker sees nothing of their fields.
Message: TypeAlias = Any

SERVICE = "google.firestore.v1.Firestore"

Document: Any = types.Document.pb()
Value: Any = types.Value.pb()
Write: Any = types.Write.pb()
WriteResult: Any = types.WriteResult.pb()
StructuredQuery: Any = types.StructuredQuery.pb()
StructuredAggregationQuery: Any = types.StructuredAggregationQuery.pb()
FieldTransform: Any = types.DocumentTransform.FieldTransform.pb()
GetDocumentRequest: Any = types.GetDocumentRequest.pb()
BatchGetDocumentsRequest: Any = types.BatchGetDocumentsRequest.pb()
BatchGetDocumentsResponse: Any = types.BatchGetDocumentsResponse.pb()
CommitRequest: Any = types.CommitRequest.pb()
CommitResponse: Any = types.CommitResponse.pb()
BatchWriteRequest: Any = types.BatchWriteRequest.pb()
BatchWriteResponse: Any = types.BatchWriteResponse.pb()
RunQueryRequest: Any = types.RunQueryRequest.pb()
RunQueryResponse: Any = types.RunQueryResponse.pb()
RunAggregationQueryRequest: Any = types.RunAggregationQueryRequest.pb()
RunAggregationQueryResponse: Any = types.RunAggregationQueryResponse.pb()
ListDocumentsRequest: Any = types.ListDocumentsRequest.pb()
ListDocumentsResponse: Any = types.ListDocumentsResponse.pb()
ListCollectionIdsRequest: Any = types.ListCollectionIdsRequest.pb()
ListCollectionIdsResponse: Any = types.ListCollectionIdsResponse.pb()
CreateDocumentRequest: Any = types.CreateDocumentRequest.pb()
UpdateDocumentRequest: Any = types.UpdateDocumentRequest.pb()
DeleteDocumentRequest: Any = types.DeleteDocumentRequest.pb()
BeginTransactionRequest: Any = types.BeginTransactionRequest.pb()
BeginTransactionResponse: Any = types.BeginTransactionResponse.pb()
RollbackRequest: Any = types.RollbackRequest.pb()
ListenRequest: Any = types.ListenRequest.pb()
ListenResponse: Any = types.ListenResponse.pb()
Target: Any = types.Target.pb()
TargetChange: Any = types.TargetChange.pb()
Empty: Any = empty_pb2.Empty
Timestamp: Any = timestamp_pb2.Timestamp


class Refused(Exception):
    """An answer other than OK: a gRPC status code and the text the client will see."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> Refused:
    """INVALID_ARGUMENT: the request can never succeed as it stands."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def failed_precondition(message: str) -> Refused:
    """FAILED_PRECONDITION: the request does not fit the present state."""
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, message)


def aborted(message: str) -> Refused:
    """ABORTED: a conflict; the official client retries the whole transaction."""
    return Refused(grpc.StatusCode.ABORTED, message)


def set_micros(stamp: Message, micros: int) -> None:
    """Write microseconds since 1970 into a protobuf Timestamp."""
    stamp.seconds, rest = divmod(micros, 1_000_000)
    stamp.nanos = rest * 1000


def timestamp(micros: int) -> Message:
    """A protobuf Timestamp for microseconds since 1970."""
    stamp = Timestamp()
    set_micros(stamp, micros)
    return stamp


def to_micros(stamp: Message) -> int:
    """Microseconds since 1970 of a protobuf Timestamp (finer digits are cut off)."""
    return int(stamp.seconds) * 1_000_000 + int(stamp.nanos) // 1000


def iso(micros: int) -> str:
    """A time as people and Firestore's messages write it."""
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat()
