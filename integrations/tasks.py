"""Cloud Tasks: how a task is asked for, and how we know that it is Google who brings it.

Google's libraries are imported when they are first needed: a local store never loads them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from domain.errors import Unavailable
from integrations.public_keys import FETCH_SECONDS, NoKeys, PublicKeys

if TYPE_CHECKING:
    from google.cloud.tasks_v2 import CloudTasksAsyncClient, CreateTaskRequest

DEADLINE_SECONDS = 2.0  # whatever we wait for answers, or is UNAVAILABLE, within 2 s
RETRY_SECONDS = (
    1.8  # retries end before the deadline, so that the caller learns the cause and not only that it was late
)
DISPATCH_DEADLINE_SECONDS = 60  # a handler does one commit; Cloud Tasks allows 15 s to 30 min

CERTS_URL = "https://www.googleapis.com/oauth2/v1/certs"
CERTS_FRESH_SECONDS = 3600  # Google publishes a key a day before it signs with it
TOKEN_CHARACTERS_MAX = 4096  # Google's are about 1,000
CLOCK_SKEW_SECONDS = 10
ISSUERS = frozenset({"accounts.google.com", "https://accounts.google.com"})

FetchCerts = Callable[[], Awaitable[Mapping[str, str]]]
"""Fetches the public keys that Google signs with now, key id to PEM certificate. Any exception is a failure."""


class CloudTasks:
    """Asks Cloud Tasks to post to `{base_url}/tasks/<name>`.

    `queue` is the full name, `projects/…/locations/…/queues/…`; `service_account` signs the calls for `audience`.
    Set the queue up without a limit of attempts: a name stays taken for up to a day after its task is gone, so a task
    that the queue gave up could not be asked for again in that time.
    """

    def __init__(
        self,
        *,
        queue: str,
        base_url: str,
        service_account: str,
        audience: str,
        client: CloudTasksAsyncClient | None = None,
    ) -> None:
        self._queue = queue
        self._base_url = base_url.rstrip("/")
        self._service_account = service_account
        self._audience = audience
        self._client = client
        self._opening = asyncio.Lock()

    async def enqueue(
        self, name: str, row_id: str, args: Mapping[str, str], *, not_before: datetime | None = None
    ) -> None:
        """Ask for one delivery of `{"row": row_id, "args": args}`; the same row asked for twice is one task.

        Raises Unavailable within 2 s, also for a time more than 30 days ahead, which Cloud Tasks refuses. The row then
        waits for the sweep.
        """
        from google.api_core import exceptions
        from google.api_core.retry import AsyncRetry, if_exception_type
        from google.auth.exceptions import GoogleAuthError

        again = AsyncRetry(
            predicate=if_exception_type(
                exceptions.ServiceUnavailable, exceptions.Aborted, exceptions.InternalServerError
            ),
            initial=0.1,
            maximum=0.5,
            timeout=RETRY_SECONDS,
        )
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                client = await self._connected()
                request = self._request(name, row_id, args, not_before)
                await client.create_task(request, retry=again, timeout=RETRY_SECONDS)
        except exceptions.AlreadyExists:
            return  # it is queued, or was delivered a short while ago
        except (exceptions.GoogleAPIError, GoogleAuthError, TimeoutError) as error:
            raise Unavailable(
                f"Cloud Tasks did not take the task {name} ({type(error).__name__}): the sweep will deliver it. "
                "If this lasts, check that the queue exists and that the store may add tasks to it."
            ) from error

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            await self._client.transport.close()  # type: ignore[no-untyped-call] # Google's

    def _request(
        self, name: str, row_id: str, args: Mapping[str, str], not_before: datetime | None
    ) -> CreateTaskRequest:
        from google.cloud.tasks_v2 import CreateTaskRequest, HttpMethod, HttpRequest, OidcToken, Task

        assert not_before is None or not_before.tzinfo is not None, "a time without a zone is another time elsewhere"
        # Hashed, because names that follow each other slow a queue down (Cloud Tasks, "Task De-duplication"). The
        # moment is part of it, because a name stays taken after its task is gone, and a row may ask for a later one.
        moment = not_before.isoformat() if not_before else ""
        task_id = hashlib.sha256(f"{name}\0{row_id}\0{moment}".encode()).hexdigest()
        return CreateTaskRequest(
            parent=self._queue,
            task=Task(
                name=f"{self._queue}/tasks/{task_id}",
                http_request=HttpRequest(
                    http_method=HttpMethod.POST,
                    url=f"{self._base_url}/tasks/{name}",
                    headers={"Content-Type": "application/json"},
                    body=json.dumps({"row": row_id, "args": dict(args)}).encode(),
                    oidc_token=OidcToken(service_account_email=self._service_account, audience=self._audience),
                ),
                schedule_time=not_before,
                dispatch_deadline=timedelta(seconds=DISPATCH_DEADLINE_SECONDS),
            ),
        )

    async def _connected(self) -> CloudTasksAsyncClient:
        async with self._opening:
            if self._client is None:
                self._client = await _connect()
            return self._client


async def _connect() -> CloudTasksAsyncClient:
    """A client with the machine's own credentials. Looking for them may block on the network, hence the thread."""
    import google.auth
    from google.cloud.tasks_v2 import CloudTasksAsyncClient
    from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport as Transport

    def channel(*args: Any, options: list[tuple[str, object]], **named: Any) -> Any:
        # Without this bound the first call after an outage waits out gRPC's back-off: 18.5 s were measured.
        bounded = [*options, ("grpc.max_reconnect_backoff_ms", int(DEADLINE_SECONDS * 1000))]
        return Transport.create_channel(*args, options=bounded, **named)

    credentials, _ = await asyncio.to_thread(google.auth.default, scopes=Transport.AUTH_SCOPES)
    return CloudTasksAsyncClient(transport=Transport(credentials=credentials, channel=channel))


async def google_certs() -> Mapping[str, str]:
    """Google's public keys, fetched now."""
    import httpx

    async with httpx.AsyncClient(timeout=FETCH_SECONDS) as client:
        answer = await client.get(CERTS_URL)
        answer.raise_for_status()
        return {str(key_id): str(pem) for key_id, pem in answer.json().items()}


class OidcCaller:
    """Lets a request to `/tasks/*` in if a token that Google signed says that our service account sends it.

    `X-CloudTasks-*` headers prove nothing: Google strips them from strangers' requests on App Engine only (T-T01).
    `clock` counts seconds and only tells how old the cached keys are.
    """

    def __init__(
        self,
        *,
        audience: str,
        service_account: str,
        fetch_certs: FetchCerts = google_certs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not audience or not service_account:
            raise ValueError(
                "An OIDC caller needs an audience and a service account: without them it would let all in."
            )
        self._audience = audience
        self._service_account = service_account
        self._certs = PublicKeys("Google", fetch_certs, fresh_seconds=CERTS_FRESH_SECONDS, seconds=clock)

    async def verify(self, headers: Mapping[str, str]) -> bool:
        """Whether our queue calls. Raises Unavailable, within 2 s, when there are no keys to tell by: never open."""
        token = _bearer_token(headers)
        key_id = _key_id(token) if token else None
        if token is None or key_id is None:
            return False
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                cert = await self._certs.get(key_id)
                if cert is None:
                    return False
                claims = await asyncio.to_thread(_claims, token, {key_id: cert}, self._audience)
        except (NoKeys, TimeoutError) as error:
            raise Unavailable(
                "Google's public keys cannot be fetched: check the way out to www.googleapis.com."
            ) from error
        return (
            claims.get("iss") in ISSUERS
            and claims.get("email") == self._service_account
            and claims.get("email_verified") is True
        )


def _bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token of the one Authorization header; two of them are two claims, and neither is believed."""
    sent = [value for name, value in headers.items() if name.lower() == "authorization"]
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    return token if scheme.lower() == "bearer" and 0 < len(token) <= TOKEN_CHARACTERS_MAX else None


def _key_id(token: str) -> str | None:
    """The key that an RS256 token says it is signed with; None for any other algorithm, `none` before all (T-A02)."""
    from google.auth import jwt

    try:
        header = jwt.decode_header(token)  # type: ignore[no-untyped-call] # Google's
    except (ValueError, RecursionError):  # RecursionError: JSON as deep as the token is long
        return None
    key_id = header.get("kid")
    return key_id if header.get("alg") == "RS256" and isinstance(key_id, str) else None


def _claims(token: str, certs: Mapping[str, str], audience: str) -> Mapping[str, object]:
    """The claims of a token that is signed with its key, in time, and for the audience; none for any other."""
    from google.auth import jwt
    from google.auth.exceptions import GoogleAuthError

    try:
        claims: Mapping[str, object] = jwt.decode(  # type: ignore[no-untyped-call] # Google's
            token, certs=certs, audience=audience, clock_skew_in_seconds=CLOCK_SKEW_SECONDS
        )
    except (GoogleAuthError, ValueError, TypeError, RecursionError):
        return {}
    return claims
