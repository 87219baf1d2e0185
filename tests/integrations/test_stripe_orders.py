"""Stripe's books, read back for reconciliation (I11, T-W22, T-F08)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.errors import Unavailable
from domain.orders import OrderFacts
from integrations.services import OrderSource
from integrations.stripe import StripeApi
from integrations.stripe_events import ORDER_TYPES
from integrations.stripe_orders import StripeOrders
from tests.integrations.stripe_stand_in import KEY, Answer, Asked, refusal, standing_in

PAYLOADS = Path(__file__).parent.parent / "payloads"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
INTENT = "pi_3SJiga2eZvKYlo2C0aBcDeFg"


def event(name: str, number: int, at: datetime, **changes: object) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((PAYLOADS / f"stripe_{name}.json").read_text("utf-8"))
    told["data"]["object"] |= changes
    return told | {"id": f"evt_{number}", "created": int(at.timestamp())}


def thing(name: str, at: datetime, **changes: object) -> dict[str, Any]:
    about: dict[str, Any] = event(name, 0, at)["data"]["object"]
    return about | {"created": int(at.timestamp())} | changes


class Books:
    """Lists as Stripe does: the newest first, a page at a time, within `created`."""

    def __init__(self, held: dict[str, list[dict[str, Any]]], page: int = 2) -> None:
        self._held = {path: sorted(them, key=lambda each: -each["created"]) for path, them in held.items()}
        self._page = page

    def __call__(self, asked: Asked) -> Answer:
        query = dict(asked.query)
        since, until = int(query["created[gte]"]), int(query["created[lt]"])
        found = [each for each in self._held.get(asked.path, []) if since <= each["created"] < until]
        if "starting_after" in query:
            found = found[[each["id"] for each in found].index(query["starting_after"]) + 1 :]
        data, more = found[: self._page], len(found) > self._page
        return Answer({"object": "list", "data": data, "has_more": more, "url": asked.path})


async def read(
    answer: Callable[[Asked], Answer], since: datetime, until: datetime = NOON, waits: list[float] | None = None
) -> tuple[list[OrderFacts], list[Asked]]:
    async def pause(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    async with standing_in(answer) as there:
        api = StripeApi(KEY, base_url=there.url)
        source = StripeOrders(api, clock=lambda: NOON, pause=pause)
        conforming: OrderSource = source
        try:
            return [facts async for facts in conforming.orders(since, until)], there.asked
        finally:
            await source.close()


def keys(told: list[OrderFacts]) -> list[str]:
    return [report.key for facts in told for report in facts.reports]


class TestEvents:
    async def test_a_recent_window_is_read_from_events_oldest_first(self) -> None:
        held = [
            event("refund_created", number, NOON - timedelta(hours=47) + timedelta(hours=number), id=f"re_{number}")
            for number in range(40)
        ]
        told, asked = await read(Books({"/v1/events": held}), NOON - timedelta(hours=48))
        assert keys(told) == [f"refund:re_{number}" for number in range(40)]
        assert {each.path for each in asked} == {"/v1/events"}
        assert sorted(value for name, value in asked[0].query if name.startswith("types")) == sorted(ORDER_TYPES)
        windows = [(dict(each.query)["created[gte]"], dict(each.query)["created[lt]"]) for each in asked]
        slices = sorted(set(windows))
        assert len(slices) == 8
        assert [end for _, end in slices[:-1]] == [start for start, _ in slices[1:]]

    async def test_what_tells_nothing_is_left_out(self) -> None:
        held = [
            event("checkout_session_completed", 1, NOON - timedelta(hours=3)),
            event("checkout_session_completed", 2, NOON - timedelta(hours=2), payment_status="unpaid"),
            event("checkout_session_completed", 3, NOON - timedelta(hours=2), payment_status="nonsense"),
            event("account_updated", 4, NOON - timedelta(hours=2)),
            event("charge_dispute_created", 5, NOON - timedelta(hours=1)),
        ]
        told, _ = await read(Books({"/v1/events": held}), NOON - timedelta(hours=48))
        assert keys(told) == ["paid", "dispute:du_1SJiga2eZvKYlo2CrStUvWxY:opened"]
        assert {facts.reference for facts in told} == {INTENT}
        assert {facts.test for facts in told} == {False}


class TestObjects:
    async def test_an_older_window_is_read_from_what_was_made_in_it(self) -> None:
        day = timedelta(days=1)
        books = Books(
            {
                "/v1/checkout/sessions": [
                    thing("checkout_session_completed", NOON - 50 * day),
                    thing("checkout_session_completed", NOON - 49 * day, payment_status="unpaid", status="open"),
                    thing("checkout_session_completed", NOON - 48 * day, payment_status="unpaid", status="expired"),
                    thing("checkout_session_completed", NOON - 61 * day),
                ],
                "/v1/refunds": [thing("refund_created", NOON - 49 * day, status="failed")],
                "/v1/disputes": [thing("charge_dispute_created", NOON - 10 * day, status="won")],
            }
        )
        told, asked = await read(books, NOON - 60 * day)
        refund = "refund:re_3SJiga2eZvKYlo2C0dEfGhIj"
        assert keys(told) == ["paid", refund, f"{refund}:failed", "cancel", "dispute:du_1SJiga2eZvKYlo2CrStUvWxY:won"]
        assert {facts.test for facts in told} == {True}, "the key is a test key"
        assert len(asked) == 3 * 60

    async def test_at_the_edge_of_what_stripe_keeps(self) -> None:
        _, asked = await read(Books({}), NOON - timedelta(days=29))
        assert {each.path for each in asked} == {"/v1/checkout/sessions", "/v1/refunds", "/v1/disputes"}
        _, asked = await read(Books({}), NOON - timedelta(days=29) + timedelta(seconds=1), NOON - timedelta(days=28))
        assert {each.path for each in asked} == {"/v1/events"}


class TestFaults:
    HOUR = timedelta(hours=1)

    async def test_a_rate_limit_is_waited_for(self) -> None:  # T-F08
        books, tries, waits = (
            Books({"/v1/events": [event("refund_created", 1, NOON - self.HOUR)]}),
            list[Asked](),
            list[float](),
        )

        def answer(asked: Asked) -> Answer:
            tries.append(asked)
            limit = Answer({"error": {}}, 429, {"Retry-After": "7"} if len(tries) == 2 else {})
            return limit if len(tries) < 4 else books(asked)

        told, _ = await read(answer, NOON - 2 * self.HOUR, waits=waits)
        assert len(told) == 1
        assert waits == [1, 7, 4]

    @pytest.mark.parametrize(
        ("answer", "pauses"),
        [
            (refusal(429), [1, 2, 4, 8, 16, 30]),
            (refusal(500), [1, 2, 4, 8, 16]),
            (refusal(401), [1, 2, 4, 8, 16]),
            (refusal(403, "forbidden"), []),
            (Answer({"object": "list", "data": [7], "has_more": False}), []),
            (Answer({"object": "list"}), []),
        ],
    )
    async def test_what_does_not_pass_is_unavailable(self, answer: Answer, pauses: list[float]) -> None:
        waits: list[float] = []
        with pytest.raises(Unavailable):
            await read(lambda asked: answer, NOON - self.HOUR, waits=waits)
        assert waits == pauses

    async def test_a_list_without_an_end_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("integrations.stripe_orders.PAGES_MAX", 3)
        endless = Answer({"object": "list", "data": [event("refund_created", 1, NOON)], "has_more": True})
        asked = 0

        def answer(_: Asked) -> Answer:
            nonlocal asked
            asked += 1
            return endless

        with pytest.raises(Unavailable, match="lists more than"):
            await read(answer, NOON - self.HOUR)
        assert asked == 3
