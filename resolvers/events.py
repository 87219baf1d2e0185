"""Live push: topics, a session's state, one's own wallet."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import strawberry

from domain import agents, listings
from domain.errors import BadInput, NotFound
from domain.events import Event, agent_topic, listing_topic, wallet_topic
from domain.ids import Kind, is_id
from firestore.collections import AGENTS, LISTINGS, SESSIONS, WALLETS
from firestore.feed import Feed, Mark, merge, patiently
from graph.connection import scope_of
from graph.context import Context, Info
from graph.types.events import EventEnvelope
from graph.types.sessions import Session
from graph.types.wallets import Wallet
from resolvers import nodes

TOPICS_MAX = 20  # one screen's worth; a client with more opens another subscription


@dataclass(frozen=True, slots=True)
class _Opened:
    """A topic that is followed, as the subscriber spelled it, and where it begins.

    `by_office` says that the subscriber sees it as a moderator only: who loses the role hears no more of it (T-Z11).
    """

    topic: str
    mark: Mark
    source: AsyncGenerator[Event, None]
    by_office: bool = False


@dataclass(frozen=True, slots=True)
class _Told:
    """An event of a topic."""

    of: _Opened
    event: Event


async def events(info: Info, topics: list[str], after: str | None = None) -> AsyncGenerator[EventEnvelope, None]:
    """The topics' events, each from where the cursor says the subscriber left it, or from now on."""
    context = info.context
    wanted = list(dict.fromkeys(topics))
    if not 1 <= len(wanted) <= TOPICS_MAX:
        raise BadInput(f"Subscribe to 1 to {TOPICS_MAX} topics at once.", field="topics")
    scope = scope_of("events", context.user_id, sorted(wanted))
    known = _open(context, scope, after)
    opened = [await _open_topic(context, topic, known.get(topic)) for topic in wanted]
    # A topic that stays silent is resumed from here as well, so its place is in the cursor from the first event on.
    marks = {each.topic: each.mark for each in opened}
    async with aclosing(merge([_spelled(each) for each in opened])) as told:
        async for each in told:
            topic = each.of.topic
            if each.of.by_office:
                await _require_office(context, topic.partition(":")[0])
            marks[topic] = Mark(each.event.sequence, each.event.at)
            yield EventEnvelope.of(each.event, topic, _seal(context, scope, marks))


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
        async for _ in changes:
            if not context.sees_plainly(record, nodes.is_party):
                await _require_office(context, "session")
            # Fresh for each try, because a loader remembers its failures too.
            current = await patiently(lambda: context.fresh().loaders.known(SESSIONS, record.id))
            yield Session.of(current, context.fresh())
            if current.settled:
                return


async def wallet_updated(info: Info) -> AsyncGenerator[Wallet, None]:
    """The viewer's wallet as it is now, and again at each change of it or of what it has earned."""
    context = info.context
    user_id = context.signed_in
    feed = context.store.feed
    sources = [feed.document(WALLETS.at(user_id)), feed.newest(context.store.wallets.newest_accrual(user_id))]
    shown: tuple[object, ...] | None = None
    async with aclosing(merge(sources)) as signs:
        async for _ in signs:
            (record,) = await patiently(lambda: context.store.wallets.get_many([user_id]))
            earned = await patiently(lambda: context.store.wallets.earned(user_id))
            if (record, earned) != shown:
                shown = (record, earned)
                yield Wallet.of(record)


async def _spelled(opened: _Opened) -> AsyncGenerator[_Told, None]:
    async with aclosing(opened.source) as items:
        async for event in items:
            yield _Told(opened, event)


async def _open_topic(context: Context, topic: str, mark: Mark | None) -> _Opened:
    """Open one topic. Raises BadInput for no topic, NotFound for what the viewer may not know of."""
    feed, store = context.store.feed, context.store
    kind, _, subject = topic.partition(":")
    now = context.desk.clock()
    if kind == "session":
        record = await nodes.session_record(context, subject)
        if record is None:
            raise NotFound("session")
        start = mark or Mark(record.sequence(now), now)
        return _Opened(
            topic, start, feed.follow_session(record, start), by_office=not context.sees_plainly(record, nodes.is_party)
        )
    if topic in ("wallet", "transactions"):
        user_id = context.signed_in
        (wallet,) = await store.wallets.get_many([user_id])
        return _opened(feed, topic, wallet_topic(user_id), mark, wallet.sequence, now)
    if kind == "listing":
        listing = await context.loaders.one(LISTINGS, subject) if is_id(subject, Kind.LISTING) else None
        if listing is None or not await context.sees(listing, listings.visible_to):
            raise NotFound("listing")
        name = listing_topic(subject)
        opened = _opened(feed, topic, name, mark, await store.topics.head(name), now)
        return replace(opened, by_office=not context.sees_plainly(listing, listings.visible_to))
    if kind == "agent":
        agent = await context.loaders.one(AGENTS, subject) if is_id(subject, Kind.AGENT) else None
        if agent is None or not await context.sees(agent, agents.visible_to):
            raise NotFound("agent")
        name = agent_topic(subject)
        opened = _opened(feed, topic, name, mark, await store.topics.head(name), now)
        return replace(opened, by_office=not context.sees_plainly(agent, agents.visible_to))
    raise BadInput("A topic is agent:ID, listing:ID, session:ID, wallet or transactions.", field="topics")


async def _require_office(context: Context, kind: str) -> None:
    """Raises NotFound for a viewer who is no moderator any more. One RPC."""
    viewer = await patiently(lambda: context.fresh().viewer())
    if viewer is None or not viewer.is_moderator:
        raise NotFound(kind)


def _opened(feed: Feed, topic: str, name: str, mark: Mark | None, head: int, now: datetime) -> _Opened:
    start = mark or Mark(head, now)
    return _Opened(topic, start, feed.follow(name, start, head))


def _seal(context: Context, scope: str, marks: dict[str, Mark]) -> str:
    position = [[topic, mark.sequence, mark.at.isoformat()] for topic, mark in sorted(marks.items())]
    return context.desk.cursors.seal(scope, position)


def _open(context: Context, scope: str, after: str | None) -> dict[str, Mark]:
    if after is None:
        return {}
    return {
        str(topic): Mark(int(sequence), datetime.fromisoformat(at).astimezone(UTC))
        for topic, sequence, at in context.desk.cursors.open(scope, after)
    }
