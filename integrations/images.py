"""Pictures from the signed address to what is shown: sent, checked, drawn anew, kept in three sizes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from domain.errors import BadInput, Conflict
from domain.images import ImageSize, ImageUpload, file_name, image_name
from integrations.drawing import NotAPicture, Studio
from integrations.services import SignedUpload, StorageGateway

DRAWN_BYTES_MAX = 4_000_000  # of one drawn picture: 1,024 x 1,024 pixels of noise take half of it
WEBP = "image/webp"


class Gallery:
    """`base_url` is the API's own address; `origin` is where pictures are seen from, its `/images` without one."""

    def __init__(self, storage: StorageGateway, base_url: Callable[[], str], origin: str | None) -> None:
        self.storage = storage
        self._base_url = base_url
        self._origin = origin
        self._studio = Studio()

    def url(self, image: str | None, size: ImageSize = ImageSize.LARGE) -> str | None:
        """Where a picture is seen; None for none."""
        if image is None:
            return None
        return f"{(self._origin or self._own()).rstrip('/')}/{file_name(image, size)}"

    def upload_url(self, upload_id: str) -> str:
        """Where an upload's picture will be seen, known before there is one: it leads on to its file."""
        return f"{self._own()}/{upload_id}"

    async def sign(self, upload: ImageUpload) -> SignedUpload:
        """Where to send the file. Raises Unavailable."""
        return await self.storage.sign_upload(
            _raw(upload.id),
            content_type=upload.content_type,
            size_bytes=upload.size_bytes,
            ends_at=upload.ends_at,
        )

    async def develop(self, upload: ImageUpload) -> str:
        """Check what was sent, and keep the picture that it is; gives its name.

        Raises Conflict while nothing was sent, BadInput for what is no picture of ours, Unavailable.
        """
        content = await self.storage.read(_raw(upload.id), upload.size_bytes + 1)
        if content is None:
            raise Conflict("Nothing has arrived yet: PUT the file to uploadUrl with its headers, then complete it.")
        if len(content) != upload.size_bytes:
            raise BadInput("The file is not as long as was announced: begin again.", field="input.uploadId")
        try:
            drawn = await self._studio.draw(content, upload.content_type)
        except NotAPicture as why:
            raise BadInput(f"{why}: begin again with createImageUpload.", field="input.uploadId") from None
        image = image_name(upload.id, content)
        await asyncio.gather(
            *(self.storage.write(_kept(file_name(image, size)), each, WEBP) for size, each in drawn.items())
        )
        return image

    async def file(self, name: str) -> bytes | None:
        """A picture's file by its name, None where there is none. Raises Unavailable."""
        return await self.storage.read(_kept(name), DRAWN_BYTES_MAX)

    async def drop_upload(self, upload_id: str) -> None:
        """Remove what was sent. Raises Unavailable."""
        await self.storage.delete(_raw(upload_id))

    async def drop(self, image: str) -> None:
        """Remove a picture in every size. Raises Unavailable."""
        await asyncio.gather(*(self.storage.delete(_kept(file_name(image, size))) for size in ImageSize))

    async def close(self) -> None:
        await self.storage.close()

    def _own(self) -> str:
        return f"{self._base_url().rstrip('/')}/images"


def _raw(upload_id: str) -> str:
    return f"uploads/{upload_id}"


def _kept(name: str) -> str:
    return f"images/{name}"
