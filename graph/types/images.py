"""Uploads of pictures."""

from __future__ import annotations

import strawberry

from domain.images import ImagePurpose, ImageSize

for _words in (ImagePurpose, ImageSize):
    strawberry.enum(_words)


@strawberry.type(description="A header that the upload must send, exactly so.")
class UploadHeader:
    name: str
    value: str
