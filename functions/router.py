"""The machines' doors: webhooks, tasks, health and readiness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from domain.errors import Unavailable
from firestore.store import Store
from functions.caller import Caller
from functions.schedule.rounds import Round
from functions.webhooks.shopify import ShopifyDoor
from functions.webhooks.stripe import StripeDoor
from integrations.bodies import LAST, BodyRefused, ClientLeft, read_body
from integrations.services import TaskCaller
from integrations.tracing import span

log = structlog.get_logger(__name__)

TASK_BYTES_MAX = 10_000  # a row's id and a few more ids


@dataclass(frozen=True, slots=True)
class Doors:
    """What the routes lead to. `blocked` names what is missing and needed, `weak` what is missing and done without."""

    store: Store
    shopify: ShopifyDoor
    stripe: StripeDoor
    caller: Caller
    rounds: Mapping[str, Round]
    task_caller: TaskCaller
    clock: Callable[[], datetime]
    blocked: Callable[[], Sequence[str]] = tuple
    weak: Callable[[], Sequence[str]] = tuple

    def routes(self) -> list[Route]:
        return [
            Route("/webhooks/shopify", self.shopify.receive, methods=["POST"]),
            Route("/webhooks/stripe", self.stripe.receive, methods=["POST"]),
            Route("/tasks/{name}", self.task, methods=["POST"]),
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
        ]

    async def task(self, request: Request) -> Response:
        """Run a task for a caller that proves to be our queue; 401 for anybody else, whatever it sends (T-T01)."""
        try:
            if not await self.task_caller.verify(request.headers):
                return _answer(401, "Tasks are for our own queue: send its OIDC token.")
            name = request.path_params["name"]
            if name in self.rounds:
                with span(f"round {name}"):
                    done = await self.rounds[name].run(self.clock())
                return _answer(200, f"The round {name} has done {done}.")
            if name not in self.caller.tasks:
                return _answer(404, f"There is no task {name[:80]!r}.")
            sent = await _json(request)
            row_id, args = sent.get("row"), sent.get("args")
            if not isinstance(row_id, str) or not isinstance(args, dict) or not all(map(_is_text, args.items())):
                return _answer(400, 'Send {"row": "…", "args": {"…": "…"}}.')
            delivered = await self.caller.deliver(name, row_id, args)
        except BodyRefused as refused:
            return _answer(refused.status, refused.message, LAST)
        except ClientLeft:
            return _answer(400, "The body did not arrive.")
        except ValueError:
            return _answer(400, "The body is not JSON.")
        except Unavailable as down:
            return _answer(503, down.message)
        return _answer(200 if delivered else 500, "Done." if delivered else "Not done: deliver it again.")

    async def health(self, request: Request) -> Response:
        """Whether the process runs."""
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """Whether it can serve: Firestore answers, and nothing else is missing that it needs. `down` names what is,
        also what it can do without; 503 asks for no more requests."""
        missing = list(self.blocked())
        try:
            await self.store.ping()
        except Unavailable:
            missing.insert(0, "firestore")
        down = [*missing, *self.weak()]
        return JSONResponse({"ready": not missing, "down": down}, status_code=503 if missing else 200)


def _is_text(pair: tuple[object, object]) -> bool:
    return isinstance(pair[0], str) and isinstance(pair[1], str)


async def _json(request: Request) -> dict[str, object]:
    sent = orjson.loads(await read_body(request.headers, request.receive, TASK_BYTES_MAX) or b"{}")
    if not isinstance(sent, dict):
        raise ValueError("a task's body is an object")
    return sent


def _answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"message": message}, status_code=status, headers=headers)
