"""What every request passes: whose it is, its id, its line, its headers, and the refuge of a process that is short."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from functions import logs, vitals
from functions.entrance import Entrance, caller_of
from functions.headers import SecurityHeaders
from functions.vitals import Refuge, Vitals
from settings import Settings
from tests.emulators import ROOT

WEB = "https://app.jiga.test"
SECRET = "hunter2-sk_live_4111111111111111"


async def echo(request: Request) -> Response:
    assert request.client is not None
    structlog.contextvars.bind_contextvars(cost=7)
    return JSONResponse({"address": request.client.host, "id": request.headers["x-request-id"]})


async def page(request: Request) -> Response:
    return HTMLResponse("<p>hello", headers={"Content-Security-Policy": "default-src 'self'"})


async def broken(request: Request) -> Response:
    raise RuntimeError(SECRET)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as in production."""
    told = io.StringIO()
    logs.configure(json=True, stream=told)
    yield told
    structlog.reset_defaults()


@asynccontextmanager
async def client(tmp_path: Path, *, proxies: int = 0, secure: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    layers = [
        Middleware(SecurityHeaders, secure=secure),
        Middleware(Entrance, trusted_proxies=proxies),
        Middleware(CORSMiddleware, allow_origins=[WEB], allow_methods=["POST"], allow_headers=["authorization"]),
        Middleware(Refuge, vitals=Vitals(tmp_path)),
    ]
    ways = {"/graphql": echo, "/page": page, "/broken": broken, "/things/{id}": echo, "/healthz": echo}
    app = Starlette(routes=[Route(way, door, methods=["GET", "POST"]) for way, door in ways.items()], middleware=layers)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 5_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.jiga.test") as http:
        yield http


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "address"),
    [
        ("192.0.2.1", None, 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", 1, "198.51.100.7"),
        ("192.0.2.1", "6.6.6.6, 198.51.100.7", 1, "198.51.100.7"),
        ("192.0.2.1", "6.6.6.6, 198.51.100.7, 203.0.113.9", 2, "198.51.100.7"),
        ("192.0.2.1", "198.51.100.7", 2, "192.0.2.1"),
        ("192.0.2.1", "", 1, "192.0.2.1"),
        ("192.0.2.1", "nonsense", 1, "192.0.2.1"),
        ("192.0.2.1", "<script>", 1, "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", None, 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", None, 0, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", None, 0, "192.0.2.1"),
        ("", None, 0, ""),
    ],
)
def test_t_p12_the_address_is_the_peers_or_what_our_own_proxies_say(
    peer: str, forwarded: str | None, proxies: int, address: str
) -> None:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    assert caller_of((peer, 1) if peer else None, headers, proxies) == address


def test_several_forwarded_headers_are_one_list() -> None:
    headers = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"198.51.100.7, 203.0.113.9")]
    assert caller_of(("192.0.2.1", 1), headers, 2) == "198.51.100.7"


async def test_a_request_id_is_the_clients_where_it_is_well_formed_and_comes_back(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        given = await http.post("/graphql", headers={"x-request-id": "trace-7.of_max"})
        assert given.headers["x-request-id"] == given.json()["id"] == "trace-7.of_max"
        for bad in ("short", "x" * 65, "new\tline", "a@b.example", ""):
            made = await http.post("/graphql", headers={"x-request-id": bad})
            assert made.headers["x-request-id"] == made.json()["id"] != bad
            assert len(made.headers["x-request-id"]) == 16
        assert (await http.get("/nowhere")).headers["x-request-id"]


async def test_each_request_is_one_line_without_what_it_brought(tmp_path: Path, lines: io.StringIO) -> None:
    headers = {"authorization": f"Bearer {SECRET}", "cookie": SECRET, "x-request-id": "request-1"}
    async with client(tmp_path) as http:
        await http.post(f"/graphql?key={SECRET}", content=SECRET, headers=headers)
        await http.get(f"/things/{SECRET}", headers=headers)
        await http.get(f"/{SECRET}", headers=headers)
        await http.get("/broken", headers=headers)
        await http.get("/healthz", headers=headers)
    every = [json.loads(line) for line in lines.getvalue().splitlines()]
    told, faults = ([line for line in every if line["event"] == name] for name in ("request", "fault"))
    assert SECRET not in lines.getvalue()
    assert [(line["event"], line["way"], line["status"]) for line in told] == [
        ("request", "/graphql", 200),
        ("request", "/things/{id}", 200),
        ("request", "unknown", 404),
        ("request", "/broken", 500),
    ]
    assert (faults[0]["fault"], faults[0]["raised_at"].partition(":")[0]) == ("RuntimeError", "test_entrance.py")
    assert {line["request_id"] for line in (*told, *faults)} == {"request-1"}
    assert [line.get("cost") for line in told] == [7, 7, None, None]
    assert all(line["milliseconds"] >= 0 and line["level"] == "info" for line in told)


def test_t_p01_a_line_has_an_exceptions_type_and_place_and_never_its_text(lines: io.StringIO) -> None:
    import logging

    try:
        raise KeyError(SECRET)
    except KeyError:
        structlog.get_logger("functions").exception("round failed", round="sweep")
        logging.getLogger("graph.websocket").warning("not checked", exc_info=True)
        logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: {SECRET}", exc_info=True)
    logging.getLogger("graph.execution").info("operation refused: %s", "too deep")
    logging.getLogger("httpx").info("HTTP Request: POST https://x.test/?key=%s", SECRET)
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert SECRET not in lines.getvalue()
    assert [(line["event"], line.get("fault")) for line in told] == [
        ("round failed", "KeyError"),
        ("not checked", "KeyError"),
        ("Task exception was never retrieved", "KeyError"),
        ("operation refused: too deep", None),
    ]
    assert all(line["raised_at"].startswith("test_entrance.py:") for line in told[:3])


async def test_every_answer_carries_the_security_headers(tmp_path: Path) -> None:
    async with client(tmp_path, secure=True) as http:
        answers = [await http.request(*way) for way in (("POST", "/graphql"), ("GET", "/nowhere"), ("GET", "/broken"))]
        shown = await http.get("/page")
    assert [answer.status_code for answer in answers] == [200, 404, 500]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    assert answers[0].headers["cache-control"] == "no-store"
    assert shown.headers["content-security-policy"] == "default-src 'self'"
    async with client(tmp_path) as http:
        assert "strict-transport-security" not in (await http.get("/page")).headers


async def test_t_g07_a_preflight_is_answered_for_an_allowed_origin_and_no_other(tmp_path: Path) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with client(tmp_path) as http:
        welcome = await http.options("/graphql", headers={"origin": WEB, **asked})
        assert welcome.status_code == 200
        assert welcome.headers["access-control-allow-origin"] == WEB
        assert "POST" in welcome.headers["access-control-allow-methods"]
        assert "access-control-allow-credentials" not in welcome.headers
        for origin in ("https://evil.test", "null", "https://app.jiga.test.evil.test", "http://app.jiga.test"):
            refused = await http.options("/graphql", headers={"origin": origin, **asked})
            assert refused.status_code == 400
            assert "access-control-allow-origin" not in refused.headers
        assert (await http.post("/graphql", headers={"origin": WEB})).headers["access-control-allow-origin"] == WEB


@pytest.mark.parametrize("origin", ["*", "app.jiga.test", "https://app.jiga.test/", "https://*.jiga.test", "null", ""])
def test_t_g07_an_allowed_origin_is_an_exact_one(origin: str) -> None:
    with pytest.raises(ValidationError, match="no origin"):
        Settings(allowed_origins=(WEB, origin))
    assert Settings(allowed_origins=(WEB, "http://localhost:3000")).allowed_origins[1] == "http://localhost:3000"


# ---- T-F11


class _Full:
    f_bavail, f_frsize = 10, 4_096


async def test_t_f11_with_a_full_disk_new_work_is_refused_and_health_still_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(tmp_path) as http:
        assert (await http.post("/graphql")).status_code == 200
    with monkeypatch.context() as changed:
        changed.setattr(os, "statvfs", lambda _: _Full)
        assert Vitals(tmp_path).short_of() == ("disk",)
        assert Vitals(None).short_of() == ()
        async with client(tmp_path) as http:
            refused = await http.post("/graphql")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert refused.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert (await http.get("/healthz")).status_code == 200
    async with client(tmp_path) as http:
        assert (await http.post("/graphql")).status_code == 200


DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
from functions.vitals import Vitals

limits = resource.getrlimit(resource.RLIMIT_NOFILE)
free = os.dup(2)
os.close(free)
assert Vitals(Path(sys.argv[1])).short_of() == ()
resource.setrlimit(resource.RLIMIT_NOFILE, (free + 40, limits[1]))
held = [os.dup(2) for _ in range(39)]
assert Vitals(Path(sys.argv[1])).short_of() == ("files",)
held.append(os.dup(2))
assert Vitals(Path(sys.argv[1])).short_of() == ("files",)  # not even one to look with
for each in held:
    os.close(each)
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
assert Vitals(Path(sys.argv[1])).short_of() == ()
"""


def test_t_f11_a_process_without_descriptors_says_so(tmp_path: Path) -> None:
    """In a process of its own: what the tests' own holds open is theirs."""
    ran = subprocess.run(
        [sys.executable, "-c", DESCRIPTORS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("most", "used", "cached", "short"),
    [("max", 9**9, 0, ()), ("1000", 949, 0, ()), ("1000", 950, 0, ("memory",)), ("1000", 990, 100, ())],
)
def test_t_f11_memory_is_short_near_the_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str, used: int, cached: int, short: tuple[str, ...]
) -> None:
    monkeypatch.setattr(vitals, "_CGROUP", tmp_path)
    for name, text in {"max": most, "current": str(used), "stat": f"anon 5\ninactive_file {cached}"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert Vitals(None).short_of() == short


async def test_t_f11_a_socket_is_closed_with_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: _Full)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def inner(*_: Any) -> None:
        raise AssertionError("no new socket")

    await Refuge(inner, vitals=Vitals(tmp_path))({"type": "websocket", "path": "/graphql"}, inner, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1013)]
