"""Cloud Tasks: the request that leaves, and who may call back (rows T-T)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import grpc
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.tasks_v2 import CloudTasksAsyncClient, CreateTaskRequest, HttpMethod, Task
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from domain.errors import Unavailable
from integrations.services import TaskCaller, TaskQueue
from integrations.tasks import CloudTasks, OidcCaller, google_certs

QUEUE = "projects/jiga/locations/europe-west1/queues/store"
ACCOUNT = "tasks@jiga.iam.gserviceaccount.com"
AUDIENCE = "https://api.jiga.test"
METHOD = "/google.cloud.tasks.v2.CloudTasks/CreateTask"
ARGS = {"order": "ord_1"}


class StandIn(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in its stubs only
    """Cloud Tasks' CreateTask over real gRPC: keeps what is asked for, answers with the next planned status."""

    def __init__(self) -> None:
        self.requests: list[CreateTaskRequest] = []
        self.metadata: list[dict[str, Any]] = []
        self.statuses: list[grpc.StatusCode] = []
        self.delay_seconds = 0.0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        if details.method != METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._create,
            request_deserializer=CreateTaskRequest.deserialize,
            response_serializer=Task.serialize,
        )

    async def _create(self, request: CreateTaskRequest, context: Any) -> Task:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        await asyncio.sleep(self.delay_seconds)
        if self.statuses:
            await context.abort(self.statuses.pop(0), "as planned")
        return request.task


class Cloud:
    """A queue in front of a stand-in."""

    def __init__(self, stand_in: StandIn, port: int) -> None:
        self.stand_in = stand_in
        self.port = port

    def queue(self, client: CloudTasksAsyncClient | None = None) -> CloudTasks:
        return CloudTasks(
            queue=QUEUE, base_url="https://api.jiga.test/", service_account=ACCOUNT, audience=AUDIENCE, client=client
        )

    def connected(self) -> CloudTasks:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        return self.queue(CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel)))


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    stand_in = StandIn()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((stand_in,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Cloud(stand_in, port)
    await server.stop(None)


class TestCloudTasks:
    async def test_what_leaves(self, cloud: Cloud) -> None:
        queue: TaskQueue = cloud.connected()
        await queue.enqueue("apply_order", "out_1", ARGS)
        await queue.close()
        (request,) = cloud.stand_in.requests
        task = request.task
        assert request.parent == QUEUE
        assert (
            task.name == f"{QUEUE}/tasks/{hashlib.sha256(b'apply_order' + bytes(1) + b'out_1' + bytes(1)).hexdigest()}"
        )
        assert task.http_request.http_method is HttpMethod.POST
        assert task.http_request.url == "https://api.jiga.test/tasks/apply_order"
        assert dict(task.http_request.headers) == {"Content-Type": "application/json"}
        assert json.loads(task.http_request.body) == {"row": "out_1", "args": ARGS}
        assert task.http_request.oidc_token.service_account_email == ACCOUNT
        assert task.http_request.oidc_token.audience == AUDIENCE
        assert task.dispatch_deadline == timedelta(seconds=60)
        assert "schedule_time" not in task
        assert cloud.stand_in.metadata[0]["x-goog-request-params"] == f"parent={QUEUE}"

    async def test_a_time_travels_exactly(self, cloud: Cloud) -> None:
        queue = cloud.connected()
        later = datetime(2026, 11, 21, 10, 30, 0, 250_000, tzinfo=UTC)
        await queue.enqueue("settle", "out_1", {}, not_before=later)
        await queue.close()
        assert cloud.stand_in.requests[0].task.schedule_time == later

    async def test_the_row_the_task_and_the_moment_name_it(self, cloud: Cloud) -> None:
        """A name stays taken for hours: a row that asks to be delivered later is another task."""
        queue = cloud.connected()
        soon, later = (datetime(2026, 11, 21, hour, tzinfo=UTC) for hour in (10, 11))
        asked = [("a", "1", None), ("a", "2", None), ("b", "1", None), ("a", "1", soon), ("a", "1", later)]
        for name, row, moment in asked * 2:
            await queue.enqueue(name, row, ARGS, not_before=moment)
        await queue.close()
        names = [request.task.name for request in cloud.stand_in.requests]
        assert names[:5] == names[5:]
        assert len(set(names)) == 5

    async def test_a_task_that_exists_is_a_success(self, cloud: Cloud) -> None:
        cloud.stand_in.statuses = [grpc.StatusCode.ALREADY_EXISTS]
        queue = cloud.connected()
        await queue.enqueue("a", "1", ARGS)
        await queue.close()
        assert len(cloud.stand_in.requests) == 1

    async def test_a_passing_fault_is_tried_again_with_the_same_name(self, cloud: Cloud) -> None:
        cloud.stand_in.statuses = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL]
        queue = cloud.connected()
        await queue.enqueue("a", "1", ARGS)
        await queue.close()
        assert len({request.task.name for request in cloud.stand_in.requests}) == 1
        assert len(cloud.stand_in.requests) == 3

    @pytest.mark.parametrize(
        "status",
        [
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.PERMISSION_DENIED,
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        ],
    )
    async def test_a_lasting_fault_is_left_to_the_sweep(self, cloud: Cloud, status: grpc.StatusCode) -> None:  # T-T06
        cloud.stand_in.statuses = [status]
        queue = cloud.connected()
        with pytest.raises(Unavailable, match="the sweep will deliver it"):
            await queue.enqueue("a", "1", ARGS)
        await queue.close()
        assert len(cloud.stand_in.requests) == 1

    async def test_a_queue_that_hangs_is_unavailable(self, cloud: Cloud) -> None:
        cloud.stand_in.delay_seconds = 30.0
        queue = cloud.connected()
        async with asyncio.timeout(20):  # the deadline is 2 s; far above it only a hang is left
            with pytest.raises(Unavailable):
                await queue.enqueue("a", "1", ARGS)
        await queue.close()

    async def test_the_client_is_made_once_at_first_use(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[dict[str, Any]] = []
        credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]

        def create_channel(*args: Any, **named: Any) -> grpc.aio.Channel:
            opened.append(named)
            return grpc.aio.insecure_channel(f"127.0.0.1:{cloud.port}", options=named["options"])

        monkeypatch.setattr("google.auth.default", lambda scopes: (credentials, "jiga"))
        monkeypatch.setattr(CloudTasksGrpcAsyncIOTransport, "create_channel", create_channel)
        queue = cloud.queue()
        assert opened == []
        await asyncio.gather(*(queue.enqueue("a", str(row), ARGS) for row in range(5)))
        await queue.close()
        assert len(cloud.stand_in.requests) == 5
        (named,) = opened
        assert ("grpc.max_reconnect_backoff_ms", 2000) in named["options"]

    async def test_no_credentials_is_unavailable(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        def none(scopes: object) -> None:
            raise DefaultCredentialsError("none here")  # type: ignore[no-untyped-call]

        monkeypatch.setattr("google.auth.default", none)
        queue = cloud.queue()
        with pytest.raises(Unavailable, match="DefaultCredentialsError"):
            await queue.enqueue("a", "1", ARGS)
        await queue.close()


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def certificate(name: str) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key(name).public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key(name), hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


class Google:
    """Google's keys, and how often they were asked for."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.fetches = 0
        self.fault: Exception | None = None
        self.delay_seconds = 0.0
        self.now = 1000.0

    async def certs(self) -> Mapping[str, str]:
        self.fetches += 1
        await asyncio.sleep(self.delay_seconds)
        if self.fault is not None:
            raise self.fault
        return {name: certificate(name) for name in self.names}

    def caller(self) -> OidcCaller:
        return OidcCaller(audience=AUDIENCE, service_account=ACCOUNT, fetch_certs=self.certs, clock=lambda: self.now)


def claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    told: dict[str, object] = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "azp": "1",
        "sub": "1",
        "email": ACCOUNT,
        "email_verified": True,
        "iat": now - 5,
        "exp": now + 3595,
    }
    return {name: value for name, value in (told | changes).items() if value is not ...}


def token(kid: str = "g1", signed_by: str | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key(signed_by or kid), algorithm="RS256", headers={"kid": kid})


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class TestOidcCaller:
    @pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
    @pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
    async def test_our_queue_may_call(self, issuer: str, name: str) -> None:
        caller: TaskCaller = Google("g1").caller()
        assert await caller.verify({name: f"Bearer {token(iss=issuer)}"}) is True
        assert await caller.verify({name: f"bearer {token(iss=issuer)}"}) is True

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"X-CloudTasks-QueueName": "store", "X-CloudTasks-TaskName": "1", "X-AppEngine-QueueName": "store"},
            {"X-CloudTasks-QueueName": "store", "authorization": "Bearer x"},
            {"authorization": ""},
            {"authorization": "Bearer"},
            {"authorization": "Bearer "},
            {"authorization": "Bearer a.b"},
            {"authorization": "Bearer a.b.c"},
            {"authorization": "Bearer ....."},
            {"authorization": "Bearer é.é.é"},
            {"authorization": "Bearer " + "a" * 5000},
            {"authorization": f"Bearer {segment(5)}.{segment({})}.x"},
            {"authorization": f"Bearer {segment({'alg': 'none', 'kid': 'g1'})}.{segment({})}."},
            {"authorization": f"Bearer {segment({'alg': 'HS256', 'kid': 'g1'})}.{segment({})}.x"},
            {"authorization": f"Bearer {segment({'alg': 'RS256', 'kid': 1})}.{segment({})}.x"},
            {"authorization": "Bearer " + base64.urlsafe_b64encode(b"[" * 2900).decode() + ".e30.x"},
        ],
    )
    async def test_nobody_else_may(self, headers: dict[str, str]) -> None:  # T-T01
        google = Google("g1")
        assert await google.caller().verify(headers) is False
        assert google.fetches == 0  # what is no token of Google's shape costs no fetch

    @pytest.mark.parametrize(
        "changes",
        [
            {"aud": "https://other.jiga.test"},
            {"aud": [AUDIENCE]},
            {"aud": ...},
            {"aud": ""},
            {"email": "other@jiga.iam.gserviceaccount.com"},
            {"email": ACCOUNT.upper()},
            {"email": ...},
            {"email_verified": False},
            {"email_verified": "true"},
            {"email_verified": ...},
            {"iss": "https://accounts.google.com.evil.test"},
            {"iss": "https://securetoken.google.com/jiga"},
            {"iss": ...},
            {"exp": int(time.time()) - 60},
            {"exp": ...},
            {"iat": int(time.time()) + 3600},
            {"iat": ...},
        ],
    )
    async def test_a_token_for_something_else_is_refused(self, changes: dict[str, Any]) -> None:  # T-T02
        assert await Google("g1").caller().verify(bearer(token(**changes))) is False

    async def test_the_basic_scheme_and_two_tokens_are_refused(self) -> None:
        caller = Google("g1").caller()
        assert await caller.verify({"authorization": f"Basic {token()}"}) is False
        assert (
            await caller.verify({"authorization": f"Bearer {token()}", "Authorization": f"Bearer {token()}"}) is False
        )
        assert await caller.verify({"x-serverless-authorization": f"Bearer {token()}"}) is False

    async def test_only_googles_signature_counts(self) -> None:  # T-A02
        caller = Google("g1", "g2").caller()
        right = token()
        head, body, signature = right.split(".")
        assert await caller.verify(bearer(right)) is True
        assert await caller.verify(bearer(token("g2"))) is True
        assert await caller.verify(bearer(token("g1", signed_by="g2"))) is False
        assert await caller.verify(bearer(token("g1", signed_by="evil"))) is False
        assert await caller.verify(bearer(f"{head}.{segment(claims(aud=AUDIENCE, sub='2'))}.{signature}")) is False
        assert await caller.verify(bearer(f"{head}.{body}.")) is False
        for algorithm in ("none", "HS256", "ES256", "RS512", None, ["RS256"]):
            forged = segment({"alg": algorithm, "kid": "g1", "typ": "JWT"})
            assert await caller.verify(bearer(f"{forged}.{body}.{signature}")) is False
        forged = f"{segment({'alg': 'HS256', 'kid': 'g1', 'typ': 'JWT'})}.{body}"
        digest = hmac.new(certificate("g1").encode(), forged.encode(), hashlib.sha256).digest()
        forged += "." + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert await caller.verify(bearer(forged)) is False
        no_key = jwt.encode(claims(), key("g1"), algorithm="RS256")
        assert await caller.verify(bearer(no_key)) is False

    async def test_keys_are_fetched_once_an_hour(self) -> None:
        google = Google("g1")
        caller = google.caller()
        assert all(await asyncio.gather(*(caller.verify(bearer(token())) for _ in range(10))))
        assert google.fetches == 1
        google.now += 3599
        assert await caller.verify(bearer(token())) is True
        assert google.fetches == 1
        google.now += 1
        assert await caller.verify(bearer(token())) is True
        assert google.fetches == 2

    async def test_a_new_key_is_found_and_unknown_ones_cost_little(self) -> None:
        google = Google("g1")
        caller = google.caller()
        assert await caller.verify(bearer(token())) is True
        google.names = ("g2",)
        google.now += 60
        assert await caller.verify(bearer(token("g2"))) is True
        assert google.fetches == 2
        for number in range(20):
            assert await caller.verify(bearer(token(f"x{number}", signed_by="evil"))) is False
        assert google.fetches == 2
        assert await caller.verify(bearer(token("g1"))) is False  # a key that Google withdrew

    async def test_old_keys_serve_while_google_is_away_for_a_day(self) -> None:  # T-A06
        google = Google("g1")
        caller = google.caller()
        assert await caller.verify(bearer(token())) is True
        google.fault = OSError("no route")
        google.now += 23 * 3600
        assert await caller.verify(bearer(token())) is True
        google.now += 3600
        with pytest.raises(Unavailable, match=r"www\.googleapis\.com"):
            await caller.verify(bearer(token()))
        google.fault = None
        assert await caller.verify(bearer(token())) is True

    @pytest.mark.parametrize("fault", [OSError("no route"), ValueError("no JSON"), TimeoutError()])
    async def test_without_keys_nobody_comes_in(self, fault: Exception) -> None:  # T-A06
        google = Google("g1")
        google.fault = fault
        with pytest.raises(Unavailable):
            await google.caller().verify(bearer(token()))

    async def test_keys_that_hang_end_in_unavailable(self) -> None:
        google = Google("g1")
        google.delay_seconds = 30.0
        caller = google.caller()
        async with asyncio.timeout(20):  # the deadline is 2 s; far above it only a hang is left
            answers = await asyncio.gather(*(caller.verify(bearer(token())) for _ in range(4)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable] * 4

    @pytest.mark.parametrize(("status", "answered"), [("200 OK", True), ("503 Service Unavailable", False)])
    async def test_googles_keys_come_by_http(
        self, status: str, answered: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
            body = json.dumps({"g1": certificate("g1")})
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write((head + body).encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr("integrations.tasks.CERTS_URL", f"http://127.0.0.1:{port}/oauth2/v1/certs")
        caller = OidcCaller(audience=AUDIENCE, service_account=ACCOUNT)
        if answered:
            assert await google_certs() == {"g1": certificate("g1")}
            assert await caller.verify(bearer(token())) is True
        else:
            with pytest.raises(Unavailable):
                await caller.verify(bearer(token()))
        server.close()
        assert set(asked) == {b"GET /oauth2/v1/certs HTTP/1.1"}

    @pytest.mark.parametrize(("audience", "account"), [("", ACCOUNT), (AUDIENCE, ""), ("", "")])
    def test_an_empty_setting_does_not_open_the_door(self, audience: str, account: str) -> None:
        with pytest.raises(ValueError, match="needs an audience and a service account"):
            OidcCaller(audience=audience, service_account=account)
