"""Uploading pictures of agents, and avatars."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from domain import images
from domain.errors import BadInput
from domain.ids import Kind, random_id
from domain.images import ImagePurpose
from domain.texts import KEEP, Keep
from graph.context import Context, Info, found
from graph.errors import Conflict, NotFound
from graph.sizes import at_most
from graph.types.agents import Agent
from graph.types.images import UploadHeader
from graph.types.users import User
from resolvers import nodes

HEADERS_MAX = 5  # that an upload has to send: its type, its length, and that no file is there


@strawberry.input
class CreateImageUploadInput:
    purpose: ImagePurpose
    content_type: str = strawberry.field(description="image/png, image/jpeg or image/webp.")
    bytes: int = strawberry.field(description="The exact length of the file: at most 5,000,000.")
    agent_id: strawberry.ID | None = strawberry.field(
        default=None, description="With the purpose AGENT, whose picture."
    )


@strawberry.input
class CompleteImageUploadInput:
    upload_id: strawberry.ID


@strawberry.type(description="PUT the file to `uploadUrl` with all `headers`, then call completeImageUpload.")
class CreateImageUploadPayload:
    upload_id: strawberry.ID
    upload_url: str
    headers: list[UploadHeader] = strawberry.field(metadata=at_most(HEADERS_MAX))
    public_url: str = strawberry.field(description="Where the picture will be seen, once it is complete.")
    expires_at: datetime


@strawberry.type(description="The agent, or for an avatar the user, has the picture now.")
class CompleteImageUploadPayload:
    image_url: str
    agent: Agent | None
    user: User


CreateImageUploadResult = Annotated[CreateImageUploadPayload | NotFound, strawberry.union("CreateImageUploadResult")]
CompleteImageUploadResult = Annotated[
    CompleteImageUploadPayload | NotFound | Conflict, strawberry.union("CompleteImageUploadResult")
]


async def create_image_upload(info: Info, input: CreateImageUploadInput) -> CreateImageUploadResult:
    """A place to send a picture to, for 10 minutes; then call completeImageUpload."""
    context = info.context
    gallery = context.desk.gallery
    upload = images.request(
        random_id(Kind.UPLOAD, context.desk.new_id()),
        context.signed_in,
        input.purpose,
        input.agent_id,
        input.content_type,
        input.bytes,
        context.now,
    )
    signed = await gallery.sign(await context.store.images.begin(upload, context.now))
    return CreateImageUploadPayload(
        upload_id=strawberry.ID(upload.id),
        upload_url=signed.url,
        headers=[UploadHeader(name=name, value=value) for name, value in signed.headers.items()],
        public_url=gallery.upload_url(upload.id),
        expires_at=upload.ends_at,
    )


async def complete_image_upload(info: Info, input: CompleteImageUploadInput) -> CompleteImageUploadResult:
    """Check the picture that was sent and show it as the agent's or the user's. Said again, nothing changes."""
    context = info.context
    gallery = context.desk.gallery
    upload = await context.store.images.upload_of(context.signed_in, input.upload_id, context.now)
    if upload.image is None:
        image = await gallery.develop(upload)
        upload = await context.store.images.finish(context.signed_in, upload.id, image, context.now)
    url = gallery.url(upload.image)
    assert url is not None, "a finished upload has its picture"
    (user,) = await context.store.users.get_many([upload.user_id])  # read anew: it may have another picture now
    # Given away since it was finished, the agent may be hidden.
    agent = await nodes.agent(context, upload.agent_id) if upload.agent_id else None
    return CompleteImageUploadPayload(image_url=url, agent=agent, user=User.of(found(user, "user")))


def picture(context: Context, url: str | None, current: str | None, field: str) -> Keep | None:
    """What an input may say of a picture: the one that is there, or null for none. Raises BadInput."""
    if url is None:
        return None
    if url != context.desk.gallery.url(current):
        raise BadInput("A picture is uploaded: use createImageUpload, or send null to remove it.", field=field)
    return KEEP
