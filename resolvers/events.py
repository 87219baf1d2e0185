"""Live push: topics, a session's state, one's own wallet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import strawberry

from domain import agents, listings, wallets
from domain.errors import BadInput, NotFound
from domain.events import Event, agent_topic, listing_topic, wallet_topic
from domain.ids import Kind, is_id
from domain.keys import KeyScope
from domain.money import Dof
from domain.notifications import notifications_topic
from domain.users import Viewer
from firestore.backend import Query
from firestore.collections import AGENTS, LISTINGS, SESSIONS, WALLETS
from firestore.feed import Feed, Mark, merge, patiently
from firestore.records import Collection, R
from firestore.store import Store
from graph.connection import scope_of
from graph.context import Context, Info
from graph.types.events import EventEnvelope
from graph.types.sessions import Session
from graph.types.wallets import Wallet
from resolvers import nodes

T = TypeVar("T")

PUBLIC = ("listing:", "agent:")
# What an API key needs to follow a topic; a kind of topic that is not named is closed to keys.
KEY_SCOPES = {
    "agent": KeyScope.READ,
    "listing": KeyScope.READ,
    "session": KeyScope.READ,
    "wallet": KeyScope.WALLET_READ,
    "transactions": KeyScope.WALLET_READ,
}
_OF_OTHER_TOPICS = "This cursor does not belong to these topics: take an event's `cursor`, with the same topics."
TOPICS_MAX = 20  # one screen's worth; a client with more opens another subscription


@dataclass(frozen=True, slots=True)
class _Opened:
    """A topic that is followed, as the subscriber spelled it, and where it begins.

    `require_seen` raises NotFound where the subscriber may know of its subject no more (T-Z07, T-Z11).
    """

    topic: str
    mark: Mark
    source: AsyncGenerator[Event, None]
    require_seen: Callable[[Event], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """An event of a topic."""

    of: _Opened
    event: Event


async def events(info: Info, topics: list[str], after: str | None = None) -> AsyncGenerator[EventEnvelope, None]:
    """The events of 1 to 20 topics: `agent:ID`, `listing:ID`, `session:ID`, `wallet`, `transactions`, `notifications`.
    From now on, or from where `after`, the cursor of an event of the same topics, left it.
    """
    context = info.context
    wanted = list(dict.fromkeys(topics))
    if not 1 <= len(wanted) <= TOPICS_MAX:
        raise BadInput(f"Subscribe to 1 to {TOPICS_MAX} topics at once.", field="topics")
    scope = cursor_scope(context.user_id, wanted)
    known = _open(context, scope, after)
    opened = [await _open_topic(context, topic, known.get(topic)) for topic in wanted]
    # A topic that stays silent is resumed from here as well, so its place is in the cursor from the first event on.
    marks = {each.topic: each.mark for each in opened}
    async with aclosing(merge([_spelled(each) for each in opened])) as told:
        async for each in told:
            topic = each.of.topic
            if each.of.require_seen is not None:
                await each.of.require_seen(each.event)
            marks[topic] = Mark(each.event.sequence, each.event.at)
            yield EventEnvelope.of(each.event, topic, _seal(context, scope, marks))


def cursor_scope(viewer_id: str | None, topics: Iterable[str]) -> str:
    """What a cursor of these topics is bound to.

    What anyone may follow has the same cursors for all, so that an event is shown once for all who follow it.
    """
    wanted = sorted(topics)
    reader_id = None if all(topic.startswith(PUBLIC) for topic in wanted) else viewer_id
    return scope_of("events", reader_id, wanted)


async def session_updated(info: Info, id: strawberry.ID) -> AsyncGenerator[Session, None]:
    """The session as it is now, and again at each change and each full minute, until it has ended."""
    context = info.context
    record = await nodes.session_record(context, id)
    if record is None:
        raise NotFound("session")
    yield Session.of(record, context)
    if record.settled:
        return
    async with aclosing(context.store.feed.follow_session(record, None)) as changes:
        async for event in changes:
            if not context.sees_plainly(record, nodes.is_party):
                await _require_office(context, "session")
            # Fresh for each try, because a loader remembers its failures too.
            current = await context.seen(event.identity, lambda: context.fresh().loaders.known(SESSIONS, record.id))
            yield Session.told(current, context.fresh())
            if current.settled:
                return


async def wallet_updated(info: Info) -> AsyncGenerator[Wallet, None]:
    """The viewer's wallet as it is now, and again at each change of it or of what it has earned."""
    context = info.context
    user_id = context.signed_in
    feed = context.store.feed
    read = partial(_read_wallet, context.store, user_id)
    targets: list[Query | str] = [WALLETS.at(user_id), context.store.wallets.newest_accrual(user_id)]
    heard: list[Hashable] = [None] * len(targets)
    shown: tuple[wallets.Wallet, Dof] | None = None
    async with aclosing(merge([_placed(place, feed.signs(target)) for place, target in enumerate(targets)])) as signs:
        async for place, sign in signs:
            # Whoever begins reads for itself: what others read of the last change may be a minute old.
            begins, heard[place] = heard[place] is None, sign
            now = await (read() if begins else context.seen((WALLETS.name, user_id, *heard), read))
            if now != shown:
                shown = now
                yield Wallet.told(*now, context)


async def _placed(place: int, source: AsyncGenerator[T, None]) -> AsyncGenerator[tuple[int, T], None]:
    async with aclosing(source) as items:
        async for item in items:
            yield place, item


async def _read_wallet(store: Store, user_id: str) -> tuple[wallets.Wallet, Dof]:
    (record,) = await patiently(lambda: store.wallets.get_many([user_id]))
    return record, await patiently(lambda: store.wallets.earned(user_id))


async def _spelled(opened: _Opened) -> AsyncGenerator[_Told, None]:
    async with aclosing(opened.source) as items:
        async for event in items:
            yield _Told(opened, event)


async def _open_topic(context: Context, topic: str, mark: Mark | None) -> _Opened:
    """Open one topic. Raises BadInput for no topic, NotFound for what the viewer may not know of."""
    feed, store = context.store.feed, context.store
    kind, _, subject = topic.partition(":")
    context.require_scope(KEY_SCOPES.get(kind))
    now = context.desk.clock()
    if kind == "session":
        record = await nodes.session_record(context, subject)
        if record is None:
            raise NotFound("session")
        start = mark or Mark(record.sequence(now), now)
        party = context.sees_plainly(record, nodes.is_party)
        check = None if party else lambda _: _require_office(context, "session")
        return _Opened(topic, start, feed.follow_session(record, start), check)
    if topic in ("wallet", "transactions"):
        user_id = context.signed_in
        (wallet,) = await store.wallets.get_many([user_id])
        return _opened(feed, topic, wallet_topic(user_id), mark, wallet.sequence, now)
    if topic == "notifications":
        user_id = context.signed_in
        head = (await store.notifications.box(user_id)).sequence
        return _opened(feed, topic, notifications_topic(user_id), mark, head, now)
    if kind == "listing":
        return await _open_public(context, topic, LISTINGS, listings.visible_to, listing_topic(subject), mark)
    if kind == "agent":
        return await _open_public(context, topic, AGENTS, agents.visible_to, agent_topic(subject), mark)
    topics = "agent:ID, listing:ID, session:ID, wallet, transactions or notifications"
    raise BadInput(f"A topic is {topics}.", field="topics")


async def _open_public(
    context: Context,
    topic: str,
    collection: Collection[R],
    visible_to: Callable[[R, Viewer | None], bool],
    name: str,
    mark: Mark | None,
) -> _Opened:
    """Open the topic of what everybody may know of while it is public. It is looked at again with each event."""
    kind, _, subject = topic.partition(":")
    record = await context.loaders.one(collection, subject) if is_id(subject, Kind[kind.upper()]) else None
    if record is None or not await context.sees(record, visible_to):
        raise NotFound(kind)

    async def require_seen(event: Event) -> None:
        fresh = context.fresh
        current = await context.seen(event.identity, lambda: fresh().loaders.one(collection, subject))
        if current is None:
            raise NotFound(kind)
        if not context.sees_plainly(current, visible_to):
            await _require_office(context, kind)

    head = await context.store.topics.head(name)
    opened = _opened(context.store.feed, topic, name, mark, head, context.desk.clock())
    return replace(opened, require_seen=require_seen)


async def _require_office(context: Context, kind: str) -> None:
    """Raises NotFound for a viewer who is no moderator any more. One RPC."""
    viewer = await patiently(lambda: context.fresh().viewer())
    if viewer is None or not viewer.is_moderator:
        raise NotFound(kind)


def _opened(feed: Feed, topic: str, name: str, mark: Mark | None, head: int, now: datetime) -> _Opened:
    # The full minute before serves as well, and gives those who come within it the same cursors.
    start = mark or Mark(head, now.replace(second=0, microsecond=0))
    return _Opened(topic, start, feed.follow(name, start, head))


def _seal(context: Context, scope: str, marks: dict[str, Mark]) -> str:
    position = [[topic, mark.sequence, mark.at.isoformat()] for topic, mark in sorted(marks.items())]
    return context.desk.cursors.seal(scope, position)


def _open(context: Context, scope: str, after: str | None) -> dict[str, Mark]:
    if after is None:
        return {}
    return {
        str(topic): Mark(int(sequence), datetime.fromisoformat(at).astimezone(UTC))
        for topic, sequence, at in context.desk.cursors.open(scope, after, refusal=_OF_OTHER_TOPICS)
    }
