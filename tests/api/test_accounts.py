"""Suspending and reinstating users, giving roles, finding accounts (T-Z04, T-Z11)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request

from domain.errors import Forbidden
from domain.listings import Listing, ListingStatus
from domain.money import Dof
from domain.payouts import PayoutState
from domain.users import Role
from firestore.accounts import STRAGGLERS_WITHIN
from firestore.collections import AGENTS, LISTINGS, PAYOUTS, SESSIONS, USERS
from functions.tasks.payouts import FROZEN_AGAIN
from graph.context import Context
from tests.api.api import HOURLY, Json, Market, Person, codes, outcome
from tests.make import NOW
from tests.nouns import HOUR, SECOND, a_listing, an_agent

SUSPENDED = {"reason": "A fraud."}
HIRE = "mutation ($input: HireAgentInput!) { hireAgent(input: $input) { __typename ... on Refusal { code } } }"
SUSPEND = "mutation ($input: SuspendUserInput!) { suspendUser(input: $input) { __typename ... on Refusal { code } } }"
LISTED = "{ listings(first: 50) { nodes { id } } featuredListings(first: 50) { id } }"


async def _suspend(market: Market, who: Person, by: str = "mia", **more: Json) -> Json:
    asked = {"userId": who.user_id, **SUSPENDED, **more}
    return await getattr(market, by).act("suspendUser", asked, "suspension { at until reason }")


async def _reinstate(market: Market, who: Person, by: str = "mia") -> None:
    await getattr(market, by).act("reinstateUser", {"userId": who.user_id, "reason": "Sorry."}, "user { id }")


async def _offered(market: Market) -> tuple[bool, bool, bool]:
    """Whether a stranger finds the listing by browsing, among the featured, and by its id."""
    id_ = market.ids.listing
    found = await market.eve.ask(LISTED)
    by_id = await market.eve.ask("query ($id: ID!) { listing(id: $id) { id } }", id=id_)
    return (
        any(each["id"] == id_ for each in found["listings"]["nodes"]),
        any(each["id"] == id_ for each in found["featuredListings"]),
        by_id["listing"] is not None,
    )


async def test_a_suspended_sellers_listings_vanish_and_come_back(market: Market) -> None:
    """What was on offer, paused and unpublished is each again what it was."""
    rig, ids = market.rig, market.ids
    paused = await _publish(market, "paused", status=ListingStatus.PAUSED)
    assert await _offered(market) == (True, True, True)
    held = await _suspend(market, market.ada)
    assert held["suspension"] == {"at": "2026-03-01T12:00:00+00:00", "until": None, "reason": "A fraud."}
    await rig.drain()
    assert await _offered(market) == (False, False, False)
    assert outcome(await market.eve.answer(HIRE, input=market.hire())) == "NOT_FOUND"
    kept = (ids.listing, ids.hidden_listing, paused.id)
    statuses = [ListingStatus.ACTIVE, ListingStatus.UNPUBLISHED, ListingStatus.PAUSED]
    assert [(await rig.get(LISTINGS, each)).shelved for each in kept] == statuses
    await _reinstate(market, market.ada)
    await rig.drain()
    assert await _offered(market) == (True, True, True)
    assert [(await rig.get(LISTINGS, each)).status for each in kept] == statuses
    assert [(await rig.get(LISTINGS, each)).shelved for each in kept] == [None, None, None]
    assert outcome(await market.eve.answer(HIRE, input=market.hire())) == "+"


async def test_running_hires_go_on_to_their_end(market: Market) -> None:
    """The hirer of a suspended seller loses nothing, and a suspended hirer can end what costs."""
    rig, running = market.rig, market.ids.running
    await _suspend(market, market.ada)
    await rig.drain()
    usage = {"sessionId": running, "sequence": 2, "dof": 5}
    await market.max.act("recordUsage", usage, "session { id }")
    assert not (await rig.get(SESSIONS, running)).settled
    await _suspend(market, market.max)
    await market.max.act("endSession", {"sessionId": running, "idempotencyKey": "end"}, "session { id }")
    ended = await rig.get(SESSIONS, running)
    assert ended.settlement is not None
    assert ended.settlement.consumed.units == 5 * HOURLY // 60 + 10 + 5  # five minutes and what was reported


async def test_a_moderators_word_outlasts_the_owners_suspension(market: Market) -> None:
    rig, ids = market.rig, market.ids
    await _suspend(market, market.ada)
    await rig.drain()
    judged = {"listingId": ids.listing, "reason": "It lies."}
    await market.mia.act("moderateListing", {**judged, "status": "SUSPENDED"})
    await market.mia.act("moderateListing", {**judged, "status": "SUSPENDED"})  # said before
    await _reinstate(market, market.ada)
    await rig.drain()
    assert (await rig.get(LISTINGS, ids.listing)).status is ListingStatus.SUSPENDED
    await market.mia.act("moderateListing", {**judged, "status": "ACTIVE"})
    assert (await rig.get(LISTINGS, ids.listing)).status is ListingStatus.ACTIVE


async def test_who_is_suspended_does_not_sign_in_anew(market: Market) -> None:
    ask = (
        """mutation ($input: SignInInput!) { signIn(input: $input) { __typename ... on SignInPayload { idToken } } }"""
    )
    typed = {"email": "max@jiga.test", "password": "max"}
    until = (NOW + 24 * HOUR).isoformat()
    assert (await _suspend(market, market.max, until=until))["suspension"]["until"] == until
    error = await market.guest.error(ask, input=typed)
    assert error["extensions"] == {"code": "FORBIDDEN"}
    told = "This account is suspended until 2026-03-02 12:00 UTC: A fraud. Write to support to appeal."
    assert error["message"] == told
    again = "mutation ($input: RefreshTokenInput!) { refreshToken(input: $input) { __typename } }"
    assert codes(await market.guest.answer(again, input={"refreshToken": "max"})) == ["FORBIDDEN"]
    assert outcome(await market.guest.answer(ask, input={**typed, "password": "wrong"})) != "FORBIDDEN"
    await _reinstate(market, market.max)
    assert outcome(await market.guest.answer(ask, input=typed)) == "+"


async def test_a_suspension_ends_by_itself(market: Market) -> None:
    rig = market.rig
    await _suspend(market, market.ada, until=(NOW + HOUR).isoformat())
    await rig.drain()
    rig.now = NOW + HOUR - SECOND
    await rig.drain()
    assert (await rig.get(USERS, market.ada.user_id)).suspended_at == NOW
    assert await _offered(market) == (False, False, False)
    rig.now = NOW + HOUR
    await rig.drain()
    assert (await rig.get(USERS, market.ada.user_id)).suspended_at is None
    assert await _offered(market) == (True, True, True)


async def test_the_end_of_a_suspension_brings_no_deleted_account_back_to_the_market(market: Market) -> None:
    """Who deletes an account while it is suspended has nothing on offer once the suspension would have ended."""
    rig, zoe = market.rig, market.zoe
    agent = an_agent("zoes", zoe.user_id)
    listing = a_listing(agent)
    await rig.put(AGENTS, replace(agent, listing_id=listing.id, published=True))
    await rig.put(LISTINGS, listing)
    await _suspend(market, zoe, until=(NOW + HOUR).isoformat())
    await rig.drain()
    await zoe.act("deleteMyAccount", {"confirm": "zoe@jiga.test", "password": "zoe"}, "userId")
    await rig.drain()
    rig.now = NOW + HOUR
    await rig.drain()
    assert (await rig.get(USERS, zoe.user_id)).suspended_at is None
    kept = await rig.get(LISTINGS, listing.id)
    assert (kept.status, kept.shelved) == (ListingStatus.UNPUBLISHED, None)
    hire = {**market.hire(), "listingId": listing.id}
    assert outcome(await market.max.answer(HIRE, input=hire)) == "NOT_FOUND"


async def test_an_agent_given_away_at_the_end_of_a_suspension_is_its_receiver_s_to_offer(
    market: Market,
) -> None:
    """Its listing is the receiver's before the giver's task has put it back."""
    rig, zoe, eve = market.rig, market.zoe, market.eve
    agent = an_agent("zoes", zoe.user_id)
    listing = a_listing(agent)
    await rig.put(AGENTS, replace(agent, listing_id=listing.id, published=True))
    await rig.put(LISTINGS, listing)
    await _suspend(market, zoe)
    await rig.drain()
    await rig.store.accounts.reinstate(market.mia.user_id, zoe.user_id, "Sorry.", NOW)
    await rig.store.agents.transfer(zoe.user_id, agent.id, eve.user_id, NOW + SECOND)
    await rig.drain()
    kept = await rig.get(LISTINGS, listing.id)
    assert (kept.owner_id, kept.status, kept.shelved) == (eve.user_id, ListingStatus.UNPUBLISHED, None)
    assert not (await rig.get(AGENTS, agent.id)).published


async def test_a_longer_suspension_does_not_end_with_the_shorter(market: Market) -> None:
    rig = market.rig
    await _suspend(market, market.ada, until=(NOW + HOUR).isoformat())
    await _suspend(market, market.ada, until=(NOW + 2 * HOUR).isoformat())
    rig.now = NOW + HOUR
    await rig.drain()
    assert (await rig.get(USERS, market.ada.user_id)).suspended_until == NOW + 2 * HOUR
    rig.now = NOW + 2 * HOUR
    await rig.drain()
    assert (await rig.get(USERS, market.ada.user_id)).suspended_at is None


async def test_who_published_while_being_suspended_is_hidden_too(market: Market) -> None:
    """An operation that read the account a moment before commits a moment after: the task looks once more."""
    rig = market.rig
    await _suspend(market, market.ada)
    await rig.drain()
    late = await _publish(market, "late")
    rig.now += STRAGGLERS_WITHIN
    await rig.drain()
    assert (await rig.get(LISTINGS, late.id)).status is ListingStatus.SUSPENDED
    await _reinstate(market, market.ada)
    await rig.drain()
    assert (await rig.get(LISTINGS, late.id)).status is ListingStatus.ACTIVE


async def _publish(market: Market, name: str, **changes: Any) -> Listing:
    """An offer of ada's, written as her own commit would have it."""
    agent = an_agent(name, market.ada.user_id)
    listing = a_listing(agent, **changes)
    await market.rig.put(AGENTS, replace(agent, listing_id=listing.id, published=True))
    await market.rig.put(LISTINGS, listing)
    return listing


async def test_payouts_wait(market: Market) -> None:
    """One that was asked for a moment before is not sent, and nothing new is asked for."""
    rig, ada = market.rig, market.ada
    payout, _ = await rig.store.payouts.request(ada.user_id, Dof(500_000), "frozen", NOW)
    await rig.store.accounts.suspend(market.mia.user_id, ada.user_id, "A fraud.", None, NOW)
    await rig.drain()
    ask = "mutation ($input: RequestPayoutInput!) { requestPayout(input: $input) { __typename } }"
    assert codes(await ada.answer(ask, input={"amount": 500_000, "idempotencyKey": "more"})) == ["FORBIDDEN"]
    rig.now += FROZEN_AGAIN
    await rig.drain()
    assert (await rig.get(PAYOUTS, payout.id)).state is PayoutState.REQUESTED
    await _reinstate(market, ada)
    rig.now += FROZEN_AGAIN
    await rig.drain()
    assert (await rig.get(PAYOUTS, payout.id)).state is PayoutState.SENT


async def test_a_socket_of_a_suspended_user_is_closed_at_the_next_check(market: Market) -> None:
    """T-S02, T-Z11: the socket asks every minute, and the store's own mark decides."""
    context = await _context(market, market.max)
    assert await context.recheck() is True
    await _suspend(market, market.max)
    assert await context.recheck() is False
    await _reinstate(market, market.max)
    assert await context.recheck() is True


async def _context(market: Market, who: Person) -> Context:
    headers = [(b"authorization", f"Bearer {who.token}".encode())]
    return await market.rig.reception.for_request(Request({"type": "http", "headers": headers}))


async def test_t_z11_a_role_that_was_taken_away_decides_nothing(market: Market) -> None:
    """Taken away between two requests, and between the check at the door and the commit."""
    rig, mia = market.rig, market.mia
    fire = {"userId": mia.user_id, "role": "USER", "reason": "She left."}
    await market.root.act("setRole", fire, "account { role }")
    async with market.unchanged():
        assert codes(await mia.answer(SUSPEND, input={"userId": market.max.user_id, **SUSPENDED})) == ["FORBIDDEN"]
        with pytest.raises(Forbidden):
            await rig.store.accounts.suspend(mia.user_id, market.max.user_id, "A fraud.", None, NOW)


async def test_moderators_suspend_no_moderators(market: Market) -> None:
    async with market.unchanged():
        for by, of, said in (
            ("mia", "root", "FORBIDDEN"),
            ("mia", "mia", "CONFLICT"),
            ("root", "root", "CONFLICT"),
            ("max", "eve", "FORBIDDEN"),
        ):
            asked = {"userId": getattr(market, of).user_id, **SUSPENDED}
            assert outcome(await getattr(market, by).answer(SUSPEND, input=asked)) == said, (by, of)
        past = {"userId": market.max.user_id, **SUSPENDED, "until": NOW.isoformat()}
        assert (await market.mia.error(SUSPEND, input=past))["extensions"]["field"] == "input.until"
        for moment in ("2030-01-01T00:00:00", "9999-12-31T23:59:59-14:00"):  # no zone, and no such year in UTC
            asked = {**past, "until": moment}
            assert (await market.mia.error(SUSPEND, input=asked))["extensions"]["field"] == "input.until"
    await _suspend(market, market.mia, by="root")
    assert outcome(await market.mia.answer(SUSPEND, input={"userId": market.max.user_id, **SUSPENDED})) == "FORBIDDEN"


async def test_the_last_admin_stays_one(market: Market) -> None:
    """Nobody sets his own role, so whoever takes away an admin's is an admin that is left."""
    ask = "mutation ($input: SetRoleInput!) { setRole(input: $input) { __typename ... on Refusal { code } } }"
    eve = {"userId": market.eve.user_id, "reason": "She helps."}
    root = {"userId": market.root.user_id, "role": "USER", "reason": "He left."}
    assert outcome(await market.root.answer(ask, input=root)) == "CONFLICT"
    assert outcome(await market.root.answer(ask, input={**eve, "role": "ADMIN"})) == "+"
    assert outcome(await market.eve.answer(ask, input=root)) == "+"
    assert outcome(await market.root.answer(ask, input={**eve, "role": "USER"})) == "FORBIDDEN"
    assert outcome(await market.eve.answer(ask, input={**eve, "role": "USER"})) == "CONFLICT"


async def test_two_admins_who_drop_each_other_leave_one(market: Market) -> None:
    rig, root, eve = market.rig, market.root.user_id, market.eve.user_id
    await rig.store.users.set_role(eve, Role.ADMIN, NOW)
    told = await asyncio.gather(
        rig.store.accounts.appoint(root, eve, Role.USER, "She left.", NOW),
        rig.store.accounts.appoint(eve, root, Role.USER, "He left.", NOW),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in told) == ["Forbidden", "User"]
    roles = [(await rig.get(USERS, each)).role for each in (root, eve)]
    assert sorted(roles) == [Role.ADMIN, Role.USER]


async def test_accounts_are_found_by_address_role_and_standing(market: Market) -> None:
    """The rare filters may leave a page short while more follow: one goes on with its cursor."""

    async def found(**wanted: Json) -> list[str]:
        query = """query ($filter: AccountFilter, $after: String) { users(filter: $filter, first: 2, after: $after) {
            nodes { email role suspension { reason } user { displayName } } pageInfo { hasNextPage endCursor } } }"""
        mails: list[str] = []
        after, more = None, True
        while more:
            page: Mapping[str, Any] = (await market.root.ask(query, filter=wanted, after=after))["users"]
            mails += [each["email"] for each in page["nodes"]]
            after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        return [mail.removesuffix("@jiga.test") for mail in mails]

    everybody = ["ada", "cleo", "eve", "max", "mia", "ned", "root", "zoe"]
    assert await found() == everybody
    assert await found(email=" M") == ["max", "mia"]
    assert await found(email="max@jiga.test") == ["max"]
    assert await found(role="MODERATOR") == ["mia"]
    assert await found(role="USER", email="z") == ["zoe"]
    assert await found(suspended=True) == ["ned"]
    await _suspend(market, market.max)
    assert await found(suspended=True) == ["max", "ned"]
    assert await found(suspended=True, email="n") == ["ned"]
    assert await found(suspended=True, role="ADMIN") == []
    assert await found(suspended=False) == [name for name in everybody if name not in ("max", "ned")]


async def test_the_user_is_told(market: Market) -> None:
    await _suspend(market, market.max)
    await _reinstate(market, market.max)
    promoted = {"userId": market.max.user_id, "role": "MODERATOR", "reason": "He helps."}
    await market.root.act("setRole", promoted, "account { id email role suspension { at } }")
    await market.rig.drain()
    kept = market.rig.state()["notifications"].values()
    told = {each.data["text"] for each in kept if each.data["user_id"] == market.max.user_id}
    assert told >= {"suspended", "reinstated", "role_changed"}
