"""Bad input gets a clear refusal and changes nothing, at the public face."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import jwt
import pytest
import pytest_asyncio

from tests.client import Client
from tests.journeys import market, shop
from tests.journeys.market import until
from tests.journeys.server import SECRET, Server

NOWHERE = "0" * 26
TEXTS = {
    "accents": "Zoë Ångström",
    "Arabic": "مدربة الشطرنج",
    "Hebrew": "מאמן שחמט",
    "Chinese": "国际象棋教练",
    "Thai": "โค้ชหมากรุก",
    "Hindi": "शतरंज कोच",
    "Persian": "می\u200cخواهم",  # needs its joiner
    "family": "👨\u200d👩\u200d👧\u200d👦 coach",
    "flag": "🇲🇽 entrenadora",
    "beyond the first plane": "𝒯𝓇𝒶𝒾𝓃 𐍈",
    "markup": "<b>&amp;'\"; DROP TABLE agents; --",
    "path": "../../etc/passwd%00/*",
    "template": "{{7*7}} ${7*7} %s %n",
}
CLEANED = {
    "decomposed": ("Zoe\u0308", "Zoë"),
    "override": ("Ada\u202egpj", "Adagpj"),
    "zero width": ("A\u200bda", "Ada"),
    "byte order mark": ("\ufeffAda", "Ada"),
    "controls": ("A\u0007da\u0000", "Ada"),
    "spaces": ("  Ada \u00a0 Lovelace ", "Ada Lovelace"),
}
NOTHING_TO_SEE = ["", "   ", "\u200b\u200d", "\u3164", "\u2800", "\n\n"]


class Room:
    """A creator with a listing and a draft, and a player with DOF and a running session."""

    creator: Client
    player: Client
    stranger: Client
    listing_id: str
    draft_id: str
    session_id: str
    transaction_id: str

    async def state(self) -> Any:
        """All that the three can see of what is theirs."""
        seen = """{ viewer { user { displayName } email wallet { available held debt earned }
            agents { nodes { id name version updatedAt } }
            sessions { nodes { id status dofHeld metrics { interactions } } }
            transactions { nodes { id status amount availableAfter } } } }"""
        listing = (
            "query ($id: ID!) { listing(id: $id) { title pricing { hourly version } status reviews { nodes { id } } } }"
        )
        people = [await each.ask(seen) for each in (self.creator, self.player, self.stranger)]
        return people, await self.creator.ask(listing, id=self.listing_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(server: Server) -> AsyncIterator[Room]:
    room = Room()
    async with Client(server.url) as guest:
        room.creator, room.player, room.stranger = [await guest.sign_up(name) for name in ("Ada", "Max", "Eve")]
        room.listing_id = await market.offer(room.creator)
        room.draft_id = await market.create(room.creator, "Draft")
        await market.pay(room.player, 5_000)
        hired = await room.player.act("hireAgent", market.hire(room.listing_id, "first"), "session { id }")
        room.session_id = hired["session"]["id"]
        room.transaction_id = (await room.player.transactions())[0]["id"]
        yield room
        for each in (room.creator, room.player, room.stranger):
            await each.http.aclose()


pytestmark = pytest.mark.asyncio(loop_scope="module")


# ---- webhooks


def _unsigned(order: shop.Order) -> list[tuple[str, bytes, str]]:
    body = order.told()
    good = shop.sign(body)
    raw = base64.b64decode(good)
    again = json.dumps(json.loads(body), separators=(",", ":")).encode()
    return [
        ("none", body, ""),
        ("another secret's", body, shop.sign(body, "guess")),
        ("in hex", body, raw.hex()),
        ("cut short", body, base64.b64encode(raw[:16]).decode()),
        ("with more behind it", body, good + "AAAA"),
        ("of an empty secret", body, shop.sign(body, "")),
        ("of the same order, written anew", again, good),
        ("of another byte", body + b" ", good),
        ("not base64", body, "!" * 44),
        ("not ASCII", body, "é".encode("latin-1").decode("latin-1") * 20),
    ]


async def test_a_webhook_without_its_signature_is_nothing(room: Room) -> None:
    order = shop.Order(5_001, await shop.buy(room.player, "unsigned"), room.player.user_id)
    before = await room.state()
    for name, body, signature in _unsigned(order):
        answer = await _post_bytes(room, body, signature)
        assert answer == 401, f"a signature {name}"
    assert await room.state() == before


async def _post_bytes(room: Room, body: bytes, signature: str) -> int:
    headers = [(b"x-shopify-topic", b"orders/paid"), (b"x-shopify-hmac-sha256", signature.encode("latin-1"))]
    return (await room.player.http.post("/webhooks/shopify", content=body, headers=headers)).status_code


async def test_a_webhook_without_a_signature_header(room: Room) -> None:
    sent = await room.player.http.post("/webhooks/shopify", content=shop.Order(5_002).told())
    assert sent.status_code == 401


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"id": 1.5}', b'{"id": true}', b'{"id": 1, "id": 2}', b'{"id": -1}'],
)
async def test_a_signed_body_that_is_no_order(room: Room, body: bytes) -> None:
    before = await room.state()
    assert (await shop.post(room.player.http, body)).status_code == 400
    assert await room.state() == before


ODD_ORDERS: dict[str, dict[str, Any]] = {
    "an unknown SKU": {"sku": "DOF-9B-URANIUM"},
    "a SKU in other letters": {"sku": "dof-150k-bronze"},
    "underpaid": {"price": "4.98"},
    "overpaid": {"price": "5.00"},
    "a price of nothing": {"price": "0.00"},
    "a negative price": {"price": "-4.99"},
    "a price that is no number": {"price": "NaN"},
    "in euros": {"currency": "EUR"},
    "two packages for the price of one": {"quantity": 2},
    "no package": {"quantity": 0},
    "fewer than none": {"quantity": -1},
    "test money": {"test": True},
}


@pytest.mark.parametrize("odd", ODD_ORDERS.values(), ids=ODD_ORDERS.keys())
async def test_an_order_that_is_not_what_was_asked_credits_nothing(room: Room, odd: dict[str, Any]) -> None:
    """It is taken, so that the provider does not send it for days; it waits for a human, and the wallet stays."""
    number = 5_100 + list(ODD_ORDERS.values()).index(odd)
    purchase_id = await shop.buy(room.player, f"odd {number}")
    before = await room.state()
    order = replace(shop.Order(number, purchase_id, room.player.user_id), **odd)
    assert (await shop.post(room.player.http, order.told())).status_code == 200
    other = shop.Order(number + 50, await shop.buy(room.stranger, f"good {number}"), room.stranger.user_id)
    had = (await room.stranger.wallet())["available"]
    assert (await shop.post(room.player.http, other.told())).status_code == 200
    await until(room.stranger.wallet, lambda seen: seen["available"] > had, "the good order behind the odd one")
    assert (await room.state())[0][1] == before[0][1]


async def test_an_order_for_somebody_elses_purchase_pays_that_purchase(room: Room) -> None:
    """The hint of the user is read with the rest, and never believed: the purchase says whose it is."""
    purchase_id = await shop.buy(room.player, "mine")
    mine, theirs = await room.player.wallet(), await room.stranger.wallet()
    order = shop.Order(5_200, purchase_id, room.stranger.user_id)
    assert (await shop.post(room.player.http, order.told())).status_code == 200
    wanted = mine["available"] + shop.BRONZE_DOF
    await until(room.player.wallet, lambda seen: seen["available"] == wanted, "the credit")
    assert await room.stranger.wallet() == theirs


# ---- sign-in


def _forged(room: Room) -> dict[str, str]:
    token = str(room.player.token)
    head, body, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    now = int(time.time())
    google = {"iss": "https://securetoken.google.com/other", "aud": "other", "sub": claims["sub"]}
    kid = jwt.get_unverified_header(token)["kid"]
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    longer = {**claims, "exp": now + 10**9}
    return {
        "no algorithm": f"{none}.{body}.",
        "no signature": f"{head}.{body}.",
        "another key": jwt.encode(claims, "k" * 32, "HS256", headers={"kid": kid}),
        "an empty key": _signed_with_nothing(f"{head}.{body}"),
        "another project": jwt.encode({**claims, **google, "iat": now, "exp": now + 99}, "k" * 32, "HS256"),
        "a longer life": ".".join((head, _part(longer), signature)),
        "another user": ".".join((head, _part({**claims, "sub": "0" * 28}), signature)),
        "an admin's claim": ".".join((head, _part({**claims, "role": "ADMIN"}), signature)),
        "no token": "Bearer",
        "an odd one": "🦊" * 10,
        "a long one": "a" * 9_000,
    }


def _signed_with_nothing(text: str) -> str:
    mac = hmac.new(b"", text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _part(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


async def test_a_forged_token_is_nobody(room: Room) -> None:
    before = await room.state()
    query = {"query": "{ viewer { id } }"}
    for name, token in _forged(room).items():
        headers = {b"authorization": f"Bearer {token}".encode()}
        answer = await room.player.http.post("/graphql", json=query, headers=headers)
        body = answer.json()
        assert (answer.status_code in (200, 401), "data" in body) == (True, False), name
        assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED", name
    assert await room.state() == before


async def test_a_guest_changes_nothing(room: Room, server: Server) -> None:
    before = await room.state()
    async with Client(server.url) as guest:
        assert (await guest.ask("{ viewer { id } }")) == {"viewer": None}
        asked: dict[str, Any] = {
            "hireAgent": market.hire(room.listing_id, "guest"),
            "purchaseDof": {"sku": shop.BRONZE, "provider": "SHOPIFY", "idempotencyKey": "guest"},
            "endSession": {"sessionId": room.session_id, "idempotencyKey": "guest"},
            "adjustWallet": {"userId": room.player.user_id, "amount": 1, "reason": "x", "idempotencyKey": "guest"},
        }
        for name, input_ in asked.items():
            assert await guest.refused(name, input_) == "UNAUTHENTICATED", name
    assert await room.state() == before


async def test_a_player_is_no_moderator(room: Room) -> None:
    before = await room.state()
    asked: dict[str, Any] = {
        "adjustWallet": {"userId": room.stranger.user_id, "amount": 10**6, "reason": "x", "idempotencyKey": "me"},
        "moderateListing": {"listingId": room.listing_id, "status": "SUSPENDED", "reason": "x"},
        "featureListing": {"listingId": room.listing_id, "featured": True},
    }
    for name, input_ in asked.items():
        assert await room.stranger.refused(name, input_) == "FORBIDDEN", name
    assert await room.state() == before


# ---- other people's things


async def test_what_is_not_ones_own_is_as_if_it_were_missing(room: Room) -> None:
    before = await room.state()
    read = """query ($session: ID!, $transaction: ID!, $agent: ID!) { session(id: $session) { id }
        transaction(id: $transaction) { id } agent(id: $agent) { id }
        nodes(ids: [$session, $transaction, $agent]) { id } }"""
    theirs = {"session": room.session_id, "transaction": room.transaction_id, "agent": room.draft_id}
    missing = {name: f"{each[:4]}{NOWHERE}" for name, each in theirs.items()}
    garbage = {"session": "ses_", "transaction": "../../x", "agent": "agt_" + "é" * 26}
    answers = [await room.stranger.answer(read, **each) for each in (theirs, missing, garbage)]
    nothing = {"session": None, "transaction": None, "agent": None, "nodes": [None, None, None]}
    assert [answer["data"] for answer in answers] == [nothing] * 3
    assert answers[0] == answers[1] == answers[2]
    for theirs_id in theirs.values():
        assert await room.stranger.ask("query ($id: ID!) { node(id: $id) { id } }", id=theirs_id) == {"node": None}
    assert await room.state() == before


async def test_other_peoples_ids_are_not_found_by_any_mutation(room: Room) -> None:
    """The refusal of a thing that is another's is, to the letter, that of a thing that is not there."""
    before = await room.state()
    prices = {"hourly": 1, "daily": 1, "weekly": 1}
    asked: dict[str, tuple[str, str, dict[str, Any]]] = {
        "endSession": ("sessionId", room.session_id, {"idempotencyKey": "x"}),
        "extendSession": ("sessionId", room.session_id, {"unit": "HOUR", "quantity": 1, "idempotencyKey": "x"}),
        "recordUsage": ("sessionId", room.session_id, {"sequence": 9, "dof": 1}),
        "submitReview": ("sessionId", room.session_id, {"rating": 1, "comment": "x"}),
        "updateAgent": ("id", room.draft_id, {"version": 1, "name": "Mine"}),
        "deleteAgent": ("id", room.draft_id, {}),
        "transferAgent": ("agentId", room.draft_id, {"toUserId": room.player.user_id}),
        "restoreAgentVersion": ("agentId", room.draft_id, {"version": 1}),
        "publishAgent": ("agentId", room.draft_id, {"title": "x", "description": "x", "pricing": prices}),
        "unpublishAgent": ("agentId", room.draft_id, {}),
        "updateListing": ("listingId", room.listing_id, {"pricing": prices}),
        "pauseListing": ("listingId", room.listing_id, {}),
        "resumeListing": ("listingId", room.listing_id, {}),
    }
    for name, (field, theirs, rest) in asked.items():
        wanted = [await room.stranger.call(name, {field: each, **rest}) for each in (theirs, theirs[:4] + NOWHERE, "x")]
        assert {each["code"] for each in wanted} == {"NOT_FOUND"}, name
        assert wanted[0] == wanted[1] == wanted[2], name
    assert await room.state() == before


async def test_nobody_hires_from_a_draft_or_from_oneself(room: Room) -> None:
    before = await room.state()
    assert await room.stranger.refused("hireAgent", market.hire("lst_" + NOWHERE, "draft")) == "NOT_FOUND"
    assert await room.creator.refused("hireAgent", market.hire(room.listing_id, "own")) == "SELF_DEALING"
    trial = {"agentId": room.draft_id, "type": "TRIAL", "idempotencyKey": "draft"}
    assert await room.stranger.refused("startSession", trial) == "NOT_FOUND"
    giving = {"toUserId": room.player.user_id, "amount": 1, "idempotencyKey": "me"}
    assert await room.player.refused("transferDof", giving) == "SELF_DEALING"
    assert await room.state() == before


# ---- amounts, versions, keys


async def test_a_stale_price_is_refused_and_a_running_hire_keeps_its_own(room: Room) -> None:
    listing_id = await market.offer(room.creator, hourly=900, name="Stale")
    changed = {"listingId": listing_id, "pricing": {"hourly": 950, "daily": 7_200, "weekly": 36_000}}
    await room.creator.act("updateListing", changed)
    before = await room.state()
    refused = await room.player.call(
        "hireAgent", market.hire(listing_id, "stale"), refusal="... on PriceChanged { currentVersion }"
    )
    assert (refused["code"], refused["currentVersion"]) == ("PRICE_CHANGED", 2)
    assert await room.player.refused("hireAgent", market.hire(listing_id, "stale", version=3)) == "PRICE_CHANGED"
    stale = {"id": room.draft_id, "version": 7, "name": "Late"}
    assert await room.creator.refused("updateAgent", stale) == "CONFLICT"
    assert await room.state() == before


AMOUNTS = [0, -1, -(10**15), 10**15, 10**15 + 1, 2**63, 10**30, 1.5, 1.0, 1e3, "5", "1e3", True, None, [], {}]


@pytest.mark.parametrize("amount", AMOUNTS, ids=repr)
async def test_an_amount_that_moves_nothing(room: Room, amount: Any) -> None:
    before = await room.state()
    giving = {"toUserId": room.stranger.user_id, "amount": amount, "idempotencyKey": f"odd {amount}"}
    code = await room.player.refused("transferDof", giving)
    assert code == ("INSUFFICIENT_DOF" if amount == 10**15 else "BAD_USER_INPUT")
    if amount != 0 and amount != 10**15:  # a report of no DOF is fine, and a huge one ends the session
        used = {"sessionId": room.session_id, "sequence": 77, "dof": amount}
        assert await room.player.refused("recordUsage", used) == "BAD_USER_INPUT"
    pricing = {"hourly": amount, "daily": 1, "weekly": 1}
    offer = {"agentId": room.draft_id, "title": "x", "description": "x", "pricing": pricing}
    assert await room.creator.refused("publishAgent", offer) == "BAD_USER_INPUT"
    assert await room.state() == before


@pytest.mark.parametrize("quantity", [0, -1, 673, 2**31 - 1, 2**31, 1.5, "1", True])
async def test_a_quantity_that_cannot_be_hired(room: Room, quantity: Any) -> None:
    before = await room.state()
    hire = {**market.hire(room.listing_id, "quantity"), "quantity": quantity}
    assert await room.player.refused("hireAgent", hire) == "BAD_USER_INPUT"
    longer = {"sessionId": room.session_id, "unit": "HOUR", "quantity": quantity, "idempotencyKey": "quantity"}
    assert await room.player.refused("extendSession", longer) == "BAD_USER_INPUT"
    buying = {"sku": shop.BRONZE, "provider": "SHOPIFY", "quantity": quantity, "idempotencyKey": "quantity"}
    assert await room.player.refused("purchaseDof", buying) == "BAD_USER_INPUT"
    assert await room.state() == before


@pytest.mark.parametrize("sku", ["", "dof-150k-bronze", "DOF-150K-BRONZE ", "DOF-9B-URANIUM", "🦊", "x" * 5_000])
async def test_an_unknown_package_is_refused(room: Room, sku: str) -> None:
    before = await room.state()
    buying = {"sku": sku, "provider": "SHOPIFY", "idempotencyKey": "unknown"}
    assert await room.player.refused("purchaseDof", buying) == "UNKNOWN_PACKAGE"
    assert await room.state() == before


async def test_a_key_that_was_used_for_something_else(room: Room) -> None:
    before = await room.state()
    longer = market.hire(room.listing_id, "first", hours=2)
    assert await room.player.refused("hireAgent", longer) == "IDEMPOTENCY_CONFLICT"
    for key in ("", "k" * 201):
        assert await room.player.refused("hireAgent", market.hire(room.listing_id, key)) == "BAD_USER_INPUT"
    assert await room.state() == before


# ---- texts and sizes


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_unicode_comes_back_as_it_was_written(room: Room, text: str) -> None:
    assert await _through(room, text) == [text] * 6


@pytest.mark.parametrize(("text", "clean"), CLEANED.values(), ids=CLEANED.keys())
async def test_what_nobody_sees_is_taken_out(room: Room, text: str, clean: str) -> None:
    assert await _through(room, text) == [clean] * 6


async def _through(room: Room, text: str) -> list[str]:
    """A text through every field that keeps one of this length: name, focus, title, description, tag, display name."""
    name = await room.creator.act("updateProfile", {"displayName": text}, "user { displayName }")
    specialization = {"games": ["Chess"], "focus": text, "specialistType": "TRAINED"}
    built = {"type": "SPECIALIST", "provider": "GEMINI", "nationality": text, "language": "en", "name": text}
    made = await room.creator.act(
        "createAgent",
        {**built, "specialization": specialization},
        "agent { id name nationality specialization { focus } }",
    )
    agent = made["agent"]
    offered = {"agentId": agent["id"], "title": text, "description": text, "tags": [text]}
    prices = {"pricing": {"hourly": 1, "daily": 1, "weekly": 1}}
    listing = (await room.creator.act("publishAgent", {**offered, **prices}, "listing { title description tags }"))[
        "listing"
    ]
    assert agent["nationality"] == agent["name"]
    return [
        name["user"]["displayName"],
        agent["name"],
        agent["specialization"]["focus"],
        listing["title"],
        listing["description"],
        *listing["tags"],
    ]


@pytest.mark.parametrize("text", NOTHING_TO_SEE, ids=ascii)
async def test_a_text_that_shows_nothing_is_refused(room: Room, text: str) -> None:
    before = await room.state()
    assert await room.creator.refused("updateProfile", {"displayName": text}) == "BAD_USER_INPUT"
    assert (
        await room.creator.refused("updateListing", {"listingId": room.listing_id, "title": text}) == "BAD_USER_INPUT"
    )
    renamed = {"id": room.draft_id, "version": 1, "name": text}
    assert await room.creator.refused("updateAgent", renamed) == "BAD_USER_INPUT"
    assert await room.state() == before


async def test_a_lone_surrogate_is_no_text(room: Room) -> None:
    before = await room.state()
    document = 'mutation { updateProfile(input: {displayName: "x\\ud800"}) { __typename } }'
    body = json.dumps({"query": document}).replace("\\\\", "\\").encode()
    answer = await room.creator.http.post(
        "/graphql", content=body, headers={**room.creator.headers, "content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert await room.state() == before


async def test_text_that_is_too_long_is_refused(room: Room) -> None:
    before = await room.state()
    assert await room.creator.refused("updateProfile", {"displayName": "a" * 61}) == "BAD_USER_INPUT"
    long = {"listingId": room.listing_id, "description": "a" * 5_001}
    assert await room.creator.refused("updateListing", long) == "BAD_USER_INPUT"
    tags = {"listingId": room.listing_id, "tags": [f"tag {number}" for number in range(11)]}
    assert await room.creator.refused("updateListing", tags) == "BAD_USER_INPUT"
    assert await room.state() == before


async def test_five_megabytes_are_refused_at_both_doors(room: Room, server: Server) -> None:
    before = await room.state()
    assert await _announce(server, "/graphql", 5_000_000) == b"413"
    order = shop.Order(5_300, None, room.player.user_id).told(note="a" * 5_000_000)
    for signature in (shop.sign(order), shop.sign(order, SECRET + "x")):  # nobody reads it, so nobody can tell
        assert await _announce(server, "/webhooks/shopify", len(order), signature) == b"413"
    assert await room.state() == before


async def _announce(server: Server, path: str, length: int, signature: str = "") -> bytes:
    """The status of a request whose body is announced and not waited for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"X-Shopify-Topic: orders/paid\r\nX-Shopify-Hmac-Sha256: {signature}\r\n"
    writer.write(f"{head}Content-Length: {length}\r\n\r\n{{".encode())
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer.split(b" ", 2)[1]


async def test_fields_that_nobody_offers_are_refused(room: Room) -> None:
    """Mass assignment: what an input does not name cannot be set with it."""
    before = await room.state()
    asked: dict[str, dict[str, Any]] = {
        "updateProfile": {"displayName": "x", "role": "ADMIN"},
        "updateAgent": {"id": room.draft_id, "version": 1, "ownerId": room.stranger.user_id},
        "createAgent": {
            "name": "x",
            "type": "ASSISTANT",
            "provider": "GEMINI",
            "nationality": "x",
            "language": "en",
            "rank": "PLATINUM",
        },
        "updateListing": {"listingId": room.listing_id, "featured": True},
        "submitReview": {"sessionId": room.session_id, "rating": 5, "comment": "x", "verified": True},
        "purchaseDof": {"sku": shop.BRONZE, "provider": "SHOPIFY", "idempotencyKey": "m", "dof": 10**9},
        "hireAgent": {**market.hire(room.listing_id, "m"), "total": 0},
    }
    for name, input_ in asked.items():
        assert await room.creator.refused(name, input_) == "BAD_USER_INPUT", name
    assert await room.state() == before


@pytest.mark.parametrize("rating", [0, 6, -1, 2**31, 4.5, "5", None])
async def test_a_rating_is_one_to_five(room: Room, rating: Any) -> None:
    listing_id = await market.offer(room.creator, name="Rated")
    hired = await room.player.act("hireAgent", market.hire(listing_id, f"rated {rating}"), "session { id }")
    session_id = hired["session"]["id"]
    await room.player.act("endSession", {"sessionId": session_id, "idempotencyKey": session_id})
    before = await room.state()
    review = {"sessionId": session_id, "rating": rating, "comment": "x"}
    assert await room.player.refused("submitReview", review) == "BAD_USER_INPUT"
    assert await room.state() == before


async def test_a_cursor_that_was_made_up_is_refused(room: Room) -> None:
    query = "query ($after: String) { viewer { transactions(first: 1, after: $after) { pageInfo { endCursor } } } }"
    data = await room.player.ask(query, after=None)
    cursor = data["viewer"]["transactions"]["pageInfo"]["endCursor"]
    for after in ("x", "", "=" * 30, cursor[:-2] + "AA", "A" + cursor[1:], cursor * 30):
        answer = await room.player.answer(query, after=after)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    answer = await room.stranger.answer(query, after=cursor)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
