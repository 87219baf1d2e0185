"""Analytics at the public face: what an agent brought, what one earned and used, and how the store does."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from domain.ids import Kind
from domain.money import Dof
from firestore.collections import PLATFORM_DAYS
from firestore.rows import PlatformDay
from functions.schedule.figures import count
from tests.api.api import Json, Market, missing
from tests.journeys import shop
from tests.nouns import HOUR

SINCE, TODAY = "2026-01-20", "2026-03-01"
DAY = timedelta(days=1)


def asked(first: str = SINCE, last: str = TODAY, zone: str | None = None, by: str | None = None) -> Json:
    named = {"timezone": zone, "granularity": by}
    return {"from": first, "to": last} | {name: value for name, value in named.items() if value}


def query(field: str, selection: str, arguments: str = "") -> str:
    of = "$id: ID!, " if arguments else ""
    return f"query ({of}$range: DateRange!) {{ {field}({arguments} range: $range) {{ {selection} }} }}"


AGENT = query(
    "agentAnalytics",
    """timezone until hires trials sessions minutes activeHours gross ownerEarnings creatorEarnings refunded
    uniqueHirers averageRating ratingCount successRate completionRate averageLatencyMs crashes
    endReasons { reason sessions } points { from to hires sessions minutes gross uniqueHirers }""",
    "agentId: $id,",
)
EARNINGS = query(
    "earningsAnalytics",
    """earned asOwner asCreator returned matured maturing payoutsRequested payoutsPaid payoutsFailed
    byAgent { agentId asOwner asCreator returned agent { name } }
    points { earned returned matured payoutsRequested }""",
)
USAGE = query(
    "usageAnalytics",
    """hires trials ownSessions sessions minutes spent refunded purchases bought
    byAgent { agentId sessions minutes spent } byGame { game minutes spent } byUnit { unit spent }
    points { sessions minutes spent bought }""",
)
STORE = query(
    "platformAnalytics",
    """activeListings dailyActiveUsers signUps hires sessions gmv averageHire refunded refundRate commission purchases
    dofBought averagePurchase disputes disputeRate payoutsPaid customers lifetimeValue conversionRate retentionRate
    cohorts { week signedUp converted hired returned conversionRate retentionRate }
    points { signUps hires gmv commission dailyActiveUsers }""",
)

# max's hire of three weeks, whose last minute the 10 DOF of usage left unpaid, and one of two minutes; by shares of 75,
# 15 and 10 in a hundred, the DOF that is left to the largest remainder, and of equal ones to the owner.
LONG, SHORT = -(-1_500_000 * 30_239 // 30_240) + 10, 2 * 100 + 10
OWNER, PLATFORM_FEE, CREATOR = 1_124_971 + 158, 224_994 + 31, 149_996 + 21
MINUTES = 30_239 + 2
assert OWNER + PLATFORM_FEE + CREATOR == LONG + SHORT


async def test_an_agent_s_figures(market: Market) -> None:
    await count(market.rig.store, market.rig.now)
    said = (await market.ada.ask(AGENT, id=market.ids.nova, range=asked(by="MONTH")))["agentAnalytics"]
    assert said == {
        "timezone": "UTC",
        "until": "2026-03-01T12:00:00+00:00",
        "hires": 3,
        "trials": 0,
        "sessions": 2,
        "minutes": MINUTES,
        "activeHours": 504.02,
        "gross": LONG + SHORT,
        "ownerEarnings": OWNER,
        "creatorEarnings": CREATOR,
        "refunded": 0,
        "uniqueHirers": 1,
        "averageRating": 5.0,
        "ratingCount": 1,
        "successRate": 1.0,
        "completionRate": 0.5,
        "averageLatencyMs": 40,
        "crashes": 0,
        "endReasons": [{"reason": "ENDED_BY_HIRER", "sessions": 1}, {"reason": "EXHAUSTED", "sessions": 1}],
        "points": said["points"],
    }
    assert [(point["from"][:10], point["hires"], point["sessions"]) for point in said["points"]] == [
        ("2026-01-20", 1, 0),
        ("2026-02-01", 0, 1),
        ("2026-03-01", 2, 1),
    ]
    for measure in ("hires", "sessions", "minutes", "gross"):
        assert sum(point[measure] for point in said["points"]) == said[measure]
    by_creator = (await market.cleo.ask(AGENT, id=market.ids.nova, range=asked(by="MONTH")))["agentAnalytics"]
    assert by_creator == said


async def test_who_has_no_business_with_an_agent_learns_nothing(market: Market) -> None:
    """As if it were missing, published or not (ruling 10)."""
    of_missing = await market.eve.error(AGENT, id=missing(Kind.AGENT), range=asked())
    for person in (market.eve, market.max, market.mia, market.root):
        for agent_id in (market.ids.nova, market.ids.draft, "nonsense"):
            assert await person.error(AGENT, id=agent_id, range=asked()) == of_missing
    assert of_missing["extensions"]["code"] == "NOT_FOUND"


async def test_earnings(market: Market) -> None:
    await count(market.rig.store, market.rig.now)
    said = (await market.ada.ask(EARNINGS, range=asked(by="MONTH")))["earningsAnalytics"]
    assert {name: said[name] for name in said if name != "points"} == {
        "earned": OWNER,
        "asOwner": OWNER,
        "asCreator": 0,
        "returned": 0,
        "matured": 1_124_971,
        "maturing": 158,
        "payoutsRequested": 1_000_000,
        "payoutsPaid": 0,
        "payoutsFailed": 500_000,
        "byAgent": [
            {
                "agentId": market.ids.nova,
                "asOwner": OWNER,
                "asCreator": 0,
                "returned": 0,
                "agent": {"name": "Nova"},
            }
        ],
    }
    assert [point["earned"] for point in said["points"]] == [0, 1_124_971, 158]
    creator = (await market.cleo.ask(EARNINGS, range=asked(by="WEEK")))["earningsAnalytics"]
    assert (creator["asOwner"], creator["asCreator"]) == (0, CREATOR)
    assert sum(point["earned"] for point in creator["points"]) == creator["earned"]


async def test_a_refund_is_told_to_whom_it_was_taken_from(market: Market) -> None:
    await market.rig.store.refunds.refund(
        market.root.user_id, market.ids.ended, Dof(SHORT), "sorry", "k", market.rig.now
    )
    await count(market.rig.store, market.rig.now)
    range_ = asked(TODAY, TODAY)
    earned = (await market.ada.ask(EARNINGS, range=range_))["earningsAnalytics"]
    assert (earned["earned"], earned["returned"], earned["byAgent"][0]["returned"]) == (158, 158, 158)
    used = (await market.max.ask(USAGE, range=range_))["usageAnalytics"]
    assert (used["spent"], used["refunded"]) == (SHORT, SHORT)
    agent = (await market.ada.ask(AGENT, id=market.ids.nova, range=range_))["agentAnalytics"]
    assert (agent["gross"], agent["refunded"]) == (SHORT, SHORT)


async def test_usage(market: Market) -> None:
    await count(market.rig.store, market.rig.now)
    said = (await market.max.ask(USAGE, range=asked(by="MONTH")))["usageAnalytics"]
    spent = LONG + SHORT
    assert (said["hires"], said["trials"], said["ownSessions"], said["sessions"]) == (3, 0, 0, 2)
    assert (said["spent"], said["bought"], said["purchases"], said["refunded"]) == (spent, 0, 0, 0)
    assert said["byAgent"] == [{"agentId": market.ids.nova, "sessions": 2, "minutes": MINUTES, "spent": spent}]
    assert said["byGame"] == [{"game": "Chess", "minutes": MINUTES, "spent": spent}]
    assert said["byUnit"] == [{"unit": "HOUR", "spent": SHORT}, {"unit": "WEEK", "spent": LONG}]
    assert [point["spent"] for point in said["points"]] == [0, LONG, SHORT]
    nobody = (await market.eve.ask(USAGE, range=asked()))["usageAnalytics"]
    assert (nobody["sessions"], nobody["spent"], nobody["byAgent"]) == (0, 0, [])


async def test_the_store_s_own_figures(market: Market) -> None:
    assert (await shop.post(market.rig.http, shop.Order(7_003, email="mia@jiga.test").told())).status_code == 200
    await market.rig.drain()
    await count(market.rig.store, market.rig.now)
    said = (await market.root.ask(STORE, range=asked(by="MONTH")))["platformAnalytics"]
    # All signed up on the last day of the range, a Sunday.
    everybody = sum(path.startswith("users/") for path in await market.rig.dump())
    assert {name: said[name] for name in said if name not in ("points", "cohorts", "dailyActiveUsers")} == {
        "activeListings": 1,
        "signUps": everybody,
        "hires": 3,
        "sessions": 2,
        "gmv": LONG + SHORT,
        "averageHire": 750_086,
        "refunded": 0,
        "refundRate": 0.0,
        "commission": PLATFORM_FEE,
        "purchases": 1,
        "dofBought": 150_000,
        "averagePurchase": 150_000,
        "disputes": 0,
        "disputeRate": 0.0,
        "payoutsPaid": 0,
        "customers": 2,
        "lifetimeValue": 112_513,
        "conversionRate": round(2 / everybody, 4),
        "retentionRate": 0.0,
    }
    (week,) = [cohort for cohort in said["cohorts"] if cohort["signedUp"]]
    assert week == {
        "week": "2026-02-23",
        "signedUp": everybody,
        "converted": 2,
        "hired": 1,
        "returned": 0,
        "conversionRate": round(2 / everybody, 4),
        "retentionRate": 0.0,
    }
    assert [point["dailyActiveUsers"] for point in said["points"]] == [round(1 / 12, 4), 0.0, everybody]


@pytest.mark.parametrize(
    ("zone", "first", "last", "by_day"),
    [
        ("UTC", "2026-02-27", "2026-03-01", [227, 228, 301]),
        ("America/Mexico_City", "2026-02-27", "2026-03-01", [227, 228, 301]),  # at 06:00 of its today, UTC has noon
        ("Asia/Tokyo", "2026-02-27", "2026-03-01", [227, 228, 301]),
        ("America/New_York", "2026-03-07", "2026-03-09", [307, 308, 309]),  # the second has 23 hours
        ("Pacific/Auckland", "2026-04-04", "2026-04-06", [403, 404, 405]),  # the second has 25
        ("Pacific/Kiritimati", "2026-02-27", "2026-03-01", [226, 227, 228]),  # 14 hours ahead
    ],
)
async def test_active_users_are_told_for_the_day_that_has_most_of_utc_s(
    market: Market, zone: str, first: str, last: str, by_day: list[int]
) -> None:
    """On each day of UTC as many were active as its month and day read as a number."""
    days = (date(2026, 2, 20) + DAY * number for number in range(60))
    await market.rig.put(
        PLATFORM_DAYS, *(PlatformDay(day.isoformat(), active=day.month * 100 + day.day) for day in days)
    )
    said = (await market.root.ask(STORE, range=asked(first, last, zone)))["platformAnalytics"]
    assert [point["dailyActiveUsers"] for point in said["points"]] == by_day
    assert said["dailyActiveUsers"] == round(sum(by_day) / 3, 4)


async def test_a_viewer_s_own_time_zone_is_the_default(market: Market) -> None:
    await market.ada.ask('mutation { updateProfile(input: {timezone: "Pacific/Kiritimati"}) { __typename } }')
    await count(market.rig.store, market.rig.now)
    said = (await market.ada.ask(AGENT, id=market.ids.nova, range=asked("2026-03-01", "2026-03-02")))["agentAnalytics"]
    assert said["timezone"] == "Pacific/Kiritimati"
    assert [(point["from"], point["hires"]) for point in said["points"]] == [
        ("2026-02-28T10:00:00+00:00", 0),
        ("2026-03-01T10:00:00+00:00", 2),  # at noon of UTC it is tomorrow there
    ]
    utc = asked("2026-03-01", "2026-03-01", "UTC")
    said = (await market.ada.ask(AGENT, id=market.ids.nova, range=utc))["agentAnalytics"]
    assert [(point["from"], point["hires"]) for point in said["points"]] == [("2026-03-01T00:00:00+00:00", 2)]


@pytest.mark.parametrize(
    ("range_", "field", "message"),
    [
        (asked("2019-12-31"), "range.from", "A range begins between 2020-01-01 and 2100-12-31."),
        (asked("2026-03-02", "2026-03-01"), "range.to", "A range ends on its first day or later, until 2100-12-31."),
        (
            asked("2025-01-01", "2026-03-01", by="MONTH"),
            "range.to",
            "A range has at most 400 days, not 425: ask for a part of it.",
        ),
        (
            asked("2025-11-01", "2026-03-01"),
            "range.granularity",
            "By the day a range has at most 100 days, not 121: ask by WEEK or MONTH.",
        ),
        (
            asked(zone="Mars/Olympus"),
            "range.timezone",
            "No time zone is called so: name one such as Europe/Berlin or UTC.",
        ),
    ],
)
async def test_a_range_that_cannot_be_is_refused(market: Market, range_: Json, field: str, message: str) -> None:
    said = await market.ada.error(USAGE, range=range_)
    assert (said["message"], said["extensions"]["code"]) == (message, "BAD_USER_INPUT")
    assert said["extensions"]["field"] == field


@pytest.mark.parametrize("zone", ["../../etc/passwd", "/etc/localtime", "Europe", "posixrules\0", "A" * 400])
async def test_a_time_zone_is_a_name_and_no_path(market: Market, zone: str) -> None:
    said = await market.ada.error(USAGE, range=asked(zone=zone))
    assert said["extensions"]["code"] == "BAD_USER_INPUT"


async def test_nothing_is_counted_yet(market: Market) -> None:
    said = (await market.ada.ask(AGENT, id=market.ids.nova, range=asked()))["agentAnalytics"]
    assert (said["until"], said["hires"], said["gross"], said["successRate"]) == (None, 0, 0, None)
    assert len(said["points"]) == 41


async def test_the_schedule_counts_once_and_again(market: Market) -> None:
    rounds, now = {each.name: each for each in market.rig.rounds}, market.rig.now
    assert await rounds["figures"].run(now) > 0
    assert await rounds["figures"].run(now + HOUR) == 0
    assert await rounds["figures_again"].run(now + DAY) == 0
    said = (await market.max.ask(USAGE, range=asked()))["usageAnalytics"]
    assert said["hires"] == 3
    assert "tell_analytics" not in rounds
