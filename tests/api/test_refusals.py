"""How the store says no: each refusal of each mutation by name, with its facts, and nothing changed (house rule 7)."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from graphql import get_named_type

from domain.agents import AGENTS_MAX
from domain.endpoints import DeliveryStatus
from domain.ids import Kind, derived_id
from domain.keys import TEST, KeyScope, KeyWish
from domain.money import DOF_MAX, Dof
from firestore.collections import AGENT_VERSIONS, AGENTS, API_KEYS, DELIVERIES, LISTINGS, REVIEWS, USERS, WALLETS
from graph.permissions import Standing
from tests.api.api import Json, Market, Person, call, calls, codes, document, gates, graph, inputs, missing
from tests.nouns import an_agent

Step = Callable[[Market], Awaitable[Any]]
KEY = {"idempotencyKey": "k"}


class Refusal(NamedTuple):
    """A mutation that is refused: by whom it is asked, what is sent instead of what succeeds, what is done before."""

    mutation: str
    type_: str
    who: str = ""
    sent: Callable[[Market], Json] = lambda _: {}
    before: Step | None = None
    facts: Mapping[str, Json] = MappingProxyType({})


async def _pause(market: Market) -> None:
    await market.ada.act("pauseListing", {"listingId": market.ids.listing})


async def _suspend(market: Market) -> None:
    judged = {"listingId": market.ids.listing, "status": "SUSPENDED", "reason": "It lies."}
    await market.mia.act("moderateListing", judged)


async def _raise_price(market: Market) -> None:
    prices = {"hourly": 7_000, "daily": 96_000, "weekly": 500_000}
    await market.ada.act("updateListing", {"listingId": market.ids.listing, "pricing": prices})


def _judges_own(field: str) -> Step:
    """The review is of the moderator, as its author or as who sold what it is on."""

    async def step(market: Market) -> None:
        review = await market.rig.get(REVIEWS, market.ids.review)
        await market.rig.put(REVIEWS, replace(review, **{field: market.mia.user_id}))

    return step


async def _given(market: Market) -> None:
    """nova is max's by now, who had hired and reviewed it."""
    listing = await market.rig.get(LISTINGS, market.ids.listing)
    await market.rig.put(LISTINGS, replace(listing, owner_id=market.max.user_id))


def _two_hundred_agents(name: str) -> Step:
    async def step(market: Market) -> None:
        owner_id = getattr(market, name).user_id
        await market.rig.put(AGENTS, *(an_agent(f"{name} {number}", owner_id) for number in range(AGENTS_MAX)))

    return step


async def _over(market: Market) -> None:
    await market.max.act("endSession", {"sessionId": market.ids.running, "idempotencyKey": "over"})


async def _again(market: Market, name: str) -> None:
    person, asked = calls(market)[name]
    await person.act(name, asked)


def _done(name: str) -> Step:
    async def step(market: Market) -> None:
        await _again(market, name)

    return step


def _owing(name: str) -> Step:
    """The person owes 7 DOF more than there were."""

    async def step(market: Market) -> None:
        person: Person = getattr(market, name)
        available = (await person.wallet())["available"]
        taken = {"userId": person.user_id, "amount": -available - 7, "reason": "A fraud.", "idempotencyKey": "owing"}
        await market.root.act("adjustWallet", taken)

    return step


def _left(name: str, dof: int) -> Step:
    """The person has so much available."""

    async def step(market: Market) -> None:
        person: Person = getattr(market, name)
        available = (await person.wallet())["available"]
        taken = {"userId": person.user_id, "amount": dof - available, "reason": "A game.", "idempotencyKey": "left"}
        await market.root.act("adjustWallet", taken)

    return step


async def _gone(market: Market) -> None:
    """max's record is erased, and the sign-in outlives it."""
    documents = await market.rig.dump()
    await market.rig.forget(USERS.at(market.max.user_id))
    assert USERS.at(market.max.user_id) in documents


async def _old_model(market: Market) -> None:
    """The draft's second version names a model that nobody offers any more."""
    old = await market.rig.get(AGENT_VERSIONS, f"{market.ids.draft}.2")
    primary = replace(old.configuration.primary, model="gpt-3")
    await market.rig.put(AGENT_VERSIONS, replace(old, configuration=replace(old.configuration, primary=primary)))


async def _no_voice(market: Market) -> None:
    """nova speaks, and has lost its voice: it is not valid as it stands."""
    nova = await market.rig.get(AGENTS, market.ids.nova)
    await market.rig.put(AGENTS, replace(nova, configuration=replace(nova.configuration, voice_id=None)))


async def _full(market: Market) -> None:
    """zoe has as much as a wallet holds."""
    wallet = await market.rig.get(WALLETS, market.eve.user_id)
    await market.rig.put(WALLETS, replace(wallet, id=market.zoe.user_id, available=Dof(DOF_MAX)))


async def _twenty_keys(market: Market) -> None:
    for number in range(19):  # and the one that max has
        await market.max.act("createApiKey", {"name": f"Bot {number}", "scopes": ["READ"]})
    await market.rig.drain()


async def _still_tried(market: Market) -> None:
    delivery = await market.rig.get(DELIVERIES, market.ids.delivery)
    await market.rig.put(DELIVERIES, replace(delivery, status=DeliveryStatus.PENDING))


async def _five_endpoints(market: Market) -> None:
    for number in range(4):  # and the one that ada has
        asked = {"url": f"https://new.example/{number}", "events": ["AGENT_HIRED"]}
        await market.ada.act("createWebhookEndpoint", asked)


def _spent(name: str) -> Step:
    """The person's key has spent all that it may."""

    async def step(market: Market) -> None:
        user_id, key_id = getattr(market, name).user_id, derived_id(Kind.API_KEY, name)
        if name != "max":
            wish = KeyWish("Bot", (KeyScope.SPEND,), dof_spend_cap=Dof(1))
            await market.rig.store.keys.create(user_id, key_id, TEST, bytes(32), wish, market.rig.now)
        key = await market.rig.get(API_KEYS, key_id)
        assert key.dof_spend_cap is not None
        await market.rig.put(API_KEYS, replace(key, spent=key.dof_spend_cap))

    return step


def _to(kind: Kind, field: str) -> Callable[[Market], Json]:
    return lambda _: {field: missing(kind)}


BAD_MODEL = {"provider": "OPENAI", "primary": {"model": "gpt-3", "temperature": 0.5}}
UNKNOWN_MODEL = {
    "field": "configuration.primary.model",
    "message": "This is not a known model: choose of gpt-4.1, gpt-4.1-mini, gpt-4o, gpt-4o-mini.",
}
NO_FIELD = [
    {"field": "specialization.games", "message": "A specialist names at least one game."},
    {"field": "specialization.focus", "message": "A specialist names a focus."},
]

REFUSALS = (
    Refusal("signUp", "EmailTaken", sent=lambda _: {"email": "max@jiga.test"}),
    Refusal("signUp", "WeakPassword", sent=lambda _: {"password": "password1"}),
    Refusal("signIn", "BadCredentials", sent=lambda _: {"password": "wrong"}),
    Refusal("refreshToken", "BadCredentials", sent=lambda _: {"refreshToken": "stale"}),
    Refusal("updateProfile", "NotFound", before=_gone),
    Refusal("updatePreferences", "NotFound", before=_gone),
    Refusal("signUp", "NotFound", sent=lambda _: {"acceptedLegal": [{"document": "cookies", "version": "2026-01"}]}),
    Refusal("signUp", "Conflict", sent=lambda _: {"acceptedLegal": [{"document": "terms", "version": "2025-01"}]}),
    Refusal("createApiKey", "Conflict", before=_twenty_keys),
    Refusal("revokeApiKey", "NotFound", "eve"),
    Refusal("revokeSignIn", "NotFound", "eve"),
    Refusal("createImageUpload", "NotFound", sent=_to(Kind.AGENT, "agentId")),
    Refusal("completeImageUpload", "NotFound", "eve"),
    Refusal("markNotificationsRead", "NotFound", "eve"),
    Refusal("createWebhookEndpoint", "Conflict", before=_five_endpoints),
    Refusal("updateWebhookEndpoint", "NotFound", "eve"),
    Refusal("deleteWebhookEndpoint", "NotFound", "eve"),
    Refusal("replayWebhookDelivery", "NotFound", "eve"),
    Refusal("replayWebhookDelivery", "Conflict", before=_still_tried),
    Refusal("awardBadge", "NotFound", sent=_to(Kind.BADGE, "badgeId")),
    Refusal("awardBadge", "Conflict", sent=lambda market: {"userId": market.mia.user_id}),
    Refusal("acceptLegal", "NotFound", sent=lambda _: {"document": "cookies"}),
    Refusal("acceptLegal", "Conflict", sent=lambda _: {"version": "2025-01"}),
    Refusal("deleteMyAccount", "BadCredentials", sent=lambda _: {"password": "wrong"}),
    Refusal("deleteMyAccount", "Conflict", "max", lambda _: {"confirm": "max@jiga.test", "password": "max"}),
    # ---- agents
    Refusal("createAgent", "InvalidConfiguration", sent=lambda _: {"type": "SPECIALIST"}, facts={"problems": NO_FIELD}),
    Refusal("updateAgent", "NotFound", "eve"),
    Refusal("updateAgent", "Conflict", sent=lambda _: {"version": 1}),
    Refusal("updateAgent", "InvalidConfiguration", sent=lambda _: {"type": "SPECIALIST"}, facts={"problems": NO_FIELD}),
    Refusal("updateAgentConfiguration", "NotFound", "eve"),
    Refusal("updateAgentConfiguration", "Conflict", sent=lambda _: {"version": 1}),
    Refusal(
        "updateAgentConfiguration",
        "InvalidConfiguration",
        sent=lambda _: {"configuration": BAD_MODEL},
        facts={"problems": [UNKNOWN_MODEL]},
    ),
    Refusal("restoreAgentVersion", "NotFound", sent=lambda _: {"version": 9}),
    Refusal("restoreAgentVersion", "InvalidConfiguration", before=_old_model, facts={"problems": [UNKNOWN_MODEL]}),
    Refusal("deleteAgent", "NotFound", "eve"),
    Refusal("deleteAgent", "AgentInUse", sent=lambda market: {"id": market.ids.nova}),
    Refusal("transferAgent", "NotFound", sent=_to(Kind.USER, "toUserId")),
    Refusal("transferAgent", "AgentInUse", sent=lambda market: {"agentId": market.ids.nova}),
    Refusal("transferAgent", "Conflict", before=_two_hundred_agents("zoe")),
    Refusal("createAgent", "Conflict", before=_two_hundred_agents("max")),
    Refusal("transferAgent", "SelfDealing", sent=lambda market: {"toUserId": market.ada.user_id}),
    # ---- listings
    Refusal("publishAgent", "NotFound", "eve"),
    Refusal("publishAgent", "NotPublishable", sent=lambda market: {"agentId": market.ids.nova}, before=_no_voice),
    Refusal("publishAgent", "NotPublishable", sent=lambda market: {"agentId": market.ids.nova}, before=_suspend),
    Refusal("unpublishAgent", "NotFound", sent=lambda market: {"agentId": market.ids.draft}),
    Refusal("unpublishAgent", "Conflict", before=_suspend),
    Refusal("updateListing", "NotFound", "eve"),
    Refusal("pauseListing", "NotFound", "eve"),
    Refusal("pauseListing", "Conflict", sent=lambda market: {"listingId": market.ids.hidden_listing}),
    Refusal("resumeListing", "NotFound", "eve"),
    Refusal("resumeListing", "Conflict", before=_suspend),
    Refusal("moderateListing", "NotFound", sent=_to(Kind.LISTING, "listingId")),
    Refusal("moderateListing", "Conflict", sent=lambda _: {"status": "ACTIVE"}),
    Refusal("moderateReview", "NotFound", sent=_to(Kind.REVIEW, "reviewId")),
    Refusal("moderateReview", "Conflict", before=_judges_own("reviewer_id")),
    Refusal("moderateReview", "Conflict", before=_judges_own("owner_id")),
    Refusal("report", "NotFound", sent=_to(Kind.USER, "subjectId")),
    Refusal("report", "SelfDealing", sent=lambda market: {"subjectId": market.eve.user_id}),
    Refusal("report", "Conflict", sent=lambda _: {"text": "Look here."}, before=_done("report")),
    Refusal("appealListing", "NotFound", sent=_to(Kind.LISTING, "listingId")),
    Refusal("appealListing", "Conflict", sent=lambda market: {"listingId": market.ids.listing}),
    Refusal("decideAppeal", "NotFound", sent=_to(Kind.APPEAL, "appealId")),
    Refusal("decideAppeal", "Conflict", sent=lambda _: {"state": "UPHELD"}, before=_done("decideAppeal")),
    Refusal("resolveReport", "NotFound", sent=_to(Kind.REPORT, "reportId")),
    Refusal("resolveReport", "Conflict", sent=lambda _: {"action": "OTHER"}, before=_done("resolveReport")),
    Refusal("suspendUser", "NotFound", sent=_to(Kind.USER, "userId")),
    Refusal("suspendUser", "Conflict", sent=lambda market: {"userId": market.mia.user_id}),
    Refusal("reinstateUser", "NotFound", sent=_to(Kind.USER, "userId")),
    Refusal("reinstateUser", "Conflict", sent=lambda market: {"userId": market.mia.user_id}),
    Refusal("setRole", "NotFound", sent=_to(Kind.USER, "userId")),
    Refusal("setRole", "Conflict", sent=lambda market: {"userId": market.root.user_id}),
    Refusal("featureListing", "NotFound", sent=_to(Kind.LISTING, "listingId")),
    Refusal(
        "featureListing", "Conflict", sent=lambda market: {"listingId": market.ids.hidden_listing, "featured": True}
    ),
    # ---- sessions
    Refusal("hireAgent", "NotFound", sent=lambda market: {"listingId": market.ids.hidden_listing}),
    Refusal("hireAgent", "NotHirable", "ada", lambda market: {"listingId": market.ids.hidden_listing}),
    Refusal("hireAgent", "NotAvailable", before=_pause),
    Refusal("hireAgent", "PriceChanged", before=_raise_price, facts={"currentVersion": 2}),
    Refusal("hireAgent", "SelfDealing", "ada"),
    Refusal("hireAgent", "InsufficientDof", "zoe", facts={"needed": 6_000, "available": 0}),
    Refusal("hireAgent", "InsufficientDof", before=_left("max", 5_999), facts={"needed": 6_000, "available": 5_999}),
    Refusal("hireAgent", "WalletFrozen", before=_owing("max"), facts={"debt": 7}),
    Refusal("hireAgent", "IdempotencyConflict", sent=lambda _: {"quantity": 2}, before=_done("hireAgent")),
    Refusal("hireAgent", "SpendCapReached", "max_bot", before=_spent("max"), facts={"needed": 6_000, "left": 0}),
    Refusal("extendSession", "SpendCapReached", "max_bot", before=_spent("max"), facts={"needed": 6_000, "left": 0}),
    Refusal("transferDof", "SpendCapReached", "max_bot", before=_spent("max"), facts={"needed": 5, "left": 0}),
    Refusal(
        "startSession",
        "SpendCapReached",
        "ada_bot",
        lambda market: {"agentId": market.ids.draft, "type": "OWNED", "usageAllowance": 7},
        before=_spent("ada"),
        facts={"needed": 7, "left": 0},
    ),
    Refusal("startSession", "NotFound", sent=lambda market: {"agentId": market.ids.draft}),
    Refusal("startSession", "NotHirable", "ada", lambda market: {"agentId": market.ids.hidden}),
    Refusal("startSession", "NotAvailable", before=_pause),
    Refusal("startSession", "SelfDealing", "ada"),
    Refusal("startSession", "TrialUsed", sent=lambda _: {"idempotencyKey": "again"}, before=_done("startSession")),
    Refusal(
        "startSession",
        "InsufficientDof",
        "ada",
        lambda market: {"agentId": market.ids.draft, "type": "OWNED", "usageAllowance": 10**9},
        facts={"needed": 10**9},
    ),
    Refusal(
        "startSession",
        "WalletFrozen",
        "ada",
        lambda market: {"agentId": market.ids.draft, "type": "OWNED", "usageAllowance": 1},
        _owing("ada"),
        {"debt": 7},
    ),
    Refusal(
        "startSession",
        "IdempotencyConflict",
        "ada",
        lambda market: {"agentId": market.ids.draft, "type": "OWNED", "minutes": 5},
        lambda market: market.ada.act(
            "startSession", {"agentId": market.ids.draft, "type": "OWNED", "minutes": 4, **KEY}
        ),
    ),
    Refusal("extendSession", "NotFound", "ada"),
    Refusal("extendSession", "SessionOver", before=_over),
    Refusal("extendSession", "InsufficientDof", before=_left("max", 1), facts={"needed": 6_000, "available": 1}),
    Refusal("extendSession", "WalletFrozen", before=_owing("max"), facts={"debt": 7}),
    Refusal("extendSession", "IdempotencyConflict", sent=lambda _: {"unit": "DAY"}, before=_done("extendSession")),
    Refusal("recordUsage", "NotFound", "ada"),
    Refusal("recordUsage", "SessionOver", before=_over),
    Refusal("recordUsage", "IdempotencyConflict", sent=lambda _: {"dof": 6}, before=_done("recordUsage")),
    Refusal("endSession", "NotFound", "cleo"),
    Refusal("endSession", "SessionOver", before=_over),
    Refusal(
        "endSession",
        "IdempotencyConflict",
        sent=lambda market: {"sessionId": market.ids.reviewed},
        before=_done("endSession"),
    ),
    Refusal("refundSession", "NotFound", sent=_to(Kind.SESSION, "sessionId")),
    Refusal("refundSession", "Conflict", sent=lambda market: {"sessionId": market.ids.running}),
    Refusal("refundSession", "IdempotencyConflict", sent=lambda _: {"amount": 6}, before=_done("refundSession")),
    # ---- reviews
    Refusal("submitReview", "NotFound", "ada"),
    Refusal("submitReview", "NotReviewable", sent=lambda market: {"sessionId": market.ids.running}),
    Refusal("submitReview", "AlreadyReviewed", sent=lambda market: {"sessionId": market.ids.reviewed}),
    Refusal("updateReview", "NotFound", "ada"),
    Refusal("updateReview", "NotReviewable", before=_given),
    Refusal("voteReview", "NotFound", sent=_to(Kind.REVIEW, "reviewId")),
    Refusal("voteReview", "SelfDealing", "max"),
    # ---- wallets
    Refusal("purchaseDof", "UnknownPackage", sent=lambda _: {"sku": "DOF-9B-URANIUM"}),
    Refusal("purchaseDof", "IdempotencyConflict", sent=lambda _: {"quantity": 2}, before=_done("purchaseDof")),
    Refusal("transferDof", "NotFound", sent=_to(Kind.USER, "toUserId")),
    Refusal("transferDof", "SelfDealing", sent=lambda market: {"toUserId": market.max.user_id}),
    Refusal("transferDof", "InsufficientDof", before=_left("max", 4), facts={"needed": 5, "available": 4}),
    Refusal("transferDof", "WalletFrozen", before=_owing("max"), facts={"debt": 7}),
    Refusal("transferDof", "IdempotencyConflict", sent=lambda _: {"amount": 6}, before=_done("transferDof")),
    Refusal("transferDof", "IdempotencyConflict", sent=lambda _: {"note": "Hi."}, before=_done("transferDof")),
    Refusal("adjustWallet", "NotFound", sent=_to(Kind.USER, "userId")),
    Refusal("adjustWallet", "Conflict", before=_full),
    Refusal("adjustWallet", "IdempotencyConflict", sent=lambda _: {"amount": 6}, before=_done("adjustWallet")),
    Refusal("requestPayout", "PayoutNotReady", "max"),
    Refusal("requestPayout", "PayoutNotReady", "zoe", before=lambda market: market.zoe.act("connectPayouts", {})),
    Refusal("requestPayout", "BelowMinimum", sent=lambda _: {"amount": 499_999}),
    Refusal("requestPayout", "InsufficientDof", before=_left("ada", 9), facts={"needed": 500_000, "available": 9}),
    Refusal("requestPayout", "WalletFrozen", before=_owing("ada"), facts={"debt": 7}),
    Refusal("requestPayout", "IdempotencyConflict", sent=lambda _: {"amount": 500_001}, before=_done("requestPayout")),
    # ---- what waits for an admin
    Refusal("approveOrder", "NotFound", sent=_to(Kind.ORDER, "orderId")),
    Refusal("approveOrder", "Conflict", before=_done("rejectOrder")),
    Refusal("rejectOrder", "NotFound", sent=_to(Kind.ORDER, "orderId")),
    Refusal("rejectOrder", "Conflict", before=_done("approveOrder")),
    Refusal("retryDeadLetter", "NotFound", sent=_to(Kind.OUTBOX, "id")),
)

NEVER = {
    ("signOut", "NotFound"): "whoever is signed in has an account",
    ("exportMyData", "NotFound"): "whoever is signed in has an account",
    ("restoreAgentVersion", "Conflict"): "its input names no version that was seen",
    ("updateListing", "Conflict"): "its input names no version that was seen",
    ("connectPayouts", "PayoutNotReady"): "what is not set up is UNAVAILABLE",
    ("completeImageUpload", "Conflict"): "its input names no version that was seen",
    ("registerDevice", "NotFound"): "whoever is signed in has an account",
}
"""What a union names and nothing raises: told beforehand, so that a later reason to refuse needs no new schema."""


def test_the_table_holds_every_refusal_of_every_mutation() -> None:
    wanted = {
        (name, each.name)
        for name, field in graph().mutation_type.fields.items()
        for each in get_named_type(field.type).types
        if not each.name.endswith("Payload")
    }
    assert {(each.mutation, each.type_) for each in REFUSALS} == wanted - set(NEVER)


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: f"{case.mutation}-{case.type_}")
async def test_a_refusal_has_its_name_its_facts_and_no_effect(market: Market, case: Refusal) -> None:
    """Asked twice, it says the same twice: a refusal is not remembered."""
    if case.before is not None:
        await case.before(market)
    person, asked = calls(market)[case.mutation]
    person, asked = getattr(market, case.who or person.name), {**asked, **case.sent(market)}
    async with market.unchanged():
        answers = [(await call(person, case.mutation, asked)) for _ in range(2)]
    assert answers[0] == answers[1]
    said = answers[0]["data"][case.mutation]
    assert said["__typename"] == case.type_
    assert _bare({name: said[name] for name in case.facts}) == case.facts
    code = re.sub(r"(?<!^)(?=[A-Z])", "_", case.type_).upper()
    assert said["code"] == {"SESSION_OVER": "SESSION_ENDED"}.get(code, code)
    assert _is_advice(said["message"]), said["message"]


async def test_a_suspended_account_changes_nothing(market: Market) -> None:
    """Every mutation is closed to it, whoever adds it, but those that the roof lets through by name."""
    for name in ("max", "ada", "eve", "mia", "root"):
        record = await market.rig.get(USERS, getattr(market, name).user_id)
        await market.rig.put(USERS, replace(record, suspended_at=market.rig.now, suspension_reason="A fraud."))
    closed = {name for name, gate in gates().items() if gate.standing is not Standing.NOT_ASKED}
    assert {"signOut", "endSession", "recordUsage"} <= gates().keys() - closed
    heard = {}
    for name, (person, asked) in calls(market).items():
        if name in closed and person is not market.guest:
            async with market.unchanged():
                answer = await call(person, name, asked)
            heard[name] = codes(answer) or [answer["data"][name].get("code")]
            if "errors" in answer:
                message = "This account is suspended: A fraud. Write to support to appeal."
                assert answer["errors"][0]["message"] == message, name
    assert heard == {**{name: ["FORBIDDEN"] for name in heard}, "publishAgent": ["NOT_PUBLISHABLE"]}
    assert heard.keys() >= closed - {"signUp", "signIn", "refreshToken"}
    person, asked = calls(market)["endSession"]
    assert codes(await call(person, "endSession", asked)) == []


# ---- bad input names its field

LONG = "a" * 50_000
BAD_INPUT: tuple[tuple[str, Json, str], ...] = (
    ("signUp", {"email": "nobody"}, "input.email"),
    ("signUp", {"email": LONG}, "input.email"),
    ("signUp", {"password": LONG}, "input.password"),
    ("signUp", {"password": "a\u0000bcdefgh"}, "input.password"),
    ("signUp", {"displayName": " "}, "input.displayName"),
    ("signUp", {"timezone": "Mars/../Olympus"}, "input.timezone"),
    ("signIn", {"email": "nobody", "password": "x"}, ""),
    ("signUp", {"referralCode": "not a code"}, "input.referralCode"),
    ("createApiKey", {"name": " "}, "input.name"),
    ("createApiKey", {"scopes": []}, "input.scopes"),
    ("createApiKey", {"expiresAt": "2020-01-01T00:00:00Z"}, "input.expiresAt"),
    ("createApiKey", {"expiresAt": "2030-01-01T00:00:00"}, "input.expiresAt"),
    ("createApiKey", {"rateLimitPerMinute": 6_001}, "input.rateLimitPerMinute"),
    ("createApiKey", {"dofSpendCap": 0}, "input.dofSpendCap"),
    ("deleteMyAccount", {"confirm": "yes"}, "input.confirm"),
    ("deleteMyAccount", {"forfeitDof": -1}, "input.forfeitDof"),
    ("updateProfile", {"displayName": ""}, "input.displayName"),
    ("updateProfile", {"displayName": "a" * 61}, "input.displayName"),
    ("updateProfile", {"timezone": ""}, "input.timezone"),
    *(
        (name, {"timezone": zone}, "input.timezone")
        for name in ("signUp", "updateProfile")
        for zone in ("Not/AZone", "America", "localtime", "posixrules", "Factory", "posix/UTC", "right/UTC")
    ),
    ("updateProfile", {"avatarUrl": "javascript:alert(1)"}, "input.avatarUrl"),
    ("updateProfile", {"avatarUrl": "https://a@b.test/"}, "input.avatarUrl"),
    ("updateProfile", {"nationality": "a" * 61}, "input.nationality"),
    ("createAgent", {"name": ""}, "input.name"),
    ("createAgent", {"language": "klingonese!"}, "input.language"),
    ("createAgent", {"nationality": ""}, "input.nationality"),
    ("createAgent", {"toolkit": ["x"] * 201}, "input.toolkit"),
    (
        "createAgent",
        {"specialization": {"games": ["a"] * 41, "focus": "x", "specialistType": "TRAINED"}},
        "input.specialization.games",
    ),
    ("updateAgent", {"name": "\u200b"}, "input.name"),
    ("updateAgent", {"language": "e"}, "input.language"),
    (
        "updateAgentConfiguration",
        {"configuration": {"provider": "OPENAI", "primary": {"model": ""}}},
        "input.configuration.primary.model",
    ),
    ("publishAgent", {"title": ""}, "input.title"),
    ("publishAgent", {"description": "a" * 5_001}, "input.description"),
    ("publishAgent", {"tags": [str(number) for number in range(11)]}, "input.tags"),
    ("publishAgent", {"categories": [str(number) for number in range(6)]}, "input.categories"),
    ("publishAgent", {"pricing": {"hourly": 0, "daily": 1, "weekly": 1}}, "input.pricing.hourly"),
    ("publishAgent", {"pricing": {"hourly": 1, "daily": -1, "weekly": 1}}, "input.pricing.daily"),
    ("publishAgent", {"pricing": {"hourly": 1, "daily": 1, "weekly": 10**9 + 1}}, "input.pricing.weekly"),
    ("updateListing", {"title": "\u3164"}, "input.title"),
    ("moderateListing", {"reason": ""}, "input.reason"),
    ("moderateListing", {"status": "PAUSED"}, "input.status"),
    ("moderateReview", {"reason": "\u200b"}, "input.reason"),
    ("hireAgent", {"quantity": 0}, "input.quantity"),
    ("hireAgent", {"quantity": 673}, "input.quantity"),
    ("hireAgent", {"idempotencyKey": ""}, "input.idempotencyKey"),
    ("hireAgent", {"idempotencyKey": "k" * 201}, "input.idempotencyKey"),
    ("startSession", {"type": "HIRED"}, "input.type"),
    ("startSession", {"usageAllowance": -1}, "input.usageAllowance"),
    ("extendSession", {"quantity": -1}, "input.quantity"),
    ("extendSession", {"quantity": 672}, "input.quantity"),
    ("recordUsage", {"sequence": -1}, "input.sequence"),
    ("recordUsage", {"dof": -1}, "input.dof"),
    ("recordUsage", {"interactions": -1}, "input.interactions"),
    ("recordUsage", {"latencyMs": 600_001}, "input.latencyMs"),
    ("submitReview", {"rating": 0}, "input.rating"),
    ("submitReview", {"rating": 6}, "input.rating"),
    ("submitReview", {"comment": " \n "}, "input.comment"),
    ("submitReview", {"title": "a" * 121}, "input.title"),
    ("updateReview", {"comment": ""}, "input.comment"),
    ("purchaseDof", {"quantity": 0}, "input.quantity"),
    ("purchaseDof", {"quantity": 101}, "input.quantity"),
    ("connectPayouts", {"country": "Mexico"}, "input.country"),
    ("connectPayouts", {"country": "mx"}, "input.country"),
    ("transferDof", {"amount": 0}, "input.amount"),
    ("transferDof", {"amount": -1}, "input.amount"),
    ("transferDof", {"note": "a" * 201}, "input.note"),
    ("requestPayout", {"amount": 0}, "input.amount"),
    ("adjustWallet", {"amount": 0}, "input.amount"),
    ("adjustWallet", {"reason": ""}, "input.reason"),
    ("refundSession", {"amount": 0}, "input.amount"),
    ("refundSession", {"amount": 211}, "input.amount"),
    ("refundSession", {"reason": " "}, "input.reason"),
    ("approveOrder", {"dof": 0}, "input.dof"),
    ("approveOrder", {"dof": 345_000_001}, "input.dof"),
    ("approveOrder", {"reason": ""}, "input.reason"),
    ("rejectOrder", {"reason": "a" * 201}, "input.reason"),
)


@pytest.mark.parametrize(("name", "sent", "field"), BAD_INPUT, ids=lambda each: each if isinstance(each, str) else "")
async def test_bad_input_names_its_field(market: Market, name: str, sent: Json, field: str) -> None:
    person, asked = calls(market)[name]
    async with market.unchanged():
        answer = await call(person, name, {**asked, **sent})
    if not field:  # who signs in with what is no address is told no more than who mistypes one
        assert answer["data"][name]["code"] == "BAD_CREDENTIALS"
        return
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": field}
    assert error["path"] == [name]
    assert _is_advice(error["message"]), error["message"]


QUERIES_OF_BAD_INPUT = (
    ("{ walletStatement(year: 2026, month: 13) { csv } }", "month"),
    ("{ walletStatement(year: 2019, month: 12) { csv } }", "month"),
    ("{ walletStatement(year: 2147483647, month: 1) { csv } }", "month"),
    ('{ quoteHire(input: {listingId: "LISTING", unit: WEEK, quantity: 5}) { total } }', "input.quantity"),
    ('{ quoteHire(input: {listingId: "LISTING", unit: HOUR, quantity: -2147483648}) { total } }', "input.quantity"),
    ("{ listings(filter: {minRating: 5.1}) { nodes { id } } }", "filter.minRating"),
    ('{ listings(filter: {language: "??"}) { nodes { id } } }', "filter.language"),
    ('{ listings(filter: {ownerId: "me"}) { nodes { id } } }', "filter.ownerId"),
    ('{ listings(filter: {game: "%s"}) { nodes { id } } }' % ("a" * 61), "filter.game"),
    ('{ listings(filter: {tags: ["a","b","c","d","e","f","g","h","i","j","k"]}) { nodes { id } } }', "filter.tags"),
    ("{ nodes(ids: [%s]) { id } }" % ('"x",' * 101), "ids"),
)


@pytest.mark.parametrize(("query", "field"), QUERIES_OF_BAD_INPUT, ids=str)
async def test_a_query_names_the_argument_that_is_wrong(market: Market, query: str, field: str) -> None:
    error = await market.max.error(query.replace("LISTING", market.ids.listing))
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": field}
    assert _is_advice(error["message"]), error["message"]


# ---- amounts

ODD_AMOUNTS = {
    # what is written: whether it is an amount at all
    "0": True,
    "-1": True,
    "1": True,
    "1000000000000000": True,
    "-1000000000000000": True,
    "2147483648": True,
    "1000000000000001": False,
    "-1000000000000001": False,
    "9007199254740993": False,
    "9223372036854775807": False,
    '"5"': False,
    '" 5"': False,
    '"\u0663"': False,
    "5.0": False,
    "1e3": False,
    "1E0": False,
    "0.1": False,
    "true": False,
    "null": False,
    "[]": False,
    "[5]": False,
    "{}": False,
}
LITERALS_ONLY = {"9223372036854775808": False, "9" * 400: False, "1e400": False}
"""What JSON's strict reading refuses before GraphQL sees it (test_http)."""


def _amounts() -> list[tuple[str, tuple[str, ...]]]:
    return [
        (name, path)
        for name, field in graph().mutation_type.fields.items()
        if "input" in field.args
        for path, _, type_ in inputs(field.args["input"].type)
        if str(type_).rstrip("!") == "Dof"
    ]


@pytest.mark.parametrize(("name", "path"), _amounts(), ids=str)
async def test_t_m01_an_amount_is_a_whole_number(market: Market, name: str, path: tuple[str, ...]) -> None:
    """As a variable and as a literal: both say the same, no fault shows, and what is no amount changes nothing."""
    person, asked = calls(market)[name]
    pricing = {"pricing": {"hourly": 10, "daily": 100, "weekly": 500}} if path[0] == "pricing" else {}
    asked = {**asked, **pricing}
    (type_,) = (
        each for found, _, each in inputs(graph().mutation_type.fields[name].args["input"].type) if found == path
    )
    before, head = market.rig.state(), re.compile(r"^mutation \([^)]*\) ")
    for text, is_amount in {**ODD_AMOUNTS, **LITERALS_ONLY}.items():
        optional = text == "null" and not str(type_).endswith("!")
        written = head.sub("mutation ", document(name)).replace("$input", _literal(name, asked, path, text))
        answers = []
        if text not in LITERALS_ONLY:
            answers.append(await call(person, name, _set(asked, path, json.loads(text))))
            await market.rig.put_back(before)
        answers.append(await person.answer(written))
        heard = [codes(answer) or [answer["data"][name].get("code", "+")] for answer in answers]
        assert heard[0] == heard[-1], (text, answers)
        assert "INTERNAL" not in heard[0], (text, answers)
        if heard[0] != ["+"]:
            assert not await market.rig.has_written(), text
        if not is_amount and not optional:
            assert heard[0] == ["BAD_USER_INPUT"], (text, answers)
        assert len(json.dumps(answers)) < 5_000
        await market.rig.put_back(before)


@pytest.mark.parametrize("field", ["minPrice", "maxPrice"])
async def test_t_m02_a_filter_s_price_is_a_whole_number(market: Market, field: str) -> None:
    query = "query ($filter: ListingFilter) { listings(filter: $filter, sort: PRICE_LOW) { nodes { id } } }"
    for text, is_amount in ODD_AMOUNTS.items():
        answer = await market.guest.answer(query, filter={field: json.loads(text)})
        assert codes(answer) == ([] if is_amount or text == "null" else ["BAD_USER_INPUT"]), text


# ---- texts (T-P08)

ABUSE = {
    "override": "Ada\u202egpj.exe",
    "isolate": "Ada\u2066\u2067x\u2069",
    "zero width": "A\u200bd\u2060a\ufeff",
    "marks": "Z" + "\u0301" * 200,
    "joiners": "a" + "\u200d" * 30 + "b",
    "homoglyph": "Аdа",  # Cyrillic letters: kept as they are, for they are somebody's alphabet
    "controls": "A\u0000d\u0007\u001b[31ma\u009f",
    "tags": "A\U000e0041\U000e0042",
    "long": "a" * 50_000,
    "script": "<script>alert(1)</script>",
    "address": "javascript:alert(1)",
    "markdown": "[click](https://evil.test)",
    "formula": "=cmd|' /C calc'!A0",
    "template": "{{7*7}} ${jndi:ldap://x} %s %n",
    "lines": "one\r\ntwo\u2028three\x0bfour",
    "blank": "\u3164\u2800 ",
    "nothing": "",
    "emoji": "👩\u200d👩\u200d👧",
    "private": "\ue000\uf8ff",
    "beyond": "𝒯𝓇",
    "noncharacter": "A\uffff\ufffe",
}


def _texts() -> list[tuple[str, tuple[str, ...], str, bool]]:
    return [
        (name, path, field, "[" in str(type_))
        for name, each in graph().mutation_type.fields.items()
        if "input" in each.args
        for path, field, type_ in inputs(each.args["input"].type)
        if str(get_named_type(type_)) == "String"
    ]


def _judged() -> list[Any]:
    return [pytest.param(*each) for each in _texts()]


@pytest.mark.parametrize(("name", "path", "field", "many"), _judged(), ids=str)
async def test_t_p08_a_text_is_cleaned_or_refused(
    market: Market, name: str, path: tuple[str, ...], field: str, many: bool
) -> None:
    """Every text of every mutation: no fault, and no sign in the store that nobody sees."""
    person, asked = calls(market)[name]
    asked = {**asked, **_around(path)}
    before, known = market.rig.state(), set(_strings(await market.rig.dump()))
    for text in ABUSE.values():
        answer = await call(person, name, _set(asked, path, [text] if many else text))
        heard = codes(answer) or [answer["data"][name].get("code", "+")]
        assert heard[0] in ("+", "BAD_USER_INPUT", *_said_to_texts(field)), (text, answer)
        if heard == ["BAD_USER_INPUT"]:
            assert answer["errors"][0]["extensions"]["field"] == ".".join(("input", *path)), answer
        if heard != ["+"]:
            assert len(json.dumps(answer)) < 2_000, "a refusal does not send back what it refuses"
        if not await market.rig.has_written():
            continue
        assert heard == ["+"], (text, answer)
        fresh = "".join(set(_strings(await market.rig.dump())) - known)
        unseen = {each for each in fresh if unicodedata.category(each) in ("Cc", "Cf", "Cs")}
        assert unseen - set("\n\u200d\u200c") == set(), (text, unseen)
        await market.rig.put_back(before)


async def test_t_p08_half_a_character_is_no_text(market: Market) -> None:
    """A lone surrogate cannot come as a variable (the JSON is refused); as an escape in the document it can."""
    async with market.unchanged():
        for name, path, field, many in _texts():
            person, asked = calls(market)[name]
            text = '["x\\ud800"]' if many else '"x\\ud800"'
            literal = _literal(name, {**asked, **_around(path)}, path, text)
            query = re.sub(r"^mutation \([^)]*\) ", "mutation ", document(name)).replace("$input", literal)
            answer = await person.answer(query)
            assert codes(answer) == ["BAD_USER_INPUT"], (field, answer)


ONE_OF_TWO = {("createImageUpload", "agentId"), ("awardBadge", "userId"), ("markNotificationsRead", "ids")}
"""Optional alone: the purpose, or the other field, says whether they are needed."""


async def test_every_optional_field_may_be_null(market: Market) -> None:
    """null is as if it were left out, or clears; it is never a fault."""
    before = market.rig.state()
    for name, each in graph().mutation_type.fields.items():
        for path, _, type_ in inputs(each.args["input"].type) if each.args else ():
            if str(type_).endswith("!") or len(path) > 1:
                continue
            if (name, path[0]) in ONE_OF_TWO:
                continue
            person, asked = calls(market)[name]
            answer = await call(person, name, {**asked, path[0]: None})
            assert codes(answer) == [], (name, path, answer)
            assert "code" not in answer["data"][name], (name, path, answer)
            await market.rig.put_back(before)


# ---- how inputs are made


def _said_to_texts(field: str) -> tuple[str, ...]:
    """The refusals that a text may meet before, or instead of, its hygiene."""
    named = {
        "SignUpInput.password": ("WEAK_PASSWORD",),
        "SignInInput.email": ("BAD_CREDENTIALS",),
        "SignInInput.password": ("BAD_CREDENTIALS",),
        "RefreshTokenInput.refreshToken": ("BAD_CREDENTIALS",),
        "DeleteMyAccountInput.password": ("BAD_CREDENTIALS",),
        "AcceptLegalInput.document": ("NOT_FOUND",),
        "AcceptLegalInput.version": ("CONFLICT",),
        "PurchaseDofInput.sku": ("UNKNOWN_PACKAGE",),
    }
    of_agents = ("model", "voiceId", "toolkit", "tools", "instructions", "focus", "games")
    return ("INVALID_CONFIGURATION",) if field.rpartition(".")[2] in of_agents else named.get(field, ())


def _around(path: tuple[str, ...]) -> Json:
    """What must stand around a nested field."""
    model = {"model": "gpt-4o"}
    outer = {
        "configuration": {"provider": "GEMINI", "primary": {"model": "gemini-2.5-flash"}},
        "acceptedLegal": {"document": "terms", "version": "2026-01"},
        "specialization": {"games": ["Chess"], "focus": "Openings", "specialistType": "TRAINED"},
    }
    if path == ("upTo",):
        return {"ids": None}  # either the one or the other
    if len(path) > 1 and path[1] == "fallback":
        return {"configuration": {**outer["configuration"], "fallback": model}}
    return {path[0]: outer[path[0]]} if len(path) > 1 else {}


def _set(value: Json, path: tuple[str, ...], to: Json) -> Json:
    if len(path) == 1:
        return {**value, path[0]: to}
    return {**value, path[0]: _set(value[path[0]], path[1:], to)}


def _literal(name: str, asked: Json, path: tuple[str, ...], text: str) -> str:
    """An input as GraphQL writes it, with `text` as it is at `path`."""
    type_ = get_named_type(graph().mutation_type.fields[name].args["input"].type)
    return _written(type_, _set(asked, path, _Raw(text)))


class _Raw(str):
    """What is written as it is."""

    __slots__ = ()


def _written(type_: Any, value: Json) -> str:
    if isinstance(value, _Raw):
        return str(value)
    if isinstance(value, dict):
        fields = get_named_type(type_).fields
        return "{" + ", ".join(f"{name}: {_written(fields[name].type, each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_written(type_, each) for each in value) + "]"
    return value if hasattr(get_named_type(type_), "values") else json.dumps(value)


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)


def _bare(value: Json) -> Json:
    """An answer without its type names."""
    if isinstance(value, list):
        return [_bare(each) for each in value]
    if isinstance(value, dict):
        return {name: _bare(each) for name, each in value.items() if name != "__typename"}
    return value


def _is_advice(message: str) -> bool:
    """A sentence that says more than no: it has a full stop, no trace of Python, and no sign of a fault."""
    return 20 <= len(message) <= 400 and message.endswith(".") and not re.search(r"Traceback|Error\(|None|0x", message)
