"""The contract of services.IdentityGateway, asked of every adapter, and what is Firebase's alone.

"firebase" is the adapter as production runs it, firebase-admin included, against a stand-in of Google's endpoints that
signs real RS256 tokens. "emulator" is the same adapter against the official Auth emulator: `make test-firebase`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import firebase_admin
import google.auth.credentials
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from domain.errors import BadCredentials, BadInput, EmailTaken, RateLimited, Unauthenticated, Unavailable, WeakPassword
from integrations.identity import FirebaseIdentity
from integrations.local.identity import LocalIdentity
from integrations.services import Identity, IdentityGateway, SignIn

PROJECT, API_KEY, PASSWORD = "demo-jiga", "api-key-canary", "correct-horse-canary"
Sign = Callable[[dict[str, Any], dict[str, Any]], str]


@dataclass
class Clock:
    """Real time, moved by `ahead`."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Toolkit:
    """A stand-in of Google's endpoints. `faults` maps the end of a path to a status with a body, or to None: a hang."""

    key: rsa.RSAPrivateKey
    certificate: str
    url: str = ""
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    faults: dict[str, tuple[int, bytes] | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def token(self, uid: str) -> str:
        now = int(time.time())
        account = self.accounts[uid]
        claims = {"iss": f"https://securetoken.google.com/{PROJECT}", "aud": PROJECT, "sub": uid, "auth_time": now}
        claims |= {"iat": now, "exp": now + 3600, "email": account["email"], "email_verified": False, "role": "admin"}
        return self.sign(claims, {})

    def sign(self, claims: dict[str, Any], headers: dict[str, Any]) -> str:
        return jwt.encode(claims, self.key, "RS256", headers={"kid": "key-1"} | headers)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self.asked.append(path)
        for end, fault in self.faults.items():
            if path.endswith(end):
                if fault is None:
                    self.released.wait(20)
                    return 503, b""
                return fault
        verb = path.rpartition(":")[2] if ":" in path else path
        return self._answer(verb, body)

    def _answer(self, verb: str, body: dict[str, Any]) -> tuple[int, bytes]:
        found = [uid for uid, account in self.accounts.items() if account["email"] == body.get("email")]
        match verb:
            case "/certs":
                return 200, json.dumps({"key-1": self.certificate}).encode()
            case "signUp":
                if found:
                    return refused("EMAIL_EXISTS")
                uid = secrets.token_hex(14)
                self.accounts[uid] = {"localId": uid, "validSince": str(int(time.time()))} | body
                return self._entered(uid)
            case "signInWithPassword":
                if not found or self.accounts[found[0]]["password"] != body["password"]:
                    return refused("INVALID_LOGIN_CREDENTIALS")
                return self._entered(found[0])
            case "/v1/token":
                uid = self.refresh_tokens.get(body["refresh_token"][0], "")
                if uid not in self.accounts:
                    return refused("INVALID_REFRESH_TOKEN")
                told = {"user_id": uid, "id_token": self.token(uid), "refresh_token": body["refresh_token"][0]}
                return 200, json.dumps(told | {"expires_in": "3600"}).encode()
            case "lookup":
                users = [self.accounts[uid] for uid in body["localId"] if uid in self.accounts]
                return 200, json.dumps({"users": users}).encode()
            case "update" if body["localId"] in self.accounts:
                uid = body["localId"]
                self.accounts[uid] |= {"validSince": str(body["validSince"])}
                self.refresh_tokens = {token: owner for token, owner in self.refresh_tokens.items() if owner != uid}
                return 200, json.dumps({"localId": uid}).encode()
            case "delete" if self.accounts.pop(body["localId"], None):
                return 200, b'{"kind": "identitytoolkit#DeleteAccountResponse"}'
        return refused("USER_NOT_FOUND")

    def _entered(self, uid: str) -> tuple[int, bytes]:
        refresh_token = secrets.token_urlsafe(32)
        self.refresh_tokens[refresh_token] = uid
        told = {"localId": uid, "email": self.accounts[uid]["email"], "idToken": self.token(uid)}
        return 200, json.dumps(told | {"refreshToken": refresh_token, "expiresIn": "3600"}).encode()


def refused(code: str, status: int = 400) -> tuple[int, bytes]:
    return status, json.dumps({"error": {"code": status, "message": code}}).encode()


@pytest.fixture(scope="module")
def signing_key() -> tuple[rsa.RSAPrivateKey, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=36_500))
    certificate = builder.sign(key, hashes.SHA256())
    return key, certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def toolkit(signing_key: tuple[rsa.RSAPrivateKey, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Toolkit]:
    """The stand-in, and firebase-admin pointed at it: the SDK's addresses are constants, so they are patched here."""
    toolkit = Toolkit(*signing_key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_form = self.headers.get("Content-Type", "").startswith("application/x-www-form")
            body = parse_qs(data.decode()) if is_form else json.loads(data or b"{}")
            if self.path.startswith("/v1/accounts") or self.path == "/v1/token":
                assert self.headers["X-Goog-Api-Key"] == API_KEY
            status, content = toolkit.answer(self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store" if toolkit.faults else "public, max-age=3600")
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = toolkit.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("firebase_admin._token_gen.ID_TOKEN_CERT_URI", f"{url}/certs")
    monkeypatch.setattr("firebase_admin._user_mgt.UserManager.ID_TOOLKIT_URL", f"{url}/v1")
    yield toolkit
    toolkit.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


class NoCredentials(google.auth.credentials.AnonymousCredentials):
    """What the Admin SDK sends to the stand-in: nothing."""


def firebase_at(url: str, clock: Clock) -> FirebaseIdentity:
    return FirebaseIdentity(
        project_id=PROJECT,
        api_key=API_KEY,
        clock=clock,
        credentials=NoCredentials(),  # type: ignore[no-untyped-call]
        identity_toolkit_url=url,
        secure_token_url=url,
    )


@pytest.fixture
async def firebase(toolkit: Toolkit, clock: Clock) -> AsyncIterator[FirebaseIdentity]:
    gateway = firebase_at(toolkit.url, clock)
    yield gateway
    toolkit.released.set()
    await gateway.close()


@dataclass
class Subject:
    kind: str
    gateway: IdentityGateway
    sign: Sign

    async def newcomer(self, email: str = "") -> SignIn:
        return await self.gateway.sign_up(email or f"{secrets.token_hex(6)}@jiga.test", PASSWORD)


@pytest.fixture(params=["local", "firebase", "emulator"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Subject]:
    gateway: IdentityGateway
    if request.param == "local":
        path = tmp_path / "identity.sqlite"
        gateway = LocalIdentity(path, clock=clock)

        def sign(claims: dict[str, Any], headers: dict[str, Any]) -> str:
            with closing(sqlite3.connect(path)) as database:
                kid, secret = database.execute("SELECT kid, secret FROM keys").fetchone()
            return jwt.encode(claims, secret, "HS256", headers={"kid": kid} | headers)

        yield Subject("local", gateway, sign)
        await gateway.close()
    elif request.param == "firebase":
        toolkit: Toolkit = request.getfixturevalue("toolkit")
        gateway = firebase_at(toolkit.url, clock)
        yield Subject("firebase", gateway, toolkit.sign)
        await gateway.close()
    else:
        host = os.environ.get("FIREBASE_AUTH_EMULATOR_HOST")
        if os.environ.get("JIGA_AUTH_EMULATOR") != "1" or not host:
            pytest.skip("the official Auth emulator is not running: make test-firebase starts it (Node 20, minutes)")
        gateway = FirebaseIdentity(project_id=PROJECT, api_key=API_KEY, clock=clock, emulator_host=host)
        yield Subject("emulator", gateway, lambda claims, _: jwt.encode(claims, "", "none"))
        await gateway.close()


async def fails(error: type[Exception], awaitable: Any) -> Any:
    with pytest.raises(error) as raised:
        await awaitable
    return raised.value


async def test_an_account_signs_up_signs_in_and_refreshes(subject: Subject, clock: Clock) -> None:
    up = await subject.gateway.sign_up(" Ada@JIGA.test ", PASSWORD) if subject.kind != "emulator" else None
    up = up or await subject.newcomer()
    into = await subject.gateway.sign_in(up.email.upper(), PASSWORD)
    again = await subject.gateway.refresh(into.refresh_token)
    assert up.email == "ada@jiga.test" or subject.kind == "emulator"
    for sign_in in (up, into, again):
        assert (sign_in.uid, sign_in.email, sign_in.expires_in_seconds) == (up.uid, up.email, 3600)
        for check_revoked in (False, True):
            identity = await subject.gateway.verify(sign_in.id_token, check_revoked=check_revoked)
            issued_at = identity.issued_at
            assert abs(clock() - issued_at) < timedelta(minutes=2)
            # T-A10: an identity has no role, whatever the token claims.
            is_local = subject.kind == "local"
            told = identity.sign_in_id, identity.signed_in_at
            assert identity == Identity(up.uid, up.email, is_local, issued_at, issued_at + timedelta(hours=1), *told)


async def test_an_email_has_one_account_however_it_is_written(subject: Subject) -> None:
    up = await subject.newcomer()
    for spelling in (up.email, up.email.upper(), f"\t{up.email} ", up.email.replace("jiga", "ｊ𝐈𝐆ａ")):
        await fails(EmailTaken, subject.gateway.sign_up(spelling, "another-password"))
    await fails(BadCredentials, subject.gateway.sign_in(up.email, "another-password"))
    assert (await subject.gateway.sign_in(up.email, PASSWORD)).uid == up.uid


async def test_an_unknown_email_and_a_wrong_password_look_the_same(subject: Subject) -> None:
    up = await subject.newcomer()
    wrong = await fails(BadCredentials, subject.gateway.sign_in(up.email, "wrong-password"))
    unknown = await fails(BadCredentials, subject.gateway.sign_in("nobody@jiga.test", PASSWORD))
    assert wrong.message == unknown.message == "The e-mail or the password is wrong: check both and try again."
    await fails(BadCredentials, subject.gateway.sign_in(up.email, "x"))


@pytest.mark.parametrize(
    "email",
    [
        "", " ", "@", "a@", "@b.c", "a@b", "a@b..c", "a@@b.c", "a b@c.de", "a\0@b.cd", "a@b.c\ud800", "a\u200b@b.cd",
        "a@b.c\nBcc: x", "<a@b.cd>", "a" * 65 + "@b.cd", "a@" + "b" * 250 + ".cd", "x" * 10**5,
        "\ufdfa" * 4000 + "@b.cd",
    ],
)  # fmt: skip
async def test_what_is_no_email_is_bad_input(subject: Subject, email: str) -> None:
    for call in (subject.gateway.sign_up, subject.gateway.sign_in):
        refusal = await fails(BadInput, call(email, PASSWORD))
        assert refusal.field == "input.email"
        assert len(refusal.message) < 200


async def test_weak_passwords_are_refused_with_what_to_do(subject: Subject) -> None:
    email = f"{secrets.token_hex(6)}@jiga.test"
    for weak in ("", "seven77", "x" * 257, "Password123", email, email.upper(), email.split("@", maxsplit=1)[0]):
        assert "hoose" in (await fails(WeakPassword, subject.gateway.sign_up(email, weak))).message
    for broken in ("\ud800-surrogate", "a-zero-\0-byte", "x" * 10**5):
        assert (await fails(BadInput, subject.gateway.sign_up(email, broken))).field == "input.password"
        assert (await fails(BadInput, subject.gateway.sign_in(email, broken))).field == "input.password"
    uid = (await subject.gateway.sign_up(email, "пароль-密碼-🎮")).uid
    assert (await subject.gateway.sign_in(email, "пароль-密碼-🎮")).uid == uid


async def test_ta01_what_is_no_token_is_refused(subject: Subject) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=")
    for text in ("", "Bearer", "a.b.c", "..", "é", "\ud800", "\0", "x" * 10**5, f"{deep}.{deep}.x", "e30.e30.e30"):
        await fails(Unauthenticated, subject.gateway.verify(text, check_revoked=False))
        await fails(BadCredentials, subject.gateway.refresh(text))


async def test_ta02_forged_tokens_are_refused(subject: Subject, toolkit: Toolkit) -> None:
    if subject.kind == "emulator":
        pytest.skip("the emulator signs nothing, so anyone may forge its tokens")
    token = (await subject.newcomer()).id_token
    claims = jwt.decode(token, options={"verify_signature": False})
    header, payload, signature = token.split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "admin"}).encode()).decode().rstrip("=")
    public_key = toolkit.certificate.encode()
    forged = [
        jwt.encode(claims, "", "none"),
        jwt.encode(claims, "", "none", headers={"kid": jwt.get_unverified_header(token)["kid"]}),
        f"{header}.{payload}.",
        f"{header}.{other}.{signature}",
        jwt.encode(claims, "k" * 32, "HS256", headers={"kid": jwt.get_unverified_header(token)["kid"]}),
        hs256_with(public_key, claims, "key-1"),
        subject.sign(claims, {"kid": "unknown"}),
        subject.sign({key: value for key, value in claims.items() if key != "sub"}, {}),
    ]
    for text in forged:
        for check_revoked in (False, True):
            await fails(Unauthenticated, subject.gateway.verify(text, check_revoked=check_revoked))
    assert (await subject.gateway.verify(subject.sign(claims, {}), check_revoked=False)).uid == claims["sub"]


def hs256_with(key: bytes, claims: dict[str, Any], kid: str) -> str:
    """PyJWT refuses to make a token whose secret is a public key, so it is made by hand."""
    import hmac

    parts = [json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}), json.dumps(claims)]
    text = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    digest = hmac.digest(key, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


async def test_ta03_tokens_of_another_project_are_refused(subject: Subject) -> None:
    claims = jwt.decode((await subject.newcomer()).id_token, options={"verify_signature": False})
    for wrong in ({"aud": "other"}, {"aud": ""}, {"iss": "https://securetoken.google.com/other"}, {"iss": ""}):
        await fails(Unauthenticated, subject.gateway.verify(subject.sign(claims | wrong, {}), check_revoked=False))


async def test_ta04_expiry_is_exact_and_a_clock_may_be_ten_seconds_off(subject: Subject) -> None:
    claims = jwt.decode((await subject.newcomer()).id_token, options={"verify_signature": False})
    now = int(time.time())
    for wrong in ({"exp": now - 1}, {"exp": now}, {"iat": now + 61}, {"iat": "soon"}, {"exp": None}):
        token = subject.sign(claims | wrong, {})
        await fails(Unauthenticated, subject.gateway.verify(token, check_revoked=False))
    early = subject.sign(claims | {"iat": now + 5}, {})
    assert (await subject.gateway.verify(early, check_revoked=False)).uid == claims["sub"]


async def test_ta04_a_remembered_token_still_expires(subject: Subject, clock: Clock) -> None:
    claims = jwt.decode((await subject.newcomer()).id_token, options={"verify_signature": False})
    token = subject.sign(claims | {"exp": int(time.time()) + 30}, {})
    await subject.gateway.verify(token, check_revoked=False)
    clock.ahead = timedelta(seconds=31)
    await fails(Unauthenticated, subject.gateway.verify(token, check_revoked=False))


async def test_ta05_revocation_ends_every_sign_in_at_once(subject: Subject) -> None:
    up, bystander = await subject.newcomer(), await subject.newcomer()
    into = await subject.gateway.sign_in(up.email, PASSWORD)
    await subject.gateway.verify(up.id_token, check_revoked=False)  # known, and forgotten by the revocation
    await subject.gateway.revoke(up.uid)
    for sign_in in (up, into):
        await fails(Unauthenticated, subject.gateway.verify(sign_in.id_token, check_revoked=True))
        await fails(Unauthenticated, subject.gateway.verify(sign_in.id_token, check_revoked=False))
        if subject.kind != "emulator":  # which lets a revoked refresh token live
            await fails(BadCredentials, subject.gateway.refresh(sign_in.refresh_token))
    back = await subject.gateway.sign_in(up.email, PASSWORD)
    assert (await subject.gateway.verify(back.id_token, check_revoked=True)).uid == up.uid
    assert (await subject.gateway.verify(bystander.id_token, check_revoked=True)).uid == bystander.uid
    await subject.gateway.revoke("0" * 28)  # nobody's: nothing to end


async def test_ta05_a_deleted_account_is_gone_and_its_email_free(subject: Subject) -> None:
    up = await subject.newcomer()
    await subject.gateway.verify(up.id_token, check_revoked=False)
    await subject.gateway.delete(up.uid)
    await subject.gateway.delete(up.uid)
    await fails(Unauthenticated, subject.gateway.verify(up.id_token, check_revoked=False))
    await fails(BadCredentials, subject.gateway.sign_in(up.email, PASSWORD))
    await fails(BadCredentials, subject.gateway.refresh(up.refresh_token))
    assert (await subject.newcomer(up.email)).uid != up.uid


async def test_a_closed_gateway_is_unavailable(subject: Subject) -> None:
    up = await subject.newcomer()
    await subject.gateway.close()
    await subject.gateway.close()
    await fails(Unavailable, subject.gateway.sign_in(up.email, PASSWORD))
    await fails(Unavailable, subject.gateway.verify(up.id_token, check_revoked=True))
    await fails(Unavailable, subject.gateway.refresh(up.refresh_token))


async def test_ta05_firebase_is_asked_once_in_50_seconds(
    firebase: FirebaseIdentity, toolkit: Toolkit, clock: Clock
) -> None:
    up = await firebase.sign_up("max@jiga.test", PASSWORD)
    other = toolkit.sign(jwt.decode(up.id_token, options={"verify_signature": False}) | {"another": 1}, {})
    for _ in range(5):
        assert (await firebase.verify(up.id_token, check_revoked=False)).uid == up.uid
    assert [path.rpartition(":")[2] for path in toolkit.asked if "lookup" in path] == ["lookup"]
    toolkit.accounts[up.uid]["disabled"] = True
    assert (await firebase.verify(up.id_token, check_revoked=False)).uid == up.uid
    clock.ahead = timedelta(seconds=51)
    await fails(Unauthenticated, firebase.verify(up.id_token, check_revoked=False))
    clock.ahead = timedelta()
    toolkit.accounts[up.uid]["disabled"] = False
    await firebase.verify(other, check_revoked=False)
    toolkit.accounts[up.uid]["disabled"] = True
    await fails(Unauthenticated, firebase.verify(other, check_revoked=True))
    await fails(Unauthenticated, firebase.verify(other, check_revoked=False))


@pytest.mark.parametrize("fault", [(503, b""), (200, b"<html>"), (404, b""), None])
async def test_ta06_without_googles_keys_nobody_is_let_in(
    firebase: FirebaseIdentity, toolkit: Toolkit, fault: tuple[int, bytes] | None
) -> None:
    up = await firebase.sign_up("max@jiga.test", PASSWORD)
    toolkit.faults["/certs"] = fault
    async with asyncio.timeout(8):  # a hang would last 20 s
        await fails(Unavailable, firebase.verify(up.id_token, check_revoked=False))
    if fault is not None:
        toolkit.faults.clear()
        assert (await firebase.verify(up.id_token, check_revoked=False)).uid == up.uid
        toolkit.faults["/certs"] = fault
        assert (await firebase.verify(up.id_token, check_revoked=True)).uid == up.uid  # by the keys it has


@pytest.mark.parametrize("fault", [(503, b"busy"), (200, b"<html>"), (200, b"\xff"), None])
async def test_a_broken_firebase_is_unavailable(
    firebase: FirebaseIdentity, toolkit: Toolkit, fault: tuple[int, bytes] | None
) -> None:
    up = await firebase.sign_up("max@jiga.test", PASSWORD)
    toolkit.faults = {"signUp": fault, "signInWithPassword": fault, "/v1/token": fault, "update": fault}
    calls = [
        firebase.sign_up("ada@jiga.test", PASSWORD),
        firebase.sign_in("max@jiga.test", PASSWORD),
        firebase.refresh(up.refresh_token),
        firebase.revoke(up.uid),
    ]
    async with asyncio.timeout(10):  # a hang would last 20 s
        await asyncio.gather(*(fails(Unavailable, call) for call in calls))


async def test_a_firebase_that_is_not_there_is_unavailable(toolkit: Toolkit, clock: Clock) -> None:
    gateway = firebase_at("http://127.0.0.1:1", clock)
    await fails(Unavailable, gateway.sign_in("max@jiga.test", PASSWORD))
    await gateway.close()


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("EMAIL_EXISTS", 400, EmailTaken),
        ("WEAK_PASSWORD : Password should be at least 6 characters", 400, WeakPassword),
        ("PASSWORD_DOES_NOT_MEET_REQUIREMENTS : Missing [Upper]", 400, WeakPassword),
        ("INVALID_LOGIN_CREDENTIALS", 400, BadCredentials),
        ("EMAIL_NOT_FOUND", 400, BadCredentials),
        ("INVALID_PASSWORD", 400, BadCredentials),
        ("USER_DISABLED", 400, BadCredentials),
        ("TOO_MANY_ATTEMPTS_TRY_LATER : Access is disabled", 400, RateLimited),
        ("RESOURCE_EXHAUSTED", 429, RateLimited),
        ("INVALID_EMAIL", 400, BadInput),
        ("TOKEN_EXPIRED", 400, BadCredentials),
        ("API key not valid. Please pass a valid API key.", 400, Unavailable),
        ("OPERATION_NOT_ALLOWED", 400, Unavailable),
    ],
)
async def test_what_firebase_refuses_has_our_name(
    firebase: FirebaseIdentity, toolkit: Toolkit, code: str, status: int, error: type[Exception]
) -> None:
    toolkit.faults = {"signUp": refused(code, status), "/v1/token": refused(code, status)}
    told = await fails(error, firebase.sign_up("max@jiga.test", PASSWORD))
    assert type(await fails(error, firebase.refresh("some-token"))) is type(told) is error
    assert getattr(told, "retry_after_seconds", 60) == 60


async def test_ta08_no_secret_reaches_a_log_or_an_error(
    firebase: FirebaseIdentity, toolkit: Toolkit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    up = await firebase.sign_up("max@jiga.test", PASSWORD)
    told = [await fails(BadCredentials, firebase.sign_in("ada@jiga.test", PASSWORD))]
    told.append(await fails(Unauthenticated, firebase.verify(f"{up.id_token}x.y", check_revoked=True)))
    await firebase.refresh(up.refresh_token)
    toolkit.faults = {"lookup": (400, b"{}"), "/v1/token": (500, b"")}
    told.append(await fails(Unavailable, firebase.verify(up.id_token, check_revoked=True)))
    told.append(await fails(Unavailable, firebase.refresh(up.refresh_token)))
    texts = caplog.text + "".join(f"{error!r} {error.__cause__!r}" for error in told)
    assert "/v1/accounts:signUp" in texts
    for secret in (PASSWORD, API_KEY, up.id_token[-40:], up.refresh_token):
        assert secret not in texts


async def test_ta03_the_emulators_variable_closes_the_door(
    firebase: FirebaseIdentity, toolkit: Toolkit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = await firebase.sign_up("max@jiga.test", PASSWORD)
    await firebase.verify(up.id_token, check_revoked=True)  # the SDK is set up, as it is in a running store
    unsigned = jwt.encode(jwt.decode(up.id_token, options={"verify_signature": False}), "", "none")
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    await fails(Unavailable, firebase.verify(unsigned, check_revoked=False))
    with pytest.raises(ValueError, match="FIREBASE_AUTH_EMULATOR_HOST"):
        firebase_at("http://127.0.0.1:1", clock)


async def test_an_app_of_its_own(firebase: FirebaseIdentity, toolkit: Toolkit, clock: Clock) -> None:
    second = firebase_at("http://127.0.0.1:1", clock)
    with pytest.raises(ValueError, match="default"):
        firebase_admin.get_app()  # type: ignore[no-untyped-call]
    await second.close()
    assert (await firebase.sign_up("max@jiga.test", PASSWORD)).email == "max@jiga.test"


# ---- the list of sign-ins


async def test_ta05_a_sign_in_that_is_ended_is_dead(subject: Subject) -> None:
    """Where the provider tells one sign-in from another, the others live on; where not, it says so, and all end."""
    first = await subject.newcomer()
    second = await subject.gateway.sign_in(first.email, PASSWORD, device="A phone")
    listed = await subject.gateway.sign_ins(first.uid)
    assert [each.covers_all for each in listed] == ([False, False] if subject.kind == "local" else [True])
    mine = await subject.gateway.verify(second.id_token, check_revoked=True)
    assert mine.sign_in_id in {each.id for each in listed}
    assert await subject.gateway.revoke_sign_in(first.uid, "another") is False
    stranger = await subject.newcomer()
    if subject.kind == "local":
        assert await subject.gateway.revoke_sign_in(stranger.uid, mine.sign_in_id) is False
    await subject.gateway.verify(second.id_token, check_revoked=True)
    assert await subject.gateway.revoke_sign_in(first.uid, str(mine.sign_in_id)) is True
    await fails(Unauthenticated, subject.gateway.verify(second.id_token, check_revoked=True))
    await fails(BadCredentials, subject.gateway.refresh(second.refresh_token))
    if subject.kind == "local":
        await subject.gateway.verify(first.id_token, check_revoked=True)
        assert [each.device for each in await subject.gateway.sign_ins(first.uid)] == [None]
    else:
        await fails(Unauthenticated, subject.gateway.verify(first.id_token, check_revoked=True))
    await subject.gateway.verify(stranger.id_token, check_revoked=True)
    await subject.gateway.delete(first.uid)
    assert await subject.gateway.sign_ins(first.uid) == ()


async def test_a_password_is_checked_without_a_sign_in(subject: Subject) -> None:
    up = await subject.newcomer()
    before = await subject.gateway.sign_ins(up.uid)
    await subject.gateway.check_password(up.email.upper(), PASSWORD)
    await fails(BadCredentials, subject.gateway.check_password(up.email, PASSWORD + "x"))
    await fails(BadCredentials, subject.gateway.check_password("nobody@jiga.test", PASSWORD))
    if subject.kind == "local":
        assert await subject.gateway.sign_ins(up.uid) == before
