"""API keys at the API's door: what each opens, what is closed to all, where none is ever seen (T-A07, T-A08)."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from graphql import GraphQLField, GraphQLObjectType, build_schema, get_named_type, is_leaf_type
from starlette.requests import HTTPConnection

from domain.errors import Unauthenticated
from domain.ids import Kind, derived_id
from domain.keys import LIVE, TEST, KeyScope, KeyWish
from firestore.collections import API_KEYS, USERS
from graph.permissions import Keys
from graph.schema import VIEWER, sdl
from tests.api.api import HOURLY, KEY, Json, Market, Person, call, calls, codes, graph, outcome
from tests.api.test_permissions import QUERIES
from tests.client import mutation
from tests.make import NOW
from tests.nouns import SECOND

ME = "{ viewer { id } }"
SHOWN = "apiKey { id name prefix scopes expiresAt rateLimitPerMinute dofSpendCap dofSpent } secret"


def by_key(market: Market, text: str = KEY) -> Person:
    return Person(market.rig, "max", token=text)


async def a_key(market: Market, *scopes: KeyScope, owner: str | None = None, **changes: Any) -> Person:
    """A program with a key of its own."""
    owner_id = owner or market.max.user_id
    key_id = derived_id(Kind.API_KEY, *scopes, owner_id)
    wish = replace(KeyWish("Bot", scopes), **changes)
    _, text = await market.rig.store.keys.create(owner_id, key_id, TEST, bytes(range(32)), wish, NOW)
    await market.rig.drain()  # its owner is told
    return by_key(market, text)


def scope_of(field: GraphQLField) -> str | None:
    """What the printed schema says of a field."""
    assert field.ast_node is not None
    for directive in field.ast_node.directives or ():
        if directive.name.value == "keys":
            return str(directive.arguments[0].value.value)  # type: ignore[union-attr]
    return None


PRINTED = build_schema(sdl())


def printed(root: str, name: str) -> str | None:
    type_ = PRINTED.type_map[root]
    assert isinstance(type_, GraphQLObjectType)
    return scope_of(type_.fields[name])


# ---- making and showing


async def test_a_key_is_shown_once_and_its_secret_kept_nowhere(market: Market) -> None:
    asked = {
        "name": " Studio  bot ",
        "scopes": ["SPEND", "READ", "READ"],
        "expiresAt": "2026-04-01T14:00:00+02:00",
        "rateLimitPerMinute": 60,
        "dofSpendCap": 500,
    }
    told = await market.max.act("createApiKey", asked, SHOWN)
    shown, secret = told["apiKey"], told["secret"]
    assert secret.startswith(f"{shown['prefix']}_")
    assert shown["prefix"] == f"jiga_test_{shown['id'][4:]}"
    assert {name: value for name, value in shown.items() if name not in ("id", "prefix")} == {
        "name": "Studio bot",
        "scopes": ["READ", "SPEND"],
        "expiresAt": "2026-04-01T12:00:00+00:00",
        "rateLimitPerMinute": 60,
        "dofSpendCap": 500,
        "dofSpent": 0,
    }
    assert secret.split("_", 3)[3] not in json.dumps(await market.rig.dump(), default=str)
    listed = (await market.max.ask("{ viewer { apiKeys { id name } } }"))["viewer"]["apiKeys"]
    assert [each["name"] for each in listed] == ["Bot", "Studio bot"]
    assert (await market.eve.ask("{ viewer { apiKeys { id } } }"))["viewer"]["apiKeys"] == []
    assert await by_key(market, secret).ask(ME) == {"viewer": {"id": market.max.user_id}}


async def test_what_is_no_key_is_not_made(market: Market) -> None:
    good: Json = {"name": "Bot", "scopes": ["READ"]}
    async with market.unchanged():
        for changes in (
            {"name": ""},
            {"scopes": []},
            {"expiresAt": "2026-01-01T00:00:00Z"},
            {"expiresAt": "2026-04-01T00:00:00"},
            {"expiresAt": "9999-12-31T23:59:59-14:00"},  # the next day in UTC, which has no year
            {"rateLimitPerMinute": 0},
            {"dofSpendCap": 0},
        ):
            assert await market.max.refused("createApiKey", {**good, **changes}) == "BAD_USER_INPUT"


# ---- what a key opens


async def test_a_key_signs_in_by_header_and_in_a_socket(market: Market) -> None:
    assert (await by_key(market).ask(ME))["viewer"]["id"] == market.max.user_id
    connection: Any = HTTPConnection({"type": "websocket", "headers": [], "client": ("192.0.2.1", 1)})
    for payload in ({"authorization": f"Bearer {KEY}"}, {"token": KEY}):
        context = await market.rig.reception.for_socket(payload, connection)
        assert (context.user_id, context.key_id) == (market.max.user_id, market.ids.key)
        assert context.expires_at == NOW + timedelta(days=30)
        assert context.key is not None
        assert context.key.rate_limit_per_minute == 60
        assert context.fresh().key == context.key
        assert await context.recheck()
    await market.rig.store.keys.revoke(market.max.user_id, market.ids.key, NOW)
    assert not await context.recheck()
    with pytest.raises(Unauthenticated):
        await market.rig.reception.for_socket({"token": KEY + "x"}, connection)


@pytest.mark.parametrize("name", sorted(graph().mutation_type.fields))
async def test_t_a07_a_mutation_is_closed_to_keys_unless_the_roof_opens_it(market: Market, name: str) -> None:
    """By a key with every scope, and by one that lacks only the one needed."""
    person, asked = calls(market)[name]
    scope = printed("Mutation", name)
    if person is market.guest:
        assert scope is None
        person = market.max
    full = await a_key(market, *KeyScope, owner=person.user_id)
    lesser = await a_key(market, *(each for each in KeyScope if each != scope), owner=person.user_id)
    before = await market.rig.dump()
    answer = await call(full if scope is None else lesser, name, asked)
    assert codes(answer) == ["FORBIDDEN"], answer
    said = answer["errors"][0]["message"]
    assert ("sign in as a person" in said) if scope is None else (f"scope {scope}" in said)
    assert await market.rig.dump() == before
    if scope is not None:
        assert outcome(await call(full, name, asked)) == outcome(await call(person, name, asked)) or name in ONCE


ONCE = {"deleteAgent", "endSession", "updateAgent", "unpublishAgent"}
"""What answers otherwise when it was done before."""


@pytest.mark.parametrize("case", QUERIES, ids=lambda case: f"{case.field}-{case.type_}")
async def test_t_a07_a_query_is_closed_to_keys_unless_the_roof_opens_it(market: Market, case: Any) -> None:
    scope = printed("Query", case.field)
    lesser = await a_key(market, *(each for each in KeyScope if each != scope))
    is_leaf = is_leaf_type(get_named_type(graph().query_type.fields[case.field].type))
    chosen = "" if is_leaf else "{ __typename }"
    answer = await lesser.answer(f"{{ {case.field}{case.arguments(market)} {chosen} }}")
    assert codes(answer) == ["FORBIDDEN"], answer


async def test_no_key_opens_what_is_for_people_or_an_office() -> None:
    """The roof as it is printed: nothing that makes keys, changes a sign-in, deletes an account, pays out or judges."""
    opened = {name for name in graph().mutation_type.fields if printed("Mutation", name) is not None}
    assert opened == {
        "createAgent",
        "updateAgent",
        "updateAgentConfiguration",
        "restoreAgentVersion",
        "deleteAgent",
        "publishAgent",
        "unpublishAgent",
        "updateListing",
        "pauseListing",
        "resumeListing",
        "hireAgent",
        "startSession",
        "extendSession",
        "recordUsage",
        "endSession",
        "transferDof",
    }
    for root in ("Query", "Mutation", "Subscription"):
        type_ = PRINTED.type_map[root]
        assert isinstance(type_, GraphQLObjectType)
        for name, field in type_.fields.items():
            assert field.ast_node is not None
            gates = {each.name.value for each in field.ast_node.directives or ()}
            assert not ({"keys"} <= gates and gates & {"moderator", "admin"}), name
    assert {each.name for each in Keys.__strawberry_directive__.fields} == {"scope"}  # type: ignore[attr-defined]


async def test_what_of_the_viewer_is_closed_to_keys(market: Market) -> None:
    type_ = graph().type_map["Viewer"]
    full, reader = by_key(market), await a_key(market, KeyScope.READ)
    for name, field in type_.fields.items():
        scope = VIEWER.get("".join(f"_{each.lower()}" if each.isupper() else each for each in name))
        selection = "" if is_leaf_type(get_named_type(field.type)) else "{ __typename }"
        query = f"{{ viewer {{ {name} {selection} }} }}"
        assert printed("Viewer", name) == (scope.value if scope else None)
        wanted = [] if scope or name == "id" else ["FORBIDDEN"]
        assert codes(await full.answer(query)) == wanted, name
        assert codes(await reader.answer(query)) == ([] if scope == "READ" or name == "id" else ["FORBIDDEN"]), name


async def test_what_a_mutation_answers_with_is_read_with_the_key_s_scopes_too(market: Market) -> None:
    """A program that spends sees what it can spend, and not what its owner owes and earns; one that ends, neither."""
    asked, ends = market.hire("k"), {"sessionId": market.ids.running, "idempotencyKey": "k"}
    spender, ender = await a_key(market, KeyScope.SPEND), await a_key(market, KeyScope.SESSIONS)
    books = await a_key(market, KeyScope.SPEND, KeyScope.WALLET_READ)
    hire, end = mutation("hireAgent", "wallet { %s }"), mutation("endSession", "wallet { %s }")
    told = {}
    for field in ("available", "held", "debt", "payable", "earned"):
        told[field] = (
            codes(await spender.answer(hire.replace("%s", field), input=asked)),
            codes(await ender.answer(end.replace("%s", field), input=ends)),
            codes(await books.answer(hire.replace("%s", field), input=asked)),
        )
    closed = ["FORBIDDEN"]
    assert told == {
        **dict.fromkeys(("available", "held"), ([], closed, [])),
        **dict.fromkeys(("debt", "payable", "earned"), (closed, closed, [])),
    }


async def test_a_key_reads_the_insides_of_an_agent_only_where_it_reads(market: Market) -> None:
    """A game client's key reports usage; the creator's prompt is not its business."""
    inside = "session { agent { configuration { instructions } } }"
    usage = {"sessionId": market.ids.running, "sequence": 9, "dof": 1}
    for scopes, wanted in (((KeyScope.USAGE,), ["FORBIDDEN"]), ((KeyScope.USAGE, KeyScope.READ), [])):
        key = await a_key(market, *scopes)
        assert codes(await key.answer(mutation("recordUsage", inside), input=usage)) == wanted
    renamed = {"listingId": market.ids.listing, "title": "A better coach"}
    for scopes, wanted in (((KeyScope.LISTINGS,), ["FORBIDDEN"]), ((KeyScope.LISTINGS, KeyScope.AGENTS), [])):
        key = await a_key(market, *scopes, owner=market.ada.user_id)
        for field in ("configuration { instructions }", "versions { nodes { version } }"):
            chosen = mutation("updateListing", "listing { agent { " + field + " } }")
            assert codes(await key.answer(chosen, input=renamed)) == wanted, field


async def test_a_transaction_is_read_with_the_wallets_scope_by_any_field(market: Market) -> None:
    reader, books = await a_key(market, KeyScope.READ), await a_key(market, KeyScope.READ, KeyScope.WALLET_READ)
    for query in (f'{{ node(id: "{market.ids.hire}") {{ id }} }}', f'{{ nodes(ids: ["{market.ids.hire}"]) {{ id }} }}'):
        assert outcome(await reader.answer(query)) == "0"
        assert outcome(await books.answer(query)) == "+"


async def test_a_key_follows_what_its_scopes_let_it_read(market: Market) -> None:
    reader = await a_key(market, KeyScope.READ)
    for topic, code in (("wallet", "FORBIDDEN"), ("transactions", "FORBIDDEN"), ("notifications", "FORBIDDEN")):
        async with await reader.subscribe(f'subscription {{ events(topics: ["{topic}"]) {{ topic }} }}') as stream:
            assert await stream.code() == code
    async with await reader.subscribe("subscription { walletUpdated { available } }") as stream:
        assert await stream.code() == "FORBIDDEN"
    query = f'subscription {{ sessionUpdated(id: "{market.ids.running}") {{ id }} }}'
    async with await reader.subscribe(query) as stream:
        assert (await stream.next())["sessionUpdated"]["id"] == market.ids.running


async def test_a_key_has_no_office(market: Market) -> None:
    """A moderator's and an admin's key see and do what anybody's do (T-A10)."""
    for office in (market.mia, market.root):
        key = await a_key(market, *KeyScope, owner=office.user_id)
        query = f'{{ agent(id: "{market.ids.draft}") {{ id }} session(id: "{market.ids.running}") {{ id }} }}'
        assert await key.ask(query) == {"agent": None, "session": None}
        assert await key.refused("endSession", {"sessionId": market.ids.running, "idempotencyKey": "k"}) == "NOT_FOUND"
        assert await key.refused("moderateListing", calls(market)["moderateListing"][1]) == "FORBIDDEN"


async def test_a_cap_is_refused_by_name(market: Market) -> None:
    key = by_key(market)  # with a cap of two hours
    for number in (1, 2):
        assert (await key.call("hireAgent", market.hire(f"k{number}")))["__typename"] == "HireAgentPayload"
    async with market.unchanged():
        asked = market.hire("k3"), "__typename", "... on SpendCapReached { needed left }"
        assert await key.call("hireAgent", *asked) == {
            "__typename": "SpendCapReached",
            "code": "SPEND_CAP_REACHED",
            "message": f"This needs {HOURLY} DOF and the key may spend 0 more: use a key with a higher dofSpendCap, "
            "or sign in as a person.",
            "needed": HOURLY,
            "left": 0,
        }
    listed = (await market.max.ask("{ viewer { apiKeys { dofSpent } } }"))["viewer"]["apiKeys"]
    assert listed == [{"dofSpent": 2 * HOURLY}]
    assert (await market.max.call("hireAgent", market.hire("k3")))["__typename"] == "HireAgentPayload"


# ---- what is no key here, or no longer


async def test_t_a07_a_key_that_is_not_whole_or_not_of_here_is_refused(market: Market) -> None:
    record = await market.rig.get(API_KEYS, market.ids.key)
    texts = [KEY[:-1], KEY + "A", KEY[:-1] + "B", KEY.replace(f"_{TEST}_", f"_{LIVE}_"), KEY.upper(), "jiga_", KEY[:40]]
    async with market.unchanged():
        for text in texts:
            answer = await by_key(market, text).raw(ME)
            assert (answer.status_code, codes(answer.json())) == (401, ["UNAUTHENTICATED"]), text
            assert "data" not in answer.json()
            assert text not in answer.text
    for changes in ({"revoked_at": NOW}, {"expires_at": NOW}):
        await market.rig.put(API_KEYS, replace(record, **changes))  # type: ignore[arg-type]
        assert codes(await by_key(market).answer(ME)) == ["UNAUTHENTICATED"]
    await market.rig.forget(API_KEYS.at(record.id))
    assert codes(await by_key(market).answer(ME)) == ["UNAUTHENTICATED"]


async def test_t_a07_a_revoked_key_changes_nothing_any_more_and_soon_reads_nothing(market: Market) -> None:
    key, asked = by_key(market), market.hire("k")
    assert outcome(await key.answer(ME)) == "+"
    await market.max.act("revokeApiKey", {"id": market.ids.key})
    async with market.unchanged():
        assert await key.refused("hireAgent", asked) == "UNAUTHENTICATED"
    assert outcome(await key.answer(ME)) == "+"
    market.rig.now = NOW + 30 * SECOND
    assert codes(await key.answer(ME)) == ["UNAUTHENTICATED"]


async def test_t_a07_a_key_expires_to_the_second(market: Market) -> None:
    key = by_key(market)
    market.rig.now = NOW + timedelta(days=30) - SECOND
    assert outcome(await key.answer(ME)) == "+"
    market.rig.now += SECOND
    assert codes(await key.answer(ME)) == ["UNAUTHENTICATED"]


async def test_a_suspended_users_key_spends_nothing(market: Market) -> None:
    record = await market.rig.get(USERS, market.max.user_id)
    await market.rig.put(USERS, replace(record, suspended_at=NOW))
    async with market.unchanged():
        assert await by_key(market).refused("hireAgent", market.hire("k")) == "FORBIDDEN"


async def test_t_a08_a_key_is_seen_nowhere(
    market: Market, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """In no query string that is listened to, no answer, no log, no document: whole or by its secret."""
    caplog.set_level(logging.DEBUG)
    made = (await market.max.act("createApiKey", {"name": "Bot", "scopes": ["READ", "SPEND"]}, SHOWN))["secret"]
    secret, heard = made.split("_", 3)[3], []  # it may have underscores of its own
    key = by_key(market, made)
    for path in (f"/graphql?api_key={made}", f"/graphql?authorization=Bearer%20{made}"):
        answer = await market.rig.http.post(path, json={"query": ME})
        assert answer.json()["data"] == {"viewer": None}
        heard.append(answer.text)
    for query in (
        ME,
        "{ nothing }",
        "{ viewer { email } }",
        "{ reviewQueue { nodes { id } } }",
        f'{{ node(id: "{made}") {{ id }} }}',
    ):
        heard.append((await key.raw(query)).text)
    heard.append((await key.raw(mutation("hireAgent", "__typename"), input=market.hire("k"))).text)
    for broken in (made[:-2], made + "x", f"{made} {made}"):
        heard.append((await by_key(market, broken).raw(ME)).text)
    heard.append((await market.rig.http.get("/metrics")).text)
    output = capsys.readouterr()
    heard += [output.out, output.err, caplog.text, json.dumps(await market.rig.dump(), default=str)]
    said = "".join(each.replace(f"api_key={made}", "").replace(f"Bearer%20{made}", "") for each in heard)
    assert secret[:-2] not in said
