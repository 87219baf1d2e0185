"""App Check at the API's door: where apps are named, whoever brings no API key calls from one of them (row T-A11)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.requests import HTTPConnection

import main
from domain.errors import Unauthenticated
from integrations.app_check import FirebaseAppCheck
from tests.api.api import Json, Market, Person, Rig, codes, open_market
from tests.client import mutation
from tests.integrations.app_check_stand_in import ANDROID, NUMBER, OTHER, WEB, StandIn, standing_in, token
from tests.make import NOW

ME = "{ viewer { id } }"
PACKAGES = "{ dofPackages { sku } }"
MISSING = "Send one App Check token of the app, in the header X-Firebase-AppCheck"
REFUSED = "The App Check token is not valid, or no longer, or of another app"


@pytest_asyncio.fixture
async def firebase() -> AsyncIterator[StandIn]:
    async with standing_in() as stand_in:
        yield stand_in


@pytest_asyncio.fixture
async def market(data: Path, firebase: StandIn, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Market]:
    """A market for two apps, set up by the environment as a store's is; only Firebase's address is another."""
    monkeypatch.setenv("JIGA_APP_CHECK_APPS", json.dumps([ANDROID, WEB]))
    monkeypatch.setenv("JIGA_PROJECT_NUMBER", NUMBER)
    monkeypatch.setattr(main, "FirebaseAppCheck", partial(FirebaseAppCheck, keys_url=firebase.url))
    rig = Rig(data)
    await rig.start()
    yield await open_market(rig)
    await rig.stop()


async def _post(person: Person, *app_tokens: str | bytes, query: str = ME, **headers: str) -> httpx.Response:
    sent = {**person.headers, **headers}
    pairs: list[tuple[str | bytes, str | bytes]] = [
        *sent.items(),
        *(("X-Firebase-AppCheck", each) for each in app_tokens),
    ]
    return await person.http.post("/graphql", json={"query": query}, headers=pairs)  # type: ignore[arg-type]


def _bad() -> dict[str, str]:
    """Tokens that say or are something else."""
    past = int(NOW.timestamp()) - 1
    head, body, signature = token().split(".")
    return {
        "garbage": "x",
        "an ID token's place": "max",
        "expired": token(iat=past - 3_600, exp=past),
        "another app": token(sub=OTHER),
        "another project": token(iss="https://firebaseappcheck.googleapis.com/9", aud=["projects/9"]),
        "another key": token("k2"),
        "changed": f"{head}.{body}.{signature[:-8]}AAAAAAAA",
    }


async def test_t_a11_an_app_of_ours_is_served(market: Market) -> None:
    for made in (token(), token(sub=WEB)):
        assert (await _post(market.max, made)).json()["data"]["viewer"]["id"] == market.max.user_id
        assert (await _post(market.guest, made)).json()["data"] == {"viewer": None}
    changed = await _post(
        market.max, token(), query='mutation { updateProfile(input: {displayName: "Maxim"}) { __typename } }'
    )
    assert changed.json()["data"] == {"updateProfile": {"__typename": "UpdateProfilePayload"}}


@pytest.mark.parametrize(
    "query", [ME, PACKAGES, 'mutation { updateProfile(input: {displayName: "X"}) { __typename } }']
)
async def test_t_a11_without_a_token_nobody_is_served(market: Market, query: str) -> None:
    """Guests and people who signed in, queries and mutations: 401, no data, nothing done, and what to send."""
    async with market.unchanged():
        for person in (market.guest, market.max, market.root):
            for sent in ((), ("",), (token(), token())):
                answer = await _post(person, *sent, query=query)
                assert (answer.status_code, codes(answer.json())) == (401, ["UNAUTHENTICATED"])
                assert set(answer.json()) == {"errors"}
                assert answer.json()["errors"][0]["message"].startswith(MISSING)


async def test_t_a11_a_token_of_something_else_is_refused(market: Market) -> None:
    async with market.unchanged():
        for name, made in _bad().items():
            for person in (market.guest, market.max):
                answer = await _post(person, made, query=PACKAGES)
                assert (answer.status_code, codes(answer.json())) == (401, ["UNAUTHENTICATED"]), name
                assert set(answer.json()) == {"errors"}, name
                assert answer.json()["errors"][0]["message"].startswith(REFUSED), name
                assert len(made) < 10 or made not in answer.text, name


async def test_t_a11_a_token_travels_in_its_header_alone(market: Market) -> None:
    made = token()
    for sent in ({"cookie": f"X-Firebase-AppCheck={made}"}, {"x-app-check": made}):
        assert codes((await _post(market.guest, **sent)).json()) == ["UNAUTHENTICATED"]
    answer = await market.rig.http.post(f"/graphql?X-Firebase-AppCheck={made}", json={"query": ME})
    assert codes(answer.json()) == ["UNAUTHENTICATED"]


async def test_t_a11_an_app_says_nothing_of_who_uses_it(market: Market) -> None:
    """The sign-in is asked as ever."""
    stranger = Person(market.rig, None, token="nobody")
    answer = (await _post(stranger, token())).json()
    assert codes(answer) == ["UNAUTHENTICATED"]
    assert "ID token" in answer["errors"][0]["message"]


async def test_t_a11_an_api_key_needs_no_app(market: Market) -> None:
    """Keys are for servers, and their scopes bound them; what only looks like a key opens nothing."""
    answer = await _post(market.max_bot)
    assert answer.json()["data"]["viewer"]["id"] == market.max.user_id
    asked = {"email": "max@jiga.test", "password": "max"}
    assert codes(await market.max_bot.answer(mutation("signIn", "__typename"), input=asked)) == ["FORBIDDEN"]
    for wrong in (market.max_bot.token[:-1], market.max_bot.token + "x", "jiga_test_x"):
        refused = await _post(Person(market.rig, None, token=wrong), query=PACKAGES)
        assert (refused.status_code, codes(refused.json())) == (401, ["UNAUTHENTICATED"])
        assert "data" not in refused.json()


async def test_t_a11_a_socket_brings_its_token_too(market: Market) -> None:
    def connection(*sent: str) -> Any:
        headers = [(b"x-firebase-appcheck", each.encode()) for each in sent]
        return HTTPConnection({"type": "websocket", "headers": headers, "client": ("192.0.2.1", 1)})

    enter = market.rig.reception.for_socket
    by_payload = await enter({"token": "max", "appCheck": token()}, connection())
    by_header = await enter({"authorization": "Bearer max"}, connection(token()))
    assert [each.user_id for each in (by_payload, by_header)] == [market.max.user_id] * 2
    assert (await enter({"appCheck": token(sub=WEB)}, connection())).user_id is None
    assert (await enter({"token": market.max_bot.token}, connection())).key_id == market.ids.key
    missing: list[tuple[Json, Any]] = [
        ({}, connection()),
        ({"token": "max"}, connection()),
        ({"token": "max", "appCheck": None}, connection()),
        ({"token": "max", "appCheck": ""}, connection()),
        ({"token": "max", "appCheck": [token()]}, connection()),
        ({"token": "max", "appCheck": token()}, connection(token())),
        ({"token": "max"}, connection(token(), token())),
    ]
    for payload, come_by in missing:
        with pytest.raises(Unauthenticated, match="`appCheck` of connection_init"):
            await enter(payload, come_by)
    for name, made in _bad().items():
        with pytest.raises(Unauthenticated, match=REFUSED):
            await enter({"token": "max", "appCheck": made}, connection())
        with pytest.raises(Unauthenticated, match=REFUSED):
            await enter({"token": "max"}, connection(made)), name


async def test_t_a11_a_token_ends_with_its_hour(market: Market) -> None:
    made = token()
    market.rig.now = NOW + timedelta(seconds=3_599)
    assert (await _post(market.guest, made)).status_code == 200
    market.rig.now = NOW + timedelta(seconds=3_600)
    assert (await _post(market.guest, made)).status_code == 401


async def test_t_a06_where_no_app_can_be_told_none_comes_in(market: Market, firebase: StandIn) -> None:
    """Never open; servers go on, and /readyz tells."""
    firebase.fault = (503, "")
    answer = await _post(market.guest, token(), query=PACKAGES)
    assert (answer.status_code, codes(answer.json())) == (503, ["UNAVAILABLE"])
    assert "data" not in answer.json()
    assert (await _post(market.max_bot)).status_code == 200
    assert market.rig.sight.weak() == ["app_check"]
    assert market.rig.sight.blocked() == []
    firebase.fault = None
    assert (await _post(market.guest, token(), query=PACKAGES)).json()["data"]["dofPackages"] != []
    assert market.rig.sight.weak() == []


async def test_t_a09_guessed_app_tokens_run_out(market: Market) -> None:
    """Wrong ones from one address are counted, missing ones are no guesses, and good ones are served all along."""
    for _ in range(70):
        assert codes((await _post(market.guest)).json()) == ["UNAUTHENTICATED"]
    made, said = token(sub=OTHER), []
    while "RATE_LIMITED" not in said and len(said) < 200:  # 60 in a minute, of which two may be touched
        said += codes((await _post(market.guest, made)).json())
    assert said == ["UNAUTHENTICATED"] * (len(said) - 1) + ["RATE_LIMITED"]
    assert len(said) > 60
    assert (await _post(market.max, token())).status_code == 200


async def test_a_browser_may_send_the_header(market: Market) -> None:
    origin = "https://app.jiga.test"
    asked = {"origin": origin, "access-control-request-method": "POST"}
    answer = await market.rig.http.options(
        "/graphql", headers={**asked, "access-control-request-headers": "content-type,x-firebase-appcheck"}
    )
    assert "x-firebase-appcheck" in answer.headers["access-control-allow-headers"]


async def test_where_no_app_is_named_nobody_is_asked(rig: Rig) -> None:
    assert rig.app_check is None
    for sent in ((), ("x",), ("x", "y")):
        assert (await _post(rig.guest, *sent)).json()["data"] == {"viewer": None}
