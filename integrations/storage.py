"""Cloud Storage: files in one private bucket, and signed addresses to send one to (cloud.google.com/storage/docs,
"V4 signing process").

Google's library waits in threads, so it is fenced into a few of its own. It is imported when it is first needed: a
local store never loads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from domain.errors import Unavailable
from integrations.services import SignedUpload

T = TypeVar("T")

DEADLINE_SECONDS = 5.0  # a file of 5 MB within one region; everything else takes a fraction of it
THREADS = 8  # calls at once; a thread that hangs is free again after the library's own timeout
CACHED_FOR = "private, max-age=0, no-store"  # the API and what stands before it serve pictures, the bucket does not

LENGTH, ONCE = "x-goog-content-length-range", "x-goog-if-generation-match"


def upload_headers(content_type: str, size_bytes: int) -> dict[str, str]:
    """What a signed upload must send: this type, exactly this many bytes, and only where no file is yet."""
    return {"Content-Type": content_type, LENGTH: f"{size_bytes},{size_bytes}", ONCE: "0"}


class CloudStorage:
    """The storage gateway over one bucket. `client` is another one than the environment's, for tests."""

    def __init__(self, bucket: str, client: Any = None) -> None:
        self._name = bucket
        self._client = client
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")
        self._places = asyncio.Semaphore(THREADS)

    async def sign_upload(self, key: str, *, content_type: str, size_bytes: int, ends_at: datetime) -> SignedUpload:
        headers = upload_headers(content_type, size_bytes)

        def sign() -> str:
            blob = self._blob(key)
            signed: str = blob.generate_signed_url(
                version="v4",
                method="PUT",
                scheme="https",
                expiration=ends_at,
                headers=dict(headers),
                **self._signer(),
            )
            return signed

        return SignedUpload(await self._run(sign), headers)

    async def read(self, key: str, bytes_max: int) -> bytes | None:
        from google.api_core.exceptions import NotFound, RequestRangeNotSatisfiable

        def download() -> bytes | None:
            try:
                content: bytes = self._blob(key).download_as_bytes(end=bytes_max - 1, timeout=DEADLINE_SECONDS)
            except NotFound:
                return None
            except RequestRangeNotSatisfiable:  # there is a file, of 0 bytes
                return b""
            return content

        return await self._run(download)

    async def write(self, key: str, content: bytes, content_type: str) -> None:
        def upload() -> None:
            blob = self._blob(key)
            blob.cache_control = CACHED_FOR
            # Written again it is the same file, so it may be tried again.
            blob.upload_from_string(content, content_type=content_type, timeout=DEADLINE_SECONDS)

        await self._run(upload)

    async def delete(self, key: str) -> None:
        from google.api_core.exceptions import NotFound

        def remove() -> None:
            try:
                self._blob(key).delete(timeout=DEADLINE_SECONDS)
            except NotFound:
                return

        await self._run(remove)

    async def close(self) -> None:
        """Let the threads end; closing twice is fine."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _blob(self, key: str) -> Any:
        if self._client is None:
            from google.cloud.storage import Client

            self._client = Client()  # type: ignore[no-untyped-call] # Google's
        return self._client.bucket(self._name).blob(key)

    def _signer(self) -> dict[str, Any]:
        """Who signs: a private key where the credentials have one, else IAM's signBlob in the account's name."""
        from google.auth.credentials import Signing
        from google.auth.transport.requests import Request

        assert self._client is not None, "a blob has its client"
        credentials = self._client._credentials
        if isinstance(credentials, Signing) and credentials.signer_email:
            return {"credentials": credentials}
        if not credentials.valid:
            credentials.refresh(Request())
        return {"service_account_email": credentials.service_account_email, "access_token": credentials.token}

    async def _run(self, call: Callable[[], T]) -> T:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests import RequestException

        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._places:
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (GoogleAPIError, GoogleAuthError, RequestException, TimeoutError) as error:
            raise Unavailable(
                f"The storage of pictures does not answer ({type(error).__name__}): try again in a few seconds."
            ) from None
