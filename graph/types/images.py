"""Uploads of pictures."""

from __future__ import annotations

import strawberry

from domain.images import ImagePurpose
from graph.enums import enum

enum(ImagePurpose, "What a picture is shown as: an agent's, or the viewer's own.")


@strawberry.type(description="A header that the upload must send, exactly so.")
class UploadHeader:
    name: str
    value: str
