"""Files on this machine's disk, with signed addresses as a bucket has them. The API itself takes what is sent there."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from integrations.services import SignedUpload
from integrations.storage import LENGTH, ONCE, upload_headers

_KEY = re.compile(r"[a-z]+/[a-z0-9_.-]*[a-z0-9_]")  # one folder, one name of ours: no path leads out
_SECONDS = re.compile(r"[0-9]{1,12}")
_LENGTH = re.compile(r"([0-9]{1,9}),([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Permit:
    """What a signed address still allows: one file of exactly so many bytes."""

    key: str
    size_bytes: int


class LocalStorage:
    """The storage gateway over a directory. `base_url` is asked each time: the port may be known late."""

    def __init__(
        self, directory: Path, secret: bytes, base_url: Callable[[], str], clock: Callable[[], datetime]
    ) -> None:
        self._directory = directory
        self._secret = secret
        self._base_url = base_url
        self._clock = clock

    async def sign_upload(self, key: str, *, content_type: str, size_bytes: int, ends_at: datetime) -> SignedUpload:
        headers, until = upload_headers(content_type, size_bytes), str(int(ends_at.timestamp()))
        query = urlencode({"expires": until, "signature": self._signature(key, until, headers)})
        return SignedUpload(f"{self._base_url().rstrip('/')}/{key}?{query}", headers)

    def permit(self, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Permit | None:
        """What an address allows that comes back with these headers; None where it is not ours, or is over."""
        until = query.get("expires", "")
        sent = {name: headers.get(name, "") for name in upload_headers("", 0)}
        signature = query.get("signature", "").encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(signature, self._signature(key, until, sent).encode()):
            return None
        size = _LENGTH.fullmatch(sent[LENGTH])
        if _SECONDS.fullmatch(until) is None or size is None or sent[ONCE] != "0":
            return None
        if self._clock() >= datetime.fromtimestamp(int(until), UTC):
            return None
        return Permit(key, int(size[1]))

    async def take(self, permit: Permit, content: bytes) -> bool:
        """Keep what was sent; False where the address was used before."""

        def place() -> bool:
            path = self._path(permit.key)
            with self._beside(path, content) as written:
                try:
                    os.link(written, path)  # fails where there is a file, in one step
                except FileExistsError:
                    return False
            return True

        return await asyncio.to_thread(place)

    async def read(self, key: str, bytes_max: int) -> bytes | None:
        def load() -> bytes | None:
            try:
                with self._path(key).open("rb") as file:
                    return file.read(bytes_max)
            except FileNotFoundError:
                return None

        return await asyncio.to_thread(load)

    async def write(self, key: str, content: bytes, content_type: str) -> None:
        def place() -> None:
            path = self._path(key)
            with self._beside(path, content) as written:
                os.replace(written, path)

        await asyncio.to_thread(place)

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    async def close(self) -> None:
        """Nothing is open."""

    def _path(self, key: str) -> Path:
        assert _KEY.fullmatch(key) is not None, "a key is one of ours"
        return self._directory / key

    def _beside(self, path: Path, content: bytes) -> _Written:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _Written(path.parent, content)

    def _signature(self, key: str, until: str, headers: Mapping[str, str]) -> str:
        told = "\n".join(("PUT", key, until, *(f"{name.lower()}:{value}" for name, value in sorted(headers.items()))))
        return hmac.digest(self._secret, told.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


class _Written:
    """A whole file beside its place, gone at the end where nothing has moved it."""

    def __init__(self, directory: Path, content: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=directory, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        self._path = Path(name)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()
