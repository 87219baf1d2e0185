"""Mail digests: notifications whose mail waits, gathered under the outbox row whose task sends them in one.

The row is the digest: its id is the hash of user and moment, its `not_before` that moment, its args count by kind what
has joined. While `not_before` is still the moment, it is open and notes may join; each of them writes the row, so that
none joins unseen once a task has claimed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from domain import mail_digests
from domain.mail_digests import due_after
from domain.notifications import Note, Notification
from domain.users import MailRhythm, User
from firestore.backend import Backend, Filter, Order, Query
from firestore.collections import NOTIFICATIONS, OUTBOX, USERS
from firestore.commit import Commits, Tx
from firestore.outbox import row
from firestore.rows import SWEEP_AFTER, OutboxRow, RowState

SEND_MAIL_DIGEST = "send_digest"  # the task; the name outlives a deploy
GATHERED_MAX = 400  # notifications read and marked for one mail: far within a commit's 500 writes; the rest is counted
CLAIM = timedelta(seconds=90)  # longer than a delivery may take, so that whoever comes after it finds it over


class Gathering:
    """The mail digests that one commit adds to: each row is written once, however many notes join it."""

    def __init__(self, now: datetime, retention: timedelta) -> None:
        self._now = now
        self._retention = retention
        self._joined: dict[str, OutboxRow] = {}  # by user

    def paths(self, users: Iterable[User | None]) -> list[str]:
        """What `join` needs to have been read; nothing for users whose mails come at once."""
        return [OUTBOX.at(each.id) for user in users if user is not None for each in self._possible(user)]

    def join(self, tx: Tx, user: User, note: Note) -> str | None:
        """The digest that mails the note; None where its mail does not wait."""
        if not mail_digests.waits(note, user.preferences):
            return None
        before = self._joined.get(user.id) or self._open(tx, user)
        if before is None:
            return None
        kind = str(note.kind)
        args = {**before.args, kind: str(int(before.args.get(kind, "0")) + 1)}
        self._joined[user.id] = replace(before, args=args)
        return before.id

    def write(self, tx: Tx) -> None:
        """Write the rows. A known one is not told to the queue again, which knows of its moment."""
        for each in self._joined.values():
            if tx.get(OUTBOX, each.id) is None:
                tx.tell(each)
            else:
                tx.put(OUTBOX, each)

    def _possible(self, user: User) -> list[OutboxRow]:
        """The digest of this period, and the next one for where another process's clock has closed this one early."""
        rhythm = user.preferences.mail_rhythm
        if rhythm is MailRhythm.AT_ONCE:
            return []
        first = due_after(rhythm, user.timezone, self._now)
        return [self._new(user, due) for due in (first, due_after(rhythm, user.timezone, first))]

    def _new(self, user: User, due: datetime) -> OutboxRow:
        kept = due - self._now + self._retention
        fact = (SEND_MAIL_DIGEST, user.id, due.isoformat())
        return row(fact, self._now, kept, task=SEND_MAIL_DIGEST, args={"user_id": user.id}, not_before=due)

    def _open(self, tx: Tx, user: User) -> OutboxRow | None:
        for each in self._possible(user):
            known = tx.get(OUTBOX, each.id)
            if known is None:
                return each
            if known.state is RowState.PENDING and known.not_before == each.not_before:
                return known
        return None


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a digest tells its user: of `count` notifications the newest, at most 400, the latest first."""

    user: User
    newest: list[Notification]
    count: int


class MailDigests:
    """The task's side of digests. Every method raises Unavailable when Firestore does not answer."""

    def __init__(self, backend: Backend, commits: Commits) -> None:
        self._backend = backend
        self._commits = commits

    async def claim(self, row_id: str, now: datetime) -> OutboxRow | None:
        """Close a digest that is due, and keep it from other deliveries for 90 s. Two RPCs, one if there is nothing.

        None where it is not due, sent, gone, or in another delivery's hands: the sweep asks again where need be.
        """

        async def body(tx: Tx) -> OutboxRow | None:
            known = await tx.load(OUTBOX, row_id)
            if known is None or known.state is not RowState.PENDING:
                return None
            if known.not_before is not None and now < known.not_before:
                return None
            until = now + CLAIM
            # The sweep's own pause stays where it is longer: a provider that is down for hours is asked less and less.
            due_at = max(until + SWEEP_AFTER, known.due_at or until)
            claimed = replace(known, not_before=until, due_at=due_at)
            tx.put(OUTBOX, claimed)
            return claimed

        return await self._commits.run(body)

    async def gathered(self, claimed: OutboxRow) -> Gathered | None:
        """What a claimed digest tells, by the preferences of this moment; None for whose user is not there. Two RPCs at
        once."""
        mine = (Filter("mail_digest_id", "==", claimed.id),)
        query = Query(NOTIFICATIONS.name, mine, (Order("created_at", descending=True),), GATHERED_MAX)
        (user,), found = await asyncio.gather(
            self._backend.get_many([USERS.at(claimed.args["user_id"])]), self._backend.query(query)
        )
        if user is None:
            return None
        told = USERS.decode(user)
        kinds = mail_digests.mailed_kinds(told.preferences)
        newest = [each for each in map(NOTIFICATIONS.decode, found) if each.kind in kinds]
        return Gathered(told, newest, sum(int(claimed.args.get(kind, "0")) for kind in kinds))

    async def note_sent(self, row_id: str, sent: Sequence[Notification], now: datetime) -> None:
        """Note that a digest is on its way, and all that it tells of, so that none is sent again. Two RPCs."""

        async def body(tx: Tx) -> None:
            await tx.read(OUTBOX.at(row_id), *(NOTIFICATIONS.at(each.id) for each in sent))
            known = tx.get(OUTBOX, row_id)
            if known is None or known.state is RowState.DONE:
                return
            for each in sent:
                before = tx.get(NOTIFICATIONS, each.id)
                if before is not None:
                    tx.put(NOTIFICATIONS, replace(before, mailed_at=now))
            await tx.finish(row_id)

        await self._commits.run(body)
