"""Who is let in: what one operation may cost, and how much anybody may ask for in a while.

Rows T-A09, T-G03, T-G10, T-G13 and T-P12, through the public face.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
import strawberry
from graphql import GraphQLError
from starlette.requests import Request

from domain.errors import Fault, RateLimited, Unavailable
from domain.rates import COST_LIMITS, RATES, REFUSED_UNITS, Caller, Rate
from graph.execution import Execution
from graph.limits import HeavyLane
from graph.requests import GraphQLRequest
from tests.api.api import Json, Market, Person, Rig, open_market
from tests.api.hall import Hall

DEEP = "query ($n: Int) { listings(first: $n) { nodes { id reviews(first: 50) { nodes { id } } } } }"
SIGN_IN = "signIn(input: {email: %s, password: %s}) { ... on Refusal { code } }"


def limit(rig: Rig, **units: int) -> None:
    """Let the rig's rates have so many units, as JIGA_RATE_LIMITS would."""
    rig.sight.guard._rates = {name: replace(rate, units=units.get(name, rate.units)) for name, rate in RATES.items()}


async def cost(person: Person, query: str, **variables: Json) -> tuple[int, int]:
    """What an operation was counted as, and what its caller may ask for."""
    told = (await person.answer(query, **variables))["extensions"]["cost"]
    return told["requested"], told["limit"]


async def _key(market: Market) -> Person:
    made = await market.max.answer(
        "mutation ($i: CreateApiKeyInput!) { createApiKey(input: $i) { ... on CreateApiKeyPayload { secret } } }",
        i={"name": "Game", "scopes": ["READ"], "rateLimitPerMinute": 3},
    )
    await market.rig.drain()  # its owner is told of it, beside what is to be counted
    return Person(market.rig, None, token=made["data"]["createApiKey"]["secret"])


# ---- cost


@pytest.mark.parametrize(
    ("query", "requested"),
    [
        ("{ __typename }", 0),
        ("{ listings { nodes { id } } }", 1 * 20),
        ("{ listings(first: 50) { nodes { id title pricing { hourly } } } }", 50),
        ("{ listings(first: 50) { pageInfo { hasNextPage } } }", 50),
        ("{ listings(first: 50) { nodes { agent { name } owner { displayName } } } }", 50 + 50 + 50),
        ("{ listings(first: 50) { edges { node { agent { name } } } } }", 50 + 50),
        ("{ listings(first: 10) { nodes { reviews(first: 7) { nodes { id } } } } }", 10 + 70),
        ("{ listings(first: 10) { nodes { ...R } } } fragment R on Listing { reviews(first: 7) { nodes { id } } }", 80),
        ("{ a: listings(first: 5) { nodes { id } } b: listings(first: 5) { nodes { id } } }", 10),
        ('{ nodes(ids: ["a", "b", "c"]) { id } }', 3),
        ('{ agent(id: "x") { name owner { displayName } } }', 2),
        ("{ marketInsights { activeListings } }", 400),
        ("{ recommendedListings(first: 1) { __typename } }", 250),
        ("{ listings(first: 2) { nodes { agent { badges { badge { totalAwarded } } } } } }", 2 + 2 + 2 + 2 * 50),
        ("{ listings(first: 2) { nodes { featuredReviews { listing { id } } } } }", 2 + 2 * 3 + 2 * 3),
        ("{ listings(first: 2) { nodes { tags categories } } }", 2),
        ("{ dofPackages { sku } legalDocuments { name } }", 1 + 1),
    ],
)
async def test_t_g03_a_query_costs_what_the_backend_could_have_to_read(rig: Rig, query: str, requested: int) -> None:
    assert await cost(rig.guest, query) == (requested, COST_LIMITS[Caller.GUEST])


async def test_t_z01_an_answer_tells_what_was_asked_for_and_never_what_was_read(market: Market) -> None:
    page = "query Page($n: Int) { listings(first: $n) { nodes { id agent { name } } } }"
    answer = await market.guest.answer(page, n=50)
    assert answer["extensions"] == {"cost": {"requested": 100, "limit": 2_000}}
    refused = await market.guest.raw("{ nope }")
    assert "extensions" not in refused.json()


async def test_a_list_without_first_costs_what_it_can_hold(market: Market) -> None:
    """As many agents as usageAnalytics can name, each with a page of reviews, are more than a user may ask for."""
    query = (
        'query ($n: Int) { usageAnalytics(range: {from: "2026-02-01", to: "2026-02-28"}) {'
        " byAgent { agent { listing { reviews(first: $n) { nodes { rating } } } } } } }"
    )
    error = await market.max.error(query, n=95)
    assert error["extensions"] == {"code": "COST_LIMIT_EXCEEDED", "cost": 500 + 100 * 97, "limit": 10_000}
    assert await cost(market.max, query, n=20) == (500 + 100 * 22, 10_000)


async def test_receipts_are_taken_away_by_who_owns_them_one_file_a_minute(market: Market) -> None:
    """The file may read 50,000 documents: it is let through alone, and counts in full."""
    limit(market.rig)
    file = "{ exportReceipts }"
    for query in ("{ exportReceipts again: exportReceipts }", "{ exportReceipts viewer { email } }"):
        assert (await market.max.error(query))["extensions"]["code"] == "COST_LIMIT_EXCEEDED"
    limit(market.rig, guest=2 * REFUSED_UNITS)
    told = [(await market.guest.error(file))["extensions"]["code"] for _ in range(3)]
    assert told == ["UNAUTHENTICATED", "UNAUTHENTICATED", "RATE_LIMITED"]
    assert await cost(market.max, file) == (50_000, 50_000)
    assert await _outcome(market.max, "{ viewer { email } }") == "+"
    refused = await market.max.error(file)
    assert refused["extensions"]["code"] == "RATE_LIMITED"
    assert 1 <= refused["extensions"]["retryAfterSeconds"] <= 120
    assert await _outcome(market.max_bot, file) == "RATE_LIMITED"  # a key's units are its owner's
    assert await _outcome(market.ada, file) == "+"


@pytest.mark.parametrize("first", [-1, 0, 101])
async def test_t_g03_a_page_outside_1_to_100_is_refused_by_its_list(rig: Rig, first: int) -> None:
    error = await rig.guest.error("query ($n: Int) { listings(first: $n) { nodes { id } } }", n=first)
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "first"}
    assert "last" not in rig.execution._schema.query_type.fields["listings"].args  # both cannot be asked for


async def test_t_g03_above_the_limit_nothing_runs_and_the_error_names_both_figures(market: Market) -> None:
    rpcs = market.rig.backend.totals.rpcs
    error = await market.guest.error(DEEP, n=100)
    assert error["extensions"] == {"code": "COST_LIMIT_EXCEEDED", "cost": 5_100, "limit": 2_000}
    assert "5100 reads" in error["message"]
    assert "2000" in error["message"]
    assert market.rig.backend.totals.rpcs == rpcs
    million = await market.guest.error("{ listings(first: 1000000) { pageInfo { endCursor } } }")
    assert million["extensions"] == {"code": "COST_LIMIT_EXCEEDED", "cost": 1_000_000, "limit": 2_000}


async def test_each_role_has_its_limit_and_the_role_is_read_only_where_it_decides(market: Market) -> None:
    key = await _key(market)
    found = [(await cost(who, DEEP, n=1))[1] for who in (market.guest, key, market.max, market.mia, market.root)]
    assert found == [2_000, 5_000, 10_000, 10_000, 10_000]
    wide = (
        "{ "
        + " ".join(
            f"a{n}: listings(first: 100) {{ nodes {{ reviews(first: 50) {{ pageInfo {{ endCursor }} }} }} }}"
            for n in range(3)
        )
        + " }"
    )
    for who in (market.guest, key, market.max):
        assert (await who.error(wide))["extensions"]["code"] == "COST_LIMIT_EXCEEDED"
    for who in (market.mia, market.root):
        assert await cost(who, wide) == (15_300, 20_000)


async def test_t_g10_an_aliased_mutation_costs_as_often_as_it_stands_there(market: Market) -> None:
    twenty = "mutation { " + " ".join(f"a{n}: signOut {{ __typename }}" for n in range(20)) + " }"
    told = (await market.eve.answer(twenty))["extensions"]["cost"]
    assert told["requested"] == 200
    fifty = "mutation { " + " ".join(f"a{n}: signOut {{ __typename }}" for n in range(50)) + " }"
    assert (await market.max.error(fifty))["extensions"]["code"] == "COST_LIMIT_EXCEEDED"


# ---- rates


async def test_t_g10_fifty_aliased_attempts_count_as_fifty(market: Market) -> None:
    limit(market.rig, sign_in_address=50)
    names = iter(range(1_000))
    ten = "mutation { " + " ".join(f"a{n}: {SIGN_IN}" for n in range(10)) + " }"
    for _ in range(5):
        answer = await market.guest.answer(ten % sum(((f'"p{next(names)}@jiga.test"', '"no"') for _ in range(10)), ()))
        assert "errors" not in answer
    refused = await market.guest.raw("mutation { " + SIGN_IN % ('"max@jiga.test"', '"max"') + " }")
    assert refused.status_code == 429
    (error,) = refused.json()["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert int(refused.headers["retry-after"]) == error["extensions"]["retryAfterSeconds"] > 0


async def test_t_g10_hires_by_alias_and_by_fragment_count_each(market: Market) -> None:
    limit(market.rig, money=4)
    hire = "hireAgent(input: $i) { __typename }"
    text = f"mutation ($i: HireAgentInput!) {{ a: {hire} b: {hire} ...F }} fragment F on Mutation {{ c: {hire} }}"
    assert "errors" not in await market.max.answer(text, i=market.hire())
    async with market.unchanged():
        error = await market.max.error(text, i=market.hire("other"))
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert "errors" not in await market.eve.answer(text, i=market.hire())  # another user's are another count


async def test_t_p12_units_are_counted_by_user_by_address_and_by_what_is_asked(market: Market) -> None:
    page, search = "{ listings(first: 50) { nodes { id } } }", '{ searchListings(query: "a", first: 1) { totalCount } }'
    limit(market.rig, user=120)
    assert [await _outcome(market.max, page) for _ in range(3)] == ["+", "+", "RATE_LIMITED"]
    assert await _outcome(market.eve, page) == "+"
    assert await _outcome(market.guest, page) == "+"
    limit(market.rig, guest=120)
    assert [await _outcome(market.guest, page) for _ in range(3)] == ["+", "RATE_LIMITED", "RATE_LIMITED"]
    limit(market.rig, search=2)
    assert [await _outcome(market.cleo, search) for _ in range(3)] == ["+", "+", "RATE_LIMITED"]
    assert await _outcome(market.cleo, page) == "+"
    named = "{ a: categories { name } b: categories { name } }"
    assert [await _outcome(market.guest, named) for _ in range(2)] == ["+", "RATE_LIMITED"]
    limit(market.rig, outside=2)
    replay = f'mutation {{ replayWebhookDelivery(input: {{id: "{market.ids.delivery}"}}) {{ __typename }} }}'
    sending = [
        "mutation { connectPayouts(input: {}) { __typename } }",
        replay,
        "mutation { exportMyData { __typename } }",
    ]
    assert [await _outcome(market.ada, each) for each in sending] == ["+", "+", "RATE_LIMITED"]
    limit(market.rig, giving=2)
    give = 'mutation { transferAgent(input: {agentId: "agt_x", toUserId: "usr_x"}) { __typename } }'
    assert [await _outcome(market.max, give) for _ in range(3)] == ["+", "+", "RATE_LIMITED"]
    limit(market.rig, address=1)
    assert [await _outcome(who, page) for who in (market.ada, market.guest)] == ["RATE_LIMITED"] * 2


async def test_t_p12_a_key_has_the_rate_that_its_owner_gave_it(market: Market) -> None:
    key = await _key(market)
    assert [await _outcome(key, "{ listings { nodes { id } } }") for _ in range(4)] == ["+", "+", "+", "RATE_LIMITED"]
    assert await _outcome(market.max, "{ listings { nodes { id } } }") == "+"


async def _outcome(person: Person, query: str) -> str:
    answer = await person.answer(query)
    return str(answer["errors"][0]["extensions"]["code"]) if "errors" in answer else "+"


async def test_a_socket_hears_of_a_rate_as_an_error_of_its_operation(market: Market) -> None:
    limit(market.rig, user=1)
    async with await market.max.subscribe("subscription { walletUpdated { available } }") as stream:
        assert await stream.code() == "RATE_LIMITED"
    async with await market.max.subscribe("{ viewer { email } }") as stream:
        assert await stream.code() == "RATE_LIMITED"


class Down:
    """Counters that nobody reaches."""

    async def take(self, rate: Rate, key: str, units: int) -> int:
        raise Unavailable("Requests cannot be counted at the moment: try again in a few seconds.")

    async def wait_seconds(self, rate: Rate, key: str) -> int:
        raise Unavailable("Requests cannot be counted at the moment: try again in a few seconds.")

    async def close(self) -> None:
        """Nothing is open."""


async def test_t_p12_without_counters_reads_go_on_and_money_and_passwords_do_not(market: Market) -> None:
    market.rig.sight.guard._counters = Down()
    assert await _outcome(market.guest, "{ listings { nodes { id } } }") == "+"
    assert await _outcome(market.max, "{ viewer { email } }") == "+"
    assert await _outcome(market.guest, '{ searchListings(query: "a") { totalCount } }') == "+"
    hire = "mutation ($i: HireAgentInput!) { hireAgent(input: $i) { __typename } }"
    async with market.unchanged():
        assert (await market.max.raw(hire, i=market.hire())).status_code == 503
        assert (await market.max.error(hire, i=market.hire()))["extensions"]["code"] == "UNAVAILABLE"
        sign_in = "mutation { " + SIGN_IN % ('"max@jiga.test"', '"max"') + " }"
        assert (await market.guest.error(sign_in))["extensions"]["code"] == "UNAVAILABLE"
    bad = await market.rig.http.post(
        "/graphql", json={"query": "{ __typename }"}, headers={"authorization": "Bearer x"}
    )
    assert bad.status_code == 401  # who guesses is not counted, and is refused as ever


# ---- T-A09


def _from(address: str, token: str | None) -> dict[str, str]:
    return {"x-forwarded-for": address, **({"authorization": f"Bearer {token}"} if token else {})}


@pytest_asyncio.fixture
async def proxied(data: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Market]:
    """A market behind one proxy, so that a header says who calls."""
    monkeypatch.setenv("JIGA_TRUSTED_PROXIES", "1")
    rig = Rig(data)
    await rig.start()
    limit(rig)
    yield await open_market(rig)
    await rig.stop()


async def test_t_a09_ten_thousand_wrong_keys_from_one_address_are_limited_and_others_are_not(proxied: Market) -> None:
    """No wrong key costs the store a look-up once the address is known for guessing."""
    market, key, most = proxied, await _key(proxied), RATES["wrong_credentials"].units
    assert key.token is not None
    assert await _ask(market, _from("198.51.100.7", key.token)) == (200, "+")
    before, codes, began = market.rig.backend.totals.rpcs, Counter[str](), time.monotonic()
    for number in range(10_000):
        wrong = f"Bearer {key.token[:-43]}{number:043d}".encode()
        scope = {"type": "http", "client": ("198.51.100.7", 0), "headers": [(b"authorization", wrong)]}
        try:
            await market.rig.reception.for_request(Request(scope))
        except Fault as fault:
            codes[fault.code] += 1
    assert codes.keys() == {"UNAUTHENTICATED", "RATE_LIMITED"}
    looked_up = codes["UNAUTHENTICATED"]
    assert most <= looked_up <= most + time.monotonic() - began  # one more comes back with each second that passes
    assert market.rig.backend.totals.rpcs - before == looked_up
    assert await _ask(market, _from("198.51.100.7", key.token[:-1] + "!")) == (429, "RATE_LIMITED")
    assert await _ask(market, _from("203.0.113.9", key.token[:-43] + "0" * 43)) == (401, "UNAUTHENTICATED")
    assert await _ask(market, _from("198.51.100.7", key.token)) == (200, "+")  # known to be good, from the same address
    assert await _ask(market, _from("203.0.113.9", "max")) == (200, "+")
    assert await _ask(market, _from("198.51.100.7", "max")) == (200, "+")  # a token of ours needs no look-up
    assert await _ask(market, _from("198.51.100.7", None)) == (200, "+")


async def test_t_a09_wrong_passwords_from_many_addresses_are_limited_by_account_and_others_are_not(
    proxied: Market,
) -> None:
    market, most = proxied, RATES["sign_in_account"].units
    attempt = "mutation { " + SIGN_IN % ('"max@jiga.test"', '"no"') + " }"
    told = [await _ask(market, _from(f"198.51.100.{number}", None), attempt) for number in range(100)]
    assert Counter(told) == {(200, "+"): most, (429, "RATE_LIMITED"): 100 - most}
    for spelling in (" MAX@jiga.test", "\uff4dax@jiga.test", "ma\U0001d431@jiga.test"):  # one account for the provider
        spelt = "mutation { " + SIGN_IN % (f'"{spelling}"', '"no"') + " }"
        assert await _ask(market, _from("203.0.113.9", None), spelt) == (429, "RATE_LIMITED")
    eve = "mutation { " + SIGN_IN % ('"eve@jiga.test"', '"eve"') + " }"
    assert await _ask(market, _from("198.51.100.7", None), eve) == (200, "+")
    assert await _ask(market, _from("203.0.113.9", "max")) == (200, "+")  # max himself, who is signed in


async def test_t_a09_sign_ups_with_a_known_e_mail_lock_nobody_out(proxied: Market) -> None:
    """They try no password, and count by their address alone."""
    market, most = proxied, RATES["sign_in_address"].units
    known = '{email: "max@jiga.test", password: "correct horse 7", displayName: "M"}'
    attempt = "mutation { signUp(input: " + known + ") { __typename } }"
    told = [await _ask(market, _from("198.51.100.7", None), attempt) for _ in range(most + 5)]
    assert Counter(told) == {(200, "+"): most, (429, "RATE_LIMITED"): 5}
    max_ = "mutation { " + SIGN_IN % ('"max@jiga.test"', '"max"') + " }"
    assert await _ask(market, _from("203.0.113.9", None), max_) == (200, "+")


async def test_t_a09_a_stolen_token_does_not_guess_the_password_from_many_addresses(proxied: Market) -> None:
    market, most = proxied, RATES["sign_in_account"].units
    attempt = 'mutation { deleteMyAccount(input: {confirm: "max@jiga.test", password: "no"}) { __typename } }'
    told = [await _ask(market, _from(f"198.51.100.{number}", "max"), attempt) for number in range(most + 5)]
    assert Counter(told) == {(200, "+"): most, (429, "RATE_LIMITED"): 5}


async def test_t_a09_wrong_passwords_for_many_accounts_are_limited_by_address(proxied: Market) -> None:
    market, most = proxied, RATES["sign_in_address"].units
    ten = "mutation { " + " ".join(f"a{n}: {SIGN_IN}" for n in range(10)) + " }"
    told = []
    for number in range(20):
        names = (f'"p{number}x{n}@jiga.test"' for n in range(10))
        told.append(await _ask(market, _from("198.51.100.7", None), ten % sum(((name, '"no"') for name in names), ())))
    assert Counter(told) == {(200, "+"): most // 10, (429, "RATE_LIMITED"): 20 - most // 10}
    eve = "mutation { " + SIGN_IN % ('"eve@jiga.test"', '"eve"') + " }"
    assert await _ask(market, _from("203.0.113.9", None), eve) == (200, "+")


async def _ask(market: Market, headers: Mapping[str, str], query: str = "{ __typename }") -> tuple[int, str]:
    said = await market.rig.http.post("/graphql", json={"query": query}, headers=dict(headers))
    body = said.json()
    return said.status_code, body["errors"][0]["extensions"]["code"] if "errors" in body else "+"


# ---- T-G13


@strawberry.type
class Item:
    name: str = "item"


@strawberry.type
class Query:
    @strawberry.field
    async def items(self, info: strawberry.Info[Hall, None], first: int) -> list[Item]:
        await info.context.wait()
        return [Item()] * first

    @strawberry.field
    def hello(self) -> str:
        return "hello"


def _shown(error: GraphQLError) -> Mapping[str, Any]:
    return {"message": error.message, "extensions": {"code": getattr(error.original_error, "code", "INTERNAL")}}


async def test_t_g13_large_answers_are_made_few_at_a_time_and_small_ones_go_first() -> None:
    """Twenty queries of 8,000 nodes at once: two are under way, and small ones are answered while they all wait."""
    execution, hall = Execution(strawberry.Schema(Query), present=_shown), Hall()
    large, context = GraphQLRequest("{ items(first: 8000) { name } }"), cast("Any", hall)
    waiting = [asyncio.create_task(execution.execute(large, context)) for _ in range(20)]
    while hall.inside < HeavyLane.AT_ONCE:
        await asyncio.sleep(0)
    for _ in range(5):
        assert await execution.execute(GraphQLRequest("{ hello }"), context) == {"data": {"hello": "hello"}}
    assert (hall.inside, sum(task.done() for task in waiting)) == (2, 0)
    waiting += [asyncio.create_task(execution.execute(large, context)) for _ in range(HeavyLane.WAITING_MAX)]
    for _ in range(3):
        await asyncio.sleep(0)
    refused = [task.result() for task in waiting if task.done()]
    assert [answer["errors"][0]["extensions"]["code"] for answer in refused] == [RateLimited.code] * 18
    for task in waiting[4:]:
        task.cancel()  # its client left: its turn is the next one's
    hall.gate.set()
    answers = await asyncio.gather(*waiting[:4])
    assert [len(answer["data"]["items"]) for answer in answers] == [8_000] * 4
    assert hall.most == HeavyLane.AT_ONCE


# ---- what is refused before it runs


BAD = (
    ("{ nope }", {}),
    ("{ listings(", {}),
    ("query ($f: ListingFilter) { listings(filter: $f) { nodes { id } } }", {"f": {"minPrice": "x"}}),
    ("{ listings(first: 100) { nodes { reviews(first: 100) { pageInfo { endCursor } } } } }", {}),
    ("subscription { walletUpdated { available } }", {}),
)


@pytest.mark.parametrize(("query", "variables"), BAD)
async def test_a_document_that_is_refused_counts_and_too_many_are_not_looked_at(
    market: Market, query: str, variables: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(market.rig, user=3 * REFUSED_UNITS)
    codes_told = [(await market.max.error(query, **variables))["extensions"]["code"] for _ in range(4)]
    assert codes_told[3] == "RATE_LIMITED"
    assert "RATE_LIMITED" not in codes_told[:3]
    looked_at: list[str] = []
    monkeypatch.setattr(Execution, "_plan", lambda self, text: looked_at.append(text))
    told = await market.max.error(query, **variables)
    assert (told["extensions"]["code"], looked_at) == ("RATE_LIMITED", [])
    assert told["extensions"]["retryAfterSeconds"] >= 1
    monkeypatch.undo()
    limit(market.rig, user=3 * REFUSED_UNITS)
    assert (await market.ada.ask("{ __typename }")) == {"__typename": "Query"}  # nobody else is turned away
    market.rig.now += timedelta(seconds=120)
    market.rig.sight.counters._kept.clear()  # type: ignore[attr-defined]
    assert (await market.max.ask("{ __typename }")) == {"__typename": "Query"}


async def test_an_address_counts_what_is_refused_of_all_its_callers(market: Market) -> None:
    limit(market.rig, address=3 * REFUSED_UNITS)
    told = [(await who.error("{ nope }"))["extensions"]["code"] for who in (market.max, market.ada, market.guest)]
    assert told == ["BAD_USER_INPUT"] * 3
    assert (await market.zoe.error("{ nope }"))["extensions"]["code"] == "RATE_LIMITED"


async def test_what_runs_is_not_counted_twice(market: Market) -> None:
    limit(market.rig, user=REFUSED_UNITS)
    for _ in range(REFUSED_UNITS):
        await market.max.ask("{ __typename }")
    assert (await market.max.error("{ __typename }"))["extensions"]["code"] == "RATE_LIMITED"
