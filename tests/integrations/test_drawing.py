"""Drawing pictures anew, and keeping files on a disk: bounds on what is done at once, and one file to an address."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from domain.errors import Unavailable
from domain.images import ImageSize
from integrations import drawing
from integrations.drawing import AT_ONCE, WAITING_MAX, NotAPicture, Studio, draw
from integrations.local.storage import LocalStorage, Permit
from tests.make import NOW


def picture(mode: str, format_: str, size: tuple[int, int] = (500, 10), colour: object = 0) -> bytes:
    kept = BytesIO()
    Image.new(mode, size, colour).save(kept, format_)  # type: ignore[arg-type]
    return kept.getvalue()


@pytest.mark.parametrize(
    ("mode", "format_", "content_type", "kept"),
    [
        ("RGBA", "PNG", "image/png", "RGBA"),
        ("LA", "PNG", "image/png", "RGBA"),
        ("P", "PNG", "image/png", "RGB"),
        ("1", "PNG", "image/png", "RGB"),
        ("I;16", "PNG", "image/png", "RGB"),
        ("L", "JPEG", "image/jpeg", "RGB"),
        ("CMYK", "JPEG", "image/jpeg", "RGB"),
        ("RGBA", "WEBP", "image/webp", "RGBA"),
    ],
)
def test_every_kind_of_pixel_becomes_webp_in_each_size(mode: str, format_: str, content_type: str, kept: str) -> None:
    drawn = draw(picture(mode, format_), content_type)
    opened = {size: Image.open(BytesIO(content)) for size, content in drawn.items()}
    assert {size: each.format for size, each in opened.items()} == dict.fromkeys(ImageSize, "WEBP")
    assert [opened[size].size for size in ImageSize] == [(500, 10), (256, 5), (64, 1)]
    if kept == "RGB":
        assert opened[ImageSize.LARGE].mode == "RGB"


def test_what_moves_stands_still() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    kept = BytesIO()
    frames[0].save(kept, "WEBP", save_all=True, append_images=frames[1:], duration=50)
    drawn = Image.open(BytesIO(draw(kept.getvalue(), "image/webp")[ImageSize.LARGE]))
    assert getattr(drawn, "n_frames", 1) == 1
    red, _, blue = drawn.convert("RGB").getpixel((10, 10))  # type: ignore[misc]
    assert red > 200 > 60 > blue


async def test_so_many_are_drawn_at_once_so_many_wait_and_the_rest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    go, running = threading.Event(), []

    def slow(content: bytes, content_type: str) -> dict[ImageSize, bytes]:
        running.append(content)
        assert go.wait(60)
        return {}

    monkeypatch.setattr(drawing, "draw", slow)
    studio = Studio()
    asked = [asyncio.ensure_future(studio.draw(b"", "image/png")) for _ in range(AT_ONCE + WAITING_MAX)]
    while len(running) < AT_ONCE:  # ends: threads start
        await asyncio.sleep(0.01)
    with pytest.raises(Unavailable):
        await studio.draw(b"", "image/png")
    asked[0].cancel()  # whoever leaves does not free the place of a thread that goes on
    await asyncio.sleep(0.05)
    assert len(running) == AT_ONCE
    go.set()
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in done] == [asyncio.CancelledError] + [dict] * (AT_ONCE + WAITING_MAX - 1)
    assert await studio.draw(b"", "image/png") == {}


async def test_a_problem_leaves_the_place_free() -> None:
    studio = Studio()
    for _ in range(AT_ONCE + 1):
        with pytest.raises(NotAPicture):
            await studio.draw(b"no", "image/png")


async def test_of_many_files_to_one_address_one_is_kept_whole(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, b"secret", lambda: "http://x.test", lambda: NOW)
    permit = Permit("uploads/upl_1", 5)
    taken = await asyncio.gather(*(storage.take(permit, bytes([each]) * 5) for each in range(8)))
    assert sorted(taken) == [False] * 7 + [True]
    assert await storage.read("uploads/upl_1", 100) == bytes([taken.index(True)]) * 5
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == ["upl_1"]
    assert await storage.read("uploads/upl_1", 2) == bytes([taken.index(True)]) * 2
    await storage.delete("uploads/upl_1")
    await storage.delete("uploads/upl_1")
    assert await storage.read("uploads/upl_1", 100) is None


@pytest.mark.parametrize("key", ["../x", "uploads/../x", "/etc/passwd", "uploads/a/b", "uploads/", "uploads/.", "a"])
async def test_a_key_that_is_none_of_ours_opens_nothing(tmp_path: Path, key: str) -> None:
    storage = LocalStorage(tmp_path, b"secret", lambda: "http://x.test", lambda: NOW + timedelta(days=1))
    with pytest.raises(AssertionError):
        await storage.read(key, 1)
