"""A faulty line to Firestore that understands gRPC: it delays calls, refuses some, and loses replies, as it is told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

Code = grpc.StatusCode


class FaultyLine:
    """Passes every call on to `upstream`.

    `delay_seconds` is added to each. `refuse` gives the code with which a call of this name is refused, or None; `lose`
    says whether its reply is lost once Firestore has done it.
    """

    def __init__(self, upstream: str) -> None:
        self.delay_seconds = 0.0
        self.refuse: Callable[[str], Code | None] = lambda name: None
        self.lose: Callable[[str], bool] = lambda name: False
        self.calls: Counter[str] = Counter()
        self.moments: list[float] = []
        self._upstream = upstream
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.add_generic_rpc_handlers((_Any(self),))
        self._channel: grpc.aio.Channel | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> FaultyLine:
        self._channel = grpc.aio.insecure_channel(self._upstream, options=(("grpc.enable_http_proxy", 0),))
        await self._server.start()
        return self

    async def stop(self) -> None:
        await self._server.stop(None)
        if self._channel is not None:
            await self._channel.close(None)

    def calm(self) -> None:
        """No further faults, and nothing counted yet."""
        self.delay_seconds, self.refuse, self.lose = 0.0, lambda name: None, lambda name: False
        self.calls.clear()
        self.moments.clear()

    async def serve(self, method: str, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """One call of any kind: on the wire a single message is a stream of one."""
        name = method.rpartition("/")[2]
        self.calls[name] += 1
        self.moments.append(asyncio.get_running_loop().time())
        if name != "Listen" and self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        code = self.refuse(name)
        if code is not None:
            await context.abort(code, "the test's line refuses")
        assert self._channel is not None, "the line was started"
        metadata = tuple(
            pair for pair in context.invocation_metadata() if not pair[0].startswith(("user-agent", "grpc-"))
        )
        call = self._channel.stream_stream(method, None, None)(_passed(requests), metadata=metadata)
        lost = self.lose(name)
        try:
            async for reply in call:
                if not lost:
                    yield reply
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        if lost:
            await context.abort(Code.UNAVAILABLE, "the test's line lost the reply")


class _Any(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # it has none when it runs
    """Every method of every service, as bytes."""

    def __init__(self, line: FaultyLine) -> None:
        self._line = line

    def service(self, details: Any) -> Any:
        async def behave(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for reply in self._line.serve(details.method, requests, context):
                yield reply

        return grpc.stream_stream_rpc_method_handler(behave)


async def _passed(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


def sometimes(share: float, code: Code, seed: int = 1) -> Callable[[str], Code | None]:
    """Refuse this share of all calls but Listen's."""
    draw = random.Random(seed).random
    return lambda name: code if name != "Listen" and draw() < share else None
