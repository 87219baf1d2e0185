"""Pictures: a permission to upload, and the checked picture of an agent or a user in place of the one before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from domain import agents, listings, revisions, users
from domain.errors import NotFound
from domain.ids import Kind, is_id
from domain.images import ImageUpload
from domain.policy import Policy
from domain.users import User, require_active
from firestore.agents import keep
from firestore.backend import Backend, Filter, Query
from firestore.collections import AGENTS, LISTINGS, UPLOADS, USERS
from firestore.commit import Commits, Tx
from firestore.image_drops import drop
from firestore.outbox import row

DROP_UPLOAD = "drop_upload"
DROP_AFTER = timedelta(minutes=1)  # an upload that began before its address expired is whole by then


class Images:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def begin(self, upload: ImageUpload, now: datetime) -> ImageUpload:
        """Keep a permission under its fresh random id; what is sent is dropped once it ends. Two RPCs, two writes.

        Raises NotFound for an agent that is not the user's, Forbidden while suspended.
        """
        agent_id = upload.agent_id
        if agent_id is not None and not is_id(agent_id, Kind.AGENT):
            raise NotFound("agent")

        async def body(tx: Tx) -> ImageUpload:
            paths = [] if agent_id is None else [AGENTS.at(agent_id)]
            await tx.read(USERS.at(upload.user_id), UPLOADS.at(upload.id), *paths)
            require_active(tx.get(USERS, upload.user_id))
            if agent_id is not None:
                agents.require_owned(tx.get(AGENTS, agent_id), upload.user_id)
            if tx.get(UPLOADS, upload.id) is not None:  # our own commit, whose reply was lost
                return upload
            tx.create(UPLOADS, upload)
            tx.tell(
                row(
                    ("upload", upload.id),
                    now,
                    self._policy.event_retention,
                    task=DROP_UPLOAD,
                    args={"upload_id": upload.id},
                    not_before=upload.ends_at + DROP_AFTER,
                )
            )
            return upload

        return await self._commits.run(body)

    async def upload_of(self, viewer_id: str, upload_id: str, now: datetime) -> ImageUpload:
        """The viewer's upload, while it can still be completed, or once it was. One RPC. Raises NotFound."""
        upload = await self.find(upload_id)
        if upload is None or upload.user_id != viewer_id or (upload.image is None and now >= upload.ends_at):
            raise NotFound("upload")
        return upload

    async def find(self, upload_id: str) -> ImageUpload | None:
        """One RPC."""
        if not is_id(upload_id, Kind.UPLOAD):
            return None
        (found,) = await self._backend.get_many([UPLOADS.at(upload_id)])
        return None if found is None else UPLOADS.decode(found)

    async def finish(self, viewer_id: str, upload_id: str, image: str, now: datetime) -> ImageUpload:
        """Let the agent or the user have the checked picture. Two RPCs, three to five writes.

        An upload that is finished already changes nothing. Raises NotFound, also for an agent that was given away
        meanwhile; Forbidden while suspended.
        """

        async def body(tx: Tx) -> ImageUpload:
            upload = await tx.load(UPLOADS, upload_id)
            if upload is None or upload.user_id != viewer_id:
                raise NotFound("upload")
            if upload.image is not None:
                return upload
            before = await self._show(tx, upload, image, now)
            finished = replace(upload, image=image, expires_at=None)
            tx.put(UPLOADS, finished)
            drop(tx, before, image, now)
            return finished

        return await self._commits.run(body)

    async def forget(self, image: str) -> None:
        """Forget the upload of a picture that is dropped. Two RPCs, one where it is gone."""

        async def body(tx: Tx) -> None:
            for upload in await tx.find(UPLOADS, Query(UPLOADS.name, (Filter("image", "==", image),), limit=1)):
                tx.delete(UPLOADS, upload.id)

        await self._commits.run(body)

    async def _show(self, tx: Tx, upload: ImageUpload, image: str, now: datetime) -> str | None:
        """Put the picture in place of the one before, and give that one's name."""
        if upload.agent_id is None:
            user: User = require_active(await tx.load(USERS, upload.user_id))
            tx.put(USERS, users.with_avatar(user, image, now))
            return user.avatar
        listing_id = listings.listing_id(upload.agent_id)
        await tx.read(USERS.at(upload.user_id), AGENTS.at(upload.agent_id), LISTINGS.at(listing_id))
        require_active(tx.get(USERS, upload.user_id))
        agent = agents.require_owned(tx.get(AGENTS, upload.agent_id), upload.user_id)
        keep(tx, revisions.with_image(agent, image, now), now, self._policy.event_retention)
        return agent.image
