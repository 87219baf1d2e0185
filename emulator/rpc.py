"""What every RPC handler needs around it: sizes, failures as gRPC statuses, methods that are not here."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc

from emulator.protocol import Message, Refused, invalid

log = logging.getLogger("emulator")

Handler: TypeAlias = Callable[[Message, Any], Awaitable[Message]]
StreamHandler: TypeAlias = Callable[[Message, Any], AsyncIterator[Message]]

REQUEST_BYTES_MAX = 10 * 1024 * 1024  # Firestore quota
READ_SECONDS_MAX = 60  # as production; also frees a view whose reader went to sleep


def unary(handler: Handler, request: Any) -> Any:
    """A gRPC method handler with one answer."""

    async def answer(message: Message, context: Any) -> Message:
        try:
            _check_size(message)
            return await handler(message, context)
        except Exception as error:
            # Every failure becomes a gRPC status.
            await _fail(context, error)

    return grpc.unary_unary_rpc_method_handler(answer, request.FromString, serialise)


def streaming(handler: StreamHandler, request: Any) -> Any:
    """A gRPC method handler with a stream of answers."""

    async def answer(message: Message, context: Any) -> AsyncIterator[Message]:
        try:
            _check_size(message)
            async for response in handler(message, context):
                yield response
        except Exception as error:
            # Every failure becomes a gRPC status.
            await _fail(context, error)

    return grpc.unary_stream_rpc_method_handler(answer, request.FromString, serialise)


def unimplemented(method: str) -> Any:
    """A handler that says what to use instead."""

    async def answer(_requests: Any, context: Any) -> None:
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"{method} is not implemented by this local Firestore; use Commit, RunQuery, RunAggregationQuery or "
            "Listen, or run against the official emulator.",
        )

    return grpc.stream_stream_rpc_method_handler(answer)


def method_name(handler: Any) -> str:
    """`run_query` as the wire calls it: `RunQuery`."""
    return "".join(word.capitalize() for word in handler.__name__.split("_"))


def serialise(message: Message) -> bytes:
    """A message's bytes."""
    return bytes(message.SerializeToString())


def _check_size(request: Message) -> None:
    if request.ByteSize() > REQUEST_BYTES_MAX:
        raise invalid(f"Request payload size exceeds the limit: {REQUEST_BYTES_MAX} bytes.")


async def _fail(context: Any, error: Exception) -> None:
    if isinstance(error, Refused):
        await context.abort(error.code, error.message)
    elif isinstance(error, TimeoutError):
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"The read took over {READ_SECONDS_MAX} s.")
    log.error("a request failed", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, f"The local Firestore failed: {error!r}")
