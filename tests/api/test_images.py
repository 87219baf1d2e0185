"""Pictures: sent to a signed address, judged by their content, drawn anew, shown as nothing else (T-P05, T-P06)."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from domain.ids import Kind, derived_id
from domain.images import BYTES_MAX
from firestore.collections import AGENTS, UPLOADS, USERS
from tests.api.api import Json, Market, Person, call, codes, outcome, picture
from tests.make import MINUTE, NOW

BEGIN = "... on CreateImageUploadPayload { uploadId uploadUrl publicUrl expiresAt headers { name value } }"
DONE = """... on CompleteImageUploadPayload { imageUrl user { avatarUrl small: avatarUrl(size: SMALL) }
    agent { imageUrl version medium: imageUrl(size: MEDIUM) } } ... on Refusal { code }"""
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
DAY = timedelta(days=1)


async def begin(person: Person, content: bytes, content_type: str = "image/png", **asked: Json) -> Json:
    input = {"purpose": "AVATAR", "contentType": content_type, "bytes": len(content), **asked}
    return (await call(person, "createImageUpload", input, BEGIN))["data"]["createImageUpload"]


def headers_of(begun: Json) -> dict[str, str]:
    return {each["name"]: each["value"] for each in begun["headers"]}


async def put(market: Market, begun: Json, content: bytes, **changes: Any) -> int:
    """Send the file as the answer says, save for the changes; the status."""
    url = changes.get("url", begun["uploadUrl"])
    sent = {**headers_of(begun), **changes.get("headers", {})}
    return (await market.rig.http.put(url, content=content, headers=sent)).status_code


async def finish(person: Person, begun: Json) -> Json:
    return await call(person, "completeImageUpload", {"uploadId": begun["uploadId"]}, DONE)


async def upload(market: Market, person: Person, content: bytes, content_type: str = "image/png") -> Json:
    """The whole way for an avatar."""
    begun = await begin(person, content, content_type)
    assert await put(market, begun, content) == 200
    return await finish(person, begun)


async def seen(market: Market, url: str) -> httpx.Response:
    return await market.rig.http.get(url, follow_redirects=False)


async def files(market: Market) -> list[str]:
    """The names of the pictures that are kept."""
    return sorted(path.name for path in (market.rig.settings.data_dir / "storage/images").glob("*"))


def png(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels, and that holds none."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


async def test_an_agent_gets_its_picture(market: Market) -> None:
    content = picture("JPEG", (3_000, 2_000))
    begun = await begin(market.ada, content, "image/jpeg", purpose="AGENT", agentId=market.ids.nova)
    assert headers_of(begun) == {
        "Content-Type": "image/jpeg",
        "x-goog-content-length-range": f"{len(content)},{len(content)}",
        "x-goog-if-generation-match": "0",
    }
    assert (await seen(market, begun["publicUrl"])).status_code == 404
    assert await put(market, begun, content) == 200
    before = await market.rig.get(AGENTS, market.ids.nova)
    done = (await finish(market.ada, begun))["data"]["completeImageUpload"]
    assert done["agent"]["imageUrl"] == done["imageUrl"]
    assert done["agent"]["version"] == before.version + 1
    shown = await seen(market, done["imageUrl"])
    assert shown.status_code == 200
    told = {name: shown.headers[name] for name in ("content-type", "x-content-type-options", "content-disposition")}
    assert told == {
        "content-type": "image/webp",
        "x-content-type-options": "nosniff",
        "content-disposition": 'attachment; filename="picture.webp"',
    }
    assert shown.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert shown.headers["content-security-policy"] == "default-src 'none'; sandbox"
    drawn = Image.open(BytesIO(shown.content))
    assert (drawn.format, drawn.size) == ("WEBP", (1024, 683))
    medium = Image.open(BytesIO((await seen(market, done["agent"]["medium"])).content))
    assert medium.size == (256, 171)
    led = await seen(market, begun["publicUrl"])
    assert (led.status_code, led.headers["location"]) == (307, done["imageUrl"])
    async with market.unchanged():
        assert (await finish(market.ada, begun))["data"]["completeImageUpload"] == done
    await market.rig.drain()
    told = await market.ada.ask(
        "query ($id: ID!) { agent(id: $id) { imageUrl owner { avatarUrl } } }", id=market.ids.nova
    )
    assert told["agent"]["imageUrl"] == done["imageUrl"]


async def test_an_avatar_replaces_the_one_before_which_goes_a_day_later(market: Market) -> None:
    kept = set((market.rig.settings.data_dir / "storage/uploads").glob("*"))  # what other tests have left
    first = (await upload(market, market.max, picture()))["data"]["completeImageUpload"]["user"]
    second = (await upload(market, market.max, picture()))["data"]["completeImageUpload"]["user"]
    assert first["avatarUrl"] != second["avatarUrl"]  # the same bytes, and a name of their own
    name = (await market.rig.get(USERS, market.max.user_id)).avatar
    assert second["small"].endswith(f"/images/{name}-64.webp")
    await market.rig.drain()
    assert (await seen(market, first["avatarUrl"])).status_code == 200
    market.rig.now = NOW + DAY
    for row in await market.rig.store.outbox.due(NOW + DAY + MINUTE):
        if row.task is not None and row.task.startswith("drop_"):
            assert await market.rig.caller.deliver(row.task, row.id, row.args)
    assert (await seen(market, first["avatarUrl"])).status_code == 404
    assert (await seen(market, second["avatarUrl"])).status_code == 200
    held = [path for path in await market.rig.dump() if path.startswith("uploads/")]
    assert len(held) == 2  # the one in use, and the market's own that was begun before
    assert set((market.rig.settings.data_dir / "storage/uploads").glob("*")) <= kept


async def test_a_deleted_agents_picture_goes_a_day_later_and_another_of_the_same_bytes_stays(market: Market) -> None:
    shown = {}
    for agent_id in (market.ids.draft, market.ids.hidden):
        begun = await begin(market.ada, picture(), purpose="AGENT", agentId=agent_id)
        assert await put(market, begun, picture()) == 200
        shown[agent_id] = (await finish(market.ada, begun))["data"]["completeImageUpload"]["imageUrl"]
    gone, stays = shown.values()
    assert gone != stays
    await market.ada.act("deleteAgent", {"id": market.ids.draft})
    assert (await market.rig.get(AGENTS, market.ids.draft)).image is None
    await market.rig.drain()
    assert (await seen(market, gone)).status_code == 200  # pages that were read a moment ago still name it
    market.rig.now = NOW + DAY
    await market.rig.drain()
    assert [(await seen(market, url)).status_code for url in (gone, stays)] == [404, 200]
    assert (await seen(market, begun["publicUrl"])).status_code == 307


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (picture("JPEG"), "image/png"),
        (picture("PNG"), "image/webp"),
        (picture("GIF"), "image/png"),
        (SVG, "image/png"),
        (b"GIF89a" + SVG, "image/webp"),
        (b"<html>" + picture("PNG"), "image/png"),
        (picture("PNG")[:-30], "image/png"),
        (picture("PNG")[:8], "image/png"),
        (b"\0", "image/jpeg"),
        (png(100_000, 1), "image/png"),
        (png(1, 100_000), "image/png"),
        (png(100_000, 100_000), "image/png"),
        (png(5_000, 5_000), "image/png"),
        (png(100, 100), "image/png"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value[:12]!r}:{len(value)}",
)
async def test_t_p05_what_is_no_picture_is_refused_by_its_content(
    market: Market, content: bytes, content_type: str
) -> None:
    """T-P05: a type that lies, a script, a cut file, a header of 10^5 pixels."""
    before = await files(market)
    begun = await begin(market.max, content, content_type)
    assert await put(market, begun, content) == 200
    async with market.unchanged():
        answer = await finish(market.max, begun)
        assert codes(answer) == ["BAD_USER_INPUT"]
        assert answer["errors"][0]["extensions"]["field"] == "input.uploadId"
    assert await files(market) == before
    assert (await seen(market, begun["publicUrl"])).status_code == 404


async def test_t_p05_a_polyglot_is_shown_without_its_other_half(market: Market) -> None:
    """T-P05: what follows the pixels, or lies in comments and metadata, is not of the picture that is kept."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "<script>alert(2)</script>"  # turned by a quarter; a description
    content = picture("JPEG", exif=exif, comment=b"<script>alert(3)</script>") + b"PK\3\4" + SVG
    done = (await upload(market, market.max, content, "image/jpeg"))["data"]["completeImageUpload"]
    shown = (await seen(market, done["imageUrl"])).content
    assert b"script" not in shown
    assert b"PK\3\4" not in shown
    drawn = Image.open(BytesIO(shown))
    assert (drawn.size, dict(drawn.getexif())) == ((30, 40), {})
    assert {"exif", "xmp", "icc_profile", "comment"} & drawn.info.keys() == set()
    red, blue = drawn.convert("RGB").getpixel((15, 5)), drawn.convert("RGB").getpixel((15, 35))
    assert red[0] > 200 > 60 > red[2]  # upright: the left half is on top
    assert blue[2] > 200 > 60 > blue[0]


@pytest.mark.parametrize("size", [0, -1, BYTES_MAX + 1, 2**31 - 1])
async def test_t_p05_a_size_that_is_none_or_too_much_is_refused_before_a_byte_is_sent(
    market: Market, size: int
) -> None:
    async with market.unchanged():
        answer = await call(
            market.max, "createImageUpload", {"purpose": "AVATAR", "contentType": "image/png", "bytes": size}
        )
        assert (codes(answer), answer["errors"][0]["extensions"]["field"]) == (["BAD_USER_INPUT"], "input.bytes")


async def test_t_p05_a_byte_more_or_less_than_announced_is_not_taken(market: Market) -> None:
    content = picture()
    begun = await begin(market.max, content)
    assert [await put(market, begun, each) for each in (b"", content[:-1], content + b"\0")] == [400, 400, 400]
    assert outcome(await finish(market.max, begun)) == "CONFLICT"  # nothing has arrived
    assert await put(market, begun, content) == 200
    assert outcome(await finish(market.max, begun)) == "+"


@pytest.mark.parametrize(
    "name",
    [
        "..%2Fcursor.secret",
        "..%2F..%2Fetc%2Fpasswd",
        "a.webp%00.html",
        f"{'a' * 64}.webp%00",
        f"{'a' * 64}.html",
        f"{'A' * 64}.webp",
        "%E2%80%AEpbew.webp",
        f"{'a' * 64}-65.webp",
        f"upl_{'0' * 26}",
        "%2e%2e",
    ],
)
async def test_t_p05_no_name_leads_elsewhere(market: Market, name: str) -> None:
    """T-P05: `..`, NUL, a reading order that turns, and other names than ours."""
    shown = await market.rig.http.get(f"/images/{name}")
    assert shown.status_code == 404
    answer = await market.rig.http.put(f"/uploads/{name}?expires=99999999999&signature=00", content=b"x")
    assert answer.status_code in (403, 404)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"contentType": "image/svg+xml"}, "input.contentType"),
        ({"contentType": "image/gif"}, "input.contentType"),
        ({"contentType": "IMAGE/PNG"}, "input.contentType"),
        ({"purpose": "AGENT"}, "input.agentId"),
        ({"agentId": derived_id(Kind.AGENT, "nova")}, "input.agentId"),
    ],
)
async def test_what_cannot_be_uploaded_says_why(market: Market, asked: Json, field: str) -> None:
    input = {"purpose": "AVATAR", "contentType": "image/png", "bytes": 70, **asked}
    async with market.unchanged():
        answer = await call(market.max, "createImageUpload", input)
        assert (codes(answer), answer["errors"][0]["extensions"]["field"]) == (["BAD_USER_INPUT"], field)


async def test_t_p06_a_signed_address_is_good_for_one_file_alone(market: Market) -> None:
    """T-P06: used again, moved on in time, for another path, another type, another size, or after its end."""
    content = picture()
    begun, other = await begin(market.max, content), await begin(market.max, content)
    url = begun["uploadUrl"]
    expires = int(re.findall(r"expires=(\d+)", url)[0])
    assert expires == int((NOW + 10 * MINUTE).timestamp())
    length = "x-goog-content-length-range"
    refused: dict[str, dict[str, Any]] = {
        "extended": {"url": url.replace(f"expires={expires}", f"expires={expires + 1}")},
        "other path": {"url": url.replace(begun["uploadId"], other["uploadId"])},
        "other type": {"headers": {"Content-Type": "text/html"}},
        "other size": {"headers": {length: f"1,{len(content) + 1}"}},
        "over another": {"headers": {"x-goog-if-generation-match": "1"}},
        "no signature": {"url": url.partition("&signature")[0]},
        "half a signature": {"url": url[:-1]},
        "a strange signature": {"url": url[:-1] + "é"},
        "no expiry": {"url": url.replace(f"expires={expires}&", "")},
    }
    for name, changes in refused.items():
        assert await put(market, begun, content, **changes) == 403, name
    assert await put(market, begun, content) == 200
    assert await put(market, begun, content) == 412
    assert outcome(await finish(market.max, begun)) == "+"
    assert await put(market, begun, content) == 412  # nor once it is complete
    market.rig.now = NOW + 10 * MINUTE
    assert await put(market, other, content) == 403
    assert outcome(await finish(market.max, other)) == "NOT_FOUND"


async def test_an_upload_is_its_owners_alone(market: Market) -> None:
    begun = await begin(market.max, picture())
    assert await put(market, begun, picture()) == 200
    async with market.unchanged():
        for person in (market.eve, market.mia):
            assert outcome(await finish(person, begun)) == "NOT_FOUND"
        assert outcome(await finish(market.max, {"uploadId": "upl_x"})) == "NOT_FOUND"
    agents = await begin(market.ada, picture(), purpose="AGENT", agentId=market.ids.draft)
    assert await put(market, agents, picture()) == 200
    await market.ada.act("transferAgent", {"agentId": market.ids.draft, "toUserId": market.zoe.user_id}, "agent { id }")
    async with market.unchanged():
        assert outcome(await finish(market.ada, agents)) == "NOT_FOUND"


async def test_an_input_names_only_the_picture_that_is_there(market: Market) -> None:
    """Another address than our own picture's is refused; null removes it."""
    shown = (await upload(market, market.max, picture()))["data"]["completeImageUpload"]["user"]["avatarUrl"]
    others = (await upload(market, market.eve, picture()))["data"]["completeImageUpload"]["user"]["avatarUrl"]
    for url in ("https://tracker.test/pixel.png", "http://169.254.169.254/", others, shown + "?", ""):
        async with market.unchanged():
            answer = await call(market.max, "updateProfile", {"avatarUrl": url})
            assert codes(answer) == ["BAD_USER_INPUT"], url
    assert (await market.max.act("updateProfile", {"avatarUrl": shown}, "user { avatarUrl }"))["user"] == {
        "avatarUrl": shown
    }
    cleared = await market.max.act("updateProfile", {"avatarUrl": None}, "user { avatarUrl }")
    assert cleared["user"] == {"avatarUrl": None}
    edit = {"id": market.ids.nova, "version": (await market.rig.get(AGENTS, market.ids.nova)).version}
    async with market.unchanged():
        assert codes(await call(market.ada, "updateAgent", {**edit, "imageUrl": shown})) == ["BAD_USER_INPUT"]
        assert outcome(await call(market.eve, "updateAgent", {**edit, "imageUrl": shown})) == "NOT_FOUND"
    bare = await market.ada.act("updateAgent", {**edit, "imageUrl": None}, "agent { imageUrl }")
    assert bare["agent"] == {"imageUrl": None}
    rows = [path for path, data in (await market.rig.dump()).items() if data.get("task") == "drop_image"]
    assert len(rows) == 4  # of max two, one after the other; of eve, and of nova, what was there before


async def test_an_upload_that_nobody_completes_leaves_nothing(market: Market) -> None:
    content = picture()
    begun = await begin(market.max, content)
    assert await put(market, begun, content) == 200
    kept = await market.rig.get(UPLOADS, begun["uploadId"])
    assert kept.expires_at == kept.ends_at == NOW + 10 * MINUTE  # the database forgets it
    (row,) = [
        each
        for each in await market.rig.store.outbox.due(NOW + 12 * MINUTE)
        if each.args == {"upload_id": begun["uploadId"]}
    ]
    assert await market.rig.caller.deliver(row.task or "", row.id, row.args)
    assert await market.rig.gallery.storage.read(f"uploads/{begun['uploadId']}", 1) is None


async def test_a_suspended_user_uploads_nothing(market: Market) -> None:
    user = await market.rig.get(USERS, market.max.user_id)
    await market.rig.put(USERS, replace(user, suspended_at=NOW))
    async with market.unchanged():
        input = {"purpose": "AVATAR", "contentType": "image/png", "bytes": 70}
        assert codes(await call(market.max, "createImageUpload", input)) == ["FORBIDDEN"]
