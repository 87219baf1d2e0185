"""The fence around Shopify's Admin API: its tokens, deadlines, rate limits and failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from domain.errors import Unavailable
from integrations import shopify_admin
from integrations.shopify_admin import AdminApi, AdminRefused
from tests.integrations.shopify_stand_in import PATH, SHOP, THROTTLED, TOKEN, Answer, StandIn, standing_in

NAME = "query Name { shop { name } }"
CHANGE = "mutation Name { shop { name } }"
JIGA = {"shop": {"name": "JIGA"}}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[StandIn]:
    async with standing_in(dict(JIGA)) as made:
        yield made


@pytest_asyncio.fixture
async def pauses() -> list[float]:
    return []


@pytest_asyncio.fixture
async def api(shop: StandIn, pauses: list[float]) -> AsyncIterator[AdminApi]:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    made = AdminApi(SHOP, TOKEN, site=shop.site, pause=pause)
    yield made
    await made.close()


def say(shop: StandIn, *answers: Answer) -> None:
    shop.instead = dict(enumerate(answers))


async def test_a_call_carries_the_version_and_the_token(shop: StandIn, api: AdminApi) -> None:
    assert await api.ask(NAME, {"a": [1, None, "é"]}) == JIGA
    (asked,) = shop.asked
    assert (asked.path, asked.headers["x-shopify-access-token"], asked.variables) == (
        PATH,
        TOKEN,
        {"a": [1, None, "é"]},
    )
    assert asked.headers["content-type"] == "application/json"


async def test_two_shops_at_once_keep_their_own_tokens() -> None:
    """The package keeps its session by thread, and falls back to what another thread has set."""
    async with standing_in(dict(JIGA)) as one, standing_in(dict(JIGA)) as two:
        shops = [(one, AdminApi("one", "token-1", site=one.site)), (two, AdminApi("two", "token-2", site=two.site))]
        await asyncio.gather(*(api.ask(NAME, {}) for _ in range(20) for _, api in shops))
        for number, (shop, api) in enumerate(shops, 1):
            await api.close()
            assert [each.headers["x-shopify-access-token"] for each in shop.asked] == [f"token-{number}"] * 20


async def test_a_throttled_call_waits_until_the_bucket_holds_it(
    shop: StandIn, api: AdminApi, pauses: list[float]
) -> None:  # T-F08
    say(shop, THROTTLED, Answer(429, "", {"Retry-After": "4.0"}), Answer(429, ""))
    assert await api.ask(NAME, {}) == JIGA
    assert pauses == [6.0, 4.0, 2.0]  # 712 needed, 112 there, 100 more each second


async def test_a_mutation_waits_for_a_rate_limit_too(shop: StandIn, api: AdminApi, pauses: list[float]) -> None:
    say(shop, THROTTLED)
    assert await api.change(CHANGE, {}) == JIGA
    assert pauses == [6.0]


async def test_waiting_has_an_end(shop: StandIn, api: AdminApi, pauses: list[float]) -> None:  # T-F08
    say(shop, *[Answer(429, "", {"Retry-After": "1000000000"})] * 10)
    with pytest.raises(Unavailable, match="no more calls for now"):
        await api.ask(NAME, {})
    say(shop, *[Answer(429, "", {"Retry-After": "60"})] * 20)
    pauses.clear()
    with pytest.raises(Unavailable, match="no more calls for now"):
        await api.ask(NAME, {})
    assert pauses == [30.0, 30.0, 30.0]


@pytest.mark.parametrize(
    "down",
    [
        Answer(500),
        Answer(503),
        Answer(200, b"not JSON"),
        Answer(200, {"data": None}),
        Answer(200, {"errors": [{"extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}),
    ],
    ids=repr,
)
async def test_a_query_is_asked_again_and_a_mutation_is_not(
    shop: StandIn, api: AdminApi, pauses: list[float], down: Answer
) -> None:
    say(shop, down, down)
    assert await api.ask(NAME, {}) == JIGA
    assert pauses == [1.0, 2.0]
    shop.instead = {3: down}
    with pytest.raises(Unavailable):
        await api.change(CHANGE, {})
    assert len(shop.asked) == 4


@pytest.mark.parametrize(
    "no",
    [
        Answer(401, {"errors": TOKEN}),
        Answer(403),
        Answer(404),
        Answer(302, "", {"Location": "http://127.0.0.1:9/elsewhere"}),
        Answer(200, {"errors": [{"message": f"denied {TOKEN}", "extensions": {"code": "ACCESS_DENIED"}}]}),
        Answer(200, {"errors": [{"message": "it costs too much", "extensions": {"code": "MAX_COST_EXCEEDED"}}]}),
    ],
    ids=lambda each: str(each.status),
)
async def test_a_refusal_is_final_and_keeps_the_token_secret(
    shop: StandIn, api: AdminApi, pauses: list[float], capfd: Any, no: Answer
) -> None:
    say(shop, *[no] * 3)
    with pytest.raises(AdminRefused) as refused:
        await api.ask(NAME, {})
    assert (len(shop.asked), pauses) == (1, [])
    assert TOKEN not in refused.value.message
    assert "".join(capfd.readouterr()) == ""  # the package's own client prints the bodies of errors


async def test_a_silent_shop_holds_up_nobody(
    shop: StandIn, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shopify_admin, "CALL_SECONDS_MAX", 0.3)
    say(shop, Answer(200, {"data": JIGA}, after_seconds=30))
    made = AdminApi(SHOP, TOKEN, site=shop.site)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    with pytest.raises(Unavailable, match="TimeoutError"):
        await made.change(CHANGE, {})
    ticking.cancel()
    assert ticks > 1  # a call that held the loop would leave the first tick alone
    assert await made.ask(NAME, {}) == JIGA
    await made.close()


async def test_a_shop_that_is_gone_is_unavailable() -> None:
    async with standing_in() as shop:
        site = shop.site
    made = AdminApi(SHOP, TOKEN, site=site)
    with pytest.raises(Unavailable, match="does not answer"):
        await made.change(CHANGE, {})
    await made.close()


async def test_an_endless_answer_is_cut(shop: StandIn, api: AdminApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shopify_admin, "ANSWER_BYTES_MAX", 1_000)
    say(shop, Answer(200, b" " * 100_000))
    with pytest.raises(Unavailable):
        await api.change(CHANGE, {})


async def test_its_threads_are_few(shop: StandIn, api: AdminApi) -> None:
    await asyncio.gather(*(api.ask(NAME, {}) for _ in range(30)))
    ours = [each for each in threading.enumerate() if each.name.startswith("shopify-admin")]
    assert len(shop.asked) == 30
    assert 1 <= len(ours) <= 2 * shopify_admin.THREADS  # another test's may still be ending
