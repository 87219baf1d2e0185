"""API keys: made, revoked, presented, and what they have spent, counted in the commit that spends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain import keys
from domain.errors import NotFound
from domain.ids import Kind, is_id
from domain.keys import ApiKey, KeyRing, KeyWish
from domain.money import Dof
from domain.policy import Policy
from domain.users import NotificationKind, require_active
from firestore.backend import Backend
from firestore.collections import API_KEYS, KEY_RINGS, USERS
from firestore.commit import Commits, Tx
from firestore.notifications import notice
from firestore.paging import fetch


class Keys:
    """Every method raises Unavailable when Firestore does not answer; refusals change nothing."""

    def __init__(self, backend: Backend, commits: Commits, policy: Policy) -> None:
        self._backend = backend
        self._commits = commits
        self._policy = policy

    async def create(
        self, viewer_id: str, key_id: str, environment: str, secret: bytes, wish: KeyWish, now: datetime
    ) -> tuple[ApiKey, str]:
        """Make a key under a fresh random id; its text is given once. Two RPCs, three writes.

        Raises BadInput, Conflict for the 21st, Forbidden while suspended.
        """
        key, text = keys.new_key(key_id, viewer_id, environment, secret, wish, now)

        async def body(tx: Tx) -> tuple[ApiKey, str]:
            await tx.read(API_KEYS.at(key_id), KEY_RINGS.at(viewer_id), USERS.at(viewer_id))
            if tx.get(API_KEYS, key_id) == key:  # our own commit, whose reply was lost
                return key, text
            require_active(tx.get(USERS, viewer_id))
            tx.put(KEY_RINGS, keys.add(ring_of(tx, viewer_id), key))
            tx.create(API_KEYS, key)
            self._tell(tx, "api_key_created", key, now)
            return key, text

        return await self._commits.run(body)

    async def revoke(self, viewer_id: str, key_id: str, now: datetime) -> ApiKey:
        """End a key for good; doing so twice is fine. Two RPCs, three writes. Raises NotFound."""
        if not is_id(key_id, Kind.API_KEY):
            raise NotFound("API key")

        async def body(tx: Tx) -> ApiKey:
            await tx.read(API_KEYS.at(key_id), KEY_RINGS.at(viewer_id))
            key = tx.get(API_KEYS, key_id)
            if key is None or key.user_id != viewer_id:
                raise NotFound("API key")
            if key.revoked_at is not None:
                return key
            revoked = replace(key, revoked_at=now)
            tx.put(API_KEYS, revoked)
            tx.put(KEY_RINGS, keys.remove(ring_of(tx, viewer_id), key_id))
            self._tell(tx, "api_key_revoked", key, now)
            return revoked

        return await self._commits.run(body)

    async def of_user(self, user_id: str) -> list[ApiKey]:
        """The user's keys that are not revoked, at most 20, the oldest first. Two RPCs."""
        (found,) = await self._backend.get_many([KEY_RINGS.at(user_id)])
        ring = KeyRing(user_id) if found is None else KEY_RINGS.decode(found)
        return [key for key in await fetch(self._backend, API_KEYS, Kind.API_KEY, ring.key_ids) if key is not None]

    async def get(self, key_id: str) -> ApiKey | None:
        """One RPC."""
        (key,) = await fetch(self._backend, API_KEYS, Kind.API_KEY, [key_id])
        return key

    def _tell(self, tx: Tx, text: str, key: ApiKey, now: datetime) -> None:
        """Whoever made or ended it, the user learns of it."""
        retention, said = self._policy.event_retention, {"name": key.name}
        tx.tell(notice(NotificationKind.ACCOUNT, key.user_id, (text, key.id), now, retention, said))


def ring_of(tx: Tx, user_id: str) -> KeyRing:
    """The ring that was read; a user without keys has an empty one."""
    return tx.get(KEY_RINGS, user_id) or KeyRing(user_id)


def key_paths(key_id: str | None) -> list[str]:
    """What an operation reads besides, when a key asks for it; nothing when a person does."""
    return [] if key_id is None else [API_KEYS.at(key_id)]


def spend(tx: Tx, key_id: str | None, amount: Dof, now: datetime) -> None:
    """Count what a key spends, in the commit that holds or gives it, so that parallel callers cannot pass its cap.

    The key was read. Nothing is written where a person spends. Raises SpendCapReached, Unauthenticated.
    """
    if key_id is not None:
        key = keys.require_usable(tx.get(API_KEYS, key_id), now)
        if amount:
            tx.put(API_KEYS, keys.spend(key, amount))
