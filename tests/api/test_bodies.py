"""Bodies at the machines' doors: bounded in size and time, and not read of who shows no signature (T-W01, T-G06)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import httpx
import pytest
import structlog
from starlette.datastructures import Headers
from starlette.types import Message

from functions import logs
from functions.webhooks.door import BODY_BYTES_MAX
from integrations.bodies import BODY_SECONDS, BodyRefused, ClientLeft, read_body
from tests.api.api import Market, Rig
from tests.make import NOW

SIGNED = {"x-shopify-hmac-sha256": "AAAA"}


class Sender:
    """A client that sends byte by byte, and counts what was asked of it."""

    def __init__(self, bytes_: int, pause_seconds: float = 0.0) -> None:
        self.asked = 0
        self._bytes = bytes_
        self._pause_seconds = pause_seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.asked < self._bytes:
            self.asked += 1
            await asyncio.sleep(self._pause_seconds)
            yield b" " * 10_000


@pytest.mark.parametrize("way", ["/webhooks/shopify", "/webhooks/stripe"])
async def test_without_a_signature_nothing_is_read(rig: Rig, way: str) -> None:
    sender = Sender(10)
    answer = await rig.http.post(way, content=sender)
    assert (answer.status_code, answer.headers["connection"], sender.asked) == (401, "close", 0)
    assert "send it in the header" in answer.json()["message"]


async def test_no_more_is_read_than_can_be_kept(rig: Rig) -> None:
    sender = Sender(1_000)
    answer = await rig.http.post("/webhooks/shopify", content=sender, headers=SIGNED)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert sender.asked <= BODY_BYTES_MAX / 10_000 + 1
    announced = await rig.http.post("/webhooks/shopify", content=b" " * (BODY_BYTES_MAX + 1), headers=SIGNED)
    assert announced.status_code == 413
    assert (await rig.http.post("/webhooks/shopify", content=b" " * BODY_BYTES_MAX, headers=SIGNED)).status_code == 401


async def test_a_body_that_trickles_is_cut_off(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.webhooks.door.read_body", partial(read_body, seconds_max=0.05))
    answer = await rig.http.post("/webhooks/shopify", content=Sender(10**6, 0.01), headers=SIGNED)
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    assert BODY_SECONDS == 10


async def _leaving() -> Message:
    return {"type": "http.disconnect"}


async def _hanging() -> Message:
    await asyncio.sleep(10)
    raise AssertionError("the door waits for ever")


async def test_every_body_has_its_bounds() -> None:
    with pytest.raises(ClientLeft):
        await read_body({}, _leaving, 10)
    for headers, status in (({"content-length": "11"}, 413), ({"content-length": "-1"}, 400), ({}, 408)):
        with pytest.raises(BodyRefused) as refused:
            await read_body(headers, _hanging, 10, 0.01)
        assert refused.value.status == status


async def test_a_client_that_leaves_is_no_fault_of_ours(market: Market, request: pytest.FixtureRequest) -> None:
    begun = await market.rig.gallery.storage.sign_upload(
        "uploads/" + market.ids.upload, content_type="image/png", size_bytes=70, ends_at=NOW + timedelta(hours=1)
    )
    upload = httpx.URL(begun.url)
    asked: list[tuple[str, str, bytes, dict[str, str]]] = [
        ("POST", "/webhooks/shopify", b"", SIGNED),
        ("PUT", upload.path, upload.query, dict(begun.headers)),
        ("POST", "/local/checkout/shopify", b"", {}),
        ("POST", "/graphql", b"", {"content-type": "application/json"}),
    ]
    told = io.StringIO()
    logs.configure(json=True, stream=told)
    request.addfinalizer(structlog.reset_defaults)
    for method, path, query, headers in asked:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": Headers(headers).raw,
            "client": ("192.0.2.1", 1),
        }
        await market.rig.http._transport.app(scope, _leaving, _swallow)  # type: ignore[attr-defined]
    assert '"error"' not in told.getvalue(), told.getvalue()
    assert told.getvalue().count('"request"') == len(asked)


async def _swallow(message: Message) -> None:
    """Nobody is there."""
