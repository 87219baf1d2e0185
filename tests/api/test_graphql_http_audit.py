"""The audit of the GraphQL-over-HTTP specification, by its own suite (npm `graphql-http`), on a real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from graph.execution import Execution
from graph.http import graphql_route
from graph.places import Places
from graph.sse import StreamDoor

SCRIPT = Path(__file__).with_name("audit.mjs")
PACKAGES = ["graphql-http@1.22", "graphql@16"]

# MAY: this API takes no GET, so the three audits of GET requests stay notices.
NOTICES = {"5A70", "D6D5", "6A70"}


class Context:
    request_id = "req_1"
    user_id = None
    expires_at = None

    async def recheck(self) -> bool:
        return True

    def fresh(self) -> Context:
        return Context()


@strawberry.type
class Query:
    hello: str = "hello"


async def make_context(request: Request) -> Context:
    return Context()


def make_app() -> Starlette:
    # The audit's query with variables is `__type(name: $name)`, so it needs a schema that may be asked about.
    execution = Execution(strawberry.Schema(Query), present=lambda error: error.formatted, introspection=True)
    return Starlette(
        routes=[
            Route(
                "/graphql",
                graphql_route(
                    execution, make_context, StreamDoor(execution, Places()), graphiql=False, allowed_origins=[]
                ),
            )
        ]
    )


@pytest.fixture
def url() -> Iterator[str]:
    """A server in a thread of its own, on a free port."""
    server = uvicorn.Server(uvicorn.Config(make_app(), log_level="critical", lifespan="off"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/graphql"
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A directory with the audit suite installed; skips, and says why, where that is not possible."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed: the GraphQL-over-HTTP audit did not run")
    (tmp_path / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", *PACKAGES]
    try:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm could not install {PACKAGES}: the GraphQL-over-HTTP audit did not run ({error})")
    return Path(shutil.copy(SCRIPT, tmp_path))


def test_the_graphql_over_http_audit_finds_no_error_and_nothing_to_warn_of(url: str, suite: Path) -> None:
    done = subprocess.run(
        ["node", suite.name, url], cwd=suite.parent, check=True, capture_output=True, timeout=60, text=True
    )
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    not_ok = [finding for finding in findings if finding["status"] != "ok"]
    assert [finding for finding in not_ok if finding["status"] != "notice"] == []
    assert {finding["id"] for finding in not_ok} == NOTICES
    counts = Counter(finding["status"] for finding in findings)
    print(f"graphql-http audit: {dict(counts)}")
    assert counts["ok"] >= 55
