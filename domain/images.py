"""Pictures of agents and avatars: what may be uploaded, and under which names the checked picture is kept.

What a client sends is never shown: it is checked by its content, drawn anew, and kept under a name that follows from
the upload and the bytes. So a name stands for one picture, for ever, and belongs to one agent or user.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.errors import BadInput

BYTES_MAX = 5_000_000  # a photograph of a telephone, at the quality that a picture of 1,024 pixels can show
UPLOAD_TTL = timedelta(minutes=10)  # time to send 5 MB over a slow line; a signed address lives no longer
KEPT_AFTER = timedelta(days=1)  # a replaced picture is still named by pages that were read a moment ago
CONTENT_TYPES = ("image/png", "image/jpeg", "image/webp")


class ImagePurpose(StrEnum):
    """What the picture is of."""

    AGENT = "AGENT"
    AVATAR = "AVATAR"


class ImageSize(StrEnum):
    """The longest side of a picture in pixels: at most 1,024, 256 or 64."""

    LARGE = "LARGE"
    MEDIUM = "MEDIUM"
    SMALL = "SMALL"


PIXELS: Mapping[ImageSize, int] = {ImageSize.LARGE: 1_024, ImageSize.MEDIUM: 256, ImageSize.SMALL: 64}
_SUFFIXES: Mapping[ImageSize, str] = {ImageSize.LARGE: "", ImageSize.MEDIUM: "-256", ImageSize.SMALL: "-64"}
_FILE = re.compile(r"[0-9a-f]{64}(?:-256|-64)?\.webp")


@dataclass(frozen=True, slots=True)
class ImageUpload:
    """A permission to send one file. `image` is the name of the checked picture, once there is one.

    `expires_at` is when the permission ends, and when the database may forget it; None once the picture is in use.
    """

    id: str
    user_id: str
    purpose: ImagePurpose
    agent_id: str | None
    content_type: str
    size_bytes: int
    created_at: datetime
    ends_at: datetime
    expires_at: datetime | None
    image: str | None = None


def request(
    upload_id: str,
    user_id: str,
    purpose: ImagePurpose,
    agent_id: str | None,
    content_type: str,
    size_bytes: int,
    now: datetime,
) -> ImageUpload:
    """The permission that a client asks for. Raises BadInput naming the field."""
    if (purpose is ImagePurpose.AGENT) != (agent_id is not None):
        raise BadInput("Send agentId with the purpose AGENT, and with no other.", field="input.agentId")
    if content_type not in CONTENT_TYPES:
        raise BadInput(f"A picture is one of {', '.join(CONTENT_TYPES)}.", field="input.contentType")
    if not 1 <= size_bytes <= BYTES_MAX:
        raise BadInput(f"A picture has 1 to {BYTES_MAX} bytes, not {size_bytes}: make it smaller.", field="input.bytes")
    ends_at = now + UPLOAD_TTL
    return ImageUpload(upload_id, user_id, purpose, agent_id, content_type, size_bytes, now, ends_at, ends_at)


def image_name(upload_id: str, content: bytes) -> str:
    """The name of what an upload's content becomes: one for each upload, so that no two agents share a file."""
    return hashlib.sha256(upload_id.encode() + b"\0" + content).hexdigest()


def file_name(name: str, size: ImageSize = ImageSize.LARGE) -> str:
    """The file of a picture in one size."""
    return f"{name}{_SUFFIXES[size]}.webp"


def is_file_name(text: str) -> bool:
    """Whether the text is the name of a picture's file, and so neither a path nor anything else."""
    return _FILE.fullmatch(text) is not None
