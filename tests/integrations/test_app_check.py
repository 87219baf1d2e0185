"""Which App Check tokens are believed (row T-A11), and what happens while Firebase's keys cannot be had (row T-A06)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes, hmac, serialization

from domain.errors import Unavailable
from integrations.app_check import FirebaseAppCheck
from settings import Settings, SettingsError, require_startable
from tests.integrations.app_check_stand_in import (
    ANDROID,
    HOUR_SECONDS,
    NUMBER,
    OTHER,
    WEB,
    StandIn,
    claims,
    key,
    standing_in,
    token,
)
from tests.make import NOW


@dataclass
class Subject:
    """The gateway at a time that a test sets: `now` for tokens, `seconds` for the age of keys."""

    firebase: StandIn
    now: datetime = NOW
    seconds: float = 1_000.0
    gateway: FirebaseAppCheck = field(init=False)

    def __post_init__(self) -> None:
        self.gateway = FirebaseAppCheck(
            project_number=NUMBER,
            apps=(ANDROID, WEB),
            clock=lambda: self.now,
            keys_url=self.firebase.url,
            seconds=lambda: self.seconds,
        )

    async def takes(self, text: str) -> bool:
        return await self.gateway.verify(text)


@pytest_asyncio.fixture
async def subject() -> AsyncIterator[Subject]:
    async with standing_in() as firebase:
        made = Subject(firebase)
        yield made
        await made.gateway.close()


# ---- tokens


async def test_t_a11_a_token_of_an_app_of_ours_is_taken(subject: Subject) -> None:
    assert await subject.takes(token())
    assert await subject.takes(token(sub=WEB, aud=[f"projects/{NUMBER}"]))
    assert subject.firebase.fetches == 1


WRONG: dict[str, dict[str, Any]] = {
    "another project's issuer": {"iss": "https://firebaseappcheck.googleapis.com/999999999999"},
    "an issuer that begins like ours": {"iss": f"https://firebaseappcheck.googleapis.com/{NUMBER}/x"},
    "an ID token's issuer": {"iss": "https://securetoken.google.com/jiga"},
    "no issuer": {"iss": ...},
    "another project's audience": {"aud": ["projects/999999999999", "projects/other"]},
    "an audience within another": {"aud": [f"projects/{NUMBER}0"]},
    "an audience as a text": {"aud": f"projects/{NUMBER}"},
    "no audience": {"aud": []},
    "audience left out": {"aud": ...},
    "another app": {"sub": OTHER},
    "no app": {"sub": ...},
    "an empty app": {"sub": ""},
    "apps in a list": {"sub": [ANDROID]},
    "an expiry as a text": {"exp": str(int(NOW.timestamp()) + HOUR_SECONDS)},
    "no expiry": {"exp": ...},
    "no time of issue": {"iat": ...},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
async def test_t_a11_a_token_for_something_else_is_refused(subject: Subject, changes: dict[str, Any]) -> None:
    body = json.dumps(claims(**changes)).encode()  # by the lower layer: `jwt.encode` refuses some of these
    made = jwt.PyJWS().encode(body, key("k1"), "RS256", headers={"kid": "k1"})
    assert await subject.takes(made) is False
    assert await subject.takes(token())


async def test_t_a11_a_token_has_its_hour(subject: Subject) -> None:
    made = token()
    for late, taken in ((-61, False), (-11, False), (-10, True), (0, True), (HOUR_SECONDS - 1, True)):
        subject.now = NOW + timedelta(seconds=late)
        assert await subject.takes(made) is taken, late
    for late in (HOUR_SECONDS, HOUR_SECONDS + 1):
        subject.now = NOW + timedelta(seconds=late)
        assert await subject.takes(made) is False, late


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _signed_with_the_public_key(algorithm_header: dict[str, Any]) -> str:
    """HS256 with what everybody knows as its secret; pyjwt itself refuses to make such a token."""
    public = key("k1").public_key()
    secret = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = f"{_part(algorithm_header)}.{_part(claims())}"
    mac = hmac.HMAC(secret, hashes.SHA256())
    mac.update(text.encode())
    return f"{text}.{base64.urlsafe_b64encode(mac.finalize()).decode().rstrip('=')}"


def _forged() -> dict[str, str]:
    head, body, signature = token().split(".")
    none = {"alg": "none", "typ": "JWT", "kid": "k1"}
    return {
        "alg none": f"{_part(none)}.{body}.",
        "alg none, with the signature": f"{_part(none)}.{body}.{signature}",
        "HS256 with the public key": _signed_with_the_public_key({"alg": "HS256", "typ": "JWT", "kid": "k1"}),
        "RS256 in the head of an HMAC": _signed_with_the_public_key({"alg": "RS256", "typ": "JWT", "kid": "k1"}),
        "RS512": jwt.encode(claims(), key("k1"), "RS512", headers={"kid": "k1"}),
        "PS256": jwt.encode(claims(), key("k1"), "PS256", headers={"kid": "k1"}),
        "another type": jwt.encode(claims(), key("k1"), "RS256", headers={"kid": "k1", "typ": "at+jwt"}),
        "no kid": jwt.encode(claims(), key("k1"), "RS256"),
        "another key under our kid": jwt.encode(claims(), key("k2"), "RS256", headers={"kid": "k1"}),
        "a key that Firebase does not have": token("k2"),
        "a key of its own in the head": jwt.encode(
            claims(), key("k2"), "RS256", headers={"kid": "k2", "jku": "http://127.0.0.1:9/jwks"}
        ),
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "another body": f"{head}.{_part(claims(sub=WEB))}.{signature}",
        "no claims": jwt.PyJWS().encode(b"[1]", key("k1"), "RS256", headers={"kid": "k1"}),
        "no JSON": jwt.PyJWS().encode(b"\xff", key("k1"), "RS256", headers={"kid": "k1"}),
    }


async def test_t_a11_a_forged_token_is_refused(subject: Subject) -> None:
    """T-A02 for apps: RS256 with a key of Firebase's, and nothing else."""
    for name, made in _forged().items():
        assert await subject.takes(made) is False, name
    assert await subject.takes(token())


async def test_t_a11_what_is_no_token_is_refused_without_a_key(subject: Subject) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 3_000).decode().rstrip("=")
    for text in (
        "",
        "x",
        "..",
        "a.b.c",
        "é",
        "\ud800",
        "\0",
        "x" * 10**5,
        f"{deep}.{deep}.x",
        "e30.e30.e30",
        token()[:40],
    ):
        assert await subject.takes(text) is False
    assert subject.firebase.fetches == 0


# ---- keys


async def test_keys_are_kept_for_six_hours_and_fetched_for_a_new_one(subject: Subject) -> None:
    assert await subject.takes(token())
    subject.seconds += 6 * 3_600 - 1
    assert await subject.takes(token())
    assert subject.firebase.fetches == 1
    subject.firebase.names = ["k1", "k2"]
    assert await subject.takes(token("k2"))
    assert subject.firebase.fetches == 2
    subject.firebase.names = ["k2"]
    subject.seconds += 6 * 3_600
    assert await subject.takes(token()) is False  # withdrawn
    assert await subject.takes(token("k2"))
    assert subject.firebase.fetches == 3


async def test_a_flood_of_made_up_keys_costs_one_fetch_a_minute(subject: Subject) -> None:
    assert await subject.takes(token())
    for second in range(59):
        subject.seconds += 1
        made = jwt.encode(claims(), key("k2"), "RS256", headers={"kid": f"made-up-{second}"})
        assert await subject.takes(made) is False
    assert subject.firebase.fetches == 1
    subject.seconds += 1
    assert await subject.takes(token("k2")) is False
    assert subject.firebase.fetches == 2
    assert await subject.takes(token())


FAULTS = [(500, ""), (404, "{}"), (200, "no JSON"), (200, "[]"), (200, '{"keys": []}'), (302, "")]


@pytest.mark.parametrize("fault", FAULTS)
async def test_t_a06_without_keys_no_app_comes_in(subject: Subject, fault: tuple[int, str]) -> None:
    subject.firebase.fault = fault
    with pytest.raises(Unavailable):
        await subject.takes(token())
    subject.firebase.fault = None
    assert await subject.takes(token())  # as soon as there are any


@pytest.mark.parametrize("hangs", [False, True])
async def test_t_a06_the_keys_of_the_last_day_serve_while_no_others_come(subject: Subject, hangs: bool) -> None:
    assert await subject.takes(token())
    subject.firebase.fault, subject.firebase.hangs = (503, ""), hangs
    subject.seconds += 24 * 3_600 - 1
    assert await subject.takes(token())
    assert await subject.takes(token(sub=OTHER)) is False
    assert subject.firebase.fetches == 2
    subject.seconds += 1
    with pytest.raises(Unavailable):
        await subject.takes(token())


async def test_t_a06_keys_that_hang_end_in_unavailable(subject: Subject) -> None:
    subject.firebase.hangs = True
    async with asyncio.timeout(20):  # the deadline is 2 s; far above it only a hang is left
        answers = await asyncio.gather(*(subject.takes(token()) for _ in range(4)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 4
    assert all("eyJ" not in str(answer) for answer in answers)


async def test_who_brings_a_known_key_does_not_wait_for_another_s_fetch(subject: Subject) -> None:
    assert await subject.takes(token())
    subject.seconds += 24 * 3_600 - 1
    async with subject.gateway._keys._fetching:  # as long as a fetch hangs
        assert await subject.takes(token())
        with pytest.raises(Unavailable):  # whoever brings another waits, and not for ever
            await subject.takes(token("k2"))
    assert subject.firebase.fetches == 1


async def test_a_closed_gateway_is_unavailable(subject: Subject) -> None:
    await subject.gateway.close()
    with pytest.raises(Unavailable):
        await subject.takes(token())
    await subject.gateway.close()


# ---- settings


def test_half_of_the_settings_would_let_everybody_in() -> None:
    for half in (Settings(app_check_apps=(ANDROID,)), Settings(project_number=NUMBER)):
        with pytest.raises(SettingsError, match="set JIGA_APP_CHECK_APPS and JIGA_PROJECT_NUMBER, or neither"):
            require_startable(half)
    require_startable(Settings(app_check_apps=(ANDROID,), project_number=NUMBER))
    for wrong in ({"app_check_apps": ("",)}, {"project_number": "jiga-store"}):
        with pytest.raises(ValueError, match=r"app_check_apps|project_number"):
            Settings(**wrong)
