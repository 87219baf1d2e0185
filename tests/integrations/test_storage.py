"""Signed addresses and files of Cloud Storage, without a network: what is signed, and what is asked for (T-P06)."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.api_core.exceptions import NotFound, RequestRangeNotSatisfiable, ServiceUnavailable
from google.auth.credentials import Credentials
from google.cloud.storage import Client
from google.oauth2 import service_account

from domain.errors import Unavailable
from integrations.storage import CloudStorage
from settings import Settings, SettingsError, require_startable

KEY = rsa.generate_private_key(65_537, 2_048)
EMAIL = "store@jiga.iam.gserviceaccount.com"
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def storage() -> CloudStorage:
    """With a private key of its own, and no network."""
    told = {"client_email": EMAIL, "private_key": PEM, "token_uri": "https://oauth2.test/token"}
    credentials = service_account.Credentials.from_service_account_info(told)
    return CloudStorage("pictures", Client(project="jiga", credentials=credentials))


async def sign(made: CloudStorage, **changes: Any) -> tuple[str, dict[str, str], dict[str, str]]:
    """The path, the query and the headers of a signed upload."""
    ends_at = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10)
    asked = {"content_type": "image/png", "size_bytes": 70, "ends_at": ends_at} | changes
    signed = await made.sign_upload("uploads/upl_1", **asked)
    parts = urlsplit(signed.url)
    assert (parts.scheme, parts.netloc) == ("https", "storage.googleapis.com")
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}, dict(signed.headers)


async def test_t_p06_everything_that_counts_is_signed() -> None:
    """T-P06: another path, method, type, size, or end, or a second file, is another signature."""
    path, query, headers = await sign(storage())
    assert path == "/pictures/uploads/upl_1"
    assert headers == {
        "Content-Type": "image/png",
        "x-goog-content-length-range": "70,70",
        "x-goog-if-generation-match": "0",
    }
    assert query["X-Goog-SignedHeaders"] == "content-type;host;x-goog-content-length-range;x-goog-if-generation-match"
    assert query["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256"
    assert query["X-Goog-Credential"].startswith(f"{EMAIL}/")
    assert 540 <= int(query["X-Goog-Expires"]) <= 600  # it counts from now, on a busy machine too
    KEY.public_key().verify(
        bytes.fromhex(query.pop("X-Goog-Signature")), _told(path, query, headers), padding.PKCS1v15(), hashes.SHA256()
    )


def _told(path: str, query: dict[str, str], headers: dict[str, str]) -> bytes:
    """What is signed of a PUT, made from the specification: cloud.google.com/storage/docs/authentication/signatures."""
    every = {name.lower(): value for name, value in headers.items()} | {"host": "storage.googleapis.com"}
    request = "\n".join(
        (
            "PUT",
            path,
            "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items())),
            *(f"{name}:{value}" for name, value in sorted(every.items())),
            "",
            query["X-Goog-SignedHeaders"],
            "UNSIGNED-PAYLOAD",
        )
    )
    stamp = query["X-Goog-Date"]
    scope = f"{stamp[:8]}/auto/storage/goog4_request"
    return "\n".join(("GOOG4-RSA-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest())).encode()


async def test_the_headers_say_the_announced_type_and_size() -> None:
    _, _, headers = await sign(storage(), content_type="image/webp", size_bytes=5_000_000)
    assert (headers["Content-Type"], headers["x-goog-content-length-range"]) == ("image/webp", "5000000,5000000")


class Keyless(Credentials):  # type: ignore[misc] # Google's
    """An account of a machine: a token, and no private key."""

    def __init__(self) -> None:
        super().__init__()
        self.service_account_email = EMAIL

    def refresh(self, request: object) -> None:
        self.token = "token-of-the-machine"


async def test_without_a_private_key_iam_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def sign_message(message: str, access_token: str, email: str, *_: object) -> str:
        asked.append((access_token, email))
        return "AAEC"  # base64 of three bytes

    monkeypatch.setattr("google.cloud.storage._signing._sign_message", sign_message)
    _, query, _ = await sign(CloudStorage("pictures", Client(project="jiga", credentials=Keyless())))
    assert asked == [("token-of-the-machine", EMAIL)]
    assert (query["X-Goog-Signature"], query["X-Goog-Credential"].partition("/")[0]) == ("000102", EMAIL)


class Blob:
    """A blob that does what a test says, and notes what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def _do(self, verb: str, **asked: Any) -> Any:
        self.asked.append((verb, asked))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def download_as_bytes(self, **asked: Any) -> Any:
        return self._do("read", **asked)

    def upload_from_string(self, content: bytes, **asked: Any) -> Any:
        return self._do("write", content=content, **asked)

    def delete(self, **asked: Any) -> Any:
        return self._do("delete", **asked)


def over(blob: Blob) -> CloudStorage:
    made = storage()
    made._blob = lambda key: blob  # type: ignore[method-assign]
    return made


async def test_files_are_read_written_and_removed() -> None:
    blob = Blob(b"abc")
    made = over(blob)
    assert await made.read("images/a.webp", 100) == b"abc"
    await made.write("images/a.webp", b"xyz", "image/webp")
    await made.delete("images/a.webp")
    assert blob.asked == [
        ("read", {"end": 99, "timeout": 5.0}),
        ("write", {"content": b"xyz", "content_type": "image/webp", "timeout": 5.0}),
        ("delete", {"timeout": 5.0}),
    ]
    await made.close()


async def test_what_is_not_there_is_none_and_can_be_removed_again() -> None:
    made = over(Blob(NotFound("no such object")))
    assert await made.read("images/a.webp", 100) is None
    await made.delete("images/a.webp")
    assert await over(Blob(RequestRangeNotSatisfiable("0 bytes"))).read("uploads/a", 100) == b""


@pytest.mark.parametrize("problem", [ServiceUnavailable("secret of the account"), TimeoutError()])
async def test_a_storage_that_is_down_is_unavailable_and_quotes_nothing(problem: Exception) -> None:
    made = over(Blob(problem))
    for call in (made.read("a/b", 1), made.write("a/b", b"", "image/webp"), made.delete("a/b")):
        with pytest.raises(Unavailable) as refusal:
            await call
        assert "secret" not in refusal.value.message


async def test_waiting_does_not_hold_the_loop() -> None:
    """The library waits in a thread of its own."""
    import threading

    go, turns = threading.Event(), 0
    blob = Blob(None)
    blob.download_as_bytes = lambda **_: go.wait(30) and b"late"  # type: ignore[method-assign]
    reading = asyncio.ensure_future(over(blob).read("a/b", 1))
    while turns < 10:
        await asyncio.sleep(0)
        turns += 1
    assert not reading.done()
    go.set()
    assert await reading == b"late"


def test_a_production_store_needs_its_bucket() -> None:
    with pytest.raises(SettingsError, match="JIGA_IMAGES_BUCKET is missing: set it"):
        require_startable(Settings(env="production"))
