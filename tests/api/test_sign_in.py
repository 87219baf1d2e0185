"""Who asks: headers, tokens and roles at the API's door, with the real local identity (rows T-A01 to T-A12)."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from domain.users import Role, user_id
from firestore.collections import ORDERS, USERS
from integrations.local.identity import AUDIENCE, ISSUER, LocalIdentity
from tests.api.api import URL, Json, Market, Person, Rig, codes, outcome
from tests.client import PASSWORD, mutation
from tests.journeys import shop
from tests.make import NOW
from tests.nouns import SECOND

ME = "{ viewer { id role } }"
EMAIL = "ann@example.org"
TOKENS = "idToken refreshToken expiresInSeconds viewer { id email role user { displayName } wallet { available } }"


def _local(data: Path, **options: Any) -> Callable[[Callable[[], datetime]], LocalIdentity]:
    return lambda clock: LocalIdentity(data / "accounts.sqlite3", clock=clock, **options)


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A store whose people have passwords."""
    made = Rig(tmp_path, _local(tmp_path))
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def ann(rig: Rig) -> Person:
    return await _sign_up(rig)


async def _sign_up(rig: Rig, email: str = EMAIL, name: str = "Ann") -> Person:
    asked = {"email": email, "password": PASSWORD, "displayName": name}
    return _signed(rig, await rig.guest.act("signUp", asked, TOKENS))


def _signed(rig: Rig, told: Json) -> Person:
    person = Person(rig, None, token=told["idToken"])
    person.user_id, person.refresh_token = told["viewer"]["id"], told["refreshToken"]
    return person


async def _sign_in(rig: Rig, email: str = EMAIL, password: str = PASSWORD) -> Json:
    return await rig.guest.call("signIn", {"email": email, "password": password}, TOKENS)


async def _post(
    rig: Rig, headers: list[tuple[bytes, bytes]], query: str = ME, path: str = "/graphql"
) -> httpx.Response:
    return await rig.http.post(path, json={"query": query}, headers=headers)


# ---- headers


async def test_t_a01_no_header_is_a_guest(rig: Rig, ann: Person) -> None:
    assert (await _post(rig, [])).json()["data"] == {"viewer": None}
    answer = await rig.guest.answer(mutation("updateProfile", "__typename"), input={"displayName": "X"})
    assert codes(answer) == ["UNAUTHENTICATED"]
    assert answer["data"] is None
    message = "Sign in first: send the header Authorization: Bearer <idToken> of signIn or signUp."
    assert answer["errors"][0]["message"] == message


HEADERS: dict[str, Callable[[bytes], list[bytes]]] = {
    "empty": lambda token: [b""],
    "Bearer only": lambda token: [b"Bearer"],
    "Bearer and a space": lambda token: [b"Bearer "],
    "Bearer and spaces": lambda token: [b"Bearer    "],
    "no scheme": lambda token: [token],
    "Basic": lambda token: [b"Basic " + base64.b64encode(b"ann:x")],
    "Basic with the token": lambda token: [b"Basic " + token],
    "Bearer twice": lambda token: [b"Bearer Bearer " + token],
    "two tokens in one": lambda token: [b"Bearer " + token + b" " + token],
    "a comma": lambda token: [b"Bearer " + token + b", Bearer " + token],
    "two headers": lambda token: [b"Bearer " + token, b"Bearer " + token],
    "a bad one behind a good one": lambda token: [b"Bearer " + token, b"Bearer x"],
    "one of them empty": lambda token: [b"Bearer " + token, b""],
    "quoted": lambda token: [b'Bearer "' + token + b'"'],
    "Latin-1": lambda token: [b"Bearer \xe9" + token],
    "not UTF-8": lambda token: [b"Bearer \xff\xfe"],
    "ten kilobytes": lambda token: [b"Bearer " + b"x" * 10_240],
    "dots alone": lambda token: [b"Bearer .."],
    "tab": lambda token: [b"Bearer\t" + token],
}


@pytest.mark.parametrize("shape", HEADERS.values(), ids=HEADERS.keys())
async def test_t_a01_any_other_header_is_refused_whole(
    rig: Rig, ann: Person, shape: Callable[[bytes], list[bytes]]
) -> None:
    """401, no data, nothing done: not served as a guest either, who would not notice that a sign-in is broken."""
    headers = [(b"authorization", value) for value in shape(ann.token.encode())]
    before = await rig.dump()
    for query in (
        ME,
        "{ dofPackages { sku } }",
        'mutation { updateProfile(input: {displayName: "X"}) { __typename } }',
    ):
        answer = await _post(rig, headers, query)
        assert answer.status_code == 401
        assert set(answer.json()) == {"errors"}
        assert codes(answer.json()) == ["UNAUTHENTICATED"]
        assert ann.token not in answer.text
    assert await rig.dump() == before


async def test_t_a01_the_scheme_has_no_case_and_the_token_may_be_padded(rig: Rig, ann: Person) -> None:
    for value in (f"Bearer {ann.token}", f"bearer {ann.token}", f"BEARER   {ann.token}  "):
        answer = await _post(rig, [(b"authorization", value.encode())])
        assert answer.json()["data"]["viewer"]["id"] == ann.user_id


async def test_t_a01_a_token_travels_in_its_header_alone(rig: Rig, ann: Person) -> None:
    for path in (f"/graphql?access_token={ann.token}", f"/graphql?authorization=Bearer%20{ann.token}"):
        assert (await _post(rig, [], path=path)).json()["data"] == {"viewer": None}
    cookie = [(b"cookie", f"token={ann.token}; authorization=Bearer {ann.token}".encode())]
    assert (await _post(rig, cookie)).json()["data"] == {"viewer": None}


async def test_t_a12_the_path_alone_decides(rig: Rig, ann: Person) -> None:
    good = (b"authorization", f"Bearer {ann.token}".encode())
    doors = httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=rig.routes())), base_url=URL)
    asked = {"json": {"query": "{ viewer { id } }"}}
    for host in (b"a/?x=", b"evil.test", b"@evil", b"jiga.test/graphql?", b"", b"x\xff"):
        told = (b"host", host)  # as in production, where a proxy in front decides what is ours
        assert (await doors.post("/graphql", headers=[told, good], **asked)).json()["data"]["viewer"][
            "id"
        ] == ann.user_id
        bad = await doors.post("/graphql", headers=[told, (b"authorization", b"Bearer x")], **asked)
        assert bad.status_code == 401
        assert (await doors.post("/tasks/sweep", headers=[told])).status_code == 401
        assert (await _post(rig, [told, good])).status_code == 421  # a local store's own guard
    for path in (
        "//graphql",
        "/graphql/",
        "/GraphQL",
        "/@evil/graphql",
        "/graphql%2f",
        "/tasks/../graphql",
        "/x//graphql",
    ):
        answer = await _post(rig, [(b"authorization", b"Bearer x")], path=path)
        assert answer.status_code in (307, 401, 404, 405), path
        if answer.status_code == 307:  # a redirect to the door itself, which asks again
            assert answer.headers["location"].endswith("/graphql"), path
    for path in ("//tasks/sweep", "/tasks//sweep", "/tasks/sweep/", "/TASKS/sweep", "/graphql/../tasks/sweep"):
        assert (await rig.http.post(path)).status_code in (307, 401, 404), path


# ---- tokens


def _key(data: Path) -> tuple[str, bytes]:
    """The store's own key, as only its machine has it."""
    with sqlite3.connect(data / "accounts.sqlite3") as database:
        kid, secret = database.execute("SELECT kid, secret FROM keys").fetchone()
    return kid, secret


def _part(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _forged(ann: Person, data: Path) -> dict[str, str]:
    head, body, signature = ann.token.split(".")
    claims = jwt.decode(ann.token, options={"verify_signature": False})
    kid, secret = _key(data)
    other = {**claims, "sub": "another"}
    none = _part({"alg": "none", "typ": "JWT", "kid": kid})
    return {
        "alg none": f"{none}.{body}.",
        "alg none, with the signature": f"{none}.{body}.{signature}",
        "alg None": f"{_part({'alg': 'None', 'kid': kid})}.{body}.",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "four parts": f"{ann.token}.{signature}",
        "another body": f"{head}.{_part(other)}.{signature}",
        "another secret": jwt.encode(claims, b"x" * 32, "HS256", headers={"kid": kid}),
        "an empty secret": jwt.encode(claims, b"\0" * 32, "HS256", headers={"kid": kid}),
        "the kid as the secret": jwt.encode(claims, kid.encode().ljust(32), "HS256", headers={"kid": kid}),
        "HS512": jwt.encode(claims, secret * 2, "HS512", headers={"kid": kid}),
        "RS256 in the head": f"{_part({'alg': 'RS256', 'kid': kid})}.{body}.{signature}",
        "an unknown kid": jwt.encode(claims, secret, "HS256", headers={"kid": "0" * 16}),
        "no kid": jwt.encode(claims, secret, "HS256"),
        "a kid that is a path": jwt.encode(claims, secret, "HS256", headers={"kid": "../../dev/null"}),
        "cut short": ann.token[:-4],
        "one character changed": ann.token[:-10] + ("A" if ann.token[-10] != "A" else "B") + ann.token[-9:],
        "the refresh token": ann.refresh_token,
    }


async def test_t_a02_a_forged_token_is_refused(rig: Rig, ann: Person, tmp_path: Path) -> None:
    for name, token in _forged(ann, tmp_path).items():
        answer = await Person(rig, None, token=token).raw(ME)
        assert (answer.status_code, codes(answer.json())) == (401, ["UNAUTHENTICATED"]), name
        assert "data" not in answer.json(), name
    assert outcome(await ann.answer(ME)) == "+"


def _claiming(data: Path, ann: Person, **changes: Any) -> Person:
    """ann with a token that is signed as ours are and says something else; None leaves a claim out."""
    claims = {**jwt.decode(ann.token, options={"verify_signature": False}), **changes}
    kid, secret = _key(data)
    told = {name: value for name, value in claims.items() if value is not None}
    return Person(ann.rig, None, token=jwt.encode(told, secret, "HS256", headers={"kid": kid}))


async def test_t_a03_a_token_of_another_project_is_refused(rig: Rig, ann: Person, tmp_path: Path) -> None:
    assert outcome(await _claiming(tmp_path, ann).answer(ME)) == "+"
    wrong: list[dict[str, Any]] = [
        {"aud": "another-store"},
        {"aud": ["another-store"]},
        {"aud": None},
        {"aud": ""},
        {"iss": "https://securetoken.google.com/jiga"},
        {"iss": None},
        {"iss": ISSUER + "/"},
        {"sub": None},
        {"sub": "nobody"},
        {"sub": 7},
        {"email": None},
        {"gen": None},
        {"gen": 1},
        {"exp": None},
        {"exp": "soon"},
        {"iat": None},
    ]
    for changes in wrong:
        assert codes(await _claiming(tmp_path, ann, **changes).answer(ME)) == ["UNAUTHENTICATED"], changes
    assert jwt.decode(ann.token, options={"verify_signature": False})["aud"] == AUDIENCE


async def test_t_a04_a_token_has_its_hour(rig: Rig, ann: Person, tmp_path: Path) -> None:
    start = int(NOW.timestamp())
    rig.now = NOW + timedelta(seconds=3_599)
    assert outcome(await ann.answer(ME)) == "+"
    for late in (3_600, 3_601):
        rig.now = NOW + timedelta(seconds=late)
        assert codes(await ann.answer(ME)) == ["UNAUTHENTICATED"]
    rig.now = NOW
    for ahead, taken in ((5, True), (10, True), (61, False)):
        told = await _claiming(tmp_path, ann, iat=start + ahead, exp=start + 3_600).answer(ME)
        assert (codes(told) == []) is taken, ahead
    assert codes(await _claiming(tmp_path, ann, nbf=start + 61).answer(ME)) == ["UNAUTHENTICATED"]
    assert codes(await _claiming(tmp_path, ann, exp=start - 1).answer(ME)) == ["UNAUTHENTICATED"]


async def test_t_a05_a_sign_out_ends_every_sign_in_at_once(rig: Rig, ann: Person) -> None:
    other = _signed(rig, await _sign_in(rig))
    assert (await ann.answer("mutation { signOut { __typename ... on SignOutPayload { signedOut } } }"))["data"] == {
        "signOut": {"__typename": "SignOutPayload", "signedOut": True}
    }
    before = await rig.dump()
    for person in (ann, other):
        answer = await person.answer(mutation("updateProfile", "__typename"), input={"displayName": "X"})
        assert codes(answer) == ["UNAUTHENTICATED"]
        assert codes(await person.answer("mutation { signOut { __typename } }")) == ["UNAUTHENTICATED"]
        assert await rig.guest.refused("refreshToken", {"refreshToken": person.refresh_token}) == "BAD_CREDENTIALS"
    assert await rig.dump() == before
    again = _signed(rig, await _sign_in(rig))
    assert outcome(await again.answer(ME)) == "+"


async def test_t_a05_a_sign_in_that_another_process_revoked(rig: Rig, ann: Person, tmp_path: Path) -> None:
    """Reads end within a minute; what changes something, and what a role opens, ends at once."""
    await rig.store.users.set_role(ann.user_id, Role.ADMIN, NOW)
    assert outcome(await ann.answer("{ reviewQueue { nodes { id } } }")) == "+"
    with sqlite3.connect(tmp_path / "accounts.sqlite3") as database:
        database.execute("UPDATE accounts SET generation = generation + 1")
    assert outcome(await ann.answer(ME)) == "+"
    asked = {"userId": ann.user_id, "amount": 5, "reason": "Me.", "idempotencyKey": "k"}
    assert await ann.refused("adjustWallet", asked) == "UNAUTHENTICATED"
    assert codes(await ann.answer("{ reviewQueue { nodes { id } } }")) == ["UNAUTHENTICATED"]
    assert (await rig.store.wallets.get_many([ann.user_id]))[0].available.units == 0
    rig.now = NOW + 60 * SECOND
    assert codes(await ann.answer(ME)) == ["UNAUTHENTICATED"]


async def test_t_a05_a_removed_account_is_nobody_s(rig: Rig, ann: Person) -> None:
    uid = jwt.decode(ann.token, options={"verify_signature": False})["sub"]
    assert user_id(uid) == ann.user_id
    await rig.identity.delete(uid)
    assert await ann.refused("updateProfile", {"displayName": "X"}) == "UNAUTHENTICATED"
    assert (await _sign_in(rig))["code"] == "BAD_CREDENTIALS"


async def test_t_a06_where_nobody_can_be_verified_nobody_comes_in(rig: Rig, ann: Person) -> None:
    await rig.identity.close()
    assert outcome(await ann.answer(ME)) == "+"  # seen half a minute ago, which is how long a read is taken on trust
    assert await ann.refused("updateProfile", {"displayName": "X"}) == "UNAVAILABLE"
    rig.now = NOW + 31 * SECOND
    answer = await ann.raw(ME)
    assert (answer.status_code, codes(answer.json())) == (503, ["UNAVAILABLE"])
    assert "data" not in answer.json()
    assert await rig.guest.refused("signIn", {"email": EMAIL, "password": PASSWORD}) == "UNAVAILABLE"
    assert (await rig.guest.ask("{ dofPackages { sku } }"))["dofPackages"] != []


async def test_t_a10_the_role_is_the_store_s(market: Market, rig: Rig, ann: Person, tmp_path: Path) -> None:
    claims: Json = {"role": "ADMIN", "roles": ["ADMIN"], "admin": True, "custom_claims": {"role": "ADMIN"}}
    claiming = _claiming(tmp_path, ann, **claims)
    assert (await claiming.ask(ME))["viewer"]["role"] == "USER"
    asked = {"userId": market.zoe.user_id, "amount": 5, "reason": "A gift.", "idempotencyKey": "k"}
    assert await claiming.refused("adjustWallet", asked) == "FORBIDDEN"
    for role, code in ((Role.MODERATOR, "FORBIDDEN"), (Role.ADMIN, "DONE"), (Role.USER, "FORBIDDEN")):
        await rig.store.users.set_role(ann.user_id, role, NOW)
        assert (await ann.ask(ME))["viewer"]["role"] == role.value
        assert await ann.refused("adjustWallet", {**asked, "idempotencyKey": role.value}) == code


async def test_a_user_whose_record_is_gone_is_asked_to_sign_up_again(market: Market, rig: Rig, ann: Person) -> None:
    await rig.forget(USERS.at(ann.user_id))
    assert await ann.ask("{ viewer { id wallet { available } } }") == {
        "viewer": {"id": ann.user_id, "wallet": {"available": 0}}
    }
    for field in ("email", "role", "user { id }", "preferences { showProfile }"):
        error = await ann.error(f"{{ viewer {{ {field} }} }}")
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert error["message"] == "This account is no longer there: sign up again."
    before = await rig.dump()
    buying = {"sku": shop.BRONZE, "provider": "SHOPIFY", "idempotencyKey": "k"}
    assert await ann.refused("purchaseDof", buying) == "UNAUTHENTICATED"
    assert await ann.refused("hireAgent", market.hire()) == "UNAUTHENTICATED"
    assert await ann.refused("updateProfile", {"displayName": "X"}) == "NOT_FOUND"
    assert codes(await ann.answer("{ reviewQueue { nodes { id } } }")) == ["UNAUTHENTICATED"]
    assert await rig.dump() == before
    told = await _sign_in(rig)  # a sign-up that was cut off goes on at the next sign-in
    assert told["viewer"] | {"wallet": 0} == {
        "id": ann.user_id,
        "email": EMAIL,
        "role": "USER",
        "wallet": 0,
        "user": {"displayName": "New player"},
    }


# ---- signing up and in


async def test_who_signs_up_is_signed_in_by_the_same_answer(rig: Rig) -> None:
    asked = {
        "email": "  Ann@Example.ORG ",
        "password": PASSWORD,
        "displayName": " Ann  L. ",
        "timezone": "America/Lima",
    }
    told = await rig.guest.act("signUp", asked, TOKENS)
    viewer = {"email": EMAIL, "role": "USER", "user": {"displayName": "Ann L."}, "wallet": {"available": 0}}
    assert told["viewer"] == {"id": told["viewer"]["id"], **viewer}
    assert told["expiresInSeconds"] == 3_600
    assert await _signed(rig, told).ask(ME) == {"viewer": {"id": told["viewer"]["id"], "role": "USER"}}
    record = await rig.get(USERS, told["viewer"]["id"])
    assert (record.timezone, record.email, record.email_verified) == ("America/Lima", EMAIL, True)
    stored = json.dumps(await rig.dump(), default=str)
    assert PASSWORD not in stored
    assert told["refreshToken"] not in stored
    again = await _sign_in(rig, "ANN@example.org")
    assert again["viewer"] == told["viewer"]
    assert again["refreshToken"] != told["refreshToken"]


async def test_an_address_has_one_account(rig: Rig, ann: Person) -> None:
    before = await rig.dump()
    for email in (EMAIL, "ANN@EXAMPLE.org", " ann@example.org ", "ａｎｎ@example.org"):
        asked = {"email": email, "password": "another horse 8", "displayName": "Mallory"}
        told = await rig.guest.call("signUp", asked)
        assert told["code"] == "EMAIL_TAKEN"
        assert told["message"] == "There is an account with this e-mail: sign in, or use another address."
    assert await rig.dump() == before
    assert (await _sign_in(rig))["viewer"]["id"] == ann.user_id
    assert (await _sign_in(rig, password="another horse 8"))["code"] == "BAD_CREDENTIALS"


@pytest.mark.parametrize("password", ["", "short 7", "a" * 257, "password123", "PASSWORD", EMAIL, "ANN@example.org"])
async def test_a_weak_password_makes_no_account(rig: Rig, password: str) -> None:
    asked = {"email": EMAIL, "password": password, "displayName": "Ann"}
    assert await rig.guest.refused("signUp", asked) == "WEAK_PASSWORD"
    assert (await _sign_in(rig))["code"] == "BAD_CREDENTIALS"
    assert await rig.dump() == {}


async def test_what_is_refused_for_its_name_makes_no_account(rig: Rig) -> None:
    for changes in ({"displayName": "\u200b"}, {"timezone": "../x"}):
        asked = {"email": EMAIL, "password": PASSWORD, "displayName": "Ann", **changes}
        assert await rig.guest.refused("signUp", asked) == "BAD_USER_INPUT"
    assert (await _sign_in(rig))["code"] == "BAD_CREDENTIALS"
    assert outcome({"data": {"signUp": await rig.guest.call("signUp", {**asked, "timezone": None})}}) == "+"


async def test_an_unknown_address_and_a_wrong_password_are_one_answer(rig: Rig, ann: Person) -> None:
    """To the byte, the headers included, so that nobody can ask who has an account."""
    query = mutation("signIn", TOKENS)
    told = {}
    for email, password in (
        (EMAIL, "wrong horse 7"),
        ("bob@example.org", PASSWORD),
        (EMAIL, ""),
        (EMAIL, PASSWORD + " "),
    ):
        answer = await rig.guest.raw(query, input={"email": email, "password": password})
        heads = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
        told[answer.content, json.dumps(heads, sort_keys=True)] = answer
    (answer,) = told.values()
    assert answer.status_code == 200
    assert answer.json()["data"]["signIn"] == {
        "__typename": "BadCredentials",
        "code": "BAD_CREDENTIALS",
        "message": "The e-mail or the password is wrong: check both and try again.",
    }


async def test_guessing_is_slowed_down(rig: Rig, ann: Person) -> None:
    for _ in range(10):
        assert (await _sign_in(rig, password="guess"))["code"] == "BAD_CREDENTIALS"
    error = await rig.guest.error(mutation("signIn", TOKENS), input={"email": EMAIL, "password": PASSWORD})
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert 0 < error["extensions"]["retryAfterSeconds"] <= 900
    assert outcome(await ann.answer(ME)) == "+"
    other = await _sign_up(rig, "bob@example.org", "Bob")
    assert outcome(await other.answer(ME)) == "+"
    rig.now = NOW + timedelta(seconds=901)
    assert (await _sign_in(rig))["viewer"]["id"] == ann.user_id


async def test_a_refresh_token_works_once_and_its_theft_ends_the_family(rig: Rig, ann: Person) -> None:
    async def refresh(token: str) -> Json:
        return await rig.guest.call("refreshToken", {"refreshToken": token}, TOKENS)

    second = await refresh(ann.refresh_token)
    assert second["viewer"]["id"] == ann.user_id
    assert outcome(await _signed(rig, second).answer(ME)) == "+"
    # Two tabs refresh at once: the later one is refused, and nobody is signed out.
    assert (await refresh(ann.refresh_token))["code"] == "BAD_CREDENTIALS"
    third = await refresh(second["refreshToken"])
    rig.now = NOW + 60 * SECOND
    assert (await refresh(ann.refresh_token))["code"] == "BAD_CREDENTIALS"
    refused = await refresh(third["refreshToken"])
    assert refused["code"] == "BAD_CREDENTIALS"
    assert refused["message"] == "The refresh token is not valid, or no longer: sign in again."
    for token in ("", "x", "é" * 40, "x" * 10_240, ann.token):
        assert (await refresh(token))["code"] == "BAD_CREDENTIALS"
    rig.now = NOW + timedelta(days=31)
    other = await _sign_in(rig)
    rig.now += timedelta(days=30)
    assert (await refresh(other["refreshToken"]))["code"] == "BAD_CREDENTIALS"


# ---- what waits for a verified address


async def _pay(rig: Rig, number: int, email: str) -> None:
    answer = await shop.post(rig.http, shop.Order(number, email=email).told())
    assert answer.status_code == 200
    await rig.drain()


async def test_who_proves_an_address_gets_what_was_paid_for_it(rig: Rig) -> None:
    """The order waits in review; the sign-up with its e-mail takes it in, and no later sign-in does so again."""
    await _pay(rig, 1, EMAIL)
    await _pay(rig, 2, "somebody@example.org")
    ann = await _sign_up(rig)
    assert (await ann.wallet())["available"] == shop.BRONZE_DOF
    (seen,) = await ann.transactions()
    assert (seen["type"], seen["status"], seen["amount"]) == ("PURCHASE", "COMPLETED", shop.BRONZE_DOF)
    assert seen["externalReference"] == "1"
    orders = {record.reference: record for record in [await rig.get(ORDERS, each) for each in await _orders(rig)]}
    assert (orders["1"].user_id, orders["1"].in_review) == (ann.user_id, False)
    assert (orders["2"].user_id, orders["2"].in_review) == (None, True)
    assert (await _sign_in(rig))["viewer"]["wallet"]["available"] == shop.BRONZE_DOF
    await _pay(rig, 3, EMAIL)  # a known address waits for nothing
    assert (await ann.wallet())["available"] == 2 * shop.BRONZE_DOF


async def test_the_refresh_of_a_sign_in_takes_in_as_well(rig: Rig, ann: Person) -> None:
    record = await rig.get(USERS, ann.user_id)
    await rig.forget(USERS.at(ann.user_id))
    await _pay(rig, 1, EMAIL)
    await rig.put(USERS, record)
    assert (await ann.wallet())["available"] == 0
    told = await rig.guest.act("refreshToken", {"refreshToken": ann.refresh_token}, TOKENS)
    assert told["viewer"]["wallet"]["available"] == shop.BRONZE_DOF


async def test_an_address_that_is_only_claimed_gets_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path, _local(tmp_path, trust_emails=False))
    await rig.start()
    try:
        await _pay(rig, 1, EMAIL)
        ann = await _sign_up(rig)
        assert (await ann.wallet())["available"] == 0
        await _pay(rig, 2, EMAIL)
        assert (await ann.wallet())["available"] == 0
        waiting = [await rig.get(ORDERS, each) for each in await _orders(rig)]
        assert [(record.user_id, record.in_review) for record in waiting] == [(None, True)] * 2
    finally:
        await rig.stop()


async def _orders(rig: Rig) -> list[str]:
    return [path.partition("/")[2] for path in await rig.dump() if path.startswith("orders/")]


# ---- the list of sign-ins

LISTED = "{ viewer { signIns { id device createdAt lastUsedAt current coversAll } } }"


async def _devices(person: Person) -> list[tuple[str | None, bool]]:
    told = (await person.ask(LISTED))["viewer"]["signIns"]
    return [(each["device"], each["current"]) for each in told]


async def test_a_person_sees_where_they_are_signed_in(rig: Rig, ann: Person) -> None:
    rig.http.headers["user-agent"] = "A phone/1.0"
    rig.now = NOW + 60 * SECOND
    phone = _signed(rig, await _sign_in(rig))
    assert await _devices(phone) == [("A phone/1.0", True), ("python-httpx/" + httpx.__version__, False)]
    assert await _devices(ann) == [("A phone/1.0", False), ("python-httpx/" + httpx.__version__, True)]
    (newest, _) = (await ann.ask(LISTED))["viewer"]["signIns"]
    assert newest["createdAt"] == newest["lastUsedAt"] == (NOW + 60 * SECOND).isoformat()
    assert newest["coversAll"] is False
    for name in ("\x01", "caf\u00e9".encode().decode("latin-1"), ""):
        rig.http.headers["user-agent"] = name
        rig.now += SECOND
        assert (await _devices(_signed(rig, await _sign_in(rig))))[0] == (None, True)
    rig.http.headers["user-agent"] = "x" * 300
    rig.now += SECOND
    assert (await _devices(_signed(rig, await _sign_in(rig))))[0] == ("x" * 200, True)


async def test_t_a05_one_sign_in_is_ended_and_the_others_go_on(rig: Rig, ann: Person) -> None:
    """Its tokens die at once for what changes something, its refresh token too; nobody ends another's."""
    phone, bob = _signed(rig, await _sign_in(rig)), await _sign_up(rig, "bob@example.org", "Bob")
    (lost,) = [each for each in (await phone.ask(LISTED))["viewer"]["signIns"] if each["current"]]
    assert await bob.refused("revokeSignIn", {"id": lost["id"]}) == "NOT_FOUND"
    assert await ann.refused("revokeSignIn", {"id": "x" * 16}) == "NOT_FOUND"
    assert outcome(await phone.answer(ME)) == "+"
    left = await ann.act("revokeSignIn", {"id": lost["id"]}, "signIns { current }")
    assert left["signIns"] == [{"current": True}]
    assert codes(await phone.answer(ME)) == ["UNAUTHENTICATED"]
    assert await phone.refused("updateProfile", {"displayName": "X"}) == "UNAUTHENTICATED"
    assert await rig.guest.refused("refreshToken", {"refreshToken": phone.refresh_token}) == "BAD_CREDENTIALS"
    assert outcome(await ann.answer(ME)) == "+"
    assert await ann.refused("revokeSignIn", {"id": lost["id"]}) == "NOT_FOUND"
    told = await rig.guest.act("refreshToken", {"refreshToken": ann.refresh_token}, TOKENS)
    assert await _devices(_signed(rig, told)) == [("python-httpx/" + httpx.__version__, True)]


# ---- what is accepted, and who sent whom

LEGAL = "{ viewer { legalDue { name version } legalAcceptances { document version acceptedAt } } }"
TERMS, PRIVACY = {"document": "terms", "version": "2026-01"}, {"document": "privacy", "version": "2026-01"}


async def test_a_sign_up_accepts_what_it_was_shown(rig: Rig) -> None:
    documents = (await rig.guest.ask("{ legalDocuments { name version title url } }"))["legalDocuments"]
    assert [(each["name"], each["version"], each["title"]) for each in documents] == [
        ("terms", "2026-01", "Terms of service"),
        ("privacy", "2026-01", "Privacy notice"),
    ]
    asked = {"email": EMAIL, "password": PASSWORD, "displayName": "Ann"}
    for wrong, code in (([{**TERMS, "version": "2025-01"}], "CONFLICT"), ([{**TERMS, "document": "x"}], "NOT_FOUND")):
        assert await rig.guest.refused("signUp", {**asked, "acceptedLegal": [PRIVACY, *wrong]}) == code
    assert (await _sign_in(rig))["code"] == "BAD_CREDENTIALS"  # no account was made
    ann = _signed(rig, await rig.guest.act("signUp", {**asked, "acceptedLegal": [TERMS, TERMS]}, TOKENS))
    seen = (await ann.ask(LEGAL))["viewer"]
    assert seen == {
        "legalDue": [{"name": "privacy", "version": "2026-01"}],
        "legalAcceptances": [{**TERMS, "acceptedAt": NOW.isoformat()}],
    }


async def test_an_acceptance_is_kept_once_and_for_ever(rig: Rig, ann: Person) -> None:
    assert [each["name"] for each in (await ann.ask(LEGAL))["viewer"]["legalDue"]] == ["terms", "privacy"]
    told = await ann.act("acceptLegal", TERMS, "acceptance { acceptedAt } legalDue { name }")
    assert (told["acceptance"]["acceptedAt"], told["legalDue"]) == (NOW.isoformat(), [{"name": "privacy"}])
    before = await rig.dump()
    rig.now = NOW + 60 * SECOND
    again = await ann.act("acceptLegal", TERMS, "acceptance { acceptedAt }")
    assert again["acceptance"]["acceptedAt"] == NOW.isoformat()
    assert await ann.refused("acceptLegal", {**TERMS, "version": "2027-01"}) == "CONFLICT"
    assert await ann.refused("acceptLegal", {**TERMS, "document": "cookies"}) == "NOT_FOUND"
    assert await rig.dump() == before
    bob = await _sign_up(rig, "bob@example.org", "Bob")
    assert (await bob.ask(LEGAL))["viewer"]["legalAcceptances"] == []


async def test_a_referral_code_is_kept_with_whoever_brings_it(rig: Rig) -> None:
    asked = {"email": EMAIL, "password": PASSWORD, "displayName": "Ann"}
    for wrong in ("", "a b", "x" * 65, "<b>", "é"):
        assert await rig.guest.refused("signUp", {**asked, "referralCode": wrong}) == "BAD_USER_INPUT"
    assert await rig.dump() == {}
    ann = _signed(rig, await rig.guest.act("signUp", {**asked, "referralCode": "Max_7-x"}, TOKENS))
    assert (await rig.get(USERS, ann.user_id)).referral_code == "Max_7-x"
    await _sign_in(rig)
    assert (await rig.get(USERS, ann.user_id)).referral_code == "Max_7-x"
    bob = await _sign_up(rig, "bob@example.org", "Bob")
    assert (await rig.get(USERS, bob.user_id)).referral_code is None


async def test_t_p02_a_deleted_account_leaves_no_sign_in(rig: Rig, ann: Person) -> None:
    """With the real accounts: the password is asked, the file forgets, and the address is free for a new account."""
    asked = {"confirm": EMAIL, "password": PASSWORD}
    assert await ann.refused("deleteMyAccount", {**asked, "password": "wrong horse 7"}) == "BAD_CREDENTIALS"
    rig.now = NOW + timedelta(minutes=6)
    assert await ann.refused("deleteMyAccount", {"confirm": EMAIL}) == "BAD_CREDENTIALS"
    assert await ann.refused("deleteMyAccount", asked) == "DONE"
    await rig.drain()
    assert codes(await ann.answer(ME)) == ["UNAUTHENTICATED"]
    assert await rig.guest.refused("refreshToken", {"refreshToken": ann.refresh_token}) == "BAD_CREDENTIALS"
    assert (await _sign_in(rig))["code"] == "BAD_CREDENTIALS"
    assert EMAIL not in json.dumps(await rig.dump(), default=str)
    again = await _sign_up(rig)
    assert again.user_id != ann.user_id
