"""Users: registered by their identity, changed by themselves, held back by moderators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from domain import users
from domain.errors import BadCredentials, NotFound
from domain.ids import Kind, is_id
from domain.users import PreferencesChange, ProfileChange, Role, User
from firestore.backend import Backend
from firestore.collections import USERS
from firestore.commit import Commits, Tx
from firestore.image_drops import drop
from firestore.paging import fetch


class Users:
    """Every change is one reading and one commit, and no commit where nothing changes."""

    def __init__(self, backend: Backend, commits: Commits) -> None:
        self._backend = backend
        self._commits = commits

    async def register(
        self,
        uid: str,
        email: str,
        *,
        email_verified: bool,
        display_name: str,
        timezone: str,
        now: datetime,
        referral_code: str | None = None,
    ) -> User:
        """The identity's user, made at the first sign-in. A known one keeps all but the e-mail.

        Raises BadInput; BadCredentials for one whose account was deleted, until the provider has deleted its own.
        """

        async def body(tx: Tx) -> User:
            before = await tx.load(USERS, users.user_id(uid))
            if before is None:
                user = users.new_user(
                    uid, email, email_verified=email_verified, display_name=display_name, timezone=timezone, now=now
                )
                user = replace(user, referral_code=referral_code)
            elif before.erased_at is not None:
                raise BadCredentials("This account was deleted: sign up again.")
            else:
                user = users.identify(before, email, email_verified=email_verified, now=now)
            if user != before:
                tx.put(USERS, user)
            return user

        return await self._commits.run(body)

    async def get_many(self, ids: Sequence[str]) -> list[User | None]:
        """In the order of the ids. One RPC."""
        return await fetch(self._backend, USERS, Kind.USER, ids)

    async def update_profile(self, viewer_id: str, wish: ProfileChange, now: datetime) -> User:
        """Raises NotFound, BadInput."""
        return await self._change(viewer_id, lambda user: users.change_profile(user, wish, now))

    async def update_preferences(self, viewer_id: str, wish: PreferencesChange, now: datetime) -> User:
        """Raises NotFound."""
        return await self._change(viewer_id, lambda user: users.change_preferences(user, wish, now))

    async def set_role(self, user_id: str, role: Role, now: datetime) -> User:
        """For whoever runs the store, who makes the first admin; admins use `Accounts.appoint`. Raises NotFound."""
        return await self._change(user_id, lambda user: users.with_role(user, role, now))

    async def _change(self, user_id: str, change: Callable[[User], User]) -> User:
        if not is_id(user_id, Kind.USER):
            raise NotFound("user")

        async def body(tx: Tx) -> User:
            before = await tx.load(USERS, user_id)
            if before is None or before.erased_at is not None:
                raise NotFound("user")
            after = change(before)
            if after != before:
                tx.put(USERS, after)
                drop(tx, before.avatar, after.avatar, after.updated_at)
            return after

        return await self._commits.run(body)
