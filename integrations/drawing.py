"""Draws an uploaded picture anew: what is kept was made here, pixel by pixel, and holds nothing of the sender's file.

The content decides what a file is, never its name or the type that it claims. Its size in pixels is known from its
header, and judged before a pixel is decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING

from domain.errors import Unavailable
from domain.images import PIXELS, ImageSize

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS_MAX = 16_777_216  # 4,096 x 4,096: 64 MB while it is decoded
SIDE_PIXELS_MAX = 8_192  # a strip that is longer shows nothing at 1,024
QUALITY = 82  # WebP's scale of 100: artefacts are not seen at these sizes
AT_ONCE = 2  # pictures that are drawn at the same time: each takes a core for some 100 ms, and its 64 MB
WAITING_MAX = 20  # behind them; more would wait longer than a client does
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}


class NotAPicture(Exception):
    """The content is none of what may be uploaded; the text says what is wrong with it, in our words."""


def draw(content: bytes, content_type: str) -> dict[ImageSize, bytes]:
    """The picture as WebP in each size: upright, its first frame alone, without metadata. Raises NotAPicture."""
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as opened:
            found = _FORMATS[opened.format or ""]
            if found != content_type:
                raise NotAPicture(f"The file is {found}, and {content_type} was announced")
            width, height = opened.size
            if width * height > PIXELS_MAX or max(width, height) > SIDE_PIXELS_MAX:
                raise NotAPicture(
                    f"The picture has {width} x {height} pixels: at most {PIXELS_MAX}, and {SIDE_PIXELS_MAX} a side"
                )
            largest = _upright(opened)
            return {size: _webp(largest, pixels) for size, pixels in PIXELS.items()}
    except NotAPicture:
        raise
    except Exception:  # whatever a decoder stumbles over in a hostile file, the file is to blame
        raise NotAPicture("The file is no whole PNG, JPEG or WebP") from None


def _upright(opened: Image) -> Image:
    """The pixels as they are looked at, at most as large as the largest size, on a canvas that knows nothing else."""
    from PIL import Image, ImageOps

    opened.draft("RGB", (2 * PIXELS[ImageSize.LARGE],) * 2)  # a large JPEG is decoded at a fraction of its size
    turned = ImageOps.exif_transpose(opened)
    clear = turned.has_transparency_data
    plain = turned.convert("RGBA" if clear else "RGB")
    plain.thumbnail((PIXELS[ImageSize.LARGE],) * 2, Image.Resampling.LANCZOS)
    canvas = Image.new(plain.mode, plain.size)
    canvas.paste(plain)
    return canvas


def _webp(picture: Image, pixels: int) -> bytes:
    small = picture.copy()
    small.thumbnail((pixels, pixels))
    kept = BytesIO()
    small.save(kept, "WEBP", quality=QUALITY)
    return kept.getvalue()


class Studio:
    """Draws in threads, a few pictures at once, so that the event loop goes on and memory stays bounded."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def draw(self, content: bytes, content_type: str) -> Mapping[ImageSize, bytes]:
        """As `draw`. Raises NotAPicture, Unavailable while too many wait."""
        if self._waiting >= WAITING_MAX:
            raise Unavailable("Too many pictures are being drawn: try again in a few seconds.")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        drawing = asyncio.ensure_future(asyncio.to_thread(draw, content, content_type))
        # A thread cannot be stopped: its place is free when it has ended, whoever has stopped waiting for it.
        drawing.add_done_callback(lambda _: self._places.release())
        return await asyncio.shield(drawing)
