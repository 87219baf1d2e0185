"""What is another's looks as if it were missing, to the byte, and no edge leads to it (rows T-Z01 to T-Z06)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from graphql import GraphQLInputObjectType, get_named_type

from domain.ids import Kind, derived_id
from domain.users import Preferences
from firestore.collections import LISTINGS, USERS
from firestore.reports import SUBJECTS
from tests.api.api import NOWHERE, Json, Market, call, calls, codes, document, graph, inputs, missing, reachable

BAD_IDS = (
    "",
    "x",
    "ses_",
    "ses_" + "0" * 25,
    "ses_" + "0" * 27,
    "SES_" + NOWHERE,
    "xxx_" + NOWHERE,
    "ses_" + "u" * 26,
    "ses_" + "é" * 26,
    "ses-" + NOWHERE,
    " ses_" + NOWHERE,
    "ses_" + NOWHERE + "\n",
    "U2Vzc2lvbjox",
    "U2Vzc2lvbjox====",
    "../sessions/x",
    "sessions/" + NOWHERE,
    "\x00",
    "x" * 10_240,
    "ses_" + "0" * 10_240,
)
"""What no id looks like: cut, lengthened, of an unknown kind, of other alphabets, base64, a path, ten kilobytes."""


def _strangers_ids(market: Market) -> list[str]:
    """The id of everything that is neither public nor eve's, also of what GraphQL never shows."""
    hidden = ("draft", "hidden", "hidden_listing", "running", "ended", "hire", "earning", "purchase", "payout", "order")
    return [*(getattr(market.ids, name) for name in hidden), market.ids.dead]


async def _documents_ids(market: Market) -> Iterable[str]:
    """The ids of all documents that are private, as the store has them."""
    private = ("sessions/", "transactions/", "wallets/", "entries/", "accruals/", "payouts/", "purchases/", "orders/")
    more = ("inbox/", "outbox/", "usage/", "payout_accounts/", "agent_versions/", "tallies/", "topics/")
    mine = {market.eve.user_id}
    dump = await market.rig.dump()
    return [
        path.partition("/")[2]
        for path, data in dump.items()
        if path.startswith(private + more) and path.partition("/")[2] not in mine
        if data.get("user_id") not in mine
    ]


async def test_t_z01_another_s_is_as_if_it_were_missing(market: Market) -> None:
    """By any field that takes an id, with the same bytes, for a stranger and for a guest."""
    fields = [name for name, each in graph().query_type.fields.items() if set(each.args) == {"id"}]
    assert sorted(fields) == ["agent", "listing", "node", "session", "transaction", "user"]
    for who in (market.eve, market.guest):
        for field in fields:
            query = f"query ($id: ID!) {{ {field}(id: $id) {{ id }} }}"
            nothing = (await who.raw(query, id="ses_" + NOWHERE)).content
            assert orjson.loads(nothing)["data"] == {field: None}
            for theirs in _strangers_ids(market):
                assert (await who.raw(query, id=theirs)).content == nothing, (field, theirs)


async def test_t_z01_no_private_document_is_a_node(market: Market) -> None:
    ids = [*(await _documents_ids(market))]
    assert len(ids) > 80
    users = {market.ada.user_id, market.max.user_id, market.cleo.user_id, market.root.user_id, market.mia.user_id}
    for start in range(0, len(ids), 100):
        asked = ids[start : start + 100]
        found = (await market.eve.ask("query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=asked))[
            "nodes"
        ]
        shown = {each["id"] for each in found if each is not None}
        assert shown <= users  # a wallet has its user's id, and a user is public
        assert {each["__typename"] for each in found if each is not None} <= {"User"}


async def test_t_z03_what_is_no_id_is_missing(market: Market) -> None:
    for field in ("agent", "listing", "node", "session", "transaction", "user"):
        query = f"query ($id: ID!) {{ {field}(id: $id) {{ id }} }}"
        for id_ in BAD_IDS:
            assert set(answer := await market.max.answer(query, id=id_)) == {"data", "extensions"}, (field, id_)
            assert answer["data"] == {field: None}, (field, id_)
        for id_ in (7, "7"):
            assert (await market.max.answer(query, id=id_))["data"] == {field: None}


async def test_t_z03_a_known_id_of_another_kind_is_missing(market: Market) -> None:
    """The type is swapped: by the field that is asked, and by the id's own prefix."""
    ids = {"agent": market.ids.nova, "listing": market.ids.listing, "session": market.ids.running}
    ids |= {"transaction": market.ids.hire, "user": market.max.user_id}
    for field in ids:
        query = f"query ($id: ID!) {{ {field}(id: $id) {{ id }} }}"
        for other, id_ in ids.items():
            assert await market.max.ask(query, id=id_) == {field: {"id": id_} if other == field else None}
            for kind in Kind:
                swapped = f"{kind.value}_{id_[4:]}"
                if swapped != id_:
                    assert await market.max.ask(query, id=swapped) == {field: None}


def _id_fields() -> list[tuple[str, tuple[str, ...]]]:
    """Every mutation that takes an id of a thing, and where."""
    found = []
    for name, field in graph().mutation_type.fields.items():
        if "input" in field.args:
            found += [(name, path) for path, _, type_ in inputs(field.args["input"].type) if str(type_) == "ID!"]
    return found


@pytest.mark.parametrize(("name", "path"), _id_fields(), ids=str)
async def test_t_z04_a_mutation_does_not_tell_another_s_from_a_missing_one(
    market: Market, name: str, path: tuple[str, ...]
) -> None:
    """Whoever may call it gets one answer, to the byte, for whatever is not there for them; nothing is written."""
    person, asked = calls(market)[name]
    if name == "revokeSignIn":  # its ids are the identity provider's
        pytest.skip("tests/api/test_sign_in.py asks with another's")
    kind = Kind(asked[path[0]][:3])
    others = [*_strangers_ids(market), market.ids.nova, market.ids.listing, market.max.user_id]
    theirs = [] if person in (market.mia, market.root) or kind is Kind.USER else [asked[path[0]]]
    if name in ("hireAgent", "startSession"):  # of what is on offer everybody may
        theirs = [market.ids.hidden_listing] if kind is Kind.LISTING else [market.ids.draft, market.ids.hidden]
        asked = {**asked, "type": "OWNED"} if kind is Kind.AGENT else asked
    if name == "report":  # of four kinds: whatever its reporter sees
        theirs = [market.ids.draft, market.ids.hidden, market.ids.hidden_listing]
        others = [each for each in others if Kind(each[:3]) not in SUBJECTS]
    wrong = [missing(each) for each in Kind] + [each for each in others if not each.startswith(f"{kind.value}_")]
    asker = market.eve if theirs else person
    async with market.unchanged():
        told = {(await asker.raw(document(name), input={**asked, path[0]: missing(kind)})).content}
        assert b"NOT_FOUND" in next(iter(told))
        for each in [*theirs, *wrong, *BAD_IDS]:
            told.add((await asker.raw(document(name), input={**asked, path[0]: each})).content)
    assert len(told) == 1, told


async def test_t_z04_nobody_tries_what_is_not_on_offer(market: Market) -> None:
    query = document("startSession")
    asked = {"type": "TRIAL", "idempotencyKey": "try"}
    async with market.unchanged():
        nothing = (await market.eve.raw(query, input={**asked, "agentId": missing(Kind.AGENT)})).content
        assert b"NOT_FOUND" in nothing
        for each in (market.ids.draft, market.ids.hidden):
            assert (await market.eve.raw(query, input={**asked, "agentId": each})).content == nothing


# ---- edges


def test_t_z02_no_public_type_has_an_edge_to_a_private_one() -> None:
    """From users, agents, listings, reviews and sessions nobody comes to money or to what hangs on the viewer."""
    private = {"Wallet", "Viewer", "Transaction", "Payout", "PayoutAccount", "Preferences", "Order", "WalletStatement"}
    public = ("User", "Agent", "Listing", "Review", "Session")
    types = {each.partition(".")[0] for each in reachable(*(graph().type_map[name] for name in public))}
    assert types & private == set()
    assert set(public) <= types
    secret = {"email", "role", "timezone", "uid", "version", "suspendedAt"}
    assert secret & set(graph().type_map["User"].fields) == set()


async def test_t_z02_an_agent_shows_its_insides_to_its_owner_and_to_who_hires_it_now(market: Market) -> None:
    configuration = f'{{ agent(id: "{market.ids.nova}") {{ configuration {{ provider instructions }} }} }}'
    versions = f'{{ agent(id: "{market.ids.nova}") {{ versions(first: 1) {{ nodes {{ version }} }} }} }}'
    heard = {who.name: codes(await who.answer(configuration)) for who in _everybody(market)}
    assert heard == {**{name: ["FORBIDDEN"] for name in heard}, "ada": [], "max": []}
    heard = {who.name: codes(await who.answer(versions)) for who in _everybody(market)}
    assert heard == {**{name: ["FORBIDDEN"] for name in heard}, "ada": []}
    message = "An agent's configuration is for its owner and for who hires it now."
    assert (await market.eve.error(configuration))["message"] == message
    await market.max.act("endSession", {"sessionId": market.ids.running, "idempotencyKey": "over"})
    assert codes(await market.max.answer(configuration)) == ["FORBIDDEN"]


async def test_t_z02_a_free_trial_opens_no_creator_s_prompt(market: Market) -> None:
    """eve reads it once she pays."""
    configuration = f'{{ agent(id: "{market.ids.nova}") {{ configuration {{ instructions }} }} }}'
    tried = {"agentId": market.ids.nova, "type": "TRIAL", "idempotencyKey": "try"}
    await market.eve.act("startSession", tried, "session { id }")
    assert codes(await market.eve.answer(configuration)) == ["FORBIDDEN"]
    await market.eve.act("hireAgent", market.hire("eve"), "session { id }")
    assert codes(await market.eve.answer(configuration)) == []


async def test_t_z02_a_hire_that_is_over_opens_nothing_before_it_is_settled(market: Market) -> None:
    configuration = f'{{ agent(id: "{market.ids.nova}") {{ configuration {{ provider }} }} }}'
    session = await market.max.ask("query ($id: ID!) { session(id: $id) { expiresAt } }", id=market.ids.running)
    assert session == {"session": {"expiresAt": "2026-03-01T12:55:00+00:00"}}
    market.rig.now = market.rig.now.replace(minute=55)
    assert codes(await market.max.answer(configuration)) == ["FORBIDDEN"]


async def test_t_z02_a_review_shows_its_session_to_its_two_parties(market: Market) -> None:
    query = f'{{ node(id: "{market.ids.review}") {{ ... on Review {{ session {{ id }} }} }} }}'
    heard = {who.name: (await who.ask(query))["node"]["session"] for who in _everybody(market)}
    mine = {"id": market.ids.reviewed}
    assert heard == {**dict.fromkeys(heard), "ada": mine, "max": mine}


async def test_t_z02_what_a_session_earned_is_its_owner_s(market: Market) -> None:
    query = "query ($id: ID!) { session(id: $id) { dofConsumed dofEarned } }"
    heard = {}
    for who in (market.ada, market.max, market.mia, market.root):
        heard[who.name] = (await who.ask(query, id=market.ids.ended))["session"]
    shown = {"dofConsumed": 210, "dofEarned": None}
    assert heard == {"ada": {**shown, "dofEarned": 158}, "max": shown, "mia": shown, "root": shown}


async def test_t_z02_a_creator_earns_of_sessions_that_it_does_not_read(market: Market) -> None:
    query = "query ($id: ID!) { transaction(id: $id) { amount distribution { owner creator } session { id } } }"
    seen = await market.cleo.ask(query, id=market.ids.earning)
    assert seen == {"transaction": {"amount": 21, "distribution": {"owner": 158, "creator": 21}, "session": None}}
    of_owner = derived_id(Kind.TRANSACTION, "earning", market.ids.ended, market.ada.user_id)
    assert (await market.ada.ask(query, id=of_owner))["transaction"]["session"] == {"id": market.ids.ended}
    everything = "{ viewer { transactions(first: 100) { nodes { session { id } } } sessions { nodes { id } } } }"
    found = (await market.cleo.ask(everything))["viewer"]
    assert [each for each in found["transactions"]["nodes"] if each["session"]] == []
    assert found["sessions"]["nodes"] == []


async def test_t_z02_a_profile_that_is_hidden_shows_the_name_alone(market: Market) -> None:
    user = await market.rig.get(USERS, market.ada.user_id)
    await market.rig.put(USERS, type(user)(**{**_fields(user), "preferences": Preferences(show_profile=False)}))
    query = """query ($id: ID!) { user(id: $id) { displayName avatarUrl nationality
        stats { totalHires averageRating ratingCount } } }"""
    picture = f"http://127.0.0.1:8000/images/616461{'0' * 58}.webp"
    stats = {"totalHires": 3, "averageRating": 5.0, "ratingCount": 1}
    shown = {"displayName": "Ada", "avatarUrl": picture, "nationality": "Mexican", "stats": stats}
    heard = {who.name: (await who.ask(query, id=market.ada.user_id))["user"] for who in _everybody(market)}
    nothing = {"totalHires": 0, "averageRating": None, "ratingCount": 0}
    hidden = {"displayName": "Ada", "avatarUrl": None, "nationality": None, "stats": nothing}
    assert heard == {**dict.fromkeys(heard, hidden), "ada": shown, "mia": shown, "root": shown}
    edge = "query ($id: ID!) { listing(id: $id) { owner { avatarUrl } agent { owner { nationality } } } }"
    assert await market.eve.ask(edge, id=market.ids.listing) == {
        "listing": {"owner": {"avatarUrl": None}, "agent": {"owner": {"nationality": None}}}
    }


async def test_t_z10_lists_and_counts_leave_out_what_is_hidden(market: Market) -> None:
    query = """query ($ada: ID!) { listings(first: 100) { nodes { id } } featuredListings { id }
        user(id: $ada) { listings { nodes { id } } } }"""
    public = [{"id": market.ids.listing}]
    for who in (market.guest, market.eve, market.max):
        told = await who.ask(query, ada=market.ada.user_id)
        lists = (told["listings"]["nodes"], told["featuredListings"], told["user"]["listings"]["nodes"])
        assert lists == (public, public, public), who.name
    own = (await market.ada.ask(query, ada=market.ada.user_id))["user"]["listings"]["nodes"]
    assert {each["id"] for each in own} > {market.ids.listing, market.ids.hidden_listing, market.ids.barred}
    await market.mia.act("moderateListing", {"listingId": market.ids.listing, "status": "SUSPENDED", "reason": "No."})
    told = await market.eve.ask(query, ada=market.ada.user_id)
    lists = (told["listings"]["nodes"], told["featuredListings"], told["user"]["listings"]["nodes"])
    assert lists == ([], [], [])


async def test_t_z02_what_is_suspended_is_not_read_through_what_one_has(market: Market) -> None:
    """A hirer reads its session, and the listing no more: what is edited now was never offered to it."""
    await market.mia.act("moderateListing", {"listingId": market.ids.listing, "status": "SUSPENDED", "reason": "No."})
    query = "query ($id: ID!) { session(id: $id) { listing { id } agent { name listing { id } } } }"
    told = await market.max.ask(query, id=market.ids.running)
    assert told == {"session": {"listing": None, "agent": {"name": "Nova", "listing": None}}}
    for who in (market.ada, market.mia):
        seen = await who.ask("query ($id: ID!) { session(id: $id) { listing { id } } }", id=market.ids.running)
        assert seen == {"session": {"listing": {"id": market.ids.listing}}}, who.name
    await market.mia.act("moderateListing", {"listingId": market.ids.listing, "status": "ACTIVE", "reason": "Yes."})
    assert (await market.max.ask(query, id=market.ids.running))["session"]["listing"] == {"id": market.ids.listing}
    await market.ada.act("unpublishAgent", {"agentId": market.ids.nova})
    await market.ada.act("updateListing", {"listingId": market.ids.listing, "title": "A draft"})
    assert (await market.max.ask(query, id=market.ids.running))["session"]["listing"] is None
    review = f'{{ node(id: "{market.ids.review}") {{ id }} }}'
    heard = {who.name: (await who.ask(review))["node"] for who in _everybody(market)}
    shown = {"id": market.ids.review}
    assert heard == {**dict.fromkeys(heard), "ada": shown, "max": shown, "mia": shown, "root": shown}


async def test_t_g12_one_viewer_s_loaders_are_no_other_s(market: Market) -> None:
    """One refused field nulls what holds it, and no later answer, of anybody, remembers what another one saw."""
    query = "{ listings { nodes { title agent { name configuration { instructions } } } } }"
    shown = {"title": "Coach", "agent": {"name": "Nova", "configuration": {"instructions": "Be kind."}}}
    assert (await market.ada.ask(query))["listings"]["nodes"] == [shown]
    answer = await market.eve.answer(query)
    assert answer["data"] is None
    assert [error["path"] for error in answer["errors"]] == [["listings", "nodes", 0, "agent", "configuration"]]
    assert b"kind" not in (await market.eve.raw(query)).content


# ---- dealing with oneself


async def test_t_z06_nobody_reviews_or_hires_what_is_their_own(market: Market) -> None:
    ids = market.ids
    review = {"sessionId": ids.ended, "rating": 5, "comment": "Mine."}
    async with market.unchanged():
        assert await market.ada.refused("submitReview", review) == "NOT_FOUND"
        assert await market.cleo.refused("submitReview", review) == "NOT_FOUND"
        assert await market.ada.refused("hireAgent", market.hire()) == "SELF_DEALING"
        own = {"agentId": ids.nova, "type": "TRIAL", "idempotencyKey": "own"}
        assert await market.ada.refused("startSession", own) == "SELF_DEALING"
    # The creator may hire: it earns its share of what it pays for, and its review is refused.
    hired = await market.cleo.act("hireAgent", market.hire("cleo"), "session { id }")
    session_id = hired["session"]["id"]
    await market.cleo.act("endSession", {"sessionId": session_id, "idempotencyKey": "e"})
    assert await market.cleo.refused("submitReview", {**review, "sessionId": session_id}) == "NOT_REVIEWABLE"


async def test_t_z06_who_buys_the_agent_afterwards_does_not_review_it(market: Market) -> None:
    listing = await market.rig.get(LISTINGS, market.ids.listing)
    await market.rig.put(LISTINGS, type(listing)(**{**_fields(listing), "owner_id": market.max.user_id}))
    review = {"sessionId": market.ids.ended, "rating": 5, "comment": "Mine now."}
    async with market.unchanged():
        assert await market.max.refused("submitReview", review) == "NOT_REVIEWABLE"


# ---- mass assignment

ASSIGNED = {
    "role": "ADMIN",
    "balance": 10**6,
    "available": 10**6,
    "ownerId": "usr_" + NOWHERE,
    "verified": True,
    "creatorId": "usr_" + NOWHERE,
    "featured": True,
    "rank": "PLATINUM",
    "published": True,
    "earned": 1,
    "now": 1,
    "emailVerified": True,
    "uid": "x",
    "actorId": "usr_" + NOWHERE,
    "moderator": True,
    "total": 0,
    "held": 0,
    "userId": "usr_" + NOWHERE,
    "viewerId": "usr_" + NOWHERE,
    "__proto__": {},
    "id_": "x",
    "createdAt": "2020",
}


@pytest.mark.parametrize("name", [name for name, each in graph().mutation_type.fields.items() if each.args])
async def test_t_z05_what_an_input_does_not_name_is_not_set(market: Market, name: str) -> None:
    person, asked = calls(market)[name]
    declared = set(get_named_type(graph().mutation_type.fields[name].args["input"].type).fields)
    async with market.unchanged():
        for field, value in ASSIGNED.items():
            if field not in declared:
                answer = await call(person, name, {**asked, field: value})
                assert codes(answer) == ["BAD_USER_INPUT"], (field, answer)
                assert "data" not in answer
        for path in _objects(asked):
            answer = await call(person, name, _with(asked, path, {"role": "ADMIN"}))
            assert codes(answer) == ["BAD_USER_INPUT"]


def test_t_z05_no_input_names_what_the_store_decides() -> None:
    decided = {"role", "balance", "available", "held", "debt", "ownerId", "creatorId", "verified", "emailVerified"}
    decided |= {"rank", "createdAt", "updatedAt", "payable", "total", "reviewerId", "hirerId"}
    named = {
        f"{type_.name}.{field}"
        for type_ in graph().type_map.values()
        if isinstance(type_, GraphQLInputObjectType)
        for field in type_.fields
        if field in decided
    }
    assert named == {"ListingFilter.ownerId", "ListingFilter.rank", "AccountFilter.role", "SetRoleInput.role"}


def _objects(value: Json, at: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    for name, each in value.items():
        if isinstance(each, dict):
            yield (*at, name)
            yield from _objects(each, (*at, name))


def _with(value: Json, path: tuple[str, ...], more: Json) -> Json:
    if not path:
        return {**value, **more}
    return {**value, path[0]: _with(value[path[0]], path[1:], more)}


def _everybody(market: Market) -> list[Any]:
    return [market.guest, market.eve, market.ada, market.max, market.cleo, market.mia, market.root]


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}
