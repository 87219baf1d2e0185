"""Who may call what: every root field, asked by everybody (house rule 8; rows T-Z04, T-Z08)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from domain.ids import Kind, derived_id
from domain.listings import listing_id
from firestore.collections import AGENTS, LISTINGS
from tests.api.api import BADGE, INSIDE, Json, Market, Person, call, calls, graph, outcome, reachable, select, told
from tests.journeys import shop

WHO = ("guest", "eve", "ada", "max", "cleo", "mia", "root")
"""A guest, a stranger, the owner, the hirer, the creator, a moderator, an admin."""

SHORT = {
    "U": "UNAUTHENTICATED",
    "F": "FORBIDDEN",
    "N": "NOT_FOUND",
    "S": "SELF_DEALING",
    "H": "NOT_HIRABLE",
    "P": "PAYOUT_NOT_READY",
    "B": "BAD_USER_INPUT",
}
"""How the tables below spell an outcome; "+" is an answer and "0" is null."""


class Case(NamedTuple):
    """A query field with its arguments, and what each of WHO is told."""

    field: str
    arguments: Callable[[Market], str]
    outcomes: str
    type_: str | None = None


def _by_id(field: str, name: str, outcomes: str, type_: str | None = None) -> Case:
    return Case(field, lambda market: f'(id: "{getattr(market.ids, name)}")', outcomes, type_)


def _quote(name: str, outcomes: str) -> Case:
    asked = "(input: {listingId: %s, unit: DAY, quantity: 1})"
    return Case("quoteHire", lambda market: asked % f'"{getattr(market.ids, name)}"', outcomes)


MODEL = '(input: {provider: OPENAI, primary: {model: "no"}})'
RANGE = '{from: "2026-01-20", to: "2026-03-01"}'
QUERIES = (
    # fields                          guest eve ada max cleo mia root
    _by_id("node", "nova", "            +   +   +   +   +   +   +", "Agent"),
    _by_id("node", "draft", "           0   0   +   0   0   +   +", "Agent"),
    _by_id("node", "listing", "         +   +   +   +   +   +   +", "Listing"),
    _by_id("node", "hidden_listing", "  0   0   +   0   0   +   +", "Listing"),
    _by_id("node", "running", "         0   0   +   +   0   +   +", "Session"),
    _by_id("node", "hire", "            0   0   0   +   0   0   0", "Transaction"),
    _by_id("node", "earning", "         0   0   0   0   +   0   0", "Transaction"),
    _by_id("node", "review", "          +   +   +   +   +   +   +", "Review"),
    _by_id("node", "notification", "    0   0   0   +   0   0   0", "Notification"),
    _by_id("node", "delivery", "        0   0   0   0   0   0   0"),
    _by_id("node", "purchase", "        0   0   0   0   0   0   0"),
    _by_id("node", "payout", "          0   0   0   0   0   0   0"),
    _by_id("node", "order", "           0   0   0   0   0   0   0"),
    _by_id("node", "dead", "            0   0   0   0   0   0   0"),
    Case("nodes", lambda market: f'(ids: ["{market.ids.running}"])', "0 0 + + 0 + +", "Session"),
    Case("viewer", lambda _: "", "0 + + + + + +"),
    Case("user", lambda market: f'(id: "{market.max.user_id}")', "+ + + + + + +"),
    _by_id("agent", "nova", "           +   +   +   +   +   +   +"),
    _by_id("agent", "draft", "          0   0   +   0   0   +   +"),
    _by_id("agent", "hidden", "         0   0   +   0   0   +   +"),
    _by_id("listing", "listing", "      +   +   +   +   +   +   +"),
    _by_id("listing", "hidden_listing", "0  0   +   0   0   +   +"),
    Case("featuredListings", lambda _: "(first: 2)", "+ + + + + + +"),
    Case("listings", lambda _: "(filter: null, sort: null, first: 2, after: null)", "+ + + + + + +"),
    Case(
        "searchListings", lambda _: '(query: "coach", filter: null, sort: null, first: 2, after: null)', "+ + + + + + +"
    ),
    Case("badges", lambda _: '(game: "chess", first: 2, after: null)', "+ + + + + + +"),
    Case("node", lambda _: f'(id: "{BADGE}")', "+ + + + + + +", "Badge"),
    Case("categories", lambda _: "", "+ + + + + + +"),
    Case("recommendedListings", lambda _: "(first: 2)", "+ + 0 0 0 + +"),
    Case("marketInsights", lambda _: "(category: null, game: null)", "+ + + + + + +"),
    _by_id("session", "running", "      0   0   +   +   0   +   +"),
    _by_id("session", "reviewed", "     0   0   +   +   0   +   +"),
    _by_id("transaction", "hire", "     0   0   0   +   0   0   0"),
    _by_id("transaction", "earning", "  0   0   0   0   +   0   0"),
    Case("legalDocuments", lambda _: "", "+ + + + + + +"),
    Case("dofPackages", lambda _: "", "+ + + + + + +"),
    Case("validateAgentConfiguration", lambda _: MODEL, "+ + + + + + +"),
    _quote("listing", "                 +   +   +   +   +   +   +"),
    _quote("hidden_listing", "          N   N   H   N   N   N   N"),
    Case("ledgerDigest", lambda _: '(day: "2026-01-20")', "+ + + + + + +"),
    Case("walletStatement", lambda _: "(year: 2026, month: 3)", "U + + + + + +"),
    Case("exportReceipts", lambda _: "", "U + + + + + +"),
    Case("reviewQueue", lambda _: "(first: 2, after: null)", "U F F F F F +"),
    Case("deadLetters", lambda _: "(first: 2, after: null)", "U F F F F F +"),
    Case("agentAnalytics", lambda market: f'(agentId: "{market.ids.nova}", range: {RANGE})', "U N + N + N N"),
    Case("agentAnalytics", lambda market: f'(agentId: "{market.ids.draft}", range: {RANGE})', "U N + N N N N"),
    Case("earningsAnalytics", lambda _: f"(range: {RANGE})", "U + + + + + +"),
    Case("usageAnalytics", lambda _: f"(range: {RANGE})", "U + + + + + +"),
    Case("platformAnalytics", lambda _: f"(range: {RANGE})", "U F F F F F +"),
    Case("acts", lambda _: "(filter: null, first: 2, after: null)", "U F F F F F +"),
    Case("ledgerEntries", lambda _: "(filter: null, first: 2, after: null)", "U F F F F F +"),
    Case("moderatedListings", lambda _: "(status: null, first: 2, after: null)", "U F F F F + +"),
    Case("appeals", lambda _: "(state: null, first: 2, after: null)", "U F F F F + +"),
    Case("reports", lambda _: "(state: null, subjectId: null, first: 2, after: null)", "U F F F F + +"),
    Case("users", lambda _: "(filter: {suspended: true}, first: 2, after: null)", "U F F F F F +"),
)

MUTATIONS = {
    # fields                  guest eve ada max cleo mia root
    "signUp": "                  +   +   +   +   +   +   +",
    "signIn": "                  +   +   +   +   +   +   +",
    "refreshToken": "            +   +   +   +   +   +   +",
    "signOut": "                 U   +   +   +   +   +   +",
    "updateProfile": "           U   +   +   +   +   +   +",
    "updatePreferences": "       U   +   +   +   +   +   +",
    "createApiKey": "            U   +   +   +   +   +   +",
    "revokeApiKey": "            U   N   N   +   N   N   N",
    "exportMyData": "            U   +   +   +   +   +   +",
    "deleteMyAccount": "         U   B   B   B   B   B   B",
    "revokeSignIn": "            U   N   N   +   N   N   N",
    "acceptLegal": "             U   +   +   +   +   +   +",
    "createAgent": "             U   +   +   +   +   +   +",
    "updateAgent": "             U   N   +   N   N   N   N",
    "updateAgentConfiguration": "U   N   +   N   N   N   N",
    "restoreAgentVersion": "     U   N   +   N   N   N   N",
    "deleteAgent": "             U   N   +   N   N   N   N",
    "transferAgent": "           U   N   +   N   N   N   N",
    "createImageUpload": "       U   N   +   N   N   N   N",
    "completeImageUpload": "     U   N   +   N   N   N   N",
    "publishAgent": "            U   N   +   N   N   N   N",
    "unpublishAgent": "          U   N   +   N   N   N   N",
    "updateListing": "           U   N   +   N   N   N   N",
    "pauseListing": "            U   N   +   N   N   N   N",
    "resumeListing": "           U   N   +   N   N   N   N",
    "hireAgent": "               U   +   S   +   +   +   +",
    "startSession": "            U   +   S   +   +   +   +",
    "extendSession": "           U   N   N   +   N   N   N",
    "recordUsage": "             U   N   N   +   N   N   N",
    "endSession": "              U   N   +   +   N   +   +",
    "submitReview": "            U   N   N   +   N   N   N",
    "updateReview": "            U   N   N   +   N   N   N",
    "voteReview": "              U   +   S   S   S   +   +",
    "purchaseDof": "             U   +   +   +   +   +   +",
    "transferDof": "             U   +   +   +   +   +   +",
    "connectPayouts": "          U   +   +   +   +   +   +",
    "requestPayout": "           U   P   +   P   P   P   P",
    "markNotificationsRead": "   U   N   N   +   N   N   N",
    "registerDevice": "          U   +   +   +   +   +   +",
    "createWebhookEndpoint": "   U   +   +   +   +   +   +",
    "updateWebhookEndpoint": "   U   N   +   N   N   N   N",
    "deleteWebhookEndpoint": "   U   N   +   N   N   N   N",
    "replayWebhookDelivery": "   U   N   +   N   N   N   N",
    "moderateListing": "         U   F   F   F   F   +   +",
    "featureListing": "          U   F   F   F   F   +   +",
    "moderateReview": "          U   F   F   F   F   +   +",
    "report": "                  U   +   +   +   +   +   +",
    "appealListing": "           U   N   +   N   N   N   N",
    "decideAppeal": "            U   F   F   F   F   +   +",
    "resolveReport": "           U   F   F   F   F   +   +",
    "suspendUser": "             U   F   F   F   F   +   +",
    "reinstateUser": "           U   F   F   F   F   +   +",
    "setRole": "                 U   F   F   F   F   F   +",
    "awardBadge": "              U   F   F   F   F   +   +",
    "adjustWallet": "            U   F   F   F   F   F   +",
    "refundSession": "           U   F   F   F   F   F   +",
    "approveOrder": "            U   F   F   F   F   F   +",
    "rejectOrder": "             U   F   F   F   F   F   +",
    "retryDeadLetter": "         U   F   F   F   F   F   +",
}

SUBSCRIPTIONS = (
    # fields                                              guest eve ada max cleo mia root
    ("sessionUpdated", "(id: {running!r}) { id }", "         U   N   +   +   N   +   +"),
    ("sessionUpdated", "(id: {ended!r}) { id }", "           U   N   +   +   N   +   +"),
    ("walletUpdated", "{{ available }}", "                    U   +   +   +   +   +   +"),
    ("events", "(topics: ['session:{running}']) {{ topic }}", "N N + + N + +"),
    ("notificationReceived", "{ id }", "                      U   +   +   +   +   +   +"),
    ("events", "(topics: ['notifications']) {{ topic }}", "   U   +   +   +   +   +   +"),
    ("events", "(topics: ['agent:{nova}']) {{ topic }}", "    +   +   +   +   +   +   +"),
    ("events", "(topics: ['agent:{draft}']) {{ topic }}", "   N   N   +   N   N   +   +"),
    ("events", "(topics: ['listing:{listing}']) {{ topic }}", "+  +   +   +   +   +   +"),
    ("events", "(topics: ['listing:{hidden_listing}']) {{ topic }}", "N N + N N + +"),
    ("events", "(topics: ['wallet']) {{ topic }}", "          U   +   +   +   +   +   +"),
    ("events", "(topics: ['transactions']) {{ topic }}", "    U   +   +   +   +   +   +"),
    ("events", "(topics: ['agent:{nova}', 'session:{running}']) {{ topic }}", "N N + + N + +"),
)


def _expected(outcomes: str) -> dict[str, str]:
    return dict(zip(WHO, (SHORT.get(each, each) for each in outcomes.split()), strict=True))


def test_the_tables_hold_every_root_field_and_nothing_else() -> None:
    """A root field that nobody has judged is not let in (T-Z08)."""
    roots = graph()
    assert {case.field for case in QUERIES} == set(roots.query_type.fields)
    assert set(MUTATIONS) == set(roots.mutation_type.fields)
    assert {name for name, _, _ in SUBSCRIPTIONS} == set(roots.subscription_type.fields)


@pytest.mark.parametrize("case", QUERIES, ids=lambda case: f"{case.field}-{case.type_}")
async def test_who_may_read(market: Market, case: Case) -> None:
    selection = "{ __typename }" if select(_type(case), 0) else ""
    query = f"{{ {case.field}{case.arguments(market)} {selection} }}"
    async with market.unchanged():
        heard = {who: outcome(await getattr(market, who).answer(query)) for who in WHO}
    assert heard == _expected(case.outcomes)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", MUTATIONS)
async def test_who_may_change(market: Market, name: str, who: str) -> None:
    """Whoever may not has changed nothing; whoever may is done with no error, and leaves the ledger whole."""
    person, (_, asked) = getattr(market, who), calls(market)[name]
    before = await market.rig.dump()
    assert outcome(await call(person, name, asked)) == _expected(MUTATIONS[name])[who]
    if _expected(MUTATIONS[name])[who] != "+":
        assert await market.rig.dump() == before


@pytest.mark.parametrize(("field", "rest", "outcomes"), SUBSCRIPTIONS)
async def test_who_may_follow(market: Market, field: str, rest: str, outcomes: str) -> None:
    rest = rest.replace("{ id }", "{{ id }}").format(**vars(market.ids)).replace("'", '"')
    heard = {}
    for who in WHO:
        async with await getattr(market, who).subscribe(f"subscription {{ {field}{rest} }}") as stream:
            answer = await stream.answer()
            heard[who] = "+" if answer is None or "data" in answer else answer["errors"][0]["extensions"]["code"]
    assert heard == _expected(outcomes)


async def test_every_field_of_every_type_is_answered(market: Market) -> None:
    """The deepest selection of each root field, by all who may ask: no field that nobody has ever asked for."""
    roots, heard = graph(), set()
    await market.rig.index(market.ids.listing)
    await _crowd(market)
    await _count(market)
    for case in QUERIES:
        for who in ("ada", "max", "cleo", "root"):
            if _expected(case.outcomes)[who] != "+":
                continue
            hidden = frozenset() if who == "ada" and case.type_ == "Agent" else INSIDE
            # A hundred agents with all badges of each are more than one answer holds.
            dear = {"Agent.badges"} if case.field in ("earningsAnalytics", "usageAnalytics") else set()
            inside = select(_type(case), 1, hidden | dear)
            chosen = f"{{ __typename ... on {case.type_} {inside} }}" if case.type_ else inside
            heard |= told(await _answered(getattr(market, who), f"{{ {case.field}{case.arguments(market)} {chosen} }}"))
    alike = select(roots.query_type.fields["recommendedListings"].type, 1, INSIDE)
    heard |= told(await _answered(market.max, f"{{ recommendedListings(first: 2) {alike} }}"))
    heard |= told(await _answered(market.max, '{ marketInsights(game: "Unheard") { __typename note } }'))
    types = [field.type for field in roots.query_type.fields.values()]
    assert sorted(reachable(*types) - heard) == []


async def _count(market: Market) -> None:
    """One order more, without a doubt, and all figures."""
    told = shop.Order(7_003, email="mia@jiga.test").told()
    assert (await shop.post(market.rig.http, told)).status_code == 200
    await market.rig.drain()
    assert await market.rig.store.roll_up.run(market.rig.now, "one") > 0


async def _crowd(market: Market) -> None:
    """Eight more agents like nova: a market that is large enough to say something of itself."""
    rig, eve = market.rig, market.eve.user_id
    nova, listing = await rig.get(AGENTS, market.ids.nova), await rig.get(LISTINGS, market.ids.listing)
    for number in range(8):
        agent_id = derived_id(Kind.AGENT, "crowd", number)
        made = replace(listing, id=listing_id(agent_id), agent_id=agent_id, owner_id=eve)
        await rig.put(AGENTS, replace(nova, id=agent_id, listing_id=made.id, owner_id=eve))
        await rig.put(LISTINGS, made)


def _type(case: Case) -> Any:
    return graph().type_map[case.type_] if case.type_ else graph().query_type.fields[case.field].type


async def _answered(person: Person, query: str) -> Json:
    answer = await person.answer(query)
    assert "errors" not in answer, (answer["errors"], query)
    return answer["data"]


@pytest.mark.parametrize("name", MUTATIONS)
async def test_every_field_of_a_payload_is_answered(market: Market, name: str) -> None:
    person, asked = calls(market)[name]
    union = graph().mutation_type.fields[name].type.of_type
    (payload,) = (each for each in union.types if each.name.endswith("Payload"))
    without = () if person is market.ada and name != "transferAgent" else INSIDE
    answer = await call(person, name, asked, f"... on {payload.name} {select(payload, 1, without)}")
    assert "errors" not in answer, answer
    assert {each for each in told(answer) if each.startswith(f"{payload.name}.")} == {
        f"{payload.name}.{field}" for field in payload.fields
    }
